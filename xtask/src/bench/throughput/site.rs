//! A host of the bench with one engine, and another host beside it: two network namespaces and a cable. Owns what runs
//! there.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::contender::Owner;
use crate::bench::daemon::Daemon;
use crate::bench::engines;
use crate::process::{self, Failure, Naming, Result};

/// Whose network it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A namespace at the end of a veth pair, and plain routing.
    Bare,
    Rabbitc,
    Podman,
    Docker,
}

impl Who {
    pub const ALL: [Who; 4] = [Who::Bare, Who::Rabbitc, Who::Podman, Who::Docker];

    pub fn name(self) -> &'static str {
        match self {
            Who::Bare => "veth",
            Who::Rabbitc => "rabbitc",
            Who::Podman => "podman",
            Who::Docker => "docker",
        }
    }

    pub fn owner(self) -> Owner {
        match self {
            Who::Bare | Who::Rabbitc => Owner::Us,
            Who::Podman | Who::Docker => Owner::Others,
        }
    }
}

/// A root file system with the programs that measure.
pub struct Tools {
    place: PathBuf,
}

/// Each program with its libraries, and an archive of all.
const TOOLS: &str = r#"set -eu
mkdir -p "$1/root/usr/bin" "$1/root/tmp" "$1/root/etc"
cp "$2" "$1/root/usr/bin/serve"
for name in iperf3 wrk; do cp "$(command -v $name)" "$1/root/usr/bin/$name"; done
for program in "$1"/root/usr/bin/*; do
    ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$1/root${library%/*}"
        cp -n "$library" "$1/root$library"
    done
done
tar --create --file "$1/root.tar" -C "$1/root" ."#;

impl Tools {
    pub fn make(place: &Path) -> Result<Tools> {
        std::fs::create_dir_all(place).naming(format_args!("create `{}`", place.display()))?;
        let own = std::env::current_exe().naming("find this program")?;
        process::read(Command::new("sh").args(["-c", TOOLS, "tools"]).arg(place).arg(own))?;
        Ok(Tools { place: place.to_owned() })
    }
}

/// Ends its process when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Whoever has ended already needs no signal.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two hosts.
pub struct Site {
    who: Who,
    place: PathBuf,
    servers: Vec<Server>,
    daemon: Option<Daemon>,
}

/// The host is `10.99.0.1`, and the other one `10.99.0.2`; of the bare one, `10.98.0.2` is inside.
const NAMESPACES: &str = r#"set -e
mkdir -p /run/netns
for name in $1-host $1-client; do ip netns add $name; ip -n $name link set lo up; done
ip -n $1-host link add outside type veth peer name eth0 netns $1-client
ip -n $1-host addr add 10.99.0.1/24 dev outside
ip -n $1-host link set outside up
ip -n $1-client addr add 10.99.0.2/24 dev eth0
ip -n $1-client link set eth0 up
ip -n $1-client route add default via 10.99.0.1
nsenter --net=/run/netns/$1-host sysctl -qw net.ipv4.ip_forward=1
[ $1 = veth ] || exit 0
ip netns add veth-inside
ip -n veth-host link add inside type veth peer name eth0 netns veth-inside
ip -n veth-host addr add 10.98.0.1/24 dev inside
ip -n veth-host link set inside up
ip -n veth-inside link set lo up
ip -n veth-inside addr add 10.98.0.2/24 dev eth0
ip -n veth-inside link set eth0 up
ip -n veth-inside route add default via 10.98.0.1"#;

/// What docker's image is called.
const IMAGE: &str = "bench-tools";

impl Site {
    /// Makes both, starts the servers of both, and waits until they answer.
    pub fn make(who: Who, tools: &Tools) -> Result<Site> {
        process::run(Command::new("sh").args(["-c", NAMESPACES, "namespaces", who.name()]))?;
        let mut site = Site { who, place: tools.place.clone(), servers: Vec::new(), daemon: None };
        if who == Who::Docker {
            let host = site.namespace("host");
            site.daemon = Some(engines::dockerd_in(&site.place, &["nsenter", &host])?);
            let mut import = engines::docker(&site.place);
            process::read(import.arg("import").arg(site.place.join("root.tar")).arg(IMAGE))?;
        }
        let iperf = ["iperf3", "--server"];
        let own = std::env::current_exe().naming("find this program")?.to_string_lossy().into_owned();
        for (port, words) in [("5201:5201", &iperf[..]), ("8080:8080", &["serve", "bench-serve", "8080"])] {
            let mut command = site.inside_with(&["--publish", port], words);
            site.spawn(&mut command)?;
        }
        for words in [&iperf[..], &[own.as_str(), "bench-serve", "8081"]] {
            let mut command = site.on_host(words);
            site.spawn(&mut command)?;
        }
        for port in [5201, 8080] {
            site.wait_for(port)?;
        }
        Ok(site)
    }

    fn spawn(&mut self, command: &mut Command) -> Result<()> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.servers.push(Server(child.naming(format_args!("run a server of {}", self.who.name()))?));
        Ok(())
    }

    fn wait_for(&self, port: u16) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        let attempt = format!("exec 3<>/dev/tcp/{}/{port}", self.way_in());
        loop {
            let mut command = self.client(&["bash", "-c", &attempt]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if command.status().is_ok_and(|status| status.success()) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Failure::new(format!("nothing answers at {}:{port}", self.way_in())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn namespace(&self, which: &str) -> String {
        format!("--net=/run/netns/{}-{which}", self.who.name())
    }

    /// A program on the host.
    fn on_host(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(self.namespace("host")).args(words);
        command
    }

    /// A program on the other host.
    pub fn client(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(self.namespace("client")).args(words);
        command
    }

    /// One of the tools in a container.
    pub fn inside(&self, words: &[&str]) -> Command {
        self.inside_with(&[], words)
    }

    fn inside_with(&self, flags: &[&str], words: &[&str]) -> Command {
        let root = self.place.join("root").display().to_string();
        match self.who {
            Who::Bare => {
                let mut command = Command::new("nsenter");
                command.arg(self.namespace("inside"));
                command.arg(format!("{root}/usr/bin/{}", words[0])).args(&words[1..]);
                command
            }
            Who::Rabbitc => {
                let rabbitc = process::target_directory().join("release/rabbitc").display().to_string();
                let root = format!("--rootfs={root}");
                self.on_host(&[&[&rabbitc, "run"], flags, &[&root, "--overlay", "--"], words].concat())
            }
            Who::Podman => {
                let mut command = self.on_host(&["podman"]);
                command.args(engines::podman_flags(&self.place.join("podman")));
                command.env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
                command.args(["run", "--rm", "--log-driver=none"]).args(flags);
                command.args(["--rootfs", &format!("{root}:O")]).args(words);
                command
            }
            Who::Docker => {
                let mut command = engines::docker(&self.place);
                command.args(["run", "--rm", "--log-driver=none"]).args(flags).arg(IMAGE).args(words);
                command
            }
        }
    }

    /// Where the host is, from inside.
    pub fn host_address(&self) -> &'static str {
        match self.who {
            Who::Bare => "10.98.0.1",
            Who::Rabbitc | Who::Podman | Who::Docker => "10.99.0.1",
        }
    }

    /// Where the servers inside are, from the other host.
    pub fn way_in(&self) -> &'static str {
        match self.who {
            Who::Bare => "10.98.0.2",
            Who::Rabbitc | Who::Podman | Who::Docker => "10.99.0.1",
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.servers.clear();
        if self.who == Who::Podman {
            // What was started outlives its command. Best effort: the bench's own processes end with it at the latest.
            let mut command = self.on_host(&["podman"]);
            command.args(engines::podman_flags(&self.place.join("podman")));
            command.env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1").args(["rm", "--all", "--force", "--time=0"]);
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        drop(self.daemon.take());
        for which in ["host", "client", "inside"] {
            let name = format!("{}-{which}", self.who.name());
            let mut command = Command::new("ip");
            let _ = command.args(["netns", "del", &name]).stderr(Stdio::null()).status();
        }
    }
}
