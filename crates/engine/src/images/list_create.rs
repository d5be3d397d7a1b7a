//! Making a list of images for several machines, with the first of them.

use image::Reference;
use runtime::ErrorKind;

use super::lists::{ListImage, ListNotes, ListPart};
use super::registries::RegistryAccess;
use super::{ImageName, ImageStore, as_name};
use crate::error::{Error, Result, from_image};

/// A list to be made.
#[derive(Debug, Clone)]
pub struct NewList {
    /// What it is to be called.
    pub name: ImageName,
    /// What becomes of one that is called so already.
    pub existing: ExistingList,
    /// Images to be put into it.
    pub images: Vec<ListImage>,
    /// Which of the images of an index.
    pub part: ListPart,
    /// Notes of the list itself.
    pub annotations: Vec<(String, String)>,
    /// How registries are asked.
    pub access: RegistryAccess,
}

/// What becomes of a list that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingList {
    /// It is an error.
    Refused,
    /// It is gone on with.
    Amended,
}

impl ImageStore {
    /// Makes a list; its id. One that is new and can't be filled is not there.
    pub fn create_list(&self, new: &NewList) -> Result<String> {
        let operation = format!("make the list `{}`", new.name.as_str());
        let reference = as_name(&new.name, &operation)?;
        let made = self.store.make_list(&reference).map_err(from_image)?;
        if made.is_none() && new.existing == ExistingList::Refused {
            let error = Error::new(ErrorKind::Invalid, operation, format!("there is a list `{reference}`"));
            return Err(error.with_hint("`--amend` goes on with it; `rabbitc manifest rm` removes it"));
        }
        self.fill(&reference, new, &operation).map_err(|mut error| {
            if made.is_some() {
                let removed = self.store.forget_list(&reference).and_then(|_| self.store.sweep());
                error.rollback.extend(removed.map_err(from_image).err());
            }
            error
        })
    }

    fn fill(&self, reference: &Reference, new: &NewList, operation: &str) -> Result<String> {
        // Its whole name: what was typed may stand for others, too.
        let list: ImageName = reference.to_string().parse()?;
        for image in &new.images {
            self.add_to_list(&list, image, new.part, &ListNotes::default(), &new.access)?;
        }
        if !new.annotations.is_empty() {
            self.annotate_index(&list, &new.annotations)?;
        }
        Ok(self.wanted_list(&list, operation)?.id)
    }
}
