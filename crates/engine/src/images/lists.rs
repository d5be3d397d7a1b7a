//! Lists of images for several machines, as they are made here, sent to registries, and read from them.

use image::documents::{Descriptor, Document, Platform};
use image::store::{Chosen, Image, List, Source};
use image::{Digest, Reference};
use runtime::ErrorKind;

use super::pull::first_of;
use super::registries::{Registries, RegistryAccess};
use super::{ImageName, ImageStore, Removed};
use crate::error::{Error, Result, from_image};

/// An image that is to be put into a list, as somebody typed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListImage {
    name: ImageName,
    place: Place,
}

/// Where it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Here, then in its registry.
    Anywhere,
    /// Here alone: podman's `containers-storage:`.
    Here,
    /// In its registry alone: podman's `docker://`.
    Registry,
}

impl std::str::FromStr for ListImage {
    type Err = Error;

    fn from_str(text: &str) -> Result<ListImage> {
        const OTHERS: [&str; 7] =
            ["oci:", "oci-archive:", "docker-archive:", "dir:", "docker-daemon:", "ostree:", "sif:"];
        if let Some(other) = OTHERS.iter().find(|other| text.starts_with(**other)) {
            let operation = format!("put `{}` into a list", text.escape_debug());
            let error = Error::new(ErrorKind::Unsupported, operation, format!("a list takes no `{other}`"));
            return Err(error.with_hint("`rabbitc pull` or `rabbitc load` it first, and name the image"));
        }
        let (name, place) = match (text.strip_prefix("docker://"), text.strip_prefix("containers-storage:")) {
            (Some(name), _) => (name, Place::Registry),
            (None, Some(name)) => (name, Place::Here),
            (None, None) => (text, Place::Anywhere),
        };
        Ok(ListImage { name: name.parse()?, place })
    }
}

impl ListImage {
    /// The registry that its name says.
    pub fn registry(&self) -> Option<&str> {
        self.name.name.as_ref()?.registry.as_deref()
    }
}

/// Which images of an index are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListPart {
    /// That for this machine, or for that which is asked for.
    One,
    /// All.
    All,
}

/// What is to be said of an image in a list; what is not set stays as the image says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListNotes {
    /// The processor.
    pub architecture: Option<String>,
    /// The system.
    pub os: Option<String>,
    /// The variant of the processor.
    pub variant: Option<String>,
    /// The version of the system.
    pub os_version: Option<String>,
    /// What the system must have.
    pub os_features: Vec<String>,
    /// What the processor must have.
    pub features: Vec<String>,
    /// Notes.
    pub annotations: Vec<(String, String)>,
}

impl ListNotes {
    fn apply(&self, entry: &mut Descriptor) {
        let platform = entry.platform.get_or_insert_with(Platform::default);
        let set = |field: &mut String, said: &Option<String>| {
            if let Some(said) = said {
                field.clone_from(said);
            }
        };
        set(&mut platform.architecture, &self.architecture);
        set(&mut platform.os, &self.os);
        for (field, said) in
            [(&mut platform.variant, &self.variant), (&mut platform.os_version, &self.os_version)]
        {
            if let Some(said) = said {
                // What is said to be empty is none.
                *field = Some(said.clone()).filter(|said| !said.is_empty());
            }
        }
        for (field, said) in
            [(&mut platform.os_features, &self.os_features), (&mut platform.features, &self.features)]
        {
            if !said.is_empty() {
                *field = Some(said.clone());
            }
        }
        if !self.annotations.is_empty() {
            entry.annotations.get_or_insert_default().extend(self.annotations.iter().cloned());
        }
    }

    /// The machine whose image is meant where an index is named.
    fn platform(&self) -> Platform {
        let own = Platform::of_this_machine();
        let is_own = self.architecture.as_ref().is_none_or(|said| *said == own.architecture);
        Platform {
            architecture: self.architecture.clone().unwrap_or(own.architecture),
            os: self.os.clone().unwrap_or(own.os),
            variant: self.variant.clone().or_else(|| own.variant.filter(|_| is_own)),
            ..Platform::default()
        }
    }
}

/// An entry, and by which name its image was found.
type Found = (Descriptor, Option<Reference>);

impl ImageStore {
    /// Puts an image into a list: one that is here, else one that its registry has, of which the manifest is fetched alone. The
    /// list's id.
    pub fn add_to_list(
        &self,
        list: &ImageName,
        image: &ListImage,
        part: ListPart,
        notes: &ListNotes,
        access: &RegistryAccess,
    ) -> Result<String> {
        let shown = image.name.as_str();
        let operation = format!("add `{shown}` to the list `{}`", list.as_str());
        let list = self.wanted_list(list, &operation)?;
        let found = self.entries(image, part, notes, access, &operation);
        let mut found = found.map_err(in_words_of_add)?;
        found.iter_mut().for_each(|(entry, _)| notes.apply(entry));
        let changed = self.store.change_list(&list.reference, |index, sources| {
            for (entry, source) in found {
                if let Some(source) = source {
                    sources.insert(entry.digest.clone(), source);
                }
                match index.manifests.iter_mut().find(|one| one.digest == entry.digest) {
                    Some(known) => *known = entry,
                    None => index.manifests.push(entry),
                }
            }
            Ok(())
        });
        self.changed(changed)
    }

    /// The entries for an image.
    fn entries(
        &self,
        image: &ListImage,
        part: ListPart,
        notes: &ListNotes,
        access: &RegistryAccess,
        operation: &str,
    ) -> Result<Vec<Found>> {
        let platform = notes.platform();
        if image.place != Place::Registry
            && let Some(found) = self.entries_here(&image.name, part, &platform, operation)?
        {
            return Ok(found);
        }
        let typed = match (&image.name.name, image.place) {
            (Some(typed), Place::Anywhere | Place::Registry) => typed,
            _ => {
                let error = Error::new(ErrorKind::NotFound, operation, "there is no such image here");
                return Err(error.with_hint("`rabbitc images` lists those that are there"));
            }
        };
        let registries = Registries::new(access).map_err(from_image)?;
        let chosen = match part {
            ListPart::One => Chosen::For(&platform),
            ListPart::All => Chosen::All,
        };
        first_of(&registries, typed, "add", |reference| {
            let source = registries.remote(reference).map_err(from_image)?;
            let brought = self.store.bring_manifests(&source, chosen, operation);
            Ok(brought.map(|all| all.into_iter().map(|entry| (entry, Some(reference.clone()))).collect()))
        })
    }

    /// Those for an image or a list that is here; none where there is none, or where only its registry has all of it.
    fn entries_here(
        &self,
        name: &ImageName,
        part: ListPart,
        platform: &Platform,
        operation: &str,
    ) -> Result<Option<Vec<Found>>> {
        if let Some((reference, image)) = self.find_with_name(name)? {
            let is_of_index = self.digests(&image).map_err(from_image)?.len() > 1;
            if part == ListPart::All && is_of_index && name.name.is_some() {
                return Ok(None);
            }
            let entry = self.store.entry_of(&image).map_err(from_image)?;
            return Ok(Some(vec![(entry, reference)]));
        }
        let Some(list) = self.find_list(name)? else { return Ok(None) };
        let index = self.store.index(&list).map_err(from_image)?;
        let entries = match part {
            ListPart::One => vec![index.choose(platform, operation).map_err(from_image)?.clone()],
            ListPart::All => index.manifests,
        };
        let with_source = |entry: Descriptor| {
            let source = list.sources.get(&entry.digest).cloned();
            (entry, source)
        };
        Ok(Some(entries.into_iter().map(with_source).collect()))
    }

    /// Says more of an image in a list, or something else; `image` is its digest, or the name by which it was added. The list's id.
    pub fn annotate_list(&self, list: &ImageName, image: &str, notes: &ListNotes) -> Result<String> {
        let operation = format!("change `{}` in the list `{}`", image.escape_debug(), list.as_str());
        let list = self.wanted_list(list, &operation)?;
        let digest = self.entry_meant(&list, image, &operation)?;
        self.changed(self.store.change_list(&list.reference, |index, _| {
            index.manifests.iter_mut().filter(|one| one.digest == digest).for_each(|one| notes.apply(one));
            Ok(())
        }))
    }

    /// Notes of a list itself, which only OCI's form has. The list's id.
    pub fn annotate_index(&self, list: &ImageName, annotations: &[(String, String)]) -> Result<String> {
        let list = self.wanted_list(list, &format!("change the list `{}`", list.as_str()))?;
        self.changed(self.store.change_list(&list.reference, |index, _| {
            index.annotations.extend(annotations.iter().cloned());
            Ok(())
        }))
    }

    /// Takes an image out of a list. The list's id.
    pub fn remove_from_list(&self, list: &ImageName, image: &str) -> Result<String> {
        let operation = format!("take `{}` out of the list `{}`", image.escape_debug(), list.as_str());
        let list = self.wanted_list(list, &operation)?;
        let digest = self.entry_meant(&list, image, &operation)?;
        self.changed(self.store.change_list(&list.reference, |index, _| {
            index.manifests.retain(|one| one.digest != digest);
            Ok(())
        }))
    }

    fn changed(&self, changed: image::Result<List>) -> Result<String> {
        let list = changed.map_err(from_image)?;
        // The index that it was before.
        self.store.sweep().map_err(from_image)?;
        Ok(list.id)
    }

    /// The digest of the manifest in a list that somebody means.
    fn entry_meant(&self, list: &List, image: &str, operation: &str) -> Result<Digest> {
        let index = self.store.index(list).map_err(from_image)?;
        let has = |digest: &Digest| index.manifests.iter().any(|one| one.digest == *digest);
        let text = image.strip_prefix("docker://").unwrap_or(image);
        let text = text.strip_prefix("containers-storage:").unwrap_or(text);
        let said = text.rsplit_once('@').map_or(text, |(_, digest)| digest);
        if let Some(digest) = said.parse::<Digest>().ok().filter(has) {
            return Ok(digest);
        }
        if let Ok(name) = text.parse::<ImageName>() {
            let names = self.candidates(&name)?;
            let added = |(_, source): &(&Digest, &Reference)| names.contains(source);
            let mut of_name = list.sources.iter().filter(added).map(|(digest, _)| digest);
            if let (Some(digest), None) = (of_name.next(), of_name.next()) {
                return Ok(digest.clone());
            }
            if let Some(found) = self.find(&name)?.filter(|found| has(&found.manifest)) {
                return Ok(found.manifest);
            }
        }
        let error =
            Error::new(ErrorKind::NotFound, operation, "the list has no such image, or several of it");
        Err(error.with_hint(format!(
            "name one by its digest, which `rabbitc manifest inspect {}` shows",
            list.reference
        )))
    }

    /// The text of a list: of one that is here, else of what a registry has by this name.
    pub fn inspect_list(&self, name: &ImageName, access: &RegistryAccess) -> Result<Vec<u8>> {
        let operation = format!("inspect the list `{}`", name.as_str());
        if let Some(list) = self.find_list(name)? {
            return self
                .store
                .read_blob(&list.index, image::documents::MOST_MANIFEST_BYTES)
                .map_err(from_image);
        }
        let Some(typed) = &name.name else {
            return Err(unknown(&operation));
        };
        let registries = Registries::new(access).map_err(from_image)?;
        first_of(&registries, typed, "inspect the list", |reference| {
            let named = registries.remote(reference).map_err(from_image)?.named();
            let checked = named
                .and_then(|(text, kind)| Document::parse(&text, kind.as_deref(), &operation).map(|_| text));
            Ok(checked)
        })
    }

    /// Whether a list is here; an image of the name is an error.
    pub fn list_exists(&self, name: &ImageName) -> Result<bool> {
        if self.find_list(name)?.is_some() {
            return Ok(true);
        }
        match self.find(name)? {
            None => Ok(false),
            Some(_) => {
                let error =
                    Error::invalid(format!("look for the list `{}`", name.as_str()), NO_LIST.to_owned());
                Err(error.with_hint("`rabbitc image exists` looks for images"))
            }
        }
    }

    /// Removes a list; the images that it lists stay, but for what only the list has kept.
    pub fn remove_list(&self, name: &ImageName) -> Result<Vec<Removed>> {
        let operation = format!("remove the list `{}`", name.as_str());
        let list = self.wanted_list(name, &operation)?;
        self.store.forget_list(&list.reference).map_err(from_image)?;
        self.store.sweep().map_err(from_image)?;
        let id = format!("sha256:{}", list.id);
        let removed = vec![Removed::Name(list.reference.to_string()), Removed::Image(id.clone())];
        self.tell_removed(&removed, &id);
        Ok(removed)
    }

    /// The list that is meant, which must be here.
    pub(super) fn wanted_list(&self, name: &ImageName, operation: &str) -> Result<List> {
        if let Some(list) = self.find_list(name)? {
            return Ok(list);
        }
        Err(match self.find(name)? {
            Some(_) => Error::invalid(operation, NO_LIST.to_owned())
                .with_hint("`rabbitc manifest create` makes a list; `rabbitc rmi` removes images"),
            None => unknown(operation),
        })
    }

    /// The list that is meant, by its name, its id or the beginning of its id.
    pub(super) fn find_list(&self, name: &ImageName) -> Result<Option<List>> {
        for reference in self.candidates(name)? {
            if let Some(list) = self.store.list(&reference).map_err(from_image)? {
                return Ok(Some(list));
            }
        }
        let digits = name.text.strip_prefix("sha256:").unwrap_or(&name.text);
        if digits.len() < 3 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let mut lists = self.store.lists().map_err(from_image)?;
        lists.retain(|list| list.id.starts_with(digits));
        Ok(lists.pop().filter(|_| lists.is_empty()))
    }

    /// The image of a list that is for `platform`; none where the name is no list's. It must be here.
    pub(super) fn image_of_list(&self, name: &ImageName, platform: &Platform) -> Result<Option<Image>> {
        let Some(list) = self.find_list(name)? else { return Ok(None) };
        let operation = format!("find the image `{}`", name.as_str());
        let chosen = self.store.choose(&list, platform, &operation).map_err(from_image);
        let entry = chosen.map_err(|error| error.with_hint("`rabbitc manifest add` adds one"))?;
        if let Some(image) = self.store.image(&entry.digest).map_err(from_image)? {
            return Ok(Some(image));
        }
        let reason = format!("it is a list, and its image for `{platform}` is not here");
        let error = Error::new(ErrorKind::NotFound, operation, reason);
        Err(match list.sources.get(&entry.digest) {
            Some(source) => {
                error.with_hint(format!("`rabbitc pull {}@{}` fetches it", source.name(), entry.digest))
            }
            None => error.with_hint("add one that is here with `rabbitc manifest add`"),
        })
    }
}

/// Whoever adds has other flags to choose than whoever pulls.
fn in_words_of_add(mut error: Error) -> Error {
    error.hint = error
        .hint
        .map(|hint| hint.replace("`--platform`", "`--arch`, `--os` and `--variant`, or take `--all`"));
    error
}

const NO_LIST: &str = "it is an image, and no list of images";

fn unknown(operation: &str) -> Error {
    let error = Error::new(ErrorKind::NotFound, operation, "there is no list of this name or id");
    error.with_hint("`rabbitc images` lists what is here; `rabbitc manifest create` makes a list")
}
