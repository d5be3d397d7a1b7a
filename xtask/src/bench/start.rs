//! The start of `/bin/true` with rabbitc and with others, from the bare kernel's floor to podman.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::contender::{Contender, Owner, median, milliseconds, ratio};
use super::runtimes::Runtimes;
use super::table::{Table, figures, shown, verdict, words};
use crate::process;

const FLOOR: &str = "bare kernel floor";
const ASKED: &str = "kernel, all that is asked";
const RUNTIME: &str = "rabbitc-runtime run";
const CRUN: &str = "crun run";
const RUNC: &str = "runc run";
const RABBITC: &str = "rabbitc --rootfs";
const PODMAN: &str = "podman run --rm --rootfs";

/// All of them, not yet measured.
pub fn contenders(directory: &Path, floor: &OsStr, runtimes: &Runtimes) -> Vec<Contender> {
    let release = process::target_directory().join("release");
    let bundle = directory.join("bundle");
    let root = bundle.join("rootfs");
    let rabbitc = release.join("rabbitc");
    let mut flag = OsString::from("--rootfs=");
    flag.push(&root);
    let s = OsStr::new;
    let run = |name, owner, program: &OsStr| {
        Contender::new(
            name,
            owner,
            &[program, s("run"), s("--bundle"), bundle.as_os_str(), s("rabbitc-bench")],
        )
    };
    let podman = |name, network| {
        let words = [
            s("podman"),
            s("--cgroup-manager=cgroupfs"),
            s("--runtime=crun"),
            s("run"),
            s("--rm"),
            s(network),
            s("--rootfs"),
            root.as_os_str(),
            s("/bin/true"),
        ];
        Contender::new(name, Owner::Others, &words)
    };
    vec![
        Contender::new(FLOOR, Owner::Us, &[floor, root.as_os_str(), s("/bin/true")]),
        Contender::new(ASKED, Owner::Us, &[floor, s("--asked"), root.as_os_str(), s("/bin/true")]),
        run(RUNTIME, Owner::Us, release.join("rabbitc-runtime").as_os_str()),
        run(CRUN, Owner::Others, runtimes.crun.as_os_str()),
        run(RUNC, Owner::Others, runtimes.runc.as_os_str()),
        Contender::new(RABBITC, Owner::Us, &[rabbitc.as_os_str(), &flag, s("--cmd=/bin/true")]),
        Contender::new(
            "rabbitc --network none",
            Owner::Us,
            &[rabbitc.as_os_str(), s("run"), &flag, s("--network"), s("none"), s("--cmd=/bin/true")],
        ),
        podman(PODMAN, "--network=bridge"),
        podman("podman --network none", "--network=none"),
    ]
}

/// The figures for machines.
pub fn render_json(contenders: &[Contender], rounds: usize, pause: Duration, versions: &[String]) -> Value {
    let row = |contender: &Contender| {
        let times = milliseconds(&contender.times);
        json!({
            "name": contender.name,
            "failure": contender.failure,
            "median_ms": median(times.clone()),
            "minimum_ms": times.iter().copied().min_by(f64::total_cmp),
            "ratio_to_floor": ratio(contenders, contender, FLOOR),
            "ratio_to_crun": ratio(contenders, contender, CRUN),
            "ratio_to_runc": ratio(contenders, contender, RUNC),
            "ratio_to_podman": ratio(contenders, contender, PODMAN),
            "syscalls": contender.syscalls,
            "peak_kilobytes": contender.peak_kilobytes,
        })
    };
    json!({ "rounds": rounds, "pause_ms": pause.as_millis() as u64, "versions": versions, "contenders": contenders.iter().map(row).collect::<Vec<_>>() })
}

/// The figures for people.
pub fn print_table(contenders: &[Contender], rounds: usize, pause: Duration) {
    let pause = pause.as_millis();
    println!(
        "start of `/bin/true` in a container: {rounds} rounds in turn, {pause} ms pause before each start;"
    );
    println!("ratios are medians of paired runs\n");
    let table = Table::begin(
        const {
            &[
                words(26),
                figures("median ms", 9),
                figures("min ms", 7),
                figures("× floor", 7),
                figures("× crun", 7),
                figures("× runc", 7),
                figures("× podman", 8),
                figures("syscalls", 8),
                figures("peak MB", 7),
            ]
        },
    );
    for contender in contenders {
        let times = milliseconds(&contender.times);
        let to = |other| ratio(contenders, contender, other);
        table.row([
            contender.name.to_owned(),
            shown(median(times.clone()), 2),
            shown(times.iter().copied().min_by(f64::total_cmp), 2),
            shown(to(FLOOR), 2),
            shown(to(CRUN), 2),
            shown(to(RUNC), 2),
            shown(to(PODMAN), 3),
            shown(contender.syscalls.map(|calls| calls as f64), 0),
            shown(contender.peak_kilobytes.map(|kilobytes| kilobytes as f64 / 1024.0), 1),
        ]);
    }
    println!();
    for (name, other, goal) in
        [(RUNTIME, CRUN, 0.45), (RUNTIME, RUNC, 0.15), (RUNTIME, FLOOR, 1.3), (RABBITC, PODMAN, 1.0 / 15.0)]
    {
        let Some(one) = contenders.iter().find(|contender| contender.name == name) else { continue };
        verdict(name, other, ratio(contenders, one, other), goal);
    }
}
