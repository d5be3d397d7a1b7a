//! Binds: something of the host at a place inside, from a mount that the parent has made or from its path.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, UnmountFlags, fsconfig_set_string, fsopen, unmount};
use sys::mount::Attributes;

use super::Context;
use super::failure::{Call, During, Failure, Outcome};
use super::mount::{Digits, attach, clone_tree, create, duplicate, finish, keep, open_place_of};
use super::overlay::{Ground, make_directory, overlay_over};
use super::step::{Bind, MountPlan, Rights, TargetKind, Writes};
use super::way::open_inside;

/// Binds something of the host at its target.
pub(super) fn bind(context: &mut Context<'_>, plan: &MountPlan<Bind>, step: u16) -> Outcome {
    let mut mount = tree(context, &plan.kind)?;
    let mut kind = plan.target.kind;
    if let Some(inside) = &plan.kind.inside {
        let status = rustix::fs::fstat(&mount).during(Call::Stat)?;
        kind = match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => TargetKind::Directory,
            _ => TargetKind::File,
        };
        if inside.owners.is_some() {
            super::ask_with(context, step, mount.as_fd())?;
        }
    }
    let place = open_place_of(kind, context, mount.as_fd(), &plan.target)?;
    if let Writes::ThrownAway(rights) = plan.kind.writes {
        mount = overlay(mount.as_fd(), place.as_fd(), rights)?;
    }
    finish(mount.as_fd(), place.as_fd(), plan.attributes, plan.recursive, plan.propagation)?;
    keep(context, mount, &plan.target);
    Ok(())
}

fn tree(context: &Context<'_>, bind: &Bind) -> Result<OwnedFd, Failure> {
    if let Some(number) = bind.detached {
        return duplicate(context.detached(number)?);
    }
    if let Some(inside) = &bind.inside {
        let found = open_inside(context.root()?, &inside.path, OFlags::PATH).during(Call::Open)?;
        return clone_tree(found.as_fd(), c"", bind.recursive).during(Call::OpenTree);
    }
    let Some(planned) = bind.planned else {
        return clone_tree(CWD, &bind.source, bind.recursive).during(Call::OpenTree);
    };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = rustix::fs::openat(CWD, &bind.source, flags, Mode::empty()).during(Call::Open)?;
    let status = rustix::fs::fstat(&found).during(Call::Stat)?;
    if (status.st_dev, status.st_ino) != planned {
        return Err(Errno::STALE).during(Call::Stat);
    }
    clone_tree(found.as_fd(), c"", bind.recursive).during(Call::OpenTree)
}

/// A throw-away overlay over `lower`. Its layers lie at the place while it is put together, as overlayfs takes only what
/// is mounted in this namespace (before 6.15), and go before it covers them: it holds them, and nobody else can reach
/// them.
fn overlay(lower: BorrowedFd<'_>, place: BorrowedFd<'_>, rights: Rights) -> Result<OwnedFd, Failure> {
    let opened = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).during(Call::Fsopen)?;
    fsconfig_set_string(opened.as_fd(), c"mode", c"0700").during(Call::Fsconfig)?;
    let scratch = create(opened.as_fd(), Attributes::default())?;
    attach(scratch.as_fd(), place)?;
    let below = make_directory(scratch.as_fd(), b'l', 0)?;
    attach(lower, below.as_fd())?;
    let made = overlay_over(Ground::of(scratch.as_fd()), &[Some(lower)], 0, rights, None, &[]);
    let mut path = Digits::after(b"/proc/self/fd/", scratch.as_raw_fd() as usize);
    let unmounted = unmount(path.c_str(), UnmountFlags::DETACH).during(Call::Umount);
    let overlay = made?;
    unmounted?;
    Ok(overlay)
}
