//! Bind mounts of config.json: the source is opened here, once, and everything later goes by that descriptor.

use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::mounts::{MountContext, Options, is_shared, is_slave};
use super::owners::{self, Detached};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::foreign;
use crate::init::step::{Bind, DetachedMount, InitAction, MountPlan, Step, Target, TargetKind, Writes};
use crate::plan::{c_string, init_step};
use crate::spec::Mount;

/// A bind mount as config.json has it.
pub(super) struct Wanted<'a> {
    pub(super) mount: &'a Mount,
    /// Its place in `mounts`.
    pub(super) number: usize,
    pub(super) field: &'a str,
    pub(super) recursive: bool,
    pub(super) options: Options,
}

/// The step for one.
pub(super) fn plan_bind(
    wanted: Wanted<'_>,
    context: &MountContext<'_>,
    detached: &mut Detached,
) -> Result<Step> {
    let Wanted { mount, number, field, recursive, options } = wanted;
    let owners = owners::asked_for(mount, options.idmap, context.users, field)?;
    let source_field = format!("{field}.source");
    let Some(source) = mount.source.as_deref().filter(|source| !source.is_empty()) else {
        return Err(Error::invalid(source_field, "is missing for a bind mount".to_owned()));
    };
    let path: PathBuf = if source.starts_with('/') { source.into() } else { context.bundle.join(source) };
    let failed = |errno: Errno| {
        let error = Error::at_path("open the source of a bind mount", &path, errno);
        let error = error.from_field(source_field.clone());
        if errno == Errno::NOENT {
            return error.with_hint("check the path; a bind mount shows what is there, so create it first");
        }
        error
    };
    let (opened, foreign) = match foreign::open(&path).map_err(|error| error.from_field(&source_field))? {
        Some((opened, namespace)) => (opened, Some(namespace)),
        None => {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            (rustix::fs::open(&path, flags, Mode::empty()).map_err(failed)?, None)
        }
    };
    let status = rustix::fs::fstat(&opened).map_err(failed)?;
    let kind = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => TargetKind::Directory,
        _ => TargetKind::File,
    };
    let own_users = context.users.are_own();
    let mut writes = Writes::Through;
    if options.throw_away {
        if kind == TargetKind::File {
            let reason =
                format!("`{}` is a file, and only a directory lies below an overlay", path.display());
            return Err(Error::invalid(source_field, reason).with_hint("name the directory that it lies in"));
        }
        writes = Writes::ThrownAway { user_namespace: own_users };
    }
    if own_users && is_shared(options.propagation) {
        let reason = "mounts of a user namespace may not reach the host".to_owned();
        let hint = "use `rslave`, or leave the user namespace out";
        return Err(Error::invalid(format!("{field}.options"), reason).with_hint(hint));
    }
    let source = c_string(&path.to_string_lossy(), &source_field)?;
    // In a user namespace init makes it if it can: then the flags of the host's mount are locked for the container.
    let root = context.caller == Caller::Root;
    let by_parent = foreign.is_some()
        || owners.is_some()
        || (root && (!own_users || options.propagation != 0))
        || owners::needs_parent(&source, context.users);
    let travels =
        is_shared(options.propagation) || (is_slave(options.propagation) && !is_slave(context.propagation));
    if travels && !by_parent {
        let error =
            Error::invalid(format!("{field}.options"), "only root may link a mount to the host's".to_owned());
        return Err(error.with_hint("leave the propagation out, or run it with sudo"));
    }
    detached.sources.insert(number, opened);
    let detached = by_parent.then(|| {
        let (propagation, source) = (options.propagation, source.clone());
        let mount = DetachedMount { source, opened: Some(number), recursive, propagation, owners, foreign };
        detached.add_opened(mount, field)
    });
    let plan = MountPlan {
        kind: Bind { source, recursive, detached, planned: Some((status.st_dev, status.st_ino)), writes },
        target: Target::parse(&mount.destination, kind, &format!("{field}.destination"))?,
        attributes: options.attributes,
        recursive: options.recursive,
        propagation: if by_parent { 0 } else { options.propagation },
    };
    Ok(init_step(InitAction::Bind(plan), field))
}

/// A bind of what is ours or the kernel's, by its path.
pub(super) fn by_path(source: &Path, detached: Option<usize>, field: &str) -> Result<Bind> {
    Ok(Bind {
        source: c_string(&source.to_string_lossy(), field)?,
        recursive: false,
        detached,
        planned: None,
        writes: Writes::Through,
    })
}
