//! Images: from a real registry (Debian's docker-registry, filled by skopeo) into the store, and out of it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{Background, Host, Ran, binary, eventually, finish, has_program, names};

/// A host with a registry that serves `app:v1`, of two layers, at `127.0.0.1:5000/team/app`.
pub struct Registry {
    pub host: Host,
    server: Background,
}

pub const APP: &str = "127.0.0.1:5000/team/app:v1";

/// Makes an image in OCI's layout: the first layer has busybox, the second hides and replaces files of it. Its archives have no
/// zeros after their ends, which skopeo 1.9 leaves out of what it compresses as `zstd:chunked`.
pub const LAYOUT: &str = r#"set -e; cd "$0"; mkdir -p layout/blobs/sha256 one/etc one/data two/etc two/data
cp -r rootfs/bin one/; echo one >one/etc/name; echo gone >one/data/gone; echo hidden >one/etc/hidden; chmod 4755 one/bin/busybox
echo two >two/etc/name; : >two/etc/.wh.hidden; : >two/data/.wh..wh..opq
blob() { size=$(wc -c <"$1"); digest=sha256:$(sha256sum <"$1" | cut -d' ' -f1); mv "$1" layout/blobs/sha256/${digest#sha256:}; }
described() { echo "{\"mediaType\": \"application/vnd.oci.image.$1\", \"digest\": \"$digest\", \"size\": $size}"; }
for layer in one two; do
    tar -C $layer -b1 --owner=0 --group=0 -cf layer.tar . && ids="$ids,\"sha256:$(sha256sum <layer.tar | cut -d' ' -f1)\""
    gzip -nc layer.tar >layer.gz; rm layer.tar; blob layer.gz; layers="$layers,$(described layer.v1.tar+gzip)"
done
machine=$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
echo "{\"architecture\": \"$machine\", \"os\": \"linux\", \"created\": \"2020-02-03T04:05:06Z\", \"config\": {
        \"Cmd\": [\"-c\", \"cat /etc/name; ls /data; ls /etc/hidden; echo \$GREETING; pwd; id -u; id -g\"], \"Entrypoint\": [\"/bin/sh\"],
        \"Env\": [\"PATH=/bin\", \"GREETING=hello\"], \"WorkingDir\": \"/etc\", \"User\": \"12:34\", \"StopSignal\": \"SIGKILL\"},
    \"rootfs\": {\"type\": \"layers\", \"diff_ids\": [${ids#,}]}}" >config; blob config; config=$(described config.v1+json)
echo "{\"schemaVersion\": 2, \"mediaType\": \"application/vnd.oci.image.manifest.v1+json\", \"config\": $config,
    \"layers\": [${layers#,}]}" >manifest; blob manifest; manifest=$(described manifest.v1+json)
echo "{\"schemaVersion\": 2, \"manifests\": [$manifest]}" >layout/index.json
echo '{"imageLayoutVersion": "1.0.0"}' >layout/oci-layout; rm -r one two"#;

/// A registry on this host with the image that the script `layout` makes; none where this machine has no registry.
pub fn serve(host: &Host, layout: &str) -> Option<Background> {
    if !["docker-registry", "skopeo", "gzip", "tar"].into_iter().all(has_program) {
        return None;
    }
    let directory = host.directory().to_owned();
    let status = Command::new("sh").args(["-c", layout]).arg(&directory).status().expect("sh runs");
    assert!(status.success(), "the image is made");
    let (data, configuration) = (directory.join("data"), directory.join("registry.yml"));
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:5000}}\n",
        data.display()
    );
    std::fs::write(&configuration, text).expect("written");
    let mut command = host.command("docker-registry");
    command
        .arg("serve")
        .arg(&configuration)
        .stdin(Stdio::piped())
        .stdout(std::fs::File::create(directory.join("registry.log")).expect("made"))
        .stderr(Stdio::null());
    let server = Background::of(command.spawn().expect("nsenter runs"));
    eventually("the registry answers", || {
        let mut command = host.command("busybox");
        command.args(["wget", "-qO-", "http://127.0.0.1:5000/v2/"]);
        command.output().expect("nsenter runs").status.success()
    });
    push(host, "v1");
    Some(server)
}

/// Brings the image to the registry.
fn push(host: &Host, tag: &str) {
    let layout = format!("oci:{}/layout", host.directory().display());
    let name = format!("docker://127.0.0.1:5000/team/app:{tag}");
    let mut command = host.command("skopeo");
    command.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", &layout, &name]);
    let ran = finish(command.spawn().expect("nsenter runs"), None);
    assert_eq!(ran.code(), 0, "{ran:?}");
}

impl Registry {
    /// None where this machine has no registry.
    pub fn new() -> Option<Registry> {
        let host = Host::new()?;
        let server = serve(&host, LAYOUT)?;
        Some(Registry { host, server })
    }

    pub fn push(&self, tag: &str) {
        push(&self.host, tag);
    }

    pub fn store(&self) -> PathBuf {
        self.host.directory().join("store")
    }

    /// A verb of images, with a store of the test's own.
    pub fn rabbitc(&self, verb: &str, arguments: &[&str]) -> Ran {
        let mut command = self.host.command(binary());
        command.arg(verb).arg(format!("--root={}", self.store().display())).args(arguments);
        if verb == "ps" {
            command.arg(format!("--state-dir={}", self.host.state().display()));
        }
        finish(command.spawn().expect("nsenter runs"), None)
    }

    /// A container of an image, without network.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let root = format!("--root={}", self.store().display());
        self.host.run(&[&["run", root.as_str(), "--rm", "--network=none"], arguments].concat())
    }

    /// Paths in the store below `images`, but for those of the store itself.
    pub fn kept(&self) -> Vec<String> {
        let images = self.store().join("images");
        ["blobs/sha256", "layers", "images", "names", "partial"]
            .into_iter()
            .flat_map(|directory| {
                names(&images.join(directory)).into_iter().map(move |name| format!("{directory}/{name}"))
            })
            .collect()
    }

    /// The same host, where the registry does not run any more.
    pub fn without_server(self) -> Registry {
        let Registry { host, server } = self;
        drop(server);
        Registry { host, server: Background::of(Command::new("true").spawn().expect("it runs")) }
    }

    pub fn end(self) {
        // Killed with its value.
        drop(self.server);
        let directory = self.host.directory().to_owned();
        for name in ["store", "data", "layout", "registry.yml", "registry.log"] {
            self.host.shell(&format!("rm -rf {}", directory.join(name).display()));
        }
        self.host.assert_nothing_left();
    }
}

#[test]
fn each_of_several_images_is_pulled_whatever_becomes_of_the_others_and_podmans_form_is_read() {
    let Some(registry) = Registry::new() else { return };
    let (wrong, podmans) = ("127.0.0.1:5000/team/none", format!("docker://{APP}"));
    let ran = registry.rabbitc("pull", &[wrong, &podmans]);
    ran.refuses(125, &["127.0.0.1:5000/team/none:latest", "is the name right?"]);
    assert!(ran.stdout.starts_with(&format!("{APP}: pulled\nsha256:")), "{ran:?}");
    assert_eq!(registry.run(&[&podmans, "-c", "echo $GREETING"]).text(), "hello");
    registry.rabbitc("pull", &["docker-daemon:app:v1"]).refuses(125, &["`docker-daemon:`", "docker save"]);
    registry.rabbitc("pull", &["https://127.0.0.1:5000/app"]).refuses(125, &["leave `https://` out"]);
    registry.end();
}

#[test]
fn part_that_a_registry_has_lost_is_to_be_pushed_anew() {
    let Some(registry) = Registry::new() else { return };
    let blobs = registry.host.directory().join("data/docker/registry/v2/blobs/sha256");
    let script = format!("find {} -size +100k -name data -exec rm {{}} +", blobs.display());
    registry.host.shell(&script);
    registry.rabbitc("pull", &[APP]).refuses(125, &["fetch a blob", "answers 404", "have it pushed anew"]);
    registry.end();
}

#[test]
fn image_is_pulled_listed_and_removed() {
    let Some(registry) = Registry::new() else { return };
    let ran = registry.rabbitc("pull", &[APP]);
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "a pipe is told the end alone: {ran:?}");
    assert!(ran.text().starts_with(&format!("{APP}: pulled\nsha256:")), "{ran:?}");
    let again = registry.rabbitc("pull", &["--quiet", APP]);
    assert_eq!(Some(again.text()), ran.text().lines().nth(1));
    // The whole of each layer, with what only an overlay understands.
    let layers = registry.store().join("images/layers");
    let shown = registry.host.shell(&format!(
        "cd {}; cat */tree/etc/name; stat -c '%F %t:%T' */tree/etc/hidden; stat -c %a */tree/bin/busybox; \
         stat -c %a . */tree; ls */tree/data",
        layers.display()
    ));
    for part in ["one", "two", "character special file 0:0", "4755", "700", "755\n755", "gone"] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    assert!(!shown.contains(".wh."), "{shown}");
    let listed = registry.rabbitc("images", &[]);
    let lines: Vec<&str> = listed.text().lines().collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("REPOSITORY") && lines[1].contains("team/app   v1 "),
        "{listed:?}"
    );
    assert!(lines[1].contains("years ago"), "{listed:?}");
    let id = registry.rabbitc("images", &["--quiet", "--no-trunc"]).text().to_owned();
    let by_template =
        registry.rabbitc("images", &["--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "--no-trunc"]);
    assert_eq!(by_template.text(), format!("{APP} {id}"));
    let json: serde_json::Value =
        serde_json::from_str(registry.rabbitc("images", &["--format=json", "--no-trunc"]).text())
            .expect("JSON");
    assert_eq!(json["ID"].as_str(), Some(id.as_str()));
    assert_eq!(registry.rabbitc("images", &["other"]).text().lines().count(), 1);

    // A second name of the same image brings nothing, and goes alone.
    registry.push("v2");
    let second = APP.replace("v1", "v2");
    assert!(registry.rabbitc("pull", &[&second]).text().contains("here already"));
    let digits = id.trim_start_matches("sha256:");
    registry.rabbitc("rmi", &[&digits[..12]]).refuses(1, &["it has 2 names", "--force"]);
    assert_eq!(registry.rabbitc("rmi", &[&second]).text(), format!("Untagged: {second}"));
    let removed = registry.rabbitc("rmi", &[&digits[..12]]);
    assert_eq!(removed.text(), format!("Untagged: {APP}\nDeleted: {id}"));
    assert_eq!(registry.kept(), [""; 0], "nothing of it stays");
    registry.rabbitc("rmi", &[APP]).refuses(1, &["there is none of this name or id", "rabbitc images"]);
    assert_eq!(registry.rabbitc("rmi", &["--force", APP]).code(), 0);
    registry.end();
}

#[test]
fn pull_says_that_a_tag_has_moved_to_an_image_that_is_here() {
    let Some(registry) = Registry::new() else { return };
    let first = digest_of(&registry.rabbitc("pull", &[APP]));
    // Another image under the second tag; then the first tag moves to it, and back.
    let second = APP.replace("v1", "v2");
    registry.host.shell(&format!(
        "cd {}; skopeo --insecure-policy copy --quiet --format=v2s2 --dest-tls-verify=false oci:layout docker://{second}",
        registry.host.directory().display()
    ));
    let other = digest_of(&registry.rabbitc("pull", &[&second]));
    assert_ne!(first, other);
    registry.rabbitc("push", &[&second, APP]).text();
    let moved = registry.rabbitc("pull", &[APP]);
    assert_eq!(moved.text(), format!("{APP}: stands for another image now, which was here\n{other}"));
    assert_eq!(registry.rabbitc("pull", &[APP]).text(), format!("{APP}: here already\n{other}"));
    registry.end();
}

/// The digest that a pull has printed.
fn digest_of(ran: &Ran) -> String {
    ran.text().lines().last().expect("it prints one").to_owned()
}

#[test]
fn container_of_an_image_is_as_the_image_says() {
    let Some(registry) = Registry::new() else { return };
    registry.run(&["--pull=never", APP]).refuses(125, &["find the image", APP, "rabbitc pull"]);
    let ran = registry.run(&[APP]);
    assert_eq!(ran.stdout, "two\nhello\n/etc\n12\n34\n", "the upper layer hides and replaces: {ran:?}");
    assert!(ran.stderr.contains("/etc/hidden"), "{ran:?}");
    // What is given counts more, and without a registry: what is here is not fetched again.
    let registry = registry.without_server();
    let given: [(&[&str], &str); 7] = [
        (
            &["-e", "GREETING=other", "-w", "/", "-u", "0", APP, "-c", "echo $GREETING; pwd; id -u"],
            "other\n/\n0",
        ),
        (&["--entrypoint=/bin/echo", APP, "a", "b"], "a b"),
        (&["--entrypoint=/bin/hostname", APP], "rabbitc"),
        (&["--entrypoint=", APP, "/bin/echo", "hi"], "hi"),
        (
            &["-u0", APP, "-c", "echo x >/data/new; rm /etc/name; ls /data /etc"],
            "/data:\nnew\n\n/etc:\nhostname\nhosts\nresolv.conf",
        ),
        (&["--user=0", APP, "-c", "ls /data; cat /etc/name"], "two"),
        (&["--read-only", "--user=0", APP, "-c", "touch /x 2>/dev/null || echo refused"], "refused"),
    ];
    for (arguments, expected) in given {
        assert_eq!(registry.run(arguments).text(), expected, "{arguments:?}");
    }
    let ran = registry.run(&[APP, "/bin/missing"]);
    assert_eq!(ran.code(), 2, "its shell says so: {ran:?}");
    registry.run(&["--entrypoint=/missing", APP]).refuses(127, &["`/missing`", "--entrypoint"]);
    registry.run(&["--pull=always", APP]).refuses(125, &["can't be reached"]);
    registry.run(&["--entrypoint", "", APP]).refuses(125, &["the image: it names no program"]);
    registry
        .host
        .run(&["plna", "--rm"])
        .refuses(125, &["`plna`: rabbitc has no such command", "`rabbitc plan`"]);
    let plan = registry.host.run(&["plan", &format!("--root={}", registry.store().display()), APP]);
    assert!(plan.text().contains("mount an overlay as root"), "{plan:?}");

    let root = format!("--root={}", registry.store().display());
    let mut command = registry.host.rabbitc(&[
        "run",
        &root,
        "--rm",
        "--network=none",
        "-u0",
        APP,
        "-c",
        "echo up; read end",
    ]);
    let mut running = Background::of(command.stdin(Stdio::piped()).spawn().expect("nsenter runs"));
    let mut sign = [0u8; 3];
    running.read_exact(&mut sign);
    registry.rabbitc("rmi", &[APP]).refuses(1, &["is of it", "end the container"]);
    assert!(!registry.host.mount_table().contains("merged"), "nothing of it is mounted on the host");
    running.release();
    assert_eq!(registry.rabbitc("rmi", &[APP]).code(), 0);
    registry.end();
}

#[test]
fn directories_are_named_before_the_verb_or_behind_it_as_with_podman() {
    let Some(registry) = Registry::new() else { return };
    let (root, runs) = (registry.store().display().to_string(), registry.host.state().display().to_string());
    let ran = |words: &[&str]| {
        let mut command = registry.host.command(binary());
        finish(command.args(words).spawn().expect("nsenter runs"), None)
    };
    let id = ran(&["--root", &root, "--runroot", &runs, "pull", "-q", APP]).text().to_owned();
    assert!(id.starts_with("sha256:"));
    let listed = ran(&["--root", &root, "images", "-q"]).text().to_owned();
    let runroot = format!("--runroot={runs}");
    assert_eq!(ran(&[&runroot, "image", "ls", "--root", &root, "-q"]).text(), listed);
    assert_eq!(ran(&["images", "-q", &runroot, &format!("--root={root}")]).text(), listed);
    let usage = ran(&["--root", &root, &runroot, "system", "df"]);
    assert!(
        usage.text().lines().any(|line| line.split_whitespace().take(2).eq(["Images", "1"])),
        "{usage:?}"
    );
    // What concerns a running container is where that says.
    let both = ["--root", &root, &runroot, "run", "--rm", "--network=none"];
    let mut command = registry.host.command(binary());
    command.args(both).args(["-u0", APP, "-c", "echo up; read end"]).stdin(Stdio::piped());
    let mut running = Background::of(command.spawn().expect("nsenter runs"));
    let mut sign = [0u8; 3];
    running.read_exact(&mut sign);
    assert_eq!(registry.host.containers().len(), 1);
    running.release();
    assert_eq!(registry.host.containers(), [""; 0]);
    let behind = ["run", "--rm", "--network=none", "--root", &root, "--runroot", &runs, APP];
    assert_eq!(ran(&behind).stdout, "two\nhello\n/etc\n12\n34\n");
    assert_eq!(ran(&["--root", &root, &runroot, "ps", "-aq"]).text(), "");
    ran(&["--root", &root, "images", "--runroot"]).refuses(125, &["--runroot"]);
    registry.end();
}

#[test]
fn store_at_a_mistyped_path_is_not_made() {
    let Some(host) = Host::new() else { return };
    let root = format!("--root={}", host.directory().join("typo").display());
    for arguments in [&["images", &root][..], &["system", "df", &root], &["system", "check", &root]] {
        let mut command = host.command(binary());
        let ran = finish(command.args(arguments).spawn().expect("nsenter runs"), None);
        assert_eq!(ran.code(), 0, "{ran:?}");
    }
    host.run(&["run", &root, "--pull=never", "app"]).refuses(125, &["it is not here"]);
    assert!(!host.directory().join("typo").exists());
    host.assert_nothing_left();
}

#[test]
fn pulls_that_fail_name_why_and_leave_nothing() {
    let Some(registry) = Registry::new() else { return };
    let cases: [(&[&str], &[&str]); 7] = [
        (&["127.0.0.1:5000/team/app:none"], &["404", "manifest unknown", "is the name right?"]),
        (&["127.0.0.1:5001/team/app"], &["`127.0.0.1:5001` can't be reached: connection refused"]),
        (&["team/App"], &["read the name `team/App`", "lower case"]),
        (&["--platform=linux/", APP], &["--platform: `linux/` is none", "linux/arm/v7"]),
        (&["--creds=nobody", APP], &["--creds: it has no `:`", "USER:PASSWORD"]),
        (&[], &["rabbitc pull: an image is to be named", "--help"]),
        (&["--no-such-flag", APP], &["--no-such-flag"]),
    ];
    for (arguments, parts) in cases {
        registry.rabbitc("pull", arguments).refuses(125, parts);
    }
    // A layer that the registry has lost half of.
    let blobs = registry.host.directory().join("data/docker/registry/v2/blobs/sha256");
    let mut cut = 0;
    for path in registry.host.shell(&format!("find {} -name data -size +100k", blobs.display())).lines() {
        let file = std::fs::File::options().write(true).open(path).expect("a blob");
        file.set_len(50_000).expect("cut");
        cut += 1;
    }
    assert_eq!(cut, 1);
    let ran = registry.rabbitc("pull", &[APP]);
    ran.refuses(125, &["fetch a blob of `127.0.0.1:5000/team/app@sha256:", "the registry has 50000"]);
    assert_eq!(registry.kept(), [""; 0]);
    registry.end();
}

#[test]
fn pull_that_is_killed_leaves_a_store_that_works() {
    let Some(registry) = Registry::new() else { return };
    for milliseconds in [1, 5, 10, 20, 40, 80] {
        let mut command = registry.host.command(binary());
        command.arg("pull").arg(format!("--root={}", registry.store().display())).arg(APP);
        let mut child = command.spawn().expect("nsenter runs");
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        // It may have ended.
        let _ = child.kill();
        child.wait().expect("waited for");
        let ran = registry.rabbitc("pull", &[APP]);
        assert_eq!(ran.code(), 0, "after {milliseconds} ms: {ran:?}");
        assert_eq!(registry.rabbitc("rmi", &[APP]).code(), 0);
        assert_eq!(registry.kept(), [""; 0], "after {milliseconds} ms");
    }
    registry.end();
}

#[test]
fn container_with_users_of_its_own_sees_an_images_files_as_theirs() {
    let Some(registry) = Registry::new() else { return };
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    let script = "cat /proc/self/uid_map | wc -l; ls /data /etc/hidden; ls -ln /etc/name | cut -c1-24; \
                  echo x >/etc/name; ls -ln /etc/name | cut -c1-24; grep -c ' / / .* overlay ' /proc/self/mountinfo";
    for users in ["--userns=auto", "--uidmap=0:1879048192:4096"] {
        let mut arguments = vec![users, "-u0", APP, "-c", script];
        if users != "--userns=auto" {
            arguments.insert(1, "--gidmap=0:1879048192:4096");
        }
        let ran = registry.run(&arguments);
        // An opaque directory is empty there, too.
        let lines: Vec<&str> = ran.stdout.lines().map(str::trim).collect();
        let listed: Vec<&str> = lines.iter().filter(|line| line.contains("rw-")).copied().collect();
        assert_eq!(lines[0], "1", "{ran:?}");
        assert!(listed.len() == 2 && listed.iter().all(|line| line.ends_with(" 0")), "{users}: {ran:?}");
        assert!(ran.stderr.contains("/etc/hidden") && !ran.stdout.contains("gone"), "{users}: {ran:?}");
        assert_eq!(lines.last(), Some(&"1"), "{users}: {ran:?}");
    }
    registry.end();
}

#[test]
fn image_is_one_overlay_that_a_container_may_cover_with_its_own() {
    let Some(registry) = Registry::new() else { return };
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    // The kernel stacks two.
    let script = "mkdir /o && mount -t tmpfs none /o && mkdir /o/u /o/w /o/m && \
                  mount -t overlay -o lowerdir=/,upperdir=/o/u,workdir=/o/w none /o/m && cat /o/m/etc/name; ls /o/m/data";
    let ran = registry.run(&[
        "--cap-add=SYS_ADMIN",
        "--security-opt=apparmor=unconfined",
        "-u0",
        APP,
        "-c",
        script,
    ]);
    assert_eq!(ran.text(), "two", "{ran:?}");
    registry.end();
}

#[test]
fn image_of_many_layers_runs_where_the_kernel_takes_them_by_mount_alone() {
    let Some(registry) = Registry::new() else { return };
    if !has_program("strace") {
        return;
    }
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    let trace = registry.store().join("trace");
    // Before 6.7 it knows no `lowerdir+`: init's fourth call, after two for the memory above and one for the source. Before 6.5
    // it says so at the end alone: behind two layers, the two directories for what is written, and two options.
    for (call, meant) in [(4, "FSCONFIG_SET_STRING, \"lowerdir+\""), (10, "FSCONFIG_CMD_CREATE")] {
        let mut strace = registry.host.command("strace");
        strace.args([
            "-f",
            "-e",
            "trace=fsconfig",
            "-e",
            &format!("inject=fsconfig:error=EINVAL:when={call}"),
        ]);
        strace.arg("-o").arg(&trace).arg(binary());
        strace.arg("run").arg(format!("--state-dir={}", registry.host.state().display()));
        strace.arg(format!("--root={}", registry.store().display())).args(["--rm", "--network=none", APP]);
        let ran = finish(strace.spawn().expect("nsenter runs"), None);
        assert_eq!(ran.stdout, "two\nhello\n/etc\n12\n34\n", "{ran:?}");
        let traced = std::fs::read_to_string(&trace).expect("traced");
        let injected = traced.lines().find(|line| line.ends_with("(INJECTED)")).expect("one was refused");
        assert!(injected.contains(meant), "{injected}");
    }
    registry.end();
}
