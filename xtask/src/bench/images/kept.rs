//! What is done with images that are here: a container of one is run, and many are listed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::material::{self, Material};
use crate::bench::contender::{Contender, Owner, measure, median, milliseconds, ratio};
use crate::bench::daemon::Daemon;
use crate::bench::engines::{self, podman, rabbitc};
use crate::bench::table::{self, Table, figures, shown, words};
use crate::process::{self, Failure, Result};

const RABBITC_RUN: &str = "rabbitc run --rm";
const PODMAN_RUN: &str = "podman run --rm";
const DOCKER_RUN: &str = "docker run --rm";
const RABBITC_LIST: &str = "rabbitc images";
const PODMAN_LIST: &str = "podman images";

/// Stores with images, below one directory.
pub struct Kept<'a> {
    pub material: &'a Material,
    pub place: &'a Path,
}

impl Kept<'_> {
    /// `true` in a container of the image with three layers, with the network that each gives by itself.
    pub fn measure_runs(&self, rounds: usize, pause: Duration) -> Result<Vec<Contender>> {
        let image = material::to_be_run();
        let (ours, theirs) = (self.place.join("rabbitc"), self.place.join("podman"));
        process::read(rabbitc(&["pull", "--quiet"], &ours).arg(&image))?;
        let mut contenders =
            vec![contender(RABBITC_RUN, Owner::Us, rabbitc(&["run", "--rm"], &ours).args([&image, "true"]))];
        let mut podman_run = podman(&theirs);
        podman_run.args(["run", "--rm", "--network=bridge", &image, "true"]);
        let pulled = process::read(podman(&theirs).args(["pull", "--quiet", "--tls-verify=false", &image]));
        contenders.push(prepared(PODMAN_RUN, &podman_run, pulled.map(drop))?);
        let docker = self.docker();
        let mut docker_run = engines::docker(self.place);
        docker_run.args(["run", "--rm", &image, "true"]);
        contenders.push(prepared(DOCKER_RUN, &docker_run, docker.as_ref().map(drop).map_err(copy))?);
        run(contenders, rounds, pause)
    }

    /// All images that each has, of which there are many.
    pub fn measure_lists(&self, rounds: usize, pause: Duration) -> Result<Vec<Contender>> {
        let (ours, theirs) = (self.place.join("many-rabbitc"), self.place.join("many-podman"));
        process::read(rabbitc(&["pull", "--quiet"], &ours).args(self.material.many()))?;
        let list = contender(RABBITC_LIST, Owner::Us, &rabbitc(&["images"], &ours));
        let mut podman_list = podman(&theirs);
        podman_list.arg("images");
        let mut load = podman(&theirs);
        load.args(["load", "--quiet", "--input"]).arg(self.material.archive_of_many());
        let loaded = process::read(&mut load).map(drop);
        run(vec![list, prepared(PODMAN_LIST, &podman_list, loaded)?], rounds, pause)
    }

    /// dockerd with that image.
    fn docker(&self) -> Result<Daemon> {
        let daemon = engines::dockerd(self.place)?;
        let mut load = engines::docker(self.place);
        process::read(load.args(["load", "--input"]).arg(self.material.archive_to_be_run()))?;
        Ok(daemon)
    }
}

fn contender(name: &'static str, owner: Owner, command: &Command) -> Contender {
    let words: Vec<&OsStr> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    Contender::new(name, owner, &words)
}

/// A stranger, who may not have come to the start.
fn prepared(name: &'static str, command: &Command, outcome: Result<()>) -> Result<Contender> {
    let mut stranger = contender(name, Owner::Others, command);
    if let Err(failure) = outcome {
        stranger.failure = Some(Owner::Others.report(Failure::new(format!("{name}: {failure}")))?);
    }
    Ok(stranger)
}

fn copy(failure: &Failure) -> Failure {
    Failure::new(failure.to_string())
}

fn run(mut contenders: Vec<Contender>, rounds: usize, pause: Duration) -> Result<Vec<Contender>> {
    contenders.iter_mut().filter(|one| one.failure.is_none()).try_for_each(Contender::check)?;
    measure(&mut contenders, rounds, pause)?;
    Ok(contenders)
}

/// Of what another took, ours, which is the first.
fn ours_to(contenders: &[Contender], other: &Contender) -> Option<f64> {
    ratio(contenders, &contenders[0], other.name)
}

/// For machines.
pub fn render_json(contenders: &[Contender]) -> Value {
    let row = |contender: &Contender| {
        json!({
            "name": contender.name,
            "failure": contender.failure,
            "median_ms": median(milliseconds(&contender.times)),
            "rabbitc_to_this": ours_to(contenders, contender),
        })
    };
    contenders.iter().map(row).collect()
}

/// For people.
pub fn print_table(runs: &[Contender], lists: &[Contender]) {
    let table = Table::begin(const { &[words(16), figures("median ms", 9), figures("rabbitc to this", 15)] });
    for contenders in [runs, lists] {
        for contender in contenders {
            table.row([
                contender.name.to_owned(),
                shown(median(milliseconds(&contender.times)), 2),
                shown(ours_to(contenders, contender), 3),
            ]);
        }
    }
}

/// Whether the goals were reached.
pub fn print_verdicts(runs: &[Contender], lists: &[Contender]) {
    for (contenders, goal) in [(runs, 1.0 / 15.0), (lists, 1.0 / 10.0)] {
        for other in &contenders[1..] {
            table::verdict(contenders[0].name, other.name, ours_to(contenders, other), goal);
        }
    }
}
