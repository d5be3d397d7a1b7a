//! Directories shown as one: an overlay without an upper directory, read-only. Must not know what they are.
//!
//! What is there for programs in it is not there for those of the host: devices, and rights that files give.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use runtime::caller::Caller;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount,
};

use crate::error::{Error, Result};

/// Mounts `layers`, the topmost first, at `point`: it takes two at least. `operation` is what that is for.
pub(crate) fn attach_as_one(layers: &[&Path], point: &Path, operation: &str) -> Result<()> {
    match mounted(layers, operation)? {
        Some(mount) => move_mount(&mount, c"", CWD, point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(|error| Error::at_path(&format!("{operation}: attach its layers at"), point, error)),
        None => attach_by_mount(layers, point, operation),
    }
}

/// The root of `layers` as one, where nobody else sees it: it goes with its value.
pub(crate) fn open_as_one(layers: &[&Path], operation: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = |root: rustix::io::Result<OwnedFd>| root.map_err(|error| failed(operation, "opened", error));
    // Also where it is attached nowhere: who is root in a user namespace of its own may mount in a mount namespace of that alone.
    apart(operation, || match mounted(layers, operation)? {
        // To be read, a mount's own descriptor will not do.
        Some(mount) => opened(rustix::fs::openat(mount, c".", flags, Mode::empty())),
        None => {
            // Whatever this path is elsewhere.
            let point = layers.first().expect("it takes two at least");
            attach_by_mount(layers, point, operation)?;
            opened(rustix::fs::open(*point, flags, Mode::empty()))
        }
    })
}

/// What takes the changes of an overlay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upper<'a> {
    /// Where they are.
    pub(crate) directory: &'a Path,
    /// An empty directory beside it.
    pub(crate) work: &'a Path,
}

/// The root of `upper` over `lowers`, to be changed, where nobody else sees it: it goes with its value.
pub(crate) fn open_over(upper: Upper<'_>, lowers: &[&Path], operation: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = |root: rustix::io::Result<OwnedFd>| root.map_err(|error| failed(operation, "opened", error));
    apart(operation, || {
        // By mount(2), which every kernel takes: descriptors stand for the layers, as a path may have a comma.
        attach_over(upper, lowers, operation)?;
        opened(rustix::fs::open(upper.work, flags, Mode::empty()))
    })
}

fn attach_over(upper: Upper<'_>, lowers: &[&Path], operation: &str) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |layer: &Path| {
        let opened = rustix::fs::open(layer, flags, Mode::empty()).map(File::from);
        opened.map_err(|error| layer_failed(operation, layer, error))
    };
    let by = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
    let (directory, work) = (open(upper.directory)?, open(upper.work)?);
    let opened: Vec<File> = lowers.iter().map(|layer| open(layer)).collect::<Result<_>>()?;
    let lowers: Vec<String> = opened.iter().map(by).collect();
    let more = if takes_user_attributes() { ",userxattr" } else { "" };
    let options = format!(
        "lowerdir={},upperdir={},workdir={},redirect_dir=off,index=off,metacopy=off{more}",
        lowers.join(":"),
        by(&directory),
        by(&work)
    );
    let options = CString::new(options).expect("numbers have no NUL");
    let flags = MountFlags::NODEV | MountFlags::NOSUID;
    // At the place of the directory that it works in, which nobody looks at.
    rustix::mount::mount("overlay", upper.work, "overlay", flags, options.as_c_str())
        .map_err(|error| failed(operation, "mounted", error))
}

/// The mount, attached nowhere; none where the kernel takes the layers by mount(2) alone.
fn mounted(layers: &[&Path], operation: &str) -> Result<Option<OwnedFd>> {
    let opened = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|error| failed(operation, "shown as one", error))?;
    for (number, layer) in layers.iter().enumerate() {
        match fsconfig_set_string(&opened, c"lowerdir+", layer.as_os_str().as_bytes()) {
            // Before Linux 6.7; and before 6.5 it is refused at the end alone.
            Err(Errno::INVAL) if number == 0 => return Ok(None),
            set => set.map_err(|error| layer_failed(operation, layer, error))?,
        }
    }
    if takes_user_attributes() {
        fsconfig_set_flag(&opened, c"userxattr").map_err(|error| failed(operation, "shown as one", error))?;
    }
    match fsconfig_create(opened.as_fd()) {
        Err(Errno::INVAL) => return Ok(None),
        created => created.map_err(|error| failed(operation, "shown as one", error))?,
    }
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID;
    let mount = fsmount(opened.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes);
    mount.map(Some).map_err(|error| failed(operation, "mounted", error))
}

/// The same by mount(2), which takes a page of options: layers by their descriptors, as these names are short, and without colons.
fn attach_by_mount(layers: &[&Path], point: &Path, operation: &str) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |layer: &&Path| {
        let opened = rustix::fs::open(*layer, flags, Mode::empty()).map(File::from);
        opened.map_err(|error| layer_failed(operation, layer, error))
    };
    let opened: Vec<File> = layers.iter().map(open).collect::<Result<_>>()?;
    let names: Vec<String> =
        opened.iter().map(|file| format!("/proc/self/fd/{}", file.as_raw_fd())).collect();
    let more = if takes_user_attributes() { ",userxattr" } else { "" };
    let options = CString::new(format!("lowerdir={}{more}", names.join(":"))).expect("numbers have no NUL");
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID;
    rustix::mount::mount("overlay", point, "overlay", flags, options.as_c_str())
        .map_err(|error| failed(operation, "mounted", error))
}

/// Does something in a mount namespace of its own, which nobody else is in and which ends with it.
fn apart<T: Send>(operation: &str, what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let prepared = || {
        let failed = |error: std::io::Error| Error::system(format!("{operation}: mount apart"), error);
        sys::namespace::unshare(sys::clone::flags::NEWNS).map_err(failed)?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change(c"/", private).map_err(|error| failed(error.into()))?;
        what()
    };
    std::thread::scope(|scope| scope.spawn(prepared).join().expect("it does not panic"))
}

/// What an overlay keeps for itself is in attributes that only the host's root may write, else in those of users.
fn takes_user_attributes() -> bool {
    Caller::find() != Caller::Root
}

fn failed(operation: &str, what: &str, error: Errno) -> Error {
    let failed = Error::system(format!("{operation}: its layers can't be {what}"), error);
    match error {
        Errno::NODEV => {
            failed.with_hint("this kernel has no overlay file system; `modprobe overlay` may bring it")
        }
        _ => failed,
    }
}

fn layer_failed(operation: &str, layer: &Path, error: Errno) -> Error {
    let failed = Error::at_path(&format!("{operation}: open its layer"), layer, error);
    match error {
        Errno::NOENT => failed.with_hint("`rabbitc system check --repair` brings layers of images again"),
        _ => failed,
    }
}
