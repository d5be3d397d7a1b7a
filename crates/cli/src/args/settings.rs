//! Flags of docker and podman before a verb that say how the program itself works: what it tells, where events are, how layers are put
//! together. What a value asks for here happens anyway, or it is refused.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use engine::{Error, ErrorKind, Result};

use crate::render;

/// One flag: its name, the values that ask for what happens, and why others do not.
struct Setting {
    name: &'static str,
    values: &'static [&'static str],
    reason: &'static str,
}

const SETTINGS: [Setting; 4] = [
    Setting {
        name: "--events-backend",
        // Where podman's are in the journal, `rabbitc events` and `logs --follow` read them from the file as well.
        values: &["file", "journald"],
        reason: "events are kept in a file, from which `rabbitc events` reads them",
    },
    Setting {
        name: "--storage-driver",
        values: &["overlay", "overlay2", ""],
        reason: "layers are put together by overlay",
    },
    Setting { name: "--storage-opt", values: &[""], reason: "there are no options of the storage" },
    Setting { name: "--cgroup-manager", values: &["cgroupfs"], reason: "cgroups are made without systemd" },
];

/// Levels of podman and of docker that say no warnings.
const QUIET: [&str; 3] = ["error", "fatal", "panic"];
/// Those that say them. There is nothing more to say than warnings.
const TELLING: [&str; 5] = ["trace", "debug", "info", "warn", "warning"];

/// Of how many words one of these flags is, with its value.
pub(super) fn words_of_flag(word: &OsStr) -> Option<usize> {
    let word = word.as_bytes();
    let name = word.split(|byte| *byte == b'=').next().unwrap_or_default();
    let is_known = name == b"--log-level" || SETTINGS.iter().any(|setting| setting.name.as_bytes() == name);
    is_known.then_some(if name.len() < word.len() { 1 } else { 2 })
}

/// Takes a flag, with its value from `words` where it is none of its own; whether it is one of these.
pub(super) fn take(
    name: &[u8],
    value: Option<&[u8]>,
    words: &mut dyn Iterator<Item = OsString>,
) -> Result<bool> {
    let setting = SETTINGS.iter().find(|setting| setting.name.as_bytes() == name);
    if setting.is_none() && name != b"--log-level" {
        return Ok(false);
    }
    let value = value.map(|value| OsStr::from_bytes(value).to_owned()).or_else(|| words.next());
    let value = value.unwrap_or_default().to_string_lossy().into_owned();
    match setting {
        Some(setting) => check(setting, &value)?,
        None => render::set_level(level(&value)?),
    }
    Ok(true)
}

fn check(setting: &Setting, value: &str) -> Result<()> {
    if setting.values.contains(&value) {
        return Ok(());
    }
    let reason = format!("`{}`: {}", value.escape_debug(), setting.reason);
    Err(Error::new(ErrorKind::Unsupported, setting.name, reason).with_hint("leave it out"))
}

fn level(value: &str) -> Result<render::Level> {
    match value.to_ascii_lowercase().as_str() {
        value if QUIET.contains(&value) => Ok(render::Level::Errors),
        value if TELLING.contains(&value) => Ok(render::Level::Warnings),
        _ => {
            let error = Error::invalid("--log-level", format!("`{}` is no level", value.escape_debug()));
            Err(error.with_hint("there are trace, debug, info, warn, error, fatal and panic"))
        }
    }
}

/// The same command line with what was said of the level before its verb, for this program executed again.
pub(crate) fn with_level(arguments: &[OsString]) -> impl Iterator<Item = OsString> + Clone {
    let level = (render::get_level() == render::Level::Errors).then(|| "--log-level=error".into());
    let (program, rest) = arguments.split_at(arguments.len().min(1));
    let all: Vec<OsString> = program.iter().cloned().chain(level).chain(rest.iter().cloned()).collect();
    all.into_iter()
}

/// Reads the value of such a flag behind `run` and `create`, where podman has them, too.
pub(super) fn parse_events_backend(value: &str) -> std::result::Result<String, String> {
    let known = SETTINGS[0].values.contains(&value);
    known.then(|| value.to_owned()).ok_or_else(|| SETTINGS[0].reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_anyway_is_taken_and_all_else_is_refused() {
        let read =
            |flag: &str, value: &str| take(flag.as_bytes(), Some(value.as_bytes()), &mut std::iter::empty());
        for (flag, value) in [
            ("--events-backend", "file"),
            ("--storage-driver", "overlay"),
            ("--storage-opt", ""),
            ("--cgroup-manager", "cgroupfs"),
            ("--log-level", "debug"),
        ] {
            assert!(read(flag, value).expect("taken"), "{flag}={value}");
        }
        for (flag, value) in [
            ("--events-backend", "none"),
            ("--storage-driver", "vfs"),
            ("--storage-opt", "size=1G"),
            ("--cgroup-manager", "systemd"),
            ("--log-level", "loud"),
        ] {
            read(flag, value).expect_err(flag);
        }
        assert!(!read("--rootfs", "/r").expect("another's"));
        let mut words = ["overlay".into(), "ps".into()].into_iter();
        assert!(take(b"--storage-driver", None, &mut words).expect("taken"));
        assert_eq!(words.next(), Some("ps".into()));
    }
}
