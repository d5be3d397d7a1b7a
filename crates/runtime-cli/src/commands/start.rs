//! `start`: opens the gate at which a created container waits.

use lexopt::Parser;
use runtime::lifecycle;

use super::{Outcome, only_id};
use crate::args::Globals;

pub(super) const USAGE: &str = "\
Let the program of a created container begin.

Usage: rabbitc-runtime start ID
";

pub(super) fn run(parser: Parser, globals: &Globals) -> Outcome {
    lifecycle::start(&globals.state(), &only_id(parser, "start")?)?;
    Ok(0)
}
