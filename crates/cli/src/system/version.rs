//! `rabbitc version`: which version this is, in the form of docker's and podman's, which scripts ask.

use clap::Parser;
use engine::Result;

use crate::images::print;
use crate::template::{Field, Template, Value};

/// Shows which version this is.
#[derive(Debug, Parser)]
#[command(name = "rabbitc version", max_term_width = 100)]
pub(crate) struct VersionArguments {
    /// `json`, or a line such as `{{.Client.Version}}`; of Version, Os, Arch and OsArch, of Client and of Server
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

pub(super) fn version(arguments: &VersionArguments) -> Result<()> {
    // One program is both.
    let all: Value = vec![Field::new("Client", own()), Field::new("Server", own())].into();
    match arguments.format.as_deref() {
        None | Some("") => print(&format!(
            "Client:       rabbitc\nVersion:      {}\nOS/Arch:      {}\n",
            env!("CARGO_PKG_VERSION"),
            machine()
        )),
        Some("json") => print(&format!("{}\n", all.json())),
        Some(format) => print(&format!("{}\n", Template::parse(format)?.render(&all)?)),
    }
}

fn own() -> Value {
    vec![
        Field::new("Version", env!("CARGO_PKG_VERSION")),
        Field::new("Os", "linux"),
        Field::new("Arch", architecture()),
        Field::new("OsArch", machine()),
    ]
    .into()
}

fn machine() -> String {
    format!("linux/{}", architecture())
}

/// A processor as Go calls it.
fn architecture() -> &'static str {
    super::info::podmans(std::env::consts::ARCH)
}
