//! `rabbitc cp`: files from and into containers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use engine::{Containers, CopyEnd, CopyRequest, Error, Result, copy};

use super::{containers, mistaken, refused};
use crate::life::PlaceArguments;
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
    match run(arguments, from, to) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if has_container => refused(&error),
        // Then that is what is wrong.
        Err(error) => mistaken(&error),
    }
}

fn run(arguments: &CopyArguments, from: Named<'_>, to: Named<'_>) -> Result<()> {
    let containers = containers(&arguments.place)?;
    let (from, to) = (from.end(&containers)?, to.end(&containers)?);
    if matches!(to, CopyEnd::Stream) && std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        let error = Error::invalid("-", "an archive is nothing for a terminal".to_owned());
        return Err(error.with_hint("write it into a file or a pipe"));
    }
    let request = CopyRequest {
        follow: arguments.follow_link,
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
                CopyEnd::Container(Box::new(containers.find(called)?), (*path).to_owned())
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
