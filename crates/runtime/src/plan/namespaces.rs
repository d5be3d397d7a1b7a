//! Which namespaces are made and which are joined.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use sys::clone::flags;

use crate::error::{Error, Result};
use crate::init::step::JoinedNamespace;
use crate::spec::{Namespace, NamespaceKind};

/// Namespaces that are made and those that are joined: disjoint sets.
#[derive(Debug, Default)]
pub(crate) struct NamespacePlan {
    /// Made by the clone itself.
    pub(crate) at_clone: u64,
    /// Unshared by the child at once, while the parent makes the cgroup.
    pub(crate) meanwhile: u64,
    /// Unshared by the child once it is in its cgroup.
    pub(crate) unshared: u64,
    /// Joined, before any is unshared.
    pub(crate) joined: Vec<JoinedNamespace>,
    /// A mount namespace that is joined once the root is laid out in a new one.
    pub(crate) mounts: Option<JoinedNamespace>,
    /// A pid namespace that is joined or unshared takes only children, and so does a time namespace that is unshared:
    /// then, and only then, there is an intermediate process.
    pub(crate) needs_intermediate: bool,
}

/// Whether a new time namespace has clocks that differ from the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clocks {
    Same,
    Shifted,
}

/// Every kind: its flag, its name in config.json, its file in `/proc/PID/ns`.
const KINDS: [(NamespaceKind, u64, &str, &str); 8] = [
    (NamespaceKind::User, flags::NEWUSER, "user", "user"),
    (NamespaceKind::Pid, flags::NEWPID, "pid", "pid"),
    (NamespaceKind::Network, flags::NEWNET, "network", "net"),
    (NamespaceKind::Mount, flags::NEWNS, "mount", "mnt"),
    (NamespaceKind::Ipc, flags::NEWIPC, "ipc", "ipc"),
    (NamespaceKind::Uts, flags::NEWUTS, "uts", "uts"),
    (NamespaceKind::Cgroup, flags::NEWCGROUP, "cgroup", "cgroup"),
    (NamespaceKind::Time, flags::NEWTIME, "time", "time"),
];

fn facts(kind: NamespaceKind) -> (u64, &'static str, &'static str) {
    let (_, flag, name, file) =
        KINDS.iter().find(|(known, ..)| *known == kind).expect("every kind is listed");
    (*flag, name, file)
}

/// Names of the kinds whose flags are set.
pub(crate) fn names(set: u64) -> Vec<&'static str> {
    KINDS.iter().filter(|(_, flag, ..)| set & flag != 0).map(|(_, _, name, _)| *name).collect()
}

/// Those of the set that this kernel was built without. Looked up once something has failed for it: each look costs a
/// start more than the whole list is worth.
pub(crate) fn missing(set: u64) -> Vec<&'static str> {
    let lacks = |file: &str| !Path::new(&format!("/proc/self/ns/{file}")).exists();
    KINDS
        .iter()
        .filter(|(_, flag, _, file)| set & flag != 0 && lacks(file))
        .map(|(_, _, name, _)| *name)
        .collect()
}

impl NamespacePlan {
    /// Whether a namespace of this kind is made.
    pub(crate) fn makes(&self, flag: u64) -> bool {
        (self.at_clone | self.meanwhile | self.unshared) & flag != 0
    }

    /// Whether the container's root is not the caller.
    pub(crate) fn changes_users(&self) -> bool {
        self.makes(flags::NEWUSER) || self.joined_users().is_some()
    }

    /// Leaves the network namespace to the child: of all it takes the kernel longest, and the parent has a cgroup to make.
    pub(crate) fn make_network_meanwhile(&mut self) {
        self.meanwhile |= self.at_clone & flags::NEWNET;
        self.at_clone &= !flags::NEWNET;
    }
}

/// Plans; opens the namespaces to be joined. Offsets of clocks can be set as long as nobody is in the time namespace.
pub(crate) fn plan_namespaces(namespaces: &[Namespace], clocks: Clocks) -> Result<NamespacePlan> {
    let mut plan = NamespacePlan::default();
    let mut seen = Vec::new();
    let joins_users = namespaces.iter().any(|namespace| {
        let path = namespace.path.as_ref().filter(|path| !path.as_os_str().is_empty());
        namespace.kind == NamespaceKind::User && path.is_some_and(|path| !is_callers(path, "user"))
    });
    for (index, namespace) in namespaces.iter().enumerate() {
        let field = format!("linux.namespaces[{index}]");
        let (flag, name, file) = facts(namespace.kind);
        if seen.contains(&namespace.kind) {
            return Err(Error::invalid(field, format!("`{name}` is listed twice")));
        }
        seen.push(namespace.kind);
        match namespace.path.as_deref().filter(|path| !path.as_os_str().is_empty()) {
            // It can't be entered once more (setns(2)), and whoever is in it needs not.
            Some(path) if namespace.kind == NamespaceKind::User && is_callers(path, file) => {}
            // As one that is not listed.
            Some(path) if namespace.kind == NamespaceKind::Mount && is_callers(path, file) => {}
            Some(path) if namespace.kind == NamespaceKind::Mount => {
                plan.mounts = Some(open(path, flag, name, &format!("{field}.path"))?);
                plan.at_clone |= flag;
            }
            Some(path) => {
                let joined = open(path, flag, name, &format!("{field}.path"))?;
                plan.needs_intermediate |= namespace.kind == NamespaceKind::Pid;
                plan.joined.push(joined);
            }
            None if joins_users || namespace.kind == NamespaceKind::Cgroup => {
                // Below a user namespace that is joined, all of them are made after it, so that they belong to it.
                plan.unshared |= flag;
                plan.needs_intermediate |= matches!(namespace.kind, NamespaceKind::Pid | NamespaceKind::Time);
            }
            None => plan.at_clone |= flag,
        }
    }
    if clocks == Clocks::Shifted && plan.at_clone & flags::NEWTIME != 0 {
        // Whom a clone puts into it fixes its offsets; an unshare holds for children alone (time_namespaces(7); on
        // older kernels even beyond exec). The first process of a pid namespace can't be replaced: that comes later too.
        let late = plan.at_clone & (flags::NEWTIME | flags::NEWPID);
        plan.at_clone &= !late;
        plan.unshared |= late;
        plan.needs_intermediate = true;
    }
    Ok(plan)
}

/// Whether the namespace is the caller's own.
fn is_callers(path: &Path, file: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let own = identity(Path::new(&format!("/proc/self/ns/{file}")));
    own.is_some() && identity(path) == own
}

/// Opens the namespace behind a file, if it is of the kind `flag`; an error begins with `field`.
pub(crate) fn open(path: &Path, flag: u64, name: &'static str, field: &str) -> Result<JoinedNamespace> {
    // A named pipe in its place would have this wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let place = || {
        let (.., file) = KINDS.iter().find(|(_, known, ..)| *known == flag).expect("every kind is listed");
        let named = if *file == "net" { ", and one of `ip netns` is `/run/netns/NAME`" } else { "" };
        format!("a process has it as `/proc/PID/ns/{file}`{named}")
    };
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| {
        let refused = error == rustix::io::Errno::ACCESS;
        let error = Error::at_path("open the namespace", path, error).from_field(field);
        match refused {
            true => error.with_hint("only its owner and root of the host may open it"),
            false => error.with_hint(place()),
        }
    })?;
    let found = rustix::fs::fstatfs(&file).map_err(|error| Error::at_path("examine", path, error))?;
    const NSFS_MAGIC: u64 = 0x6e73_6673;
    if found.f_type as u64 != NSFS_MAGIC {
        let error = Error::invalid(field, format!("`{}` is not a namespace", path.display()));
        return Err(error.with_hint(place()));
    }
    let found = sys::namespace::kind(file.as_fd())
        .map_err(|error| Error::at_path("examine", path, error).from_field(field))?;
    if found != flag {
        let found = names(found).into_iter().next().unwrap_or("another kind");
        let reason = format!("`{}` is a namespace of kind `{found}`, and not `{name}`", path.display());
        return Err(Error::invalid(field, reason).with_hint(place()));
    }
    Ok(JoinedNamespace { descriptor: file, flag, name, path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_listed_twice_is_refused() {
        let twice = [NamespaceKind::Pid, NamespaceKind::Pid].map(|kind| Namespace { kind, path: None });
        let error = plan_namespaces(&twice, Clocks::Same).expect_err("refused");
        assert_eq!(error.to_string(), "linux.namespaces[1]: `pid` is listed twice");
    }

    #[test]
    fn what_is_made_below_a_joined_user_namespace_is_made_after_it() {
        let own = |kind| Namespace { kind, path: None };
        let users = |path: &str| Namespace { kind: NamespaceKind::User, path: Some(path.into()) };
        let (pid, mount) = (own(NamespaceKind::Pid), own(NamespaceKind::Mount));
        let mut other = std::process::Command::new("unshare");
        let mut other = other.args(["--user", "sleep", "60"]).spawn().expect("unshare runs");
        let path = format!("/proc/{}/ns/user", other.id());
        while is_callers(Path::new(&path), "user") {
            std::thread::yield_now();
        }
        let plan = plan_namespaces(&[pid.clone(), mount, users(&path)], Clocks::Same);
        other.kill().expect("killed");
        other.wait().expect("ended");
        let plan = plan.expect("legal");
        assert_eq!((plan.at_clone, plan.unshared), (0, flags::NEWPID | flags::NEWNS));
        assert!(plan.needs_intermediate, "only children are in an unshared pid namespace");
        let plan = plan_namespaces(&[pid, users("/proc/self/ns/user")], Clocks::Same).expect("legal");
        assert_eq!((plan.at_clone, plan.joined.len()), (flags::NEWPID, 0), "the caller's own is no other");
        let plan = plan_namespaces(&[own(NamespaceKind::Pid), own(NamespaceKind::User)], Clocks::Same)
            .expect("legal");
        assert_eq!((plan.at_clone, plan.unshared), (flags::NEWPID | flags::NEWUSER, 0));
        assert!(!plan.needs_intermediate);
    }

    #[test]
    fn network_that_is_made_meanwhile_is_made_once() {
        let own = [NamespaceKind::Network, NamespaceKind::Pid].map(|kind| Namespace { kind, path: None });
        let mut plan = plan_namespaces(&own, Clocks::Same).expect("legal");
        plan.make_network_meanwhile();
        assert_eq!((plan.at_clone, plan.meanwhile), (flags::NEWPID, flags::NEWNET));
        assert!(plan.makes(flags::NEWNET) && plan.makes(flags::NEWPID));
        let mut plan = plan_namespaces(&own[1..], Clocks::Same).expect("legal");
        plan.make_network_meanwhile();
        assert_eq!((plan.at_clone, plan.meanwhile), (flags::NEWPID, 0), "the caller's stays the caller's");
    }

    #[test]
    fn clocks_are_shifted_before_anybody_is_in_their_namespace() {
        let kinds = [NamespaceKind::Time, NamespaceKind::Pid, NamespaceKind::Mount];
        let own = kinds.map(|kind| Namespace { kind, path: None });
        let plan = plan_namespaces(&own, Clocks::Same).expect("legal");
        assert_eq!((plan.unshared, plan.needs_intermediate), (0, false));
        assert_ne!(plan.at_clone & flags::NEWTIME, 0);
        let plan = plan_namespaces(&own, Clocks::Shifted).expect("legal");
        assert_eq!(plan.at_clone, flags::NEWNS);
        assert_eq!((plan.unshared, plan.needs_intermediate), (flags::NEWTIME | flags::NEWPID, true));
    }

    #[test]
    fn file_that_is_no_namespace_is_refused() {
        let wrong = [Namespace { kind: NamespaceKind::Network, path: Some("/etc/hostname".into()) }];
        let error = plan_namespaces(&wrong, Clocks::Same).expect_err("refused");
        assert!(error.to_string().contains("is not a namespace"), "{error}");
    }

    #[test]
    fn namespace_of_another_kind_is_refused_by_both_names() {
        let wrong = [Namespace { kind: NamespaceKind::Ipc, path: Some("/proc/self/ns/net".into()) }];
        let error = plan_namespaces(&wrong, Clocks::Same).expect_err("refused");
        let told =
            "linux.namespaces[0].path: `/proc/self/ns/net` is a namespace of kind `network`, and not `ipc`";
        assert_eq!(error.to_string(), told);
        assert!(error.hint.expect("a remedy").contains("/proc/PID/ns/ipc"));
    }

    #[test]
    fn named_pipe_in_the_place_of_a_namespace_is_refused_at_once() {
        let path = std::env::temp_dir().join(format!("rabbitc-namespace-{}", std::process::id()));
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).expect("made");
        let wrong = [Namespace { kind: NamespaceKind::Network, path: Some(path.clone()) }];
        let error = plan_namespaces(&wrong, Clocks::Same);
        std::fs::remove_file(&path).expect("removed");
        assert!(error.expect_err("refused").to_string().contains("is not a namespace"));
    }
}
