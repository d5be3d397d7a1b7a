//! A server of tokens (distribution, "Token Authentication"): it gives `rabbit` with the password `carrot` whatever is asked
//! for, and remembers what that was.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::Host;

/// `rabbit:carrot` in base64.
const KNOWN: &str = "Basic cmFiYml0OmNhcnJvdA==";

pub struct TokenServer {
    asked: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
}

impl TokenServer {
    /// At 127.0.0.1:5080 of the host, with the key and the certificate that are in its directory.
    pub fn start(host: &Host) -> TokenServer {
        let (asked, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let namespace =
            std::fs::File::open(format!("/proc/{}/ns/net", host.pid())).expect("the holder lives");
        let (keys, log, end) = (host.directory().join("keys"), asked.clone(), ended.clone());
        let (ready, is_ready) = mpsc::channel();
        // The thread is in the host's network, and with it what it listens on.
        std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may");
            drop(namespace);
            let listener = TcpListener::bind("127.0.0.1:5080").expect("nobody else is there");
            listener.set_nonblocking(true).expect("it can");
            ready.send(()).expect("somebody waits");
            while !end.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => serve(&stream, &keys, &log),
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        is_ready.recv().expect("it listens");
        TokenServer { asked, ended }
    }

    /// What was asked for since it was forgotten last.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }

    pub fn forget(&self) {
        self.asked.lock().expect("no panic").clear();
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn serve(mut stream: &TcpStream, keys: &Path, asked: &Mutex<Vec<String>>) {
    stream.set_nonblocking(false).expect("it can");
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let is_known = headers.iter().any(|header| {
        header
            .split_once(": ")
            .is_some_and(|(name, value)| name.eq_ignore_ascii_case("authorization") && value == KNOWN)
    });
    let (status, body) = match is_known {
        false => ("401 Unauthorized", r#"{"details": "incorrect username or password"}"#.to_owned()),
        true => {
            let path = request.split(' ').nth(1).unwrap_or_default();
            let query = path.split_once('?').map_or("", |(_, query)| query);
            let scopes: Vec<String> =
                query.split('&').filter_map(|pair| pair.strip_prefix("scope=")).map(decoded).collect();
            if !scopes.is_empty() {
                asked.lock().expect("no panic").push(scopes.join(" "));
            }
            ("200 OK", format!(r#"{{"token": "{}", "expires_in": 300}}"#, token(keys, &scopes)))
        }
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // Who has gone away gets none.
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

fn decoded(text: &str) -> String {
    ["%3A:", "%2F/", "%2C,", "%2A*"]
        .iter()
        .fold(text.to_owned(), |text, pair| text.replace(&pair[..3], &pair[3..]))
}

/// A JSON Web Token, signed with the key of the certificate that it has in it.
fn token(keys: &Path, scopes: &[String]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let access = scopes.iter().filter_map(|scope| {
        let (rest, actions) = scope.rsplit_once(':')?;
        let (kind, name) = rest.split_once(':')?;
        let actions: Vec<&str> = actions.split(',').collect();
        Some(serde_json::json!({"type": kind, "name": name, "actions": actions}))
    });
    let pem = std::fs::read_to_string(keys.join("token.pem")).expect("made");
    let certificate: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let header = serde_json::json!({"typ": "JWT", "alg": "RS256", "x5c": [certificate]});
    let claims = serde_json::json!({"iss": "test", "sub": "rabbit", "aud": "the registry", "jti": "1",
        "iat": now - 60, "nbf": now - 60, "exp": now + 300, "access": access.collect::<Vec<_>>()});
    let text = format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
    format!("{text}.{}", base64(&signature(&keys.join("token.key"), &text)))
}

fn signature(key: &Path, text: &str) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(["dgst", "-sha256", "-sign"]).arg(key).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it is installed");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends").stdout
}

/// As addresses have it, without padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = group.iter().fold(0, |number: u32, byte| number << 8 | u32::from(*byte));
        let number = number << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            text.push(char::from(LETTERS[(number >> (18 - 6 * place)) as usize & 63]));
        }
    }
    text
}
