//! What a container may not do and not see.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::support::{Host, finish};

fn status(text: &str, field: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).trim().to_owned()
}

#[test]
fn program_has_few_capabilities_no_new_privileges_and_a_filter() {
    let Some(host) = Host::new() else { return };
    let ran = host.run(&[&host.rootfs_flag(), "--cmd=/bin/cat /proc/self/status"]);
    let text = ran.text();
    let bits = |field: &str| u64::from_str_radix(&status(text, field), 16).expect("hexadecimal").count_ones();
    for field in ["CapEff", "CapPrm", "CapBnd"] {
        assert!((1..=11).contains(&bits(field)), "{field}: {}", status(text, field));
    }
    assert_eq!((bits("CapInh"), bits("CapAmb")), (0, 0));
    assert_eq!(status(text, "NoNewPrivs"), "1");
    assert_eq!(status(text, "Seccomp"), "2");
    assert_eq!(status(text, "NSpid"), "1");
    assert_eq!((status(text, "SigBlk"), status(text, "SigIgn")), ("0".repeat(16), "0".repeat(16)));
}

#[test]
fn no_descriptor_of_the_caller_gets_in() {
    let Some(host) = Host::new() else { return };
    let secret = host.directory().join("secret");
    std::fs::write(&secret, "s").expect("written");
    let mut leaked: Vec<OwnedFd> = Vec::new();
    for _ in 0..10 {
        let file = std::fs::File::open(&secret).expect("opened");
        leaked.push(rustix::io::fcntl_dupfd_cloexec(&file, 50).expect("duplicated"));
    }
    for descriptor in &leaked {
        // Not close-on-exec: what a careless caller does. Others that this process starts now get them as well, which
        // hurts nobody.
        rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty()).expect("set");
    }
    let child = host.script(&[], "ls /proc/self/fd; ls /proc/1/fd; exit 0").spawn().expect("nsenter runs");
    let numbers: Vec<i32> = leaked.iter().map(AsRawFd::as_raw_fd).collect();
    let given = std::fs::read_dir(format!("/proc/{}/fd", child.id())).map(Iterator::count).unwrap_or(0);
    drop(leaked);
    let ran = finish(child, None);
    // `ls` has one more of its own: the directory it reads.
    assert_eq!(ran.text(), "0\n1\n2\n3\n0\n1\n2", "leaked {numbers:?}, the command held {given}");
}

#[test]
fn proc_shows_and_changes_nothing_of_the_host() {
    let Some(host) = Host::new() else { return };
    let script = "if test -e /proc/kcore; then wc -c < /proc/kcore; else echo 0; fi; wc -c < /proc/keys; ls -A /sys/firmware; \
                  echo 1 > /proc/sys/kernel/hostname; echo code=$?; echo b > /proc/sysrq-trigger; echo code=$?; \
                  echo x > /sys/kernel/uevent_helper; echo code=$?; echo 1 > /proc/sys/net/ipv4/ip_forward; echo code=$?; \
                  umount /proc/kcore; echo code=$?; mount -o remount,rw /proc/sys; echo code=$?";
    let ran = host.inside(&[], script);
    assert_eq!(ran.stdout, format!("0\n0\n{}", "code=1\n".repeat(6)), "{ran:?}");
}

#[test]
fn mounts_and_new_user_namespaces_are_refused() {
    let Some(host) = Host::new() else { return };
    let tries = [
        "mount -t tmpfs tmpfs /bin",
        "mount --bind /bin /proc",
        "unshare -U true",
        "unshare -m true",
        "unshare -n true",
        "unshare -p true",
        "hostname other",
        "ip link set lo down",
        "ip link add d0 type dummy",
        "mknod /disk b 254 0",
        "chroot / sh -c 'mount -t proc proc /proc'",
    ];
    let script: String = tries
        .iter()
        .map(|one| format!("busybox {one} 2>/dev/null && echo allowed: '{}'; ", one.replace('\'', "")))
        .collect();
    let ran = host.inside(&[], &format!("{script} exit 0"));
    let allowed: Vec<&str> = ran.text().lines().collect();
    assert!(allowed.is_empty(), "{allowed:?}");
    assert_eq!(host.inside(&[], "true").code(), 0);
}

#[test]
fn device_nodes_on_the_root_directory_do_not_open() {
    let Some(host) = Host::new() else { return };
    // The host's root prepared one; in the container it is a name without a device.
    host.set_up(&format!("mknod {}/kmsg c 1 11", host.rootfs().display()));
    let ran = host.inside(&[], "head -c 1 /kmsg >/dev/null 2>&1 && echo opened; exit 0");
    assert_eq!(ran.text(), "");
    std::fs::remove_file(host.rootfs().join("kmsg")).expect("removed");
}

#[test]
fn processes_of_the_host_can_not_be_seen_or_signalled() {
    let Some(host) = Host::new() else { return };
    let script = format!("kill -0 {} && echo reached; ls -d /proc/[0-9]*", host.pid());
    let ran = host.inside(&[], &script);
    let seen: Vec<&str> = ran.text().lines().collect();
    assert!(seen.len() <= 2 && seen.contains(&"/proc/1"), "{seen:?}");
}

#[test]
fn keys_of_the_host_stay_outside() {
    let Some(host) = Host::new() else { return };
    let ran = host.inside(&[], "cat /proc/keys /proc/key-users");
    assert!(!ran.stdout.contains("_uid") && !ran.stdout.contains("keyring"), "{ran:?}");
}
