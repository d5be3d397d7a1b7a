//! The volumes of one container: found or made, held as long as it lives, and undone where it does not start.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use runtime::ErrorKind;
use runtime::caller::Caller;
use runtime::plan::ContainerPlan;
use runtime::spec::Spec;
use rustix::fs::{FlockOperation, Mode, OFlags, ResolveFlags};

use super::apart::{self, Work};
use super::fill::{self, Fill};
use super::local::{self, Behind, Writes};
use super::make::record;
use super::{DATA, Durability, Lock, Record, VolumeStore};
use crate::error::{Error, Result};
#[cfg(doc)]
use crate::kept::KeptContainers;
use crate::options::{
    Access, BindRequest, FileOptions, MountKind, Relabel, RootOptions, VolumeContent, VolumeRequest,
};
use crate::paths::EnginePaths;
use crate::volumes::place;

/// What becomes of a container's own volumes when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnVolumes {
    /// They stay with it.
    Stay,
    /// They go with it.
    Go,
}

impl OwnVolumes {
    /// What becomes of one of its volumes: only what nobody has named goes.
    pub(super) fn fate(self, is_anonymous: bool) -> OwnVolumes {
        if is_anonymous { self } else { OwnVolumes::Stay }
    }

    /// What such a volume has to outlive.
    fn durability(self) -> Durability {
        match self {
            OwnVolumes::Stay => Durability::Power,
            OwnVolumes::Go => Durability::Process,
        }
    }
}

/// Which volumes are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filling {
    /// Those that are empty: the container has not run yet.
    First,
    /// Those alone that were being filled when somebody was killed: what a container has emptied stays empty.
    Unfinished,
}

/// The volumes that a container has. Dropped before it has started, those are gone again that were made for it.
#[derive(Debug)]
pub(crate) struct VolumeLeases {
    store: VolumeStore,
    paths: EnginePaths,
    own: OwnVolumes,
    held: Vec<Held>,
    /// The container's, once it has started.
    id: Option<String>,
}

#[derive(Debug)]
struct Held {
    name: String,
    is_anonymous: bool,
    origin: Origin,
    behind: Behind,
    /// Shared, on its directory.
    lock: File,
    /// What is shown of it, where that is not all.
    subpath: Option<(String, OwnedFd)>,
}

/// Whether a volume was made for this container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Made,
    Found,
}

impl VolumeLeases {
    pub(super) fn new(store: VolumeStore, paths: &EnginePaths, own: OwnVolumes) -> VolumeLeases {
        VolumeLeases { store, paths: paths.clone(), own, held: Vec::new(), id: None }
    }

    /// Finds or makes the volume of `request`, and puts it into the mount.
    pub(super) fn take(&mut self, bind: &mut BindRequest, request: &VolumeRequest, flag: &str) -> Result<()> {
        let name = request.name.as_deref().expect("each has one by now");
        let (lock, origin, record) = self.hold(name, request).map_err(|error| error.from_field(flag))?;
        let behind = local::behind(&record.options)?;
        let directory = self.store.path.join(name);
        let held = Held {
            name: name.to_owned(),
            is_anonymous: record.anonymous,
            origin,
            behind,
            lock,
            subpath: None,
        };
        self.held.push(held);
        let held = self.held.last_mut().expect("it was pushed");
        local::mount_on(&directory, name, &held.behind).map_err(|error| error.from_field(flag))?;
        bind.source = directory.join(DATA);
        if let Behind::Bind { device, reach, writes } = &held.behind {
            bind.source.clone_from(device);
            bind.reach = *reach;
            if *writes == Writes::Refused && bind.access == Access::Writable {
                bind.access = Access::ReadOnly;
            }
        }
        if held.origin == Origin::Made && held.behind == Behind::Directory && bind.relabel.is_none() {
            // One that was made for containers is theirs.
            bind.relabel = Some(Relabel::Shared);
        }
        if let Some(subpath) = &request.subpath {
            let opened = open_subpath(&bind.source, subpath).map_err(|error| error.from_field(flag))?;
            bind.source = place(opened.as_fd());
            held.subpath = Some((subpath.clone(), opened));
        }
        Ok(())
    }

    /// A share of a volume's lock.
    fn hold(&self, name: &str, request: &VolumeRequest) -> Result<(File, Origin, Record)> {
        let mut origin = Origin::Found;
        loop {
            match self.store.lock(name, FlockOperation::LockShared)? {
                Lock::Held(lock) => {
                    let directory = self.store.path.join(name);
                    let record = Record::read(&directory)?.ok_or_else(|| {
                        let operation = format!("use the volume `{name}`");
                        let reason = "nothing is known of it: its `volume.json` is gone";
                        let error = Error::new(ErrorKind::System, operation, reason);
                        error.with_hint(format!("remove `{}`, or bind it by its path", directory.display()))
                    })?;
                    return Ok((lock, origin, record));
                }
                Lock::Busy => unreachable!("it was waited for"),
                Lock::Gone => {
                    local::check(&request.settings.options)?;
                    let record = record(name, request.anonymous, &request.settings);
                    let durability = self.own.fate(request.anonymous).durability();
                    origin = match self.store.make(&record, durability)? {
                        true => Origin::Made,
                        false => Origin::Found,
                    };
                }
            }
        }
    }

    /// Fills those that are empty with what the root has in their places, the outer ones first.
    pub(crate) fn fill(&self, files: &FileOptions, filling: Filling) -> Result<()> {
        let layers: Vec<PathBuf> = match &files.root {
            // What the host has in a place is no content of an image.
            RootOptions::Host => Vec::new(),
            root => root.directories().into_iter().map(Path::to_owned).collect(),
        };
        let mut volumes: Vec<(&str, &VolumeRequest)> = files
            .mounts
            .iter()
            .filter_map(|mount| match &mount.kind {
                MountKind::Bind(bind) => Some((mount.target.as_str(), bind.volume.as_ref()?)),
                MountKind::Tmpfs(_) => None,
            })
            .collect();
        volumes.sort_by_key(|(target, _)| *target);
        for (target, request) in volumes {
            let Some(held) = self.held.iter().find(|held| Some(&held.name) == request.name.as_ref()) else {
                continue;
            };
            let directory = self.store.path.join(&held.name);
            let wants = filling == Filling::First
                && request.content == VolumeContent::Copied
                && request.subpath.is_none()
                && held.behind == Behind::Directory
                && !layers.is_empty()
                && fill::may_need(&directory);
            if !wants && !fill::has_begun(&directory) {
                continue;
            }
            let request = Fill {
                volume: directory,
                layers: layers.clone(),
                target: target.to_owned(),
                durability: self.own.fate(held.is_anonymous).durability(),
            };
            match Caller::find() {
                Caller::User => apart::have_done(&Work::Fill(request), "fill a volume")?,
                Caller::Root | Caller::NamespaceRoot => fill::fill(&request)?,
            }
        }
        Ok(())
    }

    /// Refuses directories of volumes in whose places the plan has found something else: a container that has the volume, too, may
    /// put a link there meanwhile.
    pub(crate) fn verify(&self, files: &FileOptions, spec: &Spec, plan: &ContainerPlan) -> Result<()> {
        for mount in &files.mounts {
            let MountKind::Bind(BindRequest { volume: Some(volume), .. }) = &mount.kind else { continue };
            let wanted = self.held.iter().find_map(|held| {
                let (path, opened) = held.subpath.as_ref()?;
                let is_meant =
                    volume.name.as_ref() == Some(&held.name) && volume.subpath.as_ref() == Some(path);
                is_meant.then_some(opened)
            });
            let number = spec.mounts.iter().position(|one| one.destination == mount.target);
            let (Some(wanted), Some(found)) = (wanted, number.and_then(|number| plan.bind_source(number)))
            else {
                continue;
            };
            let file =
                |opened: BorrowedFd<'_>| rustix::fs::fstat(opened).map(|found| (found.st_dev, found.st_ino));
            let (wanted, found) = (file(wanted.as_fd()), file(found));
            if wanted.is_err() || wanted != found {
                let reason =
                    "something else was put in its place while the container was prepared".to_owned();
                return Err(Error::invalid(mount.flag.as_str(), reason).with_hint("try it again"));
            }
        }
        Ok(())
    }

    /// From now on they stay, whatever becomes of the container with this id.
    pub(crate) fn started(&mut self, id: &str) {
        self.id = Some(id.to_owned());
    }

    /// Leaves them to the container and to whoever keeps what comes back open; see [`KeptContainers::end_volumes`].
    pub(crate) fn entrust(mut self) -> Vec<OwnedFd> {
        self.id.get_or_insert_default();
        std::mem::take(&mut self.held).into_iter().map(|held| held.lock.into()).collect()
    }

    /// Gives them back when the container has ended.
    pub(crate) fn end(mut self) -> Vec<Error> {
        let id = self.id.get_or_insert_default().clone();
        let held = self.let_go();
        let given_back = held
            .iter()
            .map(|held| self.store.give_back(&held.name, self.own.fate(held.is_anonymous), &id, &self.paths));
        given_back.filter_map(Result::err).collect()
    }

    /// Gives the locks up.
    fn let_go(&mut self) -> Vec<Held> {
        let mut held = std::mem::take(&mut self.held);
        for one in &mut held {
            // For every copy of the descriptor: a child that another thread has just forked holds one, too.
            let _ = rustix::fs::flock(&one.lock, FlockOperation::Unlock);
            // What is open of it would keep it mounted.
            one.subpath = None;
        }
        held
    }
}

impl Drop for VolumeLeases {
    fn drop(&mut self) {
        if self.id.is_some() {
            return;
        }
        for held in self.let_go() {
            // Best effort on the way out of an error: one that somebody else has by now stays.
            let _ = match held.origin {
                Origin::Made => self.store.remove(&held.name, &self.paths),
                Origin::Found => self.store.unmount_idle(&held.name, "", &self.paths),
            };
        }
    }
}

impl VolumeStore {
    /// Gives a volume back of a container that has ended.
    pub(super) fn give_back(
        &self,
        name: &str,
        fate: OwnVolumes,
        id: &str,
        paths: &EnginePaths,
    ) -> Result<()> {
        match fate {
            OwnVolumes::Go => self.remove_after(name, id, Some(paths)),
            OwnVolumes::Stay => self.unmount_idle(name, id, paths),
        }
    }

    /// Removes the own volume of a container that has ended, unless others have it; one that is gone is no failure.
    pub(super) fn remove_after(&self, name: &str, id: &str, paths: Option<&EnginePaths>) -> Result<()> {
        let users = || match paths {
            Some(paths) => self.users(paths).map(|users| users.without(id)),
            // Whoever runs without a record holds its lock.
            None => self.kept_users().map(|users| users.without(id)),
        };
        match self.remove_unless(name, &users) {
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::WrongStatus) => Ok(()),
            removed => removed,
        }
    }

    /// Takes away what is mounted on a volume, unless a container that runs has it; `id` is one that does not any more.
    fn unmount_idle(&self, name: &str, id: &str, paths: &EnginePaths) -> Result<()> {
        let directory = self.path.join(name);
        let Some(record) = Record::read(&directory)? else { return Ok(()) };
        if record.options.is_empty() {
            return Ok(());
        }
        let Lock::Held(_lock) = self.lock(name, FlockOperation::NonBlockingLockExclusive)? else {
            return Ok(());
        };
        let running = super::users::running(paths)?;
        let has_it = |(other, shown): &(String, crate::kept::Shown)| {
            other != id && super::users::names(&shown.mounts).any(|one| one == name)
        };
        if running.iter().any(has_it) {
            return Ok(());
        }
        local::unmount(&record.options, &directory)
    }
}

/// A directory or file in a volume; no link is followed.
fn open_subpath(volume: &Path, subpath: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let failed = |error| Error::at_path("open", &volume.join(subpath), error);
    let volume = rustix::fs::open(volume, flags | OFlags::DIRECTORY, Mode::empty()).map_err(failed)?;
    rustix::fs::openat2(&volume, subpath, flags, Mode::empty(), resolve).map_err(|error| {
        failed(error).with_hint("it must be there in the volume, and no link may be on the way")
    })
}
