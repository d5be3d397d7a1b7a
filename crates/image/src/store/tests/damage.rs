//! Parts that are damaged or gone, found, repaired, and not taken for what they should be.

use std::path::Path;

use super::*;

#[test]
fn repair_takes_nothing_from_images_that_came_since_and_puts_back_what_it_cannot_bring() {
    let place = Place::new("repair");
    let first = place.image(&[("a", "shared")]);
    let one = place.pull().expect("pulled").image;
    let tree = place.store.layer_path(&one.layers[0].diff_id);
    std::fs::write(tree.join("more"), "").expect("written");
    let found = place.store.check(Depth::Bytes, &Here, &|_, _| ()).expect("checked");
    let [damage] = &found[..] else { panic!("{found:?}") };
    assert_eq!(damage.images, std::slice::from_ref(&one));

    let second = place.image(&[("a", "shared"), ("b", "own")]);
    let other = place.pull().expect("pulled").image;
    let refused = |reason: &str| {
        let error = place.store.mend(damage, &mut |_| panic!("nothing is brought")).expect_err(reason);
        assert!(error.kind == Kind::InUse && error.reason.contains(reason), "{error}");
        assert!(tree.join("a").exists(), "it is still there");
    };
    let claim = place.store.claim(&other).expect("claimed");
    refused("a running container is of it");
    drop(claim);
    let mounted =
        MountedImage { manifest: other.manifest.clone(), path: "/mnt".into(), count: 1, namespace: None };
    place.store.begin_mounting().and_then(|mounting| mounting.write(&other, &mounted)).expect("noted");
    refused("mounted at `/mnt`");
    place.store.begin_mounting().and_then(|mounting| mounting.remove(&mounted)).expect("removed");

    let error = Error::new(Kind::Remote, "pull", "nobody is there");
    let failed = place.store.mend(damage, &mut |_| Err(error.clone())).expect_err("not brought");
    assert!(failed == error && tree.join("more").exists() && place.counts()[3] == 0, "{failed}");

    // Whoever is pulling another image of this layer does not keep it without.
    place.image(&[("a", "shared"), ("c", "own")]);
    let late = place.pull().expect("pulled").image;
    place.store.forget(&late, Seen::Names(&[])).expect("forgotten");
    let bring = &mut |image: &Image| {
        if !tree.exists() {
            assert_eq!(place.store.keep(&late).expect_err("not whole").kind, Kind::InUse);
        }
        place.index(&[if image.manifest == first.digest { &first } else { &second }]);
        place.pull().map(drop)
    };
    place.store.mend(damage, bring).expect("repaired");
    assert!(tree.join("a").exists() && place.counts()[3] == 0);
    place.store.keep(&late).expect("whole again");
    assert_eq!(place.store.check(Depth::Bytes, &Here, &|_, _| ()).expect("checked"), []);
}

#[test]
fn damaged_documents_are_found_and_made_again_of_what_is_here() {
    let place = Place::new("documents");
    place.image(&[("a", "x")]);
    let Pulled { image, digests, .. } = place.pull().expect("pulled");
    let reference: Reference = "app".parse().expect("legal");
    place.store.name(&reference, &image, digests.clone()).expect("named");
    place.store.make_list(&"list".parse().expect("legal")).expect("made");
    let store = place.store.path();
    let cut = |directory: &str| {
        let file = entries(&store.join(directory)).expect("listed").remove(0);
        std::fs::write(store.join(directory).join(&file), "{\"half").expect("written");
        Part::Document(Path::new(directory).join(file))
    };
    let damaged = ["images", "names", "lists"].map(cut);
    assert_eq!(place.store.sweep().expect_err("what is needed is not known").kind, Kind::Corrupt);
    let found = place.store.check(Depth::Bytes, &Here, &|_, _| ()).expect("checked");
    let parts: Vec<&Part> = found.iter().map(|damage| &damage.part).collect();
    assert_eq!(parts, damaged.iter().collect::<Vec<_>>());
    assert_eq!((&found[0].images[0].id, &found[0].images[0].manifest), (&image.id, &image.manifest));
    // Nothing is brought in vain, and nothing is lost where it can't be.
    let error = Error::new(Kind::Remote, "pull", "nobody is there");
    assert_eq!(place.store.mend(&found[0], &mut |_| Err(error.clone())).expect_err("not brought"), error);
    for damage in &found {
        place.store.mend(damage, &mut |_| place.pull().map(drop)).expect("repaired");
        place.store.mend(damage, &mut |_| panic!("it is whole")).expect("nothing to do");
    }
    assert_eq!(place.store.check(Depth::Bytes, &Here, &|_, _| ()).expect("checked"), []);
    let again = place.store.image(&image.manifest).expect("read").expect("there");
    assert_eq!((&again.layers, &again.id), (&image.layers, &image.id));
    assert!(place.store.names().expect("read").is_empty() && place.store.lists().expect("read").is_empty());
    assert_eq!(place.store.sweep().expect("swept").map(|swept| swept.layers), Some(0));
}

#[test]
fn layer_of_which_nothing_is_known_any_more_is_unpacked_once_more() {
    let place = Place::new("facts");
    place.image(&[("a", "x")]);
    let image = place.pull().expect("pulled").image;
    let facts = place.store.layer_directory(&image.layers[0].diff_id).join("layer.json");
    let whole = std::fs::read(&facts).expect("there");
    std::fs::write(&facts, &whole[..20]).expect("written");
    assert_eq!(place.store.usage(&BTreeSet::new()).expect("told").images.len(), 1);
    let found = place.store.check(Depth::Sizes, &Here, &|_, _| ()).expect("checked");
    assert_eq!(found[0].part, Part::Layer(image.layers[0].diff_id.clone()));
    // Another image brings it as well.
    place.image(&[("a", "x"), ("b", "y")]);
    place.pull().expect("pulled");
    assert_eq!(std::fs::read(&facts).expect("there"), whole);
    assert_eq!(place.store.check(Depth::Bytes, &Here, &|_, _| ()).expect("checked"), []);
}

#[test]
fn sweep_ends_where_it_cannot_tell_what_a_list_needs() {
    let place = Place::new("unread");
    place.image(&[("a", "x")]);
    let image = place.pull().expect("pulled").image;
    let reference: Reference = "list".parse().expect("legal");
    place.store.make_list(&reference).expect("made");
    let entry = place.store.entry_of(&image).expect("read");
    let add = |index: &mut crate::documents::Index, _: &mut _| {
        index.manifests.push(entry.clone());
        Ok(())
    };
    let list = place.store.change_list(&reference, add).expect("added");
    place.store.forget(&image, Seen::Names(&[])).expect("forgotten");
    place.store.sweep().expect("swept");
    for digest in [&list.index, &image.manifest] {
        let path = place.store.blob_path(digest);
        let text = std::fs::read(&path).expect("there");
        // As good as a disk that can't read it now.
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir(&path).expect("made");
        let error = place.store.sweep().expect_err("it can't be read");
        assert_eq!(error.errno, Some(rustix::io::Errno::ISDIR.raw_os_error()), "{error}");
        assert!(place.store.has_blob(&image.layers[0].blob) && place.store.has_blob(&image.id));
        let found = place.store.check(Depth::Bytes, &Here, &|_, _| ()).expect("checked");
        assert!(found.iter().any(|damage| damage.part == Part::Blob(digest.clone())), "{found:?}");
        std::fs::remove_dir(&path).expect("removed");
        std::fs::write(&path, text).expect("written");
        place.store.sweep().expect("it can");
    }
}

#[test]
fn layer_without_its_tree_is_unpacked_once_more() {
    let place = Place::new("no-tree");
    place.image(&[("a", "x")]);
    let image = place.pull().expect("pulled").image;
    let tree = place.store.layer_path(&image.layers[0].diff_id);
    let shifted = place.store.shifted_path(&image.layers[0].diff_id, "key");
    std::fs::create_dir(&shifted).expect("made");
    std::fs::remove_dir_all(&tree).expect("removed");
    let again = place.pull().expect("pulled again");
    assert!(!again.was_there && tree.join("a").exists() && shifted.exists());
    assert_eq!(place.store.check(Depth::Bytes, &Here, &|_, _| ()).expect("checked"), []);
    assert_eq!(place.counts(), [3, 1, 1, 0]);
}

#[test]
fn root_of_a_layer_is_checked_as_all_that_is_in_it() {
    let place = Place::new("root");
    place.image(&[("a", "x")]);
    let image = place.pull().expect("pulled").image;
    let tree = place.store.layer_path(&image.layers[0].diff_id);
    let check = || place.store.check(Depth::Bytes, &Here, &|_, _| ()).expect("checked");
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&tree, mode).expect("set");
    };
    mode(0o777);
    assert_eq!(check()[0].what, "its root: its kind or mode was another");
    mode(0o755);
    assert_eq!(check(), []);
    rustix::fs::setxattr(&tree, "user.note", b"x", rustix::fs::XattrFlags::empty()).expect("set");
    assert_eq!(check()[0].what, "its root: its extended attributes were others");
}

/// Says of any layer that it is this one.
struct Lies(Digest);

impl Unpacker for Lies {
    fn start(&self, archive: OwnedFd, tree: OwnedFd) -> Result<Finish> {
        let (finish, diff_id) = (Here.start(archive, tree)?, self.0.clone());
        Ok(Box::new(move || Ok(unpack::Unpacked { diff_id, ..finish()? })))
    }
}

#[test]
fn layer_that_an_unpacker_lied_about_is_not_taken_for_the_true_one() {
    let place = Place::new("lies");
    let base = archive("bin", "of everybody");
    let diff_id = Digest::of(&base);
    place.image_of(&[archive("bin", "evil")], std::slice::from_ref(&diff_id));
    let forged = place.pull_by(&Lies(diff_id.clone())).expect("pulled").image;
    place.image_of(std::slice::from_ref(&base), std::slice::from_ref(&diff_id));
    let error = place.pull().expect_err("another tree");
    assert!(error.kind == Kind::Corrupt && error.reason.contains("`bin`"), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("system check")));
    let found = place.store.check(Depth::Bytes, &Here, &|_, _| ()).expect("checked");
    assert!(found[0].what.contains("unpacks to something else"), "{found:?}");
    place.store.forget(&forged, Seen::Names(&[])).expect("forgotten");
    place.store.sweep().expect("swept");
    let image = place.pull().expect("pulled").image;
    let file = place.store.layer_path(&image.layers[0].diff_id).join("bin");
    assert_eq!(std::fs::read_to_string(file).expect("unpacked"), "of everybody");
}
