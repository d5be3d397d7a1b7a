//! Ways out that layers have tried.

use std::os::unix::fs::FileTypeExt;

use super::*;

#[test]
fn names_that_lead_upwards_are_refused() {
    for name in ["../beside/file", "a/../../beside/x", "..", "a/..", "/..", "./../beside/file", "a/../b"] {
        let mut archive = Builder::default();
        archive.directory("a").file(name, "x");
        Place::new("upwards").refuses(&mut archive, Kind::Corrupt, "its path leads upwards");
    }
}

#[test]
fn absolute_names_begin_at_the_tree() {
    let place = Place::new("absolute");
    let mut archive = Builder::default();
    let name = format!("{}/file", place.beside());
    archive.file("/etc/shadow", "inside").file(&name, "inside").hard("again", &name);
    place.unpack(&archive.ended()).expect("unpacked");
    assert_eq!((place.read("etc/shadow"), place.read("again")), ("inside".into(), "inside".into()));
    assert_eq!(place.read(name.trim_start_matches('/')), "inside");
}

/// CVE-2021-32760 and its kin: by a link to the outside, everything is tried that an entry can do.
#[test]
fn nothing_is_done_through_links_that_lead_out() {
    for text in [
        "../beside",
        "../../../../../../../../BESIDE",
        "BESIDE",
        "/proc/self/cwd/../beside",
        "/proc/self/root/BESIDE",
    ] {
        let place = Place::new("links");
        let beside = place.beside();
        let text = match text.strip_prefix('B') {
            Some(_) => beside.clone(),
            None => text.replace("BESIDE", &beside[1..]),
        };
        let file = format!("{text}/file");
        let attempts: [fn(&mut Builder) -> &mut Builder; 9] = [
            |archive| archive.file("out/file", "overwritten"),
            |archive| archive.file("out/new", "made"),
            |archive| archive.file("file", "written through the link"),
            |archive| {
                archive.entry(&Fields { flag: b'5', name: b"out/", mode: 0o777, ..Fields::default() }, b"")
            },
            |archive| {
                archive
                    .entry(&Fields { flag: b'5', name: b"out/file", mode: 0o777, ..Fields::default() }, b"")
            },
            |archive| {
                archive.hard("mine", "out/file").entry(
                    &Fields { name: b"mine", mode: 0o4777, ..Fields::default() },
                    b"through a hard link",
                )
            },
            |archive| {
                archive.hard("mine", "file").entry(
                    &Fields { name: b"mine", mode: 0o4777, ..Fields::default() },
                    b"through a hard link",
                )
            },
            |archive| archive.link("out/link", "x").node(b'6', "out/pipe", (0, 0)),
            |archive| archive.link("out2", "out").link("out3", "out2/.").file("out3/sub/new", "made"),
        ];
        for attempt in attempts {
            let mut archive = Builder::default();
            archive.link("out", &text).link("file", &file);
            attempt(&mut archive);
            // Refused or made within; `unpack` looks at what is beside.
            let _ = place.unpack(&archive.ended());
            std::fs::remove_dir_all(place.tree()).expect("removed");
            std::fs::create_dir(place.tree()).expect("made");
        }
    }
}

#[test]
fn directory_that_becomes_a_link_and_a_directory_again_is_the_layers_own() {
    let place = Place::new("exchange");
    let mut archive = Builder::default();
    archive
        .directory("a")
        .file("a/one", "1")
        .link("a", &place.beside())
        // By the way that was open a moment ago.
        .file("a/file", "x")
        .directory("a")
        .file("a/two", "2");
    place.unpack(&archive.ended()).expect("unpacked");
    assert_eq!(place.read("a/two"), "2");
    assert!(!place.is_there("a/one"));
    assert_eq!(place.read(&format!("{}/file", &place.beside()[1..])), "x", "the link led within the layer");
}

#[test]
fn pipes_and_devices_in_the_way_are_replaced_and_never_opened() {
    // Opening this pipe would wait for ever for its other end.
    let place = Place::new("pipe");
    let mut archive = Builder::default();
    archive
        .node(b'6', "a", (0, 0))
        .file("a", "no pipe")
        .node(b'6', "b", (0, 0))
        .directory("b")
        .file("b/c", "c");
    archive.node(b'6', "p", (0, 0)).hard("q", "p").file("q", "file");
    place.unpack(&archive.ended()).expect("unpacked");
    assert_eq!(
        (place.read("a"), place.read("b/c"), place.read("q")),
        ("no pipe".into(), "c".into(), "file".into())
    );
    assert!(place.found("p").file_type().is_fifo());
    let mut archive = Builder::default();
    archive.file("p/x", "");
    place.refuses(&mut archive, Kind::Corrupt, "`p` on its way is no directory");
}

#[test]
fn root_of_the_layer_is_a_directory_and_stays_one() {
    for (flag, link) in [(b'0', ""), (b'2', "../beside"), (b'1', "a"), (b'6', "")] {
        let mut archive = Builder::default();
        archive.file("a", "x");
        archive.entry(&Fields { flag, name: b"./", link: link.as_bytes(), ..Fields::default() }, b"");
        Place::new("root").refuses(&mut archive, Kind::Corrupt, "stands for the root of the layer");
    }
}

#[test]
fn names_with_nul_bytes_are_refused() {
    let mut archive = Builder::default();
    archive.pax(&[("path", b"a\0b")]).file("x", "");
    Place::new("nul").refuses(&mut archive, Kind::Corrupt, "`path` has a NUL byte");
    let mut archive = Builder::default();
    archive.pax(&[("GNU.sparse.name", b"a\0b")]).file("x", "");
    Place::new("nul").refuses(&mut archive, Kind::Corrupt, "NUL byte");
    let mut archive = Builder::default();
    archive.pax(&[("linkpath", b"a\0b")]).link("x", "y");
    Place::new("nul").refuses(&mut archive, Kind::Corrupt, "`linkpath` has a NUL byte");
    // GNU's long names end at it, as they do for everybody.
    let place = Place::new("nul");
    let mut archive = Builder::default();
    archive.entry(&Fields { flag: b'L', ..Fields::default() }, b"a\0../b").file("x", "1");
    place.unpack(&archive.ended()).expect("unpacked");
    assert_eq!(place.read("a"), "1");
}

#[test]
fn numbers_that_linux_has_not_are_refused() {
    for (key, value, reason) in [
        ("uid", &b"4294967295"[..], "its owner is no number that Linux has"),
        ("gid", b"4294967296", "its group is no number that Linux has"),
        ("uid", b"-1", "its owner is no number that Linux has"),
        ("uid", b"1x", "its `uid` is no number"),
        ("uid", b" 1", "its `uid` is no number"),
        ("uid", b"+1", "its `uid` is no number"),
        ("size", b"-5", "its `size` is no number"),
        ("size", b"99999999999999999999", "its `size` is no number"),
        ("mtime", b"1.2.3", "its time is none"),
        ("mtime", b"yesterday", "its time is none"),
    ] {
        let mut archive = Builder::default();
        archive.pax(&[(key, value)]).file("a", "");
        let error = Place::new("numbers").unpack(&archive.ended()).expect_err(reason);
        assert!(error.kind == Kind::Corrupt && error.to_string().contains(reason), "{error}");
    }
}
