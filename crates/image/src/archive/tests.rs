//! Images through every form of archive and back, and archives that are meant to do harm.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;
use crate::digest::Digest;
use crate::documents::{Platform, media_type};
use crate::error::{Kind, Result};
use crate::store::{Finish, Image, PullOptions, Pulled, Silent, Source, Store, Unpacker};
use crate::unpack::{self, Devices, Limits, Whiteouts};

/// Unpacks in a thread of this process.
struct Here;

impl Unpacker for Here {
    fn start(&self, archive: OwnedFd, tree: OwnedFd) -> Result<Finish> {
        let options = unpack::Options {
            owners: unpack::Owners::Named,
            whiteouts: Whiteouts::Trusted,
            devices: Devices::Made,
            limits: Limits::default(),
        };
        let thread = std::thread::spawn(move || unpack::layer(File::from(archive), tree.as_fd(), &options));
        Ok(Box::new(|| thread.join().expect("it does not panic")))
    }
}

/// A directory with a store. Gone with its value.
struct Place {
    path: PathBuf,
    store: Store,
}

impl Place {
    fn new(name: &str) -> Place {
        let path = crate::scratch::directory(&format!("archive-{name}"));
        let store = Store::open(path.join("store")).expect("made");
        Place { path, store }
    }

    fn bring(&self, source: &dyn Source) -> Result<Pulled> {
        let platform = Platform::parse("linux/amd64").expect("legal");
        let options =
            PullOptions { platform: &platform, unpacker: &Here, progress: &Silent, operation: "load" };
        self.store.pull(source, options)
    }

    /// Loads the only image of an archive.
    fn load(&self, archive: &[u8]) -> Result<(Image, Vec<String>)> {
        let archive = Archive::read(self.file(archive), None, &self.store, "load")?;
        let image = archive.image(0)?;
        let names = image.names.iter().map(ToString::to_string).collect();
        Ok((self.bring(&image)?.image, names))
    }

    fn file(&self, bytes: &[u8]) -> File {
        let mut file = self.store.spool().expect("made");
        file.write_all(bytes).expect("written");
        file.rewind().expect("it can be");
        file
    }

    /// What is in the store.
    fn counts(&self) -> [usize; 4] {
        ["blobs/sha256", "layers", "images", "partial"]
            .map(|directory| std::fs::read_dir(self.store.path().join(directory)).expect("there").count())
    }

    fn refuses(&self, archive: &[u8], reason: &str) {
        let error = self.load(archive).map(drop).expect_err(reason);
        assert!(error.to_string().contains(reason), "{reason}: {error:?}");
        self.store.sweep().expect("swept");
        assert_eq!(self.counts(), [0; 4], "{reason}: the store is as it was");
        let names: Vec<_> = std::fs::read_dir(&self.path).expect("there").flatten().collect();
        assert_eq!(names.len(), 1, "nothing is written beside the store");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// An entry of an archive, whatever it says.
fn entry(name: &str, flag: u8, link: &str, content: &[u8], size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(tar::EntryType::new(flag));
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn plain(name: &str, content: &[u8]) -> Vec<u8> {
    entry(name, b'0', "", content, content.len() as u64)
}

fn ended(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

/// A layer with one file.
fn layer(text: &str) -> Vec<u8> {
    ended(&[plain("etc", text.as_bytes())])
}

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}})
        .to_string()
        .into()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

/// Docker's `manifest.json` for one image.
fn manifest(config: &str, layers: &[&str]) -> Vec<u8> {
    plain(
        "manifest.json",
        json!([{"Config": config, "RepoTags": ["app:v1"], "Layers": layers}]).to_string().as_bytes(),
    )
}

fn save(store: &Store, image: &Image, form: SaveForm) -> Vec<u8> {
    let saved = Saved { image: image.clone(), names: vec!["example.org/app:v1".parse().expect("a name")] };
    let mut bytes = Vec::new();
    save_archive(store, &[saved], form, &mut bytes).expect("saved");
    bytes
}

fn imported(place: &Place, archive: &[u8]) -> Image {
    let root = RootArchive::read(place.file(archive), &place.store, "import").expect("read");
    let document = json!({"architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [root.diff_id()]}});
    place.bring(&root.into_image(&[], &document)).expect("made").image
}

#[test]
fn image_is_the_same_through_every_form() {
    let place = Place::new("forms");
    let image = imported(&place, &gzip(&layer("one")));
    assert_ne!(image.layers[0].blob, image.layers[0].diff_id);
    for form in [SaveForm::Oci, SaveForm::Docker] {
        let bytes = save(&place.store, &image, form);
        assert_eq!(bytes, save(&place.store, &image, form), "the same archive again");
        // Other eyes than ours.
        let names: Vec<String> = tar::Archive::new(&bytes[..])
            .entries()
            .expect("an archive")
            .map(|entry| entry.expect("whole").path().expect("a path").display().to_string())
            .collect();
        let first = if form == SaveForm::Oci {
            "oci-layout".to_owned()
        } else {
            format!("{}.tar", image.layers[0].diff_id.digits())
        };
        assert_eq!(names[0], first, "{names:?}");
        for wrapped in [bytes.clone(), gzip(&bytes), zstd::encode_all(&bytes[..], 1).expect("in memory")] {
            let other = Place::new("forms-other");
            let (loaded, names) = other.load(&wrapped).expect("loaded");
            assert_eq!((&loaded.id, &names[..]), (&image.id, &["example.org/app:v1".to_owned()][..]));
            assert_eq!(loaded.manifest == image.manifest, form == SaveForm::Oci, "blobs are as they came");
            assert_eq!(loaded.layers[0].diff_id, image.layers[0].diff_id);
        }
    }
    for form in [SaveForm::Oci, SaveForm::Directory] {
        let directory = place.path.join("saved");
        std::fs::create_dir(&directory).expect("made");
        let saved = Saved { image: image.clone(), names: Vec::new() };
        save_directory(&place.store, &[saved], form, &directory).expect("saved");
        let other = Place::new("forms-directory");
        let archive = Archive::open(&directory, None, &other.store).expect("read");
        let loaded = other.bring(&archive.image(0).expect("one")).expect("loaded").image;
        assert_eq!((loaded.id, loaded.manifest), (image.id.clone(), image.manifest.clone()));
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}

#[test]
fn archive_is_read_from_a_pipe() {
    let place = Place::new("pipe");
    let image = imported(&place, &layer("one"));
    let bytes = save(&place.store, &image, SaveForm::Oci);
    let (ours, theirs) = std::io::pipe().expect("a pipe");
    let thread = std::thread::spawn(move || {
        let mut theirs = theirs;
        theirs.write_all(&bytes)
    });
    let archive = Archive::read(File::from(OwnedFd::from(ours)), None, &place.store, "load").expect("read");
    thread.join().expect("no panic").expect("written");
    assert_eq!(archive.choose(Some("example.org/app:v1")).expect("there"), [0]);
    assert_eq!(archive.choose(Some("@0")).expect("there"), [0]);
    for missing in ["example.org/app:v2", "@1", "@x", ""] {
        let error = archive.choose(Some(missing)).expect_err(missing);
        assert!(error.hint.expect("names those that are there").contains("example.org/app:v1"));
    }
    assert_eq!(place.bring(&archive.image(0).expect("one")).expect("loaded").image.id, image.id);
}

#[test]
fn archives_of_old_and_new_docker_are_read() {
    let (one, two) = (layer("one"), layer("two"));
    let text = config(&[&one, &two, &one]);
    // A layer that is there already was a link, in 1.10 to 24.
    let legacy = ended(&[
        entry("a/", b'5', "", &[], 0),
        plain("a/layer.tar", &one),
        plain("b/layer.tar", &two),
        entry("c/layer.tar", b'2', "../a/layer.tar", &[], 0),
        plain("x.json", &text),
        manifest("x.json", &["a/layer.tar", "b/layer.tar", "c/layer.tar"]),
    ]);
    let place = Place::new("docker");
    let (image, names) = place.load(&legacy).expect("loaded");
    assert_eq!((image.id, &names[..]), (Digest::of(&text), &["docker.io/library/app:v1".to_owned()][..]));
    // What an extended header and `./` say is a name as well; compressed layers are legal.
    let pax = b"18 path=./a/x.tar\n";
    let compressed = ended(&[
        entry("h", b'x', "", pax, pax.len() as u64),
        plain("short", &gzip(&one)),
        plain("./b", &two),
        plain("x.json", &text),
        manifest("./x.json", &["a/x.tar", "b", "a/x.tar"]),
    ]);
    let other = Place::new("docker-compressed");
    assert_eq!(other.load(&compressed).expect("loaded").0.id, Digest::of(&text));
    // Docker's of today has a layout, which counts.
    let bytes = save(&place.store, &imported(&place, &one), SaveForm::Oci);
    let both = [&bytes[..bytes.len() - 1024], &ended(&[plain("manifest.json", b"[]")])].concat();
    Place::new("docker-both").load(&both).expect("loaded");
}

#[test]
fn archives_that_are_meant_to_do_harm_are_refused() {
    let place = Place::new("hostile");
    let one = layer("one");
    let text = config(&[&one]);
    let of = |entries: &[Vec<u8>]| {
        let all = [entries, &[plain("x.json", &text), manifest("x.json", &["l"])]].concat();
        ended(&all)
    };
    place.refuses(b"", "nothing in it");
    place.refuses(b"\x1f\x8b", "cut off");
    place.refuses(b"BZh91AY", "bzip2");
    place.refuses(&[0; 1024], "neither an `index.json` nor a `manifest.json`");
    place.refuses(&ended(&[plain("etc/passwd", b"x")]), "neither an `index.json` nor a `manifest.json`");
    place.refuses(&ended(&[plain("repositories", b"{}")]), "Docker before 1.10");
    place.refuses(&of(&[plain("../l", &one)]), "the path `../l` leads out of it");
    place.refuses(&of(&[plain("a/../../l", &one)]), "leads out of it");
    place.refuses(
        &of(&[entry("l", b'2', "/etc/passwd", &[], 0)]),
        "the link `l` leads out of it, to `/etc/passwd`",
    );
    place.refuses(&of(&[entry("l", b'2', "../../etc/passwd", &[], 0)]), "leads out of it");
    place.refuses(&of(&[entry("l", b'1', "../etc/passwd", &[], 0)]), "leads out of it");
    place.refuses(&of(&[entry("l", b'2', "l", &[], 0)]), "to one another");
    place.refuses(&of(&[entry("l", b'2', "m", &[], 0), entry("m", b'1', "l", &[], 0)]), "to one another");
    place.refuses(&of(&[entry("l", b'3', "", &[], 0)]), "has no file `l`");
    place.refuses(&of(&[entry("l", b'6', "", &[], 0)]), "has no file `l`");
    place.refuses(&of(&[plain("l", &one), plain("./l", &one)]), "`./l` twice");
    place.refuses(&of(&[plain("l", &one), entry("l", b'2', "x", &[], 0)]), "`l` twice");
    place.refuses(&of(&[entry("l", b'0', "", &one, 1 << 32)]), "cut off");
    place.refuses(&of(&[plain("l", &layer("two"))]), "not what its digest says");
    place.refuses(&of(&[plain("l", &gzip(&layer("two")))]), "unpacks to something else");
    place.refuses(&of(&[]), "has no file `l`, which its manifest.json names");
    let sparse = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n29 GNU.sparse.realsize=99999\n";
    place.refuses(&of(&[entry("h", b'x', "", sparse, sparse.len() as u64), plain("l", &one)]), "holes");
    let (mut broken, whole) = (of(&[plain("l", &one)]), of(&[plain("l", &one)]));
    broken[3] ^= 1;
    place.refuses(&broken, "checksum");
    place.refuses(&whole[..whole.len() - 1500], "cut off");
    place.refuses(&ended(&[entry("h", b'x', "", &[], 1 << 30)]), "extended header");
    place.refuses(&ended(&[plain("manifest.json", &vec![b' '; 5 << 20])]), "longer than 4 MiB");
    place.refuses(&ended(&[plain("manifest.json", b"[]")]), "no image");
    place.refuses(&ended(&[plain("manifest.json", b"[{}]")]), "missing field");
    let many = json!(vec![json!({"Config": "x"}); 1001]).to_string();
    place.refuses(&ended(&[plain("manifest.json", many.as_bytes())]), "more than 1000");
    place.refuses(&ended(&[manifest("../../etc/passwd", &[])]), "leads out of it");
    let descriptor = |digest: &str| json!({"mediaType": media_type::MANIFEST, "digest": digest, "size": 2});
    let layout = |digest: &str| {
        let index = json!({"schemaVersion": 2, "manifests": [descriptor(digest)]}).to_string();
        ended(&[
            plain("oci-layout", br#"{"imageLayoutVersion": "1.0.0"}"#),
            plain("index.json", index.as_bytes()),
        ])
    };
    place.refuses(&layout("sha256:../../../../etc/passwd"), "hexadecimal");
    place.refuses(&layout(&Digest::of(b"{}").to_string()), "has no file `blobs/sha256/");
    let other = [&layout(&Digest::of(b"{}").to_string())[..], &ended(&[])].concat();
    place.refuses(&other, "has no file");
}

#[test]
fn any_change_of_an_archive_is_taken_or_refused() {
    let place = Place::new("changed");
    let one = layer("one");
    let (oci, text) = (save(&place.store, &imported(&place, &one), SaveForm::Oci), config(&[&one]));
    let docker = ended(&[plain("l", &one), plain("x.json", &text), manifest("x.json", &["l"])]);
    let change = proptest::collection::vec((0usize..8192, proptest::prelude::any::<u8>()), 0..20);
    proptest::proptest!(|(changes in change, length in 1usize..8192)| {
        for mut bytes in [oci.clone(), docker.clone()] {
            changes.iter().for_each(|(at, byte)| bytes.get_mut(*at).into_iter().for_each(|found| *found = *byte));
            bytes.truncate(length);
            let Ok(archive) = Archive::read(place.file(&bytes), None, &place.store, "load") else { continue };
            for number in archive.choose(None).expect("all") {
                let _ = archive.image(number);
            }
        }
    });
}

#[test]
fn number_of_files_is_bounded() {
    let place = Place::new("many");
    let entries: Vec<u8> = (0..100_001).flat_map(|number| plain(&format!("{number}"), b"")).collect();
    let error = place.load(&entries).map(drop).expect_err("too many");
    assert_eq!(error.kind, Kind::TooMuch);
}

#[test]
fn long_names_and_large_files_have_extended_headers() {
    let mut tar = super::write::Tar(Vec::new());
    let name = format!("blobs/sha512/{}", "0".repeat(128));
    super::write::Target::file(&mut tar, &name, 3, &mut &b"abc"[..]).expect("written");
    super::write::Target::finish(&mut tar).expect("written");
    let mut archive = tar::Archive::new(&tar.0[..]);
    let mut entries = archive.entries().expect("an archive");
    let mut found = entries.next().expect("one").expect("whole");
    assert_eq!(found.path().expect("a path"), Path::new(&name));
    let mut text = String::new();
    found.read_to_string(&mut text).expect("read");
    assert_eq!(text, "abc");
    for (size, content) in [(2, "abc"), (4, "abc"), (1 << 33, "abc")] {
        let mut tar = super::write::Tar(Vec::new());
        super::write::Target::file(&mut tar, "x", size, &mut content.as_bytes())
            .expect_err("it is not so long");
        if size > 4 {
            assert!(String::from_utf8_lossy(&tar.0).contains("19 size=8589934592\n"));
        }
    }
}
