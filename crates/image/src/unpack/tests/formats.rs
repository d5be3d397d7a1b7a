//! The forms that archives have, and those of their compression.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

/// Gives one byte at a time, as a pipe may.
struct Dripping<'a>(&'a [u8]);

impl Read for Dripping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn compressed_archives_have_the_digest_of_what_they_were() {
    let mut archive = Builder::default();
    archive.file("file", &"content ".repeat(1000));
    // What follows the end belongs to the digest.
    let bytes = [archive.ended(), b"trailing".repeat(100)].concat();
    let half = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    };
    let members = [half(&bytes[..700]), half(&bytes[700..]), half(b"")].concat();
    let frame = |bytes: &[u8]| zstd::encode_all(bytes, 3).expect("in memory");
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let frames = [&skipped[..], &frame(&bytes[..700]), &skipped, &frame(&bytes[700..]), &skipped].concat();
    for compressed in [&bytes, &members, &frames] {
        let place = Place::new("compressed");
        let unpacked = place.unpack(compressed).expect("unpacked");
        assert_eq!((unpacked.diff_id, unpacked.size), (Digest::of(&bytes), bytes.len() as u64));
        assert_eq!(place.read("file").len(), 8000);
        let place = Place::new("dripping");
        let tree = File::open(place.tree()).expect("there");
        let unpacked = layer(Dripping(compressed), tree.as_fd(), &OPTIONS).expect("unpacked");
        assert_eq!(unpacked.diff_id, Digest::of(&bytes));
        // Damage is told.
        let mut damaged = compressed.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x55;
        if let Ok(unpacked) = Place::new("damaged").unpack(&damaged) {
            assert_ne!(unpacked.diff_id, Digest::of(&bytes));
        }
    }
    let empty = Place::new("empty").unpack(b"").expect("nothing is in it");
    assert_eq!(empty.diff_id, Digest::of(b""));
    for (begin, name) in [(&b"BZh91AY&SY"[..], "bzip2"), (b"\xfd7zXZ\0\0\0", "xz")] {
        let error = Place::new("foreign").unpack(begin).expect_err(name);
        assert!(error.kind == Kind::Unsupported && error.to_string().contains(name), "{error}");
    }
}

#[test]
fn zstd_that_looks_back_too_far_is_refused() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).expect("made");
    encoder.window_log(28).expect("set");
    encoder.write_all(&[0; 4096]).expect("in memory");
    let error = Place::new("window").unpack(&encoder.finish().expect("in memory")).expect_err("too far");
    assert!(error.kind == Kind::Corrupt && error.to_string().contains("decompressed"), "{error}");
}

#[test]
fn long_names_come_in_every_form() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    let text = "t".repeat(200);
    let place = Place::new("long-names");
    let mut archive = Builder::default();
    archive
        .entry(&Fields { flag: b'L', ..Fields::default() }, format!("{long}\0").as_bytes())
        .file("gnu", "gnu");
    archive.pax(&[("path", format!("{long}.pax").as_bytes())]).file("short", "pax");
    archive.entry(&Fields { flag: b'K', ..Fields::default() }, text.as_bytes()).link("gnu-link", "x");
    archive.pax(&[("linkpath", text.as_bytes())]).link("pax-link", "x");
    // A later record overrules, an empty one takes back; a global header means nothing here.
    archive.pax(&[("path", b"a"), ("path", b"b"), ("size", b"")]).file("c", "b");
    archive.entry(&Fields { flag: b'g', ..Fields::default() }, b"13 path=glob\n").file("own", "own");
    // POSIX: the front part of a name in a field of its own, which GNU uses for other things.
    let mut block = [0u8; 512];
    for (at, bytes) in [
        (0, &b"file"[..]),
        (100, b"0000644"),
        (108, b"0000000"),
        (116, b"0000000"),
        (124, b"00000000000"),
        (136, b"00000000000"),
        (156, b"0"),
        (257, b"ustar\x0000"),
        (345, b"front/part"),
    ] {
        block[at..at + bytes.len()].copy_from_slice(bytes);
    }
    let owner = |number: u32| format!("{number:07o}");
    block[108..115].copy_from_slice(owner(rustix::process::getuid().as_raw()).as_bytes());
    block[116..123].copy_from_slice(owner(rustix::process::getgid().as_raw()).as_bytes());
    archive.block(block);
    // Version 7: no magic, a directory told by its slash.
    block[257..].fill(0);
    block[156] = 0;
    block[..100].fill(0);
    block[..4].copy_from_slice(b"old/");
    archive.block(block);
    place.unpack(&archive.ended()).expect("unpacked");
    assert_eq!((place.read(&long), place.read(&format!("{long}.pax"))), ("gnu".into(), "pax".into()));
    for link in ["gnu-link", "pax-link"] {
        assert_eq!(std::fs::read_link(place.tree().join(link)).expect("a link"), Path::new(&text));
    }
    assert_eq!((place.read("b"), place.read("own")), ("b".into(), "own".into()));
    assert!(place.found("front/part/file").is_file() && place.found("old").is_dir());
}

/// A file of one mebibyte with `one` at 4096 and `two` near its end.
fn has_its_holes(place: &Place, name: &str) {
    let content = std::fs::read(place.tree().join(name)).expect(name);
    assert_eq!(content.len(), 1 << 20, "{name}");
    assert_eq!((&content[4096..4099], &content[1_000_000..1_000_003]), (&b"one"[..], &b"two"[..]), "{name}");
    assert_eq!(content.iter().filter(|byte| **byte != 0).count(), 6, "{name}");
    assert!(place.found(name).blocks() < 200, "{name} has its holes");
}

#[test]
fn files_with_holes_come_in_every_form() {
    let place = Place::new("holes");
    let mut archive = Builder::default();
    // GNU's own header, with a second block of its map.
    let mut block = [0u8; 512];
    for (at, text) in [
        (0, "gnu"),
        (100, "0000644"),
        (124, "00000000006"),
        (136, "00000000000"),
        (156, "S"),
        (257, "ustar  "),
        (386, "00000010000"),
        (398, "00000000003"),
        (482, "\x01"),
        (483, "00004000000"),
    ] {
        block[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    block[108..115].copy_from_slice(format!("{:07o}", rustix::process::getuid().as_raw()).as_bytes());
    block[116..123].copy_from_slice(format!("{:07o}", rustix::process::getgid().as_raw()).as_bytes());
    archive.block(block);
    let mut more = [0u8; 512];
    more[..11].copy_from_slice(format!("{:011o}", 1_000_000).as_bytes());
    more[12..23].copy_from_slice(b"00000000003");
    archive.0.extend_from_slice(&more);
    archive.content(b"onetwo");
    let size = (1 << 20).to_string();
    archive
        .pax(&[
            ("GNU.sparse.size", size.as_bytes()),
            ("GNU.sparse.numblocks", b"2"),
            ("GNU.sparse.offset", b"4096"),
            ("GNU.sparse.numbytes", b"3"),
            ("GNU.sparse.offset", b"1000000"),
            ("GNU.sparse.numbytes", b"3"),
        ])
        .file("pax-0.0", "onetwo");
    archive
        .pax(&[
            ("GNU.sparse.size", size.as_bytes()),
            ("GNU.sparse.name", b"pax-0.1"),
            ("GNU.sparse.map", b"4096,3,1000000,3"),
            ("path", b"GNUSparseFile.1/other"),
        ])
        .file("x", "onetwo");
    let mut content = b"2\n4096\n3\n1000000\n3\n".to_vec();
    content.resize(512, 0);
    content.extend_from_slice(b"onetwo");
    archive
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"pax-1.0"),
            ("GNU.sparse.realsize", size.as_bytes()),
        ])
        .file("x", std::str::from_utf8(&content).expect("text"))
        .file("after", "read");
    place.unpack(&archive.ended()).expect("unpacked");
    for name in ["gnu", "pax-0.0", "pax-0.1", "pax-1.0"] {
        has_its_holes(&place, name);
    }
    assert_eq!(place.read("after"), "read");
    for map in ["0,3,1,3", "0,9", "0,3", "1048575,6", "18446744073709551615,6", "6,6,0,0", "1,2,3", "a,b"] {
        let mut archive = Builder::default();
        archive
            .pax(&[("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.map", map.as_bytes())])
            .file("x", "onetwo");
        let error = Place::new("maps").unpack(&archive.ended()).expect_err(map);
        assert!(error.kind == Kind::Corrupt && error.to_string().contains("map of holes"), "{map}: {error}");
    }
}

#[test]
fn archives_of_gnu_tar_are_read() {
    let place = Place::new("gnu-tar");
    let source = place.tree();
    std::fs::create_dir_all(source.join("a/b")).expect("made");
    std::fs::write(source.join("a/b").join("n".repeat(150)), "long").expect("written");
    let sparse = File::create(source.join("a/sparse")).expect("made");
    rustix::io::pwrite(&sparse, b"one", 4096).expect("written");
    rustix::io::pwrite(&sparse, b"two", 1_000_000).expect("written");
    rustix::fs::ftruncate(&sparse, 1 << 20).expect("set");
    drop(sparse);
    for form in [
        "--format=gnu",
        "--format=pax",
        "--format=ustar",
        "--format=v7",
        "--format=posix --sparse-version=0.1",
    ] {
        let mut tar = std::process::Command::new("tar");
        tar.arg("-C").arg(&source).args(form.split(' ')).args(["--sort=name", "-cf", "-"]);
        if form.contains("gnu") || form.contains("pax") || form.contains("posix") {
            tar.arg("--sparse");
        }
        let Ok(output) = tar.arg("a").stderr(std::process::Stdio::null()).output() else {
            eprintln!("skipped: needs GNU tar");
            return;
        };
        let unpacked = Place::new("from-gnu-tar");
        unpacked.unpack(&output.stdout).unwrap_or_else(|error| panic!("{form}: {error}"));
        if form.contains("gnu") || form.contains("pax") || form.contains("posix") {
            assert_eq!(unpacked.read(&format!("a/b/{}", "n".repeat(150))), "long", "{form}");
            has_its_holes(&unpacked, "a/sparse");
        }
    }
}

proptest! {
    #[test]
    fn extended_headers_of_any_bytes_are_taken_or_refused(
        records in proptest::collection::vec(any::<u8>(), 0..200),
        key in "(path|size|mtime|uid|GNU.sparse.(map|major|offset|numbytes)|SCHILY.xattr.user.a)",
        value in "[ -~]{0,20}",
    ) {
        let mut archive = Builder::default();
        archive.entry(&Fields { flag: b'x', ..Fields::default() }, &records).file("a", "x");
        let _ = Place::new("any-records").unpack(&archive.ended());
        archive.pax(&[(&key, value.as_bytes())]).file("a", "x");
        let _ = Place::new("any-records").unpack(&archive.ended());
    }
}
