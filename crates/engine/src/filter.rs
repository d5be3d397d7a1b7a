//! What `--filter` of all listings has in common: how values are written, and which conditions must hold. Must not know what is
//! listed.

use std::collections::BTreeMap;
use std::mem::discriminant;

use monitor::Moment;
use regex_lite::Regex;

use crate::error::{Error, Result};
use crate::life::parse_moment;

/// `NAME[=VALUE]`: a label or an option, and its value where that counts.
pub(crate) fn pair(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// Whether there is such a pair.
pub(crate) fn has(pairs: &BTreeMap<String, String>, name: &str, value: Option<&String>) -> bool {
    pairs.get(name).is_some_and(|found| value.is_none_or(|value| value == found))
}

/// A regular expression of a name or an id, as docker and podman take them: found anywhere in it, unless `^` and `$` say otherwise.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Pattern> {
        Regex::new(text).map(Pattern).map_err(|error| {
            let reason = format!("`{}` is no regular expression: {error}", text.escape_debug());
            Error::invalid("--filter", reason)
                .with_hint("write a part of the name, or such as `^web-[0-9]+$`")
        })
    }

    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

/// A truth as Go's strconv.ParseBool reads it; none where it is none.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A moment in seconds since 1970, as all flags have it.
pub(crate) fn moment(text: &str) -> Result<u64> {
    let Moment(nanoseconds) = parse_moment("--filter", text)?;
    // Nothing here was made before.
    Ok(u64::try_from(nanoseconds / 1_000_000_000).unwrap_or(0))
}

/// Those of `all` that are meant: of several conditions of one kind one must hold, but for those of which `each_must`.
pub(crate) fn passing<F, T>(
    filters: &[F],
    all: Vec<T>,
    each_must: impl Fn(&F) -> bool,
    holds: impl Fn(&F, &T, &[T]) -> Result<bool>,
) -> Result<Vec<T>> {
    let is_meant = |one: &T| -> Result<bool> {
        let held = filters.iter().map(|filter| holds(filter, one, &all)).collect::<Result<Vec<bool>>>()?;
        let holds_of_kind = |filter: &F| {
            let alike =
                filters.iter().zip(&held).filter(|(other, _)| discriminant(*other) == discriminant(filter));
            alike.into_iter().any(|(_, held)| *held)
        };
        let mut each = filters.iter().zip(&held);
        Ok(each.all(|(filter, held)| if each_must(filter) { *held } else { holds_of_kind(filter) }))
    };
    let meant = all.iter().map(is_meant).collect::<Result<Vec<bool>>>()?;
    Ok(all.into_iter().zip(meant).filter_map(|(one, is_meant)| is_meant.then_some(one)).collect())
}
