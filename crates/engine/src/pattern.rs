//! Patterns of names in filters: the part of regular expressions that people write there. Must not know what is looked for.

use crate::error::{Error, Result};

/// A pattern: letters, `.`, sets such as `[a-f]` and `[^0-9]`, each with `*`, `+` or `?` behind it; `^` in front and `$` behind hold it at
/// the beginning and the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    from_begin: bool,
    to_end: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    what: What,
    /// How often at least, and whether more often.
    least: usize,
    most: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Letter(char),
    Any,
    Set { ranges: Vec<(char, char)>, is_other: bool },
}

impl What {
    fn holds(&self, letter: char) -> bool {
        match self {
            What::Letter(own) => *own == letter,
            What::Any => true,
            What::Set { ranges, is_other } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&letter)) != *is_other
            }
        }
    }
}

impl Pattern {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Pattern> {
        let refuse = |what: &str| {
            let error = Error::invalid("--filter", format!("`{}`: {what}", text.escape_debug()));
            error.with_hint("write letters, `.`, `[a-z]`, `[^a-z]`, with `*`, `+` or `?` behind, `^` in front, `$` at the end")
        };
        let (inner, from_begin) = text.strip_prefix('^').map_or((text, false), |inner| (inner, true));
        let (inner, to_end) = match inner.strip_suffix('$') {
            Some(inner) if !inner.ends_with('\\') => (inner, true),
            _ => (inner, false),
        };
        let mut letters = inner.chars().peekable();
        let mut parts: Vec<Part> = Vec::new();
        while let Some(letter) = letters.next() {
            let what = match letter {
                '*' | '+' | '?' => {
                    let part = parts.last_mut().filter(|part| (part.least, part.most) == (1, 1));
                    let part = part.ok_or_else(|| refuse("there is nothing to repeat"))?;
                    (part.least, part.most) = match letter {
                        '*' => (0, usize::MAX),
                        '+' => (1, usize::MAX),
                        _ => (0, 1),
                    };
                    continue;
                }
                '.' => What::Any,
                '\\' => What::Letter(letters.next().ok_or_else(|| refuse("it ends with a backslash"))?),
                '[' => {
                    let is_other = letters.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    loop {
                        let first = letters.next().ok_or_else(|| refuse("a `[` has no end"))?;
                        if first == ']' && !ranges.is_empty() {
                            break;
                        }
                        let is_range = letters.peek() == Some(&'-')
                            && letters.clone().nth(1).is_some_and(|last| last != ']');
                        let last = if is_range { letters.nth(1).unwrap_or(first) } else { first };
                        ranges.push((first, last));
                    }
                    What::Set { ranges, is_other }
                }
                '(' | ')' | '|' | '{' | '}' | '^' | '$' => {
                    return Err(refuse(&format!("`{letter}` is not known")));
                }
                letter => What::Letter(letter),
            };
            parts.push(Part { what, least: 1, most: 1 });
        }
        Ok(Pattern { parts, from_begin, to_end })
    }

    /// Whether it is somewhere in a text.
    pub fn is_in(&self, text: &str) -> bool {
        let letters: Vec<char> = text.chars().collect();
        let last = if self.from_begin { 0 } else { letters.len() };
        (0..=last).any(|begin| self.goes_on(&self.parts, &letters[begin..]))
    }

    fn goes_on(&self, parts: &[Part], letters: &[char]) -> bool {
        let Some((part, rest)) = parts.split_first() else { return !self.to_end || letters.is_empty() };
        let run = letters.iter().take(part.most).take_while(|letter| part.what.holds(**letter)).count();
        (part.least..=run).rev().any(|taken| self.goes_on(rest, &letters[taken..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_found_where_they_are() {
        for (pattern, text, is_in) in [
            ("b", "abc", true),
            ("^b", "abc", false),
            ("^a.c$", "abc", true),
            ("^[^a]", "abc", false),
            ("^.[^c]", "abc", true),
            ("^ab.*", "ab", true),
            ("x+", "abc", false),
            ("ab?c", "ac", true),
            ("^[a-c0-9]+$", "a1b2", true),
            ("^[a-c]+$", "abd", false),
            ("[-x]", "a-b", true),
            ("a\\.b", "a.b", true),
            ("a\\.b", "aXb", false),
            ("", "", true),
        ] {
            assert_eq!(Pattern::parse(pattern).expect(pattern).is_in(text), is_in, "{pattern} {text}");
        }
        for wrong in ["*a", "[a", "a\\", "a|b", "(a)", "a**"] {
            assert!(Pattern::parse(wrong).expect_err(wrong).hint.is_some());
        }
    }
}
