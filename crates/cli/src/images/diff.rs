//! `rabbitc image diff`: what an image's topmost layer changes.

use std::path::PathBuf;

use clap::Parser;
use engine::{ImageName, Result};

use super::registries::open_to_change;
use crate::kept::{Format, show_changes};

/// Shows what the topmost layer of an image has added (A), changed (C) and deleted (D) of those below it.
#[derive(Debug, Parser)]
#[command(name = "rabbitc image diff", max_term_width = 100)]
pub(crate) struct DiffArguments {
    /// Its name or id
    #[arg(value_name = "IMAGE")]
    image: String,
    /// `table`, or `json`
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Directory that the images are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

pub(super) fn diff(arguments: &DiffArguments) -> Result<()> {
    let name: ImageName = arguments.image.parse()?;
    // Files of the user's other ids are looked at as root of these.
    let changes = open_to_change(arguments.root.as_deref())?.changes(&name)?;
    show_changes(&changes, arguments.format)
}
