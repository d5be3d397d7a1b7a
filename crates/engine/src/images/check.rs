//! Checking what is kept, and bringing again what is damaged.

use std::io::Read;
use std::sync::OnceLock;

use image::documents::{Descriptor, MOST_CONFIG_BYTES, MOST_MANIFEST_BYTES, Platform};
use image::registry::Remote;
use image::store::{Damage, Depth, Image, Part, PullOptions, Silent, Source, Store};
use image::{Digest, Reference};

use super::ImageStore;
use super::registries::{Registries, RegistryAccess};
use super::unpack::Apart;
use crate::error::{Error, Result, from_image};

/// How closely images are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckDepth {
    /// Whether each blob is there, by its size, and each layer, whatever is in it.
    Sizes,
    /// Every byte.
    Bytes,
}

/// What is to be done about damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Nothing.
    No,
    /// What is damaged is brought again.
    Yes,
}

/// A part of an image that is not what it should be.
#[derive(Debug)]
pub struct Damaged {
    /// Blob or layer, by its digest; or a document, by its path in the store.
    pub part: String,
    /// What is wrong with it.
    pub what: String,
    /// The images that need it, by their names, or ids where they have none.
    pub images: Vec<String>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a damaged part.
#[derive(Debug)]
pub enum Outcome {
    /// It was left as it is.
    Left,
    /// It is whole again.
    Repaired,
    /// It could not be brought again.
    Failed(Error),
}

impl ImageStore {
    /// Looks at all that images consist of, and repairs it. `access` says how registries are spoken to; `told` hears how many
    /// parts of how many were looked at.
    pub fn check(
        &self,
        depth: CheckDepth,
        repair: Repair,
        access: &RegistryAccess,
        told: &dyn Fn(usize, usize),
    ) -> Result<Vec<Damaged>> {
        self.heal_mounts()?;
        let depth = match depth {
            CheckDepth::Sizes => Depth::Sizes,
            CheckDepth::Bytes => Depth::Bytes,
        };
        let found = self.store.check(depth, &Apart, told).map_err(from_image)?;
        // Documents first: what a part is for is read from them. Then blobs: layers are unpacked from them.
        found.iter().map(|damage| self.damaged(damage, repair, access)).collect()
    }

    fn damaged(&self, damage: &Damage, repair: Repair, access: &RegistryAccess) -> Result<Damaged> {
        let names = self.store.readable_names().map_err(from_image)?;
        let name_of = |image: &Image| {
            let name = names.iter().find(|name| name.manifest == image.manifest);
            name.map_or_else(|| image.id.short().to_owned(), |name| name.reference.to_string())
        };
        let outcome = match repair {
            Repair::No => Outcome::Left,
            Repair::Yes => {
                let mend = &mut |image: &Image| {
                    let reference = names.iter().find(|name| name.manifest == image.manifest);
                    self.bring_again(image, reference.map(|name| &name.reference), access)
                };
                match self.store.mend(damage, mend) {
                    Ok(()) => Outcome::Repaired,
                    Err(error) => Outcome::Failed(from_image(error)),
                }
            }
        };
        let part = match &damage.part {
            Part::Blob(digest) => format!("blob {digest}"),
            Part::Layer(digest) => format!("layer {digest}"),
            Part::Document(path) => format!("document {}", path.display()),
        };
        let lists = damage.lists.iter().map(Reference::to_string);
        let images = damage.images.iter().map(name_of).chain(lists).collect();
        Ok(Damaged { part, what: damage.what.clone(), images, outcome })
    }

    /// Pulls what is missing of an image, by its digest: from the store itself where it has it.
    fn bring_again(
        &self,
        image: &Image,
        name: Option<&Reference>,
        access: &RegistryAccess,
    ) -> image::Result<()> {
        let operation = format!("repair the image `{}`", image.id.short());
        let source =
            Again { store: &self.store, image, name, access, operation: &operation, remote: OnceLock::new() };
        let platform = Platform::of_this_machine();
        let options =
            PullOptions { platform: &platform, unpacker: &Apart, progress: &Silent, operation: &operation };
        self.store.pull(&source, options).map(drop)
    }
}

/// An image that is here in part, and whose rest a registry has.
struct Again<'a> {
    store: &'a Store,
    image: &'a Image,
    name: Option<&'a Reference>,
    access: &'a RegistryAccess,
    operation: &'a str,
    remote: OnceLock<Remote>,
}

impl Again<'_> {
    fn kept(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.store.read_blob(digest, MOST_CONFIG_BYTES.max(MOST_MANIFEST_BYTES)).ok()
    }

    fn remote(&self) -> image::Result<&Remote> {
        if let Some(remote) = self.remote.get() {
            return Ok(remote);
        }
        let Some(name) = self.name else {
            let reason = "it has no name, so that no registry can be asked for what is missing";
            let error = image::Error::new(image::Kind::NotFound, self.operation, reason);
            return Err(error.with_hint("remove it by its id, and load it again from where it came"));
        };
        let digest = Some(self.image.manifest.clone());
        let reference = Reference { tag: None, digest, ..name.clone() };
        let remote = Registries::new(self.access)?.remote(&reference)?;
        Ok(self.remote.get_or_init(|| remote))
    }
}

impl Source for Again<'_> {
    fn named(&self) -> image::Result<(Vec<u8>, Option<String>)> {
        match self.kept(&self.image.manifest) {
            Some(text) => Ok((text, None)),
            None => self.remote()?.named(),
        }
    }

    fn document(&self, descriptor: &Descriptor) -> image::Result<Vec<u8>> {
        match self.kept(&descriptor.digest) {
            Some(text) => Ok(text),
            None => self.remote()?.document(descriptor),
        }
    }

    fn blob(&self, descriptor: &Descriptor) -> image::Result<Box<dyn Read + Send + '_>> {
        self.remote()?.blob(descriptor)
    }
}
