//! What a container shares with the host or with another container, as meant. Looks nothing up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{UserNamespace, nearest};
use crate::error::{Error, Result};

/// Namespaces of one container, the network's apart.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceOptions {
    /// Its host name; without one, that of its uts namespace, and `rabbitc` in one of its own.
    pub hostname: Option<String>,
    /// Its NIS domain name.
    pub domainname: Option<String>,
    /// Whose ids its processes have.
    pub users: UserNamespace,
    /// Processes.
    pub pid: NamespaceMode,
    /// System V objects, POSIX queues and `/dev/shm`.
    pub ipc: IpcMode,
    /// Host and domain name.
    pub uts: NamespaceMode,
    /// What `/proc/self/cgroup` shows.
    pub cgroup: CgroupMode,
    /// The clocks that count from boot; a mode that shares them is the default.
    pub time: TimeMode,
    /// Seconds by which those clocks differ from the host's; more than none asks for clocks of its own.
    pub time_offsets: BTreeMap<Clock, i64>,
}

/// Whose namespace of a kind a container is in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NamespaceMode {
    /// One of its own.
    #[default]
    Private,
    /// The caller's.
    Host,
    /// That of a running container, named by its id or the beginning of it.
    Container(String),
    /// The one behind a file such as `/proc/PID/ns/net`.
    Path(PathBuf),
}

/// Whose ipc namespace, and whose `/dev/shm`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IpcMode {
    /// Its own; other containers may ask to share it.
    #[default]
    Private,
    /// Its own, without `/dev/shm`.
    None,
    /// Somebody else's, with `/dev/shm` where it is the host's or a container's.
    Shared(NamespaceMode),
}

/// Whose cgroup namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CgroupMode {
    /// Its own: its group is the root.
    #[default]
    Private,
    /// The caller's.
    Host,
    /// That of a running container, by its id: of the one that keeps a pod's namespaces.
    Container(String),
    /// The one behind a file such as `/proc/PID/ns/cgroup`.
    Path(PathBuf),
}

/// Whose time namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TimeMode {
    /// As the offsets need it.
    #[default]
    Unsaid,
    /// The caller's.
    Host,
    /// Its own.
    Private,
}

/// A clock that a time namespace can shift (time_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Clock {
    /// `CLOCK_MONOTONIC` and its kin.
    Monotonic,
    /// `CLOCK_BOOTTIME`, and `/proc/uptime`.
    Boottime,
}

impl Clock {
    /// As the specification and the kernel spell it.
    pub fn name(self) -> &'static str {
        match self {
            Clock::Monotonic => "monotonic",
            Clock::Boottime => "boottime",
        }
    }
}

impl NamespaceMode {
    /// Reads `private`, `host`, `container:ID` or `ns:PATH`.
    pub fn parse(flag: &str, text: &str) -> Result<NamespaceMode> {
        Self::read(text).ok_or_else(|| unknown(flag, text, &["private", "host", "container:ID", "ns:PATH"]))
    }

    fn read(text: &str) -> Option<NamespaceMode> {
        match text {
            "private" | "" => Some(NamespaceMode::Private),
            "host" => Some(NamespaceMode::Host),
            _ => match text.split_once(':') {
                Some(("container", id)) if !id.is_empty() => Some(NamespaceMode::Container(id.to_owned())),
                Some(("ns", path)) if path.starts_with('/') => Some(NamespaceMode::Path(path.into())),
                _ => None,
            },
        }
    }
}

impl IpcMode {
    /// Reads `private`, `shareable`, `none`, `host`, `container:ID` or `ns:PATH`.
    pub fn parse(flag: &str, text: &str) -> Result<IpcMode> {
        match text {
            "none" => Ok(IpcMode::None),
            // Whoever may start containers may join any of them; so there is nothing to be shut off from.
            "shareable" => Ok(IpcMode::Private),
            _ => match NamespaceMode::read(text) {
                Some(NamespaceMode::Private) => Ok(IpcMode::Private),
                Some(shared) => Ok(IpcMode::Shared(shared)),
                None => {
                    let known = ["private", "shareable", "none", "host", "container:ID", "ns:PATH"];
                    Err(unknown(flag, text, &known))
                }
            },
        }
    }

    /// The mode in words, where it leaves the container without a `/dev/shm` of its own. One that joins the file of no
    /// process does not: nobody knows which would go with it.
    pub(super) fn shared_memory_of(&self) -> Option<String> {
        match self {
            IpcMode::Private | IpcMode::Shared(NamespaceMode::Private) => None,
            IpcMode::None => Some("none".to_owned()),
            IpcMode::Shared(NamespaceMode::Host) => Some("host".to_owned()),
            IpcMode::Shared(NamespaceMode::Container(id)) => Some(format!("container:{}", id.escape_debug())),
            IpcMode::Shared(NamespaceMode::Path(path)) => {
                crate::peers::process_of(path).map(|_| format!("ns:{}", path.display()))
            }
        }
    }
}

impl CgroupMode {
    /// Reads `private` or `host`.
    pub fn parse(flag: &str, text: &str) -> Result<CgroupMode> {
        match text {
            "private" | "" => Ok(CgroupMode::Private),
            "host" => Ok(CgroupMode::Host),
            _ => Err(unknown(flag, text, &["private", "host"])),
        }
    }
}

impl TimeMode {
    /// Reads `private` or `host`.
    pub fn parse(flag: &str, text: &str) -> Result<TimeMode> {
        match text {
            "private" => Ok(TimeMode::Private),
            "host" => Ok(TimeMode::Host),
            _ => Err(unknown(flag, text, &["host", "private"])),
        }
    }
}

/// The error for a mode that nobody knows.
pub(super) fn unknown(flag: &str, text: &str, known: &[&str]) -> Error {
    let error = Error::invalid(flag, format!("`{}` is not known", text.escape_debug()));
    if text.starts_with("ns:") && known.contains(&"ns:PATH") {
        return error.with_hint(
            "behind `ns:` stands a path: `/proc/PID/ns/NAME`, or `/run/netns/NAME` for one of `ip netns`",
        );
    }
    match nearest(text, known.iter().copied().filter(|word| !word.contains(':'))) {
        Some(word) => error.with_hint(format!("did you mean `{word}`? It takes {}", known.join(", "))),
        None => error.with_hint(format!("it takes {}", known.join(", "))),
    }
}

impl NamespaceOptions {
    /// Takes one `--time-offset CLOCK=SECONDS`.
    pub fn apply_time_offset(&mut self, text: &str) -> Result<()> {
        let read = || {
            let (clock, seconds) = text.split_once('=')?;
            let clock =
                [Clock::Monotonic, Clock::Boottime].into_iter().find(|known| known.name() == clock)?;
            Some((clock, seconds.parse().ok()?))
        };
        let Some((clock, seconds)) = read() else {
            let error = Error::invalid("--time-offset", format!("`{}` is none", text.escape_debug()));
            return Err(error.with_hint("write `monotonic=SECONDS` or `boottime=SECONDS`, in whole seconds"));
        };
        self.time_offsets.insert(clock, seconds);
        Ok(())
    }

    /// Whether it gets clocks of its own.
    pub fn has_own_time(&self) -> bool {
        self.time == TimeMode::Private || (self.time == TimeMode::Unsaid && !self.time_offsets.is_empty())
    }

    /// Its host name, as far as that is known before anything was looked up.
    pub fn hostname(&self) -> &str {
        self.hostname.as_deref().unwrap_or("rabbitc")
    }

    /// Refuses names that no host could have (RFC 1123; the kernel takes 64 bytes), and what contradicts itself.
    pub(crate) fn check(&self) -> Result<()> {
        if self.time == TimeMode::Host && !self.time_offsets.is_empty() {
            let error =
                Error::invalid("--time-offset", "the clocks are the host's with `--timens=host`".into());
            return Err(error.with_hint("leave `--timens` out, or say `--timens=private`"));
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        for (flag, name) in [("--hostname", &self.hostname), ("--domainname", &self.domainname)] {
            let Some(name) = name else { continue };
            if name.is_empty() || name.len() > 64 || !name.bytes().all(legal) || name.starts_with(['-', '.'])
            {
                let error = Error::invalid(flag, format!("`{}` is not a host name", name.escape_debug()));
                return Err(error
                    .with_hint("up to 64 letters, digits, `-` and `.`, beginning with a letter or digit"));
            }
            if self.uts != NamespaceMode::Private {
                let reason =
                    "the uts namespace is not the container's own, so this would rename others".to_owned();
                return Err(Error::invalid(flag, reason).with_hint(format!("leave out `{flag}`, or `--uts`")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_docker_reads_them() {
        let parse = |text| NamespaceMode::parse("--pid", text);
        assert_eq!(parse("host").expect("legal"), NamespaceMode::Host);
        assert_eq!(parse("").expect("legal"), NamespaceMode::Private);
        assert_eq!(parse("container:ab").expect("legal"), NamespaceMode::Container("ab".into()));
        assert_eq!(parse("ns:/proc/1/ns/pid").expect("legal"), NamespaceMode::Path("/proc/1/ns/pid".into()));
        for wrong in ["hots", "container:", "ns:relative", "shareable", "none"] {
            let error = parse(wrong).expect_err(wrong);
            assert!(error.to_string().starts_with("--pid: "), "{error}");
        }
        assert!(parse("hots").expect_err("refused").hint.expect("there is one").contains("`host`"));
        assert_eq!(IpcMode::parse("--ipc", "none").expect("legal"), IpcMode::None);
        assert_eq!(IpcMode::parse("--ipc", "shareable").expect("legal"), IpcMode::Private);
        let host = IpcMode::Shared(NamespaceMode::Host);
        assert_eq!(IpcMode::parse("--ipc", "host").expect("legal"), host);
        assert!(CgroupMode::parse("--cgroupns", "container:a").is_err());
    }

    #[test]
    fn host_name_for_somebody_elses_namespace_is_refused() {
        let named =
            |uts| NamespaceOptions { hostname: Some("x".to_owned()), uts, ..NamespaceOptions::default() };
        assert!(named(NamespaceMode::Private).check().is_ok());
        let error = named(NamespaceMode::Host).check().expect_err("refused");
        assert!(error.to_string().starts_with("--hostname: "), "{error}");
        assert!(NamespaceOptions { uts: NamespaceMode::Host, ..NamespaceOptions::default() }.check().is_ok());
    }

    #[test]
    fn offsets_ask_for_clocks_of_its_own() {
        let mut options = NamespaceOptions::default();
        assert!(!options.has_own_time());
        options.apply_time_offset("boottime=-7").expect("legal");
        assert!(options.has_own_time());
        assert_eq!(options.time_offsets[&Clock::Boottime], -7);
        options.time = TimeMode::Host;
        assert!(options.check().is_err());
        for wrong in ["realtime=1", "monotonic", "monotonic=1.5", ""] {
            assert!(options.apply_time_offset(wrong).is_err(), "{wrong}");
        }
    }
}
