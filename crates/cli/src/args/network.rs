//! The network, as typed.

use clap::{Args, ValueEnum};
use engine::{NetworkMode, NetworkOptions, Result};

/// How the container is connected.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArguments {
    /// How the container is connected [default: bridge; without root pasta, where it is installed]
    #[arg(long, value_name = "MODE")]
    pub(crate) network: Option<Network>,
    /// Bridge on the host
    #[arg(short = 'n', long, default_value = "rabbitc0", value_name = "NAME")]
    pub(crate) network_name: String,
    /// Address of the bridge and size of its network
    #[arg(short = 'i', long, default_value = "172.19.0.1/16", value_name = "CIDR")]
    pub(crate) network_ip: String,
    /// Address of the container [default: the lowest that is free, from 172.19.0.2/16 on]
    #[arg(short = 't', long, value_name = "IP[/SIZE]")]
    pub(crate) container_ip: Option<String>,
}

/// How a container is connected, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    Bridge,
    Pasta,
    None,
    Host,
}

impl NetworkArguments {
    /// What they mean.
    pub(crate) fn options(&self) -> Result<NetworkOptions> {
        Ok(NetworkOptions {
            mode: match self.network {
                None => NetworkMode::Default,
                Some(Network::Bridge) => NetworkMode::Bridge,
                Some(Network::Pasta) => NetworkMode::Pasta,
                Some(Network::None) => NetworkMode::None,
                Some(Network::Host) => NetworkMode::Host,
            },
            name: self.network_name.clone(),
            ip: self.network_ip.clone(),
            container_ip: self.container_ip.clone(),
        })
    }
}
