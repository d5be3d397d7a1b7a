//! Owns what holds for any document: a configuration is planned or refused by the name of its field, a record is read as it
//! was written or not at all.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use rabbitc_runtime_core::ContainerId;
use rabbitc_runtime_core::bundle::parse_json;
use rabbitc_runtime_core::plan::{ContainerPlan, PlanOptions};
use rabbitc_runtime_core::spec::Spec;
use rabbitc_runtime_core::state_dir::Record;
use serde_json::{Value, json};

/// Every field that a plan may have.
const CONFIG: &str = include_str!("../../../fuzz/seeds/config/full.json");

/// JSON pointers (RFC 6901) of all that is in a document.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut below = |name: &str, value: &Value| {
        let pointer = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        pointers(value, &pointer, found);
        found.push(pointer);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(list) => list.iter().enumerate().for_each(|(at, value)| below(&at.to_string(), value)),
        _ => {}
    }
}

fn hostile() -> impl Strategy<Value = Value> {
    let long = "x".repeat(5000);
    let fixed = select(vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(0.5),
        json!(""),
        json!("a\0b"),
        json!("/../../etc"),
        json!(long),
        json!([]),
        json!({}),
        json!([null]),
        json!([[]]),
        json!({"type": "none"}),
    ]);
    prop_oneof![fixed, any::<i64>().prop_map(Value::from), any::<String>().prop_map(Value::from)]
}

fn plan(config: &Value) -> Result<Vec<String>, String> {
    let bundle = PathBuf::from("/");
    let id = ContainerId::parse("properties").expect("legal");
    let spec: Spec = parse_json(&config.to_string()).map_err(|error| error.to_string())?;
    let options = PlanOptions::new(id, bundle, "/nowhere/state".into());
    let plan = ContainerPlan::new(&spec, &options).map_err(|error| error.to_string())?;
    Ok(plan.describe().iter().map(|step| format!("{step:?}")).collect())
}

/// A configuration that is in order but for what a test makes of it.
fn config() -> Value {
    let mut config: Value = serde_json::from_str(CONFIG).expect("JSON");
    config["root"]["path"] = json!("/usr");
    config
}

#[test]
fn configuration_that_is_changed_below_is_in_order() {
    plan(&config()).expect("planned");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn field_of_any_value_is_planned_or_refused_by_its_name(place: Index, value in hostile()) {
        let mut config = config();
        let mut places = Vec::new();
        pointers(&config, "", &mut places);
        let place = place.get(&places);
        *config.pointer_mut(place).expect("it is there") = value;
        let top = place.split('/').nth(1).expect("a name");
        match plan(&config) {
            Ok(steps) => prop_assert_eq!(plan(&config), Ok(steps), "the same once more"),
            Err(error) => prop_assert!(error.contains(top), "{} is not named in: {}", place, error),
        }
    }

    #[test]
    fn record_is_read_as_it_was_written(
        id: String, version: String, pid: i32, times: (u64, u64), flags: (bool, bool),
        group: Option<String>, gate: Option<(usize, usize)>, shared_root: Option<u64>,
        annotations: BTreeMap<String, String>,
    ) {
        let record = Record {
            id, pid, gate, shared_root, annotations,
            oci_version: version,
            cgroup_path: group,
            start_time: times.0,
            created: times.1,
            dies_with_launcher: flags.0,
            shares_pids: flags.1,
            ..Record::default()
        };
        let text = serde_json::to_string(&record).expect("written");
        prop_assert_eq!(parse_json::<Record>(&text).expect("read"), record);
    }

    #[test]
    fn record_that_was_cut_is_refused(end: Index) {
        let text = serde_json::to_string(&Record::default()).expect("written");
        prop_assert!(parse_json::<Record>(&text[..end.index(text.len())]).is_err());
    }
}
