//! The container's terminal: opened inside, its other end sent out.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::OpenptFlags;

use super::Context;
use super::failure::{Call, During, Outcome};
use super::mount::open_inside;
use super::step::Target;
use crate::sync;

const MULTIPLEXER: &CStr = c"dev/pts/ptmx";

/// Opens a terminal from the container's own devpts, sends its controlling end to whoever asked for it, and makes
/// the other end stdin, stdout, stderr and the controlling terminal.
pub(super) fn open(context: &mut Context<'_>, size: Option<(u16, u16)>, target: Option<&Target>) -> Outcome {
    let root = context.root()?;
    let outer = open_inside(root, MULTIPLEXER, OFlags::RDWR | OFlags::NOCTTY).during(Call::Open)?;
    rustix::pty::unlockpt(&outer).during(Call::Ioctl)?;
    // By descriptor, as a path below /dev could have been prepared by the image (CVE-2025-52565).
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let inner = rustix::pty::ioctl_tiocgptpeer(&outer, flags).during(Call::Ioctl)?;
    if let Some((height, width)) = size {
        let size = rustix::termios::Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&inner, size).during(Call::Ioctl)?;
    }
    if let Some(target) = target {
        super::mount::bind_terminal(root, inner.as_fd(), target)?;
    }
    let receiver = context.console.ok_or(Errno::NOTCONN).during(Call::Send)?;
    sync::send_descriptor(receiver, b"/dev/ptmx", outer.as_fd()).during(Call::Send)?;
    rustix::process::ioctl_tiocsctty(&inner).during(Call::Ioctl)?;
    rustix::stdio::dup2_stdin(&inner).during(Call::Dup)?;
    rustix::stdio::dup2_stdout(&inner).during(Call::Dup)?;
    rustix::stdio::dup2_stderr(&inner).during(Call::Dup)
}
