//! Archives that ask for too much, or lie about how much they have.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn within(limits: Limits, archive: &[u8], reason: &str) {
    let place = Place::new("bounds");
    let error = place.unpack_with(archive, &Options { limits, ..OPTIONS }).expect_err(reason);
    assert!(error.kind == Kind::TooMuch && error.to_string().contains(reason), "{error}");
}

#[test]
fn archives_that_grow_without_end_are_cut_off() {
    let limits = OPTIONS.limits;
    let mut archive = Builder::default();
    archive.file("zeros", &"\0".repeat(8 << 20));
    let bytes = archive.ended();
    within(limits, &gzip(&bytes), "unpack `zeros`: the archive grows to more than 200 times its size");
    within(limits, &zstd::encode_all(&bytes[..], 3).expect("in memory"), "more than 200 times its size");
    within(Limits { bytes: 1 << 20, ..limits }, &bytes, "more than 1048576 bytes");
    let mut archive = Builder::default();
    for number in 0..11 {
        archive.file(number.to_string(), "");
    }
    within(Limits { entries: 10, ..limits }, &archive.ended(), "more than 10 entries");
    // Headers that only stand before others count as well.
    let mut archive = Builder::default();
    for _ in 0..11 {
        archive.entry(&Fields { flag: b'L', ..Fields::default() }, b"name\0");
    }
    within(Limits { entries: 10, ..limits }, &archive.ended(), "more than 10 entries");
    // A bomb after the end.
    let mut bytes = Builder::default().ended();
    bytes.resize(8 << 20, 0);
    within(limits, &gzip(&bytes), "more than 200 times its size");
    bytes.resize(65 << 20, 0);
    let limits = Limits { bytes: 1 << 30, ratio: u64::MAX, ..limits };
    within(limits, &bytes, "follow the end of the archive");
}

#[test]
fn holes_count_as_bytes_of_files() {
    let mut archive = Builder::default();
    for name in ["a", "b"] {
        archive
            .pax(&[
                ("GNU.sparse.major", b"0"),
                ("GNU.sparse.minor", b"1"),
                ("GNU.sparse.map", b"0,1"),
                ("GNU.sparse.size", b"40000000"),
            ])
            .file(name, "x");
    }
    within(OPTIONS.limits, &archive.ended(), "unpack `b`: with it the files have more than 67108864 bytes");
}

#[test]
fn names_that_are_long_or_deep_are_refused() {
    let long = |name: &[u8]| {
        let mut archive = Builder::default();
        archive.entry(&Fields { flag: b'L', ..Fields::default() }, name).file("x", "").ended()
    };
    within(OPTIONS.limits, &long(&b"a/".repeat(300)), "more than 256 parts");
    within(
        OPTIONS.limits,
        &long(&[&b"x".repeat(200)[..], b"/"].concat().repeat(21)),
        "longer than 4095 bytes",
    );
    within(OPTIONS.limits, &long(&b"x".repeat(256)), "longer than 255 bytes");
    let place = Place::new("long");
    let name = [&b"x".repeat(15)[..], b"/"].concat().repeat(255);
    place.unpack(&long(&name)).expect("at the bound");
    let mut archive = Builder::default();
    archive.entry(&Fields { flag: b'K', ..Fields::default() }, &b"x/".repeat(3000)).link("x", "");
    within(OPTIONS.limits, &archive.ended(), "its link is longer than 4095 bytes");
}

#[test]
fn links_can_not_pile_up_a_way_that_is_deeper() {
    let mut archive = Builder::default();
    let mut begin = String::new();
    for step in 0..10 {
        let way = format!("{begin}{}", "d/".repeat(40));
        archive.entry(&Fields { flag: b'L', ..Fields::default() }, way.as_bytes());
        archive.directory("x");
        let link = format!("l{step}");
        archive.entry(&Fields { flag: b'K', ..Fields::default() }, way.as_bytes());
        archive.link(&link, "x");
        begin = format!("{link}/");
    }
    within(OPTIONS.limits, &archive.ended(), "links lead it deeper than 256 directories");
}

#[test]
fn deep_trees_are_removed_for_what_takes_their_place() {
    let place = Place::new("deep");
    let mut archive = Builder::default();
    archive.entry(&Fields { flag: b'L', ..Fields::default() }, &b"d/".repeat(250)).directory("x");
    for number in 0..300 {
        archive.file(format!("d/d/{number}"), "");
    }
    archive.file("d", "flat");
    place.unpack(&archive.ended()).expect("unpacked");
    assert_eq!(place.read("d"), "flat");
}

#[test]
fn extended_headers_are_bounded() {
    let mut archive = Builder::default();
    archive.entry(&Fields { flag: b'x', size: Some(1 << 40), ..Fields::default() }, b"");
    within(OPTIONS.limits, &archive.ended(), "extended header has 1099511627776 bytes");
    let mut archive = Builder::default();
    archive.pax(&[("SCHILY.xattr.user.big", &[b'x'; 70_000])]).file("a", "");
    within(OPTIONS.limits, &archive.ended(), "extended attributes have more than 65536 bytes");
    // Also of what has none in the tree, and of those before nothing.
    let mut archive = Builder::default();
    archive.pax(&[("SCHILY.xattr.user.big", &[b'x'; 70_000])]).link("a", "b");
    within(OPTIONS.limits, &archive.ended(), "extended attributes have more than 65536 bytes");
    // As many as a header holds: what is known already is not gone through for each.
    let names: Vec<String> = (0..40_000).map(|number| format!("SCHILY.xattr.{number}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    let mut archive = Builder::default();
    archive.pax(&many);
    within(OPTIONS.limits, &archive.ended(), "extended attributes have more than 65536 bytes");
    let mut map = b"0,0".to_vec();
    for _ in 0..70_000 {
        map.extend_from_slice(b",0,0");
    }
    let mut archive = Builder::default();
    archive.pax(&[("GNU.sparse.map", &map)]).file("a", "");
    within(OPTIONS.limits, &archive.ended(), "more than 65536 pieces");
    let mut archive = Builder::default();
    archive.pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")]).file("a", "99999999\n");
    within(OPTIONS.limits, &archive.ended(), "more than 65536 pieces");
}

#[test]
fn sizes_that_are_lies_are_told() {
    let place = Place::new("lies");
    let mut archive = Builder::default();
    archive.entry(&Fields { name: b"a", size: Some(1 << 20), ..Fields::default() }, b"short");
    let error = place.unpack(&archive.ended()).expect_err("cut off");
    assert_eq!(
        (error.kind, error.to_string().as_str()),
        (Kind::Corrupt, "unpack `a`: the archive is cut off")
    );
    let mut archive = Builder::default();
    archive.entry(&Fields { name: b"a", size: Some(1 << 62), ..Fields::default() }, b"short");
    assert_eq!(place.unpack(&archive.ended()).expect_err("too big").kind, Kind::TooMuch);
    let mut archive = Builder::default();
    archive.entry(&Fields { name: b"a", size: Some(u64::MAX), ..Fields::default() }, b"");
    place.refuses(&mut archive, Kind::Corrupt, "its size");
    // Shorter than it is: what follows is no header.
    let mut archive = Builder::default();
    archive.entry(&Fields { name: b"a", size: Some(10), ..Fields::default() }, &[b'x'; 2000]);
    place.refuses(&mut archive, Kind::Corrupt, "checksum");
    // Links and directories have no content, whatever their size says.
    let place = Place::new("no-content");
    let mut archive = Builder::default();
    archive
        .entry(&Fields { flag: b'5', name: b"d", size: Some(512), ..Fields::default() }, b"")
        .entry(&Fields { flag: b'2', name: b"l", link: b"x", size: Some(1 << 40), ..Fields::default() }, b"")
        .file("f", "read");
    place.unpack(&archive.ended()).expect("unpacked");
    assert_eq!(place.read("f"), "read");
}

#[test]
fn archives_that_are_cut_off_anywhere_are_refused_or_end_between_entries() {
    let mut archive = Builder::default();
    archive.pax(&[("mtime", b"1.5")]).file("a", &"content ".repeat(200)).directory("b");
    let bytes = archive.ended();
    let compressed = [gzip(&bytes), zstd::encode_all(&bytes[..], 3).expect("in memory")];
    for whole in &compressed {
        for length in 1..whole.len() {
            let error = Place::new("cut").unpack(&whole[..length]).expect_err("cut off");
            assert_eq!(error.kind, Kind::Corrupt, "{length}: {error}");
        }
    }
    for length in (0..bytes.len()).step_by(64) {
        match Place::new("cut").unpack(&bytes[..length]) {
            Ok(unpacked) => assert_eq!(unpacked.diff_id, Digest::of(&bytes[..length]), "{length}"),
            Err(error) => assert_eq!(error.kind, Kind::Corrupt, "{length}: {error}"),
        }
    }
}
