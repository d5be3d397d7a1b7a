//! A registry that lies: a server of the test's own on the loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;
use crate::digest::Digest;
use crate::documents::Descriptor;
use crate::store::Source;

/// At the end of an answer behind which the connection is closed; it is not sent.
const CUT: &[u8] = b"CUT";

/// Answers each request by what `answer` says for its line and headers; all requests are kept.
struct Server {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answer: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                std::thread::spawn(move || serve(stream, &*answer, &log));
            }
        });
        Server { address, seen }
    }

    fn remote(&self) -> Remote {
        let reference: Reference = format!("{}/team/app:v1", self.address).parse().expect("legal");
        let credentials = Credentials::parse("user:secret-word");
        let options = Options {
            stall: Duration::from_millis(300),
            pause: Duration::from_millis(10),
            ..Options::default()
        };
        let client = Client::new(&reference, credentials, options).expect("made");
        self.seen.lock().expect("whole").clear();
        Remote::new(client, reference, "pull")
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("whole").clone()
    }
}

fn serve(stream: TcpStream, answer: &dyn Fn(&str, usize) -> Vec<u8>, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("copied"));
    let mut stream = stream;
    loop {
        let mut request = String::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => request.push_str(&line),
            }
        }
        let number = {
            let mut log = log.lock().expect("whole");
            log.push(request.clone());
            log.len()
        };
        if request.starts_with("GET /v2/ ") {
            if stream.write_all(&reply("200 OK", &[], b"{}")).is_err() {
                return;
            }
            continue;
        }
        let answer = answer(&request, number);
        let cut = answer.strip_suffix(CUT);
        if stream.write_all(cut.unwrap_or(&answer)).is_err() || answer.is_empty() || cut.is_some() {
            return;
        }
    }
}

fn reply(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn blob(content: &[u8]) -> Descriptor {
    let (media_type, size) = ("application/octet-stream".to_owned(), content.len() as u64);
    Descriptor {
        media_type,
        digest: Digest::of(content),
        size,
        urls: None,
        annotations: None,
        platform: None,
    }
}

fn read(remote: &Remote, descriptor: &Descriptor) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut body = remote.blob(descriptor).map_err(|error| error.to_string())?;
    body.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[test]
fn manifest_comes_with_its_type_and_a_token_is_fetched_once() {
    let server = Server::new(|request, _| match request {
        _ if request.starts_with("GET /token?") => {
            reply("200 OK", &[], br#"{"token": "good", "expires_in": 300}"#)
        }
        _ if request.contains("uthorization: Bearer good") => {
            reply("200 OK", &["Content-Type: application/vnd.oci.image.manifest.v1+json"], b"{}")
        }
        _ => {
            let host =
                request.lines().find_map(|line| line.strip_prefix("host: ").or(line.strip_prefix("Host: ")));
            let asked = format!(
                r#"WWW-Authenticate: Bearer realm="http://{}/token",service="the registry",scope="repository:team/app:pull""#,
                host.unwrap_or_default()
            );
            reply("401 Unauthorized", &[&asked], b"")
        }
    });
    let remote = server.remote();
    for _ in 0..2 {
        let (text, kind) = remote.named().expect("an answer");
        assert_eq!(
            (&text[..], kind.as_deref()),
            (&b"{}"[..], Some("application/vnd.oci.image.manifest.v1+json"))
        );
    }
    let seen = server.seen();
    let tokens: Vec<&String> = seen.iter().filter(|request| request.contains("/token?")).collect();
    assert_eq!(tokens.len(), 1, "{seen:?}");
    assert!(tokens[0].contains("scope=repository%3Ateam%2Fapp%3Apull&service=the%20registry"), "{tokens:?}");
    assert!(tokens[0].contains("Basic dXNlcjpzZWNyZXQtd29yZA=="), "{tokens:?}");
}

#[test]
fn who_is_not_known_is_told_to_log_in_and_asked_once() {
    let server = Server::new(|_, _| {
        reply(
            "401 Unauthorized",
            &["WWW-Authenticate: Basic realm=x"],
            br#"{"errors": [{"code": "X", "message": "who are you"}]}"#,
        )
    });
    let error = server.remote().named().expect_err("refused");
    assert_eq!(error.kind, Kind::Unauthorized);
    assert!(error.to_string().contains("401 Unauthorized: who are you") && error.hint.is_some(), "{error}");
    assert_eq!(server.seen().len(), 2);
    let server =
        Server::new(|_, _| reply("404 Not Found", &[], br#"{"errors": [{"code": "MANIFEST_UNKNOWN"}]}"#));
    let error = server.remote().named().expect_err("refused");
    assert!(error.kind == Kind::NotFound && error.to_string().contains("MANIFEST_UNKNOWN"), "{error}");
}

#[test]
fn credentials_go_to_no_other_host_and_redirects_end() {
    let other = Server::new(|_, _| reply("200 OK", &[], b"elsewhere"));
    let place = other.address.clone();
    let server = Server::new(move |request, _| match request {
        _ if request.contains("Basic dXNlcjpzZWNyZXQtd29yZA==") => {
            reply("307 Temporary Redirect", &[&format!("Location: http://{place}/blob")], b"")
        }
        _ => reply("401 Unauthorized", &["WWW-Authenticate: Basic realm=x"], b""),
    });
    assert_eq!(read(&server.remote(), &blob(b"elsewhere")), Ok(b"elsewhere".to_vec()));
    let seen = other.seen();
    assert!(seen.len() == 1 && !seen[0].to_lowercase().contains("authorization"), "{seen:?}");
    let circle = Server::new(|_, _| reply("302 Found", &["Location: /v2/again"], b""));
    let error = read(&circle.remote(), &blob(b"x")).expect_err("no end");
    assert!(error.contains("more than 10 times") && circle.seen().len() == 11, "{error}");
    assert_eq!(redirected("https://a/b", "http://a/b"), Err("from TLS to plain HTTP"));
    assert_eq!(redirected("https://a:5/b", "/c?d").as_deref(), Ok("https://a:5/c?d"));
    assert!(redirected("https://a", "file:///etc/passwd").is_err() && redirected("https://a", "").is_err());
}

#[test]
fn blob_that_breaks_off_is_taken_up_where_it_ended() {
    const WHOLE: &[u8] = b"0123456789abcdefghij";
    let server = Server::new(|request, number| {
        let from = request
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
        let from: usize = from.and_then(|from| from.trim_end_matches('-').parse().ok()).unwrap_or(0);
        let status = if from == 0 { "200 OK" } else { "206 Partial Content" };
        let range = format!("Content-Range: bytes {from}-19/20");
        let whole = reply(status, &[&range], &WHOLE[from..]);
        // Seven bytes of what is left.
        let end = whole.len() - (WHOLE.len() - from) + 7;
        if number < 3 { [&whole[..end], CUT].concat() } else { whole }
    });
    assert_eq!(read(&server.remote(), &blob(WHOLE)), Ok(WHOLE.to_vec()));
    assert_eq!(server.seen().len(), 3);
    let stubborn = Server::new(|_, _| [&reply("200 OK", &[], WHOLE)[..45], CUT].concat());
    let error = read(&stubborn.remote(), &blob(WHOLE)).expect_err("it begins anew each time");
    assert!(error.contains("only begins anew"), "{error}");
}

#[test]
fn refusals_that_pass_are_met_again_and_silence_ends() {
    let server = Server::new(|_, number| match number {
        1 => reply("503 Service Unavailable", &[], b""),
        2 => reply("429 Too Many Requests", &["Retry-After: 0"], b""),
        _ => reply("200 OK", &[], b"at last"),
    });
    assert_eq!(read(&server.remote(), &blob(b"at last")), Ok(b"at last".to_vec()));
    let server = Server::new(|_, _| reply("500 Internal Server Error", &[], b"<html>"));
    let error = server.remote().named().expect_err("never");
    assert!(error.kind == Kind::Remote && error.to_string().contains("500"), "{error}");
    assert_eq!(server.seen().len(), MOST_ATTEMPTS as usize);
    let server = Server::new(|_, _| {
        std::thread::sleep(Duration::from_secs(2));
        Vec::new()
    });
    let error = server.remote().named().expect_err("silence");
    assert!(error.kind == Kind::Remote && error.to_string().contains("says nothing"), "{error}");
}

#[test]
fn answers_without_end_are_cut_off() {
    let server =
        Server::new(|_, _| reply("200 OK", &[], &vec![b' '; crate::documents::MOST_MANIFEST_BYTES + 1]));
    assert_eq!(server.remote().named().expect_err("too long").kind, Kind::TooMuch);
}

#[test]
fn loopback_is_told_from_names_that_look_like_it() {
    for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:80"] {
        assert!(is_loopback(host), "{host}");
    }
    for host in ["localhost.example", "127.0.0.1.example", "10.0.0.1", "[::2]", ""] {
        assert!(!is_loopback(host), "{host}");
    }
}
