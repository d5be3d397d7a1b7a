//! Owns the text of a container's resolv.conf; reads no file itself.

use std::net::IpAddr;

/// A resolv.conf for a container with a network namespace of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    /// The file's content.
    pub text: String,
    /// How many name servers are left in it; with none, names cannot be looked up in the container.
    pub name_servers: usize,
}

/// What stands in a resolv.conf instead of what was there.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResolvChanges<'a> {
    /// Name servers; with none, those that were there.
    pub servers: &'a [IpAddr],
    /// Search domains; with none, those that were there; `.` alone is none at all.
    pub search: &'a [String],
    /// Options; with none, those that were there.
    pub options: &'a [String],
}

impl ResolvConf {
    /// The same with `changes`. Of repeated lines the resolver takes the last, so what is replaced is left out.
    pub fn with(self, changes: ResolvChanges<'_>) -> Self {
        let is_replaced = |keyword: &str| match keyword {
            "nameserver" => !changes.servers.is_empty(),
            "search" | "domain" => !changes.search.is_empty(),
            "options" => !changes.options.is_empty(),
            _ => false,
        };
        let mut text = String::with_capacity(self.text.len());
        for line in self.text.lines() {
            if !line.split_ascii_whitespace().next().is_some_and(is_replaced) {
                text.push_str(line);
                text.push('\n');
            }
        }
        for server in changes.servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        let search: Vec<&str> = changes.search.iter().map(String::as_str).filter(|it| *it != ".").collect();
        for (keyword, words) in
            [("search", search), ("options", changes.options.iter().map(String::as_str).collect())]
        {
            if !words.is_empty() {
                text.push_str(&format!("{keyword} {}\n", words.join(" ")));
            }
        }
        let name_servers = if changes.servers.is_empty() { self.name_servers } else { changes.servers.len() };
        Self { text, name_servers }
    }

    /// The same for a container that finds its neighbours by their names alone: a name without points is asked for as it is
    /// before any search domain, unless somebody has said how many points that takes.
    pub fn with_short_names(self) -> Self {
        const KEYWORD: &str = "options";
        let words = |line: &str| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let is_options = |line: &&str| line.split_ascii_whitespace().next() == Some(KEYWORD);
        let mut options: Vec<String> =
            self.text.lines().filter(is_options).flat_map(|line| words(line).into_iter().skip(1)).collect();
        if !options.iter().any(|option| option.starts_with("ndots:")) {
            options.push("ndots:0".to_owned());
        }
        let rest = self.text.lines().filter(|line| !is_options(line));
        let mut text: String = rest.flat_map(|line| [line, "\n"]).collect();
        text.push_str(&format!("{KEYWORD} {}\n", options.join(" ")));
        Self { text, name_servers: self.name_servers }
    }
}

/// Takes the host's resolv.conf and drops the name servers that a container cannot reach: loopback ones, and
/// link-local ones with a zone. If none is left, the same is done to `upstream`, the text of
/// `/run/systemd/resolve/resolv.conf` on hosts where systemd-resolved listens on loopback. Comments are
/// dropped: they speak of the host's file. Format: resolv.conf(5).
pub fn container_resolv_conf(host: &str, upstream: Option<&str>) -> ResolvConf {
    let own = reachable(host);
    match upstream {
        Some(upstream) if own.name_servers == 0 => {
            let other = reachable(upstream);
            if other.name_servers > 0 { other } else { own }
        }
        _ => own,
    }
}

fn reachable(text: &str) -> ResolvConf {
    let mut result = ResolvConf { text: String::with_capacity(text.len()), name_servers: 0 };
    for line in text.lines() {
        if line.trim().is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some("nameserver") {
            if !words.next().is_some_and(is_reachable) {
                continue;
            }
            result.name_servers += 1;
        }
        result.text.push_str(line);
        result.text.push('\n');
    }
    result
}

/// An address with a zone (`fe80::1%eth0`) does not parse, and would mean nothing in the container.
fn is_reachable(address: &str) -> bool {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => !address.is_loopback() && !address.is_unspecified(),
        Ok(IpAddr::V6(address)) => {
            let address_in_v4 = address.to_ipv4_mapped();
            !address.is_loopback()
                && !address.is_unspecified()
                && !address.is_unicast_link_local()
                && !address_in_v4.is_some_and(|address| address.is_loopback())
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_on_the_hosts_loopback_are_dropped() {
        let host =
            "# made by hand\nnameserver 127.0.0.53\nnameserver ::1\nnameserver 192.0.2.1\nsearch lan\n";
        let conf = container_resolv_conf(host, None);
        assert_eq!(conf.text, "nameserver 192.0.2.1\nsearch lan\n");
        assert_eq!(conf.name_servers, 1);
    }

    #[test]
    fn the_resolvers_own_upstreams_are_used_where_the_host_has_only_its_stub() {
        let conf = container_resolv_conf(
            "nameserver 127.0.0.53\noptions edns0\n",
            Some("nameserver 192.0.2.7\nnameserver fe80::1%2\nsearch lan\n"),
        );
        assert_eq!(conf.text, "nameserver 192.0.2.7\nsearch lan\n");
    }

    #[test]
    fn what_is_given_replaces_what_was_there_and_leaves_the_rest() {
        let conf = container_resolv_conf("nameserver 192.0.2.1\nsearch lan\noptions edns0\n", None);
        let servers = ["2001:db8::53".parse().expect("an address")];
        let changed = conf.clone().with(ResolvChanges { servers: &servers, ..ResolvChanges::default() });
        assert_eq!(changed.text, "search lan\noptions edns0\nnameserver 2001:db8::53\n");
        let (search, options) = (["a".to_owned(), "b".to_owned()], ["ndots:2".to_owned()]);
        let changed = conf.clone().with(ResolvChanges {
            search: &search,
            options: &options,
            ..ResolvChanges::default()
        });
        assert_eq!(changed.text, "nameserver 192.0.2.1\nsearch a b\noptions ndots:2\n");
        let nowhere = [".".to_owned()];
        let changed = conf.with(ResolvChanges { search: &nowhere, ..ResolvChanges::default() });
        assert_eq!(changed.text, "nameserver 192.0.2.1\noptions edns0\n");
    }

    #[test]
    fn short_names_are_asked_for_as_they_are_unless_somebody_said_otherwise() {
        let conf = |text: &str| container_resolv_conf(text, None).with_short_names().text;
        assert_eq!(conf("nameserver 192.0.2.1\n"), "nameserver 192.0.2.1\noptions ndots:0\n");
        assert_eq!(conf("options edns0\nsearch lan\n"), "search lan\noptions edns0 ndots:0\n");
        assert_eq!(conf("options ndots:2 edns0\n"), "options ndots:2 edns0\n");
    }

    #[test]
    fn options_stay_when_no_name_server_is_left() {
        let conf = container_resolv_conf("nameserver 127.0.0.1\nsearch lan\n", Some("nameserver ::1\n"));
        assert_eq!(conf, ResolvConf { text: "search lan\n".into(), name_servers: 0 });
    }
}
