use super::*;
use crate::registry::scratch::Scratch;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn read(texts: &[&str]) -> Result<Configuration> {
    let scratch = Scratch::new();
    let main = scratch.write("registries.conf", texts[0]);
    for (index, text) in texts.iter().enumerate().skip(1) {
        scratch.write(&format!("d/{index}.conf"), text);
    }
    scratch.write("d/9.conf.off", "this is no TOML");
    Configuration::read(&Files { main: Some(main), drop_ins: vec![scratch.path().join("d")] })
}

fn configuration(texts: &[&str]) -> Configuration {
    read(texts).expect("legal")
}

fn names(configuration: &Configuration, typed: &str) -> Result<Vec<String>> {
    let names = configuration.complete(&typed.parse().expect("legal"))?;
    Ok(names.iter().map(Reference::to_string).collect())
}

fn places(configuration: &Configuration, name: &str) -> Vec<String> {
    let reference = name.parse().expect("legal");
    let endpoints = configuration.endpoints(&reference, Purpose::Pull, TlsVerify::AsConfigured);
    let shown = |endpoint: Endpoint| match endpoint.security {
        Security::Verified => endpoint.name(),
        Security::Any => format!("{} insecure", endpoint.name()),
    };
    endpoints.expect("not blocked").into_iter().map(shown).collect()
}

#[test]
fn without_a_file_names_are_docker_hubs() {
    let configuration = Configuration::read(&Files::default()).expect("none");
    assert_eq!(names(&configuration, "app"), Ok(vec!["docker.io/library/app:latest".to_owned()]));
    let reference = "app".parse().expect("legal");
    let endpoints = configuration.endpoints(&reference, Purpose::Pull, TlsVerify::AsConfigured);
    let endpoint = &endpoints.expect("one")[0];
    assert_eq!((endpoint.host(), endpoint.repository.as_str()), ("registry-1.docker.io", "library/app"));
    assert_eq!(endpoint.security, Security::Verified);
}

#[test]
fn manual_pages_own_example_is_read_as_it_says() {
    let configuration = configuration(&[r#"
        unqualified-search-registries = ["example.com"]

        [[registry]]
        prefix = "example.com/foo"
        insecure = false
        blocked = false
        location = "internal-registry-for-example.com/bar"

        [[registry.mirror]]
        location = "example-mirror-0.local/mirror-for-foo"

        [[registry.mirror]]
        location = "example-mirror-1.local/mirrors/foo"
        insecure = true

        [[registry]]
        location = "registry.com"

        [[registry.mirror]]
        location = "mirror.registry.com"
    "#]);
    assert_eq!(names(&configuration, "foo/image:1"), Ok(vec!["example.com/foo/image:1".to_owned()]));
    assert_eq!(
        places(&configuration, "example.com/foo/image:latest"),
        [
            "example-mirror-0.local/mirror-for-foo/image",
            "example-mirror-1.local/mirrors/foo/image insecure",
            "internal-registry-for-example.com/bar/image"
        ]
    );
    assert_eq!(
        places(&configuration, "registry.com/image"),
        ["mirror.registry.com/image", "registry.com/image"]
    );
    assert_eq!(places(&configuration, "example.com/food/image"), ["example.com/food/image"]);
    assert_eq!(places(&configuration, "registry.com:5000/image"), ["registry.com:5000/image"]);
    let reference = "registry.com/image".parse().expect("legal");
    let pushed = configuration.endpoints(&reference, Purpose::Push, TlsVerify::AsConfigured).expect("one");
    assert_eq!(pushed.len(), 1);
}

#[test]
fn longest_prefix_wins_and_wildcards_are_domains() {
    let configuration = configuration(&[r#"
        [[registry]]
        prefix = "*.example.com"
        insecure = true
        [[registry]]
        location = "a.example.com/closed"
        blocked = true
        [[registry]]
        prefix = "docker.io/library/app:1"
        location = "pinned.example/app:1"
    "#]);
    assert_eq!(places(&configuration, "a.b.example.com:5000/x"), ["a.b.example.com:5000/x insecure"]);
    assert_eq!(places(&configuration, "badexample.com/x"), ["badexample.com/x"]);
    assert_eq!(places(&configuration, "app:1"), ["pinned.example/app"]);
    assert_eq!(places(&configuration, "app:10"), ["docker.io/library/app"]);
    let closed = "a.example.com/closed/x".parse().expect("legal");
    let error = configuration.endpoints(&closed, Purpose::Pull, TlsVerify::Never).expect_err("blocked");
    assert!(error.reason.contains("blocked"), "{error}");
}

#[test]
fn mirrors_are_asked_for_what_they_are_for() {
    let configuration = configuration(&[r#"
        [[registry]]
        location = "r.example"
        [[registry.mirror]]
        location = "digests.example"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "tags.example"
        pull-from-mirror = "tag-only"
    "#]);
    assert_eq!(places(&configuration, "r.example/a:1"), ["tags.example/a", "r.example/a"]);
    let by_digest = format!("r.example/a@{DIGEST}");
    assert_eq!(places(&configuration, &by_digest), ["digests.example/a", "r.example/a"]);
    let error = read(&["[[registry]]\nlocation='r.example'\nmirror-by-digest-only=true\n\
        [[registry.mirror]]\nlocation='m.example'\npull-from-mirror='tag-only'"]);
    assert!(error.expect_err("both").reason.contains("together"));
}

#[test]
fn drop_ins_overwrite_by_prefix_name_and_field() {
    let configuration = configuration(&[
        "unqualified-search-registries = ['one.example']\n[[registry]]\nlocation = 'r.example'\ninsecure = true\n\
         [aliases]\napp = 'quay.example/team/app'\ngone = 'quay.example/team/gone'",
        "unqualified-search-registries = ['two.example', 'three.example']\n[[registry]]\nlocation = 'r.example'",
        "[aliases]\ngone = ''\n\"team/tool\" = 'docker.io/tool'",
    ]);
    let both = vec!["two.example/gone:latest".to_owned(), "three.example/gone:latest".to_owned()];
    assert_eq!(names(&configuration, "gone"), Ok(both));
    assert_eq!(places(&configuration, "r.example/a"), ["r.example/a"]);
    assert_eq!(names(&configuration, "app:2"), Ok(vec!["quay.example/team/app:2".to_owned()]));
    assert_eq!(names(&configuration, "team/tool"), Ok(vec!["docker.io/library/tool:latest".to_owned()]));
    assert_eq!(
        names(&configuration, &format!("app@{DIGEST}")),
        Ok(vec![format!("quay.example/team/app@{DIGEST}")])
    );
}

#[test]
fn nobody_guesses_where_the_file_forbids_it() {
    let enforcing =
        "short-name-mode = 'enforcing'\nunqualified-search-registries = ['a.example', 'b.example']";
    let error = names(&configuration(&[enforcing]), "app").expect_err("two");
    assert!(error.hint.is_some_and(|hint| hint.contains("`b.example/app`")));
    let error = names(&configuration(&["unqualified-search-registries = []"]), "app").expect_err("none");
    assert!(error.reason.contains("empty"), "{error}");
}

#[test]
fn loopback_needs_no_certificate_and_others_do() {
    let configuration = Configuration::default();
    for (name, security) in [
        ("localhost:5000/a", Security::Any),
        ("127.3.2.1/a", Security::Any),
        ("[::1]:5000/a", Security::Any),
        ("localhost.example/a", Security::Verified),
        ("10.0.0.1/a", Security::Verified),
        ("[::2]/a", Security::Verified),
    ] {
        let reference = name.parse().expect("legal");
        let of =
            |verify| configuration.endpoints(&reference, Purpose::Push, verify).expect("one")[0].security;
        assert_eq!(of(TlsVerify::AsConfigured), security, "{name}");
        assert_eq!((of(TlsVerify::Always), of(TlsVerify::Never)), (Security::Verified, Security::Any));
    }
    let registry = configuration.registry("index.docker.io", TlsVerify::AsConfigured).expect("legal");
    assert_eq!((registry.host(), registry.name().as_str()), ("registry-1.docker.io", "docker.io"));
}

#[test]
fn what_can_not_be_used_is_refused_with_its_file() {
    for (text, reason) in [
        ("[registries.search]\nregistries = ['docker.io']", "version 1"),
        ("unqualified-search-registries = 'docker.io'", "sequence"),
        ("unqualified-search-registries = ['https://docker.io']", "no host"),
        ("[[registry]]\ninsecure = true", "neither"),
        ("[[registry]]\nprefix = 'a.example'", "no `location`"),
        ("[[registry]]\nlocation = '../etc'", "no place"),
        ("[[registry]]\nprefix = '*.a/b'\nlocation = 'c.example'", "domain"),
        ("[[registry]]\nlocation = 'a.example'\n[[registry.mirror]]\ninsecure = true", "no place"),
        ("[aliases]\n\"a.example/b\" = 'c.example/d'", "short name"),
        ("[aliases]\nb = 'd'", "has a registry"),
        ("short-name-mode = 'odd'", "odd"),
        ("[[registry", "line 1"),
    ] {
        let error = read(&[text]).expect_err(text);
        assert!(error.reason.contains(reason), "{text:?}: {error}");
        assert!(error.operation.contains("registries.conf`"), "{error}");
    }
}

#[test]
fn own_file_takes_the_place_of_the_hosts() {
    let scratch = Scratch::new();
    let environment = vec![(OsString::from("XDG_CONFIG_HOME"), scratch.path().as_os_str().to_owned())];
    let own = scratch.path().join("containers/registries.conf");
    let own_drop_ins = scratch.path().join("containers/registries.conf.d");
    let hosts = Files::find(&environment);
    assert_eq!(hosts.main, Some(PathBuf::from("/etc/containers/registries.conf")));
    assert_eq!(hosts.drop_ins, [PathBuf::from("/etc/containers/registries.conf.d"), own_drop_ins.clone()]);
    scratch.write("containers/registries.conf", "");
    assert_eq!(Files::find(&environment), Files { main: Some(own), drop_ins: vec![own_drop_ins] });
}
