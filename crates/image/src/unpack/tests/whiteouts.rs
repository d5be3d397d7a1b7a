//! What hides files of lower layers.

use std::os::unix::fs::FileTypeExt;

use super::*;

fn hides(place: &Place, path: &str) -> bool {
    let found = place.found(path);
    found.file_type().is_char_device() && found.rdev() == 0
}

#[test]
fn whiteouts_hide_lower_layers_and_nothing_of_their_own() {
    if !is_root() {
        return;
    }
    for (whiteouts, attribute) in
        [(Whiteouts::Trusted, "trusted.overlay.opaque"), (Whiteouts::User, "user.overlay.opaque")]
    {
        let place = Place::new("whiteouts");
        let mut archive = Builder::default();
        archive
            .file("etc/.wh.gone", "")
            .file("etc/.wh..wh..opq", "")
            .file("plain/file", "")
            // Before and after what is there now.
            .file(".wh.file", "")
            .file("file", "new")
            .file(".wh.directory", "")
            .directory("directory")
            .file(".wh.implied", "")
            .file("implied/file", "")
            .directory("early")
            .file("early/file", "stays")
            .file("late", "stays")
            .file(".wh.early", "")
            .file(".wh.late", "")
            .link("link", "plain")
            .file(".wh.link", "");
        place.unpack_with(&archive.ended(), &Options { whiteouts, ..OPTIONS }).expect("unpacked");
        assert!(hides(&place, "etc/gone"));
        let opaque = |path: &str| place.attribute(path, attribute).as_deref() == Some(b"y");
        assert!(opaque("etc") && opaque("directory") && opaque("implied") && opaque("early"));
        let for_users = place.attribute("etc", "user.overlay.opaque");
        assert_eq!(
            for_users.as_deref(),
            Some(&b"y"[..]),
            "containers with users of their own see this one alone"
        );
        assert!(!opaque("plain") && !opaque("."), "the link was not followed");
        assert_eq!((place.read("file"), place.read("late")), ("new".into(), "stays".into()));
        assert_eq!(place.read("early/file"), "stays");
        assert!(place.found("link").is_symlink());
        for path in [".wh.file", "etc/.wh.gone", "etc/.wh..wh..opq"] {
            assert!(!place.is_there(path), "{path}");
        }
    }
}

#[test]
fn device_of_number_zero_is_the_whiteout_that_overlays_see_in_it() {
    if !is_root() {
        return;
    }
    let place = Place::new("zero");
    let mut archive = Builder::default();
    archive.node(b'3', "gone", (0, 0)).directory("kept").file("kept/file", "x").node(b'3', "kept", (0, 0));
    place.unpack(&archive.ended()).expect("unpacked");
    assert!(hides(&place, "gone"));
    assert_eq!(place.read("kept/file"), "x");
}

#[test]
fn whiteouts_of_no_name_are_refused_and_notes_of_aufs_passed_over() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh..."] {
        let mut archive = Builder::default();
        archive.file("a/b", "x").file(name, "");
        Place::new("no-name").refuses(&mut archive, Kind::Corrupt, "whiteout of no name");
    }
    let mut archive = Builder::default();
    archive.file(".wh.a/b", "x");
    Place::new("within").refuses(&mut archive, Kind::Corrupt, "leads through a whiteout");
    let place = Place::new("notes");
    let mut archive = Builder::default();
    archive.directory(".wh..wh.plnk").file(".wh..wh.plnk/1.2", "x").file(".wh..wh.aufs", "").file("a", "");
    place.unpack(&archive.ended()).expect("unpacked");
    assert_eq!(std::fs::read_dir(place.tree()).expect("there").count(), 1);
}

#[test]
fn whiteouts_through_links_stay_within_the_layer() {
    if !is_root() {
        return;
    }
    for name in
        ["up/.wh.file", "up/.wh..wh..opq", "absolute/.wh.file", "absolute/.wh..wh..opq", "../beside/.wh.file"]
    {
        let place = Place::new("through");
        let mut archive = Builder::default();
        archive.link("up", "../../beside").link("absolute", &place.beside()).file(name, "");
        // Refused or made within; `unpack` looks at what is beside.
        let outcome = place.unpack(&archive.ended());
        assert_eq!(outcome.is_ok(), !name.starts_with(".."), "{outcome:?}");
    }
}
