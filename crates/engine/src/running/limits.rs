//! `update`: other limits for a container, now where it runs and for each later start, another restart policy, other health
//! checks, other ports. What it does not name stays as it is.

use runtime::limits;

use super::{Found, PortChange};
use crate::config;
use crate::container::Notice;
use crate::error::{Error, Result};
use crate::health::{Health, HealthCheck, HealthUpdate, OnFailure};
use crate::kept::{Asked, Stay};
use crate::life::RestartPolicy;
use crate::options::LimitOptions;

/// What is to change of a container.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UpdateRequest {
    /// Limits; what they leave open stays.
    pub limits: LimitOptions,
    /// Whether it is started again by itself.
    pub restart: Option<RestartPolicy>,
    /// How its health is checked.
    pub health: Option<HealthUpdate>,
    /// Its published ports.
    pub ports: PortChange,
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Updated {
    /// What was left out, and why.
    pub notices: Vec<Notice>,
    /// Published ports that nobody named, in words.
    pub chosen_ports: Vec<String>,
}

impl Found {
    /// Changes it.
    pub fn update(&self, request: &UpdateRequest) -> Result<Updated> {
        self.check_ports(&request.ports)?;
        let Some(asked) = self.kept.as_ref().and_then(|kept| kept.record.asked.as_deref()) else {
            return self.update_until_end(request);
        };
        let updated = asked.options.limits.updated(&request.limits);
        updated.check()?;
        self.check_restart(request)?;
        let health = match &request.health {
            Some(update) => {
                update.applied(asked.life.health.as_ref(), &format!("update `{}`", self.called()))?
            }
            None => asked.life.health.clone(),
        };
        self.check_action(health.as_ref())?;
        let touched = updated.touched(&request.limits);
        let mut notices = match self.is_up() {
            true => self.apply(&touched)?,
            false => {
                // Whether this host can keep them.
                config::changed_limits(&touched)?;
                config::limit_notices(&touched)
            }
        };
        // Where this fails they hold until the container ends, and somebody is told.
        self.containers.redefine(&self.id, |record| {
            if let Some(Asked { options, life }) = record.asked.as_deref_mut() {
                options.limits = options.limits.updated(&request.limits);
                life.restart = request.restart.unwrap_or(life.restart);
                life.health.clone_from(&health);
                let restart = request.restart.map(|_| "--restart".to_owned());
                let new: Vec<String> = request.limits.flags().into_iter().chain(restart).collect();
                life.updated.retain(|flag| !new.contains(flag));
                life.updated.extend(new);
            }
        })?;
        if self.is_up() && request.health.is_some() {
            notices.extend(self.begin_checks(health.as_ref())?);
        }
        let chosen_ports = match request.ports.is_empty() {
            true => Vec::new(),
            false => self.change_ports(&request.ports)?,
        };
        self.tell_with("update", []);
        Ok(Updated { notices, chosen_ports })
    }

    /// Of one that runs and had no checks, or none that are made by themselves, nobody keeps the time.
    fn begin_checks(&self, new: Option<&HealthCheck>) -> Result<Option<Notice>> {
        let Some(new) = new.filter(|check| check.is_one()) else { return Ok(None) };
        let before = self.health_check();
        if before.is_none()
            && let Some(kept) = &self.kept
        {
            Health::begin(&kept.directory, kept.record.started.unwrap_or_default())?;
        }
        let is_timed = |check: &HealthCheck| check.interval().is_some();
        let begins_later = is_timed(new) && !before.is_some_and(is_timed);
        Ok(begins_later.then(|| Notice {
            what: format!("the checks of `{}` by themselves begin with its next start", self.called()),
            remedy: Some(format!("`rabbitc healthcheck run {}` makes one now", self.called())),
        }))
    }

    /// One that is removed at its end is not started again for its health.
    fn check_action(&self, check: Option<&HealthCheck>) -> Result<()> {
        let restarts = check.is_some_and(|check| check.on_failure == OnFailure::Restart);
        if restarts && self.kept.as_ref().is_some_and(|kept| kept.record.stay == Stay::Removed) {
            let reason = "the container goes with its end, as `--rm` has it".to_owned();
            let error = Error::invalid("--health-on-failure", reason);
            return Err(error.with_hint("write another action"));
        }
        Ok(())
    }

    /// The same for one that nobody will start again.
    fn update_until_end(&self, request: &UpdateRequest) -> Result<Updated> {
        self.up("update")?;
        if request.restart.is_some_and(|policy| policy != RestartPolicy::No) {
            let error = self.wrong("update", "goes with the command that runs it");
            return Err(error.with_hint("leave `--restart` out, or run it with `--detach`"));
        }
        if request.health.is_some() {
            let error = self.wrong("update", "has no health check, as it goes with the command that runs it");
            return Err(error.with_hint("run it with `--detach`"));
        }
        request.limits.check()?;
        let notices = self.apply(&request.limits)?;
        self.tell_with("update", []);
        Ok(Updated { notices, chosen_ports: Vec::new() })
    }

    fn check_restart(&self, request: &UpdateRequest) -> Result<()> {
        let goes = self.kept.as_ref().is_some_and(|kept| kept.record.stay == Stay::Removed);
        match request.restart {
            Some(policy) if goes && policy != RestartPolicy::No => {
                let reason = "the container goes with its end, as `--rm` has it".to_owned();
                Err(Error::invalid("--restart", reason).with_hint("leave it out, or run one without `--rm`"))
            }
            _ => Ok(()),
        }
    }

    /// Sets limits of one that runs.
    fn apply(&self, options: &LimitOptions) -> Result<Vec<Notice>> {
        let resources = config::changed_limits(options)?;
        let mut notices = config::limit_notices(options);
        let warnings = limits::update(&self.state, &self.runtime_id()?, &resources)?;
        notices.extend(warnings.iter().map(|warning| Notice { what: warning.to_string(), remedy: None }));
        Ok(notices)
    }
}
