//! Where images are beside registries: `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE` and `dir:DIR`
//! (containers-transports(5)).

use std::path::PathBuf;

use image::archive::{Form, SaveForm};

/// A place with images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transport {
    kind: Kind,
    /// The directory or the file.
    pub(super) path: PathBuf,
    /// Which image there.
    pub(super) reference: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Oci,
    OciArchive,
    DockerArchive,
    Directory,
}

impl Transport {
    /// Reads one; none where the text does not begin as one.
    pub fn parse(text: &str) -> Option<Transport> {
        let (kind, rest) = match text.split_once(':')? {
            ("oci", rest) => (Kind::Oci, rest),
            ("oci-archive", rest) => (Kind::OciArchive, rest),
            ("docker-archive", rest) => (Kind::DockerArchive, rest),
            ("dir", rest) => (Kind::Directory, rest),
            _ => return None,
        };
        // No path of these has a colon; a directory of one image has no names.
        let (path, reference) = match rest.split_once(':') {
            Some((path, reference)) if kind != Kind::Directory => (path, Some(reference.to_owned())),
            _ => (rest, None),
        };
        let reference = reference.filter(|reference| !reference.is_empty());
        Some(Transport { kind, path: PathBuf::from(path), reference })
    }

    /// How images there are written.
    pub(super) fn form(&self) -> Form {
        match self.kind {
            Kind::Oci | Kind::OciArchive => Form::Oci,
            Kind::DockerArchive => Form::Docker,
            Kind::Directory => Form::Directory,
        }
    }

    /// How images are written there.
    pub(super) fn layout(&self) -> SaveLayout {
        match self.kind {
            Kind::Oci => SaveLayout::OciDirectory,
            Kind::OciArchive => SaveLayout::OciArchive,
            Kind::DockerArchive => SaveLayout::DockerArchive,
            Kind::Directory => SaveLayout::Directory,
        }
    }
}

/// The forms of `--format` of `save`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveLayout {
    /// `docker-archive`
    DockerArchive,
    /// `oci-archive`
    OciArchive,
    /// `oci-archive --uncompressed`
    PlainOciArchive,
    /// `oci-dir`
    OciDirectory,
    /// `oci-dir --uncompressed`
    PlainOciDirectory,
    /// `docker-dir`
    Directory,
}

impl SaveLayout {
    /// Whether it is a directory.
    pub(super) fn is_directory(self) -> bool {
        matches!(self, SaveLayout::OciDirectory | SaveLayout::PlainOciDirectory | SaveLayout::Directory)
    }

    pub(super) fn form(self) -> SaveForm {
        match self {
            SaveLayout::DockerArchive => SaveForm::Docker,
            SaveLayout::OciArchive | SaveLayout::OciDirectory => SaveForm::Oci,
            SaveLayout::PlainOciArchive | SaveLayout::PlainOciDirectory => SaveForm::OciPlain,
            SaveLayout::Directory => SaveForm::Directory,
        }
    }

    /// The same with layers that are not compressed; none where it has no such form.
    pub fn uncompressed(self) -> Option<SaveLayout> {
        match self {
            // It has no others.
            SaveLayout::DockerArchive => Some(self),
            SaveLayout::OciArchive | SaveLayout::PlainOciArchive => Some(SaveLayout::PlainOciArchive),
            SaveLayout::OciDirectory | SaveLayout::PlainOciDirectory => Some(SaveLayout::PlainOciDirectory),
            SaveLayout::Directory => None,
        }
    }
}
