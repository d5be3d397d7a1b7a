//! Which of a user's own containers has a port of the host. pasta binds them, and nobody but root sees what that process
//! has open; so each container's record names them. Binds and opens no port itself.

use std::net::IpAddr;

use ::network::{HostPorts, PortRequest};
use runtime::lifecycle::{self, Status};
use runtime::state_dir::StateRoot;
use serde::{Deserialize, Serialize};

use crate::paths::EnginePaths;

/// What the record of a container keeps.
#[derive(Serialize, Deserialize)]
struct Kept {
    // Beside what a listing shows, which is called `ports`.
    #[serde(rename = "boundByPasta")]
    ports: Vec<Ports>,
}

/// Ports of the host from the first to the last, at one address or at all.
#[derive(Serialize, Deserialize)]
struct Ports {
    address: Option<IpAddr>,
    first: u16,
    last: u16,
    protocol: String,
}

impl Ports {
    fn of(request: &PortRequest) -> Option<Ports> {
        let HostPorts::From(first) = request.host else { return None };
        let last = first.saturating_add(request.container.last() - request.container.first());
        Some(Ports { address: request.address, first, last, protocol: request.protocol.to_string() })
    }

    fn overlap(&self, other: &Ports) -> bool {
        let addresses = match (self.address, other.address) {
            (Some(one), Some(other)) => {
                let any = one.is_unspecified() || other.is_unspecified();
                one == other || (any && one.is_ipv4() == other.is_ipv4())
            }
            _ => true,
        };
        addresses && self.protocol == other.protocol && self.first <= other.last && other.first <= self.last
    }
}

/// What the record of a container that publishes these is to keep.
pub(crate) fn record(publish: &[PortRequest]) -> serde_json::Value {
    let ports: Vec<Ports> = publish.iter().filter_map(Ports::of).collect();
    if ports.is_empty() {
        return serde_json::Value::Null;
    }
    serde_json::to_value(Kept { ports }).expect("numbers and strings")
}

/// The id of the user's living container that has a port of the host which `request` asks for. A look that fails finds none.
pub(crate) fn holder(request: &PortRequest, port: u16, paths: &EnginePaths) -> Option<String> {
    let wanted = Ports { first: port, last: port, ..Ports::of(request)? };
    let root = StateRoot::new(paths.containers());
    root.list().ok()?.into_iter().find_map(|id| {
        let view = lifecycle::view(&root, &id).ok().filter(|view| view.status != Status::Stopped)?;
        let kept: Kept = serde_json::from_value(view.record.caller).ok()?;
        kept.ports.iter().any(|ports| ports.overlap(&wanted)).then(|| id.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::parse_publish;

    #[test]
    fn ports_in_a_record_are_told_from_their_neighbours() {
        let request = |text: &str| parse_publish("--publish", text).expect("legal");
        let kept = record(&[request("127.0.0.1:8000-8009:80-89"), request("53:53/udp")]);
        let kept: Kept = serde_json::from_value(kept).expect("read as it was written");
        let has = |text: &str| {
            let wanted = Ports::of(&request(text)).expect("a named port");
            kept.ports.iter().any(|ports| ports.overlap(&wanted))
        };
        for (text, overlaps) in [
            ("8009:80", true),
            ("8010:80", false),
            ("0.0.0.0:8000:80", true),
            ("192.0.2.1:8000:80", false),
            ("[::]:8000:80", false),
            ("8000:80/udp", false),
            ("192.0.2.1:53:53/udp", true),
        ] {
            assert_eq!(has(text), overlaps, "{text}");
        }
        assert!(record(&[]).is_null() && record(&[request("80")]).is_null());
    }
}
