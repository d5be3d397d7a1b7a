//! What `run` says of the fetching of its image: for which machine, and whether there is a newer one. And in which forms layers
//! come.

use std::process::Command;

use crate::images::{APP, Registry};
use crate::support::{binary, finish, has_program};

const BOTH: &str = "127.0.0.1:5000/team/both:v1";

/// An index of the image for this machine and of one for another: that has the same files, so that it runs here as well, and
/// greets otherwise.
const INDEX: &str = r#"set -e; cd "$0"; rm -rf both; cp -r layout both; cd both; blobs=blobs/sha256
machine=$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
own=$(sed -n 's/.*"manifests": .*sha256:\([0-9a-f]*\).*/\1/p' index.json); size=$(wc -c <$blobs/$own)
config=$(grep -o 'config.v1+json", "digest": "sha256:[0-9a-f]*' $blobs/$own | cut -d: -f3)
put() { new=$(sha256sum <draft | cut -d' ' -f1); mv draft $blobs/$new; }
sed "s/\"$machine\"/\"s390x\"/; s/GREETING=hello/GREETING=other/" $blobs/$config >draft; put
sed "s/$config/$new/" $blobs/$own >draft
sed -i "s/\"size\": $(wc -c <$blobs/$config)/\"size\": $(wc -c <$blobs/$new)/" draft; put; other=$new; long=$(wc -c <$blobs/$other)
entry() { echo "{\"mediaType\": \"application/vnd.oci.image.manifest.v1+json\", \"digest\": \"sha256:$1\", \"size\": $2,
    \"platform\": {\"os\": \"linux\", \"architecture\": \"$3\"}}"; }
echo "{\"schemaVersion\": 2, \"mediaType\": \"application/vnd.oci.image.index.v1+json\",
    \"manifests\": [$(entry $own $size $machine), $(entry $other $long s390x)]}" >draft; put
echo "{\"schemaVersion\": 2, \"manifests\": [{\"mediaType\": \"application/vnd.oci.image.index.v1+json\",
    \"digest\": \"sha256:$new\", \"size\": $(wc -c <$blobs/$new)}]}" >index.json; echo $machine"#;

/// Brings the index to the registry; how this machine is called there.
fn push_index(registry: &Registry) -> String {
    let directory = registry.host.directory();
    let made = Command::new("sh").args(["-c", INDEX]).arg(directory).output().expect("sh runs");
    assert!(made.status.success(), "{made:?}");
    let mut command = registry.host.command("skopeo");
    command.args(["--insecure-policy", "copy", "--all", "--quiet", "--dest-tls-verify=false"]);
    command.arg(format!("oci:{}/both", directory.display())).arg(format!("docker://{BOTH}"));
    finish(command.spawn().expect("nsenter runs"), None).text();
    std::fs::remove_dir_all(directory.join("both")).expect("there");
    String::from_utf8(made.stdout).expect("text").trim().to_owned()
}

#[test]
fn run_fetches_the_image_for_the_machine_that_is_asked_for() {
    let Some(registry) = Registry::new() else { return };
    let machine = push_index(&registry);
    let (own, other) = (format!("--platform=linux/{machine}"), "--platform=linux/s390x");
    let greet = |flags: &[&str]| registry.run(&[flags, &[BOTH, "-c", "echo $GREETING"]].concat());
    let ran = greet(&["-q", other]);
    assert_eq!((ran.text(), ran.stderr.as_str()), ("other", ""), "whoever asks for it is not warned");
    let ran = greet(&["--pull=never"]);
    assert_eq!(ran.text(), "other");
    assert!(ran.stderr.contains("the image is for linux/s390x"), "{ran:?}");
    assert!(ran.stderr.contains("if its registry has one"), "it may have none: {ran:?}");
    let parts = ["find the image", "it is for `linux/s390x`, and not for", "rabbitc pull --platform="];
    greet(&["--pull=never", &own]).refuses(125, &parts);
    let mut plan = registry.host.rabbitc(&["plan", &own]);
    plan.arg(format!("--root={}", registry.store().display())).arg(BOTH);
    finish(plan.spawn().expect("nsenter runs"), None).refuses(125, &parts);
    // The name is the one's that came last, as with docker.
    assert_eq!(greet(&[&format!("--arch={machine}")]).text(), "hello");
    assert_eq!(greet(&[]).text(), "hello");
    assert_eq!(greet(&["--arch=s390x", "--os=linux"]).text(), "other");
    registry.rabbitc("pull", &["--os=linux", BOTH]).text();
    assert_eq!(greet(&["--pull=never", "--os=linux"]).text(), "hello");
    let cases: [(&[&str], &[&str]); 6] = [
        (&["--platform=linux/arm/v7", BOTH], &["there is none for `linux/arm/v7`", "linux/s390x"]),
        (&["--arch=arm", "--variant=v6", BOTH], &["there is none for `linux/arm/v6`"]),
        (&[other, APP], &["it is for `linux/", "and not for `linux/s390x`", "for no other machine"]),
        (&[&own, "--arch=arm", BOTH], &["--platform: it says what `--arch` says, too", "leave it out"]),
        (&["--platform=linux/", "--pull=always", BOTH], &["--platform: `linux/` is none"]),
        (&["--platform=foo", BOTH], &["--platform: `foo` is none", "write `linux/amd64`"]),
    ];
    for (arguments, parts) in cases {
        registry.run(arguments).refuses(125, parts);
    }
    let rootfs = registry.host.rootfs_flag();
    for flag in [&own, "--creds=a:b", "--authfile=/x", "--cert-dir=/x", "--tls-verify=false", "--pull=newer"]
    {
        let name = flag.split('=').next().expect("a name");
        registry.host.run(&[flag, &rootfs, "true"]).refuses(125, &[name, "there is no image to fetch"]);
    }
    assert_eq!(registry.host.run(&["-q", "--tls-verify", &rootfs, "--network=none", "true"]).code(), 0);
    registry.end();
}

#[test]
fn pull_for_a_machine_takes_no_image_for_another_one() {
    let Some(registry) = Registry::new() else { return };
    let refused = || {
        let parts = ["pull `127.0.0.1:5000/team/app:v1`: it is for `linux/", "and not for `linux/s390x`"];
        registry.rabbitc("pull", &["--platform=linux/s390x", APP]).refuses(125, &parts);
    };
    refused();
    assert_eq!(registry.kept(), [""; 0], "no layer came");
    registry.rabbitc("pull", &["--platform=foo", APP]).refuses(125, &["--platform: `foo` is none"]);
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    refused();
    let machine = registry.rabbitc("inspect", &["-f", "{{.Os}}/{{.Architecture}}", APP]).text().to_owned();
    let again = registry.rabbitc("pull", &[&format!("--platform={machine}"), APP]);
    assert!(again.text().contains("here already"), "{again:?}");
    registry.end();
}

#[test]
fn list_that_is_here_has_images_for_several_machines() {
    let Some(registry) = Registry::new() else { return };
    push_index(&registry);
    let (list, other) = ("127.0.0.1:5000/team/list:here", "127.0.0.1:5000/team/other:here");
    registry.rabbitc("pull", &["--platform=linux/s390x", BOTH]).text();
    registry.rabbitc("tag", &[BOTH, other]).text();
    registry.rabbitc("pull", &[BOTH]).text();
    let mut made = registry.host.command(binary());
    made.args(["manifest", "create"]).arg(format!("--root={}", registry.store().display()));
    finish(made.args([list, BOTH, other]).spawn().expect("nsenter runs"), None).text();
    let greet = |flags: &[&str]| registry.run(&[flags, &[list, "-c", "echo $GREETING"]].concat());
    assert_eq!(greet(&[]).text(), "hello");
    let ran = greet(&["--platform=linux/s390x"]);
    assert_eq!((ran.text(), ran.stderr.as_str()), ("other", ""), "nothing is looked for elsewhere");
    greet(&["--platform=linux/riscv64"]).refuses(125, &["there is none for `linux/riscv64`"]);
    registry.end();
}

#[test]
fn newer_image_is_fetched_where_its_registry_has_one_and_can_be_asked() {
    let Some(registry) = Registry::new() else { return };
    let other = APP.replace("team/app", "team/none");
    registry.run(&["--pull=newer", &other]).refuses(125, &["404"]);
    let greet = |registry: &Registry| {
        let ran = registry.run(&["--pull=newer", APP, "-c", "echo $GREETING"]);
        (ran.text().to_owned(), ran.stderr)
    };
    assert_eq!(greet(&registry), ("hello".to_owned(), String::new()), "it was not here");
    assert_eq!(greet(&registry), ("hello".to_owned(), String::new()), "it is the same");
    // Another one is there under this name.
    let changed = "app:changed";
    let mut kept = registry.host.rabbitc(&["run", "--network=none", "-u0"]);
    kept.arg(format!("--root={}", registry.store().display())).args([APP, "-c", "echo new >/etc/greeting"]);
    finish(kept.spawn().expect("nsenter runs"), None).text();
    let id = registry.rabbitc("ps", &["-aq"]).text().to_owned();
    registry.rabbitc("commit", &["--change=ENV GREETING=changed", &id, changed]).text();
    registry.rabbitc("push", &[changed, APP]).text();
    registry.rabbitc("rm", &[&id]).text();
    registry.rabbitc("rmi", &[changed]).text();
    assert_eq!(registry.run(&[APP, "-c", "echo $GREETING"]).text(), "hello", "nobody asked for a newer one");
    assert_eq!(greet(&registry), ("changed".to_owned(), String::new()));

    let registry = registry.without_server();
    let (said, warned) = greet(&registry);
    assert_eq!(said, "changed");
    for part in ["whether there is a newer", "is not known", "can't be reached"] {
        assert!(warned.contains(part), "{part:?} in {warned}");
    }
    registry.run(&["--pull=always", APP]).refuses(125, &["can't be reached"]);
    registry.run(&["--pull=newer", &other]).refuses(125, &["can't be reached"]);
    registry.end();
}

#[test]
fn layers_come_as_skopeo_compresses_them_and_none_that_is_encrypted() {
    let Some(registry) = Registry::new() else { return };
    let host = &registry.host;
    let here = host.directory().display();
    let copy = |flags: &str, tag: &str| {
        // By way of a directory: the registry has the first form already, and is not sent another.
        host.shell(&format!(
            "cd {here}; copy='skopeo --insecure-policy copy --quiet --dest-tls-verify=false'; \
             $copy {flags} oci:layout oci:form && $copy oci:form docker://127.0.0.1:5000/team/form:{tag}; rm -r form"
        ));
        format!("127.0.0.1:5000/team/form:{tag}")
    };
    // Of many frames, with frames behind them that decoders pass over: the table of what is in it (zstd:chunked).
    let chunked = copy("--dest-compress-format=zstd:chunked", "chunked");
    let raw = host.shell(&format!("skopeo inspect --raw --tls-verify=false docker://{chunked}"));
    assert!(raw.contains("v1.tar+zstd") && raw.contains("zstd-chunked.manifest-position"), "{raw}");
    for name in
        [chunked, copy("--dest-compress-format=zstd", "zstd"), copy("--dest-compress-format=gzip", "gzip")]
    {
        registry.rabbitc("rmi", &["-f", &name]).text();
        assert_eq!(registry.run(&[&name]).stdout, "two\nhello\n/etc\n12\n34\n", "{name}");
        registry.rabbitc("rmi", &[&name]).text();
    }
    if has_program("openssl") {
        host.shell(&format!(
            "cd {here}; exec 2>key.log; openssl genrsa -out key 2048; openssl rsa -in key -pubout -out key.pub"
        ));
        let encrypted = copy(&format!("--encryption-key=jwe:{here}/key.pub"), "encrypted");
        let parts =
            ["pull `127.0.0.1:5000/team/form:encrypted`", "is encrypted", "skopeo copy --decryption-key"];
        registry.rabbitc("pull", &[&encrypted]).refuses(125, &parts);
        host.shell(&format!("cd {here}; rm key key.pub key.log"));
    }
    assert_eq!(registry.kept(), [""; 0]);
    registry.end();
}

#[test]
fn pull_fetches_by_its_policy() {
    let Some(registry) = Registry::new() else { return };
    const APP: &str = "127.0.0.1:5000/team/app:v1";
    registry.rabbitc("pull", &["--policy=never", APP]).refuses(125, &["find the image", "it is not here"]);
    assert_eq!(registry.rabbitc("pull", &["-q", "--policy=missing", APP]).code(), 0);
    let id = registry.rabbitc("inspect", &["--format={{.Id}}", APP]);
    let registry = registry.without_server();
    for policy in ["missing", "never"] {
        let ran = registry.rabbitc("pull", &[&format!("--policy={policy}"), APP]);
        assert_eq!((ran.text(), ran.stderr.as_str()), (id.text(), ""), "nobody is asked");
    }
    let wrong = registry.rabbitc("pull", &["--policy=sometimes", APP]);
    wrong.refuses(125, &["--policy", "sometimes"]);
    registry.end();
}
