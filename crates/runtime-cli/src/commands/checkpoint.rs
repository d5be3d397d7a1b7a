//! `checkpoint`: writes a running container to files.

use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};
use runtime::checkpoint::{self, CheckpointOptions};
use runtime::{Error, Result};

use super::{Failure, Outcome, criu};
use crate::args::{self, Globals};
use crate::render;

pub(super) const USAGE: &str = "\
Write a running container to files, from which `restore` starts it again. Unless it is left running, it is removed.
criu does the work and must be in PATH.

Usage: rabbitc-runtime checkpoint [OPTIONS] ID

Options:
      --image-path DIR            where the files go [checkpoint]
      --work-path DIR             where criu's log goes [the image path]
      --leave-running             the container goes on
      --pre-dump                  memory alone, and the container goes on
      --parent-path DIR           what an earlier one wrote, relative to the image path
      --tcp-established           with open TCP connections
      --tcp-skip-in-flight        without those that are still being made
      --ext-unix-sk               with unix sockets that lead outside
      --shell-job                 with a session and a terminal from outside
      --file-locks                with file locks
      --link-remap                with open files whose name is gone
      --manage-cgroups-mode MODE  soft, full, strict or ignore [soft]
      --empty-ns network          without what is in the network namespace
      --auto-dedup                keep each page once
      --lazy-pages                serve the memory to a restore, with --page-server
      --page-server ADDRESS:PORT  send the memory there
      --status-fd N               with --lazy-pages: write a zero byte to descriptor N once it can be asked for
";

pub(super) fn run(mut parser: Parser, globals: &Globals) -> Outcome {
    let mut id = None;
    let mut shared = criu::Arguments::default();
    let (mut leave_running, mut pre_dump, mut tcp_skip_in_flight, mut link_remap) =
        (false, false, false, false);
    let (mut parent, mut page_server, mut status) = (None, None, None);
    while let Some(argument) = parser.next().map_err(args::wrong)? {
        match argument {
            Arg::Long("leave-running") => leave_running = args::switch(&mut parser)?,
            Arg::Long("pre-dump") => pre_dump = args::switch(&mut parser)?,
            Arg::Long("tcp-skip-in-flight") => tcp_skip_in_flight = args::switch(&mut parser)?,
            Arg::Long("link-remap") => link_remap = args::switch(&mut parser)?,
            Arg::Long("parent-path") => {
                parent = Some(args::path(&mut parser)?).filter(|path: &PathBuf| !path.as_os_str().is_empty());
            }
            Arg::Long("page-server") => page_server = Some(parse_page_server(&args::text(&mut parser)?)?),
            Arg::Long("status-fd") => status = Some(args::number(&mut parser, "--status-fd")?),
            Arg::Long("help") | Arg::Short('h') => return Err(Failure::Help),
            Arg::Long(name) => {
                let name = name.to_owned();
                if !shared.take(&name, &mut parser)? {
                    return Err(args::unexpected(Arg::Long(&name)).into());
                }
            }
            Arg::Value(value) => args::take_id(&mut id, value)?,
            other => return Err(args::unexpected(other).into()),
        }
    }
    let id = args::need_id(id, "checkpoint")?;
    if let Some(parent) = &parent {
        check_parent(parent, &shared.images()?)?;
    }
    if status.is_some() && !shared.lazy_pages() {
        let reason = "tells when lazy pages can be asked for".to_owned();
        return Err(Error::invalid("--status-fd", reason).with_hint("add `--lazy-pages`").into());
    }
    let status = status
        .map(|number| {
            let number = i32::try_from(number).unwrap_or(-1);
            let adopted = if number > 2 { sys::fd::adopt(number).ok() } else { None };
            let wrong = || Error::invalid("--status-fd", format!("descriptor {number} is not open"));
            adopted.ok_or_else(wrong)
        })
        .transpose()?;
    let options = CheckpointOptions {
        common: shared.common()?,
        leave_running,
        pre_dump,
        parent,
        tcp_skip_in_flight,
        link_remap,
        page_server,
        status,
    };
    render::warn_of_hooks(globals, &checkpoint::checkpoint(&globals.state(), &id, options)?);
    Ok(0)
}

/// criu looks for it from the image directory, and would write whole images where it finds nothing.
fn check_parent(parent: &Path, images: &Path) -> Result<()> {
    let wrong = |reason: String| {
        Err(Error::invalid("--parent-path", reason).with_hint(
            "name the directory of an earlier checkpoint relative to `--image-path`, as `../first`",
        ))
    };
    if parent.is_absolute() {
        return wrong(format!("`{}` is absolute", parent.display()));
    }
    match std::fs::metadata(images.join(parent)) {
        Ok(found) if found.is_dir() => Ok(()),
        _ => wrong(format!("`{}` is no directory", images.join(parent).display())),
    }
}

fn parse_page_server(text: &str) -> Result<(String, u16)> {
    let parsed = text.rsplit_once(':').and_then(|(address, port)| {
        let port = args::checked_number(port).and_then(|port| u16::try_from(port).ok())?;
        let address = address.trim_start_matches('[').trim_end_matches(']');
        (!address.is_empty() && port != 0).then(|| (address.to_owned(), port))
    });
    parsed.ok_or_else(|| Error::invalid("--page-server", format!("`{text}` is not ADDRESS:PORT")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_server_has_an_address_and_a_port() {
        assert_eq!(parse_page_server("0.0.0.0:27277").expect("legal"), ("0.0.0.0".to_owned(), 27277));
        assert_eq!(parse_page_server("[::1]:1").expect("legal"), ("::1".to_owned(), 1));
        for text in ["", ":", "1.2.3.4", "1.2.3.4:", ":7", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:-1"] {
            assert!(parse_page_server(text).is_err(), "{text:?}");
        }
    }
}
