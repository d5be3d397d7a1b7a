//! What is written down of a volume.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{DATA, Durability, Volume};
use crate::directories::{read_record, write_record};
use crate::error::Result;

/// Its file.
const NAME: &str = "volume.json";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) name: String,
    /// Seconds since 1970.
    pub(super) created: u64,
    #[serde(default)]
    pub(super) anonymous: bool,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
}

impl Record {
    /// Reads that of the volume of a directory; none where there is none.
    pub(super) fn read(directory: &Path) -> Result<Option<Record>> {
        let remedy = "what is in the volume is in `_data` beside it: save that, and remove the directory";
        read_record(&directory.join(NAME), remedy)
    }

    /// Writes it into a directory that nobody else knows.
    pub(super) fn write(&self, directory: &Path, durability: Durability) -> Result<()> {
        write_record(&directory.join(NAME), self, durability)
    }

    pub(super) fn into_volume(self, directory: &Path) -> Volume {
        let Record { name, created, anonymous, labels, options } = self;
        Volume { name, created, is_anonymous: anonymous, labels, options, mountpoint: directory.join(DATA) }
    }
}
