//! Tests of the network crate on the real kernel, in network namespaces that they make themselves.

mod bridge;
mod foreign_firewall;
mod leases;
mod ports;
mod support;
