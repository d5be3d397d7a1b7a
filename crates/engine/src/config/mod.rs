//! The OCI config that a person's options amount to: what every container gets unless it is told otherwise, one
//! module a topic.

mod devices;
mod files;
mod host_cgroups;
mod labels;
mod limits;
mod namespaces;
mod process;
mod seccomp_file;
mod security;
mod sysctl;

use std::collections::BTreeMap;

use runtime::ContainerId;
use runtime::plan::Warning;
use runtime::spec::{Linux, Root, Spec, VERSION};

use crate::accounts::Account;
use crate::container::Notice;
use crate::error::{Error, Result};
use crate::options::{RootOptions, RunOptions, Source, UserNamespace};
use crate::rootless::Unprivileged;

/// The config.json that a person's options amount to. `hidden` are paths of our own on the host's root, and `account` is
/// who the program is in numbers.
pub(crate) fn spec(
    options: &RunOptions,
    root: &std::path::Path,
    id: &ContainerId,
    hidden: &[String],
    account: &Account,
) -> Result<Spec> {
    files::check(&options.files, whose_users(options))?;
    let mut linux = Linux { namespaces: namespaces::namespaces(options), ..Linux::default() };
    let mut process = process::process(options, account);
    limits::limit(&options.limits, id, &mut process, &mut linux)?;
    let mut spec = Spec {
        oci_version: VERSION.to_owned(),
        root: Some(Root { path: root.to_owned(), readonly: options.files.read_only }),
        process: Some(process),
        mounts: files::mounts(&options.files, options.limits.shm_size),
        annotations: process::annotations(&options.process),
        linux: Some(linux),
        ..Spec::default()
    };
    namespaces::settle(options, whose_users(options), &mut spec)?;
    security::restrict(&options.security, whose_users(options), &mut spec, hidden)?;
    Ok(spec)
}

pub(crate) use files::is_of_the_kernel;
pub(crate) use host_cgroups::group_path;
pub(crate) use labels::{label, wants_label};
pub(crate) use limits::{changed as changed_limits, notices as limit_notices};
pub(crate) use process::shown_environment;
pub(crate) use security::{Rights, give_rights};
pub(crate) use sysctl::let_ping;

/// Adds the devices that a person asks for, once it is known whose users the container has, and puts outer mounts first.
pub(crate) fn give_devices(options: &RunOptions, spec: &mut Spec) -> Result<()> {
    devices::give(&options.files, spec)?;
    files::sort(&options.files, &mut spec.mounts);
    Ok(())
}

/// What asks for what an image says.
const IMAGE: &str = "the image";

/// The flags behind fields of `spec` that can be refused only when the start is planned.
pub(crate) fn origins(options: &RunOptions, spec: &Spec) -> BTreeMap<String, String> {
    let mut origins = files::origins(&options.files, spec);
    let source = process::source(&options.process);
    let root = match &options.files.root {
        RootOptions::Image(_) => IMAGE,
        _ => "--rootfs",
    };
    let fixed = [("process.args[0]", source), ("process.args", source), ("root.path", root)];
    origins.extend(fixed.map(|(field, flag)| (field.to_owned(), flag.to_owned())));
    let sources =
        [("process.user", options.process.user_source), ("process.cwd", options.process.directory_source)];
    let of_image = sources.into_iter().filter(|(_, source)| *source == Source::Image);
    origins.extend(of_image.map(|(field, _)| (field.to_owned(), IMAGE.to_owned())));
    if options.limits.shm_size.is_some()
        && let Some(index) = spec.mounts.iter().position(|mount| mount.destination == "/dev/shm")
    {
        // A mount of a person's own in its place has an origin already.
        origins.entry(format!("mounts[{index}]")).or_insert_with(|| "--shm-size".to_owned());
    }
    origins
}

/// Whose users a container has: in a user namespace of its own it may have any capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhoseUsers {
    Callers,
    Own,
}

fn whose_users(options: &RunOptions) -> WhoseUsers {
    match options.namespaces.users {
        UserNamespace::Default | UserNamespace::Host if rustix::process::geteuid().is_root() => {
            WhoseUsers::Callers
        }
        _ => WhoseUsers::Own,
    }
}

/// The error of a plan, with the flag that asked for it where the plan knows only a field.
pub(crate) fn name_flags(
    error: Error,
    options: &RunOptions,
    spec: &Spec,
    caller: Option<&Unprivileged>,
) -> Error {
    let error = limits::name_flags(error, &options.limits);
    let error = process::name_flags(error, &options.process, spec, caller);
    let error = namespaces::name_flags(error, spec);
    security::name_flags(error, &options.security)
}

/// What a plan leaves out, likewise.
pub(crate) fn notice(warning: &Warning, options: &RunOptions) -> Notice {
    let what = process::warning(warning, &options.process)
        .or_else(|| security::warning(warning, &options.security))
        // Of a limit it is the name that `--cgroup-conf` takes.
        .unwrap_or_else(|| warning.to_string());
    Notice { what, remedy: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{SeccompChoice, parse_group};

    #[test]
    fn no_capability_beyond_eleven_and_none_that_survives_exec_by_itself() {
        let id = ContainerId::parse("x").expect("legal");
        let spec = spec(&RunOptions::default(), std::path::Path::new("/"), &id, &[], &Account::root())
            .expect("legal");
        let capabilities = spec.process.expect("there is one").capabilities.expect("set");
        assert!(capabilities.bounding.len() <= 11);
        assert!(capabilities.inheritable.is_empty() && capabilities.ambient.is_empty());
    }

    #[test]
    fn what_a_plan_leaves_out_is_told_with_the_flag_that_asked_for_it() {
        let groups = Warning { field: "process.user.additionalGids".to_owned(), what: "left out".to_owned() };
        let rule = Warning { field: "linux.seccomp.syscalls[1].names".to_owned(), what: "empty".to_owned() };
        let limit = Warning { field: "cpu.idle".to_owned(), what: "contradicts".to_owned() };
        let told = |warning: &Warning, options: &RunOptions| notice(warning, options).what;
        let mut options = RunOptions::default();
        assert_eq!(told(&groups, &options), "--user: left out");
        options.process.groups.push(parse_group("--group-add", "7").expect("legal"));
        assert_eq!(told(&groups, &options), "--group-add: left out");
        assert_eq!(told(&rule, &options), "linux.seccomp.syscalls[1].names: empty");
        options.security.seccomp = Some(SeccompChoice::File("/profile.json".into()));
        assert_eq!(told(&rule, &options), "--security-opt seccomp: linux.seccomp.syscalls[1].names: empty");
        assert_eq!(told(&limit, &options), "cpu.idle: contradicts");
    }

    #[test]
    fn user_without_privileges_has_no_capability_in_force() {
        let account = Account { uid: 7, ..Account::root() };
        let id = ContainerId::parse("x").expect("legal");
        let spec =
            spec(&RunOptions::default(), std::path::Path::new("/"), &id, &[], &account).expect("legal");
        let capabilities = spec.process.expect("there is one").capabilities.expect("set");
        assert!(capabilities.effective.is_empty() && capabilities.permitted.is_empty());
        assert!(!capabilities.bounding.is_empty());
    }
}
