//! Arguments of the verbs of images, as typed.

use std::path::PathBuf;

use clap::{ArgAction, Parser};

/// One of the verbs.
pub(crate) enum ImageCommand {
    Pull(PullArguments),
    List(ListArguments),
    Remove(RemoveArguments),
}

/// Fetches images from registries.
#[derive(Debug, Parser)]
#[command(name = "rabbitc pull", max_term_width = 100)]
pub(crate) struct PullArguments {
    /// Names of images: `alpine`, `registry.example/team/app:v1`, `alpine@sha256:…`
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) names: Vec<String>,
    /// Say nothing but the digest
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// For which machine: `linux/amd64`, `linux/arm/v7` [default: this one]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<String>,
    /// Name and password for the registry, in the place of what `docker login` or `podman login` wrote
    #[arg(long, value_name = "USER:PASSWORD")]
    pub(crate) creds: Option<String>,
    /// A file with credentials, as those two write it
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// Whether the registry must speak TLS, with a certificate that this host trusts [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = ArgAction::Set)]
    pub(crate) tls_verify: Option<bool>,
    /// Directory that the images are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
}

/// Lists the images that are here.
#[derive(Debug, Parser)]
#[command(name = "rabbitc images", max_term_width = 100)]
pub(crate) struct ListArguments {
    /// Only those of this repository, or of this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: Option<String>,
    /// Ids alone
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Digests, too
    #[arg(long)]
    pub(crate) digests: bool,
    /// Whole ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// `json`, or a line for each such as `{{.Repository}}:{{.Tag}} {{.ID}}`; of Digest, CreatedSince, CreatedAt and Size too
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Directory that the images are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
}

/// Removes names of images, and with its last name the image.
#[derive(Debug, Parser)]
#[command(name = "rabbitc rmi", max_term_width = 100)]
pub(crate) struct RemoveArguments {
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) names: Vec<String>,
    /// With all of its names; and nothing is wrong with a name that is not there
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Directory that the images are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
}
