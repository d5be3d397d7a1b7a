//! The words of a template: text, and what stands between `{{` and `}}`. Must not know what they mean.

use engine::Result;

use super::value::Value;
use super::wrong;

/// One part of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Text(String),
    Action(Vec<Token>),
}

/// A word of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// Whether it follows the word before it without a space.
    pub(super) is_glued: bool,
}

/// What it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    /// `.` alone.
    Dot,
    /// `.Name`
    Field(String),
    /// `$` or `$name`, without the dollar.
    Variable(String),
    Word(String),
    Literal(Value),
    Pipe,
    Open,
    Close,
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// Takes a template apart.
pub(super) fn lex(template: &str) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let (mut rest, mut after_it) = (template, Blanks::Kept);
    loop {
        let Some((before, after)) = rest.split_once("{{") else {
            parts.push(Part::Text(text(rest, after_it, Blanks::Kept)));
            return Ok(parts);
        };
        // `{{- ` takes the white space before it away.
        let (inside, before_it) = match after.strip_prefix('-') {
            Some(inside) if inside.starts_with(|letter: char| letter.is_ascii_whitespace()) => {
                (inside, Blanks::Removed)
            }
            _ => (after, Blanks::Kept),
        };
        parts.push(Part::Text(text(before, after_it, before_it)));
        let unended = || wrong(format!("`{{{{{}` has no `}}}}`", after.escape_debug()));
        let trimmed = inside.trim_start();
        if let Some(comment) = trimmed.strip_prefix("/*") {
            let (_, behind) = comment.split_once("*/").ok_or_else(unended)?;
            let behind = behind.trim_start();
            (rest, after_it) = match behind.strip_prefix("-}}") {
                Some(rest) => (rest, Blanks::Removed),
                None => (behind.strip_prefix("}}").ok_or_else(unended)?, Blanks::Kept),
            };
            continue;
        }
        let mut words = Words { rest: inside, tokens: Vec::new() };
        after_it = words.read()?.ok_or_else(unended)?;
        rest = words.rest;
        parts.push(Part::Action(words.tokens));
    }
}

/// What becomes of white space beside an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blanks {
    Kept,
    Removed,
}

/// Text between actions.
fn text(raw: &str, at_start: Blanks, at_end: Blanks) -> String {
    let raw = if at_start == Blanks::Removed { raw.trim_ascii_start() } else { raw };
    let raw = if at_end == Blanks::Removed { raw.trim_ascii_end() } else { raw };
    raw.replace("\\t", "\t").replace("\\n", "\n")
}

struct Words<'a> {
    rest: &'a str,
    tokens: Vec<Token>,
}

impl Words<'_> {
    /// Reads to the end of the action; what becomes of the white space behind it. None where there is no end.
    fn read(&mut self) -> Result<Option<Blanks>> {
        loop {
            let trimmed = self.rest.trim_ascii_start();
            let is_glued = trimmed.len() == self.rest.len() && !self.tokens.is_empty();
            if let Some(rest) = trimmed.strip_prefix("}}") {
                self.rest = rest;
                return Ok(Some(Blanks::Kept));
            }
            if !is_glued && let Some(rest) = trimmed.strip_prefix("-}}") {
                self.rest = rest;
                return Ok(Some(Blanks::Removed));
            }
            self.rest = trimmed;
            let Some(first) = trimmed.chars().next() else { return Ok(None) };
            let kind = self.token(first)?;
            self.tokens.push(Token { kind, is_glued });
        }
    }

    fn token(&mut self, first: char) -> Result<TokenKind> {
        let simple = |words: &mut Self, length: usize, kind: TokenKind| {
            words.rest = &words.rest[length..];
            Ok(kind)
        };
        match first {
            '|' => simple(self, 1, TokenKind::Pipe),
            '(' => simple(self, 1, TokenKind::Open),
            ')' => simple(self, 1, TokenKind::Close),
            ',' => simple(self, 1, TokenKind::Comma),
            '=' => simple(self, 1, TokenKind::Assign),
            ':' if self.rest.starts_with(":=") => simple(self, 2, TokenKind::Declare),
            '"' => self.quoted().map(TokenKind::Literal),
            '`' => {
                let (raw, rest) = self.rest[1..].split_once('`').ok_or_else(|| wrong("a text has no end"))?;
                let raw = raw.to_owned();
                self.rest = rest;
                Ok(TokenKind::Literal(Value::Text(raw)))
            }
            '.' => {
                self.rest = &self.rest[1..];
                let name = self.name();
                Ok(if name.is_empty() { TokenKind::Dot } else { TokenKind::Field(name) })
            }
            '$' => {
                self.rest = &self.rest[1..];
                Ok(TokenKind::Variable(self.name()))
            }
            '+' | '-' | '0'..='9' => self.number().map(TokenKind::Literal),
            first if is_letter(first) => Ok(TokenKind::Word(self.name())),
            other => Err(wrong(format!("`{}` has no meaning in a template", other.escape_debug()))),
        }
    }

    fn name(&mut self) -> String {
        let end = self.rest.find(|letter| !is_letter(letter)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        let name = name.to_owned();
        self.rest = rest;
        name
    }

    fn number(&mut self) -> Result<Value> {
        let end = self.rest[1..]
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.' && letter != '_')
            .map_or(self.rest.len(), |end| end + 1);
        let (text, rest) = self.rest.split_at(end);
        let number = match text.parse::<i64>() {
            Ok(number) => Some(Value::Number(number)),
            Err(_) => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::Float),
        };
        let number = number.ok_or_else(|| wrong(format!("`{}` is no number", text.escape_debug())))?;
        self.rest = rest;
        Ok(number)
    }

    fn quoted(&mut self) -> Result<Value> {
        let mut text = String::new();
        let mut letters = self.rest[1..].char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.rest = &self.rest[at + 2..];
                    return Ok(Value::Text(text));
                }
                '\\' => text.push(match letters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, 'r')) => '\r',
                    Some((_, same @ ('"' | '\\' | '\''))) => same,
                    other => {
                        let shown =
                            other.map_or(String::new(), |(_, letter)| letter.escape_debug().to_string());
                        return Err(wrong(format!("`\\{shown}` in a text has no meaning")));
                    }
                }),
                letter => text.push(letter),
            }
        }
        Err(wrong("a text has no end"))
    }
}

fn is_letter(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}
