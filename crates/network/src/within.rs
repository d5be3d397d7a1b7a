//! Owns what is changed in the network namespace of a container that runs: by a thread that enters it, and ends.

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use sys::clone::flags;

use crate::error::{Error, Result};
use crate::link;
use crate::namespace_configuration::NamespaceConfiguration;
use netlink::{Batch, Socket};

/// Configures what is in a namespace.
pub fn configure_within(namespace: BorrowedFd<'_>, configuration: &NamespaceConfiguration) -> Result<()> {
    within(namespace, || {
        let error = |errno| Error::from_errno("configure", "the container's network namespace", errno);
        let mut socket = Socket::route().map_err(error)?;
        let batch = Batch::of_requests(configuration.messages.clone(), configuration.steps.len());
        socket.execute(&batch).map_err(|failure| {
            let index = (failure.sequence as usize).saturating_sub(1);
            match configuration.steps.get(index) {
                Some(step) => Error::from_errno(step.name, step.object.clone(), failure.errno),
                None => error(failure.errno),
            }
        })
    })
}

/// Removes an interface in a namespace, with its other end; whether it was there.
pub fn remove_interface_within(namespace: BorrowedFd<'_>, name: &str) -> Result<bool> {
    within(namespace, || {
        let error = |errno| Error::from_errno("remove interface", name, errno);
        let mut socket = Socket::route().map_err(error)?;
        let Some(link) = link::by_name(&mut socket, name).map_err(error)? else { return Ok(false) };
        link::delete(&mut socket, link.index).map_err(error)?;
        Ok(true)
    })
}

/// Runs `work` in a thread of its own that has joined `namespace`.
fn within<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let error = |error: std::io::Error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Error::from_errno("enter", "the container's network namespace", errno)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || {
            sys::namespace::join(namespace, flags::NEWNET).map_err(error)?;
            work()
        });
        thread.map_err(error)?.join().expect("it does not panic")
    })
}
