//! The functions of templates: Go's own, and those that docker and podman add.

use std::cmp::Ordering;

use engine::Result;

use super::print::{formatted, print, print_all};
use super::value::Value;
use super::wrong;

const NAMES: [&str; 23] = [
    "and", "or", "not", "len", "index", "slice", "print", "printf", "println", "eq", "ne", "lt", "le", "gt",
    "ge", "json", "split", "join", "title", "lower", "upper", "pad", "truncate",
];

/// The function of a name.
pub(super) fn find(name: &str) -> Result<&'static str> {
    NAMES.iter().find(|known| **known == name).copied().ok_or_else(|| {
        let error = wrong(format!("`{}` is no function", name.escape_debug()));
        error.with_hint(format!("there are {}; a field begins with a dot, as `.ID`", NAMES.join(", ")))
    })
}

/// Calls one.
pub(super) fn call(name: &'static str, arguments: &[Value]) -> Result<Value> {
    match (name, arguments) {
        ("and" | "or", [.., last]) => Ok(last.clone()),
        ("json", [one]) => Ok(Value::Text(one.json())),
        (name, arguments) => {
            let arguments: Vec<Value> = arguments.iter().map(|one| one.settled().clone()).collect();
            call_settled(name, &arguments)
        }
    }
}

/// One for which it does not matter whether somebody has set what it is given.
fn call_settled(name: &'static str, arguments: &[Value]) -> Result<Value> {
    match (name, arguments) {
        ("not", [one]) => Ok(Value::Bool(!one.is_true())),
        ("len", [one]) => length(one).map(|length| Value::from(length as u64)),
        ("index", [of, keys @ ..]) => keys.iter().try_fold(of.clone(), index),
        ("slice", [of, bounds @ ..]) if bounds.len() <= 2 => slice(of, bounds),
        ("print", all) => Ok(Value::Text(print_all(all))),
        ("println", all) => {
            Ok(Value::Text(format!("{}\n", all.iter().map(print).collect::<Vec<_>>().join(" "))))
        }
        ("printf", [Value::Text(form), rest @ ..]) => formatted(form, rest).map(Value::Text),
        ("eq", [one, others @ ..]) if !others.is_empty() => {
            for other in others {
                if is_equal(one, other)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        ("ne", [one, other]) => is_equal(one, other).map(|is| Value::Bool(!is)),
        ("lt", [one, other]) => order(one, other).map(|order| Value::Bool(order.is_lt())),
        ("le", [one, other]) => order(one, other).map(|order| Value::Bool(order.is_le())),
        ("gt", [one, other]) => order(one, other).map(|order| Value::Bool(order.is_gt())),
        ("ge", [one, other]) => order(one, other).map(|order| Value::Bool(order.is_ge())),
        ("split", [Value::Text(text), Value::Text(by)]) => {
            Ok(Value::List(text.split(by.as_str()).map(Value::from).collect()))
        }
        ("join", [Value::List(list), Value::Text(with)]) => {
            Ok(Value::Text(list.iter().map(print).collect::<Vec<_>>().join(with)))
        }
        ("join", [Value::Null, Value::Text(_)]) => Ok(Value::Text(String::new())),
        ("lower", [Value::Text(text)]) => Ok(Value::Text(text.to_lowercase())),
        ("upper", [Value::Text(text)]) => Ok(Value::Text(text.to_uppercase())),
        ("title", [Value::Text(text)]) => Ok(Value::Text(title(text))),
        ("pad", [Value::Text(text), Value::Number(before), Value::Number(after)]) if !text.is_empty() => {
            let spaces = |number: &i64| " ".repeat(usize::try_from(*number).unwrap_or(0).min(1000));
            Ok(Value::Text(format!("{}{text}{}", spaces(before), spaces(after))))
        }
        ("pad", [Value::Text(text), Value::Number(_), Value::Number(_)]) => Ok(Value::Text(text.clone())),
        ("truncate", [Value::Text(text), Value::Number(most)]) => {
            Ok(Value::Text(text.chars().take(usize::try_from(*most).unwrap_or(0)).collect()))
        }
        (name, arguments) => {
            let kinds: Vec<&str> = arguments.iter().map(Value::kind).collect();
            let given = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") };
            Err(wrong(format!("`{name}` can't be called with {given}")))
        }
    }
}

fn length(value: &Value) -> Result<usize> {
    Ok(match value {
        Value::Text(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.entries.len(),
        Value::Null => 0,
        other => return Err(wrong(format!("`len` can't be called with {}", other.kind()))),
    })
}

fn index(of: Value, key: &Value) -> Result<Value> {
    match (of, key) {
        (Value::List(list), Value::Number(number)) => {
            let (count, index) = (list.len(), usize::try_from(*number).ok());
            let found = index.and_then(|index| list.into_iter().nth(index));
            found.ok_or_else(|| wrong(format!("`index` asks for number {number} of a list of {count}")))
        }
        (Value::Map(mut map), Value::Text(key)) => Ok(map.entries.remove(key).unwrap_or(*map.zero)),
        (Value::Null, Value::Text(_)) => Ok(Value::Null),
        (of, key) => Err(wrong(format!("`index` can't look {} up in {}", key.kind(), of.kind()))),
    }
}

fn slice(of: &Value, bounds: &[Value]) -> Result<Value> {
    let length = length(of)?;
    let bound = |index: usize, otherwise: usize| match bounds.get(index) {
        None => Ok(otherwise),
        Some(Value::Number(number)) => {
            let bound = usize::try_from(*number).ok().filter(|bound| *bound <= length);
            bound.ok_or_else(|| wrong(format!("`slice` asks for number {number} of {length}")))
        }
        Some(other) => Err(wrong(format!("`slice` can't be called with {}", other.kind()))),
    };
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    let found = match of {
        Value::List(list) => list.get(from..to).map(|list| Value::List(list.to_vec())),
        Value::Text(text) => text.get(from..to).map(Value::from),
        other => return Err(wrong(format!("`slice` can't be called with {}", other.kind()))),
    };
    found.ok_or_else(|| wrong(format!("`slice` can't cut from {from} to {to}")))
}

fn is_equal(one: &Value, other: &Value) -> Result<bool> {
    match (one, other) {
        (Value::Null, _) | (_, Value::Null) => Ok(one == other),
        (Value::Number(_), Value::Float(_)) | (Value::Float(_), Value::Number(_)) => {
            order(one, other).map(Ordering::is_eq)
        }
        _ if std::mem::discriminant(one) == std::mem::discriminant(other) => Ok(one == other),
        _ => Err(wrong(format!("{} and {} can't be compared", one.kind(), other.kind()))),
    }
}

fn order(one: &Value, other: &Value) -> Result<Ordering> {
    let number = |value: &Value| match value {
        Value::Number(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    };
    let found = match (one, other) {
        (Value::Number(one), Value::Number(other)) => Some(one.cmp(other)),
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        _ => number(one).zip(number(other)).and_then(|(one, other)| one.partial_cmp(&other)),
    };
    found.ok_or_else(|| wrong(format!("{} and {} can't be compared", one.kind(), other.kind())))
}

/// The first letter of each word as a capital.
fn title(text: &str) -> String {
    let mut at_begin = true;
    let letters = text.chars().flat_map(|letter| {
        let begins = std::mem::replace(&mut at_begin, !letter.is_alphanumeric());
        match begins {
            true => letter.to_uppercase().collect::<Vec<_>>(),
            false => vec![letter],
        }
    });
    letters.collect()
}
