//! `rabbitc tag`, `untag` and `image exists`: names, and whether they stand for something.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use engine::{ImageName, Result};

use super::registries::{open_to_change, open_to_read};
use super::{failed, parse_names};
use crate::manner::own_name;

/// Gives an image further names.
#[derive(Debug, Parser)]
#[command(name = "rabbitc tag", max_term_width = 100)]
pub(crate) struct TagArguments {
    /// Its name or id
    #[arg(value_name = "IMAGE")]
    source: String,
    /// What it is to be called as well: `app:v1`, `registry.example/team/app:v1`
    #[arg(required = true, value_name = "NAME")]
    targets: Vec<String>,
    /// Directory that the images are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// Takes names of an image away; the image stays.
#[derive(Debug, Parser)]
#[command(name = "rabbitc untag", max_term_width = 100)]
pub(crate) struct UntagArguments {
    /// Its name or id
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Which names of it [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Directory that the images are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// Exits with 0 if the image is here, and with 1 if not.
#[derive(Debug, Parser)]
#[command(name = "rabbitc image exists", max_term_width = 100)]
pub(crate) struct ExistsArguments {
    /// Its name or id
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Directory that the images are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

pub(super) fn tag(arguments: &TagArguments) -> Result<()> {
    let source: ImageName = arguments.source.parse()?;
    let targets: Vec<String> = arguments.targets.iter().map(|name| own_name(name)).collect();
    let targets = parse_names(&targets)?;
    open_to_change(arguments.root.as_deref())?.tag(&source, &targets)
}

pub(super) fn untag(arguments: &UntagArguments) -> Result<()> {
    let image: ImageName = arguments.image.parse()?;
    let names = parse_names(&arguments.names)?;
    open_to_change(arguments.root.as_deref())?.untag(&image, &names).map(drop)
}

pub(super) fn exists(arguments: &ExistsArguments) -> ExitCode {
    let found = arguments
        .image
        .parse()
        .and_then(|name: ImageName| open_to_read(arguments.root.as_deref())?.exists(&name));
    match found {
        Ok(is_here) => ExitCode::from(u8::from(!is_here)),
        Err(error) => failed(&error),
    }
}
