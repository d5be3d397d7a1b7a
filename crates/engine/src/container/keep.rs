//! The directory in which what a container writes stays, and the record of it.

use std::path::PathBuf;

use runtime::ContainerId;
use runtime::plan::{MemoryFile, OwnFile};
use runtime::spec::Spec;

use super::{Birth, Effects};
use crate::error::{Error, Result};
use crate::host_root;
use crate::kept::{KeptRoot, Lease, Record, Shown, Stay};
use crate::options::{FileOptions, RootOptions, RunOptions};

/// What a draft has found out that the record tells.
pub(super) struct Found<'a> {
    pub(super) spec: &'a Spec,
    pub(super) files: &'a [OwnFile],
    pub(super) memory_files: &'a [MemoryFile],
    pub(super) hidden: &'a [String],
    pub(super) shown: &'a Shown,
    /// Its files as they are with volumes that have names.
    pub(super) with_volumes: Option<&'a FileOptions>,
}

/// Makes the directory in which what the container writes stays, if that is asked for; of one that is there, notes what is
/// mounted in it now.
pub(super) fn keep(
    options: &RunOptions,
    ordinary_user: bool,
    id: &ContainerId,
    birth: Birth<'_>,
    found: &Found<'_>,
    effects: Effects,
) -> Result<Option<Lease>> {
    let note = |record: &mut Record, submounts: Vec<PathBuf>| {
        let points = found.spec.mounts.iter().map(|mount| PathBuf::from(&mount.destination));
        let files = found.files.iter().map(|file| PathBuf::from(file.destination));
        let in_memory = found.memory_files.iter().map(|file| PathBuf::from(&file.destination));
        record.points = points.chain(files).chain(in_memory).collect();
        record.hidden = found.hidden.iter().map(PathBuf::from).collect();
        record.volumes = match &options.files.root {
            RootOptions::Image(image) => image.volumes.iter().map(PathBuf::from).collect(),
            _ => Vec::new(),
        };
        record.filled = true;
        record.submounts = submounts;
        record.shown = found.shown.clone();
    };
    let submounts = || match options.files.root {
        RootOptions::Host if !ordinary_user => host_root::submounts(),
        _ => Ok(Vec::new()),
    };
    let name = match birth {
        Birth::New { name } => name.unwrap_or_default(),
        Birth::Again(mut lease) => {
            let submounts = submounts()?;
            lease.edit(|record| {
                note(record, submounts);
                // The next start takes the same ones.
                if let (Some(asked), Some(files)) = (&mut record.asked, found.with_volumes) {
                    asked.options.files =
                        FileOptions { root: asked.options.files.root.clone(), ..files.clone() };
                }
            })?;
            return Ok(Some(*lease));
        }
    };
    let Some((containers, stay)) = &options.stay else { return Ok(None) };
    let refuse =
        |reason: &str, hint: &str| Err(Error::invalid("--rm=false", reason.to_owned()).with_hint(hint));
    match &options.files.root {
        RootOptions::Directory(_) if *stay == Stay::Kept => {
            return refuse(
                "what a container writes to a directory stays there anyway",
                "leave it out; or write `--overlay` to have it apart",
            );
        }
        RootOptions::Host if ordinary_user && *stay == Stay::Kept => {
            return refuse(
                "of the host's root nothing can be kept without root of the host",
                "run it with sudo, or use an image",
            );
        }
        _ => {}
    }
    if effects == Effects::None {
        return Ok(None);
    }
    let mut record = Record::new(id.as_str(), KeptRoot::of(&options.files.root)?, &options.process.command);
    record.name = name.to_owned();
    record.stay = *stay;
    note(&mut record, submounts()?);
    containers.begin(record).map(Some)
}
