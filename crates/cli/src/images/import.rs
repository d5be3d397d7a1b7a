//! `rabbitc import`: an image of an archive of a root file system.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Parser;
use engine::{ImageChange, ImageStore, ImportRequest, Result, is_address};

use super::fetching::MachineArguments;
use super::load::standard_input;
use super::print;
use super::progress::{Quiet, Shown};
use super::registries::access;
use crate::manner::own_name;

/// Makes an image of a tar archive of a root file system, compressed with gzip or zstd or not.
#[derive(Debug, Parser)]
#[command(name = "rabbitc import", max_term_width = 100)]
pub(crate) struct ImportArguments {
    /// The archive, or its address (`https://…`); `-` is standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// What the image is to be called
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// What its containers are to be like, as in a Dockerfile: `CMD ["/bin/app"]`, `ENV NAME=VALUE`, `EXPOSE 80`
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A note for `rabbitc history`
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Don't show how far it is
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    machine: MachineArguments,
    /// Directory that the images are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

pub(super) fn import(arguments: &ImportArguments) -> Result<()> {
    let file = arguments.file.as_str();
    let changes: Vec<ImageChange> =
        arguments.change.iter().map(|change| change.parse()).collect::<Result<_>>()?;
    let name = arguments.name.as_deref().map(|name| own_name(name).parse()).transpose()?;
    let images = ImageStore::open(arguments.root.as_deref())?;
    let (path, input) = match file {
        address if is_address(address) => (None, Some(images.fetch(address, &access(None))?)),
        "-" => (None, Some(standard_input("rabbitc import")?)),
        file => (Some(PathBuf::from(file)), None),
    };
    let request = ImportRequest {
        path,
        input,
        name,
        changes,
        message: arguments
            .message
            .clone()
            .or_else(|| is_address(file).then(|| format!("Imported from {file}"))),
        platform: arguments.machine.platform()?,
    };
    let id = match !arguments.quiet && std::io::stderr().is_terminal() {
        true => images.import(request, &Shown::new(file)),
        false => images.import(request, &Quiet),
    };
    print(&format!("{}\n", id?))
}
