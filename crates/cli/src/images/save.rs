//! `rabbitc save`: images to archives and directories.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use engine::{Error, Result, SaveLayout, SaveTo, Transport};

use super::parse_names;
use super::registries::open_to_read;

/// Saves images as one archive, or in a directory.
#[derive(Debug, Parser)]
#[command(name = "rabbitc save", max_term_width = 100)]
pub(crate) struct SaveArguments {
    /// Their names, which go with them, or ids
    #[arg(required = true, value_name = "IMAGE")]
    names: Vec<String>,
    /// Where to: a file, or a directory that does not exist yet; also `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`,
    /// `dir:DIR` [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// How it is written
    #[arg(long, value_name = "FORMAT", default_value = "docker-archive")]
    format: SaveFormat,
    /// Several images in one archive, as always
    #[arg(short, long)]
    multi_image_archive: bool,
    /// With layers that are not compressed, and so with another digest of the manifest: of `oci-archive` and `oci-dir`
    #[arg(long)]
    uncompressed: bool,
    /// Say nothing, as always
    #[arg(short, long)]
    quiet: bool,
    /// Directory that the images are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// Forms of an archive, by podman's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SaveFormat {
    DockerArchive,
    OciArchive,
    OciDir,
    DockerDir,
}

impl SaveFormat {
    fn layout(self) -> SaveLayout {
        match self {
            SaveFormat::DockerArchive => SaveLayout::DockerArchive,
            SaveFormat::OciArchive => SaveLayout::OciArchive,
            SaveFormat::OciDir => SaveLayout::OciDirectory,
            SaveFormat::DockerDir => SaveLayout::Directory,
        }
    }
}

pub(super) fn save(arguments: &SaveArguments) -> Result<()> {
    let names = parse_names(&arguments.names)?;
    let mut layout = arguments.format.layout();
    if arguments.uncompressed {
        layout = layout.uncompressed().ok_or_else(|| {
            let error = Error::invalid("--uncompressed", "`docker-dir` has layers as they came".to_owned());
            error.with_hint("write `--format=oci-dir`")
        })?;
    }
    let to = match arguments.output.as_deref() {
        None | Some("" | "-") => SaveTo::Output(standard_output()?, layout),
        Some(text) => match Transport::parse(text) {
            Some(place) => place.into(),
            None => SaveTo::Path(text.into(), layout),
        },
    };
    open_to_read(arguments.root.as_deref())?.save(&names, to)
}

fn standard_output() -> Result<File> {
    let output = std::io::stdout();
    if output.is_terminal() {
        let error = Error::invalid("rabbitc save", "standard output is a terminal".to_owned());
        return Err(error.with_hint("name a file with `--output`, or redirect with `>`"));
    }
    let copied = output.as_fd().try_clone_to_owned();
    copied.map(File::from).map_err(|error| Error::system("write to standard output", error))
}
