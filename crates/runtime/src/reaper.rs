//! The init of `--init`: this very program once more, as pid 1 inside, with the container's program as its child. It passes
//! signals on, reaps whatever loses its parent, and ends as the program does.
//!
//! It runs with the program's own user, rights and environment, and what is executed is a file that nobody can write to
//! (see [`crate::host_binary`]), so that `/proc/1/exe` is of no use to anybody inside.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, FdFlags};
use rustix::process::{Signal, WaitOptions, WaitStatus, wait};
use sys::clone::{Child, CloneRequest};
use sys::exec::CStringArray;
use sys::signal::SignalDescriptor;

use crate::init::FAILED;
use crate::init::failure::{Call, Failure};
use crate::sync::{self, Record};

/// The name under which a program that launches containers knows that it is to call [`run`]; the one that people see.
pub const NAME: &str = "rabbitc-init";

/// The same for [`hold`].
pub const HOLDER: &str = "rabbitc-pod";

/// What stands between that name and the words of the program, in a list of processes.
const SEPARATOR: &str = "--";

/// The variable that says the rest, the first one of all. Not among the words, which everybody sees; the program does not
/// get it.
const ORDER: &str = "RABBITC_INIT";

/// What the variable and the words say.
struct Order {
    /// The socket to the launcher, below it only what the program inherits.
    socket: OwnedFd,
    number: i32,
    step: u16,
    /// Which of the program's paths it is.
    item: usize,
    program: CString,
    arguments: CStringArray,
}

/// The words of the init for those of its program.
pub(crate) fn words(arguments: &[CString]) -> Vec<CString> {
    let own = [NAME, SEPARATOR].map(|word| CString::new(word).expect("no NUL"));
    own.into_iter().chain(arguments.iter().cloned()).collect()
}

/// The environment of the init for that of its program: beside it where the socket is, which step it is, and which of the
/// program's paths it has.
pub(crate) fn environment(
    socket: u32,
    step: usize,
    (item, program): (usize, &CString),
    environment: &[CString],
) -> Vec<CString> {
    let mut order = format!("{ORDER}={socket} {step} {item} ").into_bytes();
    order.extend(program.as_bytes());
    let order = CString::new(order).expect("neither numbers nor a path have a NUL");
    std::iter::once(order).chain(environment.iter().cloned()).collect()
}

fn read(order: OsString, arguments: Vec<OsString>) -> Option<Order> {
    let order = order.into_vec();
    let mut parts = order.splitn(4, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse::<u16>().ok();
    let (socket, step, item) = (number()?, number()?, number()?);
    let program = CString::new(parts.next().filter(|path| !path.is_empty())?).ok()?;
    let arguments: Vec<CString> =
        arguments.into_iter().map(|word| CString::new(word.into_vec()).ok()).collect::<Option<_>>()?;
    if arguments.is_empty() {
        return None;
    }
    let number = i32::from(socket);
    let socket = sys::fd::adopt(number).ok()?;
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC).ok()?;
    let arguments = CStringArray::new(arguments);
    Some(Order { socket, number, step, item: item.into(), program, arguments })
}

/// Runs as init with the words behind [`NAME`]; returns the exit code to end with. To be called before anything else.
pub fn run(
    words: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> i32 {
    let mut environment = environment.into_iter();
    let order = environment.next().filter(|(name, _)| name == ORDER);
    // Behind the separator.
    let arguments = words.into_iter().skip(1).collect();
    let Some(order) = order.and_then(|(_, order)| read(order, arguments)) else { return FAILED };
    let environment = environment.filter_map(|(name, value)| {
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.extend(value.into_vec());
        CString::new(entry).ok()
    });
    let environment = CStringArray::new(environment.collect());
    // A name is for people alone.
    let _ = rustix::thread::set_name(c"rabbitc-init");
    // Before there is a child, so that no signal is lost between it and the first look.
    let Ok((signals, _)) = SignalDescriptor::block_and_open() else {
        return order.fail(Call::Receive, Errno::MFILE, 0);
    };
    let made = sys::clone::clone(&CloneRequest { flags: 0, cgroup: None }, &mut |_| {
        become_program(&order, &environment)
    });
    let child = match made {
        Ok(child) => child,
        Err(error) => {
            return order.fail(Call::Clone, Errno::from_io_error(&error).unwrap_or(Errno::IO), 0);
        }
    };
    order.let_go();
    stand_by(&signals, &child)
}

/// Runs as the process that keeps a pod's namespaces; returns the exit code to end with, once somebody wants it to end. To be called
/// before anything else.
pub fn hold() -> i32 {
    // A name is for people alone.
    let _ = rustix::thread::set_name(c"rabbitc-pod");
    let Ok((signals, _)) = SignalDescriptor::block_and_open() else { return FAILED };
    // The socket to the launcher, whose end tells that this runs.
    sys::fd::close_copies_but(&[signals.descriptor().as_raw_fd()]);
    loop {
        wait_for(signals.descriptor());
        while let Ok(Some(received)) = signals.read() {
            if received.signal == Signal::CHILD.as_raw() {
                // Where the pid namespace is shared, whatever loses its parent.
                while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
            } else if [Signal::TERM, Signal::INT].map(Signal::as_raw).contains(&received.signal) {
                return 0;
            }
        }
    }
}

impl Order {
    fn fail(&self, call: Call, errno: Errno, item: usize) -> i32 {
        let failure = Failure { call, errno: errno.raw_os_error(), item: item as u32 };
        // A launcher that is gone cannot be told.
        let _ = sync::send(self.socket.as_fd(), Record::Failed { step: self.step, failure });
        FAILED
    }

    /// What the child has now is its own: with copies here, no reader would see the end of its output.
    fn let_go(self) {
        for number in 0..self.number {
            drop(sys::fd::adopt(number));
        }
    }
}

/// In the child: neither allocates nor locks.
fn become_program(order: &Order, environment: &CStringArray) -> i32 {
    // A process group of its own, in the foreground of the terminal where there is one: keys are for it. No failure
    // of these is a reason not to run.
    let _ = rustix::process::setpgid(None, None);
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
    sys::signal::reset_dispositions();
    sys::signal::unblock_all();
    let error = sys::exec::execve(&order.program, &order.arguments, environment, None);
    order.fail(Call::Execve, Errno::from_io_error(&error).unwrap_or(Errno::IO), order.item)
}

/// Passes signals on and reaps until the program has ended.
fn stand_by(signals: &SignalDescriptor, child: &Child) -> i32 {
    loop {
        wait_for(signals.descriptor());
        while let Ok(Some(received)) = signals.read() {
            if received.signal == Signal::CHILD.as_raw() {
                if let Some(code) = reap(child.pid) {
                    return code;
                }
            } else {
                // One that has just ended is reaped next.
                let _ = sys::pidfd::send_signal(child.pidfd.as_fd(), received.signal);
            }
        }
    }
}

fn wait_for(descriptor: BorrowedFd<'_>) {
    // An interruption is no news: the descriptor is read in any case.
    let _ = poll(&mut [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)], None);
}

/// Reaps all that have ended; the code of `program` if it is among them.
fn reap(program: i32) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid.as_raw_pid() == program {
            code = Some(code_of(status));
        }
    }
    code
}

fn code_of(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_no_order_are_refused() {
        let refused = |order: &str, words: &[&str]| {
            assert!(
                read(order.into(), words.iter().map(OsString::from).collect()).is_none(),
                "{order:?} {words:?}"
            );
        };
        for order in ["", "x", "3", "3 1", "3 1 1", "3 1 1 ", "70000 1 0 /bin/a", "60000 1 2 /bin/a"] {
            refused(order, &["a"]);
        }
        refused("3 1 1 /bin/a", &[]);
    }

    #[test]
    fn processes_show_the_programs_words_alone_and_the_program_gets_its_own_environment() {
        let text = |text: &str| CString::new(text).expect("no NUL");
        let words = words(&[text("sleep"), text("5")]);
        assert_eq!(words, ["rabbitc-init", "--", "sleep", "5"].map(text));
        let all = environment(3, 61, (2, &text("/bin/a b")), &[text("A=1"), text("HOME=/")]);
        assert_eq!(all, ["RABBITC_INIT=3 61 2 /bin/a b", "A=1", "HOME=/"].map(text));
    }
}
