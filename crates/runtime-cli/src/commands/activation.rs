//! systemd's side of a service: sockets that it hands down (sd_listen_fds(3)) and the news that it waits for
//! (sd_notify(3)). Owns what the variables LISTEN_FDS and NOTIFY_SOCKET mean here. Must not start anything.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use runtime::spec::Mount;
use runtime::state_dir::StateRoot;
use runtime::{ContainerId, Error, Result};
use rustix::event::{PollFd, PollFlags, poll};

/// Sockets that systemd has opened for the program.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// How many, from descriptor 3 on.
    pub(super) count: u32,
    names: Option<String>,
}

impl Sockets {
    /// Those of this process; of another's variables, which were passed on by mistake, nothing.
    pub(super) fn of_caller() -> Result<Sockets> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let own = variable("LISTEN_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let Some(count) = variable("LISTEN_FDS").filter(|_| own) else { return Ok(Sockets::default()) };
        let count =
            crate::args::checked_number(&count).filter(|count| *count < 1 << 20).ok_or_else(|| {
                Error::invalid("LISTEN_FDS", format!("`{count}` is not a number of descriptors"))
            })?;
        Ok(Sockets { count, names: variable("LISTEN_FDNAMES") })
    }

    /// What the program is told of them: it is the first process of its world.
    pub(super) fn environment(&self) -> Vec<String> {
        if self.count == 0 {
            return Vec::new();
        }
        let mut variables = vec![format!("LISTEN_FDS={}", self.count), "LISTEN_PID=1".to_owned()];
        variables.extend(self.names.as_ref().map(|names| format!("LISTEN_FDNAMES={names}")));
        variables
    }
}

const PLACE: &str = "/run/notify";
const SOCKET: &str = "notify.sock";

/// The directory whose socket hears the program. Dropped before it is kept, it is gone.
#[derive(Debug)]
pub(super) struct Notify {
    directory: PathBuf,
    container: PathBuf,
    kept: bool,
}

impl Notify {
    /// Makes it, where somebody waits for news.
    pub(super) fn of_caller(root: &StateRoot, id: &ContainerId) -> Result<Option<Notify>> {
        if listener().is_none() {
            return Ok(None);
        }
        let directory = root.notify_directory(id);
        let make =
            |path: &Path, mode: u32| std::fs::DirBuilder::new().recursive(true).mode(mode).create(path);
        make(root.path(), 0o700)
            .and_then(|()| make(&directory, 0o755))
            // Whatever the umask: users of the container look for the socket in it.
            .and_then(|()| std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)))
            .map_err(|error| Error::at_path("make the directory of NOTIFY_SOCKET", &directory, error))?;
        Ok(Some(Notify { directory, container: root.directory(id), kept: false }))
    }

    /// The variable that names it to the program.
    pub(super) fn environment() -> String {
        format!("NOTIFY_SOCKET={PLACE}/{SOCKET}")
    }

    /// How the program gets at it.
    pub(super) fn mount(&self) -> Mount {
        let options = ["bind", "ro", "nosuid", "nodev", "noexec", "rprivate"];
        Mount {
            destination: PLACE.to_owned(),
            kind: Some("bind".to_owned()),
            source: Some(self.directory.display().to_string()),
            options: Some(options.map(str::to_owned).to_vec()),
            ..Mount::default()
        }
    }

    /// From here on it goes with the container.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        // Another container of this id, for which this start was refused, may use it.
        if !self.kept && !self.container.exists() {
            // Best effort: `delete --force` removes it too.
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// Who waits for news of this process.
fn listener() -> Option<std::ffi::OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
}

/// Carries news from a container's program to whoever waits for news of this process.
pub(super) struct Messenger {
    ear: UnixDatagram,
    mouth: UnixDatagram,
    target: SocketAddr,
}

/// When a messenger has done its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The program has said that it is ready; it is then named as the service's main process.
    Ready {
        /// The program's pid.
        main: i32,
    },
    /// The end of its program.
    End,
}

impl Messenger {
    /// Opens the socket of a container that has a directory for it.
    pub(super) fn open(root: &StateRoot, id: &ContainerId) -> Result<Option<Messenger>> {
        let directory = root.notify_directory(id);
        let Some(listener) = listener() else { return Ok(None) };
        let Ok(opened) = std::fs::File::open(&directory) else { return Ok(None) };
        let failed = |error: std::io::Error| Error::at_path("open the notify socket in", &directory, error);
        // Short, whatever the length of the directory's path.
        let path = format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd());
        // Left by somebody who was killed.
        let _ = std::fs::remove_file(&path);
        let ear = UnixDatagram::bind(&path).map_err(failed)?;
        // Any user of the container may write to it.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).map_err(failed)?;
        let bytes = std::os::unix::ffi::OsStrExt::as_bytes(listener.as_os_str());
        let target = match bytes.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&listener),
        };
        let target = target.map_err(|error| Error::system("use NOTIFY_SOCKET", error))?;
        let mouth = UnixDatagram::unbound().map_err(failed)?;
        Ok(Some(Messenger { ear, mouth, target }))
    }

    /// Passes news on until then, or until the program behind `pidfd` has ended.
    pub(super) fn carry(&self, pidfd: BorrowedFd<'_>, until: Until) {
        let mut buffer = [0u8; 4096];
        loop {
            let mut watched =
                [PollFd::new(&self.ear, PollFlags::IN), PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
            match poll(&mut watched, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
            }
            if watched[0].revents().is_empty() {
                // All that was said before the end has been passed on.
                return;
            }
            // Descriptors that come along, as the barrier of sd_notify_barrier(3), are closed unread: that is the answer.
            let Ok(count) = self.ear.recv(&mut buffer) else { return };
            let (news, ready) = edit(&buffer[..count], until);
            if !news.is_empty() {
                // Nobody to tell is nobody to wait.
                let _ = self.mouth.send_to_addr(&news, &self.target);
            }
            if ready && matches!(until, Until::Ready { .. }) {
                return;
            }
        }
    }

    /// Does so beside this process's own work. `pidfd` is the program's.
    pub(super) fn carry_beside(self, pidfd: OwnedFd) {
        std::thread::spawn(move || self.carry(pidfd.as_fd(), Until::End));
    }
}

/// What is passed on of a message, and whether it says READY. Pids of the container mean nothing outside.
fn edit(message: &[u8], until: Until) -> (Vec<u8>, bool) {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut ready = false;
    for line in message.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        ready |= line.starts_with(b"READY=1");
        if !(line.starts_with(b"MAINPID=") || line.starts_with(b"FDSTORE") || line.starts_with(b"BARRIER=")) {
            kept.push(line);
        }
    }
    let mut news = kept.join(&b'\n');
    if let (true, Until::Ready { main }) = (ready, until) {
        news.extend_from_slice(format!("\nMAINPID={main}").as_bytes());
    }
    (news, ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pids_of_the_container_are_not_passed_on() {
        let message = b"STATUS=up\nMAINPID=1\nREADY=1\n";
        assert_eq!(edit(message, Until::End), (b"STATUS=up\nREADY=1".to_vec(), true));
        let (news, _) = edit(message, Until::Ready { main: 77 });
        assert_eq!(news, b"STATUS=up\nREADY=1\nMAINPID=77");
        assert_eq!(edit(b"BARRIER=1", Until::End), (Vec::new(), false));
        assert!(!edit(b"STATUS=READY=1", Until::End).1);
    }
}
