//! Owns the shape of `linux.seccomp` (runtime-spec 1.3, config-linux.md): parsed names, no meaning.
//! Must not look at the host: what a profile means there is decided in `plan::seccomp`.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `linux.seccomp`: which system calls the container's processes may make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document", rename_all = "camelCase")]
pub struct LinuxSeccomp {
    /// `defaultAction`: what happens to a call that no rule matches.
    pub default_action: Action,
    /// `defaultErrnoRet`: the errno or message of the default action; absent means EPERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// `architectures`: system call ABIs that the profile speaks of besides the native one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<Architecture>,
    /// `flags`: absent and empty differ (absent asks for the runtime's default flags).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<Vec<Flag>>,
    /// `listenerPath`: the socket that receives the listener of `SCMP_ACT_NOTIFY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<String>,
    /// `listenerMetadata`: opaque text sent with the listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
    /// `syscalls`: the rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub syscalls: Vec<Syscall>,
}

/// `syscalls[]`: one action for several system calls, perhaps only with some arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Syscall {
    /// `names`: the kernel's names of the calls; borrowed where the profile is built in.
    pub names: Vec<Cow<'static, str>>,
    /// `action`: what happens to a matching call.
    pub action: Action,
    /// `errnoRet`: the errno or message of the action; absent means EPERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// `args`: all must hold, except that rules with a repeated index are alternatives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,
}

/// `syscalls[].args[]`: one comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Argument {
    /// `index`: which argument, 0 to 5.
    pub index: u32,
    /// `value`: what to compare with; the mask of `SCMP_CMP_MASKED_EQ`.
    pub value: u64,
    /// `valueTwo`: what to compare the masked argument with, for `SCMP_CMP_MASKED_EQ` alone.
    #[serde(skip_serializing_if = "is_zero")]
    pub value_two: u64,
    /// `op`: the comparison.
    pub op: Operator,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Declares an enum whose values are exactly the given strings, in JSON as in messages.
macro_rules! named {
    ($(#[$outer:meta])* $Name:ident { $($(#[$inner:meta])* $Variant:ident = $text:literal,)* }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $Name {
            $($(#[$inner])* $Variant,)*
        }

        impl $Name {
            /// Every value, in the order of the specification.
            pub const ALL: &[$Name] = &[$($Name::$Variant,)*];

            /// The name in `config.json`.
            pub const fn as_str(self) -> &'static str {
                match self { $($Name::$Variant => $text,)* }
            }

            /// The value of that name, exact in case.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some($Name::$Variant),)* _ => None }
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl Serialize for $Name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

named! {
    /// `SCMP_ACT_*`: what the kernel does with a call.
    Action {
        /// Kills the thread (the old name of `KillThread`).
        Kill = "SCMP_ACT_KILL",
        /// Kills the whole process with SIGSYS.
        KillProcess = "SCMP_ACT_KILL_PROCESS",
        /// Kills the calling thread only.
        KillThread = "SCMP_ACT_KILL_THREAD",
        /// Sends SIGSYS, which the process may catch.
        Trap = "SCMP_ACT_TRAP",
        /// Fails the call with an errno.
        Errno = "SCMP_ACT_ERRNO",
        /// Asks a tracer; ENOSYS without one.
        Trace = "SCMP_ACT_TRACE",
        /// Lets the call happen.
        Allow = "SCMP_ACT_ALLOW",
        /// Lets the call happen and logs it.
        Log = "SCMP_ACT_LOG",
        /// Asks the listener.
        Notify = "SCMP_ACT_NOTIFY",
    }
}

named! {
    /// `SCMP_CMP_*`: comparison of an argument, unsigned, 64 bits.
    Operator {
        /// Not equal.
        NotEqual = "SCMP_CMP_NE",
        /// Less.
        Less = "SCMP_CMP_LT",
        /// Less or equal.
        LessOrEqual = "SCMP_CMP_LE",
        /// Equal.
        Equal = "SCMP_CMP_EQ",
        /// Greater or equal.
        GreaterOrEqual = "SCMP_CMP_GE",
        /// Greater.
        Greater = "SCMP_CMP_GT",
        /// Equal after both sides are masked with `value`.
        MaskedEqual = "SCMP_CMP_MASKED_EQ",
    }
}

named! {
    /// `SCMP_ARCH_*`: a system call ABI.
    Architecture {
        /// 32-bit x86.
        X86 = "SCMP_ARCH_X86",
        /// 64-bit x86.
        X86_64 = "SCMP_ARCH_X86_64",
        /// 64-bit x86 with 32-bit pointers.
        X32 = "SCMP_ARCH_X32",
        /// 32-bit Arm, EABI.
        Arm = "SCMP_ARCH_ARM",
        /// 64-bit Arm.
        Aarch64 = "SCMP_ARCH_AARCH64",
        /// MIPS, o32.
        Mips = "SCMP_ARCH_MIPS",
        /// MIPS, n64.
        Mips64 = "SCMP_ARCH_MIPS64",
        /// MIPS, n32.
        Mips64N32 = "SCMP_ARCH_MIPS64N32",
        /// MIPS little endian, o32.
        Mipsel = "SCMP_ARCH_MIPSEL",
        /// MIPS little endian, n64.
        Mipsel64 = "SCMP_ARCH_MIPSEL64",
        /// MIPS little endian, n32.
        Mipsel64N32 = "SCMP_ARCH_MIPSEL64N32",
        /// 32-bit PowerPC.
        Ppc = "SCMP_ARCH_PPC",
        /// 64-bit PowerPC.
        Ppc64 = "SCMP_ARCH_PPC64",
        /// 64-bit PowerPC, little endian.
        Ppc64Le = "SCMP_ARCH_PPC64LE",
        /// 31-bit S/390.
        S390 = "SCMP_ARCH_S390",
        /// 64-bit S/390.
        S390X = "SCMP_ARCH_S390X",
        /// 32-bit PA-RISC.
        Parisc = "SCMP_ARCH_PARISC",
        /// 64-bit PA-RISC.
        Parisc64 = "SCMP_ARCH_PARISC64",
        /// 64-bit RISC-V.
        Riscv64 = "SCMP_ARCH_RISCV64",
        /// 64-bit LoongArch.
        Loongarch64 = "SCMP_ARCH_LOONGARCH64",
        /// 68000.
        M68k = "SCMP_ARCH_M68K",
        /// SuperH, little endian.
        Sh = "SCMP_ARCH_SH",
        /// SuperH, big endian.
        Sheb = "SCMP_ARCH_SHEB",
    }
}

named! {
    /// `SECCOMP_FILTER_FLAG_*` that a profile may ask for.
    Flag {
        /// Put the filter on every thread; a container's first process has one, so this changes nothing.
        Tsync = "SECCOMP_FILTER_FLAG_TSYNC",
        /// Log every action except `SCMP_ACT_ALLOW`.
        Log = "SECCOMP_FILTER_FLAG_LOG",
        /// Leave speculative store bypass as it is.
        SpecAllow = "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        /// Once the listener has a call in hand, only a fatal signal interrupts it (kernel 6.0).
        WaitKillableRecv = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    }
}

/// For `#[serde(default, deserialize_with = "seccomp::optional")]`: `{}` and `null` ask for no filter.
///
/// Callers write `{}` where they have no profile, and runc takes it so.
///
/// # Errors
///
/// Whatever the format reports, or a value that the specification does not know.
pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LinuxSeccomp>, D::Error> {
    let Some(document) = Option::<Document>::deserialize(deserializer)? else { return Ok(None) };
    if document.default_action.is_empty() && document.syscalls.iter().flatten().next().is_none() {
        return Ok(None);
    }
    LinuxSeccomp::try_from(document).map(Some).map_err(serde::de::Error::custom)
}

crate::read_as_object! { Document SyscallDocument ArgumentDocument }

/// The object as written. Names become values in one place below, where the whole field path is known: serde
/// alone would say which value is wrong, but not in which of two hundred rules.
#[derive(Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    default_action: String,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<String>>,
    flags: Option<Vec<String>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<SyscallDocument>>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
struct SyscallDocument {
    names: Option<Vec<Cow<'static, str>>>,
    #[serde(default)]
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<ArgumentDocument>>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
struct ArgumentDocument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    #[serde(default)]
    op: String,
}

impl TryFrom<Document> for LinuxSeccomp {
    type Error = UnknownName;

    fn try_from(document: Document) -> Result<Self, UnknownName> {
        let mut syscalls = Vec::new();
        for (i, rule) in document.syscalls.unwrap_or_default().into_iter().enumerate() {
            let mut args = Vec::new();
            for (j, argument) in rule.args.unwrap_or_default().into_iter().enumerate() {
                let op = Operator::from_name(&argument.op)
                    .ok_or_else(|| unknown(format!("syscalls[{i}].args[{j}].op"), &argument.op))?;
                args.push(Argument {
                    index: argument.index,
                    value: argument.value,
                    value_two: argument.value_two,
                    op,
                });
            }
            let action = Action::from_name(&rule.action)
                .ok_or_else(|| unknown(format!("syscalls[{i}].action"), &rule.action))?;
            let names = rule.names.unwrap_or_default();
            syscalls.push(Syscall { names, action, errno_ret: rule.errno_ret, args });
        }
        // An unknown ABI or flag is refused as runc does: passing over it would leave a weaker filter than the
        // caller wrote.
        let mut architectures = Vec::new();
        for (i, name) in document.architectures.unwrap_or_default().iter().enumerate() {
            let known = Architecture::from_name(name);
            architectures.push(known.ok_or_else(|| unknown(format!("architectures[{i}]"), name))?);
        }
        let mut flags = document.flags.as_ref().map(|_| Vec::new());
        for (i, name) in document.flags.iter().flatten().enumerate() {
            let flag = Flag::from_name(name).ok_or_else(|| unknown(format!("flags[{i}]"), name))?;
            flags.get_or_insert_default().push(flag);
        }
        Ok(LinuxSeccomp {
            default_action: Action::from_name(&document.default_action)
                .ok_or_else(|| unknown("defaultAction".to_owned(), &document.default_action))?,
            default_errno_ret: document.default_errno_ret,
            architectures,
            flags,
            listener_path: document.listener_path.filter(|path| !path.is_empty()),
            listener_metadata: document.listener_metadata.filter(|metadata| !metadata.is_empty()),
            syscalls,
        })
    }
}

/// A name that the specification does not have, with the field that holds it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: unknown value `{value}`")]
pub struct UnknownName {
    /// Path of the field below `linux.seccomp`, as `syscalls[3].action`.
    pub field: String,
    /// The value as written.
    pub value: String,
}

fn unknown(field: String, value: &str) -> UnknownName {
    UnknownName { field, value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<LinuxSeccomp, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn every_field_survives_a_round_trip() {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,
            "architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X32"],"flags":["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath":"/run/agent.sock","listenerMetadata":"m","syscalls":[{"names":["clone"],
            "action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":1,
            "op":"SCMP_CMP_MASKED_EQ"}]},{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#;
        let profile = parse(text).unwrap();
        assert_eq!(profile.syscalls[0].args[0].value_two, 1);
        let expected: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&profile).unwrap(), expected);
    }

    #[test]
    fn absent_and_empty_flags_stay_apart() {
        assert_eq!(parse(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#).unwrap().flags, None);
        assert_eq!(parse(r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":[]}"#).unwrap().flags, Some(vec![]));
    }

    #[test]
    fn null_lists_are_empty_lists() {
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":null,"flags":null,
            "syscalls":[{"names":["read"],"action":"SCMP_ACT_LOG","args":null}]}"#;
        let profile = parse(text).unwrap();
        assert_eq!((profile.flags, profile.syscalls[0].args.len()), (None, 0));
    }

    #[test]
    fn unknown_names_are_refused_with_their_field() {
        let rule = |rest: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rest}]}}"#);
        for (text, field) in [
            (r#"{"defaultAction":"SCMP_ACT_allow"}"#.to_owned(), "defaultAction"),
            (r#"{"defaultAction":""}"#.to_owned(), "defaultAction"),
            (rule(r#"{"names":["a"],"action":"SCMP_ACT_X"}"#), "syscalls[0].action"),
            (
                rule(r#"{"names":["a"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":1,"op":"X"}]}"#),
                "syscalls[0].args[0].op",
            ),
            (r#"{"defaultAction":"SCMP_ACT_LOG","architectures":["X"]}"#.to_owned(), "architectures[0]"),
            (r#"{"defaultAction":"SCMP_ACT_LOG","flags":["X"]}"#.to_owned(), "flags[0]"),
        ] {
            let message = parse(&text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{field}: unknown value `")), "{message}");
        }
    }

    #[test]
    fn an_empty_object_asks_for_no_filter() {
        #[derive(Deserialize)]
        struct Linux {
            #[serde(default, deserialize_with = "optional")]
            seccomp: Option<LinuxSeccomp>,
        }
        for text in ["{}", r#"{"seccomp":null}"#, r#"{"seccomp":{}}"#, r#"{"seccomp":{"defaultAction":""}}"#]
        {
            assert_eq!(serde_json::from_str::<Linux>(text).unwrap().seccomp, None, "{text}");
        }
        let rules_without_default = r#"{"seccomp":{"syscalls":[{"names":["a"],"action":"SCMP_ACT_LOG"}]}}"#;
        assert!(serde_json::from_str::<Linux>(rules_without_default).is_err());
    }

    #[test]
    fn names_are_exact_both_ways() {
        for action in Action::ALL {
            assert_eq!(Action::from_name(action.as_str()), Some(*action));
        }
        for architecture in Architecture::ALL {
            assert_eq!(Architecture::from_name(architecture.as_str()), Some(*architecture));
        }
    }
}
