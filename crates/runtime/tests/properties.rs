//! Owns what holds for any document: a configuration is planned or refused by the name of its field, a record is read as it
//! was written or not at all.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use rabbitc_runtime_core::ContainerId;
use rabbitc_runtime_core::bundle::parse_json;
use rabbitc_runtime_core::plan::{ContainerPlan, PlanOptions};
use rabbitc_runtime_core::spec::Spec;
use rabbitc_runtime_core::state_dir::Record;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Every field that a plan may have, but for those that only some machines and kernels have.
const CONFIG: &str = include_str!("../../../fuzz/seeds/config/full.json");

/// Those that only some machines and kernels have.
const REST: &str = include_str!("../../../fuzz/seeds/config/unplannable.json");

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

/// Values that are wrong in most places.
fn wrong() -> Vec<Value> {
    let long = "x".repeat(5000);
    vec![
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
    ]
}

fn hostile() -> impl Strategy<Value = Value> {
    prop_oneof![select(wrong()), any::<i64>().prop_map(Value::from), any::<String>().prop_map(Value::from)]
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

/// The pointers of what the rest has and that configuration has not.
fn rest() -> Vec<(String, Value)> {
    let (whole, rest) = (config(), serde_json::from_str::<Value>(REST).expect("JSON"));
    let mut places = Vec::new();
    pointers(&rest, "", &mut places);
    let is_top = |place: &String| {
        let above = place.rsplit_once('/').expect("a pointer").0;
        whole.pointer(place).is_none() && whole.pointer(above).is_some_and(Value::is_object)
    };
    let value = |place: &str| rest.pointer(place).expect("it is there").clone();
    places.into_iter().filter(is_top).map(|place| (place.clone(), value(&place))).collect()
}

/// Sets one field more in a configuration.
fn add(config: &mut Value, place: &str, value: Value) {
    let (above, name) = place.rsplit_once('/').expect("a pointer");
    config.pointer_mut(above).expect("it is there")[name] = value;
}

#[test]
fn field_that_not_every_machine_has_is_planned_or_refused_by_its_name() {
    assert_eq!(rest().len(), 4, "{:?}", rest());
    for (place, value) in rest() {
        let mut config = config();
        add(&mut config, &place, value);
        if let Err(error) = plan(&config) {
            let name = place.rsplit('/').next().expect("a name");
            assert!(error.contains(name), "{place} is not named in: {error}");
        }
    }
}

/// What a list in the place of an object is answered with, for every object of a document of that shape.
fn lists_for_objects<T: DeserializeOwned + Debug>(document: &Value) {
    let mut places = Vec::new();
    pointers(document, "", &mut places);
    places.retain(|place| document.pointer(place).is_some_and(Value::is_object));
    assert!(!places.is_empty());
    for place in places {
        let mut document = document.clone();
        *document.pointer_mut(&place).expect("it is there") = json!([]);
        let error = parse_json::<T>(&document.to_string()).expect_err(&place).to_string();
        let top = place.split('/').nth(1).expect("a name");
        assert!(error.starts_with(top) && error.contains("invalid type: sequence"), "{place}: {error}");
    }
}

#[test]
fn list_in_place_of_an_object_is_refused() {
    let mut whole = config();
    for (place, value) in rest() {
        add(&mut whole, &place, value);
    }
    lists_for_objects::<Spec>(&whole);
    let record = json!({
        "joinedMounts": {"path": "/", "identity": [1, 1], "below": 1},
        "rdt": {"mount": "/", "group": "/", "own": true},
    });
    lists_for_objects::<Record>(&record);
    let error = parse_json::<Spec>("[]").expect_err("a list").to_string();
    assert!(error.contains("invalid type: sequence, expected struct Spec"), "{error}");
    let record = serde_json::to_value(Record::default()).expect("written");
    let fields = Value::Array(record.as_object().expect("an object").values().cloned().collect());
    parse_json::<Record>(&fields.to_string()).expect_err("a list");
}

#[test]
fn wrong_value_in_any_place_is_planned_or_refused_by_its_name() {
    let whole = config();
    let mut places = Vec::new();
    pointers(&whole, "", &mut places);
    for place in &places {
        let top = place.split('/').nth(1).expect("a name");
        for value in wrong() {
            let mut config = whole.clone();
            *config.pointer_mut(place).expect("it is there") = value;
            if let Err(error) = plan(&config) {
                assert!(error.contains(top), "{place} is not named in: {error}");
            }
        }
    }
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
    fn field_of_any_value_that_not_every_machine_has_is_planned_or_refused_by_its_name(
        field: Index, place: Index, value in hostile(),
    ) {
        let fields = rest();
        let (name, mut changed) = field.get(&fields).clone();
        let mut places = vec![String::new()];
        pointers(&changed, "", &mut places);
        let place = place.get(&places);
        *changed.pointer_mut(place).expect("it is there") = value;
        let mut config = config();
        add(&mut config, &name, changed);
        if let Err(error) = plan(&config) {
            let top = name.rsplit('/').next().expect("a name");
            prop_assert!(error.contains(top), "{} is not named in: {}", name, error);
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
