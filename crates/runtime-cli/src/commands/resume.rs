//! `resume`: thaws what `pause` froze.

use lexopt::Parser;
use runtime::lifecycle;

use super::{Outcome, only_id};
use crate::args::Globals;

pub(super) const USAGE: &str = "\
Thaw all processes of a container.

Usage: rabbitc-runtime resume ID
";

pub(super) fn run(parser: Parser, globals: &Globals) -> Outcome {
    lifecycle::resume(&globals.state(), &only_id(parser, "resume")?)?;
    Ok(0)
}
