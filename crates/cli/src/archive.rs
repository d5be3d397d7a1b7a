//! Where the verbs `export` write an archive: into a file, which is there once it is whole, or to standard output.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use engine::{Error, OutputFile, Result, output_error};

/// Refuses a terminal, before anything is looked for.
pub(crate) fn check_output(output: Option<&Path>) -> Result<()> {
    if output.is_none() && std::io::stdout().is_terminal() {
        let error = Error::invalid("--output", "an archive is nothing for a terminal".to_owned());
        return Err(error.with_hint("name a file with `-o FILE`, or write into a pipe"));
    }
    Ok(())
}

/// Where it goes. Files are begun before this process is another user's: they are the caller's, by the caller's rights.
pub(crate) enum Output {
    File(OutputFile, PathBuf),
    Standard,
}

impl Output {
    pub(crate) fn begin(output: Option<&Path>) -> Result<Output> {
        Ok(match output {
            Some(path) => Output::File(OutputFile::begin(path)?, path.to_owned()),
            None => Output::Standard,
        })
    }

    /// Has it written whole.
    pub(crate) fn take(self, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        match self {
            Output::File(mut file, path) => {
                write(&mut file).map_err(|error| output_error(error, &path))?;
                file.finish()
            }
            Output::Standard => {
                let mut output = BufWriter::with_capacity(256 << 10, std::io::stdout().lock());
                write(&mut output)?;
                output.flush().map_err(|error| Error::system("write to standard output", error))
            }
        }
    }
}
