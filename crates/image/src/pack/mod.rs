//! From a directory to an archive: what a container changed, as a layer, or a whole tree. Follows no link, and enters nothing that
//! is mounted in the tree.

mod archive;
mod merged;
mod one;
mod walk;

pub use self::archive::{Form, pack, pack_merged, pack_nothing};
pub use self::merged::{Overlay, walk_merged};
pub use self::one::pack_one;
pub use self::walk::{Found, Hides, walk};

#[cfg(test)]
mod tests;
