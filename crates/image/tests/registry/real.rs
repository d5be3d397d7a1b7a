//! Debian's registry (package docker-registry): plain, with passwords, and with TLS by an authority of the test's own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use image::documents::{Descriptor, Document, media_type};

use image::registry::{CertificatePlaces, Client, Credentials, Endpoint, Options, Security, Uploaded};
use image::{Digest, Kind};

use super::{content, descriptor, password, read, temporary_directory};

/// `rabbit` with the password `carrot`, by htpasswd's bcrypt.
const HTPASSWD: &str = "rabbit:$2b$05$abcdefghijklmnopqrstuub9qrLG6.Z4LOuGlJ8Mi2PEoB57M2yVe\n";

struct Registry {
    process: Child,
    directory: PathBuf,
    host: String,
}

impl Registry {
    /// Nothing where it is not installed; `http` are more lines below `http:` of its configuration.
    fn start(http: &str, auth: &str, prepare: impl FnOnce(&Path)) -> Option<Registry> {
        if !are_here(&["docker-registry", "openssl"]) {
            return None;
        }
        let directory = temporary_directory();
        prepare(&directory);
        let address = TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
        let at = directory.display();
        let http = http.replace("@", &at.to_string());
        let auth = auth.replace("@", &at.to_string());
        let configuration = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {at}/data}}}}\n\
             http:\n  addr: {address}\n  secret: test\n{http}{auth}"
        );
        fs::write(directory.join("config.yml"), configuration).expect("own directory");
        let log = fs::File::create(directory.join("log")).expect("own directory");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(directory.join("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("it is installed");
        let registry = Registry { process, directory, host: address.to_string() };
        let limit = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            let log = fs::read_to_string(registry.directory.join("log")).unwrap_or_default();
            assert!(Instant::now() < limit, "the registry does not listen: {log}");
            thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    fn client(&self, repository: &str, security: Security, credentials: Option<Credentials>) -> Client {
        self.client_with(repository, security, credentials, Options::default())
    }

    fn client_with(
        &self,
        repository: &str,
        security: Security,
        credentials: Option<Credentials>,
        mut options: Options,
    ) -> Client {
        options.certificates = CertificatePlaces {
            bundles: Vec::new(),
            directories: vec![self.directory.join("certs.d")],
            of_any_registry: None,
        };
        let endpoint = Endpoint { registry: self.host.clone(), repository: repository.to_owned(), security };
        Client::new(endpoint, credentials, options)
    }

    /// Puts files where an administrator would.
    fn vouch(&self, names: &[(&str, &str)]) {
        let directory = self.directory.join("certs.d").join(&self.host);
        fs::create_dir_all(&directory).expect("own directory");
        for (from, to) in names {
            fs::copy(self.directory.join(from), directory.join(to)).expect("own files");
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has said then.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
        let _best_effort = fs::remove_dir_all(&self.directory);
    }
}

/// An image of two layers: its blobs and its manifest.
fn image() -> (Vec<Vec<u8>>, Vec<u8>) {
    let (config, small, large) = (b"{\"rootfs\": {}}".to_vec(), content(700), content(3_000_000));
    let one = |kind: &str, bytes: &[u8]| {
        let found = Descriptor { media_type: kind.to_owned(), ..descriptor(bytes) };
        serde_json::to_value(found).expect("plain data")
    };
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "config": one(media_type::CONFIG, &config),
        "layers": [one(media_type::LAYER, &small), one(media_type::LAYER, &large)],
    });
    (vec![config, small, large], serde_json::to_vec_pretty(&manifest).expect("plain data"))
}

/// Pushes an image and pulls it back.
fn push_and_pull(client: &Client) {
    let (blobs, manifest) = image();
    for blob in &blobs {
        let pushed = client.push_blob(&descriptor(blob), None, || Ok(&blob[..])).expect("taken");
        assert_eq!(pushed, Uploaded::Sent);
        let again = client.push_blob(&descriptor(blob), None, || Ok(&blob[..])).expect("there");
        assert_eq!(again, Uploaded::Existed);
    }
    let digest = client.put_manifest("1.0", media_type::MANIFEST, &manifest).expect("taken");
    assert_eq!(client.tags().expect("one"), ["1.0"]);
    assert_eq!(client.digest_of("1.0").expect("there"), Some(digest.clone()));
    assert_eq!(client.digest_of("2.0").expect("answered"), None);
    for wanted in ["1.0", &digest.to_string()] {
        let fetched = client.manifest(wanted).expect("there");
        assert_eq!((&fetched.bytes, &fetched.digest), (&manifest, &digest));
        let document = Document::parse(&fetched.bytes, fetched.media_type.as_deref(), "pull").expect("legal");
        let Document::Manifest(document) = document else { panic!("one image") };
        for (descriptor, blob) in std::iter::once(&document.config).chain(&document.layers).zip(&blobs) {
            assert_eq!(&read(client, descriptor).expect("there"), blob);
        }
    }
}

#[test]
fn image_is_pushed_and_pulled_back_byte_for_byte() {
    let Some(registry) = Registry::start("", "", |_| {}) else { return };
    let client = registry.client("team/app", Security::Any, None);
    push_and_pull(&client);
    let (blobs, _) = image();

    let mounting = registry.client("team/other", Security::Any, None);
    let pushed = mounting.push_blob(&descriptor(&blobs[2]), Some("team/app"), || Ok(&blobs[2][..]));
    assert_eq!(pushed.expect("from the first repository"), Uploaded::Mounted);
    let pushed = mounting.push_blob(&descriptor(&blobs[1]), Some("team/none"), || Ok(&blobs[1][..]));
    assert_eq!(pushed.expect("the other has none"), Uploaded::Sent);
    let in_pieces = Options { chunk: Some(1_000_000), ..Options::default() };
    let third = registry.client_with("team/third", Security::Any, None, in_pieces);
    third.push_blob(&descriptor(&blobs[2]), None, || Ok(&blobs[2][..])).expect("in three pieces");
    assert_eq!(read(&third, &descriptor(&blobs[2])).expect("there"), blobs[2]);

    let error = client.manifest("2.0").expect_err("no such tag");
    assert_eq!(error.kind, Kind::NotFound);
    assert!(error.reason.contains("manifest unknown"), "{error}");
    let absent = descriptor(b"absent");
    assert!(!client.has(&absent).expect("answered"));
    assert_eq!(client.blob(&absent).expect_err("no such blob").kind, Kind::NotFound);
    let mut lie = descriptor(b"abc");
    lie.digest = Digest::of(b"abd");
    let error = client.push_blob(&lie, None, || Ok(&b"abc"[..])).expect_err("another digest");
    assert!(error.kind == Kind::Invalid && error.reason.contains("digest"), "{error:?}");
}

#[test]
fn password_is_asked_for_and_shown() {
    let auth = "auth: {htpasswd: {realm: test, path: @/htpasswd}}\n";
    let prepare = |directory: &Path| fs::write(directory.join("htpasswd"), HTPASSWD).expect("own directory");
    let Some(registry) = Registry::start("", auth, prepare) else { return };
    let of = |credentials| registry.client("team/app", Security::Any, credentials);
    push_and_pull(&of(Some(password("rabbit", "carrot"))));
    of(Some(password("rabbit", "carrot"))).log_in().expect("right");
    for wrong in [None, Some(password("rabbit", "turnip"))] {
        let client = of(wrong);
        assert_eq!(client.log_in().expect_err("wrong").kind, Kind::Unauthorized);
        let error = client.manifest("1.0").expect_err("wrong");
        assert!(error.reason.contains("401: authentication required"), "{error}");
    }
}

#[test]
fn certificate_is_good_if_somebody_trusted_vouches_for_it() {
    let tls = "  tls: {certificate: @/server.pem, key: @/server.key}\n";
    let Some(registry) = Registry::start(tls, "", make_certificates) else { return };
    let error = registry.client("team/app", Security::Verified, None).manifest("1").expect_err("by nobody");
    assert_eq!(error.kind, Kind::Remote);
    assert!(error.reason.contains("vouches"), "{error}");
    let place = format!("certs.d/{}/ca.crt", registry.host);
    assert!(error.hint.expect("says where").contains(&place));
    registry.client("team/any", Security::Any, None).log_in().expect("anybody's is good");
    registry.vouch(&[("ca.pem", "ca.crt")]);
    push_and_pull(&registry.client("team/app", Security::Verified, None));
}

#[test]
fn registry_that_wants_our_certificate_gets_it() {
    let tls = "  tls: {certificate: @/server.pem, key: @/server.key, clientcas: [@/ca.pem]}\n";
    let Some(registry) = Registry::start(tls, "", make_certificates) else { return };
    registry.vouch(&[("ca.pem", "ca.crt")]);
    registry.client("team/app", Security::Verified, None).log_in().expect_err("it wants one");
    registry.vouch(&[("client.pem", "client.cert"), ("server.key", "client.key")]);
    let error = registry.client("team/app", Security::Verified, None).log_in().expect_err("another key");
    assert!(error.reason.contains("does not go with its key"), "{error}");
    registry.vouch(&[("client.key", "client.key")]);
    registry.client("team/app", Security::Verified, None).log_in().expect("vouched for");
}

/// Whether programs are installed; it says which is not.
pub fn are_here(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing = |program: &&&str| !std::env::split_paths(&path).any(|place| place.join(program).is_file());
    let missing = programs.iter().find(missing);
    missing.iter().for_each(|program| println!("skipped: {program} is not here (package {program})"));
    missing.is_none()
}

/// An authority, `ca.pem`, and what it vouches for: a server on loopback and a client.
pub fn make_certificates(directory: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(directory)
            .output()
            .expect("it is installed");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    for (name, extension) in [
        ("server", "subjectAltName=IP:127.0.0.1,DNS:localhost\n"),
        ("client", "subjectAltName=DNS:client\nextendedKeyUsage=clientAuth\n"),
    ] {
        fs::write(directory.join("extension"), extension).expect("own directory");
        openssl(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extension -out {name}.pem"
        ));
    }
}
