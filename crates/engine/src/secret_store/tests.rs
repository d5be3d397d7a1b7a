//! Secrets, each test in a directory of its own.

use std::os::unix::fs::PermissionsExt;

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> (Scratch, SecretStore) {
        let path = std::env::temp_dir().join(format!("rabbitc-secrets-{name}-{}", std::process::id()));
        let store = SecretStore { path: path.join("secrets") };
        (Scratch(path), store)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What a test has left is in a directory for that.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn new(name: &str, value: &[u8]) -> NewSecret {
    let (labels, existing) = (BTreeMap::new(), ExistingSecret::Refused);
    NewSecret { name: name.to_owned(), value: value.to_vec(), labels, existing }
}

#[test]
fn secret_is_found_by_name_and_by_id_and_its_file_is_its_owners_alone() {
    let (_scratch, store) = Scratch::new("found");
    let every_byte: Vec<u8> = (0..=255).collect();
    let id = store.create(&new("key", &every_byte)).expect("made");
    assert!(id.len() == 25 && store.contains("key").expect("looked"), "{id}");
    for text in ["key", &id, &id[..3]] {
        let (secret, value) = store.find(text).expect(text);
        assert_eq!(
            (secret.name.as_str(), secret.id.as_str(), value),
            ("key", id.as_str(), every_byte.clone())
        );
    }
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&store.path), mode(&store.file(&id))), (0o700, 0o600));
    assert_eq!(store.remove("key").expect("removed"), id);
    assert_eq!(store.find(&id).expect_err("gone").kind, ErrorKind::NotFound);
}

#[test]
fn name_that_is_taken_is_refused_or_left_or_gets_a_new_value_under_its_old_id() {
    let (_scratch, store) = Scratch::new("taken");
    let id = store.create(&new("key", b"one")).expect("made");
    let with = |existing| NewSecret { existing, ..new("key", b"two") };
    let error = store.create(&with(ExistingSecret::Refused)).expect_err("taken");
    assert_eq!(error.code, Some(Code::InUse));
    assert_eq!(store.create(&with(ExistingSecret::Ignored)).expect("left"), id);
    assert_eq!(store.find("key").expect("there").1, b"one");
    assert_eq!(store.create(&with(ExistingSecret::Replaced)).expect("replaced"), id);
    let (secret, value) = store.find("key").expect("there");
    assert_eq!(value, b"two");
    assert!(secret.updated >= secret.created);
    assert_eq!(store.survey().expect("listed").secrets.len(), 1);
}

#[test]
fn values_and_names_have_podmans_limits() {
    let (_scratch, store) = Scratch::new("limits");
    for name in ["", ".", "..", "a/b", "a,b", "a=b", "a\nb", &"x".repeat(254)] {
        assert!(store.create(&new(name, b"x")).is_err(), "{name:?}");
    }
    assert!(store.create(&new("empty", b"")).is_err());
    assert!(store.create(&new("long", &[0; TOO_LONG])).is_err());
    assert!(!store.path.exists(), "nothing is made for what is refused");
    store.create(&new(&"x".repeat(253), &[0; TOO_LONG - 1])).expect("just below");
}

#[test]
fn draft_of_a_killed_command_goes_with_the_next_one() {
    let (_scratch, store) = Scratch::new("draft");
    let id = store.create(&new("key", b"one")).expect("made");
    let draft = store.file(&id).with_extension("draft");
    std::fs::write(&draft, "half of a secr").expect("written");
    store.create(&new("other", b"two")).expect("made");
    assert!(!draft.exists());
    std::fs::write(store.file(&id), "half of a secr").expect("written");
    let survey = store.survey().expect("listed");
    assert_eq!((survey.secrets.len(), survey.damaged.len()), (1, 1));
    assert_eq!(store.find("other").expect("there").1, b"two");
    assert!(!store.find(&id).expect_err("damaged").to_string().contains("secr\""));
}

#[test]
fn two_whose_ids_begin_alike_are_not_mistaken_for_one() {
    let (_scratch, store) = Scratch::new("alike");
    store.create(&new("a", b"one")).expect("made");
    store.create(&new("b", b"two")).expect("made");
    for (from, to) in [("a", "aaaa0"), ("b", "aaaa1")] {
        let record = store.named(from).expect("read").expect("there");
        let id = format!("{to}{}", "0".repeat(DIGITS - to.len()));
        let old = store.file(&record.id);
        Record { id: id.clone(), ..record }.write(&store.file(&id)).expect("written");
        std::fs::remove_file(old).expect("removed");
    }
    assert_eq!(store.find("aaaa").expect_err("several").kind, ErrorKind::Invalid);
    assert_eq!(store.find("aaaa1").expect("one").1, b"two");
}
