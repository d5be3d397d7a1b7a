//! Whom the ids inside stand for outside: the user's own number, its ranges, and the numbers that it chooses.

use super::user::{FIRST, UID, User};

#[test]
fn root_inside_is_the_user_and_other_ids_are_its_ranges() {
    let Some(user) = User::new() else { return };
    let script = "id -u; cat /proc/self/uid_map /proc/self/gid_map; cat /proc/self/setgroups; \
                  touch /mine /other; chown 5:7 /other";
    let ran = user.inside(&[], script);
    let words: Vec<&str> = ran.text().split_whitespace().collect();
    let (uid, first) = (UID.to_string(), FIRST.to_string());
    let map = ["0", uid.as_str(), "1", "1", first.as_str(), "65536"];
    assert_eq!(words, [&["0"][..], &map[..], &map[..], &["allow"][..]].concat());
    assert_eq!(ran.stderr, "");
    assert_eq!((user.owner("mine"), user.owner("other")), ((UID, UID), (FIRST + 4, FIRST + 6)));
    user.host.assert_nothing_left();
}

#[test]
fn user_without_ranges_gets_one_id_and_a_word_about_it() {
    let Some(user) = User::new() else { return };
    user.host.set_up("echo 'somebody:100000:65536' | tee /etc/subuid >/etc/subgid");
    let script = "id; cat /proc/self/setgroups; wc -l </proc/self/uid_map; test -w /dev/pts/ptmx && echo terminals; \
                  touch /mine; chown 5 /mine || echo refused; rm /mine";
    let ran = user.inside(&[], script);
    assert_eq!(ran.text(), "uid=0 gid=0\ndeny\n1\nterminals\nrefused");
    for part in ["only one user", "/etc/subuid", "tess", "usermod --add-subuids 165536-231071"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    assert_eq!(ran.stderr.matches("warning:").count(), 1, "{}", ran.stderr);
    let parts = ["--user: there is no user 1000", "/etc/subuid", "`usermod --add-subuids 165536-231071"];
    user.inside(&["-u", "1000"], "true").refuses(125, &parts);
    // Without the program the ranges do not help.
    user.host.set_up(&format!("echo 'tess:{FIRST}:65536' | tee /etc/subuid >/etc/subgid"));
    user.change_programs("rm /usr/bin/newgidmap");
    let ran = user.inside(&[], "echo runs");
    assert_eq!(ran.text(), "runs");
    for part in ["`newgidmap` is not installed", "uidmap"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}

#[test]
fn user_without_an_account_is_told_the_line_that_grants_it_ids() {
    let Some(user) = User::new() else { return };
    user.host
        .set_up("sed -i /^tess:/d /etc/passwd; echo 'somebody:100000:65536' | tee /etc/subuid >/etc/subgid");
    let ran = user.inside(&[], "echo runs");
    assert_eq!(ran.text(), "runs");
    let line = format!("`echo '{UID}:165536:65536' | tee -a /etc/subuid /etc/subgid`");
    assert!(ran.stderr.contains(&line), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("`useradd --uid {UID} NAME`")), "{}", ran.stderr);
    // Here no directory service has a name for it.
    user.host.set_up(line.trim_matches('`'));
    user.inside(&[], "true")
        .refuses(125, &["newgidmap", "user name", &format!("`useradd --uid {UID} NAME`")]);
    user.host.assert_nothing_left();
}

#[test]
fn user_can_keep_its_own_number_or_choose_all_numbers() {
    let Some(user) = User::new() else { return };
    user.host.set_up(&format!("chmod 777 {}", user.host.rootfs().display()));
    let script = "id -u; id -g; touch /mine; cat /etc/hostname; echo end";
    let ran = user.inside(&["--userns=keep-id"], script);
    assert_eq!((ran.text(), ran.stderr.as_str()), (format!("{UID}\n{UID}\nrabbitc\nend").as_str(), ""));
    assert_eq!(user.owner("mine"), (UID, UID));
    let ran = user.inside(&["--userns=keep-id:uid=7,gid=9"], script);
    assert_eq!(ran.text(), "7\n9\nrabbitc\nend");
    assert_eq!(user.owner("mine"), (UID, UID));
    // Another user than the one that is kept.
    assert_eq!(user.inside(&["--userns=keep-id", "--user=0"], script).text(), "0\n0\nrabbitc\nend");
    assert_eq!(user.owner("mine"), (FIRST, FIRST));
    let maps = [format!("--uidmap=0:{UID}:1"), format!("--uidmap=5:{}:2", FIRST + 10)];
    let ran = user.inside(&[&maps[0], &maps[1]], "touch /mine; chown 6 /mine; wc -l </proc/self/uid_map");
    assert_eq!(ran.text(), "2");
    assert_eq!(user.owner("mine"), (FIRST + 11, UID));
    user.host.set_up(&format!("chmod 755 {}", user.host.rootfs().display()));
    user.host.assert_nothing_left();
}

#[test]
fn user_without_ranges_can_keep_its_number_too() {
    let Some(user) = User::new() else { return };
    user.host.set_up("echo 'somebody:100000:65536' | tee /etc/subuid >/etc/subgid");
    let ran =
        user.inside(&["--userns=keep-id"], "id -u; cat /proc/self/setgroups; touch /dev/shm/x; echo end");
    assert_eq!(ran.text(), format!("{UID}\ndeny\nend"), "{ran:?}");
    user.host.assert_nothing_left();
}

#[test]
fn ids_that_are_not_the_users_are_refused() {
    let Some(user) = User::new() else { return };
    user.inside(&["--uidmap=0:0:1"], "true").refuses(125, &["`0 0 1`", "newgidmap", "/etc/subgid"]);
    let (own, last) = (format!("{UID} alone"), FIRST + 65_535);
    let granted = format!("{FIRST}-{last} (65536 ids)");
    let wide = format!("--uidmap=0:{FIRST}:70000");
    let asked = format!("`0 {FIRST} 70000`");
    user.inside(&[&wide], "true").refuses(125, &[&asked, "/etc/subgid", &granted, &own]);
    let narrow = format!("--gidmap=0:{FIRST}:65536");
    user.inside(&[&wide, &narrow], "true")
        .refuses(125, &[&asked, "newuidmap", "/etc/subuid", &granted, &own]);
    let others = [format!("--uidmap=0:{FIRST}:10"), format!("--gidmap=0:{FIRST}:10")];
    user.inside(&[&others[0], &others[1]], "true")
        .refuses(125, &["--uidmap", "your own id", &format!("--uidmap=ID:{UID}:1")]);
    user.inside(&["--subuidname=tess"], "true")
        .refuses(125, &["--subuidname", "your own id", "leave them out"]);
    user.inside(&["--userns=auto"], "true").refuses(125, &["--userns", "root"]);
    user.inside(&["--userns=nomap"], "true").refuses(125, &["--userns", "nomap"]);
    user.inside(&["--userns=keep-id:uid=70000"], "true").refuses(125, &["--userns", "70000", "65536"]);
    user.host.assert_nothing_left();
}

#[test]
fn wrong_lines_of_ranges_are_named_by_file_and_number() {
    let Some(user) = User::new() else { return };
    user.host.set_up(&format!("echo 'tess:{FIRST}' >>/etc/subuid"));
    user.inside(&[], "true").refuses(125, &["line 2 of `/etc/subuid`", "three fields"]);
    user.host
        .set_up(&format!("echo 'tess:{FIRST}:65536' >/etc/subuid; echo '{UID}:{FIRST}:1' >>/etc/subgid"));
    user.inside(&[], "true").refuses(125, &["line 2 of `/etc/subgid`", "overlaps that of line 1"]);
    user.host.assert_nothing_left();
}
