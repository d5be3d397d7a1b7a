//! `state`: shows one container as JSON.

use lexopt::{Arg, Parser};
use runtime::lifecycle;

use super::document::Document;
use super::{Failure, Outcome};
use crate::args::{self, Globals};
use crate::render;

pub(super) const USAGE: &str = "\
Show a container's state as JSON.

Usage: rabbitc-runtime state ID
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
    let id = args::need_id(id, "state")?;
    let root = globals.state();
    let document = Document::new(lifecycle::view(&root, &id)?, &root.directory(&id));
    let text = serde_json::to_string_pretty(&document).expect("strings and numbers");
    render::print(&format!("{text}\n"));
    Ok(0)
}
