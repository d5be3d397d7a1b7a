//! Putting a container on a network and taking it off one, whether it runs or not.

use runtime::state_dir::{Lock, StateRoot};

use super::{DEFAULT, Network, NetworkStore};
use crate::container::Notice;
use crate::error::{Code, Result};
use crate::kept::{Shown, ShownNetwork};
use crate::network::{Live, Place, namespace_file};
use crate::options::{NetworkAttachment, NetworkMode, NetworkOptions};
use crate::paths::EnginePaths;
use crate::running::Found;

impl NetworkStore {
    /// Puts a container on a network.
    pub fn connect(
        &self,
        found: &Found,
        mut attachment: NetworkAttachment,
        paths: &EnginePaths,
    ) -> Result<()> {
        let _lock = self.lock()?;
        let network = self.find(&attachment.network)?;
        attachment.network.clone_from(&network.name);
        let options = options_of(found);
        check_mode(found, options)?;
        let shown = found.shown();
        let has = |name: &str| match found.is_up() {
            true => shown.networks().any(|one| one.name == name),
            false => options.is_some_and(|options| names_of(options).any(|one| one == name)),
        };
        if has(&network.name) {
            // In docker's words.
            let how =
                format!("is connected already: endpoint with its name exists in network {}", network.name);
            let error = found.wrong("connect", &how).with_code(Code::InUse);
            return Err(error.with_hint("`rabbitc network disconnect` takes it off"));
        }
        if found.is_up() {
            let slot =
                (0..).find(|slot| shown.networks().all(|one| one.slot != *slot)).expect("there are few");
            let place = Place::new(network.clone(), attachment.clone(), slot)?;
            let place = match shown.networks().next() {
                Some(_) => place.without_default_route(),
                None => place,
            };
            let live = Running::of(found, paths)?;
            let plugged = live.live(paths, found).plug_in(place)?;
            live.note(|shown| {
                if shown.network.is_some() {
                    shown.more_networks.push(plugged);
                } else {
                    shown.network = Some(plugged);
                }
            })?;
        } else {
            // What would be refused at its start is refused now.
            Place::new(network.clone(), attachment.clone(), 0)?;
        }
        self.redefine(found, |options| {
            name_default(options);
            options.attachments.push(attachment);
        })?;
        self.tell(&network, "connect", Some(&found.id));
        Ok(())
    }

    /// Takes a container off a network; what a person should know comes back.
    pub fn disconnect(&self, called: &str, found: &Found, paths: &EnginePaths) -> Result<Vec<Notice>> {
        let _lock = self.lock()?;
        let network = self.find(called)?;
        let options = options_of(found);
        let mut notices = Vec::new();
        let not_there = || {
            let how = format!("is not connected to network {}", network.name);
            found.wrong("disconnect", &how).with_hint("`rabbitc inspect` shows its networks")
        };
        if found.is_up() {
            let shown = found.shown();
            let Some(place) = shown.networks().find(|one| one.name == network.name) else {
                return Err(not_there());
            };
            let running = Running::of(found, paths)?;
            let live = running.live(paths, found);
            live.pull_out(place)?;
            let was_main = shown.network.as_ref() == Some(place);
            let left: Vec<&ShownNetwork> = shown.networks().filter(|one| *one != place).collect();
            let main = if was_main { self.route_through_another(&live, &left)? } else { None };
            if was_main && !shown.ports.is_empty() {
                notices.push(Notice {
                    what: format!(
                        "the published ports of `{}` led to this network, and lead nowhere now",
                        found.called()
                    ),
                    remedy: Some("start it again: they lead to the first of its networks".to_owned()),
                });
            }
            let others: Vec<ShownNetwork> = left.into_iter().cloned().collect();
            running.note(|shown| {
                if was_main {
                    shown.ports.clear();
                }
                let mut others = others;
                let first = match was_main {
                    true => main.unwrap_or(0),
                    false => 0,
                };
                shown.network = (first < others.len()).then(|| others.remove(first));
                shown.more_networks = others;
            })?;
        } else if !options.is_some_and(|options| names_of(options).any(|one| one == network.name)) {
            return Err(not_there());
        }
        self.redefine(found, |options| {
            name_default(options);
            options.attachments.retain(|one| one.network != network.name);
            if options.attachments.is_empty() {
                options.mode = NetworkMode::None;
            }
        })?;
        self.tell(&network, "disconnect", Some(&found.id));
        Ok(notices)
    }

    /// Makes bridges and rules complete of the networks that a running container has.
    pub fn reload(&self, found: &Found, paths: &EnginePaths) -> Result<()> {
        found.up("reload the networks of")?;
        let running = Running::of(found, paths)?;
        let live = running.live(paths, found);
        for shown in found.shown().networks() {
            if let Some(network) = self.get(&shown.name)? {
                live.mend(&network, shown)?;
            }
        }
        Ok(())
    }

    /// Leads the default route through the first of the networks that are left which has one; which that is.
    fn route_through_another(&self, live: &Live<'_>, left: &[&ShownNetwork]) -> Result<Option<usize>> {
        for (index, shown) in left.iter().enumerate() {
            if let Some(network) = self.get(&shown.name)?
                && live.route_through(&network, shown)?
            {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Changes what a start of the container begins with, where it is kept.
    fn redefine(&self, found: &Found, change: impl FnOnce(&mut NetworkOptions)) -> Result<()> {
        let Some(kept) = found.kept().filter(|kept| kept.record.asked.is_some()) else { return Ok(()) };
        found.containers().redefine(&kept.id, |record| {
            if let Some(asked) = &mut record.asked {
                let options = &mut asked.options.network;
                options.store.get_or_insert_with(|| self.clone());
                change(options);
            }
        })?;
        Ok(())
    }
}

/// What a container is connected to by what was asked for.
fn options_of(found: &Found) -> Option<&NetworkOptions> {
    found.kept().and_then(|kept| kept.record.asked.as_ref()).map(|asked| &asked.options.network)
}

/// The networks of a container by what was asked for.
fn names_of(options: &NetworkOptions) -> impl Iterator<Item = &str> {
    let has_default = options.attachments.is_empty()
        && options.name.is_none()
        && matches!(options.mode, NetworkMode::Default | NetworkMode::Bridge);
    let named = options.attachments.iter().map(|one| one.network.as_str());
    named.chain(has_default.then_some(DEFAULT))
}

/// The default network, which a container has without a word, is one of several from now on.
fn name_default(options: &mut NetworkOptions) {
    if options.attachments.is_empty() && matches!(options.mode, NetworkMode::Default | NetworkMode::Bridge) {
        let ip = options.container_ip.take();
        let ip = ip.and_then(|text| text.split('/').next().and_then(|address| address.parse().ok()));
        let network = DEFAULT.to_owned();
        options.attachments.push(NetworkAttachment {
            network,
            ip,
            mac: options.mac.take(),
            ..Default::default()
        });
    }
    options.mode = NetworkMode::Bridge;
}

/// Refuses a container that has no network namespace of its own, or one that is not a kept network's.
fn check_mode(found: &Found, options: Option<&NetworkOptions>) -> Result<()> {
    let refuse = |how: &str, hint: &str| Err(found.wrong("connect", how).with_hint(hint));
    let Some(options) = options else {
        return match found.is_up() && found.shown().networks().next().is_some() {
            true => Ok(()),
            false => refuse(
                "has no network that others could stand beside",
                "start it with `--network` and the name of one",
            ),
        };
    };
    match options.mode {
        NetworkMode::Default | NetworkMode::Bridge if options.name.is_some() || options.ip.is_some() => {
            refuse(
                "is on a bridge that `--network-name` or `--network-ip` named",
                "start it with `--network` in their place",
            )
        }
        NetworkMode::Default | NetworkMode::Bridge | NetworkMode::None => Ok(()),
        // In docker's words.
        NetworkMode::Host | NetworkMode::Container(_) | NetworkMode::Joined { .. } => refuse(
            "is sharing network namespace with another container or host: it cannot be connected to any other network",
            "start it with `--network` and the name of a network",
        ),
        NetworkMode::Cni(_) => {
            refuse("is connected by CNI plugins", "start it with networks of `rabbitc network`")
        }
        NetworkMode::Pasta => refuse("has the host's own addresses, by `pasta`", "kept networks take root"),
    }
}

/// What is on the host of a container that runs.
struct Running {
    root: StateRoot,
    id: runtime::ContainerId,
    directory: std::path::PathBuf,
    namespace: std::fs::File,
}

impl Running {
    fn of(found: &Found, paths: &EnginePaths) -> Result<Running> {
        let namespace = found.of_first("connect", namespace_file)?;
        let root = StateRoot::new(paths.containers());
        let id = runtime::ContainerId::parse(&found.id)?;
        let directory = root.directory(&id);
        Ok(Running { root, id, directory, namespace })
    }

    fn live<'a>(&'a self, paths: &'a EnginePaths, found: &'a Found) -> Live<'a> {
        let servers = options_of(found).map_or(&[][..], |options| &options.names.servers);
        let (id, name) = (&found.id, found.name.as_deref().unwrap_or_default());
        Live { paths, id, name, servers, namespace: &self.namespace, record: &self.directory }
    }

    /// Changes what is shown of it.
    fn note(&self, change: impl FnOnce(&mut Shown)) -> Result<()> {
        let mut state = self.root.open(&self.id, Lock::No)?;
        let mut record = state.read()?;
        let mut shown: Shown = serde_json::from_value(record.caller.clone()).unwrap_or_default();
        change(&mut shown);
        let changed = serde_json::to_value(&shown).expect("only string keys");
        // Others have noted there, too.
        match (&mut record.caller, changed) {
            (serde_json::Value::Object(noted), serde_json::Value::Object(changed)) => {
                for name in ["network", "more_networks"] {
                    noted.remove(name);
                }
                noted.extend(changed);
            }
            (noted, changed) => *noted = changed,
        }
        state.write(&record)
    }
}

impl Network {
    /// Where its leases are: by its bridge, or by itself.
    pub(crate) fn state_name(&self) -> String {
        match self.driver {
            super::NetworkDriver::Bridge => self.interface.clone(),
            _ => format!("nw-{}", self.short_id()),
        }
    }
}
