//! `--log-format`, before a verb: whether errors are for people or for machines. It holds for all processes that a command starts,
//! and travels to them by the environment, where a script may set it for all of its commands.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use engine::{Error, Result};

use super::{before_verb, settings};
use crate::render::LOG_FORMAT;

/// Takes the flag out of a command line. Where it says something else than the environment, this program executes itself with
/// that in its environment, and does not come back.
pub(crate) fn take(arguments: Vec<OsString>) -> Result<Vec<OsString>> {
    let (rest, format) = split(arguments)?;
    let Some(format) = format.filter(|format| std::env::var_os(LOG_FORMAT).as_deref() != Some(format)) else {
        return Ok(rest);
    };
    let mut words = rest.into_iter();
    let mut own = Command::new("/proc/self/exe");
    own.arg0(words.next().unwrap_or_else(|| "rabbitc".into())).args(words).env(LOG_FORMAT, format);
    Err(Error::system("execute rabbitc once more for `--log-format`", own.exec()))
}

fn split(arguments: Vec<OsString>) -> Result<(Vec<OsString>, Option<OsString>)> {
    let mut format = None;
    let mut rest = Vec::with_capacity(arguments.len());
    let mut words = arguments.into_iter();
    rest.extend(words.next());
    while let Some(word) = words.next() {
        let value = match word.as_bytes().strip_prefix(b"--log-format") {
            Some([]) => words.next(),
            Some([b'=', value @ ..]) => Some(OsStr::from_bytes(value).to_owned()),
            _ => {
                let others = match word.as_bytes() {
                    b"--noout" => 1,
                    b"--out" => 2,
                    word if word.starts_with(b"--out=") => 1,
                    _ => match before_verb::words_of_flag(&word).or_else(|| settings::words_of_flag(&word)) {
                        Some(count) => count,
                        None => {
                            rest.push(word);
                            break;
                        }
                    },
                };
                rest.push(word);
                rest.extend((1..others).filter_map(|_| words.next()));
                continue;
            }
        };
        match value.as_deref().and_then(OsStr::to_str) {
            Some("text" | "json") => format = value,
            _ => {
                let shown = value.unwrap_or_default();
                let reason = format!("`{}` is not known", shown.to_string_lossy().escape_debug());
                return Err(Error::invalid("--log-format", reason).with_hint("write `text` or `json`"));
            }
        }
    }
    rest.extend(words);
    Ok((rest, format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_of_messages_is_named_before_the_verb_alone() {
        for (typed, left, expected) in [
            ("--log-format json ps", "ps", Some("json")),
            ("--root /a --log-format=text --out x ps -a", "--root /a --out x ps -a", Some("text")),
            ("run --log-format=json x", "run --log-format=json x", None),
            ("--rm --log-format json", "--rm --log-format json", None),
            ("--noout --log-format json", "--noout", Some("json")),
            ("--log-level error --log-format json ps", "--log-level error ps", Some("json")),
        ] {
            let words = ["rabbitc"].into_iter().chain(typed.split(' ')).map(OsString::from).collect();
            let (rest, format) = split(words).expect("legal");
            let rest = rest.into_iter().skip(1).collect::<Vec<_>>().join(OsStr::new(" "));
            assert_eq!((rest, format), (left.into(), expected.map(OsString::from)), "{typed}");
        }
        for wrong in ["--log-format", "--log-format xml", "--log-format="] {
            let words = ["rabbitc"].into_iter().chain(wrong.split(' ')).map(OsString::from).collect();
            assert!(split(words).is_err(), "{wrong}");
        }
    }
}
