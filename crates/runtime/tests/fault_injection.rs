//! Fails every single step of a start in turn and then finds nothing left of it.

mod support;

use rabbitc_runtime_core as runtime;
use runtime::ContainerId;
use runtime::launch::{BareHost, LaunchOptions, launch};
use runtime::lifecycle::{self, Force};
use runtime::plan::Start;
use runtime::spec::Spec;
use support::{Scratch, World};

/// Fails each step of `spec`'s start; returns how many there are.
fn fail_each_step(scratch: &Scratch, name: &str, spec: &Spec, start: Start) -> usize {
    let id = ContainerId::parse(name).expect("legal");
    let root = scratch.state();
    let total = scratch.plan(spec, &id, start).expect("legal here").describe().len();
    for number in 1..=total {
        let before = World::look(scratch, name);
        {
            let plan = scratch.plan(spec, &id, start).expect("legal here");
            let step = plan.describe().swap_remove(number - 1);
            let options = LaunchOptions { fail_at_step: Some(number), ..LaunchOptions::default() };
            match launch(&plan, &root, &mut BareHost, options) {
                Err(error) => {
                    let failed = error.step.as_ref().unwrap_or_else(|| panic!("{error:?} names no step"));
                    assert_eq!((failed.number, failed.total), (number, total), "{error}");
                    assert!(error.to_string().ends_with("injected failure"), "{error}");
                    assert!(error.rollback.is_empty(), "{error:?}");
                }
                Ok(container) => {
                    // It lies beyond the gate: whoever starts the container is told.
                    assert_eq!(start, Start::AtGate, "step {number} ({}) did not fail", step.name);
                    drop(container);
                    let started = lifecycle::start(&root, &id);
                    if step.name == "wait for start" {
                        // Then nobody is there to be started, or to tell why.
                        started.expect_err("init is gone");
                    } else if step.side == runtime::Side::Container {
                        let Err(error) = started else {
                            panic!("step {number} ({} {}) did not fail", step.name, step.object)
                        };
                        let failed = error.step.as_ref().unwrap_or_else(|| panic!("{error:?} names no step"));
                        assert_eq!((failed.number, failed.total), (number, total), "{error}");
                        assert!(error.to_string().ends_with("injected failure"), "{error}");
                        assert_eq!(failed.asked_by, step.asked_by, "{error}");
                    }
                    lifecycle::delete(&root, &id, Force::Yes).expect("deleted");
                    reap();
                }
            }
        }
        let after = World::look(scratch, name);
        assert_eq!(before, after, "after the failure of step {number} of {total}");
        assert!(support::is_childless(), "a child is left after the failure of step {number}");
    }
    total
}

/// The init of a created container is this process's child.
fn reap() {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    waitid(WaitId::All, WaitIdOptions::EXITED).expect("one child");
}

#[test]
fn failure_of_any_step_leaves_nothing_behind() {
    if !support::can_run("failure_of_any_step_leaves_nothing_behind") {
        return;
    }
    let scratch = Scratch::new("fault");
    // What a first start makes for good: the cgroups' common parent, the state root.
    std::fs::create_dir_all(scratch.path.join("state")).expect("made");
    let mut plain = support::spec(&["sleep", "1000"]);
    let hook = || vec![runtime::spec::Hook { path: "/bin/true".into(), ..Default::default() }];
    plain.hooks = Some(runtime::spec::Hooks {
        create_runtime: hook(),
        create_container: hook(),
        start_container: hook(),
        ..Default::default()
    });
    let process = std::process::id();
    for start in [Start::Immediately, Start::AtGate] {
        let total = fail_each_step(&scratch, &format!("fault-plain-{process}"), &plain, start);
        assert!(total > 30, "{total} steps");
    }

    let mut terminal = support::spec(&["sleep", "1000"]);
    terminal.process.as_mut().expect("a process").terminal = true;
    fail_each_step(&scratch, &format!("fault-terminal-{process}"), &terminal, Start::Immediately);

    let mut users = support::spec(&["sleep", "1000"]);
    let linux = users.linux.as_mut().expect("linux");
    linux.namespaces.push(runtime::spec::Namespace { kind: runtime::spec::NamespaceKind::User, path: None });
    let map = runtime::spec::IdMapping { container_id: 0, host_id: 100_000, size: 65_536 };
    linux.uid_mappings = vec![map];
    linux.gid_mappings = vec![map];
    for start in [Start::Immediately, Start::AtGate] {
        fail_each_step(&scratch, &format!("fault-users-{process}"), &users, start);
    }

    // With mounts that the parent makes: through the container's map, and through one of its own.
    let mut mapped = users.clone();
    let mount = |destination: &str| runtime::spec::Mount {
        destination: destination.to_owned(),
        kind: Some("bind".to_owned()),
        source: Some(scratch.path.display().to_string()),
        options: Some(vec!["rbind".to_owned(), "ridmap".to_owned()]),
        ..Default::default()
    };
    let own = Some(vec![runtime::spec::IdMapping { container_id: 0, host_id: 500_000, size: 1 }]);
    mapped.mounts.push(mount("/dev/container"));
    mapped.mounts.push(runtime::spec::Mount {
        uid_mappings: own.clone(),
        gid_mappings: own,
        ..mount("/dev/own")
    });
    let plain = scratch.plan(&users, &ContainerId::parse("count").expect("legal"), Start::Immediately);
    let total = fail_each_step(&scratch, &format!("fault-mapped-{process}"), &mapped, Start::Immediately);
    assert_eq!(total, plain.expect("legal here").describe().len() + 4, "two mounts made, two attached");

    let mut holder = std::process::Command::new("/bin/busybox")
        .args(["unshare", "-p", "-n", "-U", "-r", "-f", "/bin/busybox", "sleep", "1000"])
        .spawn()
        .expect("a process in namespaces of its own");
    let inner = wait_for_child_of(holder.id());
    let mut joined = support::spec(&["sleep", "1000"]);
    for namespace in &mut joined.linux.as_mut().expect("linux").namespaces {
        let file = match namespace.kind {
            runtime::spec::NamespaceKind::Pid => "pid",
            runtime::spec::NamespaceKind::Network => "net",
            _ => continue,
        };
        namespace.path = Some(format!("/proc/{inner}/ns/{file}").into());
    }
    fail_each_step_beside(&scratch, &format!("fault-joined-{process}"), &joined);

    // Users that exist: everything else is made below them, the pid namespace through a second process.
    let mut below = support::spec(&["sleep", "1000"]);
    below.linux.as_mut().expect("linux").namespaces.push(runtime::spec::Namespace {
        kind: runtime::spec::NamespaceKind::User,
        path: Some(format!("/proc/{inner}/ns/user").into()),
    });
    below.mounts.push(mount("/dev/container"));
    fail_each_step_beside(&scratch, &format!("fault-below-{process}"), &below);

    let inner = rustix::process::Pid::from_raw(inner).expect("a pid");
    rustix::process::kill_process(inner, rustix::process::Signal::KILL).expect("killed");
    holder.wait().expect("reaped");
    assert!(support::is_childless(), "only the holder was left");
}

/// As `fail_each_step`, while the test has another child.
fn fail_each_step_beside(scratch: &Scratch, name: &str, spec: &Spec) {
    let id = ContainerId::parse(name).expect("legal");
    let total = scratch.plan(spec, &id, Start::Immediately).expect("legal here").describe().len();
    for number in 1..=total {
        let plan = scratch.plan(spec, &id, Start::Immediately).expect("legal here");
        let before = World::look(scratch, id.as_str());
        let options = LaunchOptions { fail_at_step: Some(number), ..LaunchOptions::default() };
        let error = launch(&plan, &scratch.state(), &mut BareHost, options).expect_err("the step fails");
        assert_eq!(error.step.as_ref().map(|step| step.number), Some(number), "{error}");
        assert!(error.rollback.is_empty(), "{error:?}");
        assert_eq!(before, World::look(scratch, id.as_str()), "step {number} of {total}");
    }
}

/// The first child of process `pid`, once it has one.
fn wait_for_child_of(pid: u32) -> i32 {
    loop {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("alive");
        if let Some(child) = children.split_ascii_whitespace().next() {
            return child.parse().expect("a pid");
        }
        std::thread::yield_now();
    }
}
