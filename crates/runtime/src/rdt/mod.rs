//! Groups of resctrl (Intel RDT): shares of caches and memory bandwidth (resctrl.rst of the kernel; config-linux.md,
//! "IntelRdt"). Must not touch that file system for containers that ask for none of it.

mod group;
mod matching;
mod update;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
use serde::{Deserialize, Serialize};

pub(crate) use self::group::{Group, Missing, Wanted, remove};
pub use self::update::{Prepared, Schemata, prepare};
use crate::error::{Error, Result};

/// `RDTGROUP_SUPER_MAGIC` (statfs(2)).
const MAGIC: u64 = 0x0765_5821;

/// What helps where something of it is missing.
pub(crate) const HINT: &str = "the processor and the kernel need this resource, and the resctrl file system a mount: \
                               `mount -t resctrl resctrl /sys/fs/resctrl`";

crate::read_as_object_and_written! { Membership }

/// Where a container's group is, and what of it goes with the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Membership {
    /// Where resctrl is mounted.
    pub mount: PathBuf,
    /// Its group there; `/` is the one that everybody begins in.
    pub group: String,
    /// Whether that was made for the container alone.
    pub own: bool,
    /// The name of the group in `mon_groups` that was made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
}

/// The file system, opened.
#[derive(Debug)]
pub(crate) struct Resctrl {
    path: PathBuf,
    directory: OwnedFd,
}

impl Resctrl {
    /// Where it is mounted in this mount namespace; nothing where it is not.
    pub(crate) fn find() -> Result<Option<Resctrl>> {
        let table = std::fs::read("/proc/self/mountinfo")
            .map_err(|error| Error::at_path("read", Path::new("/proc/self/mountinfo"), error))?;
        match mount_point(&table) {
            Some(path) => Resctrl::at(&path),
            None => Ok(None),
        }
    }

    /// That at `path`; nothing where there is something else by now.
    pub(crate) fn at(path: &Path) -> Result<Option<Resctrl>> {
        let Some(found) = Resctrl::open(path)? else { return Ok(None) };
        let status =
            rustix::fs::fstatfs(&found.directory).map_err(|error| Error::at_path("examine", path, error))?;
        Ok((status.f_type as u64 == MAGIC).then_some(found))
    }

    /// Whatever directory is at `path`.
    pub(crate) fn open(path: &Path) -> Result<Option<Resctrl>> {
        match openat(CWD, path, DIRECTORY, Mode::empty()) {
            Ok(directory) => Ok(Some(Resctrl { path: path.to_owned(), directory })),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(Error::at_path("open", path, error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A group's directory, for messages.
    fn path_of(&self, group: &str) -> PathBuf {
        if group == "/" { self.path.clone() } else { self.path.join(group) }
    }

    /// Whether the processor and the kernel have `resource`, by its name in `info/`.
    pub(crate) fn has(&self, resource: &str) -> bool {
        let there = |name: &str| self.exists(&format!("info/{name}"));
        // Two cache resources, for code and data apart, take the place of one (`cdp`).
        there(resource) || (resource == "L3" && there("L3CODE"))
    }

    pub(crate) fn has_group(&self, name: &str) -> bool {
        self.exists(directory_of(name))
    }

    fn exists(&self, name: &str) -> bool {
        statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// What the kernel did not like, in its own words: they are there until the next change.
    fn explain(&self, error: Error) -> Error {
        let said = read_at(self.directory(), "info/last_cmd_status").unwrap_or_default();
        match said.trim() {
            "" | "ok" => error,
            said => error.with_hint(format!("the kernel says: {said}")),
        }
    }
}

/// What a container whose record is gone may have had for itself, by its id alone; `is_a_containers` tells of the processes
/// in a group whether they can be its.
pub(crate) fn guess(id: &str, is_a_containers: &dyn Fn(&[i32]) -> bool) -> Option<Membership> {
    // Mostly there is no such file system, and nothing to guess.
    guess_in(&Resctrl::find().ok()??, id, is_a_containers)
}

fn guess_in(resctrl: &Resctrl, id: &str, is_a_containers: &dyn Fn(&[i32]) -> bool) -> Option<Membership> {
    let may_be = |group: &str| {
        let text = read_at(resctrl.directory(), &format!("{group}/tasks"));
        text.is_ok_and(|text| {
            is_a_containers(&text.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        })
    };
    let membership = |group: &str, own, monitor| {
        Some(Membership { mount: resctrl.path.clone(), group: group.to_owned(), own, monitor })
    };
    if check_group_name(id).is_ok() && may_be(id) {
        // What counts for it lies in there.
        return membership(id, true, None);
    }
    let groups = std::fs::read_dir(&resctrl.path).into_iter().flatten().flatten();
    let names = groups.filter_map(|entry| entry.file_name().into_string().ok());
    let group = std::iter::once("/".to_owned())
        .chain(names)
        .find(|group| may_be(&format!("{}/mon_groups/{id}", directory_of(group))))?;
    membership(&group, false, Some(id.to_owned()))
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Refuses names that are no group's.
pub(crate) fn check_group_name(name: &str) -> Result<()> {
    let taken = matches!(name, "." | ".." | "info" | "mon_groups" | "mon_data");
    if taken || (name != "/" && name.contains(['/', '\0', '\n'])) {
        let reason = format!("`{}` is no name of a group of resctrl", name.escape_debug());
        let hint = "it is one name without `/`, or `/` alone for the default group";
        return Err(Error::invalid("linux.intelRdt.closID", reason).with_hint(hint));
    }
    Ok(())
}

/// A group's directory, seen from the mount.
fn directory_of(group: &str) -> &str {
    if group == "/" { "." } else { group }
}

fn read_at(directory: BorrowedFd<'_>, name: &str) -> std::io::Result<String> {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    std::io::read_to_string(std::fs::File::from(file))
}

/// Where the resctrl file system is mounted, by the text of proc_pid_mountinfo(5).
fn mount_point(table: &[u8]) -> Option<PathBuf> {
    let found = sys::mount_table::entries(table).find(|mount| mount.file_system == "resctrl")?;
    Some(found.mount_point.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_of_resctrl_is_found_by_its_type() {
        let table = b"30 25 0:26 / /sys/fs/cgroup rw - cgroup2 resctrl rw\n\
                     31 25 0:27 / /sys/fs/resctrl rw,relatime - resctrl resctrl rw\n";
        assert_eq!(mount_point(table), Some(PathBuf::from("/sys/fs/resctrl")));
        assert_eq!(mount_point(b""), None);
    }

    #[test]
    fn directory_of_another_file_system_is_not_taken_for_resctrl() {
        assert!(Resctrl::at(Path::new("/proc")).is_ok_and(|found| found.is_none()));
        assert!(Resctrl::at(Path::new("/nowhere")).is_ok_and(|found| found.is_none()));
    }

    #[test]
    fn group_of_an_unreadable_container_is_found_by_its_name_unless_others_are_in_it() {
        let path = std::env::temp_dir().join(format!("rabbitc-resctrl-guess-{}", std::process::id()));
        let make = |group: &str, tasks: &str| {
            std::fs::create_dir_all(path.join(group)).expect("made");
            std::fs::write(path.join(group).join("tasks"), tasks).expect("written");
        };
        make("web", "");
        make("taken", "1\n");
        make("gold/mon_groups/db", "5\n6\n");
        make("mon_groups/plain", "");
        let resctrl = Resctrl::open(&path).expect("opened").expect("there");
        let guess = |id: &str| guess_in(&resctrl, id, &|pids| !pids.contains(&1));
        let found = |id: &str| guess(id).map(|found| (found.group, found.own, found.monitor));
        assert_eq!(found("web"), Some(("web".to_owned(), true, None)));
        assert_eq!(found("db"), Some(("gold".to_owned(), false, Some("db".to_owned()))));
        assert_eq!(found("plain"), Some(("/".to_owned(), false, Some("plain".to_owned()))));
        assert_eq!((found("taken"), found("none"), found("mon_groups")), (None, None, None));
        std::fs::remove_dir_all(&path).expect("removed");
    }

    #[test]
    fn names_that_lead_elsewhere_are_no_groups() {
        for name in [".", "..", "a/b", "/a", "//", "info", "mon_groups", "a\0", "a\nb"] {
            assert!(check_group_name(name).is_err(), "{name:?}");
        }
        for name in ["/", "guaranteed", "a.b", "..."] {
            assert!(check_group_name(name).is_ok(), "{name:?}");
        }
    }
}
