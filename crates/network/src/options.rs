//! Owns what a network is: its name, its subnets and the addresses in them; checks all of it before any side
//! effect and changes nothing on the host.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::{Error, Kind, Result, cidr};

/// The name of a network, of its bridge and of its state directory: a legal interface name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// Takes 1 to 15 bytes as the kernel's `dev_valid_name` does, restricted to letters, digits, `-`, `_` and
    /// `.`, so that the name means itself in every command that we print.
    pub fn parse(name: &str) -> Result<Self> {
        let why = if name.is_empty() {
            "the name is empty"
        } else if name.len() > 15 {
            "the name is longer than the 15 bytes that an interface name may have"
        } else if name == "." || name == ".." {
            "the name is a directory's"
        } else if name.starts_with(['-', '.']) {
            "the name starts with `-` or `.`"
        } else if matches!(name, "all" | "default" | "lo") {
            "the kernel uses this name itself"
        } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            "the name has a character that interface names cannot have"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(Error::new("use network name", name, Kind::InvalidName(why)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The gateway's address in an IPv4 subnet, and with it the subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Network {
    gateway: Ipv4Addr,
    prefix: u8,
}

impl Ipv4Network {
    /// Reads `address/prefix`, where the address is the gateway's: not the subnet's first or last, prefix 1
    /// to 30, unicast and not loopback.
    pub fn parse(text: &str) -> Result<Self> {
        let fail = |why| Error::new("use subnet", text, Kind::InvalidSubnet(why));
        let Some((address, prefix)) = text.split_once('/') else {
            return Err(fail("the prefix length is missing"));
        };
        let gateway: Ipv4Addr = address.parse().map_err(|_| fail("the address is not an IPv4 address"))?;
        let prefix_is_digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.parse::<u8>().ok().filter(|length| prefix_is_digits && (1..=30).contains(length));
        let prefix = prefix.ok_or_else(|| fail("the prefix length is not a number from 1 to 30"))?;
        let network = Self { gateway, prefix };
        if gateway.is_loopback() {
            return Err(fail("the address is a loopback address"));
        }
        if gateway.octets()[0] == 0 || gateway.octets()[0] >= 224 {
            return Err(fail("the address is not a unicast address"));
        }
        if gateway == network.first() {
            return Err(fail("the address is the network's own; the gateway needs one inside it"));
        }
        if gateway == network.broadcast() {
            return Err(fail("the address is the broadcast address; the gateway needs one below it"));
        }
        Ok(network)
    }

    /// That of a gateway inside it, not the first nor the last address.
    pub(crate) fn of_gateway(gateway: Ipv4Addr, prefix: u8) -> Self {
        Self { gateway, prefix }
    }

    /// The bridge's own address, the containers' default gateway.
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// The prefix length in bits, 1 to 30.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The network address: all host bits zero.
    pub fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.gateway.to_bits() & self.mask())
    }

    /// The broadcast address: all host bits one.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.gateway.to_bits() | !self.mask())
    }

    /// Whether the address has this subnet's prefix.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.first().to_bits()
    }

    /// The netmask as a number in host byte order.
    pub(crate) fn mask(&self) -> u32 {
        u32::MAX << (32 - u32::from(self.prefix))
    }

    /// The subnet as `network/prefix`.
    pub fn subnet(&self) -> String {
        cidr(self.first(), self.prefix)
    }

    /// Whether the two have addresses in common.
    pub fn overlaps(&self, other: &Ipv4Network) -> bool {
        let mask = self.mask() & other.mask();
        self.gateway.to_bits() & mask == other.gateway.to_bits() & mask
    }

    /// The number of an address in the subnet, from 0.
    fn number_of(&self, address: Ipv4Addr) -> u32 {
        address.to_bits() & !self.mask()
    }

    /// Checks that a container can have the address here: inside the subnet and not the gateway, network or
    /// broadcast address.
    pub fn check_container_address(&self, address: Ipv4Addr) -> Result<()> {
        let why = if !self.contains(address) {
            "the address is outside the network's subnet"
        } else if address == self.gateway {
            "the address is the gateway's"
        } else if address == self.first() {
            "the address is the network's own"
        } else if address == self.broadcast() {
            "the address is the broadcast address"
        } else {
            return Ok(());
        };
        Err(Error::new("use container address", address.to_string(), Kind::InvalidAddress(why)))
    }

    /// Reads a requested container address, plain or with this network's prefix length, and checks it.
    pub fn parse_container_address(&self, text: &str) -> Result<Ipv4Addr> {
        let fail = |why| Error::new("use container address", text, Kind::InvalidAddress(why));
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(left, right)| (left, Some(right)));
        if prefix.is_some_and(|prefix| prefix != self.prefix.to_string()) {
            return Err(fail("the prefix length differs from the network's"));
        }
        let address = address.parse().map_err(|_| fail("this is not an IPv4 address"))?;
        self.check_container_address(address)?;
        Ok(address)
    }
}

impl fmt::Display for Ipv4Network {
    /// `gateway/prefix`, as [`Ipv4Network::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.gateway, self.prefix)
    }
}

/// The gateway's address in an IPv6 subnet, and with it the subnet; hosts have in it the number they have in the IPv4 subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Network {
    first: u128,
    prefix: u8,
    gateway: u128,
}

impl Ipv6Network {
    /// Reads `address/prefix`, where the address is the gateway's: not the subnet's first, prefix 1 to 126, unicast and not
    /// of one link alone.
    pub fn parse(text: &str) -> Result<Self> {
        let fail = |why| Error::new("use subnet", text, Kind::InvalidSubnet(why));
        let (address, prefix) = text.split_once('/').ok_or_else(|| fail("the prefix length is missing"))?;
        let gateway: Ipv6Addr = address.parse().map_err(|_| fail("the address is not an IPv6 address"))?;
        let prefix_is_digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix =
            prefix.parse::<u8>().ok().filter(|length| prefix_is_digits && (1..=126).contains(length));
        let prefix = prefix.ok_or_else(|| fail("the prefix length is not a number from 1 to 126"))?;
        let network =
            Self { first: gateway.to_bits() & mask_ipv6(prefix), prefix, gateway: gateway.to_bits() };
        if gateway.is_loopback() || gateway.is_multicast() || gateway.is_unicast_link_local() {
            return Err(fail("the address is not a unicast address that is known beyond one link"));
        }
        if network.gateway == network.first {
            return Err(fail("the address is the network's own; the gateway needs one inside it"));
        }
        Ok(network)
    }

    /// A unique local /64 (RFC 4193): derives the prefix from the network's name and IPv4 subnet, so that it is the same on
    /// every start.
    pub fn derive(name: &str, ipv4: &Ipv4Network) -> Self {
        let hash = fnv1a(format!("{name} {}", ipv4.subnet()).as_bytes());
        let prefix = 0xfd << 56 | hash & (u64::MAX >> 8);
        let first = u128::from(prefix) << 64;
        Self { first, prefix: 64, gateway: first | u128::from(ipv4.number_of(ipv4.gateway)) }
    }

    /// The bridge's own address, the containers' default gateway.
    pub fn gateway(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.gateway)
    }

    /// The network address: all host bits zero.
    pub fn first(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.first)
    }

    /// The prefix length in bits, 1 to 126.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether the address has this subnet's prefix.
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        address.to_bits() & mask_ipv6(self.prefix) == self.first
    }

    /// Whether the two have addresses in common.
    pub fn overlaps(&self, other: &Ipv6Network) -> bool {
        let mask = mask_ipv6(self.prefix.min(other.prefix));
        self.first & mask == other.first & mask
    }

    /// The subnet as `network/prefix`.
    pub fn subnet(&self) -> String {
        format!("{}/{}", self.first(), self.prefix)
    }

    /// The address of who has `address` in the IPv4 subnet. Who would have the gateway's has the one that the IPv4 gateway's
    /// number leaves free.
    fn host(&self, ipv4: &Ipv4Network, address: Ipv4Addr) -> Ipv6Addr {
        let of = |address: Ipv4Addr| self.first | u128::from(ipv4.number_of(address));
        let own = of(address);
        Ipv6Addr::from_bits(if own == self.gateway { of(ipv4.gateway) } else { own })
    }
}

fn mask_ipv6(prefix: u8) -> u128 {
    u128::MAX << (128 - u32::from(prefix))
}

impl fmt::Display for Ipv6Network {
    /// `gateway/prefix`, as [`Ipv6Network::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.gateway(), self.prefix)
    }
}

/// Whether a network gets IPv6.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ipv6Choice {
    /// A unique local /64, if this network namespace has IPv6 and does not disable it.
    #[default]
    WhereTheHostHasIt,
    /// No IPv6.
    Off,
    /// This subnet.
    This(Ipv6Network),
}

/// Of which families the addresses of a network are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// IPv4 alone.
    Ipv4,
    /// IPv4 and IPv6.
    Both,
}

impl Ipv6Choice {
    /// What a network of this network namespace gets; reads two files of `/proc/sys/net/ipv6`.
    pub fn families(self) -> Families {
        match self {
            Ipv6Choice::WhereTheHostHasIt if crate::forwarding::host_has_ipv6() => Families::Both,
            Ipv6Choice::This(_) => Families::Both,
            Ipv6Choice::WhereTheHostHasIt | Ipv6Choice::Off => Families::Ipv4,
        }
    }
}

/// A network as the user means it, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkOptions {
    /// The network's and its bridge's name.
    pub name: String,
    /// The gateway's address and the prefix length: `172.19.0.1/16`.
    pub ipv4: String,
    /// Whether the network gets IPv6.
    pub ipv6: Ipv6Choice,
    /// What else it has.
    pub settings: NetworkSettings,
}

/// What a network has beside its name and its subnets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkSettings {
    /// The part of the IPv4 subnet that addresses are chosen from: its first and its last address; none where all of it is
    /// meant.
    pub range: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Addresses that nobody gets.
    pub reserved: Vec<Ipv4Addr>,
    /// The largest packet in bytes; none where the kernel's own is meant.
    pub mtu: Option<u32>,
    /// How far its containers get.
    pub reach: Reach,
}

/// How far containers of a network are let.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Where the host gets, under the host's address.
    #[default]
    Masqueraded,
    /// The same, under their own addresses: the way back is somebody else's.
    Routed,
    /// To the host and to each other.
    Internal,
}

/// Whether a container's default route leads through an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultRoute {
    /// Yes, with this metric; 0 is the kernel's own.
    Yes(u32),
    /// Yes, without a gateway: the other end of the wire is the router.
    Direct(u32),
    /// No.
    No,
}

impl Default for NetworkOptions {
    /// The original's network: `rabbitc0` with `172.19.0.1/16`.
    fn default() -> Self {
        Self {
            name: "rabbitc0".into(),
            ipv4: "172.19.0.1/16".into(),
            ipv6: Ipv6Choice::default(),
            settings: NetworkSettings::default(),
        }
    }
}

impl NetworkOptions {
    /// Checks name and subnet; reads two files of `/proc/sys/net/ipv6` and changes nothing.
    pub fn check(&self) -> Result<BridgeNetwork> {
        let name = InterfaceName::parse(&self.name)?;
        let ipv4 = Ipv4Network::parse(&self.ipv4)?;
        let ipv6 = match (self.ipv6, self.ipv6.families()) {
            (Ipv6Choice::This(_), _) if !crate::forwarding::host_has_ipv6() => {
                return Err(Error::new(
                    "use network",
                    self.name.as_str(),
                    Kind::KernelLacks("IPv6 turned on"),
                ));
            }
            (Ipv6Choice::This(subnet), _) => Some(subnet),
            (_, Families::Both) => Some(Ipv6Network::derive(name.as_str(), &ipv4)),
            (_, Families::Ipv4) => None,
        };
        Ok(BridgeNetwork { name, ipv4, ipv6, settings: self.settings.clone() })
    }
}

/// A checked network: one bridge with one IPv4 subnet and perhaps one IPv6 subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeNetwork {
    name: InterfaceName,
    ipv4: Ipv4Network,
    ipv6: Option<Ipv6Network>,
    settings: NetworkSettings,
}

impl BridgeNetwork {
    /// The network's and its bridge's name.
    pub fn name(&self) -> &InterfaceName {
        &self.name
    }

    /// The IPv4 subnet with the gateway's address.
    pub fn ipv4(&self) -> Ipv4Network {
        self.ipv4
    }

    /// Of which families its addresses are.
    pub fn families(&self) -> Families {
        if self.ipv6.is_some() { Families::Both } else { Families::Ipv4 }
    }

    /// What it has beside.
    pub fn settings(&self) -> &NetworkSettings {
        &self.settings
    }

    /// Whether an address is one of those that are chosen where nobody names one.
    pub(crate) fn is_chosen_from(&self, address: Ipv4Addr) -> bool {
        let is_in_range = self.settings.range.is_none_or(|(first, last)| (first..=last).contains(&address));
        is_in_range && !self.settings.reserved.contains(&address)
    }

    /// The IPv4 address of a container that has this address of IPv6: both have the same number.
    pub fn address_beside(&self, address: Ipv6Addr) -> Result<Ipv4Addr> {
        let fail =
            |why| Err(Error::new("use container address", address.to_string(), Kind::InvalidAddress(why)));
        let Some(network) = self.ipv6.filter(|network| network.contains(address)) else {
            return fail(match self.ipv6 {
                Some(_) => "the address is outside the network's subnet",
                None => "the network has no IPv6",
            });
        };
        if address == network.gateway() {
            return fail("the address is the gateway's");
        }
        let number = address.to_bits() - network.first;
        let beside = u32::try_from(number).ok().filter(|number| number & self.ipv4.mask() == 0);
        let Some(beside) = beside.map(|number| Ipv4Addr::from_bits(self.ipv4.first().to_bits() | number))
        else {
            return fail("its number in the subnet is higher than the IPv4 subnet has addresses");
        };
        match self.ipv4.check_container_address(beside) {
            Ok(()) => Ok(beside),
            Err(_) => fail("the address of this number in the IPv4 subnet is no container's"),
        }
    }

    /// The IPv6 subnet, where the host has IPv6.
    pub fn ipv6(&self) -> Option<Ipv6Network> {
        self.ipv6
    }

    /// What stands in the bridge's `ifalias` once it is complete: our mark, and what it was made for.
    pub(crate) fn alias(&self) -> String {
        match self.ipv6 {
            Some(ipv6) => format!("{ALIAS_MARK}{} {ipv6}", self.ipv4),
            None => format!("{ALIAS_MARK}{}", self.ipv4),
        }
    }

    /// The interface of the container that has this address.
    pub fn container_interface(&self, address: Ipv4Addr) -> Result<ContainerInterface> {
        self.ipv4.check_container_address(address)?;
        let [a, b, c, d] = address.octets();
        Ok(ContainerInterface {
            ipv4: address,
            ipv4_network: self.ipv4,
            ipv6: self.ipv6.map(|network| (network.host(&self.ipv4, address), network)),
            // Locally administered. From the address: a next holder of the address has the same one, so no
            // neighbour's ARP cache is ever stale.
            mac: [0x02, 0x72, a, b, c, d],
            announces_itself: false,
            slot: 0,
            label: label("eth0"),
            mtu: self.settings.mtu,
            default_route: match self.settings.reach {
                Reach::Internal => DefaultRoute::No,
                Reach::Masqueraded | Reach::Routed => DefaultRoute::Yes(0),
            },
        })
    }
}

/// How our bridges' `ifalias` starts.
pub(crate) const ALIAS_MARK: &str = "rabbitc ";

/// The IPv4 subnet, as `gateway/prefix`, that a bridge with this alias was made for.
pub(crate) fn alias_subnet(alias: Option<&str>) -> Option<&str> {
    alias?.strip_prefix(ALIAS_MARK)?.split(' ').next()
}

/// The bridge's hardware address: fixed, as a bridge without one changes it with its ports, and known from
/// the name, so that a bridge whose creation was cut short is still known to be ours.
pub(crate) fn bridge_mac(name: &InterfaceName) -> [u8; 6] {
    let [a, b, c, d, ..] = fnv1a(format!("bridge {name}").as_bytes()).to_be_bytes();
    [0x02, 0x62, a, b, c, d]
}

/// An interface of one container, as it will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerInterface {
    pub(crate) ipv4: Ipv4Addr,
    pub(crate) ipv4_network: Ipv4Network,
    pub(crate) ipv6: Option<(Ipv6Addr, Ipv6Network)>,
    pub(crate) mac: [u8; 6],
    /// Whether neighbours may know the address by another hardware address, of the last holder.
    pub(crate) announces_itself: bool,
    slot: u32,
    label: [u8; 16],
    pub(crate) mtu: Option<u32>,
    pub(crate) default_route: DefaultRoute,
}

/// An interface's name as the kernel keeps it.
fn label(name: &str) -> [u8; 16] {
    let mut label = [0; 16];
    let length = name.len().min(15);
    label[..length].copy_from_slice(&name.as_bytes()[..length]);
    label
}

impl ContainerInterface {
    /// Index of the first inside the container. Fixed, so that the configuration can be written before the interface
    /// exists; not 2, because hosts with tunnel modules give each new namespace `tunl0`, `sit0` and others
    /// there (`net.core.fb_tunnels_only_for_init_net`).
    const FIRST_INDEX: u32 = 100;

    /// Its name inside the container: `eth0`, unless it was given another.
    pub fn name(&self) -> &str {
        let length = self.label.iter().position(|byte| *byte == 0).unwrap_or(self.label.len());
        std::str::from_utf8(&self.label[..length]).expect("it was text")
    }

    /// Its index inside the container.
    pub fn index(&self) -> u32 {
        Self::FIRST_INDEX + self.slot
    }

    /// Its number among the container's, from 0.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// The same interface as one of several: its index is counted from 0, and it is called so.
    pub fn numbered(self, slot: u32, name: &InterfaceName) -> Self {
        Self { slot, label: label(name.as_str()), ..self }
    }

    /// The same with a default route through it, or without.
    pub fn with_default_route(self, default_route: DefaultRoute) -> Self {
        Self { default_route, ..self }
    }

    /// Whether a default route leads through it.
    pub fn default_route(&self) -> DefaultRoute {
        self.default_route
    }

    /// The same with an address of IPv6 of somebody's choice; nothing where the network has no IPv6.
    pub fn with_ipv6(self, address: Ipv6Addr) -> Self {
        Self { ipv6: self.ipv6.map(|(_, network)| (address, network)), ..self }
    }

    /// The container's IPv4 address.
    pub fn ipv4(&self) -> Ipv4Addr {
        self.ipv4
    }

    /// The container's IPv4 address with the prefix length.
    pub fn ipv4_cidr(&self) -> String {
        cidr(self.ipv4, self.ipv4_network.prefix)
    }

    /// The container's IPv6 address.
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.ipv6.map(|(address, _)| address)
    }

    /// One that stands for any container of any network.
    pub(crate) fn anywhere() -> Self {
        let ipv4_network = Ipv4Network { gateway: Ipv4Addr::UNSPECIFIED, prefix: 1 };
        let ipv6 = (Ipv6Addr::UNSPECIFIED, Ipv6Network { first: 0, prefix: 1, gateway: 0 });
        Self {
            ipv4: Ipv4Addr::UNSPECIFIED,
            ipv4_network,
            ipv6: Some(ipv6),
            mac: [0; 6],
            announces_itself: false,
            slot: 0,
            label: label("eth0"),
            mtu: None,
            default_route: DefaultRoute::No,
        }
    }

    /// The same interface with a hardware address of somebody's choice.
    pub fn with_mac(self, mac: [u8; 6]) -> Self {
        Self { mac, announces_itself: true, ..self }
    }

    /// The same interface for a container that has IPv6 disabled.
    pub fn without_ipv6(self) -> Self {
        Self { ipv6: None, ..self }
    }

    /// The link-local address that belongs to the hardware address (RFC 4291, appendix A).
    pub(crate) fn link_local(&self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.mac;
        let [first, second, third] = [[a ^ 0x02, b], [c, 0xff], [0xfe, d]].map(u16::from_be_bytes);
        Ipv6Addr::new(0xfe80, 0, 0, 0, first, second, third, u16::from_be_bytes([e, f]))
    }

    /// The container's hardware address.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }
}

/// FNV-1a, 64 bits: the same in every version of ours, unlike the standard library's hasher.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_kernel_takes_and_safe_to_print() {
        for good in ["rabbitc0", "a", "br-lan.100", "123456789012345"] {
            assert_eq!(InterfaceName::parse(good).expect(good).as_str(), good);
        }
        let bad =
            ["", "1234567890123456", ".", "..", "a/b", "a b", "a:b", "é", "a%d", "-a", "a\n", "all", "a'b"];
        for bad in bad {
            let error = InterfaceName::parse(bad).expect_err(bad);
            assert!(matches!(error.kind, Kind::InvalidName(_)));
        }
    }

    #[test]
    fn subnets_need_a_gateway_address_inside_and_a_prefix_from_1_to_30() {
        let network = Ipv4Network::parse("172.19.0.1/16").expect("the default");
        assert_eq!(network.first(), Ipv4Addr::new(172, 19, 0, 0));
        assert_eq!(network.broadcast(), Ipv4Addr::new(172, 19, 255, 255));
        assert_eq!(network.subnet(), "172.19.0.0/16");
        Ipv4Network::parse("10.0.0.1/30").expect("two hosts");
        Ipv4Network::parse("10.0.0.1/1").expect("half of all");
        for bad in [
            "172.19.0.1",
            "172.19.0.0/16",
            "172.19.255.255/16",
            "172.19.0.1/31",
            "172.19.0.1/0",
            "172.19.0.1/33",
            "172.19.0.1/",
            "172.19.0.1/+16",
            "172.19.0/16",
            "172.19.0.256/16",
            "127.0.0.1/8",
            "224.0.0.1/8",
            "0.0.0.1/8",
            "fd00::1/64",
            "x/y",
            "/16",
            "172.19.0.1/16/16",
            " 172.19.0.1/16",
        ] {
            let error = Ipv4Network::parse(bad).expect_err(bad);
            assert!(matches!(error.kind, Kind::InvalidSubnet(_)), "{bad}");
        }
    }

    #[test]
    fn container_addresses_are_inside_and_not_special() {
        let network = Ipv4Network::parse("172.19.0.1/16").expect("the default");
        assert_eq!(network.parse_container_address("172.19.7.8"), Ok(Ipv4Addr::new(172, 19, 7, 8)));
        assert_eq!(network.parse_container_address("172.19.7.8/16"), Ok(Ipv4Addr::new(172, 19, 7, 8)));
        for bad in ["172.20.0.2", "172.19.0.1", "172.19.0.0", "172.19.255.255", "172.19.0.2/24", "x", ""] {
            let error = network.parse_container_address(bad).expect_err(bad);
            assert!(matches!(error.kind, Kind::InvalidAddress(_)), "{bad}");
        }
    }

    #[test]
    fn the_ipv6_subnet_is_unique_local_and_the_same_each_time() {
        let name = InterfaceName::parse("rabbitc0").expect("name");
        let other = InterfaceName::parse("rabbitc1").expect("name");
        let ipv4 = Ipv4Network::parse("172.19.0.1/16").expect("subnet");
        let ipv6 = Ipv6Network::derive(name.as_str(), &ipv4);
        assert_eq!(ipv6.gateway().octets()[0], 0xfd);
        assert_eq!(ipv6.gateway().octets()[8..], [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(ipv6, Ipv6Network::derive(name.as_str(), &ipv4));
        assert_ne!(ipv6, Ipv6Network::derive(other.as_str(), &ipv4));
        let network = BridgeNetwork { name, ipv4, ipv6: Some(ipv6), settings: NetworkSettings::default() };
        let interface = network.container_interface(Ipv4Addr::new(172, 19, 1, 2)).expect("inside");
        assert_eq!(interface.ipv6().expect("has one").segments()[4..], [0, 0, 0, 0x102]);
        assert_eq!(interface.mac(), [0x02, 0x72, 172, 19, 1, 2]);
        assert_eq!(interface.link_local().to_string(), "fe80::72:acff:fe13:102");
    }
}
