//! Texts of others, as they may be shown.

/// The text without what steers a terminal: control characters are written as Rust writes them.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_control() {
            true => shown.extend(letter.escape_debug()),
            false => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    #[test]
    fn texts_of_others_move_no_cursor() {
        assert_eq!(super::plain("a\tb\nc\u{1b}[2Jd\u{7f}é"), "a\\tb\\nc\\u{1b}[2Jd\\u{7f}é");
    }
}
