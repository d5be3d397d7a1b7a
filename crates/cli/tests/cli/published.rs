//! Published ports that come and go while their container runs, and what is left of an update that was killed.

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use crate::isolation::heard;
use crate::life::Place;
use crate::network::outside;
use crate::ports::in_network_of;
use crate::support::{Host, Ran, eventually};

/// Starts a web server on port 80 that says its name.
pub(crate) fn serve(host: &Host, place: &Place<'_>, name: &str, flags: &[&str]) {
    let rootfs = host.rootfs_flag();
    let named = format!("--name={name}");
    let script = format!("mkdir /www; echo {name} > /www/index.html; exec busybox httpd -f -p 80 -h /www");
    let fixed = ["-d", named.as_str(), rootfs.as_str(), "--overlay"];
    let ran = place.verb("run", &[&fixed[..], flags, &["/bin/sh", "-c", script.as_str()]].concat());
    assert_eq!(ran.code(), 0, "{ran:?}");
}

/// Whether a program of the host may have the port.
fn is_free(host: &Host, port: u16) -> bool {
    in_network_of(host.pid(), move || TcpListener::bind(("0.0.0.0", port)).is_ok())
}

fn answers(host: &Host, port: u16, name: &str) {
    let address = format!("127.0.0.1:{port}");
    eventually(&format!("`{name}` answers at {port}"), || {
        heard(host.pid(), &address).as_deref() == Some(name)
    });
}

fn listed(place: &Place<'_>, name: &str) -> Vec<String> {
    place.verb("port", &[name]).text().lines().map(str::to_owned).collect()
}

fn update(place: &Place<'_>, flags: &[&str], name: &str) -> Ran {
    let ran = place.verb("update", &[flags, &[name]].concat());
    assert_eq!((ran.code(), ran.text()), (0, name), "{ran:?}");
    ran
}

#[test]
fn ports_come_and_go_while_the_container_runs_and_stay_so_over_a_restart() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let mut world = outside(&host);
    serve(&host, &place, "web", &["-p", "8080:80"]);
    serve(&host, &place, "other", &[]);
    answers(&host, 8080, "web");
    update(&place, &["--publish-add", "8081:80", "--publish-add=127.0.0.1:8082:80"], "web");
    for port in [8080, 8081, 8082] {
        answers(&host, port, "web");
        assert!(!is_free(&host, port), "{port} is held");
    }
    assert_eq!(heard(world.pid(), "198.51.100.2:8081").as_deref(), Some("web"), "from another host, too");
    let all = ["80/tcp -> 0.0.0.0:8080", "80/tcp -> 0.0.0.0:8081", "80/tcp -> 127.0.0.1:8082"];
    assert_eq!(listed(&place, "web"), all);
    assert!(place.field("web", "json .NetworkSettings.Ports").contains("\"8081\""));
    assert!(place.field("web", "json .HostConfig.PortBindings").contains("\"8081\""));
    assert!(place.verb("ps", &["--format={{.Ports}}"]).text().contains("0.0.0.0:8081->80/tcp"));
    // Of another container, which had none.
    place.verb("update", &["--publish-add=8081:80", "other"]).refuses(1, &["8081", "taken by container"]);
    assert_eq!(listed(&place, "other"), [""; 0]);
    update(&place, &["--publish-add=9000-9001:80-81"], "other");
    answers(&host, 9000, "other");
    update(&place, &["--publish-rm=8080:80"], "web");
    assert_eq!(heard(host.pid(), "127.0.0.1:8080"), None);
    assert!(is_free(&host, 8080));
    answers(&host, 8081, "web");
    assert_eq!(place.verb("restart", &["-t0", "web"]).code(), 0);
    answers(&host, 8081, "web");
    assert_eq!(listed(&place, "web"), &all[1..]);
    assert!(is_free(&host, 8080));
    // Another port inside for the same one outside, at once.
    update(&place, &["--publish-rm=8081:80", "--publish-add=8081:81"], "web");
    assert!(listed(&place, "web").contains(&"81/tcp -> 0.0.0.0:8081".to_owned()));
    update(&place, &["--publish-rm=80", "--publish-rm=81"], "web");
    assert_eq!(listed(&place, "web"), [""; 0]);
    assert!([8081, 8082].into_iter().all(|port| is_free(&host, port)));
    // For its next start.
    assert_eq!(place.verb("stop", &["-t0", "web"]).code(), 0);
    update(&place, &["--publish-add=8090:80"], "web");
    assert!(is_free(&host, 8090));
    assert_eq!(place.verb("start", &["web"]).code(), 0);
    answers(&host, 8090, "web");
    world.write(b"end\n");
    assert_eq!(world.finish().code(), 0);
    place.assert_nothing_left();
}

#[test]
fn port_without_a_number_is_told_and_a_container_reaches_itself_by_it() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    serve(&host, &place, "web", &[]);
    let told = update(&place, &["--publish-add=80"], "web");
    let port = told.stderr.lines().find_map(|line| line.split("published ").nth(1)?.split(' ').next());
    let port: u16 = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{told:?}"));
    answers(&host, port, "web");
    let pid = place.field("web", ".State.Pid").parse().expect("a pid");
    let address = format!("172.19.0.1:{port}");
    eventually("it reaches itself", || heard(pid, &address).as_deref() == Some("web"));
    // A flow of UDP goes over to the container, and back with the port.
    let server = in_network_of(pid, || UdpSocket::bind("0.0.0.0:53").expect("a server"));
    let client = in_network_of(host.pid(), || UdpSocket::bind("127.0.0.1:0").expect("a client"));
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    }
    let mut arrives =
        || client.send_to(b"question", "127.0.0.1:5353").is_ok() && server.recv(&mut [0; 16]).is_ok();
    assert!(!arrives());
    update(&place, &["--publish-add=5353:53/udp"], "web");
    eventually("a datagram arrives", &mut arrives);
    update(&place, &["--publish-rm=53/udp"], "web");
    assert!(!arrives(), "a flow from before is not kept");
    drop((server, client));
    place.assert_nothing_left();
}

#[test]
fn changes_that_can_not_be_leave_everything_as_it_is() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    serve(&host, &place, "web", &["-p", "8080:80"]);
    let taken = in_network_of(host.pid(), || TcpListener::bind("0.0.0.0:7777").expect("free"));
    for (flags, what) in [
        (&["--publish-add=none"][..], &["--publish-add", "none"][..]),
        (&["--publish-rm=8080:81"], &["--publish-rm", "not published", "`8080-8080:80/tcp`"]),
        (&["--publish-add=8080:80"], &["--publish-add", "published already"]),
        (&["--publish-add=7777:80"], &["7777", "taken by process"]),
        (&["--publish-rm=8080:80", "--publish-add=7777:80"], &["7777", "taken by process"]),
        (&["--publish-add=203.0.113.9:8085:80"], &["203.0.113.9", "no interface"]),
    ] {
        let refused = place.verb("update", &[flags, &["web"]].concat());
        assert_ne!(refused.code(), 0, "{flags:?}: {refused:?}");
        what.iter().for_each(|part| assert!(refused.stderr.contains(part), "{flags:?}: {refused:?}"));
        assert_eq!(listed(&place, "web"), ["80/tcp -> 0.0.0.0:8080"], "{flags:?}");
        answers(&host, 8080, "web");
        assert!(!is_free(&host, 8080), "{flags:?}");
    }
    drop(taken);
    assert_eq!(place.script("run", &["-d", "--name=alone"], "sleep 100").code(), 0);
    place.verb("update", &["--publish-add=7777:80", "alone"]).refuses(1, &["--publish-add", "no bridge"]);
    place.assert_nothing_left();
}

#[test]
fn update_that_was_killed_is_finished_by_the_next_look() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    serve(&host, &place, "web", &["-p", "8080:80"]);
    answers(&host, 8080, "web");
    // As one leaves it that is killed after its first step.
    let file = place.directory("web").join("container.json");
    let text = std::fs::read_to_string(&file).expect("a definition");
    let (from, to) = ("\"publish\":[\"8080-8080:80/tcp\"]", "\"publish\":[\"8081-8081:80/tcp\"]");
    assert!(text.contains(from), "{text}");
    std::fs::write(&file, text.replace(from, to)).expect("written");
    assert_eq!(listed(&place, "web"), ["80/tcp -> 0.0.0.0:8081"]);
    answers(&host, 8081, "web");
    assert!(is_free(&host, 8080) && !is_free(&host, 8081));
    // And at any moment: whatever is listed afterwards is what there is.
    for round in 0..25_u16 {
        let (port, spec) = (9000 + round % 3, format!("{}:80", 9000 + round % 3));
        let is_there = listed(&place, "web").iter().any(|line| line.ends_with(&format!(":{port}")));
        let flag = if is_there { "--publish-rm" } else { "--publish-add" };
        let mut child = place.command("update", &[flag, &spec, "web"]).spawn().expect("it runs");
        std::thread::sleep(Duration::from_millis(u64::from(round) * 2));
        let _ = child.kill();
        let _ = child.wait();
        let now = listed(&place, "web");
        for port in 9000..9003 {
            let is_listed = now.iter().any(|line| line.ends_with(&format!(":{port}")));
            assert_eq!(is_free(&host, port), !is_listed, "{port} in round {round}: {now:?}");
            let heard = heard(host.pid(), &format!("127.0.0.1:{port}"));
            assert_eq!(heard.is_some(), is_listed, "{port} in round {round}: {now:?}");
        }
    }
    answers(&host, 8081, "web");
    place.assert_nothing_left();
}

#[test]
fn ports_of_a_container_whose_monitor_was_killed_are_held_by_the_next() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    serve(&host, &place, "web", &["-p", "8080:80"]);
    update(&place, &["--publish-add=8081:80"], "web");
    let killed = host.shell(&format!("kill -KILL {}; echo done", place.monitor("web")));
    assert_eq!(killed, "done");
    answers(&host, 8081, "web");
    assert_eq!(listed(&place, "web").len(), 2);
    for port in [8080, 8081] {
        assert!(!is_free(&host, port), "{port} is held again");
    }
    update(&place, &["--publish-rm=8080:80"], "web");
    assert!(is_free(&host, 8080));
    answers(&host, 8081, "web");
    place.assert_nothing_left();
}
