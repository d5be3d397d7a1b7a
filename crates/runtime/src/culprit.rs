//! Which link of a path refuses a program: the first directory that its user may not search, the file's own mode, or a
//! mount without the right to execute. Looks from outside, at the root directory and what is bound into it.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags};
use sys::mount::attribute;

use crate::init::step::{Action, InitAction, ProgramUser, Step};

/// As whom a path is walked.
#[derive(Debug)]
pub(crate) struct Seeker {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    /// Whether modes of directories are no obstacle (CAP_DAC_OVERRIDE).
    overrides: bool,
}

impl Seeker {
    /// The program's user while the program is looked for: root has all its rights then.
    pub(crate) fn finding(user: &ProgramUser, steps: &[Step]) -> Seeker {
        let groups = user.groups.clone().unwrap_or_default();
        Seeker { uid: user.uid, gid: user.gid, groups, overrides: user.uid == 0 || maps_ids(steps) }
    }

    /// The program's user at its exec, with the rights that are left by then.
    pub(crate) fn executing(steps: &[Step]) -> Seeker {
        const DAC_OVERRIDE: u64 = 1 << 1;
        let mut seeker = Seeker { uid: 0, gid: 0, groups: Vec::new(), overrides: false };
        for step in steps {
            match &step.action {
                Action::Init(InitAction::Credentials { uid, gid, groups }) => {
                    (seeker.uid, seeker.gid) = (*uid, *gid);
                    seeker.groups = groups.clone().unwrap_or_default();
                }
                Action::Init(InitAction::Capabilities { effective, .. }) => {
                    seeker.overrides = effective & DAC_OVERRIDE != 0;
                }
                _ => {}
            }
        }
        seeker.overrides |= maps_ids(steps);
        seeker
    }

    /// Whether the modes of something let it be searched or executed.
    fn may_execute(&self, status: &rustix::fs::Stat) -> bool {
        let mode = status.st_mode;
        if self.overrides {
            return FileType::from_raw_mode(mode).is_dir() || mode & 0o111 != 0;
        }
        let bit = if self.uid == status.st_uid {
            0o100
        } else if self.gid == status.st_gid || self.groups.contains(&status.st_gid) {
            0o010
        } else {
            0o001
        };
        mode & bit != 0
    }
}

/// Whether ids inside are others outside, so that owners can't be compared from here.
fn maps_ids(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step.action, Action::Init(InitAction::BecomeNamespaceRoot)))
}

/// Why a path is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    pub(crate) hint: &'static str,
}

/// A container's tree as its steps put it together, and who walks it.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) steps: &'a [Step],
    pub(crate) seeker: Seeker,
}

impl Place<'_> {
    /// The first refusal on the way to `path`, if one shows from here.
    pub(crate) fn refusal(&self, rootfs: &Path, path: &str) -> Option<Refusal> {
        if let Some(refusal) = self.mount_refusal(path) {
            return Some(refusal);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, rootfs, flags, Mode::empty()).ok()?;
        self.walk(root.as_fd(), path)
    }

    /// The mount that `path` lies on, where it is one of the container's own and without the right to execute.
    fn mount_refusal(&self, path: &str) -> Option<Refusal> {
        let inside = path.trim_start_matches('/');
        let mut deepest: Option<(&str, u64)> = None;
        for step in self.steps {
            let (target, attributes) = match &step.action {
                Action::Init(InitAction::Mount(mount)) => (&mount.target, &mount.attributes),
                Action::Init(InitAction::Bind(mount)) => (&mount.target, &mount.attributes),
                _ => continue,
            };
            let Ok(target) = target.path.to_str() else { continue };
            let covers =
                inside.strip_prefix(target).is_some_and(|rest| rest.starts_with('/') || rest.is_empty());
            if covers && deepest.is_none_or(|(other, _)| other.len() <= target.len()) {
                deepest = Some((target, attributes.set));
            }
        }
        let (target, set) = deepest?;
        (set & attribute::NOEXEC != 0).then(|| Refusal {
            reason: format!("it lies on `/{target}`, which is mounted noexec"),
            hint: "mount it with `exec`, or put the program elsewhere",
        })
    }

    /// Walks as the kernel does, one name after the other, links inside the root.
    fn walk(&self, root: BorrowedFd<'_>, path: &str) -> Option<Refusal> {
        let mut left: Vec<OsString> = names(path.as_bytes());
        let mut way: Vec<OsString> = Vec::new();
        let mut links = 0;
        while let Some(name) = left.pop() {
            if name == ".." {
                way.pop();
                continue;
            }
            let directory = open(root, &way)?;
            let status = rustix::fs::fstat(&directory).ok()?;
            if !self.seeker.may_execute(&status) {
                return Some(self.refused_mode(&way, &status, "search"));
            }
            let found = open_name(&directory, &name)?;
            let status = rustix::fs::fstat(&found).ok()?;
            match FileType::from_raw_mode(status.st_mode) {
                FileType::Symlink if links < 40 => {
                    links += 1;
                    let text = rustix::fs::readlinkat(&directory, &name, Vec::new()).ok()?;
                    if text.to_bytes().starts_with(b"/") {
                        way.clear();
                    }
                    left.extend(names(text.to_bytes()));
                }
                FileType::Symlink => return None,
                kind if left.is_empty() => {
                    way.push(name);
                    return self.file_refusal(&way, kind, &status, &found);
                }
                _ => way.push(name),
            }
        }
        None
    }

    fn file_refusal(
        &self,
        way: &[OsString],
        kind: FileType,
        status: &rustix::fs::Stat,
        file: &OwnedFd,
    ) -> Option<Refusal> {
        if !kind.is_file() {
            return Some(Refusal {
                reason: format!("`{}` is no regular file", shown(way)),
                hint: "name a program",
            });
        }
        if !self.seeker.may_execute(status) {
            return Some(self.refused_mode(way, status, "execute"));
        }
        let flags = rustix::fs::fstatvfs(file).ok()?.f_flag;
        flags.contains(StatVfsMountFlags::NOEXEC).then(|| Refusal {
            reason: format!("the file system that `{}` lies on is mounted noexec on the host", shown(way)),
            hint: "mount it with `exec`, or copy the root file system elsewhere",
        })
    }

    fn refused_mode(&self, way: &[OsString], status: &rustix::fs::Stat, verb: &str) -> Refusal {
        let mode = status.st_mode & 0o7777;
        let (reason, hint) = if mode & 0o111 == 0 {
            (
                format!("its mode is {mode:04o}, so nobody may {verb} it"),
                "`chmod +x` it in the root file system",
            )
        } else {
            (
                format!(
                    "its mode is {mode:04o} and its owner {}:{}, so user {} in group {} may not {verb} it",
                    status.st_uid, status.st_gid, self.seeker.uid, self.seeker.gid
                ),
                "`chmod o+x` it in the root file system, or choose another `--user`",
            )
        };
        Refusal { reason: format!("`{}`: {reason}", shown(way)), hint }
    }
}

/// The names of a path, the last one first.
fn names(path: &[u8]) -> Vec<OsString> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.rev().map(|part| std::ffi::OsStr::from_bytes(part).to_owned()).collect()
}

fn shown(way: &[OsString]) -> String {
    let path: std::path::PathBuf = std::iter::once(OsString::from("/")).chain(way.iter().cloned()).collect();
    path.to_string_lossy().escape_debug().to_string()
}

fn open(root: BorrowedFd<'_>, way: &[OsString]) -> Option<OwnedFd> {
    let path: std::path::PathBuf = std::iter::once(OsString::from(".")).chain(way.iter().cloned()).collect();
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve).ok()
}

fn open_name(directory: &OwnedFd, name: &std::ffi::OsStr) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty()).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn reason(root: &Path, path: &str, uid: u32) -> Option<String> {
        let user = ProgramUser { uid, gid: uid, groups: None };
        let place = Place { steps: &[], seeker: Seeker::finding(&user, &[]) };
        place.refusal(root, path).map(|refusal| refusal.reason)
    }

    #[test]
    fn first_link_that_refuses_is_named_with_its_mode_and_the_user() {
        let root = std::env::temp_dir().join(format!("rabbitc-culprit-{}", std::process::id()));
        let mode = |path: &str, mode: u32| {
            std::fs::set_permissions(root.join(path), std::fs::Permissions::from_mode(mode)).expect("set");
        };
        std::fs::create_dir_all(root.join("a/b")).expect("made");
        std::fs::write(root.join("a/b/program"), "x").expect("written");
        symlink("/a/./b/../b", root.join("link")).expect("linked");
        symlink("/loop", root.join("loop")).expect("linked");
        ["", "a", "a/b", "a/b/program"].iter().for_each(|path| mode(path, 0o755));
        // A user that owns nothing here.
        let other = 4_000_000_000;
        assert_eq!(reason(&root, "/link/program", other), None);
        mode("a/b/program", 0o744);
        let found = reason(&root, "/link/program", other).expect("refused");
        assert!(
            found.contains("`/a/b/program`") && found.contains("0744") && found.contains("4000000000"),
            "{found}"
        );
        assert_eq!(reason(&root, "/link/program", 0), None, "root needs but one bit");
        mode("a/b/program", 0o644);
        assert!(reason(&root, "/link/program", 0).expect("refused").contains("nobody may execute"));
        mode("a/b", 0o700);
        let found = reason(&root, "/link/program", other).expect("refused");
        assert!(found.contains("`/a/b`") && found.contains("search"), "{found}");
        assert!(reason(&root, "/a", other).expect("refused").contains("no regular file"));
        assert_eq!(reason(&root, "/loop/x", other), None);
        assert_eq!(reason(&root, "/a/missing", other), None);
        std::fs::remove_dir_all(root).expect("removed");
    }
}
