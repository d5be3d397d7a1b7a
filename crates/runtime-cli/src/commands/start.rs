//! `start`: opens the gate at which a created container waits.

use lexopt::{Arg, Parser};
use runtime::lifecycle;

use super::{Failure, Outcome};
use crate::args::{self, Globals};

pub(super) const USAGE: &str = "\
Let the program of a created container begin.

Usage: rabbitc-runtime start ID
";

pub(super) fn run(mut parser: Parser, globals: &Globals) -> Outcome {
    let mut id = None;
    while let Some(argument) = parser.next().map_err(args::wrong)? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Err(Failure::Help),
            Arg::Value(value) => args::take_id(&mut id, value)?,
            other => return Err(args::unexpected(other).into()),
        }
    }
    lifecycle::start(&globals.state(), &args::need_id(id, "start")?)?;
    Ok(0)
}
