//! Whose manner the program has where docker and podman contradict each other: docker's, and podman's where it is called by that name, as by a
//! link `podman`. Words, exit codes and defaults alone are a matter of manner; must not do anything itself.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;

use engine::{Code, Error, ErrorKind};

/// One of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Docker,
    Podman,
}

/// That of this process, by the name that it was called by.
pub(crate) fn manner() -> Manner {
    static MANNER: OnceLock<Manner> = OnceLock::new();
    *MANNER.get_or_init(|| Manner::of(std::env::args_os().next().as_deref()))
}

/// Whether it is podman's.
pub(crate) fn is_podmans() -> bool {
    manner() == Manner::Podman
}

/// The exit code of the manner that holds.
pub(crate) fn exit_code(dockers: u8, podmans: u8) -> ExitCode {
    ExitCode::from(if is_podmans() { podmans } else { dockers })
}

/// The exit code of a start that failed.
pub(crate) fn start_code(error: &Error) -> ExitCode {
    match is_podmans() && error.code() == Code::PortInUse {
        // Podman finds out when the runtime is at work.
        true => ExitCode::from(126),
        false => ExitCode::from(error.kind.exit_code() as u8),
    }
}

impl Manner {
    fn of(name: Option<&OsStr>) -> Manner {
        match name.and_then(|name| Path::new(name).file_name()) {
            Some(name) if name == "podman" => Manner::Podman,
            _ => Manner::Docker,
        }
    }
}

/// Podman's sentence for an error: its own where there is one, else ours.
pub(crate) fn podmans_sentence(error: &Error) -> String {
    let Error { operation, reason, .. } = error;
    let object = operation.split('`').nth(1).unwrap_or_default();
    let quoted = reason.split('`').nth(1).unwrap_or_default();
    let is_missing = error.kind == ErrorKind::NotFound;
    if operation.is_empty() || operation.starts_with("rabbitc ") && !reason.contains("terminal") {
        return reason.clone();
    }
    if is_missing && operation.contains("the container `") {
        return format!("no container with name or ID \"{object}\" found: no such container");
    }
    if is_missing && operation.contains("the image `") {
        return format!("{object}: image not known");
    }
    if is_missing && operation.contains("volume `") {
        return format!("no volume with name \"{object}\" found: no such volume");
    }
    if error.code() == Code::InUse && operation.starts_with("remove the volume") {
        let users = reason.split(['[', ']']).nth(1).unwrap_or_default();
        return format!(
            "volume {object} is being used by the following container(s): {users}: volume is being used"
        );
    }
    if operation.starts_with("remove the image") && reason.starts_with("the container") {
        return format!(
            "image used by {quoted}: image is in use by a container: consider listing external containers and force-removing image"
        );
    }
    if is_missing && operation.starts_with("find the pod") {
        return reason.clone();
    }
    if error.code() == Code::NameInUse && reason.contains("container name") {
        let id = reason.split('"').nth(3).unwrap_or_default();
        return format!(
            "creating container storage: the container name \"{object}\" is already in use by {id}. You have to remove that \
             container to be able to reuse that name: that name is already in use, or use --replace to instruct Podman to do so."
        );
    }
    if error.hint.as_deref().is_some_and(|hint| hint.contains("may be no archive of images")) {
        return format!("payload does not match any of the supported image formats: {reason}");
    }
    match operation.as_str() {
        _ if operation.starts_with("containers.conf: ") => {
            format!("parsing containers.conf {object}: {reason}")
        }
        _ if operation.starts_with("--cidfile: read") && reason.contains("no such file") => {
            format!("reading CIDFile: open {object}: no such file or directory")
        }
        _ if reason.contains("is the destination of") && reason.ends_with("already") => {
            format!("{quoted}: duplicate mount destination")
        }
        "--mount type=glob" => reason.clone(),
        _ if operation.starts_with("--mount") && reason == "it has no target" => {
            "must set volume destination".to_owned()
        }
        "--group-add" if quoted == "keep-groups" => {
            "the '--group-add keep-groups' option is not allowed with any other --group-add options".to_owned()
        }
        "--rmi" => "the --rmi option does not work without --rm".to_owned(),
        "--log-driver" => "running container create option: invalid log driver: invalid argument".to_owned(),
        "--userns" if quoted == "nomap" => "nomap is only supported in rootless mode".to_owned(),
        "--filter" if reason.ends_with("is an invalid restart policy") => {
            format!("{quoted} invalid restart policy")
        }
        "--signal" | "--stop-signal" => match quoted.trim_start_matches('-').parse::<i64>() {
            Ok(number) if number != 0 && !quoted.starts_with('-') => {
                "valid signals are 1 through 64".to_owned()
            }
            _ => format!("invalid signal: {}", quoted.trim_start_matches('-').replace("\\'", "'")),
        },
        "--health-on-failure" => reason.replace('`', ""),
        _ if operation.starts_with("take names of the image") && reason.ends_with("is no name of it") => {
            format!("{quoted}: tag not known")
        }
        "--pull" | "--policy" if !quoted.is_empty() => format!("unsupported pull policy \"{quoted}\""),
        "--network" if reason.ends_with("is not known") => {
            format!("unable to find network with name or ID {quoted}: network not found")
        }
        _ if operation.starts_with("remove the pod") => {
            // Each container on a line of its own.
            reason.replace("cannot remove container", "\ncannot remove container").replace(": \n", ":\n").replace("; \n", "\n")
        }
        "--ulimit" if reason.ends_with("the first number exceeds the second") => {
            let (soft, hard) = quoted.split('=').nth(1).and_then(|range| range.split_once(':')).unwrap_or_default();
            let shown = |number: &str| match number {
                "-1" => "-1 (unlimited)".to_owned(),
                number => number.to_owned(),
            };
            format!(
                "ulimit option \"{quoted}\" requires name=SOFT:HARD, failed to be parsed: ulimit soft limit must be less than or \
                 equal to hard limit: soft: {}, hard: {}",
                shown(soft),
                shown(hard)
            )
        }
        _ if operation.contains("open the source of a bind mount") && reason == "no such file or directory" => {
            let source = operation.rsplit('`').nth(1).unwrap_or_default();
            format!("statfs {source}: no such file or directory")
        }
        _ if error.code() == Code::PortInUse => {
            format!("{error}: address already in use")
        }
        "--exit-policy" => reason.clone(),
        "--output" if reason.contains("terminal") => {
            "cannot write to terminal, use command-line redirection or the --output flag".to_owned()
        }
        "rabbitc load" if reason.contains("terminal") => {
            "cannot read from terminal, use command-line redirection or the --input flag".to_owned()
        }
        _ if operation.starts_with("read the log of") && reason.contains("none") => {
            "this container is using the 'none' log driver, cannot read logs: this container is not logging output"
                .to_owned()
        }
        _ if operation.starts_with("read credentials from") && reason.contains("no such file") => {
            format!("credential file is not accessible: faccessat {object}: no such file or directory")
        }
        _ => error.to_string(),
    }
}

/// A name that somebody gives to an image: podman puts those without a registry into `localhost`.
pub(crate) fn own_name(name: &str) -> String {
    let begins_with_registry =
        name.split_once('/').is_some_and(|(first, _)| first == "localhost" || first.contains(['.', ':']));
    match is_podmans() && !begins_with_registry {
        true => format!("localhost/{name}"),
        false => name.to_owned(),
    }
}

/// An id as it is shown: podman's has no algorithm before it.
pub(crate) fn shown_id(id: String) -> String {
    match id.strip_prefix("sha256:") {
        Some(digits) if is_podmans() => digits.to_owned(),
        _ => id,
    }
}

/// How podman says a warning.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// As a line of its own.
    Plain(String),
    /// As a line of its log.
    Logged(String),
}

/// Podman's words for a warning, where it has some; else ours.
pub(crate) fn podmans_warning(what: &str) -> Warning {
    let quoted = what.split('`').nth(1).unwrap_or_default();
    match what {
        _ if what.starts_with("published ports are discarded") => Warning::Plain(format!(
            "Port mappings have been discarded because \"{quoted}\" network namespace mode does not support them"
        )),
        _ if quoted == "--kernel-memory" => {
            Warning::Plain("The --kernel-memory flag is no longer supported. This flag is a noop.".to_owned())
        }
        _ if what.starts_with("standard input is no terminal") => Warning::Logged(
            "The input device is not a TTY. The --tty and --interactive flags might not work properly"
                .to_owned(),
        ),
        _ if what.contains("resorting to SIGKILL") || what.starts_with("the image stays") => {
            Warning::Logged(what.to_owned())
        }
        _ => Warning::Plain(format!("warning: {what}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manner_is_podmans_by_that_name_alone() {
        let of = |name: &str| Manner::of(Some(OsStr::new(name)));
        assert_eq!(of("podman"), Manner::Podman);
        assert_eq!(of("/usr/local/bin/podman"), Manner::Podman);
        for name in ["rabbitc", "/podman/rabbitc", "podman-compose", "", "docker"] {
            assert_eq!(of(name), Manner::Docker, "{name}");
        }
        assert_eq!(Manner::of(None), Manner::Docker);
    }

    #[test]
    fn podman_says_it_in_its_own_sentence_where_it_has_one() {
        let missing = |what: &str| Error::new(ErrorKind::NotFound, what, "there is none");
        let invalid = |flag: &str, reason: &str| Error::invalid(flag, reason.to_owned());
        for (error, sentence) in [
            (
                missing("find the container `x`"),
                "no container with name or ID \"x\" found: no such container",
            ),
            (missing("remove the image `x:1`"), "x:1: image not known"),
            (missing("remove the volume `v`"), "no volume with name \"v\" found: no such volume"),
            (invalid("rabbitc start", "either all or some"), "either all or some"),
            (invalid("--signal", "`0` is neither"), "invalid signal: 0"),
            (invalid("--signal", "`-1` is neither"), "invalid signal: 1"),
            (invalid("--signal", "`99` is neither"), "valid signals are 1 through 64"),
            (invalid("--memory", "`x` is no size"), "--memory: `x` is no size"),
        ] {
            assert_eq!(podmans_sentence(&error), sentence);
        }
    }
}
