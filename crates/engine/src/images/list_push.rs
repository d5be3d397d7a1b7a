//! Pushing a list of images to a registry.

use std::collections::BTreeMap;

use image::documents::{Form, Index};
use image::registry::{Client, PushOptions, Remote};
use image::{Digest, Reference};

use super::pull::{Progress, Told};
use super::push::{other_repositories, parse_destination};
use super::registries::{Registries, RegistryAccess};
use super::{ImageName, ImageStore, PushedImage};
use crate::error::{Error, Result, from_image};

/// A list to be pushed.
#[derive(Debug, Clone)]
pub struct ListPush {
    /// The list.
    pub name: ImageName,
    /// The name that it is to have in the registry, where that is not its own.
    pub destination: Option<String>,
    /// Its images too, or the list alone.
    pub images: PushedImages,
    /// In whose words it and its images are to be, where not in those they are in.
    pub form: Option<Form>,
    /// How registries are asked.
    pub access: RegistryAccess,
}

/// What goes with a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushedImages {
    /// All that it lists.
    All,
    /// Nothing: the registry has them.
    None,
}

impl ImageStore {
    /// Sends a list to a registry, and before it what the registry lacks of its images: from here, else from where they are.
    pub fn push_list(&self, request: &ListPush, progress: &dyn Progress) -> Result<PushedImage> {
        let shown = request.name.as_str();
        let list = self.wanted_list(&request.name, &format!("push the list `{shown}`"))?;
        let destination = match &request.destination {
            Some(text) => parse_destination(text)?,
            None => list.reference.clone(),
        };
        let operation = format!("push `{destination}`");
        let Some(tag) = destination.tag.as_deref().filter(|_| destination.digest.is_none()) else {
            let error = Error::invalid(operation, "a digest can't be chosen".to_owned());
            return Err(error.with_hint(format!("name a tag: `{}:latest`", destination.name())));
        };
        let registries = Registries::new(&request.access).map_err(from_image)?;
        // What was given for the one is not for those that images come from.
        let others = RegistryAccess { credentials: None, ..request.access.clone() };
        let others = Registries::new(&others).map_err(from_image)?;
        let client = registries.at_home(&destination).map_err(from_image)?;
        let mut index = self.store.index(&list).map_err(from_image)?;
        let known = other_repositories(&self.store, &destination)?;
        for entry in index.manifests.iter_mut().filter(|_| request.images == PushedImages::All) {
            let source = list.sources.get(&entry.digest);
            let remote = source.map(|source| {
                let reference = Reference { tag: None, digest: Some(entry.digest.clone()), ..source.clone() };
                let own = if source.registry == destination.registry { &registries } else { &others };
                own.remote(&reference)
            });
            let remote: Option<Remote> = remote.transpose().map_err(from_image)?;
            let options = PushOptions {
                tag: None,
                form: request.form,
                otherwise: remote.as_ref(),
                elsewhere: &|blob| elsewhere(blob, source, &destination, &known),
                progress: &Told(progress),
                operation: &operation,
            };
            let pushed =
                image::registry::push(&self.store, &entry.digest, &client, options).map_err(from_image)?;
            (entry.media_type, entry.digest, entry.size) = (pushed.media_type, pushed.digest, pushed.size);
        }
        put_index(&index, request, tag, &client)
    }
}

/// Another repository of the destination's registry that has a blob: that which the image was added from, or one by the names here.
fn elsewhere(
    blob: &Digest,
    source: Option<&Reference>,
    destination: &Reference,
    known: &BTreeMap<Digest, String>,
) -> Option<String> {
    let of_source = source.filter(|source| {
        source.registry == destination.registry && source.repository != destination.repository
    });
    known.get(blob).cloned().or_else(|| of_source.map(|source| source.repository.clone()))
}

fn put_index(index: &Index, request: &ListPush, tag: &str, client: &Client) -> Result<PushedImage> {
    let form = request.form.unwrap_or_else(|| index.form());
    let text = index.write(form);
    let digest = client.put_manifest(tag, form.index_media_type(), &text).map_err(from_image)?;
    Ok(PushedImage { digest: digest.to_string(), size: text.len() as u64 })
}
