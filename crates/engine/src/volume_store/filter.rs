//! Which volumes a listing is about: `--filter`.

use std::str::FromStr;

use super::{Volume, VolumeUsers};
use crate::error::{Error, Result};
use crate::filter::{Pattern, has, moment, pair, passing, truth};

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeFilter {
    /// What is found in its name.
    Name(Pattern),
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

const HINT: &str = "there are name=PATTERN, label=NAME[=VALUE], label!=NAME[=VALUE], dangling=BOOL, driver=local, scope=local, \
                    until=TIME, since=VOLUME, opt=NAME[=VALUE], anonymous=BOOL, and for `prune` all=BOOL";

impl FromStr for VolumeFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<VolumeFilter> {
        let refuse = |reason: String| Error::invalid("--filter", reason).with_hint(HINT);
        let shown = text.escape_debug();
        let Some((key, value)) = text.split_once('=') else {
            return Err(refuse(format!("`{shown}` has no `=`")));
        };
        let own = value.to_owned();
        let of_pair = |make: fn(String, Option<String>) -> VolumeFilter| {
            let (name, value) = pair(value);
            make(name, value)
        };
        let truth = || {
            let wrong = || refuse(format!("`{}` is neither true nor false", value.escape_debug()));
            truth(value).ok_or_else(wrong)
        };
        Ok(match key {
            "name" => VolumeFilter::Name(Pattern::parse(value)?),
            "label" => of_pair(VolumeFilter::Label),
            "label!" => of_pair(VolumeFilter::NoLabel),
            "dangling" => VolumeFilter::Dangling(truth()?),
            "anonymous" => VolumeFilter::Anonymous(truth()?),
            "all" => VolumeFilter::All(truth()?),
            "driver" => VolumeFilter::Driver(own),
            "scope" => VolumeFilter::Scope(own),
            "since" | "after" => VolumeFilter::Since(own),
            "opt" => of_pair(VolumeFilter::Option),
            "until" => VolumeFilter::Until(moment(value)?),
            _ => return Err(refuse(format!("`{}` is not known", key.escape_debug()))),
        })
    }
}

impl VolumeFilter {
    /// Of several of one kind one must hold, but for labels, of which each must.
    pub fn apply(filters: &[VolumeFilter], all: Vec<Volume>, users: &VolumeUsers) -> Result<Vec<Volume>> {
        let is_label =
            |filter: &VolumeFilter| matches!(filter, VolumeFilter::Label(..) | VolumeFilter::NoLabel(..));
        passing(filters, all, is_label, |filter, volume, all| filter.holds(volume, all, users))
    }

    fn holds(&self, volume: &Volume, all: &[Volume], users: &VolumeUsers) -> Result<bool> {
        Ok(match self {
            VolumeFilter::Name(pattern) => pattern.is_in(&volume.name),
            VolumeFilter::Label(name, value) => has(&volume.labels, name, value.as_ref()),
            VolumeFilter::NoLabel(name, value) => !has(&volume.labels, name, value.as_ref()),
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
            VolumeFilter::Option(name, value) => has(&volume.options, name, value.as_ref()),
            VolumeFilter::Anonymous(wanted) => volume.is_anonymous == *wanted,
            VolumeFilter::All(_) => true,
        })
    }
}
