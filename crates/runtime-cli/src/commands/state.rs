//! `state`: shows one container as JSON.

use lexopt::Parser;
use runtime::lifecycle;

use super::document::Document;
use super::{Outcome, only_id};
use crate::args::Globals;
use crate::render;

pub(super) const USAGE: &str = "\
Show a container's state as JSON.

Usage: rabbitc-runtime state ID
";

pub(super) fn run(parser: Parser, globals: &Globals) -> Outcome {
    let id = only_id(parser, "state")?;
    let root = globals.state();
    let document = Document::new(lifecycle::view(&root, &id)?, &root.directory(&id));
    let text = serde_json::to_string_pretty(&document).expect("strings and numbers");
    render::print(&format!("{text}\n"));
    Ok(0)
}
