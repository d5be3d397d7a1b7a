//! Podman's flags before a verb that say where output goes: `--out FILE` and `--noout`. They are about this command's standard output,
//! which programs of containers in the foreground have, too.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use engine::{Error, Result};

use super::{before_verb, settings};

/// Where it goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// To where the caller has it.
    Standard,
    /// Into a file, which is made anew.
    File(PathBuf),
    /// Nowhere.
    Nowhere,
}

/// Takes those flags out of a command line.
pub(crate) fn take(arguments: Vec<OsString>) -> Result<(Vec<OsString>, Output)> {
    let mut output = Output::Standard;
    let mut rest = Vec::with_capacity(arguments.len());
    let mut words = arguments.into_iter();
    rest.extend(words.next());
    while let Some(word) = words.next() {
        let (name, value) = split(&word);
        match name {
            b"--noout" if value.is_none() => output = Output::Nowhere,
            b"--out" => {
                let file = value.map(|value| OsString::from_vec(value.to_vec())).or_else(|| words.next());
                let file = file.filter(|file| !file.is_empty()).ok_or_else(|| {
                    Error::invalid("--out", "it takes a file".to_owned()).with_hint("write `--out FILE`")
                })?;
                output = Output::File(file.into());
            }
            _ if settings::take(name, value, &mut words)? => {}
            // Others that may stand before a verb.
            _ => match before_verb::words_of_flag(&word) {
                Some(2) => {
                    rest.push(word);
                    rest.extend(words.next());
                }
                Some(_) => rest.push(word),
                None => {
                    rest.push(word);
                    break;
                }
            },
        }
    }
    rest.extend(words);
    Ok((rest, output))
}

fn split(word: &OsStr) -> (&[u8], Option<&[u8]>) {
    let bytes = word.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    }
}

impl Output {
    /// Makes it this process's standard output.
    pub(crate) fn redirect(&self) -> Result<()> {
        let path = match self {
            Output::Standard => return Ok(()),
            Output::File(path) => path.as_path(),
            Output::Nowhere => Path::new("/dev/null"),
        };
        let failed = |error: std::io::Error| Error::at_path("write", path, error).from_field("--out");
        let file = File::options().write(true).create(true).truncate(true).open(path).map_err(failed)?;
        rustix::stdio::dup2_stdout(&file).map_err(|error| failed(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_named_before_the_verb_alone() {
        for (typed, left, expected) in [
            ("--noout run x", "run x", Output::Nowhere),
            ("--out /f version", "version", Output::File("/f".into())),
            ("--root /a --out=/f --runroot=/b ps", "--root /a --runroot=/b ps", Output::File("/f".into())),
            ("run --out x", "run --out x", Output::Standard),
            ("run x --noout", "run x --noout", Output::Standard),
            ("--rm --noout", "--rm --noout", Output::Standard),
        ] {
            let words = ["rabbitc"].into_iter().chain(typed.split(' ')).map(OsString::from).collect();
            let (words, output) = take(words).expect("legal");
            let words = words.into_iter().skip(1).collect::<Vec<_>>();
            assert_eq!((words.join(OsStr::new(" ")), output), (left.into(), expected), "{typed}");
        }
        assert!(take(vec!["rabbitc".into(), "--out".into()]).is_err());
    }
}
