//! Brings what was typed to the one form that the parser reads: `--name=value` for every flag, and everything from the
//! first word that belongs to none on behind `--`. Docker's `-it` and the `-i CIDR`, `-t IP` of rabbitc's first version
//! are told apart here (docs/decisions/0027-flags-of-two-worlds.md).

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, Command};
use engine::{Error, Result};

use super::refused;

/// A command line in its one form.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Normal {
    /// Flags, each one word, without the program's name.
    pub(crate) flags: Vec<OsString>,
    /// The words of the program.
    pub(crate) words: Vec<OsString>,
    /// Whether `--` stood before those, so that the first can't be meant as the name of an image.
    pub(crate) separated: bool,
    /// What `--rm` said last.
    pub(crate) rm: Option<bool>,
}

/// Two flags of the first version, and the docker flag that has the same letter.
const SHARED: [(u8, &str, &str); 2] = [(b'i', "network-ip", "interactive"), (b't', "container-ip", "tty")];

/// Reads `arguments`, from behind the verb on, with the flags that `command` knows.
pub(crate) fn normalise(command: &Command, arguments: impl IntoIterator<Item = OsString>) -> Result<Normal> {
    let mut walk = Walk {
        command,
        left: arguments.into_iter().collect(),
        normal: Normal::default(),
        bare_rootfs: false,
    };
    while let Some(argument) = walk.left.pop_front() {
        let bytes = argument.as_bytes();
        if bytes == b"--" {
            walk.normal.separated = true;
            walk.normal.words = walk.left.drain(..).collect();
        } else if bytes.starts_with(b"--") {
            walk.long(&argument)?;
        } else if bytes.starts_with(b"-") && bytes.len() > 1 {
            walk.short(&argument)?;
        } else if std::mem::take(&mut walk.bare_rootfs) {
            walk.push("rootfs", Some(&argument));
        } else {
            walk.normal.words = std::iter::once(argument).chain(walk.left.drain(..)).collect();
        }
    }
    if walk.bare_rootfs {
        // Without its value; the parser says so.
        walk.push("rootfs", None);
    }
    Ok(walk.normal)
}

struct Walk<'a> {
    command: &'a Command,
    left: VecDeque<OsString>,
    normal: Normal,
    /// `--rootfs` as podman has it: a flag alone, and the first word is the directory.
    bare_rootfs: bool,
}

impl<'a> Walk<'a> {
    fn long(&mut self, argument: &OsStr) -> Result<()> {
        let bytes = &argument.as_bytes()[2..];
        let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
            Some(at) => (&bytes[..at], Some(OsStr::from_bytes(&bytes[at + 1..]))),
            None => (bytes, None),
        };
        let Ok(name) = std::str::from_utf8(name) else {
            self.normal.flags.push(argument.to_owned());
            return Ok(());
        };
        match self.by_name(name) {
            Some(flag) => self.known(flag, name, value),
            None => match refused::by_name(name) {
                Some(row) => self.refused(row, value),
                None => {
                    self.normal.flags.push(argument.to_owned());
                    Ok(())
                }
            },
        }
    }

    /// A word such as `-it`, `-e`, `-eNAME=value`, `-i10.0.0.1/24`.
    fn short(&mut self, argument: &OsStr) -> Result<()> {
        let bytes = argument.as_bytes();
        let mut at = 1;
        while at < bytes.len() {
            let (letter, rest) = (bytes[at], &bytes[at + 1..]);
            let rest_value = rest.strip_prefix(b"=").unwrap_or(rest);
            if let Some((_, address, alone)) = SHARED.iter().find(|(shared, ..)| *shared == letter) {
                let boolean = |value: &[u8]| matches!(value, b"true" | b"false");
                if rest.starts_with(b"=") && !boolean(rest_value) || begins_like_address(rest) {
                    self.push(address, Some(OsStr::from_bytes(rest_value)));
                    return Ok(());
                }
                let next = self.left.front().filter(|_| rest.is_empty());
                if next.is_some_and(|next| begins_like_address(next.as_bytes())) {
                    let next = self.left.pop_front();
                    self.push(address, next.as_deref());
                    return Ok(());
                }
                if rest.starts_with(b"=") {
                    return self.set(alone, Some(OsStr::from_bytes(rest_value)));
                }
                self.set(alone, None)?;
                at += 1;
                continue;
            }
            let value = (!rest.is_empty()).then(|| OsStr::from_bytes(rest_value));
            match self.by_letter(letter) {
                Some(flag) if takes_value(flag) => {
                    let name = flag.get_long().expect("every short flag has a long form").to_owned();
                    return self.known(flag, &name, value);
                }
                Some(flag) if matches!(flag.get_action(), clap::ArgAction::SetTrue) => {
                    let name = flag.get_long().expect("every short flag has a long form").to_owned();
                    if rest.starts_with(b"=") {
                        return self.set(&name, value);
                    }
                    self.set(&name, None)?;
                    at += 1;
                }
                _ => {
                    let mut unknown = vec![b'-'];
                    unknown.extend(&bytes[at..]);
                    self.normal.flags.push(OsString::from_vec(unknown));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn known(&mut self, flag: &Arg, name: &str, value: Option<&OsStr>) -> Result<()> {
        if !takes_value(flag) {
            return match flag.get_action() {
                clap::ArgAction::SetTrue => self.set(name, value),
                _ => {
                    self.push(name, value);
                    Ok(())
                }
            };
        }
        if name == "explain" && value.is_some_and(|value| boolean("", Some(value)).is_ok()) {
            return self.set(name, value);
        }
        if value.is_some() || flag.is_require_equals_set() {
            self.push(name, value);
            return Ok(());
        }
        let next = self.left.front().map(|next| next.as_bytes().to_vec());
        match next {
            Some(next) if next != b"--" && !self.is_flag(&next) => {
                let next = self.left.pop_front();
                self.push(name, next.as_deref());
            }
            _ if name == "rootfs" => self.bare_rootfs = true,
            _ => self.push(name, None),
        }
        Ok(())
    }

    /// A flag that is on or off; as with docker, the last one counts.
    fn set(&mut self, name: &str, value: Option<&OsStr>) -> Result<()> {
        let word = OsString::from(format!("--{name}"));
        let with_value = format!("--{name}=");
        let is_it =
            |earlier: &OsString| *earlier == word || earlier.as_bytes().starts_with(with_value.as_bytes());
        self.normal.flags.retain(|earlier| !is_it(earlier));
        let on = boolean(&format!("--{name}"), value)?;
        if on {
            self.normal.flags.push(word);
        }
        if name == "rm" || (name == "rmi" && on) {
            self.normal.rm = Some(on);
        }
        Ok(())
    }

    fn refused(&mut self, row: &refused::Row, value: Option<&OsStr>) -> Result<()> {
        let taken = match value {
            None if row.takes_value => self.left.pop_front(),
            other => other.map(OsStr::to_owned),
        };
        let value = taken.as_deref().map(OsStr::to_string_lossy);
        match row.asks_for_nothing(value.as_deref()) {
            true => Ok(()),
            false => Err(row.error()),
        }
    }

    fn push(&mut self, name: &str, value: Option<&OsStr>) {
        let mut word = OsString::from(format!("--{name}"));
        if let Some(value) = value {
            word.push("=");
            word.push(value);
        }
        self.normal.flags.push(word);
    }

    /// Whether a word is a flag that somebody knows, so that it can't be meant as the value of another one.
    fn is_flag(&self, word: &[u8]) -> bool {
        if let Some(long) = word.strip_prefix(b"--") {
            let name = long.split(|byte| *byte == b'=').next().unwrap_or_default();
            return std::str::from_utf8(name)
                .is_ok_and(|name| self.by_name(name).is_some() || refused::by_name(name).is_some());
        }
        match word {
            [b'-', letters @ ..] if !letters.is_empty() => {
                letters.iter().all(|letter| letter.is_ascii_alphabetic())
                    && letters.iter().all(|letter| {
                        SHARED.iter().any(|(shared, ..)| shared == letter)
                            || self.by_letter(*letter).is_some()
                    })
            }
            _ => false,
        }
    }

    fn by_name(&self, name: &str) -> Option<&'a Arg> {
        self.command.get_arguments().find(|flag| {
            flag.get_long() == Some(name)
                || flag.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
        })
    }

    fn by_letter(&self, letter: u8) -> Option<&'a Arg> {
        self.command.get_arguments().find(|flag| flag.get_short() == Some(char::from(letter)))
    }
}

fn takes_value(flag: &Arg) -> bool {
    flag.get_action().takes_values()
}

/// The value of a flag that is on or off, as docker reads it; on where it has none.
pub(super) fn boolean(flag: &str, value: Option<&OsStr>) -> Result<bool> {
    let Some(value) = value else { return Ok(true) };
    match value.to_string_lossy().as_ref() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => {
            let error = Error::invalid(flag, format!("`{}` is neither true nor false", other.escape_debug()));
            Err(error.with_hint(format!("write `{flag}` alone, or `{flag}=false`")))
        }
    }
}

/// Whether a word is an address, or was meant to be one: `10.0.0.1/24`, `10.0.0/x`, `fd00::1`; but neither a program
/// (`7z`, `2.sh`) nor an image of a registry that is named by its address (`10.0.0.5:5000/image`).
fn begins_like_address(word: &[u8]) -> bool {
    let hexadecimal = |byte: &u8| byte.is_ascii_hexdigit() || b":./".contains(byte);
    if word.iter().filter(|byte| **byte == b':').count() > 1 && word.iter().all(hexadecimal) {
        return true;
    }
    let number = word.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let (number, rest) = word.split_at(number);
    number.first().is_some_and(u8::is_ascii_digit)
        && match rest {
            [] | [b'/'] => true,
            [b'/', size, ..] => size.is_ascii_digit(),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::RunArguments;

    fn read(line: &str) -> Result<Normal> {
        normalise(
            &RunArguments::command(),
            line.split(' ').filter(|word| !word.is_empty()).map(OsString::from),
        )
    }

    fn written(line: &str) -> String {
        let normal = read(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut words: Vec<String> =
            normal.flags.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        if normal.separated || !normal.words.is_empty() {
            words.push(if normal.separated { "--" } else { "|" }.to_owned());
        }
        words.extend(normal.words.iter().map(|word| word.to_string_lossy().into_owned()));
        words.join(" ")
    }

    #[test]
    fn letters_of_two_worlds_are_told_apart_by_an_address() {
        for (typed, meant) in [
            ("-i 10.0.0.1/24", "--network-ip=10.0.0.1/24"),
            ("-i10.0.0.1/24", "--network-ip=10.0.0.1/24"),
            ("-i=10.0.0.1/24", "--network-ip=10.0.0.1/24"),
            ("-i=moon", "--network-ip=moon"),
            ("-i 10.0.0/x4", "--interactive | 10.0.0/x4"),
            ("-i 10.0.0/4x", "--network-ip=10.0.0/4x"),
            ("-i 300.1", "--network-ip=300.1"),
            ("-i fd00::1/64", "--network-ip=fd00::1/64"),
            ("-t 10.0.0.9", "--container-ip=10.0.0.9"),
            ("-t10.0.0.9", "--container-ip=10.0.0.9"),
            ("-t=10.0.0.9/24 -i", "--container-ip=10.0.0.9/24 --interactive"),
            ("-i -t", "--interactive --tty"),
            ("-it", "--interactive --tty"),
            ("-ti", "--tty --interactive"),
            ("-it -i 10.0.0.1/8", "--interactive --tty --network-ip=10.0.0.1/8"),
            ("-it 10.0.0.9", "--interactive --container-ip=10.0.0.9"),
            ("-i=true -t=false", "--interactive"),
            ("-it 7z x", "--interactive --tty | 7z x"),
            ("-it 2.sh", "--interactive --tty | 2.sh"),
            ("-it 10.0.0.5:5000/image", "--interactive --tty | 10.0.0.5:5000/image"),
            ("-i -- 10.0.0.1", "--interactive -- 10.0.0.1"),
            ("-i", "--interactive"),
        ] {
            assert_eq!(written(typed), meant, "{typed}");
        }
    }

    #[test]
    fn bundles_end_at_a_flag_with_a_value() {
        for (typed, meant) in [
            ("-itc /bin/x", "--interactive --tty --cmd=/bin/x"),
            ("-itc/bin/x", "--interactive --tty --cmd=/bin/x"),
            ("-ith name -r /r", "--interactive --tty --hostname=name --rootfs=/r"),
            ("-eA=b -e C=-i", "--env=A=b --env=C=-i"),
            ("-e=A=b", "--env=A=b"),
            ("--env A=b --hostname x", "--env=A=b --hostname=x"),
            ("--cpus -1", "--cpus=-1"),
            ("-e -t", "--env --tty"),
            ("--rm --read-only=true --read-only=false", "--rm"),
            ("--explain=svg:x --rm --explain=false", "--rm"),
            ("--explain=0 --explain=json", "--explain=json"),
            ("--explain=json --explain=true", "--explain"),
        ] {
            assert_eq!(written(typed), meant, "{typed}");
        }
        assert!(read("--read-only=perhaps").is_err());
    }

    #[test]
    fn everything_from_the_first_word_on_is_the_programs() {
        for (typed, meant) in [
            ("--rootfs=/r ls -l --rm -- x", "--rootfs=/r | ls -l --rm -- x"),
            ("--rootfs /r ls -i 10.0.0.1", "--rootfs=/r | ls -i 10.0.0.1"),
            ("--rootfs -it /r ls -l", "--interactive --tty --rootfs=/r | ls -l"),
            ("--rootfs=/r -- ls --rm", "--rootfs=/r -- ls --rm"),
            ("--explain ls", "--explain | ls"),
            ("--rootfs", "--rootfs"),
        ] {
            assert_eq!(written(typed), meant, "{typed}");
        }
    }

    #[test]
    fn flag_that_is_not_there_yet_is_refused_with_a_word_unless_it_asks_for_nothing() {
        for line in ["--init-ctr once", "--init-ctr=once", "--gpus=all"] {
            let error = read(&format!("{line} --rootfs=/r ls")).expect_err("refused");
            assert!(error.hint.is_some(), "{error}");
        }
        assert_eq!(written("--detach=false --systemd=false ls"), "| ls");
        assert_eq!(written("-itd --name x ls"), "--interactive --tty --detach --name=x | ls");
        assert_eq!(written("--no-such-flag ls"), "--no-such-flag | ls", "the parser says it");
    }

    #[test]
    fn last_word_about_removal_counts() {
        for (line, rm) in [
            ("--rm=false", Some(false)),
            ("--rm --rm=0", Some(false)),
            ("--rm=false --rm ls --rm=false", Some(true)),
            ("ls --rm", None),
        ] {
            assert_eq!(read(line).expect(line).rm, rm, "{line}");
        }
        assert_eq!(written("--rm=false --rm ls --rm=false"), "--rm | ls --rm=false");
    }
}
