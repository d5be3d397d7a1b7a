//! Copying memory, for programs of musl on x86-64: its own copy is a string instruction, which takes the processor thirty
//! nanoseconds to begin, and a start makes two thousand copies of a few bytes. Linked in the place of those by their names.

use core::arch::asm;

/// From here on the string instruction is worth its beginning.
const LONG: usize = 512;

type Sixteen = [u64; 2];

/// As memcpy(3).
///
/// # Safety
///
/// `count` bytes can be read at `from` and written at `to`, and no byte is of both.
#[cfg_attr(target_env = "musl", unsafe(no_mangle))]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: as the caller promises.
    unsafe { copy_upwards(to, from, count) };
    to
}

/// As memmove(3).
///
/// # Safety
///
/// `count` bytes can be read at `from` and written at `to`.
#[cfg_attr(target_env = "musl", unsafe(no_mangle))]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= count {
        // SAFETY: as the caller promises; `to` does not lie in what is read.
        unsafe { copy_upwards(to, from, count) };
    } else {
        // SAFETY: as the caller promises; `to` lies in what is read.
        unsafe { copy_downwards(to, from, count) };
    }
    to
}

/// Copies from the first byte on.
///
/// # Safety
///
/// `count` bytes can be read at `from` and written at `to`, and `to` is none of those that are read, but the first.
#[inline(always)]
unsafe fn copy_upwards(to: *mut u8, from: *const u8, count: usize) {
    if count >= LONG {
        // SAFETY: it reads and writes what the caller promises, upwards, as the direction is whenever a function is
        // called (System V ABI).
        unsafe {
            asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
        }
        return;
    }
    let mut done = 0;
    while count - done > 32 {
        // SAFETY: more than thirty-two are left.
        unsafe { copy_ends::<Sixteen>(to.wrapping_add(done), from.wrapping_add(done), 32) };
        done += 32;
        keep_loop();
    }
    // SAFETY: these are left.
    unsafe { copy_few(to.wrapping_add(done), from.wrapping_add(done), count - done) };
}

/// Copies from the last byte on.
///
/// # Safety
///
/// `count` bytes can be read at `from` and written at `to`, which is above `from`.
#[inline(always)]
unsafe fn copy_downwards(to: *mut u8, from: *const u8, count: usize) {
    let mut left = count;
    while left > 32 {
        left -= 32;
        // SAFETY: so many were left.
        unsafe { copy_ends::<Sixteen>(to.wrapping_add(left), from.wrapping_add(left), 32) };
        keep_loop();
    }
    // SAFETY: these are left.
    unsafe { copy_few(to, from, left) };
}

/// Copies up to thirty-two bytes, all of which are read before one is written.
///
/// # Safety
///
/// `count` bytes can be read at `from` and written at `to`.
#[inline(always)]
unsafe fn copy_few(to: *mut u8, from: *const u8, count: usize) {
    match count {
        0 => {}
        // SAFETY: there is one, as the caller promises.
        1 => unsafe { copy_ends::<u8>(to, from, count) },
        // SAFETY: the type has at least half of them.
        2..4 => unsafe { copy_ends::<u16>(to, from, count) },
        // SAFETY: the type has at least half of them.
        4..8 => unsafe { copy_ends::<u32>(to, from, count) },
        // SAFETY: the type has at least half of them.
        8..16 => unsafe { copy_ends::<u64>(to, from, count) },
        // SAFETY: the type has at least half of them.
        _ => unsafe { copy_ends::<Sixteen>(to, from, count) },
    }
}

/// Copies the first and the last of the bytes as values of a type that together are all of them.
///
/// # Safety
///
/// `count` bytes can be read at `from` and written at `to`; a `T` has at most as many and at least half.
#[inline(always)]
unsafe fn copy_ends<T: Copy>(to: *mut u8, from: *const u8, count: usize) {
    let last = count - size_of::<T>();
    // SAFETY: as the caller promises.
    let begin = unsafe { from.cast::<T>().read_unaligned() };
    // SAFETY: it ends where what can be read ends.
    let end = unsafe { from.wrapping_add(last).cast::<T>().read_unaligned() };
    // SAFETY: as the caller promises.
    unsafe { to.cast::<T>().write_unaligned(begin) };
    // SAFETY: it ends where what can be written ends.
    unsafe { to.wrapping_add(last).cast::<T>().write_unaligned(end) };
}

/// Without it the compiler could see what the loop is for, and call the very function that it is in.
#[inline(always)]
fn keep_loop() {
    // SAFETY: no instruction at all.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> Vec<u8> {
        (0..1300).map(|number| (number % 251) as u8).collect()
    }

    #[test]
    fn copies_of_every_length_are_whole_and_touch_nothing_else() {
        let from = numbers();
        for count in 0..1100 {
            for shift in [0, 1, 7, 16] {
                let mut to = vec![0xff; from.len()];
                // SAFETY: both are longer than what is copied, and neither is the other.
                unsafe { memcpy(to[shift..].as_mut_ptr(), from[shift / 2..].as_ptr(), count) };
                assert_eq!(to[shift..shift + count], from[shift / 2..shift / 2 + count]);
                assert!(to[..shift].iter().chain(&to[shift + count..]).all(|byte| *byte == 0xff));
            }
        }
    }

    #[test]
    fn what_moves_over_itself_arrives_as_it_was() {
        for count in (0..70).chain([511, 512, 1000]) {
            for (to, from) in [(0, 0), (0, 1), (1, 0), (0, 31), (31, 0), (33, 0), (0, 33), (200, 0), (0, 200)]
            {
                let mut bytes = numbers();
                let mut expected = bytes.clone();
                expected.copy_within(from..from + count, to);
                let place = bytes.as_mut_ptr();
                // SAFETY: both lie in the same array, with all that is moved.
                unsafe { memmove(place.wrapping_add(to), place.wrapping_add(from), count) };
                assert_eq!(bytes, expected, "{count} from {from} to {to}");
            }
        }
    }
}
