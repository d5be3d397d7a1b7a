//! What a container's processes may do, as meant. Looks nothing up.

/// Rights of one container beyond or below the default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SecurityOptions {}
