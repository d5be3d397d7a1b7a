//! All that is known of a container, in the shape of docker's API.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use runtime::ContainerId;
use runtime::lifecycle::{self, Status};
use runtime::state_dir::StateRoot;
use serde_json::{Map, Value, json};

use super::{RestartPolicy, StandardInput};
use crate::cni;
use crate::config;
use crate::error::Result;
use crate::kept::{Asked, Kept, KeptContainers, KeptRoot, KeptState, Shown, ShownNetwork, Stay, Wish};
use crate::options::{
    Access, Identity, IpcMode, MountKind, NamespaceMode, NetworkAttachment, NetworkMode, NetworkOptions,
    Propagation, RunOptions, SecretOptions, SecretPlace, TerminalMode, UserOption,
};
use crate::paths::EnginePaths;
use crate::running::PublishedPort;

/// The moment that docker shows where there was none.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl KeptContainers {
    /// The same with how much room it takes. The files that are looked at may have other owners: see [`KeptContainers::open`].
    pub fn inspect_sized(&self, kept: &Kept, paths: &EnginePaths) -> Result<Value> {
        let mut all = self.inspect(kept, paths)?;
        let size = kept.size()?;
        (all["SizeRw"], all["SizeRootFs"]) = (json!(size.own), json!(size.all));
        Ok(all)
    }

    /// All that is known of a container, as docker's API has it, and some of what podman shows beside it.
    pub fn inspect(&self, kept: &Kept, paths: &EnginePaths) -> Result<Value> {
        let view = lifecycle::view(&StateRoot::new(paths.containers()), &ContainerId::parse(&kept.id)?).ok();
        let view = view.filter(|view| lifecycle::init(&view.record).is_some());
        let asked = kept.record.asked.clone().unwrap_or_default();
        let shown = match &view {
            Some(view) => serde_json::from_value(view.record.caller.clone()).unwrap_or_default(),
            None => Shown { network: None, more_networks: Vec::new(), ..kept.record.shown.clone() },
        };
        let (image, manifest) = kept.digests().unwrap_or_default();
        let said = Said(&asked.life.flags);
        let (program, arguments) = kept
            .record
            .command
            .split_first()
            .map_or((String::new(), &[][..]), |(one, rest)| (one.clone(), rest));
        Ok(json!({
            "Id": kept.id,
            "Created": moment(Some(kept.record.created)),
            "Path": program,
            "Args": arguments,
            "State": state(kept, view.as_ref().map(|view| (view.record.pid, view.status))),
            "Image": image,
            "ImageName": image_name(kept, &image),
            "ImageDigest": manifest,
            "ResolvConfPath": "",
            "HostnamePath": "",
            "HostsPath": "",
            "LogPath": log_path(kept, &asked),
            "Name": format!("/{}", kept.name),
            "RestartCount": kept.record.restarts,
            "Driver": "overlay",
            "Platform": "linux",
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": "",
            "ExecIDs": null,
            "Pod": kept.record.pod.as_ref().map(|pod| pod.id.clone()).unwrap_or_default(),
            "IsInfra": kept.record.is_infra(),
            "HostConfig": host_config(kept, &asked, &said),
            "GraphDriver": graph(kept),
            "Mounts": mounts(&asked.options),
            "Config": config(kept, &asked, &said),
            "NetworkSettings": network_settings(
                kept,
                &shown,
                &asked.options.network,
                &said,
                view.as_ref().and_then(|_| cni::Shown::of(paths, &kept.id)),
            ),
        }))
    }
}

impl Kept {
    /// The digests of its image's configuration and of its manifest.
    fn digests(&self) -> Option<(String, String)> {
        let KeptRoot::Image { .. } = self.root else { return None };
        let image = self.image().ok()?.1;
        Some((image.id.to_string(), image.manifest.to_string()))
    }
}

/// What it is of, with podman's whole name of an image; the image of the id `image` may have been called by that.
fn image_name(kept: &Kept, image: &str) -> String {
    let typed = &kept.record.shown.root;
    let digits = typed.strip_prefix("sha256:").unwrap_or(typed);
    let is_id = image.strip_prefix("sha256:").is_some_and(|id| id.starts_with(digits));
    match (&kept.root, typed.parse::<::image::Reference>()) {
        (KeptRoot::Image { .. }, Ok(whole)) if !is_id => whole.to_string(),
        _ => typed.clone(),
    }
}

/// The flags that asked for a container.
struct Said<'a>(&'a [String]);

impl Said<'_> {
    /// The values of all that are called so.
    fn all(&self, name: &str) -> Vec<&str> {
        let values =
            self.0.iter().filter_map(|flag| flag.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='));
        values.collect()
    }

    fn last(&self, name: &str) -> &str {
        self.all(name).last().copied().unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|flag| flag.strip_prefix("--") == Some(name))
    }
}

fn moment(nanoseconds: Option<u64>) -> String {
    let moment = nanoseconds.and_then(|nanoseconds| i64::try_from(nanoseconds).ok());
    moment.map_or_else(|| NEVER.to_owned(), |moment| monitor::Moment(moment).to_string())
}

fn state(kept: &Kept, process: Option<(i32, Status)>) -> Value {
    let end = kept.record.end.as_ref();
    let paused = matches!(process, Some((_, Status::Paused)));
    let status = match kept.state {
        KeptState::Created => "created",
        KeptState::Running if paused => "paused",
        KeptState::Running => "running",
        KeptState::Restarting { .. } => "restarting",
        KeptState::Exited { .. } | KeptState::Unknown => "exited",
    };
    let mut state = json!({
        "Status": status,
        "Running": kept.state == KeptState::Running,
        "Paused": paused,
        "Restarting": status == "restarting",
        "OOMKilled": end.is_some_and(|end| end.memory.is_some()),
        "Dead": false,
        "Pid": process.map_or(0, |(pid, _)| pid),
        // Null where nobody learned it.
        "ExitCode": end.map_or(json!(0), |end| json!(end.code)),
        "Error": end.and_then(|end| end.error.clone()).unwrap_or_default(),
        "StartedAt": moment(kept.record.started),
        "FinishedAt": moment(end.map(|end| end.at)),
        // Podman's, for scripts that look after what stands behind a container.
        "ConmonPid": behind(&kept.directory).unwrap_or(0),
        "StoppedByUser": kept.record.wish == Wish::Stop,
    });
    if let Some((status, health)) = kept.health() {
        state["Health"] = health.to_json(status);
    }
    state
}

impl KeptContainers {
    /// The process that stands behind a container; none where nobody does.
    pub fn pid_behind(&self, id: &str) -> Option<i32> {
        behind(&self.path().join(id))
    }
}

/// The process that stands behind the container of a directory, as the kernel tells who holds its lock (proc_locks(5)).
fn behind(directory: &Path) -> Option<i32> {
    let directory = std::fs::metadata(directory).ok()?;
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let file = format!(":{}", directory.ino());
    let holder = locks.lines().find_map(|line| {
        // `1: FLOCK ADVISORY WRITE 77 08:01:1234 0 EOF`; who only waits for a lock has `->` behind the number.
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, place, ..] = words[..] else { return None };
        place.ends_with(&file).then(|| pid.parse().ok()).flatten()
    });
    holder.filter(|pid| *pid > 0)
}

fn log_path(kept: &Kept, asked: &Asked) -> String {
    match asked.life.log.driver.as_str() {
        "json-file" | "k8s-file" => kept.directory.join("log").display().to_string(),
        _ => String::new(),
    }
}

/// How large its log may become, as podman shows it.
fn log_size(asked: &Asked) -> String {
    let log = &asked.life.log;
    let is_file = matches!(log.driver.as_str(), "json-file" | "k8s-file");
    let (mut size, mut unit) = (if is_file { log.max_size as f64 } else { 0.0 }, 0);
    while size >= 1000.0 && unit < 4 {
        (size, unit) = (size / 1000.0, unit + 1);
    }
    // Four digits that count, as Go's `%.4g`.
    let digits = 4_usize.saturating_sub(format!("{}", size as u64).len());
    let text = format!("{size:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", ["B", "kB", "MB", "GB", "TB"][unit])
}

fn user(user: Option<&UserOption>) -> String {
    let text = |identity: &Identity| match identity {
        Identity::Id(id) => id.to_string(),
        Identity::Name(name) => name.clone(),
    };
    user.map_or_else(String::new, |user| match &user.group {
        Some(group) => format!("{}:{}", text(&user.user), text(group)),
        None => text(&user.user),
    })
}

fn config(kept: &Kept, asked: &Asked, said: &Said<'_>) -> Value {
    let RunOptions { process, namespaces, .. } = &asked.options;
    let has_input = asked.life.input != StandardInput::Closed;
    let exposed: Map<String, Value> = asked
        .options
        .network
        .publish
        .iter()
        .flat_map(|port| {
            port.container.ports().map(move |number| (format!("{number}/{}", port.protocol), json!({})))
        })
        .collect();
    let mut config = json!({
        "Hostname": namespaces.hostname(),
        "Domainname": namespaces.domainname.clone().unwrap_or_default(),
        "User": user(process.user.as_ref()),
        "AttachStdin": has_input && !said.has("detach"),
        "AttachStdout": !said.has("detach"),
        "AttachStderr": !said.has("detach"),
        "ExposedPorts": if exposed.is_empty() { Value::Null } else { Value::Object(exposed) },
        "Tty": process.terminal != TerminalMode::Inherit,
        "OpenStdin": said.has("interactive"),
        "StdinOnce": said.has("interactive") && !said.has("detach"),
        "Env": config::shown_environment(process),
        "Cmd": process.command,
        "Image": kept.record.shown.root,
        "Volumes": null,
        "WorkingDir": process.directory,
        "Entrypoint": null,
        "OnBuild": null,
        "Labels": kept.record.shown.labels,
        "Annotations": process.annotations,
        "StopSignal": process.stop_signal.to_string(),
        "StopTimeout": process.stop_patience.map(|patience| patience.as_secs()),
        "CreateCommand": said.0,
        "Secrets": secrets(&asked.options.secrets),
    });
    if let Some(check) = &asked.life.health {
        config["Healthcheck"] = check.to_json();
        config["HealthcheckOnFailureAction"] = json!(check.on_failure.to_string());
    }
    config
}

/// Those that are files, in podman's words; none of them has its value.
fn secrets(options: &SecretOptions) -> Value {
    let files = options.requests.iter().filter_map(|request| match request.place {
        SecretPlace::File { uid, gid, mode, .. } => {
            let id = request.id.as_deref().unwrap_or_default();
            Some(json!({"Name": request.name, "ID": id, "UID": uid, "GID": gid, "Mode": mode}))
        }
        SecretPlace::Variable { .. } => None,
    });
    Value::Array(files.collect())
}

fn host_config(kept: &Kept, asked: &Asked, said: &Said<'_>) -> Value {
    let RunOptions { files, limits, security, network, .. } = &asked.options;
    let life = &asked.life;
    let mut log: BTreeMap<&str, String> =
        life.log.options.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    if matches!(life.log.driver.as_str(), "json-file" | "k8s-file") {
        log.entry("max-file").or_insert_with(|| life.log.max_files.to_string());
    }
    let retries = match life.restart {
        RestartPolicy::OnFailure(Some(most)) => most,
        _ => 0,
    };
    let mode = |name: &str, default: &str| match said.last(name) {
        "" => default.to_owned(),
        text => text.to_owned(),
    };
    let shared = |name: &str, found: &NamespaceMode, default: &str| match found {
        NamespaceMode::Container(id) => format!("container:{id}"),
        _ => mode(name, default),
    };
    let namespaces = &asked.options.namespaces;
    let ipc = match &namespaces.ipc {
        IpcMode::Shared(found) => shared("ipc", found, "private"),
        IpcMode::Private | IpcMode::None => mode("ipc", "private"),
    };
    let network_mode = match &network.mode {
        NetworkMode::Container(id) => format!("container:{id}"),
        _ if !network.attachments.is_empty() => network.attachments[0].network.clone(),
        _ => mode("network", "bridge"),
    };
    let ulimits: Vec<Value> = limits
        .ulimits
        .iter()
        .map(|limit| {
            let number = |value: u64| if value == u64::MAX { json!(-1) } else { json!(value) };
            json!({"Name": limit.name, "Hard": number(limit.hard), "Soft": number(limit.soft)})
        })
        .collect();
    let devices: Vec<Value> = said
        .all("device")
        .into_iter()
        .map(|device| {
            let mut parts = device.split(':');
            let host = parts.next().unwrap_or_default();
            let inside = parts.next().filter(|part| part.starts_with('/')).unwrap_or(host);
            json!({"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": "rwm"})
        })
        .collect();
    let tmpfs: Map<String, Value> = said
        .all("tmpfs")
        .into_iter()
        .map(|text| text.split_once(':').unwrap_or((text, "")))
        .map(|(path, options)| (path.to_owned(), json!(options)))
        .collect();
    let own = json!({
        "Binds": said.all("volume"),
        "ContainerIDFile": said.last("cidfile"),
        "LogConfig": {
            "Type": life.log.driver,
            "Config": log,
            "Path": log_path(kept, asked),
            "Size": log_size(asked),
            "Tag": log.get("tag").cloned().unwrap_or_default(),
        },
        "NetworkMode": network_mode,
        "PortBindings": bindings(&network.publish),
        "RestartPolicy": {"Name": life.restart.to_string(), "MaximumRetryCount": retries},
        "AutoRemove": kept.record.stay == Stay::Removed,
        "VolumeDriver": "",
        "VolumesFrom": said.all("volumes-from"),
        "ConsoleSize": [0, 0],
        "Annotations": asked.options.process.annotations,
        "CapAdd": said.all("cap-add"),
        "CapDrop": said.all("cap-drop"),
        "CgroupnsMode": mode("cgroupns", "private"),
        "Dns": said.all("dns"),
        "DnsOptions": said.all("dns-option"),
        "DnsSearch": said.all("dns-search"),
        "ExtraHosts": said.all("add-host"),
        "GroupAdd": said.all("group-add"),
        "IpcMode": ipc,
        "Cgroup": "",
        "Links": null,
        "OomScoreAdj": limits.oom_score_adj.unwrap_or(0),
        "PidMode": shared("pid", &namespaces.pid, ""),
        "Privileged": security.privileged,
        "PublishAllPorts": said.has("publish-all"),
        "ReadonlyRootfs": files.read_only,
        "SecurityOpt": said.all("security-opt"),
        "Tmpfs": tmpfs,
        "UTSMode": shared("uts", &namespaces.uts, ""),
        "UsernsMode": mode("userns", ""),
        "ShmSize": limits.shm_size.unwrap_or(64 << 20),
        "Sysctls": security.sysctls,
        "Runtime": "rabbitc-runtime",
        "Isolation": "",
    });
    let Value::Object(mut all) = own else { return Value::Null };
    if let Value::Object(limits) = limit_config(asked, said, ulimits, devices) {
        all.extend(limits);
    }
    Value::Object(all)
}

/// The part of it that is about limits and devices.
fn limit_config(asked: &Asked, said: &Said<'_>, ulimits: Vec<Value>, devices: Vec<Value>) -> Value {
    let limits = &asked.options.limits;
    json!({
        "CpuShares": limits.cpu_shares.unwrap_or(0),
        "Memory": limits.memory.unwrap_or(0),
        // Microseconds for each 100 ms.
        "NanoCpus": limits.cpu_time.unwrap_or(0) * 10_000,
        "CgroupParent": limits.cgroup_parent.clone().unwrap_or_default(),
        "BlkioWeight": limits.blkio_weight.unwrap_or(0),
        "CpuPeriod": limits.cpu_period.unwrap_or(0),
        "CpuQuota": limits.cpu_quota.unwrap_or(0),
        "CpuRealtimePeriod": limits.cpu_rt_period.unwrap_or(0),
        "CpuRealtimeRuntime": limits.cpu_rt_runtime.unwrap_or(0),
        "CpusetCpus": limits.cpuset_cpus.as_ref().map(ToString::to_string).unwrap_or_default(),
        "CpusetMems": limits.cpuset_mems.as_ref().map(ToString::to_string).unwrap_or_default(),
        "Devices": devices,
        "DeviceCgroupRules": said.all("device-cgroup-rule"),
        "DeviceRequests": null,
        "MemoryReservation": limits.memory_reservation.unwrap_or(0),
        "MemorySwap": limits.memory_swap.unwrap_or(0),
        "MemorySwappiness": limits.memory_swappiness,
        "OomKillDisable": limits.oom_kill_disable,
        "PidsLimit": limits.pids_limit,
        "Ulimits": ulimits,
        "Init": asked.options.process.init,
    })
}

/// Published ports as docker writes what was asked for.
pub(crate) fn bindings(requests: &[::network::PortRequest]) -> Value {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for request in requests {
        for (index, inside) in request.container.ports().enumerate() {
            let host = match request.host {
                ::network::HostPorts::From(first) => (usize::from(first) + index).to_string(),
                ::network::HostPorts::OneOf(range) => format!("{}-{}", range.first(), range.last()),
                ::network::HostPorts::Any => String::new(),
            };
            let address = request.address.map(|address| address.to_string()).unwrap_or_default();
            let binding = json!({"HostIp": address, "HostPort": host});
            all.entry(format!("{inside}/{}", request.protocol)).or_default().push(binding);
        }
    }
    json!(all)
}

fn graph(kept: &Kept) -> Value {
    let upper = kept.directory.join("u0");
    let data = match kept.root {
        KeptRoot::Image { .. } if upper.exists() => {
            let lower: Vec<String> =
                kept.lowers().unwrap_or_default().iter().map(|path| path.display().to_string()).collect();
            json!({"LowerDir": lower.join(":"), "UpperDir": upper.display().to_string()})
        }
        _ => Value::Null,
    };
    json!({"Name": "overlay", "Data": data})
}

fn mounts(options: &RunOptions) -> Value {
    let mounts = options.files.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind(bind) => {
            let read_only = !matches!(bind.access, Access::Writable | Access::ThrownAway);
            if let Some(volume) = &bind.volume {
                return Some(json!({
                    "Type": "volume",
                    "Name": volume.name,
                    "Source": bind.source.display().to_string(),
                    "Destination": mount.target,
                    "Driver": "local",
                    "Mode": if read_only { "ro" } else { "" },
                    "RW": !read_only,
                    "Propagation": "",
                }));
            }
            Some(json!({
                "Type": "bind",
                "Source": bind.source.display().to_string(),
                "Destination": mount.target,
                "Mode": if read_only { "ro" } else { "" },
                "RW": !read_only,
                "Propagation": match bind.propagation {
                    Propagation::Private => "rprivate",
                    Propagation::Shared => "rshared",
                    Propagation::Slave => "rslave",
                },
            }))
        }
        // Docker lists those of `--tmpfs` elsewhere.
        MountKind::Tmpfs(_) => None,
    });
    Value::Array(mounts.collect())
}

/// What CNI plugins have made, in docker's words.
fn of_plugins(outcome: &cni::Outcome) -> Value {
    let addresses = outcome.addresses();
    let one = addresses.iter().find(|(address, _)| address.is_ipv4());
    let other = addresses.iter().find(|(address, _)| address.is_ipv6());
    let gateway = outcome.gateway().map(|gateway| gateway.to_string());
    json!({
        "IPAddress": one.map(|(address, _)| address.to_string()).unwrap_or_default(),
        "IPPrefixLen": one.map_or(0, |(_, prefix)| *prefix),
        "Gateway": gateway.unwrap_or_default(),
        "MacAddress": outcome.mac().unwrap_or_default(),
        "GlobalIPv6Address": other.map(|(address, _)| address.to_string()).unwrap_or_default(),
    })
}

/// A container's place in one network, as docker has it; of one that does not run, what was asked for.
fn endpoint(kept: &Kept, shown: Option<&ShownNetwork>, asked: Option<&NetworkAttachment>) -> Value {
    let text = |text: Option<String>| text.unwrap_or_default();
    let aliases =
        shown.map(|shown| &shown.aliases).or(asked.map(|asked| &asked.aliases)).cloned().unwrap_or_default();
    let short = kept.id.get(..12).unwrap_or(&kept.id).to_owned();
    let names = [kept.name.clone(), short].into_iter().chain(aliases.iter().cloned());
    json!({
        "IPAMConfig": asked.map(|asked| json!({
            "IPv4Address": text(asked.ip.map(|ip| ip.to_string())),
            "IPv6Address": text(asked.ip6.map(|ip| ip.to_string())),
        })),
        "Links": null,
        "Aliases": aliases,
        "MacAddress": text(shown.map(|shown| shown.mac.clone())),
        "DriverOpts": null,
        "GwPriority": 0,
        "NetworkID": text(shown.map(|shown| shown.id.clone())),
        "EndpointID": "",
        "Gateway": text(shown.map(|shown| shown.gateway.to_string())),
        "IPAddress": text(shown.map(|shown| shown.address.to_string())),
        "IPPrefixLen": shown.map_or(0, |shown| shown.prefix),
        "IPv6Gateway": text(shown.and_then(|shown| shown.gateway_ipv6).map(|address| address.to_string())),
        "GlobalIPv6Address": text(shown.and_then(|shown| shown.address_ipv6).map(|address| address.to_string())),
        "GlobalIPv6PrefixLen": shown.map_or(0, |shown| shown.prefix_ipv6),
        "DNSNames": names.filter(|name| !name.is_empty()).collect::<Vec<_>>(),
    })
}

fn network_settings(
    kept: &Kept,
    shown: &Shown,
    options: &NetworkOptions,
    said: &Said<'_>,
    plugged: Option<cni::Shown>,
) -> Value {
    let mut ports: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (inside, address, host) in shown.ports.iter().flat_map(PublishedPort::each) {
        let address = address.map_or_else(|| "0.0.0.0".to_owned(), |address| address.to_string());
        let binding = json!({"HostIp": address, "HostPort": host.to_string()});
        ports.entry(inside.to_string()).or_default().push(binding);
    }
    let mut networks: Map<String, Value> =
        shown.networks().map(|network| (network.name.clone(), endpoint(kept, Some(network), None))).collect();
    let flat = match &shown.network {
        Some(network) => json!({
            "IPAddress": network.address,
            "IPPrefixLen": network.prefix,
            "Gateway": network.gateway,
            "MacAddress": network.mac,
            "GlobalIPv6Address": network.address_ipv6.map(|address| address.to_string()).unwrap_or_default(),
        }),
        None => plugged.as_ref().map_or_else(
            || json!({"IPAddress": "", "IPPrefixLen": 0, "Gateway": "", "MacAddress": "", "GlobalIPv6Address": ""}),
            |plugged| of_plugins(&plugged.outcome),
        ),
    };
    if let Some(plugged) = plugged {
        let mut own = flat.clone();
        // As the plugins have said it.
        own["CNIResult"] = plugged.result;
        networks.insert(plugged.name, own);
    }
    if networks.is_empty() {
        for attachment in &options.attachments {
            networks.insert(attachment.network.clone(), endpoint(kept, None, Some(attachment)));
        }
        if let name @ ("host" | "none") = said.last("network") {
            networks.insert(name.to_owned(), flat.clone());
        }
    }
    let Value::Object(mut settings) = flat else { return Value::Null };
    settings.insert("Bridge".to_owned(), json!(""));
    settings.insert("SandboxKey".to_owned(), json!(""));
    settings.insert("Ports".to_owned(), json!(ports));
    settings.insert("Networks".to_owned(), Value::Object(networks));
    Value::Object(settings)
}
