//! In which mount namespaces images are mounted: what this process does not see as mounted may be so for others. Mounts nothing.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use image::store::{MountNamespace, NamespaceFile};
use runtime::caller::Caller;

use crate::error::{Error, Result};

/// The mount namespaces that threads are in, as far as this process may know.
#[derive(Debug)]
pub(super) struct Namespaces {
    own: MountNamespace,
    live: BTreeSet<NamespaceFile>,
    /// Whether a process of this user did not say in which it is.
    is_one_hidden: bool,
}

/// Where a noted mount is, as seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// In the namespace of this process.
    Here,
    /// In another one, or nobody here can know.
    Elsewhere,
    /// Nowhere: nobody is in its namespace any more, or the host was started anew.
    Nowhere,
}

impl Namespaces {
    /// Looks at all processes. To be called before this one enters a user namespace: it may ask nobody outside of it then.
    pub(super) fn look() -> Result<Namespaces> {
        let own = own()?;
        let found = sys::namespace::in_use("mnt")
            .map_err(|error| Error::system("look for mount namespaces in `/proc`", error))?;
        let live = found.files.into_iter().map(|(device, inode)| NamespaceFile { device, inode }).collect();
        // Those of others are not in a namespace of this user's. One that not even root of the host may look at, such as a
        // machine's own supervisor, is in none in which somebody mounts images.
        let user = rustix::process::geteuid().as_raw();
        let is_one_hidden = found.hidden.contains(&user) && Caller::find() != Caller::Root;
        Ok(Namespaces { own, live, is_one_hidden })
    }

    /// Where a mount is that was made in `noted`; older stores have not noted it.
    pub(super) fn whereabouts(&self, noted: Option<&MountNamespace>) -> Whereabouts {
        let Some(noted) = noted else { return Whereabouts::Here };
        if noted.boot != self.own.boot {
            return Whereabouts::Nowhere;
        }
        if noted.mounts == self.own.mounts {
            return Whereabouts::Here;
        }
        // From another pid namespace not all processes are seen.
        let is_seen = noted.processes == self.own.processes && !self.is_one_hidden;
        match is_seen && !self.live.contains(&noted.mounts) {
            true => Whereabouts::Nowhere,
            false => Whereabouts::Elsewhere,
        }
    }
}

/// Which start of the host this is.
pub(crate) fn boot_id() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let boot = std::fs::read_to_string(path).map_err(|error| Error::at_path("read", path, error))?;
    Ok(boot.trim().to_owned())
}

/// The namespace that this process mounts in.
pub(super) fn own() -> Result<MountNamespace> {
    let find = |path: &str| {
        let found = std::fs::metadata(path);
        found.map(|found| file(&found)).map_err(|error| Error::at_path("examine", Path::new(path), error))
    };
    Ok(MountNamespace {
        boot: boot_id()?,
        mounts: find("/proc/self/ns/mnt")?,
        processes: find("/proc/self/ns/pid")?,
    })
}

fn file(found: &std::fs::Metadata) -> NamespaceFile {
    NamespaceFile { device: found.dev(), inode: found.ino() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_is_nowhere_only_where_nobody_can_be_in_its_namespace() {
        let (one, two, three) = (1, 2, 3);
        let file = |inode| NamespaceFile { device: 4, inode };
        let namespace = |boot: &str, mounts, processes| MountNamespace {
            boot: boot.to_owned(),
            mounts: file(mounts),
            processes: file(processes),
        };
        let live = BTreeSet::from([file(one), file(two)]);
        let mut seen = Namespaces { own: namespace("now", one, one), live, is_one_hidden: false };
        for (noted, expected) in [
            (None, Whereabouts::Here),
            (Some(namespace("now", one, one)), Whereabouts::Here),
            (Some(namespace("now", two, one)), Whereabouts::Elsewhere),
            (Some(namespace("now", three, one)), Whereabouts::Nowhere),
            (Some(namespace("now", three, two)), Whereabouts::Elsewhere),
            (Some(namespace("before", one, one)), Whereabouts::Nowhere),
        ] {
            assert_eq!(seen.whereabouts(noted.as_ref()), expected, "{noted:?}");
        }
        seen.is_one_hidden = true;
        assert_eq!(seen.whereabouts(Some(&namespace("now", three, one))), Whereabouts::Elsewhere);
    }
}
