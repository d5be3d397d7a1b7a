//! Lists of images that are made here: an index among the blobs, and what is known of it beside that. What a list names stays
//! for it when nothing else needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::images::{file_of, now, remove};
use super::pull::document;
use super::{Source, Store, entries, make_directory, random_digits, read_json, write_json};
use crate::digest::Digest;
use crate::documents::{
    Descriptor, Document, Form, ImageConfig, Index, MOST_CONFIG_BYTES, MOST_MANIFEST_BYTES, Manifest,
    Platform, media_type,
};
use crate::error::{Error, Kind, Result};
use crate::reference::Reference;

/// The directory of their documents, which older stores lack.
pub(super) const DIRECTORY: &str = "lists";

/// A list of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// Its name.
    pub reference: Reference,
    /// 64 digits that stay the same, as the digest of the index changes with every image that is added.
    pub id: String,
    /// The digest of the index.
    pub index: Digest,
    /// Seconds since 1970 at which it was made.
    pub created: u64,
    /// By which names images were added, by the digests of their manifests: there is what is not here of them.
    pub sources: BTreeMap<Digest, Reference>,
}

/// Which images of a list or an index are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen<'a> {
    /// That for this machine.
    For(&'a Platform),
    /// All.
    All,
}

impl Store {
    /// All lists, sorted by their names.
    pub fn lists(&self) -> Result<Vec<List>> {
        let directory = self.path.join(DIRECTORY);
        let mut lists = Vec::new();
        for name in entries(&directory)? {
            lists.extend(read_json::<List>(&directory.join(name))?);
        }
        lists.sort_by(|one: &List, other| one.reference.cmp(&other.reference));
        Ok(lists)
    }

    /// The list of a name.
    pub fn list(&self, reference: &Reference) -> Result<Option<List>> {
        read_json(&self.path.join(DIRECTORY).join(file_of(reference)))
    }

    /// What a list lists.
    pub fn index(&self, list: &List) -> Result<Index> {
        let operation = format!("read the list `{}`", list.reference);
        let text = self.read_blob(&list.index, MOST_MANIFEST_BYTES)?;
        match Document::parse(&text, None, &operation)? {
            Document::Index(index) => Ok(index),
            Document::Manifest(_) => Err(Error::new(Kind::Corrupt, operation, "its index is a manifest")),
        }
    }

    /// Makes a list without images; one of this name that is there stays as it is, and nothing is returned. The name of an image is an
    /// error.
    pub fn make_list(&self, reference: &Reference) -> Result<Option<List>> {
        let _changing = self.change()?;
        if self.list(reference)?.is_some() {
            return Ok(None);
        }
        if self.named(reference)?.is_some() {
            let operation = format!("make the list `{reference}`");
            let error = Error::new(Kind::Invalid, operation, format!("an image has the name `{reference}`"));
            return Err(error.with_hint("choose another one, or take it away with `rabbitc untag`"));
        }
        let list = List {
            reference: reference.clone(),
            id: (0..4).map(|_| random_digits()).collect(),
            index: self.keep_text(&Index::empty().write(Form::Oci))?,
            created: now(),
            sources: BTreeMap::new(),
        };
        self.write_list(&list)?;
        Ok(Some(list))
    }

    /// Changes what a list lists; nothing of it where `change` fails.
    pub fn change_list(
        &self,
        reference: &Reference,
        change: impl FnOnce(&mut Index, &mut BTreeMap<Digest, Reference>) -> Result<()>,
    ) -> Result<List> {
        let _changing = self.change()?;
        let Some(mut list) = self.list(reference)? else {
            let operation = format!("change the list `{reference}`");
            return Err(Error::new(Kind::NotFound, operation, "it has just been removed"));
        };
        let mut index = self.index(&list)?;
        change(&mut index, &mut list.sources)?;
        list.sources.retain(|digest, _| index.manifests.iter().any(|one| one.digest == *digest));
        list.index = self.keep_text(&index.write(index.form()))?;
        self.write_list(&list)?;
        Ok(list)
    }

    /// Forgets a list; its images stay. Whether it was there.
    pub fn forget_list(&self, reference: &Reference) -> Result<bool> {
        let _changing = self.change()?;
        remove(&self.path.join(DIRECTORY).join(file_of(reference)))
    }

    fn write_list(&self, list: &List) -> Result<()> {
        // Its index and manifests have their names before it, also those that another process has just brought.
        self.sync_directory(&Path::new("blobs").join(list.index.algorithm().name()))?;
        let directory = self.path.join(DIRECTORY);
        make_directory(&directory)?;
        write_json(&directory, &file_of(&list.reference), list)
    }

    /// Brings the manifests of an image that `source` has, and nothing else of it: as entries of a list, each with the machine that
    /// it is for.
    pub fn bring_manifests(
        &self,
        source: &dyn Source,
        chosen: Chosen<'_>,
        operation: &str,
    ) -> Result<Vec<Descriptor>> {
        let (text, kind) = source.named()?;
        let index = match Document::parse(&text, kind.as_deref(), operation)? {
            Document::Manifest(manifest) => {
                return Ok(vec![self.bring_manifest(source, &manifest, &text, None, operation)?]);
            }
            Document::Index(index) => index,
        };
        let wanted: Vec<&Descriptor> = match chosen {
            Chosen::For(platform) => vec![index.choose(platform, operation)?],
            Chosen::All => index.manifests.iter().collect(),
        };
        let bring = |entry: &&Descriptor| {
            let inner = document(source, entry, MOST_MANIFEST_BYTES, operation)?;
            match Document::parse(&inner, Some(&entry.media_type), operation)? {
                Document::Manifest(manifest) => {
                    self.bring_manifest(source, &manifest, &inner, Some(entry), operation)
                }
                Document::Index(_) => {
                    Err(Error::new(Kind::Unsupported, operation, "its index leads to another index"))
                }
            }
        };
        wanted.iter().map(bring).collect()
    }

    /// Keeps a manifest; `entry` is what an index says of it.
    fn bring_manifest(
        &self,
        source: &dyn Source,
        manifest: &Manifest,
        text: &[u8],
        entry: Option<&Descriptor>,
        operation: &str,
    ) -> Result<Descriptor> {
        let platform = match entry.and_then(|entry| entry.platform.clone()) {
            Some(platform) => platform,
            None => {
                manifest.check_image(operation)?;
                let config = document(source, &manifest.config, MOST_CONFIG_BYTES, operation)?;
                ImageConfig::parse(&config, manifest.layers.len(), operation)?.platform()
            }
        };
        Ok(Descriptor {
            media_type: manifest.media_type.clone(),
            digest: self.keep_text(text)?,
            size: text.len() as u64,
            urls: None,
            annotations: entry.and_then(|entry| entry.annotations.clone()),
            platform: Some(platform),
        })
    }

    /// Keeps a document until the next sweep, unless something refers to it then.
    fn keep_text(&self, text: &[u8]) -> Result<Digest> {
        let digest = Digest::of(text);
        self.put_blob(&digest, text)?;
        Ok(digest)
    }

    /// The blobs that a list needs: its index and manifests, and what of its images is here. What can't be read says nothing where
    /// `is_passed` says so of the error; what else is known of the list stays.
    pub(super) fn blobs_of_list(
        &self,
        list: &List,
        is_passed: impl Fn(&Error) -> bool,
    ) -> Result<BTreeSet<Digest>> {
        let mut blobs: BTreeSet<Digest> = list.sources.keys().chain([&list.index]).cloned().collect();
        match self.index(list) {
            Ok(index) => blobs.extend(index.manifests.into_iter().map(|one| one.digest)),
            Err(error) if is_passed(&error) => {}
            Err(error) => return Err(error),
        }
        for digest in blobs.clone() {
            let text = match self.read_blob(&digest, MOST_MANIFEST_BYTES) {
                Ok(text) => text,
                Err(error) if is_passed(&error) => continue,
                Err(error) => return Err(error),
            };
            if let Ok(Document::Manifest(manifest)) = Document::parse(&text, None, "read") {
                let all = manifest.layers.into_iter().chain([manifest.config]);
                blobs.extend(all.map(|one| one.digest).filter(|digest| self.has_blob(digest)));
            }
        }
        Ok(blobs)
    }

    /// The image of a list that is for `platform`: its entry.
    pub fn choose(&self, list: &List, platform: &Platform, operation: &str) -> Result<Descriptor> {
        self.index(list)?.choose(platform, operation).cloned()
    }

    /// An image that is here, as an entry of a list.
    pub fn entry_of(&self, image: &super::Image) -> Result<Descriptor> {
        let (manifest, text) = self.manifest(image)?;
        Ok(Descriptor {
            media_type: match manifest.media_type.as_str() {
                // Of one that does not say so itself, the form tells.
                media_type::MANIFEST => Form::of(&text, "read the manifest")?.media_type().to_owned(),
                other => other.to_owned(),
            },
            digest: image.manifest.clone(),
            size: text.len() as u64,
            urls: None,
            annotations: None,
            platform: Some(self.configuration(image)?.platform()),
        })
    }
}

/// Whether something is missing or damaged, and will say no more another time.
pub(super) fn is_lost(error: &Error) -> bool {
    error.kind == Kind::Corrupt || error.errno == Some(Errno::NOENT.raw_os_error())
}
