//! Bridges, addresses, leases and firewall rules, by netlink alone: no `ip`, `nft` or `iptables` is called. Firewalls that keep
//! rules of their own are told by their programs, where a person wants them to be told ([`integrate()`]).
//!
//! A start takes these steps, and each is cheap when the one before it on this network did its work:
//!
//! 1. [`NetworkOptions::check`] turns what the user typed into a [`BridgeNetwork`], before any side effect.
//! 2. [`NetworkStateDirectory::lease`] gives the container its address; the lease dies with its holder. Where nobody
//!    named a subnet, [`join`] finds one before.
//! 3. [`ensure`] makes the bridge, forwarding and masquerading complete.
//! 4. [`attach`] makes the veth pair, one end in the container's network namespace.
//! 5. Ports, if any are to be published: [`HeldPorts::take`] before all else, [`publish()`] at the end.
//! 6. The container's first process sends [`NamespaceConfiguration::messages`] inside.
//!
//! The end of a container needs nothing: its namespace takes the veth along, its holder's death the lease, and with
//! the lease go its published ports.
//! [`remove_if_unused`] then removes what no container uses any more. Every function works in the network
//! namespace of the calling thread and needs CAP_NET_ADMIN there.

mod attachment;
mod bridge;
mod conntrack;
mod error;
mod foreign_firewall;
mod forwarding;
mod integration;
mod isolation;
mod kernel;
mod lease_text;
mod legacy_iptables;
mod link;
mod masquerade;
mod names;
mod namespace_configuration;
mod namespace_state;
mod nft_maps;
mod nft_sets;
mod nftables;
mod options;
mod port_holder;
mod port_maps;
mod port_sockets;
mod ports;
mod publish;
mod reattachment;
mod republish;
mod resolv;
mod routes;
mod stand_in;
mod state;
mod subnets;
mod wire;
mod within;

pub use attachment::{Attachment, Hairpin, NetnsTarget, attach};
pub use bridge::{Bridge, Removal, cut_off_the_dead, ensure, ensure_for, remove_if_unused};
pub use error::{Error, Kind, Result};
pub use foreign_firewall::{
    BridgeFamilies, Certainty, Finding, Firewall, Ways, foreign_firewall, foreign_firewall_of,
};
pub use integration::integrate;
pub use masquerade::{Lacking, Outbound};
pub use names::Responder;
pub use namespace_configuration::{ConfigurationStep, NamespaceConfiguration};
pub use namespace_state::{NamespaceState, TidyTurn};
pub use options::{
    BridgeNetwork, ContainerInterface, DefaultRoute, Families, InterfaceName, Ipv4Network, Ipv6Choice,
    Ipv6Network, NetworkOptions, NetworkSettings, Reach,
};
pub use port_holder::PortHolder;
pub use port_sockets::{HeldPorts, try_ports};
pub use ports::{HostPorts, PortRange, PortRequest, Protocol, Publication};
pub use publish::{Lingering, Published, publish};
pub use reattachment::reattach;
pub use republish::{Tenant, republish};
pub use resolv::{ResolvChanges, ResolvConf, container_resolv_conf};
pub use routes::{Stray, stray};
pub use stand_in::stand_in;
pub use state::{AddressRequest, HeldLease, Lease, NetworkStateDirectory};
pub use subnets::{NewSubnet, choose_subnet, foresee, join, refuse_subnet_of_host};
pub use wire::{Wire, WireKind, attach_to_wire};
pub use within::{configure_within, remove_interface_within};
