//! Names and values of an archive's entries, parsed.

/// What names a file that hides one of a lower layer (image-spec, layer.md, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// What stands in a directory that hides all of a lower layer's.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Longest name of a path's part, as Linux takes it.
const LONGEST_PART: usize = 255;
/// Most parts of a path.
const MOST_PARTS: usize = 1024;

/// Where in the tree an entry is: a way downwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// The directory, without slashes around it; empty is the root.
    pub(super) parent: Vec<u8>,
    /// The name in it; empty is the root itself.
    pub(super) last: Vec<u8>,
}

impl Name {
    /// Reads a path of an archive; the reason where it is none.
    pub(super) fn parse(path: &[u8]) -> Result<Name, &'static str> {
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err("its path leads upwards"),
                _ if part.contains(&0) => return Err("its path has a NUL byte"),
                _ if part.len() > LONGEST_PART => return Err("a part of its path is longer than 255 bytes"),
                part => parts.push(part),
            }
        }
        if parts.len() > MOST_PARTS {
            return Err("its path has more than 1024 parts");
        }
        let last = parts.pop().unwrap_or_default().to_owned();
        Ok(Name { parent: parts.join(&b'/'), last })
    }

    pub(super) fn is_whiteout(&self) -> bool {
        self.last.starts_with(WHITEOUT)
    }

    /// What a whiteout hides.
    pub(super) fn hidden(&self) -> Hidden<'_> {
        match self.last.strip_prefix(WHITEOUT) {
            _ if self.last == OPAQUE => Hidden::All,
            // Aufs keeps notes of its own under such names.
            Some(rest) if rest.starts_with(WHITEOUT) => Hidden::Nothing,
            Some(b"" | b"." | b"..") | None => Hidden::Nothing,
            Some(name) => Hidden::One(name),
        }
    }

    /// The whole path.
    pub(super) fn path(&self) -> Vec<u8> {
        match (&self.parent[..], &self.last[..]) {
            ([], last) => last.to_owned(),
            (parent, last) => [parent, last].join(&b'/'),
        }
    }
}

/// What a whiteout hides of lower layers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hidden<'a> {
    Nothing,
    One(&'a [u8]),
    All,
}

/// Whether an entry may have this extended attribute: not those by which an overlay knows its own, nor those of the host's
/// security modules, which label by their own rules.
pub(super) fn may_have(name: &[u8]) -> bool {
    const REFUSED: [&[u8]; 5] =
        [b"trusted.", b"user.overlay.", b"security.selinux", b"security.ima", b"security.evm"];
    !name.is_empty()
        && name.len() <= LONGEST_PART
        && !name.contains(&0)
        && !REFUSED.iter().any(|refused| name.starts_with(refused))
}

/// Seconds and nanoseconds of a time such as `1700000000.25`.
pub(super) fn time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    match (whole.starts_with('-'), nanoseconds) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        _ => Some((seconds, nanoseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_downwards_or_are_refused() {
        let parse = |path: &[u8]| Name::parse(path).map(|name| (name.parent, name.last));
        assert_eq!(parse(b"./a//b/./c/"), Ok((b"a/b".to_vec(), b"c".to_vec())));
        assert_eq!(parse(b"/etc/passwd"), Ok((b"etc".to_vec(), b"passwd".to_vec())));
        assert_eq!(parse(b"./"), Ok((b"".to_vec(), b"".to_vec())));
        assert!(parse(b"a/../b").is_err() && parse(b"..").is_err() && parse(b"a\0b").is_err());
        assert!(parse(&[b'a'; 256]).is_err() && parse(&b"a/".repeat(1025)).is_err());
    }

    #[test]
    fn whiteouts_hide_one_name_or_all_and_never_what_is_above() {
        let hidden = |path: &[u8]| format!("{:?}", Name::parse(path).expect("legal").hidden());
        assert_eq!(hidden(b"a/.wh.b"), format!("{:?}", Hidden::One(b"b")));
        assert_eq!(hidden(b"a/.wh..wh..opq"), "All");
        for path in [&b".wh."[..], b".wh..", b".wh...", b".wh..wh.plnk"] {
            assert_eq!(hidden(path), "Nothing");
        }
    }

    #[test]
    fn times_have_fractions_and_may_lie_before_1970() {
        assert_eq!(time("1700000000.25"), Some((1_700_000_000, 250_000_000)));
        assert_eq!(time("-1.5"), Some((-2, 500_000_000)));
        assert_eq!(time("12"), Some((12, 0)));
        assert_eq!(time("1.x"), None);
        assert_eq!(time(""), None);
    }

    #[test]
    fn attributes_of_overlays_and_modules_are_not_taken_from_an_image() {
        assert!(may_have(b"security.capability") && may_have(b"user.note"));
        for name in [&b"trusted.overlay.redirect"[..], b"user.overlay.opaque", b"security.selinux", b""] {
            assert!(!may_have(name));
        }
    }
}
