//! Real servers of the distribution in containers, used by their real clients: on the host, in another container, and on
//! another "host" behind the published port; IPv4 and IPv6. The root file system is packages that were unpacked and never
//! installed, so that no service of the machine's begins.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use crate::network::outside;
use crate::ports::has_ipv6;
use crate::support::{Background, Host, PATIENCE, Ran, finish, skip};

/// Where a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A program of the host.
    Host,
    /// Another container of the same network.
    Neighbour,
    /// Another machine, at the end of a cable; the pid of one there.
    Elsewhere(u32),
}

/// The unpacked root; where there is none, says so.
fn servers_root() -> Option<PathBuf> {
    let root = std::env::var_os("RABBITC_SERVERS_ROOT").map(PathBuf::from);
    if root.is_none() {
        skip("no root with the distribution's servers: `cargo xtask test` unpacks one");
    }
    root
}

/// The directory of PostgreSQL's own programs, below the root: the version is in it.
fn postgres_programs(root: &Path) -> String {
    let versions = std::fs::read_dir(root.join("usr/lib/postgresql")).expect("PostgreSQL is unpacked");
    let version = versions.flatten().next().expect("a version of it").file_name();
    format!("/usr/lib/postgresql/{}/bin", version.to_string_lossy())
}

/// A container with a server, whose `ready` at its address is the sign that it serves.
struct Server<'a> {
    host: &'a Host,
    root: &'a Path,
    container: Background,
}

impl<'a> Server<'a> {
    /// Starts it with `flags` on the unpacked root, which nothing is written to. What an installation would have written is
    /// mounted: the accounts.
    fn start(host: &'a Host, root: &'a Path, flags: &[&str], command: &[&str]) -> Self {
        let root_flag = format!("--rootfs={}", root.display());
        let accounts = [
            ("passwd", "root:x:0:0::/:/bin/sh\npostgres:x:70:70::/tmp:/bin/sh\n"),
            ("group", "root:x:0:\npostgres:x:70:\n"),
        ];
        let volumes = accounts.map(|(name, text)| {
            let path = host.directory().join(name);
            std::fs::write(&path, text).expect("accounts");
            format!("--volume={}:/etc/{name}:ro", path.display())
        });
        let mut arguments = vec![root_flag.as_str(), "--overlay"];
        arguments.extend(volumes.iter().map(String::as_str));
        arguments.extend(flags);
        arguments.push("--");
        arguments.extend(command);
        let child = host.rabbitc(&arguments).stdin(Stdio::piped()).spawn().expect("nsenter runs");
        Server { host, root, container: Background::of(child) }
    }

    /// Runs a client of the unpacked root at a place.
    fn client(&self, place: Place, command: &[String]) -> Ran {
        let root = self.root.display().to_string();
        match place {
            Place::Host => {
                let mut client = self.host.command("chroot");
                finish(client.arg(root).args(command).spawn().expect("nsenter runs"), None)
            }
            Place::Neighbour => {
                let root = format!("--rootfs={root}");
                let mut arguments = vec![root.as_str(), "--overlay", "--"];
                arguments.extend(command.iter().map(String::as_str));
                self.host.run(&arguments)
            }
            Place::Elsewhere(pid) => {
                let mut client = self.host.command("nsenter");
                client.args([format!("--target={pid}").as_str(), "--net", "--", "chroot", &root]);
                finish(client.args(command).spawn().expect("nsenter runs"), None)
            }
        }
    }

    /// Asks until the answer is `answer`; the server takes its time to begin.
    fn answers(&mut self, command: &[String], answer: &str) {
        let end = Instant::now() + PATIENCE;
        // As long as there is no bridge, its address is somebody else's, who need not answer.
        let limited = ["/bin/busybox", "timeout", "3"].map(str::to_owned);
        let command = &[&limited, command].concat();
        loop {
            let ran = self.client(Place::Host, command);
            if ran.code() == 0 && ran.stdout.trim() == answer {
                return;
            }
            if self.container.has_ended() {
                panic!("the server ended: {:?}", self.container.finish());
            }
            assert!(Instant::now() < end, "no answer to {command:?}: {ran:?}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    fn end(mut self) {
        self.container.signal("TERM");
        let ran = self.container.finish();
        assert!(!ran.stderr.contains("error: "), "{ran:?}");
    }
}

/// Each place with the addresses at which it reaches the port of a container at `172.19.0.2` that is published at `published`.
fn ways(host: &Host, elsewhere: u32, port: u16, published: u16) -> Vec<(Place, String, u16)> {
    let mut ways = vec![
        (Place::Host, "172.19.0.2".to_owned(), port),
        (Place::Host, "127.0.0.1".to_owned(), published),
        (Place::Host, "198.51.100.2".to_owned(), published),
        (Place::Neighbour, "172.19.0.2".to_owned(), port),
        (Place::Neighbour, "198.51.100.2".to_owned(), published),
        (Place::Elsewhere(elsewhere), "198.51.100.2".to_owned(), published),
    ];
    if has_ipv6(host) {
        let bridge = host.shell("ip -6 -oneline addr show dev rabbitc0 scope global");
        let gateway = bridge.split_whitespace().find_map(|word| word.strip_suffix("::1/64")).expect("a /64");
        ways.extend([
            (Place::Host, format!("{gateway}::2"), port),
            (Place::Host, "2001:db8::2".to_owned(), published),
            (Place::Neighbour, format!("{gateway}::2"), port),
            (Place::Neighbour, "2001:db8::2".to_owned(), published),
            (Place::Elsewhere(elsewhere), "2001:db8::2".to_owned(), published),
        ]);
    }
    ways
}

#[test]
fn nginx_serves_the_host_a_neighbour_and_another_host() {
    let Some(host) = Host::new() else { return };
    let Some(root) = servers_root() else { return };
    let mut world = outside(&host);
    let configuration = host.directory().join("nginx.conf");
    let text = "user root; worker_processes 2; pid /tmp/nginx.pid; error_log stderr; events {} http { access_log off; \
                client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; \
                scgi_temp_path /tmp/s; root /pages; server { listen 80; listen [::]:80; \
                location = /who { return 200 \"nginx $remote_addr\\n\"; } } }";
    std::fs::write(&configuration, text).expect("a configuration");
    let pages = host.directory().join("pages");
    std::fs::create_dir(&pages).expect("a directory");
    let page = "0123456789abcdef".repeat(1 << 16);
    std::fs::write(pages.join("page"), &page).expect("a page of a MiB");
    let volumes = [
        format!("--volume={}:/conf/nginx.conf:ro", configuration.display()),
        format!("--volume={}:/pages:ro", pages.display()),
    ];
    let flags = ["--publish=8080:80", &volumes[0], &volumes[1]];
    let command = ["/usr/sbin/nginx", "-c", "/conf/nginx.conf", "-g", "daemon off;"];
    let mut nginx = Server::start(&host, &root, &flags, &command);
    let wget = |url: &str| ["/bin/busybox", "wget", "-q", "-O", "-", url].map(str::to_owned);
    let url = |address: &str, port: u16, page: &str| match address.contains(':') {
        true => format!("http://[{address}]:{port}/{page}"),
        false => format!("http://{address}:{port}/{page}"),
    };
    let ask = wget(&url("172.19.0.2", 80, "who"));
    nginx.answers(&ask, "nginx 172.19.0.1");
    for (place, address, port) in ways(&host, world.pid(), 80, 8080) {
        let ran = nginx.client(place, &wget(&url(&address, port, "who")));
        assert!(ran.text().starts_with("nginx "), "{place:?} {address}: {ran:?}");
        let client = match (place, address.contains(':')) {
            (Place::Elsewhere(_), false) => "nginx 198.51.100.1",
            (Place::Elsewhere(_), true) => "nginx 2001:db8::1",
            _ => ran.text(),
        };
        assert_eq!(ran.text(), client, "another host's client keeps its address");
        let ran = nginx.client(place, &wget(&url(&address, port, "page")));
        assert!(ran.code() == 0 && ran.stdout == page, "{place:?} {address}: all of the page comes");
    }
    nginx.end();
    world.write(b"end\n");
    assert_eq!(world.finish().code(), 0);
    host.assert_nothing_left();
}

#[test]
fn postgresql_serves_the_host_a_neighbour_and_another_host() {
    let Some(host) = Host::new() else { return };
    let Some(root) = servers_root() else { return };
    let mut world = outside(&host);
    let programs = postgres_programs(&root);
    let script = format!(
        "cd {programs} && ./initdb --pgdata=/tmp/data --auth=trust --locale=C --encoding=UTF8 --no-sync >/tmp/initdb && \
         echo 'host all all all trust' >>/tmp/data/pg_hba.conf && \
         exec ./postgres -D /tmp/data -k /tmp -c listen_addresses='*' -c fsync=off"
    );
    let flags = ["--publish=15432:5432", "--user=70:70"];
    let mut postgres = Server::start(&host, &root, &flags, &["/bin/sh", "-c", &script]);
    let program = format!("{programs}/psql");
    let query = |address: &str, port: u16, statement: &str| {
        let connection =
            format!("host={address} port={port} user=postgres dbname=postgres connect_timeout=10");
        [program.as_str(), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement, &connection]
            .map(str::to_owned)
    };
    let ask = |statement| query("172.19.0.2", 5432, statement);
    postgres.answers(&ask("select 6 * 7"), "42");
    let table = ask("create table calls (who inet, at text)");
    assert_eq!(postgres.client(Place::Host, &table).text(), "");
    let ways = ways(&host, world.pid(), 5432, 15432);
    for (place, address, port) in &ways {
        let statement = format!(
            "insert into calls values (inet_client_addr(), '{place:?} {address}') returning host(who)"
        );
        let ran = postgres.client(*place, &query(address, *port, &statement));
        let client = ran.text();
        match (place, address.contains(':')) {
            (Place::Elsewhere(_), false) => assert_eq!(client, "198.51.100.1", "{ran:?}"),
            (Place::Elsewhere(_), true) => assert_eq!(client, "2001:db8::1", "{ran:?}"),
            _ => {}
        }
        let statement = "copy (select repeat('x', 99) from generate_series(1, 20000)) to stdout";
        let ran = postgres.client(*place, &query(address, *port, statement));
        assert_eq!((ran.code(), ran.stdout.len()), (0, 2_000_000), "{place:?} {address}: {}", ran.stderr);
    }
    let count = postgres.client(Place::Host, &ask("select count(distinct at) from calls"));
    assert_eq!(count.text(), ways.len().to_string());
    postgres.end();
    world.write(b"end\n");
    assert_eq!(world.finish().code(), 0);
    host.assert_nothing_left();
}

#[test]
fn redis_serves_the_host_a_neighbour_and_another_host() {
    let Some(host) = Host::new() else { return };
    let Some(root) = servers_root() else { return };
    let mut world = outside(&host);
    let command = [
        "/usr/bin/redis-server",
        "--bind",
        "*",
        "-::*",
        "--protected-mode",
        "no",
        "--save",
        "",
        "--dir",
        "/tmp",
    ];
    let mut redis = Server::start(&host, &root, &["--publish=16379:6379"], &command);
    let ask = |address: &str, port: u16, words: &[&str]| {
        let mut command = vec!["/usr/bin/redis-cli", "--no-auth-warning", "-h", address, "-p"];
        let port = port.to_string();
        command.push(&port);
        command.extend(words);
        command.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    redis.answers(&ask("172.19.0.2", 6379, &["ping"]), "PONG");
    let value = "v".repeat(100_000);
    let ways = ways(&host, world.pid(), 6379, 16379);
    for (number, (place, address, port)) in ways.iter().enumerate() {
        let count = redis.client(*place, &ask(address, *port, &["incr", "calls"]));
        assert_eq!(count.text(), (number + 1).to_string(), "{place:?} {address}");
        assert_eq!(redis.client(*place, &ask(address, *port, &["set", "value", &value])).text(), "OK");
        assert_eq!(redis.client(*place, &ask(address, *port, &["get", "value"])).text(), value);
    }
    redis.end();
    world.write(b"end\n");
    assert_eq!(world.finish().code(), 0);
    host.assert_nothing_left();
}
