//! The host's own binary, which init and exec are until their program begins, must not be writable from a container
//! (CVE-2019-5736): a program `#!/proc/self/exe` of a hostile image is this very file.
//!
//! So whoever starts something in a container does it from a copy of the file's mount that is read-only and belongs
//! to nobody; where that mount can't be made, from a sealed copy in memory.

use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::mount::{OpenTreeFlags, open_tree};
use sys::exec::CStringArray;
use sys::mount::{Attributes, Reach, attribute, set_attributes};

use crate::error::{Error, ErrorKind, Result};

const SELF: &CStr = c"/proc/self/exe";

/// Returns at once where this process already runs from a file that nobody can write to; else executes the same
/// program with the same arguments and environment from such a file, and returns only if that fails.
///
/// To be called before anything else, while the process has one thread and nothing to lose. `name` is what the
/// process is called afterwards, as it has no path to take its name from.
pub fn protect(
    name: &CStr,
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<()> {
    let system = |error: std::io::Error| {
        let error = Error::system("protect the host's binary from the container", error);
        error.with_hint("this needs /proc, and the right to mount or some memory")
    };
    let file = rustix::fs::openat(CWD, SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| system(error.into()))?;
    if is_protected(&file) {
        // A name is for people alone.
        let _ = rustix::thread::set_name(name);
        return Ok(());
    }
    let protected = read_only_mount(SELF).or_else(|_| sealed_copy(file)).map_err(system)?;
    let strings = |texts: Vec<Vec<u8>>| -> Result<CStringArray> {
        let texts: std::result::Result<Vec<CString>, _> = texts.into_iter().map(CString::new).collect();
        texts.map(CStringArray::new).map_err(|error| system(error.into()))
    };
    let arguments = strings(arguments.into_iter().map(OsString::into_vec).collect())?;
    let environment = environment.into_iter().map(|(name, value)| {
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.extend(value.into_vec());
        entry
    });
    let environment = strings(environment.collect())?;
    Err(system(sys::exec::execve_descriptor(protected.as_fd(), &arguments, &environment, None)))
}

/// This process's own program, to be executed inside a container: refused where it could be written to from there, or
/// needs a loader that the container may not have.
pub(crate) fn open_for_init() -> Result<OwnedFd> {
    let operation = "open the init of `--init`";
    let file = rustix::fs::openat(CWD, SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| Error::system(operation, error))?;
    if !is_protected(&file) {
        let reason = "this program runs from a file that the container could write to";
        return Err(Error::new(ErrorKind::Unsupported, operation, reason)
            .with_hint("whoever launches containers with an init must call `host_binary::protect` first"));
    }
    let mut beginning = [0u8; 4096];
    let length =
        rustix::io::pread(&file, &mut beginning, 0).map_err(|error| Error::system(operation, error))?;
    if crate::remedy::elf_interpreter(&beginning[..length]).is_some() {
        let reason = "this rabbitc is linked dynamically, and its loader may be missing in the container";
        return Err(Error::new(ErrorKind::Unsupported, operation, reason)
            .with_hint("build it with `cargo xtask build`, which links statically"));
    }
    Ok(file)
}

/// Whether the file is on a read-only mount of its own, or sealed against writes. A `/usr` that is mounted read-only
/// does not count: it becomes writable for an upgrade, and a container may have kept the file open until then.
fn is_protected(file: &OwnedFd) -> bool {
    let read_only = rustix::fs::fstatvfs(file)
        .is_ok_and(|found| found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    // The root of a mount that is attached nowhere has no other path; the second, when an upgrade removed the file.
    let own = || {
        let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        path.is_ok_and(|path| path.as_os_str() == "/" || path.as_os_str() == "/ (deleted)")
    };
    (read_only && own())
        || rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::WRITE))
}

/// A mount of the file alone, read-only, attached nowhere: it lives as long as somebody runs from it.
fn read_only_mount(path: &CStr) -> std::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, path, flags)?;
    let change = Attributes { set: attribute::RDONLY, ..Attributes::default() };
    set_attributes(tree.as_fd(), change, Reach::Mount)?;
    Ok(tree)
}

/// The file's content in memory, sealed: what somebody without the right to mount can have.
fn sealed_copy(file: OwnedFd) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = rustix::fs::memfd_create(c"host-binary", flags)?;
    let mut copy = std::fs::File::from(copy);
    // Inside the kernel, where it can (sendfile(2)): every start without root pays for it.
    std::io::copy(&mut std::fs::File::from(file), &mut copy)?;
    let copy = OwnedFd::from(copy);
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    // EBUSY: somebody in the kernel still holds one of the pages just written; it lets go by itself.
    let mut tries = 100;
    loop {
        match rustix::fs::fcntl_add_seals(&copy, seals) {
            Err(rustix::io::Errno::BUSY) if tries > 0 => tries -= 1,
            other => return Ok(other.map(|()| copy)?),
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_copy_counts_as_protected_and_refuses_writes() {
        let file =
            rustix::fs::openat(CWD, SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("opened");
        let copy = sealed_copy(file).expect("copied");
        assert!(is_protected(&copy));
        assert_eq!(rustix::io::write(&copy, b"x"), Err(rustix::io::Errno::PERM));
    }

    #[test]
    fn read_only_mount_counts_as_protected_and_refuses_writes_through_its_descriptor() {
        use std::os::unix::ffi::OsStrExt;
        // Not the program itself, which answers ETXTBSY as long as it runs, whatever the mount says.
        let path = std::env::temp_dir().join(format!("rabbitc-host-binary-{}", std::process::id()));
        std::fs::write(&path, "x").expect("written");
        let name = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
        let made = read_only_mount(&name);
        std::fs::remove_file(&path).expect("removed");
        let Ok(tree) = made else {
            println!("skipped: making a mount needs root");
            return;
        };
        assert!(is_protected(&tree));
        let link = format!("/proc/self/fd/{}", tree.as_raw_fd());
        let error = std::fs::OpenOptions::new().write(true).open(link).expect_err("refused");
        assert_eq!(error.raw_os_error(), Some(30), "EROFS");
    }

    #[test]
    fn file_on_a_read_only_mount_of_others_does_not_count_as_protected() {
        use std::os::unix::ffi::OsStrExt;
        let directory = std::env::temp_dir().join(format!("rabbitc-read-only-{}", std::process::id()));
        std::fs::create_dir(&directory).expect("made");
        std::fs::write(directory.join("binary"), "x").expect("written");
        let name = CString::new(directory.as_os_str().as_bytes()).expect("no NUL");
        let made = read_only_mount(&name);
        let file = made.map(|tree| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&tree, "binary", flags, Mode::empty()).expect("opened")
        });
        std::fs::remove_dir_all(&directory).expect("removed");
        let Ok(file) = file else {
            println!("skipped: making a mount needs root");
            return;
        };
        assert_eq!(rustix::fs::fstatvfs(&file).map(|found| found.f_flag.bits() & 1), Ok(1), "read-only");
        assert!(!is_protected(&file));
    }
}
