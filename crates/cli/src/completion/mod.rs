//! `rabbitc completion`: what a shell asks when somebody presses Tab. The shells' scripts do nothing but ask `internal-complete`
//! with the words so far; what may stand there is told by the definitions that the command line is read by, and names by what is
//! kept.

pub(crate) mod definitions;
mod filters;
mod names;
mod scripts;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, Command, Parser, ValueEnum};
use engine::Result;

use self::definitions::{Definition, behind, typed};
use self::names::Names;
use crate::images::print;

/// The name of the internal verb; not for people.
pub(crate) const COMPLETE: &str = "internal-complete";

/// Prints the script that has a shell complete what is typed for rabbitc, names of containers, images, pods, secrets and volumes among it.
#[derive(Debug, Parser)]
#[command(name = "rabbitc completion", max_term_width = 100, after_help = HOW)]
pub(crate) struct CompletionArguments {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

const HOW: &str = "For all users:\n  rabbitc completion bash >/etc/bash_completion.d/rabbitc\n  \
                   rabbitc completion zsh >/usr/local/share/zsh/site-functions/_rabbitc\n  \
                   rabbitc completion fish >/etc/fish/completions/rabbitc.fish\n\n\
                   For this shell alone:\n  source <(rabbitc completion bash)";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn completion(arguments: &CompletionArguments) -> Result<ExitCode> {
    print(match arguments.shell {
        Shell::Bash => scripts::BASH,
        Shell::Zsh => scripts::ZSH,
        Shell::Fish => scripts::FISH,
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What a shell offers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Offer {
    /// Words, each with what it is for.
    words: Vec<(String, String)>,
    /// What the shell itself knows, too.
    also: Also,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Also {
    #[default]
    Nothing,
    Files,
    Directories,
}

/// The internal verb: `internal-complete [WORD...] CURRENT`, the words behind the program's name up to the one that is being typed.
/// Prints a line `WORD<Tab>WHAT FOR` for each that may stand there, and at last `:`, `:files` or `:directories`.
pub(crate) fn complete(words: impl Iterator<Item = OsString>) -> ExitCode {
    let mut words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let current = words.pop().unwrap_or_default();
    let Offer { words, also } = offer(&words, &current);
    let one_line = |text: &str| text.replace(['\t', '\n'], " ");
    let mut text: String = words
        .iter()
        .filter(|(word, _)| word.starts_with(&current))
        .map(|(word, what)| format!("{}\t{}\n", one_line(word), one_line(what)))
        .collect();
    text.push_str(match also {
        Also::Nothing => ":\n",
        Also::Files => ":files\n",
        Also::Directories => ":directories\n",
    });
    match print(&text) {
        Ok(()) => ExitCode::SUCCESS,
        // Nothing is said in the middle of somebody's line.
        Err(_) => ExitCode::FAILURE,
    }
}

fn offer(words: &[String], current: &str) -> Offer {
    let (names, words) = Names::before_verb(words);
    let Some((definition, count)) = typed(&words) else {
        return match words.first() {
            None => first(current),
            Some(&"--log-format") if words.len() == 1 => {
                Offer { words: self::words(&LOG_FORMATS), also: Also::Nothing }
            }
            // Flags of `run`, which may be left out.
            Some(word) if word.starts_with('-') => behind_verb("run", &words, current, names),
            Some(_) => Offer::default(),
        };
    };
    let Definition { verb, .. } = definition;
    if matches!(*verb, "image" | "container") && words.len() == 1 {
        let mut offer = commands(&(definition.command)());
        let more = behind(verb).into_iter().map(|word| (word.to_owned(), about_verb(&[verb, word])));
        offer.words.extend(more);
        offer.words.sort();
        return offer;
    }
    behind_verb(verb, &words[count..], current, names)
}

/// The first word.
fn first(current: &str) -> Offer {
    if current.starts_with('-') {
        let mut offer = flags(&(definitions::find("run").expect("it is there").command)());
        offer.words.push(("--version".to_owned(), "Print version".to_owned()));
        offer.words.push(("--log-format".to_owned(), "Messages for people or for machines".to_owned()));
        return offer;
    }
    let verbs = definitions::ALL.iter().map(|one| one.verb).filter(|verb| !verb.contains(' '));
    let with_their_help = verbs.map(|verb| (verb.to_owned(), about_verb(&[verb])));
    let words = with_their_help.chain([("version".to_owned(), "Print version".to_owned())]);
    Offer { words: words.collect(), also: Also::Nothing }
}

fn about_verb(words: &[&str]) -> String {
    match (words, typed(words)) {
        (["create"], _) => "Makes a container that `start` starts".to_owned(),
        (_, Some((definition, _))) => about(&(definition.command)()),
        _ => String::new(),
    }
}

fn about(command: &Command) -> String {
    command.get_about().map(|about| brief(&about.to_string())).unwrap_or_default()
}

/// The first sentence, or what stands before its colon.
fn brief(text: &str) -> String {
    let end = [". ", ": ", "\n"].iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_owned()
}

/// What may stand behind a verb and `words`.
fn behind_verb(verb: &str, words: &[&str], current: &str, mut names: Names) -> Offer {
    let definition = definitions::find(verb).expect("it was found");
    let mut command = (definition.command)();
    let mut verb = verb.to_owned();
    let mut words = words.iter();
    // Commands of groups have definitions inside of the group's.
    if command.has_subcommands() {
        let Some(word) = words.find(|word| !word.starts_with('-')) else { return commands(&command) };
        let Some(found) = command.find_subcommand(word).cloned() else { return Offer::default() };
        verb = format!("{verb} {}", found.get_name());
        command = found;
    }
    let (mut places, mut pending, mut only_words) = (0, None, false);
    for word in words {
        if let Some(flag) = pending.take() {
            names.note(&command, flag, word);
        } else if only_words || !word.starts_with('-') || word.len() == 1 {
            places += 1;
            // What follows is a program's.
            only_words |= has_program(&command);
        } else if *word == "--" {
            only_words = true;
        } else if let Some((name, value)) = word.split_once('=') {
            names.note(&command, name, value);
        } else {
            pending = Some(*word).filter(|word| flag(&command, word).is_some_and(takes_next));
        }
    }
    if let Some(name) = pending {
        return flag(&command, name).map_or_else(Offer::default, |flag| values(flag, &verb, &names));
    }
    if !only_words && let Some((name, _)) = current.split_once('=').filter(|_| current.starts_with("--")) {
        let mut offer = flag(&command, name).map_or_else(Offer::default, |flag| values(flag, &verb, &names));
        offer.words.iter_mut().for_each(|(word, _)| *word = format!("{name}={word}"));
        return offer;
    }
    if !only_words && current.starts_with('-') {
        return flags(&command);
    }
    let is_of_image = ["run", "create"].contains(&verb.as_str());
    if is_of_image && places == 0 && !only_words && !names.has_root_directory() {
        return Offer { words: names.images(), also: Also::Nothing };
    }
    if has_program(&command) && (places > 0 || only_words || is_of_image) {
        // Of what is in the container nothing is known here.
        return Offer::default();
    }
    let positionals: Vec<&Arg> = command.get_positionals().collect();
    let place = positionals.get(places).or_else(|| {
        positionals.last().filter(|last| last.get_num_args().is_some_and(|number| number.max_values() > 1))
    });
    place.map_or_else(Offer::default, |place| values(place, &verb, &names))
}

/// Whether words of a program follow what the verb itself takes.
fn has_program(command: &Command) -> bool {
    command.get_positionals().any(|place| place.is_trailing_var_arg_set() || place.is_last_set())
}

fn commands(command: &Command) -> Offer {
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    let words = shown.map(|one| (one.get_name().to_owned(), about(one))).collect();
    Offer { words, also: Also::Nothing }
}

/// The flags of a verb.
fn flags(command: &Command) -> Offer {
    let shown = command.get_arguments().filter(|flag| !flag.is_hide_set());
    let mut words: Vec<(String, String)> = shown
        .filter_map(|flag| {
            let what = flag.get_help().map(|help| brief(&help.to_string())).unwrap_or_default();
            Some((format!("--{}", flag.get_long()?), what))
        })
        .collect();
    if !words.iter().any(|(word, _)| word == "--help") {
        words.push(("--help".to_owned(), "Print help".to_owned()));
    }
    Offer { words, also: Also::Nothing }
}

/// The flag of a word such as `--name`, or `-it`, whose last letter it is.
fn flag<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let all = || command.get_arguments();
    match word.strip_prefix("--") {
        Some(long) => all().find(|flag| {
            flag.get_long() == Some(long)
                || flag.get_all_aliases().is_some_and(|aliases| aliases.contains(&long))
        }),
        None => {
            let letter = word.chars().last()?;
            all().find(|flag| flag.get_short() == Some(letter))
        }
    }
}

/// Whether the next word is its value.
fn takes_next(flag: &Arg) -> bool {
    flag.get_action().takes_values()
        && !flag.is_require_equals_set()
        && flag.get_num_args().is_none_or(|number| number.min_values() > 0)
}

/// What may stand where the value of a flag is, or a word of a verb.
fn values(place: &Arg, verb: &str, names: &Names) -> Offer {
    let known: Vec<(String, String)> = place
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| {
            let what = value.get_help().map(ToString::to_string).unwrap_or_default();
            (value.get_name().to_owned(), what)
        })
        .collect();
    if !known.is_empty() {
        return Offer { words: known, also: Also::Nothing };
    }
    let named = place.get_value_names().and_then(|names| names.first()).map(|name| name.as_str());
    let (words, also) = match named.unwrap_or_default() {
        "CONTAINER" | "CONTAINER PROGRAM" | "CONTAINER[:OPTIONS]" => (names.containers(verb), Also::Nothing),
        "IMAGE" | "REPOSITORY[:TAG]" | "LIST" if verb != "pull" && place.get_long().is_none() => {
            (names.images(), Also::Nothing)
        }
        "VOLUME" => (names.volumes(), Also::Nothing),
        "NETWORK" => (names.networks(), Also::Nothing),
        "SECRET" | "SECRET[,KEY=VALUE…]" => (names.secrets(), Also::Nothing),
        "POD" => (names.pods(), Also::Nothing),
        // Of `inspect`, containers and images.
        "CONTAINER|IMAGE" => {
            (names.containers(verb).into_iter().chain(names.images()).collect(), Also::Nothing)
        }
        "SOURCE" | "DESTINATION" if verb == "cp" => {
            let inside = |(name, what): (String, String)| (format!("{name}:"), what);
            (names.containers(verb).into_iter().map(inside).collect(), Also::Files)
        }
        "[SOURCE:]DESTINATION[:OPTIONS]" => {
            let mounted = |(name, what): (String, String)| (format!("{name}:"), what);
            (names.volumes().into_iter().map(mounted).collect(), Also::Files)
        }
        "KEY=VALUE" | "CONDITION" if place.get_long() == Some("filter") => {
            (words(filters::keys(verb)), Also::Nothing)
        }
        "DRIVER" if place.get_long() == Some("log-driver") => (words(&LOG_DRIVERS), Also::Nothing),
        "SIGNAL" => (words(&SIGNALS), Also::Nothing),
        "POLICY" if place.get_long() == Some("exit-policy") => (words(&EXIT_POLICIES), Also::Nothing),
        "POLICY" => (words(&POLICIES), Also::Nothing),
        // What a pod shares.
        "KINDS" => (words(&KINDS), Also::Nothing),
        "CONDITION" if verb == "wait" => (words(&CONDITIONS), Also::Nothing),
        // Of health checks.
        "ACTION" => (words(&ACTIONS), Also::Nothing),
        "PLACE" => (words(&PLACES), Also::Directories),
        "FILE" | "SOURCE[:DESTINATION][:ACCESS]" => (Vec::new(), Also::Files),
        "DIR" => (Vec::new(), Also::Directories),
        _ if place.get_value_parser().type_id() == std::any::TypeId::of::<PathBuf>() => {
            (Vec::new(), Also::Files)
        }
        _ => (Vec::new(), Also::Nothing),
    };
    Offer { words, also }
}

// Words that are read by hand, and so are not in the definitions.
const SIGNALS: [&str; 11] =
    ["HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "TSTP", "WINCH"];
const POLICIES: [&str; 4] = ["no", "always", "unless-stopped", "on-failure"];
const EXIT_POLICIES: [&str; 2] = ["continue", "stop"];
const KINDS: [&str; 6] = ["cgroup", "ipc", "net", "pid", "uts", "none"];
const CONDITIONS: [&str; 7] = ["stopped", "exited", "running", "paused", "removed", "healthy", "unhealthy"];
const ACTIONS: [&str; 4] = ["none", "kill", "restart", "stop"];
const PLACES: [&str; 2] = ["local", "events_logger"];
const LOG_DRIVERS: [&str; 4] = ["json-file", "k8s-file", "journald", "none"];
const LOG_FORMATS: [&str; 2] = ["text", "json"];

fn words(words: &[&str]) -> Vec<(String, String)> {
    words.iter().map(|word| ((*word).to_owned(), String::new())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &str) -> Vec<String> {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let current = words.pop().expect("one at least");
        let offer = offer(&words, &current);
        let also = match offer.also {
            Also::Nothing => None,
            Also::Files => Some(":files".to_owned()),
            Also::Directories => Some(":directories".to_owned()),
        };
        let begins = offer.words.into_iter().map(|(word, _)| word).filter(|word| word.starts_with(&current));
        begins.chain(also).collect()
    }

    #[test]
    fn what_may_stand_somewhere_is_told_by_the_definitions() {
        for (line, expected) in [
            ("comm", &["commit"][..]),
            ("re", &["rename", "restart"]),
            ("--ove", &["--overlay"]),
            ("run --memory-r", &["--memory-reservation"]),
            ("run --rm --cidfile ", &[":files"]),
            ("run --cidfile=", &[":files"]),
            ("run -w ", &[":directories"]),
            ("run --pull=ne", &["--pull=newer", "--pull=never"]),
            ("system df --format t", &["table"]),
            ("--root /x explain --format ", &[]),
            ("update --restart on", &["on-failure"]),
            ("stop -s KI", &["KILL"]),
            ("kill --signal KI", &["KILL"]),
            ("wait --condition un", &["unhealthy"]),
            (
                "run --health-st",
                &[
                    "--health-start-period",
                    "--health-start-interval",
                    "--health-startup-cmd",
                    "--health-startup-interval",
                    "--health-startup-retries",
                    "--health-startup-success",
                    "--health-startup-timeout",
                ],
            ),
            ("run --no-hea", &["--no-healthcheck"]),
            ("run --health-on-failure=re", &["--health-on-failure=restart"]),
            ("run --health-log-destination ev", &["events_logger", ":directories"]),
            ("healthcheck ", &["run"]),
            ("container healthcheck ", &["run"]),
            ("healthcheck run --ig", &["--ignore-result"]),
            ("ev", &["events"]),
            ("events --si", &["--since"]),
            ("system ev", &["events"]),
            ("--log-f", &["--log-format"]),
            ("--log-format ", &["text", "json"]),
            ("--noout --log-format json rena", &["rename"]),
            ("volume c", &["create"]),
            ("ps --filter he", &["health="]),
            ("ps --filter=he", &["--filter=health="]),
            ("stop -f anc", &["ancestor="]),
            ("container ls --filter vol", &["volume="]),
            ("volume prune --filter a", &["all="]),
            ("pod ls -f ctr-n", &["ctr-names=", "ctr-number="]),
            ("image ls -f ref", &["reference="]),
            ("system prune --filter u", &["until="]),
            ("events --filter t", &["type="]),
            ("run --log-driver j", &["json-file", "journald"]),
            ("secret i", &["inspect"]),
            ("secret create key ", &[":files"]),
            ("run --secr", &["--secret"]),
            ("se", &["search", "secret"]),
            ("po", &["pod", "port", "ports"]),
            ("update --publish-", &["--publish-add", "--publish-rm"]),
            ("ports --for", &["--format"]),
            ("pod un", &["unpause"]),
            ("pod create --exit-policy s", &["stop"]),
            ("pod create --share n", &["net", "none"]),
            ("pod ls --ctr-n", &["--ctr-names"]),
            ("volume create --dr", &["--driver"]),
            ("image tr", &["tree"]),
            ("container ex", &["exec", "exists", "explain", "export"]),
            ("container stop --ti", &["--time"]),
            ("system ch", &["check"]),
            ("completion ", &["bash", "zsh", "fish"]),
            ("run alpine ", &[]),
            ("run --rm alpine --me", &[]),
            ("exec -it web ", &[]),
            ("nothing ", &[]),
        ] {
            assert_eq!(offered(line), expected, "{line:?}");
        }
    }

    #[test]
    fn words_that_are_offered_are_read() {
        for word in POLICIES {
            engine::parse_restart(word).expect(word);
        }
        for word in EXIT_POLICIES {
            word.parse::<engine::ExitPolicy>().expect(word);
        }
        for word in KINDS {
            engine::Shared::parse(word).expect(word);
        }
        for word in CONDITIONS {
            word.parse::<engine::WaitCondition>().expect(word);
        }
        for word in ACTIONS {
            engine::parse_on_failure(word).expect(word);
        }
        for word in LOG_DRIVERS {
            engine::parse_log(Some(word), &[]).expect(word);
        }
        for word in PLACES {
            engine::parse_health_log_place(word).expect(word);
        }
        for word in SIGNALS {
            engine::Signal::parse(word).expect(word);
        }
    }
}
