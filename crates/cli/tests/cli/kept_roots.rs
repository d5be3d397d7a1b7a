//! Containers of a copy of the host's root, or of a directory, that are kept: what they changed, and images made of it.

use crate::kept::Place;
use crate::support::{Host, binary, finish, has_program};

/// A host of a few files, with another file system at /home, memory at /run, and the program under test by a mount of its own:
/// what `$1` is the script of runs there.
const SMALL_HOST: &str = r#"set -e; cd "$0"; mkdir -p small disk; echo of the disk >disk/file; echo old >disk/old
cp -a rootfs/bin small/; cd small; mkdir -p etc proc sys dev run tmp home var/lib old; ln -s busybox bin/tar; ln -s busybox bin/tr
echo root:x:0:0::/:/bin/sh >etc/passwd; echo gone >etc/gone; : >bin/rabbitc; chmod 755 bin/rabbitc; ln etc/gone etc/other
mkdir var/of-another; mknod var/of-another/whiteout c 0 0
mount --bind . .; cd ../small; for tree in proc sys dev; do mount --rbind /$tree $tree; done
mount -t tmpfs none run; echo fact >run/fact; mount --bind ../disk home; mount --bind "$2" bin/rabbitc
pivot_root . old; cd /; PATH=/bin; export PATH; umount -l /old; exec sh -c "$1""#;

#[test]
fn changes_to_a_copy_of_the_hosts_root_or_of_a_directory_are_kept_where_that_is_asked_for() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let name = format!("rabbitc-kept-{}", std::process::id());
    let script = format!("echo x >/etc/{name}; exit 0");
    let ran = place.run(&["--rm=false", "--", "/bin/sh", "-c", &script]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(!std::path::Path::new("/etc").join(&name).exists(), "the host's file is not made");
    let id = place.id();
    assert_eq!(place.verb("diff", &[&id]).text(), format!("C /etc\nA /etc/{name}"));
    assert_eq!(place.verb("rm", &[&id]).code(), 0);
    place.is_empty();

    let rootfs = host.rootfs_flag();
    let ran = place.run(&[&rootfs, "--overlay", "--rm=false", "--", "/bin/sh", "-c", "echo x >/made"]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    let id = place.id();
    assert_eq!(place.verb("diff", &[&id]).text(), "A /made");
    // A directory that was of no image becomes one of one layer.
    let made = place.verb("commit", &["--change=ENV A=b", &id, "made"]);
    assert_eq!((made.text().starts_with("sha256:"), made.stderr.as_str()), (true, ""), "{made:?}");
    assert_eq!(place.run(&["--rm", "made", "/bin/sh", "-c", "cat /made; echo $A"]).text(), "x\nb");
    assert_eq!(place.verb("rmi", &["made"]).code(), 0);
    assert_eq!(place.verb("rm", &[&id]).code(), 0);
    // What a container writes to a directory stays there; the container itself stays until it is removed.
    assert_eq!(place.run(&[&rootfs, "--rm=false", "--", "/bin/true"]).code(), 0);
    assert_eq!(place.verb("rm", &[&place.id()]).code(), 0);
    place.is_empty();
    std::fs::remove_dir_all(host.directory().join("store")).expect("there");
    host.assert_nothing_left();
}

#[test]
fn copy_of_the_hosts_root_becomes_an_image_with_all_that_the_container_saw_on_disks() {
    let Some(host) = Host::new() else { return };
    if !has_program("pivot_root") {
        return;
    }
    let script = r#"set -e
rabbitc run --rm=false --network=none -- /bin/sh -c 'echo a >/etc/new; rm /etc/gone /home/old; echo b >/home/new; cat /home/file; exit 0'
id=$(rabbitc ps -aq); rabbitc diff $id | tr '\n' ','; echo
rabbitc export $id | tar -t | grep -v '^bin/' | tr '\n' ','; echo
rabbitc commit -m note $id snap | cut -c1-7
rabbitc inspect -f '{{json .Config.Cmd}} {{len .RootFS.Layers}}' snap
rabbitc run --rm --network=none snap /bin/sh -c 'cat /etc/new /home/new /home/file /etc/other; ls -A /home /var /run; cat /bin/rabbitc'
echo 'cat /etc/passwd' | rabbitc run -i --rm --network=none snap
rabbitc rm $id >/dev/null; rabbitc rmi snap >/dev/null"#;
    let mut command = host.command("unshare");
    command.args(["--mount", "sh", "-c", SMALL_HOST]).arg(host.directory()).arg(script).arg(binary());
    let ran = finish(command.spawn().expect("unshare runs"), None);
    let expected = [
        "of the disk",
        "C /etc,D /etc/gone,A /etc/new,A /home/new,D /home/old,",
        // Neither what is mounted nor what is rabbitc's, and no whiteout.
        "dev/,etc/,etc/hostname,etc/hosts,etc/new,etc/other,etc/passwd,etc/resolv.conf,home/,home/file,home/new,old/,proc/,run/,\
         sys/,tmp/,var/,var/lib/,var/lib/rabbitc/,var/of-another/,",
        "sha256:",
        "[\"/bin/sh\"] 1",
        "a\nb\nof the disk\ngone",
        // What lies below the mount of the program is an empty file.
        "/home:\nfile\nnew\n\n/run:\n\n/var:\nlib\nof-another",
        "root:x:0:0::/:/bin/sh",
    ];
    assert_eq!(ran.text(), expected.join("\n"), "{ran:?}");
    assert!(ran.stderr.contains("all of the host's root in it, secrets among them"), "{ran:?}");
    for name in ["small", "disk"] {
        std::fs::remove_dir_all(host.directory().join(name)).expect("there");
    }
    host.assert_nothing_left();
}
