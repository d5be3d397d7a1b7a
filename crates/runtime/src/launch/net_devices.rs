//! Moves network devices of the host into the container, and back where its start fails. Everything inside is done by a
//! thread in the container's network namespace, with this process's rights.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use sys::clone::flags;

use super::Launch;
use crate::error::{Error, Result};
use crate::foreign;
use crate::init::step::HostAction;
use crate::plan::net_devices::NetDevice;
use crate::rtnetlink::Socket;

/// Devices that are in the container.
#[derive(Debug)]
pub(super) struct Moved<'a> {
    /// The network namespace where they are.
    there: OwnedFd,
    /// Each with its number there.
    devices: Vec<(&'a NetDevice, u32)>,
}

impl Launch<'_> {
    pub(super) fn move_net_devices(&mut self) -> Result<()> {
        let path = format!("/proc/{}/ns/net", self.pid());
        self.step(
            |action| matches!(action, HostAction::MoveNetDevices { .. }),
            |launch| {
                let there = File::open(&path)
                    .map_err(|error| Error::at_path("open the network namespace", path.as_ref(), error))?;
                // What is in it is moved back, if not all can be moved.
                let moved = launch.moved.insert(Moved { there: there.into(), devices: Vec::new() });
                let plan = launch.plan;
                plan.net_devices
                    .iter()
                    .try_for_each(|device| moved.take(device).map_err(|error| explain(error, device)))
            },
        )?;
        Ok(())
    }
}

impl<'a> Moved<'a> {
    fn take(&mut self, device: &'a NetDevice) -> io::Result<()> {
        let there = self.there.as_fd();
        let index =
            foreign::within(there, flags::NEWNET, || free_index(&mut Socket::open()?, device.link.index))?;
        Socket::open()?.move_link(device.link.index, there, &device.inside, index)?;
        self.devices.push((device, index));
        foreign::within(there, flags::NEWNET, || set_as_before(&mut Socket::open()?, index, device, true))
    }

    /// Moves all back, as they were; returns what could not be.
    pub(super) fn give_back(self) -> Vec<Error> {
        let mut failures = Vec::new();
        for (device, index) in self.devices.iter().rev() {
            let back = || -> io::Result<()> {
                let here = File::open("/proc/thread-self/ns/net")?;
                let mut socket = Socket::open()?;
                let number = free_index(&mut socket, device.link.index)?;
                foreign::within(self.there.as_fd(), flags::NEWNET, || {
                    Ok(Socket::open()?.move_link(*index, here.as_fd(), &device.name, number)?)
                })?;
                set_as_before(&mut socket, number, device, device.link.is_up)
            };
            if let Err(error) = back() {
                failures
                    .push(Error::system(format!("move the network device `{}` back", device.name), error));
            }
        }
        failures
    }
}

/// The wanted number of a device, or the next that is free: the kernel does not tell which one it chose.
fn free_index(socket: &mut Socket, wanted: u32) -> io::Result<u32> {
    let mut index = wanted;
    while socket.has_index(index)? {
        index = index.checked_add(1).ok_or(Errno::OVERFLOW)?;
    }
    Ok(index)
}

/// Leaving a namespace takes addresses away and sets a device down.
fn set_as_before(socket: &mut Socket, index: u32, device: &NetDevice, is_up: bool) -> io::Result<()> {
    for address in &device.addresses {
        match socket.add_address(index, address) {
            Err(Errno::EXIST) => {}
            other => other?,
        }
    }
    if is_up {
        socket.set_up(index)?;
    }
    Ok(())
}

fn explain(error: io::Error, device: &NetDevice) -> Error {
    let operation = format!("move the network device `{}` into the container", device.name);
    let hint = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::EXIST) => format!(
            "its network namespace has a device `{}` already; give this one another `name`, perhaps with `%d`",
            device.inside
        ),
        Some(Errno::PERM | Errno::ACCESS) => "moving a device of the host takes root".to_owned(),
        Some(Errno::INVAL) => {
            "the kernel does not let this device leave its namespace (`ip -d link` shows `netns-immutable` or \
             `netns-local`), or is older than 5.13"
                .to_owned()
        }
        _ => return Error::system(operation, error).from_field(&device.field),
    };
    Error::system(operation, error).from_field(&device.field).with_hint(hint)
}
