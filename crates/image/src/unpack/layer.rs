//! One entry after the other, from the archive to the tree. Must not open anything itself.

use std::io::Read;
use std::os::fd::BorrowedFd;

use super::archive::{Archive, Entry, EntryKind};
use super::fault::{Fault, Outcome, shown};
use super::name::{Meaning, Name};
use super::tree::Tree;
use super::{Limits, Options, Unpacked};
use crate::error::Result;

/// What fails where no entry is known.
const OPERATION: &str = "unpack a layer";

/// Unpacks `archive`, compressed or not, into the directory `tree`, which has the mode that the root of a layer gets that says
/// nothing of it. A tree that this failed on is good for nothing.
pub fn layer(archive: impl Read, tree: BorrowedFd<'_>, options: &Options) -> Result<Unpacked> {
    let general = |fault: Fault| fault.during(OPERATION);
    let mut archive = Archive::new(archive, options.limits).map_err(general)?;
    let mut tree = Tree::new(tree, *options);
    let (mut entries, mut content) = (0, 0u64);
    loop {
        let entry = archive.next().map_err(|(name, fault)| fault.during(operation(&name)))?;
        let Some(entry) = entry else { break };
        entries += 1;
        content = unpack(&entry, content, &mut archive, &mut tree, &options.limits)
            .map_err(|fault| fault.during(operation(&entry.name)))?;
    }
    let left_out = tree.left_out;
    tree.finish().map_err(general)?;
    let (diff_id, size) = archive.finish().map_err(general)?;
    Ok(Unpacked { diff_id, size, entries, content, left_out })
}

fn operation(name: &[u8]) -> String {
    if name.is_empty() { OPERATION.to_owned() } else { format!("unpack `{}`", shown(name)) }
}

/// Makes what an entry tells of; the bytes of all files, with this one.
fn unpack<R: Read>(
    entry: &Entry,
    content: u64,
    archive: &mut Archive<R>,
    tree: &mut Tree<'_>,
    limits: &Limits,
) -> Outcome<u64> {
    let name = Name::parse(&entry.name, limits)?;
    match name.meaning()? {
        Meaning::Itself => {}
        Meaning::Note => return Ok(content),
        Meaning::Hides(hidden) => return tree.hide(&name, &hidden).map(|()| content),
        Meaning::HidesAll => return tree.hide_all(&name).map(|()| content),
    }
    if name.is_root() && entry.kind != EntryKind::Directory {
        return Err(Fault::corrupt("it stands for the root of the layer, and is no directory"));
    }
    match entry.kind {
        EntryKind::File => {
            let all = content.checked_add(entry.size).filter(|all| *all <= limits.bytes);
            let all = all.ok_or_else(|| {
                Fault::too_much(format!("with it the files have more than {} bytes", limits.bytes))
            })?;
            tree.file(&name, entry, archive)?;
            return Ok(all);
        }
        EntryKind::HardLink => tree.hard_link(&name, entry)?,
        EntryKind::SymbolicLink => tree.symbolic_link(&name, entry)?,
        EntryKind::Directory => tree.directory(&name, entry)?,
        // What hides a file in an overlay, written as one: docker's and podman's overlays take it for that too.
        EntryKind::CharacterDevice if entry.device == (0, 0) => tree.hide(&name, &name.last)?,
        EntryKind::CharacterDevice | EntryKind::BlockDevice | EntryKind::Fifo => tree.node(&name, entry)?,
    }
    Ok(content)
}
