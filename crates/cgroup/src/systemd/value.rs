//! Owns the values of unit properties: reading them from text, and writing them as variants. Must not know which
//! property takes what.

use std::fmt;

use super::message::Writer;

/// Deepest nesting that is read; no property of a unit comes near it.
const DEEPEST: usize = 8;

/// A value with a D-Bus type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Boolean(bool),
    /// `n`
    Int16(i16),
    /// `q`
    Uint16(u16),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `x`
    Int64(i64),
    /// `t`
    Uint64(u64),
    /// `d`
    Double(f64),
    /// `s`
    Text(String),
    /// `o`
    ObjectPath(String),
    /// `g`
    Signature(String),
    /// `a`, with the signature of its elements
    Array(String, Vec<Value>),
    /// `(…)`
    Tuple(Vec<Value>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// Reads the text form of GVariant, which the annotations `org.systemd.property.*` are written in: `true`,
    /// `uint64 5`, `'text'`, `['a', 'b']`, `@as []`, `('/dev/null', 'rw')`.
    pub fn parse(text: &str) -> Result<Value, String> {
        let mut parser = Parser { rest: text.trim_start(), whole: text };
        let value = parser.value(None, 0)?;
        match parser.rest.trim().is_empty() {
            true => Ok(value),
            false => Err(parser.wrong("has more behind its value")),
        }
    }

    pub(crate) fn signature(&self) -> String {
        match self {
            Value::Byte(_) => "y".to_owned(),
            Value::Boolean(_) => "b".to_owned(),
            Value::Int16(_) => "n".to_owned(),
            Value::Uint16(_) => "q".to_owned(),
            Value::Int32(_) => "i".to_owned(),
            Value::Uint32(_) => "u".to_owned(),
            Value::Int64(_) => "x".to_owned(),
            Value::Uint64(_) => "t".to_owned(),
            Value::Double(_) => "d".to_owned(),
            Value::Text(_) => "s".to_owned(),
            Value::ObjectPath(_) => "o".to_owned(),
            Value::Signature(_) => "g".to_owned(),
            Value::Array(element, _) => format!("a{element}"),
            Value::Tuple(members) => {
                format!("({})", members.iter().map(Value::signature).collect::<String>())
            }
            Value::Variant(_) => "v".to_owned(),
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        match self {
            Value::Byte(value) => writer.fixed(&[*value]),
            Value::Boolean(value) => writer.boolean(*value),
            Value::Int16(value) => writer.fixed(&value.to_le_bytes()),
            Value::Uint16(value) => writer.fixed(&value.to_le_bytes()),
            Value::Int32(value) => writer.fixed(&value.to_le_bytes()),
            Value::Uint32(value) => writer.u32(*value),
            Value::Int64(value) => writer.fixed(&value.to_le_bytes()),
            Value::Uint64(value) => writer.u64(*value),
            Value::Double(value) => writer.fixed(&value.to_le_bytes()),
            Value::Text(text) | Value::ObjectPath(text) => writer.string(text),
            Value::Signature(text) => writer.signature(text),
            Value::Array(element, elements) => writer.array(alignment(element), |writer| {
                elements.iter().for_each(|element| element.write(writer));
            }),
            Value::Tuple(members) => {
                writer.structure(|writer| members.iter().for_each(|member| member.write(writer)));
            }
            Value::Variant(value) => writer.variant(&value.signature(), |writer| value.write(writer)),
        }
    }

    /// Seconds as microseconds; nothing when it is no number or does not fit.
    pub(crate) fn seconds_to_microseconds(&self) -> Option<Value> {
        let whole = match *self {
            Value::Byte(value) => u64::from(value),
            Value::Int16(value) => value.try_into().ok()?,
            Value::Uint16(value) => u64::from(value),
            Value::Int32(value) => value.try_into().ok()?,
            Value::Uint32(value) => u64::from(value),
            Value::Int64(value) => value.try_into().ok()?,
            Value::Uint64(value) => value,
            Value::Double(value) => {
                let microseconds = value * 1e6;
                let fits = microseconds >= 0.0 && microseconds < u64::MAX as f64;
                return fits.then_some(Value::Uint64(microseconds as u64));
            }
            _ => return None,
        };
        whole.checked_mul(1_000_000).map(Value::Uint64)
    }
}

fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 4,
    }
}

/// A type as it is asked for: by the words before a value, or by the signature around it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Type(String);

impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

const WORDS: [(&str, &str); 11] = [
    ("byte", "y"),
    ("boolean", "b"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("objectpath", "o"),
    ("signature", "g"),
];

struct Parser<'a> {
    rest: &'a str,
    whole: &'a str,
}

impl Parser<'_> {
    fn wrong(&self, reason: &str) -> String {
        format!("`{}` {reason}", self.whole.escape_debug())
    }

    fn skip(&mut self, token: char) -> bool {
        let trimmed = self.rest.trim_start();
        let found = trimmed.strip_prefix(token);
        self.rest = found.unwrap_or(trimmed);
        found.is_some()
    }

    fn word(&mut self) -> &str {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|one: char| !(one.is_ascii_alphanumeric() || "+-._".contains(one)));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn value(&mut self, wanted: Option<&Type>, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(self.wrong("is nested too deeply"));
        }
        if self.skip('@') {
            let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
            let (signature, rest) = self.rest.split_at(end);
            self.rest = rest;
            let wanted = Type(signature.to_owned());
            if first_type(signature) != Some(signature) {
                return Err(self.wrong("names no single type behind `@`"));
            }
            return self.value(Some(&wanted), depth + 1);
        }
        if wanted.is_some_and(|wanted| wanted.0 == "v") {
            // GVariant writes a variant in angle brackets.
            if !self.skip('<') {
                return Err(self.wrong("has no `<…>` where a variant belongs"));
            }
            let inner = self.value(None, depth + 1)?;
            return match self.skip('>') {
                true => Ok(Value::Variant(Box::new(inner))),
                false => Err(self.wrong("has a `<` without its `>`")),
            };
        }
        match self.rest.trim_start().chars().next() {
            Some('<') => self.value(Some(&Type("v".to_owned())), depth + 1),
            Some('[') => self.array(wanted, depth),
            Some('(') => self.tuple(wanted, depth),
            Some(quote @ ('\'' | '"')) => {
                let text = self.quoted(quote)?;
                self.text(wanted, text)
            }
            Some(_) => self.plain(wanted, depth),
            None => Err(self.wrong("has no value")),
        }
    }

    fn text(&self, wanted: Option<&Type>, text: String) -> Result<Value, String> {
        match wanted.map_or("s", |wanted| wanted.0.as_str()) {
            "s" => Ok(Value::Text(text)),
            "o" => Ok(Value::ObjectPath(text)),
            "g" if text.len() < 256 => Ok(Value::Signature(text)),
            other => Err(self.wrong(&format!("has a text where the type `{other}` belongs"))),
        }
    }

    fn plain(&mut self, wanted: Option<&Type>, depth: usize) -> Result<Value, String> {
        let word = self.word().to_owned();
        if let Some((_, signature)) = WORDS.iter().find(|(name, _)| *name == word) {
            return self.value(Some(&Type((*signature).to_owned())), depth + 1);
        }
        if word == "string" {
            return self.value(Some(&Type("s".to_owned())), depth + 1);
        }
        let untyped = match word.as_str() {
            "true" | "false" => "b",
            _ if word.contains('.') => "d",
            _ => "i",
        };
        let signature = wanted.map_or(untyped, |wanted| wanted.0.as_str());
        if wanted.is_none()
            && untyped == "i"
            && !word.trim_start_matches(['+', '-']).starts_with(|one: char| one.is_ascii_digit())
        {
            return Err(self.wrong("is neither true, false nor a number; a text stands in quotes"));
        }
        let misfit = || self.wrong(&format!("has `{word}` where the type `{signature}` belongs"));
        fn number<Number: std::str::FromStr>(word: &str) -> Option<Number> {
            word.parse().ok()
        }
        let value = match signature {
            "b" => match word.as_str() {
                "true" => Some(Value::Boolean(true)),
                "false" => Some(Value::Boolean(false)),
                _ => None,
            },
            "y" => match word.strip_prefix("0x") {
                Some(digits) => u8::from_str_radix(digits, 16).ok().map(Value::Byte),
                None => number(&word).map(Value::Byte),
            },
            "n" => number(&word).map(Value::Int16),
            "q" => number(&word).map(Value::Uint16),
            "i" => number(&word).map(Value::Int32),
            "u" => number(&word).map(Value::Uint32),
            "x" => number(&word).map(Value::Int64),
            "t" => number(&word).map(Value::Uint64),
            "d" => number(&word).filter(|value: &f64| value.is_finite()).map(Value::Double),
            _ => None,
        };
        value.ok_or_else(misfit)
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        self.skip(quote);
        let mut text = String::new();
        let mut letters = self.rest.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\0' => break,
                _ if letter == quote => {
                    self.rest = &self.rest[at + letter.len_utf8()..];
                    return Ok(text);
                }
                '\\' => match letters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, one @ ('\\' | '\'' | '"'))) => text.push(one),
                    _ => return Err(self.wrong("has an escape other than \\n, \\t, \\\\, \\' and \\\"")),
                },
                _ => text.push(letter),
            }
        }
        Err(self.wrong("has a text that does not end"))
    }

    fn array(&mut self, wanted: Option<&Type>, depth: usize) -> Result<Value, String> {
        let mut element = match wanted {
            None => None,
            Some(wanted) => match wanted.0.strip_prefix('a') {
                Some(element) => Some(Type(element.to_owned())),
                None => return Err(self.wrong(&format!("has an array where the type `{wanted}` belongs"))),
            },
        };
        self.skip('[');
        let mut elements = Vec::new();
        while !self.skip(']') {
            if !elements.is_empty() && !self.skip(',') {
                return Err(self.wrong("has an array that does not end"));
            }
            let value = self.value(element.as_ref(), depth + 1)?;
            let signature = Type(value.signature());
            if element.as_ref().is_some_and(|element| *element != signature) {
                return Err(self.wrong("has an array of values of several types"));
            }
            element = Some(signature);
            elements.push(value);
        }
        match element {
            Some(Type(element)) => Ok(Value::Array(element, elements)),
            None => Err(self.wrong("has an empty array without a type, such as `@as []`")),
        }
    }

    fn tuple(&mut self, wanted: Option<&Type>, depth: usize) -> Result<Value, String> {
        let mut inside = wanted
            .map(|wanted| {
                let inside = wanted.0.strip_prefix('(').and_then(|inside| inside.strip_suffix(')'));
                inside
                    .map(str::to_owned)
                    .ok_or_else(|| self.wrong(&format!("has a tuple where the type `{wanted}` belongs")))
            })
            .transpose()?;
        self.skip('(');
        let mut members = Vec::new();
        while !self.skip(')') {
            if !members.is_empty() && !self.skip(',') {
                return Err(self.wrong("has a tuple that does not end"));
            }
            // A tuple of one has a comma behind it.
            if !members.is_empty() && self.skip(')') {
                break;
            }
            let member = match &mut inside {
                None => None,
                Some(types) => {
                    let Some(first) = first_type(types).map(str::to_owned) else {
                        return Err(self.wrong("has a tuple with more members than its type"));
                    };
                    types.drain(..first.len());
                    Some(Type(first))
                }
            };
            members.push(self.value(member.as_ref(), depth + 1)?);
        }
        match inside {
            Some(types) if !types.is_empty() => {
                Err(self.wrong("has a tuple with fewer members than its type"))
            }
            _ if members.is_empty() => Err(self.wrong("has an empty tuple")),
            _ => Ok(Value::Tuple(members)),
        }
    }
}

/// The first complete type of a signature.
fn first_type(signature: &str) -> Option<&str> {
    let length = type_length(signature.as_bytes(), 0)?;
    signature.get(..length)
}

fn type_length(signature: &[u8], depth: usize) -> Option<usize> {
    if depth > DEEPEST {
        return None;
    }
    match signature.first()? {
        b'a' => Some(1 + type_length(signature.get(1..)?, depth + 1)?),
        b'(' => {
            let mut at = 1;
            while *signature.get(at)? != b')' {
                at += type_length(signature.get(at..)?, depth + 1)?;
            }
            (at > 1).then_some(at + 1)
        }
        one if b"ybnqiuxtdsogv".contains(one) => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_annotations_write_them() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (written, value) in [
            ("true", Value::Boolean(true)),
            ("uint64 123456789", Value::Uint64(123_456_789)),
            ("-5", Value::Int32(-5)),
            ("5.5", Value::Double(5.5)),
            ("byte 0xff", Value::Byte(255)),
            ("'inactive-or-failed'", text("inactive-or-failed")),
            (r#"  "it's\t\\" "#, text("it's\t\\")),
            ("@as []", Value::Array("s".into(), vec![])),
            ("['a', 'b']", Value::Array("s".into(), vec![text("a"), text("b")])),
            (
                "[('/dev/null', 'rw')]",
                Value::Array("(ss)".into(), vec![Value::Tuple(vec![text("/dev/null"), text("rw")])]),
            ),
            ("@(st) ('x', 5)", Value::Tuple(vec![text("x"), Value::Uint64(5)])),
            ("<uint32 1>", Value::Variant(Box::new(Value::Uint32(1)))),
        ] {
            assert_eq!(Value::parse(written), Ok(value), "{written}");
        }
    }

    #[test]
    fn text_that_is_no_value_is_refused_and_nothing_is_cut_to_fit() {
        for written in [
            "",
            "uint64 -1",
            "byte 256",
            "true false",
            "'open",
            "[1, 'a']",
            "[",
            "(",
            "()",
            "[]",
            "@",
            "@q 70000",
            "@(s) ('a', 'b')",
            "@(ss) ('a',)",
            "int16 true",
            "nonsense",
            "'\\x'",
            "@zz 1",
            "uint64 1.5",
            "<5",
        ] {
            assert!(Value::parse(written).is_err(), "{written}");
        }
        assert!(Value::parse(&"[".repeat(10_000)).is_err());
        assert!(Value::parse(&format!("@{} []", "a".repeat(10_000))).is_err());
    }

    #[test]
    fn seconds_become_microseconds_where_they_fit() {
        assert_eq!(Value::Int32(5).seconds_to_microseconds(), Some(Value::Uint64(5_000_000)));
        assert_eq!(Value::Double(0.5).seconds_to_microseconds(), Some(Value::Uint64(500_000)));
        assert_eq!(Value::Int32(-1).seconds_to_microseconds(), None);
        assert_eq!(Value::Uint64(u64::MAX).seconds_to_microseconds(), None);
        assert_eq!(Value::Text("5".into()).seconds_to_microseconds(), None);
    }
}
