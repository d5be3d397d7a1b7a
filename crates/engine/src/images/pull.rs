//! Pulling an image from a registry.

use std::path::PathBuf;
use std::sync::Mutex;

use image::Reference;
use image::documents::{Descriptor, Platform};
use image::reference::DOCKER_IO;
use image::registry::{Client, Credentials, Options, Remote};
use image::store::{LayerState, PullOptions};

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
    /// How its registry is spoken to.
    pub access: RegistryAccess,
}

/// How registries are spoken to.
#[derive(Debug, Clone, Default)]
pub struct RegistryAccess {
    /// `USER:PASSWORD`, in the place of what the files have.
    pub credentials: Option<String>,
    /// Files with credentials, of docker or podman, the first of which that has some counts.
    pub credential_files: Vec<PathBuf>,
    /// Whether certificates that nobody trusts, and plain HTTP, will do.
    pub insecure: bool,
}

/// Who is told how far a pull is. Told by several threads.
pub trait Progress: Sync {
    /// So many bytes will come, at most.
    fn begins(&self, bytes: u64);
    /// So many have come, or are not needed.
    fn is_at(&self, bytes: u64);
}

/// How far all layers together are.
pub(super) struct Sum<'a> {
    told: &'a dyn Progress,
    /// Bytes of each layer, and how many of them have come.
    layers: Mutex<Vec<(u64, u64)>>,
}

impl<'a> Sum<'a> {
    pub(super) fn new(told: &'a dyn Progress) -> Sum<'a> {
        Sum { told, layers: Mutex::default() }
    }
}

impl image::store::Progress for Sum<'_> {
    fn begins(&self, layers: &[Descriptor]) {
        let mut own = self.layers.lock().expect("nobody panics while they hold it");
        *own = layers.iter().map(|layer| (layer.size, 0)).collect();
        self.told.begins(layers.iter().map(|layer| layer.size).sum());
    }

    fn layer(&self, number: usize, state: LayerState) {
        let mut layers = self.layers.lock().expect("nobody panics while they hold it");
        let Some((size, come)) = layers.get_mut(number) else { return };
        *come = match state {
            LayerState::Fetched(bytes) => bytes,
            LayerState::There | LayerState::Done => *size,
        };
        self.told.is_at(layers.iter().map(|(_, come)| come).sum());
    }
}

impl ImageStore {
    /// Pulls an image by its name; the digest of what the name stands for, and whether anything came.
    pub fn pull(&self, request: &PullRequest, progress: &dyn Progress) -> Result<(String, bool)> {
        let Some(typed) = &request.name.name else {
            let operation = format!("pull `{}`", request.name.as_str());
            return Err(
                Error::invalid(operation, "an id has no registry".to_owned()).with_hint("pull it by a name")
            );
        };
        let reference = typed.clone().in_registry(DOCKER_IO);
        let operation = format!("pull `{reference}`");
        let platform = match &request.platform {
            Some(text) => Platform::parse(text).map_err(from_image)?,
            None => Platform::of_this_machine(),
        };
        let source = remote(&reference, &request.access, &operation).map_err(from_image)?;
        let sum = Sum::new(progress);
        let options =
            PullOptions { platform: &platform, unpacker: &Apart, progress: &sum, operation: &operation };
        let pulled = self.store.pull(&source, options);
        let pulled = match pulled {
            Ok(pulled) => pulled,
            Err(error) => {
                // What has come of it is of no use; that it stays until the next time is no second failure.
                let _ = self.store.sweep();
                let is_broken = error.kind == image::Kind::Corrupt && error.hint.is_none();
                let error = from_image(error);
                return Err(match is_broken {
                    true => error.with_hint(
                        "pull it again; if that stays so, its registry has it damaged: have it pushed anew",
                    ),
                    false => error,
                });
            }
        };
        let digest = pulled.digests[0].to_string();
        self.store.name(&reference, &pulled.image, pulled.digests).map_err(from_image)?;
        self.store.sweep_if_asked().map_err(from_image)?;
        Ok((digest, !pulled.was_there))
    }
}

/// The image `reference` where its registry has it.
pub(super) fn remote(
    reference: &Reference,
    access: &RegistryAccess,
    operation: &str,
) -> image::Result<Remote> {
    let credentials = match &access.credentials {
        Some(text) => Some(Credentials::parse(text).ok_or_else(|| {
            let error = image::Error::new(image::Kind::Invalid, "--creds", "it has no `:`");
            error.with_hint("write `USER:PASSWORD`")
        })?),
        None => Credentials::find(&access.credential_files, reference)?,
    };
    let options = Options { insecure: access.insecure, ..Options::default() };
    let client = Client::new(reference, credentials, options)?;
    Ok(Remote::new(client, reference.clone(), operation.to_owned()))
}
