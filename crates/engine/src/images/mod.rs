//! Images as people ask for them: pulled by name, listed, run, removed. Owns where they are kept, and what a name means.

mod change;
mod check;
mod filter;
mod history;
mod import;
mod inspect;
mod list;
mod list_create;
mod list_push;
mod lists;
mod load;
mod logins;
mod mounts;
mod namespaces;
mod pages;
mod prune;
mod pull;
mod push;
mod ready;
mod registries;
mod remove;
mod save;
mod search;
pub(crate) mod shifted;
mod tag;
mod transport;
mod tree;
mod unpack;
mod usage;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use image::Reference;
use image::reference::{DOCKER_IO, Typed};
use image::registry::Configuration;
use image::registry::configuration::Files;
use image::store::{Image, Store};
use runtime::ErrorKind;
use runtime::caller::{self, Caller};

pub use self::change::ImageChange;
pub use self::check::{CheckDepth, Damaged, Outcome, Repair};
pub use self::filter::{ImageFilter, ImageFilters};
pub use self::history::HistoryEntry;
pub use self::import::ImportRequest;
pub use self::inspect::Inspected;
pub use self::list::Listed;
pub use self::list_create::{ExistingList, NewList};
pub use self::list_push::{ListPush, PushedImages};
pub use self::lists::{ListImage, ListNotes, ListPart};
pub use self::load::{LoadFrom, Loaded};
pub use self::logins::{LoggedOut, Logins};
pub use self::mounts::{ImageMount, Unmount};
use self::namespaces::Namespaces;
pub(crate) use self::namespaces::boot_id;
pub use self::pages::is_address;
pub use self::prune::{Pruned, Unneeded};
pub(crate) use self::pull::Told;
pub use self::pull::{Came, MovingLayer, Progress, PullRequest, PulledImage};
pub use self::push::{Push, PushRequest, PushedImage};
pub use self::ready::{ImageDefaults, PlatformParts, ReadyImage};
pub use self::registries::RegistryAccess;
pub use self::remove::{Removal, Removed};
pub use self::save::SaveTo;
pub use self::search::{FoundRepository, SearchOutcome, SearchRequest, list_tags, search};
pub use self::shifted::{is_shift_verb, unpack_image_again};
pub(crate) use self::tag::as_name;
pub use self::transport::{SaveLayout, Transport};
pub use self::tree::{Tree, TreeLayer};
pub(crate) use self::unpack::{Apart, has_one_id};
pub use self::unpack::{is_unpack_verb, unpack_layer};
pub use self::usage::{ContainersUsage, ImageUsage, StoreUsage};
use crate::container::Notice;
use crate::error::{Error, Result, from_image};
use crate::events::{Event, EventLog};
use crate::kept::KeptContainers;
use crate::rootless;
use crate::volume_store::VolumeStore;

/// An image as somebody typed it: a name, an id or the beginning of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    text: String,
    /// None where it can only be an id.
    name: Option<Typed>,
}

impl FromStr for ImageName {
    type Err = Error;

    fn from_str(text: &str) -> Result<ImageName> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let is_id = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let name = match is_id {
            true => None,
            false => Some(text.parse().map_err(|error| refused(text, error))?),
        };
        Ok(ImageName { text: text.to_owned(), name })
    }
}

/// Where images are that this program does not reach (containers-transports(5)).
const FOREIGN: [&str; 4] = ["docker-daemon", "containers-storage", "ostree", "sif"];

/// A path is the mistake that people make, and the address of a page.
fn refused(text: &str, error: image::Error) -> Error {
    let error = from_image(error);
    if let Some((scheme, rest)) = text.split_once("://") {
        let hint = format!("leave `{scheme}://` out: `{}`", rest.trim_end_matches('/'));
        return error.with_hint(hint.escape_debug().to_string());
    }
    match text.starts_with(['/', '.']) {
        true => error.with_hint(
            "`--rootfs=DIR` runs a directory; `-- PROGRAM` a program on a throw-away copy of the host's root",
        ),
        false => error,
    }
}

/// Root of a user namespace, as in `podman unshare`, looks for images where root of the host has his.
fn unopened(root: Option<&Path>, error: image::Error) -> Error {
    let is_refused = error.errno == Some(rustix::io::Errno::ACCESS.raw_os_error());
    let error = from_image(error);
    match is_refused && root.is_none() && Caller::find() == Caller::NamespaceRoot {
        true => error.with_hint(
            "these are root's of the host; for those of a user, as in `podman unshare`: `--root=$HOME/.local/share/rabbitc`, and \
             `--runroot=/run/user/UID/rabbitc` for mounts",
        ),
        false => error,
    }
}

/// Where the images are.
fn place(root: Option<&Path>) -> Result<PathBuf> {
    Ok(data_directory(root)?.join("images"))
}

/// Where all that stays is: root's below /var, a user's with its data.
pub(crate) fn data_directory(root: Option<&Path>) -> Result<PathBuf> {
    Ok(match root {
        // Containers have another working directory.
        Some(root) => std::path::absolute(root).map_err(|error| Error::at_path("find", root, error))?,
        None if rustix::process::geteuid().is_root() => PathBuf::from("/var/lib/rabbitc"),
        None => {
            let directory = caller::data_directory().ok_or_else(|| {
                let reason = "neither XDG_DATA_HOME nor HOME says where this user keeps data";
                let error = Error::new(ErrorKind::NotFound, "find this user's images and containers", reason);
                error.with_hint("set HOME, or name a directory with `--root`")
            })?;
            directory.join("rabbitc")
        }
    })
}

impl ImageName {
    /// One of an image in a registry, also with podman's `docker://` before it.
    pub fn in_registry(text: &str) -> Result<ImageName> {
        let foreign = text.split_once(':').filter(|(scheme, _)| FOREIGN.contains(scheme));
        if let Some((scheme, _)) = foreign {
            let operation = format!("fetch `{}`", text.escape_debug());
            let error = Error::new(ErrorKind::Unsupported, operation, format!("`{scheme}:` is not reached"));
            let hint = "save it there as an archive, and `rabbitc load -i FILE`: with `docker save` or `podman save`";
            return Err(error.with_hint(hint));
        }
        text.strip_prefix("docker://").unwrap_or(text).parse()
    }

    /// As it was typed.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The images of the caller.
#[derive(Debug)]
pub struct ImageStore {
    store: Store,
    /// What a person should know before an image comes: that its files have one owner alone.
    pub single: Option<Notice>,
    /// Where images may be mounted, as it was seen before this process has entered a user namespace.
    namespaces: Option<Namespaces>,
    /// The caller's variables: they say where it is said what short names mean.
    environment: Vec<(OsString, OsString)>,
}

impl ImageStore {
    /// Opens the caller's: below `root`, or where they are without a word. Without root this process, which must have one thread,
    /// enters a user namespace for good, in which it makes and removes files of all its ids.
    pub fn open(root: Option<&Path>) -> Result<ImageStore> {
        let path = place(root)?;
        let namespaces = namespaces_before(&path)?;
        let single = enter_own_users()?;
        let store = Store::open(path).map_err(|error| unopened(root, error))?;
        Ok(ImageStore { store, single, namespaces, environment: Vec::new() })
    }

    /// As [`ImageStore::open`], for somebody who removes or repairs: where there are none, nothing is made.
    pub fn open_to_change(root: Option<&Path>) -> Result<ImageStore> {
        let path = place(root)?;
        let namespaces = namespaces_before(&path)?;
        let single = enter_own_users()?;
        let store = Store::open_to_read(path).map_err(|error| unopened(root, error))?;
        Ok(ImageStore { store, single, namespaces, environment: Vec::new() })
    }

    /// Opens them for somebody who only looks at them: where there are none, nothing is made.
    pub fn open_to_read(root: Option<&Path>) -> Result<ImageStore> {
        let store = Store::open_to_read(place(root)?).map_err(|error| unopened(root, error))?;
        Ok(ImageStore { store, single: None, namespaces: None, environment: Vec::new() })
    }

    /// With the caller's variables, by which registries.conf and with it the meaning of short names is found.
    pub fn with_environment(self, environment: Vec<(OsString, OsString)>) -> ImageStore {
        ImageStore { environment, ..self }
    }

    /// Tells what has become of an image.
    fn tell(&self, action: &str, id: &str, name: &str) {
        EventLog::beside(self.store.path()).tell(&Event::now("image", action, id).with("name", name));
    }

    /// Tells what was removed of an image.
    fn tell_removed(&self, removed: &[Removed], id: &str) {
        for one in removed {
            match one {
                Removed::Name(name) => self.tell("untag", id, name),
                Removed::Image(id) => self.tell("delete", id, id),
            }
        }
    }

    /// The containers that are kept beside them.
    pub fn containers(&self) -> KeptContainers {
        KeptContainers::beside(self.store.path())
    }

    /// The volumes that are kept beside them.
    pub fn volumes(&self) -> VolumeStore {
        VolumeStore::beside(self.store.path())
    }

    /// Whether to bring or remove images takes a user namespace that this process is not in.
    pub fn is_to_read(&self) -> bool {
        Caller::find() == Caller::User
    }

    /// Removes what no image needs: remains of commands that were killed.
    pub fn sweep(&self) -> Result<Option<u64>> {
        let swept = self.store.sweep().map_err(from_image)?;
        Ok(swept.map(|swept| swept.bytes))
    }

    /// Whether an image is here.
    pub fn exists(&self, name: &ImageName) -> Result<bool> {
        Ok(self.find(name)?.is_some() || self.find_list(name)?.is_some())
    }

    /// The image that is meant, which must be here.
    fn wanted(&self, name: &ImageName, operation: &str) -> Result<Image> {
        if let Some(image) = self.find(name)? {
            return Ok(image);
        }
        if self.find_list(name)?.is_some() {
            let error = Error::invalid(operation, "it is a list of images".to_owned());
            return Err(error.with_hint(format!(
                "`rabbitc manifest inspect {}` shows it, and `rabbitc manifest --help` what else there is for lists",
                name.as_str().escape_debug()
            )));
        }
        let error = Error::new(ErrorKind::NotFound, operation, "there is none of this name or id");
        Err(error.with_hint("`rabbitc images` lists those that are there"))
    }

    /// The image that is meant.
    fn find(&self, name: &ImageName) -> Result<Option<Image>> {
        Ok(self.find_with_name(name)?.map(|(_, image)| image))
    }

    /// The image that is meant, and the name by which it was found, if it was not by an id.
    fn find_with_name(&self, name: &ImageName) -> Result<Option<(Option<Reference>, Image)>> {
        for reference in self.candidates(name)? {
            let found =
                self.store.find(&reference.to_string(), &[DOCKER_IO.to_owned()]).map_err(from_image)?;
            if let Some(image) = found {
                return Ok(Some((Some(reference), image)));
            }
        }
        let by_id = self.store.find(&name.text, &[]).map_err(from_image)?;
        Ok(by_id.map(|image| (None, image)))
    }

    /// The whole names that a typed one can stand for here.
    fn candidates(&self, name: &ImageName) -> Result<Vec<Reference>> {
        match &name.name {
            None => Ok(Vec::new()),
            // Nothing is to be looked up for it.
            Some(typed) if typed.registry.is_some() => Ok(vec![typed.clone().in_registry(DOCKER_IO)]),
            Some(typed) => Ok(self.short_names()?.candidates(typed)),
        }
    }

    fn short_names(&self) -> Result<Configuration> {
        Configuration::read(&Files::find(&self.environment)).map_err(from_image)
    }
}

/// Where images may be mounted, for somebody who enters a user namespace next and whose store has notes of mounts.
fn namespaces_before(store: &Path) -> Result<Option<Namespaces>> {
    let has_notes = || std::fs::read_dir(store.join("mounts")).is_ok_and(|mut notes| notes.next().is_some());
    match Caller::find() == Caller::User && has_notes() {
        true => Namespaces::look().map(Some),
        false => Ok(None),
    }
}

/// Enters the caller's own user namespace where he is not root.
pub(crate) fn enter_own_users() -> Result<Option<Notice>> {
    match Caller::find() {
        Caller::User => rootless::enter_own_users(),
        Caller::Root | Caller::NamespaceRoot => Ok(None),
    }
}
