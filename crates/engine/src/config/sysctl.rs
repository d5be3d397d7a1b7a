//! Kernel parameters that a person sets, only those of the container's own namespaces, and one that every container has.

use std::collections::BTreeMap;

use runtime::caller::Caller;
use runtime::plan::{FixedSysctl, sysctl_namespace};
use runtime::spec::{Linux, NamespaceKind, Spec};

use super::WhoseUsers;
use crate::error::{Error, Result};

const FLAG: &str = "--sysctl";

/// Refuses a domain that is not the one of `--domainname`, as only one can be.
pub(super) fn check_domain(sysctls: &BTreeMap<String, String>, domain: Option<&str>) -> Result<()> {
    let Some(domain) = domain.filter(|domain| !domain.is_empty()) else { return Ok(()) };
    let names = ["kernel.domainname", "kernel/domainname"];
    match names.into_iter().filter_map(|name| sysctls.get(name)).find(|value| *value != domain) {
        Some(value) => {
            let (value, domain) = (value.escape_debug(), domain.escape_debug());
            let reason = format!("the domain name is `{value}`, and by `--domainname` it is `{domain}`");
            Err(Error::invalid(FLAG, reason).with_hint("only one can be: leave one of the two out"))
        }
        None => Ok(()),
    }
}

/// Lets all groups send echo requests without a capability (`IPPROTO_ICMP` in icmp(7)), as docker and podman do, in a network
/// of the container's own. What a person has set of it stays.
pub(crate) fn let_ping(spec: &mut Spec) {
    let Some(linux) = spec.linux.as_mut() else { return };
    let find = |kind: NamespaceKind| linux.namespaces.iter().find(|namespace| namespace.kind == kind);
    let has_own_network = find(NamespaceKind::Network).is_some_and(|network| network.path.is_none());
    let is_set = linux.sysctl.keys().any(|name| name.replace('/', ".") == PING_GROUPS);
    if !has_own_network || is_set {
        return;
    }
    // The kernel takes no group that the namespace does not have.
    let last = match find(NamespaceKind::User).map(|users| users.path.is_some()) {
        Some(true) => None,
        Some(false) => {
            let of_root = linux.gid_mappings.iter().find(|map| map.container_id == 0);
            of_root.map(|map| map.size.saturating_sub(1))
        }
        None if Caller::find() == Caller::NamespaceRoot => own_last_group(),
        None => Some(u32::MAX),
    };
    if let Some(last) = last {
        linux.sysctl.insert(PING_GROUPS.to_owned(), format!("0 {}", last.min(LAST_GROUP)));
    }
}

const PING_GROUPS: &str = "net.ipv4.ping_group_range";

/// The highest that the parameter takes.
const LAST_GROUP: u32 = i32::MAX.cast_unsigned();

/// The last of the groups from 0 on that this process's user namespace has.
fn own_last_group() -> Option<u32> {
    let map = std::fs::read_to_string("/proc/self/gid_map").ok()?;
    map.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let [first, _, count] = [numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?];
        (first == 0).then(|| count.saturating_sub(1))
    })
}

/// Refuses a parameter that would change the host or another container.
pub(super) fn check(name: &str, users: WhoseUsers, linux: &Linux) -> Result<()> {
    let kind = match sysctl_namespace(name) {
        Ok(kind) => kind,
        Err(FixedSysctl::Hostname) => {
            let error = Error::invalid(FLAG, format!("`{name}` is set by `--hostname`"));
            return Err(error.with_hint("write `--hostname=NAME`"));
        }
        Err(reason) => {
            let error = Error::invalid(FLAG, format!("`{}` {reason}", name.escape_debug()));
            return Err(error.with_hint(
                "parameters of a container are those of `net.`, `fs.mqueue.`, `kernel.msg*`, `kernel.sem*`, \
                 `kernel.shm*`, `kernel.domainname`, `user.`",
            ));
        }
    };
    if kind == NamespaceKind::User && users == WhoseUsers::Own {
        return Ok(());
    }
    let found = linux.namespaces.iter().find(|namespace| namespace.kind == kind);
    let (with, flag) = match (kind, found.map(|namespace| namespace.path.is_some())) {
        (_, Some(false)) => return Ok(()),
        (NamespaceKind::Network, joined) => (joined, "--network"),
        (NamespaceKind::Ipc, joined) => (joined, "--ipc"),
        (NamespaceKind::Uts, joined) => (joined, "--uts"),
        (_, joined) => (joined, "--userns"),
    };
    let whose = if with.is_some() { "another's" } else { "the host's" };
    let kind = format!("{kind:?}").to_lowercase();
    let error =
        Error::invalid(FLAG, format!("`{name}` belongs to the {kind} namespace, which is {whose} here"));
    Err(error.with_hint(format!("give the container its own {kind} namespace with `{flag}`")))
}

#[cfg(test)]
mod tests {
    use runtime::spec::Namespace;

    use super::*;

    #[test]
    fn parameter_of_a_shared_namespace_is_refused_with_its_flag() {
        let linux = |path: Option<&str>| Linux {
            namespaces: vec![Namespace { kind: NamespaceKind::Network, path: path.map(Into::into) }],
            ..Linux::default()
        };
        let check = |name: &str, linux: &Linux| check(name, WhoseUsers::Callers, linux);
        assert!(check("net.core.somaxconn", &linux(None)).is_ok());
        let error = check("net.core.somaxconn", &linux(Some("/proc/1/ns/net"))).expect_err("another's");
        assert!(error.to_string().contains("network namespace, which is another's here"), "{error}");
        let error = check("net.core.somaxconn", &Linux::default()).expect_err("the host's");
        assert!(error.to_string().contains("which is the host's here"), "{error}");
        assert!(error.hint.expect("there is one").contains("--network"));
        let error = check("kernel.panic", &linux(None)).expect_err("not namespaced");
        assert_eq!(error.to_string(), "--sysctl: `kernel.panic` is not namespaced: it would change the host");
        assert!(check("net/../kernel/panic", &linux(None)).is_err());
    }
}
