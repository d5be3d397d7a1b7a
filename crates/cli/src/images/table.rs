//! Listings of images: as a table, as JSON, by a template.

use std::time::SystemTime;

use engine::{Error, Listed, Result};
use serde_json::json;

use super::ListArguments;

/// What docker shows where a name has no such part.
const NONE: &str = "<none>";

/// The listing as it was asked for.
pub(super) fn render(listed: &[Listed], arguments: &ListArguments) -> Result<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let rows: Vec<Row> = listed.iter().map(|image| Row::new(image, arguments.no_trunc, now)).collect();
    if arguments.quiet {
        let mut ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        ids.dedup();
        return Ok(ids.into_iter().map(|id| format!("{id}\n")).collect());
    }
    match arguments.format.as_deref() {
        None | Some("table" | "") => Ok(table(&rows, arguments.digests)),
        Some("json") => Ok(rows.iter().map(|row| format!("{}\n", row.json())).collect()),
        Some(template) => {
            rows.iter().map(|row| fill(template, row).map(|line| format!("{line}\n"))).collect()
        }
    }
}

struct Row {
    repository: String,
    tag: String,
    digest: String,
    id: String,
    since: String,
    at: String,
    size: String,
}

impl Row {
    fn new(image: &Listed, whole: bool, now: u64) -> Row {
        let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| NONE.to_owned());
        let digits = image.id.split_once(':').map_or(image.id.as_str(), |(_, digits)| digits);
        Row {
            repository: or_none(&image.repository),
            tag: or_none(&image.tag),
            digest: or_none(&image.digest),
            id: if whole { image.id.clone() } else { digits.chars().take(12).collect() },
            since: image
                .created
                .map_or_else(|| "N/A".to_owned(), |created| since(now.saturating_sub(created))),
            at: image.created.map_or_else(|| "N/A".to_owned(), |created| created.to_string()),
            size: size(image.size),
        }
    }

    fn json(&self) -> serde_json::Value {
        json!({"Repository": self.repository, "Tag": self.tag, "Digest": self.digest, "ID": self.id,
            "CreatedSince": self.since, "CreatedAt": self.at, "Size": self.size})
    }

    fn field(&self, name: &str) -> Option<&str> {
        Some(match name {
            "Repository" => &self.repository,
            "Tag" => &self.tag,
            "Digest" => &self.digest,
            "ID" => &self.id,
            "CreatedSince" => &self.since,
            "CreatedAt" => &self.at,
            "Size" => &self.size,
            _ => return None,
        })
    }
}

fn table(rows: &[Row], digests: bool) -> String {
    let mut lines: Vec<Vec<&str>> = vec![vec!["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"]];
    lines.extend(rows.iter().map(|row| -> Vec<&str> {
        vec![&row.repository, &row.tag, &row.digest, &row.id, &row.since, &row.size]
    }));
    if !digests {
        for line in &mut lines {
            line.remove(2);
        }
    }
    columns(&lines)
}

/// Lines of cells, in columns.
pub(crate) fn columns(lines: &[Vec<&str>]) -> String {
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("   ").trim_end());
        text.push('\n');
    }
    text
}

/// Puts fields into a template of Go's kind, as far as listings use it: `{{.Field}}`, `\t`, `\n`.
fn fill(template: &str, row: &Row) -> Result<String> {
    let refuse = |reason: String| {
        let error = Error::invalid("--format", reason);
        Err(error.with_hint("fields are Repository, Tag, Digest, ID, CreatedSince, CreatedAt and Size, as `{{.ID}}`; or write `json`"))
    };
    let template =
        template.strip_prefix("table ").unwrap_or(template).replace("\\t", "\t").replace("\\n", "\n");
    let (mut text, mut rest) = (String::new(), template.as_str());
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let Some((field, behind)) = after.split_once("}}") else {
            return refuse(format!("`{}` has no end", after.escape_debug()));
        };
        let name = field.trim();
        match name.strip_prefix('.').and_then(|name| row.field(name)) {
            Some(value) => text.push_str(value),
            None => return refuse(format!("`{}` is no field", name.escape_debug())),
        }
        rest = behind;
    }
    text.push_str(rest);
    Ok(text)
}

/// A size as docker shows it, in powers of ten.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    let digits = if value >= 100.0 || unit == "B" {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// How long ago, as docker says it.
pub(crate) fn since(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let ago = |number: u64, what: &str| match number {
        1 => format!("1 {what} ago"),
        number => format!("{number} {what}s ago"),
    };
    match () {
        () if seconds < 60 => ago(seconds, "second"),
        () if minutes < 60 => ago(minutes, "minute"),
        () if hours < 48 => ago(hours, "hour"),
        () if days < 14 => ago(days, "day"),
        () if days < 60 => ago(days / 7, "week"),
        () if days < 730 => ago(days / 30, "month"),
        () => ago(days / 365, "year"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> Listed {
        Listed {
            repository: Some("alpine".to_owned()),
            tag: Some("3".to_owned()),
            digest: None,
            id: format!("sha256:{}", "0123456789abcdef".repeat(4)),
            created: None,
            size: 7_840_000,
        }
    }

    #[test]
    fn listing_is_a_table_or_what_the_template_says() {
        let row = Row::new(&listed(), false, 0);
        assert_eq!(
            table(&[row], false),
            "REPOSITORY   TAG   IMAGE ID       CREATED   SIZE\nalpine       3     0123456789ab   N/A       7.84MB\n"
        );
        let row = Row::new(&listed(), true, 0);
        assert_eq!(fill("{{.Repository}}:{{ .Tag }}\\t{{.Size}}", &row).expect("legal"), "alpine:3\t7.84MB");
        assert!(fill("{{.Nope}}", &row).is_err() && fill("{{.ID", &row).is_err());
        assert_eq!(row.json()["ID"], format!("sha256:{}", "0123456789abcdef".repeat(4)));
    }

    #[test]
    fn sizes_and_times_are_dockers() {
        let sizes = [0, 999, 1000, 12_345, 7_840_000, 123_456_789, 5_000_000_000].map(size);
        assert_eq!(sizes, ["0B", "999B", "1kB", "12.3kB", "7.84MB", "123MB", "5GB"]);
        let times = [1, 59, 120, 7200, 86_400 * 3, 86_400 * 20, 86_400 * 90, 86_400 * 800].map(since);
        let expected = [
            "1 second ago",
            "59 seconds ago",
            "2 minutes ago",
            "2 hours ago",
            "3 days ago",
            "2 weeks ago",
            "3 months ago",
            "2 years ago",
        ];
        assert_eq!(times, expected);
    }
}
