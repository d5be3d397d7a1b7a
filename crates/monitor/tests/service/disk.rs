//! A disk that is full: a small tmpfs, in a mount namespace of the test.

use std::ops::ControlFlow;
use std::process::{Command, Stdio};

use rabbitc_monitor::{LogFiles, LogOptions, LogStream, read_log};

use crate::support::{new_directory, starter};

#[test]
fn full_disk_holds_nobody_back_and_what_is_lost_is_counted() {
    let (directory, copies) = (new_directory("full"), new_directory("full-copies"));
    // After some time there is room again.
    let script = "yes 0123456789 | head -n 100000; rm filler; yes abcdefghij | head -n 1000; exit 9";
    let monitor = starter(&directory, &["json-file,100000000,3"], script);
    let words = monitor.get_args().map(|word| format!("'{}'", word.display()));
    let line = format!(
        "mount -t tmpfs -o size=400k tmpfs '{0}' && head -c 200000 /dev/zero >'{0}/filler' &&
         '{1}' {2}; cp -a '{0}/.' '{3}'",
        directory.display(),
        monitor.get_program().display(),
        words.collect::<Vec<_>>().join(" "),
        copies.display(),
    );
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "sh", "-c", &line]).stdin(Stdio::null()).stdout(Stdio::null());
    for (name, value) in monitor.get_envs() {
        command.env(name, value.unwrap());
    }
    assert!(command.status().unwrap().success());

    let record = std::fs::read_to_string(copies.join("exit")).unwrap();
    assert!(record.starts_with("{\"code\":9,"), "{record}");
    assert!(record.contains("no space left on device"), "{record}");
    let lost: u64 =
        record.split("\"lostBytes\":").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    assert!(lost > 0);
    let files = LogFiles { path: copies.join("log"), max_size: None, max_files: 3 };
    let (mut kept, mut noted) = (0, 0);
    read_log(
        &LogOptions::JsonFile { files, attributes: Vec::new() },
        Default::default(),
        None,
        &mut |entry| {
            match entry.stream {
                LogStream::Stdout => {
                    kept += entry.bytes.len() as u64;
                    assert_eq!(entry.bytes.len(), 11, "torn: {:?}", String::from_utf8_lossy(entry.bytes));
                }
                LogStream::Stderr => {
                    let text = std::str::from_utf8(entry.bytes).unwrap();
                    let count = text.strip_prefix("rabbitc: ").and_then(|text| text.split(' ').next());
                    noted += count.unwrap().parse::<u64>().unwrap();
                }
            }
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    assert_eq!(kept + lost, 11 * 101_000);
    // What is lost at the very end has no room for a note either.
    assert!(noted > 0 && noted <= lost, "{noted}: {record}");
    std::fs::remove_dir_all(directory).unwrap();
    std::fs::remove_dir_all(copies).unwrap();
}

#[test]
fn log_that_cannot_be_opened_holds_nobody_back_and_its_loss_is_counted() {
    let directory = new_directory("unopened");
    std::fs::create_dir(directory.join("log")).unwrap();
    let mut monitor = starter(&directory, &["k8s-file,1000,2"], "echo lost; exit 2");
    assert!(monitor.stdin(Stdio::null()).status().unwrap().success());
    let record = std::fs::read_to_string(directory.join("exit")).unwrap();
    assert!(record.starts_with("{\"code\":2,") && record.contains("\"lostBytes\":5,"), "{record}");
    assert!(record.contains("open the log `") && record.contains("is a directory"), "{record}");
    std::fs::remove_dir_all(directory).unwrap();
}
