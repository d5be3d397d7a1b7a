//! Layers as builders write them, and as attackers do.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tar::{EntryType, Header};

use super::*;
use crate::digest::Digest;

/// A directory with an empty tree in it and something beside that must stay as it is. Gone with its value.
struct Place {
    path: PathBuf,
}

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("rabbitc-unpack-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("tree")).expect("made");
        std::fs::create_dir(path.join("beside")).expect("made");
        std::fs::write(path.join("beside/file"), "untouched").expect("written");
        Place { path }
    }

    fn tree(&self) -> PathBuf {
        self.path.join("tree")
    }

    fn unpack(&self, archive: &[u8]) -> Result<Unpacked> {
        self.unpack_within(archive, Limits::default())
    }

    fn unpack_within(&self, archive: &[u8], limits: Limits) -> Result<Unpacked> {
        let tree = File::open(self.tree()).expect("there");
        let unpacked = layer(archive, tree.as_fd(), &Options { opaque: Opaque::Trusted, limits });
        let beside: Vec<_> = std::fs::read_dir(self.path.join("beside")).expect("there").collect();
        assert_eq!(beside.len(), 1, "nothing is made outside");
        let file = self.path.join("beside/file");
        assert_eq!(std::fs::read_to_string(&file).expect("there"), "untouched");
        let found = std::fs::metadata(&file).expect("there");
        assert_eq!((found.nlink(), found.mode() & 0o777), (1, 0o644), "nor anything changed");
        assert_eq!(std::fs::read_dir(&self.path).expect("there").count(), 2);
        unpacked
    }

    fn refuses(&self, archive: &Archive, reason: &str) {
        let error = self.unpack(&archive.0).expect_err(reason);
        assert!(error.to_string().contains(reason), "{error}");
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.tree().join(path)).expect(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// An archive in the making; names are taken as they are.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn entry(
        &mut self,
        kind: EntryType,
        path: &[u8],
        link: &[u8],
        content: &[u8],
        change: impl Fn(&mut Header),
    ) -> &mut Archive {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        let own = rustix::process::getuid().as_raw();
        header.set_uid(own.into());
        header.set_gid(rustix::process::getgid().as_raw().into());
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(&mut self, path: &str, content: &str) -> &mut Archive {
        self.entry(EntryType::Regular, path.as_bytes(), b"", content.as_bytes(), |_| {})
    }

    fn directory(&mut self, path: &str) -> &mut Archive {
        self.entry(EntryType::Directory, path.as_bytes(), b"", b"", |_| {})
    }

    fn link(&mut self, path: &str, text: &str) -> &mut Archive {
        self.entry(EntryType::Symlink, path.as_bytes(), text.as_bytes(), b"", |_| {})
    }

    fn hard(&mut self, path: &str, target: &str) -> &mut Archive {
        self.entry(EntryType::Link, path.as_bytes(), target.as_bytes(), b"", |_| {})
    }

    /// Extended headers (pax(1)) of the next entry.
    fn pax(&mut self, values: &[(&str, &[u8])]) -> &mut Archive {
        let mut content = Vec::new();
        for (key, value) in values {
            let rest = key.len() + value.len() + 3;
            let length = (1..).map(|digits| rest + digits).find(|all| all.to_string().len() + rest == *all);
            content
                .extend_from_slice(format!("{} {key}=", length.expect("some number of digits")).as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.entry(EntryType::XHeader, b"PaxHeaders/x", b"", &content, |_| {})
    }

    /// With the two blocks that end it.
    fn ended(&mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        std::mem::take(&mut self.0)
    }
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

#[test]
fn layer_becomes_a_tree_with_owners_modes_times_and_attributes() {
    let place = Place::new("whole");
    let mut archive = Archive::default();
    archive.entry(EntryType::Directory, b"./", b"", b"", |header| header.set_mode(0o750));
    archive.directory("etc/").file("etc/passwd", "root:x:0:0\n").link("etc/link", "/etc/passwd");
    archive.hard("etc/again", "etc/passwd").file("missing/parents/file", "x");
    archive.entry(EntryType::Regular, b"bin", b"", b"setuid", |header| header.set_mode(0o4755));
    archive.entry(EntryType::Fifo, b"pipe", b"", b"", |_| {});
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    archive.pax(&[("path", long.as_bytes()), ("mtime", b"1600000000.5")]).file("short", "long name");
    archive
        .pax(&[("SCHILY.xattr.user.note", b"kept"), ("SCHILY.xattr.user.overlay.opaque", b"y")])
        .file("noted", "");
    let bytes = archive.ended();
    let unpacked = place.unpack(&bytes).expect("unpacked");
    assert_eq!((unpacked.diff_id, unpacked.size), (Digest::of(&bytes), bytes.len() as u64));
    assert_eq!(place.read("etc/passwd"), "root:x:0:0\n");
    assert_eq!(std::fs::read_link(place.tree().join("etc/link")).expect("a link"), Path::new("/etc/passwd"));
    let examine = |path: &str| std::fs::symlink_metadata(place.tree().join(path)).expect(path);
    assert_eq!(examine("etc/again").ino(), examine("etc/passwd").ino());
    assert_eq!(examine(".").mode() & 0o7777, 0o750);
    assert_eq!(examine("bin").mode() & 0o7777, 0o4755, "the owner is set first");
    assert_eq!(examine("missing").mode() & 0o7777, 0o755);
    assert!(examine("pipe").file_type().is_fifo());
    assert_eq!((examine("etc").mtime(), examine("etc/link").mtime()), (1_700_000_000, 1_700_000_000));
    assert_eq!((examine(&long).mtime(), examine(&long).mtime_nsec()), (1_600_000_000, 500_000_000));
    let attribute = |name: &std::ffi::CStr| {
        let mut value = [0u8; 8];
        let read = rustix::fs::lgetxattr(place.tree().join("noted"), name, &mut value[..]);
        read.map(|length| value[..length].to_vec())
    };
    // Not every file system has them.
    if let Ok(value) = attribute(c"user.note") {
        assert_eq!(value, b"kept");
    }
    assert!(attribute(c"user.overlay.opaque").is_err());
}

#[test]
fn compressed_archives_have_the_digest_of_what_they_were() {
    let mut archive = Archive::default();
    archive.file("file", &"content ".repeat(1000));
    let bytes = archive.ended();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, &bytes[..700]).expect("in memory");
    let mut members = gzip.finish().expect("in memory");
    let mut gzip = flate2::write::GzEncoder::new(&mut members, flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, &bytes[700..]).expect("in memory");
    gzip.finish().expect("in memory");
    let zstd = zstd::encode_all(&bytes[..], 3).expect("in memory");
    for (name, compressed) in [("gzip", &members), ("zstd", &zstd), ("plain", &bytes)] {
        let place = Place::new(name);
        assert_eq!(place.unpack(compressed).expect(name).diff_id, Digest::of(&bytes), "{name}");
        assert_eq!(place.read("file").len(), 8000);
        let cut = &compressed[..compressed.len() / 2];
        let place = Place::new(&format!("{name}-cut"));
        assert_eq!(place.unpack(cut).expect_err("cut off").kind, Kind::Corrupt);
    }
    let place = Place::new("bzip2");
    assert!(place.unpack(b"BZh91AY&SY").expect_err("refused").to_string().contains("bzip2"));
}

#[test]
fn later_entries_take_the_place_of_earlier_ones_of_any_kind() {
    let place = Place::new("replaced");
    let mut archive = Archive::default();
    archive
        .directory("a/")
        .file("a/inside", "x")
        .file("a", "a file")
        .file("b", "x")
        .directory("b/")
        .file("b/c", "c");
    archive
        .link("d", "b")
        .directory("d/")
        .file("d/e", "e")
        .file("f", "one")
        .hard("f", "f")
        .hard("g", "f")
        .hard("g", "f");
    archive.entry(EntryType::Fifo, b"h", b"", b"", |_| {}).file("h", "no pipe");
    place.unpack(&archive.ended()).expect("unpacked");
    assert_eq!(
        (place.read("a"), place.read("b/c"), place.read("d/e")),
        ("a file".into(), "c".into(), "e".into())
    );
    assert!(!place.tree().join("b/e").exists(), "the link was replaced, and not followed");
    assert_eq!(
        (place.read("f"), place.read("g"), place.read("h")),
        ("one".into(), "one".into(), "no pipe".into())
    );
}

#[test]
fn whiteouts_hide_and_never_reach_out() {
    if !is_root() {
        return;
    }
    let place = Place::new("whiteouts");
    let mut archive = Archive::default();
    archive
        .file("etc/gone", "x")
        .file("etc/.wh.gone", "")
        .file("opaque/.wh..wh..opq", "")
        .file(".wh..wh.plnk", "");
    archive.file(".wh..", "").file(".wh.", "").link("out", "../beside").file("out2/.wh.file", "");
    place.unpack(&archive.ended()).expect("unpacked");
    let hidden = std::fs::symlink_metadata(place.tree().join("etc/gone")).expect("there");
    assert!(hidden.file_type().is_char_device() && hidden.rdev() == 0);
    let mut value = [0u8; 2];
    let attribute = c"trusted.overlay.opaque";
    assert_eq!(rustix::fs::lgetxattr(place.tree().join("opaque"), attribute, &mut value[..]), Ok(1));
    let mut archive = Archive::default();
    archive.link("up", "/../../beside").file("up/.wh.file", "");
    let through = Place::new("whiteout-link");
    // The link leads within the tree, where nothing is.
    let _ = through.unpack(&archive.ended());
}

#[test]
fn names_that_lead_out_are_refused_or_lead_back_in() {
    for (number, path) in ["../beside/file", "a/../../beside/x", "..", "a/.."].into_iter().enumerate() {
        let mut archive = Archive::default();
        archive.file(path, "x");
        archive.ended();
        let mut archive = Archive::default();
        archive.file(path, "x");
        Place::new(&format!("up-{number}")).refuses(&archive, "leads upwards");
    }
    // Absolute names and links are those of the container.
    let place = Place::new("absolute");
    let mut archive = Archive::default();
    let beside = place.path.join("beside");
    archive
        .file("/root/file", "inside")
        .link("abs", beside.to_str().expect("text"))
        .link("rel", "../../../beside");
    archive.file("abs/file", "x");
    let outcome = place.unpack(&archive.ended());
    assert_eq!(place.read("root/file"), "inside");
    assert!(outcome.is_err() || place.tree().join("abs").exists(), "{outcome:?}");
    for link in ["../beside", "/proc/self/root", "/proc/self/cwd/../beside", "loop"] {
        let place = Place::new("link");
        let mut archive = Archive::default();
        archive
            .link("loop", link)
            .file("loop/file", "x")
            .file("loop/sub/file", "x")
            .hard("hard", "loop/file");
        // Refused, or made within the tree.
        let _ = place.unpack(&archive.ended());
    }
}

#[test]
fn hard_links_stay_within_the_layer() {
    let place = Place::new("hard-missing");
    let mut archive = Archive::default();
    archive.hard("a", "not/there");
    place.refuses(&archive, "not in this layer");
    let place = Place::new("hard-out");
    let mut archive = Archive::default();
    archive.hard("a", "../beside/file");
    place.refuses(&archive, "leads upwards");
    let place = Place::new("hard-through");
    let mut archive = Archive::default();
    let beside = place.path.join("beside");
    archive.link("out", beside.to_str().expect("text")).hard("a", "out/file");
    assert!(place.unpack(&archive.ended()).is_err());
    let place = Place::new("hard-to-link");
    let mut archive = Archive::default();
    archive.link("link", "/etc/passwd").hard("a", "link").file("a", "x");
    place.unpack(&archive.ended()).expect("a second name of the link, then a file in its place");
    assert_eq!(place.read("a"), "x");
    assert!(place.tree().join("link").is_symlink());
}

#[test]
fn devices_and_owners_that_no_image_may_have_are_refused() {
    let place = Place::new("whiteout-device");
    let mut archive = Archive::default();
    archive.entry(EntryType::Char, b"null", b"", b"", |header| {
        header.set_device_major(0).expect("gnu");
        header.set_device_minor(0).expect("gnu");
    });
    place.refuses(&archive, "0:0");
    let place = Place::new("owner");
    let mut archive = Archive::default();
    archive.entry(EntryType::Regular, b"a", b"", b"", |header| header.set_uid(u64::from(u32::MAX)));
    place.refuses(&archive, "owner 4294967295");
    let place = Place::new("big-owner");
    let mut archive = Archive::default();
    archive.entry(EntryType::Regular, b"a", b"", b"", |header| header.set_uid(1 << 32));
    place.refuses(&archive, "owner 4294967296");
    let place = Place::new("file-as-root");
    let mut archive = Archive::default();
    archive.file("./", "x");
    place.refuses(&archive, "the root itself");
    let place = Place::new("kind");
    let mut archive = Archive::default();
    archive.entry(EntryType::new(b'V'), b"a", b"", b"", |_| {});
    place.refuses(&archive, "its kind");
}

#[test]
fn archives_that_grow_without_end_are_cut_off() {
    let limits = Limits { entries: 10, bytes: 1 << 20, ratio: 10, ratio_from: 64 << 10 };
    let mut archive = Archive::default();
    for number in 0..11 {
        archive.file(&number.to_string(), "");
    }
    let error = Place::new("entries").unpack_within(&archive.ended(), limits).expect_err("too many");
    assert!(error.kind == Kind::TooMuch && error.to_string().contains("10 entries"), "{error}");
    let mut archive = Archive::default();
    archive.file("zeros", &"\0".repeat(200 << 10));
    let bytes = archive.ended();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gzip, &bytes).expect("in memory");
    let error =
        Place::new("ratio").unpack_within(&gzip.finish().expect("in memory"), limits).expect_err("a bomb");
    assert!(error.kind == Kind::TooMuch && error.to_string().contains("10 times"), "{error}");
    let mut archive = Archive::default();
    archive.file("big", &"x".repeat(2 << 20));
    let error = Place::new("bytes").unpack_within(&archive.ended(), limits).expect_err("too big");
    assert_eq!(error.kind, Kind::TooMuch, "{error}");
}

#[test]
fn size_that_is_a_lie_is_an_archive_that_is_broken() {
    let place = Place::new("size");
    let mut archive = Archive::default();
    archive.entry(EntryType::Regular, b"a", b"", b"short", |header| header.set_size(1 << 40));
    assert_eq!(place.unpack(&archive.0).expect_err("cut off").kind, Kind::Corrupt);
    let place = Place::new("checksum");
    let mut archive = Archive::default();
    archive.file("a", "x");
    archive.0[0] = b'b';
    assert_eq!(place.unpack(&archive.0).expect_err("broken").kind, Kind::Corrupt);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_archive_stays_within_its_tree(steps in proptest::collection::vec((0u8..6, 0usize..6, 0usize..8), 1..24)) {
        const PATHS: [&str; 6] = ["a", "a/b", "b", "b/.wh.a", "a/b/c", ".wh.b"];
        const TEXTS: [&str; 8] = ["a", "b", "..", "../beside", "/", "/beside/file", "../../beside/file", "a/b/c"];
        let place = Place::new("any");
        let mut archive = Archive::default();
        for (kind, path, text) in steps {
            let (path, text) = (PATHS[path], TEXTS[text]);
            match kind {
                0 => archive.file(path, text),
                1 => archive.directory(path),
                2 | 3 => archive.link(path, text),
                4 => archive.hard(path, text),
                _ => archive.entry(EntryType::Fifo, path.as_bytes(), b"", b"", |_| {}),
            };
        }
        // Legal or not, `unpack` looks at what is beside.
        let _ = place.unpack(&archive.ended());
    }

    #[test]
    fn any_bytes_are_an_archive_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let _ = Place::new("bytes-any").unpack(&bytes);
    }
}

#[test]
fn mode_of_the_umask_is_not_that_of_the_entries() {
    let place = Place::new("modes");
    let mut archive = Archive::default();
    archive.entry(EntryType::Regular, b"open", b"", b"", |header| header.set_mode(0o666));
    archive.entry(EntryType::Directory, b"closed", b"", b"", |header| header.set_mode(0o000));
    archive.file("closed/file", "x");
    let outcome = place.unpack(&archive.ended());
    let mode = std::fs::metadata(place.tree().join("open")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    assert!(outcome.is_ok() || !is_root(), "root makes files anywhere: {outcome:?}");
    let opened = PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(place.tree().join("closed"), opened).expect("set");
}
