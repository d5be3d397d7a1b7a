//! Verbs of every kind from many processes at once on few names, and SIGKILL of whoever is in the way: afterwards all is true, and
//! nothing is left.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::life::Place;
use crate::support::{Host, eventually, skip};

const CALLERS: u64 = 8;
const NAMES: u64 = 50;

/// What each container runs: it ends with 7 where it is asked to.
const SCRIPT: &str = "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done";

/// Numbers that look random and are the same each time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn act(place: &Place<'_>, numbers: &mut Numbers) {
    let name = format!("n{}", numbers.below(NAMES));
    let name = name.as_str();
    let own = format!("--name={name}");
    let ran = match numbers.below(16) {
        0..=3 => place.script("run", &["-d", &own], SCRIPT),
        4 => place.script("run", &["-d", "--rm", &own], SCRIPT),
        5 => place.script("run", &["-d", &own, "--restart=always"], "sleep 0.1; exit 7"),
        6 => place.script("create", &[&own], SCRIPT),
        7 => place.verb("start", &[name]),
        8 => place.verb("stop", &["-t1", name]),
        9 => place.verb("rm", &["-f", name]),
        10 => place.verb("kill", &[name]),
        11 => place.verb("rename", &[name, &format!("n{}", numbers.below(NAMES))]),
        12 => place.verb("exec", &[name, "true"]),
        13 => place.verb("logs", &["-n1", name]),
        14 => place.verb("restart", &["-t1", name]),
        _ => place.verb("ps", &["-a"]),
    };
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
}

/// Ends one of rabbitc's processes on this host, whatever it is about.
fn kill_one(host: &Host, numbers: &mut Numbers) {
    let lines = host.processes();
    let ours: Vec<&String> =
        lines.iter().filter(|line| line.contains("/rabbitc ") || line.contains("`rabbitc ")).collect();
    if ours.is_empty() {
        return;
    }
    let line = ours[numbers.below(ours.len() as u64) as usize];
    let pid =
        line.split(' ').nth(1).and_then(|pid| pid.parse().ok()).and_then(rustix::process::Pid::from_raw);
    // It may have ended by now.
    let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
}

#[test]
fn after_many_verbs_at_once_and_sigkill_of_anybody_all_is_true_and_nothing_is_left() {
    let seconds = std::env::var("RABBITC_CHAOS_SECONDS").ok().and_then(|text| text.parse().ok());
    let Some(seconds) = seconds else {
        // Its eight callers would take the processors from the tests beside it.
        return skip("takes RABBITC_CHAOS_SECONDS: how long it may take");
    };
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (acts, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (place, acts) = (&place, &acts);
                scope.spawn(move || {
                    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ (caller + 1));
                    while Instant::now() < end {
                        act(place, &mut numbers);
                        acts.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let killer = scope.spawn(|| {
            let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
            while !over.load(Ordering::Relaxed) {
                kill_one(&host, &mut numbers);
                std::thread::sleep(Duration::from_millis(40 + numbers.below(80)));
            }
        });
        callers.into_iter().for_each(|caller| caller.join().expect("it does not panic"));
        over.store(true, Ordering::Relaxed);
        killer.join().expect("it does not panic");
    });
    assert!(acts.into_inner() > CALLERS * 4);
    // Each is as the kernel says.
    let listed = place.verb("ps", &["-a", "--no-trunc", "--format", "{{.ID}} {{.State}} {{.Names}}"]);
    assert_eq!(listed.code(), 0, "{listed:?}");
    for line in listed.text().lines() {
        let [id, state, _] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let shown = place.verb("inspect", &["--format", "{{.State.Pid}} {{json .State.ExitCode}}", id]);
        // One that is removed at its end, or started again, may be another by now.
        if shown.code() != 0 {
            assert!(shown.stderr.contains("there is no container"), "{shown:?}");
            continue;
        }
        let Some((_, code)) = shown.text().split_once(' ') else { panic!("{shown:?}") };
        if state == "running" {
            // For a moment, it may be about to begin, or to be cleaned up.
            eventually("what is said to run does", || {
                let shown = place.verb("inspect", &["--format", "{{.State.Pid}} {{.State.Status}}", id]);
                let Some((pid, status)) = shown.stdout.trim().split_once(' ') else {
                    return shown.stderr.contains("there is no container");
                };
                status != "running"
                    || std::path::Path::new(&format!("/proc/{pid}/status")).exists() && pid != "0"
            });
        }
        let is_told = ["0", "7", "137", "143", "null", "125", "126", "127"].contains(&code);
        assert!(is_told, "an exit code that nobody gave: {line}: {shown:?}");
    }
    eventually("all can be removed", || place.verb("rm", &["-af"]).code() == 0);
    // Whatever a dead one left behind its back, the next command takes away.
    assert_eq!(place.script("run", &["--rm"], "true").code(), 0);
    place.assert_nothing_left();
}
