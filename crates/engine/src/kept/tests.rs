//! Containers that are kept, as they are on the disk.

use super::*;

/// Ids, as they are made.
const ENDED: &str = "e00000000001";
const UNKNOWN: &str = "a00000000002";

#[test]
fn container_of_which_nobody_learned_how_it_ended_is_listed_so_or_goes() {
    let path = std::env::temp_dir().join(format!("rabbitc-kept-unknown-{}", std::process::id()));
    let containers = KeptContainers { path: path.clone() };
    for (id, stay) in [(ENDED, Stay::Removed), (UNKNOWN, Stay::Kept)] {
        let record = Record { stay, ..Record::new(id, KeptRoot::Host, &[]) };
        let mut lease = containers.begin(record).expect("begun");
        std::fs::create_dir_all(lease.directory().join("w0/work")).expect("made");
        lease.settle();
        lease.end(End::now(None)).expect("ended");
    }
    let listed = containers.list().expect("listed");
    let listed: Vec<_> = listed.iter().map(|kept| (kept.id.as_str(), kept.state)).collect();
    assert_eq!(listed, [(UNKNOWN, KeptState::Unknown)]);
    assert!(!path.join(ENDED).exists() && !path.join(UNKNOWN).join("w0").exists());
    std::fs::remove_dir_all(&path).expect("removed");
}

#[test]
fn what_is_no_containers_is_neither_listed_nor_removed_nor_put_beside_one() {
    let path = std::env::temp_dir().join(format!("rabbitc-kept-foreign-{}", std::process::id()));
    let containers = KeptContainers { path: path.clone() };
    std::fs::create_dir_all(path.join("registries.conf.d/more")).expect("made");
    assert!(containers.list().expect("listed").is_empty());
    for error in [
        containers.prune(&Default::default()).expect_err("not ours"),
        containers.begin(Record::new(ENDED, KeptRoot::Host, &[])).expect_err("not ours"),
    ] {
        assert!(error.to_string().contains("`registries.conf.d` in it"), "{error}");
    }
    assert!(path.join("registries.conf.d/more").exists());
    std::fs::remove_dir_all(&path).expect("removed");
}

/// Two containers that have ended, the second of which nobody learned how.
fn two(name: &str) -> KeptContainers {
    let path = std::env::temp_dir().join(format!("rabbitc-kept-{name}-{}", std::process::id()));
    let containers = KeptContainers { path };
    for id in [ENDED, UNKNOWN] {
        let record = Record::new(id, KeptRoot::Host, &[]);
        let mut lease = containers.begin(record).expect("begun");
        lease.settle();
        lease.end(End::now((id == ENDED).then_some(3))).expect("ended");
    }
    containers
}

#[test]
fn those_who_look_at_a_container_and_those_who_remove_it_do_not_hinder_one_another() {
    let containers = two("looked-at");
    let ended = containers.find(ENDED).expect("there");
    // Whoever removes it has its lock.
    let held = lock(&ended.directory, FlockOperation::NonBlockingLockExclusive).expect("locked");
    assert_eq!(
        containers.find(ENDED).expect("there").state,
        KeptState::Exited {
            code: 3,
            ended: match ended.state {
                KeptState::Exited { ended, .. } => ended,
                _ => unreachable!("it has ended"),
            }
        }
    );
    let error = containers.remove(&ended).expect_err("it is held");
    assert!(error.kind == ErrorKind::WrongStatus && error.reason == "it runs", "{error}");
    drop(held);
    // Whoever looks at it shares it: for a moment, or for longer.
    let share = || lock(&ended.directory, FlockOperation::NonBlockingLockShared).expect("locked");
    let look = share();
    let error = containers.remove(&ended).expect_err("it is looked at");
    assert_eq!(error.reason, "somebody looks at it");
    let moment = std::thread::spawn(move || {
        std::thread::sleep(LOOK / 5);
        drop(look);
    });
    containers.remove(&ended).expect("removed");
    moment.join().expect("it does not panic");
    let error = containers.remove(&ended).expect_err("it is gone");
    assert_eq!(error.kind, ErrorKind::NotFound);
    std::fs::remove_dir_all(&containers.path).expect("removed");
}

#[test]
fn damaged_record_hides_no_other_container_and_is_told() {
    let containers = two("damaged");
    std::fs::write(containers.path.join(ENDED).join(RECORD), "{").expect("written");
    let survey = containers.survey().expect("listed");
    let ids: Vec<&str> = survey.kept.iter().map(|kept| kept.id.as_str()).collect();
    assert_eq!((ids, survey.damaged.len()), (vec![UNKNOWN], 1));
    let told = survey.damaged[0].error.to_string();
    assert!(survey.damaged[0].id == ENDED && told.contains("/e00000000001/container.json"), "{told}");
    let error = containers.find("e0").expect_err("it is damaged");
    assert!(error.hint.is_some_and(|hint| hint.contains("remove the directory")));
    containers.remove(&containers.find(UNKNOWN).expect("there")).expect("removed");
    std::fs::remove_dir_all(&containers.path).expect("removed");
}

#[test]
fn record_of_which_power_left_the_name_alone_is_none_and_goes() {
    let containers = two("powerless");
    std::fs::write(containers.path.join(ENDED).join(RECORD), "").expect("written");
    let survey = containers.survey().expect("listed");
    assert_eq!((survey.kept.len(), survey.damaged.len()), (1, 0));
    containers.sweep_all().expect("swept");
    assert!(!containers.path.join(ENDED).exists());
    containers.outlive_power(UNKNOWN).expect("on the disk");
    containers.outlive_power(ENDED).expect("nothing is wrong with one that is gone");
    std::fs::remove_dir_all(&containers.path).expect("removed");
}
