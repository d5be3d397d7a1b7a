//! Whose the files of a mount look: which mounts the parent must make, and through which map their owners are shown.
//!
//! Inside a user namespace init may put any mount in place, but it can't show owners through a map, nor reach what lies
//! behind a directory that the namespace's users may not search. The parent can both.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sys::mount::Reach;

use super::id_maps::{self, IdMaps};
use super::namespaces::NamespacePlan;
use crate::error::{Error, Result};
use crate::init::step::{Action, DetachedMount, HostAction, Opened, OwnerMap, Owners, Step};
use crate::spec::Mount;

/// The container's user namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Users<'a> {
    /// The caller's: it has none of its own.
    Callers,
    /// A new one with these maps.
    New(&'a IdMaps),
    /// One that exists.
    Joined(BorrowedFd<'a>),
}

impl<'a> Users<'a> {
    pub(crate) fn of(namespaces: &'a NamespacePlan, maps: Option<&'a IdMaps>) -> Users<'a> {
        match (maps, namespaces.joined_users()) {
            (Some(maps), _) => Users::New(maps),
            (None, Some(joined)) => Users::Joined(joined),
            (None, None) => Users::Callers,
        }
    }

    /// Whether the container's users are others than the caller's.
    pub(crate) fn are_own(self) -> bool {
        !matches!(self, Users::Callers)
    }

    /// The map that shows files of the host's root as files of the container's root.
    pub(crate) fn map(self) -> Result<Option<OwnerMap>> {
        Ok(match self {
            Users::Callers => None,
            Users::New(maps) => Some(OwnerMap::Lists(maps.clone())),
            Users::Joined(joined) => {
                let copy = joined.try_clone_to_owned();
                Some(OwnerMap::Namespace(
                    copy.map_err(|error| Error::system("keep the user namespace open", error))?,
                ))
            }
        })
    }
}

/// The mounts that the parent makes, in order: host steps, and init knows each by its number.
#[derive(Debug)]
pub(crate) struct Detached {
    pub(crate) steps: Vec<Step>,
    /// Sources of bind mounts, opened once, by their places in the config's mounts.
    pub(crate) sources: BTreeMap<usize, OwnedFd>,
    /// Flags for their propagation.
    propagation: u64,
}

impl Detached {
    pub(crate) fn new(propagation: u64) -> Detached {
        Detached { steps: Vec::new(), sources: BTreeMap::new(), propagation }
    }

    /// Adds one of `source`, which may be open already; returns its number.
    pub(crate) fn add(
        &mut self,
        source: &CStr,
        opened: Option<Opened>,
        recursive: bool,
        owners: Option<Owners>,
        asked_by: &str,
    ) -> usize {
        let propagation = self.propagation;
        let source = source.to_owned();
        self.push(DetachedMount { source, opened, recursive, propagation, owners, foreign: None }, asked_by)
    }

    /// Adds one of a source that is open; `propagation` is what is asked for, 0 where nothing is.
    pub(crate) fn add_opened(&mut self, mut mount: DetachedMount, asked_by: &str) -> usize {
        if mount.propagation == 0 {
            mount.propagation = self.propagation;
        }
        self.push(mount, asked_by)
    }

    fn push(&mut self, mount: DetachedMount, asked_by: &str) -> usize {
        let action = Action::Host(HostAction::DetachMount(mount));
        self.steps.push(Step { action, asked_by: Some(asked_by.to_owned()) });
        self.steps.len() - 1
    }
}

/// The map that `mount` asks for, by its own lists or by an option (config.md, "Linux mount options").
pub(crate) fn asked_for(
    mount: &Mount,
    option: Option<Reach>,
    users: Users<'_>,
    field: &str,
) -> Result<Option<Owners>> {
    let own = id_maps::of_mount(mount, field)?;
    if own.is_none() && option.is_none() {
        return Ok(None);
    }
    let reach = option.unwrap_or(Reach::Mount);
    if let Some(maps) = own {
        return Ok(Some(Owners { map: OwnerMap::Lists(maps), reach }));
    }
    match users.map()? {
        Some(map) => Ok(Some(Owners { map, reach })),
        None => {
            let reason =
                "`idmap` has no map to go by: neither the mount nor a user namespace brings one".to_owned();
            let hint = "give the mount uidMappings and gidMappings, or the container a user namespace";
            Err(Error::invalid(format!("{field}.options"), reason).with_hint(hint))
        }
    }
}

/// Whether the users of a user namespace may search every directory above `path`.
///
/// Where they may, init makes the mount itself: then the flags of the host's mount are locked for the container.
pub(crate) fn is_reachable(path: &Path) -> bool {
    path.ancestors().skip(1).all(|directory| {
        std::fs::metadata(directory).is_ok_and(|found| found.permissions().mode() & 0o001 != 0)
    })
}

/// Whether the parent must make a bind of `source`, though its owners stay as they are.
pub(crate) fn needs_parent(source: &CStr, users: Users<'_>) -> bool {
    let source = Path::new(std::ffi::OsStr::from_bytes(source.to_bytes()));
    users.are_own() && rustix::process::geteuid().is_root() && !is_reachable(source)
}

impl NamespacePlan {
    /// The user namespace that is joined.
    pub(crate) fn joined_users(&self) -> Option<BorrowedFd<'_>> {
        let user = |one: &&crate::init::step::JoinedNamespace| one.flag == sys::clone::flags::NEWUSER;
        self.joined.iter().find(user).map(|one| one.descriptor.as_fd())
    }
}
