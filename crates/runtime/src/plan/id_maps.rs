//! Id maps: lists of `containerID hostID size` as config.json has them, checked as the kernel will.

use crate::error::{Error, Result};
use crate::plan::process::Groups;
use crate::spec::{IdMapping, Linux, Mount, NamespaceKind, User};

/// Maps of users and groups, as the kernel's files take them (user_namespaces(7)): one line a range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IdMaps {
    pub(crate) uid: String,
    pub(crate) gid: String,
    /// Which ids of the host stand behind user and group 0, where 0 is mapped.
    pub(crate) root: (Option<u32>, Option<u32>),
}

/// The most lines that the kernel takes, since 4.15.
const MOST: usize = 340;

impl IdMaps {
    /// Checks them; errors name the fields.
    pub(crate) fn new(
        uid: &[IdMapping],
        gid: &[IdMapping],
        uid_field: &str,
        gid_field: &str,
    ) -> Result<IdMaps> {
        check(uid, uid_field)?;
        check(gid, gid_field)?;
        Ok(IdMaps {
            uid: text(uid),
            gid: text(gid),
            root: (IdMapping::host_id(uid, 0), IdMapping::host_id(gid, 0)),
        })
    }
}

fn text(maps: &[IdMapping]) -> String {
    let line = |map: &IdMapping| format!("{} {} {}\n", map.container_id, map.host_id, map.size);
    maps.iter().map(line).collect()
}

fn check(maps: &[IdMapping], field: &str) -> Result<()> {
    if maps.is_empty() {
        return Err(Error::invalid(field, "is empty, so nobody is mapped".to_owned()));
    }
    if maps.len() > MOST {
        return Err(Error::invalid(field, format!("has {} ranges; the kernel takes {MOST}", maps.len())));
    }
    for (index, map) in maps.iter().enumerate() {
        // The last number is no id: it stands for none.
        let fits = |first: u32| first.checked_add(map.size).is_some();
        if map.size == 0 || !fits(map.container_id) || !fits(map.host_id) {
            return Err(Error::invalid(
                format!("{field}[{index}].size"),
                format!("{} does not fit", map.size),
            ));
        }
    }
    no_overlap(maps, field, "containerID", |map| map.container_id)?;
    no_overlap(maps, field, "hostID", |map| map.host_id)
}

fn no_overlap(maps: &[IdMapping], field: &str, side: &str, first: impl Fn(&IdMapping) -> u32) -> Result<()> {
    let mut sorted: Vec<(usize, &IdMapping)> = maps.iter().enumerate().collect();
    sorted.sort_by_key(|(_, map)| first(map));
    for pair in sorted.windows(2) {
        let [(one, before), (other, after)] = pair else { continue };
        if first(after) - first(before) < before.size {
            let (low, high) = (one.min(other), one.max(other));
            let error = Error::invalid(
                format!("{field}[{high}].{side}"),
                format!("{} overlaps with {field}[{low}]", first(&maps[*high])),
            );
            return Err(error.with_hint("an id stands in one range only, inside and on the host"));
        }
    }
    Ok(())
}

/// The maps of the container's new user namespace; none where it makes none.
pub(crate) fn of_container(linux: &Linux, makes_user_namespace: bool) -> Result<Option<IdMaps>> {
    if makes_user_namespace {
        let fields = ("linux.uidMappings", "linux.gidMappings");
        return IdMaps::new(&linux.uid_mappings, &linux.gid_mappings, fields.0, fields.1).map(Some);
    }
    let joins = linux.namespaces.iter().any(|namespace| namespace.kind == NamespaceKind::User);
    let maps = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
    if maps && !joins {
        return Err(Error::invalid("linux.uidMappings", "needs a new user namespace".to_owned()));
    }
    // One that is joined has its maps.
    Ok(None)
}

/// Refuses a user or group of the program that nobody stands behind.
pub(crate) fn check_user(user: &User, linux: &Linux, groups: Groups) -> Result<()> {
    let uids = ("linux.uidMappings", &linux.uid_mappings);
    let gids = ("linux.gidMappings", &linux.gid_mappings);
    let refuse = |field: &str, id: u32, (maps, map): (&str, &Vec<IdMapping>)| {
        if IdMapping::host_id(map, id).is_some() {
            return Ok(());
        }
        let reason = format!("{id} is nobody in the container's user namespace: {maps} has no range with it");
        Err(Error::invalid(field, reason).with_hint("choose one that is mapped, or map more"))
    };
    refuse("process.user.uid", user.uid, uids)?;
    refuse("process.user.gid", user.gid, gids)?;
    let additional = user.additional_gids.iter().filter(|_| groups == Groups::Set);
    additional.copied().try_for_each(|gid| refuse("process.user.additionalGids", gid, gids))
}

/// The maps of a mount's own; none where it has none.
pub(crate) fn of_mount(mount: &Mount, field: &str) -> Result<Option<IdMaps>> {
    let fields = (format!("{field}.uidMappings"), format!("{field}.gidMappings"));
    match (mount.uid_mappings.as_deref(), mount.gid_mappings.as_deref()) {
        (None | Some([]), None | Some([])) => Ok(None),
        (Some(uid @ [_, ..]), Some(gid @ [_, ..])) => IdMaps::new(uid, gid, &fields.0, &fields.1).map(Some),
        (None | Some([]), Some(_)) => {
            Err(Error::invalid(fields.0, "is missing, and gidMappings are there".to_owned()))
        }
        (Some(_), None | Some([])) => {
            Err(Error::invalid(fields.1, "is missing, and uidMappings are there".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    fn refusal(maps: &[IdMapping]) -> String {
        check(maps, "linux.uidMappings").expect_err("refused").to_string()
    }

    #[test]
    fn ranges_that_share_an_id_are_refused_on_either_side() {
        let error = refusal(&[map(0, 1000, 10), map(20, 5000, 5), map(9, 9000, 1)]);
        assert_eq!(error, "linux.uidMappings[2].containerID: 9 overlaps with linux.uidMappings[0]");
        let error = refusal(&[map(0, 1000, 10), map(100, 1009, 10)]);
        assert_eq!(error, "linux.uidMappings[1].hostID: 1009 overlaps with linux.uidMappings[0]");
        check(&[map(0, 1000, 10), map(10, 1010, 10)], "linux.uidMappings").expect("neighbours");
    }

    #[test]
    fn ranges_that_do_not_fit_are_refused() {
        assert_eq!(refusal(&[map(0, 1, 0)]), "linux.uidMappings[0].size: 0 does not fit");
        assert_eq!(refusal(&[map(0, u32::MAX, 1)]), "linux.uidMappings[0].size: 1 does not fit");
        assert_eq!(refusal(&[]), "linux.uidMappings: is empty, so nobody is mapped");
        let many: Vec<IdMapping> = (0..341).map(|id| map(id, id, 1)).collect();
        assert!(refusal(&many).contains("341 ranges"));
    }

    #[test]
    fn mount_with_maps_of_one_kind_alone_is_refused() {
        let mount = Mount { uid_mappings: Some(vec![map(0, 1, 1)]), ..Mount::default() };
        let error = of_mount(&mount, "mounts[2]").expect_err("refused").to_string();
        assert_eq!(error, "mounts[2].gidMappings: is missing, and uidMappings are there");
    }

    #[test]
    fn program_s_ids_must_be_mapped() {
        let maps = vec![map(0, 100_000, 10)];
        let linux = Linux { uid_mappings: maps.clone(), gid_mappings: maps, ..Linux::default() };
        let user = |uid, gid, additional_gids| User { uid, gid, additional_gids, ..User::default() };
        check_user(&user(9, 0, vec![5]), &linux, Groups::Set).expect("all are mapped");
        for (user, part) in [
            (user(10, 0, vec![]), "process.user.uid: 10 is nobody"),
            (user(0, 10, vec![]), "process.user.gid: 10 is nobody"),
            (user(0, 0, vec![3, 20]), "process.user.additionalGids: 20 is nobody"),
        ] {
            let error = check_user(&user, &linux, Groups::Set).expect_err(part);
            assert!(error.to_string().starts_with(part) && error.hint.is_some(), "{error}");
        }
        check_user(&user(0, 0, vec![20]), &linux, Groups::Kept).expect("nobody sets them");
    }

    #[test]
    fn root_of_the_host_is_found_behind_any_range() {
        assert_eq!(IdMapping::host_id(&[map(5, 100, 5), map(0, 7, 5)], 0), Some(7));
        assert_eq!(IdMapping::host_id(&[map(5, 100, 5)], 0), None);
        assert_eq!(IdMapping::host_id(&[map(5, 100, 5)], 9), Some(104));
    }
}
