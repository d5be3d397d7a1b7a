//! Pulling an image from a registry.

use image::Reference;
use image::documents::{Descriptor, Platform};
use image::reference::Typed;
use image::store::{LayerState, PullOptions};

use super::registries::{Registries, RegistryAccess};
use super::unpack::Apart;
use super::{ImageName, ImageStore};
use crate::error::{Error, Result, from_image};

/// An image to be pulled.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// Its name.
    pub name: ImageName,
    /// For what machine, where that is not this one.
    pub platform: Option<String>,
    /// How registries are asked.
    pub access: RegistryAccess,
}

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledImage {
    /// By which digest its registry has it.
    pub digest: String,
    /// Whence it is here.
    pub came: Came,
}

/// What a pull has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// The image was fetched.
    Fetched,
    /// The image was here; the name stood for another one.
    Moved,
    /// The image was here, and the name stood for no other.
    Not,
}

/// Who is told how far a pull or a push is. Told by several threads.
pub trait Progress: Sync {
    /// These layers will come or go, if they are not there.
    fn begins(&self, layers: &[MovingLayer]);
    /// So many bytes of a layer have, by its number.
    fn layer_is_at(&self, number: usize, bytes: u64);
    /// A layer is where it should be, or was there before.
    fn layer_is_there(&self, number: usize);
}

/// A layer that comes or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovingLayer {
    /// Its digest.
    pub digest: String,
    /// Bytes of it, compressed.
    pub size: u64,
}

/// Tells the caller what the store tells.
pub(crate) struct Told<'a>(pub(crate) &'a dyn Progress);

impl image::store::Progress for Told<'_> {
    fn begins(&self, layers: &[Descriptor]) {
        let moving = |layer: &Descriptor| MovingLayer { digest: layer.digest.to_string(), size: layer.size };
        self.0.begins(&layers.iter().map(moving).collect::<Vec<_>>());
    }

    fn layer(&self, number: usize, state: LayerState) {
        match state {
            LayerState::Fetched(bytes) => self.0.layer_is_at(number, bytes),
            LayerState::There | LayerState::Done => self.0.layer_is_there(number),
        }
    }
}

/// What an image is to be for.
#[derive(Clone, Copy)]
enum Machine<'a> {
    /// This one; of an image for another one alone that one is taken.
    This(&'a Platform),
    /// The one that somebody has asked for, and no other.
    AskedFor(&'a Platform),
}

impl ImageStore {
    /// Pulls an image by its name. One without a registry is looked for in each that registries.conf names.
    pub fn pull(&self, request: &PullRequest, progress: &dyn Progress) -> Result<PulledImage> {
        let typed = request.typed()?;
        let platform = match &request.platform {
            Some(text) => Platform::parse(text).map_err(from_image)?,
            None => Platform::of_this_machine(),
        };
        let registries = Registries::new(&request.access).map_err(from_image)?;
        first_of(&registries, typed, "pull", |reference| {
            let machine = match &request.platform {
                Some(_) => Machine::AskedFor(&platform),
                None => Machine::This(&platform),
            };
            self.pull_from(&registries, reference, machine, progress)
        })
    }

    /// All tags of the repository that a name without a tag names, as names to be pulled.
    pub fn tags_to_pull(&self, request: &PullRequest) -> Result<Vec<ImageName>> {
        let typed = request.typed()?;
        if typed.tag.is_some() || typed.digest.is_some() {
            let operation = format!("pull `{}`", request.name.as_str());
            let error = Error::invalid(operation, "with `--all-tags`, a name has no tag".to_owned());
            return Err(error.with_hint("leave the tag or the flag out"));
        }
        let registries = Registries::new(&request.access).map_err(from_image)?;
        // A mirror has those alone that somebody asked it for.
        let tags = |reference: &Reference| {
            let client = registries.at_home(reference).map_err(from_image)?;
            Ok(client.tags().map(|tags| (reference.name(), tags)))
        };
        let (name, tags) = first_of(&registries, typed, "list the tags of", tags)?;
        tags.iter().map(|tag| format!("{name}:{tag}").parse()).collect()
    }

    /// The errors that another registry may not have are the inner ones.
    fn pull_from(
        &self,
        registries: &Registries,
        reference: &Reference,
        machine: Machine<'_>,
        progress: &dyn Progress,
    ) -> Result<image::Result<PulledImage>> {
        let operation = format!("pull `{reference}`");
        self.store.check_is_no_list(reference).map_err(from_image)?;
        let source = registries.remote(reference).map_err(from_image)?;
        let (Machine::This(platform) | Machine::AskedFor(platform)) = machine;
        let options =
            PullOptions { platform, unpacker: &Apart, progress: &Told(progress), operation: &operation };
        let pulled = match machine {
            Machine::This(_) => self.store.pull(&source, options),
            Machine::AskedFor(_) => self.store.pull_for_platform(&source, options),
        };
        let pulled = match pulled {
            Ok(pulled) => pulled,
            Err(error) => {
                // What has come of it is of no use; that it stays until the next time is no second failure.
                let _ = self.store.sweep();
                let is_broken = error.kind == image::Kind::Corrupt && error.hint.is_none();
                return Ok(Err(match is_broken {
                    true => error.with_hint(
                        "pull it again; if that stays so, its registry has it damaged: have it pushed anew",
                    ),
                    false => error,
                }));
            }
        };
        let digest = pulled.digests[0].to_string();
        let before = self.store.named(reference).map_err(from_image)?;
        let came = match (pulled.was_there, before) {
            (false, _) => Came::Fetched,
            (true, Some(name)) if name.manifest != pulled.image.manifest => Came::Moved,
            (true, _) => Came::Not,
        };
        self.store.name(reference, &pulled.image, pulled.digests).map_err(from_image)?;
        self.store.sweep_if_asked().map_err(from_image)?;
        // Docker's, which knows a name here and no id.
        self.tell("pull", &reference.to_string(), &reference.to_string());
        Ok(Ok(PulledImage { digest, came }))
    }
}

impl PullRequest {
    fn typed(&self) -> Result<&Typed> {
        self.name.name.as_ref().ok_or_else(|| {
            let operation = format!("pull `{}`", self.name.as_str());
            Error::invalid(operation, "an id has no registry".to_owned()).with_hint("pull it by a name")
        })
    }
}

/// Does `what` to the first of the whole names of `typed` that it can be done to. A registry that does not have it, that gives
/// it to others alone or that can't be reached leaves it to the next; any other failure ends it.
pub(super) fn first_of<T>(
    registries: &Registries,
    typed: &Typed,
    verb: &str,
    what: impl Fn(&Reference) -> Result<image::Result<T>>,
) -> Result<T> {
    use image::Kind::{NotFound, Remote, Unauthorized};
    let names = registries.configuration.complete(typed).map_err(from_image)?;
    let operation = format!("{verb} `{}`", typed.repository);
    registries.check_given(names.len(), &operation).map_err(from_image)?;
    let mut failures = Vec::new();
    for reference in &names {
        match what(reference)? {
            Ok(done) => return Ok(done),
            Err(error) if names.len() > 1 && matches!(error.kind, NotFound | Remote | Unauthorized) => {
                failures.push((reference, error));
            }
            Err(error) => return Err(from_image(error)),
        }
    }
    Err(none_of(failures, operation))
}

/// The error where no registry has it: of the gravest kind, as one that could not be asked may have it.
fn none_of(failures: Vec<(&Reference, image::Error)>, operation: String) -> Error {
    let reasons: Vec<String> =
        failures.iter().map(|(reference, error)| format!("`{reference}`: {}", error.reason)).collect();
    let gravity = |error: &image::Error| match error.kind {
        image::Kind::NotFound => 0,
        image::Kind::Unauthorized => 1,
        _ => 2,
    };
    // The first of several.
    let gravest = failures.into_iter().map(|(_, error)| error).rev().max_by_key(gravity);
    let gravest = gravest.filter(|error| error.kind != image::Kind::NotFound).map(from_image);
    let (kind, errno, hint) = match gravest {
        Some(error) => (error.kind, error.errno, error.hint),
        None => (runtime::ErrorKind::NotFound, None, None),
    };
    let hint = hint.unwrap_or_else(|| {
        "write the whole name; where names without a registry are looked for, `unqualified-search-registries` in \
         /etc/containers/registries.conf says"
            .to_owned()
    });
    Error { errno, ..Error::new(kind, operation, reasons.join("; ")).with_hint(hint) }
}

#[cfg(test)]
mod tests {
    use image::Kind::{NotFound, Remote, Unauthorized};
    use runtime::ErrorKind;

    use super::*;

    #[test]
    fn registry_that_could_not_be_asked_is_told_before_one_that_has_it_not() {
        let name: Reference = "app".parse().expect("legal");
        let failed = |kinds: &[image::Kind]| {
            let failure = |kind: &image::Kind| {
                let error = image::Error::new(*kind, "pull", "why").with_hint(format!("{kind:?}"));
                (&name, image::Error { errno: (*kind == Remote).then_some(111), ..error })
            };
            none_of(kinds.iter().map(failure).collect(), "pull `app`".to_owned())
        };
        let error = failed(&[NotFound, NotFound]);
        assert_eq!((error.kind, error.errno), (ErrorKind::NotFound, None));
        assert!(error.hint.is_some_and(|hint| hint.contains("whole name")));
        assert_eq!(error.reason, format!("`{name}`: why; `{name}`: why"));
        let error = failed(&[NotFound, Unauthorized]);
        assert_eq!((error.kind, error.hint.as_deref()), (ErrorKind::Permission, Some("Unauthorized")));
        let error = failed(&[Unauthorized, Remote, NotFound]);
        assert_eq!(
            (error.kind, error.errno, error.hint.as_deref()),
            (ErrorKind::System, Some(111), Some("Remote"))
        );
    }
}
