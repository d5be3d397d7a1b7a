//! The ids that a user may hand out beside its own: `/etc/subuid` and `/etc/subgid` (subuid(5)), read and checked.
//! Must not decide which of them a container gets.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// Where users' ranges stand.
pub const USERS: &str = "/etc/subuid";
/// Where groups' ranges stand.
pub const GROUPS: &str = "/etc/subgid";

/// A range of ids of the host, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first id.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Range {
    /// The last id in it.
    pub fn last(&self) -> u32 {
        self.first + (self.count - 1)
    }

    fn overlaps(&self, other: &Range) -> bool {
        self.first <= other.last() && other.first <= self.last()
    }
}

/// Whose ranges: lines may name a user, or have its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its name, where it has an account.
    pub name: Option<String>,
    /// Its number, where it is known.
    pub uid: Option<u32>,
}

impl Owner {
    /// The user of this number, with the name that `/etc/passwd` gives it.
    pub fn of(uid: u32) -> Owner {
        Owner { name: user_name(uid), uid: Some(uid) }
    }

    /// The user of this name, such as `containers`, which has ranges and mostly no account.
    pub fn named(name: &str) -> Owner {
        Owner { name: Some(name.to_owned()), uid: None }
    }

    fn is(&self, field: &str) -> bool {
        self.name.as_deref() == Some(field) || self.uid.is_some_and(|uid| uid.to_string() == field)
    }

    /// As a line of the file begins.
    pub fn shown(&self) -> String {
        match (&self.name, self.uid) {
            (Some(name), _) => name.clone(),
            (None, Some(uid)) => uid.to_string(),
            (None, None) => String::new(),
        }
    }
}

/// The name that `/etc/passwd` gives a user.
///
/// Users that only a directory service knows have none here; their ranges must stand in the files by number.
pub fn user_name(uid: u32) -> Option<String> {
    named(&std::fs::read("/etc/passwd").ok()?, uid)
}

/// Names need not be UTF-8; one that is not is nobody's here, and hides no other.
fn named(accounts: &[u8], uid: u32) -> Option<String> {
    let text = String::from_utf8_lossy(accounts);
    let mut lines = text.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let name = fields.next()?;
        let is_text = !name.contains(char::REPLACEMENT_CHARACTER);
        (is_text && fields.nth(1)?.parse::<u32>().ok()? == uid).then(|| name.to_owned())
    })
}

/// The ranges of `owner` in the file `path`, in the file's order; none where the file or its lines are missing.
///
/// Lines of others are passed over, whatever is in them. A line of `owner` that is malformed, or whose range
/// overlaps an earlier one of its own, is an error that names file and line: half of what was granted is not what was
/// meant.
pub fn read(path: &Path, owner: &Owner) -> Result<Vec<Range>> {
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let error = Error::at_path("read the subordinate ids in", path, error);
            return Err(error.with_hint("everybody may read it as distributions install it: `chmod 644` it"));
        }
    };
    parse(&text, path, owner)
}

/// The first id above 100000 that is in nobody's range, for advice.
pub fn first_free() -> u32 {
    let mut first = 100_000u32;
    for file in [USERS, GROUPS] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        for line in text.lines() {
            let mut numbers = line.split(':').skip(1).map(|field| field.trim().parse::<u32>().ok());
            if let (Some(Some(begin)), Some(Some(count))) = (numbers.next(), numbers.next()) {
                first = first.max(begin.saturating_add(count).min(u32::MAX - 65_536));
            }
        }
    }
    first
}

fn parse(text: &str, path: &Path, owner: &Owner) -> Result<Vec<Range>> {
    let mut found: Vec<(usize, Range)> = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
        let mut fields = line.split(':');
        if line.starts_with('#') || !fields.next().is_some_and(|field| owner.is(field)) {
            continue;
        }
        let refuse = |reason: String| {
            let operation = format!("read line {number} of `{}`", path.display());
            let hint = format!(
                "a line is `NAME:FIRST:COUNT`, such as `{}:100000:65536`; correct it as root",
                owner.shown()
            );
            Error::new(ErrorKind::Invalid, operation, reason).with_hint(hint)
        };
        let numbers = (fields.next(), fields.next(), fields.next());
        let (Some(first), Some(count), None) = numbers else {
            return Err(refuse(format!("`{line}` has not three fields")));
        };
        let number_of = |field: &str| {
            let parsed = field.parse::<u32>();
            parsed.map_err(|_| refuse(format!("`{}` is no number of 32 bits", field.escape_debug())))
        };
        let range = Range { first: number_of(first)?, count: number_of(count)? };
        // The last number is no id: it stands for none (`(uid_t) -1`).
        if range.count == 0 || range.first.checked_add(range.count).is_none() {
            return Err(refuse(format!("a range of {} ids from {} does not fit", range.count, range.first)));
        }
        if let Some((earlier, _)) = found.iter().find(|(_, other)| other.overlaps(&range)) {
            return Err(refuse(format!("its range overlaps that of line {earlier}")));
        }
        if owner.uid.is_some_and(|uid| range.overlaps(&Range { first: uid, count: 1 })) {
            return Err(refuse("its range has the user's own id in it".to_owned()));
        }
        found.push((number, range));
    }
    Ok(found.into_iter().map(|(_, range)| range).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Range>> {
        let owner = Owner { name: Some("ann".to_owned()), uid: Some(1000) };
        parse(text, Path::new("/etc/subuid"), &owner)
    }

    #[test]
    fn account_whose_name_is_no_text_hides_no_other() {
        let accounts = b"root:x:0:0::/root:/bin/sh\nren\xe9:x:1000:1000::/:\nann:x:1001:1001::/:\n";
        assert_eq!(named(accounts, 1001).as_deref(), Some("ann"));
        assert_eq!(named(accounts, 1000), None);
    }

    #[test]
    fn ranges_by_name_and_by_number_are_the_users_and_others_are_not() {
        let text = "# ours\nbob:100000:65536\nann:200000:65536\n1000:300000:10\nanna:1:2\n\n";
        let expected = [Range { first: 200_000, count: 65_536 }, Range { first: 300_000, count: 10 }];
        assert_eq!(parsed(text).expect("legal"), expected);
        assert!(parsed("").expect("legal").is_empty());
    }

    #[test]
    fn what_is_wrong_in_a_line_of_others_does_not_concern_this_user() {
        assert!(parsed("bob:x:y\nbob\n::\n").expect("legal").is_empty());
    }

    #[test]
    fn line_that_is_malformed_is_named_with_its_file() {
        for line in [
            "ann",
            "ann:1",
            "ann:x:1",
            "ann:1:-1",
            "ann:1:2:3",
            "ann:5000:0",
            "ann:4294967295:1",
            "ann:4294967290:10",
            "ann:99999999999:1",
            "1000::5",
        ] {
            let error = parsed(&format!("bob:1:1\n{line}\n")).expect_err(line);
            assert!(error.to_string().contains("line 2 of `/etc/subuid`"), "{error}");
            assert!(error.hint.is_some());
        }
        assert_eq!(parsed("ann:4294967290:5").expect("legal")[0].last(), 4_294_967_294);
    }

    #[test]
    fn ranges_that_overlap_are_refused_with_both_lines() {
        let error = parsed("ann:100000:10\n\nann:100009:1\n").expect_err("overlaps");
        let text = error.to_string();
        assert!(text.contains("line 3") && text.contains("line 1"), "{text}");
        assert!(parsed("ann:100000:10\nann:100010:1\n").is_ok());
        assert!(parsed("ann:500:1000\n").is_err(), "the user itself is in it");
    }
}
