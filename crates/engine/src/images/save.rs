//! Images to archives and directories.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use image::Reference;
use image::archive::{Saved, save_archive, save_directory};

use super::{ImageName, ImageStore, SaveLayout, Transport};
use crate::error::{Error, Result, from_image};
use crate::output::{OutputFile, output_error};

/// Where images are to be saved, and how.
#[derive(Debug)]
pub enum SaveTo {
    /// As an archive to a descriptor.
    Output(File, SaveLayout),
    /// To a file or a directory.
    Path(PathBuf, SaveLayout),
}

impl From<Transport> for SaveTo {
    fn from(place: Transport) -> SaveTo {
        let layout = place.layout();
        SaveTo::Path(place.path, layout)
    }
}

impl ImageStore {
    /// Saves images. An image that was named goes with that name, and one of which the id was said without a name.
    pub fn save(&self, names: &[ImageName], to: SaveTo) -> Result<()> {
        let images = self.chosen(names)?;
        self.save_chosen(&images, to)?;
        for saved in &images {
            let id = saved.image.id.to_string();
            self.tell("save", &id, &saved.names.first().map_or_else(|| id.clone(), Reference::to_string));
        }
        Ok(())
    }

    fn save_chosen(&self, images: &[Saved], to: SaveTo) -> Result<()> {
        match to {
            SaveTo::Output(_, layout) if layout.is_directory() => {
                let error = Error::invalid(
                    "save images",
                    "a directory can't be written to standard output".to_owned(),
                );
                Err(error.with_hint("name one with `--output`"))
            }
            SaveTo::Output(mut output, layout) => {
                save_archive(&self.store, images, layout.form(), &mut output)
                    .map_err(|error| output_error(from_image(error), Path::new("/dev/stdout")))
            }
            SaveTo::Path(path, layout) if layout.is_directory() => self.save_directory(images, &path, layout),
            SaveTo::Path(path, layout) => self.save_file(images, &path, layout),
        }
    }

    fn chosen(&self, names: &[ImageName]) -> Result<Vec<Saved>> {
        let mut chosen: Vec<Saved> = Vec::new();
        for name in names {
            let image = self.wanted(name, &format!("save the image `{}`", name.as_str()))?;
            let own = self.references(&image)?;
            let is_meant = |meant: &Reference| meant.digest.is_none() && own.contains(meant);
            let meant = self.candidates(name)?.into_iter().find(is_meant);
            match chosen.iter_mut().find(|saved| saved.image.manifest == image.manifest) {
                Some(saved) => saved.names.extend(meant.filter(|meant| !saved.names.contains(meant))),
                None => chosen.push(Saved { image, names: meant.into_iter().collect() }),
            }
        }
        Ok(chosen)
    }

    /// A directory of its own: what is in one already might be taken for a part of it.
    fn save_directory(&self, images: &[Saved], path: &Path, layout: SaveLayout) -> Result<()> {
        let made = match DirBuilder::new().mode(0o755).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let mut inside =
                    std::fs::read_dir(path).map_err(|error| Error::at_path("list", path, error))?;
                if inside.next().is_some() {
                    let error =
                        Error::invalid(format!("save to `{}`", path.display()), "it is not empty".to_owned());
                    return Err(error.with_hint("name a directory that does not exist yet"));
                }
                false
            }
            Err(error) => return Err(Error::at_path("make", path, error)),
        };
        save_directory(&self.store, images, layout.form(), path).map_err(|error| {
            let mut error = output_error(from_image(error), path);
            // Half of an image is none; a directory that was there before is empty again.
            let removed = match made {
                true => std::fs::remove_dir_all(path),
                false => remove_content(path),
            };
            let left = removed.map_err(|error| Error::at_path("remove what was saved to", path, error));
            error.rollback.extend(left.err());
            error
        })
    }

    /// Under its own name once it is whole; what is there already and is no file, such as a pipe, is written to.
    fn save_file(&self, images: &[Saved], path: &Path, layout: SaveLayout) -> Result<()> {
        let mut output = OutputFile::begin(path)?;
        save_archive(&self.store, images, layout.form(), &mut output)
            .map_err(|error| output_error(from_image(error), path))?;
        output.finish()
    }
}

fn remove_content(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}
