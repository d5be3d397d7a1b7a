//! Cells of tables, as docker shows them.

/// The first digits of an id.
pub(super) fn short(id: &str) -> String {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.chars().take(12).collect()
}

/// A text of an image's author in one line, without what moves a terminal's cursor.
pub(super) fn plain(text: &str) -> String {
    sys::plain(&text.replace(['\t', '\n', '\r'], " "))
}

/// A size as docker shows it, in powers of ten.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    let digits = if value >= 100.0 || unit == "B" {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// How long ago, as docker says it (`HumanDuration` of its go-units).
pub(crate) fn since(seconds: u64) -> String {
    let minutes = seconds / 60;
    // Hours alone are rounded.
    let hours = (seconds + 1800) / 3600;
    let duration = match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 14 => format!("{} days", hours / 24),
        () if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / (24 * 3600 * 365)),
    };
    format!("{duration} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_move_no_cursor() {
        assert_eq!(plain("a\tb\nc\u{1b}[2Jd\u{7f}é"), "a b c\\u{1b}[2Jd\\u{7f}é");
    }

    #[test]
    fn sizes_and_times_are_dockers() {
        let sizes = [0, 999, 1000, 12_345, 7_840_000, 123_456_789, 5_000_000_000].map(size);
        assert_eq!(sizes, ["0B", "999B", "1kB", "12.3kB", "7.84MB", "123MB", "5GB"]);
        for (seconds, expected) in [
            (0, "Less than a second ago"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "About a minute ago"),
            (119, "About a minute ago"),
            (120, "2 minutes ago"),
            (3599, "59 minutes ago"),
            (3600, "About an hour ago"),
            (5399, "About an hour ago"),
            (5400, "2 hours ago"),
            (7200, "2 hours ago"),
            (47 * 3600 + 1799, "47 hours ago"),
            (47 * 3600 + 1800, "2 days ago"),
            (86_400 * 3, "3 days ago"),
            (86_400 * 14, "2 weeks ago"),
            (86_400 * 20, "2 weeks ago"),
            (86_400 * 90, "3 months ago"),
            (86_400 * 800, "2 years ago"),
        ] {
            assert_eq!(since(seconds), expected, "{seconds}");
        }
    }
}
