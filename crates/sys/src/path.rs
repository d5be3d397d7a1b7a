//! Paths without links.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The absolute path of what is at `path`, links resolved (realpath(3)): as `std::fs::canonicalize`, which has the C library
/// allocate, whose heap a start else never opens.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    const LENGTH: usize = libc::PATH_MAX as usize;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut buffer = [0_u8; LENGTH];
    // SAFETY: the path ends with a NUL, and the buffer has the length that the function writes at most.
    let found = unsafe { libc::realpath(path.as_ptr(), buffer.as_mut_ptr().cast()) };
    if found.is_null() {
        return Err(io::Error::last_os_error());
    }
    let text =
        std::ffi::CStr::from_bytes_until_nul(&buffer).expect("realpath ends what it writes with a NUL");
    Ok(OsString::from_vec(text.to_bytes().to_vec()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_what_the_standard_library_finds() {
        for path in [".", "/", "/proc/self/exe", "/proc/self/cwd/..", "/none", "/dev/null/x", "", "a\0b"] {
            let (found, expected) = (resolve(path.as_ref()), std::fs::canonicalize(path));
            assert_eq!(found.as_ref().ok(), expected.as_ref().ok(), "{path}");
            assert_eq!(found.map_err(|error| error.kind()), expected.map_err(|error| error.kind()), "{path}");
        }
    }
}
