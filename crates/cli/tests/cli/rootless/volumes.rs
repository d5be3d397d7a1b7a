//! Volumes of an ordinary user: in a store of its own, with files of all its ids.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::place::Place;
use super::user::{FIRST, UID};
use crate::images::APP;
use crate::support::names;

/// Makes an image in OCI's layout with data of another owner, in a directory that is a `VOLUME` of it.
const LAYOUT: &str = r#"set -e; cd "$0"; mkdir -p layout/blobs/sha256 one/data/deep
cp -r rootfs/bin one/; echo file >one/data/file; echo secret >one/data/deep/secret; chmod 700 one/data/deep
chown -R 0:0 one; chown -R 12:34 one/data
blob() { size=$(wc -c <"$1"); digest=sha256:$(sha256sum <"$1" | cut -d' ' -f1); mv "$1" layout/blobs/sha256/${digest#sha256:}; }
described() { echo "{\"mediaType\": \"application/vnd.oci.image.$1\", \"digest\": \"$digest\", \"size\": $size}"; }
tar -C one --numeric-owner -cf layer.tar . && id="\"sha256:$(sha256sum <layer.tar | cut -d' ' -f1)\""
gzip -nc layer.tar >layer.gz; rm layer.tar; blob layer.gz; layer=$(described layer.v1.tar+gzip)
machine=$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
echo "{\"architecture\": \"$machine\", \"os\": \"linux\", \"config\": {\"Entrypoint\": [\"/bin/sh\", \"-c\"], \"Env\": [\"PATH=/bin\"],
    \"Volumes\": {\"/data\": {}}}, \"rootfs\": {\"type\": \"layers\", \"diff_ids\": [$id]}}" >config; blob config
config=$(described config.v1+json)
echo "{\"schemaVersion\": 2, \"mediaType\": \"application/vnd.oci.image.manifest.v1+json\", \"config\": $config,
    \"layers\": [$layer]}" >manifest; blob manifest; manifest=$(described manifest.v1+json)
echo "{\"schemaVersion\": 2, \"manifests\": [$manifest]}" >layout/index.json
echo '{"imageLayoutVersion": "1.0.0"}' >layout/oci-layout; rm -r one"#;

impl Place {
    fn volumes(&self) -> PathBuf {
        self.root().join("volumes")
    }
}

const LOOK: &str = "busybox stat -c '%u:%g %a' /data /data/deep /data/deep/secret; cat /data/deep/secret; echo x >/data/new; exit 0";

#[test]
fn volume_of_a_user_is_filled_with_files_of_all_its_ids_and_removed_with_them() {
    let Some(place) = Place::new(LAYOUT) else { return };
    assert_eq!(place.rabbitc("pull", &[APP]).code(), 0);
    let ran = place.run(&["-v", "kept:/data", APP, LOOK]);
    assert_eq!((ran.text(), ran.stderr.as_str()), ("12:34 755\n12:34 700\n12:34 644\nsecret", ""), "{ran:?}");
    let data = place.volumes().join("kept/_data");
    let owner =
        |path: &str| data.join(path).metadata().map(|found| (found.uid(), found.gid())).expect("there");
    assert_eq!((owner("deep"), owner("new")), ((FIRST + 11, FIRST + 33), (UID, UID)));
    assert_eq!(place.rabbitc("volume", &["ls", "-q"]).text(), "kept");
    // The image's own goes with the container, whoever its files belong to.
    assert_eq!(place.run(&[APP, LOOK]).stdout, "12:34 755\n12:34 700\n12:34 644\nsecret\n");
    assert_eq!(names(&place.volumes()), ["kept"]);
    let pruned = place.rabbitc("volume", &["prune", "-f", "--all"]);
    assert_eq!(pruned.text(), "Deleted Volumes:\nkept\n\nTotal reclaimed space: 14B");
    assert_eq!(names(&place.volumes()), [""; 0]);
    place.end();
}

#[test]
fn container_with_other_ids_has_a_volume_with_the_owners_that_its_root_has() {
    let Some(place) = Place::new(LAYOUT) else { return };
    assert_eq!(place.rabbitc("pull", &[APP]).code(), 0);
    let ran = place.run(&["--userns=keep-id", "-u0", "-v", "kept:/data", APP, LOOK]);
    assert!(ran.stdout.ends_with("12:34 755\n12:34 700\n12:34 644\nsecret\n"), "{ran:?}");
    let found = place.volumes().join("kept/_data/deep").metadata().expect("there");
    assert_eq!(found.uid(), FIRST + 12, "as its files are in the image of that container");
    // A start that fails takes back what it has made.
    let missing = place.run(&["-v", "new:/data", "-v", "/no/such:/x", APP, "true"]);
    assert_eq!(missing.code(), 125, "{missing:?}");
    let refused = place.run(&["-v", "new:/data", "--entrypoint=/none", APP]);
    assert_eq!(refused.code(), 127, "{refused:?}");
    assert_eq!(names(&place.volumes()), ["kept"]);
    // Memory that several share is for root to mount.
    place.rabbitc("volume", &["create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory"]).text();
    place.run(&["-v", "memory:/m", APP, "true"]).refuses(125, &["`memory`", "only root mounts", "--tmpfs"]);
    let subpath = "--mount=source=kept,target=/part,volume-subpath=deep";
    let ran = place.run(&["--userns=keep-id", "-u0", subpath, APP, "cat /part/secret"]);
    assert_eq!(ran.stdout, "secret\n", "{ran:?}");
    assert_eq!(place.rabbitc("volume", &["rm", "kept", "memory"]).text(), "kept\nmemory");
    place.end();
}
