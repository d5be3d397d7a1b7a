//! From a path to what stands at its end, mount for mount and link for link.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::FileType;
use sys::mount::attribute;

use super::host_tree::HostName;
use super::seen::{NoExec, Owner, Place, Seen, made};
use super::{Content, Mounted};

/// Where a walk ends.
#[derive(Debug)]
pub(crate) enum End<'a, T> {
    Found(Vec<OsString>, Seen<'a>),
    /// Nothing is there.
    Missing(Vec<OsString>),
    /// It can't be looked at from here.
    Unseen(Vec<OsString>),
    Stopped(T),
}

/// What a look at one way shows.
pub(super) enum Look<'a> {
    Seen(Seen<'a>),
    Missing,
    Unseen,
}

impl<'a> Mounted<'a> {
    /// Walks a path as the kernel does, one name after the other, links inside the root. Each directory on the way is
    /// shown to `enter`, which may end the walk there.
    pub(crate) fn walk<T>(
        &self,
        path: &[u8],
        mut enter: impl FnMut(&[OsString], &Seen<'a>) -> Option<T>,
    ) -> End<'a, T> {
        let mut left = names(path);
        let mut way: Vec<OsString> = Vec::new();
        let mut links = 0;
        // What no name follows any more is only shown as the end.
        let ended = |mut way: Vec<OsString>, left: Vec<OsString>| {
            way.extend(left.into_iter().rev());
            way
        };
        loop {
            let seen = match self.look(&way, self.layers.len()) {
                Look::Seen(seen) => seen,
                Look::Missing => return End::Missing(ended(way, left)),
                Look::Unseen => return End::Unseen(ended(way, left)),
            };
            if seen.kind.is_symlink() {
                links += 1;
                if links > 40 {
                    return End::Unseen(ended(way, left));
                }
                way.pop();
                if seen.link.starts_with(b"/") {
                    way.clear();
                }
                left.extend(names(&seen.link));
                continue;
            }
            if left.is_empty() {
                return End::Found(way, seen);
            }
            if !seen.kind.is_dir() {
                return End::Missing(ended(way, left));
            }
            if let Some(stopped) = enter(&way, &seen) {
                return End::Stopped(stopped);
            }
            match left.pop() {
                Some(name) if name == ".." => drop(way.pop()),
                Some(name) => way.push(name),
                None => {}
            }
        }
    }

    /// What of the container's own mounts a way leads to, in words; nothing where that is the root itself.
    pub(crate) fn lies_on(&self, way: &[OsString]) -> Option<String> {
        let layer = &self.layers[self.covering(way, self.layers.len())?];
        let at = shown(&layer.at);
        match &layer.content {
            Content::Host(tree) => match tree.name {
                HostName::Bind => {
                    let source = tree.source.to_string_lossy().escape_debug().to_string();
                    Some(format!("`{at}`, where the host's `{source}` is mounted"))
                }
                HostName::Root | HostName::Running => None,
            },
            Content::Inside { way, .. } => Some(format!("`{at}`, where `{}` is mounted", shown(way))),
            Content::Memory { .. } if layer.at.is_empty() => None,
            Content::Memory { .. } => Some(format!("`{at}`, where a tmpfs is mounted")),
            Content::Kernel { name } => {
                Some(format!("`{at}`, where a file system `{}` is mounted", name.escape_debug()))
            }
            Content::Masked => Some(format!("`{at}`, which is masked")),
            Content::Link { .. } | Content::Device => None,
        }
    }

    /// Whether a way leads to the root itself, and to no mount in it.
    pub(crate) fn is_root(&self, way: &[OsString]) -> bool {
        self.covering(way, self.layers.len()).is_some_and(
            |index| matches!(&self.layers[index].content, Content::Host(tree) if tree.name == HostName::Root),
        )
    }

    /// The place of the mount that a way leads to.
    pub(crate) fn mount_point(&self, way: &[OsString]) -> String {
        let at = self.covering(way, self.layers.len()).map(|index| self.layers[index].at.as_slice());
        shown(at.unwrap_or_default())
    }

    /// Whether the container's own mount there was asked for without the right to execute.
    pub(crate) fn is_no_exec(&self, way: &[OsString]) -> bool {
        let layer = self.covering(way, self.layers.len()).map(|index| &self.layers[index]);
        layer.is_some_and(|layer| (layer.top.set | layer.tree.set) & attribute::NOEXEC != 0)
    }

    /// The latest one that has the way in it: it lies over all before.
    fn covering(&self, way: &[OsString], before: usize) -> Option<usize> {
        self.layers[..before].iter().rposition(|layer| way.starts_with(&layer.at))
    }

    pub(super) fn look(&self, way: &[OsString], before: usize) -> Look<'a> {
        let Some(index) = self.covering(way, before) else { return Look::Unseen };
        let layer = &self.layers[index];
        let rest = &way[layer.at.len()..];
        let asked = (layer.top.set | layer.tree.set) & attribute::NOEXEC != 0;
        let no_exec = asked.then_some(NoExec::Asked);
        let found = match &layer.content {
            Content::Host(tree) => tree.look(layer, rest),
            Content::Inside { way: source, recursive } => {
                let from = [source.as_slice(), rest].concat();
                match self.covering(&from, index) == self.covering(source, index) || *recursive {
                    // A copy of that mount, with what was asked for on top.
                    true => {
                        let kept = (layer.top.clear | layer.tree.clear) & attribute::NOEXEC == 0;
                        changed(self.look(&from, index), |own| no_exec.or(own.filter(|_| kept)))
                    }
                    false => Look::Unseen,
                }
            }
            Content::Memory { mode, owner, .. } if rest.is_empty() => {
                let (kind, place) = (FileType::Directory, Place::Memory);
                Look::Seen(Seen { no_exec, place, ..made(kind, *mode, *owner) })
            }
            // Copied into another mount.
            Content::Memory { copied: true, .. } => changed(self.look(way, index), |_| no_exec),
            Content::Link { text } if rest.is_empty() => {
                let link = made(FileType::Symlink, 0o777, Owner::Inside { uid: 0, gid: 0 });
                Look::Seen(Seen { link: text.clone(), ..link })
            }
            Content::Device if rest.is_empty() => {
                Look::Seen(made(FileType::CharacterDevice, 0o666, Owner::Inside { uid: 0, gid: 0 }))
            }
            Content::Memory { .. } | Content::Link { .. } | Content::Device => Look::Missing,
            Content::Kernel { .. } | Content::Masked => Look::Unseen,
        };
        let leads_to_later = || self.layers[index + 1..before].iter().any(|later| later.at.starts_with(way));
        match found {
            // Init makes what is missing above a mount point.
            Look::Missing if leads_to_later() => {
                Look::Seen(made(FileType::Directory, 0o755, Owner::Inside { uid: 0, gid: 0 }))
            }
            other => other,
        }
    }
}

/// What is shown through another mount, which changes who forbids to execute.
fn changed<'a>(look: Look<'a>, change: impl FnOnce(Option<NoExec>) -> Option<NoExec>) -> Look<'a> {
    match look {
        Look::Seen(seen) => Look::Seen(Seen { no_exec: change(seen.no_exec), ..seen }),
        other => other,
    }
}

/// The names of a path, the last one first.
fn names(path: &[u8]) -> Vec<OsString> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.rev().map(|part| OsStr::from_bytes(part).to_owned()).collect()
}

/// The same, the first one first.
pub(crate) fn names_forward(path: &[u8]) -> Vec<OsString> {
    let mut names = names(path);
    names.reverse();
    names
}

/// A way as a path. It may come from an image: it must not steer the terminal of whoever reads it.
pub(crate) fn shown(way: &[OsString]) -> String {
    let path: PathBuf = std::iter::once(OsString::from("/")).chain(way.iter().cloned()).collect();
    path.to_string_lossy().escape_debug().to_string()
}
