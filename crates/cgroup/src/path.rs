//! Owns the checked path of a group below the root of each hierarchy. Must not touch the file system.

use std::fmt;

use crate::error::{Error, Kind, Operation};
use crate::layout::Layout;
use crate::systemd::{self, Manager, Scope, Unit};

/// The group below which the engine keeps its containers, in every hierarchy.
pub const DEFAULT_PARENT: &str = "rabbitc";

/// The longest name of one group, in bytes (`NAME_MAX`).
const LONGEST_NAME: usize = 255;

/// The longest path, in bytes: with mount point and file name it stays below `PATH_MAX`.
const LONGEST_PATH: usize = 3500;

/// Where a container's group is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parent<'a> {
    /// In our own unit, where systemd rules over cgroup v2; else right below the root.
    #[default]
    Usual,
    /// In a unit of ours in this slice of systemd, such as `batch.slice`. Without systemd a group of that name.
    Slice(&'a str),
    /// In this group, whoever owns it.
    Group(&'a str),
}

impl<'a> Parent<'a> {
    /// As people write it: a name that ends in `.slice` is a slice, all else is a group.
    pub fn parse(text: &'a str) -> Parent<'a> {
        match text.strip_suffix(".slice") {
            Some(name) if !text.contains('/') && !name.is_empty() => Parent::Slice(text),
            _ => Parent::Group(text),
        }
    }
}

/// Path of a group relative to the root of each hierarchy, as this process sees it.
///
/// At least one name; no `.`, no `..`, no empty part, no NUL and no newline (the kernel refuses the latter).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CgroupPath {
    /// Without slash at either end.
    text: String,
    /// How many ancestors, counted from the leaf up, belong to us and go with their last child.
    own_ancestors: usize,
    /// Which systemd makes the group, as a scope.
    manager: Option<Manager>,
}

impl CgroupPath {
    /// Checks `text`, with or without a leading slash.
    ///
    /// Below [`DEFAULT_PARENT`] the ancestors are ours: they are removed with their last child. Any others
    /// belong to somebody else and stay, also when we had to make them.
    pub fn parse(text: &str) -> Result<CgroupPath, Error> {
        let refuse = |detail: &str| {
            Err(Error::plain(Operation::ParsePath, text.escape_debug().to_string(), Kind::Invalid, detail))
        };
        let relative = text.strip_prefix('/').unwrap_or(text);
        if relative.is_empty() {
            return refuse("a container needs a group of its own, not the root");
        }
        if relative.len() > LONGEST_PATH {
            return refuse("longer than 3500 bytes");
        }
        for name in relative.split('/') {
            match name {
                "" => return refuse("has an empty part"),
                "." | ".." => return refuse("has a `.` or `..` part"),
                _ if name.len() > LONGEST_NAME => return refuse("has a part longer than 255 bytes"),
                _ if name.contains(['\0', '\n']) => return refuse("has a NUL or a newline"),
                _ => {}
            }
        }
        let mut names = relative.split('/');
        let own_ancestors = if names.next() == Some(DEFAULT_PARENT) { names.count() } else { 0 };
        Ok(CgroupPath { text: relative.to_owned(), own_ancestors, manager: None })
    }

    /// The group of container `id` below `parent`, all of which is ours: removed with its last child.
    pub fn in_own_parent(parent: &str, id: &str) -> Result<CgroupPath, Error> {
        let path = CgroupPath::parse(&format!("{parent}/{id}"))?;
        let own_ancestors = path.text.matches('/').count();
        Ok(CgroupPath { own_ancestors, ..path })
    }

    /// The group `name` below `parent`, on a host of this layout, asking this manager of systemd if any.
    pub fn below(
        layout: &Layout,
        manager: Manager,
        parent: Parent<'_>,
        name: &str,
    ) -> Result<CgroupPath, Error> {
        let parent = match parent {
            Parent::Usual => systemd::subtree(layout, manager, None),
            Parent::Slice(slice) => {
                if !systemd::is_slice(slice) {
                    return Err(no_slice(slice));
                }
                Some(systemd::subtree(layout, manager, Some(slice)).unwrap_or_else(|| slice.to_owned()))
            }
            Parent::Group(group) => Some(group.trim_end_matches('/').to_owned()),
        };
        match parent {
            Some(parent) if !parent.is_empty() => CgroupPath::parse(&format!("{parent}/{name}")),
            _ => CgroupPath::parse(name),
        }
    }

    /// The scope of container `id`, where `place` has it: `SLICE:PREFIX:NAME` for the unit `PREFIX-NAME.scope`, each part
    /// empty for the usual; nothing for the usual slice and `rabbitc-ID.scope`.
    pub fn of_scope(manager: Manager, place: Option<&str>, id: &str) -> Result<CgroupPath, Error> {
        let refuse = |detail: &str| {
            let place = place.unwrap_or(id).escape_debug().to_string();
            Err(Error::plain(Operation::ParsePath, place, Kind::Invalid, detail))
        };
        let (slice, prefix, name) = match place.map(|place| place.split(':').collect::<Vec<_>>()).as_deref() {
            None => ("", "rabbitc", id),
            Some([slice, prefix, name]) => (*slice, *prefix, *name),
            Some(_) => {
                return refuse("is not of the form `SLICE:PREFIX:NAME`, which a cgroup of systemd's has");
            }
        };
        if !slice.is_empty() && !systemd::is_slice(slice) {
            return Err(no_slice(slice));
        }
        let name = if name.is_empty() { id } else { name };
        if name.ends_with(".slice") {
            return refuse("names a slice, which holds no processes of its own");
        }
        let unit = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
        if !systemd::is_unit_text(&unit) || unit.starts_with('.') {
            return refuse(
                "has characters that no unit of systemd's has: letters, digits and `-`, `_`, `.`, `@` are legal",
            );
        }
        let slice = Some(slice).filter(|slice| !slice.is_empty());
        CgroupPath::parse_scope(manager, &manager.unit_path(slice, &unit))
    }

    /// A path that [`of_scope`](CgroupPath::of_scope) made.
    pub fn parse_scope(manager: Manager, text: &str) -> Result<CgroupPath, Error> {
        Ok(CgroupPath { manager: Some(manager), own_ancestors: 0, ..CgroupPath::parse(text)? })
    }

    /// Which systemd makes the group, if it is a scope.
    pub fn manager(&self) -> Option<Manager> {
        self.manager
    }

    /// Has systemd end the scope that it is, if it is one, and returns when that is done. One that is gone is no error.
    pub fn end_scope(&self) -> Result<(), Error> {
        self.scope().map_or(Ok(()), |scope| scope.stop())
    }

    pub(crate) fn scope(&self) -> Option<Scope<'_>> {
        self.manager.map(|manager| Scope::at(manager, &self.text))
    }

    /// The path without leading slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Every proper ancestor, outermost first: `a`, `a/b` for `a/b/c`.
    pub(crate) fn ancestors(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.text.match_indices('/').map(|(end, _)| &self.text[..end]).collect::<Vec<_>>().into_iter()
    }

    /// The unit of ours that it lies in. Everything down to that is systemd's to make.
    pub(crate) fn unit(&self) -> Option<Unit<'_>> {
        Unit::around(&self.text)
    }

    /// The ancestors that are ours, innermost first.
    pub(crate) fn own_ancestors(&self) -> impl Iterator<Item = &str> {
        self.ancestors().rev().take(self.own_ancestors)
    }
}

fn no_slice(slice: &str) -> Error {
    Error::plain(
        Operation::ParsePath,
        slice.escape_debug().to_string(),
        Kind::Invalid,
        "is no name of a slice",
    )
}

impl fmt::Display for CgroupPath {
    /// With a leading slash, as `/proc/PID/cgroup` has it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/{}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_loses_its_leading_slash_only() {
        assert_eq!(CgroupPath::parse("/a/b:c").expect("a good path").as_str(), "a/b:c");
        assert_eq!(CgroupPath::parse("a").expect("a good path").to_string(), "/a");
    }

    #[test]
    fn path_that_could_leave_its_place_is_refused() {
        let long = "x".repeat(256);
        for text in ["", "/", "//a", "a//b", "a/", "..", "a/../b", "a/.", "a\0b", "a\nb", long.as_str()] {
            let error = CgroupPath::parse(text).expect_err("a bad path");
            assert_eq!(error.kind, Kind::Invalid, "{text:?}");
            assert!(!error.to_string().contains(['\0', '\n']), "{error}");
        }
    }

    #[test]
    fn scope_lies_in_its_slice_below_its_manager() {
        let path = |manager, place: Option<&str>| {
            CgroupPath::of_scope(manager, place, "web").map(|path| path.as_str().to_owned())
        };
        let user = "user.slice/user-7.slice/user@7.service";
        for (manager, place, expected) in [
            (Manager::System, None, "system.slice/rabbitc-web.scope".to_owned()),
            (Manager::System, Some("::"), "system.slice/web.scope".to_owned()),
            (Manager::System, Some("a-b.slice:pod:x1"), "a.slice/a-b.slice/pod-x1.scope".to_owned()),
            (Manager::System, Some("-.slice:pod:x1"), "pod-x1.scope".to_owned()),
            (Manager::User(7), None, format!("{user}/user.slice/rabbitc-web.scope")),
            (Manager::User(7), Some("app.slice:a:b"), format!("{user}/app.slice/a-b.scope")),
        ] {
            assert_eq!(path(manager, place).expect("a good place"), expected);
        }
    }

    #[test]
    fn place_that_is_no_scope_is_refused() {
        for place in [
            "",
            "/a/b",
            "a:b",
            "a.slice:b:c:d",
            "a:b:c",
            "a--b.slice:b:c",
            ".slice:b:c",
            "../x.slice:b:c",
            "a.slice:b:../c",
            "a.slice:b:c/d",
            "a.slice::x.slice",
            "a.slice:b:c+d",
            "a.slice::.hidden",
            "a.slice:\0:c",
        ] {
            let error = CgroupPath::of_scope(Manager::System, Some(place), "web").expect_err(place);
            assert_eq!(error.kind, Kind::Invalid, "{place}");
        }
        assert!(CgroupPath::of_scope(Manager::System, None, "a+b").is_err());
    }

    #[test]
    fn only_our_own_ancestors_go_with_the_last_child() {
        let own = |text: &str| {
            let path = CgroupPath::parse(text).expect("a good path");
            path.own_ancestors().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(own("/rabbitc/a"), ["rabbitc"]);
        assert_eq!(own("/rabbitc/pod/a"), ["rabbitc/pod", "rabbitc"]);
        assert!(own("/docker/a").is_empty());
        assert!(own("/rabbitc").is_empty());
        let path = CgroupPath::in_own_parent("test", "a").expect("a good path");
        assert_eq!(path.own_ancestors().collect::<Vec<_>>(), ["test"]);
    }
}
