//! Clients of a container with a terminal.

use crate::support::{Container, WANTS_INPUT, WANTS_OUTPUT};

const BOTH: u8 = WANTS_INPUT | WANTS_OUTPUT;

#[test]
fn what_one_client_types_all_of_them_see() {
    let container =
        Container::start("typed", &["terminal", "json-file,100000,2"], "stty -echo; echo up; cat");
    let (one, other) = (container.connect(), container.connect());
    one.send(b'H', &[BOTH]);
    other.send(b'H', &[BOTH]);
    // It may have been up before they said what they want.
    one.send(b'I', b"hello\n");
    assert!(one.until("hello").contains("hello"));
    assert!(other.until("hello").contains("hello"));
    other.send(b'I', b"\x04");
    assert_eq!(one.receive_all().3, [0, 0, 0, 0, 0]);
    assert!(container.logged().contains("hello\r\n"));
}

#[test]
fn container_gets_the_size_of_a_clients_window_and_its_program_is_told() {
    let script = "trap 'stty size; exit 4' WINCH; stty size; while :; do sleep 0.05; done";
    let container = Container::start("resize", &["terminal"], script);
    let client = container.connect();
    client.send(b'H', &[BOTH]);
    // A size that nobody knows changes nothing.
    client.send(b'R', &[0, 0, 0, 0]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    client.send(b'R', &[50, 0, 44, 1]);
    let (output, _, _, end) = client.receive_all();
    let output = String::from_utf8(output).unwrap();
    assert!(output.ends_with("50 300\r\n"), "{output:?}");
    assert_eq!(end, [4, 0, 0, 0, 0]);
}

#[test]
fn end_of_a_clients_input_is_typed() {
    let container = Container::start("end", &["terminal"], "cat >/dev/null; echo over");
    let client = container.connect();
    client.send(b'H', &[BOTH]);
    client.send(b'I', b"unfinished");
    client.send(b'E', b"");
    let (output, ..) = client.receive_all();
    assert!(String::from_utf8(output).unwrap().contains("over\r\n"));
}

#[test]
fn stuck_client_does_not_hold_a_terminal_back() {
    let script = "read x; head -c 3000000 /dev/zero | tr '\\0' x; exit 3";
    let mut container = Container::start("stuck-terminal", &["terminal"], script);
    let client = container.connect();
    client.send(b'H', &[BOTH]);
    client.send(b'I', b"\n");
    assert!(container.end().starts_with("{\"code\":3,"));
    let (output, _, lost, _) = client.receive_all();
    // The line feed that was typed comes back as two characters.
    assert_eq!(output.len() as u64 + lost, 3_000_002);
}

#[test]
fn container_with_a_terminal_ends_with_its_monitor() {
    let mut container = Container::start("hangup", &["terminal"], "sleep 60");
    let pid = container.pid();
    container.monitor.kill().unwrap();
    container.monitor.wait().unwrap();
    crate::support::until("init is gone", || {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .map_or(true, |stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])))
    });
}

#[test]
fn client_that_is_gone_does_not_end_the_input_of_a_terminal() {
    let container = Container::start("left", &["terminal"], "stty -echo; cat");
    let client = container.connect();
    client.send(b'H', &[BOTH]);
    client.send(b'I', b"one\n");
    client.until("one");
    drop(client);
    std::thread::sleep(std::time::Duration::from_millis(200));
    let client = container.connect();
    client.send(b'H', &[BOTH]);
    client.send(b'I', b"two\n");
    client.until("two");
}
