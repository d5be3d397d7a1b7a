//! Owns the tests' network namespaces and state directories; the namespace that the tests start in is never
//! changed.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rabbitc_network::*;

/// Whether the test may go on; says why not.
pub fn may_run(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: {test}: network namespaces need root");
    }
    root
}

/// Whether a program of the distribution is there; says so if not.
pub fn has_program(test: &str, program: &str) -> bool {
    let found = Command::new(program).arg("-V").output().is_ok();
    if !found {
        eprintln!("skipped: {test}: no `{program}` on this machine");
    }
    found
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread with a network namespace of its own: a host, a container, or what is outside.
pub struct Namespace {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    pub descriptor: OwnedFd,
}

impl Namespace {
    pub fn new() -> Self {
        let (jobs, queue): (Sender<Job>, Receiver<Job>) = channel();
        let (opened, open) = channel();
        let thread = std::thread::spawn(move || {
            sys::namespace::unshare(sys::clone::flags::NEWNET).expect("a network namespace");
            let file = File::open("/proc/thread-self/ns/net").expect("the namespace's file");
            opened.send(OwnedFd::from(file)).expect("the test waits");
            queue.into_iter().for_each(|job| job());
        });
        Self { jobs: Some(jobs), thread: Some(thread), descriptor: open.recv().expect("the thread lives") }
    }

    /// Runs the closure inside and returns what it returns; its panic becomes the test's.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let job: Job = Box::new(move || {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            let _ = done.send(outcome);
        });
        self.jobs.as_ref().expect("present until dropped").send(job).expect("the thread lives");
        match result.recv().expect("the thread answers") {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A directory as the engine's `/run/rabbitc/network` would be; removed at the end.
pub struct StateParent {
    pub path: PathBuf,
    pub descriptor: OwnedFd,
}

impl StateParent {
    pub fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rabbitc-network-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a state directory");
        let descriptor = File::open(&path).expect("the directory opens").into();
        Self { path, descriptor }
    }

    pub fn network(&self, network: &BridgeNetwork) -> NetworkStateDirectory {
        NetworkStateDirectory::new(self.descriptor.as_fd(), network.name()).expect("the parent is open")
    }

    pub fn is_empty(&self) -> bool {
        std::fs::read_dir(&self.path).expect("readable").next().is_none()
    }
}

impl Drop for StateParent {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Waits until a holder that is gone is seen to be gone: a program that another test starts has copies of all
/// descriptors of this process until its exec, and with them locks and ports.
pub fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a program in the calling thread's network namespace; it must succeed.
pub fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "`{command}`: {}", String::from_utf8_lossy(&output.stderr));
    text
}

pub fn network(name: &str, ipv4: &str) -> BridgeNetwork {
    NetworkOptions {
        name: name.into(),
        ipv4: ipv4.into(),
        ipv6: Ipv6Choice::WhereTheHostHasIt,
        ..NetworkOptions::default()
    }
    .check()
    .expect("a good network")
}

/// Starts a container's network as the engine would: lease, bridge, pair, configuration from inside.
pub fn start(
    network: &BridgeNetwork,
    state: &NetworkStateDirectory,
    container: &Namespace,
) -> (Lease, Bridge) {
    let lease = state.lease(network, AddressRequest::LowestFree, "container").expect("a lease");
    let bridge = ensure(network, state, &lease).expect("a bridge");
    attach(&bridge, NetnsTarget::Fd(container.fd()), lease.interface(), Hairpin::Off).expect("a veth");
    let plan = NamespaceConfiguration::plan(&[*lease.interface()]);
    container.run(move || {
        let count = u32::try_from(plan.steps.len()).expect("few");
        if let Err(failure) = sys::netlink::send_route_batch(&plan.messages, count) {
            panic!("{failure:?} of {:?}", plan.steps);
        }
    });
    (lease, bridge)
}

/// Gives the calling thread's namespace a cable to `other`: `up0` there and here, with these addresses.
pub fn connect(other: &Namespace, here: &[&str], there: &[&str]) {
    let descriptor = other.descriptor.as_raw_fd();
    let process = std::process::id();
    sh(&format!("ip link add up0 type veth peer name up0 netns /proc/{process}/fd/{descriptor}"));
    let add = |addresses: &[&str]| -> String {
        addresses.iter().map(|address| format!("ip addr add {address} dev up0 nodad; ")).collect()
    };
    sh(&format!("{} ip link set up0 up; ip link set lo up", add(here)));
    let there = add(there);
    other.run(move || sh(&format!("{there} ip link set up0 up; ip link set lo up")));
}

/// Serves one TCP connection inside and returns the client's address as the server saw it; then the client,
/// run by `connect` elsewhere, has been answered.
pub fn serve_once(server: &Namespace, address: &str) -> Receiver<std::net::IpAddr> {
    let (seen, peer) = channel();
    let address = address.to_owned();
    server.run(move || {
        let listener = std::net::TcpListener::bind(address).expect("the address is the server's");
        std::thread::spawn(move || {
            let (mut stream, peer) = listener.accept().expect("a client");
            std::io::Write::write_all(&mut stream, b"hello").expect("the client reads");
            let _ = seen.send(peer.ip());
        });
    });
    peer
}

/// Connects from the calling thread's namespace and reads the greeting.
pub fn fetch(address: &str) -> std::io::Result<String> {
    let address = address.parse().expect("an address with a port");
    let patience = std::time::Duration::from_secs(5);
    let mut stream = std::net::TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text)?;
    Ok(text)
}

/// Where the leases of a network of the calling thread's namespace are.
pub fn state_path(path: &Path, network: &str) -> PathBuf {
    let namespace = rustix::fs::stat("/proc/thread-self/ns/net").expect("the namespace's file").st_ino;
    path.join(namespace.to_string()).join(network).join("leases")
}
