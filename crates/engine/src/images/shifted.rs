//! The files of a user's image for a container whose ids stand for others than the store's: without root no mount shows other
//! owners, so the layers are unpacked once more, by this program executed again in a user namespace with the container's ids.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use image::Digest;
use image::store::Store;
use runtime::ErrorKind;
use runtime::spec::IdMapping;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::unpack::Apart;
use crate::container::Notice;
use crate::error::{Error, Result, from_image};
use crate::options::ImageRoot;

/// The verb by which this program is executed again for that; not for people.
const SHIFT_VERB: &str = "internal-unpack-image";

/// How many digits of a digest tell the maps of one user apart.
const KEY_DIGITS: usize = 16;

/// What the process is to do.
#[derive(Serialize, Deserialize)]
struct Request {
    store: PathBuf,
    manifest: String,
    key: String,
    users: Vec<IdMapping>,
    groups: Vec<IdMapping>,
}

/// Why it could not.
#[derive(Serialize, Deserialize)]
struct Failure {
    operation: String,
    kind: ErrorKind,
    reason: String,
    errno: Option<i32>,
    hint: Option<String>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let Error { operation, kind, reason, errno, hint, .. } = error;
        Failure { operation, kind, reason, errno, hint }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        let Failure { operation, kind, reason, errno, hint } = failure;
        Error { errno, hint, ..Error::new(kind, operation, reason) }
    }
}

/// Makes the files of `image` ready for a container with these maps, and says so where that takes a while.
pub(crate) fn for_ids(
    image: &ImageRoot,
    users: &[IdMapping],
    groups: &[IdMapping],
    notices: &mut Vec<Notice>,
) -> Result<ImageRoot> {
    let line = |map: &IdMapping| format!("{} {} {}\n", map.container_id, map.host_id, map.size);
    let lines = |maps: &[IdMapping]| maps.iter().map(line).collect::<String>();
    let text = format!("{}\n{}", lines(users), lines(groups));
    let key = Digest::of(text.as_bytes()).digits()[..KEY_DIGITS].to_owned();
    let layers: Vec<PathBuf> =
        image.layers.iter().map(|layer| layer.with_file_name(format!("tree-{key}"))).collect();
    if !layers.iter().all(|layer| layer.exists()) {
        let request = Request {
            store: image.store.clone(),
            manifest: image.manifest.clone(),
            key,
            users: users.to_vec(),
            groups: groups.to_vec(),
        };
        unpack_apart(&request)?;
        notices.push(Notice {
            what: "the image's files were unpacked once more for the ids of this container, as only root can have them \
                   shown with other owners"
                .to_owned(),
            remedy: Some("containers with these ids start at once from now on; without `--userns` none is needed".to_owned()),
        });
    }
    Ok(ImageRoot { layers, ..image.clone() })
}

fn unpack_apart(request: &Request) -> Result<()> {
    const OPERATION: &str = "unpack the image for the container's ids";
    let failed = |error| Error::system(OPERATION, error);
    let mut command = Command::new("/proc/self/exe");
    command.arg(SHIFT_VERB).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let text = serde_json::to_vec(request).expect("only string keys");
    let mut input = child.stdin.take().expect("it was piped");
    // Whoever ends before it has read that says why.
    let _ = input.write_all(&text);
    drop(input);
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    match serde_json::from_slice::<Failure>(&output.stdout) {
        Ok(failure) => Err(failure.into()),
        Err(_) => Err(Error::new(
            ErrorKind::System,
            OPERATION,
            "the process that does it has ended without an answer",
        )),
    }
}

/// Whether a command line is that of the process that unpacks an image once more.
pub fn is_shift_verb(word: Option<&std::ffi::OsStr>) -> bool {
    word.is_some_and(|word| word == SHIFT_VERB)
}

/// What that process does; the exit code.
pub fn unpack_image_again() -> i32 {
    let Err(error) = unpack() else { return 0 };
    let text = serde_json::to_vec(&Failure::from(error)).expect("only string keys");
    // Where nobody reads the answer, the exit code still tells.
    let _ = std::io::stdout().write_all(&text);
    1
}

fn unpack() -> Result<()> {
    const OPERATION: &str = "read what is to be unpacked";
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).map_err(|error| Error::system(OPERATION, error))?;
    let wrong = |reason: String| Error::new(ErrorKind::Invalid, OPERATION, reason);
    let request: Request = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let manifest: Digest = request.manifest.parse().map_err(from_image)?;
    runtime::user_namespace::enter(&request.users, &request.groups)?;
    // Not before, as a change of ids takes it back. Nobody needs what it does any more when its parent has ended.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Error::system("end with the command that starts the container", error))?;
    let store = Store::open(request.store).map_err(from_image)?;
    let image = store.image(&manifest).map_err(from_image)?;
    let image = image.ok_or_else(|| wrong(format!("the image `{manifest}` is not here")))?;
    store.unpack_for(&image, &request.key, &Apart).map_err(from_image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_of_the_process_is_told_with_its_kind_and_its_number() {
        let denied = Error::system("unpack", rustix::io::Errno::ACCESS).with_hint("a hint");
        let text = serde_json::to_vec(&Failure::from(denied)).expect("only string keys");
        let told: Error = serde_json::from_slice::<Failure>(&text).expect("as it was written").into();
        assert_eq!((told.kind, told.errno), (ErrorKind::Permission, Some(13)));
        assert_eq!(
            (told.to_string().as_str(), told.hint.as_deref()),
            ("unpack: permission denied", Some("a hint"))
        );
    }
}
