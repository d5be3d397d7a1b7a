//! The container's terminal: opened inside, its other end sent out.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::OpenptFlags;

use super::Context;
use super::failure::{Call, During, Outcome};
use super::mount::open_directory;
use super::step::Target;
use super::way::open_inside;
use crate::sync;

const MULTIPLEXER: &CStr = c"ptmx";
/// `DEVPTS_SUPER_MAGIC` (statfs(2)).
const DEVPTS: u64 = 0x1cd1;

/// Opens a terminal from the container's own devpts, sends its controlling end to whoever asked for it, and makes
/// the other end stdin, stdout, stderr and the controlling terminal.
pub(super) fn open(
    context: &mut Context<'_>,
    size: Option<(u16, u16)>,
    terminals: &Target,
    target: Option<&Target>,
    owner: u32,
) -> Outcome {
    let terminals = open_directory(context, terminals).during(Call::Open)?;
    // Opening is an act: a device or a FIFO of the image's choice must not get that far.
    if rustix::fs::fstatfs(&terminals).during(Call::Stat)?.f_type as u64 != DEVPTS {
        return Err(Errno::NODEV).during(Call::Stat);
    }
    let outer =
        open_inside(terminals.as_fd(), MULTIPLEXER, OFlags::RDWR | OFlags::NOCTTY).during(Call::Open)?;
    rustix::pty::unlockpt(&outer).during(Call::Ioctl)?;
    // By descriptor, as a path below /dev could have been prepared by the image (CVE-2025-52565).
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let inner = rustix::pty::ioctl_tiocgptpeer(&outer, flags).during(Call::Ioctl)?;
    if let Some((height, width)) = size {
        let size = rustix::termios::Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&inner, size).during(Call::Ioctl)?;
    }
    if owner != 0 {
        // So that the program can open its terminal by a path, as /dev/stderr.
        rustix::fs::fchown(&inner, Some(rustix::fs::Uid::from_raw(owner)), None).during(Call::Chown)?;
    }
    if let Some(target) = target {
        super::mount::bind_terminal(context, inner.as_fd(), target)?;
    }
    let receiver = context.console.ok_or(Errno::NOTCONN).during(Call::Send)?;
    sync::send_descriptor(receiver, b"/dev/ptmx", outer.as_fd()).during(Call::Send)?;
    rustix::process::ioctl_tiocsctty(&inner).during(Call::Ioctl)?;
    rustix::stdio::dup2_stdin(&inner).during(Call::Dup)?;
    rustix::stdio::dup2_stdout(&inner).during(Call::Dup)?;
    rustix::stdio::dup2_stderr(&inner).during(Call::Dup)
}
