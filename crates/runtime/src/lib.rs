//! The OCI runtime as a library: the parent parses everything into a plan, a list of named steps; the child only
//! runs the list.
//!
//! Nothing here prints, exits, reads the environment or depends on working directory, umask or signal state.

pub mod bundle;
pub mod caller;
pub mod capability;
pub mod checkpoint;
mod culprit;
mod detached_mounts;
mod error;
mod exec;
mod foreign;
mod hooks;
pub mod host_binary;
mod id;
pub mod id_map_files;
mod init;
pub mod launch;
pub mod layers;
pub mod lifecycle;
pub mod limits;
mod made_directory;
mod mounted;
pub mod named_file;
mod obstacle;
pub mod plan;
pub mod rdt;
pub mod reaper;
mod refusing_link;
mod remedy;
mod root_directory;
mod rtnetlink;
mod seccomp_agent;
mod shared_root;
mod signal;
pub mod spec;
pub mod state_dir;
pub mod subordinate_ids;
pub mod sync;
pub mod user_namespace;

pub use bundle::Bundle;
pub use error::{Code, Error, ErrorKind, FailedStep, Result, short};
pub use exec::{ExecOptions, Executed, Streams, exec, exec_by};
pub use foreign::host_name;
pub use id::ContainerId;
pub use init::step::{Side, StepDescription, StepKind};
pub use obstacle::{BlockedMount, Obstacle};
pub use root_directory::RootDirectory;
pub use signal::Signal;
