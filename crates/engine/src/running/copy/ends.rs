//! Both ends of a copy. What is sent begins with a line that says what it is; then comes an archive. The end that takes it decides what
//! becomes of it, by docker's rules.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use ::image::pack::pack_one;
use ::image::unpack::{Copied, LeftOut, Owners, Replaces, RootEntry, copied};
use runtime::ErrorKind;
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::place::{Place, Split, Standing, split};
use super::shown;
use crate::error::{Error, Result, from_image};

/// No honest line of this kind is longer.
const LONGEST_LINE: u64 = 64 << 10;

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Header {
    /// A file, or something that is no directory, of this name.
    File(Vec<u8>),
    /// A directory of this name.
    Directory(Vec<u8>),
    /// What is in a directory.
    Content,
    /// An archive of the caller's.
    Archive,
}

impl Header {
    fn write(&self, out: &mut dyn Write) -> Result<()> {
        let line = serde_json::to_string(self).expect("only string keys");
        out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")).map_err(not_sent)
    }

    /// Reads it, and nothing behind it.
    pub(super) fn read(data: &mut dyn Read) -> Result<Header> {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while line.len() < LONGEST_LINE as usize {
            match data.read(&mut byte) {
                Ok(1) if byte[0] != b'\n' => line.push(byte[0]),
                Ok(_) => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::system("read what is copied", error)),
            }
        }
        serde_json::from_slice(&line)
            .map_err(|_| Error::new(ErrorKind::System, "read what is copied", "nothing was sent"))
    }
}

fn not_sent(error: std::io::Error) -> Error {
    Error::system("send what is copied", error)
}

/// What is to be copied.
struct Source {
    directory: OwnedFd,
    name: std::ffi::CString,
    header: Header,
}

/// Whether a path can only be that of a directory.
fn asserts_directory(path: &[u8]) -> bool {
    path.ends_with(b"/") || is_content(path)
}

/// Whether a path stands for what is in a directory.
fn is_content(path: &[u8]) -> bool {
    path == b"." || path.ends_with(b"/.") || path.iter().all(|byte| *byte == b'/')
}

impl Source {
    fn find(place: &Place<'_>, path: &[u8], follow: bool) -> Result<Source> {
        let failed = |error: Errno| not_found(path, error);
        let content = |path: &[u8], header: Header| {
            let directory = place.directory(path).map_err(failed)?;
            Ok(Source { directory, name: c".".to_owned(), header })
        };
        let typed = split(path).filter(|_| !is_content(path));
        let Some(Split { last: typed, .. }) = typed else { return content(path, Header::Content) };
        let path = match follow || asserts_directory(path) {
            true => place.follow(path).map_err(failed)?,
            false => path.to_vec(),
        };
        let typed = typed.into_bytes();
        let Some(Split { parent, last }) = split(&path) else {
            // A link led to something that has no name itself.
            return content(&path, Header::Directory(typed));
        };
        let directory = place.directory(&parent).map_err(failed)?;
        let stat = rustix::fs::statat(&directory, &last, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !is_directory && asserts_directory(&path) {
            return Err(failed(Errno::NOTDIR));
        }
        let header = if is_directory { Header::Directory(typed) } else { Header::File(typed) };
        Ok(Source { directory, name: last, header })
    }
}

fn not_found(path: &[u8], error: Errno) -> Error {
    match error {
        Errno::NOENT => {
            let operation = format!("copy `{}`", shown(path));
            let error = Error::new(ErrorKind::NotFound, operation, "could not find the file");
            error.with_hint("look at how it is written; a path of a container begins at its root")
        }
        _ => Error::system(format!("copy `{}`", shown(path)), error),
    }
}

/// Sends what is at `path`; `called` is what a directory is called that has no name there.
pub(super) fn send(
    place: &Place<'_>,
    path: &[u8],
    called: Option<Vec<u8>>,
    follow: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let mut source = Source::find(place, path, follow)?;
    if let (Header::Content, Some(called)) = (&source.header, called) {
        source.header = Header::Directory(called);
    }
    let mut out = BufWriter::with_capacity(256 << 10, out);
    source.header.write(&mut out)?;
    let named: &[u8] = match &source.header {
        Header::File(name) | Header::Directory(name) => name,
        Header::Content | Header::Archive => b".",
    };
    pack_one(source.directory.as_fd(), &source.name, named, &mut out).map_err(from_image)?;
    out.flush().map_err(not_sent)
}

/// Sends an archive of the caller's.
pub(super) fn send_stream(input: &mut dyn Read, out: &mut dyn Write) -> Result<()> {
    Header::Archive.write(out)?;
    std::io::copy(input, out).map(drop).map_err(not_sent)
}

/// How what comes is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taking {
    /// Whose all of it is.
    pub(super) owner: Option<(u32, u32)>,
    /// Whose it is otherwise.
    pub(super) owners: Owners,
    /// Whether directories and other things may take each other's place.
    pub(super) replaces: Replaces,
}

/// Where what comes goes, and what it is called there.
struct Target {
    directory: OwnedFd,
    renamed: Option<(Vec<u8>, Vec<u8>)>,
    root: RootEntry,
}

/// Takes what is sent to `path`.
pub(super) fn receive(
    place: &Place<'_>,
    path: &[u8],
    data: &mut dyn Read,
    taking: Taking,
) -> Result<LeftOut> {
    let header = Header::read(data)?;
    let Target { directory, renamed, root } = Target::find(place, path, &header, taking.replaces)?;
    let Taking { owner, owners, replaces } = taking;
    let how = Copied { renamed, owner, owners, replaces, root };
    let mut data = BufReader::with_capacity(256 << 10, data);
    let outcome = copied(&mut data, directory.as_fd(), &how).map_err(from_image);
    // Whoever sends it has no reason to fail for what nobody needs.
    while outcome.is_ok() && data.fill_buf().is_ok_and(|more| !more.is_empty()) {
        let count = data.buffer().len();
        data.consume(count);
    }
    outcome.map_err(|error| match header {
        Header::Archive if error.reason.contains("checksum") || error.reason.contains("cut off") => {
            error.with_hint("source must be a (compressed) tar archive when copying from stdin")
        }
        _ => error,
    })
}

impl Target {
    /// docker's rules (`PrepareArchiveCopy` of its archive package).
    fn find(place: &Place<'_>, path: &[u8], header: &Header, replaces: Replaces) -> Result<Target> {
        let operation = || format!("copy to `{}`", shown(path));
        let failed = |error: Errno| Error::system(operation(), error);
        let refused = |reason: &str, hint: &str| {
            Err(Error::new(ErrorKind::Invalid, operation(), reason).with_hint(hint))
        };
        // Such as `/dev/stdout`, where what the last link leads to has no path.
        if place.standing(path) == Ok(Standing::Other) {
            return refused(
                "it must be a directory or a regular file",
                "write `-` to have an archive on a stream",
            );
        }
        let resolved = place.follow(path).map_err(failed)?;
        let standing = match place.standing(&resolved) {
            // Something on the way, or what must be a directory, is none.
            Err(Errno::NOTDIR) => return refused("a part of it is no directory", "name another place"),
            standing => standing.map_err(failed)?,
        };
        let within = |path: &[u8], renamed: Option<(Vec<u8>, Vec<u8>)>, root: RootEntry| {
            let directory = match place.directory(path) {
                Err(Errno::NOENT) => return refused("no such directory", "make it first"),
                opened => opened.map_err(failed)?,
            };
            Ok(Target { directory, renamed, root })
        };
        let beside = |old: &[u8]| match split(&resolved) {
            Some(Split { parent, last }) => {
                within(&parent, Some((old.to_vec(), last.into_bytes())), RootEntry::Ignored)
            }
            None => refused("no such directory", "make it first"),
        };
        match (standing, header) {
            (Standing::Directory, _) => within(&resolved, None, RootEntry::Ignored),
            (_, Header::Archive) => refused(
                "destination must be a directory when copying from stdin",
                "name a directory that is there",
            ),
            (Standing::File, Header::Directory(name)) if replaces == Replaces::Anything => beside(name),
            (Standing::File | Standing::Other, Header::Directory(_) | Header::Content) => refused(
                "cannot copy directory: there is something else",
                "name a directory, or a new name; `--overwrite` takes its place",
            ),
            (Standing::Other, _) => refused(
                "it must be a directory or a regular file",
                "write `-` to have an archive on a stream",
            ),
            (Standing::File, Header::File(_)) if asserts_directory(path) => {
                refused("it is no directory", "leave the slash at its end out")
            }
            (Standing::File, Header::File(name)) => beside(name),
            (Standing::Nothing, Header::File(_)) if asserts_directory(path) => {
                refused("no such directory", "make it first, or leave the slash at its end out")
            }
            (Standing::Nothing, Header::File(name) | Header::Directory(name)) => beside(name),
            (Standing::Nothing, Header::Content) => {
                let Some(Split { parent, last }) = split(&resolved) else {
                    return refused("no such directory", "make it first");
                };
                let parent = within(&parent, None, RootEntry::Taken)?;
                rustix::fs::mkdirat(&parent.directory, &last, Mode::RWXU).map_err(failed)?;
                let flags = rustix::fs::OFlags::RDONLY
                    | rustix::fs::OFlags::DIRECTORY
                    | rustix::fs::OFlags::NOFOLLOW
                    | rustix::fs::OFlags::CLOEXEC;
                let directory = rustix::fs::openat(&parent.directory, &last, flags, Mode::empty());
                Ok(Target { directory: directory.map_err(failed)?, ..parent })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::{Path, PathBuf};

    use super::*;

    /// A directory, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Scratch {
            let random = u64::from_ne_bytes(sys::random::bytes().expect("random"));
            let path = std::env::temp_dir().join(format!("rabbitc-ends-{random:x}"));
            std::fs::create_dir(&path).expect("made");
            Scratch(path)
        }

        fn copy(&self, from: &str, to: &str, follow: bool) -> Result<()> {
            let path = |name: &str| self.0.join(OsStr::new(name)).into_os_string().into_encoded_bytes();
            let mut sent = Vec::new();
            send(&Place::Host, &path(from), None, follow, &mut sent)?;
            let taking = Taking { owner: None, owners: Owners::Unpackers, replaces: Replaces::Alike };
            receive(&Place::Host, &path(to), &mut &sent[..], taking).map(drop)
        }

        fn has(&self, path: &str) -> bool {
            Path::new(&self.0.join(path)).symlink_metadata().is_ok()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_becomes_of_a_copy_is_what_docker_says() {
        let scratch = Scratch::new();
        std::fs::create_dir_all(scratch.0.join("dir/sub")).expect("made");
        std::fs::write(scratch.0.join("dir/sub/x"), "x").expect("written");
        std::fs::write(scratch.0.join("file"), "content").expect("written");
        std::fs::create_dir(scratch.0.join("there")).expect("made");
        let copy = |from: &str, to: &str| scratch.copy(from, to, false);
        copy("file", "new").expect("a file under a new name");
        copy("file", "there").expect("into a directory");
        copy("file", "there/").expect("the same");
        assert!(scratch.has("new") && scratch.has("there/file"));
        assert!(copy("file", "nowhere/").is_err() && copy("file", "no/where").is_err());
        assert!(copy("dir", "file").is_err() && copy("file/", "new").is_err());
        assert!(copy("file", "new/").is_err());
        copy("dir", "made").expect("a directory that is made");
        assert!(scratch.has("made/sub/x"));
        copy("dir", "made").expect("now into it");
        copy("dir/", "there").expect("a slash behind the source says nothing");
        assert!(scratch.has("made/dir/sub/x") && scratch.has("there/dir/sub/x"));
        copy("dir/.", "content").expect("what is in it, into one that is made");
        copy("dir/.", "there").expect("what is in it, into one that is there");
        assert!(scratch.has("content/sub/x") && scratch.has("there/sub/x"));
        assert!(copy("nosuch", "x").expect_err("none").to_string().contains("could not find the file"));
    }

    #[test]
    fn links_are_copied_as_links_unless_they_are_followed() {
        let scratch = Scratch::new();
        std::fs::write(scratch.0.join("file"), "content").expect("written");
        std::os::unix::fs::symlink("file", scratch.0.join("link")).expect("linked");
        std::os::unix::fs::symlink("later", scratch.0.join("dangling")).expect("linked");
        scratch.copy("link", "as-link", false).expect("copied");
        assert!(scratch.0.join("as-link").is_symlink());
        scratch.copy("link", "as-file", true).expect("copied");
        assert!(!scratch.0.join("as-file").is_symlink());
        assert_eq!(std::fs::read_to_string(scratch.0.join("as-file")).expect("read"), "content");
        scratch.copy("file", "dangling", false).expect("what the link leads to is made");
        assert!(scratch.0.join("dangling").is_symlink() && scratch.has("later"));
        assert!(scratch.copy("file", "dangling/", false).is_err() || scratch.has("later"));
    }

    #[test]
    fn archive_goes_into_a_directory_alone() {
        let scratch = Scratch::new();
        std::fs::write(scratch.0.join("file"), "").expect("written");
        let mut sent = Vec::new();
        send_stream(&mut &b"no archive, and longer than nothing at all"[..], &mut sent).expect("sent");
        let taking = Taking { owner: None, owners: Owners::Unpackers, replaces: Replaces::Alike };
        let to = |name: &str| {
            let path = scratch.0.join(name).into_os_string().into_encoded_bytes();
            receive(&Place::Host, &path, &mut &sent[..], taking).expect_err("refused")
        };
        assert!(to("file").to_string().contains("must be a directory"));
        assert!(to("").hint.is_some_and(|hint| hint.contains("tar archive")));
    }
}
