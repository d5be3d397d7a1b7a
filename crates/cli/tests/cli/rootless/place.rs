//! A user with a store, and a registry on the host that has an image for it.

use std::path::PathBuf;
use std::process::Command;

use super::user::User;
use crate::images::serve;
use crate::support::{Background, Ran, binary, finish};

pub struct Place {
    pub user: User,
    server: Background,
}

impl Place {
    /// `layout` makes the image in OCI's layout.
    pub fn new(layout: &str) -> Option<Place> {
        let user = User::new()?;
        let server = serve(&user.host, layout)?;
        Some(Place { user, server })
    }

    /// What the user keeps.
    pub fn root(&self) -> PathBuf {
        self.user.host.directory().join("home/.local/share/rabbitc")
    }

    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.user.command(program);
        command.env("HOME", self.user.host.directory().join("home")).env_remove("XDG_DATA_HOME");
        command
    }

    /// A verb by itself.
    pub fn rabbitc(&self, verb: &str, arguments: &[&str]) -> Ran {
        let mut command = self.command(binary());
        command.arg(verb).args(arguments);
        finish(command.spawn().expect("nsenter runs"), None)
    }

    /// A container of an image, without network.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(binary());
        command.args(["run", &self.user.state_flag(), "--rm", "--network=none"]).args(arguments);
        finish(command.spawn().expect("nsenter runs"), None)
    }

    pub fn end(self) {
        // Killed with its value.
        drop(self.server);
        let directory = self.user.host.directory().display().to_string();
        self.user.host.shell(&format!("cd {directory}; rm -rf home data layout registry.yml registry.log"));
        self.user.host.assert_nothing_left();
    }
}
