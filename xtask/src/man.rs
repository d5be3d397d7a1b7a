//! Writes the man pages, of the program's own definitions, into `man` in cargo's target directory.

use crate::build;
use crate::process::{self, Naming, Result};

pub fn write() -> Result<()> {
    let built = build::build()?;
    let directory = process::target_directory().join("man");
    // One of a verb that there was before is not to stay.
    if directory.exists() {
        std::fs::remove_dir_all(&directory).naming(format_args!("remove `{}`", directory.display()))?;
    }
    std::fs::create_dir_all(&directory).naming(format_args!("create `{}`", directory.display()))?;
    process::run(std::process::Command::new(&built.rabbitc).arg("internal-man").arg(&directory))?;
    println!("{}", directory.display());
    Ok(())
}
