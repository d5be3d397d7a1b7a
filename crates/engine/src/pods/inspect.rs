//! All that is known of a pod, as podman writes it.

use serde_json::{Map, Value, json};

use super::ListedPod;
use crate::life::RestartPolicy;
use crate::options::{HostAddress, LimitOptions, NamespaceMode, NetworkMode, OwnedFile, UserNamespace};

impl ListedPod {
    /// All that is known of it, in podman's shape and order.
    pub fn inspect(&self) -> Value {
        let record = &self.pod.record;
        let shares: Vec<&str> = record.shares.iter().map(|kind| kind.name()).collect();
        let containers: Vec<Value> = self
            .members
            .iter()
            .map(|one| json!({"Id": one.id, "Name": one.name, "State": one.status()}))
            .collect();
        let created = i64::try_from(record.created).unwrap_or_default();
        let all = json!({
            "Id": self.pod.id,
            "Name": self.pod.name,
            "Created": monitor::Moment(created).to_string(),
            "CreateCommand": record.words,
            "ExitPolicy": record.exit_policy.name(),
            "State": self.state.name(),
            "Hostname": record.options.namespaces.hostname.clone().unwrap_or_default(),
            "Labels": record.labels,
            "CreateCgroup": record.has_group,
            "CgroupParent": record.limits.cgroup_parent.clone().unwrap_or_default(),
            "CgroupPath": self.group(),
            "CreateInfra": record.has_infra,
            "InfraContainerID": self.infra_id(),
            "InfraConfig": self.infra(),
            "SharedNamespaces": shares,
            "NumContainers": self.members.len(),
            "Containers": containers,
            "RestartPolicy": restart(record.restart),
            "LockNumber": 0,
        });
        let Value::Object(mut all) = all else { return Value::Null };
        all.extend(limits(&record.limits));
        Value::Object(all)
    }

    fn infra(&self) -> Value {
        let record = &self.pod.record;
        if !record.has_infra {
            return Value::Null;
        }
        let (network, namespaces) = (&record.options.network, &record.options.namespaces);
        let names = &network.names;
        let hosts: Vec<String> = names
            .hosts
            .iter()
            .map(|(name, address)| match address {
                HostAddress::Ip(address) => format!("{name}:{address}"),
                HostAddress::Host => format!("{name}:host-gateway"),
            })
            .collect();
        let list = |list: Vec<String>| if list.is_empty() { Value::Null } else { json!(list) };
        let servers = names.servers.iter().map(ToString::to_string).collect();
        let networks = match &network.mode {
            NetworkMode::Default | NetworkMode::Bridge if network.attachments.is_empty() => {
                match &network.name {
                    Some(name) => json!([name]),
                    None => json!(["bridge"]),
                }
            }
            NetworkMode::Default | NetworkMode::Bridge => {
                network.attachments.iter().map(|attachment| json!(attachment.network)).collect()
            }
            NetworkMode::Pasta => json!(["pasta"]),
            NetworkMode::Cni(network) => json!([network.name]),
            _ => Value::Null,
        };
        let mode = |mode: &NamespaceMode| if *mode == NamespaceMode::Host { "host" } else { "private" };
        let mac = network.mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"));
        json!({
            "PortBindings": crate::life::bindings(&network.publish),
            "HostNetwork": network.mode == NetworkMode::Host,
            "StaticIP": network.container_ip.clone().unwrap_or_default(),
            "StaticMAC": mac.unwrap_or_default(),
            "NoManageResolvConf": false,
            "DNSServer": list(servers),
            "DNSSearch": list(names.search.clone()),
            "DNSOption": list(names.options.clone()),
            "NoManageHostname": names.hostname_file == OwnedFile::OfTheRoot,
            "NoManageHosts": names.hosts_file == OwnedFile::OfTheRoot,
            "HostAdd": list(hosts),
            "HostsFile": "",
            "Networks": networks,
            "NetworkOptions": null,
            "pid_ns": mode(&namespaces.pid),
            "userns": match namespaces.users {
                UserNamespace::Default | UserNamespace::Host => "host",
                _ => "private",
            },
            "uts_ns": mode(&namespaces.uts),
        })
    }
}

fn restart(policy: RestartPolicy) -> String {
    match policy {
        RestartPolicy::No => "no".to_owned(),
        RestartPolicy::OnFailure(Some(most)) => format!("on-failure:{most}"),
        other => other.to_string(),
    }
}

/// The limits of the pod's own group, as far as there are any.
fn limits(limits: &LimitOptions) -> Map<String, Value> {
    let device = |limit: &crate::options::DeviceLimit<u64>| json!({"Path": limit.path, "Rate": limit.value});
    let (period, quota) = match limits.cpu_time {
        Some(time) => (Some(100_000), i64::try_from(time).ok()),
        None => (limits.cpu_period, limits.cpu_quota),
    };
    let rows = [
        ("cpu_period", json!(period)),
        ("cpu_quota", json!(quota)),
        ("cpu_shares", json!(limits.cpu_shares)),
        ("cpuset_cpus", json!(limits.cpuset_cpus.as_ref().map(ToString::to_string))),
        ("cpuset_mems", json!(limits.cpuset_mems.as_ref().map(ToString::to_string))),
        ("memory_limit", json!(limits.memory)),
        ("memory_swap", json!(limits.memory_swap)),
        ("blkio_weight", json!(limits.blkio_weight)),
        ("device_read_bps", Value::Array(limits.device_read_bps.iter().map(device).collect())),
        ("device_write_bps", Value::Array(limits.device_write_bps.iter().map(device).collect())),
    ];
    let is_set = |(_, value): &(&str, Value)| !value.is_null() && *value != json!([]);
    rows.into_iter().filter(is_set).map(|(name, value)| (name.to_owned(), value)).collect()
}
