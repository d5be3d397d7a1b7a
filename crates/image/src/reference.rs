//! Names of images: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`, by the grammar that Docker, Podman and registries share
//! (distribution-spec, "Pulling manifests"). Looks nothing up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};

/// The registry of names that say none, unless a search list is configured.
pub const DOCKER_IO: &str = "docker.io";

/// The registry of names that podman gives to what is built on this host.
pub const LOCALHOST: &str = "localhost";
/// The tag of names that say none.
pub const LATEST: &str = "latest";
/// The longest repository, with its registry.
const LONGEST_NAME: usize = 255;

/// A name as somebody typed it: it may leave the registry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// The registry's host and port.
    pub registry: Option<String>,
    /// The path in it.
    pub repository: String,
    /// The tag.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<Digest>,
}

/// The whole name of an image in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    /// The registry's host and port: `docker.io`, `localhost:5000`.
    pub registry: String,
    /// The path in it: `library/alpine`.
    pub repository: String,
    /// The tag; `latest` where the name has neither tag nor digest.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<Digest>,
}

impl FromStr for Typed {
    type Err = Error;

    fn from_str(text: &str) -> Result<Typed> {
        let refuse = |reason: String| {
            let shown: String = text.chars().take(300).collect();
            Error::new(Kind::Invalid, format!("read the name `{}`", shown.escape_debug()), reason)
        };
        let (rest, digest) =
            match text.split_once('@') {
                None => (text, None),
                Some((rest, digest)) => {
                    let digest = digest.parse::<Digest>();
                    (
                        rest,
                        Some(digest.map_err(|error| {
                            refuse(format!("behind `@` stands a digest: {}", error.reason))
                        })?),
                    )
                }
            };
        // A colon before the last slash is a port's.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            let error = refuse(format!("`{}` is no tag", tag.escape_debug()));
            return Err(error.with_hint(
                "up to 128 letters, digits, `_`, `.` and `-`, not beginning with one of the last two",
            ));
        }
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => (Some(first), rest),
            _ => (None, name),
        };
        if let Some(registry) = registry
            && !is_host(registry)
        {
            return Err(refuse(format!("`{}` is no host of a registry", registry.escape_debug())));
        }
        if repository.is_empty() {
            return Err(refuse("it names no repository".to_owned()));
        }
        if name.len() > LONGEST_NAME {
            return Err(refuse(format!("it is longer than {LONGEST_NAME} bytes")));
        }
        if let Some(wrong) = repository.split('/').find(|part| !is_component(part)) {
            let error = match repository.to_ascii_lowercase() == repository {
                true => refuse(format!("`{}` can't be a part of a repository", wrong.escape_debug())),
                false => refuse("a repository is written in lower case".to_owned()),
            };
            return Err(error.with_hint(
                "parts are letters and digits, with `.`, `_`, `__` or `-` between, and `/` between parts",
            ));
        }
        let is_id = |name: &str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if registry.is_none() && is_id(repository) {
            return Err(refuse("64 hexadecimal digits are an id, and can't be a name".to_owned()));
        }
        Ok(Typed {
            registry: registry.map(str::to_owned),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl Typed {
    /// The whole name: in `registry` where it says none.
    pub fn in_registry(self, registry: &str) -> Reference {
        let Typed { registry: said, repository, tag, digest } = self;
        let registry = match said.as_deref().unwrap_or(registry) {
            "index.docker.io" => DOCKER_IO,
            registry => registry,
        };
        let repository = match registry == DOCKER_IO && !repository.contains('/') {
            true => format!("library/{repository}"),
            false => repository,
        };
        let tag = tag.or_else(|| digest.is_none().then(|| LATEST.to_owned()));
        Reference { registry: registry.to_owned(), repository, tag, digest }
    }
}

impl FromStr for Reference {
    type Err = Error;

    /// Reads a name as Docker does: without a registry it is in `docker.io`.
    fn from_str(text: &str) -> Result<Reference> {
        Ok(text.parse::<Typed>()?.in_registry(DOCKER_IO))
    }
}

impl TryFrom<String> for Reference {
    type Error = Error;

    fn try_from(text: String) -> Result<Reference> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

impl Reference {
    /// Registry and repository, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// What a registry is asked for: the digest, else the tag.
    pub fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| LATEST.to_owned()),
        }
    }

    /// As Docker's listings show it: without `docker.io/` and `library/`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DOCKER_IO {
            return self.name();
        }
        let official = self.repository.strip_prefix("library/").filter(|rest| !rest.contains('/'));
        official.unwrap_or(&self.repository).to_owned()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(formatter, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(formatter, "@{digest}"))
    }
}

/// Whether what stands before the first slash is a registry and no part of a repository.
fn is_registry(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost" || text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// A host's name or address with a port or without.
fn is_host(text: &str) -> bool {
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0) && !port.starts_with('+');
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let port = port.strip_prefix(':');
        return address.parse::<std::net::Ipv6Addr>().is_ok()
            && (port.is_some_and(is_port) || rest.ends_with(']'));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

/// Whether it can be a tag.
pub(crate) fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

/// Whether it can be a repository.
pub(crate) fn is_repository(text: &str) -> bool {
    text.len() <= LONGEST_NAME && text.split('/').all(is_component)
}

/// One part of a repository: words of lower case letters and digits, with one of four separators between two of them.
fn is_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators =
        text.split(|letter: char| letter.is_ascii() && is_word(letter as u8)).filter(|one| !one.is_empty());
    let legal =
        |separator: &str| matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-');
    let ends = text.bytes().next().zip(text.bytes().next_back());
    ends.is_some_and(|(first, last)| is_word(first) && is_word(last)) && separators.into_iter().all(legal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_completed_as_docker_does_it() {
        for (typed, whole, familiar) in [
            ("alpine", "docker.io/library/alpine:latest", "alpine"),
            ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine"),
            ("user/app", "docker.io/user/app:latest", "user/app"),
            ("index.docker.io/alpine", "docker.io/library/alpine:latest", "alpine"),
            ("localhost/app", "localhost/app:latest", "localhost/app"),
            ("localhost:5000/a/b/c:v1", "localhost:5000/a/b/c:v1", "localhost:5000/a/b/c"),
            ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app"),
            ("reg.example/a_b__c-d.e:T_a.g-1", "reg.example/a_b__c-d.e:T_a.g-1", "reg.example/a_b__c-d.e"),
            ("MyHost/app", "MyHost/app:latest", "MyHost/app"),
        ] {
            let reference: Reference = typed.parse().expect(typed);
            assert_eq!(
                (reference.to_string().as_str(), reference.familiar_name().as_str()),
                (whole, familiar)
            );
            assert_eq!(whole.parse::<Reference>().expect("legal"), reference);
        }
        let pinned: Reference = format!("alpine:3@{DIGEST}").parse().expect("legal");
        assert_eq!(pinned.to_string(), format!("docker.io/library/alpine:3@{DIGEST}"));
        assert_eq!(pinned.wanted(), DIGEST);
        assert_eq!(format!("alpine@{DIGEST}").parse::<Reference>().expect("legal").tag, None);
        assert_eq!(
            "app".parse::<Typed>().expect("legal").in_registry("quay.example").to_string(),
            "quay.example/app:latest"
        );
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "no repository"),
            ("Alpine", "lower case"),
            ("a//b", "part of a repository"),
            ("../etc/passwd", "no host"),
            ("a/../b", "part of a repository"),
            ("a___b", "part of a repository"),
            ("-a", "part of a repository"),
            ("alpine:", "no tag"),
            ("alpine:-x", "no tag"),
            ("alpine@sha256:12", "hexadecimal"),
            ("host:99999/a", "no host"),
            ("host.:80/a", "no host"),
            ("https://host/a", "no host"),
            ("a b", "part of a repository"),
            ("é", "part of a repository"),
            (&"a".repeat(256), "longer"),
            (&"a".repeat(64), "an id"),
            (&format!("a:{}", "t".repeat(129)), "no tag"),
        ] {
            let error = text.parse::<Typed>().expect_err(text);
            assert!(error.to_string().contains(reason), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_refused_and_a_name_is_read_back(text in "[a-zA-Z0-9@:/._\\[\\]-]{0,80}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>().expect("its own"), reference);
            }
        }
    }
}
