//! Flags of `docker run` and `podman run`, and commands of docker and podman, that rabbitc does not have: each gets a
//! clear word. A flag that the parser knows is never looked up here.

use engine::Error;

use crate::{containers, images, kept, life};

/// One flag.
#[derive(Debug)]
pub(crate) struct Row {
    name: &'static str,
    /// Whether it has a value, so that the next word is not taken for the program.
    pub(crate) takes_value: bool,
    reason: Reason,
}

/// Why it is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// There are no names and nothing else that outlives the command.
    Names,
    /// Nothing of images has it.
    Images,
    /// What passes is tried again anyway.
    Retries,
    /// Pods have no such containers.
    Pods,
    /// systemd inside a container wants more than rabbitc gives.
    Systemd,
    /// Not on Linux.
    Windows,
    /// The program that `--init` runs is built in.
    Init,
    /// The root's own files are not changed.
    Accounts,
    /// Nothing of it yet.
    NotYet,
}

impl Reason {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Reason::Names => (
                "containers know nothing of one another yet",
                "leave it out; with a network of their own they reach one another by address",
            ),
            Reason::Images => ("rabbitc does not have it for images yet", "leave it out"),
            Reason::Retries => ("what passes is tried five times, with pauses of its own", "leave it out"),
            Reason::Pods => (
                "pods have no containers that run before the others",
                "leave it out; start the one first, and wait for it with `rabbitc wait`",
            ),
            Reason::Systemd => (
                "systemd as the container's program is not supported yet",
                "leave it out, or run the service itself",
            ),
            Reason::Windows => ("it has a meaning on Windows only", "leave it out"),
            Reason::Init => ("the init of `--init` is built in", "write `--init` alone"),
            Reason::Accounts => (
                "rabbitc does not change /etc/passwd and /etc/group of the root",
                "leave it out; `--user` takes numbers that are in no file, too",
            ),
            Reason::NotYet => {
                ("rabbitc does not have it yet", "leave it out; `rabbitc --help` lists what there is")
            }
        }
    }
}

const fn row(name: &'static str, takes_value: bool, reason: Reason) -> Row {
    Row { name, takes_value, reason }
}

const ROWS: &[Row] = &[
    row("sdnotify", true, Reason::NotYet),
    row("requires", true, Reason::Names),
    row("link", true, Reason::Names),
    row("decryption-key", true, Reason::Images),
    row("disable-content-trust", false, Reason::Images),
    row("env-merge", true, Reason::Images),
    row("image-volume", true, Reason::Images),
    row("retry", true, Reason::Retries),
    row("retry-delay", true, Reason::Retries),
    row("seccomp-policy", true, Reason::Images),
    row("storage-opt", true, Reason::Images),
    row("init-ctr", true, Reason::Pods),
    row("init-path", true, Reason::Init),
    row("systemd", true, Reason::Systemd),
    row("shm-size-systemd", true, Reason::Systemd),
    row("cpu-count", true, Reason::Windows),
    row("cpu-percent", true, Reason::Windows),
    row("io-maxbandwidth", true, Reason::Windows),
    row("io-maxiops", true, Reason::Windows),
    row("isolation", true, Reason::Windows),
    row("passwd", false, Reason::Accounts),
    row("passwd-entry", true, Reason::Accounts),
    row("group-entry", true, Reason::Accounts),
    row("hostuser", true, Reason::Accounts),
    row("cgroups", true, Reason::NotYet),
    row("chrootdirs", true, Reason::NotYet),
    row("gpus", true, Reason::NotYet),
    row("hosts-file", true, Reason::NotYet),
    row("link-local-ip", true, Reason::NotYet),
    row("preserve-fd", true, Reason::NotYet),
    row("personality", true, Reason::NotYet),
    row("rdt-class", true, Reason::NotYet),
    row("runtime", true, Reason::NotYet),
    row("use-api-socket", false, Reason::NotYet),
    row("volume-driver", true, Reason::NotYet),
];

/// Commands of docker and podman, `run` and `version` apart.
const COMMANDS: &[&str] = &[
    "artifact",
    "auto-update",
    "build",
    "builder",
    "buildx",
    "checkpoint",
    "compose",
    "config",
    "context",
    "farm",
    "generate",
    "init",
    "kube",
    "machine",
    "mount",
    "node",
    "plugin",
    "quadlet",
    "restore",
    "service",
    "stack",
    "swarm",
    "system",
    "trust",
    "umount",
    "unmount",
    "unshare",
];

/// Whether a first word is a command of docker or podman that rabbitc does not have.
pub(crate) fn is_command(word: &str) -> bool {
    COMMANDS.contains(&word)
}

/// The refusal of such a command.
pub(crate) fn command(word: &str) -> Error {
    let reason = "rabbitc does not have this command yet";
    let hint = format!(
        "`rabbitc --help` lists what there is; a program of this name runs with `rabbitc --rootfs=DIR {word}` or \
         `rabbitc -- {word}`"
    );
    Error::new(engine::ErrorKind::Unsupported, format!("`{word}`"), reason).with_hint(hint)
}

/// The refusal of a word that is none of the commands behind `program`.
pub(crate) fn none_of(program: &str, word: &str) -> Error {
    let error = Error::invalid(program, format!("`{}` is none of its commands", word.escape_debug()));
    error.with_hint(format!("`{program} --help` lists what there is"))
}

/// Commands that there are.
fn own() -> impl Iterator<Item = &'static str> {
    let alone = [
        "run",
        "create",
        "plan",
        "info",
        "events",
        "system",
        "volume",
        "secret",
        "pod",
        "completion",
        "help",
        "version",
    ];
    alone.into_iter().chain(images::VERBS).chain(containers::VERBS).chain(life::VERBS).chain(kept::VERBS)
}

/// The refusal of a word that is none, and where a directory's program would stand behind its root: only behind `run` is it the
/// name of an image, so that nothing is fetched for a slip of the finger.
pub(crate) fn no_command(word: &str) -> Error {
    let shown = word.escape_debug();
    let hint = match engine::nearest(word, own()) {
        Some(own) if own == word => format!("write `rabbitc {own}` first, and its flags behind it"),
        Some(own) => {
            format!("did you mean `rabbitc {own}`? `rabbitc run {shown}` runs an image of this name")
        }
        None => format!(
            "`rabbitc run {shown}` runs an image of this name, `rabbitc --rootfs=DIR {shown}` a program of a directory, \
             `rabbitc -- {shown}` a program on a throw-away copy of the host's root"
        ),
    };
    Error::invalid(format!("`{shown}`"), "rabbitc has no such command".to_owned()).with_hint(hint)
}

/// The refusal of `run` that names nothing: an empty variable of a script must not lead to the host's root.
pub(crate) fn no_image() -> Error {
    let hint = "`rabbitc run IMAGE` runs an image, `rabbitc run --rootfs=DIR` a directory; `rabbitc`, or `rabbitc run -- PROGRAM`, a \
                throw-away copy of the host's root";
    Error::invalid("run", "an image or a root directory is to be named".to_owned()).with_hint(hint)
}

/// The row of a long flag, without its dashes.
pub(crate) fn by_name(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

impl Row {
    /// Whether with this value the flag asks for what happens anyway, so that scripts that say so just run.
    pub(crate) fn asks_for_nothing(&self, value: Option<&str>) -> bool {
        let off = matches!(value, Some("0" | "f" | "F" | "false" | "FALSE" | "False"));
        match self.name {
            "systemd" => off,
            // Docker's signatures are looked at where that is off.
            "disable-content-trust" => {
                matches!(value, None | Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
            }
            _ => !self.takes_value && off,
        }
    }

    /// The refusal.
    pub(crate) fn error(&self) -> Error {
        let (reason, hint) = self.reason.words();
        Error::new(engine::ErrorKind::Unsupported, format!("--{}", self.name), reason).with_hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::args::RunArguments;

    /// Long flags that the parser knows, with their other names.
    fn known() -> BTreeSet<String> {
        let command = RunArguments::command();
        let mut names = BTreeSet::new();
        for flag in command.get_arguments() {
            names.extend(flag.get_long().map(str::to_owned));
            names.extend(flag.get_all_aliases().into_iter().flatten().map(str::to_owned));
        }
        names
    }

    #[test]
    fn no_flag_is_listed_twice_or_known_to_the_parser() {
        let known = known();
        let mut seen = BTreeSet::new();
        let dead: Vec<&str> = ROWS
            .iter()
            .map(|row| row.name)
            .filter(|name| known.contains(*name) || !seen.insert(*name))
            .collect();
        assert!(dead.is_empty(), "{dead:?}");
    }

    #[test]
    fn slip_of_the_finger_is_told_the_command_that_may_be_meant() {
        for (typed, meant) in
            [("serach", "search"), ("logn", "login"), ("exce", "exec"), ("whi", "why"), ("volumes", "volume")]
        {
            let hint = no_command(typed).hint.expect("there is one");
            assert!(hint.contains(&format!("did you mean `rabbitc {meant}`?")), "{hint}");
        }
    }

    #[test]
    fn trust_that_is_not_there_is_refused_and_to_be_without_it_asks_for_nothing() {
        let row = by_name("disable-content-trust").expect("it is listed");
        assert!(row.asks_for_nothing(None) && row.asks_for_nothing(Some("true")));
        assert!(!row.asks_for_nothing(Some("false")) && !row.asks_for_nothing(Some("x")));
        assert!(by_name("passwd").expect("it is listed").asks_for_nothing(Some("false")));
    }

    #[test]
    fn compatibility_page_says_what_the_command_line_takes() {
        let known = known();
        let page = include_str!("../../../../docs/compatibility.md");
        let mut wrong = Vec::new();
        let mut rows = 0;
        for line in page.lines().filter(|line| line.starts_with("| `")) {
            rows += 1;
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let long = cells[0].split('`').find_map(|name| name.strip_prefix("--")).expect("a long flag");
            let right = match cells[3] {
                "same" | "different" => known.contains(long),
                "not yet" => by_name(long).is_some(),
                _ => false,
            };
            if !right || (cells[3] == "different" && cells.get(4).is_none_or(|why| why.is_empty())) {
                wrong.push(line);
            }
        }
        assert!(rows > 150 && wrong.is_empty(), "{rows} rows: {wrong:#?}");
    }
}
