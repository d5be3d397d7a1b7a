//! Secrets: values that containers get without having them in an image, in a layer or in what `inspect` shows. Each is one file of
//! its own, which only its owner may read.
//!
//! ```text
//! secrets/ID.json     a secret, with its value
//! secrets/lock        whose lock those have who make or remove one
//! ```

mod filter;
mod given;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use runtime::ErrorKind;
use serde::{Deserialize, Serialize};

pub use self::filter::SecretFilter;
pub(crate) use self::given::{COPIES, Copies, GivenSecrets};
use self::record::Record;
use crate::directories::{self, Durability, lock_file, remove_file, sync};
use crate::error::{Code, Error, Result};
use crate::events::{Event, EventLog};
use crate::images::data_directory;
use crate::kept::now;

/// What a value's length has to stay below, as podman has it.
pub const TOO_LONG: usize = 512_000;

/// The most bytes of a name, as podman has it.
const LONGEST_NAME: usize = 253;

/// How many digits an id has.
const DIGITS: usize = 25;

/// The secrets of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretStore {
    path: PathBuf,
}

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its id, of 25 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Nanoseconds since 1970 at which it was made.
    pub created: u64,
    /// The same of its value.
    pub updated: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A secret that somebody wants to make.
#[derive(Clone, PartialEq, Eq)]
pub struct NewSecret {
    /// Its name.
    pub name: String,
    /// What is to be kept.
    pub value: Vec<u8>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What becomes of one that has this name.
    pub existing: ExistingSecret,
}

/// What becomes of a secret whose name another one is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExistingSecret {
    /// It stays, and there is no other one.
    #[default]
    Refused,
    /// The same without an error.
    Ignored,
    /// It keeps its id and gets the new value.
    Replaced,
}

/// What there is.
#[derive(Debug)]
pub struct SecretSurvey {
    /// Those that can be read, by their names.
    pub secrets: Vec<Secret>,
    /// Why others can't.
    pub damaged: Vec<Error>,
}

impl SecretStore {
    /// Those below `root`, or where the caller's are without a word. Nothing is made.
    pub fn of(root: Option<&Path>) -> Result<SecretStore> {
        Ok(SecretStore { path: data_directory(root)?.join("secrets") })
    }

    /// Where they are.
    pub(crate) fn path_mut(&mut self) -> &mut PathBuf {
        &mut self.path
    }

    /// Makes a secret, which outlives power, and answers its id.
    pub fn create(&self, new: &NewSecret) -> Result<String> {
        let operation = || format!("create the secret `{}`", new.name.escape_debug());
        if let Err(reason) = check_secret_name(&new.name) {
            return Err(Error::invalid(operation(), reason).with_hint(NAME_HINT));
        }
        if new.value.is_empty() || new.value.len() >= TOO_LONG {
            let reason = format!(
                "its value has {} bytes, and there must be from 1 to {}",
                new.value.len(),
                TOO_LONG - 1
            );
            return Err(Error::invalid(operation(), reason).with_hint("what is larger goes into a volume"));
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(|error| Error::at_path("make", &self.path, error))?;
        let _turn = self.turn()?;
        let (time, found) = (now(), self.named(&new.name)?);
        let (id, created, action) = match (found, new.existing) {
            (Some(found), ExistingSecret::Ignored) => return Ok(found.id),
            (Some(_), ExistingSecret::Refused) => {
                let error = Error::new(ErrorKind::WrongStatus, operation(), "there is one of this name");
                let error = error.with_code(Code::InUse);
                return Err(error.with_hint("`--replace` gives it the new value; or choose another name"));
            }
            (Some(found), ExistingSecret::Replaced) => (found.id, found.created, "update"),
            (None, _) => (new_id()?, time, "create"),
        };
        let record = Record {
            id: id.clone(),
            name: new.name.clone(),
            created,
            updated: time,
            labels: new.labels.clone(),
            value: new.value.clone(),
        };
        record.write(&self.file(&id))?;
        sync(&self.path)?;
        self.tell(action, &id, &new.name);
        Ok(id)
    }

    /// All of them.
    pub fn survey(&self) -> Result<SecretSurvey> {
        let mut survey = SecretSurvey { secrets: Vec::new(), damaged: Vec::new() };
        for id in self.ids()? {
            match self.read(&id) {
                Ok(record) => survey.secrets.extend(record.map(|record| Secret::from(&record))),
                Err(error) => survey.damaged.push(error),
            }
        }
        survey.secrets.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(survey)
    }

    /// The one of this name or id, or whose id alone begins so; with its value.
    pub fn find(&self, text: &str) -> Result<(Secret, Vec<u8>)> {
        let record = self.record_of(text, &format!("find the secret `{}`", text.escape_debug()))?;
        Ok((Secret::from(&record), record.value))
    }

    /// Whether there is such a one.
    pub fn contains(&self, text: &str) -> Result<bool> {
        match self.find(text) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            found => found.map(|_| true),
        }
    }

    /// Removes it, and answers its id. Containers that have it keep it.
    pub fn remove(&self, text: &str) -> Result<String> {
        let operation = format!("remove the secret `{}`", text.escape_debug());
        if !self.path.exists() {
            return Err(no_such(&operation));
        }
        let _turn = self.turn()?;
        let record = self.record_of(text, &operation)?;
        remove_file(&self.file(&record.id))?;
        sync(&self.path)?;
        self.tell("remove", &record.id, &record.name);
        Ok(record.id)
    }

    fn tell(&self, action: &str, id: &str, name: &str) {
        EventLog::beside(&self.path).tell(&Event::now("secret", action, id).with("name", name));
    }

    fn file(&self, id: &str) -> PathBuf {
        self.path.join(format!("{id}.json"))
    }

    /// The turn of whoever makes or removes one. What somebody who was killed in his has left half written is removed.
    fn turn(&self) -> Result<std::fs::File> {
        let turn = lock_file(&self.path.join("lock"))?;
        for name in directories::names(&self.path)?.into_iter().filter(|name| name.ends_with(".draft")) {
            remove_file(&self.path.join(name))?;
        }
        Ok(turn)
    }

    fn ids(&self) -> Result<Vec<String>> {
        let is_id = |id: &str| id.len() == DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let names = directories::names(&self.path)?.into_iter();
        Ok(names
            .filter_map(|name| name.strip_suffix(".json").filter(|id| is_id(id)).map(str::to_owned))
            .collect())
    }

    fn read(&self, id: &str) -> Result<Option<Record>> {
        Record::read(&self.file(id))
    }

    fn named(&self, name: &str) -> Result<Option<Record>> {
        for id in self.ids()? {
            if let Some(record) = self.read(&id)?.filter(|record| record.name == name) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn record_of(&self, text: &str, operation: &str) -> Result<Record> {
        let mut begins = Vec::new();
        let mut damaged = None;
        for id in self.ids()? {
            let record = match self.read(&id) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error) if id == text => return Err(error),
                // It may be the one that is meant.
                Err(error) => {
                    damaged = Some(error);
                    continue;
                }
            };
            if record.name == text {
                return Ok(record);
            }
            if !text.is_empty() && id.starts_with(text) {
                begins.push(record);
            }
        }
        match (begins.len(), begins.pop(), damaged) {
            (1, Some(record), _) => Ok(record),
            (0, _, Some(error)) => Err(error),
            (0, ..) => Err(no_such(operation)),
            _ => {
                let error = Error::invalid(operation, "the ids of several begin so".to_owned());
                Err(error.with_hint("write more of its digits, or its name"))
            }
        }
    }
}

impl From<&Record> for Secret {
    fn from(record: &Record) -> Secret {
        Secret {
            id: record.id.clone(),
            name: record.name.clone(),
            created: record.created,
            updated: record.updated,
            labels: record.labels.clone(),
        }
    }
}

const NAME_HINT: &str = "write from 1 to 253 bytes, none of them `,`, `/`, `=` or a control character";

/// Whether a secret can be called so, by podman's rules. One that is a path of dots would lead elsewhere.
pub(crate) fn check_secret_name(name: &str) -> std::result::Result<(), String> {
    let illegal = |character: char| character.is_control() || ",/=".contains(character);
    match name.chars().find(|character| illegal(*character)) {
        Some(character) => Err(format!("`{}` is not for names of secrets", character.escape_debug())),
        None if matches!(name, "" | "." | "..") => Err("that is no name".to_owned()),
        None if name.len() > LONGEST_NAME => Err(format!("the name has {} bytes", name.len())),
        None => Ok(()),
    }
}

fn no_such(operation: &str) -> Error {
    let error = Error::new(ErrorKind::NotFound, operation, "there is no such secret");
    error.with_hint("`rabbitc secret ls` lists those that are there")
}

fn new_id() -> Result<String> {
    let bytes = sys::random::bytes::<13>().map_err(|error| Error::system("choose an id", error))?;
    let mut id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    id.truncate(DIGITS);
    Ok(id)
}

impl std::fmt::Debug for NewSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let NewSecret { name, value: _, labels, existing } = self;
        let mut shown = formatter.debug_struct("NewSecret");
        shown.field("name", name).field("labels", labels).field("existing", existing);
        shown.finish_non_exhaustive()
    }
}

/// Where the record of a secret is written, for those beside it.
fn write(path: &Path, record: &impl Serialize, durability: Durability) -> Result<()> {
    directories::write_record(path, record, durability)
}
