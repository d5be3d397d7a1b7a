//! `rabbitc network create`: the flags of docker and podman.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::{ArgAction, Args};
use engine::{
    Code, CreatedNetwork, Error, ErrorKind, NewNetwork, Result, Value, parse_name_server, parse_pair,
};

use crate::images::print;
use crate::life::PlaceArguments;

/// Makes a network: a bridge of its own with the first container.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// What it is to be called
    #[arg(value_name = "NAME")]
    name: String,
    /// Its driver: bridge, macvlan or ipvlan
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge")]
    driver: String,
    /// Its subnet, one of IPv4 and one of IPv6 [default: a free one of IPv4]
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<String>,
    /// The gateway in its subnet, the bridge's own address [default: the first]
    #[arg(long, value_name = "IP")]
    gateway: Vec<String>,
    /// The part of its subnet that containers get their addresses from
    #[arg(long, value_name = "CIDR")]
    ip_range: Vec<String>,
    /// An address in its subnet that no container gets
    #[arg(long, value_name = "NAME=IP")]
    aux_address: Vec<String>,
    /// IPv6 too: in the subnet of `--subnet`, or in one of its own
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set,
          default_value_t = false, hide_default_value = true, value_name = "BOOL")]
    ipv6: bool,
    /// IPv4, which every network has
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set,
          default_value_t = true, hide = true, value_name = "BOOL")]
    ipv4: bool,
    /// Without a way out of it: no default route, and nothing is forwarded
    #[arg(long)]
    internal: bool,
    /// Taken for docker's sake
    #[arg(long, hide = true)]
    attachable: bool,
    /// The name of its bridge, or of the interface whose wire it is [default: `br-` and the beginning of its id]
    #[arg(long, value_name = "NAME")]
    interface_name: Option<String>,
    /// Containers don't find each other by name there
    #[arg(long)]
    disable_dns: bool,
    /// Name server of its containers, in place of the host's
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    dns: Vec<String>,
    /// A label
    #[arg(long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,
    /// An option of its driver: `mtu=`, `com.docker.network.bridge.name=`, `parent=`, `mode=`
    #[arg(short, long, value_name = "NAME=VALUE")]
    opt: Vec<String>,
    /// Where there is one of that name, that is no failure
    #[arg(long)]
    ignore: bool,
    /// Who chooses addresses: rabbitc itself
    #[arg(long, value_name = "DRIVER", hide = true)]
    ipam_driver: Option<String>,
    /// Of other drivers
    #[arg(long, value_name = "NAME=VALUE", hide = true)]
    ipam_opt: Vec<String>,
    /// Where it is known: `local`
    #[arg(long, value_name = "SCOPE", hide = true)]
    scope: Option<String>,
    /// Of docker's swarm
    #[arg(long, hide = true)]
    ingress: bool,
    /// Of docker's swarm
    #[arg(long, hide = true)]
    config_only: bool,
    /// Of docker's swarm
    #[arg(long, value_name = "NETWORK", hide = true)]
    config_from: Option<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn create(arguments: &CreateArguments) -> Result<()> {
    arguments.refuse_unsupported()?;
    let new = arguments.meant()?;
    let network = match arguments.place.networks()?.create(&new, &arguments.place.paths()?)? {
        CreatedNetwork::Made(network) => network,
        CreatedNetwork::Found(network) if arguments.ignore => network,
        CreatedNetwork::Found(network) => {
            // In docker's words.
            let reason = format!("network with name {} already exists", network.name);
            let operation = format!("create the network `{}`", network.name);
            let error = Error::new(ErrorKind::Invalid, operation, reason).with_code(Code::InUse);
            return Err(error.with_hint("choose another name, or remove it first: `rabbitc network rm`"));
        }
    };
    print(&format!("{}\n", network.id))
}

impl CreateArguments {
    /// Refuses what means something elsewhere and can't be done here.
    fn refuse_unsupported(&self) -> Result<()> {
        let is_own = |ipam: &String| matches!(ipam.as_str(), "" | "default" | "host-local");
        let rows = [
            ("--ingress", self.ingress, "networks of a swarm are of many hosts, and there is one here"),
            ("--config-only", self.config_only, "there are no networks that are settings of others"),
            (
                "--config-from",
                self.config_from.is_some(),
                "there are no networks that are settings of others",
            ),
            (
                "--scope",
                self.scope.as_ref().is_some_and(|scope| scope != "local"),
                "there are networks of this host alone, `local`",
            ),
            (
                "--ipam-driver",
                self.ipam_driver.as_ref().is_some_and(|ipam| !is_own(ipam)),
                "addresses are chosen by rabbitc itself, `host-local`",
            ),
            (
                "--ipam-opt",
                !self.ipam_opt.is_empty(),
                "rabbitc chooses addresses, and has no options for that",
            ),
            ("--ipv4", !self.ipv4, "every network has IPv4"),
        ];
        match rows.into_iter().find(|(_, is_given, _)| *is_given) {
            Some((flag, _, reason)) => {
                let error = Error::new(ErrorKind::Unsupported, flag, reason.to_owned());
                Err(error.with_hint(format!("leave `{flag}` out")))
            }
            None => Ok(()),
        }
    }

    fn meant(&self) -> Result<NewNetwork> {
        let mut labels = BTreeMap::new();
        for text in &self.label {
            labels.extend([parse_pair("--label", text, Value::MayLack)?]);
        }
        let mut options = BTreeMap::new();
        // Podman separates several by commas.
        for text in self.opt.iter().flat_map(|text| text.split(',')) {
            options.extend([parse_pair("--opt", text, Value::MayLack)?]);
        }
        let mut auxiliary = BTreeMap::new();
        for text in &self.aux_address {
            let (name, address) = parse_pair("--aux-address", text, Value::MayLack)?;
            let address: IpAddr = address.parse().map_err(|_| {
                let reason = format!("`{}` does not end in an address", text.escape_debug());
                Error::invalid("--aux-address", reason).with_hint("write such as `router=10.5.0.9`")
            })?;
            auxiliary.insert(name, address);
        }
        let dns = self.dns.iter().map(|text| parse_name_server("--dns", text));
        Ok(NewNetwork {
            name: self.name.clone(),
            driver: self.driver.clone(),
            subnets: split(&self.subnet),
            gateways: split(&self.gateway),
            ranges: split(&self.ip_range),
            auxiliary,
            ipv6: self.ipv6,
            internal: self.internal,
            attachable: self.attachable,
            dns_disabled: self.disable_dns,
            dns: dns.collect::<Result<_>>()?,
            interface: self.interface_name.clone(),
            labels,
            options,
        })
    }
}

/// Values that may stand in one word, as docker and podman have them.
fn split(texts: &[String]) -> Vec<String> {
    texts.iter().flat_map(|text| text.split(',')).map(str::to_owned).filter(|text| !text.is_empty()).collect()
}
