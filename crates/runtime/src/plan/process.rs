//! The container's program: who runs it, with which rights and limits, from where.

use std::collections::BTreeSet;
use std::ffi::CString;

use rustix::process::{Resource, Rlimit};
use sys::exec::CStringArray;

use crate::capability;
use crate::error::{Error, Result};
use crate::init::step::{Action, Execution, InitAction, InitProgram, ProgramUser, Step, Target, TargetKind};
use crate::plan::{MissingHome, Warning, always, c_string, init_step, number_list, scheduling};
use crate::spec::{Process, User};

/// A set of capabilities, one bit each; names that this kernel has no number for go to `unknown`.
fn capability_bits<'a>(names: &'a [String], known: u32, unknown: &mut BTreeSet<&'a str>) -> u64 {
    let mut bits = 0;
    for name in names {
        match capability::number(name).filter(|number| *number <= known) {
            Some(number) => bits |= 1 << number,
            None => drop(unknown.insert(name)),
        }
    }
    bits
}

/// Refuses the number by which setresuid(2) and its like are told to leave an id as it is: the program would stay root.
fn check_number(field: &str, id: u32) -> Result<()> {
    if id != u32::MAX {
        return Ok(());
    }
    Err(Error::invalid(field, format!("{id} is the id of nobody")).with_hint("the largest is 4294967294"))
}

/// The kernel takes no capability as inheritable that is not in the bounding set, unless the process has it so already
/// (capset(2)): refused before anything is made, and not by `start`.
///
/// `ignored` tells of names that are unknown: one of them may have been meant.
fn check_inheritable(inheritable: u64, bounding: u64, ignored: Option<&str>) -> Result<()> {
    let outside = inheritable & !bounding;
    if outside == 0 {
        return Ok(());
    }
    let had = rustix::thread::capabilities(None).map_or(0, |sets| sets.inheritable.bits());
    match numbers(outside & !had).first() {
        None => Ok(()),
        Some(number) => {
            let name = capability::NAMES.get(*number as usize).copied().unwrap_or_default();
            let aside = ignored.map(|ignored| format!(" ({ignored})")).unwrap_or_default();
            let reason = format!("CAP_{name} is not in `bounding`{aside}: operation not permitted");
            Err(Error::invalid("process.capabilities.inheritable", reason)
                .with_hint("add it to `process.capabilities.bounding`, or leave it out here"))
        }
    }
}

fn numbers(bits: u64) -> Vec<u32> {
    (0..64).filter(|number| bits & (1 << number) != 0).collect()
}

/// What becomes of the groups that a process has beside its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Groups {
    /// They are those of the config.
    Set,
    /// The caller's stay: they can't be changed here, or shall not be.
    Kept,
}

/// As whom `process` runs.
pub(crate) fn program_user(process: &Process, groups: Groups) -> ProgramUser {
    let User { uid, gid, additional_gids, .. } = &process.user;
    let groups = (groups == Groups::Set).then(|| additional_gids.clone());
    ProgramUser { uid: *uid, gid: *gid, groups }
}

/// As whom the program is looked for. CAP_DAC_OVERRIDE opens to its holder what it opens to root; a look by access(2) would
/// not show that of any other user.
pub(crate) fn seeker(process: &Process, user: &ProgramUser) -> ProgramUser {
    let effective = process.capabilities.as_ref().map(|sets| sets.effective.as_slice()).unwrap_or_default();
    match effective.iter().any(|name| capability::number(name) == capability::number("CAP_DAC_OVERRIDE")) {
        true => ProgramUser { uid: 0, gid: 0, groups: None },
        false => user.clone(),
    }
}

/// A working directory, to be made where it is missing: root's, as runc, crun and docker make it. One whose path has `..`
/// must be there.
pub(crate) fn directory_to_make(process: &Process) -> Option<Target> {
    let target = Target::parse(&process.cwd, TargetKind::Directory, "process.cwd").ok()?;
    (target.path.as_c_str() != c".").then_some(target)
}

/// The steps from root's credentials to the program's, in the order the kernel demands.
pub(crate) fn plan_rights(
    process: &Process,
    user: &ProgramUser,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Step>> {
    let known = crate::capability::last();
    let mut steps = Vec::new();
    let sets = process.capabilities.clone().unwrap_or_default();
    let mut unknown = BTreeSet::new();
    let mut bits = |names| capability_bits(names, known, &mut unknown);
    let bounding = bits(&sets.bounding);
    let (effective, permitted) = (bits(&sets.effective), bits(&sets.permitted));
    let (inheritable, ambient) = (bits(&sets.inheritable), bits(&sets.ambient));
    // The specification: a runtime must not fail for one that it does not know. In runc's words, which are looked for.
    let ignored = (!unknown.is_empty()).then(|| {
        let names: Vec<&str> = unknown.into_iter().collect();
        format!("ignoring unknown or unavailable capabilities: [{}]", names.join(" "))
    });
    check_inheritable(inheritable, bounding, ignored.as_deref())?;
    warnings.extend(ignored.map(|what| Warning::new("process.capabilities", what)));
    // Dropping one that is not there is no error, so nobody needs to ask.
    let drop = numbers(!bounding & ((1u64 << (known + 1)) - 1));
    let asked = "process.capabilities";
    steps.push(init_step(InitAction::BoundingSet { drop, kept: bounding.count_ones() as usize }, asked));
    let ProgramUser { uid, gid, groups } = user.clone();
    check_number("process.user.uid", uid)?;
    check_number("process.user.gid", gid)?;
    groups.iter().flatten().try_for_each(|group| check_number("process.user.additionalGids", *group))?;
    steps.push(init_step(InitAction::Credentials { uid, gid, groups }, "process.user"));
    let raised = ambient & inheritable & permitted;
    // As runc does: what can't be had is told, and the program starts without it (capabilities(7)).
    let name = |number: u32| capability::NAMES.get(number as usize).copied().unwrap_or_default();
    let left_out: Vec<String> =
        numbers(ambient & !raised).into_iter().map(|number| format!("CAP_{}", name(number))).collect();
    let (capability, reason) = match left_out.len() {
        0 | 1 => ("capability", "it is not both permitted and inheritable"),
        _ => ("capabilities", "they are not both permitted and inheritable"),
    };
    if !left_out.is_empty() {
        let names = left_out.join(", ");
        let what = format!("can't raise ambient {capability} {names}: {reason}");
        warnings.push(Warning::new("process.capabilities.ambient", what));
    }
    let ambient = numbers(raised);
    steps.push(init_step(InitAction::Capabilities { effective, permitted, inheritable, ambient }, asked));
    if process.no_new_privileges {
        steps.push(init_step(InitAction::NoNewPrivileges, "process.noNewPrivileges"));
    }
    Ok(steps)
}

/// Where `args[0]` may be found, in order.
fn candidates(process: &Process) -> Result<Vec<CString>> {
    let program = &process.args[0];
    if program.is_empty() {
        return Err(Error::invalid("process.args[0]", "is empty".to_owned()));
    }
    if program.contains('/') {
        return Ok(vec![c_string(program, "process.args[0]")?]);
    }
    let path = process.env.iter().rev().find_map(|entry| entry.strip_prefix("PATH="));
    let path = path.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let directory =
        |directory: &str| if directory.is_empty() { ".".to_owned() } else { directory.to_owned() };
    path.split(':').map(|one| c_string(&format!("{}/{program}", directory(one)), "process.args[0]")).collect()
}

/// The program as the child needs it: looked for, then executed.
pub(crate) struct Program {
    pub(crate) candidates: Vec<CString>,
    pub(crate) arguments: CStringArray,
    pub(crate) environment: CStringArray,
    /// Whether HOME, the environment's last entry, is to be looked up.
    pub(crate) home: Home,
    /// The limit of open files, once no step before the program's own rights opens any.
    pub(crate) open_files: Option<Step>,
}

/// Where HOME comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// The config says it.
    Given,
    /// The container's /etc/passwd.
    Sought,
    /// There is none.
    LeftOut,
}

/// Lays out the program.
pub(crate) fn plan_program(process: &Process, missing_home: MissingHome) -> Result<Program> {
    if process.args.is_empty() {
        return Err(Error::invalid("process.args", "must have at least one entry".to_owned()));
    }
    if !process.cwd.starts_with('/') {
        return Err(Error::invalid("process.cwd", format!("`{}` is not an absolute path", process.cwd)));
    }
    let strings = |texts: &[String], field: &str| -> Result<Vec<CString>> {
        texts
            .iter()
            .enumerate()
            .map(|(index, text)| c_string(text, format_args!("{field}[{index}]")))
            .collect()
    };
    let (environment, home) = environment(process, missing_home)?;
    Ok(Program {
        candidates: candidates(process)?,
        arguments: CStringArray::new(strings(&process.args, "process.args")?),
        environment: CStringArray::new(environment),
        home,
        open_files: None,
    })
}

/// The process's variables: of several with one name the last, as a shell would have it, and HOME, where it is to be looked
/// up, as its last entry.
pub(crate) fn environment(process: &Process, missing_home: MissingHome) -> Result<(Vec<CString>, Home)> {
    let name = |entry: &'_ str| entry.split('=').next().unwrap_or_default().len();
    let mut kept: Vec<CString> = Vec::with_capacity(process.env.len() + 1);
    let mut home = match missing_home {
        MissingHome::Sought => Home::Sought,
        MissingHome::LeftOut => Home::LeftOut,
    };
    let mut names = std::collections::HashSet::with_capacity(process.env.len());
    for (index, entry) in process.env.iter().enumerate().rev() {
        let checked = c_string(entry, format_args!("process.env[{index}]"))?;
        if !names.insert(&entry[..name(entry)]) {
            continue;
        }
        match entry.strip_prefix("HOME=") {
            Some("") if missing_home == MissingHome::Sought => continue,
            Some(_) => home = Home::Given,
            None => {}
        }
        kept.push(checked);
    }
    kept.reverse();
    if home == Home::Sought {
        let usual = if process.user.uid == 0 { c"HOME=/root" } else { c"HOME=/" };
        kept.push(usual.to_owned());
    }
    Ok((kept, home))
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "RLIMIT_AS" => Resource::As,
        "RLIMIT_CORE" => Resource::Core,
        "RLIMIT_CPU" => Resource::Cpu,
        "RLIMIT_DATA" => Resource::Data,
        "RLIMIT_FSIZE" => Resource::Fsize,
        "RLIMIT_LOCKS" => Resource::Locks,
        "RLIMIT_MEMLOCK" => Resource::Memlock,
        "RLIMIT_MSGQUEUE" => Resource::Msgqueue,
        "RLIMIT_NICE" => Resource::Nice,
        "RLIMIT_NOFILE" => Resource::Nofile,
        "RLIMIT_NPROC" => Resource::Nproc,
        "RLIMIT_RSS" => Resource::Rss,
        "RLIMIT_RTPRIO" => Resource::Rtprio,
        "RLIMIT_RTTIME" => Resource::Rttime,
        "RLIMIT_SIGPENDING" => Resource::Sigpending,
        "RLIMIT_STACK" => Resource::Stack,
        _ => return None,
    })
}

/// How far the caller itself may raise a limit of this OCI name; `u64::MAX` is without end.
pub fn own_hard_limit(name: &str) -> Option<u64> {
    Some(rustix::process::getrlimit(resource(name)?).maximum.unwrap_or(u64::MAX))
}

/// Limits and scheduling of the process itself; the limit of open files is returned, as steps to come open some. Where it
/// exceeds the caller's own, whether it can be had is found out at once, and not by `start`.
pub(crate) fn plan_limits(process: &Process, steps: &mut Vec<Step>) -> Result<Option<Step>> {
    let mut limits = Vec::new();
    let mut open_files = None;
    for (index, limit) in process.rlimits.iter().enumerate() {
        let field = format!("process.rlimits[{index}]");
        let Some(resource) = resource(&limit.kind) else {
            return Err(Error::invalid(
                format!("{field}.type"),
                format!("`{}` is not a resource limit", limit.kind),
            ));
        };
        if process.rlimits[..index].iter().any(|earlier| earlier.kind == limit.kind) {
            return Err(Error::invalid(format!("{field}.type"), format!("`{}` is listed twice", limit.kind)));
        }
        if limit.soft > limit.hard {
            return Err(Error::invalid(
                format!("{field}.soft"),
                format!("{} exceeds the hard limit {}", limit.soft, limit.hard),
            ));
        }
        let bound = |value: u64| (value != u64::MAX).then_some(value);
        let bounds = Rlimit { current: bound(limit.soft), maximum: bound(limit.hard) };
        let limit = (resource, bounds, limit.kind.clone());
        if resource == Resource::Nofile {
            let own = rustix::process::getrlimit(resource);
            if own.maximum.is_some_and(|own| own < limit.1.maximum.unwrap_or(u64::MAX)) {
                let raised = Rlimit { current: own.current, ..limit.1 };
                let action = InitAction::HardLimits { limits: vec![(resource, raised, limit.2.clone())] };
                steps.push(init_step(action, "process.rlimits"));
            }
            let action = InitAction::ResourceLimits { limits: vec![limit] };
            open_files = Some(init_step(action, "process.rlimits"));
        } else {
            limits.push(limit);
        }
    }
    if !limits.is_empty() {
        steps.push(init_step(InitAction::ResourceLimits { limits }, "process.rlimits"));
    }
    scheduling::plan_scheduling(process, steps)?;
    let mask = process.user.umask.unwrap_or(0o022);
    if mask > 0o777 {
        let reason = format!("{mask} has other bits than the nine of a mode");
        return Err(
            Error::invalid("process.user.umask", reason).with_hint("JSON has no octal numbers: 0o022 is 18")
        );
    }
    let action = InitAction::Umask { mask };
    steps.push(if process.user.umask.is_some() {
        init_step(action, "process.user.umask")
    } else {
        always(action)
    });
    Ok(open_files)
}

/// On which processors `exec` joins the container, and on which its program runs (config.md, "execCPUAffinity").
pub(crate) struct Affinity {
    pub(crate) before: Option<Step>,
    pub(crate) after: Option<Step>,
}

/// The steps of a process that `exec` starts. Without any, those of the cgroup are its processors.
pub(crate) fn plan_affinity(process: &Process) -> Result<Affinity> {
    let affinity = process.exec_cpu_affinity.clone().unwrap_or_default();
    let step = |list: Option<String>, field: &str| -> Result<Option<Step>> {
        let Some(text) = list.filter(|list| !list.is_empty()) else { return Ok(None) };
        let cpus = Box::new(cpu_set(&text, field)?);
        Ok(Some(init_step(InitAction::CpuAffinity { cpus, text }, field)))
    };
    let before = step(affinity.initial, "process.execCPUAffinity.initial")?;
    let after = step(affinity.last, "process.execCPUAffinity.final")?;
    let after = match (&before, after) {
        (None, None) => Some(always(InitAction::ResetCpuAffinity)),
        (_, after) => after,
    };
    Ok(Affinity { before, after })
}

/// The first 64 processors of `process.execCPUAffinity.initial` as a mask.
pub(crate) fn initial_affinity(process: &Process) -> Option<u64> {
    let list = process.exec_cpu_affinity.as_ref()?.initial.as_deref().filter(|list| !list.is_empty())?;
    let cpus = cpu_set(list, "process.execCPUAffinity.initial").ok()?;
    Some((0..64).filter(|cpu| cpus.is_set(*cpu)).fold(0, |mask, cpu| mask | 1 << cpu))
}

fn cpu_set(list: &str, field: &str) -> Result<rustix::thread::CpuSet> {
    let cpus = number_list::ranges(list, rustix::thread::CpuSet::MAX_CPU)
        .map_err(|_| Error::invalid(field, format!("`{list}` is not a list such as `0-3,7`")))?;
    let mut set = rustix::thread::CpuSet::new();
    cpus.into_iter().flatten().for_each(|cpu| set.set(cpu));
    Ok(set)
}

/// Puts an init of our own between the last step and its program; `kept` descriptors from 3 on are the program's.
pub(crate) fn through_init(steps: &mut [Step], kept: u32) {
    let last = steps.len().saturating_sub(1);
    let Some(Step { action: Action::Init(InitAction::Execute(execution)), .. }) = steps.last_mut() else {
        return;
    };
    let socket = 3 + kept;
    let arguments = CStringArray::new(crate::reaper::words(execution.arguments.strings()));
    let environments = execution.candidates.iter().enumerate().map(|candidate| {
        let own = execution.environment.strings();
        CStringArray::new(crate::reaper::environment(socket, last, candidate, own))
    });
    execution.init = Some(InitProgram { socket, arguments, environments: environments.collect() });
}

/// Executes a process of our own in the place of a program, which is not looked for.
pub(crate) fn hold(steps: &mut Vec<Step>, kept: u32) {
    steps.retain(|step| !matches!(step.action, Action::Init(InitAction::FindProgram { .. })));
    let Some(Step { action: Action::Init(InitAction::Execute(execution)), .. }) = steps.last_mut() else {
        return;
    };
    execution.candidates.clear();
    let name = CString::new(crate::reaper::HOLDER).expect("no NUL");
    let environment = CStringArray::new(execution.environment.strings().to_vec());
    let arguments = CStringArray::new(vec![name]);
    execution.init = Some(InitProgram { socket: 3 + kept, arguments, environments: vec![environment] });
}

/// The last steps: nothing of the runtime is left, the filter is on, the program begins.
pub(crate) fn plan_end(
    process: &Process,
    filter: Option<Step>,
    label: Option<CString>,
    recorded: Option<Step>,
    dies_with_parent: bool,
    rights: Vec<Step>,
    program: Program,
) -> Vec<Step> {
    let Program { candidates, arguments, environment, open_files, home: _ } = program;
    // Before a filter that may refuse it, and before the right to raise it is gone.
    let mut steps: Vec<Step> = open_files.into_iter().collect();
    // Without no_new_privs a filter takes CAP_SYS_ADMIN, which is about to go. With one, nobody hears the parent.
    let (early, late): (Vec<Step>, Vec<Step>) = match (process.no_new_privileges, filter) {
        (false, Some(filter)) => (recorded.into_iter().chain([filter]).collect(), Vec::new()),
        (_, filter) => (Vec::new(), recorded.into_iter().chain(filter).collect()),
    };
    steps.extend(early);
    steps.extend(rights);
    if dies_with_parent {
        // A change of credentials cleared it (prctl(2)).
        steps.push(always(InitAction::DieWithParent));
    }
    if let Some(label) = label {
        steps.push(init_step(InitAction::WriteLabel { label }, "process"));
    }
    steps.extend(late);
    steps.push(init_step(
        InitAction::Execute(Execution { candidates, arguments, environment, init: None }),
        "process.args",
    ));
    steps
}
