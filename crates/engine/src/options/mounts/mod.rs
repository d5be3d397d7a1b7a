//! Mounts as meant: what `--volume`, `--mount` and `--tmpfs` come down to, and the words that they share.

mod csv;
mod mount;
mod tmpfs;
mod volume;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A mount that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountRequest {
    /// The flag with its value, as typed.
    pub flag: String,
    /// Where it appears inside: absolute, without `.`, `..` and double slashes.
    pub target: String,
    /// What appears there.
    pub kind: MountKind,
    /// Whether programs of it can be executed.
    pub exec: Toggle,
    /// Whether set-user-ID bits of it count.
    pub suid: Toggle,
    /// Whether device nodes in it work.
    pub dev: Toggle,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MountKind {
    /// A directory or file of the host.
    Bind(BindRequest),
    /// A file system in memory.
    Tmpfs(TmpfsRequest),
}

/// A directory or file of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BindRequest {
    /// Its path, absolute; that of a volume is found when it is known which one it is.
    pub source: PathBuf,
    /// Which volume it is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeRequest>,
    /// Whether what is mounted below it comes along.
    pub reach: Reach,
    /// What may be written to.
    pub access: Access,
    /// Whether mounts that are made later travel between host and container.
    pub propagation: Propagation,
    /// Whether SELinux is to let containers in.
    pub relabel: Option<Relabel>,
    /// Whether everything in it is given to the container's user.
    pub chown: bool,
    /// Whether owners are shown through the map of the container's user namespace.
    pub idmap: bool,
}

/// A volume: a directory that is kept for containers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeRequest {
    /// Its name; none before one is chosen for a container's own.
    pub name: Option<String>,
    /// Whether it is a container's own, which nobody has named.
    pub anonymous: bool,
    /// What is in it in the beginning.
    pub content: VolumeContent,
    /// The directory in it that is shown, where it is not all of it.
    pub subpath: Option<String>,
    /// How it is made, where it is not there.
    pub settings: VolumeSettings,
}

/// What is in a volume in the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeContent {
    /// What the container's root has at that place.
    #[default]
    Copied,
    /// Nothing.
    Nothing,
}

/// How a volume is made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeSettings {
    /// `type`, `device` and `o`: what is mounted, where it is no directory of its own.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// What `--volumes-from` asks for: the mounts of another container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumesFrom {
    /// The container's name or id, or the beginning of that.
    pub container: String,
    /// What may be written to, if not the same as there.
    pub access: Option<Access>,
    /// For whom SELinux labels them.
    pub relabel: Option<Relabel>,
}

impl VolumesFrom {
    /// Reads `CONTAINER[:ro|rw|z|Z]`.
    pub fn parse(text: &str) -> Result<VolumesFrom> {
        let flag = format!("--volumes-from {text}");
        let (container, words) = text.split_once(':').unwrap_or((text, ""));
        let mut from = VolumesFrom { container: container.to_owned(), access: None, relabel: None };
        if container.is_empty() {
            let error = Error::invalid(flag, "it names no container".to_owned());
            return Err(error.with_hint("write CONTAINER[:ro]"));
        }
        for word in words.split(',').filter(|word| !word.is_empty()) {
            match word {
                "ro" => from.access = Some(Access::ReadOnly),
                "rw" => from.access = Some(Access::Writable),
                "z" => from.relabel = Some(Relabel::Shared),
                "Z" => from.relabel = Some(Relabel::Private),
                _ => {
                    let error = Error::invalid(flag, format!("`{}` is not known", word.escape_debug()));
                    return Err(error.with_hint("write ro, rw, z or Z behind the colon, or nothing"));
                }
            }
        }
        Ok(from)
    }
}

/// A file system in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TmpfsRequest {
    /// Whether it refuses writes.
    pub read_only: bool,
    /// Whether it begins with a copy of what it covers.
    pub copy_up: bool,
    /// Options of tmpfs(5), such as `size` and `mode`, with values that were checked; `noswap` has none.
    pub parameters: Vec<(String, String)>,
    /// Which file system it is.
    #[serde(default, skip_serializing_if = "Memory::is_tmpfs")]
    pub memory: Memory,
}

/// A file system in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Memory {
    /// tmpfs(5): of a size, and swapped out like other memory.
    #[default]
    Tmpfs,
    /// Neither.
    Ramfs,
}

impl Memory {
    fn is_tmpfs(&self) -> bool {
        *self == Memory::Tmpfs
    }
}

/// What a flag says of a property, or leaves to the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Toggle {
    /// Nothing.
    #[default]
    Default,
    /// Yes.
    On,
    /// No.
    Off,
}

/// Whether a bind takes the mounts below its source along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reach {
    /// The whole tree.
    #[default]
    Tree,
    /// The one mount that the source lies on.
    Mount,
}

/// What may be written to, of a bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// All.
    #[default]
    Writable,
    /// Nothing, in mounts below the source neither.
    ReadOnly,
    /// Nothing but what is mounted below the source.
    ReadOnlyHere,
    /// All, and the host never sees it.
    ThrownAway,
}

/// Whether mounts that are made later travel (mount_namespaces(7)), in the whole tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Propagation {
    /// Neither way.
    #[default]
    Private,
    /// From the host into the container.
    Slave,
    /// Both ways.
    Shared,
}

/// For whom SELinux labels a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Relabel {
    /// `z`: every container.
    Shared,
    /// `Z`: this container alone.
    Private,
}

/// What a word decided, and the word itself: one that decides otherwise contradicts it.
#[derive(Debug)]
struct Choice<T>(Option<(T, String)>);

impl<T> Default for Choice<T> {
    fn default() -> Choice<T> {
        Choice(None)
    }
}

impl<T: Copy + PartialEq> Choice<T> {
    fn set(&mut self, value: T, word: &str, flag: &str) -> Result<()> {
        match &self.0 {
            Some((earlier, said)) if *earlier != value => {
                let error = Error::invalid(flag, format!("both `{said}` and `{word}` are given"));
                Err(error.with_hint("they contradict each other: leave one of the two out"))
            }
            Some(_) => Ok(()),
            None => {
                self.0 = Some((value, word.to_owned()));
                Ok(())
            }
        }
    }

    /// Puts another value in the place of what was decided, where others have been heard that go with it.
    fn replace(&mut self, value: T) {
        let said = self.0.take().map(|(_, said)| said).unwrap_or_default();
        self.0 = Some((value, said));
    }

    fn get(&self) -> Option<T> {
        self.0.as_ref().map(|(value, _)| *value)
    }
}

/// The words of a flag that hold for every kind of mount.
#[derive(Debug, Default)]
struct Words {
    access: Choice<Access>,
    exec: Choice<Toggle>,
    suid: Choice<Toggle>,
    dev: Choice<Toggle>,
    reach: Choice<Reach>,
    propagation: Choice<Propagation>,
    relabel: Choice<Relabel>,
    chown: Choice<bool>,
    idmap: bool,
    copy_up: Choice<bool>,
    content: Choice<VolumeContent>,
    parameters: Vec<(String, String)>,
}

impl Words {
    /// Takes one option of `mount(8)`, docker or podman; says whether it is one.
    fn take(&mut self, word: &str, flag: &str) -> Result<bool> {
        match word {
            "ro" => self.access.set(Access::ReadOnly, word, flag)?,
            "rw" => self.access.set(Access::Writable, word, flag)?,
            "O" => self.access.set(Access::ThrownAway, word, flag)?,
            "private" | "rprivate" => self.propagation.set(Propagation::Private, word, flag)?,
            "slave" | "rslave" => self.propagation.set(Propagation::Slave, word, flag)?,
            "shared" | "rshared" => self.propagation.set(Propagation::Shared, word, flag)?,
            "exec" => self.exec.set(Toggle::On, word, flag)?,
            "noexec" => self.exec.set(Toggle::Off, word, flag)?,
            "suid" => self.suid.set(Toggle::On, word, flag)?,
            "nosuid" => self.suid.set(Toggle::Off, word, flag)?,
            "dev" => self.dev.set(Toggle::On, word, flag)?,
            "nodev" => self.dev.set(Toggle::Off, word, flag)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn owns(&self) -> bool {
        self.chown.get() == Some(true)
    }

    fn into_bind(self, flag: String, source: Source, target: String) -> MountRequest {
        let (source, volume) = match source {
            Source::Path(path) => (path, None),
            Source::Volume(mut volume) => {
                volume.content = self.content.get().unwrap_or_default();
                (PathBuf::new(), Some(volume))
            }
        };
        let bind = BindRequest {
            source,
            volume,
            reach: self.reach.get().unwrap_or_default(),
            access: self.access.get().unwrap_or_default(),
            propagation: self.propagation.get().unwrap_or_default(),
            relabel: self.relabel.get(),
            chown: self.owns(),
            idmap: self.idmap,
        };
        self.into_request(flag, target, MountKind::Bind(bind))
    }

    fn into_tmpfs(mut self, flag: String, target: String) -> MountRequest {
        let tmpfs = TmpfsRequest {
            read_only: self.access.get() == Some(Access::ReadOnly),
            copy_up: self.copy_up.get().unwrap_or(false),
            parameters: std::mem::take(&mut self.parameters),
            memory: Memory::Tmpfs,
        };
        self.into_request(flag, target, MountKind::Tmpfs(tmpfs))
    }

    fn into_ramfs(self, flag: String, target: String) -> MountRequest {
        let mut request = self.into_tmpfs(flag, target);
        if let MountKind::Tmpfs(tmpfs) = &mut request.kind {
            tmpfs.memory = Memory::Ramfs;
        }
        request
    }

    fn into_request(self, flag: String, target: String, kind: MountKind) -> MountRequest {
        let [exec, suid, dev] =
            [self.exec, self.suid, self.dev].map(|toggle| toggle.get().unwrap_or_default());
        MountRequest { flag, target, kind, exec, suid, dev }
    }
}

/// Options about the caches of Docker's virtual machines on other systems: without effect here.
const CONSISTENCY: [&str; 4] = ["cached", "delegated", "consistent", "default"];

/// A destination, absolute and in its simplest form.
fn parse_target(flag: &str, text: &str) -> Result<String> {
    if !text.starts_with('/') {
        let error = Error::invalid(flag, format!("the destination `{text}` is not absolute"));
        return Err(error.with_hint("it is a path inside the container, and begins with `/`"));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        let error = Error::invalid(flag, format!("the destination `{text}` contains `..`"));
        return Err(error.with_hint("write the path without it"));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// What a mount shows.
enum Source {
    Path(PathBuf),
    Volume(VolumeRequest),
}

/// The source of `-v`: a path, or else the name of a volume.
fn parse_source(flag: &str, text: &str, directory: &Path) -> Result<Source> {
    match text.starts_with(['/', '.', '~']) || text.is_empty() || text.contains('/') {
        true => parse_path(flag, text, directory).map(Source::Path),
        false => parse_name(flag, text).map(Source::Volume),
    }
}

/// A volume by its name.
fn parse_name(flag: &str, text: &str) -> Result<VolumeRequest> {
    if let Err(reason) = check_volume_name(text) {
        return Err(Error::invalid(flag, reason).with_hint(VOLUME_NAME_HINT));
    }
    Ok(VolumeRequest { name: Some(text.to_owned()), ..VolumeRequest::default() })
}

/// How a volume may be called.
pub(crate) const VOLUME_NAME_HINT: &str = "a volume's name has letters, digits, `_`, `.` and `-`, begins with a letter or a digit, \
                                           and is no longer than 255 bytes; for a directory of the host write an absolute path";

/// Docker's rule, and what a directory can be called.
pub(crate) fn check_volume_name(text: &str) -> std::result::Result<(), String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    match begins && text.len() <= 255 && text.bytes().all(is_legal) {
        true => Ok(()),
        false => Err(format!("`{}` is no name of a volume", text.escape_debug())),
    }
}

/// The source of a bind: absolute, or relative to the caller's directory if it says so by a dot at its beginning.
fn parse_path(flag: &str, text: &str, directory: &Path) -> Result<PathBuf> {
    if text.is_empty() {
        let error = Error::invalid(flag, "the source is empty".to_owned());
        return Err(error.with_hint("name a directory or file of the host"));
    }
    if text.starts_with('/') {
        return Ok(PathBuf::from(text));
    }
    if let Some(rest) = text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        let error = Error::invalid(
            flag,
            format!("no shell has put the home directory in the place of `~` in `{text}`"),
        );
        return Err(
            error.with_hint(format!("write `\"$HOME\"{rest}`, or `./{text}` for a directory of that name"))
        );
    }
    // As docker reads it, a name that begins with a dot too: no volume can have one.
    if text.starts_with('.') {
        if !directory.is_absolute() {
            let reason = format!("`{text}` begins at the caller's directory, which has no path here");
            let error = Error::invalid(flag, reason);
            return Err(error.with_hint("it was removed, or lies elsewhere: write an absolute path"));
        }
        // Without the dot itself.
        return Ok(directory.join(text).components().collect());
    }
    let error = Error::invalid(flag, format!("the source `{text}` begins neither with `/` nor with `.`"));
    Err(error.with_hint(format!("write `./{text}` for what lies in this directory")))
}
