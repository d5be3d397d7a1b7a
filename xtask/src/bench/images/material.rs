//! The images that are measured with, and the registry that serves them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::daemon::Daemon;
use crate::process::{self, Failure, Naming, Result};

const SCRIPT: &str = include_str!("material.sh");

/// The registry's address.
const ADDRESS: &str = "127.0.0.1:5000";

/// An image to be pulled.
#[derive(Clone, Copy)]
pub struct Image {
    /// Its repository.
    pub name: &'static str,
    /// How many layers it has.
    pub layers: &'static str,
    /// The most that rabbitc may take of podman's time for it.
    pub goal: f64,
}

/// The same files in a few layers and in many.
pub const IMAGES: [Image; 2] = [
    Image { name: "three", layers: "three", goal: 1.0 / 2.0 },
    Image { name: "thirty", layers: "thirty", goal: 1.0 / 3.0 },
];

/// An image that is run: that of three layers, by its whole name.
pub fn to_be_run() -> String {
    IMAGES[0].whole_name()
}

impl Image {
    /// As registries and engines name it.
    pub fn whole_name(self) -> String {
        format!("{ADDRESS}/{}:1", self.name)
    }
}

/// What an image consists of.
#[derive(Clone, Copy)]
pub struct Size {
    /// Bytes of its archives before compression.
    pub bytes: u64,
    /// Bytes of its archives.
    pub compressed: u64,
    /// Files in it.
    pub files: u64,
}

/// All images, in a directory.
pub struct Material {
    directory: PathBuf,
    many: usize,
}

impl Material {
    /// Makes them; `many` is the number of those that are listed.
    pub fn make(directory: &Path, many: usize) -> Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "material"]).arg(directory).arg(many.to_string());
        process::read(&mut command)?;
        Ok(Self { directory: directory.to_owned(), many })
    }

    /// Starts the registry.
    pub fn serve(&self) -> Result<Daemon> {
        let configuration = self.directory.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {ADDRESS}}}\n",
            self.directory.join("registry").display()
        );
        std::fs::write(&configuration, text).naming(format_args!("write `{}`", configuration.display()))?;
        let mut command = Command::new("docker-registry");
        let mut registry =
            Daemon::start("docker-registry", command.arg("serve").arg(configuration), &self.directory)?;
        registry.wait_for(|| {
            let mut question = Command::new("curl");
            question.args(["--fail", &format!("http://{ADDRESS}/v2/")]);
            question
        })?;
        Ok(registry)
    }

    /// A file with the digits of the digests of an image's layers, one a line.
    pub fn layers(&self, image: Image) -> PathBuf {
        self.directory.join(format!("layers-{}", image.name))
    }

    /// Where the layers come from, up to the digits.
    pub fn layer_address(image: Image) -> String {
        format!("http://{ADDRESS}/v2/{}/blobs/sha256:", image.name)
    }

    pub fn size(&self, image: Image) -> Result<Size> {
        let path = self.directory.join(format!("size-{}", image.name));
        let text = std::fs::read_to_string(&path).naming(format_args!("read `{}`", path.display()))?;
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [bytes, compressed, files] => Ok(Size { bytes, compressed, files }),
            _ => Err(Failure::new(format!("`{}` has no three numbers", path.display()))),
        }
    }

    /// The image that is run, in docker's own form.
    pub fn archive_to_be_run(&self) -> PathBuf {
        self.directory.join("three.tar")
    }

    /// The names of the images that are listed.
    pub fn many(&self) -> impl Iterator<Item = String> {
        (1..=self.many).map(|number| format!("{ADDRESS}/many:{number}"))
    }

    /// All of them in docker's own form.
    pub fn archive_of_many(&self) -> PathBuf {
        self.directory.join("many.tar")
    }
}
