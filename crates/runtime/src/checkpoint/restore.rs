//! From images to a running container again: its name, its cgroup and its mount points are made as for a start, and criu
//! makes everything else.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::criu::{self, BoundRoot, News, Process};
use super::messages::{Inherited, Options, Pair, Request, kind};
use super::{Common, demand_images, external, open_directory, open_or_make};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{self, World};
use crate::launch::{Container, record_of};
use crate::lifecycle;
use crate::plan::{ContainerPlan, c_path, mount_points};
use crate::spec::Spec;
use crate::state_dir::{Record, StateDir, StateRoot};
use crate::sync;

/// What a restore is to be.
#[derive(Debug)]
pub struct RestoreOptions {
    /// What it shares with a checkpoint.
    pub common: Common,
    /// Where the other end of the container's terminal is to be sent; without one it comes back in [`Container`].
    pub console_socket: Option<OwnedFd>,
    /// The AppArmor profile or SELinux label instead of the one in the images, as criu writes it: `apparmor:NAME`.
    pub lsm_profile: Option<String>,
    /// The SELinux context of mounts instead of the one in the images.
    pub lsm_mount_context: Option<String>,
}

const LOG: &str = "restore.log";

/// Where criu sees the root, in the state directory: there from when the container's groups are made until it runs.
pub(crate) const PLACE: &str = "criu-root";

/// Starts the container of `plan`, whose configuration is `spec`, from the image directory.
///
/// Its init is a child of this process. Whatever fails, everything made so far is taken back.
pub fn restore(
    spec: &Spec,
    plan: &ContainerPlan,
    root: &StateRoot,
    options: RestoreOptions,
) -> Result<Container> {
    demand_images(&options.common.images)?;
    super::refuse_joined_mounts(plan.joined_mounts.as_ref())?;
    let program = options.common.criu.find()?;
    let images = open_directory(&options.common.images)?;
    let mut record = record_of(plan);
    // It waits for nobody.
    record.gate = None;
    let mut made = Made { state: Some(root.reserve(&record)?), cgroup: None, rdt: None, pidfd: None };
    match made.run(spec, plan, options, &program, &images, &mut record) {
        Ok((pidfd, console)) => {
            made.rdt = None;
            Ok(Container {
                pid: record.pid,
                pidfd,
                state: made.state.take().expect("it was reserved first"),
                console,
                times: Default::default(),
                cgroup: made.cgroup.take(),
            })
        }
        Err(mut error) => {
            error.rollback = made.undo();
            Err(error.in_container(plan.id.as_str()))
        }
    }
}

/// What was made so far.
struct Made {
    state: Option<StateDir>,
    cgroup: Option<cgroup::Cgroup>,
    /// Its group of resctrl; nothing once it is the container's.
    rdt: Option<crate::rdt::Group>,
    /// The restored init, opened before it runs: it may end at once.
    pidfd: Option<OwnedFd>,
}

impl Made {
    fn run(
        &mut self,
        spec: &Spec,
        plan: &ContainerPlan,
        options: RestoreOptions,
        program: &Path,
        images: &OwnedFd,
        record: &mut Record,
    ) -> Result<(OwnedFd, Option<OwnedFd>)> {
        let linux = spec.linux.clone().unwrap_or_default();
        let common = &options.common;
        let work = common.work.as_deref().map(open_or_make).transpose()?;
        let inside = external::Root::open(plan.root.path())?;
        make_mount_points(spec, plan, &inside)?;
        self.make_cgroup(plan)?;
        self.rdt = plan.rdt.as_ref().map(crate::rdt::Group::make).transpose()?;
        let place = self.directory().join(PLACE);
        std::fs::create_dir(&place).map_err(|error| Error::at_path("make", &place, error))?;
        let bound =
            BoundRoot { source: c_path(plan.root.path(), "root.path")?, place: c_path(&place, "restore")? };
        let namespaces = external::kept_namespaces(&linux)
            .map(|(namespace, _, key)| {
                let path = namespace.path.as_deref().expect("only those with a path are kept");
                let file = std::fs::File::open(path).map_err(|error| Error::at_path("open", path, error))?;
                Ok((key, OwnedFd::from(file)))
            })
            .collect::<Result<Vec<(&str, OwnedFd)>>>()?;
        let kept: Vec<BorrowedFd<'_>> = namespaces.iter().map(|(_, file)| file.as_fd()).collect();
        let process = Process::start(&common.criu, program, Some(&bound), &kept)?;
        let images = &seen_by(&process, images)?;
        let work = work.map(|work| seen_by(&process, &work)).transpose()?;
        let cgroup_roots = self.move_in(process.pid())?;
        if let Some(group) = &self.rdt {
            // What criu restores inherits it.
            group.join(process.pid())?;
        }
        let groups = self.cgroup.as_ref().map(external::groups_of).unwrap_or_default();
        let mut inherited: Vec<Inherited> = namespaces
            .iter()
            .map(|(key, file)| Inherited { key: (*key).to_owned(), descriptor: file.as_raw_fd() })
            .collect();
        inherited.extend(inherited_pipes(common)?);
        let request = Request {
            kind: kind::RESTORE,
            options: Some(Options {
                root: Some(place.display().to_string()),
                evasive_devices: Some(true),
                restore_sibling: Some(true),
                cgroup_roots,
                inherited,
                joined_namespaces: external::joined_namespaces(&linux)?,
                external_mounts: external::mounts_to_restore(spec, &linux, &inside, &plan.bundle, &groups),
                lsm_profile: options.lsm_profile.clone(),
                lsm_mount_context: options.lsm_mount_context.clone(),
                ..common.options(images, work.as_ref(), record, LOG)
            }),
            notify_success: None,
        };
        let mut console = None;
        let mut hear = |news: News| self.hear(news, plan, record, &options.console_socket, &mut console);
        process.converse(&request, &mut hear).map_err(|error| match error.operation.as_str() {
            "criu" => criu::quote_log(error, "restore the container".to_owned(), common.work(), LOG),
            _ => error,
        })?;
        // Only a mount namespace that is gone by now had something mounted there.
        std::fs::remove_dir(&place).map_err(|error| Error::at_path("remove", &place, error))?;
        let unknown = || Error::new(ErrorKind::System, "restore the container", "criu named no process");
        let pidfd = self.pidfd.take().ok_or_else(unknown)?;
        Ok((pidfd, console))
    }

    /// Answers what criu tells while it restores.
    fn hear(
        &mut self,
        news: News,
        plan: &ContainerPlan,
        record: &mut Record,
        console_socket: &Option<OwnedFd>,
        console: &mut Option<OwnedFd>,
    ) -> Result<()> {
        match news {
            News::Moment { name, pid, descriptor } => match name.as_str() {
                // The namespaces are there, and nothing is in them yet.
                "setup-namespaces" => {
                    record.pid = pid;
                    let state = || lifecycle::state_document(record, "creating");
                    hooks::run(&plan.hooks.prestart, "prestart", state, World::Host)?;
                    hooks::run(&plan.hooks.create_runtime, "createRuntime", state, World::Host)
                }
                "orphan-pts-master" => {
                    let reason = "criu sent no terminal along";
                    let terminal = descriptor
                        .ok_or_else(|| Error::new(ErrorKind::System, "take the terminal", reason))?;
                    match console_socket {
                        Some(socket) => sync::send_descriptor(socket.as_fd(), b"/dev/ptmx", terminal.as_fd())
                            .map(drop)
                            .map_err(|error| Error::system("send the terminal", error)),
                        None => {
                            *console = Some(terminal);
                            Ok(())
                        }
                    }
                }
                // Everything is as it was, and stands still until this is answered.
                "post-restore" => self.record(record, pid),
                _ => Ok(()),
            },
            News::Done { pid } if record.start_time == 0 => self.record(record, pid),
            News::Done { .. } => Ok(()),
        }
    }

    fn record(&mut self, record: &mut Record, pid: i32) -> Result<()> {
        lifecycle::note_init(record, pid)?;
        let pidfd = pidfd_open(Pid::from_raw(pid).unwrap_or(Pid::INIT), PidfdFlags::empty())
            .map_err(|error| Error::system("open the init process", error))?;
        self.pidfd = Some(pidfd);
        self.state.as_mut().expect("it was reserved first").write(record)
    }

    fn directory(&self) -> PathBuf {
        self.state.as_ref().map_or_else(PathBuf::new, |state| state.path().to_owned())
    }

    fn make_cgroup(&mut self, plan: &ContainerPlan) -> Result<()> {
        let Some(wanted) = &plan.cgroup else { return Ok(()) };
        let group = self.cgroup.insert(wanted.create()?);
        group.apply_files(&wanted.resources)?;
        wanted.delegate_to.map_or(Ok(()), |user| Ok(group.delegate(user)?))
    }

    /// Moves criu into the container's group, from which what it restores inherits it; returns the root that each
    /// controller has there.
    fn move_in(&mut self, pid: i32) -> Result<Vec<Pair>> {
        let Some(group) = &mut self.cgroup else { return Ok(Vec::new()) };
        group.join(pid)?;
        group.let_go();
        let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
        let text = std::fs::read_to_string(&path).map_err(|error| Error::at_path("read", &path, error))?;
        let mut roots = Vec::new();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(root)) = (fields.next(), fields.next()) else { continue };
            let controllers = controllers.split(',');
            roots.extend(controllers.map(|name| Pair { key: name.to_owned(), value: root.to_owned() }));
        }
        Ok(roots)
    }

    /// Takes back what was made, last first, and returns what could not be.
    fn undo(&mut self) -> Vec<Error> {
        let mut failures = Vec::new();
        if let Some(group) = self.cgroup.take() {
            // What criu restored before it failed is in there.
            if let Err(error) = group.kill().and_then(|()| group.clear()) {
                failures.push(error.into());
                // As long as the group is there, its record is what a later command finds it by.
                return failures;
            }
        }
        if let Some(group) = self.rdt.take() {
            failures = group.undo();
            if !failures.is_empty() {
                return failures;
            }
        }
        if let Some(state) = self.state.take()
            && let Err(error) = state.remove()
        {
            failures.push(error);
        }
        failures
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Nothing is left to take back but after a panic.
        let _ = self.undo();
    }
}

/// The directory as criu has it: it mounts in its working directory, which the kernel allows in its own mount namespace
/// alone (mount(2)).
fn seen_by(process: &Process, directory: &OwnedFd) -> Result<OwnedFd> {
    let link = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    let path = std::fs::read_link(&link).map_err(|error| Error::at_path("read the link", &link, error))?;
    let root = PathBuf::from(format!("/proc/{}/root", process.pid()));
    open_directory(&root.join(path.strip_prefix("/").unwrap_or(&path)))
}

/// Makes the mount points that a start would have made: criu mounts, and makes no directory.
fn make_mount_points(spec: &Spec, plan: &ContainerPlan, inside: &external::Root) -> Result<()> {
    for point in mount_points(spec, std::iter::empty()) {
        let (within, field) = match point.mount {
            None => (inside.directory(), "mounts".to_owned()),
            Some(number) => {
                let Some(source) = plan.bind_source(number) else { continue };
                (source, format!("mounts[{number}]"))
            }
        };
        crate::init::make_mount_point(within, &point.path, point.kind, &field)?;
    }
    Ok(())
}

/// Pipes that were a standard stream then become the one of that number now.
fn inherited_pipes(common: &Common) -> Result<Vec<Inherited>> {
    let path = common.images.join(external::DESCRIPTORS);
    let streams: Vec<String> = crate::bundle::read_json(&path)?;
    let pipes = streams.into_iter().zip(0..3).filter(|(stream, _)| stream.starts_with("pipe:["));
    Ok(pipes.map(|(key, descriptor)| Inherited { key, descriptor }).collect())
}
