//! The process that unpacks one layer: this program executed again.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use image::store::{Finish, Unpacker};
use image::unpack::{Devices, Limits, Options, Owners, Whiteouts};
use runtime::caller::Caller;

/// The verb by which this program is executed again to unpack one layer; not for people.
const UNPACK_VERB: &str = "internal-unpack-layer";

/// Whether a command line is that of the process that unpacks.
pub fn is_unpack_verb(word: Option<&std::ffi::OsStr>) -> bool {
    word.is_some_and(|word| word == UNPACK_VERB)
}

/// What that process does; the exit code.
pub fn unpack_layer() -> i32 {
    let whiteouts = match Caller::find() {
        Caller::Root => Whiteouts::Trusted,
        Caller::NamespaceRoot | Caller::User => Whiteouts::User,
    };
    let owners = if has_one_id() { Owners::Unpackers } else { Owners::Named };
    let options = Options { whiteouts, devices: Devices::Made, owners, limits: Limits::default() };
    let standard = [0, 1, 2].map(sys::fd::adopt);
    let [Ok(archive), Ok(answer), Ok(tree)] = standard else { return 1 };
    i32::from(image::unpack::serve(archive, tree, answer, &options).is_err())
}

/// Whether there is one user and one group alone where this process is (user_namespaces(7)).
pub(crate) fn has_one_id() -> bool {
    let is_one = |name: &str| {
        let map = std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let mut counts = map.lines().filter_map(|line| line.split_ascii_whitespace().nth(2));
        counts.next() == Some("1") && counts.next().is_none()
    };
    is_one("uid_map") && is_one("gid_map")
}

/// Unpacks in a process of its own.
pub(crate) struct Apart;

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
