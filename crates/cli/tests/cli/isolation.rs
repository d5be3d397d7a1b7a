//! Networks beside each other: their containers meet at published ports, and nowhere else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::ports::in_network_of;
use crate::support::{Background, Host, eventually};

/// A web server on port 80 that says its name, until its standard input ends.
pub(crate) fn server(host: &Host, name: &str, flags: &[&str]) -> Background {
    let script = format!(
        "mkdir /www-{name}; echo {name} > /www-{name}/index.html; httpd -p 80 -h /www-{name}; read end"
    );
    let mut all = vec!["-h", name];
    all.extend(flags);
    host.background(&all, name, &script)
}

/// What the server at the address says to a process in the network of `pid`.
pub(crate) fn heard(pid: u32, address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().expect("an address with a port");
    let patience = Duration::from_millis(500);
    in_network_of(pid, move || {
        let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.trim().lines().last().map(str::to_owned)
    })
}

#[test]
fn containers_of_another_network_are_reached_at_published_ports_alone() {
    let Some(host) = Host::new() else { return };
    let web = server(&host, "web", &["-n", "lab0", "-i", "10.88.0.1/24", "-p", "8080:80"]);
    let near = server(&host, "near", &[]);
    let guest = host.background(&[], "guest", "read end");
    let (web_pid, guest_pid) =
        (crate::ports::pid_of(&host, "10.88.0.2"), crate::ports::pid_of(&host, "172.19.0.3"));
    let hears = |pid, address: &str, name: &str| {
        eventually(&format!("`{name}` answers at {address}"), || {
            heard(pid, address).as_deref() == Some(name)
        });
    };
    hears(host.pid(), "10.88.0.2:80", "web");
    hears(guest_pid, "172.19.0.2:80", "near");
    for address in ["172.19.0.1:8080", "10.88.0.1:8080"] {
        hears(guest_pid, address, "web");
    }
    assert_eq!(heard(guest_pid, "10.88.0.2:80"), None, "by its own address it is not reached");
    assert_eq!(heard(web_pid, "172.19.0.2:80"), None, "nor the other way");
    for background in [web, near, guest] {
        assert_eq!(background.release().code(), 0);
    }
    for name in ["web", "near"] {
        std::fs::remove_dir_all(host.rootfs().join(format!("www-{name}"))).expect("the servers' pages");
    }
    host.assert_nothing_left();
}
