//! The mount table, as `/proc/PID/mountinfo` tells it (proc_pid_mountinfo(5)).

use std::borrow::Cow;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its number, as statx(2) gives it too (`STATX_MNT_ID`).
    pub id: u64,
    /// The directory of its file system that it shows.
    pub root: Cow<'a, str>,
    /// Its mount point, as the reader's root has it.
    pub mount_point: Cow<'a, str>,
    /// Its own options, such as `rw,nosuid`.
    pub options: &'a str,
    /// How it propagates: `shared:N`, `master:N` and others.
    pub tags: &'a str,
    /// The type of its file system.
    pub file_system: &'a str,
    /// The options of its file system.
    pub super_options: &'a str,
}

impl Entry<'_> {
    /// Whether `tag`, such as `shared`, is among its tags.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.split(' ').any(|each| each.split(':').next() == Some(tag))
    }
}

/// All mounts of a table; what is no line of one is left out. A later one lies over an earlier one at the same place.
pub fn entries(table: &str) -> impl Iterator<Item = Entry<'_>> {
    table.lines().filter_map(entry)
}

fn entry(line: &str) -> Option<Entry<'_>> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut mount = mount.splitn(7, ' ');
    let id = mount.next()?.parse().ok()?;
    let root = mount.nth(2)?;
    let (mount_point, options) = (mount.next()?, mount.next()?);
    let tags = mount.next().unwrap_or_default();
    let mut of_file_system = file_system.split(' ');
    let kind = of_file_system.next()?;
    Some(Entry {
        id,
        root: unescape(root),
        mount_point: unescape(mount_point),
        options,
        tags,
        file_system: kind,
        super_options: of_file_system.nth(1).unwrap_or_default(),
    })
}

/// Blanks, line ends and backslashes stand as three octal digits.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let code = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        plain.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 4 } else { 1 };
    }
    String::from_utf8_lossy(&plain).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_with_all_its_fields_is_understood() {
        let table = "36 35 98:0 /mnt1 /a\\040b\\134040 rw,noatime master:1 shared:22 - ext3 /dev/root rw,errors=continue\n\
                     37 35 0:9 / / ro - tmpfs - rw\nno line of a table\n";
        let found: Vec<_> = entries(table).collect();
        let expected = Entry {
            id: 36,
            root: "/mnt1".into(),
            mount_point: "/a b\\040".into(),
            options: "rw,noatime",
            tags: "master:1 shared:22",
            file_system: "ext3",
            super_options: "rw,errors=continue",
        };
        assert_eq!(found[0], expected);
        assert!(found[0].has_tag("shared") && found[0].has_tag("master") && !found[0].has_tag("mas"));
        assert_eq!((found[1].id, found[1].tags, found[1].file_system), (37, "", "tmpfs"));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn what_is_no_octal_code_stays() {
        assert_eq!(unescape("a\\"), "a\\");
        assert_eq!(unescape("\\9a\\0"), "\\9a\\0");
        assert_eq!(unescape("\\777x"), "\\777x", "more than a byte");
    }

    #[test]
    fn table_of_this_process_is_understood_whole() {
        let table = std::fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
        assert_eq!(entries(&table).count(), table.lines().count());
    }
}
