//! Owns what is to be configured inside a container's network namespace, as bytes ready to be sent there by a
//! process that cannot allocate. Sends nothing itself.

use std::net::Ipv6Addr;

use crate::bridge::ifaddrmsg;
use crate::kernel::*;
use crate::options::{ContainerInterface, DefaultRoute};
use netlink::Batch;

/// Index of `lo`: the first interface of every network namespace.
const LOOPBACK: u32 = 1;

/// Requests for an rtnetlink socket (`AF_NETLINK`, `SOCK_RAW`, `NETLINK_ROUTE`) opened inside the namespace.
///
/// One `send` of [`Self::messages`], then a `recv` for each step: the answers come in order, one datagram
/// each, a `struct nlmsghdr` (16 bytes) and an error number (`int`, negative, or 0 for success). The header's
/// `nlmsg_seq` is the step's number from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceConfiguration {
    /// All requests, one after the other.
    pub messages: Vec<u8>,
    /// One entry for each request, in order.
    pub steps: Vec<ConfigurationStep>,
}

/// One request, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationStep {
    /// What is done, as a verb phrase: `add address`.
    pub name: &'static str,
    /// To what: `172.19.0.2/16 on eth0`.
    pub object: String,
    /// Why a container needs it, in one sentence.
    pub why: &'static str,
}

impl NamespaceConfiguration {
    /// The loopback interface alone: a container without a network.
    pub fn loopback() -> Self {
        let mut plan = Plan::default();
        plan.bring_loopback_up();
        plan.finish()
    }

    /// Loopback, each interface with its addresses, and default routes where one says so.
    pub fn plan(interfaces: &[ContainerInterface]) -> Self {
        let mut plan = Plan::default();
        plan.bring_loopback_up();
        interfaces.iter().for_each(|interface| plan.add_interface(interface));
        plan.finish()
    }

    /// One interface more, in a namespace that runs.
    pub fn more(interface: &ContainerInterface) -> Self {
        let mut plan = Plan::default();
        plan.add_interface(interface);
        plan.finish()
    }

    /// The default routes of an interface that had none.
    pub fn default_routes(interface: &ContainerInterface) -> Self {
        let mut plan = Plan::default();
        plan.add_default_routes(interface);
        plan.finish()
    }
}

/// A route's way, in words.
fn via(gateway: &dyn std::fmt::Display, is_direct: bool, interface: &ContainerInterface) -> String {
    match is_direct {
        true => format!("through {}", interface.name()),
        false => format!("via {gateway}"),
    }
}

#[derive(Default)]
struct Plan {
    batch: Batch,
    steps: Vec<ConfigurationStep>,
}

impl Plan {
    fn describe(&mut self, name: &'static str, object: String, why: &'static str) {
        self.steps.push(ConfigurationStep { name, object, why });
        debug_assert_eq!(self.steps.len(), self.batch.count() as usize, "one description for each message");
    }

    fn finish(self) -> NamespaceConfiguration {
        NamespaceConfiguration { messages: self.batch.into_bytes(), steps: self.steps }
    }

    fn bring_loopback_up(&mut self) {
        self.batch.message(RTM_SETLINK, NLM_F_ACK, &ifinfomsg(LOOPBACK, IFF_UP, IFF_UP), |_| ());
        self.describe(
            "bring up",
            "lo".into(),
            "a new network namespace has its loopback interface down, and programs talk to themselves over it",
        );
    }

    fn add_interface(&mut self, interface: &ContainerInterface) {
        self.add_ipv4_address(interface);
        if interface.ipv6.is_some() {
            // Before it is up, as that is when the kernel makes its own address.
            self.turn_off_automatic_address(interface);
        }
        self.bring_interface_up(interface);
        // The kernel takes IPv6 addresses and routes on an interface that is up as usable at once.
        self.add_ipv6_addresses(interface);
        self.add_default_routes(interface);
    }

    fn bring_interface_up(&mut self, interface: &ContainerInterface) {
        let fixed = ifinfomsg(interface.index(), IFF_UP, IFF_UP);
        self.batch.message(RTM_SETLINK, NLM_F_ACK, &fixed, |m| {
            if interface.announces_itself {
                // The kernel sends an ARP announcement when the interface comes up.
                m.nest(IFLA_AF_SPEC, |m| {
                    m.nest(AF_INET.into(), |m| {
                        m.nest(IFLA_INET_CONF, |m| m.put_u32(IPV4_DEVCONF_ARP_NOTIFY, 1));
                    });
                });
            }
        });
        self.describe(
            "bring up",
            interface.name().into(),
            "the container's end of the cable to the bridge carries nothing until it is up",
        );
    }

    fn add_ipv4_address(&mut self, interface: &ContainerInterface) {
        let network = interface.ipv4_network;
        let fixed = ifaddrmsg(AF_INET, network.prefix(), IFA_F_PERMANENT, interface.index());
        self.batch.message(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &fixed, |m| {
            m.put(IFA_LOCAL, &interface.ipv4.octets());
            m.put(IFA_ADDRESS, &interface.ipv4.octets());
            m.put(IFA_BROADCAST, &network.broadcast().octets());
        });
        self.describe(
            "add address",
            format!("{} on {}", interface.ipv4_cidr(), interface.name()),
            "the address at which the host and the neighbours reach the container",
        );
    }

    fn turn_off_automatic_address(&mut self, interface: &ContainerInterface) {
        let fixed = ifinfomsg(interface.index(), 0, 0);
        self.batch.message(RTM_SETLINK, NLM_F_ACK, &fixed, |m| {
            m.nest(IFLA_AF_SPEC, |m| {
                m.nest(AF_INET6.into(), |m| m.put(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]));
            });
        });
        self.describe(
            "turn off automatic address",
            interface.name().into(),
            "the kernel's own link-local address would be unusable for a second, and fail for good while the \
             last holder of the address is not quite gone; it is added by hand instead",
        );
    }

    fn add_ipv6_addresses(&mut self, interface: &ContainerInterface) {
        let Some((address, network)) = interface.ipv6 else { return };
        self.add_ipv6_address(
            interface,
            interface.link_local(),
            64,
            "IPv6 neighbours find each other by link-local addresses",
            RT_SCOPE_LINK,
        );
        self.add_ipv6_address(
            interface,
            address,
            network.prefix(),
            "the same for IPv6; the lease makes it unique, so nobody has to wait for duplicate detection",
            RT_SCOPE_UNIVERSE,
        );
    }

    fn add_ipv6_address(
        &mut self,
        interface: &ContainerInterface,
        address: Ipv6Addr,
        prefix: u8,
        why: &'static str,
        scope: u8,
    ) {
        let flags = IFA_F_PERMANENT | IFA_F_NODAD;
        let mut fixed = ifaddrmsg(AF_INET6, prefix, flags, interface.index());
        fixed[3] = scope;
        self.batch.message(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &fixed, |m| {
            m.put(IFA_ADDRESS, &address.octets());
        });
        let object = format!("{address}/{prefix} on {}", interface.name());
        self.describe("add address", object, why);
    }

    fn add_default_routes(&mut self, interface: &ContainerInterface) {
        let (metric, is_direct) = match interface.default_route {
            DefaultRoute::Yes(metric) => (metric, false),
            DefaultRoute::Direct(metric) => (metric, true),
            DefaultRoute::No => return,
        };
        let why = "what is not a neighbour is reached through the bridge, which is the host";
        let gateway = interface.ipv4_network.gateway();
        self.add_default_route(interface, AF_INET, (!is_direct).then_some(&gateway.octets()[..]), metric);
        self.describe("add default route", via(&gateway, is_direct, interface), why);
        if let Some((_, network)) = interface.ipv6 {
            self.add_default_route(
                interface,
                AF_INET6,
                (!is_direct).then_some(&network.gateway().octets()[..]),
                metric,
            );
            self.describe("add default route", via(&network.gateway(), is_direct, interface), why);
        }
    }

    fn add_default_route(
        &mut self,
        interface: &ContainerInterface,
        family: u8,
        gateway: Option<&[u8]>,
        metric: u32,
    ) {
        // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
        let mut fixed = [0; 12];
        fixed[0] = family;
        fixed[4] = RT_TABLE_MAIN;
        fixed[5] = RTPROT_BOOT;
        fixed[6] = if gateway.is_none() && family == AF_INET { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE };
        fixed[7] = RTN_UNICAST;
        self.batch.message(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &fixed, |m| {
            if let Some(gateway) = gateway {
                m.put(RTA_GATEWAY, gateway);
            }
            m.put_u32(RTA_OIF, interface.index());
            if metric != 0 {
                m.put_u32(RTA_PRIORITY, metric);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Ipv6Choice, NetworkOptions};
    use netlink::{Messages, u32_at};

    #[test]
    fn messages_are_numbered_from_1_and_each_has_a_description() {
        let options = NetworkOptions { ipv6: Ipv6Choice::Off, ..NetworkOptions::default() };
        let network = options.check().expect("the default network");
        let interface = network.container_interface([172, 19, 0, 2].into()).expect("inside");
        let plan = NamespaceConfiguration::plan(&[interface]);
        let messages: Vec<_> = Messages(&plan.messages).collect();
        let kinds: Vec<_> = messages.iter().map(|message| (message.sequence, message.kind)).collect();
        assert_eq!(kinds, [(1, RTM_SETLINK), (2, RTM_NEWADDR), (3, RTM_SETLINK), (4, RTM_NEWROUTE)]);
        assert_eq!(plan.steps.len(), 4);
        assert_eq!(plan.steps[1].object, "172.19.0.2/16 on eth0");
        let (fixed, attributes) = messages[1].split(8).expect("whole");
        assert_eq!(fixed[..4], [AF_INET, 16, IFA_F_PERMANENT, 0]);
        assert_eq!(u32_at(fixed, 4), Some(100));
        assert_eq!(attributes.find(IFA_LOCAL), Some(&[172, 19, 0, 2][..]));
        assert_eq!(attributes.find(IFA_BROADCAST), Some(&[172, 19, 255, 255][..]));
    }
}
