//! What all verbs that speak to registries are told of them.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};
use engine::{ImageStore, RegistryAccess, Result, TlsVerify};

use super::ask::{Echo, ask};

/// Flags of all of them.
#[derive(Debug, Args)]
pub(crate) struct RegistryArguments {
    /// The file with credentials, in the place of those of docker and podman [default: $REGISTRY_AUTH_FILE]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// A directory with certificates: `*.crt` of authorities, `*.cert` and `*.key` for those that want to see one
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Whether registries must speak TLS, with a certificate that this host trusts [default: as registries.conf says; on
    /// this host's own loopback they need not]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = ArgAction::Set)]
    tls_verify: Option<bool>,
}

/// The same, and as whom one of them is asked.
#[derive(Debug, Args)]
pub(crate) struct AccessArguments {
    /// Name and password for the registry, in the place of what `rabbitc login` and others wrote; for a name alone, the password is
    /// asked for at a terminal
    #[arg(long, value_name = "USER[:PASSWORD]")]
    creds: Option<String>,
    #[command(flatten)]
    registries: RegistryArguments,
}

impl AccessArguments {
    /// What they mean; for `USER` alone the password is asked for, as podman does.
    pub(super) fn access(&self) -> Result<RegistryAccess> {
        let credentials = match &self.creds {
            Some(user) if is_asked_for(user) => Some(format!("{user}:{}", ask("Password: ", Echo::Hidden)?)),
            given => given.clone(),
        };
        Ok(RegistryAccess { credentials, ..self.registries.access() })
    }

    /// What was given of a registry's.
    pub(super) fn credentials(&self) -> Option<&str> {
        self.creds.as_deref()
    }

    /// Whether [`AccessArguments::access`] asks on the terminal.
    pub(super) fn asks(&self) -> bool {
        said(&self.creds).is_some_and(is_asked_for)
    }

    /// The first of them that was given and that says more than what happens without it.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        said(&self.creds).map(|_| "--creds").or_else(|| self.registries.first_given())
    }

    /// As words for another command of this program.
    pub(super) fn words(&self) -> impl Iterator<Item = OsString> {
        let credentials = said(&self.creds).map(|credentials| format!("--creds={credentials}").into());
        credentials.into_iter().chain(self.registries.words())
    }
}

/// Docker's empty value is as if the flag were not there.
pub(super) fn said(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|text| !text.is_empty())
}

impl RegistryArguments {
    /// What they mean.
    pub(super) fn access(&self) -> RegistryAccess {
        RegistryAccess {
            certificates: self.cert_dir.clone(),
            verify: match self.tls_verify {
                None => TlsVerify::AsConfigured,
                Some(true) => TlsVerify::Always,
                Some(false) => TlsVerify::Never,
            },
            ..access(self.authfile.as_deref())
        }
    }

    /// The first of them that was given and that says more than what happens without it.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("--authfile", self.authfile.is_some()),
            ("--cert-dir", self.cert_dir.is_some()),
            ("--tls-verify", self.tls_verify == Some(false)),
        ];
        given.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
    }

    /// As words for another command of this program.
    pub(super) fn words(&self) -> impl Iterator<Item = OsString> {
        let paths = [("--authfile=", &self.authfile), ("--cert-dir=", &self.cert_dir)];
        let paths = paths.into_iter().filter_map(|(flag, path)| {
            let mut word = OsString::from(flag);
            word.push(path.as_ref()?);
            Some(word)
        });
        paths.chain(self.tls_verify.map(|verify| format!("--tls-verify={verify}").into()))
    }
}

/// Whether the password for what `--creds` says is asked for. Without a terminal it is refused later.
pub(super) fn is_asked_for(credentials: &str) -> bool {
    !credentials.contains(':') && std::io::stdin().is_terminal()
}

/// Registries as they are asked where nobody says anything of them but, perhaps, which file has the credentials.
pub(crate) fn access(authfile: Option<&Path>) -> RegistryAccess {
    RegistryAccess {
        authfile: authfile.map(Path::to_owned),
        environment: std::env::vars_os().collect(),
        ..RegistryAccess::default()
    }
}

/// The images below `root`, or where they are without a word, by the names that they have for the caller.
pub(crate) fn open(root: Option<&Path>) -> Result<ImageStore> {
    Ok(ImageStore::open(root)?.with_environment(std::env::vars_os().collect()))
}

/// The same for somebody who removes or repairs.
pub(crate) fn open_to_change(root: Option<&Path>) -> Result<ImageStore> {
    Ok(ImageStore::open_to_change(root)?.with_environment(std::env::vars_os().collect()))
}

/// The same for somebody who only looks at them.
pub(crate) fn open_to_read(root: Option<&Path>) -> Result<ImageStore> {
    Ok(ImageStore::open_to_read(root)?.with_environment(std::env::vars_os().collect()))
}
