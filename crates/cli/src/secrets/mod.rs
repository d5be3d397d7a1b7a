//! `rabbitc secret`: values that are kept for containers, and shown to nobody else.

mod inspect;
mod list;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use engine::{
    Error, ErrorKind, ExistingSecret, NewSecret, Result, SECRET_TOO_LONG, SecretStore, Value, parse_pair,
};

use self::inspect::InspectArguments;
use self::list::ListArguments;
use crate::images::{failed, print};
use crate::life::PlaceArguments;
use crate::render;

/// What concerns secrets: values that containers get, and that are in no image and in no layer.
#[derive(Debug, Parser)]
#[command(name = "rabbitc secret", max_term_width = 100)]
pub(crate) struct SecretArguments {
    #[command(subcommand)]
    pub(crate) command: SecretCommand,
}

/// One of its verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Makes a secret of what is in a file, or comes on standard input
    Create(CreateArguments),
    /// Says by its exit code whether a secret is there
    Exists(ExistsArguments),
    /// Shows all that is known of secrets, but for their values
    Inspect(InspectArguments),
    /// Lists secrets
    #[command(visible_alias = "list")]
    Ls(ListArguments),
    /// Removes secrets; containers that have them keep them
    #[command(visible_alias = "remove")]
    Rm(RemoveArguments),
}

/// Makes a secret.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// What it is to be called
    #[arg(value_name = "NAME")]
    name: String,
    /// What has its value: a file, `-` for standard input, or with `--env` a variable
    #[arg(value_name = "FILE")]
    source: PathBuf,
    /// Its driver: `file` is there
    #[arg(short, long, value_name = "DRIVER", default_value = "file")]
    driver: String,
    /// Options of a driver; `file` takes none
    #[arg(long, value_name = "NAME=VALUE")]
    driver_opts: Vec<String>,
    /// The value is that of a variable
    #[arg(long)]
    env: bool,
    /// Where there is one of that name, leave it as it is
    #[arg(long, conflicts_with = "replace")]
    ignore: bool,
    /// A label
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,
    /// Where there is one of that name, give it the new value
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Says by its exit code whether a secret is there.
#[derive(Debug, Args)]
pub(crate) struct ExistsArguments {
    /// Its name or id
    #[arg(value_name = "SECRET")]
    name: String,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Removes secrets.
#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    /// Their names or ids
    #[arg(required_unless_present = "all", value_name = "SECRET")]
    names: Vec<String>,
    /// All of them
    #[arg(short, long, conflicts_with = "names")]
    all: bool,
    /// Nothing is wrong with one that is not there
    #[arg(short, long)]
    ignore: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

impl PlaceArguments {
    fn secrets(&self) -> Result<SecretStore> {
        SecretStore::of(self.root())
    }
}

/// Does it, and says what became of it.
pub(crate) fn run(command: &SecretCommand) -> ExitCode {
    let outcome = match command {
        SecretCommand::Create(arguments) => create(arguments).map(|()| ExitCode::SUCCESS),
        SecretCommand::Exists(arguments) => exists(arguments),
        SecretCommand::Inspect(arguments) => inspect::inspect(arguments),
        SecretCommand::Ls(arguments) => list::list(arguments).map(|()| ExitCode::SUCCESS),
        SecretCommand::Rm(arguments) => remove(arguments),
    };
    outcome.unwrap_or_else(|error| failed(&error))
}

fn create(arguments: &CreateArguments) -> Result<()> {
    if !matches!(arguments.driver.as_str(), "" | "file") {
        let reason = format!("`{}` is no driver of secrets here", arguments.driver.escape_debug());
        let error = Error::new(ErrorKind::Unsupported, "--driver", reason);
        return Err(error.with_hint("there is `file`, which need not be named"));
    }
    if let Some(option) = arguments.driver_opts.iter().find(|option| !option.is_empty()) {
        let reason = format!("the driver `file` has no option `{}`", option.escape_debug());
        let error = Error::new(ErrorKind::Unsupported, "--driver-opts", reason);
        return Err(error.with_hint("leave it out; secrets are kept below `--root`"));
    }
    let mut labels = BTreeMap::new();
    for text in &arguments.label {
        labels.extend([parse_pair("--label", text, Value::MayLack)?]);
    }
    let value = match arguments.env {
        true => variable(&arguments.source)?,
        false => content(&arguments.source)?,
    };
    let existing = match (arguments.replace, arguments.ignore) {
        (true, _) => ExistingSecret::Replaced,
        (false, true) => ExistingSecret::Ignored,
        (false, false) => ExistingSecret::Refused,
    };
    let new = NewSecret { name: arguments.name.clone(), value, labels, existing };
    print(&format!("{}\n", arguments.place.secrets()?.create(&new)?))
}

fn variable(name: &Path) -> Result<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    let value = std::env::var_os(name).filter(|value| !value.is_empty());
    value.map(OsStringExt::into_vec).ok_or_else(|| {
        let reason = format!("the variable `{}` is not set", name.display());
        Error::invalid("--env", reason).with_hint("export it first; what is to be named is the variable")
    })
}

/// Reads no more than tells that it is too long.
fn content(path: &Path) -> Result<Vec<u8>> {
    let is_standard = matches!(path.to_str(), Some("-" | "/dev/stdin"));
    let source: Box<dyn Read> = match is_standard {
        true if std::io::stdin().is_terminal() => {
            let error = Error::invalid("rabbitc secret create", "a terminal would show the value".to_owned());
            return Err(error.with_hint("name a file, or pass the value through a pipe"));
        }
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(File::open(path).map_err(|error| Error::at_path("open", path, error))?),
    };
    let mut value = Vec::new();
    let read = source.take(SECRET_TOO_LONG as u64).read_to_end(&mut value);
    read.map_err(|error| Error::at_path("read", path, error))?;
    Ok(value)
}

fn exists(arguments: &ExistsArguments) -> Result<ExitCode> {
    let is_there = arguments.place.secrets()?.contains(&arguments.name)?;
    Ok(ExitCode::from(u8::from(!is_there)))
}

/// Each is tried, whatever became of the others.
fn remove(arguments: &RemoveArguments) -> Result<ExitCode> {
    let store = arguments.place.secrets()?;
    let names = match arguments.all {
        true => store.survey()?.secrets.into_iter().map(|secret| secret.id).collect(),
        false => arguments.names.clone(),
    };
    let mut code = ExitCode::SUCCESS;
    for name in &names {
        match store.remove(name) {
            Ok(id) => print(&format!("{id}\n"))?,
            Err(error) if error.kind == ErrorKind::NotFound && (arguments.ignore || arguments.all) => {}
            Err(error) => {
                render::error(&error);
                // As docker's.
                code = ExitCode::from(1);
            }
        }
    }
    Ok(code)
}
