//! Lists of numbers such as `0-3,7` (cpuset(7), "List format").

use std::ops::RangeInclusive;

/// The ranges of a list of numbers below `limit`; the error is the part that is none.
pub(super) fn ranges(list: &str, limit: usize) -> Result<Vec<RangeInclusive<usize>>, &str> {
    let number = |text: &str| {
        let text = text.trim();
        // `parse` would take a sign too.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<usize>().ok().filter(|number| digits && *number < limit)
    };
    let range = |part| {
        let (first, last) = str::split_once(part, '-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then_some(first..=last)
    };
    list.split(',').map(|part| range(part).ok_or(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_read_and_nothing_else() {
        assert_eq!(ranges("0-3, 7", 8), Ok(vec![0..=3, 7..=7]));
        for (list, part) in [("", ""), ("1,", ""), ("2,3-1", "3-1"), ("8", "8"), ("+1", "+1"), ("0-x", "0-x")]
        {
            assert_eq!(ranges(list, 8), Err(part), "{list}");
        }
    }
}
