//! `top`: the processes of a container, by what the kernel tells of each (proc(5)), in podman's columns. Users and groups have the
//! names of the container's own files, which are read as `run` reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use runtime::layers::Layers;
use runtime::{capability, lifecycle};

use super::{Found, root_of};
use crate::accounts;
use crate::error::{Error, Result};
use crate::options::go_duration;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor(usize);

/// Podman's names of columns, what AIX calls them, and their titles.
const DESCRIPTORS: [(&str, &str, &str); 32] = [
    ("pcpu", "%C", "%CPU"),
    ("group", "%G", "GROUP"),
    ("groups", "", "GROUPS"),
    ("ppid", "%P", "PPID"),
    ("user", "%U", "USER"),
    ("uid", "", "UID"),
    ("args", "%a", "COMMAND"),
    ("comm", "%c", "COMMAND"),
    ("rgroup", "%g", "RGROUP"),
    ("nice", "%n", "NI"),
    ("pid", "%p", "PID"),
    ("pgid", "%r", "PGID"),
    ("etime", "%t", "ELAPSED"),
    ("ruser", "%u", "RUSER"),
    ("time", "%x", "TIME"),
    ("tty", "%y", "TTY"),
    ("vsz", "%z", "VSZ"),
    ("capamb", "", "AMBIENT CAPS"),
    ("capinh", "", "INHERITED CAPS"),
    ("capprm", "", "PERMITTED CAPS"),
    ("capeff", "", "EFFECTIVE CAPS"),
    ("capbnd", "", "BOUNDING CAPS"),
    ("seccomp", "", "SECCOMP"),
    ("label", "", "LABEL"),
    ("hpid", "", "HPID"),
    ("huser", "", "HUSER"),
    ("huid", "", "HUID"),
    ("hgroup", "", "HGROUP"),
    ("hgroups", "", "HGROUPS"),
    ("rss", "", "RSS"),
    ("state", "", "STATE"),
    ("stime", "", "STIME"),
];

impl Descriptor {
    /// The one that is called so.
    pub fn find(name: &str) -> Option<Descriptor> {
        let is_it = |(own, code, _): &(&str, &str, &str)| *own == name || (!code.is_empty() && *code == name);
        DESCRIPTORS.iter().position(is_it).map(Descriptor)
    }

    /// Its title.
    pub fn title(self) -> &'static str {
        DESCRIPTORS[self.0].2
    }

    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        DESCRIPTORS.iter().map(|(name, _, _)| *name)
    }
}

const OPERATION: &str = "list the processes of";

/// Ticks of the kernel's clock for programs (`USER_HZ`): 100 on every machine that rabbitc runs on.
const TICKS: u64 = 100;

impl Found {
    /// Its processes, by their pids on the host, in order.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let (view, _) = self.first(OPERATION)?;
        if view.record.cgroup_path.is_none() {
            return Err(lifecycle::no_cgroup(format!("{OPERATION} `{}`", self.called())));
        }
        match lifecycle::cgroup_of(&view.record)? {
            Some(group) => Ok(group.processes_recursive()?),
            None => Err(self.has_ended(OPERATION)),
        }
    }

    /// What these columns say of each of its processes.
    pub fn describe_processes(&self, columns: &[Descriptor]) -> Result<Vec<Vec<String>>> {
        let pids = self.processes()?;
        let (inside, users, groups) = self.of_first(OPERATION, |pid| {
            Ok((accounts::names(&root_of(pid)?), maps(pid, "uid_map"), maps(pid, "gid_map")))
        })?;
        let table = Table {
            inside,
            host: accounts::names(&Layers::open([Path::new("/")])?),
            users,
            groups,
            own: pids.iter().copied().collect(),
            since_boot: since_boot()?,
        };
        // One that has ended since is none any more.
        let found = pids.iter().filter_map(|pid| Process::read(*pid));
        Ok(found
            .map(|process| {
                columns.iter().map(|column| table.cell(&process, DESCRIPTORS[column.0].0)).collect()
            })
            .collect())
    }
}

/// Names of users and of groups, by their numbers.
type Names = (BTreeMap<u32, String>, BTreeMap<u32, String>);

/// What is needed to put a process into words.
struct Table {
    inside: Names,
    host: Names,
    users: Vec<(u32, u32, u32)>,
    groups: Vec<(u32, u32, u32)>,
    own: BTreeSet<i32>,
    since_boot: Duration,
}

/// What the kernel tells of one process.
struct Process {
    pid: i32,
    stat: Vec<String>,
    status: BTreeMap<String, String>,
    arguments: String,
    label: String,
}

impl Process {
    fn read(pid: i32) -> Option<Process> {
        let text = |file: &str| {
            std::fs::read(format!("/proc/{pid}/{file}"))
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let stat = text("stat").ok()?;
        // The name may have anything in it; the fields are counted after its last parenthesis.
        let (_, fields) = stat.rsplit_once(')')?;
        let status = text("status").ok()?;
        let status = status.lines().filter_map(|line| line.split_once(':'));
        let arguments = text("cmdline").unwrap_or_default();
        Some(Process {
            pid,
            stat: fields.split_ascii_whitespace().map(str::to_owned).collect(),
            status: status.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect(),
            arguments: arguments.trim_end_matches('\0').replace('\0', " "),
            label: text("attr/current").unwrap_or_default().trim_matches(['\0', '\n']).to_owned(),
        })
    }

    /// Field `number` of proc_pid_stat(5).
    fn stat(&self, number: usize) -> u64 {
        self.stat.get(number - 3).and_then(|field| field.parse().ok()).unwrap_or(0)
    }

    fn status(&self, name: &str) -> &str {
        self.status.get(name).map_or("", String::as_str)
    }

    /// The number at a place of a line with several.
    fn number(&self, name: &str, place: usize) -> u32 {
        let found = self.status(name).split_ascii_whitespace().nth(place);
        found.and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// The last of several numbers: the one in the innermost namespace.
    fn innermost(&self, name: &str) -> String {
        self.status(name).split_ascii_whitespace().last().unwrap_or("?").to_owned()
    }

    fn name(&self) -> String {
        self.status("Name").to_owned()
    }

    fn processor_time(&self) -> Duration {
        ticks(self.stat(14) + self.stat(15))
    }
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count.saturating_mul(1000 / TICKS))
}

impl Table {
    fn cell(&self, process: &Process, column: &str) -> String {
        let age = || self.since_boot.saturating_sub(ticks(process.stat(22)));
        let capabilities = |set: &str| capabilities(process.status(set));
        let text = match column {
            "pcpu" => {
                let age = age().as_secs_f64();
                let share = if age > 0.0 { process.processor_time().as_secs_f64() / age } else { 0.0 };
                format!("{:.3}", share * 100.0)
            }
            // The second number is the one in force.
            "user" => self.user(process.number("Uid", 1)),
            "ruser" => self.user(process.number("Uid", 0)),
            "uid" => inside(&self.users, process.number("Uid", 1)).to_string(),
            "group" => self.group(process.number("Gid", 1)),
            "rgroup" => self.group(process.number("Gid", 0)),
            "groups" => self.all_groups(process, |group| self.group(group)),
            "huser" => named(&self.host.0, process.number("Uid", 1)),
            "huid" => process.number("Uid", 1).to_string(),
            "hgroup" => named(&self.host.1, process.number("Gid", 1)),
            "hgroups" => self.all_groups(process, |group| named(&self.host.1, group)),
            "ppid" => self.parent(process),
            "pid" => process.innermost("NSpid"),
            "pgid" => process.innermost("NSpgid"),
            "hpid" => process.pid.to_string(),
            "args" if process.arguments.is_empty() => format!("[{}]", process.name()),
            "args" => process.arguments.clone(),
            "comm" => process.name(),
            "nice" => (process.stat.get(16).map_or("0", String::as_str)).to_owned(),
            "etime" => go_duration(age()),
            "time" => go_duration(process.processor_time()),
            "stime" => {
                let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
                ::image::documents::moment(now.unwrap_or_default().saturating_sub(age()).as_secs())
            }
            "tty" => terminal(process.stat(7)),
            "vsz" => (process.stat(23) / 1024).to_string(),
            "rss" => process.status("VmRSS").trim_end_matches(" kB").trim().to_owned(),
            "capamb" => capabilities("CapAmb"),
            "capinh" => capabilities("CapInh"),
            "capprm" => capabilities("CapPrm"),
            "capeff" => capabilities("CapEff"),
            "capbnd" => capabilities("CapBnd"),
            "seccomp" => match process.status("Seccomp") {
                "0" => "disabled",
                "1" => "strict",
                "2" => "filter",
                _ => "?",
            }
            .to_owned(),
            "label" if process.label.is_empty() => "?".to_owned(),
            "label" => process.label.clone(),
            _ => process.stat.first().cloned().unwrap_or_default(),
        };
        // The container has called its programs so.
        sys::plain(&text)
    }

    /// The pid of its parent inside; one outside of the container is 0 there.
    fn parent(&self, process: &Process) -> String {
        let parent = process.stat(4) as i32;
        match self.own.contains(&parent).then(|| Process::read(parent)).flatten() {
            Some(parent) => parent.innermost("NSpid"),
            None => "0".to_owned(),
        }
    }

    fn user(&self, id: u32) -> String {
        named(&self.inside.0, inside(&self.users, id))
    }

    fn group(&self, id: u32) -> String {
        named(&self.inside.1, inside(&self.groups, id))
    }

    fn all_groups(&self, process: &Process, name: impl Fn(u32) -> String) -> String {
        let groups = process.status("Groups").split_ascii_whitespace();
        groups.filter_map(|group| group.parse().ok()).map(name).collect::<Vec<_>>().join(",")
    }
}

fn named(names: &BTreeMap<u32, String>, id: u32) -> String {
    names.get(&id).cloned().unwrap_or_else(|| id.to_string())
}

/// An id of the host as the container has it.
fn inside(maps: &[(u32, u32, u32)], id: u32) -> u32 {
    let found = maps.iter().find(|(_, host, size)| id >= *host && id - *host < *size);
    found.map_or(id, |(first, host, _)| first + (id - host))
}

/// The lines of `/proc/PID/uid_map`: first id inside, first on the host, how many.
fn maps(pid: i32, file: &str) -> Vec<(u32, u32, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    text.lines().filter_map(line).collect()
}

fn capabilities(set: &str) -> String {
    let bits = u64::from_str_radix(set, 16).unwrap_or(0);
    let all = (1 << (capability::last() + 1)) - 1;
    match bits & all {
        0 => return "none".to_owned(),
        bits if bits == all => return "full".to_owned(),
        _ => {}
    }
    let known = capability::NAMES.iter().enumerate();
    let mut names: Vec<&str> =
        known.filter(|(number, _)| bits & (1 << number) != 0).map(|(_, name)| *name).collect();
    names.sort_unstable();
    names.join(",")
}

/// The name of the terminal with this device number, as the kernel packs it for programs.
fn terminal(number: u64) -> String {
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xf_ff00));
    match (number, major) {
        (0, _) => "?".to_owned(),
        // Unix98 terminals (devices.txt).
        (_, 136..=143) => format!("pts/{}", minor + (major - 136) * 256),
        (_, 4) => format!("tty{minor}"),
        _ => format!("{major}:{minor}"),
    }
}

fn since_boot() -> Result<Duration> {
    let path = Path::new("/proc/uptime");
    let text = std::fs::read_to_string(path).map_err(|error| Error::at_path("read", path, error))?;
    let seconds = text.split_ascii_whitespace().next().and_then(|seconds| seconds.parse().ok());
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_podmans() {
        assert_eq!(capabilities("0000000000000000"), "none");
        assert_eq!(capabilities("0000000000000003"), "CHOWN,DAC_OVERRIDE");
        assert_eq!(capabilities("ffffffffffffffff"), "full");
        for (number, name) in [(0, "?"), (0x8803, "pts/3"), (0x0401, "tty1")] {
            assert_eq!(terminal(number), name);
        }
    }

    #[test]
    fn ids_are_those_inside() {
        let maps = [(0, 100_000, 1000), (1000, 0, 1)];
        assert_eq!([inside(&maps, 100_005), inside(&maps, 0), inside(&maps, 7)], [5, 1000, 7]);
    }

    #[test]
    fn own_process_is_described() {
        let process = Process::read(std::process::id() as i32).expect("it lives");
        assert_eq!(process.innermost("NSpid"), std::process::id().to_string());
        assert!(!process.arguments.is_empty());
    }
}
