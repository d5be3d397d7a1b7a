//! Values as text: by themselves, and by `printf` (Go's fmt).

use engine::Result;

use super::value::Value;
use super::wrong;

/// The widest that `printf` makes something.
const WIDEST: usize = 10_000;

/// As Go's `%v` has it.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(is) => is.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::List(list) => format!("[{}]", joined(list.iter().map(print))),
        Value::Map(map) | Value::Method(map) => {
            format!(
                "map[{}]",
                joined(map.entries.iter().map(|(key, value)| format!("{key}:{}", print(value))))
            )
        }
        Value::Record(fields) => format!("{{{}}}", joined(fields.iter().map(|field| print(&field.value)))),
        Value::Unset(empty) => print(empty),
    }
}

/// As Go's `Sprint` has several: with a space between two of which neither is a text.
pub(super) fn print_all(values: &[Value]) -> String {
    let mut text = String::new();
    let mut is_text = true;
    for value in values {
        let was_text = std::mem::replace(&mut is_text, matches!(value, Value::Text(_)));
        if !was_text && !is_text {
            text.push(' ');
        }
        text.push_str(&print(value));
    }
    text
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" ")
}

/// `printf`: `%v`, `%s`, `%d`, `%q`, `%x`, `%t`, `%f` with width and precision.
pub(super) fn formatted(form: &str, arguments: &[Value]) -> Result<String> {
    let (mut text, mut letters, mut arguments) = (String::new(), form.chars().peekable(), arguments.iter());
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let mut wish = Wish::default();
        while let Some(flag) = letters.next_if(|letter| matches!(letter, '-' | '0' | '+' | ' ' | '#')) {
            wish.left |= flag == '-';
            wish.zeros |= flag == '0';
        }
        wish.width = number(&mut letters)?.unwrap_or(0);
        if letters.next_if_eq(&'.').is_some() {
            wish.precision = Some(number(&mut letters)?.unwrap_or(0));
        }
        let verb = letters.next().ok_or_else(|| wrong("a `%` of `printf` stands at the end"))?;
        if verb == '%' {
            text.push('%');
            continue;
        }
        let argument =
            arguments.next().ok_or_else(|| wrong(format!("`printf` has no argument for `%{verb}`")))?;
        text.push_str(&wish.fill(&wish.shown(verb, argument)?));
    }
    match arguments.next() {
        None => Ok(text),
        Some(_) => Err(wrong("`printf` has more arguments than `%`")),
    }
}

fn number(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Option<usize>> {
    let mut digits = String::new();
    while let Some(digit) = letters.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    if digits.is_empty() {
        return Ok(None);
    }
    let number = digits.parse().ok().filter(|number| *number <= WIDEST);
    number.map(Some).ok_or_else(|| wrong(format!("`printf` makes nothing wider than {WIDEST}")))
}

/// How one argument is to look.
#[derive(Default)]
struct Wish {
    left: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
}

impl Wish {
    fn shown(&self, verb: char, argument: &Value) -> Result<String> {
        let cut = |text: String| match self.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        };
        Ok(match (verb, argument) {
            ('s' | 'v', Value::Text(text)) => cut(text.clone()),
            ('v' | 's', other) => print(other),
            ('d', Value::Number(number)) => number.to_string(),
            ('x', Value::Number(number)) => format!("{number:x}"),
            ('x', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('q', Value::Text(text)) => Value::Text(cut(text.clone())).json(),
            ('t', Value::Bool(is)) => is.to_string(),
            ('f', Value::Float(number)) => format!("{number:.*}", self.precision.unwrap_or(6)),
            ('f', Value::Number(number)) => format!("{:.*}", self.precision.unwrap_or(6), *number as f64),
            ('d' | 'x' | 'q' | 't' | 'f', other) => {
                return Err(wrong(format!("`%{verb}` of `printf` is not for {}", other.kind())));
            }
            _ => return Err(wrong(format!("`%{}` of `printf` is not known", verb.escape_debug()))),
        })
    }

    fn fill(&self, text: &str) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        match (self.left, self.zeros) {
            (true, _) => format!("{text}{}", " ".repeat(missing)),
            (false, true) => format!("{}{text}", "0".repeat(missing)),
            (false, false) => format!("{}{text}", " ".repeat(missing)),
        }
    }
}
