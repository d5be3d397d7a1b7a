//! An image into a registry: the blobs that it lacks, several at a time, and the manifest once all of them are there. The bytes
//! are those that were received, so that the digests are. What the store lacks of it comes from the registry that has it.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Client, Remote, Uploaded};
use crate::digest::Digest;
use crate::documents::{Descriptor, Document, Form, MOST_MANIFEST_BYTES};
use crate::error::{Error, Kind, Result};
use crate::store::{LayerState, Progress, Source, Store};

/// How many blobs are sent at a time: as many as are fetched.
const AT_ONCE: usize = 3;

/// What a push needs beside its image.
#[derive(Clone, Copy)]
pub struct PushOptions<'a> {
    /// The tag; the manifest's own digest where there is none.
    pub tag: Option<&'a str>,
    /// In whose words the manifest is to be; as it is, where nobody says so.
    pub form: Option<Form>,
    /// Who has the blobs that are not here.
    pub otherwise: Option<&'a Remote>,
    /// Another repository of the same registry that may have a blob.
    pub elsewhere: &'a (dyn Fn(&Digest) -> Option<String> + Sync),
    /// Who is told; what it calls fetched is sent here.
    pub progress: &'a dyn Progress,
    /// What errors begin with.
    pub operation: &'a str,
}

/// Pushes the image of a manifest; the descriptor of its manifest in the registry.
pub fn push(
    store: &Store,
    manifest: &Digest,
    client: &Client,
    options: PushOptions<'_>,
) -> Result<Descriptor> {
    let operation = options.operation;
    let mut text = store.read_blob(manifest, MOST_MANIFEST_BYTES)?;
    let own = Form::of(&text, operation)?;
    let form = options.form.unwrap_or(own);
    if form != own {
        text = form.write(&text, operation)?;
    }
    let Document::Manifest(manifest) = Document::parse(&text, Some(form.media_type()), operation)? else {
        return Err(Error::new(Kind::Corrupt, operation, "its manifest is an index"));
    };
    options.progress.begins(&manifest.layers);
    let mut blobs: Vec<&Descriptor> = manifest.layers.iter().collect();
    blobs.push(&manifest.config);
    send(store, &blobs, client, options)?;
    let wanted = options.tag.map_or_else(|| Digest::of(&text).to_string(), str::to_owned);
    let digest = client.put_manifest(&wanted, form.media_type(), &text)?;
    Ok(Descriptor {
        media_type: form.media_type().to_owned(),
        digest,
        size: text.len() as u64,
        urls: None,
        annotations: None,
        platform: None,
    })
}

/// Sends all blobs; the first error ends it.
fn send(store: &Store, blobs: &[&Descriptor], client: &Client, options: PushOptions<'_>) -> Result<()> {
    // The same layer twice is one.
    let is_first = |number: &usize| blobs[..*number].iter().all(|blob| blob.digest != blobs[*number].digest);
    let first: Vec<usize> = (0..blobs.len()).filter(is_first).collect();
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let work = || {
        while let Some(&number) = first.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = send_one(store, blobs[number], number, client, options) {
                failure.lock().expect("no thread panics while it holds it").get_or_insert(error);
                // Nobody begins another.
                next.store(first.len(), Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..first.len().min(AT_ONCE) {
            scope.spawn(work);
        }
        work();
    });
    failure.into_inner().expect("no thread panicked").map_or(Ok(()), Err)
}

fn send_one(
    store: &Store,
    blob: &Descriptor,
    number: usize,
    client: &Client,
    options: PushOptions<'_>,
) -> Result<()> {
    let path = store.blob_path(&blob.digest);
    let from = (options.elsewhere)(&blob.digest);
    let open = || {
        let bytes: Box<dyn Read + '_> = match (File::open(&path), options.otherwise) {
            (Err(error), Some(remote)) if error.kind() == io::ErrorKind::NotFound => remote.blob(blob)?,
            (file, _) => Box::new(file?),
        };
        Ok(Told { bytes, number, sent: 0, progress: options.progress })
    };
    let uploaded = client.push_blob(blob, from.as_deref(), open).map_err(|error| match error.errno {
        Some(_) if options.otherwise.is_none() && !path.exists() => {
            let reason = format!("`{}` is missing in the store", blob.digest);
            let error = Error::new(Kind::Corrupt, options.operation, reason);
            error.with_hint("remove the image and pull it again")
        }
        _ => error,
    })?;
    options.progress.layer(
        number,
        match uploaded {
            Uploaded::Existed | Uploaded::Mounted => LayerState::There,
            Uploaded::Sent => LayerState::Done,
        },
    );
    Ok(())
}

/// A blob that tells how much of it was read.
struct Told<'a> {
    bytes: Box<dyn Read + 'a>,
    number: usize,
    sent: u64,
    progress: &'a dyn Progress,
}

impl Read for Told<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.sent += count as u64;
        self.progress.layer(self.number, LayerState::Fetched(self.sent));
        Ok(count)
    }
}
