//! Owns what stands in a container's /etc/hosts, /etc/hostname and /etc/resolv.conf. Writes nothing: the launch does.

use std::net::IpAddr;
use std::path::Path;

use ::network::{ResolvChanges, ResolvConf, container_resolv_conf};
use runtime::plan::OwnFile;

use crate::cni::Dns;
use crate::container::Notice;
use crate::error::{Error, Result, io_text};
use crate::names::asks_responder;
use crate::network::Wiring;
use crate::options::{HostAddress, NamespaceOptions, NetworkMode, OwnedFile, RunOptions};
use crate::rootless::pasta;

/// The three files, as far as the container does not have the root's own; `wiring` is there with a network of the container's own.
pub(crate) fn own_files(
    options: &RunOptions,
    wiring: Option<&Wiring>,
    pasta: &mut pasta::Request,
    notices: &mut Vec<Notice>,
) -> Vec<OwnFile> {
    let names = &options.network.names;
    let mut files = Vec::new();
    if names.hosts_file == OwnedFile::Made {
        let content = hosts(options, wiring, notices);
        files.push(OwnFile { name: "hosts", destination: "/etc/hosts", content });
    }
    if names.hostname_file == OwnedFile::Made {
        let content = format!("{}\n", options.namespaces.hostname());
        files.push(OwnFile { name: "hostname", destination: "/etc/hostname", content });
    }
    let responder = wiring.and_then(|wiring| wiring.responder).filter(|_| asks_responder(options));
    let content = resolvers(options, responder, pasta, notices);
    files.push(OwnFile { name: "resolv.conf", destination: "/etc/resolv.conf", content });
    files
}

/// Writes anew what depends on addresses that others have given, into the files that the container sees: its own addresses, and
/// how it looks names up. What a person asked for goes before.
pub(crate) fn rewrite(
    directory: &Path,
    options: &RunOptions,
    own: &[IpAddr],
    gateway: Option<IpAddr>,
    dns: &Dns,
) -> Result<()> {
    // In place: the file itself is mounted.
    let write = |name: &str, content: &dyn Fn(String) -> String| {
        let path = directory.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                std::fs::write(&path, content(text)).map_err(|error| Error::at_path("write", &path, error))
            }
            // A file of the root's, or of a person's, stands in its place.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::at_path("read", &path, error)),
        }
    };
    write("hosts", &|_| lines_of_hosts(LOCAL, options, own, &[], gateway))?;
    let names = &options.network.names;
    let (search, words) = (dns.domains(), dns.words());
    let given = ResolvChanges { servers: &dns.nameservers, search: &search, options: &words };
    let asked = ResolvChanges { servers: &names.servers, search: &names.search, options: &names.options };
    write("resolv.conf", &|text| ResolvConf { text, name_servers: 1 }.with(given).with(asked).text)
}

/// hosts(5).
fn hosts(options: &RunOptions, wiring: Option<&Wiring>, notices: &mut Vec<Notice>) -> String {
    let begin = of_the_owner(options, "hosts", notices);
    let own = wiring.map_or(IpAddr::from([127, 0, 1, 1]), |wiring| wiring.address.into());
    let gateway = wiring.map(|wiring| wiring.gateway.into());
    let more = wiring.map(|wiring| &wiring.more_addresses[..]).unwrap_or_default();
    lines_of_hosts(begin.as_deref().unwrap_or(LOCAL), options, &[own], more, gateway)
}

fn lines_of_hosts(
    begin: &str,
    options: &RunOptions,
    own: &[IpAddr],
    more: &[std::net::Ipv4Addr],
    gateway: Option<IpAddr>,
) -> String {
    let mut hosts = begin.to_owned();
    let mut add = |address: IpAddr, name: &str| hosts.push_str(&format!("{address}\t{name}\n"));
    let names = &options.network.names;
    let all_names = [own_names(&options.namespaces)].into_iter().chain(names.aliases.iter().cloned());
    let all_names = all_names.collect::<Vec<_>>().join(" ");
    own.iter().for_each(|own| add(*own, &all_names));
    let own_names = own_names(&options.namespaces);
    more.iter().for_each(|more| add((*more).into(), &own_names));
    names.neighbours.iter().for_each(|name| add(LOOPBACK, name));
    for (name, address) in &names.hosts {
        let address = match address {
            HostAddress::Ip(address) => *address,
            // Without a network of its own, the container is where the host is.
            HostAddress::Host => gateway.unwrap_or(LOOPBACK),
        };
        add(address, name);
    }
    hosts
}

/// Where those are found that share a network.
const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// The line of such a one.
pub(crate) fn neighbour(name: &str) -> String {
    format!("{LOOPBACK}\t{name}\n")
}

/// What each container finds, whatever its network, as docker has it.
const LOCAL: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
                     ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// The container's own name; where it has a domain, the whole of it first, which is what `hostname -f` looks for (hosts(5)).
fn own_names(options: &NamespaceOptions) -> String {
    let name = options.hostname();
    let whole = match options.domainname.as_deref().filter(|domain| !name.ends_with(&format!(".{domain}"))) {
        Some(domain) => format!("{name}.{domain}"),
        None => name.to_owned(),
    };
    match whole.split_once('.') {
        Some((short, _)) => format!("{whole} {short}"),
        None => whole,
    }
}

/// A file of the container whose network this one joins; of a network that is only a file nothing is known.
fn of_the_owner(options: &RunOptions, name: &str, notices: &mut Vec<Notice>) -> Option<String> {
    match &options.network.mode {
        NetworkMode::Joined { files: Some(directory), .. } => text(&directory.join(name), notices),
        _ => None,
    }
}

/// What a file says, where it is there. One that can't be read is told of: the container goes without.
fn text(path: &Path, notices: &mut Vec<Notice>) -> Option<String> {
    match std::fs::read(path) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            let what = format!(
                "`{}` can't be read, so the container goes without: {}",
                path.display(),
                io_text(&error)
            );
            notices.push(Notice { what, remedy: None });
            None
        }
    }
}

/// resolv.conf(5): the host's, as far as it means something inside, and what was asked for in its place.
fn resolvers(
    options: &RunOptions,
    responder: Option<IpAddr>,
    pasta: &mut pasta::Request,
    notices: &mut Vec<Notice>,
) -> String {
    let names = &options.network.names;
    // The responder asks those that were given, or the host's.
    let servers = responder.as_ref().map_or(&names.servers[..], std::slice::from_ref);
    let changes = ResolvChanges { servers, search: &names.search, options: &names.options };
    let host = text(Path::new("/etc/resolv.conf"), notices).unwrap_or_default();
    let conf = match &options.network.mode {
        NetworkMode::Host => ResolvConf { text: host, name_servers: 1 },
        NetworkMode::None => ResolvConf { text: String::new(), name_servers: 1 },
        NetworkMode::Joined { .. } | NetworkMode::Container(_) => ResolvConf {
            text: of_the_owner(options, "resolv.conf", notices).unwrap_or(host),
            name_servers: 1,
        },
        NetworkMode::Bridge | NetworkMode::Pasta | NetworkMode::Default | NetworkMode::Cni(_) => {
            let upstream = text(Path::new("/run/systemd/resolve/resolv.conf"), notices);
            let mut found = container_resolv_conf(&host, upstream.as_deref());
            if found.name_servers == 0
                && names.servers.is_empty()
                && options.network.mode == NetworkMode::Pasta
            {
                pasta.forward_names = true;
                found.text.insert_str(0, &format!("nameserver {}\n", pasta::NAME_SERVER));
                found.name_servers = 1;
            } else if host.is_empty() {
                // Nothing to miss.
                found.name_servers = 1;
            }
            found
        }
    };
    let conf = conf.with(changes);
    let conf = if responder.is_some() { conf.with_short_names() } else { conf };
    if conf.name_servers == 0 {
        notices.push(Notice {
            what: "the host's name servers listen on its loopback only, so the container can't look names up"
                .to_owned(),
            remedy: Some(
                "give one with `--dns`, or add one with an address of its own to /etc/resolv.conf".to_owned(),
            ),
        });
    }
    conf.text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_a_domain_stands_whole_and_short() {
        let names = |hostname: Option<&str>, domainname: Option<&str>| {
            let (hostname, domainname) = (hostname.map(str::to_owned), domainname.map(str::to_owned));
            own_names(&NamespaceOptions { hostname, domainname, ..NamespaceOptions::default() })
        };
        assert_eq!(names(None, None), "rabbitc");
        assert_eq!(names(Some("a"), Some("example.org")), "a.example.org a");
        assert_eq!(names(Some("a.example.org"), None), "a.example.org a");
        assert_eq!(names(Some("a.example.org"), Some("example.org")), "a.example.org a");
    }
}
