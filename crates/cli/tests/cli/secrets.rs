//! Secrets: kept by name, given to containers as files in memory or as variables, and found nowhere else.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::life::Place;
use crate::support::{Host, Ran, eventually, finish, has_program, names};

/// What no file but those that are meant may have in it.
const VALUE: &str = "s3cr3t-of-the-test";

/// Makes a secret of a text.
fn make(place: &Place<'_>, flags: &[&str], name: &str, value: &[u8]) -> Ran {
    let mut command = place.command("secret create", &[flags, &[name, "-"]].concat());
    command.stdin(std::process::Stdio::piped());
    finish(command.spawn().expect("nsenter runs"), Some(value.to_vec()))
}

fn store(host: &Host) -> PathBuf {
    host.directory().join("store/secrets")
}

/// The files below a directory that have the value in them, in plain or as it is kept.
fn files_with_value(host: &Host, directory: &str) -> Vec<String> {
    let hex: String = VALUE.bytes().map(|byte| format!("{byte:02x}")).collect();
    let look = format!("cd {}; grep -rlE -e '{VALUE}|{hex}' {directory} || true", host.directory().display());
    let mut found: Vec<String> = host.shell(&look).lines().map(str::to_owned).collect();
    found.sort();
    found
}

#[test]
fn secrets_are_made_listed_shown_and_removed_as_podman_does() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let id = make(&place, &["--label=for=test", "-l", "plain"], "key", VALUE.as_bytes()).text().to_owned();
    assert!(id.len() == 25 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let mode = |path: PathBuf| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(store(&host)), mode(store(&host).join(format!("{id}.json")))), (0o700, 0o600));
    let file = host.directory().join("file");
    std::fs::write(&file, "of a file").expect("written");
    let other = place.verb("secret create", &["other", file.to_str().expect("text")]).text().to_owned();
    let mut of_variable = place.command("secret create", &["--env", "third", "OF_THE_TEST"]);
    of_variable.env("OF_THE_TEST", "of a variable");
    finish(of_variable.spawn().expect("nsenter runs"), None).text();

    let listed = place.verb("secret ls", &[]);
    let titles = listed.text().lines().next().expect("titles").split_whitespace().collect::<Vec<_>>();
    assert_eq!(titles, ["ID", "NAME", "DRIVER", "CREATED", "UPDATED"]);
    assert!(listed.text().contains("file") && listed.text().contains(" ago"), "{listed:?}");
    assert_eq!(place.verb("secret ls", &["--noheading"]).text().lines().count(), 3);
    for (filter, found) in [
        ("name=^ke", id.as_str()),
        ("name=o.her", &other),
        ("label=for=test", &id),
        ("label=plain", &id),
        ("label=for=other", ""),
        (&format!("id={}", &other[..20]), &other),
    ] {
        assert_eq!(place.verb("secret ls", &["-q", "--filter", filter]).text(), found, "{filter}");
    }
    let format = "{{.Name}} {{.Driver}} {{.Label \"for\"}}";
    assert_eq!(place.verb("secret list", &["-f", "name=key", "--format", format]).text(), "key file test");
    place.verb("secret ls", &["--filter=color=red"]).refuses(125, &["--filter", "`color` is not known"]);

    let shown = place.verb("secret inspect", &["key"]);
    assert!(!shown.stdout.contains(VALUE), "{shown:?}");
    let shown: serde_json::Value = serde_json::from_str(shown.text()).expect("JSON");
    assert_eq!((&shown[0]["ID"], &shown[0]["Spec"]["Name"]), (&id.as_str().into(), &"key".into()));
    assert_eq!(shown[0]["Spec"]["Driver"]["Name"], "file");
    assert_eq!(shown[0]["Spec"]["Labels"], serde_json::json!({"for": "test", "plain": ""}));
    let with_value = place.verb("secret inspect", &["--showsecret", "--format={{.SecretData}}", &id[..20]]);
    assert_eq!(with_value.text(), VALUE);
    let pretty = place.verb("secret inspect", &["--pretty", "key"]);
    assert!(pretty.text().contains(" - for=test\n - plain\nDriver:          file\n"), "{pretty:?}");
    assert_eq!(place.verb("secret inspect", &["nothing"]).code(), 1);

    assert_eq!(place.verb("secret exists", &["key"]).code(), 0);
    assert_eq!(place.verb("secret exists", &["nothing"]).code(), 1);
    assert_eq!(place.verb("secret rm", &["key", "other"]).text(), format!("{id}\n{other}"));
    place.verb("secret rm", &["key"]).refuses(1, &["`key`", "no such secret"]);
    assert_eq!(place.verb("secret rm", &["--ignore", "key"]).code(), 0);
    assert_eq!(place.verb("secret rm", &["--all"]).text().len(), 25);
    assert_eq!(place.verb("secret ls", &["-q"]).text(), "");
    assert_eq!(names(&store(&host)), ["lock"]);
    let events = place.verb(
        "events",
        &["--stream=false", "--filter=type=secret", "--format={{.Action}} {{.Actor.Attributes.name}}"],
    );
    assert_eq!(
        events.text(),
        "create key\ncreate other\ncreate third\nremove key\nremove other\nremove third"
    );
}

#[test]
fn what_is_no_secret_is_refused_before_anything_is_made() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    for (flags, name, value, parts) in [
        (&[][..], "a/b", &b"x"[..], &["`a/b`", "`/` is not for names"][..]),
        (&[], "..", b"x", &["no name"]),
        (&[], "key", b"", &["0 bytes"]),
        (&[], "key", &[b'x'; 512_000], &["512000 bytes", "511999"]),
        (&["--driver=pass"], "key", b"x", &["--driver", "`pass`"]),
        (&["--driver-opts=path=/x"], "key", b"x", &["--driver-opts", "`path=/x`"]),
        (&["--label==x"], "key", b"x", &["--label"]),
    ] {
        make(&place, flags, name, value).refuses(125, parts);
    }
    place.verb("secret create", &["--env", "key", "NOT_SET_HERE"]).refuses(125, &["--env", "`NOT_SET_HERE`"]);
    assert!(!store(&host).exists());
    make(&place, &[], "key", &[b'x'; 511_999]).text();
    let id = place.verb("secret ls", &["-q"]).text().to_owned();
    make(&place, &[], "key", b"x").refuses(125, &["`key`", "there is one of this name", "--replace"]);
    assert_eq!(make(&place, &["--ignore"], "key", b"x").text(), id);
    assert_eq!(make(&place, &["--replace"], "key", b"new").text(), id);
    let shown = place.verb("secret inspect", &["--showsecret", "--format={{.SecretData}}", "key"]);
    assert_eq!(shown.text(), "new");
    for (flag, parts) in [
        ("nothing", &["--secret nothing", "no such secret"][..]),
        ("key,mode=888", &["--secret key,mode=888", "no number"]),
        ("key,target=/proc/version", &["lies among the kernel's own"]),
        ("key,tipe=env", &["did you mean `type`?"]),
    ] {
        let refused = place.script("run", &["--rm", &format!("--secret={flag}")], "true");
        refused.refuses(125, parts);
        let refused = place.script("create", &[&format!("--secret={flag}")], "true");
        refused.refuses(125, parts);
    }
    let twice = ["--rm", "--secret=key", "--tmpfs=/run/secrets/key"];
    place.script("run", &twice, "true").refuses(125, &["--secret key", "--tmpfs"]);
    place.assert_nothing_left();
}

#[test]
fn program_finds_its_secrets_and_nobody_else_does() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    make(&place, &[], "key", VALUE.as_bytes()).text();
    let every_byte: Vec<u8> = (0..=255).collect();
    make(&place, &[], "bytes", &every_byte).text();
    let script = "cat /run/secrets/key; echo; cat /etc/app/own; echo; echo $KEY; \
                  busybox stat -c '%n %a %u:%g' /run/secrets/key /etc/app/own; \
                  echo x 2>/dev/null >>/run/secrets/key || echo closed; \
                  grep -c ' /run/secrets/key ro,nosuid,nodev,noexec.* tmpfs ' /proc/self/mountinfo; \
                  busybox md5sum </run/secrets/bytes";
    let flags = [
        "--secret=key",
        "--secret=bytes",
        "--secret=key,target=/etc/app/own,uid=7,gid=8,mode=0440",
        "--secret=key,type=env,target=KEY",
    ];
    let ran = place.script("run", &[&["--rm"], &flags[..]].concat(), script);
    let expected = format!(
        "{VALUE}\n{VALUE}\n{VALUE}\n/run/secrets/key 444 0:0\n/etc/app/own 440 7:8\nclosed\n1\n\
         e2c865db4162bed963bfaa9ef6ac18f0  -"
    );
    assert_eq!(ran.text(), expected, "{ran:?}");
    // Of one that stays, on an overlay over the root, and that is written out afterwards.
    let fixed = ["--name=web", "--overlay", "-d"];
    assert_eq!(
        place.script("run", &[&fixed[..], &flags[..]].concat(), "echo made >/made; sleep 1000").code(),
        0
    );
    eventually("it has written", || place.verb("diff", &["web"]).text().contains("/made"));
    let inside = place.verb("exec", &["web", "sh", "-c", "cat /run/secrets/key; echo $KEY"]);
    assert_eq!(inside.text(), format!("{VALUE}{VALUE}"));
    assert_eq!(place.verb("diff", &["web"]).text(), "A /made");
    for words in
        [&["inspect", "web"][..], &["explain", "web"], &["explain", "--format=json", "web"], &["why", "web"]]
    {
        let shown = place.verb(words[0], &words[1..]);
        assert!(!shown.text().contains(VALUE), "{words:?}: {shown:?}");
    }
    assert_eq!(
        place.field("web", "json .Config.Secrets"),
        format!(
            "[{}]",
            [("key", 0, 0, 292), ("bytes", 0, 0, 292), ("key", 7, 8, 288)]
                .map(|(name, uid, gid, mode)| {
                    let id = place.verb("secret inspect", &["--format={{.ID}}", name]).text().to_owned();
                    format!(r#"{{"GID":{gid},"ID":"{id}","Mode":{mode},"Name":"{name}","UID":{uid}}}"#)
                })
                .join(",")
        )
    );
    let id = place.field("web", ".Id");
    host.shell(&format!("cd {}; mkdir out", host.directory().display()));
    let out = |name: &str| host.directory().join("out").join(name).display().to_string();
    assert_eq!(place.verb("export", &["-o", &out("export.tar"), "web"]).code(), 0);
    assert_eq!(files_with_value(&host, "out"), [""; 0]);
    let secret = place.verb("secret inspect", &["--format={{.ID}}", "key"]).text().to_owned();
    let kept = [format!("store/containers/{id}/secrets.json"), format!("store/secrets/{secret}.json")];
    // Where the container runs, what `exec` begins with has its variables.
    assert_eq!(files_with_value(&host, "store"), kept);
    assert_eq!(files_with_value(&host, "state"), [format!("state/containers/{id}/basis.json")]);
    let mode = |path: &str| {
        std::fs::metadata(host.directory().join(path)).expect("there").permissions().mode() & 0o777
    };
    assert_eq!(kept.each_ref().map(|path| mode(path)), [0o600; 2]);
    assert_eq!(place.verb("rm", &["-f", "web"]).code(), 0);
    assert_eq!(files_with_value(&host, "state"), [""; 0]);
    assert_eq!(place.verb("secret rm", &["--all"]).code(), 0);
    assert_eq!(files_with_value(&host, "."), [""; 0]);
    host.shell(&format!("rm -r {}", host.directory().join("out").display()));
    place.assert_nothing_left();
}

#[test]
fn container_keeps_the_values_that_it_was_made_with() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    make(&place, &[], "key", b"first").text();
    let script = "cat /run/secrets/key; echo \" $key\"";
    assert_eq!(
        place.script("create", &["--name=kept", "--secret=key", "--secret=key,type=env"], script).code(),
        0
    );
    make(&place, &["--replace"], "key", b"second").text();
    assert_eq!(place.verb("start", &["-a", "kept"]).text(), "first first");
    assert_eq!(place.verb("secret rm", &["key"]).code(), 0);
    assert_eq!(place.verb("start", &["-a", "kept"]).text(), "first first");
    place.script("run", &["--rm", "--secret=key"], script).refuses(125, &["--secret key", "no such secret"]);
    place.assert_nothing_left();
}

#[test]
fn secrets_reach_read_only_roots_volumes_and_the_hosts_own_root() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    make(&place, &[], "key", VALUE.as_bytes()).text();
    let look = "cat /run/secrets/key";
    let overlay = ["--rm", "--overlay", "--read-only", "--secret=key"];
    assert_eq!(place.script("run", &overlay, look).text(), VALUE);
    let tmpfs = ["--rm", "--tmpfs=/run", "--secret=key", "--secret=key,target=/run/b"];
    assert_eq!(
        place.script("run", &tmpfs, "cat /run/b; cat /run/secrets/key").text(),
        format!("{VALUE}{VALUE}")
    );
    let volume = ["--rm", "-v", "data:/data", "--secret=key,target=/data/deep/key"];
    assert_eq!(place.script("run", &volume, "cat /data/deep/key").text(), VALUE);
    assert_eq!(names(&host.directory().join("store/volumes/data/_data")), [""; 0], "no mount point stays");
    let on_host =
        place.verb("run", &["--rm", "--network=none", "--secret=key", "--", "cat", "/run/secrets/key"]);
    assert_eq!((on_host.code(), on_host.stdout.as_str()), (0, VALUE), "{on_host:?}");
    assert!(!host.shell("ls /run/secrets 2>&1 || true").contains("key"));
    // In place of a file that every container has.
    let names_file = ["--rm", "--secret=key,target=/etc/hostname"];
    assert_eq!(place.script("run", &names_file, "cat /etc/hostname").text(), VALUE);
    // In a user namespace the owners are the container's.
    let users = ["--rm", "--overlay", "--userns=auto", "--secret=key,uid=5,gid=6,mode=0400"];
    let own = place.script("run", &users, "busybox stat -c %u:%g:%a /run/secrets/key; cat /run/secrets/key");
    assert_eq!(own.text(), format!("5:6:400\n{VALUE}"));
    let users = ["--rm", "--overlay", "--userns=auto:size=1024", "--secret=key,uid=70000"];
    place
        .script("run", &users, "true")
        .refuses(125, &["--secret key,uid=70000", "user 70000 does not exist"]);
    let variable = ["--rm", "--secret=bytes,type=env"];
    make(&place, &[], "bytes", b"a\0b").text();
    place.script("run", &variable, "true").refuses(125, &["--secret bytes,type=env", "a byte of zero"]);
    assert_eq!(place.verb("volume rm", &["data"]).code(), 0);
    place.assert_nothing_left();
}

#[test]
fn names_of_secrets_are_completed() {
    let Some(host) = Host::new() else { return };
    if !has_program("bash") {
        return;
    }
    let place = Place::of(&host);
    make(&place, &[], "key", VALUE.as_bytes()).text();
    let list = |line: &str| crate::completion::offered(&place, &host, line);
    assert_eq!(list("secret rm "), ["key"]);
    assert_eq!(list("run --secret k"), ["key"]);
    assert_eq!(list("run --secret=k"), ["key"]);
}
