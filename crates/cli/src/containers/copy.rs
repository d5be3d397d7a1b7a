//! `rabbitc cp`: files from and into containers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use engine::{Containers, CopyEnd, CopyRequest, Error, Result, copy};

use super::{containers, mistaken, refused};
use crate::life::PlaceArguments;
use crate::manner::is_podmans;
use crate::render;

/// Copies files between a container and the host, or between two containers: files, and directories with all that is in them. `SOURCE/.`
/// is what is in a directory; `-` is an archive (tar) on standard input or output.
#[derive(Debug, Parser)]
#[command(name = "rabbitc cp", max_term_width = 100)]
pub(crate) struct CopyArguments {
    /// What comes into a container belongs to the user of its program
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    archive: Option<bool>,
    /// Follow a link that is to be copied
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Let directories and other things take each other's place
    #[arg(long)]
    overwrite: bool,
    /// Taken and without effect: nothing is said of how far it is
    #[arg(short, long, hide = true)]
    quiet: bool,
    #[command(flatten)]
    place: PlaceArguments,
    /// What to copy: a path, CONTAINER:PATH, or `-`
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Where to: a path, CONTAINER:PATH, or `-`
    #[arg(value_name = "DESTINATION")]
    destination: String,
}

pub(super) fn cp(arguments: &CopyArguments) -> ExitCode {
    let (from, to) = (named(&arguments.source), named(&arguments.destination));
    let has_container = [&from, &to].iter().any(|end| matches!(end, Named::Container(..)));
    match run(arguments, &from, &to) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if has_container && is_podmans() => refused(&podmans(error, &from, &to)),
        Err(error) if has_container => refused(&error),
        // Then that is what is wrong.
        Err(error) => mistaken(&error),
    }
}

/// The same failure in podman's sentence, which names both ends.
fn podmans(error: Error, from: &Named<'_>, to: &Named<'_>) -> Error {
    let nowhere = |end: &Named<'_>| match end {
        Named::Container(called, path) => {
            format!("\"{path}\" could not be found on container {called}: no such file or directory")
        }
        Named::Host(path) => format!("\"{path}\" could not be found on the host"),
        Named::Stream => "nothing came".to_owned(),
    };
    let is_no_archive = error.hint.as_deref().is_some_and(|hint| hint.contains("tar archive"));
    let sentence = match error.reason.as_str() {
        _ if is_no_archive => "source must be a (compressed) tar archive when copying from stdin".to_owned(),
        "could not find the file" => nowhere(from),
        "no such directory" => nowhere(to),
        "cannot copy directory: there is something else" => {
            "destination must be a directory when copying a directory".to_owned()
        }
        reason if reason.starts_with("destination must be") => reason.to_owned(),
        "it must be a directory or a regular file" => {
            let (Named::Host(path) | Named::Container(_, path)) = to else { return error };
            format!("invalid destination: \"{path}\" must be a directory or a regular file")
        }
        reason if reason.starts_with("cannot overwrite") => {
            let name = error.operation.split('`').nth(1).unwrap_or_default().trim_end_matches('/');
            let directory = match to {
                Named::Container(_, path) => path.trim_end_matches('/'),
                Named::Host(_) | Named::Stream => "",
            };
            format!("{reason}: error creating \"{directory}/{name}\": it is there already: file exists")
        }
        _ => return error,
    };
    Error { operation: String::new(), reason: sentence, ..error }
}

fn run(arguments: &CopyArguments, from: &Named<'_>, to: &Named<'_>) -> Result<()> {
    let containers = containers(&arguments.place)?;
    let (from, to) = (from.end(&containers)?, to.end(&containers)?);
    if matches!(to, CopyEnd::Stream) && std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        let error = Error::invalid("-", "an archive is nothing for a terminal".to_owned());
        return Err(error.with_hint("write it into a file or a pipe"));
    }
    let request = CopyRequest {
        follow: arguments.follow_link || is_podmans(),
        owned: arguments.archive == Some(true),
        overwrite: arguments.overwrite,
    };
    let streams =
        (&mut std::io::stdin().lock() as &mut dyn std::io::Read, &mut std::io::stdout().lock() as _);
    copy(&from, &to, request, streams)?.iter().for_each(render::notice);
    Ok(())
}

/// One end, as it is written.
#[derive(Debug, PartialEq, Eq)]
enum Named<'a> {
    Host(&'a str),
    Container(&'a str, &'a str),
    Stream,
}

/// As docker reads it: what begins with `/` or `.` is a path of the host, whatever it has in it.
fn named(text: &str) -> Named<'_> {
    match text.split_once(':') {
        _ if matches!(text, "-" | "/dev/stdin") => Named::Stream,
        Some((container, path)) if !container.is_empty() && !container.starts_with(['/', '.']) => {
            Named::Container(container, path)
        }
        _ => Named::Host(text),
    }
}

impl Named<'_> {
    fn end(&self, containers: &Containers) -> Result<CopyEnd> {
        Ok(match self {
            Named::Host(path) => CopyEnd::Host(PathBuf::from(path)),
            Named::Container(called, path) => {
                let found = containers.find(called)?;
                let path = match is_podmans() && !path.starts_with('/') {
                    true => format!("{}/{path}", found.working_directory()?.trim_end_matches('/')),
                    false => (*path).to_owned(),
                };
                CopyEnd::Container(Box::new(found), path)
            }
            Named::Stream => CopyEnd::Stream,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_read_as_docker_reads_them() {
        assert_eq!(named("-"), Named::Stream);
        assert_eq!(named("box:/etc"), Named::Container("box", "/etc"));
        assert_eq!(named("box:a:b"), Named::Container("box", "a:b"));
        for path in ["/a:b", "./a:b", "../a:b", "plain", ":x"] {
            assert_eq!(named(path), Named::Host(path));
        }
    }
}
