//! What a container of an ordinary user is: which ids it gets, which network, and what of the config can't be had
//! without root. Must not start anything; [`pasta`] does.

pub(crate) mod pasta;
pub(crate) mod ports;

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use ::network::PortRequest;
use runtime::ErrorKind;
use runtime::id_map_files::{IdKind, mapping_program};
use runtime::spec::{IdMapping, Linux, Namespace, NamespaceKind, Spec};

use self::pasta::{Namespaces, Pasta};
use crate::container::Notice;
use crate::error::{Error, Result};
use crate::images::shifted;
use crate::options::{
    Identity, ImageRoot, KeptIds, Lack, MappedUsers, NetworkMode, RootOptions, RunOptions, Unnamed,
    UserNamespace, UserOption,
};
use crate::user_namespace::{TERMINALS, fit_mounts, ranges_of};
use runtime::subordinate_ids::{self, Owner, Range};

/// Users or groups that one caller may map.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ids {
    /// The caller's own.
    own: u32,
    /// Its ranges; none in single-id mode.
    ranges: Vec<Range>,
}

/// Who the caller is and what it may map.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CallerIds {
    users: Ids,
    groups: Ids,
    /// Why only its own id can be mapped, and what would help.
    single: Option<Lack>,
}

impl CallerIds {
    /// Looks the caller up.
    fn find() -> Result<CallerIds> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let single = |what: String, remedy: String| {
            let alone = |own| Ids { own, ranges: Vec::new() };
            let single = Some(Lack { what, remedy });
            CallerIds { users: alone(uid), groups: alone(gid), single }
        };
        for kind in [IdKind::User, IdKind::Group] {
            if mapping_program(kind).is_none() {
                let what = format!("`{}` is not installed", kind.program());
                let remedy = "install it: package `uidmap` (Debian, Ubuntu) or `shadow-utils` (Fedora)";
                return Ok(single(what, remedy.to_owned()));
            }
        }
        let owner = Owner::of(uid);
        let users = subordinate_ids::read(Path::new(subordinate_ids::USERS), &owner)?;
        let groups = subordinate_ids::read(Path::new(subordinate_ids::GROUPS), &owner)?;
        for (ranges, file) in [(&users, subordinate_ids::USERS), (&groups, subordinate_ids::GROUPS)] {
            if ranges.is_empty() {
                let what = format!("`{file}` grants `{}` no ids", owner.shown());
                return Ok(single(what, grant(&owner, subordinate_ids::first_free())));
            }
        }
        Ok(CallerIds {
            users: Ids { own: uid, ranges: users },
            groups: Ids { own: gid, ranges: groups },
            single: None,
        })
    }
}

/// What the lack of ids means for a container.
fn in_container(single: &Lack) -> Notice {
    let what = format!("only one user and one group exist in this container: {}", single.what);
    Notice { what, remedy: Some(single.remedy.clone()) }
}

/// Moves this process, an ordinary user's with one thread, to where that is root over its own ids: it makes files of all of
/// them, and removes them. What is to be said where it has one id alone.
pub(crate) fn enter_own_users() -> Result<Option<Notice>> {
    let identity = CallerIds::find()?;
    let (users, groups) = (identity.users.root_is_caller(), identity.groups.root_is_caller());
    runtime::user_namespace::enter(&users, &groups)?;
    Ok(identity.single.map(|single| Notice {
        what: format!("all files of this image are yours, whoever they belong to in it: {}", single.what),
        remedy: Some(format!("{}; then remove the image and pull it again", single.remedy)),
    }))
}

/// What root does to grant `owner` the ids from `first` on.
fn grant(owner: &Owner, first: u32) -> String {
    let last = first + 65_535;
    match (&owner.name, owner.uid) {
        // usermod(8) takes users of /etc/passwd alone, and newuidmap(1) those that have a name somewhere.
        (None, Some(uid)) => {
            let files = [subordinate_ids::USERS, subordinate_ids::GROUPS].join(" ");
            format!(
                "as root: `echo '{uid}:{first}:65536' | tee -a {files}`, where a directory service has a name for user \
                 {uid}; else an account with ids: `useradd --uid {uid} NAME`"
            )
        }
        _ => {
            let user = owner.shown();
            format!("as root: `usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {user}`")
        }
    }
}

impl Ids {
    /// Root inside is the caller, and 1, 2, … are its ranges, one after the other.
    fn root_is_caller(&self) -> Vec<IdMapping> {
        let mut maps = vec![IdMapping { container_id: 0, host_id: self.own, size: 1 }];
        self.lay_out(1, 0, &mut maps);
        maps
    }

    /// Lays the ranges out from `inside` on, but for the first `skipped` ids; returns where they end.
    fn lay_out(&self, mut inside: u32, mut skipped: u32, maps: &mut Vec<IdMapping>) {
        for range in &self.ranges {
            let left_out = skipped.min(range.count);
            skipped -= left_out;
            let size = (range.count - left_out).min(u32::MAX - inside);
            if size > 0 {
                maps.push(IdMapping { container_id: inside, host_id: range.first + left_out, size });
                inside += size;
            }
        }
    }

    fn count(&self) -> u32 {
        self.ranges.iter().fold(0, |sum, range| sum.saturating_add(range.count))
    }

    /// The caller is `inside`, and other numbers are its ranges, in order: what lies below first, and at most `size` in
    /// all.
    fn caller_is(&self, inside: u32, size: Option<u32>) -> Vec<IdMapping> {
        let all =
            Ids { own: self.own, ranges: self.first(size.map_or(u32::MAX, |size| size.saturating_sub(1))) };
        let below = Ids { own: self.own, ranges: all.first(inside) };
        let mut maps = Vec::new();
        below.lay_out(0, 0, &mut maps);
        maps.push(IdMapping { container_id: inside, host_id: self.own, size: 1 });
        if let Some(next) = inside.checked_add(1) {
            all.lay_out(next, inside, &mut maps);
        }
        maps
    }

    /// The ranges cut to the first `count` ids.
    fn first(&self, mut count: u32) -> Vec<Range> {
        let mut ranges = Vec::new();
        for range in &self.ranges {
            let taken = range.count.min(count);
            count -= taken;
            if taken > 0 {
                ranges.push(Range { first: range.first, count: taken });
            }
        }
        ranges
    }
}

/// Which users and groups `wanted` gives a container of the caller; none where it joins a user namespace.
fn maps(wanted: &UserNamespace, identity: &CallerIds) -> Result<Option<(Vec<IdMapping>, Vec<IdMapping>)>> {
    let (users, groups) = (&identity.users, &identity.groups);
    let needs_ranges = |what: &str| {
        let Some(single) = &identity.single else { return Ok(()) };
        let why = in_container(single).what;
        let error = Error::invalid("--userns", format!("`{what}` needs subordinate ids, and {why}"));
        Err(error.with_hint(single.remedy.clone()))
    };
    Ok(Some(match wanted {
        UserNamespace::Default | UserNamespace::Host => (users.root_is_caller(), groups.root_is_caller()),
        UserNamespace::KeepId(kept) => {
            let (uid, gid) = kept_ids(kept, identity);
            for (inside, ids) in [(uid, users), (gid, groups)] {
                // Everything below must be somebody, or the first processes of the container have no root.
                if identity.single.is_none() && ids.count() < inside {
                    let reason = format!(
                        "`keep-id` as {inside} needs as many ids below, and there are {}",
                        ids.count()
                    );
                    let error = Error::invalid("--userns", reason);
                    return Err(error.with_hint("choose smaller ones with `keep-id:uid=N,gid=N`"));
                }
            }
            (users.caller_is(uid, kept.size), groups.caller_is(gid, kept.size))
        }
        UserNamespace::NoMap => {
            let reason = "`nomap` keeps init from the user's own files, and is not there yet".to_owned();
            let error = Error::invalid("--userns", reason);
            return Err(error.with_hint("use `keep-id`, or leave it out: root inside is you"));
        }
        UserNamespace::Auto(_) => {
            let error =
                Error::invalid("--userns", "`auto` chooses among root's ranges, and takes root".to_owned());
            return Err(
                error.with_hint("leave it out, or choose ids of yours with `--uidmap` and `--gidmap`")
            );
        }
        UserNamespace::Mapped(MappedUsers::Ranges { uid, gid }) => (uid.clone(), gid.clone()),
        UserNamespace::Mapped(MappedUsers::Owners { uid, gid }) => {
            needs_ranges("--subuidname")?;
            (
                ranges_of("--subuidname", Path::new(subordinate_ids::USERS), uid)?,
                ranges_of("--subgidname", Path::new(subordinate_ids::GROUPS), gid)?,
            )
        }
        UserNamespace::Container(_) | UserNamespace::Path(_) => return Ok(None),
    }))
}

/// What the caller is inside with `keep-id`.
fn kept_ids(kept: &KeptIds, identity: &CallerIds) -> (u32, u32) {
    (kept.uid.unwrap_or(identity.users.own), kept.gid.unwrap_or(identity.groups.own))
}

/// What an ordinary user has in place of root's rights.
#[derive(Debug)]
pub(crate) struct Unprivileged {
    identity: CallerIds,
    /// What connects the container, where something does.
    program: Option<pasta::Program>,
    /// Why nothing does, where pasta would.
    lack: Option<Lack>,
    /// Whether the container may start without.
    may_lack: bool,
}

impl Unprivileged {
    /// Looks up what there is. What connects the container is pasta, or nothing but with a word: the host's own
    /// network is never taken unasked.
    pub(crate) fn find(options: &RunOptions, notices: &mut Vec<Notice>) -> Result<Unprivileged> {
        let mode = &options.network.mode;
        if *mode == NetworkMode::Bridge {
            let error = Error::new(ErrorKind::Permission, "--network: make a bridge", "this takes root");
            return Err(error.with_hint("leave `--network` out to get `pasta`, or run it with sudo"));
        }
        if let NetworkMode::Cni(_) = mode {
            let error =
                Error::new(ErrorKind::Permission, "--network: have CNI plugins run", "this takes root");
            return Err(error.with_hint("leave `--network` out to get `pasta`, or run it with sudo"));
        }
        let identity = CallerIds::find()?;
        notices.extend(identity.single.as_ref().map(in_container));
        // A port that nobody listens on would be missed.
        let may_lack = *mode == NetworkMode::Default && options.network.publish.is_empty();
        let (mut program, mut missing) = (None, None);
        if matches!(mode, NetworkMode::Default | NetworkMode::Pasta) {
            match joined_users(&options.namespaces.users).map_or_else(pasta::Program::find, Err) {
                Ok(found) => program = Some(found),
                Err(lack) if may_lack => {
                    let what = format!("this container has no network: {}", lack.what);
                    let remedy = format!("{}; or choose `--network=host` or `--network=none`", lack.remedy);
                    notices.push(Notice { what, remedy: Some(remedy) });
                    missing = Some(lack);
                }
                Err(lack) => {
                    // Without a word about the network it is the ports that need one.
                    let (flag, otherwise) = match mode {
                        NetworkMode::Default => (
                            "--publish",
                            "leave `--publish` out, and share the host's ports with `--network=host`",
                        ),
                        _ => ("--network", "choose `--network=host` or `--network=none`"),
                    };
                    let error = Error::new(ErrorKind::Unsupported, flag, lack.what);
                    return Err(error.with_hint(format!("{}; or {otherwise}", lack.remedy)));
                }
            }
        }
        if options.files.root == RootOptions::Host {
            notices.push(Notice {
                what: "files of the host's other users belong to `nobody` here, and can neither be changed nor given away"
                    .to_owned(),
                remedy: None,
            });
        }
        Ok(Unprivileged { identity, program, lack: missing, may_lack })
    }

    /// Why there is one user and one group alone, and what would help; none where there are more.
    pub(crate) fn single(&self) -> Option<Notice> {
        self.identity.single.as_ref().map(in_container)
    }

    /// Why the network is what it is where `mode` leaves that open.
    pub(crate) fn unnamed(&self, mode: &NetworkMode) -> Option<Unnamed> {
        (*mode == NetworkMode::Default).then(|| Unnamed { lack: self.lack.clone() })
    }

    /// Turns root's config into one that an ordinary user can have; whether the user namespace is a new one.
    pub(crate) fn adapt(&self, spec: &mut Spec, options: &RunOptions) -> Result<Adapted> {
        let Some((users, groups)) = maps(&options.namespaces.users, &self.identity)? else {
            return Ok(Adapted::Joins);
        };
        let linux = spec.linux.get_or_insert_default();
        linux.namespaces.push(Namespace { kind: NamespaceKind::User, path: None });
        (linux.uid_mappings, linux.gid_mappings) = (users, groups);
        let terminals = IdMapping::host_id(&linux.gid_mappings, TERMINALS).is_some();
        fit_mounts(spec, terminals);
        Ok(Adapted::Own)
    }

    /// The files of an image for a container with these ids: as the store has them, or unpacked once more. What nobody inside
    /// could reach is left as it is, and refused later.
    pub(crate) fn image(
        &self,
        image: &ImageRoot,
        linux: &Linux,
        notices: &mut Vec<Notice>,
    ) -> Result<Option<ImageRoot>> {
        let Ids { own, .. } = self.identity.users;
        let (users, groups) = (&linux.uid_mappings, &linux.gid_mappings);
        let usual = (&self.identity.users.root_is_caller(), &self.identity.groups.root_is_caller());
        let has_caller =
            users.iter().any(|map| own.checked_sub(map.host_id).is_some_and(|above| above < map.size));
        // With one id, all files are of that.
        if (users, groups) == usual || users.is_empty() || !has_caller || self.identity.single.is_some() {
            return Ok(None);
        }
        shifted::for_ids(image, users, groups, notices).map(Some)
    }

    /// Refuses ids of the caller's without the caller: nobody inside could reach the files that are its own alone, those
    /// that are laid into the container among them.
    pub(crate) fn check_reach(&self, options: &RunOptions, spec: &Spec) -> Result<()> {
        let UserNamespace::Mapped(mapped) = &options.namespaces.users else { return Ok(()) };
        let Ids { own, ranges } = &self.identity.users;
        let has = |first: u32, count: u32, id: u32| id.checked_sub(first).is_some_and(|above| above < count);
        let maps = || spec.linux.iter().flat_map(|linux| &linux.uid_mappings);
        // What is not the caller's to give is refused with its own reason.
        let granted = |map: &IdMapping| {
            let last = map.host_id.saturating_add(map.size.saturating_sub(1));
            let both =
                |range: &Range| [map.host_id, last].iter().all(|id| has(range.first, range.count, *id));
            ranges.iter().any(both)
        };
        if maps().any(|map| has(map.host_id, map.size, *own)) || !maps().all(granted) {
            return Ok(());
        }
        let (flag, hint) = match mapped {
            MappedUsers::Ranges { .. } => {
                ("--uidmap, --gidmap", format!("add your own, as `--uidmap=ID:{own}:1`"))
            }
            MappedUsers::Owners { .. } => (
                "--subuidname, --subgidname",
                "leave them out: root inside is you, and the others are of your ranges".to_owned(),
            ),
        };
        let reason =
            format!("your own id {own} is not among these, and nobody inside could reach your files");
        Err(Error::invalid(flag, reason).with_hint(hint))
    }

    /// Refuses ports that this host's pasta would not serve.
    pub(crate) fn check_ports(&self, publish: &[PortRequest]) -> Result<()> {
        self.program.iter().try_for_each(|program| program.check_ports(publish))
    }

    /// How pasta will be started, if it will.
    pub(crate) fn pasta(self, request: pasta::Request, publish: &[PortRequest]) -> Option<PastaPlan> {
        let (program, may_lack) = (self.program?, self.may_lack);
        Some(PastaPlan { program, request, record: ports::record(publish), may_lack })
    }
}

/// Why pasta can't connect a container that joins a user namespace: what its init makes there is closed to the caller.
fn joined_users(users: &UserNamespace) -> Option<Lack> {
    matches!(users, UserNamespace::Container(_) | UserNamespace::Path(_)).then(|| Lack {
        what: "`pasta` can't reach into the user namespace of another container".to_owned(),
        remedy: "share that one's network too, as `--network=container:ID`".to_owned(),
    })
}

/// Whether an ordinary user's container has a user namespace of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adapted {
    /// A new one, and all is in the config.
    Own,
    /// One that exists, which is still to be found.
    Joins,
}

/// The options with the network that stands behind the default here, and the user that `keep-id` keeps.
pub(crate) fn connected(options: &RunOptions, user: Option<&Unprivileged>) -> Result<RunOptions> {
    let mut options = options.clone();
    if let (UserNamespace::KeepId(kept), Some(user), None) =
        (&options.namespaces.users, user, &options.process.user)
    {
        let (uid, gid) = kept_ids(kept, &user.identity);
        options.process.user = Some(UserOption { user: Identity::Id(uid), group: Some(Identity::Id(gid)) });
    }
    options.network.mode = match (options.network.mode, user) {
        (NetworkMode::Default, None) => NetworkMode::Bridge,
        (NetworkMode::Default, Some(user)) if user.program.is_none() => NetworkMode::None,
        (NetworkMode::Default, Some(_)) => NetworkMode::Pasta,
        (NetworkMode::Pasta, None) => {
            let reason = "`pasta` is the network of containers without root".to_owned();
            let error = Error::invalid("--network", reason);
            return Err(error.with_hint("as root, leave `--network` out to get a bridge"));
        }
        (mode, _) => mode,
    };
    Ok(options)
}

/// How `pasta` will be started.
#[derive(Debug)]
pub(crate) struct PastaPlan {
    program: pasta::Program,
    request: pasta::Request,
    record: serde_json::Value,
    may_lack: bool,
}

impl PastaPlan {
    /// What the container's record keeps of it.
    pub(crate) fn record(&self) -> serde_json::Value {
        self.record.clone()
    }

    /// Starts it for a container's namespaces; `directory` is the container's own. Where nobody asked for it by name, a failure is
    /// a notice: a machine without any network still runs containers.
    pub(crate) fn attach(
        &self,
        namespaces: Namespaces,
        directory: &Path,
        notices: &mut Vec<Notice>,
    ) -> Result<Option<Pasta>> {
        match self.program.start(namespaces, &self.request, directory) {
            Ok(pasta) => Ok(Some(pasta)),
            Err(error) if self.may_lack => {
                let what = format!("this container has no network: {error}");
                notices.push(Notice { what, remedy: error.hint });
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Makes the user's directory for what concerns running containers, or makes sure that it is the user's: below /tmp,
/// anybody could have been there first.
pub(crate) fn own_directory(path: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| {
        let error = Error::at_path("make", path, error);
        error.with_way_around("set XDG_RUNTIME_DIR to a directory of your own, as a login does")
    })?;
    let found = std::fs::symlink_metadata(path).map_err(|error| Error::at_path("examine", path, error))?;
    let uid = rustix::process::geteuid().as_raw();
    let refuse = |reason: String| {
        let operation = format!("use `{}` for what concerns running containers", path.display());
        let error = Error::new(ErrorKind::Permission, operation, reason);
        Err(error.with_way_around("set XDG_RUNTIME_DIR to a directory of your own, as a login does"))
    };
    if !found.is_dir() {
        return refuse("it is not a directory".to_owned());
    }
    if found.uid() != uid {
        return refuse(format!("it belongs to user {}", found.uid()));
    }
    let mode = found.permissions().mode() & 0o7777;
    if mode & 0o022 != 0 {
        return refuse(format!("its mode is {mode:04o}, so others may write to it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> Ids {
        let ranges = vec![Range { first: 100_000, count: 1000 }, Range { first: 300_000, count: 500 }];
        Ids { own: 1000, ranges }
    }

    fn numbers(maps: Vec<IdMapping>) -> Vec<(u32, u32, u32)> {
        maps.into_iter().map(|map| (map.container_id, map.host_id, map.size)).collect()
    }

    #[test]
    fn root_is_the_caller_and_ranges_follow() {
        assert_eq!(numbers(ids().root_is_caller()), [(0, 1000, 1), (1, 100_000, 1000), (1001, 300_000, 500)]);
        let alone = Ids { own: 7, ranges: Vec::new() };
        assert_eq!(numbers(alone.root_is_caller()), [(0, 7, 1)]);
    }

    #[test]
    fn caller_keeps_its_number_and_every_id_is_used_once() {
        let maps = numbers(ids().caller_is(1200, None));
        let expected = [(0, 100_000, 1000), (1000, 300_000, 200), (1200, 1000, 1), (1201, 300_200, 300)];
        assert_eq!(maps, expected);
        assert_eq!(numbers(ids().caller_is(0, None)), numbers(ids().root_is_caller()));
        assert_eq!(numbers(ids().caller_is(1, Some(3))), [(0, 100_000, 1), (1, 1000, 1), (2, 100_001, 1)]);
        assert_eq!(ids().count(), 1500);
    }

    #[test]
    fn directory_of_somebody_else_or_open_to_others_is_refused() {
        let path = std::env::temp_dir().join(format!("rabbitc-own-{}", std::process::id()));
        own_directory(&path).expect("made");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o700);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).expect("set");
        let error = own_directory(&path).expect_err("open to others");
        assert!(error.to_string().contains("0777") && error.hint.is_some(), "{error}");
        std::fs::remove_dir(&path).expect("removed");
        std::os::unix::fs::symlink("/", &path).expect("linked");
        assert!(own_directory(&path).is_err(), "a link leads elsewhere");
        std::fs::remove_file(&path).expect("removed");
    }
}
