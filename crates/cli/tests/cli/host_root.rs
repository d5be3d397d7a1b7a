//! Without `--rootfs`: the host's own root, as a throw-away copy.

use std::path::Path;

use crate::support::{Host, finish};

#[test]
fn writes_on_the_hosts_root_stay_inside_and_a_warning_is_given() {
    let Some(host) = Host::new() else { return };
    let name = format!("rabbitc-cli-test-{}", std::process::id());
    let script = format!(
        "echo a > /etc/{name}; echo b > /usr/{name}; echo c > /var/{name}; cat /etc/{name} /usr/{name} /var/{name}; head -n 1 /etc/passwd"
    );
    let ran = host.run(&["--", "/bin/sh", "-c", &script]);
    assert!(ran.text().starts_with("a\nb\nc\nroot:"), "{ran:?}");
    for directory in ["/etc", "/usr", "/var"] {
        assert!(!Path::new(directory).join(&name).exists(), "{directory}");
    }
    assert!(ran.stderr.contains("warning: ") && ran.stderr.contains("secrets"), "{ran:?}");
    assert!(ran.stderr.contains("--rootfs"), "the warning names a way out: {ran:?}");
    host.assert_nothing_left();
}

#[test]
fn own_state_is_hidden_on_the_hosts_root() {
    let Some(host) = Host::new() else { return };
    let state = host.directory().join("run/rabbitc");
    std::fs::create_dir_all(&state).expect("made");
    // As on a host whose /run holds the state: bound there, on this test's own mounts, so that the host's own /run stays as it is.
    let script = format!(
        "mount -t tmpfs none /run && mkdir /run/rabbitc && mount --bind {} /run/rabbitc && exec \"$0\" \"$@\"",
        state.display()
    );
    let mut command = host.command("unshare");
    command.args(["--mount", "sh", "-c", &script]).arg(crate::support::binary());
    command.args(["--", "/bin/sh", "-c", "ls -A /run; ls -A /run/rabbitc; ls -A /var/lib/rabbitc; exit 0"]);
    let ran = finish(command.spawn().expect("unshare runs"), None);
    assert_eq!(ran.text(), "", "neither /run nor what is ours can be seen");
    host.assert_nothing_left();
}

#[test]
fn state_elsewhere_is_hidden_too() {
    let Some(host) = Host::new() else { return };
    let script = format!("ls -A {} 2>/dev/null; exit 0", host.state().display());
    let ran = host.run(&["--", "/bin/sh", "-c", &script]);
    assert_eq!(ran.text(), "");
}

#[test]
fn submount_of_the_host_gets_an_overlay_of_its_own() {
    let Some(host) = Host::new() else { return };
    // A partition of the host would be one; a bind mount is one to the kernel.
    let (partition, point) = (host.directory().join("partition"), host.directory().join("srv"));
    std::fs::create_dir(&partition).expect("made");
    std::fs::create_dir(&point).expect("made");
    std::fs::write(partition.join("file"), "of the partition\n").expect("written");
    host.set_up(&format!("mount --bind {} {}", partition.display(), point.display()));
    let script = format!(
        "cat {0}/file; echo inside > {0}/file; echo new > {0}/new; cat {0}/file {0}/new",
        point.display()
    );
    let ran = host.run(&["--", "/bin/sh", "-c", &script]);
    assert_eq!(ran.text(), "of the partition\ninside\nnew");
    assert_eq!(std::fs::read_to_string(partition.join("file")).expect("there"), "of the partition\n");
    assert!(!partition.join("new").exists());
    host.set_up(&format!("umount {}", point.display()));
    host.assert_nothing_left();
}

#[test]
fn read_only_copy_of_the_hosts_root_is_so_on_every_partition_and_on_no_mount_of_ours() {
    let Some(host) = Host::new() else { return };
    let here = host.directory().display().to_string();
    host.set_up(&format!(
        "cd {here}; mkdir disk one two three data; ln -s three link; echo kept >disk/kept; \
         for point in one two three; do mount --bind disk $point; done"
    ));
    let flags = [
        format!("--volume={here}/data:{here}/one/volume"),
        format!("--tmpfs={here}/one/memory"),
        // In the place of a whole partition, by its name and by a link that leads there.
        format!("--tmpfs={here}/two"),
        format!("--volume={here}/data:{here}/link"),
    ];
    let script = format!(
        "cd {here}; cat one/kept; echo no >one/no; \
         for place in / /etc /usr . one one/volume one/memory two three /run /dev/shm; do \
         touch $place/rabbitc-new 2>/dev/null && echo $place; done; exit 0"
    );
    // With file systems in memory at /tmp and /var/tmp, the test's own directory would not be seen.
    let mut arguments = vec!["--network=none", "--read-only", "--read-only-tmpfs=false"];
    arguments.extend(flags.iter().map(String::as_str));
    arguments.extend(["--", "/bin/sh", "-c", &script]);
    let ran = host.run(&arguments);
    let writable = "one/volume\none/memory\ntwo\nthree\n/run\n/dev/shm";
    assert_eq!(ran.text(), format!("kept\n{writable}"), "{ran:?}");
    assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
    assert_eq!(crate::support::names(&host.directory().join("data")), ["rabbitc-new"]);
    assert_eq!(crate::support::names(&host.directory().join("disk")), ["kept"]);
    arguments.insert(0, "plan");
    let plan = host.run(&arguments);
    let line = plan.text().lines().find(|line| line.contains("make the root read-only")).expect("a step");
    for place in ["/".to_owned(), format!("{here}/one"), format!("{here}/three")] {
        assert!(line.contains(&format!("`{place}`")), "{line}");
    }
    host.set_up(&format!("cd {here}; umount one two three"));
    host.assert_nothing_left();
}

#[test]
fn several_containers_share_the_hosts_root_without_meeting() {
    let Some(host) = Host::new() else { return };
    let start = |text: &str| {
        let script = format!("echo {text} > /etc/rabbitc-shared; sleep 0.3; cat /etc/rabbitc-shared");
        host.rabbitc(&["--", "/bin/sh", "-c", &script]).spawn().expect("nsenter runs")
    };
    let (one, two) = (start("one"), start("two"));
    assert_eq!(finish(one, None).text(), "one");
    assert_eq!(finish(two, None).text(), "two");
    host.assert_nothing_left();
}
