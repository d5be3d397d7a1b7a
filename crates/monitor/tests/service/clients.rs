//! Clients of a container without a terminal: what they get, what they lose, and what of them reaches it.

use std::time::Duration;

use crate::support::{Container, WANTS_ALL, WANTS_ERROR, WANTS_INPUT, WANTS_OUTPUT};

const MEGABYTES: &str = "head -c 8000000 /dev/zero | tr '\\0' x; exit 3";

#[test]
fn two_clients_get_the_same_each_what_it_wants() {
    let script = "read x; for n in 1 2 3 4 5; do echo $n; echo e$n >&2; done";
    let container = Container::start("two", &["json-file,10000,2"], script);
    let (both, errors) = (container.connect(), container.connect());
    errors.send(b'H', &[WANTS_ERROR]);
    std::thread::sleep(Duration::from_millis(200));
    both.send(b'H', &[WANTS_INPUT | WANTS_OUTPUT | WANTS_ERROR]);
    both.send(b'I', b"\n");
    let (output, error, lost, _) = both.receive_all();
    assert_eq!((&*output, &*error, lost), (&b"1\n2\n3\n4\n5\n"[..], &b"e1\ne2\ne3\ne4\ne5\n"[..], 0));
    let (output, error, ..) = errors.receive_all();
    assert_eq!((&*output, &*error), (&b""[..], &b"e1\ne2\ne3\ne4\ne5\n"[..]));
}

#[test]
fn client_that_does_not_read_loses_and_is_told_how_much_and_nobody_waits_for_it() {
    let mut container = Container::start("stuck", &[], &format!("read x; {MEGABYTES}"));
    let stuck = container.connect();
    stuck.send(b'H', &[WANTS_INPUT | WANTS_OUTPUT]);
    stuck.send(b'I', b"\n");
    assert!(container.end().starts_with("{\"code\":3,"));
    let (output, _, lost, end) = stuck.receive_all();
    assert!(lost > 0);
    assert_eq!(output.len() as u64 + lost, 8_000_000);
    assert_eq!(end, [3, 0, 0, 0, 0]);
}

#[test]
fn first_client_gets_all_however_slow_it_is() {
    let (mut container, first) = Container::start_with_first("first", &["json-file,100000,2"], MEGABYTES);
    // It has said nothing, so it wants all there is. The container cannot end before it reads.
    std::thread::sleep(Duration::from_millis(500));
    assert!(!container.path("exit").exists());
    let mut length = 0;
    let end = loop {
        let (kind, bytes) = first.receive().unwrap();
        match kind {
            b'O' => length += bytes.len(),
            b'X' => break bytes,
            other => panic!("{other}"),
        }
        if length % 7 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    assert_eq!((length, end), (8_000_000, vec![3, 0, 0, 0, 0]));
    container.end();
}

#[test]
fn first_client_that_reads_after_the_end_has_lost_nothing_that_its_socket_could_hold() {
    let script = "head -c 100000 /dev/zero | tr '\\0' x";
    let (mut container, first) = Container::start_with_first("after", &[], script);
    container.end();
    let (output, _, lost, _) = first.receive_all();
    assert_eq!((output.len(), lost), (100_000, 0));
}

#[test]
fn first_client_that_reads_nothing_at_all_keeps_the_end_from_being_told_for_a_while_only() {
    // More than its socket holds, in a pipe that the container made longer.
    let script = "perl -e 'fcntl(STDOUT, 1031, 1 << 20) or die; syswrite(STDOUT, \"x\" x 1000000)'; exit 6";
    let (mut container, first) = Container::start_with_first("patience", &[], script);
    let begin = std::time::Instant::now();
    assert!(container.end().starts_with("{\"code\":6,"));
    assert!(begin.elapsed() < Duration::from_secs(30));
    let (output, _, lost, end) = first.receive_all();
    assert_eq!(output.len() as u64 + lost, 1_000_000);
    assert_eq!(end, [6, 0, 0, 0, 0]);
}

#[test]
fn first_client_that_is_gone_holds_nobody_back() {
    let (mut container, first) = Container::start_with_first("gone", &[], MEGABYTES);
    std::thread::sleep(Duration::from_millis(200));
    drop(first);
    assert!(container.end().starts_with("{\"code\":3,"));
}

#[test]
fn only_the_first_client_may_hold_the_container_back() {
    let mut container = Container::start("may", &[], &format!("read x; {MEGABYTES}"));
    let client = container.connect();
    client.send(b'H', &[WANTS_INPUT | WANTS_OUTPUT | WANTS_ALL]);
    client.send(b'I', b"\n");
    assert!(container.end().starts_with("{\"code\":3,"));
    assert!(client.receive_all().2 > 0);
}

#[test]
fn input_arrives_whole_and_its_end_ends_it() {
    let container = Container::start("input", &[], "cat | md5sum");
    let client = container.connect();
    client.send(b'H', &[WANTS_INPUT | WANTS_OUTPUT]);
    let chunk = vec![b'y'; 16 * 1024];
    for _ in 0..64 {
        client.send(b'I', &chunk);
    }
    client.send(b'E', b"");
    let (output, ..) = client.receive_all();
    // Of so many `y`.
    let expected = std::process::Command::new("sh")
        .args(["-c", "head -c 1048576 /dev/zero | tr '\\0' y | md5sum"])
        .output()
        .unwrap();
    assert_eq!(output, expected.stdout);
}

#[test]
fn input_ends_with_the_client_that_had_it_unless_it_is_kept_open() {
    let mut container = Container::start("once", &[], "cat; exit 8");
    let client = container.connect();
    client.send(b'H', &[WANTS_INPUT]);
    client.send(b'I', b"a");
    drop(client);
    assert!(container.end().starts_with("{\"code\":8,"));

    let container = Container::start("kept", &["kept-open"], "read x; read y; echo $x$y");
    let client = container.connect();
    client.send(b'H', &[WANTS_INPUT]);
    client.send(b'I', b"a\n");
    client.send(b'E', b"");
    drop(client);
    let client = container.connect();
    client.send(b'H', &[WANTS_INPUT | WANTS_OUTPUT]);
    client.send(b'I', b"b\n");
    assert_eq!(client.receive_all().0, b"ab\n");
}

#[test]
fn client_that_reads_no_input_does_not_keep_others_from_the_output() {
    // Nobody reads what is typed.
    let container = Container::start("unread", &[], "sleep 1; echo done");
    let client = container.connect();
    client.send(b'H', &[WANTS_INPUT | WANTS_OUTPUT]);
    for _ in 0..8 {
        client.send(b'I', &[b'z'; 16 * 1024]);
    }
    let other = container.connect();
    other.send(b'H', &[WANTS_OUTPUT]);
    assert!(client.receive_all().0.starts_with(b"done\n"));
}

#[test]
fn what_is_no_message_ends_the_client_alone() {
    let container = Container::start("nonsense", &[], "read x; echo $x");
    let bad = container.connect();
    bad.send(b'?', b"what");
    assert_eq!(bad.receive(), None);
    let good = container.connect();
    good.send(b'H', &[WANTS_INPUT | WANTS_OUTPUT]);
    good.send(b'I', b"fine\n");
    assert_eq!(good.receive_all().0, b"fine\n");
}
