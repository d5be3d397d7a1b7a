//! What a container's processes may do, as meant. Looks nothing up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use runtime::capability;
use serde::{Deserialize, Serialize};

use super::nearest;
use super::record;
use crate::error::{Error, Result};

/// Rights of one container beyond or below the default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityOptions {
    /// Capabilities beside the default ones.
    pub add_capabilities: CapabilityList,
    /// Capabilities out of the default ones.
    pub drop_capabilities: CapabilityList,
    /// Every right that there is to give: all capabilities and devices, no filter, nothing hidden.
    pub privileged: bool,
    /// Whether set-user-ID programs and file capabilities give nothing; unless said, they do for the privileged only.
    pub no_new_privileges: Option<bool>,
    /// The filter of system calls; unless said, the built-in one, and none for the privileged.
    pub seccomp: Option<SeccompChoice>,
    /// The AppArmor profile; unless said, our own where AppArmor is on, and none for the privileged.
    pub apparmor: Option<AppArmorChoice>,
    /// The SELinux label.
    pub label: LabelOptions,
    /// Paths to hide beside the default ones.
    pub mask: Vec<String>,
    /// Which of the paths that are hidden or read-only by default are left as they are.
    pub unmask: Unmask,
    /// Options of the mount of procfs (proc(5)), such as `hidepid=2`.
    pub proc_options: Vec<String>,
    /// Whether the container's own part of the cgroup file system can be written to.
    pub writable_cgroups: bool,
    /// Kernel parameters of the container's own namespaces, by name.
    pub sysctls: BTreeMap<String, String>,
}

/// Capabilities that a flag lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CapabilityList {
    /// `ALL`.
    pub all: bool,
    /// Those that are named, one bit for each number of capabilities(7).
    #[serde(with = "record::capabilities")]
    pub named: u64,
}

/// Which filter of system calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SeccompChoice {
    /// The one that belongs to the capabilities granted.
    Builtin,
    /// None.
    Unconfined,
    /// A profile in docker's form or OCI's.
    File(PathBuf),
}

/// Which AppArmor profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AppArmorChoice {
    /// None.
    Unconfined,
    /// One that is loaded already.
    Profile(String),
}

/// Parts of the SELinux label that differ from the usual ones.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelOptions {
    /// No label at all.
    pub disable: bool,
    /// Programs inside may deal with SELinux themselves.
    pub nested: bool,
    /// The user, of processes and files.
    pub user: Option<String>,
    /// The role, of processes.
    pub role: Option<String>,
    /// The type of processes.
    pub kind: Option<String>,
    /// The type of files.
    pub file_kind: Option<String>,
    /// The level, of processes and files.
    pub level: Option<String>,
}

/// Paths that are not hidden.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Unmask {
    /// All of them.
    pub all: bool,
    /// Those that match one of these patterns; `*` and `?` stand for characters other than `/`.
    pub patterns: Vec<String>,
}

impl CapabilityList {
    /// Reads names, with or without `CAP_`, in any case, or `ALL`.
    pub fn parse(flag: &str, names: &[String]) -> Result<CapabilityList> {
        let mut list = CapabilityList::default();
        for name in names {
            let upper = name.trim().to_ascii_uppercase();
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            if bare == "ALL" {
                list.all = true;
                continue;
            }
            let Some(number) = capability::number(bare) else {
                let error = Error::invalid(flag, format!("`{}` is not a capability", name.escape_debug()));
                return Err(match nearest(bare, capability::NAMES.iter().copied()) {
                    Some(known) => error.with_hint(format!("did you mean `{known}`?")),
                    None => error.with_hint("capabilities(7) lists them; `ALL` is all of them"),
                });
            };
            list.named |= 1 << number;
        }
        Ok(list)
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        *self == CapabilityList::default()
    }
}

impl Unmask {
    /// Whether `path` is to be left as it is.
    pub fn covers(&self, path: &str) -> bool {
        self.all || self.patterns.iter().any(|pattern| matches(pattern.as_bytes(), path.as_bytes()))
    }
}

/// `*` and `?` as in glob(7), without brackets; neither stands for `/`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            matches(&pattern[1..], text)
                || text.first().is_some_and(|byte| *byte != b'/' && matches(pattern, &text[1..]))
        }
        (Some(b'?'), Some(byte)) if *byte != b'/' => matches(&pattern[1..], &text[1..]),
        (Some(wanted), Some(found)) if wanted == found => matches(&pattern[1..], &text[1..]),
        _ => false,
    }
}

const FLAG: &str = "--security-opt";

/// What `--security-opt` takes, as an error lists it.
const KNOWN: &str = "apparmor=PROFILE|unconfined, label=disable|nested|user:U|role:R|type:T|level:L|filetype:T, \
                     mask=PATH[:PATH], no-new-privileges[=BOOL], proc-opts=OPTION[,OPTION], \
                     seccomp=FILE|builtin|unconfined, systempaths=unconfined, unmask=ALL|PATH[:PATH], \
                     writable-cgroups[=BOOL]";

/// The names in that.
const NAMES: [&str; 9] = [
    "apparmor",
    "label",
    "mask",
    "no-new-privileges",
    "proc-opts",
    "seccomp",
    "systempaths",
    "unmask",
    "writable-cgroups",
];

impl SecurityOptions {
    /// Takes one `--security-opt`; a later one of the same name wins, lists grow. Docker's old separator `:` is
    /// understood too.
    pub fn apply(&mut self, option: &str) -> Result<()> {
        let (name, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let value = value.filter(|value| !value.is_empty());
        let wanted = || {
            let error = Error::invalid(FLAG, format!("`{name}` needs a value"));
            error.with_hint(format!("known: {KNOWN}"))
        };
        match name {
            "no-new-privileges" => self.no_new_privileges = Some(boolean(name, value)?),
            "writable-cgroups" => self.writable_cgroups = boolean(name, value)?,
            "seccomp" => {
                self.seccomp = Some(match value.ok_or_else(wanted)? {
                    "unconfined" => SeccompChoice::Unconfined,
                    "builtin" => SeccompChoice::Builtin,
                    path => SeccompChoice::File(path.into()),
                });
            }
            "apparmor" => {
                self.apparmor = Some(match value.ok_or_else(wanted)? {
                    "unconfined" => AppArmorChoice::Unconfined,
                    profile => AppArmorChoice::Profile(profile.to_owned()),
                });
            }
            "label" => self.label.apply(value.ok_or_else(wanted)?)?,
            "mask" => self.mask.extend(paths(name, value.ok_or_else(wanted)?)?),
            "unmask" => match value.ok_or_else(wanted)? {
                "ALL" | "all" => self.unmask.all = true,
                list => self.unmask.patterns.extend(paths(name, list)?),
            },
            "systempaths" => match value.ok_or_else(wanted)? {
                "unconfined" => self.unmask.all = true,
                other => return Err(wrong(name, other, "`unconfined`")),
            },
            "proc-opts" => {
                for one in value.ok_or_else(wanted)?.split(',') {
                    self.proc_options.push(proc_option(one)?);
                }
            }
            _ => {
                let error = Error::invalid(FLAG, format!("`{}` is not known", option.escape_debug()));
                return Err(error.with_hint(match nearest(name, NAMES.into_iter()) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("known: {KNOWN}"),
                }));
            }
        }
        Ok(())
    }

    /// Takes one `--sysctl NAME=VALUE`.
    pub fn apply_sysctl(&mut self, text: &str) -> Result<()> {
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
            let error = Error::invalid("--sysctl", format!("`{}` has no value", text.escape_debug()));
            return Err(error.with_hint("write NAME=VALUE, such as `net.ipv4.ip_unprivileged_port_start=0`"));
        };
        self.sysctls.insert(name.trim().to_owned(), value.trim().to_owned());
        Ok(())
    }
}

impl LabelOptions {
    fn apply(&mut self, text: &str) -> Result<()> {
        let part = |value: &str| {
            let legal = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
            legal.then(|| Some(value.to_owned())).ok_or_else(|| wrong("label", text, "a part of a label"))
        };
        match text.split_once(':') {
            None if text == "disable" => self.disable = true,
            None if text == "nested" => self.nested = true,
            Some(("user", value)) => self.user = part(value)?,
            Some(("role", value)) => self.role = part(value)?,
            Some(("type", value)) => self.kind = part(value)?,
            Some(("filetype", value)) => self.file_kind = part(value)?,
            Some(("level", value)) => self.level = part(value)?,
            _ => {
                let known = "`disable`, `nested`, or one of `user:`, `role:`, `type:`, `level:`, `filetype:`";
                return Err(wrong("label", text, known));
            }
        }
        Ok(())
    }
}

fn wrong(name: &str, value: &str, wanted: &str) -> Error {
    let error = Error::invalid(format!("{FLAG} {name}"), format!("`{}` is not known", value.escape_debug()));
    error.with_hint(format!("it takes {wanted}"))
}

fn boolean(name: &str, value: Option<&str>) -> Result<bool> {
    // As Go's strconv.ParseBool, which docker uses.
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(wrong(name, other, "`true` or `false`")),
    }
}

fn paths(name: &str, list: &str) -> Result<Vec<String>> {
    list.split(':')
        .map(|path| {
            let legal = path.starts_with('/') && !path.split('/').any(|part| part == "..");
            legal.then(|| path.to_owned()).ok_or_else(|| wrong(name, path, "absolute paths without `..`"))
        })
        .collect()
}

/// What proc(5) lists as mount options.
fn proc_option(text: &str) -> Result<String> {
    let legal = match text.split_once('=') {
        Some(("hidepid", value)) => {
            ["0", "1", "2", "4", "off", "noaccess", "invisible", "ptraceable"].contains(&value)
        }
        Some(("gid", value)) => value.parse::<u32>().is_ok(),
        Some(("subset", value)) => value == "pid",
        _ => false,
    };
    let known = "`hidepid=0|1|2|4`, `gid=NUMBER`, `subset=pid`";
    legal.then(|| text.to_owned()).ok_or_else(|| wrong("proc-opts", text, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(options: &[&str]) -> Result<SecurityOptions> {
        let mut security = SecurityOptions::default();
        options.iter().try_for_each(|option| security.apply(option))?;
        Ok(security)
    }

    #[test]
    fn capabilities_are_known_in_any_case_with_or_without_prefix() {
        let names = ["net_raw", "CAP_Mknod", "cap_kill"].map(str::to_owned);
        let list = CapabilityList::parse("--cap-add", &names).expect("legal");
        assert_eq!((list.all, list.named), (false, 1 << 13 | 1 << 27 | 1 << 5));
        assert!(CapabilityList::parse("--cap-add", &["all".to_owned()]).expect("legal").all);
    }

    #[test]
    fn unknown_capability_is_named_with_the_nearest_one() {
        let error = CapabilityList::parse("--cap-add", &["NET_ROW".to_owned()]).expect_err("refused");
        assert_eq!(error.to_string(), "--cap-add: `NET_ROW` is not a capability");
        assert_eq!(error.hint.as_deref(), Some("did you mean `NET_RAW`?"));
        let error = CapabilityList::parse("--cap-drop", &[String::new()]).expect_err("refused");
        assert!(error.to_string().starts_with("--cap-drop: "), "{error}");
    }

    #[test]
    fn security_options_take_both_separators() {
        for text in ["no-new-privileges", "no-new-privileges=true", "no-new-privileges:true"] {
            assert_eq!(applied(&[text]).expect(text).no_new_privileges, Some(true), "{text}");
        }
        assert_eq!(applied(&["no-new-privileges:false"]).expect("legal").no_new_privileges, Some(false));
        let file = Some(SeccompChoice::File("/a:b.json".into()));
        assert_eq!(applied(&["seccomp=/a:b.json"]).expect("legal").seccomp, file);
        assert_eq!(applied(&["seccomp:/a:b.json"]).expect("legal").seccomp, file);
        let label = applied(&["label:user:u", "label=level:s0:c1,c2", "label=type:t"]).expect("legal").label;
        assert_eq!(label.user.as_deref(), Some("u"));
        assert_eq!(label.level.as_deref(), Some("s0:c1,c2"));
        assert_eq!(label.kind.as_deref(), Some("t"));
        let options = applied(&["mask=/a:/b", "mask=/c", "unmask=/proc/*", "proc-opts=hidepid=2,gid=3"]);
        let options = options.expect("legal");
        assert_eq!(options.mask, ["/a", "/b", "/c"]);
        assert_eq!(options.proc_options, ["hidepid=2", "gid=3"]);
        assert!(applied(&["systempaths=unconfined"]).expect("legal").unmask.all);
    }

    #[test]
    fn unknown_security_options_are_refused_with_the_known_ones() {
        for text in [
            "sandbox=yes",
            "seccomp",
            "seccomp=",
            "label=colour:red",
            "label=user:",
            "mask=relative",
            "mask=/a/../b",
            "unmask=/a:b",
            "systempaths=all",
            "proc-opts=ro",
            "no-new-privileges=maybe",
            "writable-cgroups=2",
            "",
        ] {
            let error = applied(&[text]).expect_err(text);
            assert!(error.to_string().starts_with("--security-opt"), "{text}: {error}");
            assert!(error.hint.is_some(), "{text}");
        }
    }

    #[test]
    fn misspelt_security_option_is_refused_with_the_nearest_one() {
        for (text, known) in [
            ("secomp=/a.json", "seccomp"),
            ("no-new-privilege", "no-new-privileges"),
            ("aparmor:unconfined", "apparmor"),
        ] {
            let hint = applied(&[text]).expect_err(text).hint.expect("there is one");
            assert!(hint.contains(known), "{text}: {hint}");
        }
        let error = applied(&["secomp=/a.json"]).expect_err("refused");
        assert_eq!(error.to_string(), "--security-opt: `secomp=/a.json` is not known");
        assert_eq!(error.hint.as_deref(), Some("did you mean `seccomp`?"));
        for name in NAMES {
            assert!(KNOWN.split(", ").any(|known| known.starts_with(name)), "{name}");
        }
    }

    #[test]
    fn patterns_stop_at_slashes() {
        let unmask = Unmask { all: false, patterns: vec!["/proc/*".to_owned(), "/sys/fi?mware".to_owned()] };
        assert!(unmask.covers("/proc/kcore") && unmask.covers("/sys/firmware"));
        assert!(!unmask.covers("/proc/a/b") && !unmask.covers("/sys/fi/mware") && !unmask.covers("/sys"));
    }

    #[test]
    fn kernel_parameter_without_a_value_is_refused() {
        let mut options = SecurityOptions::default();
        options.apply_sysctl("net.core.somaxconn = 7").expect("legal");
        assert_eq!(options.sysctls["net.core.somaxconn"], "7");
        for text in ["", "a", "=1"] {
            assert!(options.apply_sysctl(text).is_err(), "{text}");
        }
    }
}
