//! Giving names and taking them away.

use image::Digest;
use image::Reference;
use image::reference::DOCKER_IO;
use image::store::{Image, Name};

use super::{ImageName, ImageStore};
use crate::error::{Error, Result, from_image};

impl ImageStore {
    /// Has each of `targets` stand for the image.
    pub fn tag(&self, source: &ImageName, targets: &[ImageName]) -> Result<()> {
        let operation = format!("name the image `{}`", source.as_str());
        let references: Vec<Reference> =
            targets.iter().map(|target| as_name(target, &operation)).collect::<Result<_>>()?;
        let image = self.wanted(source, &operation)?;
        for reference in &references {
            let digests = self.digests(&image).map_err(from_image)?;
            self.store.name(reference, &image, digests).map_err(from_image)?;
            self.tell("tag", &image.id.to_string(), &reference.to_string());
        }
        Ok(())
    }

    /// The digests that an image is known by.
    pub(super) fn digests(&self, image: &Image) -> image::Result<Vec<Digest>> {
        let known = self.store.names()?.into_iter().find(|name| name.manifest == image.manifest);
        Ok(known.map_or_else(|| vec![image.manifest.clone()], |name| name.digests))
    }

    /// Takes names of an image away, without `names` all of them; the image stays. What was taken away.
    pub fn untag(&self, image: &ImageName, names: &[ImageName]) -> Result<Vec<String>> {
        let operation = format!("take names of the image `{}` away", image.as_str());
        let found = self.wanted(image, &operation)?;
        let own = self.references(&found)?;
        let doomed: Vec<Reference> = match names {
            [] => own,
            names => {
                let meant = names.iter().map(|name| self.own_name(name, &found, &own, &operation));
                meant.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()
            }
        };
        for reference in &doomed {
            self.store.unname(reference).map_err(from_image)?;
            self.tell("untag", &found.id.to_string(), &reference.to_string());
        }
        Ok(doomed.iter().map(Reference::to_string).collect())
    }

    /// The one of an image's names that is meant. Its digest is none that could be taken from it, and stands for it nevertheless.
    fn own_name(
        &self,
        name: &ImageName,
        image: &Image,
        own: &[Reference],
        operation: &str,
    ) -> Result<Option<Reference>> {
        if let Some(meant) = self.candidates(name)?.into_iter().find(|meant| own.contains(meant)) {
            return Ok(Some(meant));
        }
        let has_digest = name.name.as_ref().is_some_and(|typed| typed.digest.is_some());
        if has_digest && self.find(name)?.is_some_and(|found| found.id == image.id) {
            return Ok(None);
        }
        let reference = as_name(name, operation)?;
        let shown: Vec<String> = own.iter().map(Reference::to_string).collect();
        let error = Error::invalid(operation, format!("`{reference}` is no name of it"));
        Err(match shown.is_empty() {
            true => error.with_hint("it has none"),
            false => error.with_hint(format!("it has {}", shown.join(", "))),
        })
    }

    /// The names of an image, also of one that came with another manifest and is the same.
    pub(super) fn references(&self, image: &Image) -> Result<Vec<Reference>> {
        let images = self.store.images().map_err(from_image)?;
        let is_of_it = |name: &Name| images.get(&name.manifest).is_some_and(|found| found.id == image.id);
        let names = self.store.names().map_err(from_image)?;
        Ok(names.into_iter().filter(is_of_it).map(|name| name.reference).collect())
    }
}

/// A name that an image may be given.
pub(crate) fn as_name(name: &ImageName, operation: &str) -> Result<Reference> {
    let refuse = |reason: &str| {
        let error = Error::invalid(operation, format!("`{}` {reason}", name.as_str()));
        Err(error.with_hint("write it as `app:v1`, or `registry.example/team/app:v1`"))
    };
    match &name.name {
        None => refuse("is an id, and no name"),
        Some(typed) if typed.digest.is_some() => {
            refuse("has a digest, which says what it stands for already")
        }
        Some(typed) => Ok(typed.clone().in_registry(DOCKER_IO)),
    }
}
