//! What a registry may do to whoever pulls from it.

use std::time::{Duration, Instant};

use image::documents::Document;
use image::registry::{Client, Endpoint, Security};
use image::{Digest, Kind};

use super::liar::{Liar, Reply, Seen};
use super::{client, client_of, content, descriptor, endpoint, impatient, options, password, read};

#[test]
fn blob_that_is_cut_goes_on_where_it_was_cut() {
    let whole = content(100_000);
    let served = whole.clone();
    let liar = Liar::start(move |seen, number| {
        let reply = Reply::range(seen, &served);
        if number < 3 { reply.cut(20_000) } else { reply }
    });
    assert_eq!(read(&client(&liar.host()), &descriptor(&whole)).expect("goes on"), whole);
    let ranges: Vec<_> = liar.seen().iter().map(|seen| seen.header("range").map(str::to_owned)).collect();
    let expected = [None, Some("bytes=20000-"), Some("bytes=40000-"), Some("bytes=60000-")];
    assert_eq!(ranges, expected.map(|range| range.map(str::to_owned)));
}

#[test]
fn blob_that_can_not_go_on_is_an_error_and_no_end() {
    let whole = content(50_000);
    let served = whole.clone();
    // It sends all of it again, whatever it is asked for.
    let liar = Liar::start(move |_, _| Reply::new(200, served.clone()).cut(20_000));
    let error = read(&client(&liar.host()), &descriptor(&whole)).expect_err("half a blob");
    assert!(error.reason.contains("can't go on"), "{error}");

    let served = whole.clone();
    let liar = Liar::start(move |seen, number| match number {
        0 => Reply::range(seen, &served).cut(20_000),
        _ => Reply::new(206, &served[10_000..]).with("Content-Range", "bytes 10000-49999/50000"),
    });
    let error = read(&client(&liar.host()), &descriptor(&whole)).expect_err("another part");
    assert!(error.reason.contains("can't go on"), "{error}");

    let served = whole.clone();
    let liar = Liar::start(move |seen, _| Reply::range(seen, &served).cut(0));
    let error = read(&client(&liar.host()), &descriptor(&whole)).expect_err("never a byte");
    assert!(error.reason.contains("attempts"), "{error}");
    assert_eq!(liar.seen().len(), 6, "once, and five times more");
}

#[test]
fn blob_that_comes_slowly_and_not_too_slowly_comes() {
    let whole = content(600);
    let served = whole.clone();
    let liar = Liar::start(move |seen, _| Reply::range(seen, &served).drip(Duration::from_millis(2)));
    let mut options = options();
    // Longer than that, and quicker than what would be too little.
    (options.waits.slow, options.waits.least) = (Duration::from_millis(200), 5);
    let client = Client::new(endpoint(&liar.host()), None, options);
    assert_eq!(read(&client, &descriptor(&whole)).expect("byte by byte"), whole);
    assert_eq!(liar.seen().len(), 1);
}

#[test]
fn registry_that_stalls_or_drips_is_given_up_in_time() {
    let whole = content(5_000);
    let begun = Instant::now();
    let served = whole.clone();
    let liar = Liar::start(move |seen, _| Reply::range(seen, &served).stall(100));
    // Each of six connections brings as much, and then nothing for 0.4 s.
    let error = read(&impatient(&liar.host()), &descriptor(&whole)).expect_err("stalls");
    assert_eq!(error.kind, Kind::Remote);
    assert!(error.reason.contains("of 5000 bytes and 5 attempts"), "{error}");

    let served = whole.clone();
    let drop_by_drop = Duration::from_millis(20);
    let liar = Liar::start(move |seen, _| Reply::range(seen, &served).drip(drop_by_drop));
    let error = read(&impatient(&liar.host()), &descriptor(&whole)).expect_err("drips");
    assert_eq!(error.kind, Kind::Remote);
    assert!(error.reason.contains("next to nothing, after"), "{error}");
    let from = |seen: &Seen| seen.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok();
    let ranges: Vec<u64> = liar.seen().iter().filter_map(from).collect();
    assert_eq!(ranges.len(), 5, "it is asked to go on: {ranges:?}");
    assert!(ranges[0] > 0 && ranges.is_sorted_by(|one, next| one < next), "{ranges:?}");

    let liar = Liar::start(|_, _| Reply::new(200, "{}").stall(0));
    impatient(&liar.host()).manifest("1").expect_err("stalls");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn blob_of_another_size_is_never_handed_out_whole() {
    let right = content(10_000);
    let longer = [&right[..], b"more"].concat();
    for (served, endless, reason) in [
        (longer.clone(), false, "the registry has 10004"),
        (right[..9_000].to_vec(), false, "the registry has 9000"),
        (longer, true, "there are more"),
    ] {
        let liar = Liar::start(move |_, _| {
            let reply = Reply::new(200, served.clone());
            if endless { reply.endless() } else { reply }
        });
        let client = client(&liar.host());
        let error = read(&client, &descriptor(&right)).expect_err("not what it should be");
        assert_eq!(error.kind, Kind::Corrupt, "{error}");
        assert!(error.reason.contains(reason), "{error}");
        assert_eq!(liar.seen().len(), 1, "it is not asked again");
    }
}

#[test]
fn empty_blob_is_a_blob() {
    let liar = Liar::start(|_, _| Reply::new(200, ""));
    assert_eq!(read(&client(&liar.host()), &descriptor(b"")).expect("empty"), b"");
    let mut other = descriptor(b"");
    other.digest = Digest::of(b"something");
    assert_eq!(read(&client(&liar.host()), &other).expect_err("not that").kind, Kind::Corrupt);
}

#[test]
fn manifest_is_what_its_digest_says() {
    let liar = Liar::start(|seen, _| match seen.path.as_str() {
        "/v2/team/app/manifests/lie" => {
            Reply::new(200, "{}").with("Docker-Content-Digest", Digest::of(b"other").to_string())
        }
        "/v2/team/app/manifests/none" => Reply::new(200, "{}").with("Docker-Content-Digest", "sha1:12"),
        "/v2/team/app/manifests/gone" => Reply::new(404, ""),
        _ => Reply::new(200, "{}").with("Docker-Content-Digest", Digest::of(b"{}").to_string()),
    });
    let client = client(&liar.host());
    let right = Digest::of(b"{}");
    assert_eq!(client.manifest("1").expect("right").digest, right);
    assert_eq!(client.manifest("none").expect("says none").digest, right);
    assert_eq!(client.manifest(&right.to_string()).expect("by digest").bytes, b"{}");
    assert_eq!(client.manifest("lie").expect_err("a lie").kind, Kind::Corrupt);
    // The registry's own header is no reason to take something else than what was asked for.
    let other = Digest::of(b"other").to_string();
    assert!(client.manifest(&other).expect_err("another").reason.contains(&other));
    assert_eq!(client.digest_of("1").expect("there"), Some(right.clone()));
    assert_eq!(client.digest_of("none").expect("fetched for it"), Some(right));
    assert_eq!(client.digest_of("gone").expect("answered"), None);
}

#[test]
fn redirects_are_followed_ten_times_and_no_further() {
    let liar = Liar::start(|seen, number| match seen.path.contains("blobs") {
        true if number < 10 => Reply::redirect(format!("/v2/team/app/blobs/{number}")),
        true => Reply::new(200, "abc"),
        false => Reply::redirect(seen.path.clone()),
    });
    assert_eq!(read(&client(&liar.host()), &descriptor(b"abc")).expect("the tenth"), b"abc");
    let before = liar.seen().len();
    let error = client(&liar.host()).manifest("1").expect_err("a circle");
    assert!(error.reason.contains("more than 10"), "{error}");
    assert_eq!(liar.seen().len() - before, 11);
    let liar = Liar::start(|_, _| Reply::redirect("file:///etc/passwd"));
    assert_eq!(client(&liar.host()).manifest("1").expect_err("no address").kind, Kind::Corrupt);
    let liar = Liar::start(|_, _| Reply::new(302, ""));
    assert_eq!(client(&liar.host()).manifest("1").expect_err("to where?").kind, Kind::Corrupt);
}

#[test]
fn credentials_go_to_the_registry_and_to_nobody_it_sends_us_to() {
    let elsewhere = Liar::start(|seen, _| match seen.path.as_str() {
        "/asks" => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"give\""),
        _ => Reply::new(200, "abc"),
    });
    let to = elsewhere.host();
    let liar = Liar::start(move |seen, _| match (seen.authorization(), seen.path.contains("manifests")) {
        (None, _) => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""),
        (Some(_), false) => Reply::redirect(format!("http://{to}/blob")),
        (Some(_), true) => Reply::redirect(format!("http://{to}/asks")),
    });
    let client = client_of(&liar.host(), password("me", "secret"));
    assert_eq!(read(&client, &descriptor(b"abc")).expect("from elsewhere"), b"abc");
    let error = client.manifest("1").expect_err("elsewhere wants to know who asks");
    assert_eq!(error.kind, Kind::Unauthorized);
    assert_eq!(elsewhere.paths(), ["/blob", "/asks"]);
    assert!(elsewhere.seen().iter().all(|seen| seen.authorization().is_none()));
    let own = liar.seen();
    assert_eq!(own[1].authorization(), Some("Basic bWU6c2VjcmV0"));
}

#[test]
fn refusal_of_credentials_is_no_loop() {
    let liar = Liar::start(|_, _| Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""));
    let error = client_of(&liar.host(), password("me", "wrong")).manifest("1").expect_err("refused");
    assert_eq!(error.kind, Kind::Unauthorized);
    assert!(error.hint.expect("says what to do").contains("rabbitc login"));
    assert_eq!(liar.seen().len(), 2, "without, and with");
    client(&liar.host()).manifest("1").expect_err("nobody");
    assert_eq!(liar.seen().len(), 3);
}

#[test]
fn bodies_that_never_end_do() {
    let liar = Liar::start(|seen, _| match seen.path.contains("/team/app/tags") {
        true => Reply::new(500, "x".repeat(10_000)).endless(),
        false => Reply::new(200, "x".repeat(10_000)).endless(),
    });
    let client = client(&liar.host());
    let error = client.manifest("1").expect_err("endless");
    assert_eq!(error.kind, Kind::TooMuch);
    assert!(error.reason.contains("4096 KiB"), "{error}");
    assert_eq!(client.tags().expect_err("endless").kind, Kind::Remote);
    let liar = Liar::start(|_, _| Reply::new(200, "").with("Content-Length", "99999999999"));
    let error = super::client(&liar.host()).manifest("1").expect_err("says so itself");
    assert_eq!(error.kind, Kind::TooMuch);
}

#[test]
fn page_for_people_is_no_answer() {
    let page = "<html>\x1b[31mPlease log in to the hotel's network</html>";
    let liar = Liar::start(move |seen, _| {
        let status = if seen.path.ends_with("/1") || seen.path.contains("tags") { 200 } else { 511 };
        Reply::new(status, page).with("Content-Type", "text/html")
    });
    let client = client(&liar.host());
    let found = client.manifest("1").expect("whatever it is");
    assert!(Document::parse(&found.bytes, found.media_type.as_deref(), "pull").is_err());
    let error = client.tags().expect_err("no JSON");
    assert!(error.reason.contains("`text/html` that can't be understood"), "{error}");
    let error = client.manifest("2").expect_err("a portal");
    assert!(error.reason.contains("511 with `text/html`") && !error.reason.contains("hotel"), "{error}");
}

#[test]
fn refusal_is_told_in_the_registrys_words_with_nothing_that_a_terminal_obeys() {
    let words = "x".repeat(5_000);
    let liar = Liar::start(move |seen, _| match seen.path.ends_with("/1") {
        true => Reply::new(
            404,
            r#"{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "\u001b[2Junknown", "detail": {}}, {"code": "NAME_UNKNOWN"}]}"#,
        ),
        false => Reply::new(403, format!(r#"{{"errors": [{{"code": "DENIED", "message": "{words}"}}]}}"#)),
    });
    let error = client(&liar.host()).manifest("1").expect_err("not there");
    assert_eq!(error.kind, Kind::NotFound);
    assert!(error.reason.contains(r"404: \u{1b}[2Junknown; NAME_UNKNOWN"), "{error}");
    assert!(error.operation.contains("team/app:1`"), "{error}");
    let error = client(&liar.host()).manifest("2").expect_err("denied");
    assert!(error.reason.len() < 400, "{error}");
}

#[test]
fn busy_registry_is_asked_again_as_it_wants() {
    let liar = Liar::start(|_, number| match number {
        0 => Reply::new(429, "").with("Retry-After", "1"),
        1 => Reply::new(503, ""),
        _ => Reply::new(200, "{}"),
    });
    let begun = Instant::now();
    client(&liar.host()).manifest("1").expect("the third time");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(liar.seen().len(), 3);

    let liar = Liar::start(|_, _| {
        let words = r#"{"errors": [{"code": "TOOMANYREQUESTS", "message": "you have reached your limit"}]}"#;
        Reply::new(429, words).with("Retry-After", "21600")
    });
    let begun = Instant::now();
    let error = client(&liar.host()).manifest("1").expect_err("in six hours");
    assert_eq!((error.kind, liar.seen().len()), (Kind::TooMuch, 1));
    assert!(error.reason.contains("reached your limit") && begun.elapsed() < Duration::from_secs(2));

    let liar = Liar::start(|_, _| Reply::new(500, ""));
    assert_eq!(client(&liar.host()).manifest("1").expect_err("always").kind, Kind::Remote);
    assert_eq!(liar.seen().len(), 4, "as often as the options say");
}

#[test]
fn registry_without_tls_is_spoken_to_only_where_that_is_allowed() {
    let liar = Liar::start(|_, _| Reply::new(200, "{}"));
    client(&liar.host()).manifest("1").expect("on loopback");
    let before = liar.seen().len();
    let verified = Endpoint { security: Security::Verified, ..endpoint(&liar.host()) };
    let error = Client::new(verified, Some(password("me", "secret")), options());
    let error = error.manifest("1").expect_err("plain HTTP");
    assert!(error.reason.contains("does not speak TLS"), "{error}");
    assert!(error.hint.expect("says what to do").contains("insecure = true"));
    assert_eq!(liar.seen().len(), before, "nothing was sent in the clear");
}

#[test]
fn who_is_not_there_is_found_out_soon() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
    let begun = Instant::now();
    let error = client(&closed.to_string()).manifest("1").expect_err("nobody listens");
    assert_eq!(error.kind, Kind::Remote);
    assert!(error.reason.contains("refused"), "{error}");
    let error = client("registry.invalid").manifest("1").expect_err("no such host");
    assert!(error.hint.expect("says what to do").contains("`registry.invalid`"));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn tags_come_in_pages_and_from_one_registry() {
    let liar = Liar::start(|seen, _| {
        let next = |rest: &str| {
            Reply::new(200, r#"{"tags": ["a", "b"]}"#).with("Link", format!("<{rest}>; rel=\"next\""))
        };
        match seen.path.as_str() {
            "/v2/team/app/tags/list?n=1000" => next("/v2/team/app/tags/list?last=b"),
            "/v2/team/app/tags/list?last=b" => Reply::new(200, r#"{"name": "x", "tags": ["c"]}"#),
            "/v2/team/other/tags/list?n=1000" => next("https://other.example/v2/"),
            "/v2/team/empty/tags/list?n=1000" => Reply::new(200, r#"{"tags": null}"#),
            _ => next("?again"),
        }
    });
    let tags = |repository: &str| {
        let endpoint = Endpoint { repository: repository.to_owned(), ..endpoint(&liar.host()) };
        Client::new(endpoint, None, options()).tags()
    };
    assert_eq!(tags("team/app").expect("two pages"), ["a", "b", "c"]);
    assert_eq!(tags("team/empty").expect("none"), Vec::<String>::new());
    assert_eq!(tags("team/other").expect_err("elsewhere").kind, Kind::Corrupt);
    assert_eq!(tags("team/endless").expect_err("never the last").kind, Kind::TooMuch);
}

#[test]
fn what_can_not_be_asked_for_is_in_no_list() {
    let long = "x".repeat(200_000);
    let liar = Liar::start(move |seen, number| {
        let field = if seen.path.contains("tags") { "tags" } else { "repositories" };
        let said = format!(r#"{{"{field}": ["v{number}", "", "\u001b[2J", "a/../b", "a b", "{long}"]}}"#);
        let reply = Reply::new(200, said);
        match seen.path.contains("last") {
            false => reply.with("Link", format!("<{}&last=1>; rel=\"next\"", seen.path)),
            true => reply,
        }
    });
    let client = client(&liar.host());
    assert_eq!(client.tags().expect("listed"), ["v0", "v1"]);
    assert_eq!(client.repositories().expect("listed"), ["v2", "v3"]);
}

#[test]
fn blobs_can_be_read_by_other_threads() {
    fn is_send<T: Send>(_: &T) {}
    fn is_shared<T: Send + Sync + Clone>(_: &T) {}
    let liar = Liar::start(|_, _| Reply::new(200, "abc"));
    let client = client(&liar.host());
    is_shared(&client);
    is_send(&client.blob(&descriptor(b"abc")).expect("there"));
}
