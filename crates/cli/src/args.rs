//! Arguments as typed, and what they mean.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Parser, ValueEnum};
use engine::{
    EnginePaths, Error, NetworkMode, Result, RootOptions, RunOptions, TerminalMode, parse_cpus, parse_size,
};

/// A command line, parsed.
pub(crate) enum Command {
    Run(Box<RunArguments>),
    Plan(Box<PlanArguments>),
    /// Internal: removes networks that nobody uses any more, after the last container's command has returned.
    Tidy(EnginePaths),
}

/// The name of the internal verb; not for people.
pub(crate) const TIDY: &str = "internal-tidy-networks";

const VERBS: &str = "Commands:\n  rabbitc [run] [OPTIONS] [-- ARGS]   run a container (`run` may be left out)\n  \
                     rabbitc plan [OPTIONS] [-- ARGS]    print every step of the start, and touch nothing\n\n\
                     Examples:\n  sudo rabbitc --rootfs=./root\n  sudo rabbitc --rootfs=./root --cmd=/bin/server\n  \
                     sudo rabbitc --explain -- /bin/true";

/// Runs a program in a container: its own pids, mounts, network, host name, queues and cgroup.
#[derive(Debug, Parser)]
#[command(name = "rabbitc", version, disable_help_flag = true, after_help = VERBS, max_term_width = 100)]
pub(crate) struct RunArguments {
    /// Directory to use as root; without it, a throw-away copy of the host's own root
    #[arg(short = 'r', long, value_name = "DIR")]
    pub(crate) rootfs: Option<PathBuf>,
    /// Program to run, with arguments as a shell would split them [default: /bin/sh]
    #[arg(short = 'c', long, value_name = "COMMAND")]
    pub(crate) cmd: Option<String>,
    /// Host name inside
    #[arg(short = 'h', long, default_value = "rabbitc", value_name = "NAME")]
    pub(crate) hostname: String,
    /// Bridge on the host
    #[arg(short = 'n', long, default_value = "rabbitc0", value_name = "NAME")]
    pub(crate) network_name: String,
    /// Address of the bridge and size of its network
    #[arg(short = 'i', long, default_value = "172.19.0.1/16", value_name = "CIDR")]
    pub(crate) network_ip: String,
    /// Address of the container [default: the lowest that is free, from 172.19.0.2/16 on]
    #[arg(short = 't', long, value_name = "IP[/SIZE]")]
    pub(crate) container_ip: Option<String>,
    /// How the container is connected
    #[arg(long, default_value = "bridge", value_name = "MODE")]
    pub(crate) network: Network,
    /// Keep writes in a throw-away layer over the root directory
    #[arg(long)]
    pub(crate) overlay: bool,
    /// Refuse writes to the root
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Set a variable of the program's environment
    #[arg(short = 'e', long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Limit of memory: bytes, or with k, m, g behind
    #[arg(short = 'm', long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Limit of processor time, in processors
    #[arg(long, value_name = "NUMBER")]
    pub(crate) cpus: Option<String>,
    /// Limit of tasks (processes and threads); -1 is no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) pids_limit: Option<i64>,
    /// After the container's end, print on stderr what its start consisted of
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    pub(crate) explain: Option<Format>,
    /// Directory for what concerns running containers
    #[arg(long, default_value = "/run/rabbitc", value_name = "DIR", hide = true)]
    pub(crate) state_dir: PathBuf,
    /// Print this help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Arguments of the program; without `--cmd`, the program and its arguments
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) arguments: Vec<String>,
}

/// Prints every step of a container's start, and touches nothing.
#[derive(Debug, Parser)]
#[command(name = "rabbitc plan", disable_help_flag = true, max_term_width = 100)]
pub(crate) struct PlanArguments {
    /// How to print it
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub(crate) format: PlanFormat,
    #[command(flatten)]
    pub(crate) run: RunArguments,
}

/// How a container is connected, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    Bridge,
    None,
    Host,
}

/// Forms of the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

/// Forms of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    Text,
    Json,
    Markdown,
}

/// Parses the command line; help and mistakes are printed here.
pub(crate) fn parse(mut arguments: Vec<OsString>) -> std::result::Result<Command, ExitCode> {
    let verb = arguments.get(1).and_then(|verb| verb.to_str()).map(str::to_owned);
    let parsed = match verb.as_deref() {
        Some(TIDY) => {
            let base = arguments.get(2).cloned().unwrap_or_else(|| "/run/rabbitc".into());
            return Ok(Command::Tidy(EnginePaths::below(PathBuf::from(base))));
        }
        Some("plan") => {
            arguments.remove(1);
            PlanArguments::try_parse_from(arguments).map(|arguments| Command::Plan(Box::new(arguments)))
        }
        Some("help") if arguments.len() == 2 => RunArguments::try_parse_from(["rabbitc", "--help"])
            .map(|arguments| Command::Run(Box::new(arguments))),
        verb => {
            if verb == Some("run") {
                arguments.remove(1);
            }
            RunArguments::try_parse_from(arguments).map(|arguments| Command::Run(Box::new(arguments)))
        }
    };
    parsed.map_err(|error| {
        // Where nobody reads the message, the exit code still tells.
        let _ = error.print();
        if error.use_stderr() { ExitCode::from(crate::FAILED) } else { ExitCode::SUCCESS }
    })
}

impl RunArguments {
    /// What they mean.
    pub(crate) fn options(&self, terminal: TerminalMode) -> Result<RunOptions> {
        let root = match (&self.rootfs, self.overlay) {
            (None, _) => RootOptions::Host,
            (Some(path), false) => RootOptions::Directory(path.clone()),
            (Some(path), true) => RootOptions::Overlay(path.clone()),
        };
        Ok(RunOptions {
            root,
            read_only: self.read_only,
            command: self.command()?,
            hostname: self.hostname.clone(),
            network: match self.network {
                Network::Bridge => NetworkMode::Bridge,
                Network::None => NetworkMode::None,
                Network::Host => NetworkMode::Host,
            },
            network_name: self.network_name.clone(),
            network_ip: self.network_ip.clone(),
            container_ip: self.container_ip.clone(),
            terminal,
            environment: self.environment()?,
            memory: self.memory.as_deref().map(|text| parse_size("--memory", text)).transpose()?,
            cpu_millis: self.cpus.as_deref().map(|text| parse_cpus("--cpus", text)).transpose()?,
            pids_limit: self.pids_limit,
        })
    }

    fn command(&self) -> Result<Vec<String>> {
        let mut command = match &self.cmd {
            Some(text) => shlex::split(text).ok_or_else(|| {
                let error = Error::invalid("--cmd", format!("`{text}` has a quote that does not end"));
                error.with_hint("close the quote, or put a backslash before it")
            })?,
            None if self.arguments.is_empty() => vec!["/bin/sh".to_owned()],
            None => Vec::new(),
        };
        if self.cmd.is_some() && command.is_empty() {
            let error = Error::invalid("--cmd", "is empty".to_owned());
            return Err(error.with_hint("name a program, or leave it out to get `/bin/sh`"));
        }
        command.extend(self.arguments.iter().cloned());
        Ok(command)
    }

    /// A name without a value is taken from the caller's environment, as docker does.
    fn environment(&self) -> Result<Vec<String>> {
        let mut environment = Vec::new();
        for entry in &self.env {
            match entry.split_once('=') {
                Some(("", _)) => {
                    let error = Error::invalid("--env", format!("`{entry}` has no name"));
                    return Err(error.with_hint("write `NAME=value`, or `NAME` to take the caller's value"));
                }
                Some(_) => environment.push(entry.clone()),
                None => environment.extend(std::env::var(entry).ok().map(|value| format!("{entry}={value}"))),
            }
        }
        Ok(environment)
    }

    pub(crate) fn paths(&self) -> EnginePaths {
        // A process that tidies up later runs elsewhere.
        EnginePaths::below(std::path::absolute(&self.state_dir).unwrap_or_else(|_| self.state_dir.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_run(arguments: &[&str]) -> RunArguments {
        RunArguments::try_parse_from(std::iter::once(&"rabbitc").chain(arguments)).expect("legal arguments")
    }

    #[test]
    fn flags_of_the_original_keep_their_short_forms() {
        let arguments = parse_run(&[
            "-r",
            "/r",
            "-c",
            "/bin/x",
            "-h",
            "name",
            "-n",
            "br9",
            "-i",
            "10.0.0.1/24",
            "-t",
            "10.0.0.9/24",
        ]);
        let options = arguments.options(TerminalMode::Inherit).expect("legal");
        assert_eq!(options.root, RootOptions::Directory("/r".into()));
        assert_eq!(options.command, ["/bin/x"]);
        assert_eq!(options.hostname, "name");
        assert_eq!(options.network_name, "br9");
        assert_eq!(options.network_ip, "10.0.0.1/24");
        assert_eq!(options.container_ip.as_deref(), Some("10.0.0.9/24"));
    }

    #[test]
    fn command_is_split_as_a_shell_does_and_arguments_follow() {
        let options =
            |arguments: &[&str]| parse_run(arguments).options(TerminalMode::Inherit).expect("legal").command;
        assert_eq!(options(&["--cmd=/bin/echo 'a b' c"]), ["/bin/echo", "a b", "c"]);
        assert_eq!(options(&["--cmd=/bin/echo", "--", "-n", "x"]), ["/bin/echo", "-n", "x"]);
        assert_eq!(options(&["--", "/bin/echo", "x"]), ["/bin/echo", "x"]);
        assert_eq!(options(&[]), ["/bin/sh"]);
    }
}
