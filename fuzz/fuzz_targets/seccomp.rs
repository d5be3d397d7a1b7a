//! A seccomp profile to a filter: one that the kernel takes, or a refusal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::bundle::parse_json;
use runtime::plan::seccomp::{MAX_INSTRUCTIONS, Options, compile};
use runtime::spec::seccomp::LinuxSeccomp;

fuzz_target!(|text: &str| {
    let Ok(profile) = parse_json::<LinuxSeccomp>(text) else { return };
    let Ok(program) = compile(&profile, Options::default()) else { return };
    let instructions = &program.instructions;
    assert!(!instructions.is_empty() && instructions.len() <= MAX_INSTRUCTIONS);
    for (place, one) in instructions.iter().enumerate() {
        let left = instructions.len() - place - 1;
        // What bpf_check_classic and seccomp_check_filter of the kernel demand.
        match one.code {
            0x20 => assert!(one.k % 4 == 0 && one.k < 64),
            0x54 | 0x06 => {}
            0x05 => assert!((one.k as usize) < left),
            0x15 | 0x25 | 0x35 => assert!(usize::from(one.jt.max(one.jf)) < left),
            code => panic!("code {code:#x}"),
        }
    }
    assert_eq!(instructions.last().map(|last| last.code), Some(0x06));
});
