//! What is written down of a secret: its value among it, as hexadecimal digits, so that it is written whole or not at all.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Durability;
use crate::directories::read_record;
use crate::error::Result;

/// Its file. Not for `Debug`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) name: String,
    /// Nanoseconds since 1970.
    pub(super) created: u64,
    pub(super) updated: u64,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(serialize_with = "write_hex", deserialize_with = "read_hex")]
    pub(super) value: Vec<u8>,
}

impl Record {
    pub(super) fn read(path: &Path) -> Result<Option<Record>> {
        read_record(path, "remove this file, and make the secret again")
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        super::write(path, self, Durability::Power)
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// And back; none where they are no such digits.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::try_from(digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?).ok()).collect()
}

pub(super) fn write_hex<S: Serializer>(value: &[u8], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(value))
}

pub(super) fn read_hex<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    // Without the text, which may be most of a secret.
    bytes(&text).ok_or_else(|| serde::de::Error::custom("the value is not made of hexadecimal digits"))
}
