//! From volumes as they are asked for to directories that are there: those of other containers and of the image come in, each gets
//! its name, and is found or made.

use std::path::PathBuf;

use runtime::ErrorKind;

use super::lease::OwnVolumes;
use super::local::{Behind, behind};
use super::{DATA, VolumeLeases, VolumeStore, random_name};
use crate::container::Effects;
use crate::error::Result;
use crate::kept::{KeptContainers, Stay};
use crate::options::{
    Access, BindRequest, FileOptions, MountKind, MountRequest, RootOptions, RunOptions, Toggle,
    VolumeContent, VolumeRequest, VolumesFrom,
};
use crate::paths::EnginePaths;

/// Options whose volumes are there.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) options: RunOptions,
    /// Holds them; none where nothing may be made.
    pub(crate) leases: Option<VolumeLeases>,
    /// Those of them that a start would make first.
    pub(crate) made_later: Vec<PathBuf>,
}

/// Settles the volumes of `options`; none where they have none.
///
/// What comes out can be settled again: names stay.
pub(crate) fn settle(options: &RunOptions, paths: &EnginePaths, effects: Effects) -> Result<Option<Settled>> {
    let files = &options.files;
    if !files.may_need_volumes() {
        return Ok(None);
    }
    let store = match &files.volume_store {
        Some(store) => store.clone(),
        None => VolumeStore::of(None)?,
    };
    let mut options = options.clone();
    options.files.volume_store = Some(store.clone());
    for from in std::mem::take(&mut options.files.volumes_from) {
        let theirs = mounts_of(&store, &from, paths)?;
        take_volumes(&mut options.files, &from, theirs);
    }
    add_volumes_of_image(&mut options.files);
    let own = match options.stay {
        Some((_, Stay::Kept)) => OwnVolumes::Stay,
        Some((_, Stay::Removed)) | None => OwnVolumes::Go,
    };
    let mut leases = VolumeLeases::new(store.clone(), paths, own);
    let mut made_later = Vec::new();
    for mount in &mut options.files.mounts {
        let flag = mount.flag.clone();
        let MountKind::Bind(bind) = &mut mount.kind else { continue };
        let Some(request) = &mut bind.volume else { continue };
        if request.name.is_none() {
            request.name = Some(random_name::<32>()?);
        }
        let request = request.clone();
        match effects {
            Effects::Allowed => leases.take(bind, &request, &flag)?,
            Effects::None => made_later.extend(plan(&store, bind, &request)?),
        }
    }
    let leases = (effects == Effects::Allowed).then_some(leases);
    Ok(Some(Settled { options, leases, made_later }))
}

/// Where a volume is, or would be; the directory that a start would make first.
fn plan(store: &VolumeStore, bind: &mut BindRequest, request: &VolumeRequest) -> Result<Option<PathBuf>> {
    let name = request.name.as_deref().expect("each has one by now");
    let found = store.get(name)?;
    let options = found.as_ref().map_or(&request.settings.options, |found| &found.options);
    bind.source = match behind(options)? {
        Behind::Bind { device, reach, .. } => {
            bind.reach = reach;
            device
        }
        Behind::Directory | Behind::Mount { .. } => store.path.join(name).join(DATA),
    };
    if let Some(subpath) = &request.subpath {
        bind.source.push(subpath);
    }
    Ok((found.is_none() && !bind.source.exists()).then(|| bind.source.clone()))
}

/// The mounts of the container that is meant.
fn mounts_of(store: &VolumeStore, from: &VolumesFrom, paths: &EnginePaths) -> Result<Vec<MountRequest>> {
    let not_kept = match KeptContainers::beside(&store.path).find(&from.container) {
        Ok(kept) => return Ok(kept.mounts().to_vec()),
        Err(error) if error.kind == ErrorKind::NotFound => error,
        Err(error) => return Err(error.from_field("--volumes-from")),
    };
    let mut running = super::users::running(paths)?;
    running.retain(|(id, _)| id.starts_with(&from.container) && !from.container.is_empty());
    match running.len() {
        1 => Ok(running.remove(0).1.mounts),
        _ => Err(not_kept.from_field("--volumes-from")),
    }
}

/// Adds the mounts of another container, but for what is in memory and for places that are taken.
pub(crate) fn take_volumes(files: &mut FileOptions, from: &VolumesFrom, theirs: Vec<MountRequest>) {
    for mut mount in theirs {
        let MountKind::Bind(bind) = &mut mount.kind else { continue };
        if files.mounts.iter().any(|own| own.target == mount.target) {
            continue;
        }
        bind.access = match (from.access, bind.access) {
            // Who has no right to write there can't give one.
            (Some(Access::ReadOnly), Access::Writable) => Access::ReadOnly,
            (_, same) => same,
        };
        bind.relabel = from.relabel.or(bind.relabel);
        if let Some(volume) = &mut bind.volume {
            volume.content = VolumeContent::Nothing;
        }
        mount.flag = format!("--volumes-from {}", from.container);
        files.mounts.push(mount);
    }
}

/// Adds the directories for data that an image has; a person's own stand in their place.
fn add_volumes_of_image(files: &mut FileOptions) {
    let RootOptions::Image(image) = &files.root else { return };
    for target in image.volumes.clone() {
        if files.mounts.iter().any(|own| own.target == target) {
            continue;
        }
        let volume = VolumeRequest { anonymous: true, ..VolumeRequest::default() };
        let bind = BindRequest { volume: Some(volume), ..BindRequest::default() };
        files.mounts.push(MountRequest {
            flag: "the image".to_owned(),
            target,
            kind: MountKind::Bind(bind),
            exec: Toggle::Default,
            suid: Toggle::Default,
            dev: Toggle::Default,
        });
    }
}
