//! How a container lives, as typed.

use std::io::IsTerminal;

use clap::Args;
use engine::{
    Error, InputUntil, LifeOptions, ReadyImage, Result, StandardInput, Stay, parse_log, parse_restart,
};

use super::{RunArguments, said};

/// How a container lives.
#[derive(Debug, Args)]
#[command(next_help_heading = "Life")]
pub(crate) struct LifeArguments {
    /// Return when it runs, and print its id
    #[arg(short = 'd', long)]
    pub(crate) detach: bool,
    /// What it is called [default: two words]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Remove the container that has this name
    #[arg(long)]
    pub(crate) replace: bool,
    /// The pod that it is to be of, or `new:NAME` for a new one
    #[arg(long, value_name = "POD")]
    pub(crate) pod: Option<String>,
    /// A file that the id of that pod stands in, as `pod create --pod-id-file` writes it
    #[arg(long, value_name = "FILE")]
    pub(crate) pod_id_file: Option<std::path::PathBuf>,
    /// When it is started again by itself: no, on-failure, on-failure:TIMES, always or unless-stopped [default: no]
    #[arg(long, value_name = "POLICY")]
    pub(crate) restart: Option<String>,
    /// Where its output is kept: json-file, k8s-file, journald or none [default: json-file]
    #[arg(long, value_name = "DRIVER")]
    pub(crate) log_driver: Option<String>,
    /// How it is kept: max-size=SIZE, max-file=COUNT and others [default: 3 files of 10 MiB]
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) log_opt: Vec<String>,
    /// Keys that leave a container in the foreground alone [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
    /// Which streams to attach to: stdin, stdout and stderr
    #[arg(short = 'a', long, value_name = "STREAM")]
    pub(crate) attach: Vec<String>,
}

/// How a container that `run` starts lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It is this process's own child, with the caller's streams, and ends with it; nothing is kept of it but with
    /// the second.
    Own(Option<Stay>),
    /// A process of its own stands behind it.
    LivingOn(Stay),
}

impl RunArguments {
    /// How the container lives, of `image` where it is of one.
    pub(crate) fn way_of_life(&self, image: Option<&ReadyImage>) -> Result<Life> {
        let of_image = image.is_some();
        let life = &self.life;
        let restarts = said(&life.restart).is_some_and(|policy| !matches!(policy, "no" | "never"));
        if restarts && self.rm == Some(true) {
            let reason = "a container that is removed at its end can't be started again";
            let hint = "leave one of `--restart` and `--rm` out";
            return Err(Error::invalid("--restart", reason.to_owned()).with_hint(hint));
        }
        if self.process.rmi && (life.detach || !of_image) {
            let reason =
                if of_image { "nobody waits for the end with `--detach`" } else { "there is no image" };
            let error = Error::invalid("--rmi", reason.to_owned());
            return Err(error.with_hint("leave it out; `rabbitc rmi` removes images"));
        }
        if self.process.rmi && self.rm != Some(true) {
            let reason = "an image can't go while its container stays".to_owned();
            return Err(Error::invalid("--rmi", reason).with_hint("leave `--rm=false` out"));
        }
        let stay = if self.rm == Some(true) { Stay::Removed } else { Stay::Kept };
        let of_pod = said(&life.pod).is_some() || life.pod_id_file.is_some();
        if of_pod && (self.look.explain.is_some() || self.process.preserve_fds > 0) {
            let flag = if self.look.explain.is_some() { "--explain" } else { "--preserve-fds" };
            let reason =
                "a container of a pod is a child of the process that stands behind it, and not of this one";
            return Err(Error::invalid(flag, reason.to_owned()).with_hint("leave it out"));
        }
        if self.health.restarts() && self.rm == Some(true) {
            let reason = "a container that is removed at its end can't be started again";
            let error = Error::invalid("--health-on-failure", reason.to_owned());
            return Err(error.with_hint("leave `--rm` out, or write another action"));
        }
        if of_pod || life.detach || restarts || said(&life.log_driver).is_some() || !life.log_opt.is_empty() {
            return Ok(Life::LivingOn(stay));
        }
        // What only the parent of a container can do.
        let is_own = self.look.explain.is_some() || self.process.preserve_fds > 0;
        if !is_own && self.health.check(image.map(|image| &image.defaults))?.is_some() {
            // Somebody has to keep the time.
            return Ok(Life::LivingOn(stay));
        }
        let named = said(&life.name).is_some();
        Ok(match self.rm {
            Some(true) if of_image || named => Life::Own(Some(Stay::Removed)),
            Some(true) => Life::Own(None),
            None if !of_image && !named => Life::Own(None),
            _ if is_own => Life::Own(Some(Stay::Kept)),
            _ => Life::LivingOn(Stay::Kept),
        })
    }

    /// Whether the caller's standard input is read for a container that lives on: only where that is said, or where somebody sits
    /// at the terminal that it gets. Whatever else is in it is not rabbitc's to take, such as the rest of a script.
    pub(crate) fn reads_input(&self) -> bool {
        let is_stdin = |stream: &String| stream.eq_ignore_ascii_case("stdin");
        if self.process.interactive || self.life.attach.iter().any(is_stdin) {
            return true;
        }
        let gets_terminal = self.process.tty || std::io::stdout().is_terminal();
        self.life.attach.is_empty() && gets_terminal && std::io::stdin().is_terminal()
    }

    /// What is to become of a container that lives on.
    pub(crate) fn life(&self, image: Option<&ReadyImage>) -> Result<LifeOptions> {
        let life = &self.life;
        let input = match (self.process.interactive, life.detach) {
            (true, true) => StandardInput::Open(InputUntil::ContainerEnd),
            (_, false) if self.reads_input() => StandardInput::Open(InputUntil::FirstEnd),
            _ => StandardInput::Closed,
        };
        Ok(LifeOptions {
            restart: parse_restart(said(&life.restart).unwrap_or_default())?,
            input,
            log: parse_log(life.log_driver.as_deref(), &life.log_opt)?,
            health: self.health.check(image.map(|image| &image.defaults))?,
            flags: self.given.flags().to_vec(),
            updated: Vec::new(),
        })
    }
}
