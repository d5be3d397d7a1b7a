//! Removing a network that no container has: its record, then what is left of its bridge.

use ::network::InterfaceName;
use runtime::ErrorKind;

use super::{Network, NetworkStore, NetworkUser, RECORD};
use crate::directories::{remove_file, sync};
use crate::error::{Code, Error, Result, from_network};
use crate::network::namespace_of;
use crate::paths::EnginePaths;

impl NetworkStore {
    /// Removes a network that no container has, called by its name, its id or the beginning of that.
    pub fn remove(&self, called: &str, paths: &EnginePaths) -> Result<Network> {
        let found = self.find(called)?;
        if found.is_built_in() {
            return Err(built_in(&found));
        }
        let _lock = self.lock()?;
        let network = self.find(called)?;
        let users = self.users(paths)?;
        let own = users.of(&network);
        if !own.is_empty() {
            return Err(in_use(&network, &own));
        }
        if let Some(error) = users.damaged {
            // What a damaged container has nobody knows.
            return Err(error);
        }
        if let Some(holders) = self.holders(&network, paths)? {
            return Err(in_use(&network, &holders));
        }
        remove_file(&self.path.join(format!("{}{RECORD}", network.id)))?;
        sync(&self.path)?;
        self.tell(&network, "destroy", None);
        Ok(network)
    }

    /// Who has addresses in it: of containers that begin or end, records tell nothing yet, or no longer. What is left of its
    /// bridge goes where nobody has.
    fn holders(&self, network: &Network, paths: &EnginePaths) -> Result<Option<Vec<NetworkUser>>> {
        let Ok(name) = InterfaceName::parse(&network.state_name()) else { return Ok(None) };
        let Some(namespace) = namespace_of(paths)? else { return Ok(None) };
        let state = namespace.network(&name);
        let held = state.held_leases().map_err(from_network)?;
        if held.is_empty() {
            // Whatever interface is left: whoever tidies comes back to it.
            let _ = ::network::remove_if_unused(&state);
            return Ok(None);
        }
        let user = |lease: ::network::HeldLease| NetworkUser {
            id: lease.holder.unwrap_or_default(),
            name: String::new(),
            runs: true,
            place: None,
        };
        Ok(Some(held.into_iter().map(user).collect()))
    }
}

fn built_in(network: &Network) -> Error {
    let operation = format!("remove the network `{}`", network.name);
    // In docker's words.
    let reason = format!("{} is a pre-defined network and cannot be removed", network.name);
    Error::new(ErrorKind::Invalid, operation, reason).with_hint("it costs nothing while no container has it")
}

fn in_use(network: &Network, users: &[NetworkUser]) -> Error {
    let operation = format!("remove the network `{}`", network.name);
    let shown = |user: &NetworkUser| {
        format!("name:\"{}\" id:\"{}\"", user.name, user.id.get(..12).unwrap_or(&user.id))
    };
    let running: Vec<String> = users.iter().filter(|user| user.runs).map(shown).collect();
    let (reason, hint) = match running.is_empty() {
        // In docker's words, and in podman's.
        false => (
            format!("network {} has active endpoints ({})", network.name, running.join(", ")),
            "end those containers first, or take them off it with `rabbitc network disconnect`",
        ),
        true => {
            let all: Vec<String> = users.iter().map(shown).collect();
            let reason = format!(
                "network is being used: \"{}\" has associated containers with it ({})",
                network.name,
                all.join(", ")
            );
            (reason, "remove those containers first, with `rabbitc rm` or `rabbitc network rm --force`")
        }
    };
    Error::new(ErrorKind::WrongStatus, operation, reason).with_code(Code::InUse).with_hint(hint)
}
