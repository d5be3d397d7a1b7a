//! Containers of an ordinary user: each test makes one, in a mount namespace with an /etc of its own.

mod files;
mod forbidden;
mod ids;
mod images;
mod life;
mod network;
mod place;
mod pods;
mod refusing_links;
mod secrets;
mod user;
mod volumes;
