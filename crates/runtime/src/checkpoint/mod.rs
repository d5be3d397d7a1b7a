//! Writes a running container to files and starts it from them again, by means of criu (criu.org), which is spoken to
//! over its RPC socket. Owns what criu must be told of a container. Must not know what criu's files mean.

mod criu;
mod external;
mod messages;
mod restore;

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub use self::criu::Criu;
use self::criu::{News, Process};
use self::messages::{Options, PageServer, Request, kind};
pub(crate) use self::restore::PLACE;
pub use self::restore::{RestoreOptions, restore};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::lifecycle::{self, Verb, Warnings};
use crate::shared_root::JoinedMounts;
use crate::spec::{Linux, Spec};
use crate::state_dir::{Lock, Record, StateRoot};

/// What criu does with cgroups and their settings (criu(8), `--manage-cgroups`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupMode {
    /// Restores settings of groups that it makes itself.
    #[default]
    Soft,
    /// Restores all of them.
    Full,
    /// The same, and the groups must be there and empty.
    Strict,
    /// Knows nothing of cgroups.
    Ignore,
}

impl CgroupMode {
    /// By the name that criu has for it.
    pub fn parse(text: &str) -> Option<CgroupMode> {
        Some(match text {
            "soft" => CgroupMode::Soft,
            "full" => CgroupMode::Full,
            "strict" => CgroupMode::Strict,
            "ignore" => CgroupMode::Ignore,
            _ => return None,
        })
    }

    fn number(self) -> i32 {
        match self {
            CgroupMode::Ignore => 0,
            CgroupMode::Soft => 3,
            CgroupMode::Full => 4,
            CgroupMode::Strict => 5,
        }
    }
}

/// What both directions have in common.
#[derive(Debug, Clone)]
pub struct Common {
    /// Where criu is.
    pub criu: Criu,
    /// The directory of the image files, absolute.
    pub images: PathBuf,
    /// The directory of logs and sockets; without one it is that of the images.
    pub work: Option<PathBuf>,
    /// TCP connections go along.
    pub tcp_established: bool,
    /// Unix sockets whose other end is outside are allowed.
    pub external_unix_sockets: bool,
    /// A session whose leader is outside, and its terminal, are allowed.
    pub shell_job: bool,
    /// File locks go along.
    pub file_locks: bool,
    /// Each page is kept once over all images.
    pub auto_dedup: bool,
    /// Memory comes later, page by page.
    pub lazy_pages: bool,
    /// What criu does with cgroups.
    pub cgroup_mode: CgroupMode,
    /// Namespaces of which nothing is kept, as bits of clone(2).
    pub empty_namespaces: u32,
}

impl Common {
    fn work(&self) -> &Path {
        self.work.as_deref().unwrap_or(&self.images)
    }

    fn options(&self, images: &OwnedFd, work: Option<&OwnedFd>, record: &Record, log: &str) -> Options {
        Options {
            images_dir_fd: images.as_raw_fd(),
            work_dir_fd: work.map(AsRawFd::as_raw_fd),
            log_level: Some(4),
            log_file: Some(log.to_owned()),
            notify_scripts: Some(true),
            manage_cgroups: Some(true),
            manage_cgroups_mode: Some(self.cgroup_mode.number()),
            tcp_established: Some(self.tcp_established),
            ext_unix_sk: Some(self.external_unix_sockets),
            shell_job: Some(self.shell_job),
            file_locks: Some(self.file_locks),
            auto_dedup: Some(self.auto_dedup),
            lazy_pages: Some(self.lazy_pages),
            empty_namespaces: Some(self.empty_namespaces),
            orphan_pts_master: Some(true),
            config_file: config_file(record),
            ..Options::default()
        }
    }
}

/// criu's settings for containers: the container's own by its annotation, none if that is empty, else those that an
/// administrator wrote for all containers, where other runtimes look too.
fn config_file(record: &Record) -> Option<String> {
    match record.annotations.get("org.criu.config") {
        Some(path) => Some(path.clone()).filter(|path| !path.is_empty()),
        None => Some("/etc/criu/runc.conf".to_owned()),
    }
}

/// What a checkpoint is to be.
#[derive(Debug)]
pub struct CheckpointOptions {
    /// What it shares with a restore.
    pub common: Common,
    /// The container goes on.
    pub leave_running: bool,
    /// Only memory, and the container goes on: a later checkpoint holds what changed since.
    pub pre_dump: bool,
    /// The images of an earlier one, relative to this one's.
    pub parent: Option<PathBuf>,
    /// Connections that are still being made are left out.
    pub tcp_skip_in_flight: bool,
    /// Files that have no name any more get one.
    pub link_remap: bool,
    /// Address and port where the memory's pages are to go, or from which they are served.
    pub page_server: Option<(String, u16)>,
    /// Gets one zero byte once pages can be asked for.
    pub status: Option<OwnedFd>,
}

/// criu wants the root of a container to be that of its mount namespace.
fn refuse_joined_mounts(joined: Option<&JoinedMounts>) -> Result<()> {
    if joined.is_none() {
        return Ok(());
    }
    let what = "a checkpoint of a container in a mount namespace that it joined";
    Err(Error::unsupported(
        "linux.namespaces",
        what.to_owned(),
        "leave out the path of `{\"type\": \"mount\"}`",
    ))
}

/// Writes the container to the image directory; unless it is left running, it ends and is removed.
pub fn checkpoint(root: &StateRoot, id: &ContainerId, options: CheckpointOptions) -> Result<Warnings> {
    let state = root.open(id, Lock::Wait)?;
    let record = state.read()?;
    lifecycle::demand(id.as_str(), lifecycle::status(&state, &record), Verb::Checkpoint)?;
    refuse_joined_mounts(record.joined_mounts.as_ref())?;
    let spec: Spec = crate::bundle::read_json(&lifecycle::config_path(&record))?;
    let linux = spec.linux.clone().unwrap_or_default();
    let common = &options.common;
    let program = common.criu.find()?;
    let images = open_or_make(&common.images)?;
    let work = common.work.as_deref().map(open_or_make).transpose()?;
    let mut empty_namespaces = common.empty_namespaces;
    if external::has_network_of_others(&linux, record.pid)? {
        empty_namespaces |= sys::clone::flags::NEWNET as u32;
    }
    const LOG: &str = "dump.log";
    let request = Request {
        kind: if options.pre_dump { kind::PRE_DUMP } else { kind::DUMP },
        options: Some(Options {
            pid: Some(record.pid),
            root: Some(record.rootfs.display().to_string()),
            leave_running: Some(options.leave_running),
            tcp_skip_in_flight: Some(options.tcp_skip_in_flight),
            link_remap: Some(options.link_remap),
            freeze_cgroup: freezer(&record)?,
            page_server: options.page_server.as_ref().map(|(address, port)| PageServer {
                address: Some(address.clone()),
                port: Some(i32::from(*port)),
            }),
            parent_img: options.parent.as_ref().map(|path| path.display().to_string()),
            track_mem: Some(options.pre_dump || options.parent.is_some()),
            external: external_namespaces(&linux, &record)?,
            external_mounts: external_mounts(&spec, &linux, &record)?,
            empty_namespaces: Some(empty_namespaces),
            ..common.options(&images, work.as_ref(), &record, LOG)
        }),
        notify_success: None,
    };
    if !options.pre_dump {
        let streams = serde_json::to_vec(&external::standard_streams(record.pid)).expect("strings");
        crate::state_dir::write_atomically(&common.images, external::DESCRIPTORS, &streams)?;
    }
    let mut status = options.status.map(File::from);
    let mut hear = |news: News| {
        if let News::Moment { name, .. } = &news
            && name == "status-ready"
            && let Some(mut status) = status.take()
        {
            use std::io::Write;
            status.write_all(&[0]).map_err(|error| Error::system("write to `--status-fd`", error))?;
        }
        Ok(())
    };
    let process = Process::start(&common.criu, &program, None, &[])?;
    process
        .converse(&request, &mut hear)
        .map_err(|error| criu::quote_log(error, format!("checkpoint `{id}`"), common.work(), LOG))?;
    if options.leave_running || options.pre_dump {
        return Ok(Vec::new());
    }
    lifecycle::remove(state, &record)
}

/// Opens the directory, which is made for its owner alone if it is missing.
fn open_or_make(path: &Path) -> Result<OwnedFd> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::at_path("make the directory", path, error));
        }
        _ => {}
    }
    open_directory(path)
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| Error::at_path("open", path, error))
}

/// The group through which all of the container's processes stop at once.
fn freezer(record: &Record) -> Result<Option<String>> {
    let Some(group) = lifecycle::cgroup_of(record)? else { return Ok(None) };
    let has = |unified: bool| {
        let mut directories = group.directories();
        let found = directories.find(|(hierarchy, _)| match hierarchy.language() {
            cgroup::Language::V1 => !unified && hierarchy.has("freezer"),
            cgroup::Language::V2 => unified,
        });
        found.map(|(_, path)| path)
    };
    Ok(has(false).or_else(|| has(true)))
}

/// As criu wants them named: `KIND[INODE]:KEY`.
fn external_namespaces(linux: &Linux, record: &Record) -> Result<Vec<String>> {
    external::kept_namespaces(linux)
        .map(|(_, kind, key)| {
            let path = PathBuf::from(format!("/proc/{}/ns/{kind}", record.pid));
            let status = rustix::fs::stat(&path).map_err(|error| Error::at_path("look at", &path, error))?;
            Ok(format!("{kind}[{}]:{key}", status.st_ino))
        })
        .collect()
}

fn external_mounts(spec: &Spec, linux: &Linux, record: &Record) -> Result<Vec<messages::Pair>> {
    let inside = PathBuf::from(format!("/proc/{}/root", record.pid));
    let table = PathBuf::from(format!("/proc/{}/mountinfo", record.pid));
    let root = external::Root::open(&inside)?;
    let table = std::fs::read(&table).map_err(|error| Error::at_path("read", &table, error))?;
    Ok(external::mounts_to_dump(spec, linux, &root, &table))
}

/// Whether there are images to restore from.
fn demand_images(images: &Path) -> Result<()> {
    let inventory = images.join("inventory.img");
    if inventory.exists() {
        return Ok(());
    }
    let reason = format!("there is no checkpoint in `{}`", images.display());
    Err(Error::new(ErrorKind::Invalid, "--image-path", reason)
        .with_hint("name the directory that `checkpoint --image-path` wrote to"))
}
