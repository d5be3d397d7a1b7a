//! The mount table, as `/proc/PID/mountinfo` tells it (proc_pid_mountinfo(5)).

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// One mount. Paths are bytes, as the kernel's are: one that is no text must not hide the rest of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its number, as statx(2) gives it too (`STATX_MNT_ID`).
    pub id: u64,
    /// The number of the mount that it is mounted on.
    pub parent: u64,
    /// The directory of its file system that it shows.
    pub root: Cow<'a, Path>,
    /// Its mount point, as the reader's root has it.
    pub mount_point: Cow<'a, Path>,
    /// Its own options, such as `rw,nosuid`.
    pub options: &'a str,
    /// How it propagates: `shared:N`, `master:N` and others.
    pub tags: &'a str,
    /// The type of its file system.
    pub file_system: Cow<'a, str>,
    /// The options of its file system.
    pub super_options: Cow<'a, str>,
}

impl Entry<'_> {
    /// Whether `tag`, such as `shared`, is among its tags.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.split(' ').any(|each| each.split(':').next() == Some(tag))
    }
}

/// All mounts of a table; what is no line of one is left out. A later one lies over an earlier one at the same place.
pub fn entries(table: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    table.split(|&byte| byte == b'\n').filter_map(entry)
}

fn entry(line: &[u8]) -> Option<Entry<'_>> {
    let mut mount = line.splitn(7, |&byte| byte == b' ');
    let id = text(mount.next()?)?.parse().ok()?;
    let parent = text(mount.next()?)?.parse().ok()?;
    let root = mount.nth(1)?;
    let (mount_point, options) = (mount.next()?, mount.next()?);
    let (tags, file_system) = at_separator(mount.next()?)?;
    let mut of_file_system = file_system.split(|&byte| byte == b' ');
    let kind = of_file_system.next()?;
    Some(Entry {
        id,
        parent,
        root: unescape(root),
        mount_point: unescape(mount_point),
        options: text(options)?,
        tags: text(tags)?,
        file_system: String::from_utf8_lossy(kind),
        super_options: String::from_utf8_lossy(of_file_system.nth(1).unwrap_or_default()),
    })
}

/// What stands before and behind the lone hyphen that ends the tags, of which there may be none.
fn at_separator(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(file_system) = rest.strip_prefix(b"- ") {
        return Some((b"", file_system));
    }
    let separator = rest.windows(3).position(|window| window == b" - ")?;
    Some((&rest[..separator], &rest[separator + 3..]))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Blanks, line ends and backslashes stand as three octal digits.
fn unescape(bytes: &[u8]) -> Cow<'_, Path> {
    if !bytes.contains(&b'\\') {
        return Path::new(OsStr::from_bytes(bytes)).into();
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        // What the kernel writes is at most \377.
        if let [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', ..] = bytes[at..] {
            plain.push((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'));
            at += 4;
        } else {
            plain.push(bytes[at]);
            at += 1;
        }
    }
    PathBuf::from(OsString::from_vec(plain)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_with_all_its_fields_is_understood() {
        let table = b"36 35 98:0 /mnt1 /a\\040b\\134040 rw,noatime master:1 shared:22 - ext3 /dev/root rw,errors=continue\n\
                     37 35 0:9 / / ro - tmpfs - rw\nno line of a table\n";
        let found: Vec<_> = entries(table).collect();
        let expected = Entry {
            id: 36,
            parent: 35,
            root: Path::new("/mnt1").into(),
            mount_point: Path::new("/a b\\040").into(),
            options: "rw,noatime",
            tags: "master:1 shared:22",
            file_system: "ext3".into(),
            super_options: "rw,errors=continue".into(),
        };
        assert_eq!(found[0], expected);
        assert!(found[0].has_tag("shared") && found[0].has_tag("master") && !found[0].has_tag("mas"));
        assert_eq!((found[1].id, found[1].tags, &*found[1].file_system), (37, "", "tmpfs"));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn path_that_looks_like_the_separator_is_a_path() {
        let found: Vec<_> = entries(b"3 1 0:2 - - rw shared:9 - tmpfs none rw\n").collect();
        assert_eq!(
            (found.len(), &*found[0].root, &*found[0].mount_point),
            (1, Path::new("-"), Path::new("-"))
        );
    }

    /// As the kernel writes a path (seq_path of fs/seq_file.c).
    fn escape(path: &[u8]) -> Vec<u8> {
        let escape = |&byte: &u8| match byte {
            b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
            _ => vec![byte],
        };
        path.iter().flat_map(escape).collect()
    }

    proptest::proptest! {
        #[test]
        fn paths_of_any_bytes_are_read_as_they_are(
            id: u64,
            root in proptest::collection::vec(1_u8.., 1..40),
            point in proptest::collection::vec(1_u8.., 1..40),
        ) {
            let mut line = format!("{id} 1 0:2 ").into_bytes();
            line.extend([&escape(&root)[..], b" ", &escape(&point), b" rw shared:9 - tmpfs none rw,mode=755\n"].concat());
            let found: Vec<_> = entries(&line).collect();
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].id, found[0].root.as_os_str().as_bytes()), (id, &root[..]));
            assert_eq!(found[0].mount_point.as_os_str().as_bytes(), point);
            assert_eq!((found[0].tags, &*found[0].super_options), ("shared:9", "rw,mode=755"));
        }

        #[test]
        fn any_bytes_are_a_table(bytes: Vec<u8>) {
            assert!(entries(&bytes).count() <= bytes.len());
        }
    }

    #[test]
    fn what_is_no_octal_code_stays() {
        for text in ["a\\", "\\9a\\0", "\\777x", "\\+12", "\\04"] {
            assert_eq!(unescape(text.as_bytes()), Path::new(text));
        }
    }

    #[test]
    fn table_of_this_process_is_understood_whole() {
        let table = std::fs::read("/proc/self/mountinfo").expect("a mount table");
        assert_eq!(entries(&table).count(), table.iter().filter(|&&byte| byte == b'\n').count());
    }
}
