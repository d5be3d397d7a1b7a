//! `rabbitc login` and `logout`.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use clap::Parser;
use engine::{Error, KeptPassword, LoggedOut, Logins, Result};

use super::ask::{Echo, ask};
use super::print;
use super::registries::{RegistryArguments, access};
use crate::render;

/// The most bytes of a password.
const MOST_BYTES: u64 = 64 << 10;

/// Logs in to a registry: name and password are shown to it, and kept where docker keeps them.
#[derive(Debug, Parser)]
#[command(name = "rabbitc login", max_term_width = 100)]
pub(crate) struct LoginArguments {
    /// Its host and port [default: the first that registries.conf has names without a registry looked for in, else docker.io]
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
    /// The name; asked for on a terminal
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// The password, which everybody on this host can see then: better by `--password-stdin`; asked for on a terminal
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Only say as whom one is logged in
    #[arg(long)]
    get_login: bool,
    #[command(flatten)]
    registries: RegistryArguments,
}

/// Forgets name and password for a registry.
#[derive(Debug, Parser)]
#[command(name = "rabbitc logout", max_term_width = 100)]
pub(crate) struct LogoutArguments {
    /// Its host and port [default: as with `rabbitc login`]
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
    /// For all registries
    #[arg(short, long, conflicts_with = "registry")]
    all: bool,
    /// The file with credentials, in the place of docker's [default: $REGISTRY_AUTH_FILE]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
}

pub(super) fn login(arguments: &LoginArguments) -> Result<()> {
    let logins = Logins::open(&arguments.registries.access())?;
    let registry = logins.registry(arguments.registry.as_deref())?;
    if arguments.get_login {
        let user = logins.user(&registry)?.ok_or_else(|| Logins::not_logged_in(&registry))?;
        return print(&format!("{user}\n"));
    }
    let is_asked = arguments.username.is_none() && arguments.password.is_none() && !arguments.password_stdin;
    if is_asked && logins.is_good(&registry)? == Some(true) {
        return print(&format!("Existing credentials are valid. Already logged in to {registry}\n"));
    }
    if arguments.password.is_some() {
        render::warning(
            "everybody on this host can see a password of a command line; `--password-stdin` reads it",
        );
    }
    let username = match &arguments.username {
        Some(username) => username.clone(),
        None if arguments.password_stdin => {
            return Err(unasked("--username", "`--password-stdin` takes a name"));
        }
        None => ask_for(&registry, "Username: ", Echo::Shown)?,
    };
    let password = match (&arguments.password, arguments.password_stdin) {
        (Some(password), _) => password.clone(),
        (None, true) => read_password()?,
        (None, false) => ask_for(&registry, "Password: ", Echo::Hidden)?,
    };
    let place = match logins.log_in(&registry, &username, &password)? {
        KeptPassword::InFile(file) => format!("in `{}`, not encrypted", file.display()),
        KeptPassword::ByProgram(name) => format!("with `docker-credential-{name}`"),
    };
    render::information(&format!("the password is kept {place}"));
    print("Login Succeeded!\n")
}

pub(super) fn logout(arguments: &LogoutArguments) -> Result<()> {
    let logins = Logins::open(&access(arguments.authfile.as_deref()))?;
    if arguments.all {
        logins.log_out_everywhere()?;
        return print("Removed login credentials for all registries\n");
    }
    let registry = logins.registry(arguments.registry.as_deref())?;
    match logins.log_out(&registry)? {
        LoggedOut::Forgotten => print(&format!("Removing login credentials for {registry}\n")),
        LoggedOut::Absent => print(&format!("Not logged in to {registry}\n")),
        LoggedOut::Elsewhere(file) => {
            let file = file.display();
            let error = Error::new(
                engine::ErrorKind::Unsupported,
                format!("log out of `{registry}`"),
                format!("its credentials are in `{file}`, which somebody else wrote"),
            );
            Err(error.with_hint(format!("`podman logout {registry}`, or `--authfile={file}`")))
        }
    }
}

fn unasked(flag: &str, reason: &str) -> Error {
    let error = Error::invalid(flag, reason.to_owned());
    error.with_hint("`rabbitc login --username=NAME --password-stdin REGISTRY <FILE`")
}

/// All of standard input, without the end of its last line.
fn read_password() -> Result<String> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().take(MOST_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::system("read the password from standard input", error))?;
    let wrong = |reason: &str| unasked("--password-stdin", reason);
    if bytes.len() as u64 > MOST_BYTES {
        return Err(wrong("that is no password: it is longer than 64 KiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("that is no password: it is not UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn ask_for(registry: &str, question: &str, echo: Echo) -> Result<String> {
    if std::io::stdin().is_terminal() {
        return ask(question, echo);
    }
    Err(unasked(&format!("log in to `{registry}`"), "there is no terminal to ask for a password on"))
}
