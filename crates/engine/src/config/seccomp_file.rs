//! Seccomp profiles in files: OCI's form, and docker's and podman's, which has conditions on capabilities, machines
//! and kernels. Must not judge what the rules do: that is the plan's.

use std::path::Path;

use runtime::named_file::{self, LONGEST_DOCUMENT};
use runtime::spec::seccomp::{Action, LinuxSeccomp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

const FIELD: &str = "--security-opt seccomp";

/// Reads a profile for a container with these capabilities.
pub(super) fn read(path: &Path, capabilities: &[String]) -> Result<LinuxSeccomp> {
    let text = named_file::read("read the profile", path, LONGEST_DOCUMENT).map_err(|error| {
        error.from_field(FIELD).with_hint("name a file with a profile, `builtin` or `unconfined`")
    })?;
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let here = Here { capabilities, machine: machine(), kernel: kernel_version(&release).unwrap_or((0, 0)) };
    convert(&text, &here).map_err(|reason| {
        let error = Error::invalid(FIELD, format!("`{}`: {reason}", path.display()));
        error
            .with_hint("a profile is a JSON object as docker, podman or the OCI runtime specification has it")
    })
}

/// What the conditions of a profile are about.
struct Here<'a> {
    capabilities: &'a [String],
    machine: Machine,
    kernel: (u32, u32),
}

/// This machine in libseccomp's words and in the specification's.
struct Machine {
    name: &'static str,
    architecture: &'static str,
}

fn machine() -> Machine {
    let (name, architecture) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", "SCMP_ARCH_X86_64"),
        "aarch64" => ("arm64", "SCMP_ARCH_AARCH64"),
        "riscv64" => ("riscv64", "SCMP_ARCH_RISCV64"),
        other => (other, ""),
    };
    Machine { name, architecture }
}

runtime::read_as_object! { Document ArchitectureMap Rule Condition }

/// Fields beside these, such as comments, are passed over as in docker.
#[derive(Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
struct Document {
    default_action: String,
    default_errno_ret: Option<u32>,
    default_errno: Option<String>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchitectureMap>>,
    flags: Option<Vec<String>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
struct ArchitectureMap {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
struct Rule {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u32>,
    errno: Option<String>,
    args: Option<Value>,
    includes: Option<Condition>,
    excludes: Option<Condition>,
}

/// `includes`: all must hold; `excludes`: none may.
#[derive(Deserialize, Default)]
#[serde(remote = "Self", rename_all = "camelCase")]
struct Condition {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

fn convert(text: &[u8], here: &Here<'_>) -> std::result::Result<LinuxSeccomp, String> {
    let document: Document = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let mut profile = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            profile.insert(key.to_owned(), value);
        }
    };
    put("defaultAction", Some(document.default_action.into()));
    let errno = number(document.default_errno_ret, document.default_errno.as_deref(), "defaultErrno")?;
    put("defaultErrnoRet", errno.map(Value::from));
    let mut architectures = document.architectures.unwrap_or_default();
    let map = document.arch_map.unwrap_or_default();
    if !architectures.is_empty() && !map.is_empty() {
        return Err("both `architectures` and `archMap` are given, and only one can hold".to_owned());
    }
    if let Some(entry) = map.into_iter().find(|entry| entry.architecture == here.machine.architecture) {
        architectures.push(entry.architecture);
        architectures.extend(entry.sub_architectures.unwrap_or_default());
    }
    put("architectures", Some(architectures.into()));
    put("flags", document.flags.map(Value::from));
    put("listenerPath", document.listener_path.map(Value::from));
    put("listenerMetadata", document.listener_metadata.map(Value::from));
    let mut rules = Vec::new();
    for (index, rule) in document.syscalls.unwrap_or_default().into_iter().enumerate() {
        let field = format!("syscalls[{index}]");
        // With the number that the rule has in the file: rules before it may not apply here.
        if Action::from_name(&rule.action).is_none() {
            return Err(format!("{field}.action: unknown value `{}`", rule.action));
        }
        if !applies(&rule, here, &field)? {
            continue;
        }
        let names = match (rule.name.filter(|name| !name.is_empty()), rule.names.unwrap_or_default()) {
            (Some(_), names) if !names.is_empty() => {
                return Err(format!("{field}: both `name` and `names` are given"));
            }
            (Some(name), _) => vec![name],
            (None, names) => names,
        };
        let errno = number(rule.errno_ret, rule.errno.as_deref(), &format!("{field}.errno"))?;
        rules.push(json!({
            "names": names,
            "action": rule.action,
            "errnoRet": errno,
            "args": rule.args.unwrap_or_default(),
        }));
    }
    put("syscalls", Some(rules.into()));
    serde_json::from_value(Value::Object(profile)).map_err(|error| error.to_string())
}

fn applies(rule: &Rule, here: &Here<'_>, field: &str) -> std::result::Result<bool, String> {
    let has = |name: &String| here.capabilities.contains(name);
    let at_least = |version: &str, which: &str| {
        let wrong = || format!("{field}.{which}.minKernel: `{version}` is not a version such as `4.8`");
        kernel_version(version).map(|version| here.kernel >= version).ok_or_else(wrong)
    };
    let is_machine = |name: &String| name == here.machine.name;
    if let Some(excludes) = &rule.excludes {
        let newer = match &excludes.min_kernel {
            Some(version) => at_least(version, "excludes")?,
            None => false,
        };
        let listed = excludes.arches.iter().flatten().any(is_machine);
        if newer || listed || excludes.caps.iter().flatten().any(has) {
            return Ok(false);
        }
    }
    if let Some(includes) = &rule.includes {
        if let Some(version) = &includes.min_kernel
            && !at_least(version, "includes")?
        {
            return Ok(false);
        }
        let arches = includes.arches.as_deref().unwrap_or_default();
        if !arches.is_empty() && !arches.iter().any(is_machine) {
            return Ok(false);
        }
        return Ok(includes.caps.iter().flatten().all(has));
    }
    Ok(true)
}

/// The first two numbers of a kernel's release.
fn kernel_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|character: char| !character.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// An errno as a number, or by the name that podman's profiles have beside it.
fn number(number: Option<u32>, name: Option<&str>, field: &str) -> std::result::Result<Option<u32>, String> {
    const NAMES: [(&str, u32); 10] = [
        ("EPERM", 1),
        ("ENOENT", 2),
        ("EIO", 5),
        ("EACCES", 13),
        ("EINVAL", 22),
        ("ENOSYS", 38),
        ("EPROTONOSUPPORT", 93),
        ("EOPNOTSUPP", 95),
        ("ENOTSUP", 95),
        ("EAFNOSUPPORT", 97),
    ];
    match (number, name.filter(|name| !name.is_empty())) {
        (Some(number), _) => Ok(Some(number)),
        (None, None) => Ok(None),
        (None, Some(name)) => match NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, number)) => Ok(Some(*number)),
            None => Err(format!("{field}: `{name}` is not known here; write its number as `errnoRet`")),
        },
    }
}

#[cfg(test)]
mod tests {
    use runtime::spec::seccomp::Architecture;

    use super::*;

    fn convert_for(
        text: &str,
        capabilities: &[&str],
        kernel: (u32, u32),
    ) -> std::result::Result<LinuxSeccomp, String> {
        let capabilities: Vec<String> = capabilities.iter().map(|&name| name.to_owned()).collect();
        let machine = Machine { name: "amd64", architecture: "SCMP_ARCH_X86_64" };
        convert(text.as_bytes(), &Here { capabilities: &capabilities, machine, kernel })
    }

    const PROFILE: &str = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS", "defaultErrnoRet": 38,
        "archMap": [
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}
        ],
        "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "x",
             "includes": {}, "excludes": {}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errno": "EPERM",
             "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
            {"names": ["sync_file_range2"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["ppc64le"]}},
            {"names": ["s390_runtime_instr"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}},
            {"name": "personality", "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}
        ]
    }"#;

    fn names(profile: &LinuxSeccomp) -> Vec<&str> {
        profile.syscalls.iter().flat_map(|rule| rule.names.iter().map(AsRef::as_ref)).collect()
    }

    #[test]
    fn conditions_decide_by_capability_machine_and_kernel() {
        let profile = convert_for(PROFILE, &[], (6, 1)).expect("legal");
        assert_eq!(names(&profile), ["read", "write", "ptrace", "mount", "arch_prctl", "personality"]);
        let mount = profile.syscalls.iter().find(|rule| rule.names[0] == "mount").expect("there");
        assert_eq!((mount.action, mount.errno_ret), (Action::Errno, Some(1)));
        let profile = convert_for(PROFILE, &["CAP_SYS_ADMIN"], (4, 7)).expect("legal");
        assert_eq!(names(&profile), ["read", "write", "mount", "arch_prctl", "personality"]);
        assert_eq!(profile.syscalls[1].action, Action::Allow);
        assert_eq!(profile.syscalls[3].args[0].value, 8);
        assert_eq!(profile.default_errno_ret, Some(38));
        let all = [Architecture::X86_64, Architecture::X86, Architecture::X32];
        assert_eq!(profile.architectures, all);
    }

    #[test]
    fn plain_form_of_the_specification_is_kept_as_it_is() {
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],
            "flags":["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":5}]}"#;
        let plain: LinuxSeccomp = serde_json::from_str(text).expect("legal");
        assert_eq!(convert_for(text, &[], (6, 1)).expect("legal"), plain);
    }

    #[test]
    fn wrong_profiles_are_refused_with_the_field() {
        let with_rule = |rule: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#);
        for (text, said) in [
            ("{}".to_owned(), "defaultAction"),
            ("[".to_owned(), "line 1"),
            (r#"{"defaultAction":"ALLOW"}"#.to_owned(), "defaultAction: unknown value `ALLOW`"),
            (with_rule(r#"{"name":"a","names":["b"],"action":"SCMP_ACT_LOG"}"#), "syscalls[0]: both"),
            (with_rule(r#"{"names":["b"],"action":"SCMP_ACT_LOUD"}"#), "syscalls[0].action"),
            (with_rule(r#"{"names":["b"],"action":"SCMP_ACT_ERRNO","errno":"EWHAT"}"#), "syscalls[0].errno"),
            (
                with_rule(r#"{"names":["b"],"action":"SCMP_ACT_LOG","includes":{"minKernel":"new"}}"#),
                "syscalls[0].includes.minKernel",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_LOG","architectures":["SCMP_ARCH_X86"],
                    "archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}"#
                    .to_owned(),
                "both `architectures` and `archMap`",
            ),
        ] {
            let reason = convert_for(&text, &[], (6, 1)).expect_err(&text);
            assert!(reason.contains(said), "{text}: {reason}");
        }
    }

    #[test]
    fn releases_of_kernels_are_compared_by_their_first_two_numbers() {
        assert_eq!(kernel_version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(kernel_version("4.8"), Some((4, 8)));
        assert_eq!(kernel_version("six"), None);
        assert!(kernel_version("4.19") >= kernel_version("4.8"));
    }
}
