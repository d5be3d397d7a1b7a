//! `rabbitc load`: images from archives and directories.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::Parser;
use engine::{Error, ImageStore, LoadFrom, Loaded, Result, Transport, is_address};

use super::print;
use super::progress::{Quiet, Shown};
use super::registries::access;

/// Loads images from an archive: of docker, of podman, or in OCI's layout, compressed or not.
#[derive(Debug, Parser)]
#[command(name = "rabbitc load", max_term_width = 100)]
pub(crate) struct LoadArguments {
    /// The archive, or its address (`https://…`), or a directory in OCI's layout or of `dir:`; also `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]`,
    /// `docker-archive:FILE[:NAME]`, `dir:DIR` [default: standard input]
    #[arg(short, long, value_name = "FILE")]
    input: Option<String>,
    /// Don't show how far it is
    #[arg(short, long)]
    quiet: bool,
    /// For which machine, where an image is for several [default: this one]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Directory that the images are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

pub(super) fn load(arguments: &LoadArguments) -> Result<()> {
    let images = ImageStore::open(arguments.root.as_deref())?;
    let from = match arguments.input.as_deref() {
        None | Some("" | "-") => LoadFrom::Input(standard_input("rabbitc load")?),
        Some(text) if is_address(text) => LoadFrom::Input(images.fetch(text, &access(None))?),
        Some(text) => match Transport::parse(text) {
            Some(place) => LoadFrom::Transport(place),
            None => LoadFrom::Path(text.into()),
        },
    };
    let shown = arguments.input.as_deref().unwrap_or("-");
    let platform = arguments.platform.as_deref();
    let loaded = match !arguments.quiet && std::io::stderr().is_terminal() {
        true => images.load(from, platform, &Shown::new(shown)),
        false => images.load(from, platform, &Quiet),
    };
    print(&loaded?.iter().map(lines).collect::<String>())
}

fn lines(loaded: &Loaded) -> String {
    match loaded.names.is_empty() {
        true => format!("Loaded image ID: {}\n", loaded.id),
        false => loaded.names.iter().map(|name| format!("Loaded image: {name}\n")).collect(),
    }
}

/// What comes from others; nobody types an archive.
pub(super) fn standard_input(command: &str) -> Result<File> {
    let input = std::io::stdin();
    if input.is_terminal() {
        let error = Error::invalid(command, "standard input is a terminal".to_owned());
        return Err(error.with_hint("name a file, or redirect with `<`"));
    }
    let copied = input.as_fd().try_clone_to_owned();
    copied.map(File::from).map_err(|error| Error::system("read standard input", error))
}
