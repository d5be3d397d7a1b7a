//! `restore`: starts a container from what `checkpoint` wrote.

use std::path::PathBuf;

use lexopt::{Arg, Parser};
use runtime::checkpoint::{self, RestoreOptions};
use runtime::launch::Container;
use runtime::plan::{BindRules, ContainerPlan, PlanOptions};
use runtime::{Bundle, Error, Result, lifecycle};

use super::launching::{self, Presence};
use super::{Failure, Outcome, criu, supervising};
use crate::args::{self, Globals};
use crate::render;

pub(super) const USAGE: &str = "\
Start a container from the files that `checkpoint` wrote, and wait for its end.
criu does the work and must be in PATH.

Usage: rabbitc-runtime restore [OPTIONS] ID

Options:
      --image-path DIR            where the files are [checkpoint]
      --work-path DIR             where criu's log goes [the image path]
  -b, --bundle DIR                the bundle [.]
  -d, --detach                    do not wait
      --pid-file FILE             write the pid of the container's init to FILE
      --console-socket PATH       with --detach: send the terminal's other end to this socket
      --tcp-established           with open TCP connections
      --ext-unix-sk               with unix sockets that lead outside
      --shell-job                 with a session and a terminal from outside
      --file-locks                with file locks
      --manage-cgroups-mode MODE  soft, full, strict or ignore [soft]
      --empty-ns network          without what was in the network namespace
      --auto-dedup                take pages out of the files as they are read
      --lazy-pages                fetch memory when it is asked for, from `criu lazy-pages`
      --lsm-profile KIND:NAME     under this profile or label, as apparmor:NAME or selinux:LABEL
      --lsm-mount-context TEXT    with this SELinux context for its mounts
      --no-subreaper, --no-pivot, --preserve-fds N
                                  accepted: criu decides for itself
";

#[derive(Debug, Default)]
struct Arguments {
    shared: criu::Arguments,
    bundle: Option<PathBuf>,
    detach: bool,
    pid_file: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    lsm_profile: Option<String>,
    lsm_mount_context: Option<String>,
}

pub(super) fn run(mut parser: Parser, globals: &Globals) -> Outcome {
    let mut id = None;
    let mut arguments = Arguments::default();
    let filled = |text: String| Some(text).filter(|text| !text.is_empty());
    while let Some(argument) = parser.next().map_err(args::wrong)? {
        match argument {
            Arg::Long("bundle") | Arg::Short('b') => arguments.bundle = Some(args::path(&mut parser)?),
            Arg::Long("detach") | Arg::Short('d') => arguments.detach = args::switch(&mut parser)?,
            Arg::Long("pid-file") => arguments.pid_file = Some(args::path(&mut parser)?),
            Arg::Long("console-socket") => arguments.console_socket = Some(args::path(&mut parser)?),
            Arg::Long("lsm-profile") => arguments.lsm_profile = filled(args::text(&mut parser)?),
            Arg::Long("lsm-mount-context") => arguments.lsm_mount_context = filled(args::text(&mut parser)?),
            // Nothing here makes this process a subreaper, criu always pivots, and a restored process has the
            // descriptors of its images.
            Arg::Long("no-subreaper" | "no-pivot") => drop(args::switch(&mut parser)?),
            // containerd has it with one dash, as Go programs take their options.
            Arg::Short('n') => match parser.optional_value() {
                Some(rest) if rest == "o-subreaper" => {}
                _ => return Err(args::unexpected(Arg::Short('n')).into()),
            },
            Arg::Long("preserve-fds") => drop(args::number(&mut parser, "--preserve-fds")?),
            Arg::Long("help") | Arg::Short('h') => return Err(Failure::Help),
            Arg::Long(name) => {
                let name = name.to_owned();
                if !arguments.shared.take(&name, &mut parser)? {
                    return Err(args::unexpected(Arg::Long(&name)).into());
                }
            }
            Arg::Value(value) => args::take_id(&mut id, value)?,
            other => return Err(args::unexpected(other).into()),
        }
    }
    let id = args::need_id(id, "restore")?;
    Ok(restore(globals, id, &arguments)?)
}

fn restore(globals: &Globals, id: runtime::ContainerId, arguments: &Arguments) -> Result<u8> {
    let bundle = Bundle::open(arguments.bundle.as_deref().unwrap_or(".".as_ref()))?;
    let mut spec = bundle.spec;
    if let Some(linux) = &mut spec.linux {
        // criu makes the network namespace with the devices that were in it; the host's are not asked for again.
        linux.net_devices.clear();
    }
    let presence = if arguments.detach { Presence::Detached } else { Presence::Foreground };
    let terminal = spec.process.as_ref().is_some_and(|process| process.terminal);
    launching::check_terminal(terminal, presence, arguments.console_socket.as_deref())?;
    let root = globals.state();
    let options = PlanOptions {
        cgroup_manager: globals.cgroup_manager,
        bind_rules: BindRules::Customary,
        ..PlanOptions::new(id.clone(), bundle.path, root.directory(&id))
    };
    let plan = ContainerPlan::new(&spec, &options)?;
    for warning in &plan.warnings {
        render::warn(globals, &warning.to_string());
    }
    let options = RestoreOptions {
        common: arguments.shared.common()?,
        console_socket: arguments.console_socket.as_deref().map(launching::connect).transpose()?,
        lsm_profile: arguments.lsm_profile.clone(),
        lsm_mount_context: arguments.lsm_mount_context.clone(),
    };
    // Before the start, so that no signal is lost between it and the wait.
    let signals = match presence {
        Presence::Foreground => Some(supervising::hold_signals()?),
        Presence::Detached => None,
    };
    let container = checkpoint::restore(&spec, &plan, &root, options)?;
    let pid_file = arguments.pid_file.as_deref();
    if let Err(mut error) = launching::tell_process(pid_file, None, container.pid, &container.pidfd) {
        error.rollback.extend(launching::take_back(container));
        return Err(error);
    }
    let Some(signals) = signals else { return Ok(0) };
    let Container { pid, pidfd, state, console, cgroup, .. } = container;
    let made = state.read().map_err(|error: Error| error.in_container(id.as_str()))?;
    // From here on `kill` and `delete` of others may work on it.
    drop(state);
    let exit = supervising::stand_behind(globals, &signals, pid, &pidfd, console)?;
    render::warn_of_hooks(globals, &lifecycle::finish(&root, &id, &made, cgroup.as_ref())?);
    Ok(supervising::exit_code(exit))
}
