//! An OCI bundle: a directory that was opened, and its config.json, parsed.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::named_file::{self, LONGEST_DOCUMENT};
use crate::spec::Spec;

/// A bundle.
#[derive(Debug)]
pub struct Bundle {
    /// Its directory, absolute, links resolved.
    pub path: PathBuf,
    /// Its configuration.
    pub spec: Spec,
}

impl Bundle {
    /// Opens the bundle in `directory`.
    pub fn open(directory: &Path) -> Result<Bundle> {
        Bundle::open_with(directory, Path::new("config.json"))
    }

    /// The same with another configuration, relative to the bundle.
    pub fn open_with(directory: &Path, config: &Path) -> Result<Bundle> {
        let path = sys::path::resolve(directory)
            .map_err(|error| Error::at_path("open the bundle", directory, error))?;
        let spec = read_json::<Spec>(&path.join(config))
            .map_err(|error| error.with_hint("`rabbitc-runtime spec` writes a config.json to start from"))?;
        Ok(Bundle { path, spec })
    }
}

/// Reads a JSON document; a wrong field is named by its path.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = named_file::read("read", path, LONGEST_DOCUMENT)?;
    parse_bytes(&bytes).map_err(|error| error.from_field(path.display().to_string()))
}

fn parse_bytes<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let text = std::str::from_utf8(bytes).map_err(|error| Error::invalid("JSON", error.to_string()))?;
    parse_json(text)
}

/// The same of standard input.
pub fn read_json_from_stdin<T: serde::de::DeserializeOwned>() -> Result<T> {
    parse_bytes(&named_file::read_open("read standard input", std::io::stdin(), LONGEST_DOCUMENT)?)
}

/// Parses a JSON document; a wrong field is named by its path.
pub fn parse_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    // Following the path costs as much as the parsing, and is of use only once something is wrong.
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut document = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut document).map_err(|error| {
        let path = error.path().to_string();
        Error::invalid(if path == "." { "JSON".to_owned() } else { path }, error.into_inner().to_string())
    })?;
    document.end().map_err(|error| Error::invalid("JSON", error.to_string()))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_field_is_named_by_its_path() {
        let error = parse_json::<Spec>(r#"{"process": {"args": [1]}}"#).expect_err("a number is no string");
        assert!(error.to_string().starts_with("process.args[0]: "), "{error}");
    }

    #[test]
    fn number_that_does_not_fit_is_refused() {
        let error =
            parse_json::<Spec>(r#"{"process": {"user": {"uid": 4294967296}}}"#).expect_err("too large");
        assert!(error.to_string().contains("process.user.uid"), "{error}");
    }
}
