//! Tests of the network crate on the real kernel, in network namespaces that they make themselves.

mod bridge;
mod foreign_firewall;
mod integration;
mod isolation;
mod leases;
mod port_holders;
mod port_reach;
mod port_rules;
mod publisher;
mod support;
