//! User namespaces and mounts with mapped owners: what shows inside, what lands on the disk, and what is refused.

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use support::{Bundle, errors, id_map, root_only, text};

/// Users of the host that nobody is: the container's root is the first of them.
const FIRST: u32 = 1_900_000_000;

/// A bundle with a user namespace of its own, a directory `data` beside the root, and its mount points.
fn bundle(name: &str, script: &str) -> Bundle {
    let bundle = Bundle::new(name, &["sh", "-c", script]);
    for link in ["ls", "mkdir", "mount", "stat", "kill", "unshare"] {
        std::os::unix::fs::symlink("busybox", bundle.path.join("rootfs/bin").join(link)).expect("a link");
    }
    for directory in ["rootfs/proc", "rootfs/dev", "rootfs/sys", "rootfs/data", "data"] {
        std::fs::create_dir_all(bundle.path.join(directory)).expect("made");
    }
    for (file, owner) in [("root", 0), ("user", 1000), ("nobody", FIRST - 1)] {
        let path = bundle.path.join("data").join(file);
        std::fs::write(&path, "x").expect("written");
        chown(&path, Some(owner), Some(owner)).expect("its owner");
    }
    bundle
}

fn add_mount(bundle: &Bundle, source: &Path, options: &[&str], maps: Option<Value>) {
    bundle.edit(|config| {
        let mut mount =
            json!({ "destination": "/data", "type": "bind", "source": source, "options": options });
        if let Some(maps) = maps {
            mount["uidMappings"] = maps.clone();
            mount["gidMappings"] = maps;
        }
        config["mounts"].as_array_mut().expect("a list").push(mount);
    });
}

fn data(bundle: &Bundle) -> PathBuf {
    bundle.path.join("data")
}

/// Runs it in a mount namespace of its own, after `setup` has mounted there.
fn run_after(bundle: &Bundle, setup: &str) -> Output {
    let script = format!(
        "{setup} && exec {} --root {path}/state run --bundle {path} {}",
        support::BINARY,
        bundle.id,
        path = bundle.path.display()
    );
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation=private", "sh", "-ec", &script]);
    command.stdin(std::process::Stdio::null()).output().expect("unshare (util-linux)")
}

fn refused(bundle: &Bundle, wanted: &[&str]) {
    let output = bundle.run();
    let told = errors(&output);
    assert!(!output.status.success(), "{told}");
    for part in wanted {
        assert!(told.contains(part), "`{part}` is not in: {told}");
    }
    bundle.assert_clean("after the refusal");
}

const OWNERS: &str = "stat -c '%n %u:%g' /data/root /data/user; touch /data/made; stat -c '%n %u' /data/made";

#[test]
fn mapped_mount_shows_owners_as_on_disk_and_writes_land_unshifted() {
    root_only!();
    for option in ["idmap", "ridmap"] {
        let bundle = bundle("idmap", OWNERS);
        bundle.map_users(FIRST);
        add_mount(&bundle, &data(&bundle), &["bind", option], None);
        let output = bundle.run();
        assert_eq!(text(&output), "/data/root 0:0\n/data/user 1000:1000\n/data/made 0\n", "{output:?}");
        let made = std::fs::metadata(data(&bundle).join("made")).expect("made");
        assert_eq!((made.uid(), made.gid()), (0, 0), "as the container sees it");
        bundle.assert_clean("after the run");
    }
}

#[test]
fn unmapped_mount_shows_owners_of_nobody_and_refuses_writes() {
    root_only!();
    let bundle = bundle("noidmap", "stat -c '%n %u' /data/root; touch /data/made || echo refused");
    bundle.map_users(FIRST);
    add_mount(&bundle, &data(&bundle), &["bind"], None);
    let output = bundle.run();
    assert_eq!(text(&output), "/data/root 65534\nrefused\n", "{output:?}");
}

#[test]
fn mount_with_maps_of_its_own_needs_no_user_namespace() {
    root_only!();
    let bundle = bundle("ownmaps", OWNERS);
    chown(data(&bundle), Some(1000), Some(1000)).expect("its owner");
    add_mount(&bundle, &data(&bundle), &["rbind", "idmap"], Some(id_map(1000, 0, 1)));
    let output = bundle.run();
    assert_eq!(text(&output), "/data/root 65534:65534\n/data/user 0:0\n/data/made 0\n", "{output:?}");
    let made = std::fs::metadata(data(&bundle).join("made")).expect("made");
    assert_eq!((made.uid(), made.gid()), (1000, 1000), "the user behind root of this mount");
}

#[test]
fn maps_of_a_mount_win_over_those_of_the_container() {
    root_only!();
    let bundle = bundle("winmaps", OWNERS);
    chown(data(&bundle), Some(1000), Some(1000)).expect("its owner");
    bundle.map_users(FIRST);
    add_mount(&bundle, &data(&bundle), &["bind"], Some(id_map(1000, FIRST, 1)));
    let output = bundle.run();
    assert_eq!(text(&output), "/data/root 65534:65534\n/data/user 0:0\n/data/made 0\n", "{output:?}");
}

#[test]
fn file_can_be_a_mapped_mount() {
    root_only!();
    let bundle = bundle("filemap", "stat -c '%u %F' /data; echo y >/data; cat /data");
    std::fs::remove_dir(bundle.path.join("rootfs/data")).expect("removed");
    std::fs::write(bundle.path.join("rootfs/data"), "").expect("a mount point");
    bundle.map_users(FIRST);
    add_mount(&bundle, &data(&bundle).join("root"), &["bind", "idmap"], None);
    let output = bundle.run();
    assert_eq!(text(&output), "0 regular file\ny\n", "{output:?}");
}

#[test]
fn ridmap_reaches_the_mounts_below_and_idmap_the_topmost_alone() {
    root_only!();
    for (option, below) in [("ridmap", 0), ("idmap", 65_534)] {
        let bundle = bundle("ridmap", "stat -c '%u' /data /data/below/file");
        std::fs::create_dir(data(&bundle).join("below")).expect("made");
        bundle.map_users(FIRST);
        add_mount(&bundle, &data(&bundle), &["rbind", option], None);
        let place = data(&bundle).join("below");
        let setup = format!("mount -t tmpfs none {0}; touch {0}/file", place.display());
        let output = run_after(&bundle, &setup);
        assert_eq!(text(&output), format!("0\n{below}\n"), "{option}: {output:?}");
    }
}

#[test]
fn file_system_that_can_not_show_other_owners_is_named() {
    root_only!();
    let procfs = bundle("proc", "true");
    procfs.map_users(FIRST);
    add_mount(&procfs, Path::new("/proc"), &["bind", "idmap"], None);
    refused(&procfs, &["map the owners of `/proc`", "`proc`, can't show other owners", "mounts[", "hint:"]);

    let nested = bundle("nested", "true");
    std::fs::create_dir(data(&nested).join("below")).expect("made");
    nested.map_users(FIRST);
    add_mount(&nested, &data(&nested), &["rbind", "ridmap"], None);
    let place = data(&nested).join("below").display().to_string();
    let output = run_after(&nested, &format!("mount -t ramfs none {place}"));
    let told = errors(&output);
    assert!(told.contains(&format!("map the owners of `{place}`")), "the one below is named: {told}");
    assert!(told.contains("`ramfs`"), "{told}");
    nested.assert_clean("after the refusal");
}

#[test]
fn maps_that_can_not_work_are_refused_with_their_field() {
    root_only!();
    let without = bundle("nomap", "true");
    add_mount(&without, &data(&without), &["bind", "ridmap"], None);
    refused(&without, &[".options: `idmap` has no map to go by"]);

    let fresh = bundle("fresh", "true");
    fresh.map_users(FIRST);
    fresh.edit(|config| {
        let mount = json!({ "destination": "/data", "type": "tmpfs", "options": ["idmap"] });
        config["mounts"].as_array_mut().expect("a list").push(mount);
    });
    refused(&fresh, &[".options: `idmap` and id maps are for bind mounts"]);

    let overlap = bundle("overlap", "true");
    let ranges = json!([
        { "containerID": 0, "hostID": FIRST, "size": 100 },
        { "containerID": 100, "hostID": FIRST + 50, "size": 100 },
    ]);
    add_mount(&overlap, &data(&overlap), &["bind", "idmap"], Some(ranges.clone()));
    refused(&overlap, &[".uidMappings[1].hostID: ", "overlaps with"]);

    let container = bundle("overlap", "true");
    container.map_users(FIRST);
    container.edit(|config| config["linux"]["gidMappings"] = ranges);
    refused(&container, &["linux.gidMappings[1].hostID: "]);

    let half = bundle("half", "true");
    add_mount(&half, &data(&half), &["bind", "idmap"], Some(id_map(0, 1, 1)));
    half.edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("a list");
        mounts.last_mut().expect("ours").as_object_mut().expect("a mount").remove("gidMappings");
    });
    refused(&half, &[".gidMappings: is missing"]);
}

#[test]
fn places_that_the_mapped_root_may_not_search_are_mounted_all_the_same() {
    root_only!();
    let bundle = bundle("closed", "stat -c '%n %u' /data/root && id -u");
    bundle.map_users(FIRST);
    add_mount(&bundle, &data(&bundle), &["bind"], None);
    std::fs::set_permissions(&bundle.path, std::fs::Permissions::from_mode(0o700)).expect("closed");
    let output = bundle.run();
    assert_eq!(text(&output), "/data/root 65534\n0\n", "{output:?}");
    bundle.assert_clean("after the run");
}

#[test]
fn read_only_mount_of_the_host_keeps_its_locked_flags() {
    root_only!();
    let script = "mount -o remount,bind,rw /data && echo lost; touch /data/made || echo kept";
    let bundle = bundle("locked", script);
    bundle.map_users(FIRST);
    bundle.edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            let names = config["process"]["capabilities"][set].as_array_mut().expect("a list");
            names.push(json!("CAP_SYS_ADMIN"));
            names.push(json!("CAP_DAC_OVERRIDE"));
        }
    });
    add_mount(&bundle, &data(&bundle), &["bind"], None);
    chown(data(&bundle), Some(FIRST), Some(FIRST)).expect("the container's");
    let place = data(&bundle).display().to_string();
    let output =
        run_after(&bundle, &format!("mount --bind {place} {place}; mount -o remount,bind,ro {place}"));
    assert_eq!(text(&output), "kept\n", "{output:?}");
}

#[test]
fn mount_inside_a_mapped_mount_does_not_show_on_the_host() {
    root_only!();
    let script = "mount -t tmpfs none /data/below && touch /data/below/file && ls /data/below && read -r end";
    let bundle = bundle("peer", script);
    std::fs::create_dir(data(&bundle).join("below")).expect("made");
    bundle.map_users(FIRST);
    bundle.edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set]
                .as_array_mut()
                .expect("a list")
                .push(json!("CAP_SYS_ADMIN"));
        }
    });
    add_mount(&bundle, &data(&bundle), &["rbind", "ridmap"], None);
    // Shared, as systemd has it, and looked at while the container still holds its mount.
    let place = data(&bundle).display().to_string();
    let script = format!(
        "mount --make-rshared /; mkfifo {path}/in {path}/out; \
         {binary} --root {path}/state run --bundle {path} {id} <{path}/in >{path}/out & \
         exec 8>{path}/in 9<{path}/out; read -r told <&9; echo \"$told\"; ls {place}/below; exec 8>&-; wait $!",
        path = bundle.path.display(),
        binary = support::BINARY,
        id = bundle.id,
    );
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation=private", "sh", "-c", &script]);
    let output = command.stdin(std::process::Stdio::null()).output().expect("unshare (util-linux)");
    assert_eq!(text(&output), "file\n", "{output:?}");
    bundle.assert_clean("after the run");
}

fn namespace(path: &str, kind: &str) -> String {
    let link = std::fs::read_link(format!("{path}/ns/{kind}")).expect("a namespace");
    link.display().to_string()
}

#[test]
fn container_in_an_existing_user_namespace_owns_what_it_makes() {
    root_only!();
    let first = bundle("first", "sleep 1000");
    first.map_users(FIRST);
    let path = first.path.display().to_string();
    for arguments in [vec!["create", "--bundle", &path, &first.id], vec!["start", &first.id]] {
        let output = first.quiet(&arguments);
        assert!(output.status.success(), "{}", errors(&output));
    }
    let host = first.pid();

    // Its users alone; then as in a pod: its users, network and ipc.
    for shared in [&["user"] as &[&str], &["user", "network", "ipc"]] {
        let script =
            "id -u; cat /proc/self/uid_map; hostname; stat -c %u /data/root; touch /data/made && sleep 1000";
        let second = bundle("second", script);
        second.with_namespace("user");
        second.edit(|config| {
            for one in config["linux"]["namespaces"].as_array_mut().expect("a list") {
                let kind = one["type"].as_str().expect("a kind").to_owned();
                let file = if kind == "network" { "net" } else { &kind };
                if shared.contains(&kind.as_str()) {
                    one["path"] = json!(format!("/proc/{host}/ns/{file}"));
                }
            }
            config["process"]["oomScoreAdj"] = json!(77);
        });
        add_mount(&second, &data(&second), &["bind", "idmap"], None);
        let path = second.path.display().to_string();
        let output = second.quiet(&["create", "--bundle", &path, &second.id]);
        assert!(output.status.success(), "{shared:?}: {}", errors(&output));
        let inner = format!("/proc/{}", second.pid());
        for kind in ["user", "net", "ipc", "mnt", "pid"] {
            let name = if kind == "net" { "network" } else { kind };
            let same = namespace(&inner, kind) == namespace(&format!("/proc/{host}"), kind);
            assert_eq!(same, shared.contains(&name), "{kind} of {shared:?}");
        }
        let score = std::fs::read_to_string(format!("{inner}/oom_score_adj")).expect("a score");
        assert_eq!(score.trim(), "77");
        let output = second.quiet(&["start", &second.id]);
        assert!(output.status.success(), "{}", errors(&output));
        let made = data(&second).join("made");
        support::eventually("the program writes", || made.exists());
        assert_eq!(std::fs::metadata(&made).expect("made").uid(), 0, "unshifted");
        let told = second.succeed(&["exec", &second.id, "sh", "-c", "id -u; cat /proc/self/uid_map"]);
        assert!(told.starts_with("0\n") && told.contains(&FIRST.to_string()), "{told}");
        second.succeed(&["delete", "--force", &second.id]);
        second.assert_clean("after the end");
    }
    first.succeed(&["delete", "--force", &first.id]);
    first.assert_clean("after the end");
}

#[test]
fn writable_cgroup_is_the_containers_to_divide_and_not_to_enlarge() {
    root_only!();
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        println!("skipped: needs a host with cgroup v2 alone; to hand over a group of v1 is not safe");
        return;
    }
    let script = "cd /sys/fs/cgroup && mkdir own && echo 0 >own/cgroup.procs && echo moved; \
                  echo max 2>/dev/null >cgroup.max.descendants && echo enlarged; stat -c %u . cgroup.procs; grep ^0: /proc/self/cgroup";
    let bundle = bundle("cgroup", script);
    bundle.map_users(FIRST);
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("a list");
        mounts.retain(|mount| mount["type"] != "cgroup");
        mounts.push(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup" }));
    });
    let output = bundle.run();
    assert_eq!(text(&output), "moved\n0\n0\n0::/own\n", "{output:?}");
    bundle.assert_clean("after the run");
}

#[test]
fn root_of_a_user_namespace_is_nobody_to_the_host() {
    root_only!();
    // With the host's pids in sight and every capability: none of them counts outside of the namespace.
    let victim =
        std::process::Command::new("sleep").arg("1000").spawn().expect("a process of the host's root");
    let script = format!(
        "kill -9 {0} 2>/dev/null && echo killed; cat /proc/{0}/environ 2>/dev/null && echo read; \
         echo 1 2>/dev/null >/proc/sys/kernel/sysrq && echo written; \
         unshare -n true && echo own; touch /data/made 2>/dev/null && echo made; id -u",
        victim.id()
    );
    let bundle = bundle("nobody", &script);
    bundle.map_users(FIRST);
    add_mount(&bundle, &data(&bundle), &["bind"], None);
    bundle.without_namespace("pid");
    bundle.edit(|config| {
        let all: Vec<String> =
            ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"]
                .map(|name| format!("CAP_{name}"))
                .to_vec();
        config["process"]["capabilities"] = json!({ "bounding": all, "effective": all, "permitted": all });
        config["linux"].as_object_mut().expect("linux").remove("maskedPaths");
        config["linux"].as_object_mut().expect("linux").remove("readonlyPaths");
        // A new procfs is refused without a pid namespace of one's own; the host's is bound.
        let mounts = config["mounts"].as_array_mut().expect("a list");
        mounts.retain(|mount| mount["destination"] != "/proc");
        mounts
            .push(json!({ "destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"] }));
    });
    let output = bundle.run();
    let mut victim = victim;
    let alive = victim.try_wait().expect("ours").is_none();
    victim.kill().expect("ours");
    victim.wait().expect("reaped");
    assert_eq!(text(&output), "own\n0\n", "{output:?}");
    assert!(alive);
}

/// Root of the namespace has no way into it, as it does not know the group.
#[test]
fn working_directory_that_only_the_programs_user_may_enter_is_entered() {
    root_only!();
    let bundle = bundle("closed-cwd", "pwd");
    bundle.map_users(FIRST);
    let closed = bundle.rootfs("data");
    chown(&closed, Some(FIRST + 5), Some(0)).expect("its owner");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).expect("closed");
    bundle.edit(|config| {
        config["process"]["user"] = json!({"uid": 5, "gid": 5});
        config["process"]["cwd"] = json!("/data");
    });
    let output = bundle.run();
    assert_eq!(text(&output), "/data\n", "{}", errors(&output));
    bundle.edit(|config| config["process"]["user"]["uid"] = json!(6));
    refused(&bundle, &["chdir to the working directory `/data`", "permission denied"]);
}
