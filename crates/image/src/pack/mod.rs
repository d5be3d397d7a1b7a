//! From a directory to an archive: what a container changed, as a layer, or a whole tree. Follows no link, and enters nothing that
//! is mounted in the tree.

mod archive;
mod walk;

pub use self::archive::{Form, pack};
pub use self::walk::{Found, Hides, walk};

#[cfg(test)]
mod tests;
