//! The files of a user's image for a container whose ids stand for others than the store's: without root no mount shows other
//! owners, so the layers are unpacked once more, by this program executed again in a user namespace with the container's ids.

use std::path::PathBuf;

use image::Digest;
use image::store::Store;
use runtime::ErrorKind;
use runtime::spec::IdMapping;
use serde::{Deserialize, Serialize};

use super::unpack::Apart;
use crate::apart;
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
        apart::ask(SHIFT_VERB, &request, "unpack the image for the container's ids")?;
        notices.push(Notice {
            what: "the image's files were unpacked once more for the ids of this container, as only root can have them \
                   shown with other owners"
                .to_owned(),
            remedy: Some("containers with these ids start at once from now on; without `--userns` none is needed".to_owned()),
        });
    }
    Ok(ImageRoot { layers, ..image.clone() })
}

/// Whether a command line is that of the process that unpacks an image once more.
pub fn is_shift_verb(word: Option<&std::ffi::OsStr>) -> bool {
    word.is_some_and(|word| word == SHIFT_VERB)
}

/// What that process does; the exit code.
pub fn unpack_image_again() -> i32 {
    apart::answer(unpack())
}

fn unpack() -> Result<()> {
    let request: Request = apart::asked()?;
    let manifest: Digest = request.manifest.parse().map_err(from_image)?;
    runtime::user_namespace::enter(&request.users, &request.groups)?;
    apart::end_with_parent()?;
    let store = Store::open(request.store).map_err(from_image)?;
    let image = store.image(&manifest).map_err(from_image)?;
    let image = image.ok_or_else(|| {
        let reason = format!("the image `{manifest}` is not here");
        Error::new(ErrorKind::Invalid, "unpack it once more", reason)
    })?;
    store.unpack_for(&image, &request.key, &Apart).map_err(from_image)
}
