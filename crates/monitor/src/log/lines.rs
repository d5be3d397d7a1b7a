//! Owns the cutting of one stream into lines, and of long lines into pieces. Must not know a form of logs.

use crate::log::scan;

/// How long a piece of a line may be, as docker cuts them.
const MOST: usize = 16 * 1024;

/// A line, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// With the line feed, where it has one.
    pub(super) bytes: &'a [u8],
    pub(super) ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The line ends here.
    Line,
    /// It goes on, or what wrote it has ended.
    Open,
}

impl<'a> Piece<'a> {
    /// A whole line, or the end of one.
    pub(super) fn line(bytes: &'a [u8]) -> Piece<'a> {
        Piece { bytes, ending: Ending::Line }
    }

    /// Without the line feed.
    pub(super) fn text(&self) -> &'a [u8] {
        match self.ending {
            Ending::Line => &self.bytes[..self.bytes.len() - 1],
            Ending::Open => self.bytes,
        }
    }
}

/// What waits for the end of its line, at most [`MOST`] bytes. Takes no memory before there is some.
#[derive(Debug, Default)]
pub(super) struct Lines {
    waiting: Vec<u8>,
}

impl Lines {
    /// Hands on what `bytes` complete.
    pub(super) fn split(&mut self, mut bytes: &[u8], mut put: impl FnMut(Piece<'_>)) {
        while !bytes.is_empty() {
            let room = MOST - self.waiting.len();
            let (taken, ending) = match scan::line_feed(bytes) {
                // The line feed may be one too many.
                Some(at) if at <= room => (at + 1, Some(Ending::Line)),
                None if bytes.len() < room => (bytes.len(), None),
                _ => (room, Some(Ending::Open)),
            };
            let (piece, rest) = bytes.split_at(taken);
            match ending {
                None => self.waiting.extend_from_slice(piece),
                Some(Ending::Open) if self.waiting.is_empty() => {
                    let cut = taken - cut_character(piece);
                    put(Piece { bytes: &piece[..cut], ending: Ending::Open });
                    bytes = &bytes[cut..];
                    continue;
                }
                Some(ending) if self.waiting.is_empty() => put(Piece { bytes: piece, ending }),
                Some(ending) => {
                    self.waiting.extend_from_slice(piece);
                    let cut = match ending {
                        Ending::Line => self.waiting.len(),
                        Ending::Open => self.waiting.len() - cut_character(&self.waiting),
                    };
                    put(Piece { bytes: &self.waiting[..cut], ending });
                    self.waiting.drain(..cut);
                }
            }
            bytes = rest;
        }
    }

    /// Hands on what waits.
    pub(super) fn finish(&mut self, mut put: impl FnMut(Piece<'_>)) {
        if !self.waiting.is_empty() {
            put(Piece { bytes: &self.waiting, ending: Ending::Open });
            self.waiting.clear();
        }
    }
}

/// How many bytes at the end are the beginning of a character: forms that are of text would lose it if it were cut. What is
/// no UTF-8 anyway is cut anywhere.
fn cut_character(bytes: &[u8]) -> usize {
    let last_ones = bytes.iter().rev().take(3).enumerate();
    // Those in between are of the form 10xxxxxx.
    let Some((back, first)) = last_ones.into_iter().find(|(_, byte)| !matches!(byte, 0x80..0xc0)) else {
        return 0;
    };
    if back + 1 < scan::character_length(*first) { back + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(parts: &[&[u8]]) -> Vec<(Vec<u8>, Ending)> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let mut put = |piece: Piece<'_>| found.push((piece.bytes.to_vec(), piece.ending));
        for part in parts {
            lines.split(part, &mut put);
        }
        lines.finish(&mut put);
        found
    }

    #[test]
    fn line_waits_for_its_end() {
        let found = pieces(&[b"a", b"b\nc\n\nd", b"", b"e"]);
        let expected = [
            (b"ab\n".to_vec(), Ending::Line),
            (b"c\n".to_vec(), Ending::Line),
            (b"\n".to_vec(), Ending::Line),
            (b"de".to_vec(), Ending::Open),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn long_line_comes_in_pieces_and_its_last_one_has_the_line_feed() {
        let text = [vec![b'x'; 2 * MOST], b"y\n".to_vec()].concat();
        for size in [1, 7, MOST - 1, MOST, MOST + 1, text.len()] {
            let found = pieces(&text.chunks(size).collect::<Vec<_>>());
            let lengths: Vec<usize> = found.iter().map(|piece| piece.0.len()).collect();
            assert_eq!(lengths, [MOST, MOST, 2], "in parts of {size}");
            assert_eq!(found[1].1, Ending::Open);
            assert_eq!(found[2].1, Ending::Line);
        }
        assert_eq!(pieces(&[&[vec![b'x'; MOST], b"\n".to_vec()].concat()]).len(), 1);
    }

    #[test]
    fn characters_are_not_cut() {
        for before in 0..4 {
            let text = "ä€😀".repeat(MOST / 4);
            let text = [vec![b'x'; before], text.into_bytes()].concat();
            for size in [1, 1000, text.len()] {
                let found = pieces(&text.chunks(size).collect::<Vec<_>>());
                assert!(found.len() > 1);
                assert!(found.iter().all(|piece| std::str::from_utf8(&piece.0).is_ok()), "{before} {size}");
                assert_eq!(found.concat_bytes(), text);
            }
        }
        let nonsense = vec![0x85; 3 * MOST];
        assert_eq!(pieces(&[&nonsense]).concat_bytes(), nonsense);
    }

    trait Concat {
        fn concat_bytes(&self) -> Vec<u8>;
    }

    impl Concat for Vec<(Vec<u8>, Ending)> {
        fn concat_bytes(&self) -> Vec<u8> {
            self.iter().flat_map(|piece| piece.0.clone()).collect()
        }
    }
}
