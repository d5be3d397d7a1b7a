//! state.json as somebody may have left it: read or refused; what is read is written again as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::bundle::parse_json;
use runtime::state_dir::Record;

fuzz_target!(|text: &str| {
    let Ok(record) = parse_json::<Record>(text) else { return };
    let written = serde_json::to_string(&record).expect("a record can be written");
    let again: Record = parse_json(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_string(&again).expect("as before"), written);
});
