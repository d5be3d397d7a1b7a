//! What registries have: layers in every compression, and images for several machines under one name.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{digest_by_skopeo, digest_in, skopeo};
use crate::images::{APP, Registry};
use crate::support::{binary, finish};

const SEEN: &str = "two\nhello\n/etc\n12\n34\n";

#[test]
fn layers_of_every_compression_come_from_a_registry() {
    let Some(registry) = Registry::new() else { return };
    let host = &registry.host;
    let layout = format!("oci:{}/layout", host.directory().display());
    let plain = format!("dir:{}/plain", host.directory().display());
    skopeo(host, &["copy", "--quiet", "--dest-decompress", &layout, &plain]);
    for (tag, format) in
        [("gzip", Some("gzip")), ("zstd", Some("zstd")), ("chunked", Some("zstd:chunked")), ("plain", None)]
    {
        let name = format!("127.0.0.1:5000/team/forms:{tag}");
        // Skopeo would send what it knows to be there in another compression; what is loaded here goes as it is.
        let written = host.directory().join("written");
        let from = match format {
            Some(format) => {
                let (flag, to) =
                    (format!("--dest-compress-format={format}"), format!("oci:{}", written.display()));
                skopeo(host, &["copy", "--quiet", &flag, &plain, &to]);
                to
            }
            None => plain.clone(),
        };
        let id = registry.rabbitc("pull", &["-q", &from]).text().to_owned();
        registry.rabbitc("push", &["-q", &id, &name]).text();
        registry.rabbitc("rmi", &["--force", &id]).text();
        host.shell(&format!("rm -rf {}", written.display()));
        let raw = skopeo(host, &["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
        let raw: Value = serde_json::from_str(&raw).expect("JSON");
        let of = |layer: &Value| layer["mediaType"].as_str().expect("text").to_owned();
        let kinds: Vec<String> = raw["layers"].as_array().expect("layers").iter().map(of).collect();
        let ending = match tag {
            "gzip" => "tar+gzip",
            "plain" => "layer.v1.tar",
            _ => "tar+zstd",
        };
        assert!(kinds.iter().all(|kind| kind.ends_with(ending)), "{tag}: {kinds:?}");
        if tag == "chunked" {
            let notes = raw["layers"][0]["annotations"].to_string();
            assert!(notes.contains("zstd-chunked"), "{notes}");
        }
        let pulled = registry.rabbitc("pull", &["-q", &name]).text().to_owned();
        assert_eq!(pulled, digest_by_skopeo(host, &[], &name), "{tag}");
        assert_eq!(registry.run(&[&name]).stdout, SEEN, "{tag}");
        let mut check = host.command(binary());
        check.args(["system", "check"]).arg(format!("--root={}", registry.store().display()));
        assert_eq!(finish(check.spawn().expect("nsenter runs"), None).text(), "", "{tag}");
        registry.rabbitc("rmi", &[&name]).text();
        assert_eq!(registry.kept(), [""; 0], "{tag}");
    }
    host.shell(&format!("rm -r {}/plain", host.directory().display()));
    registry.end();
}

/// Keeps a blob in a layout, and describes it.
fn put(layout: &Path, kind: &str, text: &str) -> Value {
    let file = layout.join("blob");
    std::fs::write(&file, text).expect("written");
    let said = Command::new("sha256sum").arg(&file).output().expect("it is there").stdout;
    let digits = String::from_utf8_lossy(&said[..64]).into_owned();
    std::fs::rename(&file, layout.join("blobs/sha256").join(&digits)).expect("renamed");
    json!({"mediaType": kind, "digest": format!("sha256:{digits}"), "size": text.len()})
}

#[test]
fn name_of_images_for_several_machines_is_the_one_for_this_or_for_that_which_is_named() {
    let Some(registry) = Registry::new() else { return };
    let host = &registry.host;
    let layout = host.directory().join("layout");
    let read = |path: &str| std::fs::read_to_string(layout.join(path)).expect("there");
    let blob = |described: &Value| {
        let digest = described["digest"].as_str().expect("text");
        read(&format!("blobs/sha256/{}", &digest["sha256:".len()..]))
    };
    let mut index: Value = serde_json::from_str(&read("index.json")).expect("JSON");
    let mut own = index["manifests"][0].clone();
    let mut manifest: Value = serde_json::from_str(&blob(&own)).expect("JSON");
    let mut config: Value = serde_json::from_str(&blob(&manifest["config"])).expect("JSON");
    own["platform"] = json!({"os": "linux", "architecture": config["architecture"]});
    config["architecture"] = json!("s390x");
    let kind = |described: &Value| described["mediaType"].as_str().expect("text").to_owned();
    manifest["config"] = put(&layout, &kind(&manifest["config"]), &config.to_string());
    let mut other = put(&layout, &kind(&own), &manifest.to_string());
    other["platform"] = json!({"os": "linux", "architecture": "s390x"});
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let all = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [other, own]}).to_string();
    index["manifests"] = json!([put(&layout, INDEX, &all)]);
    std::fs::write(layout.join("index.json"), index.to_string()).expect("written");

    const NAME: &str = "127.0.0.1:5000/team/several:v1";
    let (from, to) = (format!("oci:{}", layout.display()), format!("docker://{NAME}"));
    skopeo(host, &["copy", "--all", "--quiet", "--dest-tls-verify=false", &from, &to]);
    let pulled = registry.rabbitc("pull", &["-q", NAME]).text().to_owned();
    assert_eq!(json!(pulled), index["manifests"][0]["digest"], "it is called by the digest of the index");
    let shown = registry.rabbitc("inspect", &["-f", "{{.Digest}} {{.Architecture}}", NAME]).text().to_owned();
    assert!(shown.starts_with(own["digest"].as_str().expect("text")) && !shown.contains("s390x"), "{shown}");
    assert_eq!(registry.run(&[NAME]).stdout, SEEN);
    // The same image by the digest of the index, by its own, and without an index: it is here.
    for name in [format!("127.0.0.1:5000/team/several@{pulled}"), APP.to_owned()] {
        assert!(registry.rabbitc("pull", &[&name]).text().contains("here already"), "{name}");
    }
    let by_hand = format!("127.0.0.1:5000/team/several@{}", own["digest"].as_str().expect("text"));
    assert_eq!(digest_in(registry.rabbitc("pull", &["-q", &by_hand]).text()), own["digest"]);

    let ran = registry.rabbitc("pull", &["-q", "--platform=linux/s390x", NAME]);
    assert_eq!(ran.text(), pulled);
    let shown = registry.rabbitc("inspect", &["-f", "{{.Digest}} {{.Architecture}}", NAME]);
    assert_eq!(shown.text(), format!("{} s390x", other["digest"].as_str().expect("text")));
    registry
        .rabbitc("pull", &["--platform=linux/riscv64", NAME])
        .refuses(125, &["linux/riscv64", "linux/s390x"]);
    registry.end();
}
