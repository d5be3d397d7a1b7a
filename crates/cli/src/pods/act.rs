//! `rabbitc pod start`, `stop`, `restart`, `kill`, `pause` and `unpause`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use engine::{
    EnginePaths, Error, ErrorKind, Patience, Pod, Pods, Result, StopRequest, parse_seconds, parse_signal,
};

use super::{Missing, StartArguments, TargetArguments};
use crate::life::tell_kill;

/// Stops the containers of pods.
#[derive(Debug, Args)]
pub(crate) struct StopArguments {
    #[command(flatten)]
    targets: TargetArguments,
    /// Nothing is wrong with one that is not there
    #[arg(short, long)]
    ignore: bool,
    /// Seconds until a container is killed; -1 is for ever [default: each container's own, 10]
    #[arg(
        short = 't',
        long,
        visible_alias = "timeout",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    time: Option<String>,
    /// A file that an id stands in, as `pod create --pod-id-file` writes it; may be repeated
    #[arg(long, value_name = "FILE")]
    pod_id_file: Vec<PathBuf>,
}

/// Sends a signal to the containers of pods.
#[derive(Debug, Args)]
pub(crate) struct KillArguments {
    #[command(flatten)]
    targets: TargetArguments,
    /// Which signal: a name such as `TERM` or `SIGUSR1`, or a number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL", allow_hyphen_values = true)]
    signal: String,
}

/// How long containers have to stop.
pub(super) fn patience(text: Option<&str>) -> Result<Option<Patience>> {
    let Some(text) = text else { return Ok(None) };
    Ok(Some(parse_seconds("--time", text)?.map_or(Patience::Endless, Patience::For)))
}

pub(super) fn start(arguments: &StartArguments) -> Result<ExitCode> {
    let targets = arguments.targets.find("start", &arguments.pod_id_file, Missing::Told)?;
    targets.each(as_named, |pod| targets.pods.start(pod, &targets.paths))
}

pub(super) fn stop(arguments: &StopArguments) -> Result<ExitCode> {
    let request = StopRequest { signal: None, patience: patience(arguments.time.as_deref())? };
    let missing = if arguments.ignore { Missing::Ignored } else { Missing::Told };
    let targets = arguments.targets.find("stop", &arguments.pod_id_file, missing)?;
    targets.each(as_named, |pod| stop_one(&targets.pods, pod, request, &targets.paths))
}

fn stop_one(pods: &Pods, pod: &Pod, request: StopRequest, paths: &EnginePaths) -> Vec<Error> {
    let (stopped, failures) = pods.stop(pod, request, paths);
    for (kept, how) in &stopped {
        tell_kill(kept, *how);
    }
    failures
}

pub(super) fn restart(arguments: &TargetArguments) -> Result<ExitCode> {
    let targets = arguments.find("restart", &[], Missing::Told)?;
    targets.each(by_id, |pod| {
        let failures = stop_one(&targets.pods, pod, StopRequest::default(), &targets.paths);
        if failures.is_empty() { targets.pods.start(pod, &targets.paths) } else { failures }
    })
}

pub(super) fn kill(arguments: &KillArguments) -> Result<ExitCode> {
    let text = arguments.signal.as_str();
    // Podman takes a dash before it, as kill(1) does.
    let signal = parse_signal("--signal", text.strip_prefix('-').unwrap_or(text))?;
    let targets = arguments.targets.find("kill", &[], Missing::Told)?;
    targets.each(by_id, |pod| targets.pods.kill(pod, signal, &targets.paths))
}

pub(super) fn pause(arguments: &TargetArguments) -> Result<ExitCode> {
    let targets = arguments.find("pause", &[], Missing::Told)?;
    targets.each(by_id, |pod| {
        if targets.pods.running(pod, &targets.paths).is_empty() && !arguments.all {
            let operation = format!("pause the pod `{}`", pod.name);
            let error = Error::new(ErrorKind::WrongStatus, operation, "none of its containers runs");
            return vec![error.with_hint(format!("start it with `rabbitc pod start {}`", pod.name))];
        }
        targets.pods.pause(pod, &targets.paths)
    })
}

pub(super) fn unpause(arguments: &TargetArguments) -> Result<ExitCode> {
    let targets = arguments.find("unpause", &[], Missing::Told)?;
    targets.each(by_id, |pod| targets.pods.unpause(pod, &targets.paths))
}

fn as_named(name: &str, _: &Pod) -> String {
    name.to_owned()
}

fn by_id(_: &str, pod: &Pod) -> String {
    pod.id.clone()
}
