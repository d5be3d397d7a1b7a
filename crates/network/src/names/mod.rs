//! Owns the responder of a network: one process that tells the network's containers each other's names and addresses, and
//! passes other questions on to the host's resolvers. Starts no process.
//!
//! ```text
//! <namespace>/<network>/names      flock held by the responder: that it is there
//! ```
//!
//! Whoever has started a container takes that lock if nobody has it, opens the sockets, and hands both to a new process
//! ([`Responder::claim`]). So what the container asks is heard before that process runs. The names are in the leases
//! ([`crate::Lease::note_names`]), which the responder follows by inotify. It ends with the last of them: it lets the lock go,
//! and only then looks whether there is a new one. A start has its lease before it looks at the lock, so one of them sees
//! the other.

mod clients;
mod forward;
mod leases;
mod resolvers;
mod serve;
mod sockets;
mod table;
#[cfg(test)]
mod tests;
mod wire;

use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::io::Errno;

use self::sockets::Sockets;
use crate::error::Result;
use crate::options::BridgeNetwork;
use crate::state::NetworkStateDirectory;

/// How long a start waits for the sockets of the last responder, which has let its lock go and ends.
const PATIENCE: Duration = Duration::from_millis(500);

/// The place of a network's responder, and what it listens with.
#[derive(Debug)]
pub struct Responder {
    lock: OwnedFd,
    sockets: Sockets,
}

impl Responder {
    /// Takes the place; none where somebody has it. Wants a lease of the network, and a bridge that is complete.
    pub fn claim(state: &NetworkStateDirectory, network: &BridgeNetwork) -> Result<Option<Responder>> {
        let Some(lock) = state.claim_names()? else { return Ok(None) };
        let end = Instant::now() + PATIENCE;
        loop {
            match Sockets::open(network) {
                Ok(sockets) => return Ok(Some(Responder { lock, sockets })),
                Err(error) if error.cause == Some(Errno::ADDRINUSE) && Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// All of it, for another process, which has it by [`Responder::of_descriptors`].
    pub fn into_descriptors(self) -> Vec<OwnedFd> {
        std::iter::once(self.lock).chain(self.sockets.into_descriptors()).collect()
    }

    /// What another process has handed over; nothing of none.
    pub fn of_descriptors(descriptors: impl IntoIterator<Item = OwnedFd>) -> Option<Responder> {
        let mut descriptors = descriptors.into_iter();
        let lock = descriptors.next()?;
        Some(Responder { lock, sockets: Sockets::of_descriptors(descriptors) })
    }

    /// Answers until nobody has a lease of the network any more. `label` is what people call the network.
    pub fn serve(self, state: &NetworkStateDirectory, network: &BridgeNetwork, label: &str) -> Result<()> {
        serve::Server::new(self, state, network, label).run()
    }
}

/// Those of the names that can be asked for, each once.
pub(crate) fn fit(names: &[String]) -> Vec<String> {
    let mut fit: Vec<String> = Vec::new();
    for name in names.iter().filter(|name| wire::is_name(name)) {
        if !fit.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            fit.push(name.clone());
        }
    }
    fit
}
