//! One container in the foreground: everything from what a person asked for to nothing left.

mod draft;
mod keep;
mod preparations;
mod sweep;

use std::path::{Path, PathBuf};

use monitor::{Console, Exit, Policy, Supervision};
use runtime::StepDescription;
use runtime::launch::{Container, Host, LaunchOptions, Processes, StepTimes, StepTiming};
use runtime::plan::{ContainerPlan, Lifetime, MountPoint};
use runtime::state_dir::StateRoot;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use sys::signal::SignalDescriptor;

pub(crate) use self::draft::new_id;
pub(crate) use self::sweep::{release_unheld, sweep};
use crate::cni;
use crate::error::{Error, Result, from_monitor};
use crate::events::{Subject, VolumesOf};
use crate::kept::{End, Lease, MemoryEnd, Shown, StartNote, Stay, now, parse_name};
use crate::mount_points::{Directory, Ground, MountPoints};
use crate::network::Connection;
use crate::options::{RunOptions, publish_text};
use crate::paths::EnginePaths;
use crate::rootless::PastaPlan;
use crate::rootless::pasta::{Namespaces, Pasta, Stopped};
use crate::running::{Basis, PublishedPort};
use crate::user_namespace::leases::RangeLease;
use crate::volume_store::VolumeLeases;
use crate::volumes::{self, Volumes};

/// Something a person should know that is no failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it is.
    pub what: String,
    /// What one can do.
    pub remedy: Option<String>,
}

/// A container that was checked and planned: legal, and nothing of it exists yet but what is leased for it and the directory
/// of what it changes. Dropping this gives both back.
#[derive(Debug)]
pub struct Prepared {
    paths: EnginePaths,
    plan: ContainerPlan,
    points: Vec<MountPoint>,
    volumes: Volumes,
    connection: Option<Connection>,
    cni: Option<cni::Plan>,
    pasta: Option<PastaPlan>,
    users: Option<RangeLease>,
    categories: Option<RangeLease>,
    notices: Vec<Notice>,
    policy: Policy,
    kept: Option<Lease>,
    kept_volumes: Option<VolumeLeases>,
    shown: Shown,
    basis: Box<Basis>,
    lifetime: Lifetime,
}

/// The steps that a start of `options` would consist of; nothing is touched.
pub fn plan(options: &RunOptions, paths: &EnginePaths) -> Result<Vec<StepDescription>> {
    Ok(draft::draft(options, paths, Effects::None, Birth::New { name: None })?.plan.describe())
}

/// Checks what `options` ask for against this host and plans it.
///
/// Remains of commands that were killed are removed on the way.
pub fn prepare(options: &RunOptions, name: Option<&str>, paths: &EnginePaths) -> Result<Prepared> {
    let name = name.map(parse_name).transpose()?;
    draft::draft(options, paths, Effects::Allowed, Birth::New { name: name.as_deref() })
}

/// The same for one that is there already and lives on.
pub(crate) fn prepare_again(options: &RunOptions, paths: &EnginePaths, lease: Lease) -> Result<Prepared> {
    draft::draft(options, paths, Effects::Allowed, Birth::Again(Box::new(lease)))
}

/// Where a container comes from.
#[derive(Debug)]
pub(crate) enum Birth<'a> {
    /// It is made now, and ends with this command.
    New {
        /// As a person wants it to be called.
        name: Option<&'a str>,
    },
    /// It was made before, and lives on.
    Again(Box<Lease>),
}

/// Whether planning may sweep remains and lease an address and ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effects {
    Allowed,
    None,
}

impl Prepared {
    /// The container's id.
    pub fn id(&self) -> &str {
        self.plan.id().as_str()
    }

    /// Starts the container. It dies with the calling thread, unless it was prepared to live on.
    pub fn start(self, options: LaunchOptions) -> Result<Running> {
        let Prepared {
            paths,
            plan,
            points,
            volumes,
            connection,
            cni,
            pasta,
            mut users,
            mut categories,
            mut notices,
            policy,
            mut kept,
            mut kept_volumes,
            shown,
            basis,
            lifetime,
        } = self;
        let state = StateRoot::new(paths.containers());
        // One that lives on is told of by whoever makes it, and stands behind it.
        let told = kept.as_ref().filter(|_| lifetime == Lifetime::Launcher).map(Lease::told);
        told.iter().for_each(|(container, _)| container.tell("create"));
        let mut host = EngineHost {
            paths: &paths,
            plan: &plan,
            points: &points,
            volumes: &volumes,
            connection,
            cni: cni.as_ref(),
            plugged: None,
            pasta: pasta.as_ref(),
            namespaces: None,
            attached: None,
            notices: Vec::new(),
            stakes: Vec::new(),
            shown,
            basis: &basis,
            directory: kept
                .as_ref()
                .filter(|kept| is_looked_at(kept))
                .map(|kept| kept.directory().to_owned()),
            note: None,
        };
        let began = now();
        let container = runtime::launch::launch(&plan, &state, &mut host, options);
        let container = container.map_err(|mut error| {
            // By now without a record, which would keep them.
            for lease in [users.take(), categories.take()].into_iter().flatten() {
                error.rollback.extend(lease.release().err());
            }
            error.rollback.extend(kept.take().and_then(|kept: Lease| kept.give_up().err()));
            error
        })?;
        let EngineHost { connection, plugged, stakes, attached: pasta, notices: more, note, .. } = host;
        notices.extend(more);
        connection.iter().for_each(Connection::settle);
        kept.iter_mut().for_each(Lease::settle);
        // The program runs meanwhile. One that lives on came onto the disk when it was made.
        if let Some(kept) = kept.as_ref().filter(|_| lifetime == Lifetime::Launcher) {
            notices.extend(kept.outlive_power().err().map(unsure));
        }
        let (terminal, id) = (plan.terminal, plan.id().to_string());
        kept_volumes.iter_mut().for_each(|volumes| volumes.started(&id));
        if let Some((container, volumes)) = &told {
            volumes.tell_mounted();
            container.tell("attach");
            container.tell("start");
        }
        Ok(Running {
            container,
            plan: Some(Box::new(plan)),
            note,
            began,
            connection,
            plugged,
            pasta,
            users,
            categories,
            stakes,
            notices,
            terminal,
            policy,
            kept,
            kept_volumes,
            told,
        })
    }
}

/// No reason to end what runs.
fn unwritten(error: Error) -> Notice {
    Notice { what: format!("what the start consisted of is not kept: {error}"), remedy: error.hint }
}

/// No reason to end what runs, either.
fn unsure(error: Error) -> Notice {
    Notice { what: format!("this container may not outlive a loss of power: {error}"), remedy: error.hint }
}

/// The engine's part of a start.
struct EngineHost<'a> {
    paths: &'a EnginePaths,
    plan: &'a ContainerPlan,
    points: &'a [MountPoint],
    volumes: &'a Volumes,
    connection: Option<Connection>,
    cni: Option<&'a cni::Plan>,
    /// What CNI plugins have made.
    plugged: Option<cni::Attachment>,
    pasta: Option<&'a PastaPlan>,
    /// What pasta connects.
    namespaces: Option<Namespaces>,
    attached: Option<Pasta>,
    notices: Vec<Notice>,
    stakes: Vec<MountPoints>,
    shown: Shown,
    basis: &'a Basis,
    /// Where what the start consists of is kept.
    directory: Option<PathBuf>,
    note: Option<StartNote>,
}

/// Whether somebody may ask later how a container began: not of one that goes with its command.
fn is_looked_at(kept: &Lease) -> bool {
    let record = kept.record();
    record.stay == Stay::Kept || record.asked.is_some()
}

impl EngineHost<'_> {
    fn make_points_in_root(&mut self) -> Result<()> {
        let root = self.plan.root_directory();
        let root = Directory { path: root.path(), descriptor: root.as_fd(), ground: Ground::Root };
        let points = self.points.iter().filter(|point| point.mount.is_none());
        self.stakes.push(MountPoints::make(&self.paths.roots(), &root, points)?);
        Ok(())
    }

    fn make_points_in_volumes(&mut self) -> Result<()> {
        let mut numbers: Vec<usize> = self.points.iter().filter_map(|point| point.mount).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let Some(descriptor) = self.plan.bind_source(number) else { continue };
            let path = volumes::place(descriptor);
            let directory = Directory { path: &path, descriptor, ground: Ground::Source };
            let points = self.points.iter().filter(|point| point.mount == Some(number));
            self.stakes.push(MountPoints::make(&self.paths.roots(), &directory, points)?);
        }
        Ok(())
    }
}

impl Host for EngineHost<'_> {
    fn prepare(&mut self, index: usize) -> Result<()> {
        match self.plan.preparation(index) {
            Some(preparations::POINTS_PREPARATION) => self.make_points_in_root(),
            Some(preparations::SOURCE_POINTS_PREPARATION) => self.make_points_in_volumes(),
            Some(volumes::CHOWN) => self.volumes.change_owners(self.plan),
            Some(volumes::RELABEL) => self.volumes.relabel(self.plan),
            Some(preparations::SCRATCH_PREPARATION) => {
                let path = self.paths.scratch();
                let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
                made.map_err(|error| Error::at_path("make", &path, error))
            }
            Some(preparations::NETWORK_PREPARATION) => {
                let paths = self.paths;
                self.connection.as_mut().map_or(Ok(()), |connection| connection.ensure(paths))
            }
            _ => Ok(()),
        }
    }

    fn cloned(&mut self, pid: i32) -> Result<()> {
        if self.pasta.is_some() {
            self.namespaces = Some(Namespaces::of(pid)?);
        }
        Ok(())
    }

    fn attach_network(&mut self, pid: i32) -> Result<()> {
        if let Some(plan) = self.cni {
            let directory = StateRoot::new(self.paths.containers()).directory(self.plan.id());
            self.plugged = Some(cni::Attachment::make(self.paths, plan, pid, &directory)?);
            return Ok(());
        }
        if let Some(pasta) = self.pasta {
            let namespaces =
                self.namespaces.take().expect("heard of at the clone, as pasta connects no other");
            let directory = StateRoot::new(self.paths.containers()).directory(self.plan.id());
            self.attached = pasta.attach(namespaces, &directory, &mut self.notices)?;
            return Ok(());
        }
        let Some(connection) = &self.connection else { return Ok(()) };
        connection.attach(pid)?;
        if let Err(error) = connection.answer_names(self.paths) {
            // It runs all the same, and reaches the others by their addresses.
            let what = format!("nobody answers names on the container's network: {error}");
            self.notices.push(Notice { what, remedy: error.hint });
        }
        Ok(())
    }

    fn publish_ports(&mut self) -> Result<()> {
        self.connection.as_mut().map_or(Ok(()), Connection::publish)
    }

    fn undo(&mut self, processes: Processes) -> Vec<Error> {
        self.attached = None;
        if processes == Processes::MayRemain {
            let record = StateRoot::new(self.paths.containers()).directory(self.plan.id());
            self.plugged.take().into_iter().for_each(cni::Attachment::leave);
            return leave_to_processes(&record, self.connection.take(), std::mem::take(&mut self.stakes));
        }
        let ended = self.connection.take().map(Connection::end);
        let mut failures: Vec<Error> = ended.and_then(Result::err).into_iter().collect();
        failures.extend(self.plugged.take().into_iter().flat_map(cni::Attachment::end));
        failures.extend(self.stakes.drain(..).rev().filter_map(|mut stake| stake.release().err()));
        failures
    }

    fn record(&mut self) -> Result<serde_json::Value> {
        self.basis.write(&StateRoot::new(self.paths.containers()).directory(self.plan.id()))?;
        match self.directory.as_deref().map(|directory| StartNote::begin(self.plan, directory)) {
            Some(Ok(note)) => self.note = Some(note),
            Some(Err(error)) => self.notices.push(unwritten(error)),
            None => {}
        }
        if let Some(connection) = &self.connection {
            (self.shown.network, self.shown.more_networks) = connection.shown();
            self.shown.ports = connection.publications().iter().map(PublishedPort::from).collect();
            self.shown.asked = Some(connection.requests().iter().map(publish_text).collect());
        }
        let mut record = serde_json::to_value(&self.shown).expect("only string keys");
        let of_pasta = self.pasta.map_or(serde_json::Value::Null, PastaPlan::record);
        if let (Some(record), serde_json::Value::Object(more)) = (record.as_object_mut(), of_pasta) {
            record.extend(more);
        }
        Ok(record)
    }
}

/// What processes that could not be ended still use stays theirs, as long as there is a record of their container; nothing leads
/// to them any more.
fn leave_to_processes(record: &Path, connection: Option<Connection>, stakes: Vec<MountPoints>) -> Vec<Error> {
    let mut failures = connection.map_or_else(Vec::new, |connection| connection.leave(record));
    failures.extend(stakes.into_iter().filter_map(|stake| stake.leave(record).err()));
    failures
}

/// A container that runs.
#[derive(Debug)]
pub struct Running {
    container: Container,
    /// What was started, until somebody stands behind it.
    plan: Option<Box<ContainerPlan>>,
    /// The record of its start, which lacks the times.
    note: Option<StartNote>,
    /// Nanoseconds since 1970 at which the start began.
    began: u64,
    connection: Option<Connection>,
    plugged: Option<cni::Attachment>,
    pasta: Option<Pasta>,
    /// Its ids, which no other container gets before it has ended.
    users: Option<RangeLease>,
    /// Its SELinux categories, likewise.
    categories: Option<RangeLease>,
    stakes: Vec<MountPoints>,
    notices: Vec<Notice>,
    terminal: bool,
    policy: Policy,
    kept: Option<Lease>,
    kept_volumes: Option<VolumeLeases>,
    /// What events tell of one that ends with its command.
    told: Option<(Subject, VolumesOf)>,
}

/// A container that was left to its record.
#[derive(Debug)]
pub(crate) struct Entrusted {
    /// Its init.
    pub(crate) pid: i32,
    /// The same process.
    pub(crate) pidfd: OwnedFd,
    /// The controlling end of its terminal.
    pub(crate) console: Option<OwnedFd>,
    /// To be held open as long as it runs.
    pub(crate) held: Vec<OwnedFd>,
    /// Its directory.
    pub(crate) kept: Option<Lease>,
    /// The record of its start, what it lacks, and when the start began.
    pub(crate) note: Option<(StartNote, StepTimes, u64)>,
}

/// Memory ran out in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryKill {
    /// How many processes the kernel killed.
    pub kills: u64,
    /// The limit in bytes.
    pub limit: Option<u64>,
    /// The most that was in use.
    pub peak: Option<u64>,
}

impl MemoryKill {
    fn noted(self) -> MemoryEnd {
        MemoryEnd { kills: self.kills, limit: self.limit, peak: self.peak }
    }
}

/// A container that has ended, and of which nothing is left.
#[derive(Debug)]
pub struct Finished {
    /// How its program ended.
    pub exit: Exit,
    /// Processes that were killed for want of memory.
    pub memory: Option<MemoryKill>,
    /// What went wrong on the way without being a reason to stop.
    pub notices: Vec<Notice>,
    /// What could not be removed.
    pub remains: Vec<Error>,
    /// Whether its network may be without users now: then [`crate::tidy_networks`] has something to do.
    pub network_idle: bool,
    /// A descriptor that takes the kernel some milliseconds to close: to be given to a process that has the time,
    /// such as the one that tidies networks.
    pub lingering: Option<std::os::fd::OwnedFd>,
}

impl Running {
    /// What a person should know, the host's firewall included.
    pub fn notices(&self) -> Vec<Notice> {
        let mut notices = self.notices.clone();
        let obstacles = self.connection.iter().flat_map(Connection::obstacles);
        notices.extend(obstacles.map(|one| Notice { what: one.what, remedy: Some(one.remedy) }));
        notices
    }

    /// When each step of the start ran.
    pub fn timeline(&self) -> Vec<StepTiming> {
        self.plan.as_ref().map_or_else(Vec::new, |plan| plan.timeline(&self.container.times))
    }

    /// The container's address, if it has one.
    pub fn address(&self) -> Option<std::net::Ipv4Addr> {
        self.connection.as_ref().map(Connection::address)
    }

    /// Published ports that nobody named, in words: `32768 -> 80/tcp`.
    pub fn chosen_ports(&self) -> Vec<String> {
        self.connection.as_ref().map(Connection::chosen_ports).unwrap_or_default()
    }

    /// The pid of its init process.
    pub fn pid(&self) -> i32 {
        self.container.pid
    }

    /// Leaves the container to its record and to the descriptors that come back: no other container gets what it has as long
    /// as either is there. So it is for one that was prepared to live on.
    pub(crate) fn entrust(self) -> Result<Entrusted> {
        let Running {
            container,
            connection,
            plugged,
            pasta,
            users,
            categories,
            stakes,
            kept,
            kept_volumes,
            note,
            began,
            ..
        } = self;
        if let Some(group) = &container.cgroup {
            // Refused, it ends with its caller's session, as any program there; the next command brings another.
            let _ = group.take_keeper_in();
        }
        let record = container.state.path().to_owned();
        let mut held = Vec::new();
        if let Some(connection) = connection {
            held.extend(connection.entrust(&record)?);
        }
        held.extend(plugged.into_iter().flat_map(cni::Attachment::entrust));
        for stake in stakes {
            stake.leave(&record)?;
        }
        // As long as there is its record, these stay.
        for lease in [users, categories].into_iter().flatten() {
            lease.release()?;
        }
        held.extend(kept_volumes.into_iter().flat_map(VolumeLeases::entrust));
        held.extend(pasta.map(Pasta::entrust));
        held.push(container.state.into_lock());
        Ok(Entrusted {
            pid: container.pid,
            pidfd: container.pidfd,
            console: container.console,
            held,
            kept,
            note: note.map(|note| (note, container.times, began)),
        })
    }

    /// Stands behind the container until it ends, and then removes all of it.
    pub fn supervise(
        mut self,
        signals: &SignalDescriptor,
        input: BorrowedFd<'_>,
        output: BorrowedFd<'_>,
    ) -> Result<Finished> {
        // What was opened for the start goes with it.
        drop(self.plan.take());
        if let Some(note) = self.note.take() {
            self.notices.extend(note.end(&self.container.times, self.began).err().map(unwritten));
        }
        let console = match self.container.console.take() {
            Some(outer) if self.terminal => Console::Terminal { outer },
            _ => Console::Inherited,
        };
        let supervision = Supervision {
            pidfd: self.container.pidfd.as_fd(),
            pid: self.container.pid,
            signals,
            console,
            input,
            output,
            policy: self.policy,
        };
        let limit = self.policy.time_limit;
        let ended = monitor::supervise(supervision);
        let kept = self.kept.take();
        let kept_volumes = self.kept_volumes.take();
        let (told, began) = (self.told.take(), self.began);
        let tell_end = |end: &End| {
            let Some((container, volumes)) = &told else { return };
            container.tell_end(end, Some(began));
            volumes.tell_unmounted();
        };
        let mut finished = self.finish();
        // Before the container itself: where this is killed, its record still tells of them.
        finished.remains.extend(kept_volumes.into_iter().flat_map(VolumeLeases::end));
        match ended {
            Ok(outcome) => {
                finished.exit = outcome.exit;
                let end = End {
                    memory: finished.memory.map(MemoryKill::noted),
                    time_was_up: outcome.time_was_up,
                    signal: match outcome.exit {
                        Exit::Signal { number, .. } => Some(number),
                        Exit::Code(_) => None,
                    },
                    ..End::now(Some(outcome.exit.code()))
                };
                tell_end(&end);
                if let Some(Err(error)) = kept.map(|kept| kept.end(end)) {
                    finished.remains.push(error);
                }
                let incident = |error: &monitor::Error| Notice {
                    what: error.to_string(),
                    remedy: error.hint().map(str::to_owned),
                };
                finished.notices.extend(outcome.incidents.iter().map(incident));
                finished.notices.extend(limit.filter(|_| outcome.time_was_up).map(|limit| Notice {
                    what: format!(
                        "the time of `--timeout={}` was up, and the container was killed",
                        limit.as_secs()
                    ),
                    remedy: Some("give it more seconds, or leave `--timeout` out".to_owned()),
                }));
                Ok(finished)
            }
            Err(error) => {
                tell_end(&End::now(None));
                let mut failure = from_monitor(&error);
                failure.rollback = finished.remains;
                failure.rollback.extend(kept.and_then(|kept| kept.end(End::now(None)).err()));
                Err(failure)
            }
        }
    }

    /// Removes everything; each part is tried, whatever became of the others.
    fn finish(self) -> Finished {
        let Running { container, connection, plugged, pasta, users, categories, stakes, .. } = self;
        let mut remains = Vec::new();
        let mut notices = Vec::new();
        if pasta.map(Pasta::stop) == Some(Stopped::EndedBefore) {
            let what = "`pasta` ended before its container, which had no network from then on".to_owned();
            notices.push(Notice { what, remedy: Some("see why in the system's log".to_owned()) });
        }
        let memory = container.cgroup.as_ref().and_then(|group| {
            let table = group.memory_table();
            let kills = table.oom_kills.filter(|kills| *kills > 0)?;
            Some(MemoryKill { kills, limit: table.limit, peak: table.peak })
        });
        if let Some(group) = &container.cgroup
            && let Err(error) = group.clear()
        {
            remains.push(Error::from(error));
        }
        let network_idle = connection.is_some();
        let mut lingering = None;
        if remains.is_empty() {
            remains.extend(plugged.into_iter().flat_map(cni::Attachment::end));
            match connection.map(Connection::end) {
                Some(Ok(descriptor)) => lingering = descriptor.map(::network::Lingering::into_descriptor),
                Some(Err(error)) => remains.push(error),
                None => {}
            }
            remains.extend(stakes.into_iter().filter_map(|mut stake| stake.release().err()));
        } else {
            plugged.into_iter().for_each(cni::Attachment::leave);
            remains.extend(leave_to_processes(container.state.path(), connection, stakes));
        }
        // After all of that: where something is left, or this is killed before, it is by the record that the next command
        // looks for it.
        if remains.is_empty() {
            remains.extend(container.state.remove().err());
        }
        // Where the group is left, so is the record, and that keeps them from others.
        let leases = [users, categories].into_iter().flatten();
        remains.extend(leases.filter_map(|lease| lease.release().err()));
        Finished { exit: Exit::Code(0), memory, notices, remains, network_idle, lingering }
    }
}
