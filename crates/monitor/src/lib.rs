//! Owns the parent's side of running containers: terminals, signals, output, exit status. Must not start or remove anything:
//! whoever calls it has started the container and cleans up after it.
//!
//! [`supervise()`] stands behind a container for as long as its caller does. [`run_service`] is a process of its own behind one
//! that lives on: it keeps the log, serves the clients that [`attach()`], and records the end.
//!
//! One thread, one `poll(2)`, buffers of fixed size: what stands behind a container for as long as that lives should
//! cost next to nothing. It knows neither network nor image, so that it can run as a process of its own.

mod attach;
mod buffer;
mod caller;
mod end_of_input;
mod error;
mod exit;
mod exit_record;
mod holdings;
mod init;
mod keys;
mod log;
mod moment;
mod protocol;
mod relay;
mod service;
mod signals;
mod sink;
mod stream;
mod streams;
mod supervise;
mod typist;
mod wait;

pub use attach::{
    Attached, Attachment, Departure, Reaction, Role, Terminal, ask_unlogged, attach, wait_for_hangup,
};
pub use caller::copy_window_size;
pub use error::{Error, Operation};
pub use exit::Exit;
pub use exit_record::ExitRecord;
pub use holdings::{BoundAt, give_sockets, keep_sockets};
pub use keys::{DetachKeys, UnknownKey};
pub use log::{JOURNAL_SOCKET, LogEntry, LogFiles, LogOptions, LogQuery, LogStream, read_log};
pub use moment::Moment;
pub use service::{Check, Parentage, Service, VERB, run_service};
pub use streams::{InputEnd, Io};
pub use supervise::{
    Console, Input, Outcome, Policy, Signals, Supervised, Supervision, supervise, supervise_until_left,
};
