//! What a registry may do to whoever pushes to it.

use std::io::Read;
use std::time::Duration;

use image::registry::{Client, Options, Uploaded};
use image::{Digest, Kind};

use super::liar::{Liar, Reply, Seen};
use super::{client, client_of, content, descriptor, endpoint, options, password};

/// A registry that takes all it gets; what comes by PATCH is answered by `patch`.
fn start(patch: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Liar {
    Liar::start(move |seen, number| match seen.method.as_str() {
        "HEAD" => Reply::new(404, ""),
        "POST" => Reply::new(202, "").with("Location", "/upload?state=0"),
        "PATCH" => patch(seen, number),
        "PUT" => Reply::new(201, ""),
        _ => Reply::new(200, ""),
    })
}

fn taken(_: &Seen, number: usize) -> Reply {
    Reply::new(202, "").with("Location", format!("/upload?state={number}"))
}

fn sent(liar: &Liar) -> Vec<u8> {
    liar.seen().into_iter().filter(|seen| seen.method == "PATCH").flat_map(|seen| seen.body).collect()
}

#[test]
fn blob_is_sent_in_one_piece_or_in_several() {
    let blob = content(100_000);
    let liar = start(taken);
    let pushed = client(&liar.host()).push_blob(&descriptor(&blob), None, || Ok(&blob[..]));
    assert_eq!(pushed.expect("taken"), Uploaded::Sent);
    assert_eq!(sent(&liar), blob);
    let last = liar.seen().pop().expect("the PUT");
    let digest = Digest::of(&blob).to_string().replace(':', "%3A");
    assert_eq!(last.path, format!("/upload?state={}&digest={digest}", liar.seen().len() - 2));

    let liar = start(taken);
    let in_pieces = Options { chunk: Some(40_000), ..options() };
    let client = Client::new(endpoint(&liar.host()), None, in_pieces);
    client.push_blob(&descriptor(&blob), None, || Ok(&blob[..])).expect("taken");
    assert_eq!(sent(&liar), blob);
    let ranges: Vec<_> =
        liar.seen().iter().filter_map(|seen| seen.header("content-range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["0-39999", "40000-79999", "80000-99999"]);

    let liar = start(taken);
    super::client(&liar.host()).push_blob(&descriptor(b""), None, || Ok(&b""[..])).expect("an empty one too");
}

#[test]
fn blob_that_is_there_is_not_sent() {
    let liar = Liar::start(|seen, _| Reply::new(if seen.method == "HEAD" { 200 } else { 500 }, ""));
    let never = || -> std::io::Result<&[u8]> { panic!("it is not even opened") };
    let pushed = client(&liar.host()).push_blob(&descriptor(b"abc"), Some("other/app"), never);
    assert_eq!(pushed.expect("there"), Uploaded::Existed);
    let liar = Liar::start(|seen, _| Reply::new(if seen.method == "HEAD" { 404 } else { 201 }, ""));
    let pushed = client(&liar.host()).push_blob(&descriptor(b"abc"), Some("other/app"), never);
    assert_eq!(pushed.expect("in the other"), Uploaded::Mounted);
    let path = liar.seen().pop().expect("the POST").path;
    assert!(path.ends_with("&from=other%2Fapp") && path.contains("?mount=sha256%3A"), "{path}");
}

#[test]
fn blob_that_may_not_be_taken_from_another_repository_is_sent() {
    for status in [400, 401, 403, 404, 405] {
        let liar = Liar::start(move |seen, number| match seen.method.as_str() {
            "HEAD" => Reply::new(404, ""),
            "POST" if seen.path.contains("mount=") => Reply::new(status, ""),
            "POST" => Reply::new(202, "").with("Location", "/upload"),
            "PATCH" => taken(seen, number),
            _ => Reply::new(201, ""),
        });
        let pushed =
            client(&liar.host()).push_blob(&descriptor(b"abc"), Some("other/app"), || Ok(&b"abc"[..]));
        assert_eq!(pushed.expect("sent"), Uploaded::Sent, "{status}");
        assert_eq!(sent(&liar), b"abc");
    }
    // Where it is the token server that refuses what is asked for beside.
    let liar = Liar::start(|seen, number| match (seen.authorization(), seen.method.as_str()) {
        _ if seen.path.contains("other%2Fapp%3Apull") => Reply::new(403, ""),
        _ if seen.path.starts_with("/token") => Reply::new(200, r#"{"token": "t"}"#),
        (None, _) => {
            let realm = format!(r#"Bearer realm="http://{}/token""#, seen.header("host").expect("said"));
            Reply::new(401, "").with("WWW-Authenticate", realm)
        }
        (_, "HEAD") => Reply::new(404, ""),
        (_, "POST") => Reply::new(202, "").with("Location", "/upload"),
        (_, "PATCH") => taken(seen, number),
        _ => Reply::new(201, ""),
    });
    let pushed = client(&liar.host()).push_blob(&descriptor(b"abc"), Some("other/app"), || Ok(&b"abc"[..]));
    assert_eq!(pushed.expect("sent"), Uploaded::Sent);
    // Who may not write at all is told so.
    let liar = Liar::start(|seen, _| Reply::new(if seen.method == "HEAD" { 404 } else { 403 }, ""));
    let pushed = client(&liar.host()).push_blob(&descriptor(b"abc"), Some("other/app"), || Ok(&b"abc"[..]));
    assert_eq!(pushed.expect_err("denied").kind, Kind::Unauthorized);
    assert_eq!(liar.seen().len(), 3);
}

#[test]
fn upload_that_breaks_begins_anew_and_not_for_ever() {
    let blob = content(10_000);
    let liar = start(|seen, number| if number < 4 { Reply::new(502, "") } else { taken(seen, number) });
    let pushed = client(&liar.host()).push_blob(&descriptor(&blob), None, || Ok(&blob[..]));
    assert_eq!(pushed.expect("the second time"), Uploaded::Sent);
    let liar = start(|_, _| Reply::new(502, ""));
    let error =
        client(&liar.host()).push_blob(&descriptor(&blob), None, || Ok(&blob[..])).expect_err("never");
    assert_eq!(error.kind, Kind::Remote);
    assert_eq!(liar.seen().iter().filter(|seen| seen.method == "PATCH").count(), 3);
}

#[test]
fn registry_that_takes_next_to_nothing_is_given_up() {
    let blob = content(24 << 20);
    let liar = Liar::sipping(Duration::from_millis(2), |seen, number| match seen.method.as_str() {
        "HEAD" => Reply::new(404, ""),
        "POST" => Reply::new(202, "").with("Location", "/upload"),
        _ => taken(seen, number),
    });
    let mut options = options();
    // What it sips is a tenth of that.
    (options.waits.slow, options.waits.least) = (Duration::from_millis(300), 6 << 20);
    let client = Client::new(endpoint(&liar.host()), None, options);
    let error = client.push_blob(&descriptor(&blob), None, || Ok(&blob[..])).expect_err("sips");
    assert_eq!(error.kind, Kind::Remote);
    assert!(error.reason.contains("takes next to nothing"), "{error}");
    assert_eq!(liar.seen().iter().filter(|seen| seen.method == "POST").count(), 3, "it begins anew twice");
}

#[test]
fn upload_that_goes_on_elsewhere_does_so_without_credentials() {
    let elsewhere = start(taken);
    let to = elsewhere.host();
    let liar = Liar::start(move |seen, _| match (seen.authorization(), seen.method.as_str()) {
        (None, _) => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""),
        (_, "HEAD") => Reply::new(404, ""),
        _ => Reply::new(202, "").with("Location", format!("http://{to}/upload")),
    });
    let client = client_of(&liar.host(), password("me", "secret"));
    client.push_blob(&descriptor(b"abc"), None, || Ok(&b"abc"[..])).expect("taken elsewhere");
    assert_eq!(sent(&elsewhere), b"abc");
    assert!(elsewhere.seen().iter().all(|seen| seen.authorization().is_none()));
    let liar = Liar::start(|seen, _| Reply::new(if seen.method == "HEAD" { 404 } else { 202 }, ""));
    let error = super::client(&liar.host()).push_blob(&descriptor(b"abc"), None, || Ok(&b"abc"[..]));
    assert_eq!(error.expect_err("to where?").kind, Kind::Corrupt);
}

#[test]
fn own_fault_is_not_the_registrys() {
    let liar = start(taken);
    let client = client(&liar.host());
    let blob = content(200_000);
    let error = client.push_blob(&descriptor(&blob), None, || Ok(&blob[..1000])).expect_err("too short");
    assert!(error.reason.contains("ends 199000 bytes before"), "{error}");
    assert_eq!(liar.seen().iter().filter(|seen| seen.method == "POST").count(), 1, "it is not begun anew");
    let failing = || Err::<&[u8], _>(std::io::Error::from_raw_os_error(13));
    let error = client.push_blob(&descriptor(&blob), None, failing).expect_err("no right to");
    assert_eq!((error.kind, error.errno), (Kind::System, Some(13)));
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(5))
        }
    }
    let error = client.push_blob(&descriptor(&blob), None, || Ok(Broken)).expect_err("a bad disk");
    assert_eq!(error.errno, Some(5));
}

#[test]
fn manifest_that_is_kept_as_another_is_an_error() {
    let liar = Liar::start(|_, _| {
        Reply::new(201, "").with("Docker-Content-Digest", Digest::of(b"other").to_string())
    });
    let error = client(&liar.host()).put_manifest("1", "application/json", b"{}").expect_err("another");
    assert_eq!(error.kind, Kind::Corrupt);
    let liar = Liar::start(|_, _| Reply::new(201, ""));
    let digest = client(&liar.host()).put_manifest("1", "application/json", b"{}").expect("kept");
    assert_eq!(digest, Digest::of(b"{}"));
}
