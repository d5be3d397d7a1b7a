//! A daemon of the bench's own: started, waited for, and ended with its value.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{Failure, Naming, Result};

/// How long one may take until it answers, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(30);

/// One that runs.
pub struct Daemon {
    child: Child,
    name: &'static str,
    log: PathBuf,
}

impl Daemon {
    /// Starts it; what it says goes into a file in `directory`.
    pub fn start(name: &'static str, command: &mut Command, directory: &Path) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let file = std::fs::File::create(&log).naming(format_args!("create `{}`", log.display()))?;
        let errors = file.try_clone().naming(format_args!("open `{}`", log.display()))?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        let child = child.naming(format_args!("run `{name}`"))?;
        Ok(Self { child, name, log })
    }

    /// Waits until `question` is answered with success.
    pub fn wait_for(&mut self, question: impl Fn() -> Command) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut command = question();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if command.status().is_ok_and(|status| status.success()) {
                return Ok(());
            }
            let has_ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            if has_ended || Instant::now() > end {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(3).collect();
                return Err(Failure::new(format!("{} does not answer: {}", self.name, last.join("; "))));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Asked first, as it has processes and mounts of its own to end.
        let _ = Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
        let end = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Whoever has ended already needs no signal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
