//! How a container is connected, as meant. Looks nothing up.

/// How the container is connected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NetworkMode {
    /// A bridge for root; for others `pasta` where it is there, and else loopback alone, with a warning.
    #[default]
    Default,
    /// A bridge with addresses of its own.
    Bridge,
    /// Sockets of the calling user stand behind an interface inside.
    Pasta,
    /// Loopback alone.
    None,
    /// The host's own network.
    Host,
}

/// The network of one container.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkOptions {
    /// How it is connected.
    pub mode: NetworkMode,
    /// The bridge.
    pub name: String,
    /// Address of the bridge and its subnet.
    pub ip: String,
    /// The container's own address; without one, the lowest that is free.
    pub container_ip: Option<String>,
}

impl Default for NetworkOptions {
    fn default() -> NetworkOptions {
        NetworkOptions {
            mode: NetworkMode::Default,
            name: "rabbitc0".to_owned(),
            ip: "172.19.0.1/16".to_owned(),
            container_ip: None,
        }
    }
}
