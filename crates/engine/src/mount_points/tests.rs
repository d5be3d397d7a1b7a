//! What a container makes in a root goes with the last one on it, and nothing else does.

use std::ffi::OsString;
use std::os::fd::AsFd;

use runtime::plan::TargetKind;

use super::*;

fn scratch(name: &str) -> (PathBuf, PathBuf) {
    let base = std::env::temp_dir().join(format!("rabbitc-points-{name}-{}", std::process::id()));
    let (roots, root) = (base.join("roots"), base.join("root"));
    std::fs::create_dir_all(&root).expect("made");
    (roots, root)
}

fn make(roots: &Path, root: &Path, ground: Ground, points: &[(&str, TargetKind)]) -> Result<MountPoints> {
    let descriptor = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("opened");
    let points: Vec<MountPoint> = points
        .iter()
        .map(|&(path, kind)| MountPoint {
            mount: None,
            path: path.to_owned(),
            kind,
            covers_link: path == "etc/resolv.conf",
        })
        .collect();
    let directory = Directory { path: root, descriptor: descriptor.as_fd(), ground };
    MountPoints::make(roots, &directory, points.iter())
}

const POINTS: [(&str, TargetKind); 2] = [("proc", TargetKind::Directory), ("etc/hosts", TargetKind::File)];

#[test]
fn last_container_removes_what_was_made_and_no_earlier_one_does() {
    let (roots, root) = scratch("last");
    let mut first = make(&roots, &root, Ground::Root, &POINTS).expect("made");
    let mut second = make(&roots, &root, Ground::Root, &POINTS).expect("made");
    first.release().expect("released");
    assert!(root.join("proc").is_dir() && root.join("etc/hosts").is_file());
    second.release().expect("released");
    assert!(!root.join("proc").exists() && !root.join("etc").exists());
    assert!(std::fs::read_dir(&roots).expect("there").next().is_none());
    std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
}

#[test]
fn what_is_made_behind_a_link_that_leads_nowhere_goes_as_well() {
    let (roots, root) = scratch("dangling");
    std::fs::create_dir_all(root.join("etc/deep")).expect("made");
    for (text, at) in [
        ("/nowhere", "absolute"),
        ("gone/deep", "etc/relative"),
        ("../../../../up", "etc/deep/up"),
        ("/absolute/more", "two"),
        ("/covered", "etc/resolv.conf"),
        ("circle", "circle"),
    ] {
        std::os::unix::fs::symlink(text, root.join(at)).expect("linked");
    }
    let points = [
        ("absolute", TargetKind::Directory),
        ("etc/relative/in/file", TargetKind::File),
        ("etc/deep/up", TargetKind::File),
        ("two", TargetKind::Directory),
        ("etc/resolv.conf", TargetKind::File),
        ("circle/in", TargetKind::Directory),
    ];
    let mut stake = make(&roots, &root, Ground::Root, &points).expect("made");
    assert!(root.join("nowhere/more").is_dir() && root.join("up").is_file());
    assert!(root.join("etc/gone/deep/in/file").is_file());
    assert!(!root.join("covered").exists(), "a file of ours is mounted on the link itself");
    stake.release().expect("released");
    let mut left: Vec<OsString> =
        std::fs::read_dir(&root).expect("there").map(|entry| entry.expect("read").file_name()).collect();
    left.sort();
    assert_eq!(left, ["absolute", "circle", "etc", "two"]);
    assert!(!root.join("etc/gone").exists());
    std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
}

#[test]
fn what_a_container_made_counts_as_missing() {
    let (roots, root) = scratch("missing");
    std::fs::create_dir(root.join("there")).expect("made");
    std::os::unix::fs::symlink("proc", root.join("link")).expect("linked");
    let missing = |path: &str| {
        let descriptor =
            rustix::fs::open(&root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("opened");
        let directory = Directory { path: &root, descriptor: descriptor.as_fd(), ground: Ground::Root };
        is_missing(&roots, &directory, path).expect("looked at")
    };
    let all = || ["proc", "link", "there", "there/in"].map(missing);
    assert_eq!(all(), [true, true, false, true]);
    let mut stake = make(&roots, &root, Ground::Root, &POINTS).expect("made");
    assert_eq!(all(), [true, true, false, true], "another container's is no directory of the root");
    assert!(missing("etc") && missing("etc/hosts"));
    // It has become the root's own with what somebody puts there.
    std::fs::write(root.join("proc/theirs"), "").expect("written");
    assert!(!missing("proc"));
    std::fs::remove_file(root.join("proc/theirs")).expect("removed");
    stake.release().expect("released");
    std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
}

#[test]
fn what_was_there_before_or_got_content_stays() {
    let (roots, root) = scratch("content");
    std::fs::create_dir(root.join("proc")).expect("made");
    let mut stake = make(&roots, &root, Ground::Root, &POINTS).expect("made");
    std::fs::write(root.join("etc/passwd"), "x").expect("written");
    stake.release().expect("released");
    assert!(root.join("proc").is_dir(), "was there before");
    assert!(root.join("etc/passwd").is_file() && !root.join("etc/hosts").exists());
    std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
}

#[test]
fn sweep_finishes_what_a_killed_command_left() {
    let (roots, root) = scratch("sweep");
    let mut stake = make(&roots, &root, Ground::Root, &POINTS).expect("made");
    // The kernel drops a killed process's locks; its code runs no more.
    stake.users = None;
    sweep(&roots, &mut |error| panic!("{error}"));
    assert!(!root.join("proc").exists());
    std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
}

/// Sweeps, and counts what went wrong.
fn failures(roots: &Path) -> usize {
    let mut count = 0;
    sweep(roots, &mut |_| count += 1);
    count
}

#[test]
fn mount_points_stay_where_their_users_or_their_record_cannot_be_read() {
    let (roots, root) = scratch("unread");
    let mut stake = make(&roots, &root, Ground::Root, &POINTS).expect("made");
    let record = stake.directory.clone();
    let (users, made) = (record.join("users"), record.join("made"));
    let aside = root.with_file_name("aside");
    // As with too many open files: that it can't be opened says nothing of who has it locked.
    std::fs::rename(&users, &aside).expect("renamed");
    std::os::unix::fs::symlink("users", &users).expect("a link to itself");
    assert_eq!(failures(&roots), 1);
    assert!(root.join("proc").is_dir() && made.is_file());
    std::fs::rename(&aside, &users).expect("renamed");
    std::fs::rename(&made, &aside).expect("renamed");
    std::fs::create_dir(&made).expect("made");
    assert_eq!(failures(&roots), 0, "one who lives has them");
    stake.release().expect_err("nobody knows what was made");
    assert_eq!(failures(&roots), 1);
    std::fs::remove_dir(&made).expect("removed");
    std::fs::rename(&aside, &made).expect("renamed");
    assert_eq!(failures(&roots), 0);
    assert!(!root.join("proc").exists() && !record.exists());
    std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
}

#[test]
fn mount_points_stay_as_long_as_something_is_left_of_a_container_that_could_not_be_ended() {
    let (roots, root) = scratch("left");
    let records = [1, 2].map(|number| root.with_file_name(format!("record{number}")));
    for record in &records {
        std::fs::create_dir(record).expect("made");
        make(&roots, &root, Ground::Root, &POINTS).expect("made").leave(record).expect("left");
    }
    for record in &records {
        assert_eq!(failures(&roots), 0);
        make(&roots, &root, Ground::Root, &POINTS).expect("made").release().expect("released");
        assert!(root.join("proc").is_dir(), "{}", record.display());
        std::fs::remove_dir(record).expect("removed");
    }
    assert_eq!(failures(&roots), 0);
    assert!(!root.join("proc").exists());
    std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
}

#[test]
fn sweep_goes_on_past_a_root_whose_record_is_broken() {
    let (roots, root) = scratch("past");
    let second = root.with_file_name("second");
    std::fs::create_dir(&second).expect("made");
    for root in [&root, &second] {
        make(&roots, root, Ground::Root, &POINTS).expect("made").users = None;
    }
    let broken = roots.join("0-0");
    std::fs::create_dir(&broken).expect("made");
    std::os::unix::fs::symlink("lock", broken.join("lock")).expect("a link to itself");
    assert_eq!(failures(&roots), 1);
    assert!(!root.join("proc").exists() && !second.join("proc").exists());
    std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
}

#[test]
fn records_hold_any_name_and_a_directory_in_the_place_of_another_is_left_alone() {
    let (roots, base) = scratch("names");
    let root = base.join("with\na line\tand a tab");
    std::fs::create_dir(&root).expect("made");
    let odd = [("a\tb\nc", TargetKind::Directory)];
    let mut stake = make(&roots, &root, Ground::Root, &odd).expect("made");
    assert!(root.join(odd[0].0).is_dir());
    stake.release().expect("released");
    assert!(std::fs::read_dir(&root).expect("there").next().is_none());
    let mut stake = make(&roots, &root, Ground::Root, &odd).expect("made");
    std::fs::rename(&root, base.join("moved")).expect("renamed");
    std::fs::create_dir_all(root.join(odd[0].0)).expect("another one in its place");
    stake.release().expect("released");
    assert!(root.join(odd[0].0).is_dir());
    std::fs::remove_dir_all(base.parent().expect("has one")).expect("removed");
}

#[test]
fn no_link_of_a_source_is_followed() {
    let (roots, root) = scratch("links");
    std::os::unix::fs::symlink("/elsewhere", root.join("link")).expect("made");
    let point = [("link/in", TargetKind::Directory)];
    let mut stake = make(&roots, &root, Ground::Source, &point).expect("left to init");
    assert_eq!(std::fs::read_dir(&root).expect("there").count(), 1);
    stake.release().expect("released");
    std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
}
