//! Whether all that images refer to is there and is what it was. What is damaged is taken away, so that the next pull brings it
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;

use super::images::remove;
use super::layers::remove_tree;
use super::pull::{PullOptions, Silent};
use super::{Image, Layer, List, Name, Store, Unpacker, entries, lists, read_json};
use crate::compare::difference;
use crate::digest::{Digest, Digester};
use crate::documents::{Descriptor, Platform};
use crate::error::{Error, Kind, Result};
use crate::reference::Reference;

/// How much is read at a time.
const CHUNK: usize = 128 << 10;
/// The directory of what images consist of.
const IMAGES: &str = "images";

/// How closely it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Whether it is there, and of what size a blob is.
    Sizes,
    /// Every byte: blobs by their digests, layers by unpacking them once more.
    Bytes,
}

/// A part of the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A blob.
    Blob(Digest),
    /// A layer, by the digest of its archive before compression.
    Layer(Digest),
    /// What is known of an image, a name or a list: a file, by its path in the store.
    Document(PathBuf),
}

/// A part that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The part.
    pub part: Part,
    /// What is wrong with it.
    pub what: String,
    /// The images that need it.
    pub images: Vec<Image>,
    /// The lists that need it.
    pub lists: Vec<Reference>,
}

impl Store {
    /// Looks at all that images refer to. `told` hears how many parts of how many were looked at.
    pub fn check(
        &self,
        depth: Depth,
        unpacker: &dyn Unpacker,
        told: &dyn Fn(usize, usize),
    ) -> Result<Vec<Damage>> {
        let Readable { images, names, lists, damaged: mut found } = self.readable()?;
        let (mut blobs, mut layers) = (BTreeMap::new(), BTreeMap::new());
        for image in &images {
            let own = [(&image.id, None), (&image.manifest, None)];
            let of_layers = image.layers.iter().map(|layer| (&layer.blob, Some(layer.compressed)));
            blobs.extend(own.into_iter().chain(of_layers));
            layers.extend(image.layers.iter().map(|layer| (&layer.diff_id, layer)));
        }
        let of_images: BTreeSet<&Digest> = images.iter().map(|image| &image.manifest).collect();
        let indexes =
            names.iter().filter(|name| of_images.contains(&name.manifest)).flat_map(|name| &name.digests);
        // Nothing needs an index once its image is here, so that it may be missing.
        for digest in indexes.filter(|digest| self.has_blob(digest)) {
            blobs.entry(digest).or_insert(None);
        }
        // What can't be read of them is what is looked for.
        let of_list = |list: List| Ok((list.reference.clone(), self.blobs_of_list(&list, |_| true)?));
        let of_lists: Vec<(Reference, BTreeSet<Digest>)> =
            lists.into_iter().map(of_list).collect::<Result<_>>()?;
        for digest in of_lists.iter().flat_map(|(_, needed)| needed) {
            blobs.entry(digest).or_insert(None);
        }
        let all = blobs.len() + layers.len();
        for (number, (digest, size)) in blobs.iter().enumerate() {
            told(number, all);
            let what = self.blob_damage(digest, *size, depth)?;
            found.extend(what.map(|what| (Part::Blob((*digest).clone()), what)));
        }
        for (number, layer) in layers.values().enumerate() {
            told(blobs.len() + number, all);
            let is_readable = !found.iter().any(|(part, _)| *part == Part::Blob(layer.blob.clone()));
            let depth = if is_readable { depth } else { Depth::Sizes };
            let what = self.layer_damage(layer, depth, unpacker)?;
            found.extend(what.map(|what| (Part::Layer(layer.diff_id.clone()), what)));
        }
        told(all, all);
        let damage = |(part, what): (Part, String)| {
            let images = match &part {
                Part::Document(path) => self.image_of_document(path).into_iter().collect(),
                _ => images.iter().filter(|image| needs(image, &names, &part)).cloned().collect(),
            };
            let is_needed = |(_, needed): &&(Reference, BTreeSet<Digest>)| match &part {
                Part::Blob(digest) => needed.contains(digest),
                Part::Layer(_) | Part::Document(_) => false,
            };
            let lists = of_lists.iter().filter(is_needed).map(|(name, _)| name.clone()).collect();
            Damage { part, what, images, lists }
        };
        Ok(found.into_iter().map(damage).collect())
    }

    /// The names whose documents can be read, for whoever looks for damage.
    pub fn readable_names(&self) -> Result<Vec<Name>> {
        Ok(self.readable()?.names)
    }

    fn readable(&self) -> Result<Readable> {
        let mut damaged = Vec::new();
        Ok(Readable {
            images: self.readable_in(IMAGES, "", &mut damaged)?,
            names: self.readable_in("names", ", so that a name is lost", &mut damaged)?,
            lists: self.readable_in(lists::DIRECTORY, ", so that a list is lost", &mut damaged)?,
            damaged,
        })
    }

    fn readable_in<T: DeserializeOwned>(
        &self,
        directory: &str,
        so: &str,
        damaged: &mut Vec<(Part, String)>,
    ) -> Result<Vec<T>> {
        let mut readable = Vec::new();
        for name in entries(&self.path.join(directory))? {
            let path = Path::new(directory).join(name);
            match read_json(&self.path.join(&path)) {
                Ok(document) => readable.extend(document),
                Err(error) if error.kind == Kind::Corrupt => {
                    damaged.push((Part::Document(path), format!("it can't be read{so}: {}", error.reason)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(readable)
    }

    /// What can be told of an image whose document is damaged: its file's name is the digest of its manifest.
    fn image_of_document(&self, path: &Path) -> Option<Image> {
        let digits = path.strip_prefix(IMAGES).ok()?.to_str()?;
        let algorithm = if digits.len() == 64 { "sha256" } else { "sha512" };
        let manifest: Digest = format!("{algorithm}:{digits}").parse().ok()?;
        let mut image =
            Image { id: manifest.clone(), manifest, layers: Vec::new(), created: None, stored: 0 };
        // Without its manifest it is known by its name at most.
        if let Ok((manifest, _)) = self.manifest(&image) {
            image.id = manifest.config.digest;
        }
        Some(image)
    }

    fn blob_damage(&self, digest: &Digest, size: Option<u64>, depth: Depth) -> Result<Option<String>> {
        let path = self.blob_path(digest);
        let failed = |error: std::io::Error| Error::at_path("read", &path, error);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Some("it is missing".to_owned()));
            }
            Err(error) => return Err(failed(error)),
        };
        let is = file.metadata().map_err(failed)?.len();
        if let Some(size) = size.filter(|size| *size != is) {
            return Ok(Some(format!("it has {is} bytes, and had {size}")));
        }
        if depth == Depth::Sizes {
            return Ok(None);
        }
        let mut digester = Digester::new(digest.algorithm());
        let mut buffer = vec![0; CHUNK];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => digester.update(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // A disk that can't read it any more.
                Err(error) => return Ok(Some(failed(error).to_string())),
            }
        }
        let is_same = digester.finish() == *digest;
        Ok((!is_same).then(|| "its bytes are not what its digest says".to_owned()))
    }

    fn layer_damage(&self, layer: &Layer, depth: Depth, unpacker: &dyn Unpacker) -> Result<Option<String>> {
        if !self.has_layer(&layer.diff_id) {
            return Ok(Some("it is missing".to_owned()));
        }
        if self.layer_of(&layer.diff_id, &layer.blob)?.is_none() {
            return Ok(Some("what is known of it is missing, or can't be read".to_owned()));
        }
        if depth == Depth::Sizes {
            return Ok(None);
        }
        let path = self.blob_path(&layer.blob);
        let mut blob = File::open(&path).map_err(|error| Error::at_path("open", &path, error))?;
        let descriptor = Descriptor {
            media_type: String::new(),
            digest: layer.blob.clone(),
            size: layer.compressed,
            urls: None,
            annotations: None,
            platform: None,
        };
        let platform = Platform::of_this_machine();
        let operation = "check the images";
        let options = PullOptions { platform: &platform, unpacker, progress: &Silent, operation };
        let fresh = match self.unpack(&mut blob, None, &descriptor, &layer.diff_id, 0, options) {
            Ok((fresh, _)) => fresh,
            Err(error) if error.kind == Kind::Corrupt => return Ok(Some(error.reason)),
            Err(error) => return Err(error),
        };
        let tree = self.layer_path(&layer.diff_id);
        let kept = File::open(&tree).map_err(|error| Error::at_path("open", &tree, error))?;
        let differs = difference(fresh.tree.as_fd(), kept.as_fd());
        differs.map_err(|error| Error::at_path("compare", &tree, error))
    }

    /// Takes what is damaged away while no container is of an image that needs it and none of those is mounted, and has `mend`
    /// bring it again; containers that begin meanwhile wait. Where that fails it is put back.
    pub fn mend(&self, damage: &Damage, mend: &mut dyn FnMut(&Image) -> Result<()>) -> Result<()> {
        let (path, operation) = match &damage.part {
            Part::Blob(digest) => (self.blob_path(digest), format!("repair the blob `{digest}`")),
            Part::Layer(digest) => (self.layer_directory(digest), format!("repair the layer `{digest}`")),
            Part::Document(path) => {
                (self.path.join(path), format!("repair the document `{}`", path.display()))
            }
        };
        let changing = self.change()?;
        // Others may have brought images since it was found, as it takes long to read everything. Whoever keeps one from now on looks
        // whether all of it is there.
        let images: Vec<Image> = match &damage.part {
            // Somebody has written it anew.
            Part::Document(_) if self.readable()?.damaged.iter().all(|(part, _)| *part != damage.part) => {
                return Ok(());
            }
            Part::Document(_) => damage.images.clone(),
            part => {
                let names = self.names()?;
                self.images()?.into_values().filter(|image| needs(image, &names, part)).collect()
            }
        };
        if images.is_empty() && !damage.lists.is_empty() {
            let error = Error::new(Kind::NotFound, operation, "no image that is here has it, only a list");
            return Err(error.with_hint("remove the list with `rabbitc manifest rm`, and make it anew"));
        }
        let seized = images.iter().map(|image| {
            self.refuse_mounted(image, &operation)?;
            self.seize(image, &operation)
        });
        let _seized = seized.collect::<Result<Vec<_>>>()?;
        let aside = self.put_aside(&path)?;
        drop(changing);
        let mended = images.iter().try_for_each(mend);
        let Some(aside) = aside else { return mended };
        let mended = mended.map_err(|mut cause| {
            // Most of it may be good, and without it nothing starts. What has come anew stays.
            match rustix::fs::renameat_with(CWD, &aside, CWD, &path, RenameFlags::NOREPLACE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => {
                    let error = Error::at_path("put back", &path, error);
                    cause.reason = format!("{}; and {error}", cause.reason);
                }
            }
            cause
        });
        let removed = match &damage.part {
            Part::Layer(_) => remove_tree(&aside),
            Part::Blob(_) | Part::Document(_) => remove(&aside).map(drop),
        };
        mended.and(removed)
    }

    fn refuse_mounted(&self, image: &Image, operation: &str) -> Result<()> {
        let Some(mounted) = self.mount_of(image)? else { return Ok(()) };
        let reason = format!("its image is mounted at `{}`", mounted.path.display());
        let error = Error::new(Kind::InUse, operation, reason);
        Err(error.with_hint("unmount it with `rabbitc image unmount` first"))
    }
}

/// The documents that can be read, and those that are damaged.
struct Readable {
    images: Vec<Image>,
    names: Vec<Name>,
    lists: Vec<List>,
    damaged: Vec<(Part, String)>,
}

/// Whether an image consists of a blob or a layer.
fn needs(image: &Image, names: &[Name], part: &Part) -> bool {
    match part {
        Part::Layer(diff_id) => image.layers.iter().any(|layer| layer.diff_id == *diff_id),
        Part::Blob(digest) => {
            let of_index = |name: &Name| name.manifest == image.manifest && name.digests.contains(digest);
            image.id == *digest
                || image.manifest == *digest
                || image.layers.iter().any(|layer| layer.blob == *digest)
                || names.iter().any(of_index)
        }
        Part::Document(_) => false,
    }
}
