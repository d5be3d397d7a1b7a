//! Owns `linux.seccomp`: turns a profile into the filter that the kernel runs, and holds the default profile.
//! Must not install anything nor look at the running host: a pure function, run before the container exists.

mod assemble;
mod default_profile;
mod rules;
mod table;
#[cfg(test)]
mod tests;
#[cfg(any(test, fuzzing))]
mod verify;

use std::fmt::{self, Write as _};

use sys::seccomp::Instruction;

pub use default_profile::default_profile;
#[cfg(any(test, fuzzing))]
pub use verify::verify;

use self::assemble::Section;
use self::rules::{Checked, Counts, RET_ENOSYS, RET_UNLISTED, Resolved, Return, Verdict};
use self::table::{Abi, Host, Name, X32_BIT};
use crate::spec::seccomp::{Action, Architecture, Flag, LinuxSeccomp};

/// The longest program that the kernel takes (linux/filter.h, `BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// `SECCOMP_FILTER_FLAG_LOG` (linux/seccomp.h).
pub const FLAG_LOG: u32 = 1 << 1;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW` (linux/seccomp.h).
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER` (linux/seccomp.h).
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` (linux/seccomp.h).
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// What init calls between its filter and its program where it waits to be started in between (`poll` or `ppoll`, as the
/// machine has it).
const CALLS_OF_THE_WAIT: [&str; 8] =
    ["accept4", "close", "close_range", "poll", "ppoll", "recvfrom", "sendto", "signalfd4"];

/// What a profile leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// The answer to calls with greater numbers than any that the profile names.
    pub newer_calls: NewerCalls,
    /// The answer to calls of an ABI that the profile does not list, x32 included.
    pub unlisted_architecture: UnlistedArchitecture,
}

/// The answer to calls that a restrictive profile cannot have known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewerCalls {
    /// ENOSYS, as an older kernel would say: libraries then fall back to what the profile knows (runc's way).
    #[default]
    Enosys,
    /// The profile's default action.
    DefaultAction,
}

/// The answer to calls of an ABI that the profile does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnlistedArchitecture {
    /// The process dies of SIGSYS. libseccomp kills the thread only, which can leave the others in a deadlock.
    #[default]
    Kill,
    /// ENOSYS, as a kernel without that ABI.
    Enosys,
}

/// A compiled profile, ready for `sys::seccomp::install`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The filter, at most [`MAX_INSTRUCTIONS`].
    pub instructions: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*` for `seccomp(2)`.
    pub flags: u32,
    /// Whether installing returns a descriptor that must reach `listenerPath`.
    pub listener: bool,
    /// Whether a process under the filter can wait to be started: no call that this takes is refused or asks a listener.
    pub lets_wait: bool,
    /// What of the profile has no effect.
    pub warnings: Vec<Warning>,
    /// What each ABI gets, the native one first.
    pub coverage: Vec<Coverage>,
    /// Names of the profile that no ABI of this host has; ignored, as runc does.
    pub unknown_names: Vec<String>,
    default: Return,
}

/// How many system calls of one ABI the profile decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    /// The ABI.
    pub architecture: Architecture,
    /// Calls allowed (or logged) whatever their arguments.
    pub allowed: usize,
    /// Calls whose arguments decide.
    pub by_argument: usize,
    /// Calls with another action than the default one that is not to allow.
    pub refused: usize,
}

/// Something in a profile that has no effect here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// This host cannot run such code at all, so nothing needs to be filtered.
    #[error("`{0}` does not run on this host, ignored")]
    ForeignArchitecture(Architecture),
    /// The kernel refuses this flag without a listener.
    #[error("`{0}` has no effect without `SCMP_ACT_NOTIFY`, ignored", Flag::WaitKillableRecv)]
    WaitKillableWithoutListener,
    /// Nobody is there to receive it.
    #[error("has no effect without `listenerPath`, ignored")]
    MetadataWithoutListener,
    /// A rule that names no call.
    #[error("empty, the rule has no effect")]
    RuleWithoutNames {
        /// Index in `syscalls`.
        rule: usize,
    },
}

impl Warning {
    /// The path of its field below `linux.seccomp`.
    pub fn field(&self) -> String {
        match self {
            Warning::ForeignArchitecture(_) => "architectures".to_owned(),
            Warning::WaitKillableWithoutListener => "flags".to_owned(),
            Warning::MetadataWithoutListener => "listenerMetadata".to_owned(),
            Warning::RuleWithoutNames { rule } => format!("syscalls[{rule}].names"),
        }
    }
}

/// Why a profile cannot become a filter. Field paths are relative to `linux.seccomp`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The specification demands a failure for an errno that the action cannot carry.
    #[error("{field}: `{action}` takes no errno")]
    ErrnoOfAction {
        /// Path of the field below `linux.seccomp`.
        field: String,
        /// The action of that rule.
        action: Action,
    },
    /// The kernel has 16 bits for it.
    #[error("{field}: `{errno}` is greater than 65535")]
    ErrnoRange {
        /// Path of the field below `linux.seccomp`.
        field: String,
        /// The number as written.
        errno: u32,
    },
    /// System calls have six arguments.
    #[error("syscalls[{rule}].args[{argument}].index: `{index}` is greater than 5")]
    ArgumentIndex {
        /// Index in `syscalls`.
        rule: usize,
        /// Index in `args`.
        argument: usize,
        /// The number as written.
        index: u32,
    },
    /// A name is the empty string.
    #[error("syscalls[{rule}].names: a name is empty")]
    EmptyName {
        /// Index in `syscalls`.
        rule: usize,
    },
    /// The first process would wait for its own listener for ever.
    #[error("defaultAction: `SCMP_ACT_NOTIFY` cannot be the default action")]
    NotifyByDefault,
    /// As above.
    #[error(
        "syscalls[{rule}].action: SCMP_ACT_NOTIFY cannot be used for the write syscall: the start itself needs it"
    )]
    NotifyOfWrite {
        /// Index in `syscalls`.
        rule: usize,
    },
    /// Notified calls would wait for nobody.
    #[error("listenerPath: missing, `SCMP_ACT_NOTIFY` needs it")]
    NoListener,
    /// Two rules with the same conditions and different actions; libseccomp refuses them too.
    #[error("syscalls: rules for `{name}` with the same arguments disagree: {} and {}",
        action_text(*.first), action_text(*.second))]
    Conflict {
        /// The call.
        name: String,
        /// `SECCOMP_RET_*` of one.
        first: u32,
        /// `SECCOMP_RET_*` of the other.
        second: u32,
    },
    /// The kernel takes no longer program.
    #[error("the filter has {0} instructions, the kernel takes {MAX_INSTRUCTIONS}")]
    TooLong(usize),
    /// More names than any kernel has calls, by far.
    #[error("syscalls: {0} names are too many")]
    TooManyNames(usize),
    /// There are no system call tables for this machine.
    #[error("this build has no system call table for `{}`", std::env::consts::ARCH)]
    UnsupportedHost,
}

/// Compiles a profile for the host that this program was built for.
///
/// # Errors
///
/// The profile breaks a rule of the specification, contradicts itself, or becomes too long; never for a name
/// that this host does not know.
pub fn compile(profile: &LinuxSeccomp, options: Options) -> Result<Program, Error> {
    compile_for(table::this_host().ok_or(Error::UnsupportedHost)?, profile, options)
}

fn compile_for(host: Host, profile: &LinuxSeccomp, options: Options) -> Result<Program, Error> {
    let newer = match options.newer_calls {
        NewerCalls::Enosys => Some(RET_ENOSYS),
        NewerCalls::DefaultAction => None,
    };
    let unlisted = match options.unlisted_architecture {
        UnlistedArchitecture::Kill => RET_UNLISTED,
        UnlistedArchitecture::Enosys => RET_ENOSYS,
    };
    let checked = Checked::new(profile, newer)?;
    if checked.notifies && profile.listener_path.is_none() {
        return Err(Error::NoListener);
    }
    let mut warnings = Vec::new();
    let flags = flags(profile, checked.notifies, &mut warnings);
    warn_of_idle_parts(host, profile, &mut warnings);

    // The native ABI is always meant, listed or not.
    let listed = |abi: &Abi| *abi == host[0] || profile.architectures.contains(&abi.architecture());
    let abis: Vec<Abi> = host.iter().copied().filter(listed).collect();
    let mut coverage = Vec::with_capacity(abis.len());
    let mut sections: Vec<Section> = Vec::with_capacity(abis.len());
    for abi in abis {
        if abi == Abi::X32 {
            continue; // Part of the section of x86_64.
        }
        let mut resolved = Resolved::default();
        coverage.push(Coverage::new(abi, checked.resolve(abi, &mut resolved)?));
        if abi == Abi::X86_64 {
            if listed(&Abi::X32) {
                coverage.push(Coverage::new(Abi::X32, checked.resolve(Abi::X32, &mut resolved)?));
            } else {
                resolved.push(X32_BIT, Verdict::Return(unlisted));
            }
            // A tracer skips a call by making its number -1, which is no x32 call.
            resolved.push(u32::MAX, Verdict::Return(checked.newer));
        }
        sections.push(Section { audit: abi.audit(), is_wide: abi.is_wide(), resolved });
    }
    let native = sections.first().zip(host.first());
    let lets_wait = native.is_some_and(|(section, abi)| {
        let mut numbers = CALLS_OF_THE_WAIT.iter().filter_map(|name| abi.number(&Name::new(name)));
        numbers.all(|number| section.resolved.lets_through(number))
    });
    let instructions = assemble::assemble(&sections, checked.default, unlisted);
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(Error::TooLong(instructions.len()));
    }
    Ok(Program {
        instructions,
        flags,
        listener: checked.notifies,
        lets_wait,
        warnings,
        coverage,
        unknown_names: checked.unknown_names(host),
        default: checked.default,
    })
}

fn flags(profile: &LinuxSeccomp, notifies: bool, warnings: &mut Vec<Warning>) -> u32 {
    let mut flags = if notifies { FLAG_NEW_LISTENER } else { 0 };
    // Without a list, runc leaves speculation alone, since stopping it costs every program of the container.
    for flag in profile.flags.as_deref().unwrap_or(&[Flag::SpecAllow]) {
        flags |= match flag {
            // The one thread there is has the filter anyway, and the kernel refuses the flag with a listener.
            Flag::Tsync => 0,
            Flag::Log => FLAG_LOG,
            Flag::SpecAllow => FLAG_SPEC_ALLOW,
            Flag::WaitKillableRecv if notifies => FLAG_WAIT_KILLABLE_RECV,
            Flag::WaitKillableRecv => {
                warnings.push(Warning::WaitKillableWithoutListener);
                0
            }
        };
    }
    flags
}

fn warn_of_idle_parts(host: Host, profile: &LinuxSeccomp, warnings: &mut Vec<Warning>) {
    for architecture in &profile.architectures {
        if host.iter().all(|abi| abi.architecture() != *architecture) {
            warnings.push(Warning::ForeignArchitecture(*architecture));
        }
    }
    if profile.listener_metadata.is_some() && profile.listener_path.is_none() {
        warnings.push(Warning::MetadataWithoutListener);
    }
    for (rule, syscall) in profile.syscalls.iter().enumerate() {
        if syscall.names.is_empty() {
            warnings.push(Warning::RuleWithoutNames { rule });
        }
    }
}

impl Coverage {
    fn new(abi: Abi, counts: Counts) -> Self {
        let Counts { allowed, by_argument, refused } = counts;
        Coverage { architecture: abi.architecture(), allowed, by_argument, refused }
    }
}

/// One line for `--explain`: the length of the filter, and what each ABI gets.
pub fn describe(program: &Program) -> String {
    program.to_string()
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} instructions", self.instructions.len())?;
        for Coverage { architecture, allowed, by_argument, refused } in &self.coverage {
            let name = architecture.as_str().trim_start_matches("SCMP_ARCH_").to_ascii_lowercase();
            write!(formatter, "; {name}: {allowed} allowed, {by_argument} by argument, {refused} refused")?;
        }
        write!(formatter, "; else {}", action_text(self.default))?;
        if self.listener { formatter.write_str("; asks a listener") } else { Ok(()) }
    }
}

/// A filter's return value in words.
fn action_text(value: Return) -> String {
    let (action, data) = (value & 0xffff_0000, value & 0xffff);
    let mut text = match action {
        0 => "kill thread",
        0x8000_0000 => "kill process",
        0x0003_0000 => "trap",
        0x0005_0000 => "errno",
        0x7fc0_0000 => "notify",
        0x7ff0_0000 => "trace",
        0x7ffc_0000 => "log",
        _ => "allow",
    }
    .to_owned();
    if matches!(action, 0x0005_0000 | 0x7ff0_0000) {
        write!(text, " {data}").expect("writing to a string cannot fail");
    }
    text
}
