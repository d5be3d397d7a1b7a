//! `list`: shows all containers below the state root.

use lexopt::{Arg, Parser};
use runtime::{Error, ErrorKind, lifecycle};

use super::document::Document;
use super::{Failure, Outcome};
use crate::args::{self, Globals};
use crate::render;

pub(super) const USAGE: &str = "\
List the containers.

Usage: rabbitc-runtime list [OPTIONS]

Options:
  -f, --format FORMAT  table or json
  -q, --quiet          ids alone
";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Table,
    Json,
    Ids,
}

pub(super) fn run(mut parser: Parser, globals: &Globals) -> Outcome {
    let mut form = Form::Table;
    while let Some(argument) = parser.next().map_err(args::wrong)? {
        match argument {
            Arg::Long("format") | Arg::Short('f') => {
                form = match args::text(&mut parser)?.as_str() {
                    "table" => Form::Table,
                    "json" => Form::Json,
                    other => {
                        let reason = format!("`{other}` is neither table nor json");
                        return Err(Error::invalid("--format", reason).into());
                    }
                }
            }
            Arg::Long("quiet") | Arg::Short('q') => {
                if args::switch(&mut parser)? {
                    form = Form::Ids;
                }
            }
            Arg::Long("help") | Arg::Short('h') => return Err(Failure::Help),
            other => return Err(args::unexpected(other).into()),
        }
    }
    let documents = documents(globals)?;
    render::print(&match form {
        Form::Json => format!("{}\n", serde_json::to_string(&documents).expect("strings and numbers")),
        Form::Ids => documents.iter().map(|one| format!("{}\n", one.id)).collect(),
        Form::Table => table(&documents),
    });
    Ok(0)
}

fn documents(globals: &Globals) -> Result<Vec<Document>, Error> {
    let root = globals.state();
    // The usual place is made with the first container; one that was named wrongly would look like an empty one.
    if globals.root_named {
        std::fs::metadata(root.path()).map_err(|error| {
            Error::at_path("list", root.path(), error).with_hint("`--root` names no directory of containers")
        })?;
    }
    let mut documents = Vec::new();
    for id in root.list()? {
        match lifecycle::view(&root, &id) {
            Ok(view) => documents.push(Document::new(view, &root.directory(&id))),
            // Removed in between.
            Err(error) if error.kind == ErrorKind::NotFound => {}
            // One that can't be read hides no others.
            Err(error) => render::warn(globals, &error.to_string()),
        }
    }
    Ok(documents)
}

fn table(documents: &[Document]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    for one in documents {
        let bundle = one.bundle.display().to_string();
        let (id, status) = (one.id.clone(), one.status.to_owned());
        rows.push([id, one.pid.to_string(), status, bundle, one.created.clone(), one.owner.clone()]);
    }
    align(&rows)
}

/// Columns as wide as their widest entry, three spaces apart, the last one as long as it is.
fn align(rows: &[[String; 6]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, entry) in row.iter().enumerate() {
            if column == 5 {
                text.push_str(entry);
            } else {
                text.push_str(&format!("{entry:<width$}   ", width = widths[column]));
            }
        }
        text.push('\n');
    }
    text
}
