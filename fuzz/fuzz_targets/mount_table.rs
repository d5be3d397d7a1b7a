//! /proc/PID/mountinfo as the kernel or whoever lies over it writes it: every line is an entry or left out, and what is found
//! in a table is found again in each of its lines.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|table: &[u8]| {
    let whole: Vec<_> = sys::mount_table::entries(table).collect();
    assert!(whole.len() <= table.split(|byte| *byte == b'\n').count());
    let lines: Vec<_> =
        table.split(|byte| *byte == b'\n').flat_map(sys::mount_table::entries).collect();
    assert_eq!(whole, lines);
    for entry in &whole {
        assert!(!entry.has_tag("no such tag") && !entry.options.contains('\n'));
    }
});
