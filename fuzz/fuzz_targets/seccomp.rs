//! A seccomp profile to a filter: one that the kernel takes, or a refusal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::bundle::parse_json;
use runtime::plan::seccomp::{Options, compile, verify};
use runtime::spec::seccomp::LinuxSeccomp;

fuzz_target!(|text: &str| {
    let Ok(profile) = parse_json::<LinuxSeccomp>(text) else { return };
    let Ok(program) = compile(&profile, Options::default()) else { return };
    verify(&program.instructions);
});
