//! What hooks read on standard input, of any container that a record tells of: one JSON document, which says what the record
//! says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::bundle::parse_json;
use runtime::lifecycle::state_document;
use runtime::state_dir::Record;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let Ok(record) = parse_json::<Record>(text) else { return };
    for status in ["creating", "created", "running", "stopped"] {
        let document: Value = serde_json::from_slice(&state_document(&record, status)).expect("JSON");
        assert_eq!(document["id"], record.id.as_str());
        assert_eq!(document["ociVersion"], record.oci_version.as_str());
        assert_eq!(document["status"], status);
        assert_eq!(document["bundle"].as_str(), record.bundle.to_str());
        assert_eq!(document.get("pid").is_some(), record.pid != 0 && status != "stopped");
        assert_eq!(document.get("annotations").is_some(), !record.annotations.is_empty());
    }
});
