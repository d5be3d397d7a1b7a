//! Bringing an image into the store. A layer's bytes pass once: from the source through the digest into its blob and, by a
//! pipe, to what unpacks them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::blobs::Claim;
use super::images::now;
use super::layers::Draft;
use super::publish::{Brought, MOST_WAITING};
use super::until_over::UntilOver;
use super::{Image, Layer, Store, Unpacker};
use crate::digest::{self, Digest, Digester};
use crate::documents::{
    Descriptor, Document, ImageConfig, MOST_CONFIG_BYTES, MOST_MANIFEST_BYTES, Manifest, Platform,
};
use crate::error::{Error, Kind, Result};
use crate::unpack::{Limits, Unpacked};

/// How many layers are fetched at a time: as many as docker's, and more do not make a connection quicker.
const AT_ONCE: usize = 3;
/// How much is read at a time.
const CHUNK: usize = 128 << 10;

/// Where an image comes from: a registry, or an archive.
pub trait Source: Sync {
    /// What stands behind the name: its text, and its type by whoever has it.
    fn named(&self) -> Result<(Vec<u8>, Option<String>)>;
    /// A small blob or a manifest, whole; the caller checks its digest.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>>;
    /// The bytes of a blob; the caller checks size and digest.
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>>;
}

/// How far a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// It was here before.
    There,
    /// So many bytes have come.
    Fetched(u64),
    /// It is unpacked and published.
    Done,
}

/// Who is told how far a pull is. Told by several threads.
pub trait Progress: Sync {
    /// What will be fetched.
    fn begins(&self, layers: &[Descriptor]);
    /// How far layer `number` is.
    fn layer(&self, number: usize, state: LayerState);
}

/// Nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begins(&self, _: &[Descriptor]) {}
    fn layer(&self, _: usize, _: LayerState) {}
}

/// What a pull needs beside its source.
#[derive(Clone, Copy)]
pub struct PullOptions<'a> {
    /// What the image is for.
    pub platform: &'a Platform,
    /// What unpacks its layers.
    pub unpacker: &'a dyn Unpacker,
    /// Who is told.
    pub progress: &'a dyn Progress,
    /// What errors begin with.
    pub operation: &'a str,
}

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image, which is in the store.
    pub image: Image,
    /// By which digests the source has it: that of an index first.
    pub digests: Vec<Digest>,
    /// Whether it was here before, whole.
    pub was_there: bool,
}

/// What is done about an image that was found without a choice, and says that it is for another platform.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OfAnother {
    Taken,
    Refused,
}

impl Store {
    /// Brings the image that `source` has; it has no name yet.
    pub fn pull(&self, source: &dyn Source, options: PullOptions<'_>) -> Result<Pulled> {
        self.pull_or_refuse(source, options, OfAnother::Taken)
    }

    /// The same for somebody who has asked for the platform: where there is no other image than one for another platform, none of
    /// its layers is brought.
    pub fn pull_for_platform(&self, source: &dyn Source, options: PullOptions<'_>) -> Result<Pulled> {
        self.pull_or_refuse(source, options, OfAnother::Refused)
    }

    fn pull_or_refuse(
        &self,
        source: &dyn Source,
        options: PullOptions<'_>,
        of_another: OfAnother,
    ) -> Result<Pulled> {
        let operation = options.operation;
        let (text, kind) = source.named()?;
        let mut digests = vec![Digest::of(&text)];
        let (manifest, text) = match Document::parse(&text, kind.as_deref(), operation)? {
            Document::Manifest(manifest) => (manifest, text),
            Document::Index(index) => {
                let chosen = index.choose(options.platform, operation)?;
                let inner = document(source, chosen, MOST_MANIFEST_BYTES, operation)?;
                self.put_blob(&digests[0], &text)?;
                match Document::parse(&inner, Some(&chosen.media_type), operation)? {
                    Document::Manifest(manifest) => (manifest, inner),
                    // An index of indexes is legal, and nobody writes one but to have its reader run in circles.
                    Document::Index(_) => {
                        return Err(Error::new(Kind::Corrupt, operation, "its index leads to another index"));
                    }
                }
            }
        };
        manifest.check_image(operation)?;
        let digest = Digest::of(&text);
        // Whoever wrote an index has said what its images are for.
        let is_refused = of_another == OfAnother::Refused && digest == digests[0];
        if digest != digests[0] {
            digests.push(digest.clone());
        }
        if let Some(image) = self.image(&digest)?
            && self.is_whole(&image)
        {
            if is_refused {
                check_platform(&self.configuration(&image)?, options)?;
            }
            return Ok(Pulled { image, digests, was_there: true });
        }
        let config = self.configuration_of(source, &manifest, operation)?;
        if is_refused {
            check_platform(&config, options)?;
        }
        let layers = self.bring_layers(source, &manifest, &config, options)?;
        self.put_blob(&digest, &text)?;
        let image = Image {
            id: manifest.config.digest.clone(),
            manifest: digest,
            layers,
            created: config.created(),
            stored: now(),
        };
        self.sync_names(&image)?;
        self.keep(&image)?;
        Ok(Pulled { image, digests, was_there: false })
    }

    /// Whether all of an image is there: blobs and layers may have been damaged by hand.
    pub fn is_whole(&self, image: &Image) -> bool {
        self.has_blob(&image.id)
            && self.has_blob(&image.manifest)
            && image.layers.iter().all(|layer| self.has_layer(&layer.diff_id) && self.has_blob(&layer.blob))
    }

    fn configuration_of(
        &self,
        source: &dyn Source,
        manifest: &Manifest,
        operation: &str,
    ) -> Result<ImageConfig> {
        let digest = &manifest.config.digest;
        let parse = |text: &[u8]| ImageConfig::parse(text, manifest.layers.len(), operation);
        match self.claim_blob(digest)? {
            Claim::There => parse(&self.read_blob(digest, MOST_CONFIG_BYTES)?),
            Claim::Ours(partial) => {
                let fetched = document(source, &manifest.config, MOST_CONFIG_BYTES, operation)
                    .and_then(|text| Ok((parse(&text)?, text)));
                let (config, text) = fetched.map_err(|error| partial.abandon(error))?;
                self.write_blob(partial, &text)?;
                Ok(config)
            }
        }
    }

    /// Brings every layer, several at a time. The first error ends it: no other layer is begun, and what is under way breaks off once
    /// more of it comes. What has come whole by then is published.
    fn bring_layers(
        &self,
        source: &dyn Source,
        manifest: &Manifest,
        config: &ImageConfig,
        options: PullOptions<'_>,
    ) -> Result<Vec<Layer>> {
        options.progress.begins(&manifest.layers);
        let wanted: Vec<(&Descriptor, &Digest)> =
            manifest.layers.iter().zip(&config.rootfs.diff_ids).collect();
        // The same layer twice is one.
        let mut seen = BTreeSet::new();
        let first: Vec<usize> =
            (0..wanted.len()).filter(|&number| seen.insert(&wanted[number].0.digest)).collect();
        let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let outcome = Mutex::new(Outcome { layers: vec![None; wanted.len()], error: None });
        let told = |number: usize, layer: Result<Layer>| {
            let mut outcome = outcome.lock().expect("no thread panics while it holds it");
            match layer {
                Ok(layer) => outcome.layers[number] = Some(layer),
                Err(error) => {
                    outcome.error.get_or_insert(error);
                    is_over.store(true, Ordering::Relaxed);
                }
            }
        };
        let source = UntilOver::new(source, &is_over);
        let root = self.begin_to_publish()?;
        let (bringing, brought) = mpsc::sync_channel(MOST_WAITING);
        let work = |bringing: mpsc::SyncSender<Brought>| {
            while let Some(&number) = first.get(next.fetch_add(1, Ordering::Relaxed))
                && !is_over.load(Ordering::Relaxed)
            {
                let (descriptor, diff_id) = wanted[number];
                match self.bring_layer(&source, descriptor, diff_id, number, options) {
                    Ok(Bringing::There(layer)) => told(number, Ok(layer)),
                    Ok(Bringing::Brought(layer)) => {
                        bringing.send(layer).expect("it is read until all have ended")
                    }
                    Err(error) => told(number, Err(error)),
                }
            }
        };
        std::thread::scope(|scope| {
            let work = &work;
            for _ in 0..first.len().min(AT_ONCE) {
                let bringing = bringing.clone();
                scope.spawn(move || work(bringing));
            }
            drop(bringing);
            self.publish_brought(&root, &brought, &|number, layer| {
                if layer.is_ok() {
                    options.progress.layer(number, LayerState::Done);
                }
                told(number, layer);
            });
        });
        let Outcome { layers, error } = outcome.into_inner().expect("no thread panicked");
        if let Some(error) = error {
            return Err(error);
        }
        let of_blob = |digest: &Digest| layers.iter().flatten().find(|layer| layer.blob == *digest).cloned();
        let all: Vec<Layer> =
            wanted.iter().filter_map(|(descriptor, _)| of_blob(&descriptor.digest)).collect();
        let mismatch =
            all.iter().zip(&config.rootfs.diff_ids).find(|(layer, diff_id)| layer.diff_id != **diff_id);
        match mismatch {
            None => Ok(all),
            Some((layer, _)) => Err(mismatched(&layer.blob, options.operation)),
        }
    }

    fn bring_layer(
        &self,
        source: &UntilOver<'_>,
        descriptor: &Descriptor,
        diff_id: &Digest,
        number: usize,
        options: PullOptions<'_>,
    ) -> Result<Bringing> {
        let blob = &descriptor.digest;
        // Nothing that is unpacked may have more, and what a manifest says is as good as its registry.
        let most = Limits::default().bytes;
        if descriptor.size > most {
            let reason =
                format!("layer `{blob}` should have {} bytes, and {most} are the most", descriptor.size);
            return Err(Error::new(Kind::TooMuch, options.operation, reason));
        }
        let layer = |unpacked: &Unpacked| Layer {
            diff_id: diff_id.clone(),
            blob: blob.clone(),
            compressed: descriptor.size,
            size: unpacked.size,
        };
        if let Some(found) = self.layer_of(diff_id, blob)?
            && self.has_blob(blob)
        {
            options.progress.layer(number, LayerState::There);
            return Ok(Bringing::There(layer(&found)));
        }
        let claim = self.claim_blob(blob)?;
        // Whoever had it may have brought both meanwhile.
        let found = self.layer_of(diff_id, blob)?;
        let (tree, partial) = match (&found, claim) {
            (Some(found), Claim::There) => {
                options.progress.layer(number, LayerState::Done);
                return Ok(Bringing::There(layer(found)));
            }
            (None, Claim::There) => {
                let path = self.blob_path(blob);
                let file = File::open(&path).map_err(|error| Error::at_path("open", &path, error))?;
                let mut bytes = source.until_over(file);
                (Some(self.unpack(&mut bytes, None, descriptor, diff_id, number, options)?), None)
            }
            (found, Claim::Ours(partial)) => {
                let file = Some(&partial.file);
                let fetch = || -> Result<Option<(Draft, Unpacked)>> {
                    let mut bytes = source.blob(descriptor)?;
                    match found {
                        // The blob was swept, and its layer is another image's as well.
                        Some(_) => copy(&mut bytes, file, None, descriptor, number, options).map(|_| None),
                        None => self.unpack(&mut bytes, file, descriptor, diff_id, number, options).map(Some),
                    }
                };
                (fetch().map_err(|error| partial.abandon(error))?, Some(partial))
            }
        };
        let unpacked = match (&tree, &found) {
            (Some((_, unpacked)), _) | (None, Some(unpacked)) => unpacked,
            (None, None) => unreachable!("it was found or unpacked"),
        };
        Ok(Bringing::Brought(Brought { number, layer: layer(unpacked), tree, blob: partial }))
    }

    /// Unpacks a layer while it is copied to `blob`.
    pub(super) fn unpack(
        &self,
        bytes: &mut dyn Read,
        blob: Option<&File>,
        descriptor: &Descriptor,
        diff_id: &Digest,
        number: usize,
        options: PullOptions<'_>,
    ) -> Result<(Draft, Unpacked)> {
        let draft = self.begin_layer()?;
        let failed = |error: Errno| Error::system("make a pipe", error);
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        let tree = draft.tree.try_clone().map_err(|error| Error::at_path("open", &draft.path, error))?;
        let finish = options.unpacker.start(theirs, OwnedFd::from(tree))?;
        let copied = copy(bytes, blob, Some(&ours), descriptor, number, options);
        // Its end is seen only now.
        drop(ours);
        let unpacked = finish();
        // What has come is the cause, and what unpacks it only met the consequences.
        let copied = copied?;
        let unpacked = unpacked?;
        // Who has unpacked all of it has read to its end.
        if copied == Copied::Refused || unpacked.diff_id != *diff_id {
            return Err(mismatched(&descriptor.digest, options.operation));
        }
        draft.describe(&unpacked, &descriptor.digest)?;
        Ok((draft, unpacked))
    }
}

/// An image that says nothing is for any platform.
fn check_platform(config: &ImageConfig, options: PullOptions<'_>) -> Result<()> {
    let (own, wanted) = (config.platform(), options.platform);
    if own.os.is_empty() || own.architecture.is_empty() || wanted.takes(&own) {
        return Ok(());
    }
    let reason = format!("it is for `{own}`, and not for `{wanted}`");
    let error = Error::new(Kind::NotFound, options.operation, reason);
    Err(error.with_hint(
        "its registry has it for no other machine; leave `--platform` and `--arch` out to take it as it is",
    ))
}

/// What has become of a layer so far.
enum Bringing {
    /// It is here.
    There(Layer),
    /// It has come.
    Brought(Brought),
}

struct Outcome {
    layers: Vec<Option<Layer>>,
    error: Option<Error>,
}

fn mismatched(blob: &Digest, operation: &str) -> Error {
    let reason = format!("layer `{blob}` unpacks to something else than the image's configuration says");
    Error::new(Kind::Corrupt, operation, reason)
}

/// A manifest or a configuration, checked against its descriptor.
pub(super) fn document(
    source: &dyn Source,
    descriptor: &Descriptor,
    most: usize,
    operation: &str,
) -> Result<Vec<u8>> {
    let corrupt = |reason: String| Err(Error::new(Kind::Corrupt, operation, reason));
    let digest = &descriptor.digest;
    if descriptor.size > most as u64 {
        return corrupt(format!(
            "`{digest}` has {} bytes, and {most} are the most that one may have",
            descriptor.size
        ));
    }
    let text = source.document(descriptor)?;
    if text.len() as u64 != descriptor.size {
        return corrupt(format!("`{digest}` has {} bytes and should have {}", text.len(), descriptor.size));
    }
    digest::check(&text, digest, operation)?;
    Ok(text)
}

/// What has become of a blob on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copied {
    /// All of it has come, and is what its digest says.
    Whole,
    /// What unpacks it has ended, and says why: nobody wants the rest.
    Refused,
}

/// Copies a blob to its file and to what unpacks it, and checks its size and digest.
fn copy(
    bytes: &mut dyn Read,
    file: Option<&File>,
    pipe: Option<&OwnedFd>,
    descriptor: &Descriptor,
    number: usize,
    options: PullOptions<'_>,
) -> Result<Copied> {
    let digest = &descriptor.digest;
    let corrupt = |reason: String| Err(Error::new(Kind::Corrupt, options.operation, reason));
    let mut digester = Digester::new(digest.algorithm());
    let mut buffer = vec![0u8; CHUNK];
    let mut count = 0u64;
    loop {
        let read = match bytes.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(error, digest, options.operation)),
        };
        count += read as u64;
        if count > descriptor.size {
            return corrupt(format!("`{digest}` goes on behind its {} bytes", descriptor.size));
        }
        let chunk = &buffer[..read];
        digester.update(chunk);
        if let Some(mut file) = file {
            file.write_all(chunk).map_err(|error| Error::system(format!("write layer `{digest}`"), error))?;
        }
        if let Some(end) = pipe {
            match write_all(end, chunk) {
                Ok(()) => {}
                Err(Errno::PIPE) => return Ok(Copied::Refused),
                Err(error) => return Err(Error::system(format!("unpack layer `{digest}`"), error)),
            }
        }
        options.progress.layer(number, LayerState::Fetched(count));
    }
    if count != descriptor.size {
        return corrupt(format!("`{digest}` ended after {count} of {} bytes", descriptor.size));
    }
    match digester.finish() == *digest {
        true => Ok(Copied::Whole),
        false => corrupt(format!("what came for `{digest}` is not what its digest says")),
    }
}

/// The reason why a stream broke, which may be an error of ours in the clothes of one of the system's.
fn broken(error: std::io::Error, digest: &Digest, operation: &str) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => Error::new(Kind::Remote, operation, format!("layer `{digest}` broke off: {error}")),
    }
}

fn write_all(pipe: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(pipe.as_fd(), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
