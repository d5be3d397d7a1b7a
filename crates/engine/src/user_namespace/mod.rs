//! The user namespace of a container that root starts: which ids stand behind its own, and what its config says of it.
//! Callers without root have ways of their own.

pub(crate) mod leases;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use runtime::ErrorKind;
use runtime::plan::RootOwners;
use runtime::spec::{IdMapping, Linux, Mount, Namespace, NamespaceKind, Spec};

use self::leases::RangeLease;
use crate::config::is_of_the_kernel;
use crate::container::Effects;
use crate::error::{Error, Result};
use crate::options::{AutoUsers, MappedUsers, UserNamespace};
use crate::paths::EnginePaths;
use runtime::subordinate_ids::{self, Owner, Range};

/// How many ids `auto` gives a container: what programs expect, the overflow id 65534 among them.
const USUAL: u32 = 65_536;

/// Where `auto` takes ranges from when the host's files grant none: above what systemd and shadow-utils give to users
/// and containers (<https://systemd.io/UIDS-GIDS>), 4094 ranges of 65536.
const BUILT_IN: Range = Range { first: 0x7000_0000, count: 4094 * USUAL };

/// Users of `/etc/subuid` and `/etc/subgid` whose ranges `auto` takes, the first that has some.
const OWNERS: [&str; 3] = ["containers", "rabbitc", "root"];

/// The ids of one container, found.
#[derive(Debug)]
pub(crate) struct Users {
    source: Source,
    /// The range that is its alone.
    lease: Option<RangeLease>,
}

#[derive(Debug)]
enum Source {
    Maps { uid: Vec<IdMapping>, gid: Vec<IdMapping> },
    Joined(PathBuf),
}

impl Users {
    /// Looks up what `wanted` means on this host; `None` is the host's own ids. A range of its own is leased for
    /// `holder` where effects are allowed.
    pub(crate) fn find(
        wanted: &UserNamespace,
        paths: &EnginePaths,
        holder: &str,
        effects: Effects,
    ) -> Result<Option<Users>> {
        let maps = |uid, gid| Users { source: Source::Maps { uid, gid }, lease: None };
        Ok(Some(match wanted {
            UserNamespace::Default | UserNamespace::Host => return Ok(None),
            UserNamespace::Auto(auto) => Users::own_range(auto, paths, holder, effects)?,
            UserNamespace::Mapped(MappedUsers::Ranges { uid, gid }) => maps(uid.clone(), gid.clone()),
            UserNamespace::Mapped(MappedUsers::Owners { uid, gid }) => {
                let users = Path::new(subordinate_ids::USERS);
                let groups = Path::new(subordinate_ids::GROUPS);
                maps(ranges_of("--subuidname", users, uid)?, ranges_of("--subgidname", groups, gid)?)
            }
            UserNamespace::Container(_) => unreachable!("settled to the path of its namespace"),
            UserNamespace::Path(path) => match other_than_own(path.clone()) {
                Some(path) => Users::joined(path, paths, holder, effects)?,
                None => return Ok(None),
            },
            UserNamespace::KeepId(kept) => {
                if kept.uid.unwrap_or(0) != 0 || kept.gid.unwrap_or(0) != 0 {
                    return Err(refuse_for_root("keep-id:uid=N,gid=N"));
                }
                // As podman has it: root stays root, and everybody is who he was.
                let all = IdMapping { container_id: 0, host_id: 0, size: kept.size.unwrap_or(u32::MAX) };
                maps(vec![all], vec![all])
            }
            UserNamespace::NoMap => return Err(refuse_for_root("nomap")),
        }))
    }

    /// In a namespace that is there, whose ids must be its alone until this container has ended as well.
    fn joined(path: PathBuf, paths: &EnginePaths, holder: &str, effects: Effects) -> Result<Users> {
        let mut lease = None;
        if effects == Effects::Allowed {
            for id in ids_of(&path) {
                // `auto` leases one range for a container; what was mapped by hand beside it is nobody's.
                lease = match lease {
                    None => RangeLease::share(&paths.user_ids(), id, holder)?,
                    found => found,
                };
            }
        }
        Ok(Users { source: Source::Joined(path), lease })
    }

    fn own_range(auto: &AutoUsers, paths: &EnginePaths, holder: &str, effects: Effects) -> Result<Users> {
        let size = auto.size.unwrap_or(USUAL);
        let (pool, whose) = pool()?;
        let too_many = |reason: String| {
            let error = Error::new(ErrorKind::System, "--userns=auto: find free ids", reason);
            error.with_hint(format!(
                "give `{}` more in /etc/subuid and /etc/subgid, ask for fewer with `auto:size=N`, or end containers",
                OWNERS[0]
            ))
        };
        if !pool.iter().any(|range| range.count >= size) {
            return Err(too_many(format!("{whose} has no {size} in one piece")));
        }
        let (range, lease) = match effects {
            Effects::None => (Range { first: pool[0].first, count: size }, None),
            Effects::Allowed => {
                let lease = RangeLease::take(&paths.user_ids(), &pool, size, holder)?;
                let lease = lease.ok_or_else(|| {
                    too_many(format!("running containers have all {size} in one piece that {whose} has"))
                })?;
                (lease.range, Some(lease))
            }
        };
        let uid = around(range, &auto.uid_maps);
        let gid = around(range, &auto.gid_maps);
        Ok(Users { source: Source::Maps { uid, gid }, lease })
    }

    /// Puts the namespace into the config, and changes what can't be had in one as it stands there. `owners` is how the
    /// root is shown, and so are volumes.
    pub(crate) fn adapt(&self, spec: &mut Spec, owners: RootOwners) {
        let linux = spec.linux.get_or_insert_with(Linux::default);
        let path = match &self.source {
            Source::Maps { uid, gid } => {
                linux.uid_mappings = uid.clone();
                linux.gid_mappings = gid.clone();
                None
            }
            Source::Joined(path) => Some(path.clone()),
        };
        linux.namespaces.push(Namespace { kind: NamespaceKind::User, path });
        fit_mounts(spec, self.has_group(TERMINALS));
        if owners == RootOwners::Shifted {
            spec.mounts.iter_mut().for_each(map_volume);
        }
    }

    /// Whether group `id` exists inside, as far as is known.
    fn has_group(&self, id: u32) -> bool {
        match &self.source {
            Source::Maps { gid, .. } => IdMapping::host_id(gid, id).is_some(),
            Source::Joined(_) => false,
        }
    }

    /// The range that must be kept as long as the container lives.
    pub(crate) fn into_lease(self) -> Option<RangeLease> {
        self.lease
    }
}

/// Changes the mounts that can't be had in a user namespace as they stand there; `terminals` is whether their group
/// exists inside.
pub(crate) fn fit_mounts(spec: &mut Spec, terminals: bool) {
    let namespaces = spec.linux.iter().flat_map(|linux| &linux.namespaces);
    let own: Vec<NamespaceKind> = namespaces.map(|namespace| namespace.kind).collect();
    let lacks = |kind: NamespaceKind| !own.contains(&kind);
    if lacks(NamespaceKind::Ipc) && !Path::new("/dev/mqueue").exists() {
        spec.mounts.retain(|mount| mount.kind.as_deref() != Some("mqueue"));
    }
    for mount in &mut spec.mounts {
        match mount.kind.as_deref() {
            Some("devpts") if !terminals => {
                mount.options.iter_mut().for_each(|options| options.retain(|one| !one.starts_with("gid=")));
            }
            // The kernel makes these only in namespaces that belong to the user namespace.
            Some("sysfs") if lacks(NamespaceKind::Network) => bind_hosts(mount, "/sys", true),
            Some("proc") if lacks(NamespaceKind::Pid) => bind_hosts(mount, "/proc", false),
            Some("mqueue") if lacks(NamespaceKind::Ipc) => bind_hosts(mount, "/dev/mqueue", false),
            // On v1 the runtime binds what is the container's, one hierarchy at a time.
            Some("cgroup") if lacks(NamespaceKind::Cgroup) && Path::new(UNIFIED).exists() => {
                let closed = mount.options.iter().flatten().any(|option| option == "ro");
                bind_hosts(mount, "/sys/fs/cgroup", closed);
            }
            _ => {}
        }
    }
}

/// There where cgroup v2 is alone.
const UNIFIED: &str = "/sys/fs/cgroup/cgroup.controllers";

/// The group `tty`, to which terminals belong.
pub(crate) const TERMINALS: u32 = 5;

/// The host's own in the place of a new one.
fn bind_hosts(mount: &mut Mount, source: &str, read_only: bool) {
    mount.kind = Some("bind".to_owned());
    mount.source = Some(source.to_owned());
    let mut options = vec!["rbind", "rnosuid", "rnoexec", "rnodev"];
    if read_only {
        options.push("rro");
    }
    mount.options = Some(options.into_iter().map(str::to_owned).collect());
}

/// What is bound from the host keeps its owners: user 1000 inside is user 1000 there. Not so the kernel's own, whose file
/// systems can't: a device is used by its mode, and nobody's inside.
fn map_volume(mount: &mut Mount) {
    let source = Path::new(mount.source.as_deref().unwrap_or_default());
    if is_of_the_kernel(source, &["/dev", "/proc", "/sys"]) {
        return;
    }
    let Some(recursive) = mount.bind_recursion() else { return };
    let options = mount.options.get_or_insert_with(Vec::new);
    let has = |name: &str| options.iter().any(|option| option == name);
    let asked = has("idmap") || has("ridmap") || mount.uid_mappings.is_some();
    if !asked {
        options.push(if recursive { "ridmap" } else { "idmap" }.to_owned());
    }
}

/// The ids of `range` from 0 on, but for those that `forced` maps otherwise.
fn around(range: Range, forced: &[IdMapping]) -> Vec<IdMapping> {
    let mut maps = forced.to_vec();
    maps.sort_by_key(|map| map.container_id);
    let mut holes = maps.clone();
    holes.push(IdMapping { container_id: range.count, host_id: 0, size: 0 });
    let mut next = 0u32;
    for hole in holes {
        let end = hole.container_id.min(range.count);
        if end > next {
            maps.push(IdMapping { container_id: next, host_id: range.first + next, size: end - next });
        }
        next = next.max(hole.container_id.saturating_add(hole.size));
    }
    maps.sort_by_key(|map| map.container_id);
    maps
}

/// The ranges from which containers get theirs, and whose they are, in words.
fn pool() -> Result<(Vec<Range>, String)> {
    for name in OWNERS {
        let owner = if name == "root" { Owner::of(0) } else { Owner::named(name) };
        let users = subordinate_ids::read(Path::new(subordinate_ids::USERS), &owner)?;
        let groups = subordinate_ids::read(Path::new(subordinate_ids::GROUPS), &owner)?;
        // A container's users and groups are the same numbers, so that one lease counts for both.
        let both = common(&users, &groups);
        if !both.is_empty() {
            return Ok((both, format!("`{name}` in /etc/subuid and /etc/subgid")));
        }
    }
    Ok((vec![BUILT_IN], "the built-in range".to_owned()))
}

/// The ids that are in both lists.
fn common(some: &[Range], others: &[Range]) -> Vec<Range> {
    let mut both = Vec::new();
    for one in some {
        for other in others {
            let (first, last) = (one.first.max(other.first), one.last().min(other.last()));
            if first <= last {
                both.push(Range { first, count: last - first + 1 });
            }
        }
    }
    both
}

/// The ranges of a user in one of the files, from 0 on inside.
pub(crate) fn ranges_of(flag: &str, file: &Path, name: &str) -> Result<Vec<IdMapping>> {
    let owner = match name.parse() {
        Ok(uid) => Owner::of(uid),
        Err(_) => Owner::named(name),
    };
    let ranges = subordinate_ids::read(file, &owner).map_err(|error| error.from_field(flag))?;
    if ranges.is_empty() {
        let reason = format!("`{}` grants `{}` no ids", file.display(), name.escape_debug());
        let hint = format!("add a line `{}:FIRST:COUNT` to it as root", name.escape_debug());
        return Err(Error::invalid(flag, reason).with_hint(hint));
    }
    let mut next = 0u32;
    let mut maps = Vec::new();
    for range in ranges {
        let size = range.count.min(u32::MAX - next);
        if size > 0 {
            maps.push(IdMapping { container_id: next, host_id: range.first, size });
            next += size;
        }
    }
    Ok(maps)
}

/// The ids on the host that a namespace consists of, each range's first one: known of a namespace with a process in it.
fn ids_of(namespace: &Path) -> Vec<u32> {
    let maps = match process_of(namespace) {
        Some(process) => std::fs::read_to_string(process.join("uid_map")).unwrap_or_default(),
        None => String::new(),
    };
    // Inside, on the host, count (user_namespaces(7)).
    maps.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse().ok()).collect()
}

/// The directory in `/proc` of a process in this user namespace.
fn process_of(namespace: &Path) -> Option<PathBuf> {
    let process = namespace.to_str().and_then(|path| path.strip_suffix("/ns/user")).map(PathBuf::from);
    if let Some(process) = process.filter(|process| process.join("uid_map").exists()) {
        return Some(process);
    }
    let wanted = identity(namespace)?;
    let entries = std::fs::read_dir("/proc").ok()?;
    let numbers = entries.flatten().filter(|entry| {
        entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    });
    numbers.map(|entry| entry.path()).find(|process| identity(&process.join("ns/user")) == Some(wanted))
}

/// The path, unless it leads to the namespace that this process is in: that one is the host's.
fn other_than_own(path: PathBuf) -> Option<PathBuf> {
    let own = identity(Path::new("/proc/self/ns/user"));
    (own.is_none() || identity(&path) != own).then_some(path)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

fn refuse_for_root(mode: &str) -> Error {
    let reason = format!("`{mode}` is about the ids of a caller without root, and this one is root");
    let hint = "leave `--userns` out to keep root's ids, or give the container others with `--userns=auto`";
    Error::invalid("--userns", reason).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    #[test]
    fn range_of_its_own_leaves_out_what_is_mapped_otherwise() {
        let range = Range { first: 100_000, count: 1000 };
        assert_eq!(around(range, &[]), [map(0, 100_000, 1000)]);
        let forced = [map(999, 5, 10), map(0, 0, 1), map(500, 1000, 2)];
        let expected =
            [map(0, 0, 1), map(1, 100_001, 499), map(500, 1000, 2), map(502, 100_502, 497), map(999, 5, 10)];
        assert_eq!(around(range, &forced), expected);
        assert_eq!(around(range, &[map(2000, 5, 1)]), [map(0, 100_000, 1000), map(2000, 5, 1)]);
    }

    #[test]
    fn only_ids_that_are_users_and_groups_serve() {
        let range = |first, count| Range { first, count };
        let both = common(&[range(100, 100), range(500, 10)], &[range(150, 400)]);
        assert_eq!(both, [range(150, 50), range(500, 10)]);
    }

    #[test]
    fn volumes_are_shown_with_their_owners_and_the_rest_is_left() {
        let volume = |options: &[&str]| {
            let options = Some(options.iter().map(|&option| option.to_owned()).collect());
            let mut mount = Mount { options, source: Some("/srv".to_owned()), ..Mount::default() };
            map_volume(&mut mount);
            mount.options.expect("kept").last().cloned().unwrap_or_default()
        };
        assert_eq!(volume(&["rbind", "ro"]), "ridmap");
        assert_eq!(volume(&["bind"]), "idmap");
        assert_eq!(volume(&["rbind", "idmap", "ro"]), "ro", "as it was asked for");
        assert_eq!(volume(&["nosuid"]), "nosuid");
        let options = Some(vec!["rbind".to_owned()]);
        let mut device = Mount { options, source: Some("/dev/dri".to_owned()), ..Mount::default() };
        map_volume(&mut device);
        assert_eq!(device.options.expect("kept"), ["rbind"], "the kernel's own");
    }

    #[test]
    fn built_in_range_lies_above_users_and_has_no_reserved_id() {
        let (nspawn, foreign) = (524_288..1_879_048_192, 2_147_352_576..2_147_418_112);
        for id in [BUILT_IN.first, BUILT_IN.last()] {
            assert!(!nspawn.contains(&id) && !foreign.contains(&id) && id > 600_100_000, "{id}");
        }
    }
}
