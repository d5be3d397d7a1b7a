//! The end of a container: its record, who is told when, and what is executed then.

use std::fs::File;
use std::time::{Duration, Instant};

use crate::support::{Container, WANTS_OUTPUT, until};

#[test]
fn record_says_the_exit_code_and_that_nothing_was_lost() {
    let mut container = Container::start("code", &["json-file,100000,2"], "echo out; echo err >&2; exit 7");
    let record = container.end();
    assert!(record.starts_with(r#"{"code":7,"signal":null,"coreDumped":false,"time":"20"#), "{record}");
    assert!(
        record.ends_with("\"lostBytes\":0,\"rotatedOutBytes\":0,\"timeWasUp\":false,\"incidents\":[]}\n")
    );
    let logged = container.logged();
    assert!(logged.contains("out\n") && logged.contains("err\n"), "{logged}");
}

#[test]
fn record_names_the_signal() {
    let mut container = Container::start("signal", &[], "kill -KILL $$");
    let record = container.end();
    assert!(record.starts_with(r#"{"code":137,"signal":9,"coreDumped":false,"#), "{record}");
}

#[test]
fn record_is_there_before_a_client_is_told() {
    for round in 0..20 {
        let container = Container::start(&format!("before-{round}"), &["json-file,1000,2"], "read x; exit 3");
        let client = container.connect();
        client.send(b'H', &[WANTS_OUTPUT | crate::support::WANTS_INPUT]);
        client.send(b'I', b"go\n");
        let (_, _, _, end) = client.receive_all();
        assert!(container.path("exit").exists());
        assert_eq!(end, [3, 0, 0, 0, 0]);
    }
}

#[test]
fn clients_see_the_end_of_file_and_locks_go_free_when_the_clean_up_is_gone() {
    let then = "then=test -e exit && sleep 0.5 && touch cleaned";
    let mut container = Container::start("then", &[then], "read x; exit 4");
    let (client, silent) = (container.connect(), container.connect());
    client.send(b'H', &[WANTS_OUTPUT | crate::support::WANTS_INPUT]);
    client.send(b'E', b"");
    let (_, _, _, end) = client.receive_all();
    assert_eq!(end, [4, 0, 0, 0, 0]);
    assert!(!container.path("cleaned").exists());
    let lock = File::open(container.path("lock")).unwrap();
    assert!(lock.try_lock().is_err());
    assert_eq!(client.receive(), None);
    assert!(container.path("cleaned").exists());
    // The kernel closes one after the other.
    lock.lock().unwrap();
    // One that never said what it wants is told the end too.
    assert_eq!(silent.receive(), Some((b'X', vec![4, 0, 0, 0, 0])));
    assert!(container.monitor.wait().unwrap().success());
}

#[test]
fn time_that_is_up_ends_the_container_and_the_record_says_so() {
    let mut container = Container::start("limit", &["limit=300"], "sleep 60");
    let client = container.connect();
    let begin = Instant::now();
    let (_, _, _, end) = client.receive_all();
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert_eq!(end, [137, 0, 0, 0, 2]);
    assert!(container.end().contains("\"timeWasUp\":true"));
}

#[test]
fn signals_to_the_monitor_end_neither_it_nor_the_container() {
    let mut container = Container::start("signals", &[], "read x; exit 5");
    // It says that it is ready before it ignores them.
    std::thread::sleep(Duration::from_millis(300));
    for signal in ["TERM", "INT", "HUP", "QUIT", "USR1", "ALRM", "PIPE", "TSTP", "40"] {
        let pid = container.monitor.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }
    let client = container.connect();
    client.send(b'H', &[crate::support::WANTS_INPUT]);
    client.send(b'I', b"x\n");
    assert_eq!(client.receive_all().3, [5, 0, 0, 0, 0]);
    assert!(container.end().starts_with("{\"code\":5,"));
}

#[test]
fn output_after_the_last_line_feed_is_kept() {
    for driver in ["json-file,100000,2", "k8s-file,100000,2"] {
        let name = &driver[..3];
        let mut container = Container::start(name, &[driver], "printf 'a\\nb'; printf 'c' ");
        container.end();
        assert_eq!(container.logged(), "a\nbc");
    }
}

#[test]
fn processes_that_outlive_init_do_not_keep_the_end_from_being_told() {
    // As with `--pid=host`.
    let mut container = Container::start("outlived", &[], "(while echo more; do :; done) & exit 6");
    let begin = Instant::now();
    assert!(container.end().starts_with("{\"code\":6,"));
    assert!(begin.elapsed() < Duration::from_secs(20));
    until("the record is whole", || container.path("exit").exists());
}
