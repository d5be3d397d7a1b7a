//! Names and passwords for registries, from the files of docker and podman (containers-auth.json(5)).

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::reference::{DOCKER_IO, Reference};

/// The most bytes of such a file, and of what a helper says.
const MOST_BYTES: u64 = 1 << 20;
/// The name of Docker's own registry in these files.
const DOCKERS_KEY: &str = "https://index.docker.io/v1/";

/// Who asks a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// By name and password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// By a token that stands for both, which a registry's own tokens are bought with.
    Identity(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // No password is ever shown.
        match self {
            Credentials::Password { user, .. } => write!(formatter, "Password {{ user: {user:?}, .. }}"),
            Credentials::Identity(_) => write!(formatter, "Identity(..)"),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    #[serde(rename = "identitytoken")]
    identity: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Credentials {
    /// Reads `USER:PASSWORD`.
    pub fn parse(text: &str) -> Option<Credentials> {
        let (user, password) = text.split_once(':')?;
        Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() })
    }

    /// Looks for those of an image in `files`, of which the first that has some counts; one that is not there has none.
    pub fn find(files: &[PathBuf], reference: &Reference) -> Result<Option<Credentials>> {
        for path in files {
            let Some(document) = read(path)? else { continue };
            if let Some(found) = document.look_up(path, reference)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The value of an `Authorization` header, for those that are sent themselves.
    pub(super) fn header(&self) -> Option<String> {
        match self {
            Credentials::Password { user, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Credentials::Identity(_) => None,
        }
    }
}

fn read(path: &Path) -> Result<Option<Document>> {
    let failed = |error| Error::at_path("read", path, error);
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut text).map_err(failed)?;
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        let error = Error::new(Kind::Invalid, format!("read `{}`", path.display()), error.to_string());
        error.with_hint("it holds credentials as `docker login` and `podman login` write them")
    })
}

impl Document {
    fn look_up(&self, path: &Path, reference: &Reference) -> Result<Option<Credentials>> {
        let keys = keys(reference);
        if let Some(helper) = keys.iter().find_map(|key| self.cred_helpers.get(key)) {
            return ask(helper, &reference.registry);
        }
        if let Some(entry) = keys.iter().find_map(|key| self.auths.get(key)) {
            if !entry.identity.is_empty() {
                return Ok(Some(Credentials::Identity(entry.identity.clone())));
            }
            if !entry.auth.is_empty() {
                let decoded =
                    STANDARD.decode(entry.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let found = decoded.as_deref().and_then(Credentials::parse);
                return found.map(Some).ok_or_else(|| {
                    let reason = format!("what it has for `{}` is no name and password", reference.registry);
                    let error = Error::new(Kind::Invalid, format!("read `{}`", path.display()), reason);
                    error.with_hint(format!("log in anew: `docker login {}`", reference.registry))
                });
            }
        }
        match &self.creds_store {
            Some(helper) => ask(helper, &reference.registry),
            None => Ok(None),
        }
    }
}

/// By what an entry for an image may be called, the closest first.
fn keys(reference: &Reference) -> Vec<String> {
    let mut keys = Vec::new();
    let mut name = reference.name();
    loop {
        keys.push(name.clone());
        match name.rfind('/') {
            Some(end) => name.truncate(end),
            None => break,
        }
    }
    keys.extend([format!("https://{}", reference.registry), format!("https://{}/v1/", reference.registry)]);
    if reference.registry == DOCKER_IO {
        keys.push(DOCKERS_KEY.to_owned());
    }
    keys
}

/// Asks a helper, a program `docker-credential-NAME`; one that has none says so by its exit code.
fn ask(helper: &str, registry: &str) -> Result<Option<Credentials>> {
    let operation = format!("ask `docker-credential-{}` for `{registry}`", helper.escape_debug());
    if !helper.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(Error::new(Kind::Invalid, operation, "that is no name of a helper"));
    }
    let asked = if registry == DOCKER_IO { DOCKERS_KEY } else { registry };
    let mut command = Command::new(format!("docker-credential-{helper}"));
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let error = Error::system(operation.clone(), error);
        match missing {
            true => error.with_hint("install it, or take it out of the file that names it"),
            false => error,
        }
    })?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read has failed, and says so by its end.
        let _ = input.write_all(asked.as_bytes());
    }
    let mut said = Vec::new();
    if let Some(output) = child.stdout.take() {
        output
            .take(MOST_BYTES)
            .read_to_end(&mut said)
            .map_err(|error| Error::system(operation.clone(), error))?;
    }
    let status = child.wait().map_err(|error| Error::system(operation.clone(), error))?;
    if !status.success() {
        return Ok(None);
    }
    let answer: Answer = serde_json::from_slice(&said)
        .map_err(|error| Error::new(Kind::Invalid, operation, format!("its answer is none: {error}")))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Credentials::Identity(answer.secret),
        _ => Credentials::Password { user: answer.username, password: answer.secret },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closest_entry_of_the_first_file_that_has_one_counts() {
        let directory = std::env::temp_dir().join(format!("rabbitc-auth-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("made");
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        // "user:pass", "deep:pass:word", and Docker's own.
        let podman = write(
            "auth.json",
            r#"{"auths": {"reg.example:5000": {"auth": "dXNlcjpwYXNz"}, "reg.example:5000/team": {"auth": "ZGVlcDpwYXNzOndvcmQ="}}}"#,
        );
        let docker = write(
            "config.json",
            r#"{"auths": {"https://index.docker.io/v1/": {"identitytoken": "tok"}, "other.example": {}}, "psFormat": "x"}"#,
        );
        let files = [directory.join("none"), podman, docker];
        let find = |name: &str| Credentials::find(&files, &name.parse().expect("legal")).expect("legal");
        let password = |user: &str, password: &str| {
            Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() })
        };
        assert_eq!(find("reg.example:5000/app"), password("user", "pass"));
        assert_eq!(find("reg.example:5000/team/app"), password("deep", "pass:word"));
        assert_eq!(find("alpine"), Some(Credentials::Identity("tok".to_owned())));
        assert_eq!(find("other.example/app"), None);
        assert_eq!(find("reg.example/app"), None);
        assert!(!format!("{:?}", find("reg.example:5000/app")).contains("pass\""));
        let broken = write("broken.json", r#"{"auths": {"reg.example": {"auth": "!"}}}"#);
        let error =
            Credentials::find(&[broken], &"reg.example/a".parse().expect("legal")).expect_err("broken");
        assert!(error.to_string().contains("no name and password"), "{error}");
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
