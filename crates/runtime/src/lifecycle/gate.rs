//! The start gate: a socket behind which the init of a created container waits until somebody calls `start`.

use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{Verb, config_path, demand, init, removal, state_document, status};
use crate::error::{Error, ErrorKind, FailedStep, Result};
use crate::hooks::{self, World};
use crate::id::ContainerId;
use crate::init::failure::Failure;
use crate::plan::{BindRules, ContainerPlan, PlanOptions, Start};
use crate::seccomp_agent::{Agent, Listener};
use crate::spec::Spec;
use crate::state_dir::{Lock, Record, StateDir, StateRoot};
use crate::sync::{self, Record as Message};

fn socket(flags: SocketFlags) -> rustix::io::Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | flags, None)
}

/// Makes the start gate: init inherits it and waits there.
pub(crate) fn open_gate(state: &StateDir) -> Result<OwnedFd> {
    let make = || -> rustix::io::Result<OwnedFd> {
        let socket = socket(SocketFlags::empty())?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(state.gate_address())?)?;
        rustix::net::listen(&socket, 16)?;
        Ok(socket)
    };
    make().map_err(|error| Error::at_path("make the start gate in", state.path(), error))
}

fn connect(state: &StateDir, flags: SocketFlags) -> rustix::io::Result<OwnedFd> {
    let socket = socket(flags)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(state.gate_address())?)?;
    Ok(socket)
}

/// Whether somebody waits behind the gate. Init takes a caller that goes away again for what it is.
pub(super) fn gate_answers(state: &StateDir) -> bool {
    // A full backlog is of callers that went away while init could not answer.
    matches!(connect(state, SocketFlags::NONBLOCK), Ok(_) | Err(rustix::io::Errno::AGAIN))
}

/// Lets the container's program begin.
pub fn start(root: &StateRoot, id: &ContainerId) -> Result<()> {
    let state = root.open(id, Lock::Wait)?;
    let record = state.read()?;
    demand(id.as_str(), status(&state, &record), Verb::Start)?;
    let system = |error: rustix::io::Errno| Error::system(format!("start `{id}`"), error);
    let socket = connect(&state, SocketFlags::empty()).map_err(system)?;
    sync::send(socket.as_fd(), Message::Go { step: 0 }).map_err(system)?;
    let mut taken = false;
    loop {
        let (message, shown) = sync::receive_with_descriptor(socket.as_fd()).map_err(system)?;
        match message {
            Some(Message::Reached { step }) => {
                // The only barrier beyond the gate.
                let document = || state_document(&record, "created");
                let spec: Spec = crate::bundle::read_json(&config_path(&record))?;
                let list = &record.hooks.start_container;
                if let Err(error) =
                    hooks::run(list, "startContainer", document, World::Program(&record, &spec))
                {
                    return Err(end(state, &record, error));
                }
                sync::send(socket.as_fd(), Message::Go { step }).map_err(system)?;
            }
            Some(Message::Failed { failure, step }) => {
                let error = explain_late(root, id, &record, usize::from(step), failure);
                return Err(error);
            }
            Some(Message::Listener { step, descriptor }) => {
                pass_listener(&record, Listener { shown, number: descriptor })?;
                sync::send(socket.as_fd(), Message::Go { step }).map_err(system)?;
            }
            Some(Message::Go { .. }) => taken = true,
            Some(Message::Process { .. }) => {}
            None if taken => break,
            None => {
                let reason = "its init ended while it waited to be started";
                return Err(Error::new(ErrorKind::System, format!("start `{id}`"), reason));
            }
        }
    }
    state.remove_gate()?;
    run_poststart(&record).map_err(|error| end(state, &record, error))
}

/// A hook that fails stops the container, and its life goes on with the removal (runtime.md, "Lifecycle").
fn end(state: StateDir, record: &Record, mut error: Error) -> Error {
    match removal::remove(state, record) {
        Ok(warnings) => error.rollback.extend(warnings),
        Err(left) => error.rollback.push(left),
    }
    error
}

/// Hands the listener of init's filter to the agent.
fn pass_listener(record: &Record, listener: Listener) -> Result<()> {
    let gone = || Error::new(ErrorKind::System, format!("start `{}`", record.id), "its init ended");
    let spec: Spec = crate::bundle::read_json(&config_path(record))?;
    let Some(agent) = Agent::of_spec(&spec) else { return Ok(()) };
    let init = init(record).ok_or_else(gone)?;
    agent.hand_over(listener, (record.pid, init.as_fd()), record, "creating")
}

/// The error for a step beyond the gate. Its plan went with whoever made the container, so it is made again from the
/// bundle, for its words alone; steps are counted from the gate, as those before it may differ.
fn explain_late(root: &StateRoot, id: &ContainerId, record: &Record, step: usize, failure: Failure) -> Error {
    let (total, gate) = record.gate.unwrap_or((step + 1, step + 1));
    let again = || -> Option<(Error, Option<String>, Option<String>)> {
        let mut bundle = crate::Bundle::open_with(&record.bundle, &config_path(record)).ok()?;
        if let Some(linux) = &mut bundle.spec.linux {
            // They are gone from the host by now.
            linux.net_devices.clear();
        }
        let options = PlanOptions {
            start: Start::AtGate,
            bind_rules: BindRules::Customary,
            ..PlanOptions::new(id.clone(), bundle.path.clone(), root.directory(id))
        };
        let plan = ContainerPlan::new(&bundle.spec, &options).ok()?;
        let index = plan.gate()? + (step + 1).checked_sub(gate)?;
        let found = plan.steps.get(index)?;
        Some((
            crate::remedy::explain_step(&plan.steps, index, failure, &record.rootfs),
            found.asked_by.clone(),
            crate::remedy::refused_program(found, failure),
        ))
    };
    let (mut error, asked_by, program) = again().unwrap_or_else(|| {
        let reason = format!("{}: {}", failure.call.name(), sys::errno_text(failure.errno));
        (Error::new(crate::remedy::kind_of_exec(failure), "start".to_owned(), reason), None, None)
    });
    error.errno = Some(failure.errno);
    error.step = Some(Box::new(FailedStep {
        number: step + 1,
        total,
        asked_by,
        call: Some(failure.call.name()),
        program,
        timeline: Vec::new(),
    }));
    error.in_container(id.as_str())
}

/// Runs the poststart hooks of a container whose program runs.
pub fn run_poststart(record: &Record) -> Result<()> {
    let document = || state_document(record, "running");
    hooks::run(&record.hooks.poststart, "poststart", document, World::Host)
}
