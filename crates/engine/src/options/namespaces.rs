//! What a container shares with the host or with another container, as meant. Looks nothing up.

use super::UserNamespace;
use crate::error::{Error, Result};

/// Namespaces of one container, the network's apart.
#[derive(Debug, Clone, PartialEq)]
pub struct NamespaceOptions {
    /// Its host name.
    pub hostname: String,
    /// Whose ids its processes have.
    pub users: UserNamespace,
}

impl Default for NamespaceOptions {
    fn default() -> NamespaceOptions {
        NamespaceOptions { hostname: "rabbitc".to_owned(), users: UserNamespace::Default }
    }
}

impl NamespaceOptions {
    /// Refuses names that no host could have (RFC 1123; the kernel takes 64 bytes).
    pub(crate) fn check(&self) -> Result<()> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        let name = &self.hostname;
        if name.is_empty() || name.len() > 64 || !name.bytes().all(legal) || name.starts_with(['-', '.']) {
            let error = Error::invalid("--hostname", format!("`{}` is not a host name", name.escape_debug()));
            return Err(
                error.with_hint("up to 64 letters, digits, `-` and `.`, beginning with a letter or digit")
            );
        }
        Ok(())
    }
}
