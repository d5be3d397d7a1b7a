//! Which link of a path refuses a program: the first directory that its user may not search, the file's own mode, a mount
//! without the right to execute, or the same of its interpreter. Looks from outside, at what the steps mount.

use std::ffi::OsString;

use crate::init::step::{Action, HostAction, InitAction, OwnerMap, ProgramUser, Step};
use crate::mounted::{End, Mounted, NoExec, Owner, Place as Where, Seen, shown};
use crate::plan::IdMaps;

/// As whom a path is walked.
#[derive(Debug)]
pub(crate) struct Seeker {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    /// Whether modes are no obstacle (CAP_DAC_OVERRIDE).
    overrides: bool,
    /// Whether those of directories are none (CAP_DAC_READ_SEARCH).
    searches: bool,
    ids: Ids,
}

impl Seeker {
    /// The program's user while the program is looked for: root has all its rights then.
    pub(crate) fn finding(user: &ProgramUser, steps: &[Step]) -> Seeker {
        let (groups, root) = (user.groups.clone().unwrap_or_default(), user.uid == 0);
        Seeker { uid: user.uid, gid: user.gid, groups, overrides: root, searches: root, ids: Ids::of(steps) }
    }

    /// The program's user at its exec, with the rights that are left by then.
    pub(crate) fn executing(steps: &[Step]) -> Seeker {
        const DAC_OVERRIDE: u64 = 1 << 1;
        const DAC_READ_SEARCH: u64 = 1 << 2;
        let user = ProgramUser { uid: 0, gid: 0, groups: None };
        let mut seeker = Seeker { overrides: false, searches: false, ..Seeker::finding(&user, steps) };
        for step in steps {
            match &step.action {
                Action::Init(InitAction::Credentials { uid, gid, groups }) => {
                    (seeker.uid, seeker.gid) = (*uid, *gid);
                    seeker.groups = groups.clone().unwrap_or_default();
                }
                Action::Init(InitAction::Capabilities { effective, .. }) => {
                    seeker.overrides = effective & DAC_OVERRIDE != 0;
                    seeker.searches = effective & DAC_READ_SEARCH != 0;
                }
                _ => {}
            }
        }
        seeker
    }

    /// Whether the mode of something lets it be searched or executed (path_resolution(7)).
    fn judge(&self, seen: &Seen<'_>) -> Judgement {
        const ALL: u32 = 0o111;
        let (directory, bits) = (seen.kind.is_dir(), seen.mode & ALL);
        let (uid, gid) = self.ids.owner(&seen.owner);
        let unknown = uid == Id::Unknown || gid == Id::Unknown;
        // Over what belongs to nobody of the user namespace, its capabilities have no power.
        if self.overrides || (directory && self.searches) {
            match (uid, gid) {
                (Id::Is(_), Id::Is(_)) => return Judgement::of(directory || bits != 0),
                _ if unknown && (directory || bits != 0) && bits != ALL => return Judgement::Unknown,
                _ => {}
            }
        }
        if bits == 0 || bits == ALL {
            return Judgement::of(bits == ALL);
        }
        if unknown {
            return Judgement::Unknown;
        }
        let in_group = |gid: u32| gid == self.gid || self.groups.contains(&gid);
        let bit = match (uid, gid) {
            (Id::Is(uid), _) if uid == self.uid => 0o100,
            (_, Id::Is(gid)) if in_group(gid) => 0o010,
            _ => 0o001,
        };
        Judgement::of(bits & bit != 0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    May,
    MayNot,
    /// It depends on an owner who can't be told from here.
    Unknown,
}

impl Judgement {
    fn of(may: bool) -> Judgement {
        if may { Judgement::May } else { Judgement::MayNot }
    }
}

/// An id as the container sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    Is(u32),
    /// Its user namespace does not map it.
    Nobody,
    Unknown,
}

/// Where ids of the container stand among the caller's.
#[derive(Debug)]
enum Ids {
    /// They are the same; the maps are the caller's own.
    Callers {
        uid: Ranges,
        gid: Ranges,
    },
    Mapped {
        uid: Ranges,
        gid: Ranges,
    },
    Unknown,
}

impl Ids {
    fn of(steps: &[Step]) -> Ids {
        let read = |file: String| std::fs::read_to_string(file).map(|text| Ranges::parse(&text));
        let both = |directory: &str| {
            Some((read(format!("{directory}/uid_map")).ok()?, read(format!("{directory}/gid_map")).ok()?))
        };
        for step in steps {
            match &step.action {
                Action::Host(HostAction::WriteIdMaps { maps }) => {
                    return Ids::Mapped { uid: Ranges::parse(&maps.uid), gid: Ranges::parse(&maps.gid) };
                }
                Action::Init(InitAction::JoinNamespaces { namespaces }) => {
                    let user = namespaces.iter().find(|one| one.flag == sys::clone::flags::NEWUSER);
                    let Some(user) = user else { continue };
                    // Maps are told by a process of the namespace alone.
                    let process = user.path.to_str().and_then(|path| path.strip_suffix("/ns/user"));
                    let maps = process.filter(|process| process.starts_with("/proc/")).and_then(both);
                    return maps.map_or(Ids::Unknown, |(uid, gid)| Ids::Mapped { uid, gid });
                }
                _ => {}
            }
        }
        let (uid, gid) = both("/proc/self").unwrap_or_else(|| (Ranges::all(), Ranges::all()));
        Ids::Callers { uid, gid }
    }

    fn owner(&self, owner: &Owner<'_>) -> (Id, Id) {
        let (uid, gid, map) = match owner {
            Owner::Inside { uid, gid } => return (Id::Is(*uid), Id::Is(*gid)),
            Owner::OnDisk { uid, gid, map } => (*uid, *gid, map),
        };
        match map {
            None => self.inside(Some(uid), Some(gid)),
            // The container's own: what it shows, that map takes back.
            Some(OwnerMap::Namespace(_)) => (Id::Is(uid), Id::Is(gid)),
            Some(OwnerMap::Lists(IdMaps { uid: users, gid: groups, .. })) => {
                let (users, groups) = (Ranges::parse(users), Ranges::parse(groups));
                self.inside(users.outside(uid), groups.outside(gid))
            }
        }
    }

    fn inside(&self, uid: Option<u32>, gid: Option<u32>) -> (Id, Id) {
        let known = |id: Option<u32>| id.map_or(Id::Nobody, Id::Is);
        match self {
            Ids::Callers { uid: users, gid: groups } => (
                known(uid.filter(|uid| users.outside(*uid).is_some())),
                known(gid.filter(|gid| groups.outside(*gid).is_some())),
            ),
            Ids::Mapped { uid: users, gid: groups } => {
                (known(uid.and_then(|uid| users.inside(uid))), known(gid.and_then(|gid| groups.inside(gid))))
            }
            Ids::Unknown => (Id::Unknown, Id::Unknown),
        }
    }
}

/// A map of user_namespaces(7): the first id inside, the first outside, how many.
#[derive(Debug)]
struct Ranges(Vec<(u32, u32, u32)>);

impl Ranges {
    fn parse(text: &str) -> Ranges {
        Ranges(crate::id_map_files::extents(text).collect())
    }

    fn all() -> Ranges {
        Ranges(vec![(0, 0, u32::MAX)])
    }

    fn outside(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|(inside, outside, count)| {
            let offset = id.checked_sub(*inside).filter(|offset| offset < count)?;
            outside.checked_add(offset)
        })
    }

    fn inside(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|(inside, outside, count)| {
            let offset = id.checked_sub(*outside).filter(|offset| offset < count)?;
            inside.checked_add(offset)
        })
    }
}

/// Why a path is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    pub(crate) hint: String,
}

/// What a look at a path says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All modes and mounts on the way permit it.
    Permitted,
    /// The first that does not.
    Refused(Refusal),
    /// Part of the way can't be looked at from here.
    Unseen(Refusal),
}

/// A container's tree as its steps put it together, and who walks it.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) tree: Mounted<'a>,
    pub(crate) seeker: Seeker,
}

impl Place<'_> {
    /// Looks at the way to `path` and at what is there.
    pub(crate) fn verdict(&self, path: &str) -> Verdict {
        let enter = |way: &[OsString], seen: &Seen<'_>| self.refused_mode(way, seen, "search");
        match self.tree.walk(path.as_bytes(), enter) {
            End::Stopped(refusal) => Verdict::Refused(refusal),
            End::Found(way, seen) => {
                self.file_refusal(&way, &seen).map_or(Verdict::Permitted, Verdict::Refused)
            }
            End::Unseen(way) if self.tree.is_no_exec(&way) => Verdict::Refused(self.no_exec(&way)),
            End::Missing(way) | End::Unseen(way) => {
                let reason = match self.tree.lies_on(&way) {
                    Some(mount) => format!("it lies on {mount}, and can't be looked at from outside"),
                    None => format!("`{}` can't be looked at from outside", shown(&way)),
                };
                let hint = format!(
                    "look from `{}` down at modes, access control lists and the options of what is mounted there",
                    self.tree.mount_point(&way)
                );
                Verdict::Unseen(Refusal { reason, hint })
            }
        }
    }

    fn no_exec(&self, way: &[OsString]) -> Refusal {
        Refusal {
            reason: format!("it lies on `{}`, which is mounted noexec", self.tree.mount_point(way)),
            hint: "mount it with `exec`, or put the program elsewhere".to_owned(),
        }
    }

    fn file_refusal(&self, way: &[OsString], seen: &Seen<'_>) -> Option<Refusal> {
        if !seen.kind.is_file() {
            return Some(Refusal {
                reason: format!("`{}` is no regular file", shown(way)),
                hint: "name a program".to_owned(),
            });
        }
        if seen.no_exec == Some(NoExec::Asked) {
            return Some(self.no_exec(way));
        }
        self.refused_mode(way, seen, "execute").or_else(|| {
            let what = match &seen.place {
                Where::Host(_) => "program",
                _ => "root file system",
            };
            (seen.no_exec == Some(NoExec::Hosts)).then(|| match seen.place {
                // Its own mounts alone are seen there, and none of the host's.
                Where::Running => Refusal {
                    reason: format!("the file system that `{}` lies on is mounted noexec", shown(way)),
                    hint: "mount it with `exec`, or put the program elsewhere".to_owned(),
                },
                _ => Refusal {
                    reason: format!(
                        "the file system that `{}` lies on is mounted noexec on the host",
                        shown(way)
                    ),
                    hint: format!("remount it there with `exec`, or copy the {what} elsewhere"),
                },
            })
        })
    }

    fn refused_mode(&self, way: &[OsString], seen: &Seen<'_>, verb: &str) -> Option<Refusal> {
        let judgement = self.seeker.judge(seen);
        if judgement == Judgement::May {
            return None;
        }
        let Seeker { uid, gid, .. } = self.seeker;
        let owner = self.seeker.ids.owner(&seen.owner);
        let (shown_owner, or_else) = match (owner, seen.owner) {
            ((Id::Is(uid), Id::Is(gid)), _) | (_, Owner::Inside { uid, gid }) => {
                (format!("{uid}:{gid}"), "choose another `--user`")
            }
            ((Id::Unknown, _) | (_, Id::Unknown), Owner::OnDisk { uid, gid, .. }) => {
                (format!("{uid}:{gid} on the host"), "choose another `--user`")
            }
            (_, Owner::OnDisk { uid, gid, .. }) => (
                format!("{uid}:{gid} on the host, whom the user namespace does not map"),
                "give it an owner that is mapped",
            ),
        };
        let mode = seen.mode;
        let nobody = mode & 0o111 == 0 && verb == "execute";
        let reason = match judgement {
            _ if nobody => format!("its mode is {mode:04o}, so nobody may {verb} it"),
            Judgement::Unknown => format!(
                "its mode is {mode:04o} and its owner {shown_owner}, and whether user {uid} in group {gid} may {verb} it \
                 depends on the user namespace"
            ),
            _ => format!(
                "its mode is {mode:04o} and its owner {shown_owner}, so user {uid} in group {gid} may not {verb} it"
            ),
        };
        let change = if nobody { "+x" } else { "o+x" };
        let change = match &seen.place {
            Where::Root => format!("`chmod {change}` it in the root file system"),
            Where::Running | Where::Made => format!("`chmod {change}` it in the container"),
            Where::Host(path) => {
                format!("`chmod {change} {}`", path.to_string_lossy().escape_debug())
            }
            Where::Memory => "give that mount another `mode=`".to_owned(),
        };
        let hint = if nobody { change } else { format!("{change}, or {or_else}") };
        Some(Refusal { reason: format!("`{}`: {reason}", shown(way)), hint })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    fn reason(root: &Path, path: &str, uid: u32) -> Option<String> {
        let user = ProgramUser { uid, gid: uid, groups: None };
        let place = Place { tree: Mounted::of(&[], root), seeker: Seeker::finding(&user, &[]) };
        match place.verdict(path) {
            Verdict::Refused(refusal) => Some(refusal.reason),
            Verdict::Permitted | Verdict::Unseen(_) => None,
        }
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
        // Nothing is said of modes that were not seen.
        let user = ProgramUser { uid: other, gid: other, groups: None };
        let place = Place { tree: Mounted::of(&[], &root), seeker: Seeker::finding(&user, &[]) };
        for path in ["/loop/x", "/a/missing"] {
            assert!(matches!(place.verdict(path), Verdict::Unseen(_)), "{path}");
        }
        std::fs::remove_dir_all(root).expect("removed");
    }

    #[test]
    fn owners_are_compared_as_the_container_sees_them() {
        let ranges = |text: &str| Ranges::parse(text);
        let mapped = Ids::Mapped { uid: ranges("0 100000 10\n20 5 1\n"), gid: ranges("0 100000 10\n") };
        let disk = |uid, gid| Owner::OnDisk { uid, gid, map: None };
        assert_eq!(mapped.owner(&disk(100_003, 100_009)), (Id::Is(3), Id::Is(9)));
        assert_eq!(mapped.owner(&disk(5, 5)), (Id::Is(20), Id::Nobody));
        assert_eq!(mapped.owner(&disk(0, 100_010)), (Id::Nobody, Id::Nobody));
        assert_eq!(mapped.owner(&Owner::Inside { uid: 7, gid: 8 }), (Id::Is(7), Id::Is(8)));
        // Through a map of the mount's own, which stands before the container's.
        let (uid, gid) = ("0 100000 5\n".to_owned(), "0 100000 5\n".to_owned());
        let lists = OwnerMap::Lists(IdMaps { uid, gid, root: (None, None) });
        let shown = |uid, gid| Owner::OnDisk { uid, gid, map: Some(&lists) };
        assert_eq!(mapped.owner(&shown(3, 0)), (Id::Is(3), Id::Is(0)));
        assert_eq!(mapped.owner(&shown(6, 0)), (Id::Nobody, Id::Is(0)));
        assert_eq!(Ids::Unknown.owner(&disk(0, 0)), (Id::Unknown, Id::Unknown));
        let callers = Ids::Callers { uid: ranges("0 1000 1\n"), gid: ranges("0 1000 1\n") };
        assert_eq!(callers.owner(&disk(0, 65_534)), (Id::Is(0), Id::Nobody));
    }
}
