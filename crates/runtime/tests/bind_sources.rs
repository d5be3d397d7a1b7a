//! The root directory and the source of a bind mount are what they were when the plan was made.

mod support;

use rabbitc_runtime_core as runtime;
use runtime::ContainerId;
use runtime::launch::{BareHost, LaunchOptions, launch};
use runtime::lifecycle::{self, Force};
use runtime::plan::{ContainerPlan, PlanOptions, RootSource, Start};
use runtime::spec::{IdMapping, Mount, Namespace, NamespaceKind, Spec};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use support::Scratch;

fn bind(spec: &mut Spec, source: &std::path::Path, options: &[&str]) {
    spec.mounts.push(Mount {
        destination: "/volume".to_owned(),
        kind: Some("bind".to_owned()),
        source: Some(source.display().to_string()),
        options: Some(options.iter().map(|&option| option.to_owned()).collect()),
        ..Mount::default()
    });
}

fn in_user_namespace(spec: &mut Spec) {
    let linux = spec.linux.as_mut().expect("linux");
    linux.namespaces.push(Namespace { kind: NamespaceKind::User, path: None });
    let map = IdMapping { container_id: 0, host_id: 100_000, size: 65_536 };
    linux.uid_mappings = vec![map];
    linux.gid_mappings = vec![map];
}

/// What the program of `spec` ends with; `between` happens after its plan is made.
fn run(scratch: &Scratch, name: &str, spec: &Spec, between: impl FnOnce()) -> Result<i32, runtime::Error> {
    let id = ContainerId::parse(&format!("bind-{name}-{}", std::process::id())).expect("legal");
    let plan = scratch.plan(spec, &id, Start::Immediately).expect("legal here");
    between();
    run_plan(scratch, &plan)
}

fn run_plan(scratch: &Scratch, plan: &ContainerPlan) -> Result<i32, runtime::Error> {
    let id = plan.id();
    let container = launch(plan, &scratch.state(), &mut BareHost, LaunchOptions::default())?;
    let ended = waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(&container.pidfd)), WaitIdOptions::EXITED);
    let code = ended.expect("it can be waited for").and_then(|status| status.exit_status());
    drop(container);
    lifecycle::delete(&scratch.state(), id, Force::Yes).expect("deleted");
    Ok(code.expect("it exits"))
}

fn scratch(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    for directory in
        ["state", "source", "rootfs/volume", "rootfs/proc", "rootfs/dev", "rootfs/sys", "rootfs/etc"]
    {
        std::fs::create_dir_all(scratch.path.join(directory)).expect("made");
    }
    std::fs::write(scratch.path.join("source/sign"), "right\n").expect("written");
    scratch
}

const IS_RIGHT: &str = "read -r sign < /volume/sign && test $sign = right";

#[test]
fn source_that_is_swapped_after_the_plan_is_still_the_one_that_was_checked() {
    if !support::can_run("source_that_is_swapped_after_the_plan_is_still_the_one_that_was_checked") {
        return;
    }
    let scratch = scratch("swap");
    let source = scratch.path.join("source");
    let mut spec = support::spec(&["sh", "-c", IS_RIGHT]);
    bind(&mut spec, &source, &["rbind", "ro"]);
    let swap = || {
        std::fs::rename(&source, scratch.path.join("moved")).expect("renamed");
        std::os::unix::fs::symlink("/etc", &source).expect("a link in its place");
    };
    assert_eq!(run(&scratch, "swap", &spec, swap).expect("it starts"), 0);
}

#[test]
fn swapped_source_is_noticed_where_init_looks_it_up() {
    if !support::can_run("swapped_source_is_noticed_where_init_looks_it_up") {
        return;
    }
    let scratch = scratch("swap-users");
    let source = scratch.path.join("source");
    let mut spec = support::spec(&["sh", "-c", IS_RIGHT]);
    in_user_namespace(&mut spec);
    bind(&mut spec, &source, &["rbind", "ro"]);
    assert_eq!(run(&scratch, "kept", &spec, || ()).expect("it starts"), 0);
    let swap = || {
        std::fs::rename(&source, scratch.path.join("moved")).expect("renamed");
        std::fs::create_dir(&source).expect("another one in its place");
    };
    let error = run(&scratch, "swap-users", &spec, swap).expect_err("another directory");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("replaced")), "{error:?}");
}

#[test]
fn source_below_a_directory_that_only_its_owner_may_search_reaches_a_user_namespace() {
    use std::os::unix::fs::PermissionsExt;
    if !support::can_run("source_below_a_directory_that_only_its_owner_may_search_reaches_a_user_namespace") {
        return;
    }
    let scratch = scratch("closed");
    let closed = scratch.path.join("closed");
    std::fs::create_dir(&closed).expect("made");
    let source = closed.join("source");
    std::fs::rename(scratch.path.join("source"), &source).expect("renamed");
    // Not even the host's root without its capabilities gets in there.
    std::os::unix::fs::chown(&closed, Some(12345), Some(12345)).expect("owned by somebody else");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).expect("its mode");
    let mut spec = support::spec(&["sh", "-c", IS_RIGHT]);
    in_user_namespace(&mut spec);
    bind(&mut spec, &source, &["rbind", "ro"]);
    assert_eq!(run(&scratch, "closed", &spec, || ()).expect("it starts"), 0);
}

/// A root with a sign of its own.
fn signed_root(scratch: &Scratch) -> std::path::PathBuf {
    let rootfs = scratch.path.join("rootfs");
    std::fs::write(rootfs.join("sign"), "right\n").expect("written");
    rootfs
}

const IS_RIGHT_ROOT: &str = "read -r sign < /sign && test $sign = right";

/// As somebody does who may write to the directory that the root lies in, and would have the host's.
fn put_hosts_root_in_its_place(rootfs: &std::path::Path) {
    std::fs::rename(rootfs, rootfs.with_file_name("moved")).expect("renamed");
    std::os::unix::fs::symlink("/", rootfs).expect("a link in its place");
}

fn assert_noticed(ran: Result<i32, runtime::Error>) {
    let error = ran.expect_err("another directory");
    let hint = error.hint.as_deref();
    assert!(
        hint.is_some_and(|hint| hint.contains("root directory") && hint.contains("replaced")),
        "{error:?}"
    );
    assert!(error.rollback.is_empty(), "{error:?}");
}

#[test]
fn swapped_root_is_noticed_where_init_looks_it_up() {
    if !support::can_run("swapped_root_is_noticed_where_init_looks_it_up") {
        return;
    }
    let scratch = scratch("swap-root");
    let rootfs = signed_root(&scratch);
    let spec = support::spec(&["sh", "-c", IS_RIGHT_ROOT]);
    assert_eq!(run(&scratch, "kept-root", &spec, || ()).expect("it starts"), 0);
    assert_noticed(run(&scratch, "swap-root", &spec, || put_hosts_root_in_its_place(&rootfs)));
}

#[test]
fn swapped_root_is_noticed_below_an_overlay() {
    if !support::can_run("swapped_root_is_noticed_below_an_overlay") {
        return;
    }
    let scratch = scratch("swap-lower");
    let rootfs = signed_root(&scratch);
    let place = scratch.path.join("scratch");
    std::fs::create_dir(&place).expect("made");
    let spec = support::spec(&["sh", "-c", IS_RIGHT_ROOT]);
    let plan = |name: &str| {
        let id = ContainerId::parse(&format!("lower-{name}-{}", std::process::id())).expect("legal");
        let directory = scratch.state().directory(&id);
        let mut options = PlanOptions::new(id, scratch.path.clone(), directory);
        let (below, submounts) = (Vec::new(), Vec::new());
        options.root = RootSource::Overlay { below, scratch: place.clone(), kept: None, submounts };
        ContainerPlan::new(&spec, &options).expect("legal here")
    };
    assert_eq!(run_plan(&scratch, &plan("kept")).expect("it starts"), 0);
    let planned = plan("swapped");
    put_hosts_root_in_its_place(&rootfs);
    assert_noticed(run_plan(&scratch, &planned));
}

#[test]
fn root_that_is_swapped_is_still_the_one_that_was_checked_where_its_mount_is_made_beforehand() {
    use std::os::unix::fs::PermissionsExt;
    if !support::can_run(
        "root_that_is_swapped_is_still_the_one_that_was_checked_where_its_mount_is_made_beforehand",
    ) {
        return;
    }
    let scratch = scratch("closed-root");
    let closed = scratch.path.join("closed");
    std::fs::create_dir(&closed).expect("made");
    let rootfs = closed.join("rootfs");
    std::fs::rename(signed_root(&scratch), &rootfs).expect("renamed");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).expect("its mode");
    let mut spec = support::spec(&["sh", "-c", IS_RIGHT_ROOT]);
    in_user_namespace(&mut spec);
    spec.root.as_mut().expect("root").path.clone_from(&rootfs);
    let swap = || put_hosts_root_in_its_place(&rootfs);
    assert_eq!(run(&scratch, "closed-root", &spec, swap).expect("it starts"), 0);
}
