//! The program's own code and constants, as memory that is mapped from its file.

use libc::{Elf64_Phdr, PF_W, PT_LOAD, c_int, c_void, dl_phdr_info};

/// Lets go of the pages of code and constants that this process has touched (`madvise(2)`, MADV_DONTNEED): touched again,
/// they come back from the file, which the kernel has in memory as long as it likes. For a process that is about to wait for
/// long. Best effort: where the kernel does not want to, nothing happens.
pub fn let_go() {
    // SAFETY: the function has the type that dl_iterate_phdr(3) calls, and needs no data.
    unsafe { libc::dl_iterate_phdr(Some(let_go_of_object), std::ptr::null_mut()) };
}

/// Called for the program itself first, and for no other object.
extern "C" fn let_go_of_object(object: *mut dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    // SAFETY: the C library hands out a structure that lives as long as this call.
    let object = unsafe { &*object };
    // SAFETY: it says where the object's headers are and how many; they are mapped as long as the object is.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    // What is written to, relocations among it, has no other copy.
    let constant = |header: &&Elf64_Phdr| header.p_type == PT_LOAD && header.p_flags & PF_W == 0;
    for header in headers.iter().filter(constant) {
        let begin = (object.dlpi_addr + header.p_vaddr) as usize;
        let end = begin + header.p_filesz as usize;
        // Whole pages of it alone.
        let page = rustix::param::page_size();
        let (begin, end) = (begin.next_multiple_of(page), end / page * page);
        if begin < end {
            let memory = std::ptr::with_exposed_provenance_mut::<c_void>(begin);
            // SAFETY: these pages are a private mapping of the program's file that nobody writes to, so each is the same
            // when it is touched again, this very code among them.
            unsafe { libc::madvise(memory, end - begin, libc::MADV_DONTNEED) };
        }
    }
    1
}

#[cfg(test)]
mod tests {
    #[test]
    fn program_runs_on_without_the_pages_that_it_let_go() {
        let before = "constants too".to_owned();
        super::let_go();
        assert_eq!(before, "constants too");
    }
}
