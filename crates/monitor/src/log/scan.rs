//! Owns the search for bytes that need care among many that don't, eight at a time. Must not change them.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Where the first line feed is.
pub(super) fn line_feed(bytes: &[u8]) -> Option<usize> {
    first(bytes, |word| equal(word, b'\n'), |byte| byte == b'\n')
}

/// Where the first byte is that JSON, as docker writes it, does not have as it is: control characters, quotes,
/// backslashes, what HTML would take for its own, and all beyond ASCII.
pub(super) fn not_plain(bytes: &[u8]) -> Option<usize> {
    // The sums may report a byte too many above one that is rightly reported, never below.
    let in_word = |word: u64| {
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let quotes = equal(word, b'"') | equal(word, b'\\');
        let html = equal(word, b'<') | equal(word, b'>') | equal(word, b'&');
        control | quotes | html | word & HIGH
    };
    first(bytes, in_word, |byte| !is_plain(byte))
}

/// Where the first byte is at which a string of JSON ends or has an escape.
pub(super) fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    first(bytes, |word| equal(word, b'"') | equal(word, b'\\'), |byte| matches!(byte, b'"' | b'\\'))
}

/// How many bytes a character of UTF-8 has that begins with this one; 1 where none of more does.
pub(super) fn character_length(first: u8) -> usize {
    match first {
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf8 => 4,
        _ => 1,
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..0x80) && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

/// The high bit of each byte that is this one, and perhaps of some above the first.
fn equal(word: u64, byte: u8) -> u64 {
    let other = word ^ (ONES * u64::from(byte));
    other.wrapping_sub(ONES) & !other & HIGH
}

fn first(bytes: &[u8], in_word: impl Fn(u64) -> u64, is_it: impl Fn(u8) -> bool) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = in_word(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|byte| is_it(*byte)).map(|at| words.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_byte_that_needs_care_is_found_wherever_it_is() {
        for byte in 0..=255u8 {
            for at in 0..24 {
                let mut bytes = [b'a'; 24];
                bytes[at] = byte;
                assert_eq!(not_plain(&bytes), (!is_plain(byte)).then_some(at), "{byte} at {at}");
                assert_eq!(line_feed(&bytes), (byte == b'\n').then_some(at), "{byte} at {at}");
                // Another one above it.
                bytes[at..].fill(byte);
                bytes[23] = b'\n';
                assert_eq!(not_plain(&bytes), Some(if is_plain(byte) { 23 } else { at }));
                assert_eq!(line_feed(&bytes), Some(if byte == b'\n' { at } else { 23 }));
            }
        }
        assert_eq!((line_feed(b""), not_plain(b"")), (None, None));
    }
}
