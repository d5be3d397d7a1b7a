//! `linux.intelRdt`: from the fields to a group of resctrl and the lines that it is given.

use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::rdt::{self, Membership, Missing, Resctrl, Wanted};
use crate::spec::{IntelRdt, Linux};

/// What the container asks for, if it asks for any: legal on this host, as far as can be told before the kernel is asked.
pub(super) fn plan_rdt(linux: &Linux, id: &ContainerId) -> Result<Option<Wanted>> {
    let Some(asked) = &linux.intel_rdt else { return Ok(None) };
    let asked = Asked::of(asked)?;
    let resctrl = Resctrl::find()?.ok_or_else(|| {
        let reason = "Intel RDT is not enabled on this host: no resctrl file system is mounted";
        Error::new(ErrorKind::Unsupported, "linux.intelRdt", reason).with_hint(rdt::HINT)
    })?;
    asked.on(&resctrl, id).map(Some)
}

/// The fields with what is empty left out.
#[derive(Debug)]
struct Asked<'a> {
    class: Option<&'a str>,
    l3_cache: Option<&'a str>,
    memory_bandwidth: Option<&'a str>,
    schemata: &'a [String],
    monitoring: bool,
}

const L3_CACHE: &str = "linux.intelRdt.l3CacheSchema";
const MEMORY_BANDWIDTH: &str = "linux.intelRdt.memBwSchema";

impl Asked<'_> {
    fn of(config: &IntelRdt) -> Result<Asked<'_>> {
        let given = |text: &'_ Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        let asked = Asked {
            class: config.clos_id.as_deref().filter(|_| given(&config.clos_id)),
            l3_cache: config.l3_cache_schema.as_deref().filter(|_| given(&config.l3_cache_schema)),
            memory_bandwidth: config.mem_bw_schema.as_deref().filter(|_| given(&config.mem_bw_schema)),
            schemata: &config.schemata,
            monitoring: config.enable_monitoring,
        };
        if let Some(name) = asked.class {
            rdt::check_group_name(name)?;
        }
        if let Some(line) = asked.l3_cache {
            one_line(L3_CACHE, line)?;
        }
        if let Some(line) = asked.memory_bandwidth {
            one_line(MEMORY_BANDWIDTH, line)?;
            if !line.starts_with("MB:") {
                let reason = format!("`{}` does not begin with `MB:`", line.escape_debug());
                return Err(Error::invalid(MEMORY_BANDWIDTH, reason)
                    .with_hint("write a share for each cache, such as `MB:0=20;1=70`"));
            }
        }
        for (index, line) in asked.schemata.iter().enumerate() {
            one_line(&format!("linux.intelRdt.schemata[{index}]"), line)?;
        }
        Ok(asked)
    }

    fn on(&self, resctrl: &Resctrl, id: &ContainerId) -> Result<Wanted> {
        let resources = [
            (L3_CACHE, "L3", self.l3_cache.is_some(), "Intel RDT/CAT"),
            (MEMORY_BANDWIDTH, "MB", self.memory_bandwidth.is_some(), "Intel RDT/MBA"),
            ("linux.intelRdt.enableMonitoring", "L3_MON", self.monitoring, "monitoring by Intel RDT"),
        ];
        for (field, resource, asked, what) in resources {
            if asked && !resctrl.has(resource) {
                let reason = format!("{what} is not enabled on this host");
                return Err(Error::new(ErrorKind::Unsupported, field, reason).with_hint(rdt::HINT));
            }
        }
        let group = self.class.unwrap_or(id.as_str()).to_owned();
        if self.class.is_none() {
            rdt::check_group_name(&group).map_err(|error| {
                error.with_hint("name a group in `linux.intelRdt.closID`, or the container otherwise")
            })?;
        }
        let there = resctrl.has_group(&group);
        let writes: Vec<Vec<String>> =
            [self.own_lines().map(|(_, line)| line).collect(), self.schemata.to_vec()]
                .into_iter()
                .filter(|lines: &Vec<String>| !lines.is_empty())
                .collect();
        let missing = match self.class {
            Some(_) if writes.is_empty() => Missing::Refuse,
            _ => Missing::Make,
        };
        if missing == Missing::Refuse && !there {
            let reason = format!(
                "there is no group `{group}` in `{}`, and no schema to make it with",
                resctrl.path().display()
            );
            let hint = "make it with its schemata first, give schemata here, or leave out `closID`";
            return Err(Error::new(ErrorKind::Invalid, "linux.intelRdt.closID", reason).with_hint(hint));
        }
        Ok(Wanted {
            membership: Membership {
                mount: resctrl.path().to_owned(),
                group,
                own: self.class.is_none() && !there,
                monitor: self.monitoring.then(|| id.to_string()),
            },
            missing,
            expected: self.class.map(|_| self.own_lines().collect()).unwrap_or_default(),
            writes,
        })
    }

    /// The two lines that have fields of their own, in the order in which they must be written.
    fn own_lines(&self) -> impl Iterator<Item = (&'static str, String)> {
        let l3_cache = self.l3_cache.map(|line| (L3_CACHE, line.to_owned()));
        l3_cache.into_iter().chain(self.memory_bandwidth.map(|line| (MEMORY_BANDWIDTH, line.to_owned())))
    }
}

fn one_line(field: &str, text: &str) -> Result<()> {
    if text.contains(['\n', '\0']) {
        let reason = format!("`{}` is more than one line of text", text.escape_debug());
        return Err(
            Error::invalid(field, reason).with_hint("give further lines in `linux.intelRdt.schemata`")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;

    /// A directory that stands for the mount, with the group `gold`.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str, resources: &[&str]) -> Place {
            let path = std::env::temp_dir().join(format!("rabbitc-plan-rdt-{name}-{}", std::process::id()));
            std::fs::create_dir_all(path.join("gold")).expect("a scratch directory");
            for resource in resources {
                std::fs::create_dir_all(path.join("info").join(resource)).expect("made");
            }
            Place(path)
        }

        fn plan(&self, config: serde_json::Value) -> Result<Wanted> {
            let config: IntelRdt = serde_json::from_value(config).expect("of its shape");
            let id = ContainerId::parse("web").expect("legal");
            Asked::of(&config)?.on(&Resctrl::open(&self.0)?.expect("there"), &id)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).expect("removed");
        }
    }

    #[test]
    fn fields_become_a_group_and_lines_in_the_order_of_the_specification() {
        let place = Place::new("lines", &["L3", "MB", "L3_MON"]);
        let both = json!({ "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f", "enableMonitoring": true,
                           "schemata": ["L2:0=f", "L3:0=ff"] });
        let wanted = place.plan(both.clone()).expect("legal");
        let lines = [vec!["L3:0=f", "MB:0=20"], vec!["L2:0=f", "L3:0=ff"]];
        assert_eq!(wanted.writes, lines);
        assert_eq!(wanted.membership.group, "web");
        assert!(wanted.membership.own && wanted.expected.is_empty());
        assert_eq!(wanted.membership.monitor.as_deref(), Some("web"));
        let mut shared = both;
        shared["closID"] = json!("gold");
        let wanted = place.plan(shared).expect("legal");
        assert_eq!((wanted.membership.group.as_str(), wanted.membership.own), ("gold", false));
        let expected: Vec<&str> = wanted.expected.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(expected, ["L3:0=f", "MB:0=20"], "`schemata` is written, and not compared");
    }

    #[test]
    fn group_by_name_alone_must_be_there() {
        let place = Place::new("there", &[]);
        let error = place.plan(json!({ "closID": "silver" })).expect_err("there is none");
        assert_eq!(error.operation, "linux.intelRdt.closID");
        for name in ["gold", "/"] {
            let wanted = place.plan(json!({ "closID": name })).expect("it is there");
            assert!(wanted.writes.is_empty() && !wanted.membership.own);
            assert_eq!(wanted.missing, Missing::Refuse);
        }
        let made = place.plan(json!({ "closID": "silver", "schemata": ["L3:0=f"] })).expect("it is made");
        assert_eq!((made.missing, made.membership.own), (Missing::Make, false));
        assert!(place.plan(json!({})).expect("its own").membership.own);
        std::fs::create_dir(place.0.join("web")).expect("made");
        assert!(!place.plan(json!({})).expect("another's").membership.own);
    }

    #[test]
    fn wrong_fields_are_named() {
        let place = Place::new("wrong", &["L3", "MB"]);
        let cases = [
            (json!({ "closID": "a/b" }), "linux.intelRdt.closID"),
            (json!({ "closID": ".." }), "linux.intelRdt.closID"),
            (json!({ "l3CacheSchema": "L3:0=f\nL3:1=f" }), "linux.intelRdt.l3CacheSchema"),
            (json!({ "memBwSchema": "0=20" }), "linux.intelRdt.memBwSchema"),
            (json!({ "schemata": ["L3:0=f", "MB:0=20\n"] }), "linux.intelRdt.schemata[1]"),
            (json!({ "enableMonitoring": true }), "linux.intelRdt.enableMonitoring"),
        ];
        for (config, field) in cases {
            let error = place.plan(config.clone()).expect_err("wrong");
            assert_eq!(error.operation, field, "{config}: {error}");
        }
    }

    #[test]
    fn resource_that_the_processor_lacks_is_refused_by_its_field() {
        let place = Place::new("lacks", &["L3CODE"]);
        place.plan(json!({ "l3CacheSchema": "L3CODE:0=f" })).expect("code and data apart");
        let error = place.plan(json!({ "memBwSchema": "MB:0=20" })).expect_err("none");
        assert_eq!((error.kind, error.operation.as_str()), (ErrorKind::Unsupported, MEMORY_BANDWIDTH));
        let empty = json!({ "closID": "", "l3CacheSchema": "", "memBwSchema": "", "schemata": [] });
        assert!(place.plan(empty).expect("what is empty is not asked for").writes.is_empty());
    }
}
