//! How lists and maps of config.json are read: `null` is an empty one, as programs in Go write it, and a key that is
//! there twice is refused, as nobody knows which of the two was meant.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// For a list.
pub(super) fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// For a map.
pub(super) fn map<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, T>, D::Error> {
    from.deserialize_option(Entries(PhantomData))
}

struct Entries<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut found = BTreeMap::new();
        while let Some(key) = entries.next_key::<String>()? {
            if found.contains_key(&key) {
                return Err(A::Error::custom(format_args!("`{key}` is there twice")));
            }
            found.insert(key, entries.next_value()?);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use crate::bundle::parse_json;
    use crate::spec::Spec;

    #[test]
    fn null_is_an_empty_list_and_an_empty_map() {
        let text = r#"{"mounts": null, "annotations": null, "process": {"args": null, "env": null, "rlimits": null,
            "cwd": "/", "user": {"uid": 0, "gid": 0, "additionalGids": null},
            "capabilities": {"ambient": null}, "scheduler": {"policy": "SCHED_OTHER", "flags": null}},
            "linux": {"timeOffsets": null, "sysctl": null, "netDevices": null, "devices": null,
            "namespaces": null, "maskedPaths": null, "resources": {"devices": null, "unified": null}},
            "hooks": {"prestart": null}}"#;
        let spec = parse_json::<Spec>(text).expect("legal");
        assert!(spec.mounts.is_empty() && spec.linux.expect("there").time_offsets.is_empty());
    }

    #[test]
    fn key_that_is_there_twice_is_refused_with_its_path() {
        for (text, path) in [
            (r#"{"linux": {"sysctl": {"a": "1", "a": "2"}}}"#, "linux.sysctl"),
            (r#"{"linux": {"netDevices": {"eth0": {}, "eth0": {"name": "x"}}}}"#, "linux.netDevices"),
            (r#"{"annotations": {"a": "1", "a": "1"}}"#, "annotations"),
            (r#"{"process": {"cwd": "/", "cwd": "/tmp"}}"#, "process"),
            (r#"{"linux": {"memoryPolicy": {"mode": "MPOL_BIND", "mode": "x"}}}"#, "linux.memoryPolicy"),
        ] {
            let error = parse_json::<Spec>(text).expect_err("doubled").to_string();
            assert!(error.starts_with(path), "{error}");
        }
    }
}
