//! What the kernel, the distribution or a container around it forbids a user, each named with what allows it.

use std::path::Path;

use super::user::{UID, User, credentials};
use crate::support::{binary, has_controller, has_program, skip};

#[test]
fn user_namespace_that_the_kernel_refuses_is_named_with_a_remedy() {
    let Some(user) = User::new() else { return };
    if !has_program("strace") {
        return;
    }
    for (errno, reason) in
        [("ENOSPC", "sysctl user"), ("EUSERS", "sysctl user"), ("EPERM", "security module")]
    {
        user.traced(errno).refuses(125, &["clone the init process", reason]);
    }
    user.host.assert_nothing_left();
}

#[test]
fn settings_of_distributions_that_forbid_user_namespaces_are_named() {
    let Some(user) = User::new() else { return };
    if !has_program("strace") {
        return;
    }
    // Neither exists on every kernel: a file in its place is read as well.
    let set = |name: &str, value: u32| user.host.set_up(&format!("echo {value} >/proc/sys/kernel/{name}"));
    user.host.set_up("mount -t tmpfs -o mode=755 tmpfs /proc/sys/kernel");
    set("unprivileged_userns_clone", 0);
    user.traced("EPERM").refuses(125, &["sysctl kernel.unprivileged_userns_clone=1"]);
    set("apparmor_restrict_unprivileged_userns", 1);
    let ran = user.inside(&[], "true");
    let parts =
        ["make a user namespace", "AppArmor", "/etc/apparmor.d/rabbitc", "flags=(unconfined)", "userns,"];
    ran.refuses(125, &parts);
    assert!(user.host.containers().is_empty());
}

#[test]
fn user_inside_of_a_container_is_told_what_around_it_refuses() {
    let Some(user) = User::new() else { return };
    let inner = format!(
        "setpriv {} {} --state-dir={} {} --uidmap=0:{UID}:1 --network=none --cmd=/bin/true",
        credentials().join(" "),
        binary().display(),
        // The outer one hides its own.
        user.session().join("inner").display(),
        user.host.rootfs_flag()
    );
    let outer = |flags: &[&str]| {
        let mut arguments = flags.to_vec();
        arguments.extend(["--network=none", "--", "/bin/sh", "-c", &inner]);
        let ran = user.host.run(&arguments);
        assert_eq!(ran.code(), 125, "{ran:?}");
        ran.stderr
    };
    assert!(outer(&[]).contains("a seccomp filter around this process"), "{}", outer(&[]));
    let said = outer(&["--security-opt=seccomp=unconfined"]);
    assert!(said.contains("the host hides part of its own /proc"), "{said}");
}

#[test]
fn what_keeps_newuidmap_from_working_is_named() {
    let Some(user) = User::new() else { return };
    let mut command = user.command("setpriv");
    command.arg("--no-new-privs");
    let ran = user.run_by(command, &["--network=none", "--cmd=/bin/true"]);
    ran.refuses(125, &["newgidmap", "no_new_privs"]);
    user.host.assert_nothing_left();
    user.change_programs("chmod u-s /usr/bin/newgidmap; setcap -r /usr/bin/newgidmap 2>/dev/null || true");
    user.inside(&[], "true").refuses(125, &["neither set-user-ID root", "chmod u+s /usr/bin/newgidmap"]);
    assert!(user.host.containers().is_empty());
}

/// What only prefers is left out: nobody is worse off than without it.
#[test]
fn preference_that_no_group_of_the_users_could_keep_is_left_out_with_a_word() {
    let Some(user) = User::new() else { return };
    let is_v1 = |controller: &str| Path::new("/sys/fs/cgroup").join(controller).join("cgroup.procs").exists();
    if !["cpu", "memory", "blkio"].into_iter().all(is_v1) {
        skip("cgroup v1, where no ordinary user has a group, has not all of the controllers");
        return;
    }
    for flag in ["--cpu-shares=512", "--blkio-weight=100", "--memory-swappiness=9", "--oom-kill-disable"] {
        let ran = user.inside(&[flag], "echo runs");
        assert_eq!((ran.code(), ran.text()), (0, "runs"), "{ran:?}");
        let name = flag.split('=').next().expect("a flag");
        let told = format!("`{name}` is left out: no group of this user's could keep ");
        assert!(ran.stderr.contains(&told) && ran.stderr.contains("for root alone"), "{ran:?}");
    }
    // A bound beside it is refused.
    user.inside(&["--cpu-shares=512", "--memory=64m"], "true")
        .refuses(125, &["--memory: no group of this user's"]);
    user.host.assert_nothing_left();
}

#[test]
fn limit_that_nobody_delegated_is_refused_by_its_name() {
    let Some(user) = User::new() else { return };
    let ran = user.inside(&["--memory=64m", "--pids-limit=9"], "true");
    let wanted = [("--memory", "memory"), ("--pids-limit", "pids")];
    match wanted.into_iter().find(|(_, controller)| !has_controller(controller, controller)) {
        // A view of cgroups in which nobody could.
        Some((flag, controller)) => {
            ran.refuses(125, &[&format!("{flag}: this host has no cgroup controller `{controller}`")]);
        }
        None => ran.refuses(125, &["--memory, --pids-limit: no group of this user's", "permission denied"]),
    }
    let systemd = Path::new("/run/systemd/system").exists();
    let ran = user.inside(&["--cgroup-parent=/batch"], "true");
    ran.refuses(125, &["error: --cgroup-parent: unable to apply", "permission denied"]);
    assert!(!ran.stderr.contains("linux.cgroupsPath"), "{ran:?}");
    assert_eq!(ran.stderr.contains("systemd"), systemd, "{ran:?}");
    // No group is missed where nothing is limited.
    assert_eq!(user.inside(&["--oom-score-adj=500"], "cat /proc/self/oom_score_adj").text(), "500");
    user.inside(&["--oom-score-adj=-500"], "true").refuses(125, &["oom"]);
    user.host.assert_nothing_left();
}

#[test]
fn program_of_a_user_is_as_confined_as_that_of_root() {
    let Some(user) = User::new() else { return };
    let script = "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; \
                  echo x >/proc/sysrq-trigger; cat /proc/keys; mount -t tmpfs tmpfs /bin; mknod /null c 1 3; \
                  test -c /dev/null && echo nodes; ls /dev/mqueue /dev/shm; echo end";
    let ran = user.inside(&[], script);
    let text = ran.text();
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "nodes", "end"] {
        assert!(text.contains(line), "{ran:?}");
    }
    let bits = text.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("shown").trim().to_owned();
    assert!(u64::from_str_radix(&bits, 16).expect("hexadecimal").count_ones() <= 11, "{bits}");
    assert!(!user.host.rootfs().join("null").exists());
    user.host.assert_nothing_left();
}
