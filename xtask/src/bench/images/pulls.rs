//! Pulling an image into an empty store, and unpacking it: rabbitc, podman, containerd, skopeo with umoci, and a plain pipe.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::material::{Image, Material, Size};
use super::memory;
use crate::bench::contender::{Owner, median, milliseconds, paired};
use crate::bench::daemon::Daemon;
use crate::bench::disk::Disk;
use crate::bench::engines::podman;
use crate::bench::table::{self, Table, figures, shown, words};
use crate::process::{self, Failure, Naming, Result};

/// The most memory that a pull may take.
const MOST_MEGABYTES: f64 = 25.0;

/// Who pulls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Puller {
    Rabbitc,
    Podman,
    Containerd,
    Umoci,
    /// As little as it takes: nothing is verified, and nothing is made durable.
    Pipe,
}

const PULLERS: [Puller; 5] =
    [Puller::Rabbitc, Puller::Podman, Puller::Containerd, Puller::Umoci, Puller::Pipe];

/// Each layer is fetched, kept, decompressed and unpacked into a directory of its own.
const PIPE: &str = "set -e; cd \"$1\"; number=0
for digits in $(cat \"$3\"); do
    mkdir $number
    curl --fail --silent --show-error \"$2$digits\" | tee $number.gz | gzip -d | tar -x -C $number
    number=$((number + 1))
done";
const UMOCI: &str = "set -e; cd \"$1\"
skopeo --insecure-policy copy --quiet --src-tls-verify=false \"docker://$2\" oci:layout:1
umoci unpack --image layout:1 bundle";

impl Puller {
    fn name(self) -> &'static str {
        match self {
            Puller::Rabbitc => "rabbitc pull",
            Puller::Podman => "podman pull",
            Puller::Containerd => "ctr images pull",
            Puller::Umoci => "skopeo, umoci unpack",
            Puller::Pipe => "curl, tee, gzip, tar",
        }
    }

    fn owner(self) -> Owner {
        match self {
            Puller::Rabbitc => Owner::Us,
            _ => Owner::Others,
        }
    }

    fn programs(self) -> &'static [&'static str] {
        match self {
            Puller::Rabbitc => &[],
            Puller::Podman => &["podman"],
            Puller::Containerd => &["containerd", "ctr"],
            Puller::Umoci => &["skopeo", "umoci"],
            Puller::Pipe => &["curl", "gzip", "tar"],
        }
    }

    /// Its daemon, on an empty store.
    fn daemon(self, store: &Path) -> Result<Option<Daemon>> {
        if self != Puller::Containerd {
            return Ok(None);
        }
        let configuration = store.join("containerd.toml");
        let text = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
        std::fs::write(&configuration, text).naming(format_args!("write `{}`", configuration.display()))?;
        let mut command = Command::new("containerd");
        command.arg("--config").arg(configuration).arg("--root").arg(store.join("root"));
        command.args(["--state", "/run/bench-containerd", "--address", CONTAINERD]);
        let mut daemon = Daemon::start("containerd", &mut command, store)?;
        daemon.wait_for(|| ctr(&["version"]))?;
        Ok(Some(daemon))
    }

    fn command(self, material: &Material, image: Image, store: &Path) -> Command {
        let name = image.whole_name();
        match self {
            Puller::Rabbitc => {
                let mut command = Command::new(process::target_directory().join("release/rabbitc"));
                command.args(["pull", "--quiet", "--root"]).arg(store).arg(name);
                command
            }
            Puller::Podman => {
                let mut command = podman(store);
                command.args(["pull", "--quiet", "--tls-verify=false", &name]);
                command
            }
            Puller::Containerd => ctr(&["images", "pull", "--plain-http", &name]),
            Puller::Umoci => script(UMOCI, store, &name),
            Puller::Pipe => {
                let mut command = script(PIPE, store, &Material::layer_address(image));
                command.arg(material.layers(image));
                command
            }
        }
    }
}

const CONTAINERD: &str = "/run/bench-containerd.sock";

fn ctr(arguments: &[&str]) -> Command {
    let mut command = Command::new("ctr");
    command.args(["--address", CONTAINERD]).args(arguments);
    command
}

fn script(text: &str, store: &Path, source: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", text, "pull"]).arg(store).arg(source);
    command
}

/// What one of them took.
struct Row {
    puller: Puller,
    failure: Option<String>,
    times: Vec<Duration>,
    /// Of the command with its children; what a daemon does is not in it.
    peak_kilobytes: Option<u64>,
}

/// What all took for one image.
pub struct Pulls {
    image: Image,
    size: Size,
    rounds: usize,
    /// Ours is the first.
    rows: Vec<Row>,
}

impl Pulls {
    pub fn measure(material: &Material, image: Image, place: &Path, rounds: usize) -> Result<Self> {
        let mut rows: Vec<Row> = PULLERS.into_iter().map(Row::new).collect();
        // Not counted: files of the registry and programs come into memory, and the command is looked at all the while.
        rows.iter_mut().try_for_each(|row| {
            row.attempt(|row| {
                let peak = pull(row.puller, material, image, place, |command| {
                    let (status, peak) = memory::peak_of_group(command)?;
                    match status.success() {
                        true => Ok(peak),
                        // Once more, for what it says.
                        false => timed(command).map(|_| peak),
                    }
                })?;
                row.peak_kilobytes = Some(peak).filter(|_| row.puller != Puller::Containerd);
                Ok(())
            })
        })?;
        for _ in 0..rounds {
            rows.iter_mut().try_for_each(|row| {
                row.attempt(|row| {
                    row.times.push(pull(row.puller, material, image, place, timed)?);
                    Ok(())
                })
            })?;
        }
        Ok(Self { image, size: material.size(image)?, rounds, rows })
    }

    /// Of what another took, ours.
    fn ours_to(&self, row: &Row) -> Option<f64> {
        let [ours, theirs] = [&self.rows[0], row].map(|row| milliseconds(&row.times));
        paired(&ours, &theirs).filter(|_| row.failure.is_none())
    }

    pub fn render_json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "name": row.puller.name(),
                "failure": row.failure,
                "median_ms": median(milliseconds(&row.times)),
                "rabbitc_to_this": self.ours_to(row),
                "peak_kilobytes": row.peak_kilobytes,
            })
        };
        let Size { bytes, compressed, files } = self.size;
        json!({
            "layers": self.image.layers,
            "bytes": bytes,
            "compressed_bytes": compressed,
            "files": files,
            "rounds": self.rounds,
            "pullers": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }

    /// Whether the goals were reached.
    pub fn print_verdicts(&self) {
        let name = format!("rabbitc pull, {} layers", self.image.layers);
        let podman = self.rows.iter().find(|row| row.puller == Puller::Podman);
        table::verdict(&name, "podman pull", podman.and_then(|row| self.ours_to(row)), self.image.goal);
        let peak = self.rows[0].peak_kilobytes.map(|kilobytes| kilobytes as f64 / 1024.0);
        if let Some(peak) = peak {
            let word = if peak <= MOST_MEGABYTES { "reached" } else { "MISSED" };
            println!("{name}: at most {peak:.1} MB in memory (goal {MOST_MEGABYTES:.0}): {word}");
        }
    }
}

pub fn print_table(all: &[Pulls]) {
    for Pulls { image, size, rounds, .. } in all {
        println!(
            "{} layers: {} MB, {} MB compressed, {} files; {rounds} rounds",
            image.layers,
            size.bytes / 1_000_000,
            size.compressed / 1_000_000,
            size.files
        );
    }
    println!(
        "peak: of the command with all its processes, each page counted once; looked at every 2 ms, in a round apart\n"
    );
    let table = Table::begin(
        const {
            &[
                words(13),
                words(21),
                figures("median ms", 9),
                figures("rabbitc to this", 15),
                figures("peak MB", 7),
            ]
        },
    );
    for pulls in all {
        for row in &pulls.rows {
            table.row([
                format!("{} layers", pulls.image.layers),
                row.puller.name().to_owned(),
                shown(median(milliseconds(&row.times)), 0),
                shown(pulls.ours_to(row), 2),
                shown(row.peak_kilobytes.map(|kilobytes| kilobytes as f64 / 1024.0), 1),
            ]);
        }
    }
}

impl Row {
    fn new(puller: Puller) -> Self {
        let missing = puller.programs().iter().find(|program| process::find_program(program).is_none());
        let failure = missing.map(|program| format!("there is no `{program}`"));
        if let Some(failure) = &failure {
            eprintln!("{}: {failure}", puller.name());
        }
        Self { puller, failure, times: Vec::new(), peak_kilobytes: None }
    }

    /// Takes a step, unless an earlier one failed.
    fn attempt(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if self.failure.is_none()
            && let Err(failure) = step(self)
        {
            let failure = Failure::new(format!("{}: {failure}", self.puller.name()));
            self.failure = Some(self.puller.owner().report(failure)?);
        }
        Ok(())
    }
}

/// Has an image pulled into a store that is empty; `run` runs the command.
fn pull<T>(
    puller: Puller,
    material: &Material,
    image: Image,
    place: &Path,
    run: impl FnOnce(&mut Command) -> Result<T>,
) -> Result<T> {
    let disk = Disk::make(place)?;
    let _daemon = puller.daemon(disk.path())?;
    run(&mut puller.command(material, image, disk.path()))
}

fn timed(command: &mut Command) -> Result<Duration> {
    command.stdin(Stdio::null());
    let started = Instant::now();
    process::read(command)?;
    Ok(started.elapsed())
}
