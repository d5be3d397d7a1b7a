//! Owns the options that stand before the verb, and what the verbs' options have in common. Must not act on them.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser, ValueExt};
use runtime::caller::{Caller, session_directory};
use runtime::plan::CgroupManager;
use runtime::state_dir::StateRoot;
use runtime::{ContainerId, Error, ErrorKind, Result};

use crate::commands;
use crate::log::Format;

/// Options before the verb.
#[derive(Debug, Clone)]
pub(crate) struct Globals {
    /// Where state is kept.
    pub(crate) root: PathBuf,
    /// Whether the caller named that place.
    pub(crate) root_named: bool,
    /// The log file.
    pub(crate) log: Option<PathBuf>,
    /// Its form.
    pub(crate) log_format: Format,
    /// Whether steps and their times are told.
    pub(crate) debug: bool,
    /// Who makes the cgroups of containers.
    pub(crate) cgroup_manager: CgroupManager,
}

impl Default for Globals {
    fn default() -> Globals {
        Globals {
            root: default_root(),
            root_named: false,
            log: None,
            log_format: Format::Text,
            debug: false,
            cgroup_manager: CgroupManager::default(),
        }
    }
}

impl Globals {
    pub(crate) fn state(&self) -> StateRoot {
        StateRoot::new(&self.root)
    }
}

/// What the arguments before and up to the verb ask for.
pub(crate) enum Start {
    /// Run a verb.
    Verb(Globals, String),
    /// Show a text.
    Print(String),
}

/// For root `/run`; for others what their session offers. The root of a user namespace is such another: podman of an
/// ordinary user calls the runtime as that.
fn default_root() -> PathBuf {
    let session = match Caller::find() {
        Caller::Root => None,
        Caller::NamespaceRoot | Caller::User => session_directory(),
    };
    session.unwrap_or_else(|| PathBuf::from("/run")).join("rabbitc-runtime")
}

/// Reads the options before the verb.
pub(crate) fn globals(parser: &mut Parser) -> Result<Start> {
    let mut globals = Globals::default();
    while let Some(argument) = parser.next().map_err(wrong)? {
        match argument {
            Arg::Long("root") => {
                globals.root = path(parser)?;
                globals.root_named = true;
            }
            Arg::Long("log") => globals.log = Some(path(parser)?).filter(|path| !path.as_os_str().is_empty()),
            Arg::Long("log-format") => {
                globals.log_format = match text(parser)?.as_str() {
                    "text" | "" => Format::Text,
                    "json" => Format::Json,
                    other => {
                        return Err(Error::invalid(
                            "--log-format",
                            format!("`{other}` is neither text nor json"),
                        ));
                    }
                }
            }
            Arg::Long("debug") => globals.debug = switch(parser)?,
            Arg::Long("systemd-cgroup") => {
                globals.cgroup_manager = match switch(parser)? {
                    true => CgroupManager::Systemd,
                    false => CgroupManager::Files,
                };
            }
            // crun's way to say it.
            Arg::Long("cgroup-manager") => match text(parser)?.as_str() {
                "cgroupfs" => globals.cgroup_manager = CgroupManager::Files,
                "systemd" => globals.cgroup_manager = CgroupManager::Systemd,
                "disabled" => globals.cgroup_manager = CgroupManager::Disabled,
                other => {
                    let reason = format!("`{other}` is none of cgroupfs, systemd, disabled");
                    return Err(Error::invalid("--cgroup-manager", reason));
                }
            },
            Arg::Long("rootless") => match parser.optional_value().map(|value| value.string()) {
                None => {}
                Some(Ok(value)) if matches!(value.as_str(), "auto" | "false" | "true") => {}
                Some(value) => {
                    let value = value.map_err(wrong)?;
                    return Err(Error::invalid(
                        "--rootless",
                        format!("`{value}` is none of auto, true, false"),
                    ));
                }
            },
            Arg::Long("version") | Arg::Short('v') => return Ok(Start::Print(version())),
            Arg::Long("help") | Arg::Short('h') => return Ok(Start::Print(commands::overview())),
            Arg::Value(verb) => {
                let verb = verb.string().map_err(wrong)?;
                if verb == "help" || verb == "h" {
                    return match parser.value().ok() {
                        Some(topic) => commands::help(&topic.string().map_err(wrong)?).map(Start::Print),
                        None => Ok(Start::Print(commands::overview())),
                    };
                }
                return Ok(Start::Verb(globals, verb));
            }
            other => return Err(unexpected(other)),
        }
    }
    Ok(Start::Print(commands::overview()))
}

/// Callers parse these lines, which have runc's form. The commit is known to `cargo xtask build` alone.
fn version() -> String {
    let commit =
        option_env!("RABBITC_COMMIT").map(|commit| format!("commit: {commit}\n")).unwrap_or_default();
    let (name, version) = (called(), env!("CARGO_PKG_VERSION"));
    format!("{name} version {version}\n{commit}spec: {}\n", runtime::spec::VERSION)
}

/// The name that the program was called by: where it stands in for another runtime, scripts look for that one's.
pub(crate) fn called() -> String {
    let path = std::env::args_os().next().map(PathBuf::from);
    let name = path.as_deref().and_then(Path::file_name).and_then(OsStr::to_str);
    name.unwrap_or("rabbitc-runtime").to_owned()
}

/// An error of the parser, in this program's words.
pub(crate) fn wrong(error: lexopt::Error) -> Error {
    let reason = match error {
        // By these words podman finds out whether `restore` has an option (its pkg/checkpoint/crutils).
        lexopt::Error::MissingValue { option: Some(option) } => format!("flag needs an argument: {option}"),
        error => error.to_string(),
    };
    Error::new(ErrorKind::Invalid, "read the arguments", reason)
        .with_hint(format!("see `{} --help`", called()))
}

/// An option or argument that does not belong here.
pub(crate) fn unexpected(argument: Arg<'_>) -> Error {
    wrong(argument.unexpected())
}

/// The option's value as a path.
pub(crate) fn path(parser: &mut Parser) -> Result<PathBuf> {
    parser.value().map(PathBuf::from).map_err(wrong)
}

/// The option's value as text.
pub(crate) fn text(parser: &mut Parser) -> Result<String> {
    parser.value().and_then(|value| value.string()).map_err(wrong)
}

/// The option's value as a number.
pub(crate) fn number(parser: &mut Parser, option: &str) -> Result<u32> {
    let text = text(parser)?;
    checked_number(&text)
        .ok_or_else(|| Error::invalid(option, format!("`{text}` is not a number of 0 to 4294967295")))
}

/// A number of digits alone that fits; nothing is cut and no sign or space passes.
pub(crate) fn checked_number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// A flag, also in the form `--flag=false` that Go's callers write.
pub(crate) fn switch(parser: &mut Parser) -> Result<bool> {
    match parser.optional_value() {
        None => Ok(true),
        Some(value) => match value.to_string_lossy().as_ref() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => {
                Err(Error::invalid("read the arguments", format!("`{other}` is neither true nor false")))
            }
        },
    }
}

/// The container's id, once.
pub(crate) fn take_id(slot: &mut Option<ContainerId>, value: OsString) -> Result<()> {
    let text = value.string().map_err(wrong)?;
    if slot.is_some() {
        return Err(Error::invalid("read the arguments", format!("`{text}` is one argument too many")));
    }
    *slot = Some(ContainerId::parse(&text)?);
    Ok(())
}

/// The container's id, which must be there.
pub(crate) fn need_id(slot: Option<ContainerId>, verb: &str) -> Result<ContainerId> {
    slot.ok_or_else(|| {
        Error::invalid("read the arguments", format!("`{verb}` needs the id of a container"))
            .with_hint(format!("see `{} {verb} --help`", called()))
    })
}

/// Refuses descriptors that are not there: their numbers would be given to files of this runtime's own, and those
/// would be handed to the container. To be called before anything is opened.
pub(crate) fn check_preserved(count: u32) -> Result<u32> {
    let missing = (3..3u64 + u64::from(count))
        .find(|number| std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err());
    match missing {
        Some(number) => Err(Error::invalid("--preserve-fds", format!("descriptor {number} is not open"))
            .with_hint("LISTEN_FDS counts descriptors too, which come first")),
        None => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_parsed_whole_or_not_at_all() {
        assert_eq!(checked_number("4294967295"), Some(u32::MAX));
        for text in ["", "-1", "+1", " 1", "1 ", "4294967296", "0x1", "1e3"] {
            assert_eq!(checked_number(text), None, "{text:?}");
        }
    }
}
