//! Shows what rabbitc does, step by step, on this machine: prints each command and then its output. Leaves nothing
//! behind, and fails if a step does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::build::Binaries;
use crate::process::{self, Failure, Naming, Result, TemporaryDirectory};
use crate::remains::Snapshot;
use crate::{build, packages, rootfs};

/// The longest that one step may take.
const STEP_LIMIT: Duration = Duration::from_secs(60);

/// Runs the whole demonstration.
pub fn demo() -> Result<()> {
    process::require_root_or_sudo()?;
    packages::install(packages::DEMO)?;
    let binaries = build::build()?;
    let server = build::build_static(&["rabbitc-fixtures"])?;
    let directory = TemporaryDirectory::new("demo")?;
    let root = directory.path().join("rootfs");
    process::announce("making a root file system from busybox");
    rootfs::make(&root, Some(&server[0]))?;
    let before = Snapshot::take();
    let stage = Stage { binaries: &binaries, root: &root };
    stage.shell()?;
    stage.servers()?;
    stage.everyday(directory.path())?;
    stage.host_root()?;
    stage.explain()?;
    title("Nothing is left behind");
    let remains = before.remains(Duration::from_secs(10));
    if remains.is_empty() {
        println!("no link, mount, cgroup, rule, process or state file more than before");
        println!("(net.ipv4.ip_forward stays on, as others may rely on it by now: docs/networking.md)");
        return Ok(());
    }
    Err(Failure::new(format!("left on the host:\n  {}", remains.join("\n  "))))
}

struct Stage<'a> {
    binaries: &'a Binaries,
    root: &'a Path,
}

impl Stage<'_> {
    fn rabbitc(&self, arguments: &[&str]) -> Command {
        let mut command = process::as_root(&self.binaries.rabbitc);
        command.args(arguments);
        command
    }

    fn rootfs_flag(&self) -> String {
        format!("--rootfs={}", self.root.display())
    }

    fn shell(&self) -> Result<()> {
        title("A shell in a container: it is pid 1, and sees only itself");
        let mut shell = self.rabbitc(&[&self.rootfs_flag()]);
        let output = show(&mut shell, "ps; hostname; ip -4 addr show eth0\n")?;
        expect(&output, "PID")?;
        title("The same without a terminal's help: one program, its exit status is ours");
        let flag = self.rootfs_flag();
        let output = show(&mut self.rabbitc(&[&flag, "--cmd=/bin/echo hello from a container"]), "")?;
        expect(&output, "hello from a container")
    }

    fn servers(&self) -> Result<()> {
        title("A server in a container, fetched from the host at the container's address");
        let first = self.server(&[])?;
        first.show_page()?;
        title("A second one beside it gets the next free address");
        let second = self.server(&[])?;
        second.show_page()?;
        first.show_page()?;
        if first.address == second.address {
            return Err(Failure::new(format!("both servers have the address {}", first.address)));
        }
        first.quit()?;
        second.quit()
    }

    fn everyday(&self, directory: &Path) -> Result<()> {
        title("A user, a volume that is only read, and limits");
        let shared = directory.join("shared");
        std::fs::create_dir(&shared).naming("make the shared directory")?;
        std::fs::write(shared.join("note"), "from the host\n").naming("write the note")?;
        let (flag, volume) = (self.rootfs_flag(), format!("--volume={}:/shared:ro", shared.display()));
        let script = "id -u; cat /shared/note; touch /shared/mine || echo refused";
        let limits = ["--memory=64m", "--cpus=0.5", "--pids-limit=20"];
        let words =
            [&[flag.as_str(), &volume, "--user=1000:1000"], &limits[..], &["sh", "-c", script]].concat();
        let output = show(&mut self.rabbitc(&words), "")?;
        ["1000", "from the host", "refused"].into_iter().try_for_each(|part| expect(&output, part))?;
        title("Root inside is nobody outside");
        let output = show(
            &mut self.rabbitc(&[&flag, "--userns=auto", "sh", "-c", "id -u; cat /proc/self/uid_map"]),
            "",
        )?;
        expect(&output, "65536")?;
        title("A published port, fetched at the host's own loopback");
        // Whoever binds it in between makes the demonstration fail with a clear message.
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let host = free.naming("find a free port")?;
        let server = self.server(&[&format!("--publish={}:80", host.port())])?;
        println!("$ curl http://{host}/");
        let page = get(host, "/")?;
        print!("{page}");
        expect(&page, &server.address.ip().to_string())?;
        server.quit()
    }

    fn server(&self, flags: &[&str]) -> Result<Server> {
        let flag = self.rootfs_flag();
        let mut command = self.rabbitc(&[&[flag.as_str()], flags, &["--cmd=/bin/server"]].concat());
        println!("$ {} &", displayed(&command));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().naming("start the server")?;
        let pipe = child.stdout.take().expect("standard output is piped");
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(pipe).read_line(&mut line);
            // Nobody listens any more once the limit is over.
            let _ = sender.send(read.map(|_| line));
        });
        let mut server = Server { child, address: SocketAddr::from(([0, 0, 0, 0], 80)) };
        let line = receiver
            .recv_timeout(STEP_LIMIT)
            .map_err(|_| Failure::new("the server said nothing"))?
            .naming("read what the server says")?;
        print!("{line}");
        let address = line.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
        server.address =
            address.ok_or_else(|| Failure::new(format!("the server did not start: `{}`", line.trim())))?;
        Ok(server)
    }

    fn host_root(&self) -> Result<()> {
        title("Neither rootfs nor image: the host's own root, as a layer to throw away");
        let script = "id; hostname; ps -e; echo mine >/etc/rabbitc-was-here; cat /etc/rabbitc-was-here";
        let output = show(&mut self.rabbitc(&["--", "/bin/sh", "-c", script]), "")?;
        expect(&output, "mine")?;
        println!("$ ls /etc/rabbitc-was-here");
        match Path::new("/etc/rabbitc-was-here").exists() {
            true => Err(Failure::new("the container wrote to the host's own `/etc`")),
            false => {
                println!("ls: cannot access '/etc/rabbitc-was-here': No such file or directory");
                Ok(())
            }
        }
    }

    fn explain(&self) -> Result<()> {
        title("What a container is: every step of its start");
        let flag = self.rootfs_flag();
        let output = show(&mut self.rabbitc(&["run", "--explain", &flag, "--cmd=/bin/true"]), "")?;
        expect(&output, "mount")
    }
}

/// A container with a server in it; killed when dropped before it was asked to quit.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn show_page(&self) -> Result<()> {
        println!("$ curl http://{}/", self.address.ip());
        let page = get(self.address, "/")?;
        print!("{page}");
        expect(&page, &self.address.ip().to_string())
    }

    fn quit(mut self) -> Result<()> {
        get(self.address, "/quit")?;
        wait(&mut self.child, "the server's container")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // sudo passes the signal on; a child of our own user we could signal ourselves.
            let _ = process::as_root("kill").arg(self.child.id().to_string()).status();
            let _ = wait(&mut self.child, "the server's container");
        }
    }
}

/// One request of HTTP/1.1; returns the body.
fn get(address: SocketAddr, path: &str) -> Result<String> {
    let exchange = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", address.ip())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().naming(format_args!("fetch `http://{address}{path}`"))?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(Failure::new(format!("`http://{address}{path}` answered `{answer}`"))),
    }
}

/// Prints the command, runs it with `input`, prints its output and returns it; a non-zero exit is a failure.
fn show(command: &mut Command, input: &str) -> Result<String> {
    match input {
        "" => println!("$ {}", displayed(command)),
        typed => println!("$ echo '{}' | {}", typed.trim_end(), displayed(command)),
    }
    // One pipe for both, so that warnings and the timeline stand where they came.
    let (mut pipe, writer) = std::io::pipe().naming("make a pipe")?;
    command.stdin(Stdio::piped()).stderr(writer.try_clone().naming("share the pipe")?).stdout(writer);
    let mut child = command.spawn().naming("start it")?;
    // The command holds the pipe's other end too, and would keep it open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut stdin = child.stdin.take().expect("standard input is piped");
    // A program that reads nothing may be gone already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let mut output = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let length = pipe.read(&mut chunk).naming("read its output")?;
        if length == 0 {
            break;
        }
        std::io::stdout().write_all(&chunk[..length]).naming("print its output")?;
        output.extend_from_slice(&chunk[..length]);
    }
    wait(&mut child, &displayed(command))?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

fn wait(child: &mut Child, what: &str) -> Result<()> {
    let end = Instant::now() + STEP_LIMIT;
    loop {
        if let Some(status) = child.try_wait().naming(format_args!("wait for {what}"))? {
            if status.success() {
                return Ok(());
            }
            return Err(Failure::new(format!("{what} ended with {status}")));
        }
        if Instant::now() > end {
            return Err(Failure::new(format!("{what} was still running after {} s", STEP_LIMIT.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn expect(output: &str, part: &str) -> Result<()> {
    if output.contains(part) {
        return Ok(());
    }
    Err(Failure::new(format!("`{part}` does not appear in the output")))
}

/// The command as the reader would type it: by sudo, but for root, and without our long path.
fn displayed(command: &Command) -> String {
    let text = process::typed(command);
    let start = if text.ends_with("/rabbitc") { Some(text.len() - 8) } else { text.find("/rabbitc ") };
    let sudo = if process::is_root() { "" } else { "sudo " };
    start.map_or(text.clone(), |at| format!("{sudo}{}", &text[at + 1..]))
}

fn title(text: &str) {
    println!("\n== {text}");
}
