//! Removing images and their names.

use image::store::{Image, Seen};
use runtime::ErrorKind;

use super::{ImageName, ImageStore, Unmount};
use crate::error::{Error, Result, from_image};
use crate::kept::{Kept, KeptRoot, KeptState, Survey};

/// What became of a name that was to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// The name is gone, and the image has others or none.
    Name(String),
    /// The image is gone.
    Image(String),
}

/// When an image is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// By its id with one name at most, and where it is not mounted.
    Careful,
    /// With all of its names and its mount.
    Forced,
}

impl ImageStore {
    /// Takes a name away, and the image with its last one; by an id, the image with all of its names.
    pub fn remove(&self, name: &ImageName, how: Removal) -> Result<Vec<Removed>> {
        let operation = || format!("remove the image `{}`", name.as_str());
        if self.find(name)?.is_none() && self.find_list(name)?.is_some() {
            return self.remove_list(name);
        }
        let image = self.wanted(name, &operation())?;
        let names = self.references(&image)?;
        let meant = self.candidates(name)?.into_iter().find(|reference| names.contains(reference));
        match meant {
            Some(reference) if names.len() > 1 => {
                self.store.unname(&reference).map_err(from_image)?;
                // Another manifest may be the same image, and keeps its names; this one is of no use then.
                if !self.store.names().map_err(from_image)?.iter().any(|name| name.manifest == image.manifest)
                {
                    self.forget_unless_used(&image, Seen::Names(&[]))?;
                    self.store.sweep().map_err(from_image)?;
                }
                let removed = vec![Removed::Name(reference.to_string())];
                self.tell_removed(&removed, &image.id.to_string());
                return Ok(removed);
            }
            None if names.len() > 1 && how == Removal::Careful => {
                let shown: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                let error = Error::invalid(
                    operation(),
                    format!("it has {} names: {}", names.len(), shown.join(", ")),
                );
                return Err(error.with_hint("say which name, or `--force` for all of it"));
            }
            _ => {}
        }
        let images = self.store.images().map_err(from_image)?;
        let same: Vec<&Image> = images.values().filter(|same| same.id == image.id).collect();
        for one in &same {
            let Survey { kept, damaged } = self.containers().survey()?;
            if let Some(damaged) = damaged.into_iter().next() {
                let id = damaged.id.get(..12).unwrap_or(&damaged.id);
                let reason = format!("the container `{id}` may be of it, as its record is damaged");
                let error = Error::new(ErrorKind::WrongStatus, operation(), reason);
                return Err(Error { hint: damaged.error.hint, ..error });
            }
            if let Some(kept) = kept.into_iter().find(|kept| is_of(kept, one)) {
                let id = kept.id.get(..12).unwrap_or(&kept.id);
                let error =
                    Error::new(ErrorKind::WrongStatus, operation(), format!("the container `{id}` is of it"));
                return Err(error.with_hint(match kept.state {
                    KeptState::Running => "end the container first".to_owned(),
                    _ => format!("`rabbitc rm {id}` removes the container"),
                }));
            }
        }
        self.heal_mounts()?;
        for one in same {
            if how == Removal::Forced {
                self.unmount_image(one, Unmount::Forced)?;
            }
            self.store.forget(one, Seen::Names(&names)).map_err(from_image)?;
        }
        self.store.sweep().map_err(from_image)?;
        let names = names.iter().map(|name| Removed::Name(name.to_string()));
        let removed: Vec<Removed> = names.chain([Removed::Image(image.id.to_string())]).collect();
        self.tell_removed(&removed, &image.id.to_string());
        Ok(removed)
    }

    /// Forgets an image that no container is of, and that nobody has named who was not seen; whether it did.
    pub(super) fn forget_unless_used(&self, image: &Image, seen: Seen<'_>) -> Result<bool> {
        let Survey { kept, damaged } = self.containers().survey()?;
        // One of which nobody knows what it is of may be of any.
        if !damaged.is_empty() || kept.iter().any(|kept| is_of(kept, image)) {
            return Ok(false);
        }
        match self.store.forget(image, seen) {
            Ok(()) => Ok(true),
            Err(error) if error.kind == image::Kind::InUse => Ok(false),
            Err(error) => Err(from_image(error)),
        }
    }
}

fn is_of(kept: &Kept, image: &Image) -> bool {
    let digest = image.manifest.to_string();
    matches!(&kept.root, KeptRoot::Image { manifest, .. } if *manifest == digest)
}
