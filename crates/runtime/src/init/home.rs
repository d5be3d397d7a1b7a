//! The home directory of the program's user, as the container's own /etc/passwd has it (passwd(5)).

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::sync;

/// Longer ones are left out.
const LONGEST: usize = 1024;
/// What is read of the file at most: it is the image's, and need not end.
const MOST: usize = 1 << 20;

/// `HOME=…`, with a null behind it.
pub(super) struct Home {
    text: [u8; LONGEST],
    length: usize,
}

impl Home {
    fn new() -> Home {
        let mut home = Home { text: [0; LONGEST], length: 0 };
        home.clear();
        home
    }

    fn clear(&mut self) {
        const NAME: &[u8] = b"HOME=";
        self.text[..NAME.len()].copy_from_slice(NAME);
        self.length = NAME.len();
    }

    /// False where there is no room for it and the null.
    fn push(&mut self, byte: u8) -> bool {
        let fits = self.length + 1 < LONGEST && byte != 0;
        if fits {
            self.text[self.length] = byte;
            self.length += 1;
            self.text[self.length] = 0;
        }
        fits
    }

    fn is_empty(&self) -> bool {
        self.text.get(self.length.wrapping_sub(1)) == Some(&b'=')
    }

    /// The entry of the environment.
    pub(super) fn entry(&self) -> Option<&CStr> {
        let bytes = self.text.get(..self.length)?;
        if self.is_empty() || self.text.get(self.length) != Some(&0) {
            return None;
        }
        CStr::from_bytes_until_nul(self.text.get(..=bytes.len())?).ok()
    }
}

/// Looks `uid` up. Nothing where the file, the user or the directory is missing: then the environment says what is usual.
pub(super) fn find(uid: u32) -> Option<Home> {
    let file = open().ok()?;
    let mut search = Search { uid, home: Home::new(), line: Line::default() };
    let mut buffer = [0u8; 4096];
    let mut read = 0;
    while read < MOST {
        let count = sync::retry(|| rustix::io::read(&file, &mut buffer[..])).ok()?;
        if count == 0 {
            return search.take(b'\n').then_some(search.home);
        }
        read += count;
        for byte in &buffer[..count] {
            if search.take(*byte) {
                return Some(search.home);
            }
        }
    }
    None
}

/// A regular file and nothing else: opening a device or a FIFO of the image's choice is an act.
fn open() -> rustix::io::Result<OwnedFd> {
    const PATH: &CStr = c"/etc/passwd";
    let resolve = ResolveFlags::NO_MAGICLINKS;
    let look = rustix::fs::openat2(CWD, PATH, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    let found = rustix::fs::fstat(&look)?;
    if !FileType::from_raw_mode(found.st_mode).is_file() {
        return Err(Errno::INVAL);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(CWD, PATH, flags, Mode::empty(), resolve)?;
    let opened = rustix::fs::fstat(file.as_fd())?;
    let same = (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino);
    if same { Ok(file) } else { Err(Errno::STALE) }
}

#[derive(Default)]
struct Line {
    field: usize,
    uid: Option<u32>,
    wrong: bool,
}

struct Search {
    uid: u32,
    home: Home,
    line: Line,
}

impl Search {
    /// Takes one byte; true once the user's line has been read.
    fn take(&mut self, byte: u8) -> bool {
        let line = &mut self.line;
        match (byte, line.field) {
            (b'\n', _) => {
                let found =
                    !line.wrong && line.field >= 5 && line.uid == Some(self.uid) && !self.home.is_empty();
                self.line = Line::default();
                if !found {
                    self.home.clear();
                }
                return found;
            }
            (b':', _) => line.field += 1,
            (digit, 2) => {
                let value = char::from(digit).to_digit(10);
                let next = value.and_then(|value| line.uid.unwrap_or(0).checked_mul(10)?.checked_add(value));
                line.wrong |= next.is_none();
                line.uid = next;
            }
            (byte, 5) => line.wrong |= !self.home.push(byte),
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(text: &str, uid: u32) -> Option<String> {
        let mut search = Search { uid, home: Home::new(), line: Line::default() };
        let found = text.bytes().chain([b'\n']).any(|byte| search.take(byte));
        let entry = search.home.entry().map(|entry| entry.to_str().expect("text").to_owned());
        if found { entry } else { None }
    }

    #[test]
    fn home_is_that_of_the_first_whole_line_of_the_user() {
        let text = "root:x:0:0:root:/root/longer/than/others:/bin/sh\n\ncut:x:7\nempty:x:7:7:::\nweb:x:7:7:a b:/srv/web:\nweb:x:7:7::/no:\n";
        assert_eq!(search(text, 0).as_deref(), Some("HOME=/root/longer/than/others"));
        assert_eq!(search(text, 7).as_deref(), Some("HOME=/srv/web"));
        assert_eq!(search(text, 70), None);
        assert_eq!(search("last:x:1:1::/last", 1).as_deref(), Some("HOME=/last"));
    }

    #[test]
    fn hostile_lines_are_no_users() {
        for text in
            ["a:x:0x7:7::/h:", "a:x:4294967303:7::/h:", "a:x:-7:7::/h:", "a:x: 7:7::/h:", "a:x::7::/h:"]
        {
            assert_eq!(search(text, 7), None, "{text}");
            assert_eq!(search(text, 0), None, "{text}");
        }
        let long = format!("a:x:7:7::/{}:", "h".repeat(LONGEST));
        assert_eq!(search(&format!("{long}\nb:x:7:7::/b:"), 7).as_deref(), Some("HOME=/b"));
        assert_eq!(search("a:x:7:7::/h\0h:", 7), None);
    }
}
