//! Which volumes a listing is about: `--filter`.

use std::str::FromStr;

use super::{Volume, VolumeUsers};
use crate::error::{Error, Result};
use crate::images::ImageFilter;

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeFilter {
    /// A part of its name.
    Name(String),
    /// A label, and its value where that counts.
    Label(String, Option<String>),
    /// It lacks that.
    NoLabel(String, Option<String>),
    /// Whether no container has it.
    Dangling(bool),
    /// Its driver.
    Driver(String),
    /// Where it is known: `local` is here.
    Scope(String),
    /// Made before that second since 1970.
    Until(u64),
    /// Made after the one of this name.
    Since(String),
    /// An option, and its value where that counts.
    Option(String, Option<String>),
    /// Whether nobody has named it.
    Anonymous(bool),
    /// For `prune`: whether those that have a name go, too.
    All(bool),
}

const HINT: &str = "there are name=PART, label=NAME[=VALUE], label!=NAME[=VALUE], dangling=BOOL, driver=local, scope=local, \
                    until=TIME, since=VOLUME, opt=NAME[=VALUE], anonymous=BOOL, and for `prune` all=BOOL";

impl FromStr for VolumeFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<VolumeFilter> {
        let refuse = |reason: String| Err(Error::invalid("--filter", reason).with_hint(HINT));
        let shown = text.escape_debug();
        let Some((key, value)) = text.split_once('=') else { return refuse(format!("`{shown}` has no `=`")) };
        let own = value.to_owned();
        let pair = || match value.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (value.to_owned(), None),
        };
        let truth = || match value.to_ascii_lowercase().as_str() {
            "1" | "t" | "true" => Some(true),
            "0" | "f" | "false" => Some(false),
            _ => None,
        };
        let no_truth = || refuse(format!("`{}` is neither true nor false", value.escape_debug()));
        Ok(match key {
            "name" => VolumeFilter::Name(own),
            "label" => {
                let (name, value) = pair();
                VolumeFilter::Label(name, value)
            }
            "label!" => {
                let (name, value) = pair();
                VolumeFilter::NoLabel(name, value)
            }
            "dangling" => match truth() {
                Some(truth) => VolumeFilter::Dangling(truth),
                None => return no_truth(),
            },
            "anonymous" => match truth() {
                Some(truth) => VolumeFilter::Anonymous(truth),
                None => return no_truth(),
            },
            "all" => match truth() {
                Some(truth) => VolumeFilter::All(truth),
                None => return no_truth(),
            },
            "driver" => VolumeFilter::Driver(own),
            "scope" => VolumeFilter::Scope(own),
            "since" | "after" => VolumeFilter::Since(own),
            "opt" => {
                let (name, value) = pair();
                VolumeFilter::Option(name, value)
            }
            "until" => match text.parse()? {
                ImageFilter::Until(moment) => VolumeFilter::Until(moment),
                _ => return refuse(format!("`{shown}` is no time")),
            },
            _ => return refuse(format!("`{}` is not known", key.escape_debug())),
        })
    }
}

impl VolumeFilter {
    /// Of several of one kind one must hold, but for labels, of which each must.
    pub fn apply(filters: &[VolumeFilter], all: Vec<Volume>, users: &VolumeUsers) -> Result<Vec<Volume>> {
        let mut wanted = Vec::new();
        for volume in &all {
            let mut matches = true;
            for filter in filters {
                let holds = |filter: &VolumeFilter| filter.holds(volume, &all, users);
                matches &= match filter {
                    VolumeFilter::Label(..) | VolumeFilter::NoLabel(..) => holds(filter)?,
                    _ => {
                        let kind = std::mem::discriminant(filter);
                        let alike = filters.iter().filter(|other| std::mem::discriminant(*other) == kind);
                        alike.map(holds).collect::<Result<Vec<bool>>>()?.contains(&true)
                    }
                };
            }
            wanted.push(matches);
        }
        let mut wanted = wanted.into_iter();
        Ok(all.into_iter().filter(|_| wanted.next().unwrap_or(false)).collect())
    }

    fn holds(&self, volume: &Volume, all: &[Volume], users: &VolumeUsers) -> Result<bool> {
        let has = |map: &std::collections::BTreeMap<String, String>, name: &str, value: &Option<String>| {
            map.get(name).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        Ok(match self {
            VolumeFilter::Name(part) => volume.name.contains(part.as_str()),
            VolumeFilter::Label(name, value) => has(&volume.labels, name, value),
            VolumeFilter::NoLabel(name, value) => !has(&volume.labels, name, value),
            VolumeFilter::Dangling(wanted) => users.is_needed(&volume.name) != *wanted,
            VolumeFilter::Driver(driver) => driver == "local",
            VolumeFilter::Scope(scope) => scope == "local",
            VolumeFilter::Until(moment) => volume.created < *moment,
            VolumeFilter::Since(name) => {
                let other = all.iter().find(|one| one.name == *name).ok_or_else(|| {
                    let reason = format!("there is no volume `{}`", name.escape_debug());
                    Error::invalid("--filter", reason)
                        .with_hint("`rabbitc volume ls` lists those that are there")
                })?;
                volume.created > other.created
            }
            VolumeFilter::Option(name, value) => has(&volume.options, name, value),
            VolumeFilter::Anonymous(wanted) => volume.is_anonymous == *wanted,
            VolumeFilter::All(_) => true,
        })
    }
}
