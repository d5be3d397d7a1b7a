//! `execve(2)` with argument arrays that were laid out beforehand, so that a child need not allocate.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::sync::atomic::{AtomicPtr, Ordering};

/// An owned, null-terminated array of C strings, as `argv` and `envp` want it.
#[derive(Debug)]
pub struct CStringArray {
    strings: Vec<CString>,
    /// Into `strings`, which never changes and moves along; the end is a null. Atomic for the last entry alone, which
    /// can be another one for the time of a call.
    pointers: Vec<AtomicPtr<c_char>>,
}

impl CStringArray {
    /// Lays out `strings`.
    pub fn new(strings: Vec<CString>) -> CStringArray {
        let entries = strings.iter().map(|string| AtomicPtr::new(string.as_ptr().cast_mut()));
        let pointers = entries.chain([AtomicPtr::new(std::ptr::null_mut())]).collect();
        CStringArray { strings, pointers }
    }

    /// As `argv` and `envp` are passed. `AtomicPtr<T>` has the representation of `*mut T`.
    fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr().cast()
    }

    /// Runs `call` with `last` in the place of the last string, if there is one. Another thread that executed a program
    /// with the same array meanwhile would pass that string too.
    fn with_last<T>(&self, last: Option<&CStr>, call: impl FnOnce() -> T) -> T {
        let slot = self.strings.len().checked_sub(1).and_then(|index| self.pointers.get(index));
        let (Some(last), Some(slot)) = (last, slot) else { return call() };
        let before = slot.swap(last.as_ptr().cast_mut(), Ordering::Relaxed);
        let result = call();
        slot.store(before, Ordering::Relaxed);
        result
    }

    /// The strings themselves.
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }
}

/// Replaces the program; returns only with the reason why it could not. `last` stands in the place of the environment's
/// last string, for what is known only by now.
pub fn execve(
    path: &CStr,
    arguments: &CStringArray,
    environment: &CStringArray,
    last: Option<&CStr>,
) -> io::Error {
    environment.with_last(last, || {
        // SAFETY: all three are null-terminated and live across the call, as does `last`.
        unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        io::Error::last_os_error()
    })
}

/// As [`execve`], with the program that `file` refers to (`execveat(2)`).
pub fn execve_descriptor(
    file: std::os::fd::BorrowedFd<'_>,
    arguments: &CStringArray,
    environment: &CStringArray,
    last: Option<&CStr>,
) -> io::Error {
    use std::os::fd::AsRawFd;
    environment.with_last(last, || {
        // SAFETY: both arrays are null-terminated and live across the call, as do the empty path and `last`.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                file.as_raw_fd(),
                c"".as_ptr(),
                arguments.as_ptr(),
                environment.as_ptr(),
                libc::AT_EMPTY_PATH,
            )
        };
        io::Error::last_os_error()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_string_is_another_one_for_the_time_of_a_call_alone() {
        let array = CStringArray::new(vec![c"A=1".to_owned(), c"HOME=/".to_owned()]);
        let last = || array.pointers[1].load(Ordering::Relaxed).cast_const();
        let home = c"HOME=/home/web";
        array.with_last(Some(home), || assert_eq!(last(), home.as_ptr()));
        assert_eq!(last(), array.strings()[1].as_ptr());
        CStringArray::new(Vec::new()).with_last(Some(home), || ());
    }
}
