//! `rabbitc pod create`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use engine::{
    ContainerRemoval, DeviceRequest, Error, ErrorKind, ExitPolicy, FileOptions, LimitOptions, MountRequest,
    NamespaceMode, NamespaceOptions, NetworkMode, NetworkOptions, NewPod, Patience, Pods, Result, RunOptions,
    SecurityOptions, Shared, Value, VolumeStore, parse_labels, parse_pair, parse_restart,
};

use crate::args::{LimitArguments, NetworkArguments, UserArguments, said};
use crate::images::print;
use crate::life::PlaceArguments;

/// Makes a pod: a place for containers that share namespaces. `run --pod` and `create --pod` put some there.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// What it is called [default: two words]
    #[arg(value_name = "NAME")]
    positional: Option<String>,
    /// What it is called
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,
    /// Remove the pod that has this name, with its containers
    #[arg(long)]
    replace: bool,
    /// What its containers share: cgroup, ipc, net, pid and uts with commas between, or none; beside the usual with `+` in front
    #[arg(long, value_name = "KINDS", default_value = "ipc,net,uts", allow_hyphen_values = true)]
    share: String,
    /// Whether the cgroups of its containers are in one of the pod's own
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    share_parent: bool,
    /// Whether a small container keeps what is shared
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    infra: Option<bool>,
    /// What that is called [default: the beginning of the pod's id, and `-infra`]
    #[arg(long, value_name = "NAME")]
    infra_name: Option<String>,
    /// A label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Read labels from a file, one a line
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,
    /// What becomes of the pod when the last of its containers has ended: it goes on (`continue`), or is stopped (`stop`)
    #[arg(long, value_name = "POLICY", default_value = "continue", hide_default_value = true)]
    exit_policy: String,
    /// When its containers are started again by themselves, as for `run --restart`
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Write its id to a file
    #[arg(long, value_name = "FILE")]
    pod_id_file: Option<PathBuf>,
    /// Host name inside [default: the pod's name]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Whose processes are seen: private or host
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    pid: String,
    /// Whose host name: private or host
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    uts: String,
    #[command(flatten)]
    network: PodNetworkArguments,
    /// Show a directory or file of the host, or a volume, in all containers, as for `run --volume`
    #[arg(short = 'v', long, value_name = "[SOURCE:]DESTINATION[:OPTIONS]")]
    volume: Vec<String>,
    /// Give all containers a device of the host
    #[arg(long, value_name = "SOURCE[:DESTINATION][:ACCESS]")]
    device: Vec<String>,
    /// Set a kernel parameter of what is shared
    #[arg(long, value_name = "NAME=VALUE")]
    sysctl: Vec<String>,
    #[command(flatten)]
    users: UserArguments,
    #[command(flatten)]
    limits: LimitArguments,
    #[command(flatten)]
    place: PlaceArguments,
}

/// How a pod is connected.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct PodNetworkArguments {
    /// How the pod is connected: bridge, pasta, none, host, cni:NAME or ns:PATH [default: bridge; without root pasta, where it is
    /// installed]; or the names of networks of `rabbitc network`
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    network: Vec<String>,
    /// Another name by which containers of the same networks find it
    #[arg(long, visible_alias = "net-alias", value_name = "NAME")]
    network_alias: Vec<String>,
    /// Bridge on the host [default: rabbitc0]
    #[arg(long, value_name = "NAME")]
    network_name: Option<String>,
    /// Address of the bridge and size of its network
    #[arg(long, value_name = "CIDR")]
    network_ip: Option<String>,
    /// Address of the pod [default: the lowest that is free in its network]
    #[arg(long, visible_alias = "container-ip", value_name = "IP[/SIZE]")]
    ip: Option<String>,
    /// Address of the pod of IPv6, in a network of `rabbitc network`
    #[arg(long, value_name = "IP")]
    ip6: Option<String>,
    /// Hardware address of the pod
    #[arg(long, value_name = "MAC")]
    mac_address: Option<String>,
    /// Publish ports of the pod at the host's, as for `run --publish`
    #[arg(short = 'p', long, value_name = "[[IP:]HOSTPORT:]PORT")]
    publish: Vec<String>,
    /// Name server, in place of the host's
    #[arg(long, value_name = "IP")]
    dns: Vec<String>,
    /// Domain in which short names are looked for, in place of the host's; `.` for none
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Option of the resolver, in place of the host's
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,
    /// A name in /etc/hosts; `host-gateway` as address is the host
    #[arg(long, value_name = "NAME:IP")]
    add_host: Vec<String>,
    /// Leave /etc/hosts as the root has it
    #[arg(long)]
    no_hosts: bool,
    /// Leave /etc/hostname as the root has it
    #[arg(long)]
    no_hostname: bool,
}

impl PodNetworkArguments {
    fn options(&self, root: Option<&Path>) -> Result<NetworkOptions> {
        let is_said = |mode: &&String| !matches!(mode.as_str(), "" | "private" | "default");
        let network = NetworkArguments {
            // Podman's words for what there is without any.
            network: self.network.iter().filter(is_said).cloned().collect(),
            network_alias: self.network_alias.clone(),
            ip6: self.ip6.clone(),
            cni_config_dir: None,
            cni_bin_dir: Vec::new(),
            network_name: self.network_name.clone(),
            network_ip: self.network_ip.clone(),
            container_ip: self.ip.clone(),
            mac_address: self.mac_address.clone(),
            publish: self.publish.clone(),
            publish_all: false,
            expose: Vec::new(),
            firewall_integrate: false,
            dns: self.dns.clone(),
            dns_search: self.dns_search.clone(),
            dns_option: self.dns_option.clone(),
            add_host: self.add_host.clone(),
            no_hosts: self.no_hosts,
            no_hostname: self.no_hostname,
        };
        network.options(None, root)
    }
}

/// Whether a pod has somebody who keeps what its containers share.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Infra {
    Wanted,
    Without,
}

pub(super) fn create(arguments: &CreateArguments) -> Result<ExitCode> {
    let (pods, paths) = (arguments.place.pods()?, arguments.place.paths()?);
    let new = arguments.new_pod()?;
    if arguments.replace {
        let Some(name) = &new.name else {
            let error = Error::invalid("--replace", "cannot replace pod without --name being set".to_owned());
            return Err(error.with_hint("write `--name` too"));
        };
        make_room(&pods, name, arguments)?;
    }
    let id = pods.create(new, &paths)?;
    if let Some(path) = &arguments.pod_id_file {
        std::fs::write(path, &id)
            .map_err(|error| Error::at_path("write", path, error).from_field("--pod-id-file"))?;
    }
    print(&format!("{id}\n")).map(|()| ExitCode::SUCCESS)
}

/// Removes the pod that has this name, if one has.
fn make_room(pods: &Pods, name: &str, arguments: &CreateArguments) -> Result<()> {
    let paths = arguments.place.paths()?;
    let pod = match pods.find(name, &paths) {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let at_once = ContainerRemoval::Stopping(Patience::For(std::time::Duration::ZERO));
    match pods.make_removable(&pod, at_once, &paths).into_iter().next() {
        Some(error) => Err(error),
        None => pods.remove(&pod, &paths),
    }
}

impl CreateArguments {
    fn new_pod(&self) -> Result<NewPod> {
        let name = match (&self.name, &self.positional) {
            (Some(_), Some(_)) => {
                let reason = "cannot specify --name and NAME at the same time";
                return Err(Error::invalid("--name", reason.to_owned()).with_hint("leave one of the two out"));
            }
            (Some(name), None) | (None, Some(name)) => Some(name.clone()).filter(|name| !name.is_empty()),
            (None, None) => None,
        };
        let shares = Shared::parse(&self.share)?;
        let infra = match self.infra {
            Some(true) => Infra::Wanted,
            None if !shares.is_empty() => Infra::Wanted,
            _ => Infra::Without,
        };
        self.check_infra(infra)?;
        let limits = self.limits.options()?;
        let shm_size = limits.shm_size;
        let limits = LimitOptions { shm_size: None, ..self.check_limits(limits)? };
        let shares = if infra == Infra::Wanted { shares } else { Vec::new() };
        if shares.contains(&Shared::Cgroup) && self.share_parent {
            let reason = "cannot define the pod as the cgroup parent at the same time as joining the infra container's \
                          cgroupNS";
            let error = Error::invalid("--share", reason.to_owned());
            return Err(error.with_hint("write `--share-parent=false` too"));
        }
        let mut options = self.options(&shares)?;
        options.limits.shm_size = shm_size;
        let directory =
            std::env::current_dir().map_err(|error| Error::system("find the working directory", error))?;
        let options = options.naming_peers_by_id(&self.place.containers()?)?.made_absolute(&directory);
        Ok(NewPod {
            name,
            labels: self.labels()?,
            shares,
            infra: (infra == Infra::Wanted).then(|| said(&self.infra_name).map(str::to_owned)),
            has_group: self.share_parent,
            exit_policy: self.exit_policy.parse::<ExitPolicy>()?,
            restart: parse_restart(said(&self.restart).unwrap_or_default())?,
            limits,
            options,
            words: std::env::args().collect(),
        })
    }

    /// Refuses what takes somebody who keeps it where there is nobody.
    fn check_infra(&self, infra: Infra) -> Result<()> {
        if infra == Infra::Wanted {
            return Ok(());
        }
        let network = &self.network;
        let given = [
            ("--infra-name", said(&self.infra_name).is_some()),
            (
                "--share",
                self.infra == Some(false) && !matches!(self.share.as_str(), "" | "none" | "ipc,net,uts"),
            ),
            ("--publish", !network.publish.is_empty()),
            ("--network", network.network.iter().any(|text| !text.is_empty())),
            ("--network-alias", !network.network_alias.is_empty()),
            ("--ip", said(&network.ip).is_some()),
            ("--ip6", said(&network.ip6).is_some()),
            ("--mac-address", said(&network.mac_address).is_some()),
            ("--dns", !network.dns.is_empty()),
            ("--add-host", !network.add_host.is_empty()),
            ("--no-hosts", network.no_hosts),
            ("--hostname", said(&self.hostname).is_some()),
            ("--sysctl", !self.sysctl.is_empty()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => {
                let reason =
                    "it takes an infra container, which keeps what a pod's containers share".to_owned();
                Err(Error::invalid(flag, reason).with_hint("leave it out, or `--infra=false`"))
            }
            None => Ok(()),
        }
    }

    /// Refuses limits that are of each process, and of no group.
    fn check_limits(&self, limits: LimitOptions) -> Result<LimitOptions> {
        let of_processes =
            [("--ulimit", !limits.ulimits.is_empty()), ("--oom-score-adj", limits.oom_score_adj.is_some())];
        if let Some((flag, _)) = of_processes.into_iter().find(|(_, is_given)| *is_given) {
            let error = Error::invalid(flag, "it is of processes, and not of a pod's cgroup".to_owned());
            return Err(error.with_hint("give it to the containers"));
        }
        let wants = LimitOptions { shm_size: None, ..limits.clone() } != LimitOptions::default();
        if wants && !self.share_parent {
            let error =
                Error::invalid("--share-parent", "limits of a pod are those of its own cgroup".to_owned());
            return Err(error.with_hint("leave `--share-parent=false` out, or the limits"));
        }
        Ok(limits)
    }

    fn labels(&self) -> Result<BTreeMap<String, String>> {
        let mut labels = BTreeMap::new();
        for path in &self.label_file {
            let text = std::fs::read_to_string(path);
            let text =
                text.map_err(|error| Error::at_path("read", path, error).from_field("--label-file"))?;
            labels.extend(parse_labels("--label-file", &path.to_string_lossy(), text.as_bytes())?);
        }
        for text in &self.label {
            labels.extend([parse_pair("--label", text, Value::MayLack)?]);
        }
        Ok(labels)
    }

    fn options(&self, shares: &[Shared]) -> Result<RunOptions> {
        let mut network = self.network.options(self.place.root())?;
        if !shares.contains(&Shared::Net) && network == NetworkOptions::default() {
            // Nobody would use it.
            network.mode = NetworkMode::None;
        }
        let mode = |flag: &str, text: &str| match NamespaceMode::parse(flag, text)? {
            NamespaceMode::Container(_) => {
                let error = Error::invalid(flag, "a pod is in no other container's namespaces".to_owned());
                Err(error.with_hint("write `private` or `host`"))
            }
            mode => Ok(mode),
        };
        let directory = std::env::current_dir().unwrap_or_default();
        let mut security = SecurityOptions::default();
        self.sysctl.iter().try_for_each(|text| security.apply_sysctl(text))?;
        let mounts = self.volume.iter().map(|text| MountRequest::parse_volume(text, &directory));
        let mut files = FileOptions {
            mounts: mounts.collect::<Result<_>>()?,
            devices: self.device.iter().map(|text| DeviceRequest::parse(text)).collect::<Result<_>>()?,
            ..FileOptions::default()
        };
        if files.may_need_volumes() {
            files.volume_store = Some(VolumeStore::of(self.place.root())?);
        }
        Ok(RunOptions {
            files,
            namespaces: NamespaceOptions {
                hostname: said(&self.hostname).map(str::to_owned),
                users: self.users.options()?,
                pid: mode("--pid", &self.pid)?,
                uts: mode("--uts", &self.uts)?,
                ..NamespaceOptions::default()
            },
            security,
            network,
            ..RunOptions::default()
        })
    }
}
