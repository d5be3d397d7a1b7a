//! The secrets that a container gets. One that lives on has copies in its directory, made with it: what becomes of the secrets
//! afterwards is nothing to it.

use std::path::Path;

use runtime::plan::MemoryFile;
use runtime::spec::{IdMapping, Spec};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::record::{bytes, hex};
use super::{Durability, SecretStore};
use crate::directories::read_record;
use crate::error::{Error, Result};
use crate::options::{SecretOptions, SecretPlace, SecretRequest};

/// The file in a container's directory.
pub(crate) const COPIES: &str = "secrets.json";

/// The values of a container's secrets, in the order in which it asked for them. Not for `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Copies(Vec<Vec<u8>>);

impl Copies {
    /// Looks each of them up, and notes its id.
    pub(crate) fn take(options: &mut SecretOptions) -> Result<Copies> {
        let mut copies = Copies::default();
        let SecretOptions { requests, store } = options;
        for request in requests {
            let missing = || SecretStore::of(None);
            let store = store.clone().map_or_else(missing, Ok)?;
            let (secret, value) =
                store.find(&request.name).map_err(|error| error.from_field(&request.flag))?;
            (request.id, request.name) = (Some(secret.id), secret.name);
            copies.0.push(value);
        }
        Ok(copies)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those in a container's directory.
    pub(crate) fn read(directory: &Path) -> Result<Copies> {
        let read = read_record(&directory.join(COPIES), "make the container again")?;
        Ok(read.unwrap_or_default())
    }

    /// Writes them there.
    pub(crate) fn write(&self, directory: &Path, durability: Durability) -> Result<()> {
        super::write(&directory.join(COPIES), self, durability)
    }
}

impl Serialize for Copies {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|value| hex(value)))
    }
}

impl<'de> Deserialize<'de> for Copies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Copies, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let values: Option<Vec<Vec<u8>>> = texts.iter().map(|text| bytes(text)).collect();
        // Without the text, which may be most of a secret.
        values
            .map(Copies)
            .ok_or_else(|| serde::de::Error::custom("a value is not made of hexadecimal digits"))
    }
}

/// What a container's secrets come to. Not for `Debug`.
#[derive(Default)]
pub(crate) struct GivenSecrets {
    /// Files in memory.
    pub(crate) files: Vec<MemoryFile>,
    /// Variables, `NAME=value`.
    pub(crate) variables: Vec<String>,
}

impl GivenSecrets {
    pub(crate) fn of(options: &SecretOptions, copies: Copies) -> Result<GivenSecrets> {
        if copies.0.len() != options.requests.len() {
            let error =
                Error::invalid("--secret", "this container's copies of its secrets are gone".to_owned());
            return Err(error.with_hint("make the container again"));
        }
        let mut given = GivenSecrets::default();
        for (request, value) in options.requests.iter().zip(copies.0) {
            match &request.place {
                SecretPlace::File { path, uid, gid, mode } => given.files.push(MemoryFile {
                    destination: path.clone(),
                    content: value,
                    uid: *uid,
                    gid: *gid,
                    mode: *mode,
                    asked_by: request.flag.clone(),
                }),
                SecretPlace::Variable { name } => given.variables.push(variable(request, name, value)?),
            }
        }
        Ok(given)
    }

    /// Refuses owners whom the container does not have.
    pub(crate) fn check_owners(&self, spec: &Spec) -> Result<()> {
        let Some(linux) = &spec.linux else { return Ok(()) };
        for file in &self.files {
            let owners = [("user", file.uid, &linux.uid_mappings), ("group", file.gid, &linux.gid_mappings)];
            for (what, id, maps) in owners {
                if !maps.is_empty() && IdMapping::host_id(maps, id).is_none() {
                    let reason = format!("{what} {id} does not exist in this container's user namespace");
                    let error = Error::invalid(file.asked_by.as_str(), reason);
                    return Err(
                        error.with_hint("choose one that the container has, such as 0, which is its root")
                    );
                }
            }
        }
        Ok(())
    }
}

fn variable(request: &SecretRequest, name: &str, value: Vec<u8>) -> Result<String> {
    let refuse = |what: &str| {
        let error =
            Error::invalid(request.flag.as_str(), format!("its value {what}, which no variable takes"));
        error.with_hint("leave out `type=env`: a file takes any value")
    };
    let value = String::from_utf8(value).map_err(|_| refuse("is not UTF-8"))?;
    match value.contains('\0') {
        true => Err(refuse("has a byte of zero")),
        false => Ok(format!("{name}={value}")),
    }
}
