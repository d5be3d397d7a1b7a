//! Whose ids a container's processes have, as meant. Looks nothing up.

use std::path::PathBuf;

use runtime::spec::IdMapping;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The container's user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UserNamespace {
    /// None of its own for root; for other callers the one that they can have.
    #[default]
    Default,
    /// None of its own.
    Host,
    /// One with a range of ids that no other running container has.
    Auto(AutoUsers),
    /// One in which the caller keeps its own ids.
    KeepId(KeptIds),
    /// One in which the caller is nobody.
    NoMap,
    /// That of another container.
    Container(String),
    /// One that a file holds.
    Path(PathBuf),
    /// One with these maps.
    Mapped(MappedUsers),
}

/// How a range of a container's own is laid out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AutoUsers {
    /// How many ids; 65536 without.
    pub size: Option<u32>,
    /// Users that are mapped otherwise.
    pub uid_maps: Vec<IdMapping>,
    /// Groups that are mapped otherwise.
    pub gid_maps: Vec<IdMapping>,
}

/// What the caller is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeptIds {
    /// Which user, if not the same.
    pub uid: Option<u32>,
    /// Which group, if not the same.
    pub gid: Option<u32>,
    /// How many ids at most.
    pub size: Option<u32>,
}

/// Maps that are given, by ranges or by the owner of ranges in `/etc/subuid` and `/etc/subgid`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum MappedUsers {
    /// These; neither is empty.
    Ranges {
        /// Users.
        uid: Vec<IdMapping>,
        /// Groups.
        gid: Vec<IdMapping>,
    },
    /// From 0 on, the ranges of these users in the two files.
    Owners {
        /// Whose ranges of users.
        uid: String,
        /// Whose ranges of groups.
        gid: String,
    },
}

/// The flags of one command line.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserFlags<'a> {
    /// `--userns`
    pub mode: Option<&'a str>,
    /// `--uidmap`
    pub uid_maps: &'a [String],
    /// `--gidmap`
    pub gid_maps: &'a [String],
    /// `--subuidname`
    pub sub_uid_name: Option<&'a str>,
    /// `--subgidname`
    pub sub_gid_name: Option<&'a str>,
}

impl UserNamespace {
    /// What the flags mean together, as podman reads them.
    pub fn parse(flags: UserFlags<'_>) -> Result<UserNamespace> {
        let maps = |flag: &str, texts: &[String]| -> Result<Vec<IdMapping>> {
            texts.iter().map(|text| parse_map(flag, text)).collect()
        };
        let (uid, gid) = (maps("--uidmap", flags.uid_maps)?, maps("--gidmap", flags.gid_maps)?);
        no_overlap("--uidmap", &uid)?;
        no_overlap("--gidmap", &gid)?;
        let ranges = (!uid.is_empty() || !gid.is_empty()).then(|| {
            let other = |own: &[IdMapping], others: &[IdMapping]| {
                if own.is_empty() { others.to_vec() } else { own.to_vec() }
            };
            MappedUsers::Ranges { uid: other(&uid, &gid), gid: other(&gid, &uid) }
        });
        let owners = flags.sub_uid_name.or(flags.sub_gid_name).map(|either| MappedUsers::Owners {
            uid: flags.sub_uid_name.unwrap_or(either).to_owned(),
            gid: flags.sub_gid_name.unwrap_or(either).to_owned(),
        });
        let mapped = match (ranges, owners) {
            (Some(_), Some(_)) => {
                let reason = "goes by `/etc/subuid`, and `--uidmap` or `--gidmap` are there too".to_owned();
                return Err(Error::invalid("--subuidname", reason).with_hint("give the one or the other"));
            }
            (ranges, owners) => ranges.or(owners),
        };
        match (flags.mode, mapped) {
            (None, None) => Ok(UserNamespace::Default),
            (None | Some("private"), Some(mapped)) => Ok(UserNamespace::Mapped(mapped)),
            (Some(mode), None) => parse_mode(mode),
            (Some(mode), Some(_)) => {
                let reason = format!("`{mode}` has maps of its own, and others are given");
                let hint =
                    "leave `--userns` out beside `--uidmap`, `--gidmap`, `--subuidname` and `--subgidname`";
                Err(Error::invalid("--userns", reason).with_hint(hint))
            }
        }
    }

    /// Whether the container's ids are others than the host's for certain.
    pub fn is_own(&self) -> bool {
        !matches!(self, UserNamespace::Default | UserNamespace::Host)
    }
}

fn parse_mode(text: &str) -> Result<UserNamespace> {
    let (name, rest) = match text.split_once(':') {
        Some((name, rest)) => (name, Some(rest)),
        None => (text, None),
    };
    match (name, rest) {
        ("host" | "", None) => Ok(UserNamespace::Host),
        ("nomap", None) => Ok(UserNamespace::NoMap),
        ("auto", rest) => parse_auto(rest.unwrap_or_default()).map(UserNamespace::Auto),
        ("keep-id", rest) => parse_kept(rest.unwrap_or_default()).map(UserNamespace::KeepId),
        ("container", Some(id)) if !id.is_empty() => Ok(UserNamespace::Container(id.to_owned())),
        ("ns", Some(path)) if path.starts_with('/') => Ok(UserNamespace::Path(path.into())),
        ("ns", _) => {
            let error = Error::invalid("--userns", format!("`{text}` names no absolute path"));
            Err(error.with_hint("write it as `ns:/proc/PID/ns/user`"))
        }
        ("private", None) => {
            let error = Error::invalid("--userns", "`private` needs maps".to_owned());
            Err(error.with_hint("add `--uidmap` and `--gidmap`, or let `--userns=auto` choose"))
        }
        _ => {
            let error = Error::invalid("--userns", format!("`{}` is not known", text.escape_debug()));
            Err(error.with_hint("as root use auto, container:ID, ns:PATH or host; without root keep-id, container:ID or ns:PATH"))
        }
    }
}

/// `key=value` pairs with commas between.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn parse_number(name: &str, text: &str) -> Result<u32> {
    text.parse().map_err(|_| {
        let error = Error::invalid(
            "--userns",
            format!("`{name}={}` is not a number of 32 bits", text.escape_debug()),
        );
        error.with_hint("write it in decimal digits")
    })
}

fn parse_auto(text: &str) -> Result<AutoUsers> {
    let mut users = AutoUsers::default();
    for (key, value) in pairs(text) {
        match key {
            "size" => {
                let size = parse_number(key, value)?;
                if size == 0 {
                    let error = Error::invalid("--userns", "`size=0` leaves nobody".to_owned());
                    return Err(error.with_hint("1 is root alone; 65536 is usual"));
                }
                users.size = Some(size);
            }
            "uidmapping" => users.uid_maps.push(parse_map("--userns", value)?),
            "gidmapping" => users.gid_maps.push(parse_map("--userns", value)?),
            _ => {
                let error = Error::invalid("--userns", format!("`auto` has no `{}`", key.escape_debug()));
                return Err(error.with_hint("it takes size=N, uidmapping=C:H:N and gidmapping=C:H:N"));
            }
        }
    }
    no_overlap("--userns", &users.uid_maps)?;
    no_overlap("--userns", &users.gid_maps)?;
    Ok(users)
}

fn parse_kept(text: &str) -> Result<KeptIds> {
    let mut kept = KeptIds::default();
    for (key, value) in pairs(text) {
        let place = match key {
            "uid" => &mut kept.uid,
            "gid" => &mut kept.gid,
            "size" => &mut kept.size,
            _ => {
                let error = Error::invalid("--userns", format!("`keep-id` has no `{}`", key.escape_debug()));
                return Err(error.with_hint("it takes uid=N, gid=N and size=N"));
            }
        };
        *place = Some(parse_number(key, value)?);
    }
    Ok(kept)
}

fn no_overlap(flag: &str, maps: &[IdMapping]) -> Result<()> {
    let share = |one: u32, size: u32, other: u32, others: u32| one < other + others && other < one + size;
    for (index, one) in maps.iter().enumerate() {
        for other in &maps[..index] {
            if share(one.container_id, one.size, other.container_id, other.size)
                || share(one.host_id, one.size, other.host_id, other.size)
            {
                let show = |map: &IdMapping| format!("{}:{}:{}", map.container_id, map.host_id, map.size);
                let error = Error::invalid(flag, format!("`{}` overlaps with `{}`", show(one), show(other)));
                return Err(error.with_hint("an id stands in one range only, inside and on the host"));
            }
        }
    }
    Ok(())
}

/// Reads `CONTAINER:HOST[:SIZE]`; without a size it is one id.
pub fn parse_map(flag: &str, text: &str) -> Result<IdMapping> {
    let wrong = |why: &str| {
        let error = Error::invalid(flag, format!("`{}` {why}", text.escape_debug()));
        error.with_hint(
            "write CONTAINER:HOST:SIZE, the first id inside, the first on the host and how many: `0:100000:65536`",
        )
    };
    let mut fields = text.split(':');
    let (Some(container), Some(host), size, None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(wrong("is not a map of ids"));
    };
    if container.starts_with(['+', 'u', 'g']) || host.starts_with('@') {
        return Err(wrong("has one of podman's flags, which rabbitc does not have"));
    }
    let number = |text: &str| text.parse::<u32>().map_err(|_| wrong("is not a map of ids"));
    let map = IdMapping {
        container_id: number(container)?,
        host_id: number(host)?,
        size: size.map_or(Ok(1), number)?,
    };
    if map.size == 0 {
        return Err(wrong("maps no ids, as its size is 0"));
    }
    // The last number is no id: it stands for none.
    let fits = |first: u32| first.checked_add(map.size).is_some();
    if !fits(map.container_id) || !fits(map.host_id) {
        return Err(wrong("does not fit into ids of 32 bits"));
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(text: &str) -> Result<UserNamespace> {
        UserNamespace::parse(UserFlags { mode: Some(text), ..UserFlags::default() })
    }

    fn map(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    #[test]
    fn modes_are_podmans() {
        assert_eq!(UserNamespace::parse(UserFlags::default()).expect("legal"), UserNamespace::Default);
        assert_eq!(mode("host").expect("legal"), UserNamespace::Host);
        assert_eq!(mode("auto").expect("legal"), UserNamespace::Auto(AutoUsers::default()));
        let auto = AutoUsers {
            size: Some(1000),
            uid_maps: vec![map(5, 6, 1), map(7, 8, 2)],
            gid_maps: vec![map(1, 2, 3)],
        };
        let text = "auto:size=1000,uidmapping=5:6:1,uidmapping=7:8:2,gidmapping=1:2:3";
        assert_eq!(mode(text).expect("legal"), UserNamespace::Auto(auto));
        let kept = KeptIds { uid: Some(7), gid: Some(8), size: None };
        assert_eq!(mode("keep-id:uid=7,gid=8").expect("legal"), UserNamespace::KeepId(kept));
        assert_eq!(mode("nomap").expect("legal"), UserNamespace::NoMap);
        assert_eq!(mode("container:abc").expect("legal"), UserNamespace::Container("abc".to_owned()));
        assert_eq!(mode("ns:/x/y").expect("legal"), UserNamespace::Path("/x/y".into()));
    }

    #[test]
    fn what_is_no_mode_is_refused_with_a_remedy() {
        for text in [
            "auto:size=0",
            "auto:size=x",
            "auto:uidmapping=1",
            "auto:uidmapping=0:1:5,uidmapping=4:9:1",
            "auto:gidmapping=0:1:1,gidmapping=1:1:1",
            "auto:color=red",
            "keep-id:name=x",
            "private",
            "container:",
            "ns:relative",
            "ns:",
            "hosts",
            "host:x",
            "nomap:1",
            "auto:size=4294967296",
        ] {
            let error = mode(text).expect_err(text);
            assert!(error.to_string().starts_with("--userns: ") && error.hint.is_some(), "{text}: {error}");
        }
    }

    #[test]
    fn maps_of_one_kind_serve_for_the_other() {
        let texts = ["0:100000:10".to_owned(), "10:5".to_owned()];
        let expected = vec![map(0, 100_000, 10), map(10, 5, 1)];
        let ranges = MappedUsers::Ranges { uid: expected.clone(), gid: expected };
        let parsed = |flags| UserNamespace::parse(flags).expect("legal");
        let flags = UserFlags { uid_maps: &texts, ..UserFlags::default() };
        assert_eq!(parsed(flags), UserNamespace::Mapped(ranges.clone()));
        let flags = UserFlags { gid_maps: &texts, mode: Some("private"), ..UserFlags::default() };
        assert_eq!(parsed(flags), UserNamespace::Mapped(ranges));
        let flags = UserFlags { sub_gid_name: Some("ann"), ..UserFlags::default() };
        let owners = MappedUsers::Owners { uid: "ann".to_owned(), gid: "ann".to_owned() };
        assert_eq!(parsed(flags), UserNamespace::Mapped(owners));
    }

    #[test]
    fn maps_that_contradict_each_other_are_refused() {
        let texts = ["0:1:1".to_owned()];
        for (mode, sub_uid_name) in [(Some("auto"), None), (Some("host"), None), (None, Some("ann"))] {
            let flags = UserFlags { mode, uid_maps: &texts, sub_uid_name, ..UserFlags::default() };
            assert!(UserNamespace::parse(flags).expect_err("refused").hint.is_some());
        }
        for text in
            ["", "1", "1:2:3:4", "a:2:3", "1:2:0", "4294967295:0:1", "0:4294967290:10", "+1:2:3", "1:@2"]
        {
            let error = parse_map("--uidmap", text).expect_err(text);
            assert!(error.to_string().starts_with("--uidmap: ") && error.hint.is_some(), "{error}");
        }
        assert_eq!(parse_map("--uidmap", "1:4294967290:5").expect("legal"), map(1, 4_294_967_290, 5));
    }
}
