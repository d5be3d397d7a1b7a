//! Owns the translation of device rules into what cgroup v1 keeps: one default and exceptions from it. Must not
//! write them.

use super::{DeviceAccess, DeviceKind, DeviceRule};
use crate::resources::Write;

/// What `devices.list` amounts to.
#[derive(Debug, PartialEq, Eq)]
struct Whitelist {
    /// What holds where no exception does. The kernel's own list of exceptions is empty then or allows.
    default_allows: bool,
    exceptions: Vec<Exception>,
}

/// Devices for which the opposite of the default holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exception {
    /// Block or character, never both.
    kind: DeviceKind,
    major: Option<u32>,
    minor: Option<u32>,
    access: DeviceAccess,
}

impl Exception {
    fn covers(&self, other: &Exception) -> bool {
        self.kind == other.kind
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
    }

    fn meets(&self, other: &Exception) -> bool {
        let common = |one: Option<u32>, two: Option<u32>| one.is_none() || two.is_none() || one == two;
        self.kind == other.kind
            && self.access.bits() & other.access.bits() != 0
            && common(self.major, other.major)
            && common(self.minor, other.minor)
    }

    fn write(&self, file: &'static str) -> Write {
        let kind = if self.kind == DeviceKind::Block { 'b' } else { 'c' };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        let value = format!("{kind} {}:{} {}", number(self.major), number(self.minor), self.access);
        Write::new("devices", file, value)
    }

    /// A line of `devices.list`.
    fn parse(line: &str) -> Option<Exception> {
        let mut parts = line.split(' ');
        let kind = match parts.next()? {
            "b" => DeviceKind::Block,
            "c" => DeviceKind::Character,
            _ => return None,
        };
        let (major, minor) = parts.next()?.split_once(':')?;
        let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
        let access = DeviceAccess::parse(parts.next()?)?;
        Some(Exception { kind, major: number(major)?, minor: number(minor)?, access })
    }
}

/// Follows the rules in order, for each kind of access the last one that matches counting, from "nothing is
/// allowed" on. The error is the rule that v1 can not express: one that takes back a part of what an earlier rule
/// gave as a whole.
fn whitelist(rules: &[DeviceRule]) -> Result<Whitelist, &DeviceRule> {
    let mut list = Whitelist { default_allows: false, exceptions: Vec::new() };
    for rule in rules {
        if rule.is_everything() {
            list = Whitelist { default_allows: rule.allow, exceptions: Vec::new() };
            continue;
        }
        // The kernel takes the kind `a` for everything whatever stands behind it, so both kinds are two entries.
        let kinds: &[DeviceKind] = match rule.kind {
            DeviceKind::All => &[DeviceKind::Block, DeviceKind::Character],
            DeviceKind::Block => &[DeviceKind::Block],
            DeviceKind::Character => &[DeviceKind::Character],
        };
        for &kind in kinds {
            let new = Exception { kind, major: rule.major, minor: rule.minor, access: rule.access };
            if rule.allow == list.default_allows {
                if list.exceptions.iter().any(|old| old.meets(&new) && !new.covers(old)) {
                    return Err(rule);
                }
                list.exceptions.retain_mut(|old| {
                    if new.covers(old) {
                        old.access = DeviceAccess(old.access.bits() & !new.access.bits());
                    }
                    old.access.bits() != 0
                });
            } else {
                add(&mut list.exceptions, new);
            }
        }
    }
    Ok(list)
}

/// The kernel wants one exception that covers all of an access, as in opening for reading and writing; so each
/// also gets what wider ones give.
fn add(exceptions: &mut Vec<Exception>, mut new: Exception) {
    let wider = exceptions.iter().filter(|old| old.covers(&new));
    new.access = DeviceAccess(wider.fold(new.access.bits(), |bits, old| bits | old.access.bits()));
    for old in exceptions.iter_mut().filter(|old| new.covers(old)) {
        old.access = DeviceAccess(new.access.bits() | old.access.bits());
    }
    if !exceptions.iter().any(|old| old.covers(&new) && new.covers(old)) {
        exceptions.push(new);
    }
}

/// The rule that v1 can not express, if there is one.
pub(crate) fn inexpressible(rules: &[DeviceRule]) -> Option<&DeviceRule> {
    whitelist(rules).err()
}

/// The lines for a new group. Rules that v1 can not express come out as a ban on all devices.
pub(crate) fn writes(rules: &[DeviceRule]) -> Vec<Write> {
    if rules.is_empty() {
        return Vec::new();
    }
    let list = whitelist(rules).unwrap_or(Whitelist { default_allows: false, exceptions: Vec::new() });
    let (default, exception) = if list.default_allows {
        ("devices.allow", "devices.deny")
    } else {
        ("devices.deny", "devices.allow")
    };
    std::iter::once(Write::new("devices", default, "a"))
        .chain(list.exceptions.iter().map(|device| device.write(exception)))
        .collect()
}

/// The lines for a group in use whose `devices.list` is `current`: only what differs, allowances first, so that no
/// process is refused in between what it may do before and after. The default itself can not change while there
/// are child groups.
pub(crate) fn changes(current: &str, rules: &[DeviceRule]) -> Vec<Write> {
    let old: Option<Vec<Exception>> = current.lines().map(Exception::parse).collect();
    let (Some(old), Ok(Whitelist { default_allows: false, exceptions })) = (old, whitelist(rules)) else {
        // Either side allows by default: there is nothing to compare.
        return writes(rules);
    };
    let mut writes = Vec::new();
    for (from, to, file) in [(&old, &exceptions, "devices.allow"), (&exceptions, &old, "devices.deny")] {
        for device in to {
            let known = from.iter().find(|known| known.covers(device) && device.covers(known));
            let access = device.access.bits() & !known.map_or(0, |known| known.access.bits());
            if access != 0 {
                writes.push(Exception { access: DeviceAccess(access), ..device.clone() }.write(file));
            }
        }
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allow: bool, text: &str) -> DeviceRule {
        let Exception { kind, major, minor, access } = Exception::parse(text).expect("a line");
        DeviceRule { allow, kind, major, minor, access }
    }

    fn lines(writes: &[Write]) -> Vec<String> {
        writes.iter().map(|write| format!("{} {}", &write.file["devices.".len()..], write.value)).collect()
    }

    #[test]
    fn a_later_wide_ban_takes_from_earlier_allowances() {
        let rules =
            [rule(true, "c 1:3 rwm"), rule(true, "c 1:5 m"), rule(true, "b 8:0 rwm"), rule(false, "c *:* m")];
        assert_eq!(lines(&writes(&rules)), ["deny a", "allow c 1:3 rw", "allow b 8:0 rwm"]);
    }

    #[test]
    fn a_ban_on_a_part_of_an_allowance_is_named_as_inexpressible() {
        let rules = [rule(true, "c 1:* rwm"), rule(false, "c 1:5 w")];
        assert_eq!(inexpressible(&rules), Some(&rules[1]));
        assert_eq!(lines(&writes(&rules)), ["deny a"]);
        assert_eq!(inexpressible(&rules[..1]), None);
    }

    #[test]
    fn access_that_several_rules_allow_together_becomes_one_exception() {
        let rules = [rule(true, "c 1:* r"), rule(true, "c 1:3 w")];
        assert_eq!(lines(&writes(&rules)), ["deny a", "allow c 1:* r", "allow c 1:3 rw"]);
        let rules = [rule(true, "c 1:3 w"), rule(true, "c 1:* r")];
        assert_eq!(lines(&writes(&rules)), ["deny a", "allow c 1:3 rw", "allow c 1:* r"]);
    }

    #[test]
    fn everything_allowed_keeps_later_bans() {
        let rules = [DeviceRule::everything(true), rule(false, "b *:* w")];
        assert_eq!(lines(&writes(&rules)), ["allow a", "deny b *:* w"]);
    }

    #[test]
    fn group_in_use_gets_only_what_differs() {
        let current = "c 1:3 rwm\nc 1:5 rw\n";
        let rules = [DeviceRule::everything(false), rule(true, "c 1:3 rwm"), rule(true, "c 1:5 rm")];
        assert_eq!(lines(&changes(current, &rules)), ["allow c 1:5 m", "deny c 1:5 w"]);
        assert!(changes(current, &[rule(true, "c 1:3 rwm"), rule(true, "c 1:5 rw")]).is_empty());
        assert_eq!(lines(&changes("a *:* rwm\n", &rules[..1])), ["deny a"]);
    }
}
