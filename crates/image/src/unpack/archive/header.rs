//! The header of an entry: one block, in any of the forms that tar has had (tar(5)). Reads nothing else.

use super::super::fault::{Fault, Outcome};
use super::super::stream::BLOCK;
use super::Time;

/// What a header says.
#[derive(Debug)]
pub(crate) struct Header {
    /// What kind of entry follows.
    pub(crate) flag: u8,
    pub(crate) name: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: i64,
    pub(super) gid: i64,
    /// Bytes that follow, before they are padded to whole blocks.
    pub(crate) size: u64,
    pub(super) time: Time,
    pub(super) device: (u32, u32),
}

/// The forms in which the last third of a header is used.
#[derive(PartialEq, Eq)]
enum Form {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl Header {
    /// Reads a block that is not all zeros.
    pub(crate) fn parse(block: &[u8; BLOCK]) -> Outcome<Header> {
        if !checksum_holds(block) {
            return Err(Fault::corrupt("a header's checksum is wrong"));
        }
        let form = form(block);
        let number = |range: std::ops::Range<usize>, what: &str| {
            numeric(&block[range]).ok_or_else(|| Fault::corrupt(format!("its {what} is no number")))
        };
        let size = number(124..136, "size")?;
        let mut name = text(&block[..100]).to_vec();
        let prefix = match form {
            Form::Ustar => text(&block[345..500]),
            Form::Star => text(&block[345..476]),
            Form::V7 | Form::Gnu => b"",
        };
        if !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        let device = if form == Form::V7 {
            (0, 0)
        } else {
            (number(329..337, "device number")?, number(337..345, "device number")?)
        };
        let part = |part: i64| u32::try_from(part).map_err(|_| Fault::corrupt("its device number is none"));
        Ok(Header {
            flag: block[156],
            name,
            link: text(&block[157..257]).to_vec(),
            // The kind of file is above these bits, and told by the flag.
            mode: (number(100..108, "mode")? & 0o7777) as u32,
            uid: number(108..116, "owner")?,
            gid: number(116..124, "group")?,
            size: u64::try_from(size).map_err(|_| Fault::corrupt("its size is negative"))?,
            time: Time { seconds: number(136..148, "time")?, nanoseconds: 0 },
            device: (part(device.0)?, part(device.1)?),
        })
    }
}

fn form(block: &[u8; BLOCK]) -> Form {
    match (&block[257..263], &block[263..265], &block[508..512]) {
        (b"ustar\0", _, b"tar\0") => Form::Star,
        (b"ustar\0", ..) => Form::Ustar,
        (b"ustar ", b" \0", _) => Form::Gnu,
        _ => Form::V7,
    }
}

/// The sum of all bytes with the sum itself as spaces; some have summed signed ones.
fn checksum_holds(block: &[u8; BLOCK]) -> bool {
    let Some(claimed) = numeric(&block[148..156]) else { return false };
    let (mut unsigned, mut signed) = (0i64, 0i64);
    for (index, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&index) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte as i8);
    }
    claimed == unsigned || claimed == signed
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number: octal digits among spaces and NULs, or, with the first bit set, the bytes of it (GNU's base 256).
pub(super) fn numeric(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // The second bit is the sign, and goes on to the left.
        let start = if first & 0x40 != 0 { -1 } else { 0 };
        let start = start << 6 | i64::from(first & 0x3f);
        return rest
            .iter()
            .try_fold(start, |number, byte| number.checked_mul(256).map(|number| number | i64::from(*byte)));
    }
    let trimmed = field.trim_ascii_start();
    let digits = text(trimmed).trim_ascii();
    if digits.len() > 20 || !digits.iter().all(|digit| matches!(digit, b'0'..=b'7')) {
        return None;
    }
    digits.iter().try_fold(0i64, |number, digit| number.checked_mul(8)?.checked_add(i64::from(digit - b'0')))
}
