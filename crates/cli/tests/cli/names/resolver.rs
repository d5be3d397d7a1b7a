//! Owns a resolver of the tests: it answers in the network namespace of a test's host, and remembers what it was asked.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Packet, PacketFlag, RCODE, ResourceRecord};

use super::Over;
use crate::support::Host;

/// How it treats what it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// `big.example` has forty addresses, any other name of `example` one; none else is known.
    Knows,
    /// It hears all and says nothing.
    Silent,
    /// It can't tell.
    Fails,
}

/// What was asked, and over what.
type Heard = Arc<Mutex<Vec<(Over, Vec<u8>)>>>;

/// A resolver that listens until it is dropped.
pub struct Resolver {
    heard: Heard,
    stop: Arc<std::sync::atomic::AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Resolver {
    /// Listens at port 53 of an address, with `last` as the last number of what it answers.
    pub fn start(host: &Host, address: &str, manner: Manner, last: u8) -> Resolver {
        let network = File::open(format!("/proc/{}/ns/net", host.pid())).expect("the holder lives");
        let address: SocketAddr = format!("{address}:53").parse().expect("an address");
        let sockets = std::thread::spawn(move || {
            sys::namespace::join(network.as_fd(), sys::clone::flags::NEWNET).expect("the host's network");
            (UdpSocket::bind(address).expect("it is free"), TcpListener::bind(address).expect("it is free"))
        });
        let (udp, tcp) = sockets.join().expect("no panic");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (own, ended) = (Arc::clone(&heard), Arc::clone(&stop));
        udp.set_read_timeout(Some(Duration::from_millis(20))).expect("a limit");
        let datagrams = std::thread::spawn(move || {
            let mut room = [0; 4096];
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                let Ok((length, from)) = udp.recv_from(&mut room) else { continue };
                own.lock().expect("no panic").push((Over::Udp, room[..length].to_vec()));
                if let Some(reply) = answer(&room[..length], manner, Over::Udp, last) {
                    let _ = udp.send_to(&reply, from);
                }
            }
        });
        let (own, ended) = (Arc::clone(&heard), Arc::clone(&stop));
        tcp.set_nonblocking(true).expect("it can");
        let connections = std::thread::spawn(move || {
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                let Ok((mut stream, _)) = tcp.accept() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut message = vec![0; u16::from_be_bytes(length).into()];
                if stream.read_exact(&mut message).is_err() {
                    continue;
                }
                own.lock().expect("no panic").push((Over::Tcp, message.clone()));
                if let Some(reply) = answer(&message, manner, Over::Tcp, last) {
                    // In two pieces, as a network may.
                    let length = u16::try_from(reply.len()).expect("it is short").to_be_bytes();
                    let _ = stream.write_all(&[&length[..], &reply[..7]].concat());
                    std::thread::sleep(Duration::from_millis(20));
                    let _ = stream.write_all(&reply[7..]);
                }
            }
        });
        Resolver { heard, stop, threads: vec![datagrams, connections] }
    }

    /// What it was asked since the last time.
    pub fn heard(&self) -> Vec<(Over, Vec<u8>)> {
        std::mem::take(&mut *self.heard.lock().expect("no panic"))
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn answer(message: &[u8], manner: Manner, over: Over, last: u8) -> Option<Vec<u8>> {
    let asked = Packet::parse(message).ok()?;
    let mut reply = Packet::new_reply(asked.id());
    reply.questions = asked.questions.clone();
    *reply.opt_mut() = asked.opt().cloned();
    let name = asked.questions.first()?.qname.clone();
    let text = name.to_string().to_ascii_lowercase();
    match manner {
        Manner::Silent => return None,
        Manner::Fails => *reply.rcode_mut() = RCODE::ServerFailure,
        Manner::Knows if text == "big.example" && over == Over::Udp => {
            reply.set_flags(PacketFlag::TRUNCATION)
        }
        Manner::Knows if text.ends_with("example") => {
            let count = if text == "big.example" { 40 } else { 1 };
            reply.answers.extend((0..count).map(|number| {
                let address = Ipv4Addr::new(192, 0, number, last);
                ResourceRecord::new(name.clone(), CLASS::IN, 60, RData::A(A::from(address)))
            }));
        }
        Manner::Knows => *reply.rcode_mut() = RCODE::NameError,
    }
    reply.build_bytes_vec_compressed().ok()
}
