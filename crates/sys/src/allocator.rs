//! The allocator of the programs: dlmalloc behind a lock of one atomic exchange, on memory that is there at once.
//!
//! A start allocates some thousand times and lives for a few milliseconds. A mutex of libc around each of these, and a
//! page fault for each page, are a noticeable part of that.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

use dlmalloc::{Allocator as Source, Dlmalloc};

/// To be made the `#[global_allocator]` of a program.
pub struct Allocator {
    taken: AtomicBool,
    heap: UnsafeCell<Heap>,
}

type Heap = Dlmalloc<Pages>;

impl std::fmt::Debug for Allocator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Allocator")
    }
}

impl Allocator {
    /// One that has no memory yet.
    #[expect(clippy::new_without_default, reason = "only a static is of use")]
    pub const fn new() -> Allocator {
        Allocator {
            taken: AtomicBool::new(false),
            heap: UnsafeCell::new(Dlmalloc::new_with_allocator(Pages)),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Heap) -> T) -> T {
        // Held for the length of one allocation, by whichever thread: to wait any other way is not worth it.
        while self.taken.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        // SAFETY: whoever has taken the flag is alone with the heap until it is given back.
        let done = work(unsafe { &mut *self.heap.get() });
        self.taken.store(false, Ordering::Release);
        done
    }
}

// SAFETY: the heap is only reached through the flag, by one thread at a time.
unsafe impl Sync for Allocator {}

// SAFETY: dlmalloc keeps the contract of `GlobalAlloc`, and every call of it is made with the arguments as they came.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        self.with(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        self.with(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        self.with(|heap| unsafe { heap.free(memory, layout.size(), layout.align()) });
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        self.with(|heap| unsafe { heap.realloc(memory, layout.size(), layout.align(), size) })
    }
}

/// Where the heap has its memory from.
struct Pages;

/// Up to here memory is asked for with all its pages: more is a buffer, of which little may ever be used.
const AT_ONCE: usize = 64 << 10;

// SAFETY: what is returned are fresh mappings of at least the size asked for, and only such are given back.
unsafe impl Source for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let populate = if size <= AT_ONCE { libc::MAP_POPULATE } else { 0 };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | populate;
        // SAFETY: a new mapping, wherever the kernel likes, replaces nothing.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
        if memory == libc::MAP_FAILED { (std::ptr::null_mut(), 0, 0) } else { (memory.cast(), size, 0) }
    }

    fn remap(&self, memory: *mut u8, old: usize, new: usize, can_move: bool) -> *mut u8 {
        let flags = if can_move { libc::MREMAP_MAYMOVE } else { 0 };
        // SAFETY: the heap gives a mapping of its own, with the size that it has.
        let moved = unsafe { libc::mremap(memory.cast(), old, new, flags) };
        if moved == libc::MAP_FAILED { std::ptr::null_mut() } else { moved.cast() }
    }

    fn free_part(&self, memory: *mut u8, old: usize, new: usize) -> bool {
        // SAFETY: the heap gives a mapping of its own, and what is cut off is not in use.
        unsafe { libc::mremap(memory.cast(), old, new, 0) != libc::MAP_FAILED }
    }

    fn free(&self, memory: *mut u8, size: usize) -> bool {
        // SAFETY: the heap gives a mapping of its own that is not in use.
        unsafe { libc::munmap(memory.cast(), size) == 0 }
    }

    fn can_release_part(&self, _: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        4096
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_allocate_at_once_and_each_keeps_what_is_its_own() {
        static ALLOCATOR: Allocator = Allocator::new();
        let work = |byte: u8| {
            for size in 1..2000 {
                let layout = Layout::from_size_align(size, 8).expect("legal");
                // SAFETY: of a size that is not 0, checked before it is used.
                let memory = unsafe { ALLOCATOR.alloc(layout) };
                assert!(!memory.is_null());
                // SAFETY: it is ours, and as long as that.
                unsafe { memory.write_bytes(byte, size) };
                // SAFETY: it is from the same allocator, with the same layout.
                let memory = unsafe { ALLOCATOR.realloc(memory, layout, size + 4000) };
                // SAFETY: what was written before was kept.
                let kept = unsafe { std::slice::from_raw_parts(memory, size) };
                assert!(kept.iter().all(|found| *found == byte));
                let grown = Layout::from_size_align(size + 4000, 8).expect("legal");
                // SAFETY: the same again, and nobody has it any more.
                unsafe { ALLOCATOR.dealloc(memory, grown) };
            }
        };
        std::thread::scope(|scope| {
            for byte in 1..5 {
                scope.spawn(move || work(byte));
            }
        });
    }
}
