//! What changes hands when a container starts: network devices of the host, and the listener of a seccomp filter.

mod support;

use std::io::IoSliceMut;
use std::os::unix::net::UnixListener;
use std::process::Command;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::{Value, json};
use support::{Bundle, root_only, text};

/// Runs a script of the host in a network namespace of its own; `RUN` in it runs the bundle.
fn in_network(bundle: &Bundle, script: &str) -> std::process::Output {
    let run = format!(
        "{} --root {} run --bundle {} {}",
        support::BINARY,
        bundle.path.join("state").display(),
        bundle.path.display(),
        bundle.id
    );
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", &script.replace("RUN", &run)]);
    support::finish(command)
}

const PREPARE: &str = "ip link add dev0 type veth peer name dev1 && ip address add 10.9.8.7/24 dev dev0 && \
                       ip link set dev0 mtu 1234 up && ";

#[test]
fn network_device_moves_with_its_addresses_and_comes_back_where_the_start_fails() {
    root_only!();
    if Command::new("ip").arg("-V").output().is_err() {
        println!("skipped: needs ip (package iproute2)");
        return;
    }
    let bundle = Bundle::hostile("net-devices", &["busybox", "ip", "address", "show", "dev", "inside"]);
    bundle.with_namespace("network");
    bundle.edit(|config| config["linux"]["netDevices"] = json!({ "dev0": { "name": "inside" } }));
    let output = in_network(&bundle, &format!("{PREPARE} RUN"));
    let told = text(&output);
    assert!(told.contains("inet 10.9.8.7/24") && told.contains("mtu 1234"), "{output:?}");
    assert!(told.contains("UP"), "{output:?}");
    bundle.edit(|config| config["process"]["args"] = json!(["/bin/none"]));
    let output = in_network(&bundle, &format!("{PREPARE} {{ RUN || ip address show dev dev0; }}"));
    let told = text(&output);
    assert!(told.contains("inet 10.9.8.7/24") && told.contains("mtu 1234"), "{output:?}");
    assert!(told.contains(",UP"), "{output:?}");
    bundle.assert_clean("after the failure");
}

/// The document of one connection, and whether a descriptor came along; the descriptor is closed.
fn receive(listener: &UnixListener) -> (Value, bool) {
    let (socket, _) = listener.accept().expect("a connection");
    let mut bytes = [0u8; 4096];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut data = [IoSliceMut::new(&mut bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let length = rustix::net::recvmsg(&socket, &mut data, &mut ancillary, flags).expect("received").bytes;
    let came = ancillary.drain().any(|message| matches!(message, RecvAncillaryMessage::ScmRights(_)));
    (serde_json::from_slice(&bytes[..length]).expect("JSON"), came)
}

#[test]
fn listener_of_the_filter_goes_to_the_agent_with_the_state_also_from_exec() {
    root_only!();
    for no_new_privileges in [true, false] {
        let bundle = Bundle::hostile("agent", &[]);
        let path = bundle.path.join("agent");
        bundle.edit(|config| {
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "bar",
                "syscalls": [{ "names": ["sethostname"], "action": "SCMP_ACT_NOTIFY" }],
            });
        });
        // Nobody listens yet: the start fails and leaves nothing.
        let output = bundle.script("true");
        assert!(support::errors(&output).contains("failed to connect with seccomp agent"), "{output:?}");
        bundle.assert_clean("without an agent");
        let listener = UnixListener::bind(&path).expect("bound");
        bundle.start_script("sleep 100");
        let (document, came) = receive(&listener);
        assert!(came, "{document}");
        assert_eq!((&document["fds"], &document["metadata"]), (&json!(["seccompFd"]), &json!("bar")));
        assert_eq!(document["state"]["id"], bundle.id.as_str());
        assert_eq!(document["pid"], document["state"]["pid"]);
        bundle.succeed(&["exec", &bundle.id, "true"]);
        let (document, came) = receive(&listener);
        assert!(came && document["pid"] != document["state"]["pid"], "{document}");
        assert_eq!(document["state"]["status"], "running");
    }
}

#[test]
fn agent_has_the_listener_when_create_returns_and_one_that_is_missing_fails_create() {
    root_only!();
    for no_new_privileges in [true, false] {
        let bundle = Bundle::hostile("agent-create", &[]);
        let path = bundle.path.join("agent");
        bundle.edit(|config| {
            config["process"]["args"] = json!(["true"]);
            config["process"]["user"] = json!({ "uid": 7, "gid": 8 });
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["hooks"]["startContainer"] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "true"] }]);
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
                "syscalls": [{ "names": ["sethostname"], "action": "SCMP_ACT_NOTIFY" }],
            });
        });
        let output = bundle.create();
        assert!(!output.status.success(), "{output:?}");
        assert!(support::errors(&output).contains("failed to connect with seccomp agent"), "{output:?}");
        bundle.assert_clean("without an agent");
        let listener = UnixListener::bind(&path).expect("bound");
        let output = bundle.create();
        assert!(output.status.success(), "{output:?}");
        let (document, came) = receive(&listener);
        assert!(came, "{document}");
        assert_eq!(document["state"]["status"], "creating");
        let state: Value = serde_json::from_str(&bundle.succeed(&["state", &bundle.id])).expect("JSON");
        assert_eq!(state["status"], "created");
        assert_eq!((&document["pid"], &document["state"]["pid"]), (&state["pid"], &state["pid"]));
        // It waits under the filter already, with the rights of its program and nothing of ours open.
        let status = std::fs::read_to_string(format!("/proc/{}/status", state["pid"])).expect("read");
        assert!(status.contains("Seccomp:\t2\n") && status.contains("Uid:\t7\t7\t7\t7\n"), "{status}");
        bundle.succeed(&["start", &bundle.id]);
        // The hook is a process of its own, with a filter of its own.
        let (document, came) = receive(&listener);
        assert!(came && document["pid"] != state["pid"], "{document}");
        bundle.wait_for("stopped");
        bundle.succeed(&["delete", &bundle.id]);
        bundle.assert_clean("after its end");
    }
}

#[test]
fn filter_that_would_hold_up_the_wait_for_start_is_installed_by_start() {
    root_only!();
    let bundle = Bundle::hostile("agent-start", &["true"]);
    let path = bundle.path.join("agent");
    bundle.edit(|config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
            "syscalls": [
                { "names": ["sethostname"], "action": "SCMP_ACT_NOTIFY" },
                { "names": ["accept4"], "action": "SCMP_ACT_KILL_PROCESS" },
            ],
        });
    });
    let listener = UnixListener::bind(&path).expect("bound");
    let output = bundle.create();
    assert!(output.status.success(), "{output:?}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", bundle.pid())).expect("read");
    assert!(status.contains("Seccomp:\t0\n"), "{status}");
    bundle.succeed(&["start", &bundle.id]);
    let (document, came) = receive(&listener);
    assert!(came, "{document}");
}
