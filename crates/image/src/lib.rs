//! Container images: how they are named, what their documents say, how they come from a registry or an archive, and how they
//! are kept. Must not know containers or networks, and prints nothing.
//!
//! Nothing of an image is trusted: documents are checked when they are read, and every byte against its digest before
//! anything of it is published.

pub mod archive;
mod attributes;
mod compare;
pub mod digest;
pub mod documents;
pub mod error;
pub mod pack;
pub mod reference;
pub mod registry;
#[cfg(test)]
mod scratch;
pub mod store;
pub mod unpack;

pub use self::digest::Digest;
pub use self::error::{Error, Kind, Result};
pub use self::reference::Reference;
pub use self::store::Store;
