//! Which link of a path refuses this process what it was about to do there, on the host: the first directory that it may not
//! search, the modes of what is at its end, a mount that is read-only, a security module. The kernel says whether, and modes and
//! owners say why. Must change nothing.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

/// A link that refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusingLink {
    /// Which, and why.
    pub(crate) reason: String,
    /// What one can do.
    pub(crate) hint: String,
}

/// What was to be done at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Read,
    Write,
    /// Something was to be made or removed in the directory of this.
    Change,
}

impl Wanted {
    /// As the words of a message say it.
    fn of(operation: &str) -> Wanted {
        let says = |words: &[&str]| {
            operation.split([' ', ':']).any(|word| words.iter().any(|one| word.eq_ignore_ascii_case(one)))
        };
        if says(&["make", "remove", "create", "rename", "move", "link"]) {
            Wanted::Change
        } else if says(&["write", "lock", "truncate", "append"]) {
            Wanted::Write
        } else {
            Wanted::Read
        }
    }
}

/// As many links as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The link of `path` that refuses what `operation` was about to do with it; none where all of them permit it by now.
pub(crate) fn find(operation: &str, path: &Path) -> Option<RefusingLink> {
    let absolute = std::path::absolute(path).ok()?;
    let end = match walk(&absolute) {
        Way::Whole(end) | Way::Missing(end) => end,
        Way::Refused(directory) => return Some(refused(&directory, "search", 0o1, "x")),
    };
    let wanted = Wanted::of(operation);
    let parent = || end.parent().unwrap_or(Path::new("/")).to_owned();
    let (place, access, verb, bit, letter) = match wanted {
        Wanted::Read if !end.exists() => return None,
        Wanted::Read => (end, Access::READ_OK, "read", 0o4, "r"),
        Wanted::Write if end.exists() => (end, Access::WRITE_OK, "write to", 0o2, "w"),
        Wanted::Write | Wanted::Change => {
            (parent(), Access::WRITE_OK | Access::EXEC_OK, "change what is in", 0o2, "w")
        }
    };
    match accessat(CWD, &place, access, AtFlags::EACCESS) {
        Err(Errno::ACCESS) => Some(refused(&place, verb, bit, letter)),
        Err(Errno::ROFS) => Some(read_only(&place)),
        _ => None,
    }
}

/// How far a path leads.
enum Way {
    Whole(PathBuf),
    /// All that is there may be searched.
    Missing(PathBuf),
    /// This directory may not.
    Refused(PathBuf),
}

fn walk(path: &Path) -> Way {
    let mut left: Vec<OsString> = names(path);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(name) = left.pop() {
        // The kernel's word counts: it knows of capabilities, lists and labels, too.
        if accessat(CWD, &at, Access::EXEC_OK, AtFlags::EACCESS) == Err(Errno::ACCESS) {
            return Way::Refused(at);
        }
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        match std::fs::read_link(&next) {
            Ok(target) if links < MOST_LINKS => {
                links += 1;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                left.extend(names(&target));
            }
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {
                return Way::Missing(left.iter().rev().fold(next, |path, name| path.join(name)));
            }
            _ => at = next,
        }
    }
    Way::Whole(at)
}

/// The names of a path, the first one last.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    });
    names.collect()
}

/// Why the kernel refuses this process something there.
fn refused(place: &Path, verb: &str, bit: u32, letter: &str) -> RefusingLink {
    let shown = place.display();
    let Ok(seen) = std::fs::symlink_metadata(place) else {
        return RefusingLink {
            reason: format!("`{shown}` may not be looked at"),
            hint: "look at the modes and labels of the directories above it".to_owned(),
        };
    };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let groups = rustix::process::getgroups().unwrap_or_default();
    let is_in = |group: u32| group == gid || groups.iter().any(|one| one.as_raw() == group);
    let permits = match () {
        () if seen.uid() == uid => seen.mode() >> 6 & bit != 0,
        () if is_in(seen.gid()) => seen.mode() >> 3 & bit != 0,
        () => seen.mode() & bit != 0,
    };
    let mode = seen.mode() & 0o7777;
    let owner = match is_mapped(seen.uid(), "uid") && is_mapped(seen.gid(), "gid") {
        true => format!("{}:{}", seen.uid(), seen.gid()),
        false => format!("{}:{} (the user namespace does not map it)", seen.uid(), seen.gid()),
    };
    match permits {
        false => RefusingLink {
            reason: format!(
                "`{shown}`: its mode is {mode:04o} and its owner {owner}, so user {uid} in group {gid} may not {verb} it"
            ),
            hint: format!("`chmod o+{letter} {shown}`, or do it as a user who may"),
        },
        // What modes permit something else refuses.
        true => RefusingLink {
            reason: format!(
                "`{shown}`: its mode {mode:04o} permits user {uid} to {verb} it, and {} does not",
                others()
            ),
            hint: format!(
                "`getfacl {shown}` shows lists, `ls -Z` labels, and the system's log what was refused"
            ),
        },
    }
}

/// Who else refuses.
fn others() -> String {
    const LABELLING: [&str; 5] = ["selinux", "apparmor", "smack", "tomoyo", "landlock"];
    let active = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let active: Vec<&str> = active.trim().split(',').filter(|name| LABELLING.contains(name)).collect();
    match active.as_slice() {
        [] => "an access control list or a security module".to_owned(),
        active => format!("an access control list or a security module ({})", active.join(", ")),
    }
}

/// Whether an id is one of this process's user namespace: others are shown as the overflow id.
fn is_mapped(id: u32, kind: &str) -> bool {
    let overflow = std::fs::read_to_string(format!("/proc/sys/kernel/overflow{kind}"));
    let overflow = overflow.ok().and_then(|text| text.trim().parse::<u32>().ok()).unwrap_or(65534);
    let map = std::fs::read_to_string(format!("/proc/self/{kind}_map")).unwrap_or_default();
    id != overflow
        || map.lines().any(|line| {
            let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            matches!(numbers[..], [inside, _, count] if (inside..inside + count).contains(&u64::from(id)))
        })
}

/// A mount that nothing can be written to.
fn read_only(place: &Path) -> RefusingLink {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let points = sys::mount_table::entries(&table).map(|entry| entry.mount_point.into_owned());
    let point = points.filter(|point| place.starts_with(point)).max_by_key(|point| point.as_os_str().len());
    match point {
        Some(point) => RefusingLink {
            reason: format!("it lies on `{}`, which is mounted read-only", point.display()),
            hint: format!("`mount -o remount,rw {}`, or choose another place", point.display()),
        },
        None => RefusingLink {
            reason: format!("`{}` lies on a file system that is mounted read-only", place.display()),
            hint: "mount it writable, or choose another place".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn words_of_an_operation_say_what_was_wanted() {
        for (operation, wanted) in [
            ("read", Wanted::Read),
            ("open the root file system", Wanted::Read),
            ("--output: write", Wanted::Write),
            ("--explain: make", Wanted::Change),
            ("remove", Wanted::Change),
            ("find", Wanted::Read),
        ] {
            assert_eq!(Wanted::of(operation), wanted, "{operation}");
        }
    }

    #[test]
    fn path_is_walked_through_its_links_to_its_end() {
        let root = std::env::temp_dir().join(format!("rabbitc-refusing-link-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b")).expect("made");
        let real = root.canonicalize().expect("it is there");
        symlink("b/../b", root.join("a/link")).expect("linked");
        symlink("/loop", root.join("loop")).expect("linked");
        let end = |path: &str| match walk(&real.join(path)) {
            Way::Whole(end) => end,
            Way::Missing(end) => end.join("(missing)"),
            Way::Refused(_) => panic!("{path} is refused"),
        };
        assert_eq!(end("a/link"), real.join("a/b"));
        assert_eq!(end("a/link/none/at/all"), real.join("a/b/none/at/all/(missing)"));
        assert_eq!(end("a/../a"), real.join("a"));
        // What permits all is no culprit, and what leads nowhere neither.
        assert_eq!(find("read", &real.join("a/link")), None);
        assert_eq!(find("read", &real.join("a/none")), None);
        std::fs::remove_dir_all(root).expect("removed");
    }

    #[test]
    fn modes_and_owners_say_why() {
        let path = std::env::temp_dir().join(format!("rabbitc-refused-{}", std::process::id()));
        std::fs::write(&path, "").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o040)).expect("set");
        let own = refused(&path, "read", 0o4, "r");
        assert!(own.reason.contains("its mode is 0040") && own.reason.contains("may not read it"), "{own:?}");
        assert!(own.hint.contains("chmod o+r"), "{own:?}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).expect("set");
        let other = refused(&path, "read", 0o4, "r");
        assert!(
            other.reason.contains("permits user") && other.reason.contains("security module"),
            "{other:?}"
        );
        std::fs::remove_file(path).expect("removed");
        assert!(read_only(Path::new("/")).reason.contains("`/`"));
    }
}
