//! Counts checks; owns the form of the closing line.

use std::fmt;

/// How many checks passed, failed, and could not be made here.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Checks that held.
    pub passed: usize,
    /// Checks that did not hold.
    pub failed: usize,
    /// Checks that this machine does not allow; each was named when it was skipped.
    pub skipped: usize,
}

/// The outcome of one check that did not fail.
pub enum Checked {
    /// It holds.
    Held,
    /// It could not be made here, and why.
    Skipped(String),
}

impl Tally {
    /// Runs one named check, says how it went on standard error, and counts it.
    pub fn check(&mut self, name: &str, check: impl FnOnce() -> crate::process::Result<Checked>) {
        eprintln!("==> {name}");
        let started = std::time::Instant::now();
        let outcome = check();
        let seconds = started.elapsed().as_secs_f32();
        match outcome {
            Ok(Checked::Held) => {
                self.passed += 1;
                eprintln!("    {name}: ok ({seconds:.1} s)");
            }
            Ok(Checked::Skipped(why)) => {
                self.skipped += 1;
                println!("skipped: {name}: {why}");
            }
            Err(failure) => {
                self.failed += 1;
                println!("FAILED: {name}: {failure}");
            }
        }
    }

    /// Adds another count to this one.
    pub fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Prints the closing line, and says whether nothing failed.
    pub fn close(self) -> bool {
        println!("{self}");
        self.failed == 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}
