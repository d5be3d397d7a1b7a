//! Templates of `--format`, as Go's text/template has them and docker's and podman's listings use them: the part of it that
//! looks at values. Must not know what the values are, and prints nothing.
//!
//! Own code: the one crate there is has not been kept since 2021, and knows no difference between a field that is not set and
//! one that there is not.

mod evaluate;
mod functions;
mod lex;
mod listing;
mod parse;
mod print;
mod value;

use engine::{Error, Result};

pub(crate) use self::listing::{Heading, Listing, columns};
use self::parse::Node;
pub(crate) use self::value::{Field, Map, Value};

/// A template, read.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<Node>,
}

/// What the functions of a template do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// What they are for.
    Values,
    /// Nothing: the values are the titles of columns.
    Titles,
}

impl Template {
    /// Reads one. `\t` and `\n` outside of actions are what they stand for, as shells hand them over as they are.
    pub(crate) fn parse(text: &str) -> Result<Template> {
        parse::parse(&lex::lex(text)?).map(|nodes| Template { nodes })
    }

    /// The text for a value.
    pub(crate) fn render(&self, value: &Value) -> Result<String> {
        evaluate::render(&self.nodes, value, Mode::Values)
    }

    fn render_titles(&self, titles: &Value) -> Result<String> {
        evaluate::render(&self.nodes, titles, Mode::Titles)
    }
}

/// What is wrong with a template.
fn wrong(reason: impl Into<String>) -> Error {
    Error::invalid("--format", reason.into())
}

#[cfg(test)]
mod tests;
