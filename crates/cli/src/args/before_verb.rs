//! Flags that podman has before its verbs: the directories of what is kept and of what runs. They are brought behind the verb,
//! where the parser reads them; must not know what they mean.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::refused;
use crate::{containers, images, kept, life};

/// Those flags.
const FLAGS: [&[u8]; 2] = [b"--root", b"--runroot"];

/// The same command line with the verb first. Without a verb it is left as it is; where nothing is kept or run, as without the
/// second word of a verb that has two, the flags mean nothing and are left out.
pub(crate) fn verb_first(arguments: Vec<OsString>) -> Vec<OsString> {
    let (mut flags, mut verb) = (Vec::new(), Vec::new());
    let mut at = 1;
    while let Some(word) = arguments.get(at) {
        if let Some(words) = words_of_flag(word) {
            let end = arguments.len().min(at + words);
            flags.extend_from_slice(&arguments[at..end]);
            at = end;
            continue;
        }
        match verb.first().map_or_else(|| Verb::of(word), |_| Verb::Whole) {
            Verb::Whole if !word.as_bytes().starts_with(b"-") => {
                verb.push(word.clone());
                break;
            }
            Verb::Group => verb.push(word.clone()),
            Verb::Information if flags.is_empty() => return arguments,
            Verb::Information => {
                flags.clear();
                verb.push(word.clone());
                break;
            }
            _ => break,
        }
        at += 1;
    }
    let Some(first) = verb.first() else { return arguments };
    if verb.len() == 1 && Verb::of(first) == Verb::Group {
        flags.clear();
        at -= 1;
    }
    let program = arguments.first().cloned();
    let rest = arguments.into_iter().skip(at + 1);
    program.into_iter().chain(verb).chain(flags).chain(rest).collect()
}

/// The same command line with the verb alone where it stands behind `container`: all that act on a container stand by themselves, too.
pub(crate) fn behind_container(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let word = |number: usize| arguments.get(number).and_then(|word| word.to_str()).unwrap_or_default();
    if word(1) != "container" {
        return arguments;
    }
    let verb = match word(2) {
        "ls" | "list" => "ps",
        "container" => return arguments,
        verb if matches!(verb, "run" | "create" | "inspect") || is_of_containers(verb) => verb,
        _ => return arguments,
    };
    let mut words = vec![OsString::from(verb)];
    if verb == "inspect" {
        words.push("--type=container".into());
    }
    arguments.splice(1..3, words);
    arguments
}

/// Whether a verb acts on containers that there are.
fn is_of_containers(verb: &str) -> bool {
    kept::VERBS.contains(&verb) || containers::VERBS.contains(&verb) || life::VERBS.contains(&verb)
}

/// Of how many words one of those flags is, with its value.
pub(super) fn words_of_flag(word: &OsStr) -> Option<usize> {
    let word = word.as_bytes();
    let name = word.split(|byte| *byte == b'=').next().unwrap_or_default();
    FLAGS.contains(&name).then_some(if name.len() < word.len() { 1 } else { 2 })
}

/// What a word is where a verb stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    /// All of a verb.
    Whole,
    /// The first of its two words.
    Group,
    /// One that keeps and runs nothing.
    Information,
    /// None.
    No,
}

impl Verb {
    fn of(word: &OsStr) -> Verb {
        match word.to_str().unwrap_or_default() {
            "image" | "system" | "manifest" | "volume" | "secret" | "container" | "pod" => Verb::Group,
            "completion" | "help" | "version" => Verb::Information,
            "run" | "create" | "plan" | "info" | "events" => Verb::Whole,
            verb if images::VERBS.contains(&verb) || is_of_containers(verb) || refused::is_command(verb) => {
                Verb::Whole
            }
            _ => Verb::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_stand_behind_container_too() {
        for (typed, expected) in [
            ("container ls -a", "ps -a"),
            ("container exec c ls", "exec c ls"),
            ("container run x", "run x"),
            ("container inspect x", "inspect --type=container x"),
            ("container prune -f", "container prune -f"),
            ("container rm c", "rm c"),
            ("container checkpoint c", "container checkpoint c"),
            ("container", "container"),
            ("exec container ls", "exec container ls"),
        ] {
            let words = ["rabbitc"].into_iter().chain(typed.split(' ')).map(OsString::from).collect();
            let words = behind_container(words).into_iter().skip(1).collect::<Vec<_>>();
            assert_eq!(words.join(OsStr::new(" ")), expected, "{typed}");
        }
    }

    #[test]
    fn flags_before_a_verb_are_read_behind_it() {
        for (typed, expected) in [
            ("images -q", "images -q"),
            ("--root /a images -q", "images --root /a -q"),
            ("--root=/a --runroot /b run x", "run --root=/a --runroot /b x"),
            ("--runroot=/b image ls", "image ls --runroot=/b"),
            ("--root /a manifest create x", "manifest create --root /a x"),
            ("--root /a system df -v", "system df --root /a -v"),
            ("--root /a events --since 1h", "events --root /a --since 1h"),
            ("image --root /a ls -q", "image ls --root /a -q"),
            // Where they mean nothing.
            ("--root /a image", "image"),
            ("--root /a manifest --help", "manifest --help"),
            ("--root /a --runroot=/b version", "version"),
            ("--root /a help", "help"),
            ("system", "system"),
            ("version", "version"),
            ("--root /a build .", "build --root /a ."),
            // Without a verb, and without a value.
            ("--root /a --rootfs=/r x", "--root /a --rootfs=/r x"),
            ("--root", "--root"),
            ("--rootfs images", "--rootfs images"),
        ] {
            let words = ["rabbitc"].into_iter().chain(typed.split(' ')).map(OsString::from).collect();
            let words = verb_first(words).into_iter().skip(1).collect::<Vec<_>>();
            assert_eq!(words.join(OsStr::new(" ")), expected, "{typed}");
        }
    }
}
