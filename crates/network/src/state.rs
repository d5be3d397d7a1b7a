//! Owns a network's state directory: its lock and its address leases. Touches no interface and no rule.
//!
//! ```text
//! <namespace>/<network>/lock                  flock: shared to use the bridge, exclusive to make or remove it
//! <namespace>/<network>/subnet                the subnet that was chosen for it, before there is a bridge
//! <namespace>/<network>/firewalls             in which of the host's firewalls the network was allowed
//! <namespace>/<network>/leases/172.19.0.2     the holder's id; flock held by the holder's descriptor
//! <namespace>/<network>/names                 flock held by the responder, where the network has one ([`crate::Responder`])
//! ```
//!
//! All below the directory of the network namespace ([`crate::namespace_state`]).
//!
//! In a lease's file, lines follow the id: `until gone: RECORD`, then `name: NAME`, `ipv6: ADDRESS` and `dns: ADDRESS` for the
//! responder, then a line for each published port. What leads to a dead holder's address is taken out of the
//! rules before its file is removed or becomes somebody else's.
//!
//! Only kernel locks count: a lease whose file nobody locks is free, so a killed holder frees it by dying. One whose
//! processes could not be ended says by what record of theirs it is held until they are gone ([`Lease::leave`]).
//! Files are unlinked only while locked, and whoever gets a lock looks whether the file is still linked.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use crate::error::{Error, Kind, Result};
use crate::lease_text::{MOST_SAID, Said, is_left, is_of_names, lines_of, said_in};
use crate::namespace_state::{NamespaceState, entries};
use crate::options::{BridgeNetwork, ContainerInterface, InterfaceName, Ipv4Network};
use crate::ports::Publication;
use crate::publish;

/// How many addresses with a lease file are tried for a dead holder before the first without one is taken:
/// keeps a start's cost the same with 2 and with 500 containers. The rest is swept by the janitor.
const STALE_PROBES: usize = 16;

/// The state of one network of this network namespace, below a directory that the caller owns
/// (`/run/rabbitc/network`).
///
/// The directories are made when they are needed and removed with the network, at any moment: so nothing
/// holds a descriptor of them, and every use starts from the parent.
#[derive(Debug, Clone)]
pub struct NetworkStateDirectory {
    namespace: NamespaceState,
    name: InterfaceName,
}

/// Which address a container wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressRequest {
    /// The lowest free one, counted from the gateway's address up, then from the subnet's start.
    LowestFree,
    /// This one or none.
    Exactly(Ipv4Addr),
}

/// Who may hold the network's lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Many: they find the bridge as it is.
    Shared,
    /// One: it makes or removes the bridge.
    Exclusive,
}

/// A lock on a network, on all of a namespace, or on all published ports; dropping it unlocks.
#[derive(Debug)]
pub(crate) struct StateLock {
    descriptor: OwnedFd,
}

impl StateLock {
    /// Takes over a locked descriptor.
    pub(crate) fn of(descriptor: OwnedFd) -> Self {
        Self { descriptor }
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        // For every copy: a child that another thread has just forked holds one until it executes its program.
        let _ = flock(&self.descriptor, FlockOperation::Unlock);
    }
}

/// A lease as found on disk and still held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLease {
    /// The leased address.
    pub address: Ipv4Addr,
    /// The holder's id, as given when the lease was taken.
    pub holder: Option<String>,
}

/// What became of trying to lock a file.
pub(crate) enum Attempt {
    /// With what a dead holder wrote, if anything.
    Taken(OwnedFd, u64),
    Held,
    /// The file went away or came up meanwhile.
    Again,
}

impl NetworkStateDirectory {
    /// Names the state of the network `name` of the calling thread's network namespace, below `parent`, which must
    /// exist; creates nothing yet.
    pub fn new(parent: BorrowedFd<'_>, name: &InterfaceName) -> Result<Self> {
        NamespaceState::of_this_thread(parent).map(|namespace| namespace.network(name))
    }

    pub(crate) fn in_namespace(namespace: &NamespaceState, name: &InterfaceName) -> Self {
        Self { namespace: namespace.clone(), name: name.clone() }
    }

    /// That of all networks of the same namespace.
    pub(crate) fn namespace(&self) -> &NamespaceState {
        &self.namespace
    }

    pub(crate) fn parent(&self) -> &Arc<OwnedFd> {
        &self.namespace.parent
    }

    /// The network's directory, from the parent.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.namespace.path(), self.name)
    }

    /// The network's name.
    pub fn name(&self) -> &InterfaceName {
        &self.name
    }

    /// Leases an address for `holder`, an id of one line. The lease lives until it is released or until every
    /// copy of its descriptor is closed, whatever closes it.
    pub fn lease(&self, network: &BridgeNetwork, request: AddressRequest, holder: &str) -> Result<Lease> {
        let (address, descriptor) = match request {
            AddressRequest::Exactly(address) => (address, self.take_exactly(&network.ipv4(), address)?),
            AddressRequest::LowestFree => self.take_lowest(network)?,
        };
        let lease = Lease {
            parent: Arc::clone(self.parent()),
            path: self.lease_path(address),
            interface: network.container_interface(address)?,
            descriptor: Some(descriptor),
            is_led_to: Arc::default(),
            said: Mutex::new(Said {
                holder: holder.lines().next().unwrap_or_default().to_owned(),
                ..Said::default()
            }),
        };
        lease.say(|_| ()).map_err(|errno| self.error("write lease", address.to_string(), errno))?;
        Ok(lease)
    }

    fn take_exactly(&self, network: &Ipv4Network, address: Ipv4Addr) -> Result<OwnedFd> {
        network.check_container_address(address)?;
        // A sweep holds each lease's lock for the moment of looking: only who still holds it after some
        // milliseconds is a holder.
        for _ in 0..5 {
            match self.take(address)? {
                Some(descriptor) => return Ok(descriptor),
                None => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        }
        let holder = self.read_holder(address);
        Err(Error::new("lease address", address.to_string(), Kind::AddressTaken { holder }))
    }

    fn take_lowest(&self, network: &BridgeNetwork) -> Result<(Ipv4Addr, OwnedFd)> {
        let mut present = self.lease_files()?;
        present.sort_unstable();
        let mut probes = STALE_PROBES;
        for address in candidates(&network.ipv4()).filter(|address| network.is_chosen_from(*address)) {
            if present.binary_search(&address).is_ok() {
                if probes == 0 {
                    continue;
                }
                probes -= 1;
            }
            if let Some(descriptor) = self.take(address)? {
                return Ok((address, descriptor));
            }
        }
        // Full, unless a holder beyond the first probes is dead.
        for address in present {
            if network.ipv4().check_container_address(address).is_ok()
                && network.is_chosen_from(address)
                && let Some(descriptor) = self.take(address)?
            {
                return Ok((address, descriptor));
            }
        }
        Err(Error::new("lease address in network", self.name.as_str(), Kind::NoFreeAddress))
    }

    /// The lease's locked descriptor, or nothing if it is held.
    fn take(&self, address: Ipv4Addr) -> Result<Option<OwnedFd>> {
        loop {
            match self
                .attempt(address)
                .map_err(|errno| self.error("lease address", address.to_string(), errno))?
            {
                Attempt::Taken(descriptor, length) => {
                    if length > 0 {
                        let said = self.read_dead(&descriptor, address)?;
                        if is_left(&said) {
                            return Ok(None);
                        }
                        self.withdraw_ports_of_dead(&said, address)?;
                    }
                    return Ok(Some(descriptor));
                }
                Attempt::Held => return Ok(None),
                Attempt::Again => {}
            }
        }
    }

    /// What a dead holder wrote, or its beginning.
    fn read_dead(&self, lease: &OwnedFd, address: Ipv4Addr) -> Result<Vec<u8>> {
        said_in(lease).map_err(|errno| self.error("read lease", address.to_string(), errno))
    }

    /// What leads to the address of a dead holder, who wrote this, goes before its file does. Its lock is ours.
    fn withdraw_ports_of_dead(&self, said: &[u8], address: Ipv4Addr) -> Result<()> {
        // An id has no end within so many bytes only where something else wrote it.
        let mut more = lines_of(said).skip(1);
        if more.any(|line| !is_of_names(line)) || said.len() == MOST_SAID {
            publish::withdraw_dead(self, &self.name, address).map_err(|errno| {
                self.error("withdraw published ports of dead container at", address.to_string(), errno)
            })?;
        }
        Ok(())
    }

    fn attempt(&self, address: Ipv4Addr) -> rustix::io::Result<Attempt> {
        let path = self.lease_path(address);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match openat(self.parent(), &path, flags, Mode::RUSR | Mode::WUSR) {
            Ok(descriptor) => lock_now(descriptor),
            Err(Errno::NOENT) => self.make_directories().map(|()| Attempt::Again),
            Err(errno) => Err(errno),
        }
    }

    fn make_directories(&self) -> rustix::io::Result<()> {
        for path in [self.namespace.path(), self.path(), format!("{}/leases", self.path())] {
            match mkdirat(self.parent(), &path, Mode::RWXU) {
                // ENOENT: the network was removed between the two; the caller's loop comes back.
                Ok(()) | Err(Errno::EXIST | Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// How many leases there are, those of dead holders included.
    pub(crate) fn count_leases(&self) -> Result<usize> {
        self.lease_files().map(|files| files.len())
    }

    /// The leases that are held now, in order of address. Removes the files of dead holders.
    pub fn held_leases(&self) -> Result<Vec<HeldLease>> {
        self.sweep_leases(|dead, address| self.withdraw_ports_of_dead(dead, address))
    }

    /// The leases that are held; `on_dead` sees what is in each other one, locked, before its file goes.
    fn sweep_leases(&self, on_dead: impl Fn(&[u8], Ipv4Addr) -> Result<()>) -> Result<Vec<HeldLease>> {
        let mut held = Vec::new();
        let mut files = self.lease_files()?;
        files.sort_unstable();
        for address in files {
            let path = self.lease_path(address);
            let error = |errno| self.error("look at lease", address.to_string(), errno);
            let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let descriptor = match openat(self.parent(), &path, flags, Mode::empty()) {
                Ok(descriptor) => descriptor,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(error(errno)),
            };
            let mut hold = || held.push(HeldLease { address, holder: self.read_holder(address) });
            match lock_now(descriptor).map_err(error)? {
                Attempt::Held => hold(),
                Attempt::Again => {}
                // Still locked by us while it is unlinked.
                Attempt::Taken(dead, _) => {
                    let said = self.read_dead(&dead, address)?;
                    if is_left(&said) {
                        hold();
                        continue;
                    }
                    on_dead(&said, address)?;
                    ignore_absence(unlinkat(self.parent(), &path, AtFlags::empty())).map_err(error)?
                }
            }
        }
        Ok(held)
    }

    /// Whether `holder` lives and has the lease of `address` in the network `name`, which may be another one.
    pub(crate) fn holds(&self, name: &str, address: Ipv4Addr, holder: &str) -> rustix::io::Result<bool> {
        let Ok(name) = InterfaceName::parse(name) else { return Ok(false) };
        let other = self.namespace.network(&name);
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let descriptor = match openat(self.parent(), other.lease_path(address), flags, Mode::empty()) {
            Ok(descriptor) => descriptor,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(errno),
        };
        let held = match lock_now(descriptor)? {
            Attempt::Held => true,
            Attempt::Again => false,
            // Its container lives where its process does not: the address was left to that.
            Attempt::Taken(lease, _) => is_left(&said_in(&lease)?),
        };
        Ok(held && other.read_holder(address).as_deref() == Some(holder))
    }

    /// Waits for the lock on the published ports of all networks, of other namespaces too. It is on the parent
    /// directory itself: nothing is left of it.
    pub(crate) fn lock_publications(&self) -> rustix::io::Result<StateLock> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = openat(self.parent(), ".", flags, Mode::empty())?;
        rustix::io::retry_on_intr(|| flock(&descriptor, FlockOperation::LockExclusive))?;
        Ok(StateLock::of(descriptor))
    }

    /// Waits for the network's lock.
    pub(crate) fn lock(&self, sharing: Sharing) -> Result<StateLock> {
        let error = |errno| self.error("lock network", self.name.to_string(), errno);
        let path = format!("{}/lock", self.path());
        let operation = match sharing {
            Sharing::Shared => FlockOperation::LockShared,
            Sharing::Exclusive => FlockOperation::LockExclusive,
        };
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let descriptor = match openat(self.parent(), &path, flags, Mode::RUSR | Mode::WUSR) {
                Ok(descriptor) => descriptor,
                Err(Errno::NOENT) => {
                    self.make_directories().map_err(error)?;
                    continue;
                }
                Err(errno) => return Err(error(errno)),
            };
            rustix::io::retry_on_intr(|| flock(&descriptor, operation)).map_err(error)?;
            // Whoever removes the network unlinks the lock while holding it.
            if fstat(&descriptor).map_err(error)?.st_nlink > 0 {
                return Ok(StateLock { descriptor });
            }
        }
    }

    /// Removes the network's directory with its lock, held exclusively. A lease that came up meanwhile keeps
    /// its directory, and the lock is made anew when it is next needed.
    pub(crate) fn remove(&self, lock: StateLock) -> Result<()> {
        let error = |errno| self.error("remove state of network", self.name.to_string(), errno);
        let steps = [
            (format!("{}/leases", self.path()), AtFlags::REMOVEDIR),
            (self.subnet_path(), AtFlags::empty()),
            (self.names_path(), AtFlags::empty()),
            (self.integration_path(), AtFlags::empty()),
            (format!("{}/lock", self.path()), AtFlags::empty()),
            (self.path(), AtFlags::REMOVEDIR),
        ];
        for (path, flags) in steps {
            match unlinkat(self.parent(), &path, flags) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::NOTEMPTY) => break,
                Err(errno) => return Err(error(errno)),
            }
        }
        drop(lock);
        self.namespace.remove_if_empty()
    }

    /// Removes the records of a network whose namespace is gone, unless somebody holds a lease all the same. What they
    /// say of rules is of that namespace, and not looked at.
    pub(crate) fn forget(&self) -> Result<()> {
        let lock = self.lock(Sharing::Exclusive)?;
        if self.sweep_leases(|_, _| Ok(()))?.is_empty() { self.remove(lock) } else { Ok(()) }
    }

    /// The subnet that was chosen for the network; nobody else gets it as long as there is this record.
    pub(crate) fn chosen_subnet(&self) -> Option<Ipv4Network> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(self.parent(), self.subnet_path(), flags, Mode::empty()).ok()?;
        let mut buffer = [0; 64];
        let length = rustix::io::read(&file, &mut buffer).ok()?;
        Ipv4Network::parse(std::str::from_utf8(&buffer[..length]).ok()?.trim_end()).ok()
    }

    /// Writes down which subnet was chosen. Wants the lock on making.
    pub(crate) fn note_subnet(&self, subnet: &Ipv4Network) -> Result<()> {
        let error = |errno| self.error("write subnet of network", self.name.to_string(), errno);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file =
            openat(self.parent(), self.subnet_path(), flags, Mode::RUSR | Mode::WUSR).map_err(error)?;
        rustix::io::write(&file, format!("{subnet}\n").as_bytes()).map(drop).map_err(error)
    }

    /// Gives the address back that `holder`, whose container runs on, has here: what leads to it is taken out, and the file
    /// goes, whoever still has it open. Whether there was one.
    pub fn give_back(&self, address: Ipv4Addr, holder: &str) -> Result<bool> {
        if self.read_holder(address).as_deref() != Some(holder) {
            return Ok(false);
        }
        let error = |errno| self.error("give back lease", address.to_string(), errno);
        publish::withdraw_dead(self, &self.name, address).map_err(error)?;
        ignore_absence(unlinkat(self.parent(), self.lease_path(address), AtFlags::empty())).map_err(error)?;
        Ok(true)
    }

    /// In which firewalls of others the network has allowances: a line for each.
    pub(crate) fn integration(&self) -> String {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(self.parent(), self.integration_path(), flags, Mode::empty());
        let mut buffer = [0; 256];
        let length = file.and_then(|file| rustix::io::read(&file, &mut buffer)).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// Writes that down. Wants the network's lock, exclusively.
    pub(crate) fn note_integration(&self, text: &str) -> Result<()> {
        let error = |errno| self.error("write firewalls of network", self.name.to_string(), errno);
        // Never cut: what was there before is the beginning of what is there now.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file =
            openat(self.parent(), self.integration_path(), flags, Mode::RUSR | Mode::WUSR).map_err(error)?;
        rustix::io::write(&file, text.as_bytes()).map(drop).map_err(error)
    }

    pub(crate) fn lease_files(&self) -> Result<Vec<Ipv4Addr>> {
        let path = format!("{}/leases", self.path());
        match entries(self.parent().as_fd(), &path, |name| name.parse().ok()) {
            Ok(addresses) => Ok(addresses),
            Err(Errno::NOENT) => Ok(Vec::new()),
            Err(errno) => Err(self.error("read leases of network", self.name.to_string(), errno)),
        }
    }

    pub(crate) fn read_holder(&self, address: Ipv4Addr) -> Option<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let descriptor = openat(self.parent(), self.lease_path(address), flags, Mode::empty()).ok()?;
        let mut buffer = [0; 256];
        let length = rustix::io::read(&descriptor, &mut buffer).ok()?;
        let holder = std::str::from_utf8(&buffer[..length]).ok()?.lines().next()?.trim_end();
        (!holder.is_empty()).then(|| holder.to_owned())
    }

    pub(crate) fn lease_path(&self, address: Ipv4Addr) -> String {
        let mut path = String::with_capacity(56);
        write!(path, "{}/leases/{address}", self.path()).expect("writing to a string does not fail");
        path
    }

    pub(crate) fn names_path(&self) -> String {
        format!("{}/names", self.path())
    }

    fn integration_path(&self) -> String {
        format!("{}/firewalls", self.path())
    }

    fn subnet_path(&self) -> String {
        format!("{}/subnet", self.path())
    }

    pub(crate) fn error(&self, operation: &'static str, object: String, errno: Errno) -> Error {
        Error::from_errno(operation, object, errno)
    }
}

/// One leased address, locked by this value's descriptor. Dropping it releases the address; where published ports may still
/// lead there, the file stays, and whoever comes next takes them out first.
#[derive(Debug)]
pub struct Lease {
    parent: Arc<OwnedFd>,
    path: String,
    interface: ContainerInterface,
    /// Present until the lease is handed over.
    descriptor: Option<OwnedFd>,
    /// Whether published ports may lead to the address.
    is_led_to: Arc<AtomicBool>,
    /// What is in its file.
    said: Mutex<Said>,
}

impl Lease {
    /// The leased address.
    pub fn address(&self) -> Ipv4Addr {
        self.interface.ipv4
    }

    /// The container's interface with this address.
    pub fn interface(&self) -> &ContainerInterface {
        &self.interface
    }

    /// Has the container have its interface otherwise.
    pub fn set_interface(&mut self, interface: ContainerInterface) {
        self.interface = interface;
    }

    /// The holder's id, as given when it was taken.
    pub fn holder(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).holder.clone()
    }

    /// The locked descriptor, close-on-exec. The lease is held as long as any copy of it is open.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_ref().expect("only `hand_over` takes it, and that consumes the lease").as_fd()
    }

    /// Gives the lease to whoever keeps the descriptor open; the address is free when it is closed.
    pub fn hand_over(mut self) -> OwnedFd {
        self.descriptor.take().expect("only this function takes it, and it consumes the lease")
    }

    /// Leaves the address to processes of the container that could not be ended: nobody gets it as long as there is
    /// something at `record`, an absolute path.
    pub fn leave(self, record: &Path) -> Result<()> {
        self.entrust(record).map(drop)
    }

    /// The same, as long as there is something at `record` or what comes back is open.
    pub fn entrust(mut self, record: &Path) -> Result<OwnedFd> {
        let said = self.say(|said| said.until_gone = Some(record.as_os_str().as_bytes().to_owned()));
        let address = self.address().to_string();
        let descriptor = self.descriptor.take().expect("only who consumes the lease takes it");
        said.map_err(|errno| Error::from_errno("write lease", address, errno))?;
        Ok(descriptor)
    }

    /// Writes down how the container is called on its network, whom it asks for other names, and its address of IPv6. Names
    /// that can't be asked for are left out.
    pub fn note_names(&self, names: &[String], servers: &[IpAddr], ipv6: Option<Ipv6Addr>) -> Result<()> {
        let said = self.say(|said| {
            said.names = crate::names::fit(names);
            said.servers = servers.to_vec();
            said.ipv6 = ipv6;
        });
        said.map_err(|errno| Error::from_errno("write lease", self.address().to_string(), errno))
    }

    /// Writes down which ports will lead to the address, for whoever finds this lease without its holder. From now on some
    /// may, until that is said to be over in what comes back.
    pub(crate) fn note_publications(
        &self,
        publications: &[Publication],
    ) -> rustix::io::Result<Arc<AtomicBool>> {
        self.say(|said| said.publications = publications.iter().map(ToString::to_string).collect())?;
        self.is_led_to.store(true, Ordering::Relaxed);
        Ok(Arc::clone(&self.is_led_to))
    }

    /// Changes what is in the file.
    fn say(&self, change: impl FnOnce(&mut Said)) -> rustix::io::Result<()> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut said);
        said.write(self.descriptor())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // One that was given back meanwhile may be somebody else's by now.
        let is_linked = |descriptor: &OwnedFd| fstat(descriptor).is_ok_and(|file| file.st_nlink > 0);
        if self.descriptor.as_ref().is_some_and(is_linked) && !self.is_led_to.load(Ordering::Relaxed) {
            // Best effort: a file left behind is nobody's once the descriptor is closed.
            let _ = unlinkat(&self.parent, &self.path, AtFlags::empty());
        }
    }
}

pub(crate) fn lock_now(descriptor: OwnedFd) -> rustix::io::Result<Attempt> {
    match rustix::io::retry_on_intr(|| flock(&descriptor, FlockOperation::NonBlockingLockExclusive)) {
        Err(Errno::WOULDBLOCK) => Ok(Attempt::Held),
        Err(errno) => Err(errno),
        Ok(()) => {
            let file = fstat(&descriptor)?;
            // Released between our open and our lock: the file that we hold is no longer the lease's.
            if file.st_nlink == 0 {
                return Ok(Attempt::Again);
            }
            Ok(Attempt::Taken(descriptor, file.st_size.cast_unsigned()))
        }
    }
}

fn candidates(network: &Ipv4Network) -> impl Iterator<Item = Ipv4Addr> + use<> {
    let gateway = network.gateway().to_bits();
    let above = gateway + 1..network.broadcast().to_bits();
    let below = network.first().to_bits() + 1..gateway;
    above.chain(below).map(Ipv4Addr::from_bits)
}

fn ignore_absence(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
