//! What containers.conf(5) says of new containers, as the flags that it stands for: they are read before those of the command line, which
//! say more. Keys that rabbitc does not know are left out, as podman's own reader does; must not read a flag's value.

use std::ffi::OsString;
use std::path::PathBuf;

use engine::{Error, Result, named_file};
use serde_json::{Map, Value};

/// No honest file of this kind is longer.
const LONGEST: u64 = 1 << 20;

/// Keys of `[containers]` with one value, and the flags that they stand for.
const VALUES: [(&str, &str); 14] = [
    ("cgroupns", "cgroupns"),
    ("init", "init"),
    ("ipcns", "ipc"),
    ("log_driver", "log-driver"),
    ("netns", "network"),
    ("no_hosts", "no-hosts"),
    ("oom_score_adj", "oom-score-adj"),
    ("pids_limit", "pids-limit"),
    ("privileged", "privileged"),
    ("read_only", "read-only"),
    ("shm_size", "shm-size"),
    ("tz", "tz"),
    ("umask", "umask"),
    ("userns", "userns"),
];

/// More of them, whose values mean what they mean for the flags.
const MORE_VALUES: [(&str, &str); 4] =
    [("env_host", "env-host"), ("http_proxy", "http-proxy"), ("pidns", "pid"), ("utsns", "uts")];

/// Keys with a list, and the flags that each of its entries stands for.
const LISTS: [(&str, &str); 10] = [
    ("annotations", "annotation"),
    ("default_sysctls", "sysctl"),
    ("default_ulimits", "ulimit"),
    ("devices", "device"),
    ("dns_options", "dns-option"),
    ("dns_searches", "dns-search"),
    ("dns_servers", "dns"),
    ("env", "env"),
    ("mounts", "mount"),
    ("volumes", "volume"),
];

/// What a `mounts` entry may be of.
const MOUNT_TYPES: [&str; 7] = ["bind", "volume", "tmpfs", "ramfs", "image", "glob", "devpts"];

/// The flags for new containers by the caller's files, before those that were `given` in the parser's form.
pub(super) fn flags(given: &[OsString]) -> Result<Vec<OsString>> {
    let settings = settings(&files())?;
    let given: Vec<&str> = given.iter().filter_map(|flag| flag.to_str()).collect();
    match settings.get("containers") {
        Some(Value::Object(containers)) => of_containers(containers, &given),
        _ => Ok(Vec::new()),
    }
}

/// The files in the order in which the later ones say more (containers.conf(5)).
fn files() -> Vec<PathBuf> {
    let said = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let mut files = match said("CONTAINERS_CONF") {
        Some(one) => vec![one],
        None => {
            let mut files = vec![PathBuf::from("/usr/share/containers/containers.conf")];
            let mut directories = vec![PathBuf::from("/etc/containers")];
            if !rustix::process::geteuid().is_root() {
                let home = || said("HOME").map(|home| home.join(".config"));
                directories.extend(said("XDG_CONFIG_HOME").or_else(home).map(|home| home.join("containers")));
            }
            for directory in directories {
                files.push(directory.join("containers.conf"));
                let listed = std::fs::read_dir(directory.join("containers.conf.d")).into_iter().flatten();
                let mut more: Vec<_> = listed.flatten().map(|entry| entry.path()).collect();
                more.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
                more.sort();
                files.extend(more);
            }
            files
        }
    };
    files.extend(said("CONTAINERS_CONF_OVERRIDE"));
    files
}

/// What they say all together.
fn settings(files: &[PathBuf]) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    for path in files {
        let bytes = match named_file::read("read", path, LONGEST) {
            Ok(bytes) => bytes,
            Err(error) if error.errno == Some(rustix::io::Errno::NOENT.raw_os_error()) => continue,
            Err(error) => return Err(error),
        };
        let read: Map<String, Value> = basic_toml::from_slice(&bytes).map_err(|error| {
            Error::invalid(format!("read `{}`", path.display()), error.to_string())
                .with_hint("containers.conf(5) says how it is written")
        })?;
        merge(&mut all, read);
    }
    Ok(all)
}

/// Tables are put together; all else is replaced, but for a list that says `{append=true}`.
fn merge(all: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        match (all.entry(name).or_insert(Value::Null), value) {
            (Value::Object(earlier), Value::Object(later)) => merge(earlier, later),
            (earlier, Value::Array(mut later)) => {
                let appends = later.iter().any(|entry| entry.get("append") == Some(&Value::Bool(true)));
                later.retain(|entry| !entry.is_object());
                match earlier {
                    Value::Array(earlier) if appends => earlier.extend(later),
                    earlier => *earlier = Value::Array(later),
                }
            }
            (earlier, value) => *earlier = value,
        }
    }
}

fn of_containers(containers: &Map<String, Value>, given: &[&str]) -> Result<Vec<OsString>> {
    let mut flags = Vec::new();
    for (key, flag) in VALUES.iter().chain(&MORE_VALUES) {
        match containers.get(*key) {
            None => {}
            // As if it were not there.
            Some(Value::String(text)) if text.is_empty() || (*key == "netns" && text == "private") => {}
            Some(value) => flags.push(format!("--{flag}={}", text(key, value)?)),
        }
    }
    if let Some(size) = containers.get("log_size_max").and_then(Value::as_i64).filter(|size| *size > 0) {
        flags.push(format!("--log-opt=max-size={size}"));
    }
    if let Some(profile) =
        containers.get("seccomp_profile").and_then(Value::as_str).filter(|path| !path.is_empty())
    {
        flags.push(format!("--security-opt=seccomp={profile}"));
    }
    for (key, flag) in LISTS {
        let entries = match containers.get(key) {
            None => continue,
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(wrong(key, "it takes a list")),
        };
        for entry in entries {
            let entry = entry.as_str().ok_or_else(|| wrong(key, "its entries are text"))?;
            check(key, entry)?;
            if key == "default_sysctls" && is_anothers(entry, given) {
                continue;
            }
            if !is_replaced(flag, entry, given) {
                flags.push(format!("--{flag}={entry}"));
            }
        }
    }
    Ok(flags.into_iter().map(OsString::from).collect())
}

fn text(key: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => Err(wrong(key, "it takes one value")),
    }
}

fn wrong(key: &str, reason: &str) -> Error {
    Error::invalid(format!("containers.conf: `{key}`"), reason.to_owned())
        .with_hint("containers.conf(5) says how it is written")
}

fn check(key: &str, entry: &str) -> Result<()> {
    let Some(kind) = fields(entry).find_map(|(name, value)| (name == "type").then_some(value)) else {
        return Ok(());
    };
    if key != "mounts" || MOUNT_TYPES.contains(&kind) {
        return Ok(());
    }
    Err(wrong("mounts", &format!("invalid filesystem type \"{}\"", kind.escape_debug())))
}

/// Whether a setting of the kernel is of a namespace that the container shares: what a file says of all containers is not meant for it then.
fn is_anothers(entry: &str, given: &[&str]) -> bool {
    let shares = |flags: &[&str]| {
        given.iter().any(|given| {
            flags.iter().any(|flag| {
                given.strip_prefix(flag).is_some_and(|mode| {
                    mode == "host" || ["container:", "ns:"].iter().any(|other| mode.starts_with(other))
                })
            })
        })
    };
    let is_of_pod =
        given.iter().any(|given| given.starts_with("--pod=") || given.starts_with("--pod-id-file="));
    match entry {
        _ if entry.starts_with("net.") => is_of_pod || shares(&["--network=", "--net="]),
        _ if entry.starts_with("kernel.") || entry.starts_with("fs.mqueue.") => {
            is_of_pod || shares(&["--ipc=", "--uts="])
        }
        _ => false,
    }
}

/// Whether the command line has something else in the place of what a file has: another limit of that name, another mount in that place, other
/// servers of names.
fn is_replaced(flag: &str, entry: &str, given: &[&str]) -> bool {
    let values = |flag: &str| {
        let start = format!("--{flag}=");
        given
            .iter()
            .filter_map(move |given| given.strip_prefix(&start).map(str::to_owned))
            .collect::<Vec<_>>()
    };
    match flag {
        "dns" | "dns-search" | "dns-option" => !values(flag).is_empty(),
        "ulimit" | "env" | "sysctl" | "annotation" => {
            let name = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
            values(flag).iter().any(|value| name(value) == name(entry))
        }
        "mount" | "volume" => {
            let target = target(flag, entry);
            let flags = ["mount", "volume", "tmpfs"];
            flags.iter().any(|other| values(other).iter().any(|value| self::target(other, value) == target))
        }
        _ => false,
    }
}

/// The fields of a mount in its long form.
fn fields(entry: &str) -> impl Iterator<Item = (&str, &str)> {
    entry.split(',').map(|field| field.split_once('=').unwrap_or((field, "")))
}

/// Where a mount is to be.
fn target(flag: &str, entry: &str) -> String {
    let target = match flag {
        "mount" => fields(entry)
            .find_map(|(name, value)| matches!(name, "dst" | "destination" | "target").then_some(value)),
        "tmpfs" => entry.split(':').next(),
        _ => entry.split(':').nth(1).or(Some(entry)),
    };
    target.unwrap_or_default().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Map<String, Value> {
        basic_toml::from_str(text).expect(text)
    }

    fn flags_of(text: &str, given: &[&str]) -> Vec<String> {
        let settings = read(text);
        let containers = settings["containers"].as_object().expect("a table");
        let flags = of_containers(containers, given).expect("legal");
        flags.into_iter().map(|flag| flag.into_string().expect("text")).collect()
    }

    #[test]
    fn keys_are_the_flags_that_they_stand_for() {
        let text = "[containers]\nread_only = true\npids_limit = 7\nlog_size_max = 4000\nenv = [\"A=1\"]\nunknown = [1]\n";
        let expected = ["--pids-limit=7", "--read-only=true", "--log-opt=max-size=4000", "--env=A=1"];
        assert_eq!(flags_of(text, &[]), expected);
    }

    #[test]
    fn what_is_given_stands_in_the_place_of_what_a_file_has() {
        let text = "[containers]\ndefault_ulimits = [\"nofile=9:9\", \"core=1\"]\ndns_servers = [\"1.1.1.1\"]\n\
                    mounts = [\"type=bind,src=/a,dst=/m\"]\nvolumes = [\"/a:/v\"]\n";
        let given = ["--ulimit=nofile=5", "--dns=9.9.9.9", "--mount=type=tmpfs,target=/m", "--tmpfs=/v:ro"];
        assert_eq!(flags_of(text, &given), ["--ulimit=core=1"]);
    }

    #[test]
    fn settings_of_a_network_are_left_out_where_it_is_anothers() {
        let text = "[containers]\ndefault_sysctls = [\"net.ipv4.ping_group_range=0 0\"]\n";
        let all = ["--sysctl=net.ipv4.ping_group_range=0 0"];
        assert_eq!(flags_of(text, &[]), all);
        assert_eq!(flags_of(text, &["--network=none"]), all);
        for given in ["--network=host", "--net=container:x", "--network=ns:/x", "--pod=p"] {
            assert_eq!(flags_of(text, &[given]), [""; 0], "{given}");
        }
    }

    #[test]
    fn later_files_say_more_and_lists_grow_where_they_say_so() {
        let mut all = read("[containers]\nenv = [\"A=1\"]\ntz = \"UTC\"\n[engine]\nx = 1\n");
        merge(&mut all, read("[containers]\nenv = [\"B=2\", {append = true}]\n"));
        assert_eq!(all["containers"]["env"], serde_json::json!(["A=1", "B=2"]));
        merge(&mut all, read("[containers]\nenv = [\"C=3\"]\n"));
        assert_eq!(all["containers"]["env"], serde_json::json!(["C=3"]));
        assert_eq!(all["containers"]["tz"], "UTC");
    }

    #[test]
    fn wrong_value_is_refused_by_its_key() {
        for (text, key) in [
            ("[containers]\nmounts = [\"type=bogus,dst=/x\"]\n", "mounts"),
            ("[containers]\nenv = \"A=1\"\n", "env"),
            ("[containers]\ntz = [\"UTC\"]\n", "tz"),
        ] {
            let settings = read(text);
            let error = of_containers(settings["containers"].as_object().expect("a table"), &[]);
            assert!(error.expect_err(text).operation.contains(key), "{text}");
        }
    }
}
