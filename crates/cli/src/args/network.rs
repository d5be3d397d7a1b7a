//! The network, as typed.

use std::path::{Path, PathBuf};

use clap::Args;
use engine::{
    Error, ImageDefaults, NameOptions, NetworkAttachment, NetworkMode, NetworkOptions, NetworkStore,
    OwnedFile, Result, parse_alias, parse_container_ip, parse_container_ip6, parse_exposed, parse_host,
    parse_mac, parse_name_server, parse_networks, parse_publish, parse_resolver_word, publish_exposed,
};

use super::said;
use crate::manner::is_podmans;
use crate::render;

/// How the container is connected.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArguments {
    /// How the container is connected: bridge, pasta, none, host, cni:NAME, container:ID or ns:PATH [default: bridge; without
    /// root pasta, where it is installed]; or, as often as it has several, the name of a network of `rabbitc network`, also
    /// with `NAME:ip=IP,alias=NAME`
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    pub(crate) network: Vec<String>,
    /// Another name by which containers of the same networks find it
    #[arg(long, visible_alias = "net-alias", value_name = "NAME")]
    pub(crate) network_alias: Vec<String>,
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
    /// Address of the container of IPv6, in a network of `rabbitc network`
    #[arg(long, value_name = "IP")]
    pub(crate) ip6: Option<String>,
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
    /// Have the host's firewall let the bridge through where it is in its way: Docker's, firewalld or ufw; taken back with the
    /// network
    #[arg(long)]
    pub(crate) firewall_integrate: bool,
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
    pub(crate) fn options(
        &self,
        image: Option<&ImageDefaults>,
        root: Option<&Path>,
    ) -> Result<NetworkOptions> {
        let texts: Vec<String> = self.network.iter().filter(|text| !text.is_empty()).cloned().collect();
        let (mut mode, mut attachments) = parse_networks("--network", &texts)?;
        self.find_plugins(&mut mode)?;
        if self.no_hosts && !self.add_host.is_empty() {
            let error = Error::invalid("--no-hosts", "means nothing with `--add-host`".to_owned());
            return Err(error.with_hint("leave one of the two out"));
        }
        let mut publish = self.published_ports(image)?;
        // As docker and podman have it: what is written for a bridge runs with another network, too.
        let is_anothers = matches!(mode, NetworkMode::Container(_) | NetworkMode::Joined { .. });
        let has_none = matches!(mode, NetworkMode::Host | NetworkMode::None) || is_anothers && is_podmans();
        if has_none && !publish.is_empty() {
            let name = texts.last().map_or("", String::as_str);
            let name = name.split(':').next().unwrap_or_default();
            render::warning(&format!(
                "published ports are discarded, as the container's network is `{name}`{}",
                if mode == NetworkMode::Host { ": its ports are the host's already" } else { "" }
            ));
            publish.clear();
        }
        let mac = said(&self.mac_address).map(|text| parse_mac("--mac-address", text)).transpose()?;
        let is_of_kept = !attachments.is_empty();
        if !matches!(mode, NetworkMode::Cni(_)) {
            self.settle_attachments(&mut attachments, mac)?;
        }
        let needs_store = is_of_kept || self.network_name.is_some();
        let store = needs_store.then(|| NetworkStore::of(root)).transpose()?;
        for attachment in &mut attachments {
            // By its name from now on, whatever it was called by.
            if let Some(found) = store.as_ref().and_then(|store| store.get(&attachment.network).transpose()) {
                attachment.network = found?.name;
            }
        }
        Ok(NetworkOptions {
            mode,
            name: self.network_name.clone(),
            ip: self.network_ip.clone(),
            container_ip: said(&self.container_ip).filter(|_| !is_of_kept).map(str::to_owned),
            mac: mac.filter(|_| !is_of_kept),
            attachments,
            store,
            publish,
            firewall_integrate: self.firewall_integrate,
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
        if said(&self.ip6).is_some() {
            let error = Error::invalid("--ip6", "CNI plugins are passed one address".to_owned());
            return Err(error.with_hint("write it with `--ip`, of whichever family it is"));
        }
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        network.configurations =
            self.cni_config_dir.clone().or_else(|| variable("NETCONFPATH").map(PathBuf::from));
        network.plugins = match &self.cni_bin_dir[..] {
            [] => variable("CNI_PATH").iter().flat_map(std::env::split_paths).collect(),
            named => named.to_vec(),
        };
        network.aliases = each(&self.network_alias, |text| parse_alias("--network-alias", text))?;
        Ok(())
    }

    /// Gives the networks what flags of their own say of a container's place in one.
    fn settle_attachments(&self, attachments: &mut [NetworkAttachment], mac: Option<[u8; 6]>) -> Result<()> {
        let aliases = each(&self.network_alias, |text| parse_alias("--network-alias", text))?;
        if attachments.is_empty() {
            // In docker's words.
            let only = "is supported only for containers in user defined networks";
            let rows = [("--network-alias", !aliases.is_empty()), ("--ip6", said(&self.ip6).is_some())];
            return match rows.into_iter().find(|(_, is_given)| *is_given) {
                Some((flag, _)) => {
                    let error = Error::invalid(flag, only.to_owned());
                    Err(error
                        .with_hint("make one with `rabbitc network create`, and name it with `--network`"))
                }
                None => Ok(()),
            };
        }
        for (flag, is_given) in
            [("--network-name", self.network_name.is_some()), ("--network-ip", self.network_ip.is_some())]
        {
            if is_given {
                let reason =
                    "means nothing with a network of `rabbitc network`, which has its own".to_owned();
                return Err(Error::invalid(flag, reason).with_hint("leave one of the two out"));
            }
        }
        for attachment in attachments.iter_mut().filter(|attachment| attachment.network != "bridge") {
            attachment.aliases.extend(aliases.iter().cloned());
        }
        let ip =
            said(&self.container_ip).map(|text| parse_container_ip("--container-ip", text)).transpose()?;
        let ip6 = said(&self.ip6).map(|text| parse_container_ip6("--ip6", text)).transpose()?;
        let given =
            [("--container-ip", ip.is_some()), ("--ip6", ip6.is_some()), ("--mac-address", mac.is_some())];
        let [attachment] = attachments else {
            return match given.into_iter().find(|(_, is_given)| *is_given) {
                Some((flag, _)) => {
                    let error = Error::invalid(flag, "it does not say in which of the networks".to_owned());
                    Err(error.with_hint("write it behind its name: `--network NAME:ip=…,mac=…`"))
                }
                None => Ok(()),
            };
        };
        attachment.ip = ip.or(attachment.ip);
        attachment.ip6 = ip6.or(attachment.ip6);
        attachment.mac = mac.or(attachment.mac);
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
