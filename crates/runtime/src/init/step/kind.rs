//! Of what sort a step is, for who groups or colours steps.

use super::{Action, Barrier, HostAction, InitAction, StepKind};

impl Action {
    /// The sort of a step; what is not listed is an attribute of the process.
    pub(crate) fn kind(&self) -> StepKind {
        use InitAction as Init;
        match self {
            Action::Host(
                HostAction::CreateUnifiedCgroup { .. }
                | HostAction::CreateCgroup { .. }
                | HostAction::ApplyLimits { .. }
                | HostAction::MakeRdtGroup { .. }
                | HostAction::JoinRdtGroup { .. },
            )
            | Action::Init(Init::ReceiveCgroup | Init::JoinCgroup { .. }) => StepKind::Cgroup,
            Action::Host(HostAction::Clone { .. } | HostAction::WriteIdMaps { .. })
            | Action::Init(
                Init::JoinNamespaces { .. }
                | Init::Fork
                | Init::Unshare { .. }
                | Init::UnshareMeanwhile { .. }
                | Init::TimeOffsets { .. }
                | Init::BecomeNamespaceRoot
                | Init::Hostname { .. }
                | Init::Domainname { .. },
            ) => StepKind::Namespaces,
            Action::Host(HostAction::AttachNetwork { .. } | HostAction::MoveNetDevices { .. })
            | Action::Init(Init::ConfigureNetwork(_) | Init::Wait(Barrier::Network | Barrier::NetDevices)) => {
                StepKind::Network
            }
            Action::Host(HostAction::DetachMount(_)) => StepKind::FileSystems,
            Action::Host(HostAction::RunHooks { .. })
            | Action::Init(Init::FindProgram { .. } | Init::Execute { .. } | Init::Wait(Barrier::Hooks(_))) => {
                StepKind::Programs
            }
            Action::Host(HostAction::SetOomScore { .. }) => StepKind::Process,
            Action::Host(_) | Action::Init(Init::Wait(_) | Init::Announce(_) | Init::PublishRecord) => {
                StepKind::Bookkeeping
            }
            Action::Init(
                Init::Propagation { .. }
                | Init::BindRoot(_)
                | Init::OverlayRoot(_)
                | Init::Mount(_)
                | Init::Bind(_)
                | Init::MemoryFiles { .. }
                | Init::SetAttributes { .. }
                | Init::Devices { .. }
                | Init::Links { .. }
                | Init::Mask { .. }
                | Init::ReadOnlyPaths { .. }
                | Init::PivotRoot
                | Init::MoveRoot { .. }
                | Init::ChangeRoot
                | Init::JoinMounts { .. }
                | Init::JoinRoot { .. }
                | Init::RootAttributes { .. }
                | Init::RootPropagation { .. },
            ) => StepKind::FileSystems,
            Action::Init(
                Init::JoinKeyring { .. }
                | Init::HideFromOthers
                | Init::BoundingSet { .. }
                | Init::Credentials { .. }
                | Init::Capabilities { .. }
                | Init::NoNewPrivileges
                | Init::OpenLabel { .. }
                | Init::WriteLabel { .. }
                | Init::Seccomp { .. }
                | Init::CloseDescriptors { .. },
            ) => StepKind::Rights,
            Action::Init(_) => StepKind::Process,
        }
    }
}
