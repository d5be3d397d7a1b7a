//! Bind mounts of config.json: the source is opened here, once, and everything later goes by that descriptor.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use sys::mount::attribute;

use super::mount_options::Options;
use super::mounts::{MountContext, is_shared, is_slave};
use super::options::BindRules;
use super::owners::{self, Detached};
use crate::caller::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::foreign;
use crate::init::step::{
    Bind, DetachedMount, InitAction, Inside, MountPlan, Opened, Owners, Rights, Step, Target, TargetKind,
    Writes,
};
use crate::plan::{c_path, c_string, init_step};
use crate::spec::Mount;

/// A bind mount as config.json has it.
pub(super) struct Wanted<'a> {
    pub(super) mount: &'a Mount,
    /// Its place in `mounts`.
    pub(super) number: usize,
    pub(super) field: &'a str,
    pub(super) recursive: bool,
    pub(super) options: Options,
    /// The mounts that are made before it.
    pub(super) earlier: &'a [Mount],
}

/// Attributes that a bind mount has of its own only where an option names one (mount(8), `remount,bind`).
const NAMED_ALL_OR_NONE: u64 =
    attribute::RDONLY | attribute::NOSUID | attribute::NODEV | attribute::NOEXEC | attribute::NOSYMFOLLOW;

/// The step for one.
pub(super) fn plan_bind(
    wanted: Wanted<'_>,
    context: &MountContext<'_>,
    detached: &mut Detached,
) -> Result<Step> {
    let Wanted { mount, number, field, recursive, mut options, earlier } = wanted;
    let own_users = context.users.are_own();
    if context.bind_rules == BindRules::Customary && options.names_attributes {
        // What a user namespace may not clear stays, unless it is asked for by name.
        let cleared = if own_users { attribute::NOSYMFOLLOW } else { NAMED_ALL_OR_NONE };
        options.attributes.clear |= cleared & !options.attributes.set;
    }
    let owners = owners::asked_for(mount, options.idmap, context.users, field)?;
    let source_field = format!("{field}.source");
    let Some(source) = mount.source.as_deref().filter(|source| !source.is_empty()) else {
        return Err(Error::invalid(source_field, "is missing for a bind mount".to_owned()));
    };
    let path: PathBuf = if source.starts_with('/') { source.into() } else { context.bundle.join(source) };
    if let Some(inside) = inside_source(&path, earlier, context) {
        return plan_inside(
            inside,
            &path,
            Wanted { mount, number, field, recursive, options, earlier },
            owners,
        );
    }
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
            let opened = match rustix::fs::open(&path, flags, Mode::empty()) {
                // Nothing is done with it but to say that it is a directory.
                Err(Errno::NOENT) if context.made_later.contains(&path) => {
                    rustix::fs::open(c"/", flags, Mode::empty())
                }
                opened => opened,
            };
            (opened.map_err(failed)?, None)
        }
    };
    let status = rustix::fs::fstat(&opened).map_err(failed)?;
    let kind = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => TargetKind::Directory,
        _ => TargetKind::File,
    };
    let mut writes = Writes::Through;
    if options.throw_away {
        if kind == TargetKind::File {
            let reason =
                format!("`{}` is a file, and only a directory lies below an overlay", path.display());
            return Err(Error::invalid(source_field, reason).with_hint("name the directory that it lies in"));
        }
        writes = Writes::ThrownAway(if own_users { Rights::UserNamespace } else { Rights::Host });
    }
    if own_users && is_shared(options.propagation) && context.bind_rules == BindRules::Strict {
        let reason = "mounts of a user namespace may not reach the host".to_owned();
        let hint = "use `rslave`, or leave the user namespace out";
        return Err(Error::invalid(format!("{field}.options"), reason).with_hint(hint));
    }
    let source = c_path(&path, &source_field)?;
    // In a user namespace init makes it if it can: then the flags of the host's mount are locked for the container.
    let root = context.caller == Caller::Root;
    let by_parent = foreign.is_some()
        || owners.is_some()
        || (root && (!own_users || options.propagation != 0))
        || owners::needs_parent(&source, context.users);
    // In a user namespace it is the beginning of a group of peers that has none on the host.
    let among_its_own = own_users && is_shared(options.propagation);
    let travels = (is_shared(options.propagation) && !among_its_own)
        || (is_slave(options.propagation) && !is_slave(context.propagation));
    if travels && !by_parent {
        let error =
            Error::invalid(format!("{field}.options"), "only root may link a mount to the host's".to_owned());
        return Err(error.with_hint("leave the propagation out, or run it with sudo"));
    }
    if own_users && by_parent {
        keep_locked(&opened, &options, field)?;
    }
    detached.sources.insert(number, opened);
    let of_parent = if among_its_own { 0 } else { options.propagation };
    let detached = by_parent.then(|| {
        let (propagation, source) = (of_parent, source.clone());
        let mount = DetachedMount {
            source,
            opened: Some(Opened::Source(number)),
            recursive,
            propagation,
            owners,
            foreign,
        };
        detached.add_opened(mount, field)
    });
    let plan = MountPlan {
        kind: Bind {
            source,
            recursive,
            detached,
            planned: Some((status.st_dev, status.st_ino)),
            inside: None,
            writes,
        },
        target: Target::parse(&mount.destination, kind, format_args!("{field}.destination"))?,
        attributes: options.attributes,
        recursive: options.recursive,
        propagation: if by_parent && !among_its_own { 0 } else { options.propagation },
    };
    Ok(init_step(InitAction::Bind(plan), field))
}

/// The way to a source that an earlier mount covers, holds or lies in: among the container's own mounts, where it shows
/// what they show. `path` is the host's, as if those were mounted in the root directory there.
fn inside_source(path: &Path, earlier: &[Mount], context: &MountContext<'_>) -> Option<PathBuf> {
    let rootfs = context.rootfs.filter(|_| context.bind_rules == BindRules::Customary)?;
    let inside = path.strip_prefix(rootfs).ok()?;
    if rootfs == Path::new("/") || !inside.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let meets = |mount: &Mount| {
        let place = Path::new(mount.destination.trim_start_matches('/'));
        inside.starts_with(place) || place.starts_with(inside)
    };
    earlier.iter().any(meets).then(|| inside.to_owned())
}

fn plan_inside(inside: PathBuf, path: &Path, wanted: Wanted<'_>, owners: Option<Owners>) -> Result<Step> {
    let Wanted { mount, field, recursive, options, .. } = wanted;
    let source_field = format!("{field}.source");
    if options.throw_away {
        let reason =
            "`tmpoverlay` takes a directory of the host, not one of the container's mounts".to_owned();
        return Err(Error::invalid(format!("{field}.options"), reason));
    }
    let text = inside.to_string_lossy();
    let inside = c_string(if text.is_empty() { "." } else { &text }, &source_field)?;
    let kind = Bind {
        source: c_path(path, &source_field)?,
        recursive,
        detached: None,
        planned: None,
        inside: Some(Inside { path: inside, owners }),
        writes: Writes::Through,
    };
    let destination_field = format!("{field}.destination");
    let plan = MountPlan {
        kind,
        target: Target::parse(&mount.destination, TargetKind::Directory, &destination_field)?,
        attributes: options.attributes,
        recursive: options.recursive,
        propagation: options.propagation,
    };
    Ok(init_step(InitAction::Bind(plan), field))
}

/// The kernel locks the flags of the host's mounts for a user namespace; a mount that the parent makes has no locks, so
/// what an option would undo of them is refused here.
fn keep_locked(opened: &OwnedFd, options: &Options, field: &str) -> Result<()> {
    const LOCKED: [(&str, u64); 4] = [
        ("ro", attribute::RDONLY),
        ("nosuid", attribute::NOSUID),
        ("nodev", attribute::NODEV),
        ("noexec", attribute::NOEXEC),
    ];
    let asked = LOCKED.iter().filter(|(_, bit)| options.attributes.clear & bit != 0);
    let mut asked = asked.peekable();
    if asked.peek().is_none() {
        return Ok(());
    }
    let options = options_of(opened).map_err(|error| error.from_field(format!("{field}.options")))?;
    match asked.find(|(name, _)| options.split(',').any(|option| option == *name)) {
        None => Ok(()),
        Some((name, _)) => {
            let reason = format!(
                "operation not permitted: the host's mount is `{name}`, which a user namespace may not undo"
            );
            let mut error = Error::new(ErrorKind::Permission, format!("{field}.options"), reason);
            error.errno = Some(Errno::PERM.raw_os_error());
            Err(error.with_hint("leave out the option that undoes it, or change the mount on the host"))
        }
    }
}

/// The options of the mount that a descriptor lies on. Whoever asks guards by them: what can't be known is an error.
fn options_of(opened: &OwnedFd) -> Result<String> {
    const TABLE: &str = "/proc/self/mountinfo";
    let found = rustix::fs::statx(opened, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        .map_err(|errno| Error::system("look up the source's mount", errno))?;
    let table = std::fs::read(TABLE).map_err(|error| Error::at_path("read", Path::new(TABLE), error))?;
    let mount = sys::mount_table::entries(&table).find(|mount| mount.id == found.stx_mnt_id);
    mount.map(|mount| mount.options.to_owned()).ok_or_else(|| {
        let reason = "the mount of the source is not in it, so that its locked options are not known";
        Error::new(ErrorKind::System, format!("read `{TABLE}`"), reason)
    })
}

/// A bind of what is ours or the kernel's, by its path.
pub(super) fn by_path(source: &Path, detached: Option<usize>, field: &str) -> Result<Bind> {
    Ok(Bind {
        source: c_path(source, field)?,
        recursive: false,
        detached,
        planned: None,
        inside: None,
        writes: Writes::Through,
    })
}
