//! What `inspect` and its like show, beside what other tests look at.

use crate::images::{APP, Registry};
use crate::life::Place;
use crate::support::Host;

#[test]
fn room_that_a_container_takes_is_inspected_where_it_is_asked_for() {
    let Some(registry) = Registry::new() else { return };
    let place = crate::kept::Place::of(&registry.host);
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    assert_eq!(place.run(&["-u0", "--name=sized", APP, "-c", "echo four >/word"]).code(), 0);
    let shown = place.verb("inspect", &["-s", "--format={{.SizeRw}} {{.SizeRootFs}}", "sized"]);
    let (own, all) = shown.text().split_once(' ').expect("two numbers");
    let image = place.verb("inspect", &["--format={{.Size}}", APP]).text().parse::<u64>().expect("a number");
    assert_eq!((own, all.parse::<u64>()), ("5", Ok(image + 5)));
    assert!(place.verb("inspect", &["--size", "sized"]).text().contains("\"SizeRw\": 5"));
    assert!(!place.verb("inspect", &["sized"]).text().contains("SizeRw"));
    place.verb("inspect", &["--format={{.SizeRw}}", "sized"]).refuses(125, &["`.SizeRw` is no field"]);
    assert_eq!(place.verb("rm", &["sized"]).code(), 0);
    // An image has its names once, of however many manifests it is.
    assert_eq!(registry.rabbitc("tag", &[APP, "first:1", "second:1"]).code(), 0);
    let archive = registry.host.directory().join("app.tar").display().to_string();
    assert_eq!(registry.rabbitc("save", &["-o", &archive, "first:1"]).code(), 0);
    assert_eq!(registry.rabbitc("load", &["-i", &archive]).code(), 0);
    let tree = registry.rabbitc("image", &["tree", "second:1"]);
    assert_eq!(tree.text().matches("Top Layer of: ").count(), 1, "{tree:?}");
    let top = tree.text().lines().last().expect("the topmost layer");
    for name in ["first:1", "second:1", APP] {
        assert_eq!(top.matches(name).count(), 1, "{name}: {tree:?}");
    }
    place.is_empty();
}

#[test]
fn environment_is_inspected_with_the_path_that_programs_are_sought_in() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    for (name, flags, expected) in [
        (
            "--name=one",
            &["-e", "A=b"][..],
            r#"["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","A=b"]"#,
        ),
        ("--name=own", &["-e", "PATH=/bin"], r#"["PATH=/bin"]"#),
        ("--name=none", &["--unsetenv=PATH"], "[]"),
    ] {
        let made = place.script("create", &[&[name], flags].concat(), "true");
        let env = place.verb("inspect", &["--format={{json .Config.Env}}", made.text()]);
        assert_eq!(env.text(), expected, "{name}");
    }
    place.assert_nothing_left();
}

#[test]
fn memory_of_the_host_is_shown_in_one_unit() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let info = place.verb("info", &[]);
    let line = info.text().lines().find(|line| line.starts_with("Total Memory: ")).expect("it is told");
    // As docker shows it, and as `stats` does.
    assert!(["KiB", "MiB", "GiB", "TiB"].iter().any(|unit| line.ends_with(unit)), "{line}");
    host.assert_nothing_left();
}
