//! Images as people ask for them: pulled by name, listed, removed. Owns where they are kept and how the process is started that
//! unpacks a layer.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::documents::{Descriptor, Platform};
use image::reference::{DOCKER_IO, Typed};
use image::registry::{Client, Credentials, Options, Remote};
use image::store::{Finish, Image, LayerState, PullOptions, Store, Unpacker};
use image::unpack::{Devices, Limits, Options as UnpackOptions, Whiteouts};
use image::{Digest, Reference};
use runtime::ErrorKind;
use runtime::caller::Caller;

use crate::error::{Error, Result, from_image};

/// The verb by which this program is executed again to unpack one layer; not for people.
pub const UNPACK_VERB: &str = "internal-unpack-layer";

/// Whether a command line is that of the process that unpacks.
pub fn is_unpack_verb(word: Option<&std::ffi::OsStr>) -> bool {
    word.is_some_and(|word| word == UNPACK_VERB)
}

/// What that process does; the exit code.
pub fn unpack_layer() -> i32 {
    let options =
        UnpackOptions { whiteouts: Whiteouts::Trusted, devices: Devices::Made, limits: Limits::default() };
    let standard = [0, 1, 2].map(sys::fd::adopt);
    let [Ok(archive), Ok(answer), Ok(tree)] = standard else { return 1 };
    i32::from(image::unpack::serve(archive, tree, answer, &options).is_err())
}

/// The images of the caller.
#[derive(Debug)]
pub struct ImageStore {
    store: Store,
}

/// An image to be pulled.
#[derive(Debug, Clone, Default)]
pub struct PullRequest {
    /// Its name.
    pub name: String,
    /// For what machine, where that is not this one.
    pub platform: Option<String>,
    /// `USER:PASSWORD`, in the place of what the files have.
    pub credentials: Option<String>,
    /// Files with credentials, of docker or podman, the first of which that has some counts.
    pub credential_files: Vec<PathBuf>,
    /// Whether certificates that nobody trusts, and plain HTTP, will do.
    pub insecure: bool,
}

/// Who is told how far a pull is. Told by several threads.
pub trait Progress: Sync {
    /// So many bytes will come, at most.
    fn begins(&self, bytes: u64);
    /// So many have come, or are not needed.
    fn is_at(&self, bytes: u64);
}

/// One name of an image, or one without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Registry and repository, as short as docker shows it.
    pub repository: Option<String>,
    /// The tag.
    pub tag: Option<String>,
    /// The digest by which a registry has it.
    pub digest: Option<String>,
    /// The id: the digest of the configuration.
    pub id: String,
    /// Seconds since 1970 at which it was made, where that is known.
    pub created: Option<u64>,
    /// Bytes of its layers before compression.
    pub size: u64,
}

/// What became of a name that was to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// The name is gone, and the image has others or none.
    Name(String),
    /// The image is gone.
    Image(String),
}

/// What an image says of its containers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageDefaults {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// The arguments where nobody gives any; without an entrypoint, the program.
    pub command: Vec<String>,
    /// Variables, as `NAME=VALUE`.
    pub environment: Vec<String>,
    /// Who runs it, as `USER[:GROUP]`.
    pub user: Option<String>,
    /// Where it begins.
    pub directory: Option<String>,
    /// The signal that stops it.
    pub stop_signal: Option<String>,
    /// Notes.
    pub labels: BTreeMap<String, String>,
}

/// An image whose files can be looked at. It is not removed as long as this is held.
#[derive(Debug)]
pub struct ReadyImage {
    /// Its files, in the mount namespace of this process.
    pub root: PathBuf,
    /// What it says of its containers.
    pub defaults: ImageDefaults,
    _claim: image::store::InUse,
}

/// Unpacks in a process of its own.
struct Apart;

impl Unpacker for Apart {
    fn start(&self, archive: OwnedFd, tree: OwnedFd) -> image::Result<Finish> {
        const OPERATION: &str = "unpack a layer";
        let mut command = Command::new("/proc/self/exe");
        command.arg(UNPACK_VERB).env_clear();
        // Its directory is where messages would go, as a process has three streams without further ado.
        command.stdin(Stdio::from(archive)).stdout(Stdio::piped()).stderr(Stdio::from(tree));
        let mut child = command.spawn().map_err(|error| image::Error::system(OPERATION, error))?;
        Ok(Box::new(move || {
            let output = child.stdout.take().expect("it was piped");
            let answer = image::unpack::answer(output, OPERATION);
            // Its answer says how it ended, and nothing else does.
            let _ = child.wait();
            answer
        }))
    }
}

/// How far all layers together are.
struct Sum<'a> {
    told: &'a dyn Progress,
    /// Bytes of each layer, and how many of them have come.
    layers: std::sync::Mutex<Vec<(u64, u64)>>,
}

impl image::store::Progress for Sum<'_> {
    fn begins(&self, layers: &[Descriptor]) {
        let mut own = self.layers.lock().expect("nobody panics while they hold it");
        *own = layers.iter().map(|layer| (layer.size, 0)).collect();
        self.told.begins(layers.iter().map(|layer| layer.size).sum());
    }

    fn layer(&self, number: usize, state: LayerState) {
        let mut layers = self.layers.lock().expect("nobody panics while they hold it");
        let Some((size, come)) = layers.get_mut(number) else { return };
        *come = match state {
            LayerState::Fetched(bytes) => bytes,
            LayerState::There | LayerState::Done => *size,
        };
        self.told.is_at(layers.iter().map(|(_, come)| come).sum());
    }
}

impl ImageStore {
    /// Opens the caller's: below `root`, or where they are without a word.
    pub fn open(root: Option<&Path>) -> Result<ImageStore> {
        if Caller::find() == Caller::User {
            let error = Error::new(ErrorKind::Unsupported, "use images", "they take root, yet");
            return Err(error
                .with_hint("run it with sudo; containers from a directory (`--rootfs=DIR`) need no root"));
        }
        let path = root.map_or_else(|| PathBuf::from("/var/lib/rabbitc/images"), |root| root.join("images"));
        Ok(ImageStore { store: Store::open(path).map_err(from_image)? })
    }

    /// Makes an image ready for a container, if it is there. Where it has several layers, this process goes into a mount
    /// namespace of its own, in which they are shown as one: so nothing of that is on the host, and it goes with the process.
    pub fn ready(&self, name: &str) -> Result<Option<ReadyImage>> {
        let Some(image) = self.store.find(name, &[DOCKER_IO.to_owned()]).map_err(from_image)? else {
            return Ok(None);
        };
        let claim = self.store.claim(&image).map_err(from_image)?;
        let config = self.store.configuration(&image).map_err(from_image)?;
        let layers: Vec<PathBuf> =
            image.layers.iter().rev().map(|layer| self.store.layer_path(&layer.diff_id)).collect();
        let root = match &layers[..] {
            [] => {
                let operation = format!("run the image `{}`", name.escape_debug());
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    operation,
                    "it has no layers, and so no files",
                ));
            }
            [one] => one.clone(),
            several => self.show_as_one(several)?,
        };
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        let of_image = config.config;
        let defaults = ImageDefaults {
            entrypoint: of_image.entrypoint,
            command: of_image.cmd,
            environment: of_image.env,
            user: said(of_image.user),
            directory: said(of_image.working_dir),
            stop_signal: of_image.stop_signal.and_then(said),
            labels: of_image.labels,
        };
        Ok(Some(ReadyImage { root, defaults, _claim: claim }))
    }

    /// Mounts layers as one, the topmost first, read-only, where no other process sees it.
    fn show_as_one(&self, layers: &[PathBuf]) -> Result<PathBuf> {
        use rustix::mount::{
            FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_string,
            fsmount, fsopen, move_mount,
        };
        let place = self.store.path().join("merged");
        std::fs::create_dir_all(&place).map_err(|error| Error::at_path("make", &place, error))?;
        let failed = |error: rustix::io::Errno| Error::at_path("show layers as one at", &place, error);
        let opened = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|error| {
            failed(error).with_hint("this kernel has no overlay file system; `modprobe overlay` may bring it")
        })?;
        for layer in layers {
            use std::os::unix::ffi::OsStrExt;
            // One after the other, as all together may be longer than an option may be.
            fsconfig_set_string(&opened, c"lowerdir+", layer.as_os_str().as_bytes())
                .map_err(|error| failed(error).with_hint("images of several layers take Linux 6.7 yet"))?;
        }
        fsconfig_create(&opened).map_err(failed)?;
        let mount = fsmount(&opened, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
            .map_err(failed)?;
        let own =
            |error: std::io::Error| Error::system("make a mount namespace for the image's layers", error);
        sys::namespace::unshare(sys::clone::flags::NEWNS).map_err(own)?;
        // What the host mounts later is to be seen here as well.
        use sys::mount::propagation::{REC, SLAVE};
        sys::mount::change(c"/", SLAVE | REC).map_err(own)?;
        move_mount(&mount, c"", rustix::fs::CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(failed)?;
        Ok(place)
    }

    /// Pulls an image by its name; the digest of what the name stands for, and whether anything came.
    pub fn pull(&self, request: &PullRequest, progress: &dyn Progress) -> Result<(String, bool)> {
        let typed: Typed = request.name.parse().map_err(from_image)?;
        let reference = typed.in_registry(DOCKER_IO);
        let operation = format!("pull `{reference}`");
        let platform = match &request.platform {
            Some(text) => Platform::parse(text).map_err(from_image)?,
            None => Platform::of_this_machine(),
        };
        let credentials = match &request.credentials {
            Some(text) => Some(Credentials::parse(text).ok_or_else(|| {
                Error::invalid("--creds", "it has no `:`".to_owned()).with_hint("write `USER:PASSWORD`")
            })?),
            None => Credentials::find(&request.credential_files, &reference).map_err(from_image)?,
        };
        let options = Options { insecure: request.insecure, ..Options::default() };
        let client = Client::new(&reference, credentials, options).map_err(from_image)?;
        let source = Remote::new(client, reference.clone(), operation.clone());
        let sum = Sum { told: progress, layers: std::sync::Mutex::default() };
        let options =
            PullOptions { platform: &platform, unpacker: &Apart, progress: &sum, operation: &operation };
        let pulled = self.store.pull(&source, options);
        let pulled = match pulled {
            Ok(pulled) => pulled,
            Err(error) => {
                // What has come of it is of no use; that it stays until the next time is no second failure.
                let _ = self.store.sweep();
                let is_broken = error.kind == image::Kind::Corrupt && error.hint.is_none();
                let error = from_image(error);
                return Err(match is_broken {
                    true => error.with_hint(
                        "pull it again; if that stays so, its registry has it damaged: have it pushed anew",
                    ),
                    false => error,
                });
            }
        };
        let digest = pulled.digests[0].to_string();
        self.store.name(&reference, &pulled.image, pulled.digests).map_err(from_image)?;
        Ok((digest, !pulled.was_there))
    }

    /// Every name, and every image without one; the newest first, as docker lists them.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let images = self.store.images().map_err(from_image)?;
        let mut unnamed: BTreeMap<&Digest, &Image> = images.iter().collect();
        let names = self.store.names().map_err(from_image)?;
        let mut listed = Vec::with_capacity(names.len());
        for name in &names {
            // One that was removed meanwhile has no name any more either.
            let Some(image) = images.get(&name.manifest) else { continue };
            unnamed.remove(&name.manifest);
            listed.push(Listed {
                repository: Some(name.reference.familiar_name()),
                tag: name.reference.tag.clone(),
                digest: name.digests.first().map(Digest::to_string),
                ..of_image(image)
            });
        }
        listed.extend(unnamed.into_values().map(of_image));
        listed.sort_by(|one, other| {
            other.created.cmp(&one.created).then_with(|| one.repository.cmp(&other.repository))
        });
        Ok(listed)
    }

    /// Takes a name away, and the image with its last one; by an id, the image with all of its names, which takes `force` where
    /// there are several.
    pub fn remove(&self, text: &str, force: bool) -> Result<Vec<Removed>> {
        let operation = || format!("remove the image `{}`", text.escape_debug());
        let Some(image) = self.store.find(text, &[DOCKER_IO.to_owned()]).map_err(from_image)? else {
            let error = Error::new(ErrorKind::NotFound, operation(), "there is none of this name or id");
            return Err(error.with_hint("`rabbitc images` lists those that are there"));
        };
        let names: Vec<Reference> = self
            .store
            .names()
            .map_err(from_image)?
            .into_iter()
            .filter(|name| name.manifest == image.manifest)
            .map(|name| name.reference)
            .collect();
        let meant = text.parse::<Reference>().ok().filter(|reference| names.contains(reference));
        let mut removed = Vec::new();
        match meant {
            Some(reference) if names.len() > 1 => {
                self.store.unname(&reference).map_err(from_image)?;
                return Ok(vec![Removed::Name(reference.to_string())]);
            }
            None if names.len() > 1 && !force => {
                let shown: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                let error = Error::invalid(
                    operation(),
                    format!("it has {} names: {}", names.len(), shown.join(", ")),
                );
                return Err(error.with_hint("say which name, or `--force` for all of it"));
            }
            _ => {}
        }
        if self.store.is_in_use(&image).map_err(from_image)? {
            let error = Error::new(ErrorKind::WrongStatus, operation(), "a running container is of it");
            return Err(error.with_hint("end the container first"));
        }
        self.store.forget(&image).map_err(from_image)?;
        removed.extend(names.iter().map(|name| Removed::Name(name.to_string())));
        removed.push(Removed::Image(image.id.to_string()));
        self.store.sweep().map_err(from_image)?;
        Ok(removed)
    }
}

fn of_image(image: &Image) -> Listed {
    Listed {
        repository: None,
        tag: None,
        digest: None,
        id: image.id.to_string(),
        created: image.created,
        size: image.size(),
    }
}
