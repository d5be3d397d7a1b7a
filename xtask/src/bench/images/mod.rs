//! Images: pulled from a registry on loopback by rabbitc and by others, run, and listed where there are many. The registry, its
//! images, the daemons and the stores are the bench's own, in its private view, and end with it.

mod kept;
mod material;
mod memory;
mod pulls;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use self::kept::Kept;
use self::material::{IMAGES, Material};
use self::pulls::Pulls;
use super::contender::Contender;
use super::versions_of;
use crate::bench::disk::{Disk, Hidden};
use crate::process::{self, Naming, Result};

/// A round of pulls takes half a minute, and its figures spread less than those of starts.
const MOST_PULL_ROUNDS: usize = 5;
/// How many images are listed.
const MANY: usize = 500;

/// The figures of this part.
pub struct Figures {
    pulls: Vec<Pulls>,
    runs: Vec<Contender>,
    lists: Vec<Contender>,
    disk: &'static str,
    versions: Vec<String>,
    rounds: usize,
}

/// Makes images of this host's own files below `directory`, and measures all that is done with them.
pub fn measure(directory: &Path, rounds: usize, pause: Duration) -> Result<Figures> {
    let place = directory.join("images");
    std::fs::create_dir_all(&place).naming(format_args!("create `{}`", place.display()))?;
    process::announce("making images of this host's files");
    let material = Material::make(&place, MANY)?;
    let _registry = material.serve()?;
    // Where they write whatever directories they are told: what podman and skopeo saw of blobs, dockerd's key, and room for
    // programs that containerd was asked to install.
    let covered = ["/var/lib/containers", "/etc/docker", "/opt/containerd"];
    let _hidden: Vec<Hidden> =
        covered.into_iter().map(|path| Hidden::behind_memory(Path::new(path))).collect::<Result<_>>()?;
    let pull_rounds = rounds.min(MOST_PULL_ROUNDS);
    let mut pulls = Vec::new();
    for image in IMAGES {
        process::announce(&format!("pulling an image of {} layers", image.layers));
        pulls.push(Pulls::measure(&material, image, &place, pull_rounds)?);
    }
    process::announce("running an image");
    let disk = Disk::make(&place)?;
    let kept = Kept { material: &material, place: disk.path() };
    let runs = kept.measure_runs(rounds, pause)?;
    process::announce(&format!("listing {MANY} images"));
    let lists = kept.measure_lists(rounds, pause)?;
    Ok(Figures {
        pulls,
        runs,
        lists,
        disk: disk.kind(),
        versions: versions_of(&["podman", "ctr", "skopeo", "umoci", "dockerd"]),
        rounds,
    })
}

impl Figures {
    /// For machines.
    pub fn render_json(&self) -> Value {
        json!({
            "disk": self.disk,
            "versions": self.versions,
            "pulls": self.pulls.iter().map(Pulls::render_json).collect::<Vec<_>>(),
            "runs": kept::render_json(&self.runs),
            "lists": kept::render_json(&self.lists),
        })
    }

    /// For people.
    pub fn print_table(&self) {
        println!(
            "\nimages, in turn, each pull into an empty store on {}; ratios are medians of pairs\n",
            self.disk
        );
        pulls::print_table(&self.pulls);
        println!("\nrun of an image with a network, and the list of {MANY} images: {} rounds\n", self.rounds);
        kept::print_table(&self.runs, &self.lists);
        println!();
        self.pulls.iter().for_each(Pulls::print_verdicts);
        kept::print_verdicts(&self.runs, &self.lists);
        println!("compared with {}", self.versions.join(", "));
    }
}
