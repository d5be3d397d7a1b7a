//! Manifests and indexes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Form, media_type};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};

/// The most layers of an image: an overlay takes no more at once (the kernel's OVL_MAX_STACK).
const MOST_LAYERS: usize = 500;
/// The most entries of an index.
const MOST_MANIFESTS: usize = 1000;

/// What some content is: enough to fetch and to check it (image-spec, descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where else it is said to be; never looked at, as whoever writes a manifest would have hosts of their choice called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<String>>,
    /// Notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// In an index: which machines it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// A kind of machine (image-spec, image-index.md).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Platform {
    /// The processor, by Go's names: `amd64`, `arm64`.
    pub architecture: String,
    /// The system: `linux`.
    pub os: String,
    /// The version of the system, which counts on Windows.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// What the system must have.
    #[serde(default, rename = "os.features", skip_serializing_if = "Option::is_none")]
    pub os_features: Option<Vec<String>>,
    /// The variant of the processor: `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What the processor must have; in Docker's lists alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
}

/// The manifest of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its own type.
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// Notes.
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests, for one platform each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its own type.
    pub media_type: String,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// Notes.
    pub annotations: BTreeMap<String, String>,
}

/// What stands behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// Several.
    Index(Index),
}

/// The text as it is written, with every field that tells kinds of documents apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    schema_version: u64,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    fs_layers: Option<serde::de::IgnoredAny>,
    history: Option<serde::de::IgnoredAny>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Document {
    /// Reads a manifest or an index; `said` is its type by whoever brought it, and `operation` what an error begins with.
    pub fn parse(text: &[u8], said: Option<&str>, operation: &str) -> Result<Document> {
        let corrupt = |reason: String| Err(Error::new(Kind::Corrupt, operation, reason));
        if text.len() > super::MOST_MANIFEST_BYTES {
            return corrupt(format!("it is longer than {} MiB", super::MOST_MANIFEST_BYTES >> 20));
        }
        let written: Written = match serde_json::from_slice(text) {
            Ok(written) => written,
            Err(error) => return corrupt(format!("it is no manifest: {error}")),
        };
        let said = said.map(|said| said.split(';').next().unwrap_or_default().trim());
        let own = written.media_type.as_deref();
        let is_first = said.or(own).is_some_and(|kind| kind.contains("distribution.manifest.v1"));
        if written.schema_version == 1 || is_first {
            let error = Error::new(
                Kind::Unsupported,
                operation,
                "it is of Docker's schema 1, which nobody can verify",
            );
            return Err(error.with_hint("have it pushed again by a client of the last ten years"));
        }
        if written.schema_version != 2 {
            return corrupt(format!("schemaVersion is {}, and not 2", written.schema_version));
        }
        // A registry that says only `application/json` says nothing.
        let said = said.filter(|said| media_type::MANIFESTS.contains(said));
        if let (Some(said), Some(own)) = (said, own)
            && said != own
        {
            return corrupt(format!("it was sent as `{said}` and says that it is `{}`", own.escape_debug()));
        }
        // A text that is both would be one thing for whoever checks it and the other for whoever runs it (CVE-2021-41190).
        let is_manifest = written.config.is_some() || written.layers.is_some();
        if is_manifest && written.manifests.is_some()
            || written.fs_layers.is_some()
            || written.history.is_some()
        {
            return corrupt("it is several kinds of document at once".to_owned());
        }
        let kind = said.or(own);
        match (written.config, written.layers, written.manifests) {
            (Some(config), Some(layers), None) => {
                if layers.len() > MOST_LAYERS {
                    return corrupt(format!(
                        "it has {} layers, and no overlay takes more than {MOST_LAYERS}",
                        layers.len()
                    ));
                }
                let media_type = match kind {
                    None => media_type::MANIFEST,
                    Some(kind @ (media_type::MANIFEST | media_type::DOCKER_MANIFEST)) => kind,
                    Some(kind) => {
                        return corrupt(format!("it is a manifest and called `{}`", kind.escape_debug()));
                    }
                };
                Ok(Document::Manifest(Box::new(Manifest {
                    media_type: media_type.to_owned(),
                    config,
                    layers,
                    annotations: written.annotations.unwrap_or_default(),
                })))
            }
            (None, None, Some(manifests)) => {
                if manifests.len() > MOST_MANIFESTS {
                    return corrupt(format!(
                        "it lists {} manifests, more than {MOST_MANIFESTS}",
                        manifests.len()
                    ));
                }
                let media_type = match kind {
                    None => media_type::INDEX,
                    Some(kind @ (media_type::INDEX | media_type::DOCKER_LIST)) => kind,
                    Some(kind) => {
                        return corrupt(format!("it is an index and called `{}`", kind.escape_debug()));
                    }
                };
                let annotations = written.annotations.unwrap_or_default();
                Ok(Document::Index(Index { media_type: media_type.to_owned(), manifests, annotations }))
            }
            _ => corrupt("it has neither `config` and `layers` nor `manifests`".to_owned()),
        }
    }
}

impl Manifest {
    /// Refuses what is no image for containers: artifacts of other kinds have a manifest too.
    pub fn check_image(&self, operation: &str) -> Result<()> {
        let kind = self.config.media_type.as_str();
        if !matches!(kind, media_type::CONFIG | media_type::DOCKER_CONFIG) {
            let reason =
                format!("it is no image of a container: its configuration is `{}`", kind.escape_debug());
            return Err(Error::new(Kind::Unsupported, operation, reason));
        }
        match self.layers.iter().find(|layer| !is_layer(&layer.media_type)) {
            None => Ok(()),
            Some(layer) if layer.media_type.ends_with("+encrypted") => {
                let error = Error::new(Kind::Unsupported, operation, "a layer of it is encrypted");
                Err(error.with_hint(
                    "rabbitc has no keys yet: `skopeo copy --decryption-key KEY docker://NAME oci:DIR` decrypts it, and \
                     `rabbitc load -i DIR` takes that",
                ))
            }
            Some(layer) => {
                let reason = format!("a layer of it is `{}`", layer.media_type.escape_debug());
                let error = Error::new(Kind::Unsupported, operation, reason);
                Err(error.with_hint("layers are tar archives, plain or compressed with gzip or zstd"))
            }
        }
    }
}

/// Whether it is a layer that can be unpacked. How it is compressed, its first bytes tell: builders have mixed that up.
fn is_layer(media_type: &str) -> bool {
    let of_docker = media_type
        .strip_prefix("application/vnd.docker.image.rootfs.")
        .map(|rest| rest.strip_prefix("foreign.").unwrap_or(rest))
        .and_then(|rest| rest.strip_prefix("diff.tar"));
    let of_oci = media_type
        .strip_prefix("application/vnd.oci.image.layer.")
        .map(|rest| rest.strip_prefix("nondistributable.").unwrap_or(rest))
        .and_then(|rest| rest.strip_prefix("v1.tar"));
    of_docker.or(of_oci).is_some_and(|end| matches!(end, "" | ".gzip" | "+gzip" | ".zstd" | "+zstd"))
}

/// Those that stand alone, as any other word alone is a slip; and how others write some of them.
const ARCHITECTURES: [&str; 18] = [
    "386", "aarch64", "amd64", "arm", "arm64", "i386", "loong64", "mips", "mips64", "mips64le", "mipsle",
    "ppc64", "ppc64le", "riscv64", "s390x", "wasm", "x86-64", "x86_64",
];

impl Platform {
    /// This machine's.
    pub fn of_this_machine() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            "x86" => ("386", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Platform {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: variant.map(str::to_owned),
            ..Platform::default()
        }
    }

    /// Reads `OS/ARCHITECTURE[/VARIANT]`, or an architecture that is known alone, as docker's `--platform`.
    pub fn parse(text: &str) -> Result<Platform> {
        let words: Vec<&str> = text.split('/').collect();
        let legal = |word: &&str| {
            !word.is_empty()
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        };
        let (os, architecture, variant) = match words[..] {
            [architecture] if ARCHITECTURES.contains(&architecture) => ("linux", architecture, None),
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => ("", "", None),
        };
        if !words.iter().all(legal) || architecture.is_empty() {
            let error = Error::new(Kind::Invalid, "--platform", format!("`{}` is none", text.escape_debug()));
            return Err(error.with_hint("write `linux/amd64`, or `linux/arm/v7`"));
        }
        let architecture = match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            "i386" => "386",
            other => other,
        };
        Ok(Platform {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            variant: variant.map(str::to_owned),
            ..Platform::default()
        })
    }

    /// Whether an image for `other` is for this one: a variant that one of them leaves out is any.
    pub fn takes(&self, other: &Platform) -> bool {
        let variants = self.variant.as_ref().zip(other.variant.as_ref());
        self.os == other.os
            && self.architecture == other.architecture
            && variants.is_none_or(|(own, other)| own == other)
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(formatter, "/{variant}"))
    }
}

impl Index {
    /// One without manifests.
    pub fn empty() -> Index {
        Index {
            media_type: media_type::INDEX.to_owned(),
            manifests: Vec::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// In whose words it is best written: in Docker's, where it has nothing that these have no word for and all of its manifests
    /// are in them.
    pub fn form(&self) -> Form {
        let is_dockers = |one: &Descriptor| {
            one.media_type == media_type::DOCKER_MANIFEST
                && one.annotations.as_ref().is_none_or(BTreeMap::is_empty)
        };
        let all = !self.manifests.is_empty() && self.manifests.iter().all(is_dockers);
        if all && self.annotations.is_empty() { Form::Docker } else { Form::Oci }
    }

    /// Its text in the words of `form`. Docker's have none for annotations.
    pub fn write(&self, form: Form) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Written<'a> {
            schema_version: u64,
            media_type: &'a str,
            manifests: &'a [Descriptor],
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            annotations: &'a BTreeMap<String, String>,
        }
        let none = BTreeMap::new();
        let mut manifests = self.manifests.clone();
        if form == Form::Docker {
            manifests.iter_mut().for_each(|one| one.annotations = None);
        }
        let written = Written {
            schema_version: 2,
            media_type: form.index_media_type(),
            manifests: &manifests,
            annotations: if form == Form::Docker { &none } else { &self.annotations },
        };
        serde_json::to_vec(&written).expect("only string keys")
    }

    /// The manifest for `platform`: the first with its variant, else the first for its processor.
    pub fn choose(&self, platform: &Platform, operation: &str) -> Result<&Descriptor> {
        let is_manifest = |one: &&Descriptor| {
            matches!(one.media_type.as_str(), media_type::MANIFEST | media_type::DOCKER_MANIFEST)
        };
        let of = |exact: bool| {
            self.manifests.iter().find(|one| {
                let takes = one.platform.as_ref().is_some_and(|other| {
                    platform.takes(other) && (!exact || platform.variant == other.variant)
                });
                is_manifest(one) && takes
            })
        };
        if let Some(found) = of(true).or_else(|| of(false)) {
            return Ok(found);
        }
        // One image whose platform nobody wrote down is the one that is meant.
        if let [one] = &self.manifests[..]
            && one.platform.is_none()
        {
            return Ok(one);
        }
        let manifests = self.manifests.iter().filter(is_manifest);
        let mut there: Vec<String> =
            manifests.filter_map(|one| one.platform.as_ref()).map(Platform::to_string).collect();
        // Attestations of builders.
        there.retain(|platform| !platform.starts_with("unknown/"));
        there.dedup();
        let error = Error::new(Kind::NotFound, operation, format!("there is none for `{platform}`"));
        Err(error.with_hint(match there.is_empty() {
            true => "it has no manifest that names a platform".to_owned(),
            false => format!("there are {}: choose one with `--platform`", there.join(", ")),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn manifest(more: &str) -> String {
        let blob = |kind: &str| format!(r#"{{"mediaType": "{kind}", "digest": "{DIGEST}", "size": 2}}"#);
        format!(
            r#"{{"schemaVersion": 2, "config": {}, "layers": [{}]{more}}}"#,
            blob(media_type::CONFIG),
            blob(media_type::LAYER_GZIP)
        )
    }

    fn parse(text: &str, said: Option<&str>) -> Result<Document> {
        Document::parse(text.as_bytes(), said, "fetch")
    }

    #[test]
    fn manifest_is_what_its_fields_and_its_bringer_say() {
        let Document::Manifest(found) = parse(&manifest(""), None).expect("legal") else {
            panic!("one image")
        };
        assert_eq!((found.media_type.as_str(), found.layers.len()), (media_type::MANIFEST, 1));
        found.check_image("pull").expect("an image");
        let said = format!("{}; charset=utf-8", media_type::DOCKER_MANIFEST);
        let Document::Manifest(found) = parse(&manifest(""), Some(&said)).expect("legal") else { panic!() };
        assert_eq!(found.media_type, media_type::DOCKER_MANIFEST);
        parse(&manifest(""), Some("application/json")).expect("says nothing");
    }

    #[test]
    fn documents_that_can_be_read_in_two_ways_are_refused() {
        let refused = |text: &str, said: Option<&str>, reason: &str| {
            let error = parse(text, said).expect_err(text);
            assert!(error.to_string().contains(reason), "{error}");
        };
        refused(&manifest(r#", "manifests": []"#), None, "several kinds");
        refused(&manifest(r#", "fsLayers": []"#), None, "several kinds");
        refused(&manifest(r#", "layers": []"#), None, "duplicate field");
        refused(&manifest(&format!(r#", "mediaType": "{}""#, media_type::INDEX)), None, "called");
        refused(&manifest(""), Some(media_type::INDEX), "called");
        let own = manifest(&format!(r#", "mediaType": "{}""#, media_type::MANIFEST));
        refused(&own, Some(media_type::DOCKER_MANIFEST), "sent as");
        refused(r#"{"schemaVersion": 1}"#, None, "schema 1");
        refused(r#"{"schemaVersion": 2}"#, None, "neither");
        refused(&manifest("").replace(DIGEST, "sha256:../../etc"), None, "hexadecimal");
        refused(&manifest("").replace(r#""size": 2"#, r#""size": -2"#), None, "-2");
        refused("<html>", None, "no manifest");
        refused(&" ".repeat(super::super::MOST_MANIFEST_BYTES + 1), None, "longer");
    }

    #[test]
    fn platform_is_chosen_by_variant_then_by_processor() {
        let one = |architecture: &str, variant: &str, size: u64| {
            format!(
                r#"{{"mediaType": "{}", "digest": "{DIGEST}", "size": {size}, "platform":
                {{"os": "linux", "architecture": "{architecture}"{variant}}}}}"#,
                media_type::MANIFEST
            )
        };
        let list = [
            one("unknown", "", 1),
            one("arm", r#", "variant": "v6""#, 2),
            one("arm", r#", "variant": "v7""#, 3),
            one("amd64", "", 4),
        ];
        let text = format!(r#"{{"schemaVersion": 2, "manifests": [{}]}}"#, list.join(","));
        let Document::Index(index) = parse(&text, Some(media_type::INDEX)).expect("legal") else { panic!() };
        let size = |platform: &str| {
            index.choose(&Platform::parse(platform).expect("legal"), "pull").map(|one| one.size)
        };
        assert_eq!(size("linux/arm/v7"), Ok(3));
        assert_eq!(size("arm"), Ok(2));
        assert_eq!(size("linux/amd64/v3"), Ok(4));
        let error = size("linux/s390x").expect_err("none");
        assert!(error.hint.expect("names those that are there").contains("linux/arm/v6"));
        for wrong in ["", "/", "linux/", "a/b/c/d", "li nux/amd64", "foo"] {
            assert!(Platform::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn index_that_is_written_is_read_as_it_was() {
        let mut index = Index::empty();
        assert_eq!(
            parse(&String::from_utf8(index.write(index.form())).expect("text"), None),
            Ok(Document::Index(index.clone()))
        );
        let mut platform = Platform::parse("linux/arm/v7").expect("legal");
        (platform.os_version, platform.features) = (Some("1".to_owned()), Some(vec!["neon".to_owned()]));
        index.manifests.push(Descriptor {
            media_type: media_type::DOCKER_MANIFEST.to_owned(),
            digest: DIGEST.parse().expect("one"),
            size: 7,
            urls: None,
            annotations: None,
            platform: Some(platform),
        });
        assert_eq!(index.form(), Form::Docker);
        index.manifests[0].annotations = Some([("a".to_owned(), "b".to_owned())].into());
        assert_eq!(index.form(), Form::Oci, "Docker's form has no annotations");
        let text = String::from_utf8(index.write(Form::Oci)).expect("text");
        assert!(text.contains(r#""os.version":"1""#) && text.contains(r#""variant":"v7""#), "{text}");
        assert_eq!(parse(&text, Some(media_type::INDEX)), Ok(Document::Index(index.clone())));
        let text = String::from_utf8(index.write(Form::Docker)).expect("text");
        assert!(!text.contains("annotations") && text.contains(media_type::DOCKER_LIST), "{text}");
    }

    #[test]
    fn what_is_no_layer_is_refused_by_its_type() {
        for known in [
            media_type::LAYER,
            media_type::LAYER_ZSTD,
            media_type::DOCKER_LAYER_GZIP,
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        ] {
            assert!(is_layer(known), "{known}");
        }
        for other in ["application/wasm", "application/vnd.oci.image.layer.v1.tar+encrypted", ""] {
            assert!(!is_layer(other), "{other}");
        }
    }
}
