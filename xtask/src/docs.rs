//! Writes the generated pages below docs/, or says which are stale.

mod start_sequence;

use crate::build;
use crate::process::{self, Failure, Naming, Result};

/// Writes every page.
pub fn write() -> Result<()> {
    for (page, text) in generate()? {
        let path = process::workspace().join(page);
        std::fs::write(&path, text).naming(format_args!("write `{}`", path.display()))?;
        println!("{page}");
    }
    Ok(())
}

/// Fails naming every page that differs from what would be written.
pub fn check() -> Result<()> {
    let mut stale = Vec::new();
    for (page, text) in generate()? {
        let written = std::fs::read_to_string(process::workspace().join(page)).unwrap_or_default();
        if written != text {
            stale.push(format!("`{page}`"));
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("stale: {}", stale.join(", "))).hint("run `cargo xtask docs`"))
}

fn generate() -> Result<Vec<(&'static str, String)>> {
    let built = build::build()?;
    Ok(vec![(start_sequence::PAGE, start_sequence::page(&built.rabbitc)?)])
}
