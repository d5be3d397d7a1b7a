//! Why a program could not be found or executed: what its file, its interpreters and the way to them say.

use std::ffi::CStr;
use std::io::Read;

use crate::culprit::{Place, Refusal, Verdict};
use crate::error::libc_errno::{E2BIG, EACCES, EISDIR, ENOENT, ENOEXEC, ENOTDIR};
use crate::error::{Error, ErrorKind};
use crate::init::failure::{Call, Failure};
use crate::init::step::{Action, Execution, InitAction, Step};
use crate::mounted::End;

/// The kind of a failed search for or exec of the program.
pub(crate) fn kind_of_exec(failure: Failure) -> ErrorKind {
    match (failure.call, failure.errno) {
        (Call::Access | Call::Execve, ENOENT | ENOTDIR) => ErrorKind::ProgramNotFound,
        (Call::Access | Call::Execve, _) => ErrorKind::ProgramNotExecutable,
        _ => ErrorKind::System,
    }
}

/// The program that the kernel refused to execute, if that is what failed.
pub(crate) fn refused_program(step: &Step, failure: Failure) -> Option<String> {
    match &step.action {
        Action::Init(InitAction::Execute(execution)) if failure.call == Call::Execve => {
            let candidate = execution.candidates.get(failure.item as usize)?;
            // A name of the config: it must not steer the terminal of whoever reads it.
            Some(candidate.to_string_lossy().escape_debug().to_string())
        }
        _ => None,
    }
}

/// podman, Docker and CRI-O take a message with these words for a missing program, and end with 127.
const NOT_FOUND: &str = "no such file or directory";

/// So they take one with these.
const NOT_IN_PATH: &str = "executable file not found in $PATH";

const CHECK: &str = "check the name, and that the root file system has the program";

/// Why a program could not be found or executed: looks at the file where the container has it.
pub(super) fn explain_program(path: &CStr, candidates: usize, failure: Failure, files: &Files<'_>) -> Error {
    let shown = path.to_string_lossy();
    let lack = files.lack_of_path().filter(|_| failure.call == Call::Access);
    let name = if candidates > 1 || lack.is_some() {
        shown.rsplit('/').next().unwrap_or_default().to_owned()
    } else {
        shown.to_string()
    };
    let operation = format!("execute `{name}`");
    let kind = kind_of_exec(failure);
    let with = |reason: String, hint: &str| {
        let mut error = Error::new(kind, operation.clone(), reason).with_hint(hint);
        error.errno = Some(failure.errno);
        error
    };
    let path = files.absolute(&shown);
    match failure.errno {
        ENOENT | ENOTDIR if failure.call == Call::Access => {
            let (reason, hint) = match lack {
                Some(lack) => (format!("{NOT_IN_PATH}, which is {}", lack.reason), lack.hint.to_owned()),
                None if candidates > 1 => (NOT_IN_PATH.to_owned(), CHECK.to_owned()),
                None => {
                    let hint = match files.lies_on(&path) {
                        Some(mount) => {
                            format!("check the name, and that the program is there: it leads to {mount}")
                        }
                        None => CHECK.to_owned(),
                    };
                    (NOT_FOUND.to_owned(), hint)
                }
            };
            with(reason, &files.unsplit().unwrap_or(hint))
        }
        EISDIR => with("is a directory".to_owned(), "name a program inside of it"),
        EACCES => match files.refusal(&path) {
            Some(refusal) => with(format!("permission denied: {}", refusal.reason), &refusal.hint),
            None => with(
                "permission denied".to_owned(),
                "its modes permit it: an access control list, a security module or the owner's place in a user namespace does not",
            ),
        },
        ENOENT => match files.missing_interpreter(&path) {
            Some((interpreter, _)) if interpreter.ends_with('\r') => with(
                format!("{NOT_FOUND}: its interpreter `{}` does not exist", interpreter.escape_debug()),
                "the script's lines end in carriage returns, as on Windows; convert it, for instance with `sed -i 's/\\r$//'`",
            ),
            Some((interpreter, place)) => {
                // A file of the image: what it says must not steer the terminal of whoever reads this.
                let interpreter = interpreter.escape_debug();
                let reason = match place {
                    Some(mount) => {
                        format!("its interpreter `{interpreter}` does not exist: it leads to {mount}")
                    }
                    None => format!("its interpreter `{interpreter}` does not exist in the root file system"),
                };
                with(
                    format!("{NOT_FOUND}: {reason}"),
                    "install the interpreter there, or link the program statically",
                )
            }
            None => {
                let hint = match files.lies_on(&path) {
                    Some(mount) => {
                        format!("check that the program and its interpreter are there: it leads to {mount}")
                    }
                    None => "check that the root file system has the program".to_owned(),
                };
                with(NOT_FOUND.to_owned(), &hint)
            }
        },
        ENOEXEC => match files.foreign_machine(&path) {
            Some(machine) => with(
                format!(
                    "exec format error: it is built for {machine}, and this machine is {}",
                    std::env::consts::ARCH
                ),
                match files.lies_on(&path) {
                    Some(_) => "use a program for this architecture",
                    None => "use a root file system for this architecture",
                },
            ),
            None => with(
                "exec format error".to_owned(),
                "it is neither a program nor a script that begins with `#!`",
            ),
        },
        E2BIG => with(
            sys::errno_text(E2BIG),
            "a word or a variable may have 128 KiB, and all of them together a quarter of the stack's limit: hand over what \
             is long in a file, or by a pipe",
        ),
        errno => {
            let mut error = Error::new(kind, operation, sys::errno_text(errno));
            error.errno = Some(errno);
            error
        }
    }
}

/// As many interpreters of interpreters as the kernel takes (execve(2)).
const MOST_INTERPRETERS: usize = 5;

/// What a search lacks that goes by PATH.
struct Lack {
    reason: &'static str,
    hint: &'static str,
}

/// What the container's programs are, for words.
pub(super) struct Files<'a> {
    pub(super) steps: &'a [Step],
    pub(super) place: Place<'a>,
}

impl Files<'_> {
    /// A path as the program's working directory has it.
    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        let directory = self.steps.iter().find_map(|step| match &step.action {
            Action::Init(InitAction::WorkingDirectory { path, .. }) => Some(path.to_string_lossy()),
            _ => None,
        });
        format!("{}/{path}", directory.unwrap_or_default())
    }

    /// The program as it was asked for, by its words and its environment.
    fn execution(&self) -> Option<&Execution> {
        self.steps.iter().find_map(|step| match &step.action {
            Action::Init(InitAction::Execute(execution)) => Some(execution),
            _ => None,
        })
    }

    /// Why PATH says nothing of where the program is; none where it does, or is not asked.
    fn lack_of_path(&self) -> Option<Lack> {
        let Execution { arguments, environment, .. } = self.execution()?;
        if arguments.strings().first()?.to_bytes().contains(&b'/') {
            return None;
        }
        let path = environment.strings().iter().find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
        match path {
            Some(b"") => Some(Lack {
                reason: "empty",
                hint: "an empty PATH is the working directory alone: set it, or name the program by its path",
            }),
            Some(_) => None,
            None => Some(Lack {
                reason: "not set",
                hint: "the usual directories were searched: check the name, set PATH, or name the program by its path",
            }),
        }
    }

    /// What to write in the place of a name that is a whole command line.
    fn unsplit(&self) -> Option<String> {
        let line = self.execution()?.arguments.strings().first()?.to_string_lossy();
        let words: Vec<&str> = line.split_whitespace().collect();
        let [first, _, ..] = words[..] else { return None };
        let asked_by = self.steps.iter().find_map(|step| match &step.action {
            Action::Init(InitAction::FindProgram { .. }) => step.asked_by.as_deref(),
            _ => None,
        });
        let first = first.escape_debug();
        Some(match asked_by {
            Some(flag @ "--entrypoint") => format!(
                "no shell splits it: write `{flag}={first}` and the arguments behind the flags after `--`, or \
                 `{flag}='{words:?}'`"
            ),
            _ => format!("no shell splits it: write `{first}` and its arguments as words of their own"),
        })
    }

    /// The mount that a path leads to; nothing where that is the root.
    fn lies_on(&self, path: &str) -> Option<String> {
        match self.place.tree.walk::<()>(path.as_bytes(), |_, _| None) {
            End::Found(way, _) | End::Missing(way) | End::Unseen(way) => self.place.tree.lies_on(&way),
            End::Stopped(()) => None,
        }
    }

    /// Why a program is refused, or one of the interpreters that run it, or that this can't be seen; nothing where all
    /// modes permit it.
    fn refusal(&self, path: &str) -> Option<Refusal> {
        let refusal = |path: &str| match self.place.verdict(path) {
            Verdict::Permitted => None,
            Verdict::Refused(refusal) | Verdict::Unseen(refusal) => Some(refusal),
        };
        if let Some(refusal) = refusal(path) {
            return Some(refusal);
        }
        let refuses =
            |interpreter: &String| Some((interpreter.clone(), refusal(&self.absolute(interpreter))?));
        let (interpreter, refusal) = self.interpreters(path).iter().find_map(refuses)?;
        let named = format!("`{}`", interpreter.escape_debug());
        // Without links the place is the name again.
        let reason = refusal.reason.strip_prefix(&format!("{named}: ")).unwrap_or(&refusal.reason);
        let reason = format!("its interpreter {named}: {reason}");
        Some(Refusal { reason, ..refusal })
    }

    /// The first interpreter that is missing, and the mount that its path leads to, if that is not the root.
    fn missing_interpreter(&self, path: &str) -> Option<(String, Option<String>)> {
        self.interpreters(path).into_iter().find_map(|interpreter| {
            let path = self.absolute(&interpreter);
            match self.place.tree.walk::<()>(path.as_bytes(), |_, _| None) {
                End::Missing(way) => Some((interpreter, self.place.tree.lies_on(&way))),
                _ => None,
            }
        })
    }

    /// The interpreter that a script or a dynamic program names, that one's, and so on.
    fn interpreters(&self, path: &str) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        while found.len() < MOST_INTERPRETERS {
            let last = found.last().map_or_else(|| path.to_owned(), |last| self.absolute(last));
            let Some(next) = self.beginning(&last).and_then(|bytes| interpreter(&bytes)) else { break };
            found.push(next);
        }
        found
    }

    /// The machine an ELF file is for, where it is not this one.
    fn foreign_machine(&self, path: &str) -> Option<String> {
        foreign_machine(&self.beginning(path)?)
    }

    fn beginning(&self, path: &str) -> Option<Vec<u8>> {
        let End::Found(_, seen) = self.place.tree.walk::<()>(path.as_bytes(), |_, _| None) else {
            return None;
        };
        let mut bytes = Vec::new();
        seen.read()?.take(4096).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// The interpreter that a script or a dynamic program names.
fn interpreter(bytes: &[u8]) -> Option<String> {
    if let Some(line) = bytes.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let text = String::from_utf8_lossy(line);
        // Blanks end it, and nothing else does: a carriage return is part of the name.
        return Some(text.split([' ', '\t']).find(|word| !word.is_empty())?.to_owned());
    }
    elf_interpreter(bytes)
}

/// `PT_INTERP` of a 64-bit little-endian ELF file (elf(5)).
pub(crate) fn elf_interpreter(bytes: &[u8]) -> Option<String> {
    // A file can claim any offset.
    let number = |base: usize, at: usize, size: usize| -> Option<usize> {
        let begin = base.checked_add(at)?;
        let mut value = [0u8; 8];
        value[..size].copy_from_slice(bytes.get(begin..begin.checked_add(size)?)?);
        usize::try_from(u64::from_le_bytes(value)).ok()
    };
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, size, count) = (number(0, 32, 8)?, number(0, 54, 2)?, number(0, 56, 2)?);
    for index in 0..count {
        let header = table.checked_add(index.checked_mul(size)?)?;
        if number(header, 0, 4)? == 3 {
            let (offset, length) = (number(header, 8, 8)?, number(header, 32, 8)?);
            let text = bytes.get(offset..offset.checked_add(length)?)?;
            return Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
        }
    }
    None
}

/// The machine an ELF file is for, where it is not this one.
fn foreign_machine(bytes: &[u8]) -> Option<String> {
    if !bytes.starts_with(b"\x7fELF") {
        return None;
    }
    let machine = u16::from_le_bytes([*bytes.get(18)?, *bytes.get(19)?]);
    let name = match machine {
        3 => "x86",
        8 => "mips",
        20 | 21 => "powerpc",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        258 => "loongarch64",
        other => return Some(format!("ELF machine {other}")),
    };
    (name != std::env::consts::ARCH).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_names_its_interpreter() {
        assert_eq!(interpreter(b"#!/opt/missing -x\n").as_deref(), Some("/opt/missing"));
    }

    #[test]
    fn cut_or_hostile_elf_file_is_no_panic() {
        for fill in [0x00, 0x03, 0x38, 0xff] {
            for length in 0..256 {
                let mut bytes = b"\x7fELF\x02\x01".to_vec();
                bytes.resize(length.max(6), fill);
                // Whatever it answers, it answers.
                let _ = elf_interpreter(&bytes);
            }
        }
        assert_eq!(elf_interpreter(b"\x7fELF\x02\x01"), None);
    }
}
