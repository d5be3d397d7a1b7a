//! What can be wrong, each with one message that names object, cause and remedy, and nothing left behind.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Host, Ran, binary, finish, has_program};

fn file(path: &Path, content: &[u8], mode: u32) {
    std::fs::write(path, content).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
}

#[test]
fn wrong_root_is_named() {
    let Some(host) = Host::new() else { return };
    host.run(&["--rootfs=/no/such/root"]).refuses(125, &["--rootfs", "/no/such/root", "no such file"]);
    host.run(&["--rootfs=/etc/passwd"]).refuses(125, &["--rootfs", "/etc/passwd", "not a directory"]);
    host.run(&["--rootfs=/"]).refuses(125, &["--rootfs", "`/`"]);
    let latin = host.directory().join(OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&latin).expect("made");
    let mut command = host.rabbitc(&["-r"]);
    finish(command.arg(&latin).spawn().expect("nsenter runs"), None).refuses(125, &["--rootfs", "UTF-8"]);
    let empty = host.directory().join("empty");
    std::fs::create_dir(&empty).expect("made");
    host.run(&["-r", &empty.to_string_lossy()]).refuses(127, &["/bin/sh", "no such file"]);
    assert!(crate::support::names(&empty).is_empty());
    assert!(!host.state().join("containers").exists() || host.containers().is_empty());
    host.assert_nothing_left();
}

#[test]
fn wrong_program_is_named_with_what_is_wrong_with_it() {
    let Some(host) = Host::new() else { return };
    let bin = host.rootfs().join("bin");
    file(&bin.join("plain"), b"#!/bin/sh\n", 0o644);
    file(&bin.join("orphan"), b"#!/opt/missing/interpreter -x\n", 0o755);
    file(&bin.join("text"), b"just words\n", 0o755);
    file(&bin.join("empty"), b"", 0o755);
    let mut foreign = std::fs::read("/bin/busybox").expect("read");
    foreign[18..20].copy_from_slice(&183u16.to_le_bytes());
    file(&bin.join("foreign"), &foreign, 0o755);
    let rootfs = host.rootfs_flag();
    let run = |command: &str| host.run(&[&rootfs, &format!("--cmd={command}")]);
    run("/bin/missing").refuses(127, &["`/bin/missing`", "no such file"]);
    run("missing").refuses(127, &["`missing`", "$PATH"]);
    run("/bin/plain").refuses(126, &["`/bin/plain`", "permission denied", "0644", "chmod"]);
    run("/bin/orphan").refuses(127, &["`/bin/orphan`", "`/opt/missing/interpreter`"]);
    run("/bin/text").refuses(126, &["`/bin/text`", "exec format error", "#!"]);
    run("/bin/empty").refuses(126, &["`/bin/empty`"]);
    run("/bin/foreign").refuses(126, &["`/bin/foreign`", "aarch64"]);
    run("/bin").refuses(126, &["`/bin`"]);
    run("/bin/sh/x").refuses(127, &["`/bin/sh/x`"]);
    run("'/bin/sh").refuses(125, &["--cmd", "quote"]);
    host.run(&[&rootfs, "--cmd="]).refuses(125, &["--cmd", "empty"]);
    host.run(&[&rootfs, "--", ""])
        .refuses(125, &["the words of the command line: the program's name is empty"]);
    host.run(&[&rootfs, r#"--entrypoint=[""]"#]).refuses(125, &["--entrypoint: ", "empty"]);
    host.assert_nothing_left();
}

#[test]
fn program_on_a_mount_is_refused_by_what_refuses_it_there() {
    let Some(host) = Host::new() else { return };
    let volume = host.directory().join("volume");
    let busybox = std::fs::read("/bin/busybox").expect("read");
    std::fs::create_dir_all(volume.join("closed")).expect("made");
    file(&volume.join("true"), &busybox, 0o755);
    file(&volume.join("own"), &busybox, 0o700);
    file(&volume.join("plain"), &busybox, 0o644);
    file(&volume.join("closed/true"), &busybox, 0o755);
    file(&volume.join("script"), b"#!/v/plain\n", 0o755);
    file(&volume.join("elsewhere"), b"#!/n/true\n", 0o755);
    file(&volume.join("lost"), b"#!/v/no/such\n", 0o755);
    file(&volume.join("orphan"), b"#!/opt/missing\n", 0o755);
    file(&volume.join("windows"), b"#!/v/true\r\n", 0o755);
    let mut foreign = busybox.clone();
    foreign[18..20].copy_from_slice(&183u16.to_le_bytes());
    file(&volume.join("foreign"), &foreign, 0o755);
    std::fs::set_permissions(volume.join("closed"), std::fs::Permissions::from_mode(0o700)).expect("set");
    std::os::unix::fs::chown(volume.join("closed"), Some(5), Some(5)).expect("changed");
    std::os::unix::fs::symlink("/v/plain", host.rootfs().join("bin/link")).expect("a link");
    let no_exec = host.directory().join("no-exec");
    host.set_up(&format!(
        "mkdir {0}; mount -t tmpfs -o noexec tmpfs {0}; cp /bin/busybox {0}/true",
        no_exec.display()
    ));
    let (source, rootfs) = (volume.display().to_string(), host.rootfs_flag());
    let plain = format!("`chmod +x {source}/plain`");
    let on_v = format!("`/v`, where the host's `{source}` is mounted");
    let cases: [(&[&str], i32, &[&str]); 24] = [
        (&["-v=SOURCE:/v:noexec", "/v/true"], 126, &["it lies on `/v`, which is mounted noexec", "`exec`"]),
        (&["-v=NOEXEC:/v", "/v/true"], 126, &["`/v/true` lies on is mounted noexec on the host", "remount"]),
        (
            &["-v=SOURCE:/v", "-u=9", "/v/closed/true"],
            126,
            &["`/v/closed`: its mode is 0700", "5:5", "search"],
        ),
        (
            &["-v=SOURCE:/v", "-u=9", "/v/own"],
            126,
            &["`/v/own`: its mode is 0700", "0:0", "user 9", "/own`, or"],
        ),
        (&["-v=SOURCE:/v", "/v/plain"], 126, &["`/v/plain`: its mode is 0644, so nobody", &plain]),
        (&["-v=SOURCE:/v", "/bin/link"], 126, &["`/v/plain`: its mode is 0644, so nobody", &plain]),
        (&["-v=SOURCE:/v", "-w=/v", "./plain"], 126, &["`/v/plain`: its mode is 0644, so nobody", &plain]),
        (&["-v=SOURCE/plain:/bin/one", "/bin/one"], 126, &["`/bin/one`: its mode is 0644", &plain]),
        (&["-v=SOURCE:/v:O", "-u=9", "/v/closed/true"], 126, &["`/v/closed`: its mode is 0700"]),
        (&["-v=SOURCE:/v", "/v/script"], 126, &["its interpreter `/v/plain`: its mode is 0644", &plain]),
        (
            &["-v=SOURCE:/v", "-v=NOEXEC:/n", "/v/elsewhere"],
            126,
            &["its interpreter `/n/true`: the file system", "noexec on the host"],
        ),
        (
            &["-v=SOURCE:/v", "-v=SOURCE:/n:noexec", "/v/elsewhere"],
            126,
            &["its interpreter `/n/true`: it lies on `/n`, which is mounted noexec"],
        ),
        // The inner mount covers what the outer one has there.
        (
            &["-v=SOURCE:/v", "-v=SOURCE/plain:/v/true", "/v/true"],
            126,
            &["`/v/true`: its mode is 0644", &plain],
        ),
        (
            &["--tmpfs=/v:mode=700", "-v=SOURCE:/v/in", "-u=9", "/v/in/true"],
            126,
            &["`/v`: its mode is 0700", "`mode=`"],
        ),
        (&["--tmpfs=/bin:tmpcopyup", "/bin/sh"], 126, &["it lies on `/bin`, which is mounted noexec"]),
        (&["/dev/null"], 126, &["`/dev/null` is no regular file"]),
        (&["/proc/1/comm"], 126, &["it lies on `/proc`, which is mounted noexec"]),
        (&["-v=SOURCE:/v", "/v/lost"], 127, &["its interpreter `/v/no/such` does not exist", &on_v]),
        (&["-v=SOURCE:/v", "/v/orphan"], 127, &["`/opt/missing` does not exist in the root file system"]),
        (&["-v=SOURCE:/v", "/v/windows"], 127, &["`/v/true\\r` does not exist", "carriage returns"]),
        (&["-v=SOURCE:/v", "/v/none"], 127, &["no such file", &on_v]),
        (&["--tmpfs=/t", "/t/none"], 127, &["no such file", "`/t`, where a tmpfs is mounted"]),
        (&["-v=SOURCE:/v", "/v/foreign"], 126, &["built for aarch64"]),
        (
            &["--cap-drop=all", "-v=SOURCE:/v", "/v/closed/true"],
            126,
            &["`/v/closed`: its mode is 0700", "5:5"],
        ),
    ];
    for (arguments, code, parts) in cases {
        let place =
            |word: &&str| word.replace("SOURCE", &source).replace("NOEXEC", &no_exec.display().to_string());
        let arguments: Vec<String> = arguments.iter().map(place).collect();
        let mut all = vec![rootfs.as_str(), "--network=none"];
        all.extend(arguments.iter().map(String::as_str));
        let ran = host.run(&all);
        ran.refuses(code, parts);
        assert!(!ran.stderr.contains("its modes permit it"), "{arguments:?}: {ran:?}");
    }
    host.set_up(&format!("umount {}", no_exec.display()));
    host.assert_nothing_left();
}

#[test]
fn wrong_values_are_named() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    for (flag, parts) in [
        ("--memory=lots", &["--memory", "lots"][..]),
        ("--memory=1k", &["--memory"]),
        ("--cpus=-1", &["--cpus", "-1"]),
        ("--hostname=a b", &["--hostname", "a b"]),
        ("--hostname=-", &["--hostname"]),
        ("--env==x", &["--env", "=x"]),
        ("--env=", &["--env: is empty", "NAME=value"]),
        ("--env-file=/dev/zero", &["--env-file: read `/dev/zero`: it is longer than 1 MiB"]),
        ("--label-file=/dev/zero", &["--label-file: read `/dev/zero`: it is longer than 1 MiB"]),
        (
            "--security-opt=seccomp=/dev/zero",
            &["--security-opt seccomp: ", "`/dev/zero`: it is longer than 16 MiB"],
        ),
    ] {
        host.run(&[&rootfs, flag, "--cmd=/bin/true"]).refuses(125, parts);
    }
    host.assert_nothing_left();
}

#[test]
fn values_that_are_no_text_are_named_without_what_may_be_secret() {
    use std::os::unix::ffi::OsStrExt;
    let Some(host) = Host::new() else { return };
    for (words, parts) in [
        (&[&b"-e"[..], b"KEY=secret\xff"][..], &["--env: the value of `KEY` is not UTF-8", "in a file"][..]),
        (&[b"-e", b"KEY\xfe=secret"], &["--env: a variable is not UTF-8"]),
        (&[b"--tmpfs=/x\xfe:size=1m"], &["--tmpfs: `/x\u{fffd}:size=1m` is not UTF-8", "another name"]),
        (&[b"--hostname=\xfe"], &["--hostname: `\u{fffd}` is not UTF-8"]),
        (&[b"--explain=\xfe"], &["--explain: "]),
        (&[b"--\xfe=1"], &["--\u{fffd}: rabbitc has no such flag"]),
    ] {
        let mut command = host.rabbitc(&[&host.rootfs_flag()]);
        command.args(words.iter().map(|word| std::ffi::OsStr::from_bytes(word)));
        let ran = finish(command.spawn().expect("nsenter runs"), None);
        ran.refuses(125, parts);
        assert!(!ran.stderr.contains("secret"), "{ran:?}");
    }
    // A path is no text.
    let mut command = host.rabbitc(&[&host.rootfs_flag(), "--network=none", "--cmd=/bin/true"]);
    let file = host.directory().join(std::ffi::OsStr::from_bytes(b"id-\xff"));
    command.arg("--cidfile").arg(&file);
    assert_eq!(finish(command.spawn().expect("nsenter runs"), None).code(), 0);
    assert!(file.exists());
    host.assert_nothing_left();
}

#[test]
fn empty_values_are_as_if_the_flag_were_not_there() {
    let Some(host) = Host::new() else { return };
    let flags =
        ["-w=", "-h", "", "--domainname=", "--stop-signal=", "--user=", "--pid=", "--userns=", "--restart="];
    let flags = flags.iter().chain(&["--network=none"]).copied().collect::<Vec<_>>();
    assert_eq!(host.inside(&flags, "pwd; hostname; id -u; echo $$").text(), "/\nrabbitc\n0\n1");
    host.assert_nothing_left();
}

#[test]
fn flags_that_can_not_be_read_are_told_like_all_other_errors() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    for (flag, parts) in [
        ("--bogus", &["--bogus: rabbitc has no such flag", "--help"][..]),
        ("--memroy=64m", &["--memroy: ", "did you mean `--memory`?"]),
        ("-Z", &["-Z: rabbitc has no such flag"]),
        ("--format=json", &["--format: belongs to `rabbitc plan`", "--explain"]),
        (
            "--pids-limit=x",
            &["--pids-limit: `x` is not a whole number", "`--pids-limit=NUMBER`", "-1 is no limit"],
        ),
        ("--explain=xml", &["--explain: `xml` is not known", "`json`"]),
        ("--sig-proxy=x", &["--sig-proxy: `x` is not known", "`--sig-proxy=true|false`"]),
        ("--hostname", &["--hostname: needs a value"]),
        ("-h", &["--hostname: needs a value", "help is `rabbitc --help`"]),
        ("--mount=", &["--mount: is empty", "type=bind"]),
        ("--tmpfs=", &["--tmpfs: is empty", "DESTINATION"]),
        ("--mount=type=tmpfs,,target=/x", &["a field is empty"]),
        ("--uidmap=0:0:0", &["--uidmap: `0:0:0` maps no ids, as its size is 0", "how many"]),
        ("--device-cgroup-rule=x", &["--device-cgroup-rule: `x` is no rule", "`c 189:* rwm`"]),
        ("--timeout=-1", &["--timeout: `-1` is not a number of seconds", "0 for no limit"]),
        ("--stop-timeout=x", &["--stop-timeout: `x` is not a number of seconds", "-1 for ever"]),
        ("--pull=always", &["--pull: there is no image to fetch", "in the place of `--rootfs`"]),
        ("--rootfs=", &["--rootfs: needs a value", "`--rootfs=DIR`", "variable"]),
        ("--network=mybridge", &["--network: find the network `mybridge`: network mybridge not found"]),
        ("--userns=foo", &["--userns: `foo` is not known", "as root use auto"]),
        ("--volume=~/x:/x", &["`~/x`", "\"$HOME\"/x"]),
        ("--volume=", &["--volume: is empty", "[SOURCE:]DESTINATION"]),
        ("--volume=/bin:/b:idmap", &["--volume /bin:/b:idmap: `idmap` shows owners", "--userns=auto"]),
        ("--volume=.", &["--volume .: it has no destination", "`.:/PATH`"]),
        ("--volume=data", &["--volume data: it has no destination", "`./data:/PATH`"]),
        ("--volume=/bin:/b:readonly", &["`readonly` is no option", "did you mean `ro`?"]),
        ("--security-opt=secomp=/x", &["--security-opt: `secomp=/x`", "did you mean `seccomp`?"]),
        (
            "--volume=/bin:/b:nope",
            &["`nope` is no option", "nocopy; and, without effect, cached, delegated, consistent"],
        ),
        ("--restart=sometimes", &["--restart: `sometimes` is no restart policy", "unless-stopped"]),
    ] {
        let ran = host.run(&[&rootfs, flag]);
        ran.refuses(125, parts);
        assert!(!ran.stderr.contains("Usage") && !ran.stderr.contains("tip:"), "{ran:?}");
    }
    host.run(&["plan", &rootfs, "--bogus"])
        .refuses(125, &["--bogus: rabbitc has no such flag", "plan --help"]);
    host.run(&["plan", &rootfs, "--format=xml"]).refuses(125, &["--format: `xml`", "text|json|markdown"]);
    host.assert_nothing_left();
}

/// `rabbitc` with these arguments and no others, on the host of the tests themselves.
fn bare(arguments: &[&str]) -> Ran {
    let mut command = std::process::Command::new(crate::support::binary());
    command.args(arguments).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    finish(command.spawn().expect("it runs"), None)
}

#[test]
fn verbs_of_images_are_read_like_all_others() {
    for (arguments, parts) in [
        (
            &["images", "extra", "arg"][..],
            &["rabbitc images: `arg` is one word too many", "`rabbitc images --help`"][..],
        ),
        (&["system", "dff"], &["rabbitc system: `dff` is none of its commands", "`rabbitc system --help`"]),
        (&["system", "df", "x"], &["`x` is one word too many"]),
        (
            &["images", "--foo"],
            &["--foo: rabbitc has no such flag", "`rabbitc images --help` lists what there is\n"],
        ),
        (&["pull", "--memory=1g", "x"], &["--memory: rabbitc has no such flag", "`rabbitc pull --help`"]),
        (&["images", "--digest"], &["--digest: ", "did you mean `--digests`?"]),
        (&["pull"], &["rabbitc pull: an image is to be named"]),
        (&["tag", "x"], &["rabbitc tag: a new name is to be given"]),
        (&["rm"], &["rabbitc rm: a container is to be named"]),
        (
            &["rm", "--all", "x"],
            &["rabbitc rm: containers are named, and others chosen by `--all`", "leave one"],
        ),
        (
            &["rm", "--latest", "--filter=status=exited"],
            &["rabbitc rm: containers are named, and others chosen"],
        ),
        (&["diff"], &["rabbitc diff: a container is to be named"]),
        (&["commit"], &["rabbitc commit: a container is to be named"]),
        (&["export"], &["rabbitc export: a container is to be named"]),
        (&["manifest", "rm"], &["rabbitc manifest: a list is to be named"]),
        (&["cp"], &["rabbitc cp: what to copy is to be named, and where to"]),
        (&["cp", "x"], &["rabbitc cp: where to is to be named"]),
        (&["inspect"], &["rabbitc inspect: a container or an image is to be named"]),
        (&["image", "foo"], &["rabbitc image: `foo` is none of its commands", "`rabbitc image --help`"]),
        (&["image", "build"], &["`image build`: rabbitc does not have this command yet"]),
        (&["run", "-h"], &["--hostname: needs a value", "help is `rabbitc --help`"]),
    ] {
        bare(arguments).refuses(125, parts);
    }
    let Some(host) = Host::new() else { return };
    let store = format!("--root={}/store", host.directory().display());
    for verb in [&["images"][..], &["system", "df"], &["system", "check"]] {
        let ran = bare(&[verb, &["--root=/proc/nothing", &store]].concat());
        assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "the last of two counts: {ran:?}");
    }
    host.assert_nothing_left();
}

#[test]
fn what_is_too_long_for_an_exec_is_told_with_a_remedy() {
    let Some(host) = Host::new() else { return };
    let variables = host.directory().join("variables");
    std::fs::write(&variables, format!("LONG={}\n", "x".repeat(200_000))).expect("written");
    let flag = format!("--env-file={}", variables.display());
    host.run(&[&host.rootfs_flag(), "--network=none", &flag, "/bin/true"])
        .refuses(126, &["execute `/bin/true`", "argument list too long", "128 KiB", "in a file"]);
    host.assert_nothing_left();
}

#[test]
fn flag_with_false_is_taken_back() {
    let Some(host) = Host::new() else { return };
    let ran = host.run(&[&host.rootfs_flag(), "--network=none", "--explain", "--explain=false", "/bin/true"]);
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{ran:?}");
    host.assert_nothing_left();
}

#[test]
fn commands_of_docker_and_podman_are_no_images() {
    for arguments in [&["compose", "up", "-d"][..], &["build", "."], &["swarm", "init"]] {
        let shown = format!("`{}`: rabbitc does not have this command yet", arguments[0]);
        bare(arguments).refuses(125, &[&shown, "rabbitc --help"]);
    }
    let version = bare(&["version", "--format={{.Client.Version}} {{.Server.Os}}"]);
    assert_eq!(format!("rabbitc {}", version.text()), format!("{} linux", bare(&["--version"]).text()));
    assert!(bare(&["version"]).text().contains("\nVersion:      0."), "{:?}", bare(&["version"]));
    let json: serde_json::Value =
        serde_json::from_str(bare(&["version", "-f", "json"]).text()).expect("JSON");
    assert_eq!(json["Client"], json["Server"]);
}

#[test]
fn flags_before_a_verb_are_taken_for_what_happens_anyway_and_refused_for_all_else() {
    let same = ["--events-backend=file", "--storage-driver", "overlay", "--cgroup-manager=cgroupfs"];
    assert_eq!(bare(&[&same[..], &["version"]].concat()).text(), bare(&["version"]).text());
    bare(&["--storage-driver=vfs", "ps"]).refuses(125, &["--storage-driver: `vfs`"]);
    bare(&["--events-backend=none", "events"]).refuses(125, &["--events-backend: `none`"]);
    bare(&["--log-level=loud", "version"]).refuses(125, &["--log-level: `loud` is no level"]);
    let Some(host) = Host::new() else { return };
    let run = |level: &str| {
        let mut command = host.command(binary());
        command.args([level, "run", &format!("--state-dir={}", host.state().display()), &host.rootfs_flag()]);
        command.args(["--network=none", "-p=80", "/bin/true"]);
        finish(command.spawn().expect("nsenter runs"), None)
    };
    assert!(run("--log-level=warn").stderr.contains("warning: published ports are discarded"));
    let quiet = run("--log-level=error");
    assert_eq!((quiet.code(), quiet.stderr.as_str()), (0, ""), "{quiet:?}");
    host.assert_nothing_left();
}

#[test]
fn name_that_is_a_whole_command_line_is_told_how_to_be_written() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    let run = |arguments: &[&str]| host.run(&[&[rootfs.as_str(), "--network=none"], arguments].concat());
    run(&["--entrypoint=echo x"]).refuses(
        127,
        &["execute `echo x`", "in $PATH", "`--entrypoint=echo`", "`--`", r#"`--entrypoint='["echo", "x"]'`"#],
    );
    run(&["--entrypoint=/bin/echo x"]).refuses(127, &["`/bin/echo x`", "`--entrypoint=/bin/echo`"]);
    run(&["--", "echo x"]).refuses(127, &["execute `echo x`", "`echo` and its arguments as words"]);
    run(&["--entrypoint", r#"["echo""#])
        .refuses(125, &[r#"--entrypoint: `["echo"` is no JSON array"#, "behind the flags after `--`"]);
    assert_eq!(run(&["--entrypoint=echo", "--", "x"]).text(), "x");
    assert_eq!(run(&["--entrypoint", r#"["echo", "x"]"#]).text(), "x");
    host.assert_nothing_left();
}

#[test]
fn search_without_a_path_is_told() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    host.run(&[&rootfs, "-e", "PATH=", "--", "echo"])
        .refuses(127, &["execute `echo`", "not found in $PATH, which is empty", "by its path"]);
    host.run(&[&rootfs, "--unsetenv=PATH", "--", "nothing"])
        .refuses(127, &["execute `nothing`", "not found in $PATH, which is not set", "usual directories"]);
    // It is asked for neither of these.
    let ran = host.run(&[&rootfs, "-e", "PATH=", "--", "./nothing"]);
    ran.refuses(127, &["execute `./nothing`", "no such file"]);
    assert!(!ran.stderr.contains("PATH"), "{ran:?}");
    assert_eq!(host.run(&[&rootfs, "-w/bin", "-e", "PATH=", "--", "echo", "here"]).text(), "here");
    host.assert_nothing_left();
}

#[test]
fn program_that_fails_is_told_with_what_named_it() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    for (arguments, source) in [
        (&["--cmd=/nope"][..], "--cmd"),
        (&["--entrypoint=/nope", "a"], "--entrypoint"),
        (&["/nope", "a"], "the words of the command line"),
    ] {
        let mut all = vec![rootfs.as_str()];
        all.extend(arguments);
        host.run(&all).refuses(127, &["`/nope`", &format!("asked for by: {source}\n")]);
    }
    host.assert_nothing_left();
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["help"], &["run", "--help"], &["plan", "--help"]] {
        let ran = bare(arguments);
        assert!(ran.text().contains("--rootfs"), "{ran:?}");
    }
    for (arguments, usage) in [
        (&["--help"][..], "Usage: rabbitc [OPTIONS] "),
        (&["plan", "--help"], "Usage: rabbitc plan [OPTIONS] "),
    ] {
        assert!(bare(arguments).text().contains(usage), "{arguments:?}");
    }
    assert!(bare(&["--version"]).text().starts_with("rabbitc "));
    for (arguments, usage) in [
        (&["help", "stop"][..], "Usage: rabbitc stop [OPTIONS] "),
        (&["help", "container", "stop"], "Usage: rabbitc stop [OPTIONS] "),
        (&["help", "pod", "create"], "Usage: rabbitc pod create [OPTIONS] "),
        (&["help", "run"], "Usage: rabbitc [OPTIONS] "),
        (&["help", "help"], "Usage: rabbitc [OPTIONS] "),
    ] {
        assert!(bare(arguments).text().contains(usage), "{arguments:?}");
    }
    bare(&["help", "nonsense"]).refuses(125, &["`nonsense`: rabbitc has no such command"]);
}

#[test]
fn user_is_told_where_it_may_not_write() {
    let Some(host) = Host::new() else { return };
    let program = host.directory().join("rabbitc");
    // By a process of its own: what another test has just forked would hold a copy of ours open for writing (ETXTBSY).
    let copied = std::process::Command::new("cp").arg(crate::support::binary()).arg(&program).status();
    assert!(copied.expect("cp runs").success(), "copied to where anybody can read it");
    let mut command = host.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&program);
    command.args([&host.rootfs_flag(), "--cmd=/bin/true", "--state-dir=/run/rabbitc-none"]);
    let ran = finish(command.spawn().expect("setpriv runs"), None);
    ran.refuses(125, &["make `/run/rabbitc-none`", "permission denied", "XDG_RUNTIME_DIR"]);
    assert!(!Path::new("/run/rabbitc-none").exists());
    host.assert_nothing_left();
}

#[test]
fn root_without_its_capabilities_is_told_which_step_failed() {
    let Some(host) = Host::new() else { return };
    for (missing, network) in [("sys_admin", "none"), ("net_admin", "bridge")] {
        let mut command = host.command("setpriv");
        command.arg(format!("--bounding-set=-{missing}")).arg("--inh-caps=-all").arg("--");
        command.arg(crate::support::binary());
        command.args([
            &format!("--state-dir={}", host.state().display()),
            &host.rootfs_flag(),
            &format!("--network={network}"),
            "--cmd=/bin/true",
        ]);
        finish(command.spawn().expect("setpriv runs"), None).refuses(125, &["not permitted"]);
        // Without the right to touch networks it can't tidy one up either: the next one that may does.
        assert_eq!(host.run(&[&host.rootfs_flag(), "--cmd=/bin/true"]).code(), 0);
        host.assert_nothing_left();
    }
}

#[test]
fn cgroups_that_can_not_be_written_are_named() {
    let Some(host) = Host::new() else { return };
    let Some(hierarchy) = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"]
        .into_iter()
        .find(|path| Path::new(path).join("cgroup.procs").exists())
    else {
        crate::support::skip("no cgroup hierarchy where hosts have it");
        return;
    };
    // On the test's own mounts, and on the mount alone: the hierarchy itself stays writable for all others.
    host.set_up(&format!("mount --bind {hierarchy} {hierarchy}; mount -o remount,bind,ro {hierarchy}"));
    let ran = host.run(&[&host.rootfs_flag(), "--cmd=/bin/true"]);
    ran.refuses(125, &["cgroup", "rabbitc-", hierarchy, "read-only"]);
    host.set_up(&format!("umount {hierarchy}"));
    assert_eq!(host.run(&[&host.rootfs_flag(), "--cmd=/bin/true"]).code(), 0);
    host.assert_nothing_left();
}

#[test]
fn kernel_that_lacks_a_call_is_named() {
    let Some(host) = Host::new() else { return };
    if !has_program("strace") {
        return;
    }
    for call in ["fsopen", "open_tree", "move_mount", "pivot_root"] {
        let mut command = host.command("strace");
        command.args([
            "-f",
            "-o",
            "/dev/null",
            "-e",
            &format!("inject={call}:error=ENOSYS"),
            "-e",
            &format!("trace={call}"),
        ]);
        command.arg(crate::support::binary()).arg(format!("--state-dir={}", host.state().display()));
        command.args([&host.rootfs_flag(), "--cmd=/bin/true"]);
        let ran = finish(command.spawn().expect("strace runs"), None);
        if ran.code() != 0 {
            ran.refuses(125, &["not implemented", "step "]);
        }
        host.assert_nothing_left();
    }
}

#[test]
fn root_that_can_not_be_written_is_named_and_overlay_helps() {
    let Some(host) = Host::new() else { return };
    let (rootfs, flag) = (host.rootfs(), host.rootfs_flag());
    host.set_up(&format!("mount --bind {0} {0}; mount -o remount,bind,ro {0}", rootfs.display()));
    host.run(&[&flag, "--cmd=/bin/true"]).refuses(125, &["mount point", "read-only", "--overlay"]);
    assert_eq!(host.run(&[&flag, "--overlay", "--cmd=/bin/true"]).code(), 0);
    host.set_up(&format!("umount {}", rootfs.display()));
    host.assert_nothing_left();
}

#[test]
fn full_disk_and_missing_state_directory_are_no_panics() {
    let Some(host) = Host::new() else { return };
    let small = host.directory().join("small");
    std::fs::create_dir(&small).expect("made");
    host.set_up(&format!("mount -t tmpfs -o nr_inodes=4 tmpfs {}", small.display()));
    let mut command = host.command(crate::support::binary());
    command
        .arg(format!("--state-dir={}/state", small.display()))
        .args([&host.rootfs_flag(), "--cmd=/bin/true"]);
    finish(command.spawn().expect("nsenter runs"), None).refuses(125, &["no space"]);
    host.set_up(&format!("umount {}", small.display()));
    let mut command = host.command(crate::support::binary());
    command.args(["--state-dir=/proc/nothing/here", &host.rootfs_flag(), "--cmd=/bin/true"]);
    let ran = finish(command.spawn().expect("nsenter runs"), None);
    assert_eq!(ran.code(), 125, "{ran:?}");
    assert!(ran.stderr.contains("/proc/nothing/here"), "{ran:?}");
    host.assert_nothing_left();
}
