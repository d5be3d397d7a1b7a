//! The floor that no container can go below: one clone with seven namespaces, a cgroup in every hierarchy, the
//! standard mounts and device nodes, pivot_root, exec, wait, and the groups removed. No checks, no security, no
//! network, no state: only for `cargo xtask bench`.
//!
//! With `--asked`, the kernel's part of what the configuration of `spec` asks beyond that, and of what every OCI runtime
//! does for it ([`asked`]): still without a check, an error's text or a line of JSON.

mod asked;

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{WaitId, WaitIdOptions};
use sys::clone::flags;
use sys::exec::CStringArray;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1).peekable();
    let asked = words.next_if(|word| word == "--asked").is_some();
    let (Some(root), Some(program)) = (words.next(), words.next()) else {
        eprintln!("usage: rabbitc-floor [--asked] ROOTFS PROGRAM");
        return ExitCode::from(125);
    };
    match start(&root, &program, asked) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("rabbitc-floor: {error}");
            ExitCode::from(125)
        }
    }
}

fn start(root: &OsStr, program: &OsStr, asked: bool) -> io::Result<u8> {
    let state = if asked {
        asked::protect()?;
        Some(asked::State::reserve()?)
    } else {
        None
    };
    let hierarchies = hierarchies()?;
    let groups = make_groups(&hierarchies)?;
    if asked {
        asked::restrict_devices(&hierarchies, &groups)?;
    }
    let child = Child {
        root: CString::new(root.as_bytes())?,
        program: CString::new(program.as_bytes())?,
        arguments: CStringArray::new(vec![CString::new(program.as_bytes())?]),
        environment: CStringArray::new(vec![c"PATH=/bin".to_owned()]),
        cgroup_mounts: cgroup_mounts(&hierarchies)?,
        memberships: memberships(&hierarchies, &groups)?,
        asked,
    };
    let unified = unified(&hierarchies, &groups)?;
    let request = sys::clone::CloneRequest {
        flags: flags::NEWNS | flags::NEWPID | flags::NEWNET | flags::NEWUTS | flags::NEWIPC,
        cgroup: unified.as_ref().map(AsFd::as_fd),
    };
    let started = sys::clone::clone(&request, &mut |_| child.run())?;
    if let Some(state) = &state {
        state.record(started.pid)?;
    }
    let status = rustix::process::waitid(WaitId::PidFd(started.pidfd.as_fd()), WaitIdOptions::EXITED)?;
    for group in &groups {
        std::fs::remove_dir(group)?;
    }
    state.map_or(Ok(()), asked::State::remove)?;
    Ok(status.and_then(|status| status.exit_status()).map_or(125, |code| code as u8))
}

/// One mounted hierarchy: where, the options that mount it again, and where this process is in it.
struct Hierarchy {
    mounted: PathBuf,
    kind: String,
    options: String,
    own: String,
}

fn hierarchies() -> io::Result<Vec<Hierarchy>> {
    let memberships = std::fs::read_to_string("/proc/self/cgroup")?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mut found = Vec::new();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let Some(dash) = fields.iter().position(|field| *field == "-") else { continue };
        let (kind, options) = (fields[dash + 1], fields[dash + 3]);
        let controllers = match kind {
            "cgroup2" => "",
            "cgroup" => options.trim_start_matches("rw,").trim_start_matches("xattr,"),
            _ => continue,
        };
        let own = memberships.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.strip_prefix(controllers)?.strip_prefix(':')
        });
        let Some(own) = own else { continue };
        let options = match controllers {
            named if named.starts_with("name=") => format!("none,{named}"),
            other => other.to_owned(),
        };
        found.push(Hierarchy {
            mounted: PathBuf::from(fields[4]),
            kind: kind.to_owned(),
            options,
            own: own.trim_start_matches('/').to_owned(),
        });
    }
    Ok(found)
}

fn make_groups(hierarchies: &[Hierarchy]) -> io::Result<Vec<PathBuf>> {
    let mut groups = Vec::new();
    for hierarchy in hierarchies {
        let parent = hierarchy.mounted.join(&hierarchy.own);
        let group = parent.join(format!("floor-{}", std::process::id()));
        std::fs::create_dir(&group)?;
        // A new cpuset of v1 has no processors, and takes no process until it has.
        if hierarchy.options == "cpuset" {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                std::fs::write(group.join(file), std::fs::read(parent.join(file))?)?;
            }
        }
        groups.push(group);
    }
    Ok(groups)
}

/// Directory below /sys/fs/cgroup, type and data of each mount.
fn cgroup_mounts(hierarchies: &[Hierarchy]) -> io::Result<Vec<(CString, CString, CString)>> {
    let mounts = hierarchies.iter().map(|hierarchy| {
        let name = hierarchy.mounted.file_name().unwrap_or_default();
        let directory = [b"sys/fs/cgroup/", name.as_bytes()].concat();
        Ok((
            CString::new(directory)?,
            CString::new(hierarchy.kind.as_str())?,
            CString::new(hierarchy.options.as_str())?,
        ))
    });
    mounts.collect()
}

/// The cgroup2 group in which the child starts.
fn unified(hierarchies: &[Hierarchy], groups: &[PathBuf]) -> io::Result<Option<OwnedFd>> {
    let found = hierarchies.iter().zip(groups).find(|(hierarchy, _)| hierarchy.kind == "cgroup2");
    let Some((_, group)) = found else { return Ok(None) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Some(rustix::fs::open(group, flags, Mode::empty())?))
}

/// In each v1 group the file through which the child moves itself: `tasks` and not `cgroup.procs`. A thread that
/// moves itself alone needs no stable thread group, so the kernel does not stop all forks and exits, for which it
/// would wait for an RCU grace period: milliseconds.
fn memberships(hierarchies: &[Hierarchy], groups: &[PathBuf]) -> io::Result<Vec<OwnedFd>> {
    let first = hierarchies.iter().zip(groups).filter(|(hierarchy, _)| hierarchy.kind == "cgroup");
    let open = |(_, group): (&Hierarchy, &PathBuf)| {
        Ok(rustix::fs::open(group.join("tasks"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)
    };
    first.map(open).collect()
}

/// Everything that the child needs, laid out beforehand.
struct Child {
    root: CString,
    program: CString,
    arguments: CStringArray,
    environment: CStringArray,
    cgroup_mounts: Vec<(CString, CString, CString)>,
    memberships: Vec<OwnedFd>,
    asked: bool,
}

impl Child {
    fn run(&self) -> i32 {
        match self.set_up() {
            Ok(()) => {
                sys::exec::execve(&self.program, &self.arguments, &self.environment, None);
                127
            }
            // The line number is lost here on purpose: formatting would allocate. strace shows the call.
            Err(_) => 125,
        }
    }

    fn set_up(&self) -> rustix::io::Result<()> {
        for membership in &self.memberships {
            rustix::io::write(membership, b"0")?;
        }
        // Rooted where its maker is: after the move.
        sys::namespace::unshare(flags::NEWCGROUP).map_err(|_| rustix::io::Errno::PERM)?;
        if self.asked {
            asked::begin()?;
        }
        rustix::mount::mount_change(c"/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
        rustix::mount::mount_bind_recursive(&self.root, &self.root)?;
        rustix::process::chdir(&self.root)?;
        let secure = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
        mount(c"proc", c"proc", secure, c"")?;
        mount(c"dev", c"tmpfs", MountFlags::NOSUID, c"mode=755,size=65536k")?;
        for directory in [c"dev/pts", c"dev/shm", c"dev/mqueue"] {
            rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755))?;
        }
        mount(c"dev/pts", c"devpts", MountFlags::NOSUID, c"newinstance,ptmxmode=0666,mode=0620")?;
        mount(c"dev/shm", c"tmpfs", secure, c"mode=1777,size=65536k")?;
        mount(c"dev/mqueue", c"mqueue", secure, c"")?;
        mount(c"sys", c"sysfs", secure | MountFlags::RDONLY, c"")?;
        mount(c"sys/fs/cgroup", c"tmpfs", secure, c"mode=755")?;
        for (directory, kind, data) in &self.cgroup_mounts {
            rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755))?;
            mount(directory, kind, secure, data)?;
        }
        for (path, major, minor) in DEVICES {
            let device = rustix::fs::makedev(*major, *minor);
            rustix::fs::mknodat(CWD, *path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), device)?;
        }
        if self.asked {
            asked::hide()?;
        }
        let old = rustix::fs::open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        rustix::process::pivot_root(c".", c".")?;
        rustix::process::fchdir(old)?;
        rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        rustix::process::chdir(c"/")?;
        if self.asked { asked::finish() } else { Ok(()) }
    }
}

/// The character devices that the OCI specification asks for.
const DEVICES: &[(&CStr, u32, u32)] = &[
    (c"dev/null", 1, 3),
    (c"dev/zero", 1, 5),
    (c"dev/full", 1, 7),
    (c"dev/random", 1, 8),
    (c"dev/urandom", 1, 9),
    (c"dev/tty", 5, 0),
];

fn mount(directory: &CStr, kind: &CStr, flags: MountFlags, data: &CStr) -> rustix::io::Result<()> {
    rustix::mount::mount(kind, directory, kind, flags, data)
}
