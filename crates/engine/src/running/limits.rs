//! `update`: other limits for a container, now where it runs and for each later start, and another restart policy. What it does not
//! name stays as it is.

use runtime::limits;

use super::Found;
use crate::config;
use crate::container::Notice;
use crate::error::{Error, Result};
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
}

impl Found {
    /// Changes it; what is left out, and why, comes back.
    pub fn update(&self, request: &UpdateRequest) -> Result<Vec<Notice>> {
        let Some(asked) = self.kept.as_ref().and_then(|kept| kept.record.asked.as_deref()) else {
            return self.update_until_end(request);
        };
        let updated = asked.options.limits.updated(&request.limits);
        updated.check()?;
        self.check_restart(request)?;
        let touched = updated.touched(&request.limits);
        let notices = match self.is_up() {
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
                let restart = request.restart.map(|_| "--restart".to_owned());
                let new: Vec<String> = request.limits.flags().into_iter().chain(restart).collect();
                life.updated.retain(|flag| !new.contains(flag));
                life.updated.extend(new);
            }
        })?;
        self.tell_with("update", []);
        Ok(notices)
    }

    /// The same for one that nobody will start again.
    fn update_until_end(&self, request: &UpdateRequest) -> Result<Vec<Notice>> {
        self.up("update")?;
        if request.restart.is_some_and(|policy| policy != RestartPolicy::No) {
            let error = self.wrong("update", "goes with the command that runs it");
            return Err(error.with_hint("leave `--restart` out, or run it with `--detach`"));
        }
        request.limits.check()?;
        let notices = self.apply(&request.limits)?;
        self.tell_with("update", []);
        Ok(notices)
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
