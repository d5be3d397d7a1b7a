//! The plan of the default configuration, as it is printed.

mod support;

use support::{Bundle, root_only};

/// What differs from host to host: which cgroup hierarchies there are, and this test's paths.
fn normalise(text: &str, bundle: &Bundle) -> String {
    let text = text.replace(&bundle.path.display().to_string(), "BUNDLE").replace(&bundle.id, "ID");
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = line.get(5..).unwrap_or(line).replace("into its cgroup, with", "with");
        let cgroup = line.contains("`/sys/fs/cgroup") && !line.contains("`/sys/fs/cgroup`");
        let host_only = line.contains("make standard links /sys/fs/cgroup/")
            || line.contains("change mount attributes `/sys/fs/cgroup`")
            || line.contains("create the cgroup in the unified hierarchy");
        if cgroup || host_only {
            continue;
        }
        lines.push(if line.contains("`/sys/fs/cgroup`") {
            "container  mount FILE SYSTEM `/sys/fs/cgroup`  (mounts[6])".to_owned()
        } else {
            line
        });
    }
    lines.join("\n") + "\n"
}

#[test]
fn plan_of_the_default_configuration_is_the_golden_one() {
    root_only!();
    let bundle = Bundle::new("plan", &["sh"]);
    bundle.edit(|config| {
        config["process"]["terminal"] = serde_json::json!(true);
    });
    // Not among the defaults of a host with cgroup v1.
    bundle.with_namespace("cgroup");
    let path = bundle.path.display().to_string();
    let printed = normalise(&bundle.succeed(&["plan", "--create", "--id", &bundle.id, &path]), &bundle);
    // Where v1 is in use, the cgroup is made after the clone.
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let name = if v2 { "default-spec.v2.plan" } else { "default-spec.v1.plan" };
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &printed).expect("written");
    }
    let expected = std::fs::read_to_string(&golden).expect("the golden plan");
    assert_eq!(printed, expected, "run with UPDATE_GOLDEN=1 if the change is meant");
    bundle.assert_clean("planning touches nothing");
    assert!(!bundle.path.join("state").exists(), "planning touches nothing");
}

#[test]
fn every_form_of_the_plan_has_the_same_steps() {
    root_only!();
    let bundle = Bundle::new("forms", &["sh"]);
    let path = bundle.path.display().to_string();
    let lines = bundle.succeed(&["plan", &path]).lines().count();
    let json: Vec<serde_json::Value> =
        serde_json::from_str(&bundle.succeed(&["plan", "--format", "json", &path])).expect("JSON");
    let page = bundle.succeed(&["plan", "--format", "markdown", &path]);
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| | ")).count();
    assert_eq!((lines, lines), (json.len(), rows));
    assert!(json.iter().all(|step| step["why"].as_str().is_some_and(|why| !why.is_empty())));
}
