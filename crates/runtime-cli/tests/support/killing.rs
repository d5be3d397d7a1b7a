//! Kills the runtime at one system call of a command after the other, and looks whether one `delete --force` leaves nothing.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use super::Bundle;
use super::calls::{calls, has_strace, strace};

/// How many points of a command are tried; all of them where `RABBITC_FULL_SWEEP` is set.
const POINTS: usize = 60;

/// What becomes of the record after a kill, in turn.
#[derive(Debug, Clone, Copy)]
enum Damage {
    None,
    Empty,
    Cut,
    Garbage,
}

impl Damage {
    fn at(number: usize) -> Damage {
        [Damage::None, Damage::Empty, Damage::None, Damage::Cut, Damage::None, Damage::Garbage][number % 6]
    }

    /// Whether there was a record to damage.
    fn strike(self, bundle: &Bundle) -> bool {
        let path = bundle.path.join("state").join(&bundle.id).join("state.json");
        let Ok(whole) = std::fs::read(&path) else { return false };
        let content = match self {
            Damage::None => return false,
            Damage::Empty => Vec::new(),
            Damage::Cut => whole[..whole.len() / 2].to_vec(),
            Damage::Garbage => b"\0\x01 garbage \xff".to_vec(),
        };
        std::fs::write(path, content).expect("written");
        true
    }
}

/// What must hold after a command was killed, wherever that was.
fn check(bundle: &Bundle, damage: Damage, when: &str) {
    let when = &format!("{when}, record: {damage:?}");
    let damaged = damage.strike(bundle);
    let state = bundle.runtime(&["state", &bundle.id]);
    let answered = state.status.success() || super::errors(&state).starts_with("error: ");
    assert!(answered, "{when}: {state:?}");
    assert!(!damaged || !state.status.success(), "{when}: {state:?}");
    let deleted = bundle.runtime(&["delete", "--force", &bundle.id]);
    assert!(deleted.status.success(), "{when}: {deleted:?}");
    bundle.assert_clean(when);
}

/// Kills `arguments` after delays that grow until it ends by itself: where there is no strace.
fn kill_in_time(bundle: &Bundle, prepare: &dyn Fn(&Bundle), arguments: &[&str], points: usize) {
    println!("no strace: {} is killed after delays, not at calls", arguments[0]);
    for number in 0..points {
        prepare(bundle);
        let mut command = bundle.command(arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        std::thread::sleep(std::time::Duration::from_micros(150 * number as u64));
        child.kill().expect("killed");
        child.wait().expect("reaped");
        let when = format!("{} killed after {} us", arguments[0], 150 * number);
        check(bundle, Damage::at(number), &when);
    }
}

/// Kills `arguments` at many points; `prepare` runs before each.
pub fn kill_everywhere(bundle: &Bundle, prepare: &dyn Fn(&Bundle), arguments: &[&str]) {
    kill_at_points(bundle, prepare, arguments, POINTS);
}

/// The same at so many points.
pub fn kill_at_points(bundle: &Bundle, prepare: &dyn Fn(&Bundle), arguments: &[&str], points: usize) {
    if !has_strace() {
        return kill_in_time(bundle, prepare, arguments, points);
    }
    let calls = calls(bundle, prepare, arguments);
    let stride =
        if std::env::var_os("RABBITC_FULL_SWEEP").is_some() { 1 } else { calls.len().div_ceil(points) };
    let mut killed = 0;
    for (number, (name, count)) in calls.iter().skip(1).step_by(stride.max(1)).enumerate() {
        prepare(bundle);
        let inject = format!("inject={name}:signal=KILL:when={count}");
        let options = ["-o", "/dev/null", "-e", &format!("trace={name}"), "-e", &inject];
        let status = strace(bundle, &options, arguments).status().expect("strace runs");
        // strace ends as what it watched did; a call that did not come again leaves it unharmed.
        killed += usize::from(status.signal() == Some(9) || status.code() == Some(137));
        let when = format!("{} killed at {name} number {count}", arguments[0]);
        check(bundle, Damage::at(number), &when);
    }
    let tried = calls.len().saturating_sub(1).div_ceil(stride.max(1));
    println!("{}: {} calls, killed at {killed} of {tried} points", arguments[0], calls.len());
    assert!(killed * 2 > tried, "only {killed} of {tried} points were reached");
}
