//! `rabbitc system install`, and what its unit calls at boot and at shutdown.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;
use engine::{Error, ErrorKind, Notice, Result, Started, named_file};

use crate::images::print;
use crate::life::PlaceArguments;
use crate::render;

/// The unit's name.
const UNIT: &str = "rabbitc.service";

/// Has systemd bring back at boot the containers that are to run (`--restart=always` and `unless-stopped`).
#[derive(Debug, Args)]
pub(crate) struct InstallArguments {
    /// Print the unit, and do nothing
    #[arg(long)]
    print: bool,
    /// Take the unit away again
    #[arg(long)]
    remove: bool,
}

/// Starts the containers that are to run; for the unit.
#[derive(Debug, Args)]
pub(crate) struct BootArguments {
    #[command(flatten)]
    place: PlaceArguments,
}

/// Stops all containers, which the next boot starts again; for the unit.
#[derive(Debug, Args)]
pub(crate) struct ShutdownArguments {
    #[command(flatten)]
    place: PlaceArguments,
}

/// Whose systemd it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Host,
    User,
}

impl Whose {
    fn of_caller() -> Whose {
        if rustix::process::geteuid().is_root() { Whose::Host } else { Whose::User }
    }

    /// Where units are, that somebody puts there by hand.
    fn directory(self) -> Result<PathBuf> {
        if self == Whose::Host {
            return Ok("/etc/systemd/system".into());
        }
        let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
        let config = config.ok_or_else(|| {
            Error::invalid("rabbitc system install", "the user's home is not known".to_owned())
                .with_hint("set HOME")
        })?;
        Ok(config.join("systemd/user"))
    }

    fn target(self) -> &'static str {
        match self {
            Whose::Host => "multi-user.target",
            Whose::User => "default.target",
        }
    }

    fn systemctl(self, words: &[&str]) -> Result<bool> {
        let mut command = Command::new("systemctl");
        if self == Whose::User {
            command.arg("--user");
        }
        match command.args(words).status() {
            Ok(status) => Ok(status.success()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::system("run `systemctl`", error)),
        }
    }
}

fn unit(program: &Path, whose: Whose) -> String {
    // Nothing but what must be there waits for a container.
    let network = match whose {
        Whose::Host => "Wants=network-online.target\nAfter=network-online.target local-fs.target\n",
        Whose::User => "",
    };
    let program = program.display();
    format!(
        "[Unit]\nDescription=Containers of rabbitc that are to run\n{network}\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\n\
         # Who stands behind a container outlives this unit.\nKillMode=process\n\
         ExecStart={program} system boot\nExecStop={program} system shutdown\nTimeoutStopSec=120\n\n\
         [Install]\nWantedBy={}\n",
        whose.target()
    )
}

pub(super) fn install(arguments: &InstallArguments) -> Result<ExitCode> {
    let program = std::env::current_exe().map_err(|error| Error::system("find this program", error))?;
    let whose = Whose::of_caller();
    let text = unit(&program, whose);
    if arguments.print {
        return print(&text).map(|()| ExitCode::SUCCESS);
    }
    let directory = whose.directory()?;
    let path = directory.join(UNIT);
    if arguments.remove {
        // It may not be enabled any more.
        let _ = whose.systemctl(&["disable", UNIT])?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::at_path("remove", &path, error));
            }
            _ => {}
        }
        let _ = whose.systemctl(&["daemon-reload"])?;
        return Ok(ExitCode::SUCCESS);
    }
    write(&directory, &path, &text)?;
    print(&format!("{}\n", path.display()))?;
    let user = if whose == Whose::User { " --user" } else { "" };
    let is_known = whose.systemctl(&["daemon-reload"])? && whose.systemctl(&["enable", UNIT])?;
    // Only what is active ends containers in order at a shutdown, the next one as well.
    if is_known && !whose.systemctl(&["start", UNIT])? {
        render::notice(&Notice {
            what: "systemd knows the unit, and not all that is to run was started".to_owned(),
            remedy: Some(format!("`systemctl{user} status {UNIT}` tells why")),
        });
    }
    if !is_known {
        render::notice(&Notice {
            what: "the unit is there, and systemd could not be told so".to_owned(),
            remedy: Some(format!(
                "`systemctl{user} daemon-reload && systemctl{user} enable --now {UNIT}` tells it"
            )),
        });
    }
    if whose == Whose::User {
        render::notice(&Notice {
            what: "units of a user are started at the first login, not at boot".to_owned(),
            remedy: Some("`loginctl enable-linger` has them started at boot".to_owned()),
        });
    }
    Ok(ExitCode::SUCCESS)
}

/// Not over a unit that somebody has written by hand.
fn write(directory: &Path, path: &Path, text: &str) -> Result<()> {
    std::fs::create_dir_all(directory).map_err(|error| Error::at_path("make", directory, error))?;
    if path.exists() {
        let found = named_file::read("read", path, named_file::LONGEST_LIST)?;
        if !String::from_utf8_lossy(&found).contains("system boot") {
            let reason = format!("`{}` is there already, and is none of rabbitc's", path.display());
            let error = Error::new(ErrorKind::AlreadyExists, "rabbitc system install", reason);
            return Err(
                error.with_hint("move it away, or write `--print` to see the unit that would be put there")
            );
        }
    }
    let draft = path.with_extension("service.new");
    let put = || -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, path)
    };
    put().map_err(|error| Error::at_path("write", path, error))
}

/// Each is tried, whatever becomes of the others.
pub(super) fn boot(arguments: &BootArguments) -> Result<ExitCode> {
    let (containers, paths) = (arguments.place.containers()?, arguments.place.paths()?);
    let mut code = ExitCode::SUCCESS;
    for kept in containers.living(&paths)?.iter().rev().filter(|kept| kept.is_to_run_at_boot()) {
        let failed = match containers.start(&kept.id, None, &paths) {
            Ok(Started::Now | Started::Before) => false,
            Ok(Started::Failed(_)) => true,
            Err(error) => {
                render::error(&error);
                true
            }
        };
        if failed {
            render::warning(&format!("`{}` was not started", kept.shown_name()));
            code = ExitCode::from(crate::FAILED);
        }
    }
    Ok(code)
}

pub(super) fn shutdown(arguments: &ShutdownArguments) -> Result<ExitCode> {
    let (containers, paths) = (arguments.place.containers()?, arguments.place.paths()?);
    let failures = containers.rest(&paths)?;
    failures.iter().for_each(render::error);
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(crate::FAILED) })
}
