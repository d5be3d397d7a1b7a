//! Layers as builders write them, and as attackers do. Each is unpacked beside something that must stay as it is.

mod bounds;
mod formats;
mod hostile;
mod kinds;
mod random;
mod served;
mod whiteouts;

use std::fs::{File, Metadata};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::error::{Error, Kind, Result};

const OPTIONS: Options = Options {
    whiteouts: Whiteouts::Trusted,
    devices: Devices::Made,
    owners: Owners::Named,
    limits: Limits {
        entries: 100_000,
        bytes: 64 << 20,
        ratio: 200,
        ratio_from: 1 << 20,
        depth: 256,
        path_bytes: 4095,
        attribute_bytes: 64 << 10,
    },
};

/// A directory with an empty tree in it, and beside it something that must stay as it is. Gone with its value.
struct Place {
    path: PathBuf,
}

impl Place {
    fn new(name: &str) -> Place {
        let path = crate::scratch::directory(&format!("unpack-{name}"));
        std::fs::create_dir(path.join("tree")).expect("made");
        std::fs::create_dir(path.join("beside")).expect("made");
        std::fs::write(path.join("beside/file"), "untouched").expect("written");
        Place { path }
    }

    fn tree(&self) -> PathBuf {
        self.path.join("tree")
    }

    fn beside(&self) -> String {
        self.path.join("beside").to_str().expect("text").to_owned()
    }

    fn unpack(&self, archive: &[u8]) -> Result<Unpacked> {
        self.unpack_with(archive, &OPTIONS)
    }

    fn unpack_with(&self, archive: &[u8], options: &Options) -> Result<Unpacked> {
        let tree = File::open(self.tree()).expect("there");
        let before = std::fs::symlink_metadata(self.path.join("beside/file")).expect("there");
        let unpacked = layer(archive, tree.as_fd(), options);
        self.is_as_before(&before);
        unpacked
    }

    fn is_as_before(&self, before: &Metadata) {
        let facts = |found: &Metadata| {
            (
                found.ino(),
                found.mode(),
                found.nlink(),
                found.uid(),
                found.gid(),
                found.ctime(),
                found.ctime_nsec(),
            )
        };
        let file = self.path.join("beside/file");
        assert_eq!(
            facts(&std::fs::symlink_metadata(&file).expect("there")),
            facts(before),
            "{}",
            file.display()
        );
        assert_eq!(std::fs::read_to_string(&file).expect("there"), "untouched");
        assert_eq!(std::fs::read_dir(self.path.join("beside")).expect("there").count(), 1, "made outside");
        assert_eq!(std::fs::read_dir(&self.path).expect("there").count(), 2, "made outside");
    }

    /// Unpacks what must be refused, for this reason.
    fn refuses(&self, archive: &mut Builder, kind: Kind, reason: &str) -> Error {
        let error = self.unpack(&archive.ended()).expect_err(reason);
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(error.kind, kind, "{error}");
        error
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.tree().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn found(&self, path: impl AsRef<Path>) -> Metadata {
        let path = path.as_ref();
        std::fs::symlink_metadata(self.tree().join(path)).unwrap_or_else(|error| panic!("{path:?}: {error}"))
    }

    fn is_there(&self, path: &str) -> bool {
        std::fs::symlink_metadata(self.tree().join(path)).is_ok()
    }

    fn attribute(&self, path: &str, name: &str) -> Option<Vec<u8>> {
        let mut value = [0u8; 256];
        let read = rustix::fs::lgetxattr(self.tree().join(path), name, &mut value[..]);
        read.ok().map(|length| value[..length].to_vec())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// An archive in the making; what it is told is written, legal or not.
#[derive(Default)]
struct Builder(Vec<u8>);

/// The fields of a header that some entry has in its own way.
struct Fields<'a> {
    flag: u8,
    name: &'a [u8],
    link: &'a [u8],
    mode: u32,
    owner: (u32, u32),
    size: Option<u64>,
    device: (u32, u32),
}

impl Default for Fields<'_> {
    fn default() -> Self {
        let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        Fields { flag: b'0', name: b"", link: b"", mode: 0o644, owner, size: None, device: (0, 0) }
    }
}

impl Builder {
    fn entry(&mut self, fields: &Fields<'_>, content: &[u8]) -> &mut Builder {
        let mut block = [0u8; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, fields.name);
        put(100, format!("{:07o}", fields.mode).as_bytes());
        // Base 256, as octal digits do not reach far enough.
        put(108, &[&[0x80, 0, 0, 0][..], &fields.owner.0.to_be_bytes()].concat());
        put(116, &[&[0x80, 0, 0, 0][..], &fields.owner.1.to_be_bytes()].concat());
        put(
            124,
            &[&[0x80, 0, 0, 0][..], &fields.size.unwrap_or(content.len() as u64).to_be_bytes()].concat(),
        );
        put(136, format!("{:011o}", 1_700_000_000).as_bytes());
        put(156, &[fields.flag]);
        put(157, fields.link);
        put(257, b"ustar  \0");
        put(329, format!("{:07o}", fields.device.0).as_bytes());
        put(337, format!("{:07o}", fields.device.1).as_bytes());
        self.block(block).content(content)
    }

    /// A header with its checksum.
    fn block(&mut self, mut block: [u8; 512]) -> &mut Builder {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&block);
        self
    }

    fn content(&mut self, content: &[u8]) -> &mut Builder {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(&mut self, name: impl AsRef<[u8]>, content: &str) -> &mut Builder {
        self.entry(&Fields { name: name.as_ref(), ..Fields::default() }, content.as_bytes())
    }

    fn directory(&mut self, name: &str) -> &mut Builder {
        self.entry(&Fields { flag: b'5', name: name.as_bytes(), mode: 0o755, ..Fields::default() }, b"")
    }

    fn link(&mut self, name: &str, text: &str) -> &mut Builder {
        let (name, link) = (name.as_bytes(), text.as_bytes());
        self.entry(&Fields { flag: b'2', name, link, mode: 0o777, ..Fields::default() }, b"")
    }

    fn hard(&mut self, name: &str, target: &str) -> &mut Builder {
        self.entry(
            &Fields { flag: b'1', name: name.as_bytes(), link: target.as_bytes(), ..Fields::default() },
            b"",
        )
    }

    fn node(&mut self, flag: u8, name: &str, device: (u32, u32)) -> &mut Builder {
        self.entry(&Fields { flag, name: name.as_bytes(), device, ..Fields::default() }, b"")
    }

    /// Extended headers of the next entry.
    fn pax(&mut self, values: &[(&str, &[u8])]) -> &mut Builder {
        let mut content = Vec::new();
        for (key, value) in values {
            let rest = key.len() + value.len() + 3;
            let length = (1..).map(|digits| rest + digits).find(|all| all.to_string().len() + rest == *all);
            content.extend_from_slice(format!("{} {key}=", length.expect("some number")).as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.entry(&Fields { flag: b'x', name: b"PaxHeaders/x", ..Fields::default() }, &content)
    }

    /// With the two blocks that end it.
    fn ended(&mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        std::mem::take(&mut self.0)
    }
}

/// Whether the test can go on; it says so if not.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}
