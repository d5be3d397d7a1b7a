//! The way to registries and back: Debian's docker-registry, plain, by TLS with passwords, and with tokens of a server of the
//! test's own; skopeo reads what was pushed, and writes what is pulled.

mod credentials;
mod forms;
mod tokens;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use self::tokens::TokenServer;
use crate::images::{APP, Registry};
use crate::support::{Background, Host, Ran, binary, eventually, finish, has_program};

/// `rabbit` with the password `carrot`, by htpasswd's bcrypt.
const HTPASSWD: &str = "rabbit:$2b$05$abcdefghijklmnopqrstuub9qrLG6.Z4LOuGlJ8Mi2PEoB57M2yVe\n";

/// An authority, and what it vouches for: a server on the loopback. And the key of whoever gives tokens.
const CERTIFICATES: &str = r#"set -e; cd "$0"; mkdir -p vouched keys; exec 2>keys/log
new="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $new -keyout keys/ca.key -out vouched/ca.crt -days 2 -subj /CN=authority
echo subjectAltName=IP:127.0.0.1,DNS:localhost >keys/extension
openssl req $new -keyout keys/server.key -out keys/server.csr -subj /CN=server
openssl x509 -req -in keys/server.csr -CA vouched/ca.crt -CAkey keys/ca.key -CAserial keys/serial -CAcreateserial -days 2 \
    -extfile keys/extension -out keys/server.pem
openssl req -x509 -newkey rsa:2048 -nodes -keyout keys/token.key -out keys/token.pem -days 2 -subj /CN=tokens"#;

/// Who has a right to the second registry.
const PASSWORDS: &str = "auth: {htpasswd: {realm: test, path: @/second/htpasswd}}\n";

/// A second registry, at 127.0.0.1:5443, beside the one that has the image of the other tests.
struct Guarded<'a> {
    registry: &'a Registry,
    server: Background,
}

impl<'a> Guarded<'a> {
    /// `http` and `auth` are more of its configuration, where `@` is the test's directory.
    fn start(registry: &'a Registry, http: &str, auth: &str) -> Guarded<'a> {
        let host = &registry.host;
        let directory = host.directory().join("second");
        std::fs::create_dir(&directory).expect("made");
        std::fs::write(directory.join("htpasswd"), HTPASSWD).expect("written");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: @/second/data}}}}\n\
             http:\n  addr: 127.0.0.1:5443\n  secret: test\n{http}{auth}"
        );
        let configuration = directory.join("registry.yml");
        std::fs::write(&configuration, text.replace('@', &host.directory().display().to_string()))
            .expect("written");
        let mut command = host.command("docker-registry");
        command.arg("serve").arg(&configuration);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Background::of(command.spawn().expect("nsenter runs"));
        eventually("the registry listens", || {
            let mut command = host.command("busybox");
            command.args(["nc", "-w", "1", "127.0.0.1", "5443"]);
            command.output().expect("nsenter runs").status.success()
        });
        Guarded { registry, server }
    }

    fn rabbitc(&self, verb: &str, arguments: &[&str]) -> Ran {
        rabbitc(self.registry, verb, arguments, None)
    }

    fn log_in(&self, flags: &[&str], password: &str) -> Ran {
        let arguments = [flags, &["--username=rabbit", "--password-stdin", "127.0.0.1:5443"]].concat();
        rabbitc(self.registry, "login", &arguments, Some(password))
    }

    fn end(self) {
        let Guarded { registry, server } = self;
        drop(server);
        let directory = registry.host.directory().display();
        registry.host.shell(&format!("cd {directory}; rm -rf second home vouched keys"));
    }
}

/// The home directory of whoever types.
fn home(registry: &Registry) -> PathBuf {
    registry.host.directory().join("home")
}

/// A directory with the certificate of the authority that vouches for the second registry.
fn vouched(registry: &Registry) -> PathBuf {
    registry.host.directory().join("vouched")
}

/// A verb by somebody with a home of the test's own.
fn rabbitc(registry: &Registry, verb: &str, arguments: &[&str], input: Option<&str>) -> Ran {
    let mut command = registry.host.command(binary());
    command.arg(verb).env("HOME", home(registry)).env_remove("XDG_RUNTIME_DIR").env_remove("XDG_CONFIG_HOME");
    if !["login", "logout", "search"].contains(&verb) {
        command.arg(format!("--root={}", registry.store().display()));
    }
    let configuration = home(registry).join("registries.conf");
    if configuration.exists() {
        command.env("CONTAINERS_REGISTRIES_CONF", configuration);
    }
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let child = command.args(arguments).spawn().expect("nsenter runs");
    finish(child, input.map(|text| text.as_bytes().to_vec()))
}

/// Makes certificates; whether that can be done here.
fn make_certificates(registry: &Registry) -> bool {
    if !has_program("openssl") {
        return false;
    }
    let status = Command::new("sh").args(["-c", CERTIFICATES]).arg(registry.host.directory()).status();
    assert!(status.expect("sh runs").success(), "the certificates are made");
    true
}

fn skopeo(host: &Host, arguments: &[&str]) -> String {
    let mut command = host.command("skopeo");
    command.arg("--insecure-policy").args(arguments);
    finish(command.spawn().expect("nsenter runs"), None).text().to_owned()
}

/// The digest that a registry has for a name, by skopeo.
fn digest_by_skopeo(host: &Host, flags: &[&str], name: &str) -> String {
    let name = format!("docker://{name}");
    let last = ["--tls-verify=false", "--no-tags", "--format={{.Digest}}", &name];
    skopeo(host, &[&["inspect"], flags, &last].concat())
}

/// An image of the second registry that is here has its digest for a name, too; and once it is gone, comes by that.
fn pulls_by_digest(guarded: &Guarded<'_>, flags: &[&str], digest: &str) {
    let pinned = format!("127.0.0.1:5443/team/app@{digest}");
    let pull = |how: &str| {
        let ran = guarded.rabbitc("pull", &[flags, &[&pinned]].concat());
        assert_eq!(ran.text(), format!("{pinned}: {how}\n{digest}"));
    };
    pull("here already");
    let id = guarded.rabbitc("inspect", &["--format={{.Id}}", &pinned]).text().to_owned();
    guarded.rabbitc("rmi", &["--force", &id]).text();
    assert_eq!(guarded.registry.kept(), [""; 0]);
    pull("pulled");
}

fn digest_in(text: &str) -> &str {
    text.split_whitespace().find(|word| word.starts_with("sha256:")).expect("a digest")
}

/// How often the registry was sent a blob.
fn uploads(registry: &Registry) -> usize {
    let log = std::fs::read_to_string(registry.host.directory().join("registry.log")).expect("its log");
    log.lines().filter(|line| line.contains("\"PATCH /v2/")).count()
}

#[test]
fn image_is_pushed_and_read_back_by_others_with_the_same_digests() {
    let Some(registry) = Registry::new() else { return };
    let host = &registry.host;
    let pulled = digest_in(registry.rabbitc("pull", &[APP]).text()).to_owned();
    let by_skopeo = uploads(&registry);
    assert_eq!(by_skopeo, 3, "two layers and a configuration");

    // It is all there: no blob is sent.
    let ran = registry.rabbitc("push", &[APP]);
    assert_eq!(ran.stderr, "", "a pipe is told the end alone");
    let lines: Vec<&str> = ran.text().lines().collect();
    assert_eq!(lines[0], "The push refers to repository [127.0.0.1:5000/team/app]");
    assert!(lines.len() == 2 && lines[1].starts_with(&format!("v1: digest: {pulled} size: ")), "{ran:?}");
    // Another repository of that registry takes it from the first.
    registry.rabbitc("push", &[APP, "127.0.0.1:5000/other/app:v3"]).text();
    assert_eq!(uploads(&registry), by_skopeo, "nothing was sent twice");
    assert_eq!(digest_by_skopeo(host, &[], "127.0.0.1:5000/other/app:v3"), pulled);

    // A registry by another name gets all of it, byte for byte.
    let file = host.directory().join("digest");
    let to_file = format!("--digestfile={}", file.display());
    let ran = registry.rabbitc("push", &["--quiet", &to_file, APP, "localhost:5000/new"]);
    assert_eq!(ran.text(), "localhost:5000/new:latest");
    assert_eq!(std::fs::read_to_string(&file).expect("written"), pulled);
    assert_eq!(uploads(&registry), by_skopeo + 3);
    let layout = format!("oci:{}/copy", host.directory().display());
    skopeo(host, &["copy", "--quiet", "--src-tls-verify=false", "docker://localhost:5000/new", &layout]);
    host.shell(&format!(
        "cd {}; diff -r copy/blobs layout/blobs; rm -r copy digest",
        host.directory().display()
    ));

    // By its digest it is the same, and what is here already is not fetched for that.
    let pinned = format!("localhost:5000/new@{pulled}");
    assert_eq!(registry.rabbitc("pull", &[&pinned]).text(), format!("{pinned}: here already\n{pulled}"));
    registry.rabbitc("rmi", &[APP]).text();
    registry.rabbitc("rmi", &[&pinned]).text();
    assert_eq!(registry.kept(), [""; 0]);
    assert_eq!(registry.rabbitc("pull", &["--quiet", &pinned]).text(), pulled);
    registry.end();
}

#[test]
fn images_of_either_form_come_and_go_under_all_their_tags() {
    let Some(registry) = Registry::new() else { return };
    let host = &registry.host;
    // What skopeo writes in Docker's words.
    let layout = format!("oci:{}/layout", host.directory().display());
    for tag in ["one", "two"] {
        let name = format!("docker://127.0.0.1:5000/team/docker:{tag}");
        skopeo(host, &["copy", "--quiet", "--format=v2s2", "--dest-tls-verify=false", &layout, &name]);
    }
    let name = "127.0.0.1:5000/team/docker:one";
    let of_docker = digest_by_skopeo(host, &[], name);
    let ran = registry.rabbitc("pull", &["--all-tags", "127.0.0.1:5000/team/docker"]);
    let expected =
        format!("{name}: pulled\n{of_docker}\n127.0.0.1:5000/team/docker:two: here already\n{of_docker}");
    assert_eq!(ran.text(), expected);
    assert_eq!(registry.run(&["-u0", name, "-c", "cat /etc/name"]).text(), "two");

    // All of its tags, and others by another name; the words of the manifest stay, or change on demand.
    let ran = registry.rabbitc("push", &["-a", "127.0.0.1:5000/team/docker"]);
    let tags: Vec<&str> = ran.text().lines().skip(1).filter_map(|line| line.split(':').next()).collect();
    assert_eq!(tags, ["one", "two"], "{ran:?}");
    registry.rabbitc("push", &[name, "docker://127.0.0.1:5000/kept"]).text();
    assert_eq!(digest_by_skopeo(host, &[], "127.0.0.1:5000/kept"), of_docker);
    let ran = registry.rabbitc("push", &["--format=oci", name, "127.0.0.1:5000/changed"]);
    let changed = digest_in(ran.text());
    assert_ne!(changed, of_docker);
    let raw = skopeo(host, &["inspect", "--raw", "--tls-verify=false", "docker://127.0.0.1:5000/changed"]);
    assert!(!raw.contains("vnd.docker") && raw.contains("vnd.oci.image.manifest.v1+json"), "{raw}");
    assert_eq!(digest_in(registry.rabbitc("pull", &["127.0.0.1:5000/changed"]).text()), changed);

    let id = registry.rabbitc("images", &["-q", "127.0.0.1:5000/kept"]).text().to_owned();
    assert_eq!(id, "", "what was pushed by another name has that name there alone");
    let id = registry.rabbitc("images", &["-q", "127.0.0.1:5000/changed"]).text().to_owned();
    registry.rabbitc("push", &[&id]).refuses(125, &["an id does not say where to"]);
    registry.rabbitc("push", &[&id, "127.0.0.1:5000/by-id:x"]).text();
    // As podman's, it goes elsewhere than to a registry, too.
    let written = host.directory().join("written");
    registry.rabbitc("push", &[name, &format!("oci:{}:x", written.display())]).text();
    let index = std::fs::read_to_string(written.join("index.json")).expect("a layout");
    assert!(index.contains(&of_docker), "{index}");
    host.shell(&format!("rm -r {}", written.display()));
    let cases: [(&str, &[&str], &[&str]); 10] = [
        ("push", &["nothing"], &["push `nothing`: there is no such image here", "rabbitc images"]),
        ("push", &[name, "a//b"], &["part of a repository"]),
        ("push", &[name, "docker-daemon:app"], &["rabbitc has no `docker-daemon:`"]),
        ("push", &[name, "127.0.0.1:5001/app"], &["`127.0.0.1:5001` can't be reached: connection refused"]),
        ("push", &["--all-tags", name], &["push all tags of `127.0.0.1:5000/team/docker:one`", "no tag"]),
        ("push", &["-a", "127.0.0.1:5000/none"], &["there is no image of this name here"]),
        ("push", &["--format=v1", name], &["--format", "v1"]),
        ("push", &[], &["rabbitc push: an image is to be named"]),
        ("pull", &["--all-tags", name], &["with `--all-tags`, a name has no tag"]),
        ("pull", &["--all-tags", "127.0.0.1:5000/none"], &["list the tags of `127.0.0.1:5000/none`", "404"]),
    ];
    for (verb, arguments, parts) in cases {
        registry.rabbitc(verb, arguments).refuses(125, parts);
    }
    registry.end();
}

#[test]
fn registry_with_tls_and_passwords_serves_who_trusts_it_and_is_logged_in() {
    let Some(registry) = Registry::new() else { return };
    if !make_certificates(&registry) {
        return;
    }
    let tls = "  tls: {certificate: @/keys/server.pem, key: @/keys/server.key}\n";
    let guarded = Guarded::start(&registry, tls, PASSWORDS);
    const NAME: &str = "127.0.0.1:5443/team/app:v1";
    let trusting = format!("--cert-dir={}", vouched(&registry).display());
    guarded.rabbitc("pull", &[APP]).text();
    // By a certificate that nobody vouches for, and without a name and a password.
    let refused = guarded.rabbitc("push", &["--tls-verify", APP, NAME]);
    refused.refuses(125, &["nobody who is trusted here vouches", "certs.d/127.0.0.1:5443/ca.crt"]);
    let refused = guarded.rabbitc("push", &["--tls-verify", &trusting, APP, NAME]);
    refused.refuses(
        125,
        &["push a blob of `127.0.0.1:5443/team/app@", "401: unauthorized", "rabbitc login 127.0.0.1:5443"],
    );
    let refused = guarded.log_in(&[&trusting], "turnip\n");
    refused.refuses(125, &["log in to `127.0.0.1:5443`", "401", "the name and the password"]);
    let file = home(&registry).join(".docker/config.json");
    assert!(!file.exists(), "a password that is not taken is not kept");
    guarded.rabbitc("login", &["--get-login", "127.0.0.1:5443"]).refuses(125, &["there is none"]);

    let ran = guarded.log_in(&[&trusting], "carrot\n");
    assert_eq!(ran.text(), "Login Succeeded!");
    assert!(ran.stderr.contains(&format!("in `{}`, not encrypted", file.display())), "{ran:?}");
    assert_eq!(registry.host.shell(&format!("stat -c %a {0} $(dirname {0})", file.display())), "600\n700");
    assert_eq!(guarded.rabbitc("login", &["--get-login", "127.0.0.1:5443"]).text(), "rabbit");
    let again = guarded.rabbitc("login", &[&trusting, "127.0.0.1:5443"]);
    assert!(again.text().contains("Already logged in to 127.0.0.1:5443"), "{again:?}");
    // The user's own place for certificates, as docker and podman have it.
    let own = home(&registry).join(".config/containers/certs.d");
    std::fs::create_dir_all(&own).expect("made");
    std::os::unix::fs::symlink(vouched(&registry), own.join("127.0.0.1:5443")).expect("linked");
    let pushed = digest_in(guarded.rabbitc("push", &["--tls-verify", APP, NAME]).text()).to_owned();
    let found = guarded.rabbitc("search", &["--tls-verify", "127.0.0.1:5443/app"]);
    assert!(found.text().contains("127.0.0.1:5443/team/app "), "{found:?}");
    guarded.rabbitc("rmi", &[APP]).text();
    assert_eq!(guarded.rabbitc("pull", &["-q", "--tls-verify", NAME]).text(), pushed);
    pulls_by_digest(&guarded, &["--tls-verify"], &pushed);
    // Podman and skopeo read the same file.
    let authfile = format!("--authfile={}", file.display());
    assert_eq!(digest_by_skopeo(&registry.host, &[&authfile], NAME), pushed);

    let ran = guarded.rabbitc("logout", &["127.0.0.1:5443"]);
    assert_eq!(ran.text(), "Removing login credentials for 127.0.0.1:5443");
    assert_eq!(guarded.rabbitc("logout", &["127.0.0.1:5443"]).text(), "Not logged in to 127.0.0.1:5443");
    guarded.rabbitc("pull", &[NAME]).refuses(125, &["401: authentication required"]);
    let given = guarded.rabbitc("pull", &["-q", "--creds=rabbit:carrot", "--tls-verify=false", NAME]);
    assert_eq!(given.text(), pushed);
    // A container's image is fetched by the same flags.
    let run = |flags: &[&str]| {
        guarded.rabbitc("rmi", &["-f", NAME]).text();
        let state = format!("--state-dir={}", registry.host.state().display());
        let last = [NAME, "-c", "cat /etc/name"];
        guarded.rabbitc("run", &[&[&*state, "--rm", "--network=none"], flags, &last].concat())
    };
    run(&[]).refuses(125, &["401: authentication required"]);
    assert_eq!(run(&["--creds=rabbit:carrot", "--tls-verify=false"]).text(), "two");
    run(&["--creds=rabbit:turnip"]).refuses(125, &["401"]);
    // A file of the caller's own stands for all others, and is made where it is missing.
    let other = format!("--authfile={}", home(&registry).join("other.json").display());
    let ran = guarded.rabbitc("login", &["-urabbit", "-pcarrot", &other, "https://127.0.0.1:5443/"]);
    assert!(ran.text() == "Login Succeeded!" && ran.stderr.contains("everybody on this host"), "{ran:?}");
    guarded.rabbitc("pull", &[&other, NAME]).text();
    assert_eq!(run(&[&other, &trusting, "--tls-verify"]).text(), "two");
    let ran = guarded.rabbitc("logout", &["--all", &other]);
    assert_eq!(ran.text(), "Removed login credentials for all registries");
    guarded.rabbitc("pull", &[&other, NAME]).refuses(125, &["401"]);
    guarded.rabbitc("login", &["127.0.0.1:5443"]).refuses(125, &["no terminal", "--password-stdin"]);
    guarded.rabbitc("login", &["127.0.0.1:5443/team"]).refuses(125, &["all of a registry"]);
    guarded.end();
    registry.end();
}

#[test]
fn tokens_are_fetched_for_what_is_to_be_done() {
    let Some(registry) = Registry::new() else { return };
    if !make_certificates(&registry) {
        return;
    }
    let server = TokenServer::start(&registry.host);
    let auth = "auth: {token: {realm: 'http://127.0.0.1:5080/token', service: the registry, issuer: test, \
                rootcertbundle: @/keys/token.pem}}\n";
    let guarded = Guarded::start(&registry, "", auth);
    const NAME: &str = "127.0.0.1:5443/team/app:v1";
    let pulled = digest_in(guarded.rabbitc("pull", &[APP]).text()).to_owned();
    guarded.rabbitc("push", &[APP, NAME]).refuses(125, &["ask `127.0.0.1:5080` for a token", "401"]);
    guarded.log_in(&[], "turnip").refuses(125, &["for a token", "incorrect username or password"]);
    guarded.log_in(&[], "carrot").text();
    assert_eq!(server.asked(), [""; 0], "a login is for nothing else");
    assert_eq!(digest_in(guarded.rabbitc("push", &[APP, NAME]).text()), pulled);
    assert_eq!(server.asked(), ["repository:team/app:pull,push"], "one does for all of a push");
    // A blob of another repository is taken from there, for which one must be able to read that.
    guarded.rabbitc("pull", &[NAME]).text();
    server.forget();
    guarded.rabbitc("push", &[NAME, "127.0.0.1:5443/other/app:v2"]).text();
    let both = "repository:other/app:pull,push repository:team/app:pull".to_owned();
    assert!(server.asked().contains(&both), "{:?}", server.asked());
    let other = digest_by_skopeo(&registry.host, &["--creds=rabbit:carrot"], "127.0.0.1:5443/other/app:v2");
    assert_eq!(other, pulled);
    guarded.rabbitc("rmi", &[NAME]).text();
    guarded.rabbitc("rmi", &[APP]).text();
    server.forget();
    assert_eq!(guarded.rabbitc("pull", &["-q", NAME]).text(), pulled);
    assert_eq!(server.asked(), ["repository:team/app:pull"]);
    pulls_by_digest(&guarded, &[], &pulled);
    let listed = guarded.rabbitc("search", &["127.0.0.1:5443/"]);
    assert!(listed.text().contains("127.0.0.1:5443/other/app "), "{listed:?}");
    assert_eq!(server.asked().last().map(String::as_str), Some("registry:catalog:*"));
    drop(server);
    guarded.end();
    registry.end();
}

#[test]
fn short_names_mirrors_and_blocks_are_those_of_registries_conf() {
    let Some(registry) = Registry::new() else { return };
    let run = |verb: &str, arguments: &[&str]| rabbitc(&registry, verb, arguments, None);
    let configure = |text: &str| {
        std::fs::create_dir_all(home(&registry)).expect("made");
        std::fs::write(home(&registry).join("registries.conf"), text).expect("written");
    };
    configure(
        r#"unqualified-search-registries = ["127.0.0.1:5001", "127.0.0.1:5000"]
        [aliases]
        "app" = "127.0.0.1:5000/team/app"
        [[registry]]
        location = "mirrored.invalid"
        [[registry.mirror]]
        location = "127.0.0.1:5001/gone"
        [[registry.mirror]]
        location = "127.0.0.1:5000"
        [[registry]]
        location = "blocked.invalid"
        blocked = true
        "#,
    );
    // An alias, and the second of two registries that are asked.
    assert!(run("pull", &["app:v1"]).text().starts_with("app:v1: pulled\n"));
    assert!(run("pull", &["team/app:v1"]).text().starts_with("team/app:v1: here already\n"));
    let listed = run("images", &["--format={{.Repository}}:{{.Tag}}"]);
    assert_eq!(listed.text(), APP, "it has the name of where it came from");
    let state = format!("--state-dir={}", registry.host.state().display());
    let flags = [&state, "--network=none", "-u0", "--pull=never"];
    for name in ["app:v1", "team/app:v1"] {
        assert_eq!(
            run("run", &[&flags[..], &[name, "-c", "cat /etc/name"]].concat()).text(),
            "two",
            "{name}"
        );
    }
    run("pull", &["team/app:v9"]).refuses(
        125,
        &["`127.0.0.1:5001/team/app:v9`: ", "connection refused; `127.0.0.1:5000/team/app:v9`: ", "404"],
    );
    for (verb, flags) in [("pull", &[][..]), ("search", &[]), ("search", &["--list-tags"])] {
        run(verb, &[flags, &["--creds=rabbit:carrot", "team/app"]].concat())
            .refuses(125, &["is not for all 2", "the registry before"]);
    }
    assert!(run("push", &["app:v1"]).text().contains("repository [127.0.0.1:5000/team/app]"));
    let found = run("search", &["app"]);
    assert!(found.text().contains("127.0.0.1:5000/team/app "), "{found:?}");
    assert!(found.stderr.contains("warning: search `127.0.0.1:5001`"), "{found:?}");
    let tags = run("search", &["--list-tags", "app"]);
    assert_eq!(tags.text(), "NAME                      TAG\n127.0.0.1:5000/team/app   v1");
    // A mirror that is gone, and one that has it: the registry itself is never asked.
    assert!(run("pull", &["mirrored.invalid/team/app:v1"]).text().contains("here already"));
    run("pull", &["mirrored.invalid/team/none"]).refuses(
        125,
        &["`mirrored.invalid` can't be looked up", "its mirror `127.0.0.1:5000/team/none`", "answers 404"],
    );
    run("pull", &["blocked.invalid/app"]).refuses(125, &["`blocked` in registries.conf"]);
    assert_eq!(run("rmi", &["app:v1"]).text(), format!("Untagged: {APP}"));

    let two = "unqualified-search-registries = [\"127.0.0.1:5001\", \"127.0.0.1:5000\"]\n";
    configure(&format!("{two}short-name-mode = \"enforcing\"\n"));
    run("pull", &["team/app:v1"]).refuses(125, &["lets nobody guess", "`127.0.0.1:5000/team/app`"]);
    configure("unqualified-search-registries = [\n");
    run("pull", &["team/app:v1"]).refuses(125, &["read `", "registries.conf`"]);
    registry.host.shell(&format!("rm -rf {}", home(&registry).display()));
    registry.end();
}

#[test]
fn credentials_that_are_given_are_for_the_registry_and_for_no_mirror() {
    let Some(registry) = Registry::new() else { return };
    let guarded = Guarded::start(&registry, "", PASSWORDS);
    const GIVEN: &str = "--creds=rabbit:carrot";
    guarded.rabbitc("pull", &[APP]).text();
    guarded.rabbitc("push", &[GIVEN, APP, "127.0.0.1:5443/team/app:v1"]).text();
    std::fs::create_dir_all(home(&registry)).expect("made");
    let text = r#"
        [[registry]]
        location = "mirrored.invalid"
        [[registry.mirror]]
        location = "127.0.0.1:5443"
        [[registry]]
        prefix = "moved.invalid"
        location = "127.0.0.1:5443"
        "#;
    std::fs::write(home(&registry).join("registries.conf"), text).expect("written");
    let refused = guarded.rabbitc("pull", &[GIVEN, "mirrored.invalid/team/app:v1"]);
    refused.refuses(125, &["its mirror `127.0.0.1:5443/team/app`", "401"]);
    // Where the host's administrator has it elsewhere, that is the registry.
    guarded.rabbitc("pull", &[GIVEN, "moved.invalid/team/app:v1"]).text();
    guarded.end();
    registry.end();
}

#[test]
fn terminal_shows_how_far_it_is_and_no_password() {
    let Some(registry) = Registry::new() else { return };
    if !has_program("script") {
        return;
    }
    let guarded = Guarded::start(&registry, "", PASSWORDS);
    // What somebody sees at a terminal, which `script` gives the command, who types each answer to what is asked.
    let screen = |command: &str, answers: &[(&str, &str)]| {
        let mut script = registry.host.command("script");
        let line = format!("{} {command}", binary().display());
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("SHELL", "/bin/sh");
        script.env("HOME", home(&registry)).stdin(Stdio::piped());
        let mut running = Background::of(script.spawn().expect("script runs"));
        let mut seen = String::new();
        for (asked, answer) in answers {
            while !seen.ends_with(asked) {
                let mut byte = [0u8];
                running.read_exact(&mut byte);
                seen.push(char::from(byte[0]));
            }
            running.write(answer.as_bytes());
        }
        let ran = running.finish();
        (ran.code(), seen + &ran.stdout)
    };
    let answers = [("Username: ", "rabbit\n"), ("Password: ", "carrot\n")];
    let (code, seen) = screen("login 127.0.0.1:5443", &answers);
    assert!(code == 0 && seen.contains("Login Succeeded!") && !seen.contains("carrot"), "{code}: {seen}");
    guarded.rabbitc("logout", &["127.0.0.1:5443"]).text();
    let (code, seen) = screen("login -u rabbit 127.0.0.1:5443", &[("Password: ", "carr\x03")]);
    assert!(code == 125 && seen.contains("it was interrupted") && !seen.contains("carr"), "{code}: {seen}");

    guarded.log_in(&[], "carrot").text();
    guarded.rabbitc("pull", &[APP]).text();
    let store = registry.store().display().to_string();
    let (code, seen) = screen(&format!("push --root={store} {APP} 127.0.0.1:5443/team/app:v1"), &[]);
    assert!(code == 0 && seen.contains("\u{1b}[J127.0.0.1:5443/team/app:v1: "), "{seen:?}");
    assert!(seen.contains(" of 1.") && seen.contains("v1: digest: sha256:"), "{seen:?}");

    guarded.rabbitc("logout", &["127.0.0.1:5443"]).text();
    let pull = format!("pull --root={store} --creds=rabbit 127.0.0.1:5443/team/app:v1");
    let (code, seen) = screen(&pull, &[("Password: ", "parsnip\n")]);
    assert!(code == 125 && seen.contains("401") && !seen.contains("parsnip"), "{code}: {seen}");
    let (code, seen) = screen(&pull, &[("Password: ", "carrot\n")]);
    assert!(code == 0 && !seen.contains("carrot"), "{code}: {seen}");
    guarded
        .rabbitc("pull", &["--creds=rabbit", APP])
        .refuses(125, &["--creds: it has no `:`", "at a terminal"]);
    guarded.end();
    registry.end();
}
