//! The network, as typed.

use std::path::PathBuf;

use clap::Args;
use engine::{
    Error, ImageDefaults, NameOptions, NetworkMode, NetworkOptions, OwnedFile, Result, parse_exposed,
    parse_host, parse_mac, parse_name_server, parse_publish, parse_resolver_word, publish_exposed,
};

use super::said;
use crate::render;

/// How the container is connected.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArguments {
    /// How the container is connected: bridge, pasta, none, host, cni:NAME, container:ID or ns:PATH [default: bridge; without
    /// root pasta, where it is installed]
    #[arg(long, visible_alias = "net", value_name = "MODE")]
    pub(crate) network: Option<String>,
    /// Directory with lists of CNI plugins, for `--network=cni:NAME` [default: NETCONFPATH, or /etc/cni/net.d]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) cni_config_dir: Option<PathBuf>,
    /// Directory with CNI plugins [default: those of CNI_PATH, or /opt/cni/bin, /usr/lib/cni and /usr/libexec/cni]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) cni_bin_dir: Vec<PathBuf>,
    /// Bridge on the host [default: rabbitc0]
    #[arg(short = 'n', long, value_name = "NAME")]
    pub(crate) network_name: Option<String>,
    /// Address of the bridge and size of its network [default: 172.19.0.1/16; of another bridge than rabbitc0 the one
    /// that it has, or a free one]
    #[arg(short = 'i', long, value_name = "CIDR")]
    pub(crate) network_ip: Option<String>,
    /// Address of the container [default: the lowest that is free in its network, from 172.19.0.2/16 on]
    #[arg(short = 't', long, visible_alias = "ip", value_name = "IP[/SIZE]")]
    pub(crate) container_ip: Option<String>,
    /// Hardware address of the container
    #[arg(long, value_name = "MAC")]
    pub(crate) mac_address: Option<String>,
    /// Publish ports of the container at the host's: `8080:80`, `127.0.0.1:53:53/udp`, `8000-8009:8000-8009`
    #[arg(short = 'p', long, value_name = "[[IP:]HOSTPORT:]PORT")]
    pub(crate) publish: Vec<String>,
    /// Publish each port of `--expose` and of the image at a free one of the host
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// A port on which the container serves, for `--publish-all`
    #[arg(long, value_name = "PORT[/PROTOCOL]")]
    pub(crate) expose: Vec<String>,
    /// Name server, in place of the host's
    #[arg(long, value_name = "IP")]
    pub(crate) dns: Vec<String>,
    /// Domain in which short names are looked for, in place of the host's; `.` for none
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_search: Vec<String>,
    /// Option of the resolver, in place of the host's
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    pub(crate) dns_option: Vec<String>,
    /// A name in /etc/hosts; `host-gateway` as address is the host, with a bridge or the network of the host
    #[arg(long, value_name = "NAME:IP")]
    pub(crate) add_host: Vec<String>,
    /// Leave /etc/hosts as the root has it
    #[arg(long)]
    pub(crate) no_hosts: bool,
    /// Leave /etc/hostname as the root has it
    #[arg(long)]
    pub(crate) no_hostname: bool,
}

impl NetworkArguments {
    /// What they mean.
    pub(crate) fn options(&self, image: Option<&ImageDefaults>) -> Result<NetworkOptions> {
        let mut mode = match &self.network {
            None => NetworkMode::Default,
            Some(text) => NetworkMode::parse("--network", text)?,
        };
        self.find_plugins(&mut mode)?;
        if self.no_hosts && !self.add_host.is_empty() {
            let error = Error::invalid("--no-hosts", "means nothing with `--add-host`".to_owned());
            return Err(error.with_hint("leave one of the two out"));
        }
        let mut publish = self.published_ports(image)?;
        // As docker and podman have it: what is written for a bridge runs with another network, too.
        if matches!(mode, NetworkMode::Host | NetworkMode::None) && !publish.is_empty() {
            let name = self.network.as_deref().unwrap_or_default();
            render::warning(&format!(
                "published ports are discarded, as the container's network is `{name}`{}",
                if mode == NetworkMode::Host { ": its ports are the host's already" } else { "" }
            ));
            publish.clear();
        }
        Ok(NetworkOptions {
            mode,
            name: self.network_name.clone(),
            ip: self.network_ip.clone(),
            container_ip: said(&self.container_ip).map(str::to_owned),
            mac: said(&self.mac_address).map(|text| parse_mac("--mac-address", text)).transpose()?,
            publish,
            names: NameOptions {
                servers: each(&self.dns, |text| parse_name_server("--dns", text))?,
                search: each(&self.dns_search, |text| parse_resolver_word("--dns-search", text))?,
                options: each(&self.dns_option, |text| parse_resolver_word("--dns-option", text))?,
                hosts: each(&self.add_host, |text| parse_host("--add-host", text))?,
                hosts_file: if self.no_hosts { OwnedFile::OfTheRoot } else { OwnedFile::Made },
                hostname_file: if self.no_hostname { OwnedFile::OfTheRoot } else { OwnedFile::Made },
                ..NameOptions::default()
            },
        })
    }

    /// Where a network of CNI plugins is found: by the flags, or by the variables that CNI's own programs read.
    fn find_plugins(&self, mode: &mut NetworkMode) -> Result<()> {
        let NetworkMode::Cni(network) = mode else {
            let said = [
                ("--cni-config-dir", self.cni_config_dir.is_some()),
                ("--cni-bin-dir", !self.cni_bin_dir.is_empty()),
            ];
            return match said.into_iter().find(|(_, is_said)| *is_said) {
                None => Ok(()),
                Some((flag, _)) => {
                    let error = Error::invalid(flag, "means nothing without a network of CNI".to_owned());
                    Err(error.with_hint("name one with `--network=cni:NAME`"))
                }
            };
        };
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        network.configurations =
            self.cni_config_dir.clone().or_else(|| variable("NETCONFPATH").map(PathBuf::from));
        network.plugins = match &self.cni_bin_dir[..] {
            [] => variable("CNI_PATH").iter().flat_map(std::env::split_paths).collect(),
            named => named.to_vec(),
        };
        Ok(())
    }

    fn published_ports(&self, image: Option<&ImageDefaults>) -> Result<Vec<engine::PortRequest>> {
        let mut publish = each(&self.publish, |text| parse_publish("--publish", text))?;
        let mut exposed = each(&self.expose, |text| parse_exposed("--expose", text))?;
        let of_image = image.map_or(&[][..], |image| &image.exposed);
        exposed.extend(each(of_image, |text| parse_exposed("the image's port", text))?);
        if self.publish_all {
            if exposed.is_empty() {
                let error = Error::invalid("--publish-all", "there is no port to publish".to_owned());
                return Err(error.with_hint("name the container's ports with `--expose`"));
            }
            publish_exposed(&exposed, &mut publish);
        }
        Ok(publish)
    }
}

fn each<T>(texts: &[String], parse: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    texts.iter().map(|text| parse(text)).collect()
}
