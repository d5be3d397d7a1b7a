//! Owns the form in which a service travels through exec: words of `name=value`, and behind `--` those of the program at the
//! end. Must not open anything: descriptors are numbers that the process has inherited.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::{Errno, FdFlags};

use super::{Check, Parentage, Service};
use crate::error::{Error, Operation};
use crate::log::{LogFiles, LogOptions};
use crate::streams::{InputEnd, Io};

/// What stands before the words of the program at the end.
const SEPARATOR: &str = "--";

pub(super) fn write(service: &Service) -> Vec<OsString> {
    let mut words = Words(Vec::new());
    words.text("pid", service.pid);
    words.descriptor("pidfd", &service.pidfd);
    if service.parentage == Parentage::Adopted {
        words.text("parentage", "adopted");
    }
    match &service.io {
        Io::Pipes { stdin, stdout, stderr } => {
            stdin.iter().for_each(|stdin| words.descriptor("stdin", stdin));
            words.descriptor("stdout", stdout);
            words.descriptor("stderr", stderr);
        }
        Io::Terminal { outer } => words.descriptor("terminal", outer),
    }
    if service.input_end == InputEnd::KeptOpen {
        words.text("input-end", "kept-open");
    }
    words.descriptor("listener", &service.listener);
    service.first_client.iter().for_each(|client| words.descriptor("first-client", client));
    service.keep.iter().for_each(|kept| words.descriptor("keep", kept));
    words.log(&service.log);
    words.add("exit", service.exit.as_os_str());
    if let Some(limit) = service.time_limit {
        words.text("time-limit", limit.as_nanos());
    }
    if let Some(check) = &service.check {
        words.text("check-first", check.first.as_nanos());
        words.text("check-again", check.again.as_nanos());
        check.words.iter().for_each(|word| words.add("check-word", word));
    }
    words.0.push(SEPARATOR.into());
    words.0.extend(service.then.iter().cloned());
    words.0
}

struct Words(Vec<OsString>);

impl Words {
    fn add(&mut self, name: &str, value: &OsStr) {
        let mut word = OsString::from(format!("{name}="));
        word.push(value);
        self.0.push(word);
    }

    fn text(&mut self, name: &str, value: impl Display) {
        self.0.push(format!("{name}={value}").into());
    }

    fn descriptor(&mut self, name: &str, descriptor: &OwnedFd) {
        self.text(name, descriptor.as_raw_fd());
    }

    fn log(&mut self, log: &LogOptions) {
        match log {
            LogOptions::None => {}
            LogOptions::JsonFile { files, attributes } => {
                self.text("log", "json-file");
                self.files(files);
                self.pairs(attributes);
            }
            LogOptions::K8sFile { files } => {
                self.text("log", "k8s-file");
                self.files(files);
            }
            LogOptions::Journald { socket, fields } => {
                self.text("log", "journald");
                self.add("log-path", socket.as_os_str());
                self.pairs(fields);
            }
        }
    }

    fn files(&mut self, files: &LogFiles) {
        self.add("log-path", files.path.as_os_str());
        files.max_size.iter().for_each(|size| self.text("log-size", size));
        self.text("log-files", files.max_files);
    }

    fn pairs(&mut self, pairs: &[(String, String)]) {
        // A name has no `=`: neither a label's in `attrs` that comes from `--log-opt`, nor one of the journal.
        pairs.iter().for_each(|(name, value)| self.text("log-pair", format_args!("{name}={value}")));
    }
}

/// What was read so far: all that a service has, in the order of the words.
#[derive(Default)]
struct Read {
    pid: Option<i32>,
    pidfd: Option<OwnedFd>,
    parentage: Parentage,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    input_end: InputEnd,
    listener: Option<OwnedFd>,
    first_client: Option<OwnedFd>,
    keep: Vec<OwnedFd>,
    log: Vec<u8>,
    log_path: Option<PathBuf>,
    log_size: Option<u64>,
    log_files: Option<u32>,
    log_pairs: Vec<(String, String)>,
    exit: Option<PathBuf>,
    time_limit: Option<Duration>,
    check_first: Option<Duration>,
    check_again: Option<Duration>,
    check_words: Vec<OsString>,
}

pub(super) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Service, Error> {
    let mut words = words.into_iter();
    let mut read = Read::default();
    for word in words.by_ref().take_while(|word| word != SEPARATOR) {
        read.take(&word).map_err(|errno| wrong(&word, errno))?;
    }
    let mut service = read.finish().map_err(|name| wrong(OsStr::new(name), Errno::INVAL))?;
    service.then = words.collect();
    Ok(service)
}

fn wrong(word: &OsStr, errno: Errno) -> Error {
    Error::new(Operation::ReadArguments, format!("`{}`", word.to_string_lossy()), errno)
}

impl Read {
    fn take(&mut self, word: &OsStr) -> Result<(), Errno> {
        let (name, value) = split(word.as_bytes()).ok_or(Errno::INVAL)?;
        let path = || PathBuf::from(OsString::from_vec(value.to_vec()));
        match name {
            b"pid" => self.pid = Some(number(value)?),
            b"pidfd" => self.pidfd = Some(descriptor(value)?),
            b"parentage" if value == b"adopted" => self.parentage = Parentage::Adopted,
            b"stdin" => self.stdin = Some(descriptor(value)?),
            b"stdout" => self.stdout = Some(descriptor(value)?),
            b"stderr" => self.stderr = Some(descriptor(value)?),
            b"terminal" => self.terminal = Some(descriptor(value)?),
            b"input-end" if value == b"kept-open" => self.input_end = InputEnd::KeptOpen,
            b"listener" => self.listener = Some(descriptor(value)?),
            b"first-client" => self.first_client = Some(descriptor(value)?),
            b"keep" => self.keep.push(descriptor(value)?),
            b"log" => self.log = value.to_vec(),
            b"log-path" => self.log_path = Some(path()),
            b"log-size" => self.log_size = Some(number(value)?),
            b"log-files" => self.log_files = Some(number(value)?),
            b"log-pair" => {
                let (name, value) = split(value).ok_or(Errno::INVAL)?;
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                self.log_pairs.push((text(name), text(value)));
            }
            b"exit" => self.exit = Some(path()),
            b"check-first" => self.check_first = Some(Duration::from_nanos(number(value)?)),
            b"check-again" => self.check_again = Some(Duration::from_nanos(number(value)?)),
            b"check-word" => self.check_words.push(path().into_os_string()),
            b"time-limit" => self.time_limit = Some(Duration::from_nanos(number(value)?)),
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }

    /// The service, or the name of what is missing.
    fn finish(self) -> Result<Service, &'static str> {
        let log = self.log_options()?;
        let io = match (self.terminal, self.stdout, self.stderr) {
            (Some(outer), _, _) => Io::Terminal { outer },
            (None, Some(stdout), Some(stderr)) => Io::Pipes { stdin: self.stdin, stdout, stderr },
            _ => return Err("stdout"),
        };
        let check = match (self.check_first, self.check_again) {
            (Some(first), Some(again)) => Some(Check { words: self.check_words, first, again }),
            (None, None) => None,
            _ => return Err("check-first"),
        };
        Ok(Service {
            pid: self.pid.ok_or("pid")?,
            pidfd: self.pidfd.ok_or("pidfd")?,
            parentage: self.parentage,
            io,
            input_end: self.input_end,
            listener: self.listener.ok_or("listener")?,
            first_client: self.first_client,
            log,
            exit: self.exit.ok_or("exit")?,
            keep: self.keep,
            then: Vec::new(),
            time_limit: self.time_limit,
            check,
        })
    }

    fn log_options(&self) -> Result<LogOptions, &'static str> {
        let path = || self.log_path.clone().ok_or("log-path");
        let files = || {
            let max_files = self.log_files.ok_or("log-files")?;
            Ok(LogFiles { path: path()?, max_size: self.log_size, max_files })
        };
        Ok(match &*self.log {
            b"" => LogOptions::None,
            b"json-file" => LogOptions::JsonFile { files: files()?, attributes: self.log_pairs.clone() },
            b"k8s-file" => LogOptions::K8sFile { files: files()? },
            b"journald" => LogOptions::Journald { socket: path()?, fields: self.log_pairs.clone() },
            _ => return Err("log"),
        })
    }
}

fn split(word: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = word.iter().position(|byte| *byte == b'=')?;
    Some((&word[..at], &word[at + 1..]))
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Result<T, Errno> {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(Errno::INVAL)
}

/// One that was inherited, and that the next exec does not keep unless told.
fn descriptor(value: &[u8]) -> Result<OwnedFd, Errno> {
    let descriptor = sys::fd::adopt(number(value)?).map_err(|error| crate::error::errno_of(&error))?;
    rustix::io::fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
    Ok(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn descriptor() -> OwnedFd {
        std::io::stdin().as_fd().try_clone_to_owned().unwrap()
    }

    /// Writes and reads it; the numbers are owned by what was read.
    fn travel(service: Service) -> (Vec<OsString>, Service) {
        let words = write(&service);
        std::mem::forget(service);
        let read = read(words.clone()).unwrap();
        (words, read)
    }

    #[test]
    fn service_travels_through_words_whole() {
        let files = LogFiles {
            path: OsString::from_vec(b"/a =\xff".to_vec()).into(),
            max_size: Some(7),
            max_files: 3,
        };
        let pairs = vec![("a".to_owned(), "b=c\n".to_owned())];
        let logs = [
            LogOptions::None,
            LogOptions::JsonFile { files: files.clone(), attributes: pairs.clone() },
            LogOptions::K8sFile { files: LogFiles { max_size: None, ..files } },
            LogOptions::Journald { socket: "/x".into(), fields: pairs },
        ];
        for (log, parentage) in logs.into_iter().zip([Parentage::Own, Parentage::Adopted].into_iter().cycle())
        {
            let own = parentage == Parentage::Own;
            let io = match own {
                true => Io::Terminal { outer: descriptor() },
                false => Io::Pipes { stdin: Some(descriptor()), stdout: descriptor(), stderr: descriptor() },
            };
            let (words, read) = travel(Service {
                pid: 7,
                pidfd: descriptor(),
                parentage,
                io,
                input_end: if own { InputEnd::Closes } else { InputEnd::KeptOpen },
                listener: descriptor(),
                first_client: own.then(descriptor),
                log: log.clone(),
                exit: "/exit".into(),
                keep: vec![descriptor(), descriptor()],
                then: ["rabbitc", "internal-end", "pid=3"].map(OsString::from).to_vec(),
                time_limit: own.then_some(Duration::from_nanos(1_500)),
                check: own.then(|| Check {
                    words: ["rabbitc", "internal-check", "a=b"].map(OsString::from).to_vec(),
                    first: Duration::ZERO,
                    again: Duration::from_secs(30),
                }),
            });
            assert_eq!((read.parentage, &read.log, read.keep.len()), (parentage, &log, 2));
            assert_eq!(write(&read), words);
            assert_eq!(read.descriptors().len(), if own { 6 } else { 7 });
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let error = |words: &[&str]| read(words.iter().map(OsString::from)).unwrap_err().to_string();
        assert_eq!(error(&["pid=x"]), "read the argument `pid=x`: invalid argument");
        assert_eq!(error(&["what=1"]), "read the argument `what=1`: invalid argument");
        assert_eq!(error(&["stdout=9999"]), "read the argument `stdout=9999`: bad file descriptor");
        assert_eq!(error(&["pid=1", "--", "x"]), "read the argument `stdout`: invalid argument");
    }
}
