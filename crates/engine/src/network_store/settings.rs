//! What the options of a network's driver say: read when it is made, and again with each start. Must not look at the host.

use std::collections::BTreeMap;

use ::network::{InterfaceName, WireKind};

use super::NetworkDriver;
use crate::error::{Error, Result};
use crate::filter::truth;

/// Options of all drivers, with what is absent resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The largest packet in bytes; none where the kernel's own is meant.
    pub(crate) mtu: Option<u32>,
    /// Whether containers get a default route through it.
    pub(crate) has_default_route: bool,
    /// Whether what leaves the host does so under the host's address.
    pub(crate) masquerades: bool,
    /// The metric of the default route.
    pub(crate) metric: Option<u32>,
    /// The bridge's name, or the interface of the host whose wire it is.
    pub(crate) interface: Option<String>,
    /// How macvlan or ipvlan are joined to the wire.
    mode: Option<WireKind>,
}

const BRIDGE: &str = "there are com.docker.network.bridge.name, com.docker.network.driver.mtu or mtu, \
                      com.docker.network.bridge.enable_ip_masquerade, com.docker.network.bridge.enable_icc=true, isolate, \
                      no_default_route and metric";
const WIRE: &str = "there are parent, mtu, mode (macvlan_mode, ipvlan_mode), no_default_route and metric";

impl Settings {
    /// How containers take part in the wire of a driver that has one.
    pub(crate) fn wire_kind(&self, driver: NetworkDriver) -> WireKind {
        let default = match driver {
            NetworkDriver::Ipvlan => WireKind::L2,
            _ => WireKind::BRIDGE,
        };
        self.mode.unwrap_or(default)
    }

    /// Whether packets leave without a gateway's hardware address.
    pub(crate) fn is_routed_by_the_wire(&self) -> bool {
        matches!(self.mode, Some(WireKind::L3 | WireKind::L3S))
    }

    /// Reads those of a driver.
    pub(crate) fn read(driver: NetworkDriver, options: &BTreeMap<String, String>) -> Result<Settings> {
        let mut settings = Settings {
            mtu: None,
            has_default_route: true,
            masquerades: true,
            metric: None,
            interface: None,
            mode: None,
        };
        let is_bridge = driver == NetworkDriver::Bridge;
        for (name, value) in options {
            let wrong = |reason: String| {
                let reason = format!("`{}={}`: {reason}", name.escape_debug(), value.escape_debug());
                Error::invalid("--opt", reason).with_hint(if is_bridge { BRIDGE } else { WIRE })
            };
            let yes = || truth(value).ok_or_else(|| wrong("neither true nor false".to_owned()));
            let number = |range: std::ops::RangeInclusive<u32>| {
                let read = value.parse::<u32>().ok().filter(|read| range.contains(read));
                read.ok_or_else(|| {
                    wrong(format!("it is no number from {} to {}", range.start(), range.end()))
                })
            };
            match name.as_str() {
                "mtu" | "com.docker.network.driver.mtu" => {
                    // 0 is docker's word for the kernel's own.
                    settings.mtu = Some(number(0..=65535)?).filter(|mtu| *mtu != 0);
                    if settings.mtu.is_some_and(|mtu| mtu < 68) {
                        return Err(wrong("no packet of IPv4 is smaller than 68 bytes".to_owned()));
                    }
                }
                "no_default_route" => settings.has_default_route = !yes()?,
                "metric" => settings.metric = Some(number(0..=u32::MAX)?),
                "com.docker.network.bridge.name" if is_bridge => {
                    InterfaceName::parse(value).map_err(crate::error::from_network)?;
                    settings.interface = Some(value.clone());
                }
                "com.docker.network.bridge.enable_ip_masquerade" if is_bridge => {
                    settings.masquerades = yes()?
                }
                // Networks are apart from each other anyway.
                "isolate" if is_bridge && value == "strict" => {}
                "isolate" if is_bridge => {
                    yes()?;
                }
                "com.docker.network.bridge.enable_icc" if is_bridge => {
                    if !yes()? {
                        return Err(wrong("containers of one network reach each other".to_owned()));
                    }
                }
                "com.docker.network.bridge.default_bridge" if is_bridge => {
                    if yes()? {
                        return Err(wrong("the default network is there already".to_owned()));
                    }
                }
                "parent" if !is_bridge => {
                    let (wire, tag) = value.split_once('.').unwrap_or((value, "1"));
                    let is_tag = tag.parse::<u16>().is_ok_and(|tag| (1..4095).contains(&tag));
                    InterfaceName::parse(value)
                        .and_then(|_| InterfaceName::parse(wire))
                        .map_err(|error| wrong(error.reason()))?;
                    if !is_tag {
                        return Err(wrong("behind the dot stands no number of a VLAN, 1 to 4094".to_owned()));
                    }
                    settings.interface = Some(value.clone());
                }
                "mode" | "macvlan_mode" if driver == NetworkDriver::Macvlan => {
                    settings.mode = Some(match value.as_str() {
                        "bridge" => WireKind::BRIDGE,
                        "private" => WireKind::PRIVATE,
                        "vepa" => WireKind::VEPA,
                        "passthru" => WireKind::PASSTHRU,
                        _ => return Err(wrong("there are bridge, private, vepa and passthru".to_owned())),
                    });
                }
                "mode" | "ipvlan_mode" if driver == NetworkDriver::Ipvlan => {
                    settings.mode = Some(match value.as_str() {
                        "l2" => WireKind::L2,
                        "l3" => WireKind::L3,
                        "l3s" => WireKind::L3S,
                        _ => return Err(wrong("there are l2, l3 and l3s".to_owned())),
                    });
                }
                _ => return Err(wrong(format!("the driver `{}` knows no such option", driver.as_str()))),
            }
        }
        Ok(settings)
    }
}
