//! Images that are files of the host: a directory or an archive in OCI's layout, or an archive of Docker's.

mod layout;

pub use self::layout::Layout;
