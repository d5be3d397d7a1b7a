//! What a person's volumes need on the host: that their propagation can work, and owners and labels that let the
//! container in. Goes by the descriptors that the plan has opened.

pub(crate) mod destinations;
mod walk;

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use runtime::ErrorKind;
use runtime::plan::{ContainerPlan, Preparation};
use runtime::spec::{IdMapping, Spec};
use rustix::fs::{AtFlags, Gid, StatxFlags, Uid, XattrFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::options::{BindRequest, FileOptions, MountKind, Propagation, Relabel};

/// Names of the preparations.
pub(crate) const CHOWN: &str = "change owners in volumes";
pub(crate) const RELABEL: &str = "label volumes";

/// What is to be done to the sources of volumes before the start.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    /// Places in the config's mounts, and the owner that everything there gets.
    owners: Vec<(usize, Uid, Gid)>,
    /// Places in the config's mounts, and the label.
    labels: Vec<(usize, String)>,
}

/// Checks what a person asks for against the host; nothing is touched.
pub(crate) fn check(options: &FileOptions, spec: &Spec, plan: &ContainerPlan) -> Result<()> {
    for (number, bind, flag) in binds(options, spec) {
        let Some(source) = plan.bind_source(number) else { continue };
        if bind.propagation != Propagation::Private {
            check_propagation(source, bind, flag)?;
        }
        if bind.chown || (bind.relabel.is_some() && selinux()) {
            refuse_system_directory(source, flag)?;
        }
        if bind.chown {
            refuse_others_files(source, container_user(spec, number), bind, flag)?;
        }
    }
    Ok(())
}

/// What is to be done for the volumes of `options`.
pub(crate) fn needs(options: &FileOptions, spec: &Spec) -> Volumes {
    let mut volumes = Volumes::default();
    for (number, bind, _) in binds(options, spec) {
        if bind.chown {
            let (uid, gid) = container_user(spec, number);
            volumes.owners.push((number, uid, gid));
        }
        if let Some(relabel) = bind.relabel
            && selinux()
        {
            volumes.labels.push((number, label(spec, relabel)));
        }
    }
    volumes
}

/// The user volumes' places in the config, which names each destination once.
fn binds<'a>(
    options: &'a FileOptions,
    spec: &'a Spec,
) -> impl Iterator<Item = (usize, &'a BindRequest, &'a str)> {
    options.mounts.iter().filter_map(|request| {
        let MountKind::Bind(bind) = &request.kind else { return None };
        let number = spec.mounts.iter().position(|mount| mount.destination == request.target)?;
        Some((number, bind, request.flag.as_str()))
    })
}

fn selinux() -> bool {
    runtime::plan::has_selinux()
}

impl Volumes {
    /// As steps of the start.
    pub(crate) fn preparations(&self, spec: &Spec) -> Vec<Preparation> {
        let sources = |numbers: &mut dyn Iterator<Item = usize>| {
            let paths: Vec<String> = numbers
                .map(|number| format!("`{}`", spec.mounts[number].source.as_deref().unwrap_or_default()))
                .collect();
            paths.join(", ")
        };
        let asked = |number: Option<usize>| number.map(|number| format!("mounts[{number}]"));
        let mut list = Vec::new();
        if !self.owners.is_empty() {
            list.push(Preparation {
                name: CHOWN,
                object: sources(&mut self.owners.iter().map(|(number, ..)| *number)),
                why: "everything in there is given to the container's user, who can then use it",
                asked_by: asked(self.owners.first().map(|(number, ..)| *number)),
            });
        }
        if !self.labels.is_empty() {
            list.push(Preparation {
                name: RELABEL,
                object: sources(&mut self.labels.iter().map(|(number, _)| *number)),
                why: "SELinux lets containers use only what is labelled for them",
                asked_by: asked(self.labels.first().map(|(number, _)| *number)),
            });
        }
        list
    }

    /// Changes owners. What was changed when it fails stays changed.
    pub(crate) fn change_owners(&self, plan: &ContainerPlan) -> Result<()> {
        for (number, uid, gid) in &self.owners {
            let Some(source) = plan.bind_source(*number) else { continue };
            walk::each(source, &mut |entry, status| {
                if (status.st_uid, status.st_gid) == (uid.as_raw(), gid.as_raw()) {
                    return Ok(());
                }
                rustix::fs::chownat(entry, c"", Some(*uid), Some(*gid), AtFlags::EMPTY_PATH)
            })
            .map_err(|(path, errno)| Error::at_path("change the owner of", &shown(source, &path), errno))?;
        }
        Ok(())
    }

    /// Labels.
    pub(crate) fn relabel(&self, plan: &ContainerPlan) -> Result<()> {
        for (number, label) in &self.labels {
            let Some(source) = plan.bind_source(*number) else { continue };
            walk::each(source, &mut |entry, _| {
                // By this link, as there is no such call on descriptors that were opened for no use; it leads to the
                // entry itself, also where that is a link.
                let path = format!("/proc/self/fd/{}", entry.as_raw_fd());
                match rustix::fs::setxattr(path, c"security.selinux", label.as_bytes(), XattrFlags::empty()) {
                    // A file system without labels: the whole mount has one.
                    Err(Errno::OPNOTSUPP) => Ok(()),
                    other => other,
                }
            })
            .map_err(|(path, errno)| Error::at_path("label", &shown(source, &path), errno))?;
        }
        Ok(())
    }
}

/// The owner on the disk of what the container's user can use in the mount of this number: itself where owners are
/// shown through the container's map, else who stands behind it on the host.
fn container_user(spec: &Spec, number: usize) -> (Uid, Gid) {
    let user = spec.process.as_ref().map(|process| (process.user.uid, process.user.gid)).unwrap_or_default();
    let mount = &spec.mounts[number];
    let mapped = mount.uid_mappings.is_some()
        || mount.options.iter().flatten().any(|option| option == "idmap" || option == "ridmap");
    let maps = spec.linux.as_ref().filter(|_| !mapped);
    // Who is in no map is refused by the plan; without maps the ids are the host's.
    let outside = |id: u32, maps: &[IdMapping]| IdMapping::host_id(maps, id).unwrap_or(id);
    let uid = maps.map_or(user.0, |linux| outside(user.0, &linux.uid_mappings));
    let gid = maps.map_or(user.1, |linux| outside(user.1, &linux.gid_mappings));
    (Uid::from_raw(uid), Gid::from_raw(gid))
}

/// The label of a volume: the type of the container's files, with the container's own level where it is private.
fn label(spec: &Spec, relabel: Relabel) -> String {
    let linux = spec.linux.as_ref();
    let files = linux.and_then(|linux| linux.mount_label.as_deref()).filter(|label| !label.is_empty());
    let files = files.unwrap_or("system_u:object_r:container_file_t:s0");
    match relabel {
        Relabel::Private => files.to_owned(),
        // Without categories every container may use it (selinux(8), multi-category security).
        Relabel::Shared => {
            let fields: Vec<&str> = files.splitn(4, ':').take(3).collect();
            format!("{}:s0", fields.join(":"))
        }
    }
}

/// Where the descriptor leads by now, for words.
pub(crate) fn place(source: BorrowedFd<'_>) -> PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{}", source.as_raw_fd())).unwrap_or_default()
}

fn shown(source: BorrowedFd<'_>, below: &Path) -> PathBuf {
    place(source).join(below)
}

/// Directories that the host's own programs need as they are: refused themselves.
const KEPT: [&str; 12] =
    ["/", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/var", "/var/lib", "/var/log"];

/// And those in which everything is.
const KEPT_WHOLE: [&str; 10] =
    ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr"];

fn refuse_system_directory(source: BorrowedFd<'_>, flag: &str) -> Result<()> {
    let path = place(source);
    let home = path.parent() == Some(Path::new("/home"));
    let kept = home
        || KEPT.iter().any(|kept| path == Path::new(kept))
        || KEPT_WHOLE.iter().any(|kept| path.starts_with(kept));
    if !kept {
        return Ok(());
    }
    let reason = format!("`{}` is the host's own, and other owners or labels would break it", path.display());
    let error = Error::invalid(flag, reason);
    Err(error.with_hint("leave `z`, `Z` and `U` out, or name a directory for containers alone"))
}

/// Only root gives files to somebody else, or takes theirs (chown(2)).
fn refuse_others_files(
    source: BorrowedFd<'_>,
    owner: (Uid, Gid),
    bind: &BindRequest,
    flag: &str,
) -> Result<()> {
    let found = rustix::fs::fstat(source)
        .map_err(|error| Error::at_path("examine", &bind.source, error).from_field(flag))?;
    let own = (rustix::process::geteuid(), rustix::process::getegid());
    let (uid, gid) = (owner.0.as_raw(), owner.1.as_raw());
    if own.0.is_root() || owner == own || (found.st_uid, found.st_gid) == (uid, gid) {
        return Ok(());
    }
    let reason =
        format!("the container's user is {uid}:{gid} on the host, and only root gives files to another user");
    let error = Error::new(ErrorKind::Permission, flag, reason);
    Err(error.with_hint(
        "leave `U` out, and let root of a container do it first: its ids are in reach there, as with \
                         `rabbitc -v DIRECTORY:/v -- chown -R USER /v`",
    ))
}

/// Mounts travel only where the host's own mount lets them.
fn check_propagation(source: BorrowedFd<'_>, bind: &BindRequest, flag: &str) -> Result<()> {
    let found = rustix::fs::statx(source, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        .map_err(|error| Error::at_path("examine", &bind.source, error).from_field(flag))?;
    let table = Path::new("/proc/self/mountinfo");
    let text = std::fs::read(table).map_err(|error| Error::at_path("read", table, error))?;
    let Some(mount) = sys::mount_table::entries(&text).find(|mount| mount.id == found.stx_mnt_id) else {
        return Ok(());
    };
    let point = mount.mount_point.display();
    if mount.has_tag("shared") || (mount.has_tag("master") && bind.propagation == Propagation::Slave) {
        return Ok(());
    }
    let word = if bind.propagation == Propagation::Shared { "shared" } else { "shared or a slave" };
    let reason = format!("`{}` lies on the mount `{point}`, which is not {word}", bind.source.display());
    let error = Error::new(ErrorKind::Invalid, flag, reason);
    Err(error.with_hint(format!("`mount --make-shared {point}` lets mounts travel")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_label_has_no_categories_and_the_private_one_is_the_containers() {
        let mut spec = Spec { linux: Some(runtime::spec::Linux::default()), ..Spec::default() };
        assert_eq!(label(&spec, Relabel::Shared), "system_u:object_r:container_file_t:s0");
        let linux = spec.linux.as_mut().expect("set");
        linux.mount_label = Some("system_u:object_r:data_t:s0:c1,c2".to_owned());
        assert_eq!(label(&spec, Relabel::Private), "system_u:object_r:data_t:s0:c1,c2");
        assert_eq!(label(&spec, Relabel::Shared), "system_u:object_r:data_t:s0");
    }

    #[test]
    fn host_directories_are_refused_and_others_are_not() {
        use std::os::fd::AsFd;
        let directory = |path: &str| std::fs::File::open(path).expect("every host has it");
        for path in ["/", "/usr", "/etc", "/usr/bin", "/tmp", "/proc/self"] {
            let error = refuse_system_directory(directory(path).as_fd(), "--volume x").expect_err(path);
            assert!(error.to_string().starts_with("--volume x: "), "{error}");
        }
        let own = std::env::temp_dir().join(format!("rabbitc-volumes-{}", std::process::id()));
        std::fs::create_dir(&own).expect("made");
        refuse_system_directory(directory(own.to_str().expect("text")).as_fd(), "--volume x").expect("legal");
        std::fs::remove_dir(&own).expect("removed");
    }
}
