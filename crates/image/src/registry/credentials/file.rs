//! One file of credentials: docker's config.json or podman's auth.json (containers-auth.json(5)), which are alike. What
//! rabbitc does not know in it is kept.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Map, Value, json};

use super::Credentials;
use crate::error::{Error, Kind, Result};
use crate::reference::DOCKER_IO;
use crate::registry::{known_name, read_settings};

/// The key of Docker's own registry in Docker's files: its address in the first version of the protocol.
pub(super) const DOCKER_KEY: &str = "https://index.docker.io/v1/";

pub(super) struct CredentialFile {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl CredentialFile {
    /// Reads it; nothing where there is none.
    pub(super) fn read(path: &Path) -> Result<Option<CredentialFile>> {
        let Some(bytes) = read_settings(path)? else { return Ok(None) };
        // Podman leaves empty ones.
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some(CredentialFile { path: path.to_owned(), fields: Map::new() }));
        }
        let fields = match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return Err(unreadable(path, "it is no JSON object")),
            // serde_json's own words could quote a secret.
            Err(error) => {
                let at = format!("it is no JSON at line {}, column {}", error.line(), error.column());
                return Err(unreadable(path, &at));
            }
        };
        Ok(Some(CredentialFile { path: path.to_owned(), fields }))
    }

    pub(super) fn read_or_new(path: &Path) -> Result<CredentialFile> {
        let new = || CredentialFile { path: path.to_owned(), fields: Map::new() };
        Ok(CredentialFile::read(path)?.unwrap_or_else(new))
    }

    /// The program that keeps the credentials of `registry`: `NAME` of `docker-credential-NAME`.
    pub(super) fn program(&self, registry: &str) -> Option<&str> {
        let of_registry = self.fields.get("credHelpers").and_then(Value::as_object).and_then(|programs| {
            let found = programs.iter().find(|(key, _)| host_of(key) == registry);
            found.and_then(|(_, name)| name.as_str())
        });
        of_registry
            .or_else(|| self.fields.get("credsStore").and_then(Value::as_str))
            .filter(|name| !name.is_empty())
    }

    /// The registries that it says anything of.
    pub(super) fn registries(&self) -> Vec<String> {
        let of = |field: &str| self.fields.get(field).and_then(Value::as_object);
        let keys = ["auths", "credHelpers"].into_iter().filter_map(of).flat_map(Map::keys);
        let all: BTreeSet<String> = keys.map(|key| host_of(key).to_owned()).collect();
        all.into_iter().collect()
    }

    /// The entry for the most of `registry/repository`.
    pub(super) fn look_up(&self, registry: &str, repository: &str) -> Result<Option<Credentials>> {
        let Some(entries) = self.fields.get("auths").and_then(Value::as_object) else { return Ok(None) };
        let mut name = format!("{registry}/{repository}");
        loop {
            let named = |key: &str| match name.contains('/') {
                // A key with a scheme is Docker's, and what stands behind the host in it is no repository.
                true => !key.contains("://") && with_known_host(key) == name,
                false => host_of(key) == name,
            };
            for (key, entry) in entries.iter().filter(|(key, _)| named(key)) {
                if let Some(found) = self.credentials(key, entry)? {
                    return Ok(Some(found));
                }
            }
            match name.rfind('/') {
                Some(end) => name.truncate(end),
                None => return Ok(None),
            }
        }
    }

    fn credentials(&self, key: &str, entry: &Value) -> Result<Option<Credentials>> {
        let text = |field: &str| {
            entry.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Credentials::IdentityToken(token)));
        }
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Credentials::RegistryToken(token)));
        }
        let Some(encoded) = text("auth") else {
            let both = text("username").zip(text("password"));
            return Ok(both.map(|(username, password)| Credentials::Password { username, password }));
        };
        let encoded = encoded.trim();
        let decoded = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded));
        let decoded = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((username, password)) => Ok(Some(Credentials::Password {
                username: username.to_owned(),
                // Docker once wrote passwords with an end of C's.
                password: password.trim_end_matches('\0').to_owned(),
            })),
            None => {
                let reason = format!("`auth` of `{}` is not `NAME:PASSWORD` in base64", key.escape_debug());
                Err(unreadable(&self.path, &reason).with_hint("log in again"))
            }
        }
    }

    /// Puts an entry in, in place of all others for that registry.
    pub(super) fn insert(&mut self, registry: &str, username: &str, password: &str) -> Result<()> {
        if username.contains(':') {
            let operation = format!("log in to `{registry}`");
            return Err(Error::new(Kind::Invalid, operation, "a user's name can't contain a colon"));
        }
        let auth = STANDARD.encode(format!("{username}:{password}"));
        self.set(registry, json!({ "auth": auth }));
        Ok(())
    }

    /// The sign that a program keeps the credentials of that registry.
    pub(super) fn insert_empty(&mut self, registry: &str) {
        self.set(registry, json!({}));
    }

    fn set(&mut self, registry: &str, entry: Value) {
        self.remove(registry);
        let key = if registry == DOCKER_IO { DOCKER_KEY } else { registry };
        let entries = self.fields.entry("auths").or_insert_with(|| json!({}));
        if !entries.is_object() {
            *entries = json!({});
        }
        entries[key] = entry;
    }

    /// Takes all entries for the whole of that registry out; whether there were any.
    pub(super) fn remove(&mut self, registry: &str) -> bool {
        let Some(entries) = self.fields.get_mut("auths").and_then(Value::as_object_mut) else { return false };
        let before = entries.len();
        entries.retain(|key, _| host_of(key) != registry || (!key.contains("://") && key.contains('/')));
        entries.len() != before
    }

    /// Changes the file as it is by now, one process after the other, and puts a whole one in its place, for its owner alone.
    pub(super) fn change<T>(path: &Path, change: impl FnOnce(&mut CredentialFile) -> Result<T>) -> Result<T> {
        // A link is somebody's way of keeping such files elsewhere.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| Error::at_path("create", directory, error))?;
        let opened = File::open(directory).map_err(|error| Error::at_path("open", directory, error))?;
        // The directory, so that no file is left for it. Best effort: a file system of a network may have no such locks.
        let _locked = flock(&opened, FlockOperation::LockExclusive);
        let mut file = CredentialFile::read_or_new(&path)?;
        let changed = change(&mut file)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let random = sys::random::bytes().map_err(|error| Error::system("get random bytes", error))?;
        let fresh = Fresh(directory.join(format!(".{name}.{:016x}", u64::from_ne_bytes(random))));
        let mut text = serde_json::to_vec_pretty(&file.fields).expect("JSON that was read or made here");
        text.push(b'\n');
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh.0)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&fresh.0, &path)?;
            opened.sync_all()
        };
        write().map_err(|error| Error::at_path("write", &path, error))?;
        Ok(changed)
    }
}

/// A file that is removed unless it was renamed.
struct Fresh(PathBuf);

impl Drop for Fresh {
    fn drop(&mut self) {
        // Best effort: it is gone where all went well.
        let _renamed = fs::remove_file(&self.0);
    }
}

fn unreadable(path: &Path, reason: &str) -> Error {
    Error::new(Kind::Corrupt, format!("read credentials from `{}`", path.display()), reason)
}

/// The registry of a key: `https://index.docker.io/v1/`, `quay.io/user`, `localhost:5000`.
fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    known_name(rest.split('/').next().unwrap_or_default())
}

fn with_known_host(key: &str) -> String {
    match key.split_once('/') {
        Some((host, rest)) => format!("{}/{rest}", known_name(host)),
        None => known_name(key).to_owned(),
    }
}
