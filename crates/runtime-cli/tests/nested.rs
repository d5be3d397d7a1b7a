//! The runtime inside a container of its own: with the rights of root of the host, and in a user namespace without a
//! right to the host's cgroups.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{BINARY, Bundle, errors, root_only, text};

/// What a runtime needs to make a container, and those that `spec` gives to the container.
const CAPABILITIES: [&str; 12] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
];

/// A bundle whose container sees `inner` as `/inner` and the runtime as `/bin/runtime`, with the libraries that it is linked
/// to, and runs `script`. Its procfs is whole: the kernel makes no other where parts of the first are hidden.
fn around(inner: &Bundle, script: &str) -> Bundle {
    let outer = Bundle::new("nested-outer", &["/bin/sh", "-c", script]);
    outer.with_namespace("cgroup");
    outer.edit(|config| {
        config["root"]["readonly"] = json!(false);
        let capabilities = json!({ "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES });
        config["process"]["capabilities"] = capabilities;
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
        let mounts = config["mounts"].as_array_mut().expect("a list");
        let bind = |source: &Path, destination: &str, option: &str| {
            json!({ "type": "bind", "source": source, "destination": destination, "options": ["bind", option] })
        };
        mounts.push(bind(Path::new(BINARY), "/bin/runtime", "ro"));
        mounts.push(bind(&inner.path, "/inner", "rw"));
        mounts.push(json!({ "type": "tmpfs", "source": "tmpfs", "destination": "/run" }));
        for libraries in ["/lib", "/lib64"].map(Path::new).into_iter().filter(|path| path.exists()) {
            mounts.push(bind(libraries, libraries.to_str().expect("text"), "ro"));
        }
    });
    outer
}

/// Takes `ro` from the mount of cgroups.
fn let_make_cgroups(bundle: &Bundle) {
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("a list");
        let cgroups = mounts.iter_mut().find(|mount| mount["type"] == "cgroup").expect("a mount of cgroups");
        cgroups["options"].as_array_mut().expect("a list").retain(|option: &Value| option != "ro");
    });
}

/// The commands of a container's life inside, and what is left then.
fn script(id: &str) -> String {
    format!(
        "run='runtime --root /run/state'
         $run run -b /inner {id}; echo ended with $?
         $run create -b /inner {id} </dev/null >/dev/null && $run start {id} && $run exec {id} true && echo executed
         $run delete --force {id} && echo left: $(echo /run/state/*)"
    )
}

/// Of a container that waits if it is asked to by a file, so that both `run` and `exec` have something to do.
const INSIDE: &str = "id -u; cat /proc/self/cgroup | grep -c :/$ ; echo pid $$; [ -e /ran ] && exec sleep 1000; touch /ran; exit 7";

fn inner() -> Bundle {
    let inner = Bundle::hostile("nested-inner", &["/bin/sh", "-c", INSIDE]);
    inner.edit(|config| config["root"]["readonly"] = json!(false));
    inner
}

#[test]
fn container_in_a_container_lives_in_groups_below_its_own() {
    root_only!();
    let inner = inner();
    let outer = around(&inner, &script("in"));
    let_make_cgroups(&outer);
    let output = outer.run_to_its_end();
    let told = text(&output);
    assert!(told.starts_with("0\n0\npid 1\nended with 7\n"), "in groups of its own: {output:?}");
    assert!(told.ends_with("executed\nleft: /run/state/*\n"), "{output:?}");
    assert_eq!(errors(&output), "", "{output:?}");
    outer.assert_clean("after the run");
}

#[test]
fn container_in_a_container_of_other_users_stays_in_its_groups() {
    root_only!();
    let inner = inner();
    let outer = around(&inner, &script("in"));
    outer.give_users();
    let owned = std::process::Command::new("chown").args(["-R", "100000:100000"]).arg(&inner.path).status();
    assert!(owned.expect("chown runs").success());
    let output = outer.run_to_its_end();
    let told = text(&output);
    let groups: u32 = told.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or_default();
    assert!(groups > 0, "in the groups of the container around it: {output:?}");
    assert!(told.starts_with("0\n") && told.contains("\npid 1\nended with 7\n"), "{output:?}");
    assert!(told.ends_with("executed\nleft: /run/state/*\n"), "{output:?}");
    outer.assert_clean("after the run");
}

#[test]
fn exec_in_a_container_tells_what_it_takes_to_join() {
    root_only!();
    let inner = inner();
    let outer = around(&inner, &script("in"));
    let_make_cgroups(&outer);
    outer.edit(|config| {
        let sets = config["process"]["capabilities"].as_object_mut().expect("sets");
        for set in sets.values_mut() {
            set.as_array_mut().expect("a list").retain(|name| name != "CAP_SYS_CHROOT");
        }
    });
    let output = outer.run_to_its_end();
    assert!(text(&output).contains("ended with 7\n"), "what it starts needs no such right: {output:?}");
    let told = errors(&output);
    assert!(told.contains("join namespaces mnt") && told.contains("takes CAP_SYS_CHROOT"), "{told}");
    outer.assert_clean("after the run");
}
