//! config.json to a plan: whatever it says, it is planned or refused; a plan can be told in words.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use runtime::ContainerId;
use runtime::bundle::parse_json;
use runtime::plan::{ContainerPlan, PlanOptions};
use runtime::spec::Spec;

static BUNDLE: LazyLock<PathBuf> = LazyLock::new(|| {
    let bundle = std::env::temp_dir().join(format!("rabbitc-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(bundle.join("rootfs")).expect("a directory");
    bundle
});

fuzz_target!(|text: &str| {
    let Ok(mut spec) = parse_json::<Spec>(text) else { return };
    if let Some(root) = &mut spec.root {
        // What is planned on is there, or nothing would get further.
        root.path = "rootfs".into();
    }
    let id = ContainerId::parse("fuzz").expect("legal");
    let options = PlanOptions::new(id, BUNDLE.clone(), BUNDLE.join("state"));
    match ContainerPlan::new(&spec, &options) {
        Ok(plan) => assert!(!plan.describe().is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    assert!(!BUNDLE.join("state").exists(), "planning makes nothing");
});
