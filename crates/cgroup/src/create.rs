//! Owns making a container's group in all hierarchies. Must not set limits.

use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicBool;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Kind, Operation};
use crate::files;
use crate::group::Cgroup;
use crate::layout::{Hierarchy, Language, Layout, Version};
use crate::path::CgroupPath;
use crate::processes::processes_below;
use crate::resources::Resources;
use crate::systemd::Property;

/// How often a group is made again whose parent another process removed at that moment.
const MOST_ATTEMPTS: u32 = 1000;

const MODE: Mode = Mode::from_raw_mode(0o755);

/// What a directory was before we came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Existing,
    Made,
}

/// A group in the making, in two parts: first where a process can be cloned into it, the unified hierarchy, then where a
/// process moves itself, those of v1. So that process can be made while the second part is.
///
/// One that is dropped unfinished is removed again; whoever was cloned into it must have ended by then.
#[derive(Debug)]
pub struct Creation {
    cgroup: Option<Cgroup>,
    /// By its number in the layout, each hierarchy that did not have the group before.
    made: Vec<usize>,
}

impl Creation {
    /// Makes the group in the unified hierarchy, missing ancestors included; on pure v1 nothing yet. What is refused,
    /// [`Cgroup::create`] says.
    pub fn begin(layout: &Layout, path: &CgroupPath) -> Result<Creation, Error> {
        let cgroup = Cgroup {
            layout: layout.clone(),
            path: path.clone(),
            existed: false,
            unified: None,
            devices_set: AtomicBool::new(false),
            holder: None,
        };
        let made = Vec::with_capacity(layout.hierarchies().len());
        let mut creation = Creation { cgroup: Some(cgroup), made };
        creation.make(Language::V2)?;
        Ok(creation)
    }

    /// As [`Cgroup::clone_descriptor`].
    pub fn clone_descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.cgroup.as_ref().and_then(Cgroup::clone_descriptor)
    }

    /// Makes the group in the hierarchies of v1.
    ///
    /// After a failure only dropping is of use.
    pub fn finish(&mut self) -> Result<Cgroup, Error> {
        self.make(Language::V1)?;
        let cgroup = self.cgroup.as_ref().expect("one that is finished is not finished again");
        self.widen_modes(cgroup)?;
        // A child is cloned into the group from where its parent is.
        cgroup.layout.reach(&cgroup.path)?;
        Ok(self.cgroup.take().expect("it was there just now"))
    }

    fn make(&mut self, language: Language) -> Result<(), Error> {
        let Creation { cgroup: Some(cgroup), made } = self else { return Ok(()) };
        let Cgroup { layout, path, .. } = cgroup;
        let mut existed = false;
        for (number, hierarchy) in layout.hierarchies().iter().enumerate() {
            if hierarchy.language() != language {
                continue;
            }
            match make_leaf(hierarchy, path, layout.version())? {
                Found::Made => made.push(number),
                Found::Existing => existed = true,
            }
            prepare(hierarchy, path, layout.version())?;
            if language == Language::V2 {
                let directory = files::open(hierarchy, path.as_str(), "", OFlags::PATH | OFlags::DIRECTORY);
                cgroup.unified = Some(directory.map_err(|errno| failure(hierarchy, path.as_str(), errno))?);
            }
        }
        cgroup.existed |= existed;
        if existed { cgroup.refuse_in_use(language) } else { Ok(()) }
    }

    /// Gives the directories we made the mode they should have, whatever the umask took away: others than the owner
    /// look into them, a container's own users for example.
    fn widen_modes(&self, cgroup: &Cgroup) -> Result<(), Error> {
        let Cgroup { layout, path, .. } = cgroup;
        let made = || self.made.iter().map(|number| &layout.hierarchies()[*number]);
        // All were made under one umask, so one look tells for all. At the last: v1 answers much quicker than v2.
        let Some(one) = made().next_back() else { return Ok(()) };
        let stat = rustix::fs::statat(one.root(), path.as_str(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failure(one, path.as_str(), errno))?;
        if Mode::from_raw_mode(stat.st_mode & 0o7777) == MODE {
            return Ok(());
        }
        for hierarchy in made() {
            rustix::fs::chmodat(hierarchy.root(), path.as_str(), MODE, AtFlags::empty())
                .map_err(|errno| failure(hierarchy, path.as_str(), errno))?;
        }
        Ok(())
    }
}

impl Creation {
    /// Removes what was made, and returns what could not be removed.
    pub fn undo(mut self) -> Vec<Error> {
        self.remove()
    }

    fn remove(&mut self) -> Vec<Error> {
        let Some(cgroup) = self.cgroup.take() else { return Vec::new() };
        let mut failed = Vec::new();
        for number in self.made.drain(..) {
            let hierarchy = &cgroup.layout.hierarchies()[number];
            if let Err(errno) = rmdir(hierarchy, cgroup.path.as_str()) {
                let place = hierarchy.display(cgroup.path.as_str(), "");
                failed.push(Error::kernel(Operation::Remove, place, errno));
            }
        }
        remove_own_ancestors(&cgroup.layout, &cgroup.path);
        failed
    }
}

impl Drop for Creation {
    fn drop(&mut self) {
        // Best effort: what can not be removed does not replace the cause.
        let _ = self.remove();
    }
}

impl Cgroup {
    /// Makes the group in every hierarchy, missing ancestors included.
    ///
    /// On v1, cpusets start as their parent's. On v2, every controller that the root offers is handed down as far
    /// as that is possible without moving a process; where it is not, [`apply`](Cgroup::apply) names the
    /// controller when a limit needs it. On failure everything made here is removed again. An empty group that is
    /// there already is taken over, see [`existed`](Cgroup::existed); one with processes, or one that is frozen and
    /// would stop the first, is refused with [`Kind::Busy`].
    pub fn create(layout: &Layout, path: &CgroupPath) -> Result<Cgroup, Error> {
        Creation::begin(layout, path)?.finish()
    }

    /// Has systemd make the group, as a scope with `resources` and `properties`, the latter last, and makes it in the
    /// hierarchies of v1 that systemd leaves out. Without a scope in `path` it is [`create`](Cgroup::create).
    ///
    /// The control files still want [`apply_files`](Cgroup::apply_files): systemd does not know them all. Until
    /// [`let_go`](Cgroup::let_go) a process of ours is in the group, as there is no scope without any.
    pub fn create_scope(
        layout: &Layout,
        path: &CgroupPath,
        resources: &Resources,
        properties: &[Property],
    ) -> Result<Cgroup, Error> {
        let Some(scope) = path.scope() else { return Cgroup::create(layout, path) };
        // systemd would tell that the unit exists, and not what is wrong with it.
        match Cgroup::open(layout, path) {
            Ok(group) => {
                group.refuse_in_use(Language::V1)?;
                group.refuse_in_use(Language::V2)?;
            }
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut all = Cgroup::scope_properties(layout, &scope, resources)?;
        all.extend_from_slice(properties);
        // A child is cloned into the group from where its parent is.
        layout.reach(path)?;
        let holder = scope.start(&all)?;
        let undo = |error: Error| {
            // The scope ends with its only process; that systemd can't be asked is no reason to hide the cause.
            let _ = scope.stop();
            error
        };
        // What systemd made is there; on v1 it has no use for some controllers.
        let found = if layout.version() == Version::V2 {
            Cgroup::open(layout, path)
        } else {
            layout
                .hierarchies()
                .iter()
                .try_for_each(|hierarchy| {
                    make_leaf(hierarchy, path, layout.version())?;
                    prepare(hierarchy, path, layout.version())
                })
                .and_then(|()| Cgroup::open(layout, path))
        };
        let mut cgroup = found.map_err(undo)?;
        cgroup.existed = false;
        cgroup.holder = Some(holder);
        Ok(cgroup)
    }

    /// Ends the process that kept a scope, once another is in it. Nothing to do for any other group.
    pub fn let_go(&mut self) {
        self.holder = None;
    }

    /// A container's group is its own: what others put there would share its limits and end with it. Looks at the
    /// hierarchies of one language, as our own process may be in those of the other.
    fn refuse_in_use(&self, language: Language) -> Result<(), Error> {
        let refuse =
            |detail: String| Err(Error::plain(Operation::Create, self.path.to_string(), Kind::Busy, detail));
        let asked = self.asked().filter(|hierarchy| hierarchy.language() == language);
        let processes = self.list(asked, processes_below)?;
        if let Some(first) = processes.first() {
            let count = processes.len();
            return refuse(format!(
                "the container's cgroup is not empty: {count} process(es), such as {first}"
            ));
        }
        if self.frozen() {
            return refuse("the container's cgroup unexpectedly frozen".to_owned());
        }
        Ok(())
    }
}

/// Makes the group's own directory, and its ancestors when they are missing or go away meanwhile: whoever removes
/// the last child of a shared parent removes the parent too. A missing unit of systemd is asked for: as long as it is
/// there, this one call is all that it costs.
fn make_leaf(hierarchy: &Hierarchy, path: &CgroupPath, version: Version) -> Result<Found, Error> {
    let unit = path.unit().filter(|_| version == Version::V2);
    let mut last = Errno::NOENT;
    for _ in 0..MOST_ATTEMPTS {
        match mkdir(hierarchy, path.as_str()) {
            Ok(found) => return Ok(found),
            Err(errno @ (Errno::NOENT | Errno::NODEV)) => last = errno,
            Err(errno) => return Err(failure(hierarchy, path.as_str(), errno)),
        }
        if let Some(unit) = &unit
            && !exists(hierarchy, unit.containers)
        {
            unit.start(hierarchy)?;
        }
        let owned_by_systemd = unit.as_ref().map_or(0, |unit| unit.containers.len());
        for ancestor in path.ancestors().filter(|ancestor| ancestor.len() > owned_by_systemd) {
            let made = mkdir(hierarchy, ancestor).and_then(|found| {
                if found == Found::Made { prepare_ancestor(hierarchy, path, ancestor) } else { Ok(()) }
            });
            match made {
                Ok(()) => {}
                Err(Errno::NOENT | Errno::NODEV) => break,
                Err(errno) => return Err(failure(hierarchy, ancestor, errno)),
            }
        }
    }
    Err(failure(hierarchy, path.as_str(), last))
}

/// Readies an ancestor that we just made.
fn prepare_ancestor(hierarchy: &Hierarchy, path: &CgroupPath, ancestor: &str) -> Result<(), Errno> {
    if hierarchy.language() == Language::V1 && hierarchy.has("cpuset") {
        inherit_cpuset(hierarchy, ancestor)?;
        // Below our own parent the kernel itself gives every new child its parent's cpuset: two files to read
        // and two to write less for each container.
        if path.own_ancestors().any(|own| own == ancestor) {
            files::write(hierarchy, ancestor, "cgroup.clone_children", "1")?;
        }
    }
    Ok(())
}

/// Readies the group itself for processes.
fn prepare(hierarchy: &Hierarchy, path: &CgroupPath, version: Version) -> Result<(), Error> {
    let leaf = path.as_str();
    match hierarchy.language() {
        Language::V1 if hierarchy.has("cpuset") => {
            inherit_cpuset(hierarchy, leaf).map_err(|errno| failure(hierarchy, leaf, errno))
        }
        Language::V1 => Ok(()),
        // Whoever started the unit has handed down all it has, once for all containers.
        Language::V2 if version == Version::V2 && path.unit().is_none() => {
            hand_down_everything(hierarchy, path);
            Ok(())
        }
        // Hybrid: what little the unified hierarchy has is handed down when a limit asks for it.
        Language::V2 => Ok(()),
    }
}

/// Fills an empty v1 cpuset from its parent, which is filled first where it is empty itself: without processors
/// and memory nodes a group takes no process.
fn inherit_cpuset(hierarchy: &Hierarchy, path: &str) -> Result<(), Errno> {
    // Whoever filled it filled both, be it the kernel (cgroup.clone_children) or us.
    if !files::read(hierarchy, path, "cpuset.cpus")?.trim().is_empty() {
        return Ok(());
    }
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    if !parent.is_empty() {
        inherit_cpuset(hierarchy, parent)?;
    }
    // Memory nodes first: a cpuset with processors counts as filled to everybody who looks meanwhile.
    for file in ["cpuset.mems", "cpuset.cpus"] {
        let value = files::read(hierarchy, parent, file)?;
        files::write(hierarchy, path, file, value.trim())?;
    }
    Ok(())
}

/// Hands every offered controller down to the group, as far as the kernel lets us.
fn hand_down_everything(hierarchy: &Hierarchy, path: &CgroupPath) {
    let has = files::read(hierarchy, path.as_str(), "cgroup.controllers").unwrap_or_default();
    let missing: Vec<&str> = hierarchy
        .offered()
        .split_ascii_whitespace()
        .filter(|wanted| !has.split_ascii_whitespace().any(|controller| controller == *wanted))
        .collect();
    if missing.is_empty() {
        return;
    }
    for ancestor in std::iter::once("").chain(path.ancestors()) {
        let all: Vec<String> = missing.iter().map(|controller| format!("+{controller}")).collect();
        // One that is refused takes the whole line with it, so then each goes alone. Best effort: a limit that
        // needs a controller which stayed behind fails and names the reason.
        if files::write(hierarchy, ancestor, "cgroup.subtree_control", &all.join(" ")).is_err() {
            for one in all {
                let _ = files::write(hierarchy, ancestor, "cgroup.subtree_control", &one);
            }
        }
    }
}

/// Hands one controller down to the group; the error names the ancestor that could not.
pub(crate) fn hand_down(hierarchy: &Hierarchy, path: &CgroupPath, controller: &str) -> Result<(), Error> {
    for ancestor in std::iter::once("").chain(path.ancestors()) {
        let handed = files::read(hierarchy, ancestor, "cgroup.subtree_control").unwrap_or_default();
        let write = || files::write(hierarchy, ancestor, "cgroup.subtree_control", &format!("+{controller}"));
        if handed.split_ascii_whitespace().any(|known| known == controller) {
            // Another process may be just handing it down: the word is there before the files are. A second write
            // changes nothing, and waits for the first; where it is refused there is nobody to wait for.
            let _ = write();
            continue;
        }
        write().map_err(|errno| {
            let error = Error::kernel(Operation::Enable, hierarchy.display(ancestor, ""), errno);
            match errno {
                Errno::BUSY => error
                    .with_kind(Kind::ControllerHeld)
                    .with_detail(format!("`{controller}` is needed, but processes are in that group")),
                Errno::NOENT => error
                    .with_kind(Kind::ControllerUnavailable)
                    .with_detail(format!("`{controller}` is not handed down to it")),
                _ => error.with_detail(format!("`{controller}` is needed")),
            }
        })?;
    }
    Ok(())
}

/// Removes the ancestors that are ours and empty, in every hierarchy. Best effort: one that still has children,
/// or that another process removes or refills at this moment, is theirs to remove.
pub(crate) fn remove_own_ancestors(layout: &Layout, path: &CgroupPath) {
    for ancestor in path.own_ancestors() {
        for hierarchy in layout.hierarchies() {
            // In use in one hierarchy is in use in all, or about to be removed by who uses it: with other
            // containers running, that saves asking nine more times.
            if let Err(Errno::BUSY | Errno::NOTEMPTY) = rmdir(hierarchy, ancestor) {
                return;
            }
        }
    }
}

fn exists(hierarchy: &Hierarchy, path: &str) -> bool {
    rustix::fs::statat(hierarchy.root(), path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn mkdir(hierarchy: &Hierarchy, path: &str) -> Result<Found, Errno> {
    match rustix::fs::mkdirat(hierarchy.root(), path, MODE) {
        Ok(()) => Ok(Found::Made),
        Err(Errno::EXIST) => Ok(Found::Existing),
        Err(errno) => Err(errno),
    }
}

pub(crate) fn rmdir(hierarchy: &Hierarchy, path: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(hierarchy.root(), path, AtFlags::REMOVEDIR) {
        // Gone, or going at this moment.
        Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        result => result,
    }
}

fn failure(hierarchy: &Hierarchy, path: &str, errno: Errno) -> Error {
    Error::kernel(Operation::Create, hierarchy.display(path, ""), errno)
}
