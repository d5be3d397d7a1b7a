//! What templates look at, and what is printed as JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing.
    Null,
    Bool(bool),
    Number(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(Map),
    /// What is found by a text that is its argument, as docker's `.Label "name"`; JSON has nothing of it.
    Method(Map),
    /// Of known fields, in their order: another one is a mistake.
    Record(Vec<Field>),
    /// One that nobody has set: as the empty one in it, but for JSON, where it is `null`.
    Unset(Box<Value>),
}

/// A map of any keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Map {
    pub(super) entries: BTreeMap<String, Value>,
    /// What `index` finds by a key that is not there: what Go has for one of its values that nobody has set.
    pub(super) zero: Box<Value>,
}

impl Map {
    /// An empty one.
    pub(crate) fn with_zero(zero: impl Into<Value>) -> Map {
        Map { entries: BTreeMap::new(), zero: Box::new(zero.into()) }
    }

    /// What a key has.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(super) name: Cow<'static, str>,
    pub(super) value: Value,
    /// Whether JSON has it also where it is empty.
    always: bool,
}

impl Field {
    /// One that JSON always has.
    pub(crate) fn new(name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Field {
        Field { name: name.into(), value: value.into(), always: true }
    }

    /// Another name for one, which templates know and JSON has not: podman's, where docker has its own.
    pub(crate) fn alias(name: &'static str, value: impl Into<Value>) -> Field {
        Field::if_set(name, Value::Unset(Box::new(value.into())))
    }

    /// One that JSON has where it is not empty.
    pub(crate) fn if_set(name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Field {
        Field { always: false, ..Field::new(name, value) }
    }
}

impl Value {
    /// What is written, or where nothing is, what Go has then: `kind` is an empty value of the same type.
    pub(crate) fn of_kind(kind: &Value, written: Option<&serde_json::Value>) -> Value {
        let written = written.cloned().map_or(Value::Null, Value::from);
        match (written, kind) {
            (Value::Null, Value::Null | Value::List(_) | Value::Map(_)) => {
                Value::Unset(Box::new(kind.clone()))
            }
            (Value::Null, kind) => kind.clone(),
            (Value::Map(map), Value::Map(kind)) => Value::Map(Map { zero: kind.zero.clone(), ..map }),
            (written, _) => written,
        }
    }

    /// A JSON object of known fields; those of them that `inner` names are, too, by their paths with points between.
    pub(crate) fn record(object: serde_json::Value, inner: &[&str]) -> Value {
        let serde_json::Value::Object(object) = object else { return object.into() };
        let field = |(name, value): (String, serde_json::Value)| {
            let value = match inner.contains(&name.as_str()) {
                true => {
                    let below = inner.iter().filter_map(|path| path.strip_prefix(&name)?.strip_prefix('.'));
                    Value::record(value, &below.collect::<Vec<_>>())
                }
                false => value.into(),
            };
            Field::new(name, value)
        };
        Value::Record(object.into_iter().map(field).collect())
    }

    /// A field of a record, to be changed.
    pub(crate) fn field_mut(&mut self, name: &str) -> Option<&mut Value> {
        let Value::Record(fields) = self else { return None };
        fields.iter_mut().find(|field| field.name == name).map(|field| &mut field.value)
    }

    /// A record with one field more, or in the place of one that is called so.
    pub(crate) fn with(self, field: Field) -> Value {
        let Value::Record(mut fields) = self else { return self };
        match fields.iter().position(|own| own.name == field.name) {
            Some(index) => fields[index] = field,
            None => fields.push(field),
        }
        Value::Record(fields)
    }

    /// What is found by the keys of `map`, and nothing by others.
    pub(crate) fn method(map: BTreeMap<String, String>) -> Value {
        let entries = map.into_iter().map(|(key, value)| (key, value.into())).collect();
        Value::Method(Map { entries, ..Map::with_zero("") })
    }

    /// The same, whether or not somebody has set it.
    pub(super) fn settled(&self) -> &Value {
        match self {
            Value::Unset(empty) => empty,
            set => set,
        }
    }

    /// As one line of JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("keys are text")
    }

    /// As JSON for people: four spaces a level, as docker and podman write it.
    pub(crate) fn pretty_json(&self) -> String {
        let mut text = Vec::new();
        let form = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, form);
        self.serialize(&mut serializer).expect("keys are text");
        String::from_utf8(text).expect("JSON is UTF-8")
    }

    /// Whether `if` takes it for true.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Record(_) => true,
            other => !other.is_empty(),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Bool(is) => !is,
            Value::Number(number) => *number == 0,
            Value::Float(number) => *number == 0.0,
            Value::Text(text) => text.is_empty(),
            Value::List(list) => list.is_empty(),
            Value::Map(map) => map.entries.is_empty(),
            // What is left out where it is empty, is.
            Value::Method(_) => true,
            Value::Record(fields) => fields.iter().all(|field| field.value.is_empty()),
            Value::Unset(_) => true,
        }
    }

    /// What it is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Number(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Method(_) => "a question",
            Value::Record(_) => "a record",
            Value::Unset(empty) => empty.kind(),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null | Value::Unset(_) | Value::Method(_) => serializer.serialize_unit(),
            Value::Bool(is) => serializer.serialize_bool(*is),
            Value::Number(number) => serializer.serialize_i64(*number),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(list) => {
                let mut all = serializer.serialize_seq(Some(list.len()))?;
                list.iter().try_for_each(|one| all.serialize_element(one))?;
                all.end()
            }
            Value::Map(map) => {
                let mut all = serializer.serialize_map(Some(map.entries.len()))?;
                map.entries.iter().try_for_each(|(key, one)| all.serialize_entry(key, one))?;
                all.end()
            }
            Value::Record(fields) => {
                let mut all = serializer.serialize_map(None)?;
                let shown = fields.iter().filter(|field| field.always || !field.value.is_empty());
                shown.into_iter().try_for_each(|field| all.serialize_entry(&field.name, &field.value))?;
                all.end()
            }
        }
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Value {
        Value::Bool(is)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Number(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        // No size is that large.
        Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(list: Vec<T>) -> Value {
        Value::List(list.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl<T: Into<Value> + Default> From<BTreeMap<String, T>> for Value {
    fn from(map: BTreeMap<String, T>) -> Value {
        let entries = map.into_iter().map(|(key, value)| (key, value.into())).collect();
        Value::Map(Map { entries, ..Map::with_zero(T::default()) })
    }
}

impl From<Vec<Field>> for Value {
    fn from(fields: Vec<Field>) -> Value {
        Value::Record(fields)
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Value {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(is) => Value::Bool(is),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(number) => Value::Number(number),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Value::Text(text),
            serde_json::Value::Array(list) => list.into(),
            serde_json::Value::Object(map) => {
                let entries = map.into_iter().map(|(key, value)| (key, value.into())).collect();
                Value::Map(Map { entries, ..Map::with_zero(Value::Null) })
            }
        }
    }
}
