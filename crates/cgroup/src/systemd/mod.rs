//! Owns the subtree that systemd leaves to us: where it is, and asking for it once. Must not touch a container's group.
//!
//! On a host with systemd and cgroup v2 all groups are systemd's, and it takes controllers back from a group that it
//! does not know. What it leaves alone is the inside of a unit with `Delegate=yes`, as long as a process is in it.
//! Ours is a service ([`UNIT`]) that has ended and stays active, with one sleeping process left in it: started once by
//! whoever comes first, it stays, outside of every session and of every other service, until it is stopped or the host
//! is. Containers are groups in it, made without asking systemd.
//!
//! Callers that want a unit for each container, with its limits as properties, get a [`scope`].

mod bus;
mod message;
mod property;
mod scope;
mod value;

use std::io;

use rustix::io::Errno;

use crate::error::{Error, Kind, Operation};
use crate::files;
use crate::group::Cgroup;
use crate::layout::{Hierarchy, Layout, Version};
use bus::{Connection, Refusal};
use message::Writer;
pub use property::Property;
pub(crate) use property::{of_writes, of_writes_v1};
pub(crate) use scope::{Holder, Scope};
pub use value::Value;

/// The name of the unit without `.service`. In a slice other than the usual one, the slice's name follows after `-`.
pub(crate) const UNIT: &str = "rabbitc-containers";

/// The unit that `rabbitc system install` writes, if it is there.
const KEEPER: &str = "rabbitc.service";

/// The group in the unit to which its process goes: one that hands controllers down may hold none (v2).
const HOLDER: &str = "holder";

/// The group in the unit in which containers' groups are. It is made when the unit has started and not before: at that
/// moment systemd removes all groups in it that are empty.
const CONTAINERS: &str = "containers";

/// The group in the unit to which systemd moves callers from a user's sessions.
const CALLERS: &str = "callers";

/// The slice in which systemd expects containers, see systemd.special(7).
const SYSTEM_SLICE: &str = "machine.slice";

/// Where the user's manager keeps programs.
const USER_SLICE: &str = "app.slice";

/// The slices of scopes whose path names none, as other runtimes have it.
const SYSTEM_SCOPES: &str = "system.slice";
const USER_SCOPES: &str = "user.slice";

impl Cgroup {
    /// Moves the calling process out of its caller's unit, to where the unit of containers keeps its own process: who stands behind
    /// a container outlives the session or service that asked for it. Nothing is done where the group is in no such unit.
    pub fn take_keeper_in(&self) -> Result<(), Error> {
        let Some(hierarchy) = self.layout().unified() else { return Ok(()) };
        let path = self.path().as_str();
        let between = format!("/{CONTAINERS}/");
        let Some((unit, _)) = path.split_once(&between).filter(|(unit, _)| unit.ends_with(".service")) else {
            return Ok(());
        };
        let holder = format!("{unit}/{HOLDER}");
        // 0 is whoever writes it.
        files::write(hierarchy, &holder, "cgroup.procs", "0").map_err(|errno| {
            Error::kernel(Operation::Join, hierarchy.display(&holder, "cgroup.procs"), errno)
        })
    }
}

/// Whose systemd it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Manager {
    /// The host's.
    System,
    /// That of a user, by number, who has logged in or lingers.
    User(u32),
}

/// Whether this host was booted with systemd (sd_booted(3)).
pub fn is_booted() -> bool {
    std::path::Path::new("/run/systemd/system").exists()
}

impl Manager {
    /// The manager that a process with this effective user has to ask.
    pub fn of_user(uid: u32) -> Manager {
        if uid == 0 { Manager::System } else { Manager::User(uid) }
    }

    /// Its own socket, and that of its message bus.
    fn sockets(self) -> (String, String) {
        match self {
            Manager::System => ("/run/systemd/private".to_owned(), "/run/dbus/system_bus_socket".to_owned()),
            Manager::User(uid) => {
                (format!("/run/user/{uid}/systemd/private"), format!("/run/user/{uid}/bus"))
            }
        }
    }

    /// Whether it runs.
    pub fn is_there(self) -> bool {
        let (direct, bus) = self.sockets();
        is_booted() && [direct, bus].iter().any(|socket| std::path::Path::new(socket).exists())
    }

    /// The controllers that root lets a user's manager have; nothing where none has to be asked.
    pub(crate) fn delegated(self, layout: &Layout, unified: &Hierarchy) -> Option<String> {
        let asked = self != Manager::System && layout.version() == Version::V2 && self.is_there();
        let group = self.root();
        asked.then(|| {
            files::read(unified, group.trim_end_matches('/'), "cgroup.controllers").unwrap_or_default()
        })
    }

    /// The path of the unit `name` in `slice` (the usual one, if none is named).
    pub(crate) fn unit_path(self, slice: Option<&str>, name: &str) -> String {
        let usual = match self {
            Manager::System => SYSTEM_SCOPES,
            Manager::User(_) => USER_SCOPES,
        };
        match slice.unwrap_or(usual) {
            "-.slice" => format!("{}{name}", self.root()),
            slice => format!("{}{}/{name}", self.root(), slice_path(slice)),
        }
    }

    /// Its version, as a number.
    pub(crate) fn version(self, unit: &str) -> Result<u32, Error> {
        let ask = || Connection::open(self)?.version();
        ask().map_err(|refusal| refusal_error(unit, refusal))
    }

    /// Whether a process in the group `own` may move its own children into this manager's units.
    pub(crate) fn rules_over(self, own: &str) -> bool {
        self == Manager::System || own.trim_start_matches('/').starts_with(&self.root())
    }

    /// Has this manager move the calling process into its tree: into our unit, which is started where it is missing.
    pub(crate) fn take_caller_in(self, layout: &Layout, unified: &Hierarchy) -> Result<(), Error> {
        let Some(place) = subtree(layout, self, None) else { return Ok(()) };
        // The unit is read from the path of a group in it.
        let inside = format!("{place}/x");
        let Some(unit) = Unit::around(&inside) else { return Ok(()) };
        if files::open(unified, unit.containers, "", rustix::fs::OFlags::PATH).is_err() {
            unit.start(unified)?;
        }
        unit.take_caller_in(unified)
    }

    /// The group below which all of its units are.
    fn root(self) -> String {
        match self {
            Manager::System => String::new(),
            Manager::User(uid) => format!("user.slice/user-{uid}.slice/user@{uid}.service/"),
        }
    }
}

/// The group for containers of our unit in `slice` (the usual one, if none is named); nothing where no systemd has to be asked:
/// without it, and beside cgroup v1, where it does not take anything back.
pub fn subtree(layout: &Layout, manager: Manager, slice: Option<&str>) -> Option<String> {
    if layout.version() != Version::V2 || !manager.is_there() {
        return None;
    }
    let usual = match manager {
        Manager::System => SYSTEM_SLICE,
        Manager::User(_) => USER_SLICE,
    };
    let slice = slice.unwrap_or(usual);
    let unit = match slice.strip_suffix(".slice") {
        Some(name) if slice != usual => format!("{UNIT}-{name}.service"),
        _ => format!("{UNIT}.service"),
    };
    Some(format!("{}{}/{unit}/{CONTAINERS}", manager.root(), slice_path(slice)))
}

/// Whether systemd could have a slice of this name. It becomes several names of groups, and systemd would refuse it later
/// than we do.
pub(crate) fn is_slice(name: &str) -> bool {
    let legal = |part: &str| !part.is_empty() && part != "." && part != "..";
    let inner = name.strip_suffix(".slice");
    inner.is_some_and(|inner| inner == "-" || inner.split('-').all(legal) && is_unit_text(inner))
}

/// Whether all characters may be in a unit's name, see systemd.unit(5). A backslash, which escapes, is left out.
pub(crate) fn is_unit_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:@".contains(&byte))
}

/// Groups of slices lie in each other: `a-b.slice` in `a.slice`, see systemd.slice(5).
fn slice_path(slice: &str) -> String {
    let name = slice.strip_suffix(".slice").unwrap_or(slice);
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    ends.map(|end| format!("{}.slice", &name[..end])).collect::<Vec<_>>().join("/")
}

/// One of our units, read from a path that lies in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit<'a> {
    /// Its group.
    path: &'a str,
    /// The group in it for containers.
    pub(crate) containers: &'a str,
    slice: &'a str,
    name: &'a str,
    manager: Manager,
}

impl Unit<'_> {
    /// The unit that the group `path` lies in.
    pub(crate) fn around(path: &str) -> Option<Unit<'_>> {
        let mut start = 0;
        let mut slice = None;
        let mut manager = Manager::System;
        for name in path.split('/') {
            let end = start + name.len();
            let inside = path[end..].strip_prefix('/').and_then(|rest| rest.strip_prefix(CONTAINERS));
            if let (Some(slice), true) =
                (slice, is_ours(name) && inside.is_some_and(|rest| rest.starts_with('/')))
            {
                let containers = &path[..end + 1 + CONTAINERS.len()];
                return Some(Unit { path: &path[..end], containers, slice, name, manager });
            }
            slice = name.ends_with(".slice").then_some(name);
            let user = name.strip_prefix("user@").and_then(|name| name.strip_suffix(".service"));
            if let Some(uid) = user.and_then(|uid| uid.parse().ok()) {
                manager = Manager::User(uid);
            }
            start = end + 1;
        }
        None
    }

    /// Has systemd start it, if it does not run, and returns when it does and its controllers are handed down.
    pub(crate) fn start(&self, hierarchy: &Hierarchy) -> Result<(), Error> {
        let mut connection = Connection::open(self.manager).map_err(|refusal| self.error(refusal))?;
        let there = || files::read(hierarchy, self.path, "cgroup.controllers");
        let started = self.started(&mut connection).map_err(|refusal| self.error(refusal))?;
        if started == Started::Already && there() == Err(Errno::NOENT) {
            // Somebody killed its process, and it went empty: there is nobody in it whom this could hurt.
            self.run(&mut connection, "RestartUnit").map_err(|refusal| self.error(refusal))?;
        }
        let failed = |errno| Error::kernel(Operation::StartUnit, self.name, errno);
        let offered = there().map_err(|errno| {
            let place = hierarchy.display(self.path, "");
            failed(errno).with_kind(Kind::Manager).with_detail(format!("its cgroup `{place}` is not there"))
        })?;
        self.settle(hierarchy, &offered).map_err(|errno| {
            failed(errno)
                .with_detail(format!("hand down controllers in `{}`", hierarchy.display(self.path, "")))
        })
    }

    /// Moves the unit's process out of the way and hands the controllers down, once for all containers.
    fn settle(&self, hierarchy: &Hierarchy, offered: &str) -> Result<(), Errno> {
        let holder = format!("{}/{HOLDER}", self.path);
        make(hierarchy, &holder)?;
        for pid in files::read(hierarchy, self.path, "cgroup.procs")?.split_ascii_whitespace() {
            match files::write(hierarchy, &holder, "cgroup.procs", pid) {
                // It has ended.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(errno),
            }
        }
        make(hierarchy, self.containers)?;
        let all: Vec<String> = offered.split_ascii_whitespace().map(|name| format!("+{name}")).collect();
        [self.path, self.containers]
            .into_iter()
            .try_for_each(|group| files::write(hierarchy, group, "cgroup.subtree_control", &all.join(" ")))
    }

    pub(crate) fn manager(&self) -> Manager {
        self.manager
    }

    /// Has systemd move the calling process into the unit, as the kernel forbids an ordinary user to leave a session.
    pub(crate) fn take_caller_in(&self, hierarchy: &Hierarchy) -> Result<(), Error> {
        let callers = format!("{}/{CALLERS}", self.path);
        make(hierarchy, &callers)
            .map_err(|errno| Error::kernel(Operation::Create, hierarchy.display(&callers, ""), errno))?;
        let ask = || {
            let mut connection = Connection::open(self.manager)?;
            let mut body = Writer::default();
            body.string(self.name);
            body.string(&format!("/{CALLERS}"));
            body.array(4, |pids| pids.u32(std::process::id()));
            connection.manager("AttachProcessesToUnit", "ssau", body, |_| Some(()))
        };
        ask().map_err(|refusal| self.error(refusal))
    }

    fn started(&self, connection: &mut Connection) -> Result<Started, Refusal> {
        let asked = connection.manager("StartTransientUnit", "ssa(sv)a(sa(sv))", self.description(), job);
        match asked {
            // Another process was quicker. When its job has ended, so has ours.
            Err(Refusal::Answer { name, .. }) if name.ends_with(".UnitExists") => {
                self.run(connection, "StartUnit").map(|()| Started::Already)
            }
            job => wait(connection, &job?).map(|()| Started::Now),
        }
    }

    fn run(&self, connection: &mut Connection, member: &str) -> Result<(), Refusal> {
        let mut body = Writer::default();
        body.string(self.name);
        body.string("fail");
        let job = connection.manager(member, "ss", body, job)?;
        wait(connection, &job)
    }

    /// The arguments of StartTransientUnit, see org.freedesktop.systemd1(5).
    fn description(&self) -> Writer {
        let mut body = Writer::default();
        body.string(self.name);
        body.string("fail");
        body.array(8, |list| {
            let mut property = |name: &str, signature: &str, value: &dyn Fn(&mut Writer)| {
                list.structure(|entry| {
                    entry.string(name);
                    entry.variant(signature, value);
                });
            };
            property("Description", "s", &|value| value.string("Containers of rabbitc"));
            property("Slice", "s", &|value| value.string(self.slice));
            // At a shutdown that one ends the containers, as long as somebody stands behind each to note how it ended; what is left
            // of them ends with this one, then.
            property("Before", "as", &|value| value.array(4, |units| units.string(KEEPER)));
            // Its command ends at once, and leaves a process without which systemd would remove the group. Should that
            // die, nothing is stopped: it is not the main process.
            property("Type", "s", &|value| value.string("oneshot"));
            property("RemainAfterExit", "b", &|value| value.boolean(true));
            property("ExecStart", "a(sasb)", &|value| {
                value.array(8, |commands| {
                    commands.structure(|command| {
                        // The one program that every distribution has at the same place.
                        command.string("/bin/sh");
                        command.array(4, |words| {
                            ["/bin/sh", "-c", "sleep infinity &"]
                                .into_iter()
                                .for_each(|word| words.string(word))
                        });
                        command.boolean(false);
                    });
                });
            });
            property("Delegate", "b", &|value| value.boolean(true));
            // Limits belong to each container; by default all of them together would get a part of the pids.
            property("TasksMax", "t", &|value| value.u64(u64::MAX));
            // A container that runs out of memory is no reason to end the others.
            property("OOMPolicy", "s", &|value| value.string("continue"));
            property("IgnoreOnIsolate", "b", &|value| value.boolean(true));
            // A pid 1 without a handler ignores SIGTERM; the host's shutdown should not wait long for it.
            property("TimeoutStopUSec", "t", &|value| value.u64(10_000_000));
            property("CollectMode", "s", &|value| value.string("inactive-or-failed"));
        });
        // No auxiliary units.
        body.array(8, |_| ());
        body
    }

    fn error(&self, refusal: Refusal) -> Error {
        refusal_error(self.name, refusal)
    }
}

fn refusal_error(unit: &str, refusal: Refusal) -> Error {
    let (kind, detail) = match refusal {
        Refusal::Answer { name, text } if name.ends_with("AccessDenied") => (Kind::Permission, text),
        Refusal::Answer { name, text } if text.is_empty() => (Kind::Manager, name),
        Refusal::Answer { text, .. } => (Kind::Manager, text),
        Refusal::Connection(error) => (
            match error.kind() {
                io::ErrorKind::PermissionDenied => Kind::Permission,
                _ => Kind::Manager,
            },
            format!("talking to systemd: {}", crate::error::io_text(&error)),
        ),
    };
    Error::plain(Operation::StartUnit, unit, kind, detail)
}

fn make(hierarchy: &Hierarchy, path: &str) -> Result<(), Errno> {
    match rustix::fs::mkdirat(hierarchy.root(), path, rustix::fs::Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Started {
    Now,
    Already,
}

fn wait(connection: &mut Connection, job: &str) -> Result<(), Refusal> {
    match connection.wait_for_job(job)?.as_str() {
        "done" => Ok(()),
        result => Err(Refusal::Answer {
            name: "JobRemoved".to_owned(),
            text: format!("its start ended with `{result}`"),
        }),
    }
}

/// The job's object path, the answer of both ways to start.
fn job(mut body: message::Reader<'_>) -> Option<String> {
    body.string().map(str::to_owned)
}

fn is_ours(name: &str) -> bool {
    name.strip_suffix(".service")
        .and_then(|name| name.strip_prefix(UNIT))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_lie_in_each_other() {
        assert_eq!(slice_path("machine.slice"), "machine.slice");
        assert_eq!(slice_path("a-b-c.slice"), "a.slice/a-b.slice/a-b-c.slice");
    }

    #[test]
    fn unit_slice_and_manager_are_read_from_the_path() {
        let unit =
            Unit::around("machine.slice/rabbitc-containers.service/containers/rabbitc-1").expect("ours");
        assert_eq!(unit.path, "machine.slice/rabbitc-containers.service");
        assert_eq!(unit.containers, "machine.slice/rabbitc-containers.service/containers");
        assert_eq!((unit.slice, unit.name), ("machine.slice", "rabbitc-containers.service"));
        assert_eq!(unit.manager, Manager::System);
        let path =
            "user.slice/user-7.slice/user@7.service/app.slice/rabbitc-containers.service/containers/pod/x";
        let unit = Unit::around(path).expect("ours");
        assert_eq!((unit.slice, unit.manager), ("app.slice", Manager::User(7)));
        let unit =
            Unit::around("a.slice/a-b.slice/rabbitc-containers-a-b.service/containers/x").expect("ours");
        assert_eq!((unit.slice, unit.name), ("a-b.slice", "rabbitc-containers-a-b.service"));
        for other in [
            "rabbitc-1",
            "machine.slice/rabbitc-containers.service",
            "machine.slice/rabbitc-containers.service/containers",
            "machine.slice/rabbitc-containers.service/containersx/rabbitc-1",
            "machine.slice/rabbitc-containers.service/rabbitc-1",
            "machine.slice/other.service/containers/rabbitc-1",
            "rabbitc-containers.service/containers/rabbitc-1",
            "machine.slice/rabbitc-containersx.service/containers/rabbitc-1",
        ] {
            assert_eq!(Unit::around(other), None, "{other}");
        }
    }
}
