//! Whether a line of schemata says what a group has already. The kernel writes both in one form, people in many.

/// Whether `schemata`, the content of that file, gives every domain that `line` names what `line` says.
///
/// `granularity` is what the kernel rounds percentages of bandwidth up to.
pub(super) fn holds(schemata: &str, line: &str, granularity: Option<u64>) -> bool {
    let Some((resource, wanted)) = split(line) else { return false };
    let found = schemata.lines().filter_map(split).find(|(name, _)| *name == resource);
    let Some((_, found)) = found else { return false };
    domains(wanted).all(|(domain, wanted)| {
        let found = domains(found).find(|(name, _)| *name == domain);
        found.is_some_and(|(_, found)| same(resource, found, wanted, granularity))
    })
}

fn split(line: &str) -> Option<(&str, &str)> {
    line.split_once(':').map(|(resource, rest)| (resource.trim(), rest))
}

fn domains(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = text.split(';').filter(|part| !part.trim().is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, ""))).map(|(id, value)| (id.trim(), value.trim()))
}

fn same(resource: &str, found: &str, wanted: &str, granularity: Option<u64>) -> bool {
    let (found_number, wanted_number) = if resource == "MB" {
        (found.parse::<u64>().ok(), wanted.parse::<u64>().ok())
    } else {
        let mask = |text: &str| u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok();
        (mask(found), mask(wanted))
    };
    let (Some(found_number), Some(wanted_number)) = (found_number, wanted_number) else {
        return found == wanted;
    };
    let step = granularity.filter(|step| *step > 0 && resource == "MB").unwrap_or(1);
    found_number == wanted_number || Some(found_number) == wanted_number.checked_next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel writes it.
    const SCHEMATA: &str = "    MB:0= 20;1= 70\n    L3:0=7f0;1=01f\n";

    #[test]
    fn what_a_group_has_is_told_from_what_it_has_not() {
        for line in ["L3:0=7f0;1=1f", "L3:1=1F", "L3: 0 = 0x7f0", "MB:0=20;1=70", "MB:1=70", "L3:0=7f0;"] {
            assert!(holds(SCHEMATA, line, None), "{line}");
        }
        for line in ["L3:0=7f", "L3:2=1f", "L2:0=7f0", "MB:0=70", "MB:0=20;1=20", "MB:0=", "0=7f0", ""] {
            assert!(!holds(SCHEMATA, line, None), "{line}");
        }
    }

    #[test]
    fn bandwidth_is_compared_as_the_kernel_rounds_it() {
        assert!(!holds(SCHEMATA, "MB:0=15", None));
        assert!(holds(SCHEMATA, "MB:0=15", Some(10)));
        assert!(!holds(SCHEMATA, "MB:0=5", Some(10)));
        assert!(!holds(SCHEMATA, "L3:0=7e9", Some(10)), "masks are not rounded");
    }
}
