//! Listings: rows as a table with titles, as a line of JSON each, or by a template.

use engine::Result;

use super::Template;
use super::value::{Field, Value};
use crate::manner::is_podmans;

/// How a listing looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing<'a> {
    /// The format as it was typed.
    pub(crate) format: Option<&'a str>,
    /// The columns of a table that nobody gave another form.
    pub(crate) columns: &'a str,
    /// Fields of the rows, and the titles of their columns.
    pub(crate) titles: &'a [(&'static str, &'static str)],
    /// Whether a table has titles.
    pub(crate) heading: Heading,
}

/// Whether a table has titles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heading {
    Shown,
    LeftOut,
}

impl Listing<'_> {
    /// The rows in that form.
    pub(crate) fn render(&self, rows: &[Value]) -> Result<String> {
        let (template, is_table) = match self.format.map(str::trim) {
            None | Some("" | "table") => (self.columns, true),
            Some("json") if is_podmans() => {
                return Ok(format!("{}\n", Value::List(rows.to_vec()).pretty_json()));
            }
            Some("json") => return Ok(rows.iter().map(|row| format!("{}\n", row.json())).collect()),
            Some(format) => match format.strip_prefix("table") {
                Some(rest) if rest.starts_with([' ', '\t', '{', '\\']) => (rest.trim_start(), true),
                _ => (format, false),
            },
        };
        let template = Template::parse(template)?;
        let lines: Vec<String> = rows.iter().map(|row| template.render(row)).collect::<Result<_>>()?;
        if !is_table {
            return Ok(lines.iter().map(|line| format!("{line}\n")).collect());
        }
        let titles = template.render_titles(&self.title_row())?;
        let heading = (self.heading == Heading::Shown).then_some(titles);
        let all: Vec<Vec<&str>> =
            heading.iter().chain(&lines).map(|line| line.split('\t').collect()).collect();
        Ok(columns(&all))
    }

    fn title_row(&self) -> Value {
        self.titles.iter().map(|(name, title)| Field::new(*name, *title)).collect::<Vec<_>>().into()
    }
}

/// Lines of cells, in columns.
pub(crate) fn columns(lines: &[Vec<&str>]) -> String {
    let wide = |cell: &str| cell.chars().count();
    let count = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|column| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| wide(cell)).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("   ").trim_end());
        text.push('\n');
    }
    text
}
