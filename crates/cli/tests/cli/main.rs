//! `rabbitc` as a person types it, each test on a host of its own: see [`support::Host`].

mod attacks;
mod devices;
mod errors;
mod explain;
mod files;
mod hardening;
mod host_root;
mod images;
mod init;
mod limits;
mod limits_refused;
mod namespaces;
mod network;
mod ports;
mod process;
mod remains;
mod rootless;
mod security;
mod start;
mod support;
mod sweep;
mod terminal;
mod tmpfs;
mod userns;
mod users;
mod volumes;
