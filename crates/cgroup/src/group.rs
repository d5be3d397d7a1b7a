//! Owns the handle of one container's group in all hierarchies: opening it, naming it, moving processes into it.
//! Must not decide about limits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicBool;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Error, Kind, Operation};
use crate::files;
use crate::layout::{Hierarchy, Language, Layout, Version};
use crate::path::CgroupPath;
use crate::systemd::Holder;

/// The group of one container, in every hierarchy that this process sees.
///
/// It is addressed by its path below each hierarchy's root, which stays open: whoever calls must hold the lock on
/// the container's name, so that nobody removes the group and makes another of that name meanwhile.
#[derive(Debug)]
pub struct Cgroup {
    pub(crate) layout: Layout,
    pub(crate) path: CgroupPath,
    pub(crate) existed: bool,
    /// The directory in the unified hierarchy, where there is one.
    pub(crate) unified: Option<OwnedFd>,
    /// Whether this handle has written device rules.
    pub(crate) devices_set: AtomicBool,
    /// What keeps a scope that was just made.
    pub(crate) holder: Option<Holder>,
}

impl Cgroup {
    /// The existing group `path`; [`Kind::NotFound`] when no hierarchy has it.
    ///
    /// A group that is left in some hierarchies only, as after an interrupted removal, opens too.
    pub fn open(layout: &Layout, path: &CgroupPath) -> Result<Cgroup, Error> {
        let mut cgroup = Cgroup {
            layout: layout.clone(),
            path: path.clone(),
            existed: false,
            unified: None,
            devices_set: AtomicBool::new(false),
            holder: None,
        };
        for hierarchy in layout.hierarchies() {
            match files::open(hierarchy, path.as_str(), "", OFlags::PATH | OFlags::DIRECTORY) {
                Ok(directory) => {
                    cgroup.existed = true;
                    if hierarchy.language() == Language::V2 {
                        cgroup.unified = Some(directory);
                    }
                }
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(Error::kernel(Operation::Open, hierarchy.display(path.as_str(), ""), errno));
                }
            }
        }
        if !cgroup.existed {
            return Err(Error::plain(
                Operation::Open,
                path.to_string(),
                Kind::NotFound,
                "no hierarchy has such a group",
            ));
        }
        Ok(cgroup)
    }

    /// The path below each hierarchy's root.
    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// The layout it was found in.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether some hierarchy had it before. [`create`](Cgroup::create) takes over what it finds; a caller that
    /// wants a group of its own looks at this and at [`processes`](Cgroup::processes).
    pub fn existed(&self) -> bool {
        self.existed
    }

    /// Full paths of the group's directories, each with its hierarchy.
    pub fn directories(&self) -> impl Iterator<Item = (&Hierarchy, String)> {
        self.layout
            .hierarchies()
            .iter()
            .map(|hierarchy| (hierarchy, hierarchy.display(self.path.as_str(), "")))
    }

    /// The directory in the unified hierarchy, for `CLONE_INTO_CGROUP` (v2 and hybrid). An `O_PATH` descriptor. Nothing
    /// where the limit on tasks has no room for a clone beside the process that keeps a scope; who moves itself in is
    /// not counted.
    pub fn clone_descriptor(&self) -> Option<BorrowedFd<'_>> {
        let full = self.holder.is_some()
            && self
                .statistics_of_pids()
                .is_some_and(|pids| pids.limit.is_some_and(|limit| limit <= pids.current));
        self.unified.as_ref().filter(|_| !full).map(AsFd::as_fd)
    }

    /// Whether a clone into the unified group is a move into all of it: there is no v1 beside.
    pub fn is_joined_whole(&self) -> bool {
        self.layout.version() == Version::V2
    }

    /// Makes the group one that this process may move its own children into: an ordinary user outside of their
    /// manager's tree is moved in there by that manager.
    pub fn reach(&self) -> Result<(), Error> {
        self.layout.reach(&self.path)
    }

    /// Moves the process into the group in every hierarchy.
    ///
    /// Every one, also those without a limit: a cgroup namespace shows a process's groups as roots, so in a
    /// hierarchy that was left out the container would see, and with a writable mount own, the caller's group.
    /// [`Kind::NoProcess`] when the process is gone.
    pub fn join(&self, pid: i32) -> Result<(), Error> {
        self.layout.hierarchies().iter().try_for_each(|hierarchy| self.join_one(hierarchy, pid))
    }

    /// Moves a process that was cloned into the unified group (see [`clone_descriptor`](Cgroup::clone_descriptor))
    /// into the v1 hierarchies as well. Nothing to do on pure v2.
    pub fn join_v1(&self, pid: i32) -> Result<(), Error> {
        self.layout
            .hierarchies()
            .iter()
            .filter(|hierarchy| hierarchy.language() == Language::V1)
            .try_for_each(|hierarchy| self.join_one(hierarchy, pid))
    }

    fn join_one(&self, hierarchy: &Hierarchy, pid: i32) -> Result<(), Error> {
        files::write(hierarchy, self.path.as_str(), "cgroup.procs", &pid.to_string())
            .map_err(|errno| join_error(hierarchy, self.path.as_str(), errno))
    }

    /// Files through which a process of one thread moves itself, by writing `0` into each, with the rights of
    /// whoever opened them here. The unified hierarchy, where there is one, comes first.
    ///
    /// For v1 that is `tasks`: a thread that moves itself takes no lock over all threads of the machine, for which
    /// every other way of joining waits some ten milliseconds when nobody did so lately.
    pub fn self_join_descriptors(&self) -> Result<Vec<OwnedFd>, Error> {
        self.layout
            .hierarchies()
            .iter()
            .map(|hierarchy| open_to_join(hierarchy, self.path.as_str()))
            .collect()
    }

    pub(crate) fn display(&self, hierarchy: &Hierarchy, file: &str) -> String {
        hierarchy.display(self.path.as_str(), file)
    }

    /// The hierarchies to ask for the group's processes.
    ///
    /// One is enough for those that joined all; but one that was cloned into the unified group, and whose parent
    /// died before it moved it on, is in that alone.
    pub(crate) fn asked(&self) -> impl Iterator<Item = &Hierarchy> + Clone {
        // The v1 freezer where there is one, as what is frozen and what is listed must be the same.
        let v1 = self.layout.v1("freezer").or_else(|| {
            self.layout.hierarchies().iter().find(|hierarchy| hierarchy.language() == Language::V1)
        });
        v1.into_iter().chain(self.layout.unified())
    }
}

/// The file through which a process of one thread moves itself into the group at `path`, as
/// [`Cgroup::self_join_descriptors`] has it.
pub(crate) fn open_to_join(hierarchy: &Hierarchy, path: &str) -> Result<OwnedFd, Error> {
    let file = match hierarchy.language() {
        Language::V1 => "tasks",
        Language::V2 => "cgroup.procs",
    };
    files::open(hierarchy, path, file, OFlags::WRONLY).map_err(|errno| join_error(hierarchy, path, errno))
}

fn join_error(hierarchy: &Hierarchy, path: &str, errno: Errno) -> Error {
    let error = Error::kernel(Operation::Join, hierarchy.display(path, ""), errno);
    match errno {
        Errno::NOSPC => error.with_detail("its cpuset has no processors or no memory nodes"),
        Errno::BUSY => {
            error.with_detail("it hands controllers down to child groups, so it may hold no process itself")
        }
        _ => error,
    }
}
