//! Steps between the container's root and its program: the working directory, the search for the program, the network, and
//! the record of the container.

use std::ffi::CString;

use sys::mount::attribute;

use super::process::{self, Home, Program};
use super::steps::Steps;
use super::{Filter, PlanOptions, always, c_string, host, init_step, machine};
use crate::error::Result;
use crate::init::step::{Barrier, HookKind, HostAction, InitAction, ProgramUser, Step};
use crate::spec::{Hook, Linux, Process, Spec};

/// Who puts the record in force, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorder {
    /// Init, once it has made everything.
    Init,
    /// The parent, while init goes on.
    ParentMeanwhile,
    /// The parent, while init waits to be started.
    ParentBeforeGate,
    /// The parent, before hooks run that find the container recorded.
    ParentBeforeHooks,
}

/// What a process still goes through when all that it will see is made.
pub(super) struct Ending<'a> {
    pub(super) process: &'a Process,
    pub(super) filter: Option<Filter>,
    pub(super) label: Option<CString>,
    pub(super) dies_with_parent: bool,
    pub(super) rights: Vec<Step>,
    pub(super) program: Program,
    /// Those that run when it is started.
    pub(super) hooks: &'a [Hook],
}

impl Steps {
    /// What is left to do with the root once it is `/`.
    pub(super) fn enter(
        &mut self,
        spec: &Spec,
        process: &Process,
        user: &ProgramUser,
        linux: &Linux,
    ) -> Result<()> {
        if let Some(name) = &linux.rootfs_propagation {
            self.root_propagation(name)?;
        }
        let action = InitAction::WorkingDirectory {
            path: c_string(&process.cwd, "process.cwd")?,
            made: process::directory_to_make(process),
            user: user.clone(),
        };
        self.list.push(init_step(action, "process.cwd"));
        // The working directory may have had to be made.
        if spec.root.as_ref().is_some_and(|root| root.readonly) {
            let action = InitAction::RootAttributes { set: attribute::RDONLY, layers: self.layers()? };
            self.list.push(init_step(action, "root.readonly"));
        }
        Ok(())
    }

    /// Finds the program, as its user, and sets what it inherits.
    pub(super) fn look_for_program(
        &mut self,
        process: &Process,
        program: &mut Program,
        user: &ProgramUser,
        linux: &Linux,
        kept_descriptors: u32,
    ) -> Result<()> {
        if program.home == Home::Sought {
            self.list.push(init_step(InitAction::FindHome { uid: process.user.uid }, "process.env"));
        }
        let action = InitAction::FindProgram {
            candidates: program.candidates.clone(),
            user: process::seeker(process, user),
        };
        self.list.push(init_step(action, "process.args[0]"));
        // Before the limit of open files may fall: without close_range it bounds the search for them.
        self.list.push(always(InitAction::CloseDescriptors { keep: kept_descriptors }));
        program.open_files = process::plan_limits(process, &mut self.list)?;
        machine::plan_machine(linux, &mut self.list)
    }

    /// Plugs the network in from outside, and configures it from inside.
    pub(super) fn network(&mut self, options: &PlanOptions) {
        if let Some(object) = &options.attachment {
            self.list.push(host(HostAction::AttachNetwork { object: object.clone() }, Some("network")));
            if let Some(object) = &options.publication {
                let publish = HostAction::PublishPorts { object: object.clone() };
                self.list.push(host(publish, Some("network.ports")));
            }
            self.list.push(init_step(InitAction::Wait(Barrier::Network), "network"));
        }
        if let Some(network) = &options.network {
            self.list.push(init_step(InitAction::ConfigureNetwork(network.clone()), "network"));
        }
    }

    /// The record, and the last steps. A filter that asks an agent is on before the container waits to be started, as with
    /// runc: who watches it has the listener when `create` returns, and an agent that is not there fails that. What comes
    /// before the filter does then, too.
    pub(super) fn end(&mut self, recorder: Recorder, ending: Ending<'_>) {
        let Ending { process, filter, label, dies_with_parent, rights, program, hooks } = ending;
        let waits = recorder == Recorder::ParentBeforeGate;
        let created_with_filter = waits && filter.as_ref().is_some_and(|filter| filter.created_with);
        let filter = filter.map(|filter| filter.step);
        let recorded = match created_with_filter {
            true => None,
            false => self.record_and_run_hooks(recorder, hooks),
        };
        let mut steps =
            process::plan_end(process, filter, label, recorded, dies_with_parent, rights, program);
        let program = steps.pop();
        self.list.extend(steps);
        if created_with_filter {
            // Whoever waits to be started has nothing to wait for after it.
            let _ = self.record_and_run_hooks(recorder, hooks);
        }
        self.list.extend(program);
    }

    fn record_and_run_hooks(&mut self, recorder: Recorder, hooks: &[Hook]) -> Option<Step> {
        let recorded = self.record(recorder);
        self.hooks(HookKind::StartContainer, hooks.iter());
        recorded
    }

    /// Records the container as made. The step that comes back is for the end, before the program runs.
    fn record(&mut self, recorder: Recorder) -> Option<Step> {
        if recorder != Recorder::Init {
            self.list.push(host(HostAction::Commit, None));
        }
        match recorder {
            Recorder::Init => self.list.push(always(InitAction::PublishRecord)),
            Recorder::ParentMeanwhile => {
                // Two changes of who runs less.
                self.list.push(always(InitAction::Announce(Barrier::Ready)));
                return Some(always(InitAction::Wait(Barrier::Recorded)));
            }
            Recorder::ParentBeforeGate => {
                self.list.push(always(InitAction::Wait(Barrier::Ready)));
                self.list.push(always(InitAction::Wait(Barrier::Gate)));
            }
            Recorder::ParentBeforeHooks => self.list.push(always(InitAction::Wait(Barrier::Ready))),
        }
        None
    }
}
