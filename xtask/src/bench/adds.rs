//! What each feature adds to a start: the same start with it and without it, in turn.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::contender::{Contender, Owner, median, milliseconds, paired};
use super::table::{Table, figures, shown, words};
use crate::process;

/// A start without a feature and the same with it.
pub struct Feature {
    name: &'static str,
    without: &'static str,
    with: &'static str,
}

const FEATURES: [Feature; 8] = [
    Feature { name: "network", without: "none", with: "bridge" },
    Feature { name: "seccomp", without: "unconfined", with: "none" },
    Feature { name: "user namespace", without: "none", with: "userns" },
    Feature { name: "1 volume", without: "none", with: "volume" },
    Feature { name: "10 volumes", without: "none", with: "volumes" },
    Feature { name: "1 published port", without: "bridge", with: "port" },
    Feature { name: "1,000 published ports", without: "bridge", with: "ports" },
    // The kernel can't add a number to a port: each needs an entry of its own.
    Feature { name: "1,000 renumbered ports", without: "bridge", with: "renumbered" },
];

/// Every start that a feature is measured by.
pub fn contenders(directory: &Path) -> Vec<Contender> {
    let rabbitc = process::target_directory().join("release/rabbitc");
    let mut root = OsString::from("--rootfs=");
    root.push(directory.join("bundle/rootfs"));
    let volumes: Vec<String> =
        (0..10).map(|number| format!("--volume={}:/mnt/{number}", directory.display())).collect();
    let start = |name: &'static str, flags: &[&str]| {
        let mut words = vec![rabbitc.as_os_str(), OsStr::new("run"), &root];
        words.extend(flags.iter().map(OsStr::new));
        words.push(OsStr::new("--cmd=/bin/true"));
        Contender::new(name, Owner::Us, &words)
    };
    let none = "--network=none";
    let mut many = vec![none];
    many.extend(volumes.iter().map(String::as_str));
    vec![
        start("none", &[none]),
        start("unconfined", &[none, "--security-opt=seccomp=unconfined"]),
        start("userns", &[none, "--userns=auto"]),
        start("volume", &[none, &volumes[0]]),
        start("volumes", &many),
        start("bridge", &[]),
        start("port", &["--publish=20080:80"]),
        start("ports", &["--publish=21000-21999:21000-21999"]),
        start("renumbered", &["--publish=21000-21999:1000-1999"]),
    ]
}

impl Feature {
    /// The medians, over all rounds, of the milliseconds it adds and of the ratio of the start with it to that
    /// without.
    fn figures(&self, contenders: &[Contender]) -> Option<(f64, f64)> {
        let times = |name: &str| {
            let found = contenders.iter().find(|contender| contender.name == name)?;
            Some(milliseconds(&found.times))
        };
        let (without, with) = (times(self.without)?, times(self.with)?);
        let added = without.iter().zip(&with).map(|(without, with)| with - without).collect();
        Some((median(added)?, paired(&with, &without)?))
    }
}

/// The figures for machines.
pub fn render_json(contenders: &[Contender]) -> Value {
    let row = |feature: &Feature| {
        let figures = feature.figures(contenders);
        json!({
            "feature": feature.name,
            "added_ms": figures.map(|(added, _)| added),
            "ratio": figures.map(|(_, ratio)| ratio),
        })
    };
    FEATURES.iter().map(row).collect()
}

/// The figures for people.
pub fn print_table(contenders: &[Contender], rounds: usize, pause: Duration) {
    let pause = pause.as_millis();
    println!(
        "\nwhat a feature adds to a start of rabbitc: {rounds} rounds in turn, {pause} ms pause, medians of pairs\n"
    );
    let table = Table::begin(const { &[words(24), figures("adds ms", 9), figures("× start without", 15)] });
    for feature in &FEATURES {
        let (added, ratio) = feature.figures(contenders).unzip();
        table.row([feature.name.to_owned(), shown(added, 2), shown(ratio, 2)]);
    }
}
