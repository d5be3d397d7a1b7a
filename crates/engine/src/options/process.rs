//! The program of a container, as meant. Looks nothing up.

use std::collections::BTreeMap;
use std::num::IntErrorKind;
use std::time::Duration;

use runtime::Signal;
use serde::{Deserialize, Serialize};

use super::record;
use crate::error::{Error, Result};

/// Whether the container gets a terminal of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TerminalMode {
    /// The caller's streams are inherited.
    #[default]
    Inherit,
    /// A new terminal of this size (rows, columns).
    New(u16, u16),
}

/// A user or a group, by number or by its name in the root's own files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Identity {
    /// A number, whether or not any file has it.
    Id(u32),
    /// A name that /etc/passwd or /etc/group must have.
    Name(String),
}

/// Who runs the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserOption {
    /// The user.
    pub user: Identity,
    /// The group; without one, the user's own with all groups the user is in.
    pub group: Option<Identity>,
}

/// What names the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProgramSource {
    /// Nothing does: it is a shell.
    #[default]
    Default,
    /// `--cmd`
    Cmd,
    /// `--entrypoint`
    Entrypoint,
    /// The words behind the flags.
    Words,
    /// The image.
    Image,
}

/// Who said something of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A flag.
    #[default]
    Flag,
    /// The image.
    Image,
}

/// The program and what it is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessOptions {
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// What named it.
    pub source: ProgramSource,
    /// Its terminal.
    pub terminal: TerminalMode,
    /// Whether the caller's input is typed into that terminal.
    #[serde(with = "record::InputForm")]
    pub input: monitor::Input,
    /// Variables of its environment, `NAME=value`, over the defaults.
    pub environment: Vec<String>,
    /// Whether the defaults (PATH, HOSTNAME, TERM, HOME) are left out.
    pub without_defaults: bool,
    /// Names of defaults that are left out.
    pub unset: Vec<String>,
    /// Who runs it; without, root.
    pub user: Option<UserOption>,
    /// Who said so.
    pub user_source: Source,
    /// Further groups.
    pub groups: Vec<Identity>,
    /// Whether the caller's own further groups stay.
    pub keep_groups: bool,
    /// Mode bits that new files lack.
    pub umask: Option<u32>,
    /// The directory that it starts in, absolute.
    pub directory: String,
    /// Who said so.
    pub directory_source: Source,
    /// Annotations of the config.
    pub annotations: BTreeMap<String, String>,
    /// Whether a small init runs as pid 1, and the program as its child.
    pub init: bool,
    /// Whether there is no program at all: a small process of rabbitc's own keeps the namespaces for others.
    pub holds: bool,
    /// How many descriptors from 3 on it inherits.
    pub kept_descriptors: u32,
    /// What becomes of the caller's signals.
    #[serde(with = "record::SignalsForm")]
    pub signals: monitor::Signals,
    /// What asks it to stop.
    #[serde(with = "record::signal")]
    pub stop_signal: Signal,
    /// How long it has for that; `None` is for ever.
    pub stop_patience: Option<Duration>,
    /// After what time it is killed.
    pub time_limit: Option<Duration>,
}

impl Default for ProcessOptions {
    fn default() -> ProcessOptions {
        ProcessOptions {
            command: vec!["/bin/sh".to_owned()],
            source: ProgramSource::Default,
            terminal: TerminalMode::Inherit,
            input: monitor::Input::Copied,
            environment: Vec::new(),
            without_defaults: false,
            unset: Vec::new(),
            user: None,
            user_source: Source::Flag,
            groups: Vec::new(),
            keep_groups: false,
            umask: None,
            directory: "/".to_owned(),
            directory_source: Source::Flag,
            annotations: BTreeMap::new(),
            init: false,
            holds: false,
            kept_descriptors: 0,
            signals: monitor::Signals::Forwarded,
            stop_signal: Signal::TERM,
            stop_patience: Some(Duration::from_secs(10)),
            time_limit: None,
        }
    }
}

impl ProcessOptions {
    /// Whether somebody wants the default variable `name` not to be there.
    pub(crate) fn leaves_out(&self, name: &str) -> bool {
        self.without_defaults || self.unset.iter().any(|unset| unset == name)
    }

    /// What names the program, in an error about it.
    fn program_origin(&self) -> &'static str {
        match self.source {
            ProgramSource::Default | ProgramSource::Cmd => "--cmd",
            ProgramSource::Entrypoint => "--entrypoint",
            ProgramSource::Words => "the words of the command line",
            ProgramSource::Image => "the image's program",
        }
    }

    /// What says who the user is, in an error about it.
    pub(crate) fn user_origin(&self) -> &'static str {
        match self.user_source {
            Source::Flag => "--user",
            Source::Image => "the image's user",
        }
    }

    /// Refuses what can't be executed anywhere.
    pub(crate) fn check(&self) -> Result<()> {
        if self.command.first().is_none_or(String::is_empty) {
            let error = Error::invalid(self.program_origin(), "the program's name is empty".to_owned());
            return Err(error.with_hint(match self.source {
                ProgramSource::Image => "name a program behind the image, or with `--entrypoint`",
                _ => "name a program, or leave it out to get `/bin/sh`",
            }));
        }
        if !self.directory.starts_with('/') {
            let reason = format!("`{}` is not an absolute path", self.directory.escape_debug());
            let (origin, hint) = match self.directory_source {
                Source::Flag => ("--workdir", "begin it with `/`, the container's root"),
                Source::Image => ("the image's working directory", "choose another one with `--workdir`"),
            };
            return Err(Error::invalid(origin, reason).with_hint(hint));
        }
        if self.keep_groups && !self.groups.is_empty() {
            let reason = "`keep-groups` and other groups exclude each other".to_owned();
            let error = Error::invalid("--group-add", reason);
            return Err(error.with_hint("give one or the other"));
        }
        Ok(())
    }
}

/// The highest id: the one above is the kernel's `none` (`(uid_t) -1`).
const HIGHEST_ID: u32 = u32::MAX - 1;

/// Reads a user's or group's number or name; `what` is which of the two.
fn parse_identity(flag: &str, what: &str, text: &str) -> Result<Identity> {
    let wrong = |reason: String| {
        let error = Error::invalid(flag, reason);
        error.with_hint(format!("write a number from 0 to {HIGHEST_ID}, or a name in the root's /etc/{what}"))
    };
    let shown = text.escape_debug();
    if text.is_empty() {
        return Err(wrong(format!("the name in /etc/{what} is empty")));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = text.parse().ok().filter(|number| *number <= HIGHEST_ID);
        return number.map(Identity::Id).ok_or_else(|| wrong(format!("`{shown}` is no id of Linux")));
    }
    // A name with any of these can't stand in the file, and `-1` is meant as a number.
    let illegal =
        |character: char| character.is_whitespace() || character.is_control() || ",:/\\".contains(character);
    if text.contains(illegal) || text.starts_with(['-', '+']) {
        return Err(wrong(format!("`{shown}` is neither a number nor a name")));
    }
    Ok(Identity::Name(text.to_owned()))
}

/// Reads `name|uid[:group|gid]`. What is left out before the colon is root, and behind it the user's own group, as with
/// docker.
pub fn parse_user(flag: &str, text: &str) -> Result<UserOption> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) if (user, group) != ("", "") => {
            (user, Some(group).filter(|group| !group.is_empty()))
        }
        _ => (text, None),
    };
    Ok(UserOption {
        user: match (user, group) {
            ("", Some(_)) => Identity::Id(0),
            _ => parse_identity(flag, "passwd", user)?,
        },
        group: group.map(|group| parse_identity(flag, "group", group)).transpose()?,
    })
}

/// Reads a group's name or number.
pub fn parse_group(flag: &str, text: &str) -> Result<Identity> {
    parse_identity(flag, "group", text)
}

/// Reads mode bits as `umask(1)` writes them: up to four octal digits.
pub fn parse_umask(flag: &str, text: &str) -> Result<u32> {
    let legal = (1..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mask = u32::from_str_radix(text, 8).ok().filter(|mask| legal && *mask <= 0o777);
    mask.ok_or_else(|| {
        let error = Error::invalid(flag, format!("`{}` is not a mask", text.escape_debug()));
        error.with_hint("write octal digits from 0 to 0777, such as `0027`")
    })
}

/// Reads an entry point: one word, or a JSON array of words as podman takes it. An empty one is none.
pub fn parse_entrypoint(flag: &str, text: &str) -> Result<Vec<String>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if !text.starts_with('[') {
        return Ok(vec![text.to_owned()]);
    }
    serde_json::from_str(text).map_err(|error| {
        let error = Error::invalid(flag, format!("`{}` is no JSON array of words: {error}", as_given(text)));
        error.with_hint(
            "write the whole of it, as `'[\"/bin/server\",\"-f\"]'` in a shell, or one program, and its arguments behind \
             the flags after `--`",
        )
    })
}

/// A text with its quotes as they are; what could steer a terminal is escaped.
fn as_given(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}

/// Reads a number of seconds; -1 is for ever, which is `None`.
pub fn parse_seconds(flag: &str, text: &str) -> Result<Option<Duration>> {
    match text.parse::<i32>().map_err(|error| *error.kind()) {
        Ok(-1) => Ok(None),
        Ok(seconds @ 0..) => Ok(Some(Duration::from_secs(seconds as u64))),
        Err(IntErrorKind::PosOverflow) => {
            let error = Error::invalid(flag, format!("`{text}` is too large"));
            Err(error.with_hint(format!("give at most {} seconds, or -1 for ever", i32::MAX)))
        }
        _ => {
            let error = Error::invalid(flag, format!("`{}` is not a number of seconds", text.escape_debug()));
            Err(error.with_hint("write whole seconds, or -1 for ever"))
        }
    }
}

/// Reads after how many seconds something is ended; 0 is never, which is `None`.
pub fn parse_time_limit(flag: &str, text: &str) -> Result<Option<Duration>> {
    match text.parse::<u32>().map_err(|error| *error.kind()) {
        Ok(0) => Ok(None),
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds.into()))),
        Err(IntErrorKind::PosOverflow) => {
            let error = Error::invalid(flag, format!("`{text}` is too large"));
            Err(error.with_hint(format!("give at most {} seconds, or 0 for no limit", u32::MAX)))
        }
        Err(_) => {
            let error = Error::invalid(flag, format!("`{}` is not a number of seconds", text.escape_debug()));
            Err(error.with_hint("write whole seconds, or 0 for no limit"))
        }
    }
}

/// Reads the name or number of a signal.
pub fn parse_signal(flag: &str, text: &str) -> Result<Signal> {
    Signal::parse(text).map_err(|error| {
        let error = Error::invalid(flag, error.reason);
        error.with_hint("write a name such as `TERM`, `SIGQUIT` or `RTMIN+3`, or a number")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_whole_or_not_at_all() {
        use Identity::{Id, Name};
        let name = |text: &str| Name(text.to_owned());
        for (text, user, group) in [
            ("0", Id(0), None),
            ("1000", Id(1000), None),
            ("4294967294", Id(4_294_967_294), None),
            ("007", Id(7), None),
            ("1:2", Id(1), Some(Id(2))),
            ("www-data", name("www-data"), None),
            ("a.b_c$:staff", name("a.b_c$"), Some(name("staff"))),
            ("7z", name("7z"), None),
            ("1:", Id(1), None),
            (":staff", Id(0), Some(name("staff"))),
        ] {
            assert_eq!(parse_user("--user", text).expect(text), UserOption { user, group }, "{text}");
        }
        for text in [
            "",
            ":",
            "1:2:",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1:2:3",
            "4294967295",
            "4294967296",
            "1:-1",
            "a b",
            "a/b",
            "a\n",
        ] {
            assert!(parse_user("--user", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn masks_are_octal() {
        assert_eq!(parse_umask("--umask", "0027").expect("legal"), 0o027);
        assert_eq!(parse_umask("--umask", "0").expect("legal"), 0);
        for text in ["", "8", "00777", "1777", "-1", "+7", "0x1", " 7"] {
            assert!(parse_umask("--umask", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn entry_points_are_a_word_or_an_array() {
        let read = |text: &str| parse_entrypoint("--entrypoint", text);
        assert_eq!(read("").expect("none"), Vec::<String>::new());
        assert_eq!(read("/bin/a b").expect("one word"), ["/bin/a b"]);
        assert_eq!(read(r#"["a","b c"]"#).expect("an array"), ["a", "b c"]);
        assert!(read("[a]").is_err() && read("[1]").is_err());
        let error = read("[\"echo\"\u{1b}").expect_err("not closed");
        assert!(error.reason.starts_with("`[\"echo\"\\u{1b}` is no JSON array of words: "), "{error}");
    }

    #[test]
    fn seconds_are_whole_and_without_a_limit_as_their_flag_says_it() {
        let seconds = Duration::from_secs;
        assert_eq!(parse_seconds("--stop-timeout", "-1").expect("legal"), None);
        assert_eq!(parse_seconds("--stop-timeout", "0").expect("legal"), Some(seconds(0)));
        assert_eq!(parse_time_limit("--timeout", "0").expect("legal"), None);
        assert_eq!(parse_time_limit("--timeout", "5").expect("legal"), Some(seconds(5)));
        let refused = |text: &str| {
            let stop = parse_seconds("--stop-timeout", text).expect_err(text);
            let limit = parse_time_limit("--timeout", text).expect_err(text);
            assert!(limit.hint.is_some_and(|hint| hint.contains("0 for no limit")), "{text}");
            assert!(stop.hint.is_some_and(|hint| hint.contains("-1 for ever")), "{text}");
            assert!(limit.reason.contains(text) && stop.reason.contains(text), "{text}");
        };
        ["", "-2", "1.5", "5s", "99999999999"].into_iter().for_each(refused);
        assert!(parse_time_limit("--timeout", "-1").is_err());
    }
}
