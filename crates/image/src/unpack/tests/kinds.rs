//! What each kind of entry becomes, and what becomes of what was there.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;

use super::*;

#[test]
fn layer_becomes_a_tree_with_owners_modes_and_times() {
    if !is_root() {
        return;
    }
    let place = Place::new("whole");
    let mut archive = Builder::default();
    archive
        .entry(&Fields { flag: b'5', name: b"./", mode: 0o750, owner: (3, 4), ..Fields::default() }, b"")
        .directory("./etc/")
        .file("./etc/passwd", "root:x:0:0\n")
        .link("etc/link", "/etc/passwd")
        .hard("etc/again", "./etc/passwd")
        .file("missing/parents/file", "x")
        .entry(&Fields { name: b"bin", mode: 0o6755, owner: (1000, 2000), ..Fields::default() }, b"program")
        .entry(
            &Fields { flag: b'5', name: b"shared", mode: 0o3777, owner: (0, 50), ..Fields::default() },
            b"",
        )
        .entry(&Fields { name: b"shared/file", owner: (0, 0), ..Fields::default() }, b"x")
        .pax(&[("mtime", b"1600000000.123456789"), ("uid", b"4000000000"), ("gid", b"70000")])
        .file("dated", "")
        .pax(&[("mtime", b"-1.25")])
        .directory("old")
        .file("old/file", "later than its directory");
    let bytes = archive.ended();
    let unpacked = place.unpack(&bytes).expect("unpacked");
    assert_eq!((unpacked.diff_id, unpacked.size), (Digest::of(&bytes), bytes.len() as u64));
    assert_eq!((unpacked.entries, unpacked.content), (12, 11 + 1 + 7 + 1 + 24));
    assert_eq!(place.read("etc/passwd"), "root:x:0:0\n");
    assert_eq!(std::fs::read_link(place.tree().join("etc/link")).expect("a link"), Path::new("/etc/passwd"));
    assert_eq!(place.found("etc/again").ino(), place.found("etc/passwd").ino());
    let owned =
        |path: &str| (place.found(path).uid(), place.found(path).gid(), place.found(path).mode() & 0o7777);
    assert_eq!(owned("."), (3, 4, 0o750));
    assert_eq!(owned("bin"), (1000, 2000, 0o6755), "the mode is set after the owner");
    assert_eq!(owned("missing/parents").2, 0o755);
    assert_eq!(owned("shared/file"), (0, 0, 0o644), "and not its directory's group");
    assert_eq!(owned("dated"), (4_000_000_000, 70_000, 0o644));
    let time = |path: &str| (place.found(path).mtime(), place.found(path).mtime_nsec());
    assert_eq!(
        (time("etc"), time("etc/link"), time(".")),
        ((1_700_000_000, 0), (1_700_000_000, 0), (1_700_000_000, 0))
    );
    assert_eq!(time("dated"), (1_600_000_000, 123_456_789));
    assert_eq!(time("old"), (-2, 750_000_000), "what is made in it does not change its time");
}

#[test]
fn capabilities_of_files_are_kept_and_other_attributes_only_where_a_layer_may_bring_them() {
    if !is_root() {
        return;
    }
    let place = Place::new("attributes");
    // VFS_CAP_REVISION_2, effective: CAP_NET_RAW.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut archive = Builder::default();
    archive
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.user.note", b"a\nb=c"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.security.selinux", b"system_u:object_r:shadow_t:s0"),
        ])
        .entry(&Fields { name: b"ping", mode: 0o4755, owner: (7, 7), ..Fields::default() }, b"program")
        .pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")])
        .directory("directory");
    let unpacked = place.unpack(&archive.ended()).expect("unpacked");
    assert_eq!(place.attribute("ping", "security.capability").as_deref(), Some(&capability[..]));
    assert_eq!(place.attribute("ping", "user.note").as_deref(), Some(&b"a\nb=c"[..]));
    for name in
        ["user.overlay.opaque", "trusted.overlay.opaque", "trusted.overlay.redirect", "security.selinux"]
    {
        assert_eq!(place.attribute("ping", name), None, "{name}");
    }
    assert_eq!(place.attribute("directory", "trusted.overlay.opaque"), None);
    assert_eq!(unpacked.left_out.attributes, 5);
    let mut archive = Builder::default();
    archive.pax(&[("SCHILY.xattr.security.capability", b"nonsense")]).file("a", "");
    place.refuses(
        &mut archive,
        Kind::Corrupt,
        "unpack `a`: its attribute `security.capability` can't be read",
    );
}

#[test]
fn later_entries_take_the_place_of_earlier_ones_of_any_kind() {
    let place = Place::new("replaced");
    let mut archive = Builder::default();
    archive
        .directory("a/")
        .file("a/inside/deeper", "x")
        .file("a", "a file")
        .file("b", "x")
        .directory("b/")
        .file("b/c", "c")
        .link("d", "b")
        .directory("d/")
        .file("d/e", "e")
        .file("f", "one")
        .hard("f", "f")
        .hard("g", "f")
        .hard("g", "f")
        .file("g", "another")
        .directory("h")
        .file("h/kept", "kept")
        .entry(&Fields { flag: b'5', name: b"h", mode: 0o700, ..Fields::default() }, b"")
        .directory("i")
        .link("i", "h")
        .file("i/through", "the link");
    place.unpack(&archive.ended()).expect("unpacked");
    assert_eq!(
        (place.read("a"), place.read("b/c"), place.read("d/e")),
        ("a file".into(), "c".into(), "e".into())
    );
    assert!(!place.is_there("b/e"), "the link was replaced, and not followed");
    assert_eq!((place.read("f"), place.read("g")), ("one".into(), "another".into()), "two files by now");
    assert_eq!((place.read("h/kept"), place.found("h").mode() & 0o777), ("kept".into(), 0o700));
    assert_eq!(place.read("h/through"), "the link");
}

#[test]
fn links_on_the_way_lead_within_the_layer_also_where_nothing_is_yet() {
    let place = Place::new("ways");
    let mut archive = Builder::default();
    archive
        .link("lib", "usr/lib")
        .file("lib/a", "a")
        .link("run", "/var/../var/run")
        .file("run/b", "b")
        .link("usr/up", "../../../../var")
        .file("usr/up/c", "c")
        .link("one", "two")
        .link("two", "/one")
        .hard("lib/again", "lib/a");
    place.unpack(&archive.ended()).expect("unpacked");
    assert_eq!((place.read("usr/lib/a"), place.read("var/run/b")), ("a".into(), "b".into()));
    assert_eq!((place.read("var/c"), place.read("usr/lib/again")), ("c".into(), "a".into()));
    let mut archive = Builder::default();
    archive.file("one/x", "");
    place.refuses(&mut archive, Kind::Corrupt, "more than 40 links");
    let mut archive = Builder::default();
    archive.file("var/c/x", "");
    place.refuses(&mut archive, Kind::Corrupt, "`c` on its way is no directory");
}

#[test]
fn name_that_replaces_a_link_on_its_own_way_gets_what_the_entry_says() {
    let place = Place::new("own-way");
    let mut archive = Builder::default();
    archive.link("l", ".").node(b'6', "l/l", (0, 0)).directory("sub").link("m", "/").link("m/m", "sub");
    archive.file("sub/m", "not this one").file("m/x", "x");
    place.unpack(&archive.ended()).expect("unpacked");
    assert!(place.found("l").file_type().is_fifo());
    assert_eq!((place.found("l").mode() & 0o777, place.found("l").mtime()), (0o644, 1_700_000_000));
    assert_eq!((place.read("sub/m"), place.read("sub/x")), ("not this one".into(), "x".into()));
}

#[test]
fn hard_links_are_to_what_the_layer_has() {
    let place = Place::new("hard");
    let mut archive = Builder::default();
    archive.link("link", "/etc/passwd").hard("a", "link").hard("b", "/link").file("a", "x");
    place.unpack(&archive.ended()).expect("unpacked");
    assert_eq!(place.read("a"), "x", "a file in the place of the second name, and not through it");
    assert!(place.found("link").is_symlink() && place.found("b").ino() == place.found("link").ino());
    for (target, reason) in [
        ("not/there", "hard link to `not/there`, which is not in this layer"),
        ("gone", "hard link to `gone`, which is not in this layer"),
        ("directory", "hard link to a directory"),
        ("/", "hard link to a directory"),
        ("../beside/file", "leads upwards"),
    ] {
        let mut archive = Builder::default();
        archive.directory("directory");
        if is_root() {
            archive.file(".wh.gone", "");
        }
        Place::new("hard-refused").refuses(archive.hard("a", target), Kind::Corrupt, reason);
    }
    let mut archive = Builder::default();
    archive.directory("a").file("a/b", "").hard("a", "a/b");
    assert!(Place::new("hard-inside").unpack(&archive.ended()).is_err());
}

#[test]
fn devices_are_made_or_left_out_as_said() {
    if !is_root() {
        return;
    }
    let mut archive = Builder::default();
    archive.node(b'3', "dev/null", (1, 3)).node(b'4', "dev/sda", (8, 0)).node(b'6', "pipe", (0, 0));
    let bytes = archive.ended();
    let place = Place::new("devices");
    let unpacked = place.unpack(&bytes).expect("unpacked");
    // A host may be one where nobody makes devices.
    if unpacked.left_out.devices == 0 {
        let null = place.found("dev/null");
        assert!(null.file_type().is_char_device() && null.mode() & 0o777 == 0o644);
        assert_eq!((rustix::fs::major(null.rdev()), rustix::fs::minor(null.rdev())), (1, 3));
        assert!(place.found("dev/sda").file_type().is_block_device());
    }
    assert!(place.found("pipe").file_type().is_fifo());
    let place = Place::new("no-devices");
    let options = Options { devices: Devices::LeftOut, ..OPTIONS };
    let unpacked = place.unpack_with(&bytes, &options).expect("unpacked");
    assert_eq!(unpacked.left_out.devices, 2);
    assert!(!place.is_there("dev/null") && place.is_there("pipe"));
}

#[test]
fn names_are_bytes_and_not_text() {
    let place = Place::new("names");
    let names = [
        &b"new\nline"[..],
        b"\xff\xfe not text",
        b"back\\slash",
        b"esc\x1b[31m",
        b" ",
        b"*",
        "ümlaut".as_bytes(),
    ];
    let mut archive = Builder::default();
    for name in names {
        archive.file(name, "x");
    }
    place.unpack(&archive.ended()).expect("unpacked");
    for name in names {
        assert!(place.found(std::ffi::OsStr::from_bytes(name)).is_file());
    }
    let mut archive = Builder::default();
    archive.entry(&Fields { flag: b'V', name: b"\x1b[2J\xff\n", ..Fields::default() }, b"");
    let error = place.refuses(&mut archive, Kind::Corrupt, "its kind `V`");
    assert_eq!(error.operation, "unpack `\\u{1b}[2J\\xff\\n`");
}

#[test]
fn umask_and_order_of_modes_change_nothing() {
    if !is_root() {
        return;
    }
    let place = Place::new("modes");
    let mut archive = Builder::default();
    archive
        .entry(&Fields { name: b"open", mode: 0o666, ..Fields::default() }, b"")
        .entry(&Fields { flag: b'5', name: b"closed", mode: 0, ..Fields::default() }, b"")
        .file("closed/file", "x");
    place.unpack(&archive.ended()).expect("unpacked");
    assert_eq!(place.found("open").mode() & 0o7777, 0o666);
    assert_eq!(place.found("closed").mode() & 0o7777, 0);
    assert_eq!(place.read("closed/file"), "x");
}
