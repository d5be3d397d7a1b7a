//! What is in a volume, as an archive: written out, and brought in.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use image::pack::{Form, pack};
use image::unpack::{Copied, Owners, Replaces, RootEntry, copied};
use runtime::ErrorKind;
use rustix::fs::{FlockOperation, Mode, OFlags};

use super::{Lock, Volume, VolumeStore, no_such};
use crate::error::{Error, Result, from_image};
use crate::images::has_one_id;

impl VolumeStore {
    /// Writes all that is in a volume to `out`, as a tar archive.
    pub fn export(&self, name: &str, out: &mut dyn Write) -> Result<()> {
        let (root, _lock) = self.hold("export", name)?;
        pack(root.as_fd(), Form::Tree, &BTreeSet::new(), out).map_err(from_image)
    }

    /// Puts what is in a tar archive, compressed or not, into a volume: over what is there. What could not be had is counted.
    pub fn import(&self, name: &str, archive: impl Read) -> Result<u64> {
        let (root, _lock) = self.hold("import", name)?;
        let owners = if has_one_id() { Owners::Unpackers } else { Owners::Named };
        let how = Copied {
            renamed: None,
            owner: None,
            owners,
            replaces: Replaces::Anything,
            root: RootEntry::Taken,
        };
        let left_out = copied(archive, root.as_fd(), &how).map_err(from_image)?;
        Ok(left_out.devices + left_out.attributes + left_out.owners)
    }

    /// What is in a volume, and a share of its lock, so that nobody removes it meanwhile.
    fn hold(&self, verb: &str, name: &str) -> Result<(File, File)> {
        let path = self.directory(verb, name)?.mountpoint;
        let Lock::Held(lock) = self.lock(name, FlockOperation::LockShared)? else {
            return Err(no_such(&format!("{verb} the volume `{name}`")));
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&path, flags, Mode::empty());
        Ok((opened.map_err(|error| Error::at_path("open", &path, error))?.into(), lock))
    }

    /// The volume of this name, if what is in it is a directory of its own.
    pub fn directory(&self, verb: &str, name: &str) -> Result<Volume> {
        let volume = self.find(name)?;
        if volume.options.is_empty() {
            return Ok(volume);
        }
        let reason = "what it has is mounted for its containers alone";
        let error = Error::new(ErrorKind::Unsupported, format!("{verb} the volume `{name}`"), reason);
        Err(error
            .with_hint("look into it from a container: `rabbitc run --rm -v NAME:/v IMAGE tar -C /v -c .`"))
    }
}
