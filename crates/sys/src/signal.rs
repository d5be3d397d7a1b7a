//! Signal masks, dispositions and `signalfd(2)`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A signal mask to be put back.
#[derive(Clone, Copy)]
pub struct Mask(libc::sigset_t);

impl std::fmt::Debug for Mask {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Mask")
    }
}

impl Mask {
    /// Makes this the calling thread's mask again.
    pub fn restore(&self) {
        // SAFETY: the set is a valid one that the kernel filled; a null old set is allowed.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

fn set_of(fill: impl FnOnce(*mut libc::sigset_t)) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    fill(set.as_mut_ptr());
    // SAFETY: a zeroed sigset_t is a valid empty set on Linux, and `fill` only edits it.
    unsafe { set.assume_init() }
}

fn block(set: &libc::sigset_t) -> io::Result<Mask> {
    let mut old = set_of(|_| ());
    // SAFETY: both sets are valid and live across the call.
    let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set, &raw mut old) };
    if error == 0 { Ok(Mask(old)) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Blocks every signal in the calling thread and returns the mask from before.
pub fn block_all() -> io::Result<Mask> {
    block(&set_of(|set| {
        // SAFETY: the pointer is to a set of our own.
        unsafe { libc::sigfillset(set) };
    }))
}

/// Unblocks every signal in the calling thread. Async-signal-safe.
pub fn unblock_all() {
    Mask(set_of(|set| {
        // SAFETY: the pointer is to a set of our own.
        unsafe { libc::sigemptyset(set) };
    }))
    .restore();
}

/// Gives every signal its default disposition, as `exec` keeps the ignored ones ignored. Async-signal-safe.
pub fn reset_dispositions() {
    (1..=64).for_each(|signal| dispose(signal, libc::SIG_DFL));
}

/// Ignores every signal but SIGCHLD, by which the kernel would throw exit statuses away, and the synchronous faults. What
/// waits, blocked, is discarded.
pub fn ignore_all() {
    let not_these = |signal: &i32| *signal != libc::SIGCHLD && !FAULTS.contains(signal);
    (1..=64).filter(not_these).for_each(|signal| dispose(signal, libc::SIG_IGN));
}

/// Sets the disposition of a signal, one of SIG_DFL and SIG_IGN.
fn dispose(signal: i32, disposition: libc::sighandler_t) {
    if matches!(signal, libc::SIGKILL | libc::SIGSTOP) {
        return;
    }
    // Handler first, no flags. Not by libc's function, as that refuses the two signals that the library has for itself,
    // and glibc's posix_spawn hands those on ignored.
    let action = [disposition as u64, 0, 0, 0];
    let no_old = std::ptr::null_mut::<u64>();
    // SAFETY: the kernel's struct of handler, flags, restorer and a 64-bit mask is not longer than this on any
    // architecture that Rust's std knows, and neither disposition needs the rest of it.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), no_old, size_of::<u64>()) };
}

/// Signals that tell of a fault of the program itself.
const FAULTS: [i32; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];

/// Gives SIGCHLD its default disposition: a caller that ignored it would have the kernel reap our children, and
/// their exit codes would be lost (wait(2)).
pub fn keep_children() {
    // SAFETY: SIG_DFL is a valid disposition.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: only asks: no new action is given, and `action` lives across the call.
    unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: plain numbers, zeroed before and filled by the call.
    unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Signals by which somebody asks this process to end.
const END_REQUESTS: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// A descriptor that is readable while somebody asks this process to end. Nothing needs to be read from it: the signals,
/// which must be blocked, stay for whoever treats them.
pub fn open_end_requests() -> io::Result<OwnedFd> {
    open_requests(|_| true)
}

/// The same without those that are ignored: below a tracer, they wait for a moment all the same.
pub fn open_heeded_end_requests() -> io::Result<OwnedFd> {
    open_requests(|signal| !is_ignored(signal))
}

fn open_requests(is_meant: impl Fn(i32) -> bool) -> io::Result<OwnedFd> {
    let set = set_of(|set| {
        for signal in END_REQUESTS.into_iter().filter(|signal| is_meant(*signal)) {
            // SAFETY: the pointer is to a set of our own.
            unsafe { libc::sigaddset(set, signal) };
        }
    });
    // SAFETY: the set lives across the call.
    let number = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    crate::check(number.into())?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The signal that asks this process to end and waits, blocked, if one does.
pub fn waiting_end_request() -> Option<i32> {
    let set = set_of(|set| {
        // SAFETY: the pointer is to a set of our own.
        unsafe { libc::sigpending(set) };
    });
    // SAFETY: the set is a valid one that the kernel filled.
    END_REQUESTS.into_iter().find(|signal| unsafe { libc::sigismember(&raw const set, *signal) } == 1)
}

/// A descriptor from which signals are read.
#[derive(Debug)]
pub struct SignalDescriptor(OwnedFd);

/// One signal that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub signal: i32,
    /// Who sent it, where a process did.
    pub pid: i32,
}

impl SignalDescriptor {
    /// Blocks every signal that can be blocked but the synchronous faults, and makes them readable here. What asks this
    /// process to end and is ignored by its caller's wish (`nohup`, SIGINT in the background of a script) stays ignored:
    /// blocked, it would show here all the same.
    pub fn block_and_open() -> io::Result<(SignalDescriptor, Mask)> {
        let set = set_of(|set| {
            // SAFETY: the pointer is to a set of our own.
            unsafe { libc::sigfillset(set) };
            for fault in FAULTS {
                // SAFETY: as above.
                unsafe { libc::sigdelset(set, fault) };
            }
            for request in END_REQUESTS.into_iter().filter(|request| is_ignored(*request)) {
                // SAFETY: as above.
                unsafe { libc::sigdelset(set, request) };
            }
        });
        let mask = block(&set)?;
        // SAFETY: the set lives across the call.
        let number = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        crate::check(number.into())?;
        // SAFETY: a new descriptor that nobody else owns.
        Ok((SignalDescriptor(unsafe { OwnedFd::from_raw_fd(number) }), mask))
    }

    /// For polling.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
    }

    /// The next signal that waits, if one does.
    pub fn read(&self) -> io::Result<Option<Received>> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer has the size given.
        let count = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
        }
        // SAFETY: plain numbers, zeroed before and filled by the kernel.
        let info = unsafe { info.assume_init() };
        Ok(Some(Received { signal: info.ssi_signo as i32, pid: info.ssi_pid as i32 }))
    }
}
