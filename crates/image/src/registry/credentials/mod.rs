//! Credentials for registries, from docker's and podman's own files and from the programs that those name. Never shows a
//! secret, in `Debug` as little as in an error.

mod file;
mod program;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use self::file::CredentialFile;
use self::program::CredentialProgram;
use super::known_name;
use crate::error::{Error, Kind, Result};

const DENIED: i32 = rustix::io::Errno::ACCESS.raw_os_error();

/// What somebody shows a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password, or a token that stands for one.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A token that the registry's token server takes for others (OAuth 2's refresh token).
    IdentityToken(String),
    /// A token that the registry takes as it is.
    RegistryToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Credentials::Password { .. } => "Password",
            Credentials::IdentityToken(_) => "IdentityToken",
            Credentials::RegistryToken(_) => "RegistryToken",
        })
    }
}

/// The files of credentials, and the variables that the programs they name are run with.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Files that are read, in this order; those that are not there are left out.
    pub read: Vec<PathBuf>,
    /// The file that a login is written to.
    pub written: PathBuf,
    /// Who said so.
    pub named: Naming,
    /// Variables of the caller, for credential programs; `PATH` says where those are.
    pub environment: Vec<(OsString, OsString)>,
}

/// Who said which files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Naming {
    /// Nobody: they are where they always are, if at all.
    #[default]
    Usual,
    /// The caller, for this once: then there is one, or it is an error where credentials are read.
    Explicit,
}

/// Who keeps a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A file, as it is.
    InFile(PathBuf),
    /// `docker-credential-NAME`.
    ByProgram(String),
}

impl Places {
    /// Where docker and podman keep them, by the variables of the caller; `authfile` (`--authfile`) or `REGISTRY_AUTH_FILE`
    /// stands for all of them. Docker's file comes first, as it is the one that a login is written to and it outlives a boot.
    pub fn find(authfile: Option<&Path>, environment: &[(OsString, OsString)]) -> Places {
        let path = |name: &str| variable(environment, name).map(PathBuf::from);
        let environment = environment.to_vec();
        if let Some(file) = authfile.map(Path::to_path_buf).or_else(|| path("REGISTRY_AUTH_FILE")) {
            return Places { read: vec![file.clone()], written: file, named: Naming::Explicit, environment };
        }
        let home = path("HOME").unwrap_or_else(|| PathBuf::from("/"));
        let of_docker = path("DOCKER_CONFIG").unwrap_or_else(|| home.join(".docker")).join("config.json");
        let runtime = path("XDG_RUNTIME_DIR")
            .unwrap_or_else(|| format!("/run/containers/{}", rustix::process::getuid().as_raw()).into());
        // Podman's own, where a session has no directory: `/run/containers/UID/auth.json`.
        let of_podman = match variable(&environment, "XDG_RUNTIME_DIR") {
            Some(_) => runtime.join("containers/auth.json"),
            None => runtime.join("auth.json"),
        };
        let configuration = path("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        Places {
            read: vec![of_docker.clone(), of_podman, configuration.join("containers/auth.json")],
            written: of_docker,
            named: Naming::Usual,
            environment,
        }
    }

    /// What to show `registry` for `repository`: the entry of the most of the name, in the first file that has any.
    pub fn look_up(&self, registry: &str, repository: &str) -> Result<Option<Credentials>> {
        Ok(self.find_entry(registry, repository)?.map(|(_, found)| found))
    }

    /// The file that has credentials for `registry`.
    pub fn holder(&self, registry: &str) -> Result<Option<&Path>> {
        Ok(self.find_entry(registry, "")?.map(|(path, _)| path))
    }

    fn find_entry(&self, registry: &str, repository: &str) -> Result<Option<(&Path, Credentials)>> {
        let registry = known_name(registry);
        for path in &self.read {
            let read = match CredentialFile::read(path) {
                // Root's, where the caller is root of a user namespace alone.
                Err(error) if self.named == Naming::Usual && error.errno == Some(DENIED) => continue,
                read => read?,
            };
            let Some(file) = read else {
                if self.named == Naming::Explicit {
                    let operation = format!("read credentials from `{}`", path.display());
                    return Err(Error::new(Kind::NotFound, operation, "there is no such file"));
                }
                continue;
            };
            if let Some(name) = file.program(registry)
                && let Some(found) = self.program(name, path)?.get(registry)?
            {
                return Ok(Some((path, found)));
            }
            if let Some(found) = file.look_up(registry, repository)? {
                return Ok(Some((path, found)));
            }
        }
        Ok(None)
    }

    /// Keeps a name and a password for `registry`, where the file says so by its program, else in the file itself.
    pub fn log_in(&self, registry: &str, username: &str, password: &str) -> Result<Kept> {
        let registry = known_name(registry);
        let program = CredentialFile::read_or_new(&self.written)?.program(registry).map(str::to_owned);
        if let Some(name) = &program {
            self.program(name, &self.written)?.store(registry, username, password)?;
        }
        CredentialFile::change(&self.written, |file| match &program {
            None => file.insert(registry, username, password),
            Some(_) => {
                file.insert_empty(registry);
                Ok(())
            }
        })?;
        Ok(match program {
            Some(name) => Kept::ByProgram(name),
            None => Kept::InFile(self.written.clone()),
        })
    }

    /// Forgets what is kept for `registry`; whether there was anything.
    pub fn log_out(&self, registry: &str) -> Result<bool> {
        let registry = known_name(registry);
        let Some(mut file) = CredentialFile::read(&self.written)? else { return Ok(false) };
        let mut found = false;
        if let Some(name) = file.program(registry).map(str::to_owned) {
            let program = self.program(&name, &self.written)?;
            found = program.get(registry)?.is_some();
            if found {
                program.erase(registry)?;
            }
        }
        if file.remove(registry) {
            found = true;
            CredentialFile::change(&self.written, |file| Ok(file.remove(registry)))?;
        }
        Ok(found)
    }

    /// Forgets all that is kept; for which registries there was something.
    pub fn log_out_everywhere(&self) -> Result<Vec<String>> {
        let registries = CredentialFile::read(&self.written)?.map(|file| file.registries());
        let mut forgotten = Vec::new();
        for registry in registries.unwrap_or_default() {
            if self.log_out(&registry)? {
                forgotten.push(registry);
            }
        }
        Ok(forgotten)
    }

    fn program<'a>(&'a self, name: &'a str, file: &'a Path) -> Result<CredentialProgram<'a>> {
        CredentialProgram::find(name, file, &self.environment)
    }
}

/// The value of a variable; an empty one is none.
fn variable<'a>(environment: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    let found = environment.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
}
