//! Images of an ordinary user: from a registry into a store of its own, and out of it, with files of several owners.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;

use super::place::Place;
use super::user::{FIRST, UID, User};
use crate::images::APP;
use crate::support::{Background, binary, finish, names};

/// Makes an image in OCI's layout, whose files have several owners, and which hides files of lower layers.
const LAYOUT: &str = r#"set -e; cd "$0"; mkdir -p layout/blobs/sha256 one/etc one/srv one/var two/etc two/srv three/etc
cp -r rootfs/bin one/; echo 'app:x:12:34::/:/bin/sh' >one/etc/passwd; echo hidden >one/etc/hidden; echo one >one/etc/name
echo old >one/srv/old; mkdir -m 700 one/var/kept; echo secret >one/var/kept/secret; chmod 600 one/var/kept/secret
mknod one/device c 1 3; : >two/etc/.wh.hidden; : >two/srv/.wh..wh..opq; echo new >two/srv/new; echo three >three/etc/name
chown -R 0:0 one two three; chown -R 12:34 one/var/kept; chown 5:0 two/srv/new; cp rootfs/bin/busybox one/raise
chown 0:0 one/raise; chmod 4755 one/raise
blob() { size=$(wc -c <"$1"); digest=sha256:$(sha256sum <"$1" | cut -d' ' -f1); mv "$1" layout/blobs/sha256/${digest#sha256:}; }
described() { echo "{\"mediaType\": \"application/vnd.oci.image.$1\", \"digest\": \"$digest\", \"size\": $size}"; }
for layer in one two three; do
    tar -C $layer --numeric-owner -cf layer.tar . && ids="$ids,\"sha256:$(sha256sum <layer.tar | cut -d' ' -f1)\""
    gzip -nc layer.tar >layer.gz; rm layer.tar; blob layer.gz; layers="$layers,$(described layer.v1.tar+gzip)"
done
machine=$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
echo "{\"architecture\": \"$machine\", \"os\": \"linux\", \"config\": {\"Entrypoint\": [\"/bin/sh\", \"-c\"], \"Env\": [\"PATH=/bin\"]},
    \"rootfs\": {\"type\": \"layers\", \"diff_ids\": [${ids#,}]}}" >config; blob config; config=$(described config.v1+json)
echo "{\"schemaVersion\": 2, \"mediaType\": \"application/vnd.oci.image.manifest.v1+json\", \"config\": $config,
    \"layers\": [${layers#,}]}" >manifest; blob manifest; manifest=$(described manifest.v1+json)
echo "{\"schemaVersion\": 2, \"manifests\": [$manifest]}" >layout/index.json
echo '{"imageLayoutVersion": "1.0.0"}' >layout/oci-layout; rm -r one two three"#;

/// What a container of it shows of its files: names, owners, and what is hidden.
const LOOK: &str = "cat /etc/name; ls /srv; ls /etc/hidden /device 2>/dev/null; \
                    ls -lnd /var/kept /var/kept/secret /srv/new /etc/passwd /raise | tr -s ' ' | cut -d' ' -f1,3,4,9";

/// The same where all have their owners.
const SEEN: &str = "three\nnew\n-rw-r--r-- 0 0 /etc/passwd\n-rwsr-xr-x 0 0 /raise\n-rw-r--r-- 5 0 /srv/new\n\
                    drwx------ 12 34 /var/kept\n-rw------- 12 34 /var/kept/secret";

impl Place {
    fn store(&self) -> PathBuf {
        self.root().join("images")
    }

    /// Paths in the store, but for those of the store itself.
    fn kept(&self) -> Vec<String> {
        ["blobs/sha256", "layers", "images", "names", "partial"]
            .into_iter()
            .flat_map(|directory| {
                names(&self.store().join(directory))
                    .into_iter()
                    .map(move |name| format!("{directory}/{name}"))
            })
            .collect()
    }

    /// The owner of what has this path in some layer, unpacked as `tree`.
    fn owner(&self, tree: &str, path: &str) -> Option<(u32, u32)> {
        let layers = self.store().join("layers");
        let mut found = names(&layers).into_iter().map(|layer| layers.join(layer)).flat_map(|layer| {
            let trees = names(&layer).into_iter().filter(|name| name.starts_with(tree)).collect::<Vec<_>>();
            trees.into_iter().filter_map(move |tree| layer.join(tree).join(path).symlink_metadata().ok())
        });
        found.next().map(|found| (found.uid(), found.gid()))
    }
}

#[test]
fn root_of_a_user_namespace_is_told_how_a_users_images_are_named() {
    let Some(mut user) = User::new() else { return };
    user.host.set_up(
        "mount -t tmpfs -o mode=755 none /var/lib; mkdir -m 700 /var/lib/rabbitc /var/lib/rabbitc/images",
    );
    user.host.accept_mounts();
    let mut command = user.command("unshare");
    command.args(["--user", "--map-root-user"]).arg(binary()).args(["image", "mount"]);
    let ran = finish(command.spawn().expect("nsenter runs"), None);
    ran.refuses(125, &["/var/lib/rabbitc", "root's of the host", "`--root=", "`--runroot="]);
    user.host.assert_nothing_left();
}

#[test]
fn user_pulls_lists_runs_and_removes_an_image() {
    let Some(place) = Place::new(LAYOUT) else { return };
    let ran = place.rabbitc("pull", &[APP]);
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert!(ran.text().starts_with(&format!("{APP}: pulled\nsha256:")), "{ran:?}");
    assert_eq!(place.owner("tree", "var/kept/secret"), Some((FIRST + 11, FIRST + 33)));
    assert_eq!(place.owner("tree", "etc/passwd"), Some((UID, UID)));
    assert!(place.rabbitc("images", &[]).text().contains("team/app   v1 "));
    let ran = place.run(&["--pull=never", APP, LOOK]);
    assert_eq!((ran.text(), ran.stderr.as_str()), (SEEN, ""), "{ran:?}");
    let ran = place.run(&[
        "-u",
        "app",
        APP,
        "id; cat /var/kept/secret; echo x >/var/kept/secret; cat /var/kept/secret",
    ]);
    assert_eq!(ran.text(), "uid=12(app) gid=34 groups=34\nsecret\nx", "{ran:?}");
    // One overlay, and a user who is not in the image is told from its files.
    assert_eq!(
        place.run(&[APP, "grep -c ' / / .* overlay ' /proc/self/mountinfo; mkdir /srv/deep"]).text(),
        "1"
    );
    // Where an overlay's layers were put together lay on the host's root, which must not be left behind.
    assert_eq!(place.run(&[APP, "test \"$(ls /)\" = \"$(ls /..)\" && echo alone"]).text(), "alone");
    place.run(&["-u", "nobody", APP, "true"]).refuses(125, &["--user: there is no user `nobody`"]);
    place.run(&["-v", "/etc:/etc/passwd", APP, "true"]).refuses(125, &["`/etc/passwd`", "file"]);
    let plan = place.rabbitc("plan", &[&place.user.state_flag(), "--network=none", APP]);
    assert!(
        plan.text().contains("mount an overlay as root") && plan.text().contains("and 2 layers below"),
        "{plan:?}"
    );

    let mut command = place.command(binary());
    command.args(["run", &place.user.state_flag(), "--rm", "--network=none", APP, "echo up; read end"]);
    let mut running = Background::of(command.stdin(Stdio::piped()).spawn().expect("nsenter runs"));
    running.read_exact(&mut [0u8; 3]);
    place.rabbitc("rmi", &[APP]).refuses(1, &["is of it", "end the container"]);
    running.release();
    assert_eq!(place.rabbitc("rmi", &[APP]).code(), 0);
    assert_eq!(place.kept(), [""; 0], "files of other ids go as well");
    place.end();
}

#[test]
fn users_container_is_written_out_with_all_of_its_root() {
    let Some(place) = Place::new(LAYOUT) else { return };
    assert_eq!(place.rabbitc("pull", &[APP]).code(), 0);
    let rootfs = place.user.host.rootfs_flag();
    let ways: [&[&str]; 2] = [&[APP], &[&rootfs, "--overlay", "--rm=false", "--", "/bin/sh", "-c"]];
    for (way, of_it) in ways.into_iter().zip(["var/kept/secret", "bin/busybox"]) {
        let mut command = place.command(binary());
        command
            .args(["run", &place.user.state_flag(), "--network=none"])
            .args(way)
            .arg("echo x >/made; exit 0");
        let ran = finish(command.spawn().expect("nsenter runs"), None);
        assert_eq!(ran.code(), 0, "{ran:?}");
        let id = place.rabbitc("ps", &["-aq"]).text().to_owned();
        let archive = place.user.host.directory().join("home/export.tar").display().to_string();
        assert_eq!(place.rabbitc("export", &["-o", &archive, &id]).code(), 0);
        let listed = place.user.host.shell(&format!("tar -tf {archive}; rm {archive}"));
        for path in ["made", of_it] {
            assert!(listed.lines().any(|line| line == path), "{path} in {listed}");
        }
        assert_eq!(place.rabbitc("rm", &[&id]).code(), 0);
    }
    assert_eq!(place.rabbitc("rmi", &[APP]).code(), 0);
    place.end();
}

#[test]
fn users_container_fetches_its_image_and_tells_once_why_it_can_not() {
    let Some(place) = Place::new(LAYOUT) else { return };
    let ran = place.run(&[APP, LOOK]);
    assert_eq!((ran.text(), ran.stderr.as_str()), (SEEN, ""), "{ran:?}");
    let missing = APP.replace("v1", "none");
    place
        .run(&[&missing, "true"])
        .refuses(125, &["fetch the manifest of `127.0.0.1:5000/team/app:none`", "404"]);
    place.run(&["--pull=never", &missing, "true"]).refuses(125, &["find the image", "rabbitc pull"]);
    // What is said of the fetching is handed on.
    place.run(&["--creds=nobody", "-q", &missing, "true"]).refuses(125, &["--creds: it has no `:`"]);
    place.run(&["--arch=s390x", APP, "true"]).refuses(125, &["and not for `linux/s390x`"]);
    assert_eq!(place.run(&["--pull=newer", "--tls-verify=false", APP, LOOK]).text(), SEEN);
    assert_eq!(place.rabbitc("rmi", &[APP]).code(), 0);
    assert_eq!(place.kept(), [""; 0]);
    let mut command = place.command("env");
    command.args(["-u", "HOME", "-u", "XDG_DATA_HOME"]).arg(binary()).arg("images");
    finish(command.spawn().expect("nsenter runs"), None)
        .refuses(125, &["find this user's images", "HOME", "--root"]);
    place.end();
}

#[test]
fn users_pull_that_is_killed_leaves_a_store_that_works() {
    let Some(place) = Place::new(LAYOUT) else { return };
    for milliseconds in [1, 5, 10, 20, 40, 80] {
        let mut command = place.command(binary());
        let mut child = command.arg("pull").arg(APP).spawn().expect("nsenter runs");
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        // It may have ended.
        let _ = child.kill();
        child.wait().expect("waited for");
        let ran = place.rabbitc("pull", &[APP]);
        assert_eq!(ran.code(), 0, "after {milliseconds} ms: {ran:?}");
        assert_eq!(place.rabbitc("rmi", &[APP]).code(), 0);
        assert_eq!(place.kept(), [""; 0], "after {milliseconds} ms");
    }
    place.end();
}

#[test]
fn user_with_one_id_has_all_files_of_an_image_and_a_word_about_it() {
    let Some(place) = Place::new(LAYOUT) else { return };
    place.user.host.set_up("echo 'somebody:100000:65536' | tee /etc/subuid >/etc/subgid");
    let ran = place.rabbitc("pull", &[APP]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    for part in ["all files of this image are yours", "/etc/subuid", "usermod --add-subuids", "pull it again"]
    {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    assert_eq!(ran.stderr.matches("warning:").count(), 1, "{}", ran.stderr);
    assert_eq!(place.owner("tree", "var/kept/secret"), Some((UID, UID)));
    let ran = place.run(&[APP, LOOK]);
    let seen = SEEN.replace(" 12 34 ", " 0 0 ").replace(" 5 0 ", " 0 0 ");
    assert_eq!(ran.text(), seen, "{ran:?}");
    assert_eq!(place.rabbitc("rmi", &[APP]).code(), 0);
    assert_eq!(place.kept(), [""; 0]);
    place.end();
}

#[test]
fn files_of_an_image_are_unpacked_once_more_for_a_user_who_keeps_its_id() {
    let Some(place) = Place::new(LAYOUT) else { return };
    assert_eq!(place.rabbitc("pull", &[APP]).code(), 0);
    let ran = place.run(&["--userns=keep-id", "--user=0", APP, LOOK]);
    assert_eq!(ran.text(), SEEN, "{ran:?}");
    assert!(ran.stderr.contains("unpacked once more for the ids of this container"), "{ran:?}");
    assert_eq!(ran.stderr.matches("warning:").count(), 1, "{ran:?}");
    // Its own id is nobody of the image's.
    assert_eq!(place.owner("tree-", "etc/passwd"), Some((FIRST, FIRST)));
    let script = "id -u; ls -lnd /etc/name | tr -s ' ' | cut -d' ' -f3; cat /var/kept/secret || echo closed; \
                  echo x >/tmp/mine && ls -ln /tmp/mine | tr -s ' ' | cut -d' ' -f3; touch /etc/mine || echo not mine";
    let ran = place.run(&["--userns=keep-id", "--tmpfs=/tmp", APP, script]);
    assert_eq!(ran.text(), format!("{UID}\n0\nclosed\n{UID}\nnot mine"), "{ran:?}");
    assert!(!ran.stderr.contains("warning:"), "the second time nothing is unpacked: {ran:?}");
    // The usual ids are those of the store.
    assert_eq!(place.run(&[APP, LOOK]).text(), SEEN);
    let map = format!("--uidmap=0:{UID}:1");
    let ran = place.run(&[
        &map,
        &format!("--uidmap=1:{FIRST}:20"),
        &map.replace("uid", "gid"),
        &format!("--gidmap=1:{FIRST}:40"),
        APP,
        LOOK,
    ]);
    assert_eq!(ran.text(), SEEN, "{ran:?}");
    let few = [
        map.clone(),
        format!("--uidmap=1:{FIRST}:5"),
        map.replace("uid", "gid"),
        format!("--gidmap=1:{FIRST}:5"),
    ];
    let few: Vec<&str> = few.iter().map(String::as_str).chain([APP, "true"]).collect();
    let few = place.run(&few);
    few.refuses(125, &["unpack `", "give it to 12:34", "/etc/subuid"]);
    assert_eq!(place.rabbitc("rmi", &[APP]).code(), 0);
    assert_eq!(place.kept(), [""; 0]);
    place.end();
}

#[test]
fn image_is_mounted_in_namespaces_of_the_users_own_alone() {
    let Some(place) = Place::new(LAYOUT) else { return };
    place.rabbitc("pull", &[APP]).text();
    place
        .rabbitc("image", &["mount", APP])
        .refuses(125, &["for this command alone", "podman unshare", "--runroot="]);
    let root = place.root();
    let script = format!(
        "set -e; image() {{ {} image $1 --root={} $2 {APP}; }}; cd $(image mount --runroot={}); cat etc/name; ls srv; \
         stat -c '%u:%g %a' var/kept; cd /; image unmount >/dev/null; ls -A {}",
        binary().display(),
        root.display(),
        place.user.host.directory().join("home/mounts").display(),
        place.user.host.directory().join("home/mounts/images").display()
    );
    let mut command = place.command("unshare");
    command.args(["--map-root-user", "--map-auto", "--mount", "sh", "-c", &script]);
    let ran = finish(command.spawn().expect("nsenter runs"), None);
    assert_eq!(ran.text(), "three\nnew\n12:34 700", "{ran:?}");
    let pruned = place.rabbitc("system", &["prune", "--all", "--force"]);
    assert!(pruned.text().starts_with(&format!("Deleted Images:\nuntagged: {APP}\n")), "{pruned:?}");
    assert_eq!(place.kept(), [""; 0]);
    place.end();
}
