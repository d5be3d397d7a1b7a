//! `rabbitc update`: other limits for containers, another restart policy, other health checks, and other published ports.

use std::process::ExitCode;

use clap::Parser;
use engine::{Error, PortChange, Result, UpdateRequest, Updated, limit_syntax, parse_publish, parse_restart};

use super::mistaken;
use super::targets::{All, Targets};
use crate::args::{HealthArguments, LimitArguments};
use crate::render;

/// Changes limits, health checks and published ports of containers, now and for each later start. What is not named stays as it is.
#[derive(Debug, Parser)]
#[command(name = "rabbitc update", max_term_width = 100)]
pub(crate) struct UpdateArguments {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    limits: LimitArguments,
    /// `--cpu-shares`
    #[arg(short = 'c', hide = true, value_name = "NUMBER", value_parser = limit_syntax::parse_unsigned)]
    shares: Option<u64>,
    /// When it is started again by itself: no, on-failure, on-failure:TIMES, always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    #[command(flatten)]
    health: HealthArguments,
    /// Publish these ports, too, at once where it runs: as `run --publish`
    #[arg(long, value_name = "SPEC")]
    publish_add: Vec<String>,
    /// Publish these no more: as they were published, or by the container's port alone
    #[arg(long, value_name = "SPEC")]
    publish_rm: Vec<String>,
}

pub(super) fn update(arguments: &UpdateArguments) -> ExitCode {
    let restart = arguments.restart.as_deref().filter(|policy| !policy.is_empty()).map(parse_restart);
    let restart = match restart.transpose() {
        Ok(restart) => restart,
        Err(error) => return mistaken(&error),
    };
    let health = match arguments.health.update() {
        Ok(health) => health,
        Err(error) => return mistaken(&error),
    };
    let ports = match ports(arguments) {
        Ok(ports) => ports,
        Err(error) => return mistaken(&error),
    };
    let limits = match check(arguments).and_then(|()| arguments.limits.options()) {
        Ok(mut limits) => {
            limits.cpu_shares = arguments.shares.filter(|shares| *shares != 0).or(limits.cpu_shares);
            limits
        }
        Err(error) => return mistaken(&error),
    };
    if limits == engine::LimitOptions::default() && restart.is_none() && health.is_none() && ports.is_empty()
    {
        let error = Error::invalid(
            "rabbitc update",
            "you must provide one or more flags when using this command".to_owned(),
        );
        return mistaken(&error.with_hint("`rabbitc update --help` lists the limits"));
    }
    let request = UpdateRequest { limits, restart, health, ports };
    arguments.targets.each("update", All::No, |found| {
        let Updated { notices, chosen_ports } = found.update(&request)?;
        notices.iter().for_each(render::notice);
        chosen_ports.iter().for_each(|port| render::information(&format!("published {port}")));
        Ok(())
    })
}

fn ports(arguments: &UpdateArguments) -> Result<PortChange> {
    let read = |field: &str, texts: &[String]| -> Result<Vec<_>> {
        texts.iter().map(|text| parse_publish(field, text)).collect()
    };
    Ok(PortChange {
        add: read("--publish-add", &arguments.publish_add)?,
        remove: read("--publish-rm", &arguments.publish_rm)?,
    })
}

/// Refuses what belongs to a start.
fn check(arguments: &UpdateArguments) -> Result<()> {
    let limits = &arguments.limits;
    let refused = [
        (!limits.ulimit.is_empty(), "--ulimit"),
        (limits.shm_size.is_some(), "--shm-size"),
        (limits.cgroup_parent.is_some(), "--cgroup-parent"),
        (limits.oom_kill_disable, "--oom-kill-disable"),
        (limits.oom_score_adj.is_some(), "--oom-score-adj"),
    ];
    if let Some((_, flag)) = refused.into_iter().find(|(is_given, _)| *is_given) {
        let error = Error::invalid(flag, "it can't be changed for a container that is there".to_owned());
        return Err(error.with_hint("make a container with it"));
    }
    Ok(())
}
