//! `resume`: thaws what `pause` froze.

use lexopt::{Arg, Parser};
use runtime::lifecycle;

use super::{Failure, Outcome};
use crate::args::{self, Globals};

pub(super) const USAGE: &str = "\
Thaw all processes of a container.

Usage: rabbitc-runtime resume ID
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
    lifecycle::resume(&globals.state(), &args::need_id(id, "resume")?)?;
    Ok(0)
}
