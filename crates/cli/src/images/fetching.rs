//! What `pull` and `run` are told of the fetching of an image: for which machine, as whom, and how securely. Must not know when
//! an image is fetched.

use std::ffi::OsString;

use clap::Args;
use engine::{Error, PlatformParts, RegistryAccess, Result};

use super::registries::{AccessArguments, said};

/// Flags of both.
#[derive(Debug, Args)]
pub(crate) struct FetchArguments {
    #[command(flatten)]
    machine: MachineArguments,
    #[command(flatten)]
    access: AccessArguments,
}

/// For which machine an image is.
#[derive(Debug, Args)]
pub(crate) struct MachineArguments {
    /// For which machine: `linux/amd64`, `linux/arm/v7` [default: this one]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// For which processor
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// For which system
    #[arg(long, value_name = "OS")]
    os: Option<String>,
    /// For which variant of the processor
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
}

impl FetchArguments {
    /// For which machine, where somebody says so.
    pub(crate) fn platform(&self) -> Result<Option<String>> {
        self.machine.platform()
    }

    /// How registries are asked.
    pub(super) fn access(&self) -> Result<RegistryAccess> {
        self.access.access()
    }

    /// Whether that asks on the terminal.
    pub(super) fn asks(&self) -> bool {
        self.access.asks()
    }

    /// The first of them that was given and that says more than what happens without it.
    pub(crate) fn first_given(&self) -> Option<&'static str> {
        let mut given = self.machine.given().into_iter().filter(|(_, value)| value.is_some());
        given.next().map(|(flag, _)| flag).or_else(|| self.access.first_given())
    }

    /// As words for another command of this program.
    pub(super) fn words(&self) -> Vec<OsString> {
        let given = self.machine.given().into_iter();
        let words = given.filter_map(|(flag, value)| Some(format!("{flag}={}", value?).into()));
        words.chain(self.access.words()).collect()
    }
}

impl MachineArguments {
    /// All of it in one word, where somebody says anything.
    pub(super) fn platform(&self) -> Result<Option<String>> {
        let [platform, parts @ ..] = self.given();
        let part = parts.iter().find(|(_, value)| value.is_some());
        match (platform.1, part) {
            (Some(_), Some((flag, _))) => {
                let error = Error::invalid("--platform", format!("it says what `{flag}` says, too"));
                Err(error.with_hint("write it as `OS/ARCH[/VARIANT]`, or leave it out"))
            }
            (Some(platform), None) => Ok(Some(platform.to_owned())),
            (None, Some(_)) => {
                let [(_, architecture), (_, os), (_, variant)] = parts;
                Ok(Some(PlatformParts { os, architecture, variant }.completed()))
            }
            (None, None) => Ok(None),
        }
    }

    fn given(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("--platform", said(&self.platform)),
            ("--arch", said(&self.arch)),
            ("--os", said(&self.os)),
            ("--variant", said(&self.variant)),
        ]
    }
}
