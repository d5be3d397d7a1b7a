//! A root that is put together: what a process without root can have of a tree with other mounts in it, as no overlay
//! may look below mounts that the kernel has locked for its user namespace (5.14, CVE-2021-3732).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, fsconfig_set_string, fsopen};
use sys::mount::{Attributes, Reach, attribute, set_attributes};

use super::Context;
use super::failure::{Call, During, Failure, Outcome};
use super::mount::{attach, clone_tree, create};
use super::overlay::{Ground, overlay_over};
use super::step::{PieceKind, PiecedRoot, Rights, Target};
use super::way::{End, Way, open_target};

const LEFT_OUT: [Errno; 2] = [Errno::ACCESS, Errno::NOENT];

/// Makes an empty root in memory and puts every piece into it.
pub(super) fn pieced_root(context: &mut Context<'_>, root: &PiecedRoot) -> Outcome {
    let scratch = memory(c"0700")?;
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // On top of the old root, which stays what every path of this process begins at.
    let place = rustix::fs::openat(CWD, c"/", directory, Mode::empty()).during(Call::Open)?;
    attach(scratch.as_fd(), place.as_fd())?;
    let top = memory(c"0755")?;
    rustix::fs::mkdirat(&scratch, c"merged", Mode::from_raw_mode(0o755)).during(Call::Mkdir)?;
    let merged = rustix::fs::openat(&scratch, c"merged", directory, Mode::empty()).during(Call::Open)?;
    attach(top.as_fd(), merged.as_fd())?;
    for (item, piece) in root.pieces.iter().enumerate() {
        match add(scratch.as_fd(), top.as_fd(), &piece.kind, &piece.target, item) {
            Ok(layer) => layer.into_iter().try_for_each(|layer| context.keep_layer(layer))?,
            // What the user may not look at has no place here either, and some of it may be gone by now.
            Err(Failure { errno, .. }) if LEFT_OUT.iter().any(|one| one.raw_os_error() == errno) => {}
            Err(failure) => return Err(Failure { item: item as u32, ..failure }),
        }
    }
    context.root = Some(top);
    Ok(())
}

fn memory(mode: &std::ffi::CStr) -> Result<OwnedFd, Failure> {
    let opened = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).during(Call::Fsopen)?;
    fsconfig_set_string(opened.as_fd(), c"mode", mode).during(Call::Fsconfig)?;
    create(opened.as_fd(), Attributes::default())
}

/// Puts one piece in, and gives its overlay where it is one.
fn add(
    scratch: BorrowedFd<'_>,
    root: BorrowedFd<'_>,
    kind: &PieceKind,
    target: &Target,
    number: usize,
) -> Result<Option<OwnedFd>, Failure> {
    let end = End::of(root, &target.path).and_then(|end| end.ok_or(Errno::INVAL)).during(Call::Open)?;
    let parent = || end.open_parent().during(Call::Open);
    match kind {
        PieceKind::Empty { mode } => {
            rustix::fs::mkdirat(&parent()?, end.name, Mode::from_raw_mode(*mode)).during(Call::Mkdir)?;
        }
        PieceKind::Link { text } => {
            rustix::fs::symlinkat(text.as_c_str(), &parent()?, end.name).during(Call::Symlink)?;
        }
        PieceKind::Overlay { lower } => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let lower = rustix::fs::openat(CWD, lower, flags, Mode::empty()).during(Call::Open)?;
            let (ground, lowers) = (Ground::of(scratch), [Some(lower.as_fd())]);
            let mount = overlay_over(ground, &lowers, number, Rights::UserNamespace, None, &[])?;
            attach(mount.as_fd(), open_target(Way::from_root(root, target))?.as_fd())?;
            return Ok(Some(mount));
        }
        PieceKind::File { source } => {
            let tree = clone_tree(CWD, source, false).during(Call::OpenTree)?;
            let set = attribute::RDONLY | attribute::NOSUID | attribute::NODEV;
            let change = Attributes { set, ..Attributes::default() };
            set_attributes(tree.as_fd(), change, Reach::Mount).during(Call::MountSetattr)?;
            attach(tree.as_fd(), open_target(Way::from_root(root, target))?.as_fd())?;
        }
    }
    Ok(None)
}
