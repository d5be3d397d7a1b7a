//! Events: what becomes of containers, images, pods and volumes, one line each in a log below the caller's data. Whoever does something
//! writes its line with one write(2) and goes on: there is no lock, nobody waits for a disk, and a line that can't be written is no
//! failure of what it tells of (docs/decisions/0048-events-are-lines-of-a-file.md).
//!
//! ```text
//! events/log      lines of JSON, in docker's form; added to its end alone
//! events/log.1    what it was before it had MOST bytes
//! ```

mod filter;
mod read;
mod told;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

pub use self::filter::EventFilter;
pub use self::read::{EventQuery, Follow};
pub(crate) use self::told::{Subject, VolumesOf};
use crate::error::Result;
use crate::images::data_directory;
use crate::kept::now;

/// The file that lines are added to.
const LOG: &str = "log";

/// What it was before.
const EARLIER: &str = "log.1";

/// How many bytes a file may have until the next one is begun: some ten thousand lines.
const MOST: u64 = 4 << 20;

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// To what: `container`, `image`, `pod`, `volume`; or what another version knows.
    pub kind: String,
    /// What, in docker's words: `start`, `exec_create: ls`.
    pub action: String,
    /// The id of what it happened to, or the name of a volume.
    pub id: String,
    /// What else is to say: `name`, `image`, labels, `exitCode`.
    pub attributes: BTreeMap<String, String>,
    /// When, in nanoseconds since 1970.
    pub time: i64,
}

/// The same as docker's API has it.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    status: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    from: &'a str,
    #[serde(rename = "Type")]
    kind: &'a str,
    #[serde(rename = "Action")]
    action: &'a str,
    #[serde(rename = "Actor")]
    actor: Actor<'a>,
    scope: &'a str,
    time: i64,
    #[serde(rename = "timeNano")]
    nanoseconds: i64,
}

#[derive(Serialize)]
struct Actor<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "Attributes")]
    attributes: BTreeMap<&'a str, &'a str>,
}

/// What is read of a line.
#[derive(Deserialize)]
struct ReadLine {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: ReadActor,
    #[serde(rename = "timeNano")]
    nanoseconds: i64,
}

#[derive(Deserialize)]
struct ReadActor {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(rename = "Attributes", default)]
    attributes: BTreeMap<String, String>,
}

impl Event {
    /// One of now.
    pub(crate) fn now(kind: &str, action: impl Into<String>, id: impl Into<String>) -> Event {
        Event {
            kind: kind.to_owned(),
            action: action.into(),
            id: id.into(),
            attributes: BTreeMap::new(),
            time: i64::try_from(now()).unwrap_or(i64::MAX),
        }
    }

    /// With something else to say.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Event {
        self.attributes.insert(name.to_owned(), value.into());
        self
    }

    /// What docker's older clients read: an action, an id and an image are said of containers and images alone.
    pub fn status(&self) -> &str {
        if self.has_older_form() { &self.action } else { "" }
    }

    /// The id in that older form.
    pub fn older_id(&self) -> &str {
        if self.has_older_form() { &self.id } else { "" }
    }

    /// The image that a container is of.
    pub fn from(&self) -> &str {
        let image = self.attributes.get("image").filter(|_| self.kind == "container");
        image.map_or("", String::as_str)
    }

    fn has_older_form(&self) -> bool {
        matches!(self.kind.as_str(), "container" | "image")
    }

    /// One line of JSON without its end, as docker writes it.
    pub fn to_json(&self) -> String {
        let attributes =
            self.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let line = Line {
            status: self.status(),
            id: self.older_id(),
            from: self.from(),
            kind: &self.kind,
            action: &self.action,
            actor: Actor { id: &self.id, attributes },
            scope: "local",
            time: self.time.div_euclid(1_000_000_000),
            nanoseconds: self.time,
        };
        serde_json::to_string(&line).expect("only string keys")
    }

    /// What a line says; none where it is no event's. One that another was added to before it was whole tells that other.
    fn parse(line: &[u8]) -> Option<Event> {
        let whole = |text: &[u8]| serde_json::from_slice::<ReadLine>(text).ok();
        let read = whole(line).or_else(|| {
            // Within a text of JSON there is no such thing, as its quotes have backslashes there.
            let beginnings: [&[u8]; 2] = [br#"{"status":""#, br#"{"Type":""#];
            let at = beginnings.iter().filter_map(|beginning| last_of(line, beginning)).max()?;
            whole(&line[at..])
        })?;
        Some(Event {
            kind: read.kind,
            action: read.action,
            id: read.actor.id,
            attributes: read.actor.attributes,
            time: read.nanoseconds,
        })
    }
}

/// Where a word stands last in a line.
fn last_of(line: &[u8], word: &[u8]) -> Option<usize> {
    line.windows(word.len()).rposition(|part| part == word)
}

/// The log of events beside the caller's containers, images and volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    directory: PathBuf,
}

impl EventLog {
    /// The one below `root`, or where the caller's is without a word. Nothing is made.
    pub fn of(root: Option<&Path>) -> Result<EventLog> {
        Ok(EventLog { directory: data_directory(root)?.join("events") })
    }

    /// The one beside `directory`, in which containers, images or volumes are.
    pub(crate) fn beside(directory: &Path) -> EventLog {
        EventLog { directory: directory.with_file_name("events") }
    }

    /// Adds an event. Best effort: a disk that is full, or that nobody may write to, keeps nobody from what has been done.
    pub(crate) fn tell(&self, event: &Event) {
        let mut line = event.to_json();
        line.push('\n');
        let _ = self.add(line.as_bytes());
    }

    /// Tells that those of a kind were removed that nobody needs, and how many bytes they had.
    pub(crate) fn tell_pruned(&self, kind: &str, bytes: u64) {
        self.tell(&Event::now(kind, "prune", "").with("reclaimed", bytes.to_string()));
    }

    fn add(&self, line: &[u8]) -> std::io::Result<()> {
        let path = self.directory.join(LOG);
        let open = || File::options().append(true).create(true).mode(0o600).open(&path);
        let mut log = match open() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
                open()?
            }
            opened => opened?,
        };
        // One write: the kernel puts it behind all others, and between none.
        let written = log.write(line)?;
        if written < line.len() {
            // The disk is full: what others add is not to be taken for the rest of it.
            let _ = log.write(b"\n");
        }
        if log.metadata()?.len() >= MOST { self.begin_another(&log, &path) } else { Ok(()) }
    }

    /// Puts a file aside that is long enough. Of several who see that, the one who has its lock does, if nobody has by then; so
    /// nobody waits, and what came since stays where it is.
    fn begin_another(&self, log: &File, path: &Path) -> std::io::Result<()> {
        if flock(log, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(());
        }
        let (own, there) = (log.metadata()?, std::fs::metadata(path)?);
        if (own.dev(), own.ino()) != (there.dev(), there.ino()) {
            return Ok(());
        }
        std::fs::rename(path, self.directory.join(EARLIER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let event = Event::now("container", "die", "0123").with("name", "web").with("image", "app:1");
        Event { time: 1_700_000_000_123_456_789, ..event.with("exitCode", "3") }
    }

    #[test]
    fn line_is_dockers() {
        assert_eq!(
            event().to_json(),
            r#"{"status":"die","id":"0123","from":"app:1","Type":"container","Action":"die","Actor":{"ID":"0123","Attributes":{"exitCode":"3","image":"app:1","name":"web"}},"scope":"local","time":1700000000,"timeNano":1700000000123456789}"#
        );
        let volume = Event::now("volume", "create", "data").with("driver", "local").to_json();
        assert!(
            volume.starts_with(r#"{"Type":"volume","Action":"create","Actor":{"ID":"data","#),
            "{volume}"
        );
    }

    #[test]
    fn torn_and_foreign_lines_hide_no_others() {
        let line = event().to_json();
        assert_eq!(Event::parse(line.as_bytes()), Some(event()));
        let torn = format!("{}{line}", &line[..line.len() / 2]);
        assert_eq!(Event::parse(torn.as_bytes()), Some(event()));
        let zeros = [&[0; 7], line.as_bytes()].concat();
        assert_eq!(Event::parse(&zeros), Some(event()), "as a power cut leaves them");
        for foreign in ["", "x", "{}", "[1]", &line[..line.len() - 1]] {
            assert_eq!(Event::parse(foreign.as_bytes()), None, "{foreign}");
        }
    }

    #[test]
    fn text_that_looks_like_an_event_is_none() {
        let tricky = event().with("label", r#"{"Type":"image","Action":"pull"}"#);
        assert_eq!(Event::parse(tricky.to_json().as_bytes()), Some(tricky.clone()));
        let torn = tricky.to_json();
        assert_eq!(Event::parse(&torn.as_bytes()[..torn.len() - 2]), None);
    }
}
