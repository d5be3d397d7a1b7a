//! A registry that answers as a test wants, on loopback and in plain HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Cut(usize),
    Stall(usize),
    Drip(Duration),
    Endless,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, headers: Vec::new(), body: body.into(), fault: Fault::None }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn redirect(to: impl Into<String>) -> Reply {
        Reply::new(307, "").with("Location", to)
    }

    /// Ends the connection after so many bytes of the body.
    pub fn cut(self, after: usize) -> Reply {
        Reply { fault: Fault::Cut(after), ..self }
    }

    /// Says nothing more after so many bytes of the body.
    pub fn stall(self, after: usize) -> Reply {
        Reply { fault: Fault::Stall(after), ..self }
    }

    /// Sends the body byte by byte.
    pub fn drip(self, every: Duration) -> Reply {
        Reply { fault: Fault::Drip(every), ..self }
    }

    /// Sends the body again and again, without a length.
    pub fn endless(self) -> Reply {
        Reply { fault: Fault::Endless, ..self }
    }

    /// The part of `content` that a request wants.
    pub fn range(seen: &Seen, content: &[u8]) -> Reply {
        let from = seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        match from.and_then(|from| from.parse::<usize>().ok()) {
            None => Reply::new(200, content),
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
                Reply::new(206, &content[from..]).with("Content-Range", range)
            }
        }
    }
}

type Answer = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

pub struct Liar {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    stopped: Arc<AtomicBool>,
}

impl Liar {
    /// `answer` gets the request, and how many were seen before it.
    pub fn start(answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Liar {
        Liar::sipping(Duration::ZERO, answer)
    }

    /// One that takes 4 KiB of what it gets, and then does nothing for so long.
    pub fn sipping(pause: Duration, answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Liar {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        if !pause.is_zero() {
            // Else the kernel drinks for it, as much as tens of megabytes.
            rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 64 << 10).expect("set");
        }
        let (seen, stopped) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (all, stop, answer): (_, _, Arc<Answer>) = (seen.clone(), stopped.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let (all, stop, answer) = (all.clone(), stop.clone(), answer.clone());
                // A client that is gone ends its thread with an error, which is no news.
                thread::spawn(move || serve(&stream, pause, &all, &stop, &*answer).ok());
            }
        });
        Liar { address, seen, stopped }
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// All requests but those that only ask whether it is there.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    pub fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Has it look.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(
    mut stream: &TcpStream,
    pause: Duration,
    all: &Mutex<Vec<Seen>>,
    stop: &AtomicBool,
    answer: &Answer,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    // A hello of TLS: answered as Go's servers do.
    if reader.fill_buf()?.first() == Some(&0x16) {
        return stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
    }
    while let Some(seen) = receive(&mut reader, pause, stop)? {
        let number = {
            let mut all = all.lock().expect("no panic");
            all.push(seen.clone());
            all.len() - 1
        };
        let reply = answer(&seen, number);
        // In one piece: the kernel would wait before it sends a second small one.
        let mut head = format!("HTTP/1.1 {} Words\r\n", reply.status);
        head.extend(reply.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
        let has_length = reply.headers.iter().any(|(name, _)| name == "Content-Length");
        match (reply.fault, has_length) {
            (Fault::Endless, _) => head.push_str("Connection: close\r\n\r\n"),
            (_, true) => head.push_str("\r\n"),
            (_, false) => head.push_str(&format!("Content-Length: {}\r\n\r\n", reply.body.len())),
        }
        let body = if seen.method == "HEAD" { &[][..] } else { &reply.body[..] };
        if reply.fault == Fault::None {
            stream.write_all(&[head.as_bytes(), body].concat())?;
            continue;
        }
        stream.write_all(head.as_bytes())?;
        match reply.fault {
            Fault::None => {}
            Fault::Cut(after) => return stream.write_all(&body[..after]),
            Fault::Stall(after) => {
                stream.write_all(&body[..after])?;
                while !stop.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(20));
                }
                return Ok(());
            }
            Fault::Drip(every) => {
                for byte in body {
                    stream.write_all(&[*byte])?;
                    thread::sleep(every);
                }
            }
            Fault::Endless => loop {
                stream.write_all(body)?;
            },
        }
    }
    Ok(())
}

fn receive(
    reader: &mut BufReader<&TcpStream>,
    pause: Duration,
    stop: &AtomicBool,
) -> std::io::Result<Option<Seen>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut seen =
        Seen { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        seen.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = reader.take(length);
    while body.limit() > 0 && !stop.load(Ordering::Relaxed) {
        if body.by_ref().take(4096).read_to_end(&mut seen.body)? == 0 {
            break;
        }
        thread::sleep(pause);
    }
    Ok(Some(seen))
}
