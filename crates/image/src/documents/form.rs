//! A manifest in the other of its two forms: OCI's and Docker's schema 2 say the same in other words (image-spec,
//! "media-types.md", compatibility matrix).

use serde_json::Value;

use super::media_type::{
    CONFIG, DOCKER_CONFIG, DOCKER_LAYER, DOCKER_LAYER_GZIP, DOCKER_LIST, DOCKER_MANIFEST, INDEX, LAYER,
    LAYER_GZIP, MANIFEST,
};
use crate::error::{Error, Kind, Result};

/// Pairs of words, OCI's first.
const WORDS: [(&str, &str); 4] = [
    (MANIFEST, DOCKER_MANIFEST),
    (CONFIG, DOCKER_CONFIG),
    (LAYER, DOCKER_LAYER),
    (LAYER_GZIP, DOCKER_LAYER_GZIP),
];

/// Whose words a manifest is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// OCI's.
    Oci,
    /// Docker's schema 2.
    Docker,
}

impl Form {
    /// The type of a manifest of this form.
    pub fn media_type(self) -> &'static str {
        match self {
            Form::Oci => MANIFEST,
            Form::Docker => DOCKER_MANIFEST,
        }
    }

    /// The type of an index of this form.
    pub fn index_media_type(self) -> &'static str {
        match self {
            Form::Oci => INDEX,
            Form::Docker => DOCKER_LIST,
        }
    }

    /// The form of a manifest.
    pub fn of(text: &[u8], operation: &str) -> Result<Form> {
        let document = parse(text, operation)?;
        let kind = |value: &Value| value.get("mediaType").and_then(Value::as_str).map(str::to_owned);
        // Of one that does not say so itself, its configuration's type tells: Docker's always say so.
        let said = kind(&document).or_else(|| document.get("config").and_then(kind));
        Ok(match said.as_deref() {
            Some(DOCKER_MANIFEST | DOCKER_CONFIG) => Form::Docker,
            _ => Form::Oci,
        })
    }

    /// A manifest of the other form, in this one. Its digest is another then.
    pub fn write(self, text: &[u8], operation: &str) -> Result<Vec<u8>> {
        let mut document = parse(text, operation)?;
        let word = |kind: &str| {
            let found = WORDS.iter().find(|(oci, docker)| [*oci, *docker].contains(&kind));
            found.map(|(oci, docker)| match self {
                Form::Oci => *oci,
                Form::Docker => *docker,
            })
        };
        let translate = |part: &mut Value| -> Result<()> {
            let kind = part.get("mediaType").and_then(Value::as_str).unwrap_or_default();
            let Some(word) = word(kind) else {
                let reason = format!("it has no word for `{}`", kind.escape_debug());
                let error = Error::new(Kind::Unsupported, operation, format!("{}: {reason}", self.name()));
                return Err(error.with_hint("leave `--format` out"));
            };
            part["mediaType"] = word.into();
            Ok(())
        };
        document["mediaType"] = self.media_type().into();
        document.get_mut("config").map(translate).transpose()?;
        let layers = document.get_mut("layers").and_then(Value::as_array_mut);
        layers.into_iter().flatten().try_for_each(translate)?;
        if self == Form::Docker
            && let Value::Object(fields) = &mut document
        {
            // It knows no others.
            fields.retain(|name, _| {
                matches!(name.as_str(), "schemaVersion" | "mediaType" | "config" | "layers")
            });
        }
        Ok(serde_json::to_vec(&document).expect("JSON that was read"))
    }

    fn name(self) -> &'static str {
        match self {
            Form::Oci => "OCI's form",
            Form::Docker => "Docker's form",
        }
    }
}

fn parse(text: &[u8], operation: &str) -> Result<Value> {
    serde_json::from_slice(text).map_err(|error| Error::new(Kind::Corrupt, operation, error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(manifest: &str, config: &str, layer: &str) -> Vec<u8> {
        let document = json!({
            "schemaVersion": 2, "mediaType": manifest, "config": {"mediaType": config, "size": 1, "digest": "d"},
            "layers": [{"mediaType": layer, "size": 2, "digest": "e"}], "annotations": {"a": "b"},
        });
        serde_json::to_vec(&document).expect("plain data")
    }

    #[test]
    fn manifest_says_the_same_in_the_words_of_the_other_form() {
        let oci = manifest(MANIFEST, CONFIG, LAYER_GZIP);
        assert_eq!(Form::of(&oci, "push").expect("legal"), Form::Oci);
        let docker = Form::Docker.write(&oci, "push").expect("all have words");
        assert_eq!(Form::of(&docker, "push").expect("legal"), Form::Docker);
        let mut expected: Value =
            serde_json::from_slice(&manifest(DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER_GZIP))
                .expect("JSON");
        expected.as_object_mut().expect("one").remove("annotations");
        assert_eq!(serde_json::from_slice::<Value>(&docker).expect("JSON"), expected);
        let back = Form::Oci.write(&docker, "push").expect("all have words");
        assert_eq!(
            serde_json::from_slice::<Value>(&back).expect("JSON")["layers"][0]["mediaType"],
            LAYER_GZIP
        );
    }

    #[test]
    fn layer_that_a_form_has_no_word_for_is_refused() {
        let zstd = manifest(MANIFEST, CONFIG, super::super::media_type::LAYER_ZSTD);
        let error = Form::Docker.write(&zstd, "push").expect_err("no word");
        assert!(error.reason.contains("tar+zstd") && error.kind == Kind::Unsupported, "{error}");
    }

    #[test]
    fn manifest_without_a_type_is_of_the_form_of_its_configuration() {
        let of = |config: &str| {
            let text = json!({"schemaVersion": 2, "config": {"mediaType": config}, "layers": []}).to_string();
            Form::of(text.as_bytes(), "push").expect("legal")
        };
        assert_eq!((of(CONFIG), of(DOCKER_CONFIG)), (Form::Oci, Form::Docker));
    }
}
