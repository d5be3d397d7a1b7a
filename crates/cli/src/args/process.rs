//! The program, as typed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args};
use engine::{
    Error, ImageDefaults, Input, ProcessOptions, ProgramSource, Result, Signals, Source, TerminalMode, Value,
    limit_syntax, named_file, parse_entrypoint, parse_group, parse_labels, parse_pair, parse_seconds,
    parse_signal, parse_time_limit, parse_umask, parse_user, parse_variable, parse_variables,
};

use super::said;

/// The program and what it is given.
#[derive(Debug, Args)]
#[command(next_help_heading = "Program")]
pub(crate) struct ProcessArguments {
    /// Program to run, with arguments as a shell would split them [default: /bin/sh]
    #[arg(short = 'c', long, value_name = "COMMAND")]
    pub(crate) cmd: Option<String>,
    /// Program to put before the command: one word, or a JSON array
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Pass standard input on, and open no terminal [also: -i, where no address follows]
    #[arg(long)]
    pub(crate) interactive: bool,
    /// Open a terminal, whatever the caller's streams are [also: -t, where no address follows]
    #[arg(long)]
    pub(crate) tty: bool,
    /// Remove the container at its end; without it, one of an image stays
    #[arg(long, hide = true)]
    pub(crate) rm: bool,
    /// Remove the container at its end, and then its image, where no other container is of it
    #[arg(long)]
    pub(crate) rmi: bool,
    /// Run as this user, by the root's own /etc/passwd and /etc/group, or by numbers
    #[arg(short = 'u', long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// A further group, by name or number; `keep-groups` keeps the caller's
    #[arg(long, value_name = "GROUP")]
    pub(crate) group_add: Vec<String>,
    /// Mode bits that new files lack, in octal [default: 0022]
    #[arg(long, value_name = "MASK")]
    pub(crate) umask: Option<String>,
    /// Directory to start in; made where it is missing [default: /]
    #[arg(short = 'w', long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Set a variable of the program's environment; `NAME` and `NAME*` take the caller's
    #[arg(short = 'e', long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Read variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Take all of the caller's variables
    #[arg(long)]
    pub(crate) env_host: bool,
    /// Take the caller's variables for proxies
    #[arg(long)]
    pub(crate) http_proxy: bool,
    /// Leave a variable out that is set by default
    #[arg(long, value_name = "NAME")]
    pub(crate) unsetenv: Vec<String>,
    /// Leave all variables out that are set by default
    #[arg(long)]
    pub(crate) unsetenv_all: bool,
    /// Run a small init as pid 1, which passes signals on and reaps what is left
    #[arg(long)]
    pub(crate) init: bool,
    /// Pass signals on to the program; with `false`, they stop the container
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_possible_values = true)]
    pub(crate) sig_proxy: bool,
    /// Signal that stops the container [default: TERM]
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL; -1 is for ever [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stop_timeout: Option<String>,
    /// Seconds after which the container is killed; 0 is never [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<String>,
    /// Hand descriptors to the program: how many from 3 on
    #[arg(long, value_name = "COUNT", default_value = "0", hide_default_value = true, value_parser = kept_descriptors)]
    pub(crate) preserve_fds: u32,
    /// Write the container's id to a file, which must not be there yet
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,
    /// Write the program's pid to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) pidfile: Option<PathBuf>,
    /// Write the pid of the process that stands behind it to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) conmon_pidfile: Option<PathBuf>,
    /// A label, kept among the annotations as `rabbitc.label.KEY`
    #[arg(short = 'l', long, value_name = "KEY[=VALUE]")]
    pub(crate) label: Vec<String>,
    /// Read labels from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) label_file: Vec<PathBuf>,
    /// An annotation of the container's config
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) annotation: Vec<String>,
}

/// Variables that name proxies; both cases are in use.
const PROXIES: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
];

/// The annotation that an image's stop signal becomes (image-spec, conversion.md).
const STOP_SIGNAL: &str = "org.opencontainers.image.stopSignal";

impl ProcessArguments {
    /// What they mean; `arguments` are those behind `--`, or behind the name of an image, which says the rest.
    pub(crate) fn options(
        &self,
        terminal: TerminalMode,
        arguments: &[String],
        image: Option<&ImageDefaults>,
    ) -> Result<ProcessOptions> {
        let (command, source) = self.command(arguments, image)?;
        let none = ImageDefaults::default();
        let image = image.unwrap_or(&none);
        let mut options = ProcessOptions {
            command,
            source,
            terminal,
            environment: [image.environment.clone(), self.environment()?].concat(),
            without_defaults: self.unsetenv_all,
            unset: self.unsetenv.clone(),
            umask: self.umask.as_deref().map(|text| parse_umask("--umask", text)).transpose()?,
            annotations: self.annotations(image)?,
            init: self.init,
            kept_descriptors: self.preserve_fds,
            signals: if self.sig_proxy { Signals::Forwarded } else { Signals::Kept },
            ..ProcessOptions::default()
        };
        if let Some(text) = said(&self.user) {
            options.user = Some(parse_user("--user", text)?);
        } else if let Some(text) = &image.user {
            options.user = Some(parse_user("the image's user", text)?);
            options.user_source = Source::Image;
        }
        for text in &self.group_add {
            match text.as_str() {
                "keep-groups" => options.keep_groups = true,
                name => options.groups.push(parse_group("--group-add", name)?),
            }
        }
        if let Some(directory) = said(&self.workdir) {
            options.directory = directory.to_owned();
        } else if let Some(directory) = &image.directory {
            options.directory.clone_from(directory);
            options.directory_source = Source::Image;
        }
        if let Some(text) = said(&self.stop_signal) {
            options.stop_signal = parse_signal("--stop-signal", text)?;
        } else if let Some(text) = &image.stop_signal {
            options.stop_signal = parse_signal("the image's stop signal", text)?;
        }
        if let Some(text) = &self.stop_timeout {
            options.stop_patience = parse_seconds("--stop-timeout", text)?;
        }
        if let Some(text) = &self.timeout {
            options.time_limit = parse_time_limit("--timeout", text)?;
        }
        let typed = self.interactive || std::io::IsTerminal::is_terminal(&std::io::stdin());
        options.input = if typed { Input::Copied } else { Input::Unread };
        Ok(options)
    }

    fn command(
        &self,
        arguments: &[String],
        image: Option<&ImageDefaults>,
    ) -> Result<(Vec<String>, ProgramSource)> {
        if let Some(shares) = self.cmd.as_ref().filter(|text| text.parse::<u64>().is_ok()) {
            // Docker's `-c`. Rather no answer than the wrong one.
            let error = Error::invalid("-c", format!("`{shares}` is a number, and `-c` is `--cmd` here"));
            return Err(error.with_hint(format!(
                "write `--cpu-shares={shares}` for a share of processor time, `./{shares}` for such a program"
            )));
        }
        let mut command = match &self.entrypoint {
            Some(text) => parse_entrypoint("--entrypoint", text)?,
            None => Vec::new(),
        };
        if let (Some(image), true, None) = (image, command.is_empty(), &self.cmd) {
            return match self.entrypoint {
                None => of_image(image, arguments),
                // Docker's way of doing without the image's, and what that would be given.
                Some(_) => of_image(&ImageDefaults::default(), arguments),
            };
        }
        let source = match (command.is_empty(), &self.cmd) {
            (false, _) => ProgramSource::Entrypoint,
            (true, Some(_)) => ProgramSource::Cmd,
            (true, None) if arguments.is_empty() => ProgramSource::Default,
            (true, None) => ProgramSource::Words,
        };
        match &self.cmd {
            Some(text) => {
                let words = shlex::split(text).ok_or_else(|| {
                    let error = Error::invalid("--cmd", format!("`{text}` has a quote that does not end"));
                    error.with_hint("close the quote, or put a backslash before it")
                })?;
                if words.is_empty() {
                    let error = Error::invalid("--cmd", "is empty".to_owned());
                    return Err(error.with_hint("name a program, or leave it out to get `/bin/sh`"));
                }
                command.extend(words);
            }
            None if arguments.is_empty() && command.is_empty() => command.push("/bin/sh".to_owned()),
            None => {}
        }
        command.extend(arguments.iter().cloned());
        Ok((command, source))
    }

    /// What is more particular comes later, and so counts: all of the caller's, then files, then single variables.
    fn environment(&self) -> Result<Vec<String>> {
        let mut environment = Vec::new();
        if self.env_host {
            for name in names_of_caller().into_iter().filter(|name| !self.unsetenv.contains(name)) {
                environment.extend(of_caller("--env-host", &name)?.map(|value| format!("{name}={value}")));
            }
        }
        if self.http_proxy {
            for name in PROXIES {
                environment.extend(of_caller("--http-proxy", name)?.map(|value| format!("{name}={value}")));
            }
        }
        environment.extend(variables(&self.env_file, &self.env)?);
        Ok(environment)
    }

    fn annotations(&self, image: &ImageDefaults) -> Result<BTreeMap<String, String>> {
        let of_image = image.labels.iter().map(|(key, value)| (key.clone(), value.clone()));
        let mut labels: Vec<(String, String)> = of_image.collect();
        for path in &self.label_file {
            labels.extend(parse_labels(
                "--label-file",
                &path.to_string_lossy(),
                &read("--label-file", path)?,
            )?);
        }
        for text in &self.label {
            labels.push(parse_pair("--label", text, Value::MayLack)?);
        }
        // A prefix of their own, so that no label is taken for an annotation that does something.
        let mut annotations: BTreeMap<String, String> =
            labels.into_iter().map(|(key, value)| (format!("rabbitc.label.{key}"), value)).collect();
        for text in &self.annotation {
            annotations.extend([parse_pair("--annotation", text, Value::Needed)?]);
        }
        if let Some(signal) = said(&self.stop_signal) {
            annotations.entry(STOP_SIGNAL.to_owned()).or_insert_with(|| signal.to_owned());
        }
        Ok(annotations)
    }
}

/// What `--env-file` and `--env` say, in this order.
pub(crate) fn variables(files: &[PathBuf], entries: &[String]) -> Result<Vec<String>> {
    let mut environment = Vec::new();
    for path in files {
        let text = read("--env-file", path)?;
        let lookup = |name: &str| of_caller("--env-file", name);
        environment.extend(parse_variables("--env-file", &path.to_string_lossy(), &text, &lookup)?);
    }
    for entry in entries {
        let lookup = |name: &str| of_caller("--env", name);
        environment.extend(parse_variable("--env", entry, &names_of_caller, &lookup)?);
    }
    Ok(environment)
}

/// The program of an image: its entrypoint with the words that were given, or with its own.
fn of_image(image: &ImageDefaults, arguments: &[String]) -> Result<(Vec<String>, ProgramSource)> {
    let words = if arguments.is_empty() { &image.command } else { arguments };
    let command = [&image.entrypoint[..], words].concat();
    let source = match image.entrypoint.is_empty() && !arguments.is_empty() {
        true => ProgramSource::Words,
        false => ProgramSource::Image,
    };
    match command.is_empty() {
        false => Ok((command, source)),
        true => {
            let error = Error::invalid("the image", "it names no program".to_owned());
            Err(error.with_hint("name one behind the image: `rabbitc run IMAGE /bin/sh`"))
        }
    }
}

/// More than there can be are as many as can be counted: the first that is not there is named.
pub(crate) fn kept_descriptors(text: &str) -> std::result::Result<u32, std::num::ParseIntError> {
    Ok(u32::try_from(limit_syntax::parse_unsigned(text)?).unwrap_or(u32::MAX))
}

fn read(flag: &str, path: &std::path::Path) -> Result<Vec<u8>> {
    named_file::read("read", path, named_file::LONGEST_LIST).map_err(|error| {
        let error = error.from_field(flag);
        match error.errno {
            Some(_) => error.with_hint("name a file that the caller may read"),
            None => error,
        }
    })
}

/// Names of the caller's variables that can be asked for.
fn names_of_caller() -> Vec<String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
}

fn of_caller(flag: &str, name: &str) -> Result<Option<String>> {
    let value = std::env::var_os(name).map(OsString::into_string).transpose();
    value.map_err(|_| {
        let error = Error::invalid(flag, format!("the caller's `{name}` is not UTF-8"));
        error.with_hint(
            "the container's config is JSON, which can't hold other bytes; set it to something else",
        )
    })
}
