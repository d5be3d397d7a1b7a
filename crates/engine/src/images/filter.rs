//! Which images a listing or a removal is about: `--filter`.

use std::collections::BTreeMap;
use std::str::FromStr;

use image::store::{Image, List, Name};
use image::{Digest, Reference};

use super::list::familiar;
use super::{ImageName, ImageStore};
use crate::error::{Error, Result, from_image};
use crate::filter::{has, moment, pair, truth};

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageFilter {
    /// Whether it has no name.
    Dangling(bool),
    /// A name, with `*`, `?` and `[…]`.
    Reference(String),
    /// A label, and its value where that counts.
    Label(String, Option<String>),
    /// That it has no such label.
    NoLabel(String, Option<String>),
    /// Made before another image.
    Before(ImageName),
    /// Made after another image.
    Since(ImageName),
    /// Made before a moment, in seconds since 1970.
    Until(u64),
    /// The beginning of its id.
    Id(String),
    /// The beginning of its manifest's digest.
    Digest(String),
}

/// All conditions of one command: of several of one kind one must hold, but for labels, of which each must.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageFilters(pub Vec<ImageFilter>);

impl FromStr for ImageFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<ImageFilter> {
        const HINT: &str = "there are dangling=true, reference=PATTERN, label=NAME[=VALUE], label!=NAME[=VALUE], before=IMAGE, \
             since=IMAGE, until=TIME, id=ID and digest=DIGEST";
        let refuse = |reason: String| Error::invalid("--filter", reason).with_hint(HINT);
        let Some((key, value)) = text.split_once('=') else {
            return Err(refuse(format!("`{}` has no `=`", text.escape_debug())));
        };
        let label = |make: fn(String, Option<String>) -> ImageFilter| {
            let (name, value) = pair(value);
            make(name, value)
        };
        Ok(match key {
            "dangling" => ImageFilter::Dangling(
                truth(value)
                    .ok_or_else(|| refuse(format!("`{}` is neither true nor false", value.escape_debug())))?,
            ),
            "reference" => ImageFilter::Reference(value.to_owned()),
            "label" => label(ImageFilter::Label),
            "label!" => label(ImageFilter::NoLabel),
            "before" => ImageFilter::Before(value.parse()?),
            "since" | "after" => ImageFilter::Since(value.parse()?),
            "until" => ImageFilter::Until(moment(value)?),
            "id" => ImageFilter::Id(value.trim_start_matches("sha256:").to_owned()),
            "digest" => ImageFilter::Digest(value.to_owned()),
            _ => return Err(refuse(format!("`{}` is not known", key.escape_debug()))),
        })
    }
}

/// A condition whose images have been looked up.
#[derive(Debug)]
pub(super) enum Condition {
    Plain(ImageFilter),
    Before(u64),
    Since(u64),
}

impl Condition {
    /// Those of the same kind are alternatives.
    fn kind(&self) -> u32 {
        match self {
            Condition::Plain(ImageFilter::Dangling(_)) => 0,
            Condition::Plain(ImageFilter::Reference(_)) => 1,
            Condition::Plain(ImageFilter::Id(_)) => 2,
            Condition::Plain(ImageFilter::Digest(_)) => 3,
            _ => u32::MAX,
        }
    }
}

impl ImageStore {
    /// Looks up the images that conditions name.
    pub(super) fn resolve(&self, filters: &ImageFilters) -> Result<Vec<Condition>> {
        let created = |name: &ImageName| {
            let image =
                self.wanted(name, &format!("--filter: compare with the image `{}`", name.as_str()))?;
            Ok(image.created.unwrap_or(0))
        };
        filters
            .0
            .iter()
            .map(|filter| match filter {
                ImageFilter::Before(name) => created(name).map(Condition::Before),
                ImageFilter::Since(name) => created(name).map(Condition::Since),
                plain => Ok(Condition::Plain(plain.clone())),
            })
            .collect()
    }

    /// Whether an image with one of its names, or without one, is among those that are meant.
    pub(super) fn passes(
        &self,
        conditions: &[Condition],
        image: &Image,
        name: Option<&Name>,
    ) -> Result<bool> {
        let is_about_labels = |one: &Condition| {
            matches!(one, Condition::Plain(ImageFilter::Label(..) | ImageFilter::NoLabel(..)))
        };
        let labels = match conditions.iter().any(is_about_labels) {
            true => self.store.configuration(image).map_err(from_image)?.config.labels,
            false => BTreeMap::new(),
        };
        let subject = Subject {
            created: image.created.unwrap_or(0),
            id: image.id.digits(),
            digest: &image.manifest,
            reference: name.map(|name| &name.reference),
            labels: &labels,
        };
        Ok(subject.passes(conditions))
    }
}

/// Whether a list is among those that are meant: it has no labels.
pub(super) fn list_passes(conditions: &[Condition], list: &List) -> bool {
    let subject = Subject {
        created: list.created,
        id: &list.id,
        digest: &list.index,
        reference: Some(&list.reference),
        labels: &BTreeMap::new(),
    };
    subject.passes(conditions)
}

/// What conditions are about.
struct Subject<'a> {
    created: u64,
    id: &'a str,
    digest: &'a Digest,
    reference: Option<&'a Reference>,
    labels: &'a BTreeMap<String, String>,
}

impl Subject<'_> {
    fn passes(&self, conditions: &[Condition]) -> bool {
        conditions.iter().all(|condition| match condition.kind() {
            u32::MAX => self.meets(condition),
            kind => conditions.iter().any(|other| other.kind() == kind && self.meets(other)),
        })
    }

    fn meets(&self, condition: &Condition) -> bool {
        let filter = match condition {
            Condition::Before(moment) => return self.created < *moment,
            Condition::Since(moment) => return self.created > *moment,
            Condition::Plain(filter) => filter,
        };
        match filter {
            ImageFilter::Dangling(wanted) => self.reference.is_none() == *wanted,
            ImageFilter::Reference(pattern) => self.reference.is_some_and(|reference| {
                let whole = reference.to_string();
                [familiar(reference), reference.familiar_name(), whole, reference.name()]
                    .iter()
                    .any(|shown| is_match(pattern.as_bytes(), shown.as_bytes()))
            }),
            ImageFilter::Label(label, value) => has(self.labels, label, value.as_ref()),
            ImageFilter::NoLabel(label, value) => !has(self.labels, label, value.as_ref()),
            ImageFilter::Until(moment) => self.created < *moment,
            ImageFilter::Id(digits) => self.id.starts_with(digits),
            ImageFilter::Digest(digest) => self.digest.to_string().starts_with(digest),
            ImageFilter::Before(_) | ImageFilter::Since(_) => unreachable!("they have been resolved"),
        }
    }
}

/// Whether a text is as a pattern says: `*` is anything but a slash, `?` one letter but a slash, `[a-z]` one of those, `\` takes
/// the next letter as it is (Go's path.Match).
fn is_match(pattern: &[u8], text: &[u8]) -> bool {
    // Where the last star stands in the pattern, and what of the text it has taken: at a mismatch it takes one more.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            None if t == text.len() => return true,
            None => None,
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(_) => one(&pattern[p..], text.get(t).copied()),
        };
        match (step, star) {
            (Some(length), _) => (p, t) = (p + length, t + 1),
            (None, Some((after, taken))) if text.get(taken).is_some_and(|letter| *letter != b'/') => {
                star = Some((after, taken + 1));
                (p, t) = (after, taken + 1);
            }
            _ => return false,
        }
    }
}

/// How much of the pattern takes the letter; none where it does not.
fn one(pattern: &[u8], letter: Option<u8>) -> Option<usize> {
    let letter = letter?;
    match pattern {
        [b'?', ..] => (letter != b'/').then_some(1),
        [b'\\', same, ..] => (*same == letter).then_some(2),
        [b'[', rest @ ..] => {
            let (negated, set) = match rest {
                [b'^' | b'!', set @ ..] => (true, set),
                set => (false, set),
            };
            let end = set.iter().skip(1).position(|byte| *byte == b']')? + 1;
            let (mut within, mut inside) = (false, &set[..end]);
            while let Some((from, rest)) = inside.split_first() {
                match rest {
                    [b'-', to, rest @ ..] => {
                        within |= (*from..=*to).contains(&letter);
                        inside = rest;
                    }
                    rest => {
                        within |= *from == letter;
                        inside = rest;
                    }
                }
            }
            (within != negated && letter != b'/').then_some(pattern.len() - set.len() + end + 1)
        }
        [same, ..] => (*same == letter).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::{now, seconds};

    #[test]
    fn patterns_are_those_of_path_match() {
        for (pattern, text, expected) in [
            ("alpine", "alpine", true),
            ("alp*", "alpine", true),
            ("*", "a/b", false),
            ("*/b", "a/b", true),
            ("a*/b*c", "axx/bxxc", true),
            ("*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaac", false),
            ("?lpine:3.[0-9]", "alpine:3.2", true),
            ("[^a]x", "ax", false),
            ("[!a]x", "bx", true),
            ("\\*", "*", true),
            ("[a", "a", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(is_match(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn filters_are_read_or_refused() {
        let read = |text: &str| text.parse::<ImageFilter>().map_err(|error| error.to_string());
        assert_eq!(read("dangling=true"), Ok(ImageFilter::Dangling(true)));
        assert_eq!(read("label=a=b=c"), Ok(ImageFilter::Label("a".into(), Some("b=c".into()))));
        assert_eq!(read("label!=a"), Ok(ImageFilter::NoLabel("a".into(), None)));
        assert_eq!(read("until=1970-01-02"), Ok(ImageFilter::Until(86_400)));
        assert_eq!(read("until=7"), Ok(ImageFilter::Until(7)));
        let Ok(ImageFilter::Until(moment)) = read("until=1h30m") else { panic!("it is a duration") };
        assert!(moment.abs_diff(seconds(now()) - 5400) < 60);
        for wrong in ["", "x", "dangling=perhaps", "until=soon", "nope=1", "before="] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
