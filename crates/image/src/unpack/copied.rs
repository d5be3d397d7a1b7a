//! An archive that is copied into a directory which is there already: `cp`. As with layers nothing of it is trusted, and no link is
//! followed out of the directory; but no name means anything else than itself, and a directory takes no other thing's place.

use std::io::Read;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use super::archive::{Archive, Entry, EntryKind};
use super::fault::{Fault, Outcome, shown};
use super::name::Name;
use super::tree::Tree;
use super::{Devices, LeftOut, Limits, Options, Owners, Whiteouts};
use crate::error::Result;

/// How an archive is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// What the entries that begin with the first name are called: they begin with the second one.
    pub renamed: Option<(Vec<u8>, Vec<u8>)>,
    /// Whose all of it is, whomever it names.
    pub owner: Option<(u32, u32)>,
    /// Whose it is otherwise.
    pub owners: Owners,
    /// Whether directories and other things may take each other's place.
    pub replaces: Replaces,
    /// What becomes of an entry that stands for the directory itself.
    pub root: RootEntry,
}

/// Whether directories and other things may take each other's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaces {
    /// Only things of the same kind.
    Alike,
    /// Any.
    Anything,
}

/// What becomes of an entry that stands for the directory itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootEntry {
    /// The directory stays as it is.
    Ignored,
    /// It gets its owner and mode, as it was made for it.
    Taken,
}

const OPERATION: &str = "copy";

/// Copies `archive`, compressed or not, into `directory`; what could not be had comes back.
pub fn copied(archive: impl Read, directory: BorrowedFd<'_>, how: &Copied) -> Result<LeftOut> {
    let general = |fault: Fault| fault.during(OPERATION);
    // What a person copies is not bounded as what a registry sends is.
    let limits = Limits { entries: u64::MAX, bytes: u64::MAX, ratio: u64::MAX, ..Limits::default() };
    let mut archive = Archive::undigested(archive, limits).map_err(general)?;
    let options = Options { whiteouts: Whiteouts::User, devices: Devices::Made, owners: how.owners, limits };
    let mut tree = Tree::new(directory, options);
    loop {
        let entry = archive.next().map_err(|(name, fault)| fault.during(operation(&name)))?;
        let Some(mut entry) = entry else { break };
        entry.link = match entry.kind {
            EntryKind::HardLink => renamed(&entry.link, how),
            _ => entry.link,
        };
        if let Some(owner) = how.owner {
            (entry.uid, entry.gid) = (owner.0.into(), owner.1.into());
        }
        copy(&entry, &mut archive, &mut tree, how, &limits)
            .map_err(|fault| fault.during(operation(&entry.name)))?;
    }
    let left_out = tree.left_out;
    tree.finish().map_err(general)?;
    archive.end().map_err(general)?;
    Ok(left_out)
}

fn operation(name: &[u8]) -> String {
    if name.is_empty() { OPERATION.to_owned() } else { format!("{OPERATION} `{}`", shown(name)) }
}

fn copy<R: Read>(
    entry: &Entry,
    archive: &mut Archive<R>,
    tree: &mut Tree<'_>,
    how: &Copied,
    limits: &Limits,
) -> Outcome<()> {
    let name = Name::parse(&renamed(&entry.name, how), limits)?;
    if name.is_root() {
        return match (entry.kind, how.root) {
            (EntryKind::Directory, RootEntry::Taken) => tree.directory(&name, entry),
            (EntryKind::Directory, RootEntry::Ignored) => Ok(()),
            _ => Err(Fault::corrupt("it stands for the directory, and is none")),
        };
    }
    if how.replaces == Replaces::Alike {
        let standing = tree.standing(&name)?.map(|kind| kind == FileType::Directory);
        match (standing, entry.kind == EntryKind::Directory) {
            (Some(true), false) => {
                return Err(Fault::refused("cannot overwrite directory with non-directory"));
            }
            (Some(false), true) => {
                return Err(Fault::refused("cannot overwrite non-directory with directory"));
            }
            _ => {}
        }
    }
    match entry.kind {
        EntryKind::File => tree.file(&name, entry, archive),
        EntryKind::HardLink => tree.hard_link(&name, entry),
        EntryKind::SymbolicLink => tree.symbolic_link(&name, entry),
        EntryKind::Directory => tree.directory(&name, entry),
        EntryKind::CharacterDevice | EntryKind::BlockDevice | EntryKind::Fifo => tree.node(&name, entry),
    }
}

/// A path with another first part.
fn renamed(path: &[u8], how: &Copied) -> Vec<u8> {
    let Some((old, new)) = &how.renamed else { return path.to_vec() };
    match path.strip_prefix(&old[..]) {
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => [&new[..], rest].concat(),
        _ => path.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::pack::pack_one;

    /// A directory, removed at the end.
    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            Scratch(crate::scratch::directory(name))
        }

        fn path(&self) -> &std::path::Path {
            &self.0
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn how() -> Copied {
        Copied {
            renamed: None,
            owner: None,
            owners: Owners::Unpackers,
            replaces: Replaces::Alike,
            root: RootEntry::Ignored,
        }
    }

    fn packed(scratch: &Scratch, name: &std::ffi::CStr, named: &[u8]) -> Vec<u8> {
        let directory = fs::File::open(scratch.path()).expect("opened");
        let mut archive = Vec::new();
        pack_one(directory.as_fd(), name, named, &mut archive).expect("packed");
        archive
    }

    fn copy_to(scratch: &Scratch, archive: &[u8], how: &Copied) -> Result<LeftOut> {
        let directory = fs::File::open(scratch.path()).expect("opened");
        copied(archive, directory.as_fd(), how)
    }

    #[test]
    fn tree_is_copied_under_another_name_with_its_links() {
        let (from, to) = (Scratch::new("copied-from"), Scratch::new("copied-to"));
        fs::create_dir(from.path().join("tree")).expect("made");
        fs::write(from.path().join("tree/.wh.file"), "no whiteout").expect("written");
        fs::hard_link(from.path().join("tree/.wh.file"), from.path().join("tree/same")).expect("linked");
        std::os::unix::fs::symlink("/etc/passwd", from.path().join("tree/link")).expect("linked");
        fs::set_permissions(from.path().join("tree"), fs::Permissions::from_mode(0o750)).expect("set");
        let archive = packed(&from, c"tree", b"tree");
        let renamed = Copied { renamed: Some((b"tree".to_vec(), b"other".to_vec())), ..how() };
        copy_to(&to, &archive, &renamed).expect("copied");
        let read = |name: &str| fs::read_to_string(to.path().join("other").join(name)).expect("read");
        assert_eq!((read(".wh.file"), read("same")), ("no whiteout".to_owned(), "no whiteout".to_owned()));
        assert_eq!(
            fs::read_link(to.path().join("other/link")).expect("a link").to_str(),
            Some("/etc/passwd")
        );
        let mode = fs::metadata(to.path().join("other")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o750);
    }

    #[test]
    fn content_of_a_directory_joins_what_is_there() {
        let (from, to) = (Scratch::new("content-from"), Scratch::new("content-to"));
        fs::create_dir_all(from.path().join("a/b")).expect("made");
        fs::write(from.path().join("a/b/new"), "new").expect("written");
        fs::create_dir_all(to.path().join("b")).expect("made");
        fs::write(to.path().join("b/old"), "old").expect("written");
        let inner = fs::File::open(from.path().join("a")).expect("opened");
        let mut archive = Vec::new();
        pack_one(inner.as_fd(), c".", b".", &mut archive).expect("packed");
        copy_to(&to, &archive, &how()).expect("copied");
        assert!(to.path().join("b/old").exists() && to.path().join("b/new").exists());
    }

    #[test]
    fn kinds_take_each_others_place_only_where_it_is_asked_for() {
        let (from, to) = (Scratch::new("kinds-from"), Scratch::new("kinds-to"));
        fs::write(from.path().join("x"), "file").expect("written");
        fs::create_dir_all(to.path().join("x/inner")).expect("made");
        let file = packed(&from, c"x", b"x");
        let error = copy_to(&to, &file, &how()).expect_err("refused");
        assert!(error.to_string().contains("cannot overwrite directory with non-directory"), "{error}");
        let anything = Copied { replaces: Replaces::Anything, ..how() };
        copy_to(&to, &file, &anything).expect("copied");
        assert_eq!(fs::read_to_string(to.path().join("x")).expect("read"), "file");
        fs::remove_file(from.path().join("x")).expect("removed");
        fs::create_dir(from.path().join("x")).expect("made");
        let directory = packed(&from, c"x", b"x");
        assert!(copy_to(&to, &directory, &how()).is_err());
        copy_to(&to, &directory, &anything).expect("copied");
        assert!(to.path().join("x").is_dir());
    }

    #[test]
    fn link_that_is_there_leads_nothing_out_of_the_directory() {
        let (from, to, out) = (Scratch::new("out-from"), Scratch::new("out-to"), Scratch::new("out-of"));
        fs::create_dir(from.path().join("x")).expect("made");
        fs::write(from.path().join("x/file"), "hostile").expect("written");
        std::os::unix::fs::symlink(out.path(), to.path().join("x")).expect("linked");
        let archive = packed(&from, c"x", b"x");
        assert!(copy_to(&to, &archive, &how()).is_err(), "a link is no directory");
        // An archive that has no entry for its directory goes the way of the link, within the directory.
        let file = {
            let inner = fs::File::open(from.path().join("x")).expect("opened");
            let mut archive = Vec::new();
            pack_one(inner.as_fd(), c"file", b"x/file", &mut archive).expect("packed");
            archive
        };
        let _ = copy_to(&to, &file, &how());
        assert_eq!(fs::read_dir(out.path()).expect("there").count(), 0, "nothing came out");
    }

    #[test]
    fn all_of_it_belongs_to_whom_it_is_given() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        use std::os::unix::fs::MetadataExt;
        let (from, to) = (Scratch::new("given-from"), Scratch::new("given-to"));
        fs::write(from.path().join("x"), "").expect("written");
        let archive = packed(&from, c"x", b"x");
        copy_to(&to, &archive, &Copied { owner: Some((7, 8)), owners: Owners::Named, ..how() })
            .expect("copied");
        let found = fs::metadata(to.path().join("x")).expect("there");
        assert_eq!((found.uid(), found.gid()), (7, 8));
    }
}
