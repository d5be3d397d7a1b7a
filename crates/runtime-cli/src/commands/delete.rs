//! `delete`: removes a container and all that was made for it.

use lexopt::{Arg, Parser};
use runtime::lifecycle::{self, Force};

use super::{Failure, Outcome};
use crate::args::{self, Globals};
use crate::render;

pub(super) const USAGE: &str = "\
Remove a stopped container and all that was made for it.

Usage: rabbitc-runtime delete [OPTIONS] ID

Options:
  -f, --force  kill it first; no error if there is no such container
";

pub(super) fn run(mut parser: Parser, globals: &Globals) -> Outcome {
    let mut id = None;
    let mut force = Force::No;
    while let Some(argument) = parser.next().map_err(args::wrong)? {
        match argument {
            Arg::Long("force") | Arg::Short('f') => {
                force = if args::switch(&mut parser)? { Force::Yes } else { Force::No };
            }
            Arg::Long("help") | Arg::Short('h') => return Err(Failure::Help),
            Arg::Value(value) => args::take_id(&mut id, value)?,
            other => return Err(args::unexpected(other).into()),
        }
    }
    let warnings = lifecycle::delete(&globals.state(), &args::need_id(id, "delete")?, force)?;
    render::warn_of_hooks(globals, &warnings);
    Ok(0)
}
