//! Reading of logs: how much of one, and what is written meanwhile.

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rabbitc_monitor::{LogFiles, LogOptions, LogQuery, Moment, Operation, read_log};

use crate::support::{new_directory, once_more};

/// A log of files that the test writes itself.
struct Written {
    directory: PathBuf,
}

impl Written {
    /// Lines of numbers, in files that have these, up to the second; a number's time is so many seconds after 1970.
    fn new(name: &str, files: &[(u32, u32)]) -> Written {
        let written = Written { directory: new_directory(name) };
        for (back, numbers) in files.iter().rev().enumerate() {
            let name = if back == 0 { "log".to_owned() } else { format!("log.{back}") };
            let mut file = File::create(written.directory.join(name)).unwrap();
            (numbers.0..numbers.1).for_each(|number| file.write_all(line(number).as_bytes()).unwrap());
        }
        written
    }

    fn path(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn log(&self) -> LogOptions {
        let files = LogFiles { path: self.path(), max_size: None, max_files: 10 };
        LogOptions::JsonFile { files, attributes: Vec::new() }
    }

    fn numbers(&self, query: LogQuery) -> Vec<u32> {
        let mut numbers = Vec::new();
        read_log(&self.log(), query, None, &mut |entry| {
            numbers.push(std::str::from_utf8(entry.bytes).unwrap().trim().parse().unwrap());
            ControlFlow::Continue(())
        })
        .unwrap();
        numbers
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn line(number: u32) -> String {
    let time = Moment(i64::from(number) * 1_000_000_000);
    format!("{{\"log\":\"{number}\\n\",\"stream\":\"stdout\",\"time\":\"{time}\"}}\n")
}

fn append(path: &Path, text: &str) {
    File::options().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn tail_goes_back_over_files() {
    // Of more than one block.
    let written = Written::new("tail", &[(0, 10), (10, 5000), (5000, 5003)]);
    let tail = |count| written.numbers(LogQuery { tail: Some(count), ..LogQuery::default() });
    for count in [0, 1, 3, 4, 10, 4000, 4993, 4994, 5003, 9000] {
        let expected: Vec<u32> = (5003 - count.min(5003)..5003).collect();
        assert_eq!(tail(count.into()), expected, "{count}");
    }
}

#[test]
fn line_without_its_end_is_one_of_the_last() {
    let written = Written::new("open", &[(0, 5)]);
    append(&written.path(), &line(5).replace("\\n", ""));
    let tail = |count| written.numbers(LogQuery { tail: Some(count), ..LogQuery::default() });
    assert_eq!(tail(1), [5]);
    assert_eq!(tail(2), [4, 5]);
    assert_eq!(tail(0), []);
}

#[test]
fn since_and_until_are_heeded_and_the_tail_is_counted_before() {
    let written = Written::new("since", &[(0, 10), (10, 20)]);
    let at = |seconds: i64| Some(Moment(seconds * 1_000_000_000));
    let query = LogQuery { since: at(5), until: at(12), tail: None };
    assert_eq!(written.numbers(query), (5..=12).collect::<Vec<_>>());
    assert_eq!(written.numbers(LogQuery { tail: Some(10), ..query }), [10, 11, 12]);
    assert_eq!(written.numbers(LogQuery { since: at(30), ..LogQuery::default() }), []);
}

#[test]
fn log_that_is_not_there_is_empty_and_one_of_another_kind_is_refused() {
    let written = Written::new("none", &[]);
    assert_eq!(written.numbers(LogQuery::default()), []);
    assert_eq!(written.numbers(LogQuery { tail: Some(3), ..LogQuery::default() }), []);
    let mut nothing = |_: rabbitc_monitor::LogEntry<'_>| ControlFlow::Continue(());
    let error = read_log(&LogOptions::None, LogQuery::default(), None, &mut nothing).unwrap_err();
    assert_eq!(error.operation, Operation::ReadLog);
}

#[test]
fn reader_may_have_enough() {
    let written = Written::new("enough", &[(0, 10)]);
    let mut count = 0;
    read_log(&written.log(), LogQuery::default(), None, &mut |_| {
        count += 1;
        if count == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!(count, 4);
}

#[test]
fn follower_reads_over_rotations_up_to_the_last_line() {
    let written = Written::new("follow", &[(0, 10)]);
    let (path, served) = (written.path(), written.directory.join("served"));
    File::create(&served).unwrap();
    let writer = std::thread::spawn({
        let (path, served) = (path.clone(), served.clone());
        move || {
            for number in 10..400 {
                // Torn for a moment.
                let text = line(number);
                let (begin, end) = text.split_at(text.len() / 2);
                append(&path, begin);
                append(&path, end);
                if number % 50 == 0 {
                    for back in (0..8).rev() {
                        let name = |number: u32| match number {
                            0 => path.clone(),
                            _ => path.with_extension(number.to_string()),
                        };
                        let _ = std::fs::rename(name(back), name(back + 1));
                    }
                }
                if number % 7 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            // Some more, with nobody to tell but the files.
            std::fs::remove_file(&served).unwrap();
        }
    });
    let mut numbers = Vec::new();
    let query = LogQuery { tail: Some(3), ..LogQuery::default() };
    read_log(&written.log(), query, Some(&mut || served.exists()), &mut |entry| {
        numbers.push(std::str::from_utf8(entry.bytes).unwrap().trim().parse::<u32>().unwrap());
        ControlFlow::Continue(())
    })
    .unwrap();
    writer.join().unwrap();
    assert_eq!(numbers.last(), Some(&399));
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
}

#[test]
fn follower_waits_for_a_log_that_is_not_there_yet() {
    let written = Written::new("later", &[]);
    let path = written.path();
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        append(&path, &line(1));
    });
    let mut numbers = Vec::new();
    read_log(&written.log(), LogQuery::default(), Some(&mut || true), &mut |entry| {
        numbers.push(entry.bytes.to_vec());
        ControlFlow::Break(())
    })
    .unwrap();
    writer.join().unwrap();
    assert_eq!(numbers, [b"1\n"]);
}

#[test]
fn follower_does_without_being_told_of_changes() {
    // A namespace in which nobody may watch files.
    let program = once_more("reading::follower_reads_over_rotations_up_to_the_last_line");
    let words = program.get_args().map(|word| word.display().to_string()).collect::<Vec<_>>().join(" ");
    let limit = "/proc/sys/user/max_inotify_instances";
    let line = format!("echo 0 >{limit} && exec '{}' {words}", program.get_program().display());
    let status = Command::new("unshare").args(["--map-root-user", "sh", "-c", &line]).status().unwrap();
    assert!(status.success());
}
