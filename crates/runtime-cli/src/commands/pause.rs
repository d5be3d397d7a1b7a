//! `pause`: freezes all processes of a container.

use lexopt::Parser;
use runtime::lifecycle;

use super::{Outcome, only_id};
use crate::args::Globals;

pub(super) const USAGE: &str = "\
Freeze all processes of a container.

Usage: rabbitc-runtime pause ID
";

pub(super) fn run(parser: Parser, globals: &Globals) -> Outcome {
    lifecycle::pause(&globals.state(), &only_id(parser, "pause")?)?;
    Ok(0)
}
