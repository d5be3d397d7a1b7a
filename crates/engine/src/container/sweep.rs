//! What commands that were killed have left, and what nobody holds any more.

use runtime::ContainerId;
use runtime::lifecycle;
use runtime::state_dir::{self, Lock, StateRoot};

use super::Notice;
use crate::cni;
use crate::error::Error;
use crate::kept::Shown;
use crate::mount_points;
use crate::network::{self, Patience};
use crate::paths::EnginePaths;
use crate::user_namespace::leases;
use crate::volume_store;

/// Removes what killed commands left, and notes what could not be: somebody else's container is no reason to refuse this one.
pub(super) fn sweep_noting(paths: &EnginePaths, notices: &mut Vec<Notice>) {
    sweep(paths, &mut |error: Error| {
        notices.push(Notice {
            what: format!("remains of a dead container: {error}"),
            remedy: error.hint.clone(),
        });
    });
}

/// Removes what killed commands left: containers whose supervisor is gone, mount points and networks nobody uses.
pub(crate) fn sweep(paths: &EnginePaths, failed: &mut dyn FnMut(Error)) {
    let mut ended = Vec::new();
    let mut note = |record: &state_dir::Record| ended.push((record.id.clone(), record.caller.clone()));
    let root = StateRoot::new(paths.containers());
    let swept = lifecycle::sweep(&root, &mut note, failed);
    for (id, caller) in ended {
        let shown: Shown = serde_json::from_value(caller).unwrap_or_default();
        volume_store::sweep_after(&id, &shown.mounts, paths).into_iter().for_each(&mut *failed);
    }
    let mut swept = swept.unwrap_or_else(|error| {
        failed(error);
        Vec::new()
    });
    swept.extend(sweep_ended(&root, failed));
    // Also of one that was killed before it had a record.
    cni::sweep(paths, failed);
    match swept.is_empty() {
        true => mount_points::sweep(&paths.roots(), failed),
        false => release_unheld(paths, failed),
    }
}

/// Removes what there still is of containers that lived on and have ended, where whoever stood behind them was killed: how they ended
/// is told elsewhere.
fn sweep_ended(root: &StateRoot, failed: &mut dyn FnMut(Error)) -> Vec<ContainerId> {
    let mut swept = Vec::new();
    for id in root.list().unwrap_or_default() {
        let Ok(state) = root.open(&id, Lock::No) else { continue };
        if !state.try_lock() {
            continue;
        }
        let Ok(record) = state.read() else { continue };
        if record.dies_with_launcher || lifecycle::init(&record).is_some() {
            continue;
        }
        match lifecycle::remove(state, &record) {
            Ok(_) => swept.push(id),
            Err(error) => failed(error),
        }
    }
    swept
}

/// Removes what nobody holds any more of mount points, ids, labels and networks.
pub(crate) fn release_unheld(paths: &EnginePaths, failed: &mut dyn FnMut(Error)) {
    cni::sweep(paths, failed);
    mount_points::sweep(&paths.roots(), failed);
    leases::sweep(&paths.user_ids(), failed);
    leases::sweep(&paths.labels(), failed);
    network::tidy(paths, Patience::None, failed);
}
