//! A walk through directories that overlays show as one, by their own rules (overlayfs.rst, "whiteouts and opaque directories"):
//! nothing is mounted for it, and what is mounted anywhere is neither entered nor read.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::walk::{Found, Hides, at, is_whiteout, names};
use crate::error::Result;

/// An overlay of a tree.
#[derive(Debug)]
pub struct Overlay {
    /// Where in the tree it is: empty is its root.
    pub point: Vec<u8>,
    /// What it shows, the topmost first. Each is open at all depths at once, so that they are to be few.
    pub layers: Vec<OwnedFd>,
}

/// Goes through all that `overlays` show, parents first, names in order; there is one for the root. Of the directories `closed`
/// nothing is shown but that they are there. What goes meanwhile is passed over: below an overlay, others live on.
pub fn walk_merged(
    overlays: &[Overlay],
    closed: &BTreeSet<Vec<u8>>,
    visit: &mut dyn FnMut(&Found<'_>) -> Result<()>,
) -> Result<()> {
    let mut walk = Walk { overlays, closed, visit };
    match overlays.iter().find(|overlay| overlay.point.is_empty()) {
        Some(root) => walk.below(&root.layers, &mut Vec::new()),
        None => Ok(()),
    }
}

struct Walk<'a> {
    overlays: &'a [Overlay],
    closed: &'a BTreeSet<Vec<u8>>,
    visit: &'a mut dyn FnMut(&Found<'_>) -> Result<()>,
}

impl Walk<'_> {
    /// `layers` are one directory, the topmost first.
    fn below(&mut self, layers: &[OwnedFd], path: &mut Vec<u8>) -> Result<()> {
        let mut found: BTreeMap<CString, usize> = BTreeMap::new();
        for (number, layer) in layers.iter().enumerate() {
            for name in names(layer.as_fd(), path)? {
                found.entry(name).or_insert(number);
            }
        }
        for (name, first) in found {
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend(name.to_bytes());
            match self.overlays.iter().find(|overlay| overlay.point == *path) {
                Some(overlay) => self.overlay(overlay, path)?,
                None => self.entry(&layers[first..], &name, path)?,
            }
            path.truncate(length);
        }
        Ok(())
    }

    /// What is mounted here shows itself, and not the directory that it is mounted on.
    fn overlay(&mut self, overlay: &Overlay, path: &mut Vec<u8>) -> Result<()> {
        let Some(top) = overlay.layers.first() else { return Ok(()) };
        let stat = rustix::fs::fstat(top).map_err(|error| at(path, "examine", error))?;
        (self.visit)(&Found { path, directory: top.as_fd(), name: c".", stat, hides: Hides::Nothing })?;
        match self.closed.contains(path.as_slice()) {
            true => Ok(()),
            false => self.below(&overlay.layers, path),
        }
    }

    /// An entry that the first of `layers` has, and others may have.
    fn entry(&mut self, layers: &[OwnedFd], name: &CStr, path: &mut Vec<u8>) -> Result<()> {
        let mut merged = Vec::new();
        for (number, layer) in layers.iter().enumerate() {
            let stat: Stat = match rustix::fs::statat(layer, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(at(path, "examine", error)),
            };
            let mut found = Found { path, directory: layer.as_fd(), name, stat, hides: Hides::Nothing };
            // The lowest has nothing to hide: such attributes there are those of other overlays.
            if number + 1 < layers.len() {
                found.find_hidden()?;
            }
            if is_whiteout(&found.stat) {
                break;
            }
            let hides = std::mem::replace(&mut found.hides, Hides::Nothing);
            let is_directory = found.kind() == FileType::Directory;
            if merged.is_empty() {
                (self.visit)(&found)?;
            }
            if !is_directory || self.closed.contains(path.as_slice()) {
                break;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(layer, name, flags, Mode::empty()) {
                Ok(opened) => merged.push(opened),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(at(path, "open", error)),
            }
            if hides == Hides::Content {
                break;
            }
        }
        self.below(&merged, path)
    }
}
