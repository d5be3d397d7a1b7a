//! Names on a network: what a container is called there, and the process that tells the others. What that answers is the
//! network crate's.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use network::{
    BridgeNetwork, InterfaceName, Ipv6Choice, Ipv6Network, NetworkOptions, NetworkSettings,
    NetworkStateDirectory, Responder,
};

use crate::error::{Error, Result, from_network};
use crate::options::RunOptions;
use crate::paths::EnginePaths;

/// The internal verb of a network's responder; not for people.
pub const ANSWER: &str = "internal-answer-names";

/// Whether containers find each other by name there: on every network but the default one, as with docker.
pub(crate) fn are_answered(network: &InterfaceName) -> bool {
    network.as_str() != NetworkOptions::default().name
}

/// Where names are asked for on a bridge; none where nobody answers.
pub(crate) fn responder(network: &BridgeNetwork) -> Option<IpAddr> {
    are_answered(network.name()).then(|| network.ipv4().gateway().into())
}

/// How a container is called on a network: by its name, its other names there, the short form of its id, and the host name
/// that somebody gave it.
pub(crate) fn of_container(name: &str, id: &str, aliases: &[String], options: &RunOptions) -> Vec<String> {
    let aliases = aliases.iter().chain(&options.network.names.aliases).map(String::as_str);
    let short = std::iter::once(id.get(..12).unwrap_or(id));
    let hostname = options.namespaces.hostname.as_deref();
    let named = Some(name).filter(|name| !name.is_empty());
    named.into_iter().chain(aliases).chain(short).chain(hostname).map(str::to_owned).collect()
}

/// Whether a container asks the network's responder. One whose name servers are on its own loopback means a resolver of its
/// own.
pub(crate) fn asks_responder(options: &RunOptions) -> bool {
    !options.network.names.servers.iter().any(IpAddr::is_loopback)
}

/// Starts the network's responder, unless there is one.
pub(crate) fn start(
    paths: &EnginePaths,
    state: &NetworkStateDirectory,
    network: &BridgeNetwork,
    label: &str,
) -> Result<()> {
    let Some(responder) = Responder::claim(state, network).map_err(from_network)? else { return Ok(()) };
    let failed = |error| Error::system("start the process that answers names", error);
    let descriptors = responder.into_descriptors();
    // By this link, as the file that runs may have no path.
    let mut command = Command::new("/proc/self/exe");
    command.arg(ANSWER).arg(paths.base()).arg(network.name().as_str()).arg(network.ipv4().to_string());
    command.arg(network.ipv6().map_or_else(|| NO_IPV6.to_owned(), |ipv6| ipv6.to_string())).arg(label);
    for descriptor in &descriptors {
        sys::fd::keep_on_exec(descriptor.as_raw_fd()).map_err(failed)?;
        command.arg(descriptor.as_raw_fd().to_string());
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env_clear().current_dir("/");
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map(drop).map_err(failed)
}

/// In place of a subnet of IPv6, where there is none.
const NO_IPV6: &str = "none";

/// The body of that process: `BASE NAME SUBNET SUBNET-OF-IPV6 LABEL DESCRIPTOR...`.
pub fn answer(arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let arguments: Vec<OsString> = arguments.collect();
    let refused = || Error::invalid(ANSWER, "it is started by rabbitc itself".to_owned());
    let (base, words) = arguments.split_first().ok_or_else(refused)?;
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let [name, ipv4, ipv6, label, numbers @ ..] = &words[..] else { return Err(refused()) };
    let mut numbers: Vec<i32> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
    let descriptors = numbers.iter().map(|&number| sys::fd::adopt(number));
    let descriptors: std::io::Result<Vec<OwnedFd>> = descriptors.collect();
    let descriptors =
        descriptors.map_err(|error| Error::system("take over the sockets of the responder", error))?;
    numbers.sort_unstable();
    // What whoever started this has open is none of this process's business, nor is what happens to its terminal.
    sys::fd::close_copies_but(&numbers);
    let _ = rustix::process::setsid();
    confine();
    let ipv6 = match *ipv6 {
        NO_IPV6 => Ipv6Choice::Off,
        subnet => Ipv6Choice::This(Ipv6Network::parse(subnet).map_err(from_network)?),
    };
    let settings = NetworkSettings::default();
    let options = NetworkOptions { name: (*name).to_owned(), ipv4: (*ipv4).to_owned(), ipv6, settings };
    let network = options.check().map_err(from_network)?;
    let networks = EnginePaths::below(base).networks();
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let parent = rustix::fs::open(&networks, flags, rustix::fs::Mode::empty())
        .map_err(|error| Error::at_path("open", &networks, error))?;
    let state = NetworkStateDirectory::new(parent.as_fd(), network.name()).map_err(from_network)?;
    match Responder::of_descriptors(descriptors) {
        Some(responder) => responder.serve(&state, &network, label).map_err(from_network),
        None => Err(refused()),
    }
}

/// Gives up what a process does not need that reads what any container sends: all of root's rights but those over networks. Best
/// effort, as it answers no worse with more.
fn confine() {
    /// CAP_NET_BIND_SERVICE, CAP_NET_ADMIN and CAP_NET_RAW of `linux/capability.h`.
    const KEPT: u64 = 1 << 10 | 1 << 12 | 1 << 13;
    let _ = rustix::thread::set_no_new_privs(true);
    let _ = sys::process::set_capabilities(KEPT, KEPT, 0);
}

/// Whether a first word is the verb.
pub fn is_answer_verb(verb: Option<&OsStr>) -> bool {
    verb.is_some_and(|verb| verb == ANSWER)
}

/// Lets a running container's networks know its new name.
pub(crate) fn rename(paths: &EnginePaths, id: &str, old: &str, new: &str) -> Result<()> {
    let Some(namespace) = crate::network::namespace_of(paths)? else { return Ok(()) };
    for state in namespace.networks().map_err(from_network)? {
        let renamed = state.rename(id, &|names| {
            names.retain(|name| name != old && name != new);
            names.insert(0, new.to_owned());
        });
        renamed.map_err(from_network)?;
    }
    Ok(())
}
