//! What the parent does on the host, step by step.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use sys::clone::{CloneRequest, Placement};

use super::{Host, Launch};
use crate::error::{Error, Result};
use crate::hooks::{self, World};
use crate::init::step::{Action, Barrier, HookKind, HostAction, InitAction, Step};
use crate::init::{self, Context, Trace};
use crate::plan::container_cgroup::CgroupPlan;
use crate::spec::Spec;
use crate::state_dir::{StateDir, StateRoot};
use crate::sync::{self, Record as Message};

impl Launch<'_> {
    pub(super) fn reserve_state(&mut self, root: &StateRoot) -> Result<()> {
        let state = self.step(
            |action| matches!(action, HostAction::ReserveState { .. }),
            |launch| root.reserve(&launch.record),
        )?;
        self.state = state;
        Ok(())
    }

    pub(super) fn write_files(&mut self) -> Result<()> {
        let plan = self.plan;
        self.step(
            |action| matches!(action, HostAction::WriteFiles { .. }),
            |launch| {
                let state = launch.state.as_ref().expect("the state directory was reserved first");
                let directory = state.path().to_owned();
                plan.files.iter().try_for_each(|file| {
                    let path = directory.join(file.name);
                    let write = || -> std::io::Result<()> {
                        use std::io::Write;
                        use std::os::unix::fs::OpenOptionsExt;
                        let mut options = std::fs::OpenOptions::new();
                        let mut target = options.write(true).create_new(true).mode(0o644).open(&path)?;
                        // Whatever the caller's umask: other users of the container read it too.
                        target.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
                        if let Some(label) = &plan.mount_label {
                            let flags = rustix::fs::XattrFlags::empty();
                            rustix::fs::fsetxattr(&target, c"security.selinux", label.as_bytes(), flags)?;
                        }
                        // Without root they stay the caller's, whoever that is inside.
                        if let Some(maps) = plan.id_maps.as_ref().filter(|_| plan.files_detached) {
                            std::os::unix::fs::fchown(&target, maps.root.0, maps.root.1)?;
                        }
                        target.write_all(file.content.as_bytes())
                    };
                    write().map_err(|error| Error::at_path("write", &path, error))?;
                    if plan.files_detached {
                        launch.detached.make_own(&path, plan.namespaces.joined_users())
                    } else {
                        Ok(())
                    }
                })
            },
        )?;
        Ok(())
    }

    pub(super) fn prepare(&mut self, host: &mut dyn Host) -> Result<()> {
        let is_preparation = |action: &HostAction| matches!(action, HostAction::Prepare { .. });
        self.each_step(is_preparation, |_, number, _| host.prepare(number))
    }

    pub(super) fn detach_mounts(&mut self) -> Result<()> {
        let is_mount = |action: &HostAction| matches!(action, HostAction::DetachMount(_));
        self.each_step(is_mount, |launch, _, action| match action {
            HostAction::DetachMount(mount) => {
                let opened = mount.opened.and_then(|opened| launch.plan.opened(opened));
                launch.detached.make(mount, opened)
            }
            _ => Ok(()),
        })
    }

    /// What of the cgroup must be there for the clone: all of it, or the group to clone into.
    pub(super) fn begin_cgroup(&mut self) -> Result<()> {
        let Some(cgroup) = &self.plan.cgroup else { return Ok(()) };
        if !cgroup.is_made_meanwhile() {
            return self.create_cgroup(cgroup, |_| cgroup.create());
        }
        let begun = self.step(
            |action| matches!(action, HostAction::CreateUnifiedCgroup { .. }),
            |_| Ok(cgroup::Creation::begin(&cgroup.layout, &cgroup.path)?),
        )?;
        self.creation = begun;
        Ok(())
    }

    /// Makes the rest while init begins, and sends it the files through which it moves itself there.
    pub(super) fn finish_cgroup(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        let Some(cgroup) = self.plan.cgroup.as_ref().filter(|cgroup| cgroup.is_made_meanwhile()) else {
            return Ok(());
        };
        self.create_cgroup(cgroup, |launch| {
            let creation = match &mut launch.creation {
                Some(creation) => creation,
                // Nothing to clone into.
                none => none.insert(cgroup::Creation::begin(&cgroup.layout, &cgroup.path)?),
            };
            Ok(creation.finish()?)
        })?;
        self.creation = None;
        let receive = |step: &Step| matches!(step.action, Action::Init(InitAction::ReceiveCgroup));
        if let Some(step) = self.plan.steps.iter().position(receive) {
            let files = self.cgroup_files(self.child.as_ref().is_some_and(|child| child.in_cgroup))?;
            let files: Vec<BorrowedFd<'_>> = files.iter().map(OwnedFd::as_fd).collect();
            let sent = sync::send_descriptors(socket, Message::Go { step: step as u16 }, &files);
            sync::unless_gone(sent).map_err(unheard)?;
        }
        Ok(())
    }

    /// Files through which init moves itself into its groups; whoever was cloned into the unified one, which comes first, has
    /// that behind him.
    fn cgroup_files(&self, in_unified: bool) -> Result<Vec<OwnedFd>> {
        let Some(group) = &self.cgroup else { return Ok(Vec::new()) };
        let files = group.self_join_descriptors()?;
        Ok(files.into_iter().skip(usize::from(in_unified)).collect())
    }

    fn create_cgroup(
        &mut self,
        cgroup: &CgroupPlan,
        make: impl FnOnce(&mut Self) -> Result<cgroup::Cgroup>,
    ) -> Result<()> {
        self.step(
            |action| matches!(action, HostAction::CreateCgroup { .. }),
            |launch| {
                launch.cgroup = Some(make(launch)?);
                Ok(())
            },
        )?;
        self.step(
            |action| matches!(action, HostAction::ApplyLimits { .. }),
            |launch| match &launch.cgroup {
                Some(group) => Ok(group.apply_files(&cgroup.resources)?),
                None => Ok(()),
            },
        )?;
        if let Some(user) = cgroup.delegate_to {
            self.step(
                |action| matches!(action, HostAction::DelegateCgroup { .. }),
                |launch| match &launch.cgroup {
                    Some(group) => Ok(group.delegate(user)?),
                    None => Ok(()),
                },
            )?;
        }
        Ok(())
    }

    pub(super) fn make_rdt_group(&mut self) -> Result<()> {
        let Some(wanted) = &self.plan.rdt else { return Ok(()) };
        self.rdt = self.step(
            |action| matches!(action, HostAction::MakeRdtGroup { .. }),
            |_| crate::rdt::Group::make(wanted),
        )?;
        Ok(())
    }

    /// Puts init there, while it has no children.
    pub(super) fn join_rdt_group(&mut self) -> Result<()> {
        if self.rdt.is_none() {
            return Ok(());
        }
        let pid = self.pid();
        self.step(
            |action| matches!(action, HostAction::JoinRdtGroup { .. }),
            |launch| launch.rdt.as_ref().map_or(Ok(()), |group| group.join(pid)),
        )?;
        Ok(())
    }

    pub(super) fn open_gate(&mut self) -> Result<()> {
        let gate = self.step(
            |action| matches!(action, HostAction::OpenGate),
            |launch| {
                let state = launch.state.as_ref().expect("the state directory was reserved first");
                crate::lifecycle::open_gate(state)
            },
        )?;
        self.gate = gate;
        Ok(())
    }

    /// One clone with every namespace that can be made there, into the cgroup.
    pub(super) fn clone_init(&mut self) -> Result<OwnedFd> {
        let (ours, theirs) = sync::pair().map_err(|error| Error::system("make a socket pair", error))?;
        let plan = self.plan;
        self.step(
            |action| matches!(action, HostAction::Clone { .. }),
            |launch| {
                let begun = launch.creation.as_ref().and_then(cgroup::Creation::clone_descriptor);
                let cgroup = begun.or(launch.cgroup.as_ref().and_then(cgroup::Cgroup::clone_descriptor));
                let request = CloneRequest { flags: plan.namespaces.at_clone, cgroup };
                let trace = Trace { ends: launch.counters.counters(), fail_at: launch.fail_at };
                let files = launch.cgroup_files(false)?;
                // The unified hierarchy comes first, and whoever was cloned into it has it behind him.
                let unified = usize::from(cgroup.is_some());
                let gate = launch.gate.as_ref().map(OwnedFd::as_fd);
                let console = launch.console.as_ref().map(|console| console.theirs.as_fd());
                let detached = launch.detached.descriptors();
                let init_binary = launch.init_binary.as_ref().map(OwnedFd::as_fd);
                let record = match (launch.publishing(), &launch.state) {
                    (Some(step), Some(state)) => Some((state.without_lock()?, step)),
                    _ => None,
                };
                let mut layers: Vec<_> = (0..plan.closed_layers()).map(|_| None).collect();
                let parent_ends = [Some(ours.as_fd()), launch.state.as_ref().map(StateDir::descriptor)];
                let child = sys::clone::clone(&request, &mut |placement| {
                    // With a copy open here, the parent's closing would never be seen, nor its lock be free.
                    parent_ends.into_iter().flatten().for_each(sys::fd::close_copy);
                    let skip = if placement == Placement::InCgroup { unified } else { 0 };
                    // None where they are sent later.
                    let files = files.get(skip..).unwrap_or_default();
                    let mut context = Context::new(theirs.as_fd(), gate, console, files, detached);
                    context.init_binary = init_binary;
                    context.record = record.as_ref().map(|(directory, step)| (directory.as_fd(), *step));
                    context.layers = &mut layers;
                    init::run(&plan.steps, &mut context, &trace)
                });
                let child =
                    child.map_err(|error| crate::remedy::explain_clone(error, plan.namespaces.at_clone))?;
                if let Some(group) =
                    launch.cgroup.as_mut().filter(|group| child.in_cgroup && group.is_joined_whole())
                {
                    group.let_go();
                }
                launch.child = Some(child);
                // The child has copies.
                launch.detached.hand_over();
                Ok(())
            },
        )?;
        // The child holds its own; with ours closed, its end shows as an end here.
        drop(theirs);
        Ok(ours)
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.as_ref().expect("the child was cloned first").pid
    }

    /// Id maps, cgroup, score: what only the parent may give the child.
    pub(super) fn place_child(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        let pid = self.pid();
        if let Some(maps) = self.plan.id_maps.clone() {
            self.step(
                |action| matches!(action, HostAction::WriteIdMaps { .. }),
                |_| crate::id_map_files::write(pid, &maps),
            )?;
        }
        if let Some(score) = self.plan.oom_score_adj {
            self.step(
                |action| matches!(action, HostAction::SetOomScore { .. }),
                |_| set_oom_score(pid, score),
            )?;
        }
        let ready = |step: &Step| matches!(step.action, Action::Init(InitAction::Wait(Barrier::HostReady)));
        if let Some(step) = self.plan.steps.iter().position(ready) {
            // Opened before it is reached, so that init mounts while the network is attached.
            sync::answer(socket, Message::Go { step: step as u16 }).map_err(unheard)?;
        }
        Ok(())
    }

    /// Whether the network namespace is made by init itself, so that it is not there when the clone returns.
    pub(super) fn network_comes_late(&self) -> bool {
        self.plan.namespaces.unshared & sys::clone::flags::NEWNET != 0
    }

    pub(super) fn attach_network(&mut self, host: &mut dyn Host) -> Result<()> {
        if !self.plan.has_network {
            return Ok(());
        }
        let pid = self.pid();
        let is_network = |action: &HostAction| matches!(action, HostAction::AttachNetwork { .. });
        self.step(is_network, |_| host.attach_network(pid))?;
        let is_publication = |action: &HostAction| matches!(action, HostAction::PublishPorts { .. });
        self.step(is_publication, |_| host.publish_ports())?;
        Ok(())
    }

    pub(super) fn run_hooks(&mut self, kind: HookKind) -> Result<()> {
        let (list, status) = match kind {
            HookKind::CreateRuntime => ("createRuntime", "creating"),
            HookKind::CreateContainer => ("createContainer", "creating"),
            HookKind::StartContainer => ("startContainer", "created"),
        };
        self.record.pid = self.pid();
        self.step(
            |action| matches!(action, HostAction::RunHooks { kind: planned, .. } if *planned == kind),
            |launch| {
                let state = || crate::lifecycle::state_document(&launch.record, status);
                let child = launch.child.as_ref().expect("hooks run after the clone");
                match kind {
                    HookKind::CreateRuntime => {
                        hooks::run(&launch.plan.hooks.prestart, "prestart", state, World::Host)?;
                        hooks::run(&launch.plan.hooks.create_runtime, list, state, World::Host)
                    }
                    HookKind::CreateContainer => {
                        let container = hooks::Unpivoted {
                            pidfd: child.pidfd.as_fd(),
                            host_root: crate::plan::c_string(&format!("/proc/{}/root", child.pid), "pid")?,
                            rootfs: launch.plan.mounted_root(),
                            namespaces: launch.plan.hooks_namespaces(),
                        };
                        let hooks = &launch.plan.hooks.create_container;
                        hooks::run(hooks, list, state, World::Container(&container))
                    }
                    HookKind::StartContainer => hooks::run(
                        &launch.plan.hooks.start_container,
                        list,
                        state,
                        World::Program(
                            &launch.record,
                            launch.plan.hooked.as_deref().unwrap_or(&Spec::default()),
                        ),
                    ),
                }
            },
        )?;
        Ok(())
    }

    /// Writes the record while init mounts; it counts once it is published.
    pub(super) fn draft_record(&mut self, socket: BorrowedFd<'_>, host: &mut dyn Host) -> Result<()> {
        self.step(|action| matches!(action, HostAction::DraftRecord), |launch| launch.write_draft(host))?;
        if let Some(step) = self.publishing() {
            sync::answer(socket, Message::Go { step }).map_err(unheard)?;
        }
        Ok(())
    }

    /// The step in which init publishes the record itself, where it does.
    pub(super) fn publishing(&self) -> Option<u16> {
        let publishes = |step: &Step| matches!(step.action, Action::Init(InitAction::PublishRecord));
        self.plan.steps.iter().position(publishes).map(|step| step as u16)
    }

    fn write_draft(&mut self, host: &mut dyn Host) -> Result<()> {
        let pid = self.pid();
        crate::lifecycle::note_init(&mut self.record, pid)?;
        self.record.caller = host.record()?;
        if let Some(joined) = &mut self.record.joined_mounts {
            joined.mount = crate::shared_root::mount_id(Path::new(&format!("/proc/{pid}/root")));
        }
        let state = self.state.as_mut().expect("the state directory was reserved first");
        state.draft(&self.record)
    }

    /// From here on the container counts as made.
    pub(super) fn commit_record(&mut self, host: &mut dyn Host) -> Result<()> {
        let is_drafted =
            self.plan.steps.iter().any(|step| matches!(step.action, Action::Host(HostAction::DraftRecord)));
        self.step(
            |action| matches!(action, HostAction::Commit),
            |launch| {
                if !is_drafted {
                    launch.write_draft(host)?;
                }
                launch.state.as_mut().expect("the state directory was reserved first").publish()
            },
        )?;
        Ok(())
    }
}

/// The error where a record does not get to init.
pub(super) fn unheard(error: rustix::io::Errno) -> Error {
    Error::system("answer init", error)
}

pub(crate) fn set_oom_score(pid: i32, score: i32) -> Result<()> {
    let path = std::path::PathBuf::from(format!("/proc/{pid}/oom_score_adj"));
    std::fs::write(&path, score.to_string()).map_err(|error| {
        let hint = "lowering it takes CAP_SYS_RESOURCE, which this caller lacks; raise it or leave it out";
        Error::at_path(&format!("write `{score}` to"), &path, error).with_hint(hint)
    })
}
