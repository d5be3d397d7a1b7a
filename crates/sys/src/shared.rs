//! Memory that a child made by `clone` shares with its parent.

use std::io;
use std::sync::atomic::AtomicU64;

/// An array of counters in a shared anonymous mapping: what the child stores, the parent reads, also after the
/// child's death.
#[derive(Debug)]
pub struct SharedCounters {
    start: *mut AtomicU64,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone, and its elements are atomics.
unsafe impl Send for SharedCounters {}
// SAFETY: as above.
unsafe impl Sync for SharedCounters {}

impl SharedCounters {
    /// Maps `length` counters, all zero.
    pub fn new(length: usize) -> io::Result<SharedCounters> {
        let length = length.max(1);
        // SAFETY: a new anonymous mapping touches no existing memory.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length * size_of::<AtomicU64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(SharedCounters { start: start.cast(), length })
    }

    /// The counters.
    pub fn counters(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, zeroed, holds `length` elements and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl Drop for SharedCounters {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length, and no reference outlives `self`.
        unsafe { libc::munmap(self.start.cast(), self.length * size_of::<AtomicU64>()) };
    }
}
