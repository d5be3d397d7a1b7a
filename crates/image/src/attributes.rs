//! Extended attributes of what may be no file.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// The longest list of names, and the longest value (XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h).
const LONGEST: usize = 64 << 10;

/// Extended attributes by their names. By the directory's descriptor, as neither devices nor links can be opened.
pub(crate) fn attributes(
    directory: BorrowedFd<'_>,
    name: &CStr,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Errno> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend(name.to_bytes());
    let mut list = vec![0; LONGEST];
    let length = match rustix::fs::llistxattr(path.as_slice(), list.as_mut_slice()) {
        Ok(length) => length,
        // A file system without any.
        Err(Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut attributes = BTreeMap::new();
    let mut value = vec![0; if length == 0 { 0 } else { LONGEST }];
    for key in list[..length].split(|byte| *byte == 0).filter(|key| !key.is_empty()) {
        let length = rustix::fs::lgetxattr(path.as_slice(), key, value.as_mut_slice())?;
        attributes.insert(key.to_vec(), value[..length].to_vec());
    }
    Ok(attributes)
}
