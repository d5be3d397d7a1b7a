//! Archives that other hosts have, for `load` and `import`. What comes is read like a file: nobody knows how long it is, or whether it
//! is one.

use std::fs::File;
use std::io::Seek;

use image::registry::Client;

use super::registries::Registries;
use super::{ImageStore, RegistryAccess};
use crate::error::{Error, Result, from_image};

/// Whether a word stands for something of another host.
pub fn is_address(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

impl ImageStore {
    /// Fetches what is at an address of HTTP, into a file without a name beside the images; `access` says of which certificates and
    /// proxies.
    pub fn fetch(&self, address: &str, access: &RegistryAccess) -> Result<File> {
        let operation = format!("fetch `{}`", address.escape_debug());
        let options = Registries::new(access).map_err(from_image)?.into_options();
        let mut page = Client::page(address, options, &operation).map_err(from_image)?;
        let mut file = self.store.spool().map_err(from_image)?;
        let copied = std::io::copy(&mut page, &mut file).and_then(|_| file.rewind());
        copied.map_err(|error| Error::system(operation, error))?;
        Ok(file)
    }
}
