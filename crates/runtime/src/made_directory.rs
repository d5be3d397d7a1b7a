//! Where the program's directory is made, if it is missing. Looks from outside, at what the steps mount, and makes nothing.

use crate::init::step::{Action, InitAction};
use crate::mounted::{End, Mounted, shown};
use crate::plan::ContainerPlan;

impl ContainerPlan {
    /// The working directory, if it is missing and would be made in the root itself, and in no mount of the container's: what
    /// is made there stays. What can't be looked at from here is not told.
    pub fn directory_made_in_root(&self) -> Option<String> {
        let target = self.steps.iter().find_map(|step| match &step.action {
            Action::Init(InitAction::WorkingDirectory { made, .. }) => made.as_ref(),
            _ => None,
        })?;
        let mounted = Mounted::of(&self.steps, self.root.path());
        match mounted.walk::<()>(target.path.to_bytes(), |_, _| None) {
            End::Missing(way) if mounted.is_root(&way) => Some(shown(&way)),
            _ => None,
        }
    }
}
