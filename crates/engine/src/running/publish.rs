//! `update --publish-add` and `--publish-rm`: other published ports for a container, now where it runs and for each later
//! start. What it is asked for is written first; what there is follows that, now or with the next look at the container.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ::network::{
    BridgeNetwork, HeldPorts, HostPorts, Ipv6Choice, Ipv6Network, NetworkOptions, NetworkSettings,
    NetworkStateDirectory, PortHolder, PortRequest, Protocol, Publication, Tenant,
};
use monitor::BoundAt;
use runtime::lifecycle::{self, View};
use runtime::state_dir::{Lock, StateRoot};
use runtime::{ContainerId, ErrorKind};

use super::{Found, PublishedPort};
use crate::error::{Error, Result, from_monitor, from_network};
use crate::kept::{Asked, Kept, Record, Shown, ShownNetwork};
use crate::options::{NetworkMode, parse_publish, publish_text};
use crate::paths::EnginePaths;

/// Which ports are to be published beside the others, and which no more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortChange {
    /// More of them.
    pub add: Vec<PortRequest>,
    /// Those that go: as they were asked for, or by the container's ports alone.
    pub remove: Vec<PortRequest>,
}

const OPERATION: &str = "update";

impl PortChange {
    /// Whether nothing is to change.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    /// What is published with the change.
    fn applied(&self, before: &[PortRequest]) -> Result<Vec<PortRequest>> {
        let mut after = before.to_vec();
        for gone in &self.remove {
            let count = after.len();
            after.retain(|one| !is_meant(gone, one));
            if after.len() == count {
                let reason = format!("`{}` is not published", publish_text(gone));
                let listed: Vec<String> =
                    before.iter().map(|one| format!("`{}`", publish_text(one))).collect();
                return Err(Error::invalid("--publish-rm", reason).with_hint(match listed.is_empty() {
                    true => "the container publishes no port".to_owned(),
                    false => format!("it publishes {}: name one of these whole", listed.join(", ")),
                }));
            }
        }
        for new in &self.add {
            if after.contains(new) && new.host != HostPorts::Any {
                let reason = format!("`{}` is published already", publish_text(new));
                return Err(Error::invalid("--publish-add", reason).with_hint("leave it out"));
            }
            after.push(new.clone());
        }
        Ok(after)
    }
}

/// Whether `named` means this one: the same, or without a place on the host all of the container's port.
fn is_meant(named: &PortRequest, one: &PortRequest) -> bool {
    let by_container = named.host == HostPorts::Any && named.address.is_none();
    named == one || by_container && named.container == one.container && named.protocol == one.protocol
}

impl Found {
    /// Refuses a change that can't be.
    pub(super) fn check_ports(&self, change: &PortChange) -> Result<()> {
        if change.is_empty() {
            return Ok(());
        }
        let field = if change.add.is_empty() { "--publish-rm" } else { "--publish-add" };
        let asked = self.kept().and_then(|kept| kept.record.asked.as_deref());
        let Some(Asked { options, .. }) = asked else {
            let error = self.wrong(OPERATION, "goes with the command that runs it, which holds its ports");
            return Err(error.with_hint(format!("run it with `--detach` to have `{field}`")));
        };
        if !matches!(options.network.mode, NetworkMode::Default | NetworkMode::Bridge) {
            let reason = "the container has no bridge that ports of the host could lead to".to_owned();
            let hint = "ports are changed of a container with a network of its own; with pasta, make it anew with `-p`";
            return Err(Error::invalid(field, reason).with_hint(hint));
        }
        if let Some(view) = &self.view {
            Live::of(view, self.called())?;
        }
        change.applied(&options.network.publish).map(drop)
    }

    /// Changes its published ports; those that were chosen come back, in words.
    pub(super) fn change_ports(&self, change: &PortChange) -> Result<Vec<String>> {
        let turn = self.containers().turn(&self.id)?;
        let mut before = Vec::new();
        let mut after = Ok(Vec::new());
        self.containers().edit_in_turn(&turn, &self.id, |record| {
            if let Some(asked) = record.asked.as_deref() {
                before.clone_from(&asked.options.network.publish);
            }
            after = change.applied(&before);
            if let Ok(after) = &after {
                ask(record, after);
            }
        })?;
        let after = after?;
        if !self.is_up() {
            return Ok(Vec::new());
        }
        match self.settle_ports(&after) {
            Ok(added) => Ok(added),
            Err(mut error) => {
                let back = self.containers().edit_in_turn(&turn, &self.id, |record| ask(record, &before));
                error.rollback.extend(back.err());
                error.rollback.extend(self.settle_ports(&before).err());
                Err(error)
            }
        }
    }

    /// Makes what there is of ports what was asked for; what was chosen for those that are new comes back, in words.
    fn settle_ports(&self, wanted: &[PortRequest]) -> Result<Vec<String>> {
        let view = lifecycle::view(&self.state, &self.runtime_id()?)?;
        let live = Live::of(&view, self.called())?;
        let paths = EnginePaths::below(self.state.path().parent().unwrap_or(self.state.path()));
        let (network, state) = place(&paths, &live.network)?;
        let Sorted { mut slots, missing } = live.sort(wanted);
        let kept = self.kept().ok_or_else(|| self.not_running(OPERATION, "is not kept"))?;
        let connection = self.containers().connect(kept)?;
        let told = |error: monitor::Error| match error.cause {
            rustix::io::Errno::CONNRESET => {
                let error = self.wrong(OPERATION, "has a monitor of an earlier version, which can't do that");
                error.with_hint(format!("`rabbitc restart {}` gives it another", self.called()))
            }
            _ => from_monitor(&error),
        };
        let take = |requests: &[PortRequest]| HeldPorts::take(requests, network.families(), &state);
        let keep = |places: Vec<BoundAt>| monitor::keep_sockets(connection.as_fd(), &places).map_err(told);
        let held = match take(&missing) {
            // By a port that goes, or by an update that was killed.
            Err(error) if is_held_for(&error, &self.id, connection.as_fd()) => {
                keep(slots.iter().flatten().flatten().map(PublishedPort::bound_at).collect())?;
                take(&missing).map_err(|error| {
                    let gone = live.requests.iter().filter(|(request, _)| !wanted.contains(request));
                    let back = bind(gone.flat_map(|(_, ports)| ports), &network, &state);
                    let mut error = from_network(error);
                    error
                        .rollback
                        .extend(monitor::give_sockets(connection.as_fd(), &back).map_err(told).err());
                    error
                })?
            }
            other => other.map_err(from_network)?,
        };
        let added = held.publications().to_vec();
        monitor::give_sockets(connection.as_fd(), &held.into_sockets()).map_err(told)?;
        let mut new = added.iter();
        for (slot, request) in slots.iter_mut().zip(wanted).filter(|(slot, _)| slot.is_none()) {
            *slot = Some(new.by_ref().take(count(request)).map(PublishedPort::from).collect());
        }
        let ports: Vec<PublishedPort> = slots.into_iter().flatten().flatten().collect();
        let all: Vec<Publication> = ports.iter().filter_map(PublishedPort::publication).collect();
        let namespace = self.of_first(OPERATION, |pid| {
            let path = std::path::PathBuf::from(format!("/proc/{pid}/ns/net"));
            File::open(&path).map_err(|error| Error::at_path("open", &path, error))
        })?;
        let tenant = Tenant {
            holder: &self.id,
            address: live.network.address,
            interface: live.network.interface(),
            namespace: namespace.as_fd(),
        };
        ::network::republish(&network, &state, tenant, &all).map_err(from_network)?;
        keep(ports.iter().map(PublishedPort::bound_at).collect())?;
        note_live(&self.state, &view, wanted, &ports)?;
        let chosen = |one: &&Publication| {
            missing.iter().any(|request| {
                !matches!(request.host, HostPorts::From(_))
                    && request.protocol == one.protocol
                    && request.container.contains(one.container)
            })
        };
        Ok(added.iter().filter(chosen).map(ToString::to_string).collect())
    }

    /// Finishes an update that was killed. It is no reason to fail: the container runs, and the next look tries again.
    pub(super) fn heal_ports(&mut self) {
        let is_behind = |kept: &Kept, view: &View| {
            let asked = &kept.record.asked.as_deref()?.options.network.publish;
            let live = view.record.caller.get("asked")?.as_array()?;
            Some(!live.iter().map(|one| one.as_str().unwrap_or_default()).eq(asked.iter().map(publish_text)))
        };
        let (Some(kept), Some(view)) = (&self.kept, &self.view) else { return };
        if is_behind(kept, view) != Some(true) {
            return;
        }
        let healed = || -> Result<View> {
            // Whoever is just about it is waited for, and has done it then.
            let _turn = self.containers().turn(&self.id)?;
            let record = self.containers().read(&self.id)?;
            let asked = record.and_then(|record| record.asked);
            let asked = asked.ok_or_else(|| self.not_running(OPERATION, "is not kept"))?;
            self.settle_ports(&asked.options.network.publish)?;
            lifecycle::view(&self.state, &self.runtime_id()?)
        };
        if let Ok(view) = healed() {
            self.view = Some(view);
        }
    }
}

/// Whether a port is taken by what is held for this container: it leads there, or the monitor at the other end of the
/// connection has its socket.
fn is_held_for(error: &::network::Error, id: &str, connection: BorrowedFd<'_>) -> bool {
    match &error.kind {
        ::network::Kind::PortTaken(PortHolder::Container(holder)) => holder == id,
        // Kernels before 6.8 show nobody a socket that is only bound.
        ::network::Kind::PortTaken(PortHolder::Unknown) => true,
        ::network::Kind::PortTaken(PortHolder::Process { pid, .. }) => {
            let monitor = rustix::net::sockopt::socket_peercred(connection);
            monitor.is_ok_and(|monitor| u32::try_from(monitor.pid.as_raw_pid()) == Ok(*pid))
        }
        _ => false,
    }
}

/// Writes down what a container is asked to publish.
fn ask(record: &mut Record, publish: &[PortRequest]) {
    record.shown.publish(publish);
    if let Some(asked) = record.asked.as_deref_mut() {
        asked.options.network.publish = publish.to_vec();
    }
}

/// How many publications a request becomes.
fn count(request: &PortRequest) -> usize {
    if request.host == HostPorts::Any { request.container.count() } else { 1 }
}

/// What leads to a container that runs.
struct Live {
    network: ShownNetwork,
    requests: Vec<(PortRequest, Vec<PublishedPort>)>,
}

/// What is there of what is wanted.
struct Sorted {
    /// For each that is wanted what leads there; none where nothing does.
    slots: Vec<Option<Vec<PublishedPort>>>,
    missing: Vec<PortRequest>,
}

impl Live {
    fn of(view: &View, called: &str) -> Result<Live> {
        let wrong = |how: &str, hint: &str| {
            let operation = format!("{OPERATION} `{called}`");
            Error::new(ErrorKind::WrongStatus, operation, how.to_owned()).with_hint(hint.to_owned())
        };
        let shown: Shown = serde_json::from_value(view.record.caller.clone()).unwrap_or_default();
        let no_bridge =
            "ports are changed of a container with a bridge; of any other, make it anew with `-p`";
        let network = shown
            .network
            .ok_or_else(|| wrong("it has no bridge that ports of the host could lead to", no_bridge))?;
        let early = "an earlier version of rabbitc started it";
        let asked = shown.asked.ok_or_else(|| wrong(early, "`rabbitc restart` starts it with this one"))?;
        let mut ports = shown.ports.into_iter();
        let mut requests = Vec::with_capacity(asked.len());
        for text in &asked {
            let request = parse_publish("publish", text)?;
            let own = ports.by_ref().take(count(&request)).collect();
            requests.push((request, own));
        }
        Ok(Live { network, requests })
    }

    fn sort(&self, wanted: &[PortRequest]) -> Sorted {
        let mut left: Vec<&(PortRequest, Vec<PublishedPort>)> = self.requests.iter().collect();
        let mut missing = Vec::new();
        let slots = wanted
            .iter()
            .map(|request| {
                let found = left.iter().position(|(live, _)| live == request);
                match found {
                    Some(index) => Some(left.remove(index).1.clone()),
                    None => {
                        missing.push(request.clone());
                        None
                    }
                }
            })
            .collect();
        Sorted { slots, missing }
    }
}

/// The network that a container is in.
fn place(paths: &EnginePaths, shown: &ShownNetwork) -> Result<(BridgeNetwork, NetworkStateDirectory)> {
    let ipv6 = match (shown.gateway_ipv6, shown.address_ipv6) {
        (Some(gateway), Some(_)) => {
            let subnet = format!("{gateway}/{}", shown.prefix_ipv6);
            Ipv6Choice::This(Ipv6Network::parse(&subnet).map_err(from_network)?)
        }
        (None, Some(_)) => Ipv6Choice::WhereTheHostHasIt,
        (_, None) => Ipv6Choice::Off,
    };
    let ipv4 = format!("{}/{}", shown.gateway, shown.prefix);
    let settings = NetworkSettings::default();
    let name = shown.state_name().to_owned();
    let network = NetworkOptions { name, ipv4, ipv6, settings }.check().map_err(from_network)?;
    let path = paths.networks();
    let parent = File::open(&path).map_err(|error| Error::at_path("open", &path, error))?;
    let state = NetworkStateDirectory::new(parent.as_fd(), network.name()).map_err(from_network)?;
    Ok((network, state))
}

/// Writes down what leads to a container that runs, where it is still the same.
fn note_live(root: &StateRoot, view: &View, asked: &[PortRequest], ports: &[PublishedPort]) -> Result<()> {
    let id = ContainerId::parse(&view.record.id)?;
    let mut state = root.open(&id, Lock::No)?;
    let mut record = state.read()?;
    if (record.pid, record.start_time) != (view.record.pid, view.record.start_time) {
        return Ok(());
    }
    let mut shown: Shown = serde_json::from_value(record.caller.clone()).unwrap_or_default();
    shown.publish(asked);
    shown.ports = ports.to_vec();
    shown.asked = Some(asked.iter().map(publish_text).collect());
    if let (Some(caller), Ok(serde_json::Value::Object(new))) =
        (record.caller.as_object_mut(), serde_json::to_value(&shown))
    {
        caller.extend(new);
    }
    state.write(&record)
}

/// Holds the ports of a container again whose monitor was killed, as far as they are free: what leads there still does.
pub(crate) fn hold_again(paths: &EnginePaths, view: &View) -> Vec<OwnedFd> {
    let Ok(live) = Live::of(view, "") else { return Vec::new() };
    let Ok((network, state)) = place(paths, &live.network) else { return Vec::new() };
    bind(live.requests.iter().flat_map(|(_, ports)| ports), &network, &state)
}

/// Binds the host's side of these ports, as far as they are free.
fn bind<'a>(
    ports: impl Iterator<Item = &'a PublishedPort>,
    network: &BridgeNetwork,
    state: &NetworkStateDirectory,
) -> Vec<OwnedFd> {
    ports
        .filter_map(PublishedPort::publication)
        .filter_map(|one| {
            let request = PortRequest {
                address: one.address,
                host: HostPorts::From(one.host.first()),
                container: one.container_ports(),
                protocol: one.protocol,
            };
            HeldPorts::take(&[request], network.families(), state).ok()
        })
        .flat_map(HeldPorts::into_sockets)
        .collect()
}

impl PublishedPort {
    fn bound_at(&self) -> BoundAt {
        let protocol = match self.protocol() {
            Some(Protocol::Udp) => 17,
            Some(Protocol::Sctp) => 132,
            Some(Protocol::Tcp) | None => 6,
        };
        BoundAt { protocol, address: self.address, ports: (self.first, self.last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(texts: &[&str]) -> Vec<PortRequest> {
        texts.iter().map(|text| parse_publish("test", text).expect(text)).collect()
    }

    #[test]
    fn ports_are_taken_out_whole_or_by_the_containers_port() {
        let before = requests(&["8080:80", "127.0.0.1:8081:80", "53:53/udp", "9000-9002:9000-9002"]);
        let after = |add: &[&str], remove: &[&str]| {
            PortChange { add: requests(add), remove: requests(remove) }.applied(&before)
        };
        let left = |remove: &[&str]| after(&[], remove).expect("published").len();
        assert_eq!(left(&["8080:80"]), 3);
        assert_eq!(left(&["80"]), 2);
        assert_eq!(left(&["53/udp", "9000-9002"]), 2);
        for unknown in ["8080:81", "53", "9001", "0.0.0.0:8080:80"] {
            let error = after(&[], &[unknown]).expect_err(unknown);
            let hint = error.hint.as_deref().unwrap_or_default().to_owned();
            assert!(error.to_string().contains("--publish-rm") && hint.contains("`53-53:53/udp`"), "{hint}");
        }
        assert_eq!(after(&["8080:81"], &["8080:80"]).expect("in its place").len(), 4);
        assert!(after(&["53:53/udp"], &[]).is_err());
        assert_eq!(after(&["80", "80"], &[]).expect("two free ones").len(), 6);
    }

    #[test]
    fn what_is_there_is_found_by_what_was_asked_for() {
        let port = |first| PublishedPort {
            address: None,
            first,
            last: first,
            container: 80,
            protocol: "tcp".to_owned(),
        };
        let asked = requests(&["80-81", "8080:80", "80"]);
        let ports = vec![vec![port(1), port(2)], vec![port(3)], vec![port(4)]];
        let written = serde_json::json!({
            "name": "", "address": "127.0.0.1", "prefix": 8, "gateway": "127.0.0.1", "mac": "",
        });
        let network: ShownNetwork = serde_json::from_value(written).expect("as an earlier version wrote it");
        let live = Live { network, requests: asked.into_iter().zip(ports).collect() };
        let Sorted { slots, missing } = live.sort(&requests(&["80", "9:9", "80-81"]));
        assert_eq!(slots, [Some(vec![port(4)]), None, Some(vec![port(1), port(2)])]);
        assert_eq!(missing, requests(&["9:9"]));
    }
}
