//! What a published port carries, against a bare veth pair: iperf3 and wrk from another "host", a network namespace of
//! the bench, in turn. The other host reaches the bare server by plain routing through this one, without bridge or NAT.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::contender::{median, paired};
use super::table::{Table, figures, shown, words};
use crate::process::{self, Failure, Naming, Result};

/// One way to a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A server in a namespace at the other end of a veth pair.
    Veth,
    /// A server in a container, by its published port.
    Port,
}

/// Gigabits and requests per second, one figure a round.
#[derive(Default)]
pub struct Figures {
    veth_bits: Vec<f64>,
    port_bits: Vec<f64>,
    veth_requests: Vec<f64>,
    port_requests: Vec<f64>,
}

/// How long each measures.
const SECONDS: &str = "2";
/// How many wrk keeps open.
const CONNECTIONS: &str = "16";

/// Ends its process when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Whoever has ended already needs no signal.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs all rounds.
pub fn measure(rounds: usize) -> Result<Figures> {
    namespaces()?;
    let own = std::env::current_exe().naming("find this program")?.to_string_lossy().into_owned();
    let iperf = ["iperf3", "--server"];
    let httpd = [own.as_str(), "bench-serve"];
    let _servers =
        [bare(&iperf)?, bare(&httpd)?, published("5201:5201", &iperf)?, published("8080:80", &httpd)?];
    for (way, port) in [(Way::Veth, 5201), (Way::Veth, 80), (Way::Port, 5201), (Way::Port, 8080)] {
        wait_for(way, port)?;
    }
    let mut figures = Figures::default();
    for _ in 0..rounds {
        figures.veth_bits.push(bits(Way::Veth)?);
        figures.port_bits.push(bits(Way::Port)?);
        figures.veth_requests.push(requests(Way::Veth)?);
        figures.port_requests.push(requests(Way::Port)?);
    }
    Ok(figures)
}

/// The other host (`10.99.0.2`) and the bare server (`10.98.0.2`), each at a veth pair of this host.
fn namespaces() -> Result<()> {
    let script = "set -e
        sysctl -qw net.ipv4.ip_forward=1
        mkdir -p /run/netns
        for one in client:99 bare:98; do
            name=${one%:*}; net=10.${one#*:}.0
            ip netns add $name
            ip link add $name type veth peer name eth0 netns $name
            ip addr add $net.1/24 dev $name; ip link set $name up
            ip -n $name link set lo up; ip -n $name addr add $net.2/24 dev eth0; ip -n $name link set eth0 up
            ip -n $name route add default via $net.1
        done";
    process::run(Command::new("sh").args(["-c", script]))
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

fn bare(server: &[&str]) -> Result<Server> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", "bare"]).args(server);
    quiet(&mut command).spawn().map(Server).naming(format_args!("run `{}`", server[0]))
}

/// An HTTP server on port 80 for wrk: one small page, connections kept, a thread each.
pub fn serve() -> Result<()> {
    let listener = TcpListener::bind("0.0.0.0:80").naming("listen on port 80")?;
    for stream in listener.incoming() {
        let stream = stream.naming("accept")?;
        // A client that goes away ends its thread.
        std::thread::spawn(move || answer(stream));
    }
    Ok(())
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let page = format!("HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n{}", "x".repeat(600));
    let mut writer = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        if line?.is_empty() {
            writer.write_all(page.as_bytes())?;
        }
    }
    Ok(())
}

/// In a container on a copy of this host's root, as the server is a program of Debian's.
fn published(port: &str, server: &[&str]) -> Result<Server> {
    let mut command = Command::new(process::target_directory().join("release/rabbitc"));
    command.args(["run", "--publish", port, "--"]).args(server);
    quiet(&mut command).spawn().map(Server).naming("run rabbitc")
}

impl Way {
    fn address(self) -> &'static str {
        match self {
            Way::Veth => "10.98.0.2",
            Way::Port => "10.99.0.1",
        }
    }
}

fn client() -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", "client"]);
    command
}

fn wait_for(way: Way, port: u16) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    let attempt = format!("exec 3<>/dev/tcp/{}/{port}", way.address());
    while !quiet(client().args(["bash", "-c", &attempt])).status().is_ok_and(|status| status.success()) {
        if Instant::now() > end {
            return Err(Failure::new(format!("nothing answers at {}:{port}", way.address())));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Gigabits per second that the server received.
fn bits(way: Way) -> Result<f64> {
    let text =
        process::read(client().args(["iperf3", "--json", "--time", SECONDS, "--client", way.address()]))?;
    let report: Value = serde_json::from_str(&text).naming("parse iperf3's report")?;
    let received = report["end"]["sum_received"]["bits_per_second"].as_f64();
    received.map(|bits| bits / 1e9).ok_or_else(|| Failure::new("iperf3 reports no figure"))
}

fn requests(way: Way) -> Result<f64> {
    let port = if way == Way::Veth { 80 } else { 8080 };
    let url = format!("http://{}:{port}/index.html", way.address());
    let duration = format!("{SECONDS}s");
    let text = process::read(client().args([
        "wrk",
        "--threads",
        "1",
        "--connections",
        CONNECTIONS,
        "--duration",
        &duration,
        &url,
    ]))?;
    let figure = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    let figure = figure.and_then(|figure| figure.trim().parse().ok());
    figure.ok_or_else(|| Failure::new(format!("wrk reports no figure: {text}")))
}

impl Figures {
    /// What is compared, in which unit, by the veth pair and by the port.
    fn rows(&self) -> [(String, &'static str, &[f64], &[f64]); 2] {
        [
            ("iperf3, one connection".to_owned(), "Gbit/s", &self.veth_bits, &self.port_bits),
            (
                format!("wrk, {CONNECTIONS} connections"),
                "requests/s",
                &self.veth_requests,
                &self.port_requests,
            ),
        ]
    }

    /// The figures for machines.
    pub fn render_json(&self) -> Value {
        let row = |(name, unit, veth, port): (String, &str, &[f64], &[f64])| {
            json!({
                "name": name,
                "unit": unit,
                "veth": median(veth.to_vec()),
                "published_port": median(port.to_vec()),
                "ratio": paired(port, veth),
            })
        };
        self.rows().into_iter().map(row).collect()
    }

    /// The figures for people.
    pub fn print_table(&self) {
        println!("\nwhat a published port carries from another host, in turn with a bare veth pair\n");
        let table = Table::begin(
            const { &[words(24), words(10), figures("veth", 9), figures("port", 9), figures("× veth", 6)] },
        );
        for (name, unit, veth, port) in self.rows() {
            let figure = |values: &[f64]| shown(median(values.to_vec()), 1);
            let ratio = shown(paired(port, veth), 2);
            table.row([name, unit.to_owned(), figure(veth), figure(port), ratio]);
        }
    }
}
