//! Files with holes: where the bytes that an archive has of them belong (GNU tar's manual, "Storing Sparse Files"). Writes nothing.

use super::super::fault::{Fault, Outcome};
use super::super::stream::BLOCK;
use super::header::numeric;
use super::pax::decimal;

/// Bytes of a file that an archive has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Piece {
    pub(in super::super) offset: u64,
    pub(in super::super) length: u64,
}

/// The most pieces of one file: what a mebibyte of map can hold at least.
const MOST_PIECES: usize = 64 << 10;

/// The map in a header of GNU's own form: its pieces, and whether more blocks of them follow.
pub(super) fn of_header(block: &[u8; BLOCK], into: &mut Vec<Piece>) -> Outcome<bool> {
    pieces(&block[386..482], into)?;
    Ok(block[482] != 0)
}

/// The size of the file that such a header tells of.
pub(super) fn real_size_of_header(block: &[u8; BLOCK]) -> Outcome<u64> {
    let size = numeric(&block[483..495]).and_then(|size| u64::try_from(size).ok());
    size.ok_or_else(broken)
}

/// A block that continues such a map; whether another one follows.
pub(super) fn of_block(block: &[u8; BLOCK], into: &mut Vec<Piece>) -> Outcome<bool> {
    pieces(&block[..504], into)?;
    Ok(block[504] != 0)
}

fn pieces(fields: &[u8], into: &mut Vec<Piece>) -> Outcome<()> {
    for piece in fields.chunks_exact(24) {
        // One that begins with a NUL byte ends the map.
        if piece[0] == 0 {
            break;
        }
        let number = |field: &[u8]| numeric(field).and_then(|number| u64::try_from(number).ok());
        let (Some(offset), Some(length)) = (number(&piece[..12]), number(&piece[12..])) else {
            return Err(broken());
        };
        into.push(Piece { offset, length });
        bounded(into.len())?;
    }
    Ok(())
}

/// The map of version 0.1: `OFFSET,LENGTH,…` in decimal.
pub(super) fn from_text(text: &[u8]) -> Outcome<Vec<Piece>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut numbers =
        text.split(|byte| *byte == b',').map(|digits| decimal::<u64>(digits).ok_or_else(broken));
    let mut pieces = Vec::new();
    while let Some(offset) = numbers.next() {
        let length = numbers.next().ok_or_else(broken)??;
        pieces.push(Piece { offset: offset?, length });
        bounded(pieces.len())?;
    }
    Ok(pieces)
}

/// Reads the map of version 1.0, which the content begins with: numbers in lines, padded to whole blocks.
#[derive(Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    count: Option<u64>,
    numbers: Vec<u64>,
}

impl Lines {
    /// Takes the next block; the map, if it ends in this one.
    pub(super) fn take(&mut self, block: &[u8]) -> Outcome<Option<Vec<Piece>>> {
        for byte in block {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() > 20 {
                    return Err(broken());
                }
                continue;
            }
            let number: u64 = decimal(&self.line).ok_or_else(broken)?;
            self.line.clear();
            match self.count {
                None => {
                    bounded(usize::try_from(number).unwrap_or(usize::MAX))?;
                    self.count = Some(number);
                }
                Some(_) => self.numbers.push(number),
            }
            if self.count.is_some_and(|count| self.numbers.len() as u64 == count * 2) {
                let pairs = self.numbers.chunks_exact(2);
                return Ok(Some(pairs.map(|pair| Piece { offset: pair[0], length: pair[1] }).collect()));
            }
        }
        Ok(None)
    }
}

/// Refuses pieces that overlap, reach beyond the file, or are not what the archive has.
pub(super) fn check(pieces: &[Piece], real_size: u64, stored: u64) -> Outcome<()> {
    let (mut at, mut sum) = (0u64, 0u64);
    for piece in pieces {
        let end = piece.offset.checked_add(piece.length).filter(|end| *end <= real_size);
        at = end.filter(|_| piece.offset >= at).ok_or_else(broken)?;
        // No overflow: pieces don't overlap, so together they are no longer than the file.
        sum += piece.length;
    }
    if sum == stored { Ok(()) } else { Err(broken()) }
}

fn bounded(count: usize) -> Outcome<()> {
    if count > MOST_PIECES {
        return Err(Fault::too_much(format!("it has more than {MOST_PIECES} pieces between holes")));
    }
    Ok(())
}

fn broken() -> Fault {
    Fault::corrupt("its map of holes is broken")
}
