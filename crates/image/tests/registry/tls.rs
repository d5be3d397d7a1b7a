//! Whom the client shows its certificate: servers that ask everybody for one, and take it that there is none.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use image::registry::{CertificatePlaces, Client, Endpoint, Security};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::real::{are_here, make_certificates};
use super::{descriptor, endpoint, options, read, temporary_directory};

struct Server {
    address: SocketAddr,
    /// Of each request, whether a certificate came with its connection.
    shown: Arc<Mutex<Vec<bool>>>,
}

impl Server {
    /// One that answers each request with these lines, in a connection of its own.
    fn start(certificates: &Path, answer: String) -> Server {
        let chain = |name: &str| {
            let found = CertificateDer::pem_file_iter(certificates.join(name)).expect("there");
            found.map(|one| one.expect("a certificate")).collect::<Vec<_>>()
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(chain("ca.pem"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let key = PrivateKeyDer::from_pem_file(certificates.join("server.key")).expect("a key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("its own")
            .with_client_cert_verifier(verifier.allow_unauthenticated().build().expect("an authority"))
            .with_single_cert(chain("server.pem"), key)
            .expect("a pair");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let shown = Arc::new(Mutex::new(Vec::new()));
        let all = shown.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = ServerConnection::new(config.clone()).expect("a legal configuration");
                let mut reader = BufReader::new(StreamOwned::new(connection, stream));
                let mut line = String::new();
                // A client that is gone is no news.
                while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
                    line.clear();
                }
                let stream = reader.get_mut();
                all.lock().expect("no panic").push(stream.conn.peer_certificates().is_some());
                let _gone = stream.write_all(answer.as_bytes());
                stream.conn.send_close_notify();
                let _gone = stream.flush();
            }
        });
        Server { address, shown }
    }

    fn shown(&self) -> Vec<bool> {
        self.shown.lock().expect("no panic").clone()
    }
}

#[test]
fn certificate_for_the_registry_is_shown_to_nobody_that_it_sends_us_to() {
    if !are_here(&["openssl"]) {
        return;
    }
    let directory = temporary_directory();
    make_certificates(&directory);
    let given = directory.join("given");
    fs::create_dir(&given).expect("own directory");
    for (from, to) in [("ca.pem", "ca.crt"), ("client.pem", "client.cert"), ("client.key", "client.key")] {
        fs::copy(directory.join(from), given.join(to)).expect("own files");
    }
    let head = "Connection: close\r\nContent-Length";
    let elsewhere = Server::start(&directory, format!("HTTP/1.1 200 OK\r\n{head}: 3\r\n\r\nabc"));
    let location = format!("Location: https://{}/blob", elsewhere.address);
    let registry = Server::start(
        &directory,
        format!("HTTP/1.1 307 Temporary Redirect\r\n{location}\r\n{head}: 0\r\n\r\n"),
    );
    let endpoint = Endpoint { security: Security::Verified, ..endpoint(&registry.address.to_string()) };
    let mut options = options();
    options.certificates =
        CertificatePlaces { bundles: Vec::new(), directories: Vec::new(), of_any_registry: Some(given) };
    let client = Client::new(endpoint, None, options);
    let blob = read(&client, &descriptor(b"abc"));
    fs::remove_dir_all(&directory).expect("own directory");
    assert_eq!(blob.expect("the authority vouches for both"), b"abc");
    assert_eq!(registry.shown(), [true]);
    assert_eq!(elsewhere.shown(), [false]);
}
