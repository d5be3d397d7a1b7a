//! Publishing what a pull has brought: one syncfs for all that is there by then, and then everything gets its name. Small layers
//! come quicker than a disk says that it has them.

use std::fs::File;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::blobs::Partial;
use super::layers::Draft;
use super::{Layer, Store};
use crate::error::{Error, Result};
use crate::unpack::Unpacked;

/// How long others that are nearly there are waited for. Who wants one of these blobs, too, waits as long.
const GATHERING: Duration = Duration::from_millis(100);
/// How many wait at most: each has two descriptors.
pub(super) const MOST_WAITING: usize = 64;

/// A layer that has come and has no name yet.
#[derive(Debug)]
pub(super) struct Brought {
    /// Which layer of the image it is.
    pub(super) number: usize,
    pub(super) layer: Layer,
    /// None where it was unpacked before.
    pub(super) tree: Option<(Draft, Unpacked)>,
    /// Locked until it has its name; none where it was here before.
    pub(super) blob: Option<Partial>,
}

impl Store {
    /// What is to be synced for all that is written from now on: of errors before that it says nothing.
    pub(super) fn begin_to_publish(&self) -> Result<File> {
        File::open(&self.path).map_err(|error| Error::at_path("open", &self.path, error))
    }

    /// Publishes what is brought until nobody brings more. `root` was opened before anything was written. `told` hears what became
    /// of each.
    pub(super) fn publish_brought(
        &self,
        root: &File,
        brought: &Receiver<Brought>,
        told: &dyn Fn(usize, Result<Layer>),
    ) {
        while let Ok(first) = brought.recv() {
            let mut batch = vec![first];
            let end = Instant::now() + GATHERING;
            // It ends at once where nobody brings more.
            while batch.len() < MOST_WAITING
                && let Ok(more) = brought.recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                batch.push(more);
            }
            let durable = self.sync(root);
            for one in batch {
                let (number, published) = (one.number, durable.clone().and_then(|()| self.publish_one(&one)));
                told(number, published.map_err(|error| one.give_up(error)));
            }
        }
    }

    fn publish_one(&self, brought: &Brought) -> Result<Layer> {
        if let Some((draft, unpacked)) = &brought.tree {
            self.publish_layer(draft, unpacked, &brought.layer.blob)?;
        }
        if let Some(partial) = &brought.blob {
            self.publish_blob(partial)?;
        }
        Ok(brought.layer.clone())
    }
}

impl Brought {
    fn give_up(self, error: Error) -> Error {
        match self.blob {
            Some(partial) => partial.abandon(error),
            None => error,
        }
    }
}
