//! Every form of a published port, from every place that a client can be at: another host, this one, its loopback, a
//! neighbour, a container of another network, and the container itself.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use std::io::{Read, Write};

use crate::network::outside;
use crate::ports::{filter_bridged_packets, has_ipv6, in_network_of, pid_of};
use crate::support::{Background, Host};

const PATIENCE: Duration = Duration::from_millis(400);

/// Servers in a container's network, which would not go with their sockets in it.
struct Servers {
    are_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Servers {
    /// Serves at these ports in the network of `pid`, by TCP and UDP: says the port at which it was asked.
    fn new(pid: u32, ports: std::ops::Range<u16>) -> Servers {
        let are_over = Arc::new(AtomicBool::new(false));
        let threads = ports.flat_map(|port| serve(pid, port, &are_over)).collect();
        Servers { are_over, threads }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.are_over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn serve(pid: u32, port: u16, are_over: &Arc<AtomicBool>) -> [JoinHandle<()>; 2] {
    let (listener, socket) = in_network_of(pid, move || {
        let everywhere: IpAddr = "::".parse().expect("an address");
        let address = SocketAddr::new(everywhere, port);
        let listener = TcpListener::bind(address).or_else(|_| TcpListener::bind(("0.0.0.0", port)));
        let socket = UdpSocket::bind(address).or_else(|_| UdpSocket::bind(("0.0.0.0", port)));
        (listener.expect("the port is the container's"), socket.expect("the port is the container's"))
    });
    listener.set_nonblocking(true).expect("set");
    socket.set_nonblocking(true).expect("set");
    let answer = move |mut ask: Box<dyn FnMut() -> bool + Send>, are_over: Arc<AtomicBool>| {
        std::thread::spawn(move || {
            while !are_over.load(Ordering::Relaxed) {
                if !ask() {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        })
    };
    let tcp = Box::new(move || {
        let client = listener.accept();
        client.is_ok_and(|(mut stream, _)| stream.write_all(port.to_string().as_bytes()).is_ok())
    });
    let udp = Box::new(move || {
        let client = socket.recv_from(&mut [0; 64]);
        client.is_ok_and(|(_, client)| socket.send_to(port.to_string().as_bytes(), client).is_ok())
    });
    [answer(tcp, Arc::clone(are_over)), answer(udp, Arc::clone(are_over))]
}

/// The port that answers at the address to somebody in the network of `pid`.
fn asked(pid: u32, protocol: &str, address: SocketAddr) -> Option<u16> {
    let tcp = move || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.parse().ok()
    };
    let udp = move || {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).ok()?;
        socket.connect(address).ok()?;
        socket.send(b"?").ok()?;
        let mut answer = [0; 8];
        let length = socket.recv(&mut answer).ok()?;
        std::str::from_utf8(&answer[..length]).ok()?.parse().ok()
    };
    match protocol {
        "tcp" => in_network_of(pid, tcp),
        _ => in_network_of(pid, udp),
    }
}

/// What is published, where that is, and which port of the container answers.
struct Form {
    flag: &'static str,
    at: Option<&'static str>,
    port: u16,
    inside: u16,
}

const FORMS: [Form; 10] = [
    Form { flag: "8001:80", at: None, port: 8001, inside: 80 },
    Form { flag: "127.0.0.1:8002:80", at: Some("127.0.0.1"), port: 8002, inside: 80 },
    Form { flag: "198.51.100.2:8003:80", at: Some("198.51.100.2"), port: 8003, inside: 80 },
    Form { flag: "0.0.0.0:8004:80", at: Some("0.0.0.0"), port: 8004, inside: 80 },
    Form { flag: "[::]:8005:80", at: Some("::"), port: 8005, inside: 80 },
    Form { flag: "[2001:db8::2]:8006:80", at: Some("2001:db8::2"), port: 8006, inside: 80 },
    Form { flag: "[::1]:8007:80", at: Some("::1"), port: 8007, inside: 80 },
    Form { flag: "8010-8012:80-82", at: None, port: 8011, inside: 81 },
    Form { flag: "81-83:81-83", at: None, port: 82, inside: 82 },
    Form { flag: "8020-8029:80", at: None, port: 8020, inside: 80 },
];

impl Form {
    fn covers(&self, address: IpAddr) -> bool {
        match self.at.map(|text| text.parse::<IpAddr>().expect("an address")) {
            None => true,
            Some(at) if at.is_unspecified() => at.is_ipv4() == address.is_ipv4(),
            Some(at) => at == address,
        }
    }
}

#[test]
fn every_form_of_a_published_port_is_reached_from_where_it_says_and_from_nowhere_else() {
    let Some(host) = Host::new() else { return };
    let bridged = crate::support::has_program("sysctl") && filter_bridged_packets(&host, 0);
    let mut world = outside(&host);
    let neighbour = host.background(&[], "neighbour", "read end");
    let ipv6 = has_ipv6(&host);
    // Where bridged packets can't be left alone, `::1` is refused.
    let has_loopback6 = ipv6 && (bridged || !std::path::Path::new("/proc/sys/net/bridge").exists());
    let forms: Vec<&Form> = FORMS
        .iter()
        .filter(|form| form.at.is_none_or(|at| !at.contains(':') || ipv6))
        .filter(|form| form.at != Some("::1") || has_loopback6)
        .collect();
    let mut flags = Vec::new();
    for protocol in ["tcp", "udp"] {
        flags.extend(forms.iter().map(|form| format!("--publish={}/{protocol}", form.flag)));
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = host.background(&flags, "server", "read end");
    let stranger = host.background(&["-n", "lab0", "-i", "10.88.0.1/24"], "stranger", "read end");
    let itself = pid_of(&host, "172.19.0.3");
    let servers = Servers::new(itself, 80..84);
    let from_containers = ["198.51.100.2", "2001:db8::2", "172.19.0.1"];
    let from_here = ["127.0.0.1", "::1", "198.51.100.2", "2001:db8::2", "172.19.0.1"];
    let clients: [(&str, u32, &[&str]); 5] = [
        ("another host", world.pid(), &["198.51.100.2", "2001:db8::2"]),
        ("the host", host.pid(), &from_here),
        ("a neighbour", pid_of(&host, "172.19.0.2"), &from_containers),
        ("another network", pid_of(&host, "10.88.0.2"), &from_containers),
        ("itself", itself, &from_containers),
    ];
    let mut wrong = Vec::new();
    for (who, pid, addresses) in clients {
        for address in addresses.iter().map(|text| text.parse::<IpAddr>().expect("an address")) {
            if address.is_ipv6() && (!ipv6 || address.is_loopback() && !has_loopback6) {
                continue;
            }
            for form in &forms {
                for protocol in ["tcp", "udp"] {
                    let expected = form.covers(address).then_some(form.inside);
                    let at = SocketAddr::new(address, form.port);
                    // Where something is expected, the network may still be coming up.
                    let tries = if expected.is_some() { 10 } else { 1 };
                    let found = (0..tries).find_map(|_| asked(pid, protocol, at));
                    if found != expected {
                        wrong.push(format!("{who} at {at}/{protocol} of `{}`: {found:?}", form.flag));
                    }
                }
            }
        }
    }
    drop(servers);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for background in [server, neighbour, stranger] {
        assert_eq!(background.release().code(), 0);
    }
    finish(world_end(&mut world));
    host.assert_nothing_left();
}

fn world_end(world: &mut Background) -> crate::support::Ran {
    world.write(b"end\n");
    world.finish()
}

fn finish(ran: crate::support::Ran) {
    assert_eq!(ran.code(), 0, "{ran:?}");
}

#[test]
fn exposed_ports_are_published_at_free_ones_and_reached_from_another_host() {
    let Some(host) = Host::new() else { return };
    let mut world = outside(&host);
    let flags = ["-P", "--expose=80", "--expose=81-82/udp"];
    let server = host.background(&flags, "server", "read end");
    let itself = pid_of(&host, "172.19.0.2");
    let servers = Servers::new(itself, 80..83);
    let listed = crate::life::Place::of(&host).verb("port", &["-a"]);
    let mut seen = Vec::new();
    for line in listed.text().lines() {
        // `ID<tab>80/tcp -> 0.0.0.0:40123`
        let (inside, outside) =
            line.split_once('\t').and_then(|(_, rest)| rest.split_once(" -> ")).expect(line);
        let (port, protocol) = inside.split_once('/').expect(line);
        let chosen: u16 = outside.rsplit(':').next().and_then(|port| port.parse().ok()).expect(line);
        let at = format!("198.51.100.2:{chosen}").parse().expect("an address");
        let answer = (0..20).find_map(|_| asked(world.pid(), protocol, at));
        assert_eq!(answer, port.parse().ok(), "{line}");
        seen.push(inside.to_owned());
    }
    drop(servers);
    seen.sort();
    assert_eq!(seen, ["80/tcp", "81/udp", "82/udp"]);
    assert_eq!(server.release().code(), 0);
    finish(world_end(&mut world));
    host.assert_nothing_left();
}
