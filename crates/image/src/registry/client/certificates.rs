//! Who is trusted to vouch for registries: the host's own authorities, and those that an administrator has put beside a
//! registry's name, as docker and podman have it (containers-certs.d(5)). No list is built in: it would grow old in a static
//! program, and an administrator could not take one out of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, parse_pem};

use crate::error::{Error, Kind, Result};
use crate::registry::read_settings;

/// Where certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatePlaces {
    /// Files with all authorities of the host, of which the first that is there counts.
    pub bundles: Vec<PathBuf>,
    /// Directories with a directory for each registry: `*.crt` are authorities, `*.cert` and `*.key` what we show.
    pub directories: Vec<PathBuf>,
    /// A directory of the same kind of files, for whatever registry (`--cert-dir`). What we show is for the registry alone, and
    /// for nobody that it sends us to.
    pub of_any_registry: Option<PathBuf>,
}

impl Default for CertificatePlaces {
    fn default() -> CertificatePlaces {
        // Debian, Fedora, openSUSE, Alpine.
        let bundles = [
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/pki/tls/certs/ca-bundle.crt",
            "/etc/ssl/ca-bundle.pem",
            "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
            "/etc/ssl/cert.pem",
        ];
        let directories = ["/etc/containers/certs.d", "/etc/docker/certs.d"];
        CertificatePlaces {
            bundles: bundles.map(PathBuf::from).into(),
            directories: directories.map(PathBuf::from).into(),
            of_any_registry: None,
        }
    }
}

impl CertificatePlaces {
    /// The usual places, with `SSL_CERT_FILE` and the user's own directory by the variables of the caller.
    pub fn find(environment: &[(OsString, OsString)]) -> CertificatePlaces {
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, value)| key == name && !value.is_empty());
            found.map(|(_, value)| PathBuf::from(value))
        };
        let mut places = CertificatePlaces::default();
        if let Some(bundle) = variable("SSL_CERT_FILE") {
            places.bundles = vec![bundle];
        }
        let user = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
        places.directories.splice(0..0, user.map(|user| user.join("containers/certs.d")));
        places
    }

    /// The host's own authorities; none where it has no file of them.
    pub(super) fn roots(&self) -> Result<Vec<Certificate<'static>>> {
        for path in &self.bundles {
            if let Some(bytes) = read_settings(path)? {
                return Ok(authorities(&bytes));
            }
        }
        Ok(Vec::new())
    }

    /// What an administrator has put beside one of the names of whoever is spoken to.
    pub(super) fn of_registry(
        &self,
        whose: Whose,
        names: &[&str],
        provider: &CryptoProvider,
    ) -> Result<OfRegistry> {
        let mut found = OfRegistry::default();
        if let Some(directory) = &self.of_any_registry {
            found.add(directory, provider)?;
            found.own = found.own.filter(|_| whose == Whose::Registry);
        }
        for directory in &self.directories {
            for name in names {
                found.add(&directory.join(name), provider)?;
            }
        }
        Ok(found)
    }
}

/// Who is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The registry itself.
    Registry,
    /// Whoever it sends us to, or names as its token server.
    Another,
}

/// What is there for one registry alone.
#[derive(Default)]
pub(super) struct OfRegistry {
    pub(super) authorities: Vec<Certificate<'static>>,
    pub(super) own: Option<ClientCert>,
}

impl OfRegistry {
    fn add(&mut self, directory: &Path, provider: &CryptoProvider) -> Result<()> {
        let failed = |error| Error::at_path("list", directory, error);
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let mut paths: Vec<PathBuf> =
            entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>().map_err(failed)?;
        paths.sort();
        for path in paths {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => {
                    let found = authorities(&read_settings(&path)?.unwrap_or_default());
                    if found.is_empty() {
                        return Err(unusable(&path, "there is no certificate in it"));
                    }
                    self.authorities.extend(found);
                }
                Some("cert") if self.own.is_none() => self.own = Some(own(&path, provider)?),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The certificates of a file, without what else is in it.
fn authorities(pem: &[u8]) -> Vec<Certificate<'static>> {
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    };
    parse_pem(pem).filter_map(certificate).collect()
}

/// What we show a registry: `NAME.cert` with `NAME.key`.
fn own(path: &Path, provider: &CryptoProvider) -> Result<ClientCert> {
    let chain = authorities(&read_settings(path)?.unwrap_or_default());
    let key_path = path.with_extension("key");
    let Some(key) = read_settings(&key_path)? else {
        return Err(unusable(path, &format!("`{}` is missing beside it", key_path.display())));
    };
    // The connection would take it for granted that both are good, so that is found out here.
    let der =
        PrivateKeyDer::from_pem_slice(&key).map_err(|_| unusable(&key_path, "there is no key in it"))?;
    let chain_of_rustls = chain.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
    CertifiedKey::from_der(chain_of_rustls, der, provider)
        .map_err(|error| unusable(path, &format!("it does not go with its key: {error}")))?;
    let key = PrivateKey::from_pem(&key).map_err(|_| unusable(&key_path, "there is no key in it"))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

fn unusable(path: &Path, reason: &str) -> Error {
    Error::new(Kind::Invalid, format!("use `{}` for a registry", path.display()), reason)
}

/// The one place that says whose cryptography it is.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
