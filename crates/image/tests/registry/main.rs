//! The client against registries on loopback: one that lies, and Debian's own.

mod hostile;
mod liar;
mod pushes;
mod real;
mod tls;
mod tokens;

use std::path::PathBuf;
use std::time::Duration;

use image::documents::{Descriptor, media_type};
use image::registry::{Client, Credentials, Endpoint, Options, Security, Waits};
use image::{Digest, Error, Kind};

/// A new directory. Its name is random: other pid namespaces have the same `/tmp`, and the same pids.
fn temporary_directory() -> PathBuf {
    let random = u64::from_ne_bytes(sys::random::bytes().expect("random bytes"));
    let path = std::env::temp_dir().join(format!("rabbitc-registry-{random:016x}"));
    std::fs::create_dir(&path).expect("a temporary directory");
    path
}

/// Waits that let a test end.
fn options() -> Options {
    let waits = Waits {
        stall: Duration::from_secs(10),
        answer: Duration::from_secs(20),
        slow: Duration::from_secs(10),
        least: 4096,
        back_off: Duration::from_millis(5),
        longest: Duration::from_secs(3),
        attempts: 4,
    };
    Options { waits, ..Options::default() }
}

fn endpoint(host: &str) -> Endpoint {
    Endpoint { registry: host.to_owned(), repository: "team/app".to_owned(), security: Security::Any }
}

fn client(host: &str) -> Client {
    Client::new(endpoint(host), None, options())
}

/// One that soon gives up who says nothing.
fn impatient(host: &str) -> Client {
    let mut options = options();
    options.waits.stall = Duration::from_millis(400);
    options.waits.slow = Duration::from_millis(400);
    Client::new(endpoint(host), Some(password("me", "secret")), options)
}

fn client_of(host: &str, credentials: Credentials) -> Client {
    Client::new(endpoint(host), Some(credentials), options())
}

fn password(username: &str, password: &str) -> Credentials {
    Credentials::Password { username: username.to_owned(), password: password.to_owned() }
}

fn descriptor(content: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type::LAYER.to_owned(),
        digest: Digest::of(content),
        size: content.len() as u64,
        urls: None,
        annotations: None,
        platform: None,
    }
}

/// Bytes that nothing compresses and no two of which could be mixed up unseen.
fn content(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(next).collect()
}

/// All of a blob, which must be what its digest says.
fn read(client: &Client, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut blob = client.blob(descriptor)?;
    match std::io::Read::read_to_end(&mut blob, &mut bytes) {
        Ok(_) if Digest::of(&bytes) == descriptor.digest => Ok(bytes),
        Ok(_) => Err(Error::new(Kind::Corrupt, "read", "it is not what its digest says")),
        Err(error) => {
            let again = std::io::Read::read(&mut blob, &mut [0; 16]);
            assert!(again.is_err(), "an error is no end, however often one reads on");
            Err(Error::from_io("read", error))
        }
    }
}
