//! Mounts as meant: what `--volume`, `--mount` and `--tmpfs` come down to, and the words that they share.

mod csv;
mod mount;
mod tmpfs;
mod volume;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A mount that somebody asked for.
#[derive(Debug, Clone, PartialEq)]
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
#[derive(Debug, Clone, PartialEq)]
pub enum MountKind {
    /// A directory or file of the host.
    Bind(BindRequest),
    /// A file system in memory.
    Tmpfs(TmpfsRequest),
}

/// A directory or file of the host.
#[derive(Debug, Clone, PartialEq)]
pub struct BindRequest {
    /// Its path, absolute.
    pub source: PathBuf,
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

/// A file system in memory.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TmpfsRequest {
    /// Whether it refuses writes.
    pub read_only: bool,
    /// Whether it begins with a copy of what it covers.
    pub copy_up: bool,
    /// Options of tmpfs(5), such as `size` and `mode`, with values that were checked.
    pub parameters: Vec<(String, String)>,
}

/// What a flag says of a property, or leaves to the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// The whole tree.
    #[default]
    Tree,
    /// The one mount that the source lies on.
    Mount,
}

/// What may be written to, of a bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relabel {
    /// `z`: every container.
    Shared,
    /// `Z`: this container alone.
    Private,
}

/// The words of a flag that hold for every kind of mount, and what contradicts them.
#[derive(Debug, Default)]
struct Words {
    access: Option<Access>,
    exec: Toggle,
    suid: Toggle,
    dev: Toggle,
    reach: Option<Reach>,
    propagation: Option<Propagation>,
    relabel: Option<Relabel>,
    chown: bool,
    idmap: bool,
    copy_up: Option<bool>,
    parameters: Vec<(String, String)>,
}

impl Words {
    /// Takes one option of `mount(8)`, docker or podman; says whether it is one.
    fn take(&mut self, word: &str, flag: &str) -> Result<bool> {
        let twice =
            |what: &str| Err(Error::invalid(flag, format!("`{word}` contradicts the {what} before it")));
        let (access, propagation) = match word {
            "ro" | "readonly" => (Some(Access::ReadOnly), None),
            "rw" => (Some(Access::Writable), None),
            "O" => (Some(Access::ThrownAway), None),
            "private" | "rprivate" => (None, Some(Propagation::Private)),
            "slave" | "rslave" => (None, Some(Propagation::Slave)),
            "shared" | "rshared" => (None, Some(Propagation::Shared)),
            _ => (None, None),
        };
        if access.is_some() {
            return match self.access.replace(access.unwrap_or_default()) {
                Some(earlier) if Some(earlier) != access => twice("word on writing"),
                _ => Ok(true),
            };
        }
        if propagation.is_some() {
            return match self.propagation.replace(propagation.unwrap_or_default()) {
                Some(earlier) if Some(earlier) != propagation => twice("propagation"),
                _ => Ok(true),
            };
        }
        let mut set = |toggle: fn(&mut Words) -> &mut Toggle, value: Toggle| {
            let place = toggle(self);
            if *place != Toggle::Default && *place != value {
                return twice("word");
            }
            *place = value;
            Ok(true)
        };
        match word {
            "exec" => set(|words| &mut words.exec, Toggle::On),
            "noexec" => set(|words| &mut words.exec, Toggle::Off),
            "suid" => set(|words| &mut words.suid, Toggle::On),
            "nosuid" => set(|words| &mut words.suid, Toggle::Off),
            "dev" => set(|words| &mut words.dev, Toggle::On),
            "nodev" => set(|words| &mut words.dev, Toggle::Off),
            _ => Ok(false),
        }
    }

    fn set_relabel(&mut self, relabel: Relabel, flag: &str) -> Result<()> {
        match self.relabel.replace(relabel) {
            Some(earlier) if earlier != relabel => {
                let error = Error::invalid(flag, "both `z` and `Z` are given".to_owned());
                Err(error.with_hint("`z` shares the label with other containers, `Z` keeps it for this one"))
            }
            _ => Ok(()),
        }
    }

    fn into_bind(self, flag: String, source: PathBuf, target: String) -> MountRequest {
        let bind = BindRequest {
            source,
            reach: self.reach.unwrap_or_default(),
            access: self.access.unwrap_or_default(),
            propagation: self.propagation.unwrap_or_default(),
            relabel: self.relabel,
            chown: self.chown,
            idmap: self.idmap,
        };
        let (exec, suid, dev) = (self.exec, self.suid, self.dev);
        MountRequest { flag, target, kind: MountKind::Bind(bind), exec, suid, dev }
    }

    fn into_tmpfs(self, flag: String, target: String) -> MountRequest {
        let tmpfs = TmpfsRequest {
            read_only: self.access == Some(Access::ReadOnly),
            copy_up: self.copy_up.unwrap_or(false),
            parameters: self.parameters,
        };
        let (exec, suid, dev) = (self.exec, self.suid, self.dev);
        MountRequest { flag, target, kind: MountKind::Tmpfs(tmpfs), exec, suid, dev }
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

/// The source of a bind: absolute, or relative to the caller's directory if it says so by a dot at its beginning.
fn parse_source(flag: &str, text: &str, directory: &Path) -> Result<PathBuf> {
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
    if text == "." || text == ".." || text.starts_with("./") || text.starts_with("../") {
        // Without the dot itself.
        return Ok(directory.join(text).components().collect());
    }
    if text.contains('/') {
        let error =
            Error::invalid(flag, format!("the source `{text}` is neither absolute nor begins with `./`"));
        return Err(error.with_hint(format!("write `./{text}` for what lies in this directory")));
    }
    let error = Error::unsupported(flag, format!("a named volume (`{text}`)"), "");
    Err(error.with_hint(format!(
        "write `./{text}` for a directory here, or the absolute path of another one; volumes with names are to come"
    )))
}
