//! Each step in words: its name, its object and why a container needs it. Called only in the parent.

use sys::mount::Reach;

use super::step::{
    Action, Barrier, DetachedMount, Execution, HookKind, HostAction, InitAction, OwnerMap, Side, Step,
    StepDescription, StepKind, Writes,
};

impl Step {
    /// The step in words; `number` counts from 1.
    pub(crate) fn describe(&self, number: usize) -> StepDescription {
        let (side, (name, object, why)) = match &self.action {
            Action::Host(action) => (Side::Host, host(action)),
            Action::Init(action) => (Side::Container, init(action)),
        };
        let kind = match (&self.action, self.asked_by.as_deref()) {
            // What the caller prepares for its network, and for its root.
            (Action::Host(HostAction::Prepare { .. }), Some("network")) => StepKind::Network,
            (Action::Host(HostAction::Prepare { .. }), Some(_)) => StepKind::FileSystems,
            (action, _) => action.kind(),
        };
        StepDescription { number, side, kind, name, object, asked_by: self.asked_by.clone(), why: why.into() }
    }
}

type Words = (String, String, &'static str);

fn words(name: &str, object: impl Into<String>, why: &'static str) -> Words {
    (name.to_owned(), object.into(), why)
}

fn quoted(text: impl AsRef<str>) -> String {
    format!("`{}`", text.as_ref())
}

fn listed<T>(items: impl IntoIterator<Item = T>) -> String
where
    T: AsRef<str>,
{
    let items: Vec<String> = items.into_iter().map(|item| item.as_ref().to_owned()).collect();
    items.join(", ")
}

fn path(text: &std::ffi::CStr) -> String {
    quoted(text.to_string_lossy())
}

/// A program that is searched for has just its name: only the search tells where it is.
fn program_name(candidates: &[std::ffi::CString]) -> String {
    match candidates {
        [only] => path(only),
        [first, ..] => quoted(first.to_string_lossy().rsplit('/').next().unwrap_or_default()),
        [] => String::new(),
    }
}

fn hook_name(kind: HookKind) -> &'static str {
    match kind {
        HookKind::CreateRuntime => "createRuntime",
        HookKind::CreateContainer => "createContainer",
        HookKind::StartContainer => "startContainer",
    }
}

fn host(action: &HostAction) -> Words {
    match action {
        HostAction::ReserveState { directory } => words(
            "reserve the state directory",
            quoted(directory.to_string_lossy()),
            "the intent is on disk before anything exists, so whatever dies half way can be found and undone",
        ),
        HostAction::WriteFiles { names } => words(
            "write the container's own files",
            names.clone(),
            "names and resolvers inside differ from the host's",
        ),
        HostAction::Prepare { name, object, why } => words(name, object.clone(), why),
        HostAction::DetachMount(mount) => detach_mount(mount),
        HostAction::CreateUnifiedCgroup { path } => words(
            "create the cgroup in the unified hierarchy",
            quoted(path),
            "there the kernel can clone a process right into a group; for the others there is time after that",
        ),
        HostAction::CreateCgroup { path } => words(
            "create the cgroup",
            quoted(path),
            "a group of its own lets the kernel count, limit and kill all of the container's processes together",
        ),
        HostAction::ApplyLimits { description } => words(
            "write limits into the cgroup",
            description.clone(),
            "limits are in force before the first process of the container runs",
        ),
        HostAction::DelegateCgroup { user } => words(
            "hand over the cgroup",
            format!("to user {user}"),
            "it is writable inside, and whoever runs the program may divide it into groups of its own",
        ),
        HostAction::MakeRdtGroup { group, lines } => words(
            "make or find the group of resctrl",
            match lines.is_empty() {
                true => quoted(group),
                false => format!("{}, with {}", quoted(group), listed(lines.iter().map(quoted))),
            },
            "the processor divides its caches and its memory bandwidth among such groups",
        ),
        HostAction::JoinRdtGroup { group } => words(
            "join the group of resctrl",
            quoted(group),
            "what the program forks is in the group of its parent, so it is there before it runs",
        ),
        HostAction::OpenGate => {
            words("make the start gate", "", "a created container waits at a socket until it is started")
        }
        HostAction::Clone { namespaces, into_cgroup } => (
            "clone the init process".to_owned(),
            if *into_cgroup {
                format!("into its cgroup, with new namespaces: {}", listed(namespaces))
            } else {
                format!("with new namespaces: {}", listed(namespaces))
            },
            "one system call makes the process and its own view of pids, mounts, network, names and queues: \
             that is the container",
        ),
        HostAction::WriteIdMaps { maps } => words(
            "write the id maps",
            maps.uid.lines().next().unwrap_or_default().to_owned(),
            "they say which users outside stand behind the users inside",
        ),
        HostAction::SetOomScore { value } => words(
            "set the out-of-memory score",
            value.to_string(),
            "it tells the kernel whom to kill first when memory runs out",
        ),
        HostAction::AttachNetwork { object } => words(
            "attach the network",
            object.clone(),
            "a virtual cable: one end in the host's bridge, the other born inside the container",
        ),
        HostAction::MoveNetDevices { names } => words(
            "move network devices",
            names.clone(),
            "devices of the host become the container's own, with their addresses",
        ),
        HostAction::PublishPorts { object } => words(
            "publish ports",
            object.clone(),
            "the kernel redirects what comes for these ports of the host to the container",
        ),
        HostAction::RunHooks { kind, hooks } => words(
            &format!("run {} hooks", hook_name(*kind)),
            listed(hooks.iter().map(|hook| quoted(hook.path.to_string_lossy()))),
            "programs of the caller take part in the start",
        ),
        HostAction::DraftRecord => words(
            "write the record, not in force yet",
            "",
            "while the container mounts its file systems nobody waits for it",
        ),
        HostAction::Commit => words(
            "record the container as made",
            "",
            "only what is complete is kept; before this, a failure removes everything",
        ),
    }
}

fn detach_mount(mount: &DetachedMount) -> Words {
    match &mount.owners {
        Some(owners) => {
            let name = match owners.reach {
                Reach::Mount => "map the owners of a mount",
                Reach::Tree => "map the owners of a tree of mounts",
            };
            let object = format!("{}{}", path(&mount.source), through(&owners.map));
            words(
                name,
                object,
                "files show other owners inside than on disk, and nothing is copied or changed",
            )
        }
        None if mount.foreign.is_some() => words(
            "make a mount for init",
            path(&mount.source),
            "it lies among another container's mounts, where nothing can be bound from elsewhere",
        ),
        None if mount.opened.is_some() => words(
            "take hold of the source",
            path(&mount.source),
            "what was checked is what will be mounted, wherever its path leads by then",
        ),
        None => words(
            "make a mount for init",
            path(&mount.source),
            "the users of the namespace may not search a directory above it, so init could not get there",
        ),
    }
}

fn through(map: &OwnerMap) -> String {
    let maps = match map {
        OwnerMap::Lists(maps) => maps,
        OwnerMap::Namespace(_) => return " through the map of the user namespace".to_owned(),
    };
    let lines = |text: &str| text.trim_end().replace('\n', ", ");
    if maps.uid == maps.gid {
        format!(" through `{}`", lines(&maps.uid))
    } else {
        format!(" through `{}` for users, `{}` for groups", lines(&maps.uid), lines(&maps.gid))
    }
}

fn barrier(barrier: Barrier) -> Words {
    match barrier {
        Barrier::HostReady => words(
            "wait for the host's part",
            "cgroup, id maps and score",
            "limits and users must be in place before the child does anything",
        ),
        Barrier::NetDevices => words(
            "wait for network devices",
            "",
            "programs of the caller that take part in the start find them there",
        ),
        Barrier::Network => words(
            "wait for the network",
            "",
            "the host attaches the cable while the container mounts its file systems",
        ),
        Barrier::Hooks(kind) => words(
            &format!("wait for {} hooks", hook_name(kind)),
            "",
            "the specification fixes the moment at which they run",
        ),
        Barrier::Ready => words(
            "report ready",
            "",
            "the parent commits, or takes everything back if the child never gets here",
        ),
        Barrier::Recorded => words(
            "wait until recorded",
            "",
            "no program runs of which later commands would not know; meanwhile init gave its rights away",
        ),
        Barrier::Gate => {
            words("wait for start", "", "creating and starting are two commands in the OCI's life cycle")
        }
    }
}

fn init(action: &InitAction) -> Words {
    match action {
        InitAction::Wait(kind) | InitAction::Announce(kind) => barrier(*kind),
        InitAction::PublishRecord => words(
            "record the container as made",
            "",
            "no program runs of which later commands would not know; the parent has written the record meanwhile",
        ),
        InitAction::ReceiveCgroup => words(
            "wait for the cgroup",
            "",
            "the host makes it meanwhile, and sends the files through which a process moves itself there",
        ),
        InitAction::JoinCgroup { path } => words(
            "join the cgroup",
            quoted(path),
            "from here on everything this process starts is counted and limited with it",
        ),
        InitAction::NewSession => {
            words("start a new session", "", "the container gets no signals meant for the caller's terminal")
        }
        InitAction::DieWithParent => words(
            "die with the parent",
            "SIGKILL",
            "a container in the foreground must not outlive the command that shows it",
        ),
        InitAction::JoinKeyring { name } => words(
            "join a new session keyring",
            path(name),
            "the kernel keeps keys for processes; those of the host are none of the container's business",
        ),
        InitAction::JoinNamespaces { namespaces } => words(
            "join namespaces",
            listed(namespaces.iter().map(|one| format!("{} `{}`", one.name, one.path.display()))),
            "namespaces that exist already are shared with whoever is in them",
        ),
        InitAction::HideFromOthers => words(
            "hide from other processes",
            "not dumpable",
            "whoever is in a joined namespace already could attach, or reach the host's binary, until the exec",
        ),
        InitAction::Fork => words(
            "fork into the namespaces",
            "",
            "a pid namespace, and a time namespace with clocks of its own, take in only children",
        ),
        InitAction::Unshare { names, .. } => words(
            "unshare namespaces",
            listed(names),
            "made after the move into the cgroup, so that this group becomes the container's root group",
        ),
        InitAction::UnshareMeanwhile { names, .. } => words(
            "unshare namespaces meanwhile",
            listed(names),
            "of all namespaces it takes the kernel longest, and the host has the cgroup to make",
        ),
        InitAction::TimeOffsets { .. } => words(
            "set clock offsets",
            "",
            "a time namespace shifts the monotonic and boot clocks, as long as nobody is in it",
        ),
        InitAction::BecomeNamespaceRoot => {
            words("become root of the user namespace", "", "setting up needs that namespace's privileges")
        }
        InitAction::Propagation { name, .. } => words(
            &format!("make all mounts {name}"),
            "",
            "no mount of the container may ever show on the host",
        ),
        InitAction::BindRoot(root) => words(
            "bind the root file system",
            path(&root.path),
            "pivot_root wants a mount, and a directory becomes one by being bound",
        ),
        InitAction::OverlayRoot(overlay) => words(
            "mount an overlay as root",
            overlay.describe(),
            "reads come from below, writes go into a layer that is thrown away",
        ),
        InitAction::PiecedRoot(root) => words(
            "put a root together from overlays",
            root.describe(),
            "without root no overlay may lie over a tree with other mounts in it, but over its parts it may",
        ),
        InitAction::Mount(mount) => (
            format!("mount {}", quoted(mount.kind.file_system.to_string_lossy())),
            quoted(format!("/{}", mount.target.path.to_string_lossy())),
            why_mounted(&mount.target.path.to_string_lossy(), &mount.kind.file_system.to_string_lossy()),
        ),
        InitAction::Bind(mount) if mount.kind.writes != Writes::Through => (
            format!("overlay {}", path(&mount.kind.source)),
            quoted(format!("/{}", mount.target.path.to_string_lossy())),
            "a directory of the host appears inside; writes go into a layer that is thrown away",
        ),
        InitAction::Bind(mount) => (
            format!("bind {}", path(&mount.kind.source)),
            quoted(format!("/{}", mount.target.path.to_string_lossy())),
            "a file or directory of the host appears inside",
        ),
        InitAction::MemoryFiles { files, .. } => words(
            "show files in memory",
            listed(files.iter().map(|file| format!("`/{}`", file.target.path.to_string_lossy()))),
            "secrets come onto no disk and into no layer: they are this container's alone, and go with it",
        ),
        InitAction::SetAttributes { target, .. } => words(
            "change mount attributes",
            quoted(format!("/{}", target.path.to_string_lossy())),
            "a mount that had to be writable while it was filled is closed now",
        ),
        InitAction::Devices { devices } => words(
            "make device nodes",
            listed(devices.iter().map(|device| format!("/{}", device.target.path.to_string_lossy()))),
            "programs expect these few devices, and get no others",
        ),
        InitAction::Links { links } => words(
            "make standard links",
            listed(links.iter().map(|link| format!("/{}", link.target.path.to_string_lossy()))),
            "/dev/stdin and its kin are links into /proc",
        ),
        InitAction::Console { .. } => words(
            "open a terminal",
            "`/dev/pts/0`",
            "a terminal of the container's own, whose other end the caller holds",
        ),
        InitAction::Streams { .. } => words(
            "take the standard streams",
            "",
            "a hook reads the container's state from its input, and what a health check writes is read",
        ),
        InitAction::NullStreams { .. } => words(
            "take the container's null device",
            "where the caller's is a standard stream",
            "no open file then lies on the host's /dev, and a checkpoint can hold all of them",
        ),
        InitAction::Mask { targets } => words(
            "mask paths",
            listed(targets.iter().map(|target| format!("/{}", target.path.to_string_lossy()))),
            "parts of /proc and /sys are not namespaced and would show or change the host",
        ),
        InitAction::ReadOnlyPaths { targets } => words(
            "make paths read-only",
            listed(targets.iter().map(|target| format!("/{}", target.path.to_string_lossy()))),
            "parts of /proc would change the host if they could be written",
        ),
        InitAction::PivotRoot => words(
            "pivot_root",
            "",
            "the container's root becomes `/` and the host's tree is cut off: unlike chroot, there is no way back",
        ),
        InitAction::MoveRoot { .. } => words(
            "move the root onto `/`",
            "",
            "asked for where the host's root is a ramdisk, which pivot_root can't leave: the host's tree stays below",
        ),
        InitAction::ChangeRoot => {
            words("chroot", "", "the mount namespace is the caller's, whose other processes keep their root")
        }
        InitAction::JoinMounts { namespace, rootfs, .. } => words(
            "join the mount namespace",
            format!("`{}`, with the root at `{}`", namespace.path.display(), rootfs.display()),
            "whoever is in it already keeps their root, so that the container's is a mount among theirs",
        ),
        InitAction::JoinRoot { .. } => words(
            "chroot into the container",
            "",
            "its mount namespace is the caller's, so that joining it would leave the host's root",
        ),
        InitAction::RootAttributes { layers, .. } => words(
            "make the root read-only",
            listed([c"/".to_owned()].iter().chain(layers).map(|layer| path(layer))),
            "nothing in the root file system can be changed",
        ),
        InitAction::RootPropagation { name, .. } => {
            words("set the root's propagation", name.clone(), "it says whether later mounts travel")
        }
        InitAction::Sysctls { values, .. } => words(
            "set kernel parameters",
            listed(values.iter().map(|one| one.name.clone())),
            "those that are namespaced can differ from the host's",
        ),
        InitAction::Hostname { name } => {
            words("set the host name", path(name), "the uts namespace has a name of its own")
        }
        InitAction::Domainname { name } => {
            words("set the domain name", path(name), "the uts namespace has a domain of its own")
        }
        InitAction::ConfigureNetwork(program) => words(
            "configure the network",
            program.description.clone(),
            "a new network namespace is empty: loopback is down, there is no address and no route",
        ),
        InitAction::HardLimits { limits } => words(
            "raise hard limits",
            listed(limits.iter().map(|(_, _, name)| name.clone())),
            "before the program is waited for, as only some callers may",
        ),
        InitAction::ResourceLimits { limits } => words(
            "set resource limits",
            listed(limits.iter().map(|(_, _, name)| name.clone())),
            "limits of single processes, as ulimit shows them",
        ),
        InitAction::Scheduler(_) => {
            words("set the scheduler", "", "the program's place in the queue for the processor")
        }
        InitAction::IoPriority { .. } => {
            words("set the I/O priority", "", "the program's place in the queue for disks")
        }
        InitAction::CpuAffinity { text, .. } => {
            words("set CPU affinity", text.clone(), "the processors it may run on")
        }
        InitAction::ResetCpuAffinity => words(
            "reset CPU affinity",
            "",
            "the processors are those of the cgroup, and not those that the caller was bound to",
        ),
        InitAction::FindHome { uid } => words(
            "find the home directory",
            format!("of user {uid}"),
            "programs expect HOME, and the container's /etc/passwd knows it",
        ),
        InitAction::Personality { .. } => {
            words("set the personality", "", "what machine the kernel pretends to be")
        }
        InitAction::MemoryPolicy { text, .. } => words(
            "set the memory policy",
            text.clone(),
            "the NUMA nodes that the program's memory comes from",
        ),
        InitAction::FindProgram { candidates, .. } => words(
            "find the program",
            listed(candidates.iter().map(|candidate| path(candidate))),
            "a program that is missing is told before the container counts as made",
        ),
        InitAction::Umask { mask } => {
            words("set the umask", format!("{mask:04o}"), "the mode bits new files lack")
        }
        InitAction::WorkingDirectory { path: directory, .. } => words(
            "chdir to the working directory",
            path(directory),
            "by then the root is the container's, so the path is too",
        ),
        InitAction::BoundingSet { kept, .. } => words(
            "shrink the capability bounding set",
            format!("to {kept} capabilities"),
            "what is not in it can't be regained, not even by a set-user-ID program",
        ),
        InitAction::Credentials { uid, gid, .. } => {
            words("change user and group", format!("{uid}:{gid}"), "the program runs as its own user")
        }
        InitAction::Capabilities { effective, .. } => words(
            "set capabilities",
            format!("{} effective", effective.count_ones()),
            "root is split into capabilities; a container keeps the few that programs use",
        ),
        InitAction::NoNewPrivileges => {
            words("set no_new_privs", "", "no exec can give more rights than the process has now")
        }
        InitAction::OpenLabel { path: file, .. } => words(
            "open the label file",
            quoted(format!("/proc/{}", file.to_string_lossy())),
            "opened on the host's own procfs, as the container's could show another file",
        ),
        InitAction::WriteLabel { label } => words(
            "set the security label",
            path(label),
            "the kernel's security module confines the program by it",
        ),
        InitAction::Seccomp { instructions, .. } => words(
            "install the seccomp filter",
            format!("{} instructions", instructions.len()),
            "system calls that containers do not need are refused, and with them the kernel's rarely tested corners",
        ),
        InitAction::CloseDescriptors { .. } => {
            words("mark descriptors close-on-exec", "", "no open file of the runtime may reach the container")
        }
        InitAction::Execute(Execution { candidates, init: Some(_), .. }) if candidates.is_empty() => words(
            "execute the holder of the namespaces",
            "",
            "the child becomes a small process of rabbitc itself, so that others can join its namespaces",
        ),
        InitAction::Execute(Execution { candidates, init: Some(_), .. }) => (
            "execute the program below an init".to_owned(),
            program_name(candidates),
            "the child becomes an init, as pid 1 of its world, that passes signals on to the program and reaps",
        ),
        InitAction::Execute(Execution { candidates, .. }) => (
            "execute the program".to_owned(),
            program_name(candidates),
            "the child becomes the container's program, as pid 1 of its world",
        ),
    }
}

fn why_mounted(target: &str, file_system: &str) -> &'static str {
    match (target, file_system) {
        ("proc", _) | (_, "proc") => {
            "ps and many programs read it; mounted here it shows this pid namespace alone"
        }
        ("sys", _) | (_, "sysfs") => {
            "the kernel's view of devices, read-only, with this network namespace's interfaces"
        }
        ("dev", _) => "a fresh directory for the few device nodes that a container gets",
        ("dev/pts", _) | (_, "devpts") => "terminals of its own: the host's can't be seen",
        ("dev/shm", _) => "POSIX shared memory, private and limited in size",
        ("dev/mqueue", _) | (_, "mqueue") => "POSIX message queues of this ipc namespace",
        (_, "cgroup" | "cgroup2") => "the container sees its own cgroup as the root of all",
        (_, "tmpfs") => "scratch space in memory that goes with the container",
        _ => "a file system that the configuration asks for",
    }
}
