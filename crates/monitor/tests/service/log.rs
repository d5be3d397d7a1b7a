//! What a monitor keeps of a container's output.

use std::ops::ControlFlow;

use rabbitc_monitor::{LogOptions, LogStream, read_log};

use crate::support::Container;

/// Numbered lines of 128 bytes in all.
fn numbered_lines(count: u32) -> String {
    format!("awk 'BEGIN {{ for (n = 1; n <= {count}; n++) printf \"%08d %0118d\\n\", n, 0 }}'")
}

/// Reads a log of such lines, perhaps while it is written; answers the first number and how many there are.
fn check_numbered(log: &LogOptions, is_served: Option<&mut dyn FnMut() -> bool>) -> (u32, u32) {
    let (mut first, mut count) = (0, 0);
    read_log(log, Default::default(), is_served, &mut |entry| {
        assert_eq!((entry.bytes.len(), entry.stream), (128, LogStream::Stdout));
        let number: u32 = std::str::from_utf8(&entry.bytes[..8]).unwrap().parse().unwrap();
        if count == 0 {
            first = number;
        }
        assert_eq!(number, first + count);
        count += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    (first, count)
}

#[test]
fn hundred_megabytes_come_through_rotation_without_a_line_lost_or_torn() {
    for driver in ["json-file", "k8s-file"] {
        let words = format!("{driver},10000000,100");
        let script = format!("read go; {}", numbered_lines(800_000));
        let mut container = Container::start(&format!("bulk-{driver}"), &[&words], &script);
        let client = container.connect();
        client.send(b'H', &[crate::support::WANTS_INPUT]);
        let exit = container.path("exit");
        // One reads along from the start.
        client.send(b'I', b"\n");
        assert_eq!(check_numbered(&container.log(), Some(&mut || !exit.exists())), (1, 800_000));
        let record = container.end();
        assert!(record.contains("\"lostBytes\":0,\"rotatedOutBytes\":0,"), "{record}");
        assert_eq!(check_numbered(&container.log(), None), (1, 800_000));
        assert!(container.path("log.9").exists());
    }
}

#[test]
fn caps_hold_and_what_they_took_is_counted() {
    let mut container = Container::start("caps", &["json-file,100000,3"], &numbered_lines(20_000));
    let record = container.end();
    let sizes = ["log", "log.1", "log.2"].map(|name| container.path(name).metadata().unwrap().len());
    assert!(sizes.iter().all(|size| *size <= 100_000), "{sizes:?}");
    assert!(!container.path("log.3").exists());
    let (first, count) = check_numbered(&container.log(), None);
    assert_eq!(first + count, 20_001);
    let removed: u64 =
        record.split("\"rotatedOutBytes\":").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    // Each line has at least what is around it, and the shortest time.
    let lines = u64::from(first) - 1;
    assert!(removed > lines * 128 && removed < lines * 256, "{removed} of {lines} lines");
    assert!(record.contains("\"lostBytes\":0,"), "{record}");
}

#[test]
fn single_file_is_begun_anew() {
    let mut container = Container::start("single", &["k8s-file,50000,1"], &numbered_lines(2_000));
    container.end();
    assert!(!container.path("log.1").exists());
    assert!(container.path("log").metadata().unwrap().len() <= 50_000);
    let (first, count) = check_numbered(&container.log(), None);
    assert_eq!(first + count, 2_001);
}

#[test]
fn streams_are_told_apart_and_each_keeps_its_order() {
    let script = "for n in $(seq 1 300); do echo o$n; echo e$n >&2; done";
    let mut container = Container::start("streams", &["json-file,4000,100"], script);
    container.end();
    let mut numbers = [0, 0];
    read_log(&container.log(), Default::default(), None, &mut |entry| {
        let (index, letter) = match entry.stream {
            LogStream::Stdout => (0, 'o'),
            LogStream::Stderr => (1, 'e'),
        };
        numbers[index] += 1;
        assert_eq!(entry.bytes, format!("{letter}{}\n", numbers[index]).as_bytes());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(numbers, [300, 300]);
}

#[test]
fn long_lines_come_back_in_pieces_that_are_whole_together() {
    let script = "head -c 100000 /dev/zero | tr '\\0' x; echo; echo short";
    for driver in ["json-file,1000000,2", "k8s-file,1000000,2"] {
        let mut container = Container::start(&driver[..4], &[driver], script);
        container.end();
        let mut lengths = Vec::new();
        read_log(&container.log(), Default::default(), None, &mut |entry| {
            lengths.push(entry.bytes.len());
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(lengths, [16384, 16384, 16384, 16384, 16384, 16384, 1697, 6]);
    }
}

#[test]
fn next_monitor_cuts_off_what_a_killed_one_left_torn_and_appends() {
    let mut container = Container::start("torn", &["json-file,100000,2"], "echo first; exit 0");
    container.end();
    let whole = std::fs::read(container.path("log")).unwrap();
    std::fs::write(container.path("log"), [&*whole, br#"{"log":"half a li"#].concat()).unwrap();
    for name in ["ready", "exit"] {
        std::fs::remove_file(container.path(name)).unwrap();
    }
    let mut starter = crate::support::starter(&container.directory, &["json-file,100000,2"], "echo second");
    container.monitor = starter.stdin(std::process::Stdio::null()).spawn().unwrap();
    container.end();
    assert_eq!(container.logged(), "first\nsecond\n");
}

#[test]
fn journal_gets_an_entry_a_line_with_its_priority() {
    let script = "read x; echo out; echo err >&2; printf part";
    let mut container = Container::start("journal", &["journald"], script);
    let journal = std::os::unix::net::UnixDatagram::bind(container.path("journal")).unwrap();
    let client = container.connect();
    client.send(b'H', &[crate::support::WANTS_INPUT]);
    client.send(b'I', b"\n");
    container.end();
    journal.set_nonblocking(true).unwrap();
    let mut entries = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(count) = journal.recv(&mut bytes) {
        entries.push(String::from_utf8(bytes[..count].to_vec()).unwrap());
    }
    entries.sort();
    let expected = [
        "CONTAINER_NAME=web\nPRIORITY=3\nMESSAGE=err\n",
        "CONTAINER_NAME=web\nPRIORITY=6\nCONTAINER_PARTIAL_MESSAGE=true\nMESSAGE=part\n",
        "CONTAINER_NAME=web\nPRIORITY=6\nMESSAGE=out\n",
    ];
    assert_eq!(entries, expected);
}

#[test]
fn journal_that_does_not_read_holds_nobody_back_and_the_loss_is_counted() {
    let script = "read x; yes 123456789 | head -n 20000";
    let mut container = Container::start("journal-stuck", &["journald"], script);
    let _journal = std::os::unix::net::UnixDatagram::bind(container.path("journal")).unwrap();
    let client = container.connect();
    client.send(b'H', &[crate::support::WANTS_INPUT]);
    client.send(b'I', b"\n");
    let begin = std::time::Instant::now();
    let record = container.end();
    assert!(begin.elapsed() < std::time::Duration::from_secs(20));
    assert!(!record.contains("\"lostBytes\":0,") && record.contains("journal"), "{record}");
}
