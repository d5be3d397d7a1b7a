//! What a container has changed: its upper directories against what they lie over.

use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use image::Digest;
use image::pack::{Found, Hides, walk};
use image::store::{Image, Store};
use runtime::ErrorKind;
use runtime::layers::Layers;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat, statat};
use rustix::io::Errno;

use super::{Kept, KeptRoot};
use crate::error::{Error, Result, from_image};

/// A path that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Where, as an absolute path of the container.
    pub path: PathBuf,
    /// What became of it.
    pub kind: ChangeKind,
}

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It was not there.
    Added,
    /// It is another, or something in it is.
    Changed,
    /// It is there no more.
    Deleted,
}

/// What the upper directory of an overlay changes of the directories that it lies over, the topmost first; sorted by paths.
pub(crate) fn changes_of(upper: &Path, lowers: &[PathBuf]) -> Result<Vec<Change>> {
    let (mut changes, mut on_the_way) = (BTreeSet::new(), Vec::new());
    let below = Layers::open(lowers.iter().map(PathBuf::as_path))?;
    let root = File::open(upper).map_err(|error| Error::at_path("open", upper, error))?;
    let mut visit = |found: &Found<'_>| {
        let path = Path::new("/").join(OsStr::from_bytes(found.path));
        compare(found, path, &[], &below, &mut changes, &mut on_the_way)
            .map_err(|error| image::Error::at_path("compare", upper, error))
    };
    walk(root.as_fd(), &mut visit).map_err(from_image)?;
    Ok(with_ways(changes, on_the_way))
}

/// Of directories that may have been copied only for what is in them, those in which something is another.
fn with_ways(mut changes: BTreeSet<Change>, mut on_the_way: Vec<Change>) -> Vec<Change> {
    let leads_to_one = |change: &Change| {
        let after = Change { path: change.path.clone(), kind: ChangeKind::Deleted };
        changes.range(after..).next().is_some_and(|next| next.path.starts_with(&change.path))
    };
    on_the_way.retain(leads_to_one);
    changes.extend(on_the_way);
    changes.into_iter().collect()
}

impl Kept {
    /// What it has changed, sorted by paths.
    pub fn changes(&self) -> Result<Vec<Change>> {
        let (mut changes, mut on_the_way) = (BTreeSet::new(), Vec::new());
        let lowers = self.lowers()?;
        let points: Vec<PathBuf> = self.record.points.iter().chain(&self.record.volumes).cloned().collect();
        for (upper, point) in self.uppers() {
            let below = match (&self.root, point == Path::new("/")) {
                (_, true) => Layers::open(lowers.iter().map(PathBuf::as_path))?,
                (_, false) => Layers::open([point])?,
            };
            let root = File::open(&upper).map_err(|error| Error::at_path("open", &upper, error))?;
            let mut visit = |found: &Found<'_>| {
                let path = point.join(Path::new(OsStr::from_bytes(found.path)));
                let is_data = self.record.volumes.iter().any(|volume| path.starts_with(volume));
                if is_data || self.record.points.contains(&path) {
                    return Ok(());
                }
                compare(found, path, &points, &below, &mut changes, &mut on_the_way)
                    .map_err(|error| image::Error::at_path("compare", &upper, error))
            };
            walk(root.as_fd(), &mut visit).map_err(from_image)?;
        }
        Ok(with_ways(changes, on_the_way))
    }

    /// The directories that its root lies over, the topmost first.
    pub(crate) fn lowers(&self) -> Result<Vec<PathBuf>> {
        match &self.root {
            KeptRoot::Host => Ok(vec![PathBuf::from("/")]),
            KeptRoot::Directory { path } | KeptRoot::Bare { path } => Ok(vec![path.clone()]),
            KeptRoot::Image { .. } => {
                let (store, image) = self.image()?;
                Ok(image.layers.iter().rev().map(|layer| store.layer_path(&layer.diff_id)).collect())
            }
        }
    }

    /// The image that it is of.
    pub(crate) fn image(&self) -> Result<(Store, Image)> {
        let operation = || format!("find what the container `{}` is of", self.id);
        let KeptRoot::Image { name, store, manifest } = &self.root else {
            return Err(Error::invalid(operation(), "it is of no image".to_owned()));
        };
        let store = Store::open_to_read(store.clone()).map_err(from_image)?;
        let digest: Digest = manifest.parse().map_err(from_image)?;
        match store.image(&digest).map_err(from_image)? {
            Some(image) => Ok((store, image)),
            None => {
                let reason = format!("its image `{name}` is not here any more");
                let error = Error::new(ErrorKind::NotFound, operation(), reason);
                Err(error.with_hint(format!("`rabbitc pull {name}` may bring it back")))
            }
        }
    }
}

/// Notes what became of an entry; of a directory that may have been made or copied only for what is in it, apart.
fn compare(
    found: &Found<'_>,
    path: PathBuf,
    points: &[PathBuf],
    below: &Layers,
    changes: &mut BTreeSet<Change>,
    on_the_way: &mut Vec<Change>,
) -> std::result::Result<(), Errno> {
    let names: Vec<OsString> =
        found.path.split(|byte| *byte == b'/').map(|name| OsStr::from_bytes(name).to_owned()).collect();
    let was = match below.open_way(&names, ResolveFlags::empty()) {
        Ok(descriptor) => Some(descriptor),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
        Err(error) => return Err(error),
    };
    let kind = match (found.hides, &was) {
        (Hides::Name, None) => return Ok(()),
        (Hides::Name, Some(_)) => ChangeKind::Deleted,
        (_, None) => ChangeKind::Added,
        (_, Some(_)) => ChangeKind::Changed,
    };
    if was.is_none()
        && found.kind() == FileType::Directory
        && points.iter().any(|point| point.starts_with(&path))
    {
        on_the_way.push(Change { path, kind });
        return Ok(());
    }
    if let Some(was) = &was {
        let status = rustix::fs::fstat(was)?;
        let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        let looks = |status: &rustix::fs::Stat| (status.st_mode, status.st_uid, status.st_gid);
        if found.hides == Hides::Nothing && is_directory && looks(&status) == looks(&found.stat) {
            on_the_way.push(Change { path, kind });
            return Ok(());
        }
        if found.hides == Hides::Content && is_directory {
            // What was in it and is not there again.
            for name in missing(found.directory, found.name, below.list(&names)?)? {
                changes.insert(Change { path: path.join(&name), kind: ChangeKind::Deleted });
            }
        }
    }
    changes.insert(Change { path, kind });
    Ok(())
}

/// Those of `children` that are not in the directory `name`. A container that runs may put a link in its place at any time, which
/// is not followed.
fn missing<Name: AsRef<OsStr>>(
    directory: BorrowedFd<'_>,
    name: &CStr,
    children: impl IntoIterator<Item = Name>,
) -> std::result::Result<Vec<Name>, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match openat(directory, name, flags, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(children.into_iter().collect()),
        Err(error) => return Err(error),
    };
    let mut missing = Vec::new();
    for child in children {
        match statat(&opened, child.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => {}
            Err(Errno::NOENT) => missing.push(child),
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_looked_for_in_the_directory_itself_and_no_error_counts_as_deleted() {
        let path = std::env::temp_dir().join(format!("rabbitc-changes-{}", std::process::id()));
        std::fs::create_dir_all(path.join("real")).expect("made");
        std::fs::write(path.join("real/there"), "").expect("written");
        std::os::unix::fs::symlink("real", path.join("link")).expect("made");
        let root = File::open(&path).expect("opened");
        let of =
            |name: &CStr, children: &[&'static str]| missing(root.as_fd(), name, children.iter().copied());
        assert_eq!(of(c"real", &["there", "gone"]), Ok(vec!["gone"]));
        assert_eq!(of(c"link", &["there"]), Ok(vec!["there"]), "a link is not followed");
        assert_eq!(of(c"none", &["there"]), Ok(vec!["there"]));
        let long: &'static str = "x".repeat(300).leak();
        assert_eq!(of(c"real", &[long]), Err(Errno::NAMETOOLONG));
        std::fs::remove_dir_all(&path).expect("removed");
    }
}
