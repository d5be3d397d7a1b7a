//! Images from archives and directories.

use std::fs::File;
use std::path::PathBuf;

use image::archive::{Archive, Archived};
use image::documents::Platform;
use image::store::Image;

use super::pull::Told;
use super::unpack::Apart;
use super::{ImageStore, Progress, Transport};
use crate::error::{Result, from_image};

/// Where images are to be loaded from.
#[derive(Debug)]
pub enum LoadFrom {
    /// What can be read from it.
    Input(File),
    /// A file or a directory, in whatever form.
    Path(PathBuf),
    /// One in a form that is said, and which image there.
    Transport(Transport),
}

/// An image that has been loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub id: String,
    /// The names that it has got.
    pub names: Vec<String>,
}

impl ImageStore {
    /// Loads images, with the names that they have there; for machines of `platform`, where that is not this one.
    pub fn load(
        &self,
        from: LoadFrom,
        platform: Option<&str>,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>> {
        let platform = match platform {
            Some(text) => Platform::parse(text).map_err(from_image)?,
            None => Platform::of_this_machine(),
        };
        let loaded = self.load_all(from, &platform, progress);
        // Of one that failed nothing is of use; that it stays until the next time is no second failure.
        match &loaded {
            Ok(all) => {
                self.store.sweep_if_asked().map_err(from_image)?;
                for one in all {
                    self.tell("load", &one.id, one.names.first().unwrap_or(&one.id));
                }
            }
            Err(_) => drop(self.store.sweep()),
        }
        loaded.map_err(from_image)
    }

    fn load_all(
        &self,
        from: LoadFrom,
        platform: &Platform,
        progress: &dyn Progress,
    ) -> image::Result<Vec<Loaded>> {
        let store = &self.store;
        let (archive, wanted) = match from {
            LoadFrom::Input(input) => (Archive::read(input, None, store, "load images")?, None),
            LoadFrom::Path(path) => (Archive::open(&path, None, store)?, None),
            LoadFrom::Transport(place) => {
                (Archive::open(&place.path, Some(place.form()), store)?, place.reference)
            }
        };
        let mut loaded = Vec::new();
        for number in archive.choose(wanted.as_deref())? {
            loaded.push(self.load_one(&archive.image(number)?, platform, progress)?);
        }
        Ok(loaded)
    }

    fn load_one(
        &self,
        image: &Archived<'_>,
        platform: &Platform,
        progress: &dyn Progress,
    ) -> image::Result<Loaded> {
        let operation = match image.names.first() {
            Some(name) => format!("load `{name}`"),
            None => "load an image".to_owned(),
        };
        image.names.iter().try_for_each(|name| self.store.check_is_no_list(name))?;
        let names = image.names.iter().map(ToString::to_string).collect();
        if let Some(known) = self.same(image)? {
            for name in &image.names {
                self.store.name(name, &known, self.digests(&known)?)?;
            }
            return Ok(Loaded { id: known.id.to_string(), names });
        }
        let progress = Told(progress);
        let options = image::store::PullOptions {
            platform,
            unpacker: &Apart,
            progress: &progress,
            operation: &operation,
        };
        let pulled = self.store.pull(image, options)?;
        for name in &image.names {
            self.store.name(name, &pulled.image, pulled.digests.clone())?;
        }
        Ok(Loaded { id: pulled.image.id.to_string(), names })
    }

    /// The image that an archive without manifests has, if it is here: with the manifest of its registry, which it keeps.
    fn same(&self, image: &Archived<'_>) -> image::Result<Option<Image>> {
        let Some(id) = &image.id else { return Ok(None) };
        let mut images = self.store.images()?.into_values();
        Ok(images.find(|known| known.id == *id && self.store.is_whole(known)))
    }
}
