//! Health checks, as typed.

use clap::Args;
use engine::{
    Error, HealthChanges, HealthCheck, HealthLog, HealthUpdate, ImageDefaults, OnFailure, Result,
    StartupChanges, StartupCheck, parse_health_command, parse_health_interval, parse_health_log_place,
    parse_health_time, parse_on_failure,
};

use super::said;

/// How it is seen that a container works.
#[derive(Debug, Args)]
#[command(next_help_heading = "Health")]
pub(crate) struct HealthArguments {
    /// Script that is executed in the container to see that it works; or a JSON array, or `none` [default: the image's]
    #[arg(long, value_name = "COMMAND")]
    pub(crate) health_cmd: Option<String>,
    /// Time between two checks; `disable` leaves them to `rabbitc healthcheck run` [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub(crate) health_interval: Option<String>,
    /// Time that one may take [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub(crate) health_timeout: Option<String>,
    /// Failures in a row that make the container unhealthy [default: 3]
    #[arg(long, value_name = "COUNT")]
    pub(crate) health_retries: Option<String>,
    /// Time after the start in which failures don't count [default: 0s]
    #[arg(long, value_name = "TIME")]
    pub(crate) health_start_period: Option<String>,
    /// Time between two checks in that time [default: 5s]
    #[arg(long, value_name = "TIME")]
    pub(crate) health_start_interval: Option<String>,
    /// Without the image's health check
    #[arg(long)]
    pub(crate) no_healthcheck: bool,
    /// What is done to a container that is unhealthy: none, kill, restart or stop [default: none]
    #[arg(long, value_name = "ACTION")]
    pub(crate) health_on_failure: Option<String>,
    /// Where checks are written down, beside the container's own record: local, events_logger or a directory [default: local]
    #[arg(long, value_name = "PLACE")]
    pub(crate) health_log_destination: Option<String>,
    /// How many checks are kept; 0 is all [default: 5]
    #[arg(long, value_name = "COUNT")]
    pub(crate) health_max_log_count: Option<String>,
    /// How many bytes of what each wrote; 0 is all [default: 4096]
    #[arg(long, value_name = "BYTES")]
    pub(crate) health_max_log_size: Option<String>,
    /// A check that has to succeed before the others begin
    #[arg(long, value_name = "COMMAND")]
    pub(crate) health_startup_cmd: Option<String>,
    /// Time between two of these [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub(crate) health_startup_interval: Option<String>,
    /// Failures after which the container is started again; 0 is never [default: 0]
    #[arg(long, value_name = "COUNT")]
    pub(crate) health_startup_retries: Option<String>,
    /// How often it has to succeed [default: 1]
    #[arg(long, value_name = "COUNT")]
    pub(crate) health_startup_success: Option<String>,
    /// Time that one may take [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub(crate) health_startup_timeout: Option<String>,
}

impl HealthArguments {
    /// The check that is meant, with what the image says; none where there is nothing to check.
    pub(crate) fn check(&self, image: Option<&ImageDefaults>) -> Result<Option<HealthCheck>> {
        let time = |flag: &str, text: &Option<String>| {
            said(text).map_or(Ok(0), |text| parse_health_time(&format!("--health-{flag}"), text))
        };
        let own = HealthCheck {
            test: said(&self.health_cmd).map(parse_health_command).unwrap_or_default(),
            interval: said(&self.health_interval)
                .map_or(Ok(0), |text| parse_health_interval("--health-interval", text))?,
            timeout: time("timeout", &self.health_timeout)?,
            start_period: time("start-period", &self.health_start_period)?,
            start_interval: time("start-interval", &self.health_start_interval)?,
            retries: count("retries", &self.health_retries)?.unwrap_or(0),
            on_failure: parse_on_failure(said(&self.health_on_failure).unwrap_or_default())?,
            log: self.log()?,
            startup: self.startup()?,
        };
        if self.no_healthcheck {
            if own != HealthCheck::default() {
                // In docker's words.
                let reason = "--no-healthcheck conflicts with --health-* options".to_owned();
                let error = Error::invalid("--no-healthcheck", reason);
                return Err(error.with_hint("leave it out, or the others"));
            }
            return Ok(None);
        }
        let check = own.over(image.and_then(|image| image.health.as_ref()));
        if check.startup.is_some() && !check.is_one() {
            let error =
                Error::invalid("--health-startup-cmd", "there is no check that it comes before".to_owned());
            return Err(error.with_hint("write `--health-cmd`, too"));
        }
        if check.on_failure != OnFailure::None && !check.is_one() {
            let reason =
                format!("cannot set on-failure action to `{}` without a health check", check.on_failure);
            let error = Error::invalid("--health-on-failure", reason);
            return Err(error.with_hint("write `--health-cmd`, too"));
        }
        Ok(check.is_one().then_some(check))
    }

    fn log(&self) -> Result<HealthLog> {
        let default = HealthLog::default();
        Ok(HealthLog {
            place: parse_health_log_place(said(&self.health_log_destination).unwrap_or_default())?,
            most_entries: count("max-log-count", &self.health_max_log_count)?.unwrap_or(default.most_entries),
            most_bytes: count("max-log-size", &self.health_max_log_size)?.unwrap_or(default.most_bytes),
        })
    }

    fn startup(&self) -> Result<Option<StartupCheck>> {
        let Some(command) = said(&self.health_startup_cmd) else {
            let others = [
                ("interval", &self.health_startup_interval),
                ("retries", &self.health_startup_retries),
                ("success", &self.health_startup_success),
                ("timeout", &self.health_startup_timeout),
            ];
            let Some((name, _)) = others.into_iter().find(|(_, text)| said(text).is_some()) else {
                return Ok(None);
            };
            let flag = format!("--health-startup-{name}");
            let error = Error::invalid(flag, "there is no check that it is about".to_owned());
            return Err(error.with_hint("write `--health-startup-cmd`, too"));
        };
        let time = |flag: &str, text: &Option<String>| {
            said(text).map_or(Ok(0), |text| parse_health_time(&format!("--health-startup-{flag}"), text))
        };
        Ok(Some(StartupCheck {
            test: parse_health_command(command),
            interval: time("interval", &self.health_startup_interval)?,
            timeout: time("timeout", &self.health_startup_timeout)?,
            retries: count("startup-retries", &self.health_startup_retries)?.unwrap_or(0),
            success: count("startup-success", &self.health_startup_success)?.unwrap_or(0),
        }))
    }

    /// What is to change of a container that is there; nothing where nothing was said.
    pub(crate) fn update(&self) -> Result<Option<HealthUpdate>> {
        let time = |flag: &str, text: &Option<String>| {
            said(text).map(|text| parse_health_time(&format!("--health-{flag}"), text)).transpose()
        };
        let changes = HealthChanges {
            test: said(&self.health_cmd).map(parse_health_command),
            interval: said(&self.health_interval)
                .map(|text| parse_health_interval("--health-interval", text))
                .transpose()?,
            timeout: time("timeout", &self.health_timeout)?,
            start_period: time("start-period", &self.health_start_period)?,
            start_interval: time("start-interval", &self.health_start_interval)?,
            retries: count("retries", &self.health_retries)?,
            on_failure: said(&self.health_on_failure).map(parse_on_failure).transpose()?,
            place: said(&self.health_log_destination).map(parse_health_log_place).transpose()?,
            most_entries: count("max-log-count", &self.health_max_log_count)?,
            most_bytes: count("max-log-size", &self.health_max_log_size)?,
            startup: StartupChanges {
                test: said(&self.health_startup_cmd).map(parse_health_command),
                interval: time("startup-interval", &self.health_startup_interval)?,
                timeout: time("startup-timeout", &self.health_startup_timeout)?,
                retries: count("startup-retries", &self.health_startup_retries)?,
                success: count("startup-success", &self.health_startup_success)?,
            },
        };
        match (self.no_healthcheck, changes == HealthChanges::default()) {
            (true, true) => Ok(Some(HealthUpdate::Off)),
            (true, false) => {
                // In docker's words.
                let reason = "--no-healthcheck conflicts with --health-* options".to_owned();
                Err(Error::invalid("--no-healthcheck", reason).with_hint("leave it out, or the others"))
            }
            (false, true) => Ok(None),
            (false, false) => Ok(Some(HealthUpdate::Changed(Box::new(changes)))),
        }
    }

    /// Whether an unhealthy container is to be started again.
    pub(crate) fn restarts(&self) -> bool {
        matches!(parse_on_failure(said(&self.health_on_failure).unwrap_or_default()), Ok(OnFailure::Restart))
    }
}

fn count(flag: &str, text: &Option<String>) -> Result<Option<u32>> {
    said(text)
        .map(|text| {
            text.parse().map_err(|_| {
                let reason = format!("`{}` is no number of 0 or more", text.escape_debug());
                Error::invalid(format!("--health-{flag}"), reason).with_hint("write a number, such as `3`")
            })
        })
        .transpose()
}
