//! What becomes of a volume, step by step.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::fill::{Fill, fill};
use super::*;
use crate::paths::EnginePaths;

/// A store of the test's own.
struct Place {
    directory: PathBuf,
    store: VolumeStore,
    paths: EnginePaths,
}

impl Place {
    fn new(name: &str) -> Place {
        let directory =
            std::env::temp_dir().join(format!("rabbitc-volume-store-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("made");
        let store = VolumeStore { path: directory.join("volumes") };
        Place { paths: EnginePaths::below(directory.join("run")), directory, store }
    }

    fn create(&self, name: &str) -> CreatedVolume {
        self.store.create(&NewVolume { name: Some(name.to_owned()), ..NewVolume::default() }).expect("made")
    }

    /// A root directory with something in `data`.
    fn root(&self) -> PathBuf {
        let root = self.directory.join("root");
        if root.exists() {
            return root;
        }
        std::fs::create_dir_all(root.join("data/deep")).expect("made");
        std::fs::write(root.join("data/file"), "content").expect("written");
        symlink("/data", root.join("link")).expect("made");
        std::fs::set_permissions(root.join("data"), std::fs::Permissions::from_mode(0o710)).expect("set");
        root
    }

    fn fill(&self, name: &str, target: &str) -> Result<()> {
        fill(&Fill {
            volume: self.store.path.join(name),
            layers: vec![self.root()],
            target: target.to_owned(),
            durability: Durability::Power,
        })
    }

    fn data(&self, name: &str) -> PathBuf {
        self.store.path.join(name).join(DATA)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("there");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("read").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn volume_is_made_once_and_found_after_that() {
    let place = Place::new("made");
    assert!(matches!(place.create("one"), CreatedVolume::Made(_)));
    std::fs::write(place.data("one").join("kept"), "x").expect("written");
    assert!(matches!(place.create("one"), CreatedVolume::Found(_)));
    assert_eq!(names(&place.data("one")), ["kept"]);
    assert_eq!(place.data("one").metadata().expect("there").mode() & 0o7777, 0o755);
    place.store.remove("one", &place.paths).expect("nobody has it");
    assert_eq!(place.store.find("one").expect_err("gone").kind, ErrorKind::NotFound);
    assert_eq!(names(&place.store.path), [""; 0]);
}

#[test]
fn volume_that_somebody_holds_is_not_removed_and_whoever_waits_for_one_that_goes_finds_it_gone() {
    let place = Place::new("held");
    place.create("one");
    let Lock::Held(held) = place.store.lock("one", FlockOperation::LockShared).expect("locked") else {
        panic!("it is there");
    };
    let error = place.store.remove("one", &place.paths).expect_err("it is held");
    assert!(error.kind == ErrorKind::WrongStatus && error.reason.contains("volume is in use"), "{error}");
    drop(held);
    let Lock::Held(alone) = place.store.lock("one", FlockOperation::LockExclusive).expect("locked") else {
        panic!("it is there");
    };
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| place.store.lock("one", FlockOperation::LockShared).expect("no failure"));
        std::thread::sleep(std::time::Duration::from_millis(30));
        std::fs::rename(place.store.path.join("one"), place.store.path.join(".gone-x")).expect("renamed");
        drop(alone);
        assert!(matches!(waits.join().expect("it does not panic"), Lock::Gone));
    });
}

#[test]
fn remains_of_killed_commands_are_swept_and_what_is_being_made_is_not() {
    let place = Place::new("swept");
    place.create("one");
    for name in [".new-dead", ".gone-dead", ".new-fresh", ".new-alive"] {
        std::fs::create_dir(place.store.path.join(name)).expect("made");
    }
    for name in [".new-dead", ".gone-dead", ".new-alive"] {
        std::fs::write(place.store.path.join(name).join("x"), "").expect("written");
    }
    let alive = File::open(place.store.path.join(".new-alive")).expect("opened");
    rustix::fs::flock(&alive, FlockOperation::LockExclusive).expect("locked");
    place.store.sweep();
    assert_eq!(names(&place.store.path), [".new-alive", ".new-fresh", "one"]);
}

#[test]
fn damaged_record_hides_no_other_volume_and_is_told() {
    let place = Place::new("damaged");
    place.create("one");
    place.create("two");
    std::fs::write(place.store.path.join("one/volume.json"), "{").expect("written");
    let survey = place.store.survey().expect("listed");
    assert_eq!(survey.volumes.iter().map(|volume| volume.name.as_str()).collect::<Vec<_>>(), ["two"]);
    assert!(survey.damaged[0].to_string().contains("one/volume.json"), "{:?}", survey.damaged);
}

#[test]
fn empty_volume_is_filled_through_links_of_the_root_and_one_with_something_in_it_is_left() {
    let place = Place::new("filled");
    place.create("one");
    place.fill("one", "/link").expect("filled");
    assert_eq!(names(&place.data("one")), ["deep", "file"]);
    assert_eq!(place.data("one").metadata().expect("there").mode() & 0o7777, 0o710);
    std::fs::remove_file(place.data("one").join("file")).expect("removed");
    place.fill("one", "/data").expect("left");
    assert_eq!(names(&place.data("one")), ["deep"]);
    for nothing in ["/none", "/data/file", "/data/file/x"] {
        place.create("two");
        place.fill("two", nothing).expect("nothing to do");
        assert_eq!(names(&place.data("two")), [""; 0], "{nothing}");
    }
    assert_eq!(names(&place.store.path.join("two")), [DATA, "lock", "volume.json"]);
}

#[test]
fn attributes_for_programs_come_along() {
    let place = Place::new("attributes");
    let root = place.root();
    let set = |path: &Path| rustix::fs::setxattr(path, "user.note", b"text", rustix::fs::XattrFlags::empty());
    if set(&root.join("data")).is_err() {
        // A file system without any.
        return;
    }
    set(&root.join("data/file")).expect("as the one before");
    place.create("one");
    place.fill("one", "/data").expect("filled");
    for path in [place.data("one"), place.data("one").join("file")] {
        let mut value = [0; 16];
        let length = rustix::fs::getxattr(&path, "user.note", value.as_mut_slice()).expect("set");
        assert_eq!(&value[..length], b"text", "{}", path.display());
    }
}

#[test]
fn filling_that_was_cut_short_is_thrown_away_or_finished_by_the_next_one() {
    let place = Place::new("short");
    // Killed while it was copied: nobody knows what is missing.
    place.create("one");
    let volume = place.store.path.join("one");
    std::fs::create_dir(volume.join("fill")).expect("made");
    std::fs::write(volume.join("fill/half"), "").expect("written");
    place.fill("one", "/data").expect("filled");
    assert_eq!(names(&place.data("one")), ["deep", "file"]);
    // Killed while it was moved in: all is there, in two places; whatever the root of the next one has.
    place.create("two");
    let volume = place.store.path.join("two");
    std::fs::create_dir(volume.join("filled")).expect("made");
    std::fs::write(volume.join("filled/rest"), "").expect("written");
    std::fs::set_permissions(volume.join("filled"), std::fs::Permissions::from_mode(0o700)).expect("set");
    std::fs::write(place.data("two").join("moved"), "").expect("written");
    place.fill("two", "/data").expect("finished");
    assert_eq!(names(&place.data("two")), ["moved", "rest"]);
    assert_eq!(place.data("two").metadata().expect("there").mode() & 0o7777, 0o700);
    assert_eq!(names(&volume), [DATA, "lock", "volume.json"]);
}

/// Tries to remove a volume whenever somebody reads or writes.
struct Remover<'a, T> {
    place: &'a Place,
    inner: T,
    tried: Vec<ErrorKind>,
}

impl<T> Remover<'_, T> {
    fn remove(&mut self) {
        let error = self.place.store.remove("one", &self.place.paths).expect_err("it is in use");
        self.tried.push(error.kind);
    }
}

impl<T: Read> Read for Remover<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.remove();
        self.inner.read(buffer)
    }
}

impl Write for Remover<'_, Vec<u8>> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.remove();
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn volume_that_is_written_out_or_brought_in_is_not_removed_meanwhile() {
    let place = Place::new("transfer");
    place.create("one");
    std::fs::write(place.data("one").join("file"), "content").expect("written");
    let mut out = Remover { place: &place, inner: Vec::new(), tried: Vec::new() };
    place.store.export("one", &mut out).expect("whole");
    std::fs::remove_file(place.data("one").join("file")).expect("removed");
    let mut archive = Remover { place: &place, inner: &out.inner[..], tried: Vec::new() };
    place.store.import("one", &mut archive).expect("whole");
    assert_eq!(std::fs::read(place.data("one").join("file")).expect("there"), b"content");
    for tried in [out.tried, archive.tried] {
        assert!(!tried.is_empty() && tried.iter().all(|kind| *kind == ErrorKind::WrongStatus), "{tried:?}");
    }
    place.store.remove("one", &place.paths).expect("nobody has it");
}
