//! Extended headers: records of keys and values that stand before an entry and overrule its header (pax(1), "pax Extended
//! Header"). Reads no entry.

use std::collections::BTreeMap;

use super::super::fault::{Fault, Outcome};
use super::Time;
use super::sparse::{self, Piece};

/// What the records before one entry say.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) time: Option<Time>,
    /// Extended attributes of the file.
    pub(super) attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Bytes of all of them that came, with those that were overruled.
    attribute_bytes: usize,
    pub(crate) sparse: Sparse,
}

/// What GNU tar says of a file with holes.
#[derive(Debug, Default)]
pub(crate) struct Sparse {
    pub(super) version: (Option<u64>, Option<u64>),
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Of the versions that have it in the header.
    pub(super) pieces: Vec<Piece>,
    /// The offset of a piece whose length has not come yet.
    offset: Option<u64>,
}

impl Records {
    /// Reads the content of an extended header, with at most so many bytes of extended attributes. Later records of a key
    /// overrule earlier ones.
    pub(crate) fn parse(content: &[u8], attribute_bytes: usize) -> Outcome<Records> {
        let mut records = Records::default();
        let mut rest = content;
        while !rest.is_empty() {
            let (key, value, after) =
                split(rest).ok_or_else(|| Fault::corrupt("its extended header is broken"))?;
            records.take(key, value)?;
            if records.attribute_bytes > attribute_bytes {
                let reason = format!("its extended attributes have more than {attribute_bytes} bytes");
                return Err(Fault::too_much(reason));
            }
            rest = after;
        }
        Ok(records)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        match key {
            b"path" => self.path = name(key, value)?,
            b"linkpath" => self.link = name(key, value)?,
            // No value: the header's own counts.
            b"size" => self.size = optional(key, value)?,
            b"uid" => self.uid = optional(key, value)?,
            b"gid" => self.gid = optional(key, value)?,
            b"mtime" if value.is_empty() => self.time = None,
            b"mtime" => self.time = Some(time(value).ok_or_else(|| Fault::corrupt("its time is none"))?),
            _ => {
                if let Some(attribute) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.attribute_bytes += attribute.len() + value.len();
                    match value.is_empty() {
                        true => self.attributes.remove(attribute),
                        false => self.attributes.insert(attribute.to_vec(), value.to_vec()),
                    };
                } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.take(key, value)?;
                }
            }
        }
        Ok(())
    }
}

impl Sparse {
    /// Whether the file has holes, in whatever form.
    pub(crate) fn is_said(&self) -> bool {
        self.version != (None, None) || self.real_size.is_some() || !self.pieces.is_empty()
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        match key {
            b"major" => self.version.0 = optional(key, value)?,
            b"minor" => self.version.1 = optional(key, value)?,
            b"name" => self.name = name(key, value)?,
            b"size" | b"realsize" => self.real_size = optional(key, value)?,
            b"map" => self.pieces = sparse::from_text(value)?,
            b"offset" => self.offset = optional(key, value)?,
            b"numbytes" => {
                let length = optional(key, value)?;
                let (Some(offset), Some(length)) = (self.offset.take(), length) else {
                    return Err(Fault::corrupt("its map of holes is broken"));
                };
                self.pieces.push(Piece { offset, length });
            }
            // The number of pieces, and what later versions add.
            _ => {}
        }
        Ok(())
    }
}

/// The first record, `LENGTH KEY=VALUE` and a line feed, and what follows.
fn split(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = decimal(&records[..space])?;
    let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    (!key.is_empty() && !key.contains(&0)).then_some((key, value, &records[length..]))
}

/// A number in decimal digits alone, or with a minus before them where the type has negative ones.
pub(super) fn decimal<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = text.strip_prefix('-').unwrap_or(text);
    plain.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn optional<T: std::str::FromStr>(key: &[u8], value: &[u8]) -> Outcome<Option<T>> {
    if value.is_empty() {
        return Ok(None);
    }
    let number = decimal(value);
    let refuse = || Fault::corrupt(format!("its `{}` is no number", super::super::fault::shown(key)));
    number.map(Some).ok_or_else(refuse)
}

fn name(key: &[u8], value: &[u8]) -> Outcome<Option<Vec<u8>>> {
    if value.contains(&0) {
        return Err(Fault::corrupt(format!("its `{}` has a NUL byte", super::super::fault::shown(key))));
    }
    Ok(Some(value.to_vec()).filter(|value| !value.is_empty()))
}

/// A time such as `-1700000000.25`: digits beyond nanoseconds are cut off.
fn time(value: &[u8]) -> Option<Time> {
    let mut halves = value.splitn(2, |byte| *byte == b'.');
    let (whole, fraction) = (halves.next()?, halves.next().unwrap_or_default());
    let negative = whole.starts_with(b"-");
    let seconds: i64 = match whole {
        b"" | b"-" => 0,
        whole => decimal(whole)?,
    };
    if !fraction.iter().all(u8::is_ascii_digit)
        || (whole.len() <= usize::from(negative) && fraction.is_empty())
    {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0u32, |number, digit| number * 10 + u32::from(digit - b'0'));
    Some(if negative && nanoseconds > 0 {
        Time { seconds: seconds.checked_sub(1)?, nanoseconds: 1_000_000_000 - nanoseconds }
    } else {
        Time { seconds, nanoseconds }
    })
}
