//! `exec`: runs another program in a running container.

use std::os::fd::AsFd;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};
use runtime::launch::LineEnds;
use runtime::spec::{Capabilities, Process, Spec};
use runtime::{ContainerId, Error, ExecOptions, Result, bundle, lifecycle};

use super::launching::{self, Presence};
use super::{Failure, Outcome, stages, supervising};
use crate::args::{self, Globals};

pub(super) const USAGE: &str = "\
Run another program in a created or running container, with the user, rights and environment of its own program unless said
otherwise.

Usage: rabbitc-runtime exec [OPTIONS] ID [--] PROGRAM [ARGUMENTS]
       rabbitc-runtime exec [OPTIONS] --process FILE ID

Options:
  -p, --process FILE          the process as config.json writes one
      --cwd DIR               its working directory
  -e, --env NAME=VALUE        one more variable
  -t, --tty                   with a terminal
  -u, --user UID[:GID]        as this user
  -g, --additional-gids GID   with this further group
  -c, --cap CAPABILITY        with this further capability
      --no-new-privs          without a way to more rights
  -d, --detach                do not wait
      --pid-file FILE         write its pid to FILE
      --console-socket PATH   with --detach: send the terminal's other end to this socket
      --pidfd-socket PATH     send a descriptor of the process to this socket
      --preserve-fds N        hand down N descriptors, from 3 on
      --ignore-paused         also in a paused container; it then runs when that is resumed
      --cgroup [CONTROLLERS:]PATH
                              in this group below the container's own
      --apparmor PROFILE      under this AppArmor profile
      --process-label LABEL   under this SELinux label
";

#[derive(Debug, Default)]
struct Arguments {
    process: Option<PathBuf>,
    cwd: Option<String>,
    env: Vec<String>,
    terminal: bool,
    user: Option<(u32, Option<u32>)>,
    groups: Vec<u32>,
    capabilities: Vec<String>,
    no_new_privileges: bool,
    detach: bool,
    pid_file: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    kept_descriptors: u32,
    ignore_paused: bool,
    apparmor: Option<String>,
    label: Option<String>,
    subgroups: Vec<String>,
    pidfd_socket: Option<PathBuf>,
    command: Vec<String>,
}

pub(super) fn run(parser: Parser, globals: &Globals) -> Outcome {
    let (id, arguments) = parse(parser)?;
    execute(globals, &id, arguments).map_err(failure)
}

/// As runc ends where `exec` itself failed, so that it is told from the program's own codes.
fn failure(error: Error) -> Failure {
    Failure::Failed { error, code: 255 }
}

fn parse(mut parser: Parser) -> std::result::Result<(ContainerId, Arguments), Failure> {
    let mut id = None;
    let mut arguments = Arguments::default();
    while let Some(argument) = parser.next().map_err(args::wrong)? {
        match argument {
            Arg::Long("process") | Arg::Short('p') => arguments.process = Some(args::path(&mut parser)?),
            Arg::Long("cwd") => arguments.cwd = Some(args::text(&mut parser)?),
            Arg::Long("env") | Arg::Short('e') => arguments.env.push(args::text(&mut parser)?),
            Arg::Long("tty") | Arg::Short('t') => arguments.terminal = args::switch(&mut parser)?,
            Arg::Long("user") | Arg::Short('u') => arguments.user = Some(user(&args::text(&mut parser)?)?),
            Arg::Long("additional-gids") | Arg::Short('g') => {
                arguments.groups.push(args::number(&mut parser, "--additional-gids")?);
            }
            Arg::Long("cap") | Arg::Short('c') => arguments.capabilities.push(args::text(&mut parser)?),
            Arg::Long("no-new-privs") => arguments.no_new_privileges = args::switch(&mut parser)?,
            Arg::Long("detach") | Arg::Short('d') => arguments.detach = args::switch(&mut parser)?,
            Arg::Long("pid-file") => arguments.pid_file = Some(args::path(&mut parser)?),
            Arg::Long("console-socket") => arguments.console_socket = Some(args::path(&mut parser)?),
            Arg::Long("preserve-fds") => {
                let count = args::number(&mut parser, "--preserve-fds")?;
                arguments.kept_descriptors = args::check_preserved(count)?;
            }
            Arg::Long("ignore-paused") => arguments.ignore_paused = args::switch(&mut parser)?,
            Arg::Long("apparmor") => arguments.apparmor = Some(args::text(&mut parser)?),
            Arg::Long("process-label") => arguments.label = Some(args::text(&mut parser)?),
            Arg::Long("cgroup") => arguments.subgroups.push(args::text(&mut parser)?),
            Arg::Long("pidfd-socket") => arguments.pidfd_socket = Some(args::path(&mut parser)?),
            // Nothing here makes this process a subreaper.
            Arg::Long("no-subreaper") => drop(args::switch(&mut parser)?),
            Arg::Long("help") | Arg::Short('h') => return Err(Failure::Help),
            Arg::Value(value) if id.is_none() => args::take_id(&mut id, value)?,
            Arg::Value(value) => {
                // From the program's name on, everything is its own.
                arguments.command.push(value.string().map_err(args::wrong)?);
                for value in parser.raw_args().map_err(args::wrong)? {
                    arguments.command.push(value.string().map_err(args::wrong)?);
                }
            }
            other => return Err(args::unexpected(other).into()),
        }
    }
    let id = args::need_id(id, "exec")?;
    if arguments.command.is_empty() && arguments.process.is_none() {
        let error = Error::invalid("read the arguments", "`exec` needs a program".to_owned());
        return Err(error.with_hint("`exec ID PROGRAM`, or `--process FILE`").into());
    }
    Ok((id, arguments))
}

/// `UID` or `UID:GID`, both parsed whole: a number that is cut would be another user's, often root's.
fn user(text: &str) -> Result<(u32, Option<u32>)> {
    let wrong =
        || Error::invalid("--user", format!("`{}` is not UID or UID:GID in numbers", text.escape_debug()));
    let number = |text: &str| args::checked_number(text).ok_or_else(wrong);
    match text.split_once(':') {
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
        None => Ok((number(text)?, None)),
    }
}

fn execute(globals: &Globals, id: &ContainerId, arguments: Arguments) -> Result<u8> {
    let presence = if arguments.detach { Presence::Detached } else { Presence::Foreground };
    let root = globals.state();
    let mut process = match &arguments.process {
        Some(path) => bundle::read_json::<Process>(path)?,
        None => {
            let view = lifecycle::view(&root, id)?;
            let spec: Spec = bundle::read_json(&lifecycle::config_path(&view.record))?;
            adapt(spec.process.unwrap_or_default(), &arguments)
        }
    };
    if arguments.process.is_some() {
        process.terminal |= arguments.terminal;
    }
    launching::check_terminal(process.terminal, presence, arguments.console_socket.as_deref())?;
    if presence == Presence::Foreground && process.console_size.is_none() {
        process.console_size = launching::window_size();
    }
    let console_socket = arguments.console_socket.as_deref().map(launching::connect).transpose()?;
    let pidfd_socket = arguments.pidfd_socket.as_deref().map(launching::connect_for_pidfd).transpose()?;
    let line_ends = if presence == Presence::Foreground { launching::line_ends() } else { LineEnds::Screen };
    let options = ExecOptions {
        streams: None,
        process,
        console_socket,
        kept_descriptors: arguments.kept_descriptors,
        line_ends,
        ignore_paused: arguments.ignore_paused,
        subgroups: arguments.subgroups,
        timed: globals.debug,
    };
    // Before the start, so that no signal is lost between it and the wait.
    let signals = match presence {
        Presence::Foreground => Some(supervising::hold_signals()?),
        Presence::Detached => None,
    };
    let started = runtime::exec(&root, id, options)?;
    launching::tell_timeline(globals, &started.timeline);
    stages::tell_executed(globals, &started);
    let pid_file = arguments.pid_file.as_deref();
    let told = launching::tell_process(pid_file, pidfd_socket, started.pid, &started.pidfd);
    if let Err(error) = told {
        // It may have ended by itself.
        let _ = sys::pidfd::send_signal(started.pidfd.as_fd(), 9);
        return Err(error);
    }
    match signals {
        Some(signals) => {
            let exit =
                supervising::stand_behind(globals, &signals, started.pid, &started.pidfd, started.console)?;
            Ok(supervising::exit_code(exit))
        }
        None => Ok(0),
    }
}

/// The container's own process with what the arguments change.
fn adapt(mut process: Process, arguments: &Arguments) -> Process {
    process.args.clone_from(&arguments.command);
    process.terminal = arguments.terminal;
    process.console_size = None;
    process.env.extend(arguments.env.iter().cloned());
    process.no_new_privileges |= arguments.no_new_privileges;
    if let Some(cwd) = &arguments.cwd {
        process.cwd.clone_from(cwd);
    }
    if let Some((uid, gid)) = arguments.user {
        process.user.uid = uid;
        process.user.gid = gid.unwrap_or(process.user.gid);
    }
    process.user.additional_gids.extend(&arguments.groups);
    if let Some(profile) = &arguments.apparmor {
        process.apparmor_profile = Some(profile.clone());
    }
    if let Some(label) = &arguments.label {
        process.selinux_label = Some(label.clone());
    }
    if !arguments.capabilities.is_empty() {
        let sets = process.capabilities.get_or_insert_with(Capabilities::default);
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.extend(arguments.capabilities.iter().cloned());
        }
        // What the configuration lets programs inherit they keep over their own exec, too.
        let inherited = arguments.capabilities.iter().filter(|name| sets.inheritable.contains(name));
        sets.ambient.extend(inherited.cloned());
    }
    process
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_parsed_whole_or_refused() {
        assert_eq!(user("0").expect("legal"), (0, None));
        assert_eq!(user("4294967295:7").expect("legal"), (u32::MAX, Some(7)));
        for text in ["", ":", "1:", ":1", "1:2:3", "-1", "4294967296", "root", "1 ", "0x0", "+1"] {
            assert!(user(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn everything_after_the_program_is_its_own() {
        let parser = Parser::from_args(["-t", "web", "ls", "-u", "--help"]);
        let Ok((id, arguments)) = parse(parser) else { panic!("legal") };
        assert_eq!(id.as_str(), "web");
        assert!(arguments.terminal);
        assert_eq!(arguments.command, ["ls", "-u", "--help"]);
    }

    #[test]
    fn options_may_follow_the_id() {
        let parser = Parser::from_args(["web", "--user", "5:6", "--", "-odd"]);
        let Ok((_, arguments)) = parse(parser) else { panic!("legal") };
        assert_eq!(arguments.user, Some((5, Some(6))));
        assert_eq!(arguments.command, ["-odd"]);
    }
}
