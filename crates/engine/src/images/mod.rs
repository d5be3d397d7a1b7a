//! Images as people ask for them: pulled by name, listed, run, removed. Owns where they are kept, and what a name means.

mod check;
mod list;
mod pull;
mod ready;
mod remove;
mod unpack;
mod usage;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use image::reference::{DOCKER_IO, Typed};
use image::store::{Image, Store};
use runtime::ErrorKind;
use runtime::caller::Caller;

pub use self::check::{CheckDepth, Damaged, Outcome, Repair};
pub use self::list::Listed;
pub use self::pull::{Progress, PullRequest, RegistryAccess};
pub use self::ready::{ImageDefaults, ReadyImage};
pub use self::remove::Removed;
pub use self::unpack::{is_unpack_verb, unpack_layer};
pub use self::usage::{ImageUsage, StoreUsage};
use crate::error::{Error, Result, from_image};

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

/// A path is the mistake that people make.
fn refused(text: &str, error: image::Error) -> Error {
    let error = from_image(error);
    match text.starts_with(['/', '.']) {
        true => error.with_hint(
            "`--rootfs=DIR` runs a directory; `-- PROGRAM` a program on a throw-away copy of the host's root",
        ),
        false => error,
    }
}

impl ImageName {
    /// As it was typed.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The images of the caller.
#[derive(Debug)]
pub struct ImageStore {
    store: Store,
}

impl ImageStore {
    /// Opens the caller's: below `root`, or where they are without a word.
    pub fn open(root: Option<&Path>) -> Result<ImageStore> {
        if Caller::find() == Caller::User {
            let error = Error::new(ErrorKind::Unsupported, "use images", "they take root, yet");
            return Err(error
                .with_hint("run it with sudo; containers from a directory (`--rootfs=DIR`) need no root"));
        }
        let path = root.map_or_else(|| PathBuf::from("/var/lib/rabbitc/images"), |root| root.join("images"));
        Ok(ImageStore { store: Store::open(path).map_err(from_image)? })
    }
    /// Removes what no image needs: remains of commands that were killed.
    pub fn sweep(&self) -> Result<Option<u64>> {
        let swept = self.store.sweep().map_err(from_image)?;
        Ok(swept.map(|swept| swept.bytes))
    }

    /// The image that is meant.
    fn find(&self, name: &ImageName) -> Result<Option<Image>> {
        self.store.find(&name.text, &[DOCKER_IO.to_owned()]).map_err(from_image)
    }
}
