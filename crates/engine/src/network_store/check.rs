//! Whether a network that is asked for can be: its name, driver, subnets. Must not look at the host but for who has a subnet.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ::network::{InterfaceName, Ipv4Network, Ipv6Network};
use runtime::ErrorKind;

use super::settings::Settings;
use super::{Code, Network, NetworkDriver, NetworkSubnet, NewNetwork, is_built_in};
use crate::error::{Error, Result, from_network};

const NAME_HINT: &str = "begin with a letter or a digit; then letters, digits, `_`, `.` and `-`";

/// Whether a network may be called so.
pub fn check_network_name(text: &str) -> Result<()> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let refuse = |reason: &str, hint: &str| {
        let operation = format!("create the network `{}`", text.escape_debug());
        Err(Error::invalid(operation, reason.to_owned()).with_hint(hint))
    };
    if !begins || text.len() > 128 || !text.bytes().all(is_legal) {
        return refuse("it is no name of a network", NAME_HINT);
    }
    if is_built_in(text) || matches!(text, "default" | "pasta" | "private" | "slirp4netns") {
        return refuse(
            "operation is not permitted on predefined network: `--network` means something else by this name",
            "choose another name",
        );
    }
    Ok(())
}

/// What was asked for, checked by itself.
pub(super) struct Asked {
    pub(super) driver: NetworkDriver,
    /// The bridge's name, or the interface whose wire it is.
    pub(super) interface: Option<String>,
    ipv4: Option<Part>,
    ipv6: Option<Part>,
    wants_ipv6: bool,
}

/// A subnet and what is in it.
struct Part {
    gateway: String,
    range: Option<String>,
    auxiliary: BTreeMap<String, IpAddr>,
}

/// An address with a prefix length, of either family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    fn parse(flag: &str, text: &str) -> Result<Cidr> {
        let wrong = || {
            let reason = format!("`{}` is no subnet", text.escape_debug());
            Error::invalid(flag, reason).with_hint("write such as `10.5.0.0/16` or `fd00:5::/64`")
        };
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.parse::<u8>().ok().filter(|prefix| *prefix <= most).ok_or_else(wrong)?;
        Ok(Cidr { address, prefix })
    }

    /// All bits of the address behind the prefix, in a number.
    fn bits(address: IpAddr) -> (u128, u32) {
        match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        }
    }

    fn of_bits(bits: u128, width: u32) -> IpAddr {
        match width {
            32 => IpAddr::V4(std::net::Ipv4Addr::from_bits(bits as u32)),
            _ => IpAddr::V6(std::net::Ipv6Addr::from_bits(bits)),
        }
    }

    fn first(&self) -> u128 {
        let (bits, width) = Cidr::bits(self.address);
        let behind = width - u32::from(self.prefix);
        bits.checked_shr(behind).unwrap_or(0).checked_shl(behind).unwrap_or(0)
    }

    fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && Cidr { address, prefix: self.prefix }.first() == self.first()
    }

    /// The gateway where nobody named one: the first address behind the network's own.
    fn default_gateway(&self) -> IpAddr {
        Cidr::of_bits(self.first() + 1, Cidr::bits(self.address).1)
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Cidr::of_bits(self.first(), Cidr::bits(self.address).1), self.prefix)
    }
}

/// A subnet as it was drawn so far.
struct Drawn {
    subnet: Cidr,
    gateway: Option<IpAddr>,
    range: Option<Cidr>,
    auxiliary: BTreeMap<String, IpAddr>,
}

impl Drawn {
    fn of(subnet: Cidr) -> Drawn {
        Drawn { subnet, gateway: None, range: None, auxiliary: BTreeMap::new() }
    }
}

/// Checks what can be checked by itself.
pub(super) fn check(new: &NewNetwork) -> Result<Asked> {
    check_network_name(&new.name)?;
    let driver = match new.driver.as_str() {
        "" | "bridge" => NetworkDriver::Bridge,
        "macvlan" => NetworkDriver::Macvlan,
        "ipvlan" => NetworkDriver::Ipvlan,
        other => {
            let reason = format!("`{}` is no driver of networks here", other.escape_debug());
            let error = Error::new(ErrorKind::Unsupported, "--driver", reason);
            return Err(error.with_hint("there are `bridge`, `macvlan` and `ipvlan`"));
        }
    };
    let settings = Settings::read(driver, &new.options)?;
    let interface = match (&new.interface, settings.interface) {
        (Some(named), Some(option)) if *named != option => {
            let reason = format!("`{}` is not `{option}`, which `--opt` says", named.escape_debug());
            return Err(Error::invalid("--interface-name", reason).with_hint("leave one of the two out"));
        }
        (Some(named), _) => {
            InterfaceName::parse(named)
                .map_err(|error| from_network(error).from_field("--interface-name"))?;
            Some(named.clone())
        }
        (None, option) => option,
    };
    let (ipv4, ipv6) = parts(new)?;
    Ok(Asked { driver, interface, ipv4, ipv6, wants_ipv6: new.ipv6 })
}

/// The subnets, each with the gateway, range and addresses that lie in it.
fn parts(new: &NewNetwork) -> Result<(Option<Part>, Option<Part>)> {
    let subnets: Vec<Cidr> =
        new.subnets.iter().map(|text| Cidr::parse("--subnet", text)).collect::<Result<_>>()?;
    for is_ipv4 in [true, false] {
        let mut alike = subnets.iter().filter(|subnet| subnet.address.is_ipv4() == is_ipv4);
        if let (Some(_), Some(second)) = (alike.next(), alike.next()) {
            let reason = format!("`{second}` is the second of its family, and a network has one of each");
            return Err(Error::invalid("--subnet", reason).with_hint("make a network for each subnet"));
        }
    }
    let mut parts: Vec<Drawn> = subnets.into_iter().map(Drawn::of).collect();
    let nowhere = |flag: &str, what: &str, shown: &dyn std::fmt::Display| {
        // In docker's words.
        let error = Error::invalid(flag, format!("no matching subnet for {what} {shown}"));
        error.with_hint("name the subnet that it lies in with `--subnet`")
    };
    for text in &new.gateways {
        let gateway: IpAddr = text.parse().map_err(|_| {
            let reason = format!("`{}` is no address", text.escape_debug());
            Error::invalid("--gateway", reason).with_hint("write such as `10.5.0.1`")
        })?;
        let part = parts.iter_mut().find(|part| part.subnet.contains(gateway));
        let part = part.ok_or_else(|| nowhere("--gateway", "gateway", &gateway))?;
        if part.gateway.replace(gateway).is_some() {
            let reason = format!("`{gateway}` is the second gateway of `{}`", part.subnet);
            return Err(Error::invalid("--gateway", reason).with_hint("leave one of them out"));
        }
    }
    for text in &new.ranges {
        let range = Cidr::parse("--ip-range", text)?;
        let inside = |subnet: &Cidr| subnet.contains(range.address) && range.prefix >= subnet.prefix;
        let part = parts.iter_mut().find(|part| inside(&part.subnet));
        part.ok_or_else(|| nowhere("--ip-range", "range", &range))?.range = Some(range);
    }
    for (name, address) in &new.auxiliary {
        let part = parts.iter_mut().find(|part| part.subnet.contains(*address));
        let part = part.ok_or_else(|| nowhere("--aux-address", "aux-address", address))?;
        part.auxiliary.insert(name.clone(), *address);
    }
    let (mut ipv4, mut ipv6) = (None, None);
    for Drawn { subnet, gateway, range, auxiliary } in parts {
        let gateway = format!("{}/{}", gateway.unwrap_or_else(|| subnet.default_gateway()), subnet.prefix);
        let refused = |error: ::network::Error| {
            let reason = format!("`{subnet}` with the gateway `{gateway}`: {}", error.reason());
            Error::invalid("--subnet", reason).with_hint("write such as `10.5.0.0/16` or `fd00:5::/64`")
        };
        let part = match subnet.address {
            IpAddr::V4(_) => {
                Ipv4Network::parse(&gateway).map_err(refused)?;
                &mut ipv4
            }
            IpAddr::V6(_) => {
                Ipv6Network::parse(&gateway).map_err(refused)?;
                &mut ipv6
            }
        };
        *part = Some(Part { range: range.map(|range| range.to_string()), gateway, auxiliary });
    }
    Ok((ipv4, ipv6))
}

impl Asked {
    /// The subnets that the network gets; of those that nobody named, one that `choose` finds beside the others.
    pub(super) fn subnets(
        self,
        network: &Network,
        others: &[Network],
        choose: impl FnOnce(&[Ipv4Network]) -> Result<Ipv4Network>,
    ) -> Result<Vec<NetworkSubnet>> {
        let theirs: Vec<(&Network, &NetworkSubnet)> =
            others.iter().flat_map(|other| other.subnets.iter().map(move |subnet| (other, subnet))).collect();
        let subnet = |part: Part| NetworkSubnet {
            gateway: part.gateway,
            range: part.range,
            auxiliary: part.auxiliary,
        };
        let ipv4 = match self.ipv4 {
            Some(part) => subnet(part),
            None => {
                let taken: Vec<Ipv4Network> = theirs.iter().filter_map(|(_, subnet)| subnet.ipv4()).collect();
                let gateway = choose(&taken)?.to_string();
                NetworkSubnet { gateway, range: None, auxiliary: BTreeMap::new() }
            }
        };
        let own = ipv4.ipv4().expect("it was checked");
        for (other, theirs) in &theirs {
            // Two networks of one wire may be two parts of what is there.
            if theirs.ipv4().is_some_and(|theirs| theirs.overlaps(&own)) && !shares_wire(network, other) {
                return Err(overlaps(&own.subnet(), other, &theirs.subnet()));
            }
        }
        if network.driver == NetworkDriver::Bridge {
            ::network::refuse_subnet_of_host(&own)
                .map_err(|error| from_network(error).with_hint("choose another subnet with `--subnet`"))?;
        }
        let ipv6 = match self.ipv6 {
            Some(part) => Some(subnet(part)),
            None if self.wants_ipv6 => Some(NetworkSubnet {
                gateway: Ipv6Network::derive(&network.id, &own).to_string(),
                range: None,
                auxiliary: BTreeMap::new(),
            }),
            None => None,
        };
        if let Some(ipv6) = &ipv6 {
            check_ipv6(&own, ipv6)?;
            let mine = ipv6.ipv6().expect("it was checked");
            for (other, theirs) in &theirs {
                if theirs.ipv6().is_some_and(|theirs| theirs.overlaps(&mine)) && !shares_wire(network, other)
                {
                    return Err(overlaps(&mine.subnet(), other, &theirs.subnet()));
                }
            }
        }
        Ok(std::iter::once(ipv4).chain(ipv6).collect())
    }
}

fn shares_wire(one: &Network, other: &Network) -> bool {
    one.driver != NetworkDriver::Bridge && other.driver != NetworkDriver::Bridge
}

/// Containers have the number in one subnet that they have in the other: it must have as many.
fn check_ipv6(ipv4: &Ipv4Network, ipv6: &NetworkSubnet) -> Result<()> {
    let prefix = ipv6.ipv6().expect("it was checked").prefix();
    if 128 - u32::from(prefix) < 32 - u32::from(ipv4.prefix()) {
        let reason = format!("`{}` has fewer addresses than `{}`", ipv6.subnet(), ipv4.subnet());
        let most = 96 + ipv4.prefix();
        return Err(Error::invalid("--subnet", reason).with_hint(format!(
            "containers have the same number in both: choose a prefix length of {most} or less"
        )));
    }
    Ok(())
}

/// In docker's words.
fn overlaps(own: &str, other: &Network, theirs: &str) -> Error {
    let reason = format!(
        "`{own}`: pool overlaps with other one on this address space: `{theirs}` of the network `{}`",
        other.name
    );
    let error = Error::invalid("--subnet", reason).with_code(Code::InUse);
    error.with_hint("choose another subnet, or leave it out to get a free one")
}
