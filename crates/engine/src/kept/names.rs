//! Names of containers: each a link in `.names` beside their directories. A name is taken as long as the directory that its
//! link leads to is there, so that nothing has to be given back after a death half way.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use runtime::ErrorKind;
use rustix::fs::{FlockOperation, flock};

use super::{KeptContainers, PASSING, RECORD, is_id};
use crate::error::{Code, Error, Result};

/// The directory of the links.
const NAMES: &str = ".names";

/// First words of names that nobody chose.
const FIRST: [&str; 48] = [
    "able", "airy", "amber", "apt", "avid", "bold", "brave", "brisk", "calm", "clear", "clever", "cosy",
    "crisp", "deft", "eager", "early", "fair", "fleet", "fond", "free", "gentle", "glad", "golden", "happy",
    "hardy", "honest", "jolly", "keen", "kind", "lively", "lucky", "merry", "mild", "neat", "nimble",
    "patient", "plain", "proud", "quick", "quiet", "ready", "silver", "sleek", "spry", "sunny", "swift",
    "tidy", "wise",
];

/// Second words of names that nobody chose.
const SECOND: [&str; 48] = [
    "acorn", "badger", "beaver", "birch", "bramble", "brook", "burrow", "clover", "crane", "cricket",
    "daisy", "dormouse", "falcon", "fern", "finch", "fox", "hare", "hazel", "hedgehog", "heron", "ibis",
    "jay", "kestrel", "lark", "leveret", "linnet", "lynx", "magpie", "maple", "marten", "meadow", "mole",
    "newt", "otter", "owl", "pika", "plover", "rabbit", "robin", "rowan", "squirrel", "stoat", "swallow",
    "thistle", "thrush", "vole", "warren", "wren",
];

/// The name of a pod as a person chose it: podman's, which may have one letter.
pub(crate) fn parse_of_pod(text: &str) -> Result<String> {
    match text.as_bytes() {
        [one] if one.is_ascii_alphanumeric() => Ok(text.to_owned()),
        _ => parse(text).map_err(|mut error| {
            error.reason = error.reason.replace("no name of a container", "no name of a pod");
            error
        }),
    }
}

/// A name as a person chose it, or none: then it gets one.
pub(crate) fn parse(text: &str) -> Result<String> {
    let is_first = |byte: u8| byte.is_ascii_alphanumeric();
    let is_later = |byte: u8| is_first(byte) || matches!(byte, b'_' | b'.' | b'-');
    // Docker shows names with a slash in front, and takes them so.
    let name = text.strip_prefix('/').unwrap_or(text);
    let is_name = name.bytes().next().is_some_and(is_first) && name.bytes().all(is_later);
    if is_name && (2..=255).contains(&name.len()) {
        return Ok(name.to_owned());
    }
    Err(no_name(text))
}

/// Refuses a name that a person wants a container to have, if it is none: for who checks it before anything else is done.
pub fn check_container_name(text: &str) -> Result<()> {
    parse(text).map(drop)
}

fn no_name(text: &str) -> Error {
    let reason = match text.len() {
        256.. => "it is longer than 255 letters".to_owned(),
        _ => format!("`{}` is no name of a container", text.escape_debug()),
    };
    let hint = "names have two letters at least, begin with a letter or a digit of ASCII, and go on with these, `_`, `.` and `-`";
    Error::invalid("--name", reason).with_hint(hint)
}

impl KeptContainers {
    pub(super) fn names_directory(&self) -> PathBuf {
        self.path.join(NAMES)
    }

    /// Takes a name for the container `id`, whose directory is there; without one that a person chose, any that is free.
    pub(crate) fn claim_name(&self, id: &str, wanted: Option<&str>) -> Result<String> {
        let directory = self.names_directory();
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|error| Error::at_path("make", &directory, error))?;
        let _turn = wait(&directory)?;
        if let Some(name) = wanted {
            return match self.taker_of(name)? {
                Some(Taker::Container(holder)) if holder != id => Err(taken(name, &holder)),
                Some(Taker::Pod(holder)) => Err(taken_by_pod(name, &holder)),
                _ => self.link(name, Path::new(id), id).map(|()| name.to_owned()),
            };
        }
        for number in 0u32.. {
            let name = any(number)?;
            if self.taker_of(&name)?.is_none() {
                return self.link(&name, Path::new(id), id).map(|()| name);
            }
        }
        unreachable!("numbers make names without end")
    }

    /// Takes a name for the pod `id`, whose directory is there; without one that a person chose, any that is free. Pods and containers
    /// have their names in one place, as podman's: what is called so is one thing.
    pub(crate) fn claim_name_for_pod(&self, id: &str, wanted: Option<&str>) -> Result<String> {
        let directory = self.names_directory();
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|error| Error::at_path("make", &directory, error))?;
        let _turn = wait(&directory)?;
        let target = pod_target(id);
        if let Some(name) = wanted {
            return match self.taker_of(name)? {
                Some(Taker::Container(holder)) => Err(taken(name, &holder)),
                Some(Taker::Pod(holder)) if holder != id => Err(taken_by_pod(name, &holder)),
                _ => self.link(name, &target, id).map(|()| name.to_owned()),
            };
        }
        for number in 0u32.. {
            let name = any(number)?;
            if self.taker_of(&name)?.is_none() {
                return self.link(&name, &target, id).map(|()| name);
            }
        }
        unreachable!("numbers make names without end")
    }

    /// The id of the container that has this name.
    pub(crate) fn holder_of(&self, name: &str) -> Result<Option<String>> {
        Ok(match self.taker_of(name)? {
            Some(Taker::Container(id)) => Some(id),
            Some(Taker::Pod(_)) | None => None,
        })
    }

    /// The id of the pod that has this name.
    pub(crate) fn pod_called(&self, name: &str) -> Result<Option<String>> {
        Ok(match self.taker_of(name)? {
            Some(Taker::Pod(id)) => Some(id),
            Some(Taker::Container(_)) | None => None,
        })
    }

    /// Who has a name.
    fn taker_of(&self, name: &str) -> Result<Option<Taker>> {
        let Some(path) = self.link_of(name) else { return Ok(None) };
        let target = match std::fs::read_link(&path) {
            Ok(target) => target,
            // Where this user may not look there is nothing of theirs.
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(Error::at_path("read", &path, error)),
        };
        if !self.leads_somewhere(&target) {
            return Ok(None);
        }
        let id = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_of_pod = target.parent().is_some_and(|parent| !parent.as_os_str().is_empty());
        Ok(Some(id).filter(|id| is_id(id)).map(if is_of_pod { Taker::Pod } else { Taker::Container }))
    }

    /// Whether there is something where a link of a name leads to.
    fn leads_somewhere(&self, target: &Path) -> bool {
        let path = match target.starts_with("..") {
            true => self.names_directory().join(target),
            false => self.path.join(target),
        };
        path.exists()
    }

    /// The id of the container that is called so, among these and `others` by their ids: by its whole id, its name, or the beginning
    /// of its id, in this order, which is docker's. None where nobody is.
    pub(crate) fn id_of(
        &self,
        called: &str,
        others: impl FnOnce() -> Result<Vec<String>>,
    ) -> Result<Option<String>> {
        let named = self.holder_of(called.strip_prefix('/').unwrap_or(called))?;
        if called.is_empty() || (named.is_some() && !is_id(called)) {
            return Ok(named);
        }
        // What has no record is on its way to be a container, or to be gone.
        let has_record =
            |id: &String| [RECORD, PASSING].iter().any(|file| self.path.join(id).join(file).exists());
        let mut ids: BTreeSet<String> = others()?.into_iter().filter(|id| id.starts_with(called)).collect();
        ids.extend(self.ids()?.into_iter().filter(|id| id.starts_with(called) && has_record(id)));
        match (ids.contains(called), named, ids.len()) {
            (true, _, _) => Ok(Some(called.to_owned())),
            (false, None, 0 | 1) => Ok(ids.pop_first()),
            (false, None, number) => {
                let operation = format!("find the container `{}`", called.escape_debug());
                let reason = format!("multiple IDs found with provided prefix: {number} begin so");
                Err(Error::invalid(operation, reason).with_hint("write more of the id"))
            }
            (false, named, _) => Ok(named),
        }
    }

    /// Gives a name back, if it is still this container's. Nobody needs it to be gone.
    pub(crate) fn release_name(&self, name: &str, id: &str) {
        let Some(path) = self.link_of(name) else { return };
        let Ok(_turn) = wait(&self.names_directory()) else { return };
        if std::fs::read_link(&path).is_ok_and(|target| target == Path::new(id) || target == pod_target(id)) {
            let _ = std::fs::remove_file(&path);
        }
    }

    /// Removes links that lead to nobody.
    pub(super) fn sweep_names(&self) -> Result<()> {
        let directory = self.names_directory();
        if !directory.exists() {
            return Ok(());
        }
        let _turn = wait(&directory)?;
        let failed = |error| Error::at_path("read", &directory, error);
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let leads_nowhere = std::fs::read_link(&path).is_ok_and(|target| !self.leads_somewhere(&target));
            if leads_nowhere {
                // Who needs the name takes it anyway.
                let _ = std::fs::remove_file(&path);
            }
        }
        Ok(())
    }

    /// Where the link of a name is. Whatever would lead to another directory, or to a draft of ours, has none: these are the only
    /// paths that are made of names.
    fn link_of(&self, name: &str) -> Option<PathBuf> {
        let is_file_name = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
        is_file_name.then(|| self.names_directory().join(name))
    }

    fn link(&self, name: &str, target: &Path, id: &str) -> Result<()> {
        let path = self.link_of(name).ok_or_else(|| no_name(name))?;
        let draft = self.names_directory().join(format!(".{id}"));
        let make = || -> std::io::Result<()> {
            match std::fs::remove_file(&draft) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::os::unix::fs::symlink(target, &draft)?;
            std::fs::rename(&draft, &path)
        };
        make().map_err(|error| Error::at_path("make", &path, error))
    }
}

/// Who has a name, by its id.
enum Taker {
    Container(String),
    Pod(String),
}

/// Where the link of a pod's name leads to, from the directory of the names.
fn pod_target(id: &str) -> PathBuf {
    Path::new("../../pods").join(id)
}

fn taken_by_pod(name: &str, holder: &str) -> Error {
    let reason = format!("the name \"{name}\" is in use by pod \"{holder}\": pod already exists");
    let error = Error::new(ErrorKind::AlreadyExists, format!("take the name `{name}`"), reason);
    let hint = format!("remove it with `rabbitc pod rm {name}`, or choose another name");
    error.with_code(Code::NameInUse).with_hint(hint)
}

fn taken(name: &str, holder: &str) -> Error {
    let reason = format!("the container name \"/{name}\" is already in use by container \"{holder}\"");
    let error = Error::new(ErrorKind::AlreadyExists, format!("take the name `{name}`"), reason);
    let hint = format!("remove it with `rabbitc rm {name}`, or choose another name");
    error.with_code(Code::NameInUse).with_hint(hint)
}

/// The lock on the names, which goes with the descriptor.
fn wait(directory: &Path) -> Result<File> {
    let failed = |error| Error::at_path("lock", directory, error);
    let file = File::open(directory).map_err(failed)?;
    rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
        .map_err(|error| failed(error.into()))?;
    Ok(file)
}

/// A name that nobody chose; after some that were taken, with a number behind it.
fn any(number: u32) -> Result<String> {
    let [one, other] = sys::random::bytes::<2>().map_err(|error| Error::system("choose a name", error))?;
    let name =
        format!("{}_{}", FIRST[usize::from(one) % FIRST.len()], SECOND[usize::from(other) % SECOND.len()]);
    Ok(if number < 4 { name } else { format!("{name}{number}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_is_found_by_its_id_then_its_name_then_the_beginning_of_its_id() {
        let path = std::env::temp_dir().join(format!("rabbitc-kept-called-{}", std::process::id()));
        let containers = KeptContainers { path: path.clone() };
        let [one, other, unrecorded, running] =
            ["aa0000000001", "ab0000000002", "ac0000000003", "ad0000000004"];
        for id in [one, other, unrecorded] {
            std::fs::create_dir_all(path.join(id)).expect("made");
        }
        for id in [one, other] {
            std::fs::write(path.join(id).join(RECORD), "{}").expect("written");
        }
        for name in ["web", "ab", one] {
            containers.claim_name(other, Some(name)).expect("free");
        }
        let find = |called: &str| containers.id_of(called, || Ok(vec![running.to_owned(), one.to_owned()]));
        for (called, found) in [
            (one, Some(one)),
            ("web", Some(other)),
            ("/web", Some(other)),
            ("aa", Some(one)),
            ("ab", Some(other)),
            ("ad", Some(running)),
            (running, Some(running)),
            ("ac", None),
            ("nosuch", None),
            ("", None),
        ] {
            assert_eq!(find(called).expect(called).as_deref(), found, "{called}");
        }
        let error = find("a").expect_err("it is the beginning of several");
        assert!(error.reason.contains("3 begin so"), "{error}");
        // Of those that are kept alone it is another's name.
        std::fs::remove_dir_all(path.join(one)).expect("removed");
        assert_eq!(containers.id_of(one, || Ok(Vec::new())).expect("found").as_deref(), Some(other));
        std::fs::remove_dir_all(&path).expect("removed");
    }

    #[test]
    fn no_link_is_made_or_removed_elsewhere_than_among_the_names() {
        let path = std::env::temp_dir().join(format!("rabbitc-kept-links-{}", std::process::id()));
        let containers = KeptContainers { path: path.join("containers") };
        let id = "aa0000000001";
        std::fs::create_dir_all(containers.path.join(id)).expect("made");
        let keepsake = path.join("keepsake");
        for name in ["../../keepsake", "/keepsake", ".keepsake", "..", ""] {
            std::fs::write(&keepsake, "kept").expect("written");
            containers.claim_name(id, Some(name)).expect_err(name);
            assert_eq!(std::fs::read_to_string(&keepsake).expect("it is there"), "kept", "{name}");
            // As a record that somebody has changed would say.
            std::fs::remove_file(&keepsake).expect("removed");
            std::os::unix::fs::symlink(id, &keepsake).expect("made");
            containers.release_name(name, id);
            assert!(keepsake.is_symlink(), "{name}");
            std::fs::remove_file(&keepsake).expect("removed");
        }
        std::fs::remove_dir_all(&path).expect("removed");
    }

    #[test]
    fn names_are_dockers() {
        for (text, name) in [("web", Some("web")), ("/web", Some("web")), ("a.b_c-1", Some("a.b_c-1"))] {
            assert_eq!(parse(text).ok().as_deref(), name);
        }
        for text in ["", "a", "-web", ".web", "we b", "a/b", "ü1", "//web", "../web", &"x".repeat(256)] {
            let error = parse(text).expect_err("no name");
            assert!(error.to_string().contains("--name") && error.hint.is_some(), "{error}");
        }
    }
}
