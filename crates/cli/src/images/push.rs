//! `rabbitc push`.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use engine::{Error, ImageName, ImageStore, ManifestForm, PushRequest, Result, Transport};

use super::print;
use super::progress::{Quiet, Shown};
use super::registries::{AccessArguments, open_to_read};

/// Sends an image to a registry: what it has already is not sent again.
#[derive(Debug, Parser)]
#[command(name = "rabbitc push", max_term_width = 100)]
pub(crate) struct PushArguments {
    /// Name or id of an image
    #[arg(required = true, value_name = "IMAGE")]
    name: String,
    /// The name that it is to have in the registry; also `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`, `dir:DIR`, as
    /// with `rabbitc save` [default: its own name]
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
    /// All tags of the repository
    #[arg(short, long, conflicts_with_all = ["destination", "digestfile"])]
    all_tags: bool,
    /// Say nothing but the name
    #[arg(short, long)]
    quiet: bool,
    /// Write the digest that it has in the registry into this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// In whose words its manifest is to be: OCI's or Docker's; in others than its own, its digest changes [default: its own]
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
    #[command(flatten)]
    access: AccessArguments,
    /// Directory that the images are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// Forms of a manifest, by podman's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Oci,
    #[value(alias = "docker")]
    V2s2,
}

impl From<Format> for ManifestForm {
    fn from(format: Format) -> ManifestForm {
        match format {
            Format::Oci => ManifestForm::Oci,
            Format::V2s2 => ManifestForm::Docker,
        }
    }
}

pub(super) fn push(arguments: &PushArguments) -> Result<()> {
    let name: ImageName = arguments.name.parse()?;
    let images = open_to_read(arguments.root.as_deref())?;
    if let Some(place) = arguments.destination.as_deref().and_then(Transport::parse) {
        return images.save(&[name], place.into());
    }
    let all = match arguments.all_tags {
        true => images.tags_to_push(&name)?,
        false => vec![name],
    };
    let mut said = None;
    for name in all {
        said = Some(push_one(&images, name, arguments, said)?);
    }
    Ok(())
}

/// Pushes one name; the repository that it said it would push to, once for all tags. What it says is docker's: `TAG: digest:
/// DIGEST size: BYTES` is what scripts look for.
fn push_one(
    images: &ImageStore,
    name: ImageName,
    arguments: &PushArguments,
    said: Option<String>,
) -> Result<String> {
    let request = PushRequest {
        name,
        destination: arguments.destination.clone(),
        form: arguments.format.map(ManifestForm::from),
        access: arguments.access.access()?,
    };
    let push = images.push(&request)?;
    let (destination, repository) = (push.destination(), push.repository());
    if !arguments.quiet && said.as_ref() != Some(&repository) {
        print(&format!("The push refers to repository [{repository}]\n"))?;
    }
    let pushed = match !arguments.quiet && std::io::stderr().is_terminal() {
        true => push.send(&Shown::new(&destination)),
        false => push.send(&Quiet),
    }?;
    if let Some(file) = &arguments.digestfile {
        std::fs::write(file, &pushed.digest).map_err(|error| Error::at_path("write", file, error))?;
    }
    match arguments.quiet {
        true => print(&format!("{destination}\n")),
        false => print(&format!("{}: digest: {} size: {}\n", push.tag(), pushed.digest, pushed.size)),
    }?;
    Ok(repository)
}
