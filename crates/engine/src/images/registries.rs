//! Registries as the caller and the host have them: which there are, as whom they are asked, and how securely.

use std::ffi::OsString;
use std::path::PathBuf;

use image::registry::configuration::Files;
use image::registry::credentials::Places;
use image::registry::{
    CertificatePlaces, Client, Configuration, Credentials, Endpoint, Options, Proxies, Purpose, Remote,
    TlsVerify,
};
use image::{Error, Kind, Reference, Result};

/// What a caller says of registries.
#[derive(Debug, Clone, Default)]
pub struct RegistryAccess {
    /// `USER:PASSWORD`, in the place of what the files have.
    pub credentials: Option<String>,
    /// The file with credentials that counts alone.
    pub authfile: Option<PathBuf>,
    /// A directory with certificates, for whatever registry.
    pub certificates: Option<PathBuf>,
    /// Whether certificates are looked at.
    pub verify: TlsVerify,
    /// The caller's variables: they say where files are, which proxies there are, and where programs with credentials are found.
    pub environment: Vec<(OsString, OsString)>,
}

/// All that there is to know before a registry is asked.
#[derive(Debug)]
pub(super) struct Registries {
    pub(super) configuration: Configuration,
    pub(super) logins: Places,
    given: Option<Credentials>,
    verify: TlsVerify,
    options: Options,
}

impl Registries {
    /// Reads the files.
    pub(super) fn new(access: &RegistryAccess) -> Result<Registries> {
        let RegistryAccess { credentials, authfile, certificates, verify, environment } = access;
        let given = credentials.as_deref().map(parse_credentials).transpose()?;
        let configuration = Configuration::read(&Files::find(environment))?;
        let mut places = CertificatePlaces::find(environment);
        places.of_any_registry = certificates.clone();
        Ok(Registries {
            configuration,
            logins: Places::find(authfile.as_deref(), environment),
            given,
            verify: *verify,
            options: Options {
                certificates: places,
                proxies: Proxies::find(environment),
                ..Options::default()
            },
        })
    }

    /// What there is to know before anybody else is asked.
    pub(super) fn into_options(self) -> Options {
        self.options
    }

    /// The image that `reference` names, at its mirrors and its registry.
    pub(super) fn remote(&self, reference: &Reference) -> Result<Remote> {
        Ok(Remote::new(reference.clone(), self.clients(reference, Purpose::Pull)?))
    }

    /// The registry of `reference` itself.
    pub(super) fn at_home(&self, reference: &Reference) -> Result<Client> {
        let mut clients = self.clients(reference, Purpose::Push)?;
        Ok(clients.pop().expect("the registry itself is always among them"))
    }

    /// Refuses to give a password to several registries, of which one at most is meant.
    pub(super) fn check_given(&self, asked: usize, operation: &str) -> Result<()> {
        match &self.given {
            Some(_) if asked > 1 => {
                let reason =
                    format!("it names no registry, and the password of `--creds` is not for all {asked}");
                Err(Error::new(Kind::Invalid, operation, reason)
                    .with_hint("write the registry before the name"))
            }
            _ => Ok(()),
        }
    }

    /// Whom to ask for `reference`, in order: its mirrors, where it is to be read, and its registry at the end.
    fn clients(&self, reference: &Reference, purpose: Purpose) -> Result<Vec<Client>> {
        let endpoints = self.configuration.endpoints(reference, purpose, self.verify)?;
        let mirrors = endpoints.len() - 1;
        let asked = endpoints.into_iter().enumerate();
        asked
            .map(|(number, endpoint)| match number < mirrors {
                true => self.mirror(endpoint),
                false => self.client(endpoint),
            })
            .collect()
    }

    /// The registry itself, whatever repository.
    pub(super) fn endpoint(&self, name: &str) -> Result<Endpoint> {
        self.configuration.registry(name, self.verify)
    }

    /// The registry itself, for somebody.
    pub(super) fn registry_for(&self, name: &str, credentials: Credentials) -> Result<Client> {
        Ok(Client::new(self.endpoint(name)?, Some(credentials), self.options.clone()))
    }

    /// The registry that the caller means: what he gave is for it.
    pub(super) fn client(&self, endpoint: Endpoint) -> Result<Client> {
        match &self.given {
            Some(given) => Ok(Client::new(endpoint, Some(given.clone()), self.options.clone())),
            None => self.mirror(endpoint),
        }
    }

    /// One that the caller does not know of: what he gave is not for it.
    fn mirror(&self, endpoint: Endpoint) -> Result<Client> {
        let credentials = self.logins.look_up(&endpoint.registry, &endpoint.repository)?;
        Ok(Client::new(endpoint, credentials, self.options.clone()))
    }
}

fn parse_credentials(text: &str) -> Result<Credentials> {
    let (username, password) = text.split_once(':').ok_or_else(|| {
        Error::new(Kind::Invalid, "--creds", "it has no `:`")
            .with_hint("write `USER:PASSWORD`; at a terminal, the password of `USER` alone is asked for")
    })?;
    Ok(Credentials::Password { username: username.to_owned(), password: password.to_owned() })
}
