//! Tokens of a server that the registry names.

use image::Kind;
use image::registry::Credentials;

use super::liar::{Liar, Reply, Seen};
use super::{client, client_of, content, descriptor, impatient, password, read};

/// A registry with its token server, which numbers its tokens; `good` says which of them the registry takes.
fn start(expires_in: u64, good: impl Fn(&str, usize) -> bool + Send + Sync + 'static) -> Liar {
    let tokens = std::sync::atomic::AtomicUsize::new(0);
    Liar::start(move |seen, number| {
        if seen.path.starts_with("/token") {
            let token = tokens.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return Reply::new(200, format!(r#"{{"token": "t{token}", "expires_in": {expires_in}}}"#));
        }
        match seen.authorization().and_then(|value| value.strip_prefix("Bearer ")) {
            Some(token) if good(token, number) => Reply::new(200, "abc"),
            _ => {
                let host = seen.header("host").expect("every request has it");
                let challenge = format!(r#"Bearer realm="http://{host}/token",service="the registry""#);
                Reply::new(401, r#"{"errors": [{"code": "UNAUTHORIZED", "message": "who?"}]}"#)
                    .with("WWW-Authenticate", challenge)
            }
        }
    })
}

fn asked_for_tokens(liar: &Liar) -> Vec<Seen> {
    liar.seen().into_iter().filter(|seen| seen.path.starts_with("/token")).collect()
}

#[test]
fn token_is_fetched_once_for_what_it_is_for_and_used_until_it_ends() {
    let liar = start(300, |_, _| true);
    let client = client_of(&liar.host(), password("me", "secret"));
    for _ in 0..3 {
        assert_eq!(read(&client, &descriptor(b"abc")).expect("with a token"), b"abc");
    }
    client.clone().manifest("1").expect("the same token");
    let asked = asked_for_tokens(&liar);
    assert_eq!(asked.len(), 1);
    let path =
        "/token?service=the%20registry&scope=repository%3Ateam%2Fapp%3Apull&account=me&client_id=rabbitc";
    assert_eq!((asked[0].path.as_str(), asked[0].authorization()), (path, Some("Basic bWU6c2VjcmV0")));
    let to_the_registry = liar.seen().into_iter().filter(|seen| seen.path.starts_with("/v2/team"));
    assert!(to_the_registry.skip(1).all(|seen| seen.authorization() == Some("Bearer t0")));

    assert!(client.has(&descriptor(b"abc")).expect("a token for more"));
    let asked = asked_for_tokens(&liar);
    assert_eq!(asked.len(), 2);
    assert!(asked[1].path.contains("pull%2Cpush"), "{}", asked[1].path);
}

#[test]
fn token_that_has_ended_is_replaced_before_it_is_shown() {
    let liar = start(0, |_, _| true);
    let client = client(&liar.host());
    client.manifest("1").expect("with a token");
    client.manifest("1").expect("with another");
    let shown: Vec<_> =
        liar.seen().iter().filter_map(|seen| seen.authorization().map(str::to_owned)).collect();
    assert_eq!(shown, ["Bearer t0", "Bearer t1"]);
}

#[test]
fn token_that_the_registry_no_longer_takes_is_replaced_once() {
    // The first is good for two requests.
    let liar = start(300, |token, number| token != "t0" || number < 4);
    let client = client(&liar.host());
    for _ in 0..4 {
        client.manifest("1").expect("with one token or the other");
    }
    assert_eq!(asked_for_tokens(&liar).len(), 2);
    let liar = start(300, |_, _| false);
    let error = super::client(&liar.host()).manifest("1").expect_err("takes none");
    assert_eq!(error.kind, Kind::Unauthorized);
    assert!(error.reason.contains("who?"), "{error}");
    assert_eq!(asked_for_tokens(&liar).len(), 1);
}

#[test]
fn identity_token_is_changed_for_others_by_a_form() {
    let liar = start(300, |_, _| true);
    let client = client_of(&liar.host(), Credentials::IdentityToken("it&it".to_owned()));
    client.manifest("1").expect("with a token");
    let asked = asked_for_tokens(&liar);
    let form = String::from_utf8(asked[0].body.clone()).expect("text");
    assert_eq!((asked[0].method.as_str(), asked[0].authorization()), ("POST", None));
    assert_eq!(
        form,
        "grant_type=refresh_token&client_id=rabbitc&service=the%20registry&scope=repository%3Ateam%2Fapp%3Apull\
         &refresh_token=it%26it"
    );
    let client = client_of(&liar.host(), Credentials::RegistryToken("rt".to_owned()));
    client.manifest("1").expect("as it is");
    assert_eq!(liar.seen().last().expect("there").authorization(), Some("Bearer rt"));
    assert_eq!(asked_for_tokens(&liar).len(), 1);
}

#[test]
fn login_asks_for_a_token_for_nothing() {
    let liar = start(300, |_, _| true);
    client_of(&liar.host(), password("me", "secret")).log_in().expect("taken");
    assert!(!asked_for_tokens(&liar)[0].path.contains("scope"));
}

#[test]
fn token_server_is_believed_as_little_as_a_registry() {
    for (answer, kind) in [
        (Reply::new(200, "x".repeat(10_000)).endless(), Kind::TooMuch),
        (Reply::new(200, "<html>").with("Content-Type", "text/html"), Kind::Corrupt),
        (Reply::new(200, r#"{"token": ""}"#), Kind::Corrupt),
        (Reply::new(200, r#"{"token": "a\r\nHost: b"}"#), Kind::Corrupt),
        (Reply::new(401, r#"{"details": "incorrect username or password"}"#), Kind::Unauthorized),
        (Reply::redirect("/token"), Kind::TooMuch),
        (Reply::new(200, "{}").stall(1), Kind::Remote),
    ] {
        let liar = Liar::start(move |seen, _| match seen.path.starts_with("/token") {
            true => answer.clone(),
            false => {
                let host = seen.header("host").expect("every request has it");
                Reply::new(401, "").with("WWW-Authenticate", format!(r#"Bearer realm="http://{host}/token""#))
            }
        });
        let error = impatient(&liar.host()).manifest("1").expect_err("no token");
        assert!(error.operation.contains("for a token"), "{error}");
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(liar.seen().len() < 20, "{}", liar.seen().len());
    }
    let liar = Liar::start(|_, _| {
        Reply::new(401, "").with("WWW-Authenticate", r#"Bearer realm="gopher://x/token""#)
    });
    let error = client_of(&liar.host(), password("me", "secret")).manifest("1").expect_err("no address");
    assert_eq!(error.kind, Kind::Corrupt);
}

#[test]
fn password_goes_to_the_token_server_and_to_nobody_it_sends_us_to() {
    let elsewhere = Liar::start(|_, _| Reply::new(200, r#"{"token": "t"}"#));
    let to = format!("http://{}/more", elsewhere.host());
    let server = Liar::start(move |_, _| Reply::redirect(to.clone()));
    let realm = format!(r#"Bearer realm="http://{}/token""#, server.host());
    let liar = Liar::start(move |seen, _| match seen.authorization() {
        Some("Bearer t") => Reply::new(200, "{}"),
        _ => Reply::new(401, "").with("WWW-Authenticate", realm.clone()),
    });
    client_of(&liar.host(), password("me", "secret")).manifest("1").expect("with a token");
    assert!(server.seen()[0].authorization().is_some());
    assert!(elsewhere.seen()[0].authorization().is_none());
}

#[test]
fn token_ends_amid_a_blob_and_the_rest_comes_with_the_next() {
    let whole = content(60_000);
    let served = whole.clone();
    let tokens = std::sync::atomic::AtomicUsize::new(0);
    let liar = Liar::start(move |seen, number| {
        if seen.path.starts_with("/token") {
            let token = tokens.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return Reply::new(200, format!(r#"{{"access_token": "t{token}"}}"#));
        }
        let host = seen.header("host").expect("every request has it");
        match seen.authorization() {
            Some("Bearer t0") if number < 4 => Reply::range(seen, &served).cut(30_000),
            Some("Bearer t1") => Reply::range(seen, &served),
            _ => {
                Reply::new(401, "").with("WWW-Authenticate", format!(r#"Bearer realm="http://{host}/token""#))
            }
        }
    });
    assert_eq!(read(&client(&liar.host()), &descriptor(&whole)).expect("both halves"), whole);
}
