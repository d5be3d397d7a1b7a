//! A registry as a source of an image: its mirrors first, and itself at the end.

use std::io::Read;
use std::sync::OnceLock;

use super::{Client, Fetched};
use crate::documents::{Descriptor, MOST_CONFIG_BYTES, media_type};
use crate::error::{Error, Kind, Result};
use crate::reference::Reference;
use crate::store::Source;

/// An image in a registry.
#[derive(Debug)]
pub struct Remote {
    reference: Reference,
    /// Where it may be, in the order in which they are asked.
    places: Vec<Client>,
    /// The first of them that had the image.
    found: OnceLock<usize>,
}

impl Remote {
    /// The image that `reference` names, at any of `places`: the last is the registry itself, those before it its mirrors.
    pub fn new(reference: Reference, places: Vec<Client>) -> Remote {
        Remote { reference, places, found: OnceLock::new() }
    }

    /// Asks one place after the other, from that on which had the image. The error is the registry's own, as that is whom
    /// people know, with what each mirror said.
    fn ask<T>(&self, question: impl Fn(&Client) -> Result<T>) -> Result<(usize, T)> {
        let mut of_mirrors = String::new();
        let first = self.found.get().copied().unwrap_or(0);
        for (number, place) in self.places.iter().enumerate().skip(first) {
            match question(place) {
                Ok(found) => return Ok((number, found)),
                Err(mut error) if number + 1 == self.places.len() => {
                    error.reason.push_str(&of_mirrors);
                    return Err(error);
                }
                Err(error) => {
                    of_mirrors.push_str(&format!(
                        "; its mirror `{}`: {}",
                        place.endpoint().name(),
                        error.reason
                    ));
                }
            }
        }
        let operation = format!("look for `{}`", self.reference);
        Err(Error::new(Kind::Invalid, operation, "there is nobody to ask"))
    }
}

impl Source for Remote {
    fn named(&self) -> Result<(Vec<u8>, Option<String>)> {
        let wanted = self.reference.wanted();
        let (number, Fetched { bytes, media_type, .. }) = self.ask(|place| place.manifest(&wanted))?;
        self.found.get_or_init(|| number);
        Ok((bytes, media_type))
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let (_, bytes) = self.ask(|place| {
            if media_type::MANIFESTS.contains(&descriptor.media_type.as_str()) {
                return place.manifest(&descriptor.digest.to_string()).map(|fetched| fetched.bytes);
            }
            let mut bytes = Vec::new();
            let blob = place.blob(descriptor)?;
            // It is as long as its descriptor says, which the caller has looked at.
            blob.take(MOST_CONFIG_BYTES as u64 + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| Error::from_io(format!("fetch `{}`", descriptor.digest), error))?;
            Ok(bytes)
        })?;
        Ok(bytes)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        let (_, blob) = self.ask(|place| place.blob(descriptor))?;
        Ok(Box::new(blob))
    }
}
