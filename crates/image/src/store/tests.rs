//! Images from a directory in OCI's layout, kept, found, shared, removed and refused.

mod damage;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::archive::Archive;
use crate::digest::Digest;
use crate::documents::{Descriptor, Platform, media_type};
use crate::reference::{DOCKER_IO, Reference};
use crate::unpack::{self, Devices, Limits, Whiteouts};

/// Unpacks in a thread of this process.
struct Here;

impl Unpacker for Here {
    fn start(&self, archive: OwnedFd, tree: OwnedFd) -> Result<Finish> {
        let options = unpack::Options {
            whiteouts: Whiteouts::Trusted,
            devices: Devices::Made,
            owners: unpack::Owners::Named,
            limits: Limits::default(),
        };
        let thread = std::thread::spawn(move || unpack::layer(File::from(archive), tree.as_fd(), &options));
        Ok(Box::new(|| thread.join().expect("it does not panic")))
    }
}

/// A store and a layout to pull from. Gone with its value.
struct Place {
    path: PathBuf,
    store: Store,
}

impl Place {
    fn new(name: &str) -> Place {
        let path = crate::scratch::directory(&format!("store-{name}"));
        let layout = path.join("layout");
        std::fs::create_dir_all(layout.join("blobs/sha256")).expect("made");
        std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).expect("written");
        let store = Store::open(path.join("store")).expect("made");
        Place { path, store }
    }

    fn layout(&self) -> PathBuf {
        self.path.join("layout")
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let digest = Digest::of(bytes);
        std::fs::write(self.layout().join("blobs/sha256").join(digest.digits()), bytes).expect("written");
        let size = bytes.len() as u64;
        Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: None,
            annotations: None,
            platform: None,
        }
    }

    /// An image of these layers, each a file with a text.
    fn image(&self, layers: &[(&str, &str)]) -> Descriptor {
        let archives: Vec<Vec<u8>> = layers.iter().map(|(name, text)| archive(name, text)).collect();
        let diff_ids: Vec<Digest> = archives.iter().map(|archive| Digest::of(archive)).collect();
        self.image_of(&archives, &diff_ids)
    }

    fn image_of(&self, archives: &[Vec<u8>], diff_ids: &[Digest]) -> Descriptor {
        let layers: Vec<_> =
            archives.iter().map(|archive| self.blob(media_type::LAYER_GZIP, &compress(archive))).collect();
        self.image_of_blobs(&layers, diff_ids)
    }

    fn image_of_blobs(&self, layers: &[Descriptor], diff_ids: &[Digest]) -> Descriptor {
        let config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = self.blob(media_type::CONFIG, config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": layers});
        let manifest = self.blob(media_type::MANIFEST, manifest.to_string().as_bytes());
        self.index(&[&manifest]);
        manifest
    }

    fn index(&self, manifests: &[&Descriptor]) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        std::fs::write(self.layout().join("index.json"), index.to_string()).expect("written");
    }

    fn pull(&self) -> Result<Pulled> {
        self.pull_by(&Here)
    }

    fn pull_by(&self, unpacker: &dyn Unpacker) -> Result<Pulled> {
        let archive = Archive::open(&self.layout(), None, &self.store)?;
        self.pull_from(&archive.image(0)?, unpacker)
    }

    fn pull_from(&self, source: &dyn Source, unpacker: &dyn Unpacker) -> Result<Pulled> {
        let platform = Platform::parse("linux/amd64").expect("legal");
        let options = PullOptions { platform: &platform, unpacker, progress: &Silent, operation: "pull" };
        self.store.pull(source, options)
    }

    /// What is in the store: numbers of blobs, layers, images, and of what is under way.
    fn counts(&self) -> [usize; 4] {
        ["blobs/sha256", "layers", "images", "partial"]
            .map(|directory| std::fs::read_dir(self.store.path().join(directory)).expect("there").count())
    }

    fn refuses(&self, kind: Kind, reason: &str) {
        let error = self.pull().expect_err(reason);
        assert!(error.kind == kind && error.to_string().contains(reason), "{error:?}");
        self.store.sweep().expect("swept");
        assert_eq!(self.counts(), [0; 4], "the store is as it was");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// How many zeros stand for more than anybody wants: a disk that fills is a bad way to say that a test failed.
const ZEROS: u64 = 256 << 20;

/// A source that says how often it was asked for what, and how many bytes of blobs were taken. A blob that it has not is zeros
/// behind its `begin`.
struct Counting<'a> {
    inner: &'a dyn Source,
    begin: &'a [u8],
    asked: Mutex<BTreeMap<Digest, u32>>,
    taken: AtomicU64,
}

impl<'a> Counting<'a> {
    fn new(inner: &'a dyn Source, begin: &'a [u8]) -> Counting<'a> {
        Counting { inner, begin, asked: Mutex::default(), taken: AtomicU64::new(0) }
    }

    fn count(&self, digest: &Digest) {
        *self.asked.lock().expect("no panic").entry(digest.clone()).or_default() += 1;
    }
}

impl Source for Counting<'_> {
    fn named(&self) -> Result<(Vec<u8>, Option<String>)> {
        self.inner.named()
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.count(&descriptor.digest);
        self.inner.document(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        self.count(&descriptor.digest);
        let inner = match self.inner.blob(descriptor) {
            Err(error) if error.kind == Kind::NotFound => {
                Box::new(self.begin.chain(std::io::repeat(0).take(ZEROS)))
            }
            found => found?,
        };
        Ok(Box::new(Counted { inner, taken: &self.taken }))
    }
}

struct Counted<'a> {
    inner: Box<dyn Read + Send + 'a>,
    taken: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// An archive with one file.
fn archive(name: &str, text: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_uid(rustix::process::getuid().as_raw().into());
    header.set_gid(rustix::process::getgid().as_raw().into());
    builder.append_data(&mut header, name, text.as_bytes()).expect("in memory");
    builder.into_inner().expect("in memory")
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).expect("in memory");
    gzip.finish().expect("in memory")
}

#[test]
fn image_is_kept_whole_found_by_its_names_and_gone_when_it_is_forgotten() {
    let place = Place::new("life");
    let manifest = place.image(&[("a", "lower"), ("b", "upper"), ("a", "lower")]);
    let Pulled { image, digests, was_there } = place.pull().expect("pulled");
    assert!(!was_there && digests == [manifest.digest.clone()]);
    assert_eq!(place.counts(), [4, 2, 1, 0], "the same layer twice is one");
    assert_eq!((image.layers.len(), &image.layers[0]), (3, &image.layers[2]));
    let file = place.store.layer_path(&image.layers[1].diff_id).join("b");
    assert_eq!(std::fs::read_to_string(file).expect("unpacked"), "upper");
    assert!(place.pull().expect("again").was_there);
    let reference: Reference = "app:v1".parse().expect("legal");
    place.store.name(&reference, &image, digests).expect("named");
    let find =
        |text: &str| place.store.find(text, &[DOCKER_IO.to_owned()]).expect("no error").map(|image| image.id);
    for text in [
        "app:v1",
        "docker.io/library/app:v1",
        &format!("app@{}", manifest.digest),
        image.id.short(),
        &image.id.to_string(),
        image.id.digits(),
    ] {
        assert_eq!(find(text).as_ref(), Some(&image.id), "{text}");
    }
    assert!(["app", "app:v2", "00", "zzz"].iter().all(|text| find(text).is_none()));
    assert_eq!(place.store.configuration(&image).expect("there").config.cmd, ["/bin/true"]);
    assert_eq!(place.store.sweep().expect("swept"), Some(Swept::default()), "all of it is referred to");
    let claim = place.store.claim(&image).expect("claimed");
    let error = place
        .store
        .forget(&image, Seen::Names(std::slice::from_ref(&reference)))
        .expect_err("a container has claimed it");
    assert!(error.kind == Kind::InUse && find("app:v1").is_some(), "{error}");
    drop(claim);
    place.store.forget(&image, Seen::Names(std::slice::from_ref(&reference))).expect("forgotten");
    assert!(place.store.claim(&image).is_err());
    let swept = place.store.sweep().expect("swept").expect("nobody else is there");
    assert_eq!((swept.blobs, swept.layers, place.counts()), (4, 2, [0; 4]));
    assert!(place.store.names().expect("listed").is_empty() && find("app:v1").is_none());
}

#[test]
fn what_others_use_is_not_swept_and_remains_of_the_dead_are() {
    let place = Place::new("others");
    place.image(&[("a", "x")]);
    place.pull().expect("pulled");
    let partial = place.store.path().join("partial");
    std::fs::write(partial.join("0".repeat(64)), "half").expect("written");
    std::fs::create_dir_all(partial.join("dead.layer/tree/a")).expect("made");
    std::fs::write(place.store.path().join("images/.draft"), "half").expect("written");
    let other = Store::open(place.store.path()).expect("opened");
    assert_eq!(place.store.sweep().expect("no error"), None, "another process could be pulling");
    // The other one does it when it ends, once it is alone.
    other.sweep_if_asked().expect("not alone yet");
    assert_eq!(place.counts()[3], 2);
    flock(place.store.lock.as_ref().expect("made"), FlockOperation::Unlock).expect("unlocked");
    other.sweep_if_asked().expect("swept");
    assert_eq!(place.counts(), [3, 1, 1, 0]);
}

#[test]
fn pulls_at_once_fetch_each_blob_once() {
    let place = Place::new("at-once");
    place.image(&[("a", "one"), ("b", "two"), ("c", "three"), ("d", "four"), ("e", "five")]);
    let archive = Archive::open(&place.layout(), None, &place.store).expect("opened");
    let image = archive.image(0).expect("there");
    let source = Counting::new(&image, b"");
    std::thread::scope(|scope| {
        let pull = || place.pull_from(&source, &Here).expect("pulled").image.id;
        let pulls: Vec<_> = (0..6).map(|_| scope.spawn(pull)).collect();
        let mut ids: Vec<_> = pulls.into_iter().map(|pull| pull.join().expect("no panic")).collect();
        ids.dedup();
        assert_eq!(ids.len(), 1);
    });
    assert_eq!(place.counts(), [7, 5, 1, 0]);
    let asked = source.asked.lock().expect("no panic");
    assert!(asked.len() == 6 && asked.values().all(|times| *times == 1), "{asked:?}");
}

#[test]
fn blobs_that_are_not_what_was_promised_leave_nothing() {
    let blob = |place: &Place, descriptor: &Descriptor| {
        place.layout().join("blobs/sha256").join(descriptor.digest.digits())
    };
    let place = Place::new("other-manifest");
    let manifest = place.image(&[("a", "x")]);
    std::fs::write(blob(&place, &manifest), "{}").expect("written");
    place.refuses(Kind::Corrupt, "not what its digest says");

    let layer_of = |place: &Place| {
        place.image(&[("a", "x")]);
        place.blob(media_type::LAYER_GZIP, &compress(&archive("a", "x")))
    };
    for (name, content, reason) in [
        ("other", compress(&archive("b", "y")), "`sha256:"),
        ("short", compress(&archive("a", "x"))[..20].to_vec(), "ended after 20 of"),
        ("long", [compress(&archive("a", "x")), vec![0; 9]].concat(), "goes on behind its"),
    ] {
        let place = Place::new(name);
        let layer = layer_of(&place);
        std::fs::write(blob(&place, &layer), content).expect("written");
        place.refuses(Kind::Corrupt, reason);
    }
    let place = Place::new("diff-id");
    place.image_of(&[archive("a", "x")], &[Digest::of(b"another")]);
    place.refuses(Kind::Corrupt, "unpacks to something else");
    let place = Place::new("no-archive");
    place.image_of(&[b"no archive at all".repeat(100)], &[Digest::of(&b"no archive at all".repeat(100))]);
    place.refuses(Kind::Corrupt, "unpack a layer: ");
    let place = Place::new("missing");
    let layer = layer_of(&place);
    std::fs::remove_file(blob(&place, &layer)).expect("removed");
    place.refuses(Kind::NotFound, "it has no file `blobs/sha256/");
}

#[test]
fn nothing_more_is_fetched_of_a_layer_that_is_refused() {
    let pull = |place: &Place, size: u64, begin: &[u8]| {
        let layer = Descriptor { size, ..place.blob(media_type::LAYER, b"not this") };
        std::fs::remove_file(place.layout().join("blobs/sha256").join(layer.digest.digits())).expect("there");
        place.image_of_blobs(std::slice::from_ref(&layer), &[Digest::of(b"whatever")]);
        let archive = Archive::open(&place.layout(), None, &place.store).expect("opened");
        let image = archive.image(0).expect("there");
        let source = Counting::new(&image, begin);
        let error = place.pull_from(&source, &Here).expect_err("refused");
        place.store.sweep().expect("swept");
        assert_eq!(place.counts(), [0; 4], "the store is as it was");
        let asked = source.asked.lock().expect("no panic").get(&layer.digest).copied();
        (error, asked, source.taken.load(Ordering::Relaxed))
    };
    let (error, asked, _) = pull(&Place::new("huge"), u64::MAX, b"");
    assert!(error.kind == Kind::TooMuch && error.to_string().contains("are the most"), "{error}");
    assert_eq!(asked, None);

    let begin = archive("a/.wh..", "");
    let (error, asked, taken) = pull(&Place::new("first-entry"), 1 << 30, &begin[..512]);
    assert!(error.kind == Kind::Corrupt && error.to_string().contains("unpack `a/.wh..`"), "{error}");
    assert!(asked == Some(1) && taken < 1 << 20, "{taken} bytes were fetched");
}

#[test]
fn index_is_kept_with_its_image_and_leads_to_no_other_index() {
    let place = Place::new("index");
    let mut manifest = place.image(&[("a", "x")]);
    manifest.platform = Some(Platform::parse("linux/amd64").expect("legal"));
    let text =
        json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [manifest]}).to_string();
    let index = place.blob(media_type::INDEX, text.as_bytes());
    place.index(&[&index]);
    let pulled = place.pull().expect("pulled");
    assert_eq!(pulled.digests, [index.digest.clone(), manifest.digest.clone()]);
    place.store.name(&"app".parse().expect("legal"), &pulled.image, pulled.digests).expect("named");
    place.store.sweep().expect("swept");
    assert!(place.store.has_blob(&index.digest));
    let by_index =
        place.store.find(&format!("app@{}", index.digest), &[DOCKER_IO.to_owned()]).expect("no error");
    assert_eq!(by_index.map(|image| image.id), Some(pulled.image.id));

    let place = Place::new("loop");
    let mut inner = place.image(&[("a", "x")]);
    inner.platform = Some(Platform::parse("linux/amd64").expect("legal"));
    let text = json!({"schemaVersion": 2, "manifests": [inner]}).to_string();
    let mut second = place.blob(media_type::MANIFEST, text.as_bytes());
    second.platform = inner.platform;
    let text = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [second]}).to_string();
    place.index(&[&place.blob(media_type::INDEX, text.as_bytes())]);
    let error = place.pull().expect_err("no image");
    assert!(error.kind == Kind::Corrupt && error.to_string().contains("is an index"), "{error}");
}

#[test]
fn store_of_another_version_is_refused() {
    let place = Place::new("version");
    std::fs::write(place.store.path().join("version"), "2\n").expect("written");
    let error = Store::open(place.store.path()).expect_err("refused");
    assert!(error.kind == Kind::Unsupported && error.to_string().contains("version `2`"), "{error}");
}

#[test]
fn layer_of_another_image_is_had_by_its_bytes_alone() {
    let place = Place::new("claimed");
    let secret = archive("secret", "of another user's image");
    place.image_of(std::slice::from_ref(&secret), &[Digest::of(&secret)]);
    place.pull().expect("pulled");
    // Whoever knows the layer's digest, and has not the layer, writes it beside a blob of his own.
    place.image_of(&[archive("a", "x")], &[Digest::of(&secret)]);
    let error = place.pull().expect_err("refused");
    assert!(
        error.kind == Kind::Corrupt && error.to_string().contains("unpacks to something else"),
        "{error}"
    );
    place.store.sweep().expect("swept");
    assert_eq!(place.counts(), [3, 1, 1, 0], "the store is as it was");
    // The same layer in another compression is the same layer.
    let other = place.blob(media_type::LAYER, &secret);
    place.image_of_blobs(&[other], &[Digest::of(&secret)]);
    place.pull().expect("pulled");
    assert_eq!(place.counts(), [5, 1, 2, 0], "a blob and a manifest more");
    assert!(place.pull().expect("again").was_there);
}

#[test]
fn image_that_is_removed_while_it_is_pulled_has_its_name_and_all_else() {
    let place = Place::new("removed");
    place.image(&[("a", "x")]);
    let Pulled { image, digests, .. } = place.pull().expect("pulled");
    let other = Store::open(place.store.path()).expect("opened");
    other.forget(&image, Seen::Nothing).expect("forgotten");
    assert_eq!(other.sweep().expect("no error"), None);
    place.store.name(&"app".parse().expect("legal"), &image, digests).expect("named");
    drop(other);
    place.store.sweep_if_asked().expect("swept");
    let found = place.store.find("app", &[DOCKER_IO.to_owned()]).expect("no error").expect("there");
    assert!(place.store.is_whole(&found));
}

#[test]
fn image_that_was_named_or_listed_since_somebody_looked_stays() {
    let place = Place::new("named-since");
    place.image(&[("a", "x")]);
    let Pulled { image, digests, .. } = place.pull().expect("pulled");
    let refused = |seen: Seen<'_>, by: &str| {
        let error = place.store.forget(&image, seen).expect_err("it is needed");
        assert!(error.kind == Kind::InUse && error.reason.contains(by), "{error}");
        assert!(place.store.image(&image.manifest).expect("read").is_some());
    };
    let (list, one, other): (Reference, Reference, Reference) =
        ("list".parse().expect("legal"), "one".parse().expect("legal"), "other".parse().expect("legal"));
    place.store.make_list(&list).expect("made").expect("new");
    let entry = place.store.entry_of(&image).expect("read");
    let add = |index: &mut crate::documents::Index| index.manifests.push(entry);
    place
        .store
        .change_list(&list, |index, _| {
            add(index);
            Ok(())
        })
        .expect("changed");
    refused(Seen::Nothing, "put into the list");
    place.store.name(&one, &image, digests.clone()).expect("named");
    refused(Seen::Nothing, "has just been named `docker.io/library/one:latest`");
    refused(Seen::Names(&[]), "has just been named");
    place.store.name(&other, &image, digests).expect("named");
    refused(Seen::Names(std::slice::from_ref(&one)), "has just been named `docker.io/library/other:latest`");
    assert_eq!(place.store.names().expect("read").len(), 2, "no name is gone");
    // Of those that were seen, some may be gone.
    place.store.unname(&other).expect("unnamed");
    place.store.forget(&image, Seen::Names(&[one, other])).expect("forgotten");
    assert!(place.store.names().expect("read").is_empty());
}

#[test]
fn store_that_is_only_asked_is_not_made() {
    let place = Place::new("asked");
    let nowhere = place.path.join("nowhere");
    let store = Store::open_to_read(&nowhere).expect("opened");
    assert!(store.images().expect("none").is_empty() && store.names().expect("none").is_empty());
    assert!(store.find("app", &[DOCKER_IO.to_owned()]).expect("none").is_none());
    assert!(store.usage(&Default::default()).expect("none").images.is_empty());
    store.sweep().expect("nothing to sweep");
    assert!(!nowhere.exists());
}

/// Refuses the first layer, and counts the others that are waited for.
#[derive(Default)]
struct RefusesFirst {
    begun: AtomicUsize,
    ended: Arc<AtomicUsize>,
}

impl Unpacker for RefusesFirst {
    fn start(&self, archive: OwnedFd, tree: OwnedFd) -> Result<Finish> {
        let is_first = self.begun.fetch_add(1, Ordering::Relaxed) == 0;
        let finish = Here.start(archive, tree)?;
        let ended = Arc::clone(&self.ended);
        Ok(Box::new(move || {
            let unpacked = finish();
            ended.fetch_add(1, Ordering::Relaxed);
            if is_first { Err(Error::new(Kind::TooMuch, "unpack", "it is the first")) } else { unpacked }
        }))
    }
}

#[test]
fn layers_for_other_owners_are_waited_for_where_one_of_them_fails() {
    let place = Place::new("shifted");
    place.image(&[("a", "one"), ("b", "two"), ("c", "three")]);
    let image = place.pull().expect("pulled").image;
    let unpacker = RefusesFirst::default();
    let error = place.store.unpack_for(&image, "key", &unpacker).expect_err("refused");
    assert_eq!(error.reason, "it is the first");
    assert_eq!((unpacker.begun.into_inner(), unpacker.ended.load(Ordering::Relaxed)), (3, 3));
    assert_eq!(place.counts()[3], 0);
    place.store.unpack_for(&image, "key", &Here).expect("unpacked");
}

/// A source that has no first layer, and says so once the others have begun; they are slow.
struct Slow<'a> {
    source: &'a dyn Source,
    missing: Digest,
    begun: AtomicUsize,
    has_failed: AtomicBool,
}

impl Source for Slow<'_> {
    fn named(&self) -> Result<(Vec<u8>, Option<String>)> {
        self.source.named()
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.source.document(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        if descriptor.digest != self.missing {
            self.begun.fetch_add(1, Ordering::Relaxed);
            return Ok(Box::new(SlowBytes { bytes: self.source.blob(descriptor)?, of: self }));
        }
        while self.begun.load(Ordering::Relaxed) < 2 {
            std::thread::yield_now();
        }
        self.has_failed.store(true, Ordering::Relaxed);
        Err(Error::new(Kind::NotFound, "pull", "the first is missing"))
    }
}

struct SlowBytes<'a> {
    bytes: Box<dyn Read + Send + 'a>,
    of: &'a Slow<'a>,
}

impl Read for SlowBytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while !self.of.has_failed.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(20));
        let most = buffer.len().min(1000);
        self.bytes.read(&mut buffer[..most])
    }
}

#[test]
fn layers_that_are_under_way_break_off_where_another_one_fails() {
    let place = Place::new("over");
    let archives = ["a", "b", "c"].map(|name| archive(name, &name.repeat(50_000)));
    let diff_ids = archives.each_ref().map(|archive| Digest::of(archive));
    let layers = archives.each_ref().map(|archive| place.blob(media_type::LAYER, archive));
    place.image_of_blobs(&layers, &diff_ids);
    let archive = Archive::open(&place.layout(), None, &place.store).expect("opened");
    let source = archive.image(0).expect("there");
    let slow = Slow {
        source: &source,
        missing: layers[0].digest.clone(),
        begun: AtomicUsize::new(0),
        has_failed: AtomicBool::new(false),
    };
    let platform = Platform::parse("linux/amd64").expect("legal");
    let options = PullOptions { platform: &platform, unpacker: &Here, progress: &Silent, operation: "pull" };
    let error = place.store.pull(&slow, options).expect_err("incomplete");
    assert_eq!(error.reason, "the first is missing");
    assert_eq!(place.counts(), [1, 0, 0, 0], "the configuration alone has come");
}
