//! The known word that somebody may have meant.

/// The one of `known` that takes the fewest changes to become `text`, if few are enough.
pub fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (changes, word) = known.map(|word| (distance(text, word), word)).min()?;
    (changes <= 2.max(word.len() / 3) && changes < text.len().max(1)).then_some(word)
}

/// How many characters must be inserted, removed or replaced.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, byte) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, found) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(byte != found);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_with_few_mistakes_is_found_and_rubbish_is_not() {
        let known = || ["NET_RAW", "NET_ADMIN", "SYS_ADMIN", "MKNOD"].into_iter();
        assert_eq!(nearest("NETRAW", known()), Some("NET_RAW"));
        assert_eq!(nearest("SYSADMIN", known()), Some("SYS_ADMIN"));
        assert_eq!(nearest("MKNODE", known()), Some("MKNOD"));
        assert_eq!(nearest("QWERTYUIOP", known()), None);
        assert_eq!(nearest("", known()), None);
    }
}
