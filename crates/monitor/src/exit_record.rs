//! Owns the record of a container's end: what its monitor knew, as a file that is whole or not there. Must not guess.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Operation, errno_of};
use crate::exit::Exit;
use crate::log::json;
use crate::moment::Moment;

/// What is known of a container's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitRecord {
    /// How its init ended; none where nobody can tell.
    pub exit: Option<Exit>,
    /// When that was seen.
    pub time: Moment,
    /// How many bytes of its output were not kept, as they could not be written.
    pub lost_bytes: u64,
    /// How many bytes of its log were removed by the cap on its files.
    pub rotated_out_bytes: u64,
    /// Whether its time was up, and that ended it.
    pub time_was_up: bool,
    /// What failed on the way without being a reason to leave the container alone. At most 16, each once.
    pub incidents: Vec<Error>,
}

impl ExitRecord {
    /// As the file has it, one line: `code` (0 to 255, 128 and the number of a signal; null where it is not known),
    /// `signal` (its number, or null), `coreDumped`, `time` (RFC 3339 with nanoseconds), `lostBytes`, `rotatedOutBytes`,
    /// `timeWasUp`, and `incidents` as texts.
    pub fn to_json(&self) -> String {
        let number =
            |number: Option<i32>| number.map_or_else(|| "null".to_owned(), |number| number.to_string());
        let (signal, core_dumped) = match self.exit {
            Some(Exit::Signal { number, core_dumped }) => (Some(number), core_dumped),
            Some(Exit::Code(_)) | None => (None, false),
        };
        let texts = self.incidents.iter().map(|incident| {
            let mut text = Vec::new();
            json::escape(&mut text, incident.to_string().as_bytes());
            format!("\"{}\"", String::from_utf8_lossy(&text))
        });
        format!(
            "{{\"code\":{},\"signal\":{},\"coreDumped\":{core_dumped},\"time\":\"{}\",\"lostBytes\":{},\
             \"rotatedOutBytes\":{},\"timeWasUp\":{},\"incidents\":[{}]}}\n",
            number(self.exit.map(|exit| exit.code())),
            number(signal),
            self.time,
            self.lost_bytes,
            self.rotated_out_bytes,
            self.time_was_up,
            texts.collect::<Vec<_>>().join(","),
        )
    }
}

/// How long a record without incidents may be, with room to spare.
const ROOM: usize = 512;

/// How much of the disk is held beside it, where the file system can do that without its being written. It is given back with the
/// record, so that whoever writes down the end elsewhere on the same disk finds room.
const SPARE: u64 = 16 * 1024;

/// The place of a record, with room on the disk from the start: a disk that is full by then does not keep a container's end
/// from being told.
pub(crate) struct Place {
    path: PathBuf,
    temporary: PathBuf,
    file: Result<File, Errno>,
}

impl Place {
    pub(crate) fn reserve(path: PathBuf) -> Place {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        let file = open(&temporary).and_then(|file| {
            write(&file, &[b' '; ROOM])?;
            // Best effort: the record itself has its room.
            let _ = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, SPARE);
            Ok(file)
        });
        Place { path, temporary, file }
    }

    /// Puts the record there: it is whole, or as it was before. Not synced: what a power cut takes with it is a record of
    /// this boot alone.
    pub(crate) fn fill(self, record: &ExitRecord) -> Result<(), Error> {
        let failed = |errno| Error::new(Operation::WriteExit, format!("`{}`", self.path.display()), errno);
        let text = record.to_json();
        let file = self.file.or_else(|_| open(&self.temporary)).map_err(failed)?;
        let written = write(&file, text.as_bytes()).or_else(|errno| {
            // The incidents are what may not have found room.
            let short = ExitRecord { incidents: Vec::new(), ..record.clone() }.to_json();
            write(&file, short.as_bytes()).map_err(|_| errno)
        });
        let length = written.map_err(failed)?;
        rustix::fs::ftruncate(&file, length as u64).map_err(failed)?;
        rustix::fs::rename(&self.temporary, &self.path).map_err(failed)
    }
}

fn open(path: &Path) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).map(File::from)
}

/// From the file's beginning; how many bytes there are.
fn write(file: &File, bytes: &[u8]) -> Result<usize, Errno> {
    file.write_all_at(bytes, 0).map_err(|error| errno_of(&error))?;
    Ok(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_says_null_where_nothing_is_known() {
        let record = ExitRecord {
            exit: None,
            time: Moment(0),
            lost_bytes: 7,
            rotated_out_bytes: 0,
            time_was_up: false,
            incidents: vec![Error::new(Operation::WriteLog, "`a\"b`", Errno::NOSPC)],
        };
        let expected = concat!(
            r#"{"code":null,"signal":null,"coreDumped":false,"time":"1970-01-01T00:00:00.000000000Z","#,
            r#""lostBytes":7,"rotatedOutBytes":0,"timeWasUp":false,"#,
            r#""incidents":["write to the log `a\"b`: no space left on device"]}"#,
            "\n"
        );
        assert_eq!(record.to_json(), expected);
        let killed = Some(Exit::Signal { number: 9, core_dumped: true });
        let text = ExitRecord { exit: killed, incidents: Vec::new(), ..record }.to_json();
        assert!(text.starts_with(r#"{"code":137,"signal":9,"coreDumped":true,"#), "{text}");
    }
}
