//! `run`: makes a container, starts it and, in the foreground, waits for its end and removes it.

use std::os::fd::AsFd;

use lexopt::Parser;
use monitor::Exit;
use runtime::launch::Container;
use runtime::plan::Start;
use runtime::{Error, Result, lifecycle};

use super::activation::{Messenger, Until};
use super::launching::{self, Arguments, Presence};
use super::{Outcome, supervising};
use crate::args::Globals;
use crate::render;

pub(super) const USAGE: &str = "\
Make a container from a bundle, start it, wait for its end and remove it.
The exit code is the program's, or 128 and the number of the signal that ended it.

Usage: rabbitc-runtime run [OPTIONS] ID

Options:
  -b, --bundle DIR           the bundle [.]
  -d, --detach               do not wait
      --keep                 do not remove the container after its end
      --pid-file FILE        write the pid of the container's init to FILE
      --console-socket PATH  with --detach: send the terminal's other end to this socket
      --pidfd-socket PATH    send a descriptor of the container's init to this socket
      --preserve-fds N       hand down N descriptors, from 3 on
      --no-new-keyring       keep the caller's session keyring
      --no-pivot             move the root onto `/` instead of pivot_root, on a host whose root is a ramdisk
  -f, --config FILE          this in the place of the bundle's config.json
";

pub(super) fn run(parser: Parser, globals: &Globals) -> Outcome {
    let arguments = launching::parse(parser, "run")?;
    match arguments.presence {
        Presence::Detached => {
            detached(globals, &arguments)?;
            Ok(0)
        }
        Presence::Foreground => Ok(foreground(globals, &arguments)?),
    }
}

fn detached(globals: &Globals, arguments: &Arguments) -> Result<()> {
    let (container, messenger) = bring_up(globals, arguments)?;
    let Container { pid, pidfd, state, .. } = container;
    if let Some(messenger) = messenger {
        // From here on `kill` and `delete` of others may work on it.
        drop(state);
        messenger.carry(pidfd.as_fd(), Until::Ready { main: pid });
    }
    Ok(())
}

fn bring_up(globals: &Globals, arguments: &Arguments) -> Result<(Container, Option<Messenger>)> {
    let (container, messenger) = launching::bring_up(globals, arguments, Start::Immediately)?;
    Ok((run_poststart(container)?, messenger))
}

/// Runs the hooks that follow the start; one that fails ends the container (runtime.md, "Lifecycle").
fn run_poststart(container: Container) -> Result<Container> {
    let record = container.state.read()?;
    if let Err(mut error) = lifecycle::run_poststart(&record) {
        error.rollback.extend(launching::take_back(container));
        return Err(error);
    }
    Ok(container)
}

fn foreground(globals: &Globals, arguments: &Arguments) -> Result<u8> {
    // Before the start, so that no signal is lost between it and the wait.
    let signals = supervising::hold_signals()?;
    let (container, messenger) = bring_up(globals, arguments)?;
    let Container { pid, pidfd, state, console, cgroup, .. } = container;
    let made = state.read()?;
    // From here on `kill` and `delete` of others may work on it.
    drop(state);
    if let Some(messenger) = messenger {
        let copy = pidfd.try_clone().map_err(|error| Error::system("copy the pidfd", error))?;
        messenger.carry_beside(copy);
    }
    let exit = supervising::stand_behind(globals, &signals, pid, &pidfd, console)?;
    let killed = |group: &cgroup::Cgroup| group.out_of_memory_kills() > 0;
    if matches!(exit, Exit::Signal { number: 9, .. }) && cgroup.as_ref().is_some_and(killed) {
        render::warn(globals, &format!("container `{}` was killed for want of memory", arguments.id));
    }
    if !arguments.keep {
        let warnings = lifecycle::finish(&globals.state(), &arguments.id, &made, cgroup.as_ref())?;
        render::warn_of_hooks(globals, &warnings);
    }
    Ok(supervising::exit_code(exit))
}
