//! The process that unpacks one layer, and its parent's side. It gives up all that unpacking does not need before it reads a
//! byte: what a broken decoder could be made to do is then done to the layer that it came with.
//!
//! How the process is started, and what it gets as standard streams, is the caller's affair.

mod confine;
mod filter;

#[cfg(test)]
pub(super) use self::confine::{confine, keep_only};

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::{Options, Unpacked, layer};
use crate::error::{Error, Kind, Result};

/// The most bytes of an answer.
const MOST_ANSWER_BYTES: u64 = 64 << 10;

/// What the process says, once.
#[derive(Serialize, Deserialize)]
enum Answer {
    Unpacked(Unpacked),
    Failed(Error),
}

/// All of the process: confines it, unpacks `archive` into `tree` and writes the answer, one JSON document. Only for a process
/// with one thread that ends after this: every descriptor of it but these three is closed, and its standard streams, which they
/// may have been, are the null device's.
///
/// Needs CAP_SYS_ADMIN in the process's user namespace. Fails only where nothing can be answered.
pub fn serve(archive: OwnedFd, tree: OwnedFd, answer: OwnedFd, options: &Options) -> io::Result<()> {
    let [archive, tree, answer] = confine::keep_only([archive, tree, answer])?;
    let unpacked =
        confine::confine(tree, options).and_then(|tree| layer(File::from(archive), tree.as_fd(), options));
    let said = match unpacked {
        Ok(unpacked) => Answer::Unpacked(unpacked),
        Err(error) => Answer::Failed(error),
    };
    let text = serde_json::to_vec(&said).expect("only string keys");
    File::from(answer).write_all(&text)
}

/// The parent's side: reads the answer of such a process to its end. `operation` is what an error begins with where there is none.
pub fn answer(output: impl Read, operation: &str) -> Result<Unpacked> {
    let mut text = Vec::new();
    let read = output.take(MOST_ANSWER_BYTES).read_to_end(&mut text);
    read.map_err(|error| Error::system(operation, error))?;
    match serde_json::from_slice(&text) {
        Ok(Answer::Unpacked(unpacked)) => Ok(unpacked),
        Ok(Answer::Failed(error)) => Err(plain(error)),
        Err(_) => {
            Err(Error::new(Kind::System, operation, "the process that does it has ended without an answer"))
        }
    }
}

/// An error as it may be shown, whatever has become of the process that told it.
fn plain(error: Error) -> Error {
    Error {
        operation: sys::plain(&error.operation),
        reason: sys::plain(&error.reason),
        hint: error.hint.as_deref().map(sys::plain),
        ..error
    }
}
