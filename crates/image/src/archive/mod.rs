//! Images that are files of the host: archives and directories in OCI's layout, archives of Docker's, and directories as skopeo
//! copies them. Nothing of an archive is written anywhere but into the store, and every byte against its digest first.

mod entries;
mod files;
mod forms;
mod root;
mod save;
mod spool;
mod write;

pub use self::forms::{Archive, Archived, Form};
pub use self::root::{RootArchive, compress};
pub use self::save::{SaveForm, Saved, save_archive, save_directory};

/// The annotation that holds an image's name in a layout (image-spec, annotations.md).
const NAME: &str = "org.opencontainers.image.ref.name";
/// The one that containerd and Docker write the whole name to.
const WHOLE_NAME: &str = "io.containerd.image.name";

#[cfg(test)]
mod tests;
