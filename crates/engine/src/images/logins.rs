//! Logging in to registries and out of them. Takes no root, and no images.

use std::path::PathBuf;

use image::registry::Credentials;
use image::registry::credentials::Kept;
use runtime::ErrorKind;

use super::registries::{Registries, RegistryAccess};
use crate::error::{Error, Result, from_image};

/// The logins of the caller.
#[derive(Debug)]
pub struct Logins {
    registries: Registries,
}

/// What became of a login that was to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoggedOut {
    /// It is forgotten.
    Forgotten,
    /// There was none.
    Absent,
    /// There is one in a file that is not rabbitc's to change.
    Elsewhere(PathBuf),
}

impl Logins {
    /// Looks where they are.
    pub fn open(access: &RegistryAccess) -> Result<Logins> {
        Ok(Logins { registries: Registries::new(access).map_err(from_image)? })
    }

    /// The registry that is meant: the first that is asked for short names, where nobody says one.
    pub fn registry(&self, typed: Option<&str>) -> Result<String> {
        let Some(typed) = typed else {
            let searched = self.registries.configuration.searched();
            return Ok(searched.first().map_or(image::reference::DOCKER_IO, String::as_str).to_owned());
        };
        // Docker's own registry is written so: `https://index.docker.io/v1/`.
        let (is_address, rest) = match typed.split_once("://") {
            Some(("https" | "http", rest)) => (true, rest),
            _ => (false, typed),
        };
        let host = match rest.trim_end_matches('/').split_once('/') {
            None => rest.trim_end_matches('/'),
            Some((host, _)) if is_address => host,
            Some((host, _)) => {
                let error = Error::invalid(
                    format!("log in to `{typed}`"),
                    "a login is for all of a registry".to_owned(),
                );
                return Err(error.with_hint(format!("write `{host}`")));
            }
        };
        Ok(self.registries.endpoint(host).map_err(from_image)?.registry)
    }

    /// As whom the caller is logged in.
    pub fn user(&self, registry: &str) -> Result<Option<String>> {
        let found = self.registries.logins.look_up(registry, "").map_err(from_image)?;
        Ok(found.map(|found| match found {
            Credentials::Password { username, .. } => username,
            // It stands for a name that only the registry knows.
            Credentials::IdentityToken(_) | Credentials::RegistryToken(_) => "<token>".to_owned(),
        }))
    }

    /// Whether the registry takes what is kept for it; nothing where nothing is.
    pub fn is_good(&self, registry: &str) -> Result<Option<bool>> {
        let Some(credentials) = self.registries.logins.look_up(registry, "").map_err(from_image)? else {
            return Ok(None);
        };
        let client = self.registries.registry_for(registry, credentials).map_err(from_image)?;
        match client.log_in() {
            Ok(()) => Ok(Some(true)),
            Err(error) if error.kind == image::Kind::Unauthorized => Ok(Some(false)),
            Err(error) => Err(from_image(error)),
        }
    }

    /// Shows the registry a name and a password, and keeps them if it takes them.
    pub fn log_in(&self, registry: &str, username: &str, password: &str) -> Result<Kept> {
        if username.is_empty() || password.is_empty() {
            let error =
                Error::invalid(format!("log in to `{registry}`"), "name or password is empty".to_owned());
            return Err(error.with_hint("give `--username` and, by standard input, `--password-stdin`"));
        }
        let credentials =
            Credentials::Password { username: username.to_owned(), password: password.to_owned() };
        let client = self.registries.registry_for(registry, credentials);
        client.and_then(|client| client.log_in()).map_err(from_image)?;
        self.registries.logins.log_in(registry, username, password).map_err(from_image)
    }

    /// Forgets what is kept for a registry.
    pub fn log_out(&self, registry: &str) -> Result<LoggedOut> {
        let logins = &self.registries.logins;
        if logins.log_out(registry).map_err(from_image)? {
            return Ok(LoggedOut::Forgotten);
        }
        match logins.holder(registry) {
            Ok(Some(file)) => Ok(LoggedOut::Elsewhere(file.to_owned())),
            Ok(None) => Ok(LoggedOut::Absent),
            // There is no such file, and with it no login.
            Err(error) if error.kind == image::Kind::NotFound => Ok(LoggedOut::Absent),
            Err(error) => Err(from_image(error)),
        }
    }

    /// Forgets all that is kept; for which registries.
    pub fn log_out_everywhere(&self) -> Result<Vec<String>> {
        self.registries.logins.log_out_everywhere().map_err(from_image)
    }

    /// The refusal of a question for somebody who is not there.
    pub fn not_logged_in(registry: &str) -> Error {
        let error =
            Error::new(ErrorKind::NotFound, format!("look at the login to `{registry}`"), "there is none");
        error.with_hint(format!("`rabbitc login {registry}`"))
    }
}
