//! Pushing an image to a registry.

use std::collections::BTreeMap;

use image::documents::Form;
use image::reference::{DOCKER_IO, Typed};
use image::registry::PushOptions;
use image::store::{Image, Store};
use image::{Digest, Reference};
use runtime::ErrorKind;

use super::pull::{Progress, Told};
use super::registries::{Registries, RegistryAccess};
use super::{ImageName, ImageStore};
use crate::error::{Error, Result, from_image};

/// An image to be pushed.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// The image.
    pub name: ImageName,
    /// The name that it is to have in the registry, where that is not its own.
    pub destination: Option<String>,
    /// In whose words its manifest is to be, where not in those it is in.
    pub form: Option<Form>,
    /// How registries are asked.
    pub access: RegistryAccess,
}

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedImage {
    /// By which digest the registry has it.
    pub digest: String,
    /// Bytes of its manifest.
    pub size: u64,
}

/// A push whose image and destination are found.
#[derive(Debug)]
pub struct Push<'a> {
    images: &'a ImageStore,
    image: Image,
    destination: Reference,
    form: Option<Form>,
    registries: Registries,
}

impl ImageStore {
    /// Finds what is to be pushed, and where to; nobody is asked yet.
    pub fn push(&self, request: &PushRequest) -> Result<Push<'_>> {
        let shown = request.name.as_str();
        let refuse = |reason: &str, hint: String| {
            Err(Error::invalid(format!("push `{shown}`"), reason.to_owned()).with_hint(hint))
        };
        let Some((own_name, image)) = self.find_with_name(&request.name)? else {
            let operation = format!("push `{shown}`");
            if self.find_list(&request.name)?.is_some() {
                let error = Error::invalid(operation, "it is a list of images".to_owned());
                return Err(error.with_hint(format!("`rabbitc manifest push {shown}` pushes it")));
            }
            let error = Error::new(ErrorKind::NotFound, operation, "there is no such image here");
            return Err(error.with_hint("`rabbitc images` lists those that are there"));
        };
        let destination = match (&request.destination, own_name) {
            (Some(text), _) => parse_destination(text)?,
            (None, Some(name)) => name,
            (None, None) => {
                let hint = format!("write `rabbitc push {shown} REGISTRY/REPOSITORY:TAG`");
                return refuse("an id does not say where to", hint);
            }
        };
        if destination.digest.is_some() || destination.tag.is_none() {
            return refuse(
                "a digest can't be chosen",
                format!("name a tag: `{}:latest`", destination.name()),
            );
        }
        let registries = Registries::new(&request.access).map_err(from_image)?;
        Ok(Push { images: self, image, destination, form: request.form, registries })
    }

    /// All names of the repository that a name without a tag names.
    pub fn tags_to_push(&self, name: &ImageName) -> Result<Vec<ImageName>> {
        let operation = || format!("push all tags of `{}`", name.as_str());
        let Some(typed) = name.name.as_ref().filter(|typed| typed.tag.is_none() && typed.digest.is_none())
        else {
            let error = Error::invalid(operation(), "with `--all-tags`, a name has no tag".to_owned());
            return Err(error.with_hint("leave the tag or the flag out"));
        };
        let all = self.store.names().map_err(from_image)?;
        for candidate in self.short_names()?.candidates(typed) {
            let tags = all.iter().map(|name| &name.reference).filter(|reference| {
                reference.name() == candidate.name() && reference.tag.is_some() && reference.digest.is_none()
            });
            let found: Vec<ImageName> =
                tags.map(|reference| reference.to_string().parse()).collect::<Result<_>>()?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        let error = Error::new(ErrorKind::NotFound, operation(), "there is no image of this name here");
        Err(error.with_hint("`rabbitc images` lists those that are there"))
    }
}

impl Push<'_> {
    /// The name that it will have.
    pub fn destination(&self) -> String {
        self.destination.to_string()
    }

    /// Registry and repository of it.
    pub fn repository(&self) -> String {
        self.destination.name()
    }

    /// Its tag.
    pub fn tag(&self) -> &str {
        self.destination.tag.as_deref().unwrap_or_default()
    }

    /// Sends what the registry lacks of the image.
    pub fn send(&self, progress: &dyn Progress) -> Result<PushedImage> {
        let Push { images: ImageStore { store, .. }, image, destination, form, registries } = self;
        let client = registries.at_home(destination).map_err(from_image)?;
        let operation = format!("push `{destination}`");
        let others = other_repositories(store, destination)?;
        let options = PushOptions {
            tag: Some(self.tag()),
            form: *form,
            otherwise: None,
            elsewhere: &|blob| others.get(blob).cloned(),
            progress: &Told(progress),
            operation: &operation,
        };
        let manifest = image::registry::push(store, &image.manifest, &client, options).map_err(from_image)?;
        self.remember(&manifest.digest)?;
        self.images.tell("push", &destination.to_string(), &destination.to_string());
        Ok(PushedImage { digest: manifest.digest.to_string(), size: manifest.size })
    }

    /// The image has its digest in that registry from now on, if it has the name here too.
    fn remember(&self, digest: &Digest) -> Result<()> {
        let store = &self.images.store;
        let Some(name) = store.named(&self.destination).map_err(from_image)? else { return Ok(()) };
        if name.manifest != self.image.manifest
            || *digest != self.image.manifest
            || name.digests.contains(digest)
        {
            return Ok(());
        }
        store.name(&self.destination, &self.image, vec![digest.clone()]).map_err(from_image)
    }
}

/// Which other repositories of a registry have a layer, as far as names here tell: nothing of it need be sent then.
pub(super) fn other_repositories(store: &Store, destination: &Reference) -> Result<BTreeMap<Digest, String>> {
    let mut found = BTreeMap::new();
    for name in store.names().map_err(from_image)? {
        let other = &name.reference;
        if other.registry != destination.registry || other.repository == destination.repository {
            continue;
        }
        // One that was removed meanwhile has no layers.
        let Some(image) = store.image(&name.manifest).map_err(from_image)? else { continue };
        for blob in image.layers.into_iter().map(|layer| layer.blob).chain([image.id]) {
            found.entry(blob).or_insert_with(|| other.repository.clone());
        }
    }
    Ok(found)
}

/// Where to: a name, or one with podman's `docker://` before it.
pub(super) fn parse_destination(text: &str) -> Result<Reference> {
    // Else they would be taken for repositories of these names, with a tag.
    const OTHERS: [&str; 7] = [
        "docker-daemon:",
        "containers-storage:",
        "ostree:",
        "oci:",
        "oci-archive:",
        "docker-archive:",
        "dir:",
    ];
    if let Some(transport) = OTHERS.iter().find(|transport| text.starts_with(**transport)) {
        let operation = format!("push to `{}`", text.escape_debug());
        let error = Error::new(ErrorKind::Unsupported, operation, format!("rabbitc has no `{transport}`"));
        return Err(error.with_hint("push to a registry, or save to `oci:DIR` or an archive"));
    }
    let name = text.strip_prefix("docker://").unwrap_or(text);
    let typed: image::Result<Typed> = name.parse();
    typed.map(|typed| typed.in_registry(DOCKER_IO)).map_err(from_image)
}
