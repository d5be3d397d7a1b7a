//! `cp`: files from and into containers.

use super::{Scene, copying, with_accounts, without_accounts};
use crate::life::Place;
use crate::support::{Host, has_program};

/// Kind and rights, the number of links and both owners, of a line of ls(1); the beginning of another line.
fn beginning(line: &str) -> String {
    line.split_whitespace().take(4).collect::<Vec<_>>().join(" ")
}

#[test]
fn files_and_directories_are_copied_both_ways_by_dockers_rules() {
    let Some(scene) = Scene::throw_away(&["--user=7:8"]) else { return };
    let script = "mkdir -p d/s; echo in >d/s/f; echo file >f; chmod 640 f; chown 3:4 f
        cp_ f $C:/new && cp_ f $C:/bin && cp_ -a f $C:/owned && cp_ d $C:/d && cp_ d $C:/d && cp_ d/. $C:/d && inside sh -c \
        'cat /new /bin/f; ls -ln /new /owned; cat /d/s/f /d/d/s/f' &&
        cp_ $C:/d/. content && cp_ $C:/d there && cp_ $C:/new . && cat content/s/f there/d/s/f new && ls -ln new
        for to in /no/such /nosuch/ /new/; do cp_ f $C:$to 2>&1; echo $?; done | grep -v hint; cp_ d $C:/new 2>&1 | grep -v hint
        for to in no/such $C:/no/such; do cp_ $C:/bin/busybox $to 2>&1 | head -1; done";
    let ran = scene.copying(script);
    let shown = |line: &str| if line.starts_with('-') { beginning(line) } else { line.to_owned() };
    let lines: Vec<String> = ran.stdout.lines().map(shown).collect();
    assert_eq!(
        lines,
        [
            "file",
            "file",
            "-rw-r----- 1 3 4",
            "-rw-r----- 1 7 8",
            "in",
            "in",
            "in",
            "in",
            "file",
            "-rw-r----- 1 3 4",
            "error: copy to `/no/such`: no such directory",
            "1",
            "error: copy to `/nosuch/`: no such directory",
            "1",
            "error: copy to `/new/`: a part of it is no directory",
            "1",
            "error: copy to `/new`: cannot copy directory: there is something else",
            // Also where more was to come than a pipe holds.
            "error: copy to `no/such`: no such directory",
            "error: copy to `/no/such`: no such directory",
        ],
        "{ran:?}"
    );
    scene.end();
}

#[test]
fn archives_are_copied_on_streams() {
    let Some(host) = Host::new() else { return };
    if !has_program("tar") {
        return;
    }
    let scene = Scene::throw_away_of(host, &[]);
    let script =
        "mkdir -p d; echo in >d/f; tar cz d | cp_ - $C:/bin && inside cat /bin/d/f && cp_ $C:/bin/d - | tar t
        tar c d | cp_ - $C:/nosuch 2>&1; echo no archive at all | cp_ - $C:/bin 2>&1; echo $?
        cp_ $C:/nosuch - 2>&1 | head -1; cp_ f f 2>&1 | head -1";
    let ran = scene.copying(script);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[..3], ["in", "d/", "d/f"], "{ran:?}");
    assert!(lines[3].contains("destination must be a directory when copying from stdin"), "{ran:?}");
    assert!(ran.stdout.contains("source must be a (compressed) tar archive"), "{ran:?}");
    assert!(ran.stdout.contains("copy `/nosuch`: could not find the file"), "{ran:?}");
    assert!(ran.stdout.contains("must specify at least one container source"), "{ran:?}");
    scene.end();
}

#[test]
fn no_link_of_a_container_leads_a_copy_out_of_it() {
    let Some(scene) = Scene::throw_away(&["--pid=host"]) else { return };
    let script = "echo of the host >secret; echo hostile >f; W=$(pwd)
        inside sh -c \"ln -s $W/secret /s; ln -s ../../../../../../../../..$W /w; ln -s /proc/1/root$W /p; ln -s /proc/1/cwd /c\"
        for link in w p c; do cp_ f $C:/$link/got 2>/dev/null; cp_ f $C:/$link 2>/dev/null; done
        cp_ -L $C:/s out 2>/dev/null; cp_ $C:/w/secret out 2>/dev/null; cp_ $C:/p/secret out 2>/dev/null
        cp_ $C:/s as-link; readlink as-link; ls";
    let ran = scene.copying(script);
    let work = scene.host.directory().join("work");
    assert_eq!(ran.text(), format!("{}/secret\nas-link\nf\nsecret", work.display()));
    scene.end();
}

#[test]
fn what_is_mounted_in_a_container_is_copied_and_ids_are_those_of_its_users() {
    let Some(host) = Host::new() else { return };
    let volume = format!("-v={}:/volume", host.directory().join("work").display());
    std::fs::create_dir(host.directory().join("work")).expect("made");
    let scene = Scene::throw_away_of(host, &["--userns=auto", "--tmpfs=/memory", &volume]);
    let script = "echo file >f; cp_ f $C:/memory/ && cp_ f $C:/volume/through && cp_ f $C:/own && inside sh -c \
        'ls -ln /memory/f /own; echo inside >/own; chown 9:9 /own' && cat through && cp_ $C:/own back && cp_ $C:/own $C:/again && \
        inside cat /again && ls -ln back; inside sh -c 'test -d /proc/1 && echo proc'; cp_ $C:/proc p && ls p | wc -l";
    let ran = scene.copying(script);
    let lines: Vec<String> = ran.stdout.lines().map(beginning).collect();
    let own = "-rw-r--r-- 1 0 0";
    assert_eq!(lines, [own, own, "file", "inside", "-rw-r--r-- 1 9 9", "proc", "0"], "{ran:?}");
    scene.end();
}

#[test]
fn kinds_are_replaced_by_overwrite_alone() {
    let Some(scene) = Scene::throw_away(&[]) else { return };
    let script = "echo file >x; inside mkdir -p /bin/x/y; cp_ x $C:/bin 2>&1 | head -1; cp_ --overwrite x $C:/bin && inside cat /bin/x
        rm x; mkdir x; cp_ x $C:/bin 2>&1 | head -1; cp_ --overwrite x $C:/bin && inside ls -d /bin/x/";
    let ran = scene.copying(script);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].contains("cannot overwrite directory with non-directory"), "{ran:?}");
    assert!(lines[2].contains("cannot overwrite non-directory with directory"), "{ran:?}");
    assert_eq!((lines[1], lines[3]), ("file", "/bin/x/"), "{ran:?}");
    scene.end();
}

#[test]
fn files_of_a_container_that_has_ended_are_copied_too() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let ran = place.script("run", &["--overlay", "--rm=false"], "echo kept >/kept; rm /bin/seq");
    assert_eq!(ran.code(), 0, "{ran:?}");
    let id = place.verb("ps", &["-aq", "--no-trunc"]).text().to_owned();
    let script = "cp_ $C:/kept . && cat kept && echo new >new && cp_ new $C:/bin/new && cp_ $C:/bin/new back && cat back
        cp_ $C:/bin/seq . 2>&1 | head -1; cp_ $C:/bin/busybox . && test -x busybox && echo whole";
    let ran = copying(&host, &id, script);
    assert_eq!(ran.text(), "kept\nnew\nerror: copy `/bin/seq`: could not find the file\nwhole", "{ran:?}");
    assert!(!host.rootfs().join("bin/new").exists(), "it is the container's own");
    let changes = place.verb("diff", &[&id]);
    assert!(changes.text().contains("A /bin/new") && changes.text().contains("D /bin/seq"), "{changes:?}");
    host.assert_nothing_left();
}

#[test]
fn files_that_are_copied_into_one_that_has_not_run_are_there_at_each_start() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let script = "cat /bin/given; echo more >>/bin/given";
    place.script("create", &["--name=again", "--overlay"], script).text();
    let ran = copying(
        &host,
        "again",
        "echo given >given; cp_ given $C:/bin/ && cp_ $C:/bin/given - | tar t; cp_ $C:/bin/busybox . && ls",
    );
    assert_eq!(ran.text(), "given\nbusybox\ngiven", "{ran:?}");
    assert_eq!(place.verb("start", &["-a", "again"]).text(), "given");
    // Its own writes are there at its next start, too.
    assert_eq!(place.verb("start", &["-a", "again"]).text(), "given\nmore");
    assert!(!host.rootfs().join("bin/given").exists(), "they are the container's");
    assert_eq!(place.verb("rm", &["again"]).code(), 0);
    host.assert_nothing_left();
}

#[test]
fn what_comes_into_one_that_does_not_run_belongs_to_the_user_of_its_program_too() {
    let Some(host) = Host::new() else { return };
    with_accounts(&host);
    let place = Place::of(&host);
    place.script("create", &["--name=owned", "--overlay", "--user=alice"], "ls -ln /as-it-is /given").text();
    copying(&host, "owned", "echo given >f; chown 3:4 f; cp_ f $C:/as-it-is && cp_ -a f $C:/given").text();
    let ran = place.verb("start", &["-a", "owned"]);
    let lines: Vec<String> = ran.text().lines().map(beginning).collect();
    assert_eq!(lines, ["-rw-r--r-- 1 3 4", "-rw-r--r-- 1 1000 1001"], "{ran:?}");
    without_accounts(&host);
    place.assert_nothing_left();
}
