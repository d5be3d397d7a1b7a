//! Images and archives as an attacker makes them, legal or not.

use super::*;

pub(super) fn digest(bytes: &[u8]) -> String {
    let mut command = Command::new("sha256sum");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it is there");
    child.stdin.take().expect("piped").write_all(bytes).expect("it reads");
    let said = child.wait_with_output().expect("it ends").stdout;
    format!("sha256:{}", String::from_utf8_lossy(&said[..64]))
}

/// An image: what it consists of, and how its manifest is described.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) blobs: BTreeMap<String, Vec<u8>>,
    pub(super) layers: Vec<Value>,
    pub(super) config: Value,
    pub(super) top: Value,
}

impl Image {
    /// Of archives that are not compressed.
    pub(super) fn of(archives: &[Vec<u8>]) -> Image {
        let diff_ids: Vec<String> = archives.iter().map(|archive| digest(archive)).collect();
        let layers =
            archives.iter().map(|archive| (archive.clone(), "application/vnd.oci.image.layer.v1.tar"));
        Image::with(layers.collect(), &diff_ids)
    }

    pub(super) fn with(layers: Vec<(Vec<u8>, &str)>, diff_ids: &[String]) -> Image {
        let mut image =
            Image { blobs: BTreeMap::new(), layers: Vec::new(), config: Value::Null, top: Value::Null };
        image.layers = layers.into_iter().map(|(bytes, kind)| image.put(kind, bytes)).collect();
        let machine = std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64");
        let config = json!({"architecture": machine, "os": "linux",
            "config": {"Entrypoint": ["/bin/sh", "-c"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        image.config = image.put("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
        let (config, layers) = (image.config.clone(), image.layers.clone());
        image.manifest(&json!({"config": config, "layers": layers}));
        image
    }

    /// Keeps a blob, and describes it.
    pub(super) fn put(&mut self, kind: &str, bytes: Vec<u8>) -> Value {
        let digest = digest(&bytes);
        let described = json!({"mediaType": kind, "digest": digest, "size": bytes.len()});
        self.blobs.insert(digest, bytes);
        described
    }

    /// Has it another manifest, with these fields.
    pub(super) fn manifest(&mut self, fields: &Value) {
        let mut all = json!({"schemaVersion": 2, "mediaType": MANIFEST});
        all.as_object_mut().expect("fields").extend(fields.as_object().expect("fields").clone());
        self.top = self.put(MANIFEST, all.to_string().into_bytes());
    }

    /// The same, with another description of its only layer.
    pub(super) fn described(mut self, key: &str, value: Value) -> Image {
        self.layers[0][key] = value;
        let (config, layers) = (self.config.clone(), self.layers.clone());
        self.manifest(&json!({"config": config, "layers": layers}));
        self
    }

    /// The same, where its only layer has other bytes than its digest says.
    pub(super) fn holding(mut self, bytes: &[u8]) -> Image {
        self.blobs.insert(self.layers[0]["digest"].as_str().expect("text").to_owned(), bytes.to_vec());
        self
    }
}

/// An archive in the making, legal or not.
#[derive(Default)]
pub(super) struct Archive(pub(super) Vec<u8>);

impl Archive {
    pub(super) fn entry(
        mut self,
        flag: u8,
        name: &str,
        link: &str,
        device: (u32, u32),
        content: &[u8],
    ) -> Archive {
        let mut block = [0u8; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, b"0000755\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}", content.len()).as_bytes());
        put(136, b"14000000000");
        put(148, b"        ");
        put(156, &[flag]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}", device.0).as_bytes());
        put(337, format!("{:07o}", device.1).as_bytes());
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn file(self, name: &str, content: &str) -> Archive {
        self.entry(b'0', name, "", (0, 0), content.as_bytes())
    }

    pub(super) fn link(self, name: &str, to: &str) -> Archive {
        self.entry(b'2', name, to, (0, 0), b"")
    }

    pub(super) fn hard(self, name: &str, to: &str) -> Archive {
        self.entry(b'1', name, to, (0, 0), b"")
    }

    pub(super) fn node(self, name: &str, device: (u32, u32)) -> Archive {
        self.entry(b'3', name, "", device, b"")
    }

    /// An extended header of the next entry.
    pub(super) fn with(self, values: &[(&str, &str)]) -> Archive {
        let record = |(key, value): &(&str, &str)| {
            let rest = key.len() + value.len() + 3;
            let length = (1..).map(|digits| rest + digits).find(|all| all.to_string().len() + rest == *all);
            format!("{} {key}={value}\n", length.expect("some number"))
        };
        let records: String = values.iter().map(record).collect();
        self.entry(b'x', "PaxHeaders/x", "", (0, 0), records.as_bytes())
    }

    pub(super) fn ended(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}
