//! Registries: whom to ask for a name, as whom, and how (distribution-spec 1.1). Reads no environment: the caller says where
//! the files of the user and of the host are. Must not know where images are kept.

pub mod client;
pub mod configuration;
pub mod credentials;
mod push;
mod source;

pub use self::client::{
    Blob, CertificatePlaces, Client, Fetched, Options, Proxies, SearchResult, Uploaded, Waits,
};
pub use self::configuration::{Configuration, Endpoint, Purpose, Security, TlsVerify};
pub use self::credentials::Credentials;
pub use self::push::{PushOptions, push};
pub use self::source::Remote;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::reference::DOCKER_IO;

/// Where `docker.io` is spoken to.
const DOCKER_HOST: &str = "registry-1.docker.io";

/// The most bytes of a file of settings or credentials.
const MOST_FILE_BYTES: u64 = 1 << 20;

/// The whole of a file of settings; nothing where there is none.
fn read_settings(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(Error::at_path("read", path, error)),
    };
    let mut bytes = Vec::new();
    file.take(MOST_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::at_path("read", path, error))?;
    if bytes.len() as u64 > MOST_FILE_BYTES {
        let reason = format!("it is longer than {} MiB", MOST_FILE_BYTES >> 20);
        return Err(Error::new(Kind::TooMuch, format!("read `{}`", path.display()), reason));
    }
    Ok(Some(bytes))
}

/// The name by which everybody knows a registry: Docker's own has several.
fn known_name(registry: &str) -> &str {
    match registry {
        "index.docker.io" | DOCKER_HOST => DOCKER_IO,
        other => other,
    }
}

#[cfg(test)]
mod scratch {
    //! A directory for one test.

    use std::fs;
    use std::path::{Path, PathBuf};

    pub(crate) struct Scratch(PathBuf);

    impl Scratch {
        pub(crate) fn new() -> Scratch {
            Scratch(crate::scratch::directory("image"))
        }

        pub(crate) fn path(&self) -> &Path {
            &self.0
        }

        pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().expect("below the scratch directory")).expect("own directory");
            fs::write(&path, text).expect("own directory");
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).expect("own directory");
        }
    }
}
