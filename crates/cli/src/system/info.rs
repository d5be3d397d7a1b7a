//! `rabbitc info`, by itself and behind `system`: what this host is, and what rabbitc keeps on it.

use std::collections::BTreeSet;

use clap::Parser;
use engine::{EnginePaths, ImageFilters, ImageStore, KeptContainers, KeptState, Result, memory_of_host};

use crate::containers::binary;
use crate::images::print;
use crate::life::PlaceArguments;
use crate::template::{Field, Template, Value};

/// Shows what this host is, and what rabbitc keeps on it.
#[derive(Debug, Parser)]
#[command(name = "rabbitc info", max_term_width = 100)]
pub(crate) struct InfoArguments {
    /// `json`, or a line such as `{{.NCPU}} {{.KernelVersion}}`; podman's `.Host` and `.Store` are there, too
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

/// How many containers are in which state.
#[derive(Debug, Default)]
struct Counts {
    all: u64,
    running: u64,
    paused: u64,
}

impl Counts {
    fn stopped(&self) -> u64 {
        self.all - self.running - self.paused
    }
}

pub(super) fn info(arguments: &InfoArguments) -> Result<()> {
    let (containers, paths) = (arguments.place.containers()?, arguments.place.paths()?);
    let mut counts = Counts::default();
    for one in containers.list_all(&paths, &[])?.0 {
        counts.all += 1;
        match (one.state, one.is_paused) {
            (KeptState::Running, true) => counts.paused += 1,
            (KeptState::Running, false) => counts.running += 1,
            _ => {}
        }
    }
    let images = ImageStore::open_to_read(arguments.place.root())?.list(&ImageFilters(Vec::new()))?;
    let images = images.iter().map(|image| &image.id).collect::<BTreeSet<_>>().len() as u64;
    let host = Host::look();
    let all = value(&host, &counts, images, &Places { containers: &containers, paths: &paths });
    match arguments.format.as_deref() {
        None | Some("") => print(&text(&host, &counts, images, &containers)),
        Some("json") => print(&format!("{}\n", all.json())),
        Some(format) => print(&format!("{}\n", Template::parse(format)?.render(&all)?)),
    }
}

/// Where all is.
struct Places<'a> {
    containers: &'a KeptContainers,
    paths: &'a EnginePaths,
}

/// What this host is.
struct Host {
    name: String,
    kernel: String,
    system: String,
    distribution: String,
    release: String,
    machine: String,
    processors: u64,
    memory: u64,
    cgroups: u64,
    is_root: bool,
}

impl Host {
    fn look() -> Host {
        let names = rustix::system::uname();
        let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let release = file("/etc/os-release");
        let said = |key: &str| {
            let value = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            value.map(|value| value.trim_matches('"').to_owned())
        };
        Host {
            name: text(names.nodename()),
            kernel: text(names.release()),
            system: said("PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()),
            distribution: said("ID").unwrap_or_else(|| "unknown".to_owned()),
            release: said("VERSION_ID").unwrap_or_default(),
            machine: text(names.machine()),
            processors: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
            memory: memory_of_host(),
            // The file is only in the root of a unified hierarchy.
            cgroups: if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { 2 } else { 1 },
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    fn security(&self) -> Vec<String> {
        let seccomp = "name=seccomp,profile=builtin".to_owned();
        let rootless = (!self.is_root).then(|| "name=rootless".to_owned());
        [Some(seccomp), rootless].into_iter().flatten().collect()
    }
}

/// Docker's fields in its order; and podman's, as far as they mean something here, for templates.
fn value(host: &Host, counts: &Counts, images: u64, places: &Places<'_>) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let root = places.containers.data().display().to_string();
    let cgroups = host.cgroups.to_string();
    let volumes = places.containers.data().join("volumes").display().to_string();
    let runtime = vec![
        Field::new("Name", "rabbitc-runtime"),
        Field::new("Path", std::env::current_exe().unwrap_or_default().display().to_string()),
        Field::new("Version", version),
    ];
    let podmans_host = vec![
        Field::new("Arch", podmans(&host.machine)),
        Field::new("CgroupManager", "cgroupfs"),
        Field::new("CgroupsVersion", format!("v{cgroups}")),
        Field::new("CPUs", host.processors),
        // What is kept is in files of its own.
        Field::new("DatabaseBackend", "none"),
        Field::new(
            "Distribution",
            vec![
                Field::new("Distribution", host.distribution.as_str()),
                Field::new("Version", host.release.as_str()),
            ],
        ),
        Field::new("EventLogger", "file"),
        Field::new("Hostname", host.name.as_str()),
        Field::new("Kernel", host.kernel.as_str()),
        Field::new("LogDriver", "json-file"),
        Field::new("MemTotal", host.memory),
        Field::new("NetworkBackend", "rabbitc"),
        Field::new("OCIRuntime", runtime),
        Field::new("OS", "linux"),
        Field::new(
            "Security",
            vec![Field::new("Rootless", !host.is_root), Field::new("SECCOMPEnabled", true)],
        ),
    ];
    let store = vec![
        Field::new(
            "ContainerStore",
            vec![
                Field::new("Number", counts.all),
                Field::new("Paused", counts.paused),
                Field::new("Running", counts.running),
                Field::new("Stopped", counts.stopped()),
            ],
        ),
        Field::new("GraphDriverName", "overlay"),
        Field::new("GraphRoot", root.as_str()),
        Field::new("ImageStore", vec![Field::new("Number", images)]),
        Field::new("RunRoot", places.paths.base().display().to_string()),
        Field::new("VolumePath", volumes),
    ];
    vec![
        Field::new("Containers", counts.all),
        Field::new("ContainersRunning", counts.running),
        Field::new("ContainersPaused", counts.paused),
        Field::new("ContainersStopped", counts.stopped()),
        Field::new("Images", images),
        Field::new("Driver", "overlay"),
        Field::new("LoggingDriver", "json-file"),
        Field::new("CgroupDriver", "cgroupfs"),
        Field::new("CgroupVersion", cgroups),
        Field::new("KernelVersion", host.kernel.as_str()),
        Field::new("OperatingSystem", host.system.as_str()),
        Field::new("OSType", "linux"),
        Field::new("Architecture", host.machine.as_str()),
        Field::new("NCPU", host.processors),
        Field::new("MemTotal", host.memory),
        Field::new("DockerRootDir", root.as_str()),
        Field::new("Name", host.name.as_str()),
        Field::new("ServerVersion", version),
        Field::new("DefaultRuntime", "rabbitc-runtime"),
        Field::new("SecurityOptions", host.security()),
        Field::alias("Host", podmans_host),
        Field::alias("Store", store),
        Field::alias("Version", vec![Field::new("Version", version)]),
    ]
    .into()
}

/// A processor as Go calls it.
pub(super) fn podmans(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// As docker shows what its daemon knows.
fn text(host: &Host, counts: &Counts, images: u64, containers: &KeptContainers) -> String {
    format!(
        "Containers: {}\n Running: {}\n Paused: {}\n Stopped: {}\nImages: {images}\nVersion: {}\nStorage Driver: overlay\n\
         Logging Driver: json-file\nCgroup Driver: cgroupfs\nCgroup Version: {}\nRuntime: rabbitc-runtime\nSecurity Options: {}\n\
         Kernel Version: {}\nOperating System: {}\nOSType: linux\nArchitecture: {}\nCPUs: {}\nTotal Memory: {}\nName: {}\n\
         Root Dir: {}\n",
        counts.all,
        counts.running,
        counts.paused,
        counts.stopped(),
        env!("CARGO_PKG_VERSION"),
        host.cgroups,
        host.security().join(" "),
        host.kernel,
        host.system,
        host.machine,
        host.processors,
        binary(host.memory),
        host.name,
        containers.data().display(),
    )
}
