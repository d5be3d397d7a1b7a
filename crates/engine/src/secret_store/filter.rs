//! Which secrets a listing is about: `--filter`.

use std::str::FromStr;

use super::Secret;
use crate::error::{Error, Result};
use crate::filter::{Pattern, has, pair, passing};

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretFilter {
    /// What is found in its name.
    Name(Pattern),
    /// The beginning of its id.
    Id(String),
    /// A label, and its value where that counts.
    Label(String, Option<String>),
}

const HINT: &str = "there are name=PATTERN, id=ID and label=NAME[=VALUE]";

impl FromStr for SecretFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<SecretFilter> {
        let refuse = |reason: String| Err(Error::invalid("--filter", reason).with_hint(HINT));
        let Some((key, value)) = text.split_once('=') else {
            return refuse(format!("`{}` has no `=`", text.escape_debug()));
        };
        Ok(match key {
            "name" => SecretFilter::Name(Pattern::parse(value)?),
            "id" => SecretFilter::Id(value.to_owned()),
            "label" => {
                let (name, value) = pair(value);
                SecretFilter::Label(name, value)
            }
            _ => return refuse(format!("`{}` is not known", key.escape_debug())),
        })
    }
}

impl SecretFilter {
    /// Those that are meant.
    pub fn apply(filters: &[SecretFilter], secrets: Vec<Secret>) -> Result<Vec<Secret>> {
        let each_must = |filter: &SecretFilter| matches!(filter, SecretFilter::Label(..));
        passing(filters, secrets, each_must, |filter, secret, _| Ok(filter.holds(secret)))
    }

    fn holds(&self, secret: &Secret) -> bool {
        match self {
            SecretFilter::Name(pattern) => pattern.is_in(&secret.name),
            SecretFilter::Id(id) => secret.id.starts_with(id),
            SecretFilter::Label(name, value) => has(&secret.labels, name, value.as_ref()),
        }
    }
}
