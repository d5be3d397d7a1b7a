//! The image, as typed: when it is fetched, and how.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use engine::{Error, Result};

use crate::images::FetchArguments;

/// The image.
#[derive(Debug, Args)]
#[command(next_help_heading = "Image")]
pub(crate) struct ImageArguments {
    /// When to fetch the image: where it is missing, always, where its registry has a newer one, or never
    #[arg(long, value_name = "WHEN", default_value = "missing", hide_default_value = true)]
    pub(crate) pull: Policy,
    /// Don't show how far the fetching is
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) fetch: FetchArguments,
    /// Directory that images are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) root: Option<PathBuf>,
}

/// When an image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    #[value(alias = "ifnotpresent")]
    Missing,
    Always,
    #[value(alias = "ifnewer")]
    Newer,
    Never,
}

impl ImageArguments {
    /// Refuses what is about fetching where there is nothing to fetch; `rootfs` says whether a root is given.
    pub(super) fn check_none(&self, rootfs: Option<&PathBuf>) -> Result<()> {
        let flag = match self.pull {
            Policy::Always | Policy::Newer => Some("--pull"),
            Policy::Missing | Policy::Never => self.fetch.first_given(),
        };
        let Some(flag) = flag else { return Ok(()) };
        let error = Error::invalid(flag, "there is no image to fetch".to_owned());
        Err(error.with_hint(match rootfs {
            Some(_) => "leave it out, or name an image in the place of `--rootfs`",
            None => "leave it out, or name an image: `rabbitc run IMAGE`",
        }))
    }
}
