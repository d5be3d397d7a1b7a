//! What is packed and unpacked again is the same.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::archive::Content;
use super::*;
use crate::compare::difference;
use crate::unpack::{self, Devices, Limits, Options, Owners, Whiteouts};

const OPTIONS: Options = Options {
    whiteouts: Whiteouts::Trusted,
    devices: Devices::Made,
    owners: Owners::Named,
    limits: Limits {
        entries: 10_000,
        bytes: 64 << 20,
        ratio: 200,
        ratio_from: 1 << 20,
        depth: 256,
        path_bytes: 4095,
        attribute_bytes: 64 << 10,
    },
};

/// A directory that goes with its value.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = crate::scratch::directory(&format!("pack-{name}"));
        for directory in ["tree", "again"] {
            std::fs::create_dir_all(path.join(directory)).expect("made");
        }
        Place(path)
    }

    fn tree(&self) -> PathBuf {
        self.0.join("tree")
    }

    fn open(&self, name: &str) -> File {
        File::open(self.0.join(name)).expect("there")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn mknod(path: &Path, kind: FileType, device: u64) {
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(if device == 0 { 0 } else { 0o600 }), device)
        .expect("made");
}

/// Archives tell whole seconds.
fn set_times(tree: &Path) {
    let time = Timespec { tv_sec: 1_600_000_000, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    let root = File::open(tree).expect("there");
    let mut set = |found: &Found<'_>| {
        rustix::fs::utimensat(found.directory, found.name, &times, AtFlags::SYMLINK_NOFOLLOW).expect("set");
        Ok(())
    };
    walk(root.as_fd(), &mut set).expect("walked");
}

#[test]
fn layer_is_the_same_after_it_was_packed_and_unpacked() {
    let place = Place::new("same");
    let tree = place.tree();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    std::fs::create_dir(tree.join("d".repeat(120))).expect("made");
    for (name, text) in [("a", "text"), (long.as_str(), "long"), ("empty", "")] {
        std::fs::write(tree.join(name), text).expect("written");
    }
    std::fs::write(tree.join(OsStr::from_bytes(b"no\xfftext")), "x").expect("written");
    std::fs::hard_link(tree.join("a"), tree.join("other name of a")).expect("made");
    symlink("/nowhere", tree.join("link")).expect("made");
    symlink("x".repeat(150), tree.join("long link")).expect("made");
    let mode = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(tree.join("empty"), mode).expect("set");
    mknod(&tree.join("pipe"), FileType::Fifo, 1);
    drop(std::os::unix::net::UnixListener::bind(tree.join("socket")).expect("made"));
    rustix::fs::setxattr(tree.join("a"), "user.note", b"value", XattrFlags::empty()).expect("set");
    if rustix::process::geteuid().is_root() {
        mknod(&tree.join("null"), FileType::CharacterDevice, rustix::fs::makedev(1, 3));
        mknod(&tree.join("gone"), FileType::CharacterDevice, 0);
        std::fs::create_dir(tree.join("new")).expect("made");
        for name in ["trusted.overlay.opaque", "user.overlay.opaque"] {
            rustix::fs::setxattr(tree.join("new"), name, b"y", XattrFlags::empty()).expect("set");
        }
        // cap_net_raw, permitted and effective (capability.h, version 2).
        let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        rustix::fs::setxattr(tree.join("empty"), "security.capability", &capability, XattrFlags::empty())
            .expect("set");
        std::os::unix::fs::lchown(tree.join("link"), Some(3_000_000_000), Some(12)).expect("set");
    }
    set_times(&tree);
    let mut archive = Vec::new();
    pack(place.open("tree").as_fd(), Form::Layer, &BTreeSet::new(), &mut archive).expect("packed");
    unpack::layer(&archive[..], place.open("again").as_fd(), &OPTIONS).expect("unpacked");
    std::fs::remove_file(tree.join("socket")).expect("there, and not in the archive");
    let differs = difference(place.open("tree").as_fd(), place.open("again").as_fd()).expect("compared");
    assert_eq!(differs, None);
    // And whoever packs the same has the same bytes.
    let mut second = Vec::new();
    pack(place.open("again").as_fd(), Form::Layer, &BTreeSet::new(), &mut second).expect("packed");
    assert!(archive == second);
}

#[test]
fn what_has_taken_the_place_of_a_file_is_not_opened() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new("swapped");
    let file = place.tree().join("file");
    std::fs::write(&file, "old").expect("written");
    // Between the walk's look at a file and ours, as a container that runs may do it.
    let swapped = |swap: &dyn Fn()| {
        let mut content = None;
        walk(place.open("tree").as_fd(), &mut |found| {
            swap();
            content = Some(Content::of(found));
            Ok(())
        })
        .expect("walked");
        content.expect("one entry")
    };
    // One that no driver has (devices.txt: 240 to 254 are for experiments): to open it would be another error.
    for device in [rustix::fs::makedev(1, 3), rustix::fs::makedev(254, 0xf_ff77)] {
        let content = swapped(&|| {
            std::fs::remove_file(&file).expect("removed");
            mknod(&file, FileType::CharacterDevice, device);
        });
        assert!(matches!(content, Err(Errno::NOENT)), "it has gone");
        std::fs::remove_file(&file).expect("removed");
        std::fs::write(&file, "old").expect("written");
    }
    let content = swapped(&|| {
        std::fs::write(place.tree().join("new"), "longer than before").expect("written");
        std::fs::rename(place.tree().join("new"), &file).expect("renamed");
    });
    assert_eq!(content.expect("another file").stat.st_size, 18, "the size is that of what is packed");
}

#[test]
fn renamed_directory_of_an_overlay_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new("redirect");
    let moved = place.tree().join("moved");
    std::fs::create_dir(&moved).expect("made");
    rustix::fs::setxattr(&moved, "trusted.overlay.redirect", b"/other", XattrFlags::empty()).expect("set");
    let error = pack(place.open("tree").as_fd(), Form::Layer, &BTreeSet::new(), &mut Vec::new())
        .expect_err("refused");
    assert!(error.to_string().contains("`moved`") && error.hint.is_some(), "{error}");
}

#[test]
fn overlays_are_walked_as_the_kernel_shows_them() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new("merged");
    let tree = place.tree();
    for directory in
        ["upper/a/new", "upper/b", "upper/c", "lower/a", "lower/b/old", "lower/closed/secret", "lower/mnt"]
            .iter()
            .chain(&["disk/below", "mounted"])
    {
        std::fs::create_dir_all(tree.join(directory)).expect("made");
    }
    for file in ["upper/a/one", "lower/a/two", "lower/a/gone", "lower/file", "lower/c", "disk/file"] {
        std::fs::write(tree.join(file), file).expect("written");
    }
    mknod(&tree.join("upper/a/gone"), FileType::CharacterDevice, 0);
    mknod(&tree.join("lower/a/of another overlay"), FileType::CharacterDevice, 0);
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::setxattr(tree.join(path), name, value, XattrFlags::empty()).expect("set");
    };
    set("upper/b", "trusted.overlay.opaque", b"y");
    set("lower/a", "trusted.overlay.redirect", b"/elsewhere");
    let open = |name: &str| std::os::fd::OwnedFd::from(place.open(&format!("tree/{name}")));
    let overlays = [
        Overlay { point: Vec::new(), layers: vec![open("upper"), open("lower")] },
        Overlay { point: b"mnt".to_vec(), layers: vec![open("mounted"), open("disk")] },
    ];
    let closed = BTreeSet::from([b"closed".to_vec()]);
    let mut seen = Vec::new();
    walk_merged(&overlays, &closed, &mut |found| {
        seen.push(String::from_utf8_lossy(found.path).into_owned());
        Ok(())
    })
    .expect("walked");
    let expected =
        ["a", "a/new", "a/one", "a/two", "b", "c", "closed", "file", "mnt", "mnt/below", "mnt/file"];
    assert_eq!(seen, expected);
}
