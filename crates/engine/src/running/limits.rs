//! `update`: other limits for a container that runs. What it does not name stays as it is.

use runtime::limits;

use super::Found;
use crate::config;
use crate::container::Notice;
use crate::error::Result;
use crate::options::LimitOptions;

impl Found {
    /// Sets limits; what is left out, and why, comes back.
    pub fn update(&self, options: &LimitOptions) -> Result<Vec<Notice>> {
        self.up("update")?;
        options.check()?;
        let resources = config::changed_limits(options)?;
        let mut notices = config::limit_notices(options);
        let warnings = limits::update(&self.state, &self.runtime_id()?, &resources)?;
        notices.extend(warnings.iter().map(|warning| Notice { what: warning.to_string(), remedy: None }));
        self.tell_with("update", []);
        // Where a container can be started again, this is the place to write the limits into its record, too.
        Ok(notices)
    }
}
