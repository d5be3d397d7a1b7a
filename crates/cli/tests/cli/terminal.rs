//! A person at a terminal: job control, Ctrl-C, window sizes.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::{Host, eventually, has_program};

/// `script` gives the command a terminal, and this is who sits at it.
struct Person {
    child: Child,
    keyboard: Option<ChildStdin>,
    screen: Arc<Mutex<String>>,
}

impl Person {
    /// Types a command at a terminal of 33 rows and 111 columns, whose device is written to `terminal` on the host.
    fn new(host: &Host, arguments: &str) -> Option<Person> {
        if !has_program("script") {
            return None;
        }
        let line = format!(
            "stty rows 33 cols 111; tty > {0}/terminal; {1} --state-dir={0}/state --rootfs={0}/rootfs {arguments}; \
             echo \"ended with $?\"; stty -a | grep -o -e '-*icanon'",
            host.directory().display(),
            crate::support::binary().display()
        );
        let mut command: Command = host.command("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("SHELL", "/bin/sh");
        let mut child = command.stdin(Stdio::piped()).spawn().expect("script runs");
        let screen = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&screen);
        let mut output = child.stdout.take().expect("it is piped");
        std::thread::spawn(move || {
            let mut bytes = [0u8; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                seen.lock().expect("nobody panics").push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        let keyboard = child.stdin.take();
        Some(Person { child, keyboard, screen })
    }

    fn types(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().expect("it is there till the end");
        keyboard.write_all(keys.as_bytes()).expect("script reads");
    }

    fn sees(&self, text: &str) {
        let screen = || self.screen.lock().expect("nobody panics").clone();
        let end = std::time::Instant::now() + crate::support::PATIENCE;
        while !screen().contains(text) {
            assert!(std::time::Instant::now() < end, "{text:?} never shows on:\n{}", screen());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // Hanging up ends whatever runs there.
        drop(self.keyboard.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn terminal_has_job_control_and_the_callers_size() {
    let Some(host) = Host::new() else { return };
    let Some(mut person) = Person::new(&host, "") else { return };
    person.types("echo size=$(stty size) tty=$(tty)\n");
    person.sees("size=33 111 tty=/dev/pts/0");
    person.types("echo term=$TERM\n");
    person.sees("term=xterm");
    // Ctrl-C ends the program in the foreground and not the shell.
    person.types("echo wait-one; sleep 1000\n");
    person.sees("\nwait-one");
    until_foreground_is(&host, "sleep");
    person.types("\x03");
    person.types("echo code=$?=\n");
    person.sees("code=130=");
    // Ctrl-Z stops it, and the shell goes on.
    person.types("echo wait-two; sleep 1001\n");
    person.sees("\nwait-two");
    until_foreground_is(&host, "sleep");
    person.types("\x1a");
    person.sees("Stopped");
    person.types("jobs; kill %1; fg; echo after=$?=\n");
    person.sees("after=143=");
    person.types("exit 5\n");
    person.sees("ended with 5");
    // The caller's terminal is as it was: lines, not raw keys.
    person.sees("\nicanon");
    host.assert_nothing_left();
}

/// Waits for a program of the container to run, so that a key is meant for it.
fn until_foreground_is(host: &Host, name: &str) {
    eventually("the program runs", || {
        host.processes().iter().any(|process| process.contains(&format!("`{name} ")))
    });
}

#[test]
fn container_follows_the_window_as_it_changes() {
    let Some(host) = Host::new() else { return };
    let Some(mut person) = Person::new(&host, "") else { return };
    person.types("echo size=$(stty size)\n");
    person.sees("size=33 111");
    let terminal = std::fs::read_to_string(host.directory().join("terminal")).expect("written by then");
    let resized = Command::new("stty").args(["-F", terminal.trim(), "rows", "50", "cols", "132"]).status();
    assert!(resized.expect("stty runs").success());
    let mut tries = 0;
    eventually("the container has the new size", || {
        tries += 1;
        person.types(&format!("echo try{tries}=$(stty size)=\n"));
        person.sees(&format!("\ntry{tries}="));
        person.screen.lock().expect("nobody panics").contains("=50 132=")
    });
    person.types("exit\n");
    person.sees("ended with 0");
}

#[test]
fn colours_are_for_terminals_alone() {
    let Some(host) = Host::new() else { return };
    let Some(person) = Person::new(&host, "--cmd=/bin/missing") else { return };
    person.sees("ended with 127");
    person.sees("\x1b[1;31merror:\x1b[0m");
    let ran = host.run(&[&host.rootfs_flag(), "--cmd=/bin/missing"]);
    assert!(!ran.stderr.contains('\x1b'), "{ran:?}");
}

#[test]
fn terminal_that_hangs_up_ends_the_container() {
    let Some(host) = Host::new() else { return };
    let Some(mut person) = Person::new(&host, "") else { return };
    person.types("echo here; sleep 1000\n");
    person.sees("\nhere");
    drop(person);
    host.assert_nothing_left();
}

#[test]
fn terminal_belongs_to_the_root_of_a_user_namespace() {
    let Some(host) = Host::new() else { return };
    let Some(mut person) = Person::new(&host, "--userns=auto --network=none") else { return };
    person.types("echo tty=$(tty) owners=$(stat -c %u:%g /dev/pts/0 /dev/console | tr '\\n' ' ')\n");
    person.sees("tty=/dev/pts/0 owners=0:5 0:5");
    person.types("exit 5\n");
    person.sees("ended with 5");
    host.assert_nothing_left();
}

#[test]
fn terminal_that_hangs_up_ends_a_program_that_does_not_handle_it() {
    let Some(host) = Host::new() else { return };
    let Some(person) = Person::new(&host, "-- /bin/sh -c 'echo here; exec sleep 1000'") else { return };
    person.sees("here");
    drop(person);
    host.assert_nothing_left();
}

#[test]
fn terminal_is_opened_or_not_as_the_flags_ask() {
    let Some(host) = Host::new() else { return };
    // Nobody sits at either end.
    assert_eq!(host.inside(&[], "tty").stdout.trim(), "not a tty");
    assert_eq!(host.inside(&["-i"], "tty").stdout.trim(), "not a tty");
    assert_eq!(host.inside(&["-t"], "tty").text(), "/dev/pts/0");
    let mut command = host.script(&["-it"], "tty; read line; echo got=$line");
    command.stdin(Stdio::piped());
    let ran = crate::support::finish(command.spawn().expect("nsenter runs"), Some(b"typed\n".to_vec()));
    assert!(ran.text().contains("/dev/pts/0") && ran.stdout.contains("got=typed"), "{ran:?}");
    assert!(ran.stderr.contains("warning: standard input is no terminal"), "{ran:?}");
    // A person at a terminal who wants none inside.
    let Some(mut person) =
        Person::new(&host, "-i -- /bin/sh -c 'tty || echo none; read line; echo got=$line'")
    else {
        return;
    };
    person.sees("not a tty");
    person.types("typed\n");
    person.sees("got=typed");
    person.sees("ended with 0");
    host.assert_nothing_left();
}

/// The end is read in another mode of the terminal than it was typed in: a shell with a line editor changes it.
#[test]
fn end_of_input_ends_programs_that_read_late_or_key_by_key() {
    let Some(host) = Host::new() else { return };
    let run = |flags: &[&str], script: &str, input: &str| {
        let mut command = host.script(flags, script);
        command.stdin(Stdio::piped());
        crate::support::finish(command.spawn().expect("nsenter runs"), Some(input.as_bytes().to_vec()))
    };
    for script in ["exec sh", "sleep 0.3; exec sh", "stty -icanon; sleep 0.3; exec sh"] {
        for (input, code) in [("echo hi; (exit 4)\n", 4), ("", 0), ("exit 3", 3)] {
            let ran = run(&["-it"], script, input);
            assert_eq!(ran.code(), code, "{input:?} for {script:?}: {ran:?}");
        }
    }
    // One end for each: the first reader, the second, the shell.
    let ran = run(&["-it"], "sleep 0.3; exec sh", "cat; cat; (exit 6)\n");
    assert_eq!(ran.code(), 6, "{ran:?}");
    // Without `-i` nothing is typed, so the input is over from the start.
    assert_eq!(host.inside(&["-t"], "sleep 0.3; exec sh").code(), 0);
    assert_eq!(host.inside(&["-t"], "cat; echo got=$?").text(), "got=0");
    // A program that does not read is left alone.
    assert_eq!(run(&["-it"], "sleep 0.3; echo done", "").text(), "done");
    host.assert_nothing_left();
}

/// A start that is held up for so long; once it is under way, `rabbitc` itself gets the signals.
fn interrupted(host: &Host, seconds: u32, script: &str, signals: &[&str]) -> crate::support::Ran {
    let mut command = host.command("strace");
    command.args(["-f", "-o", "/dev/null", "-e", "trace=pivot_root"]);
    command.args(["-e", &format!("inject=pivot_root:delay_enter={seconds}s"), "--", "sh", "-c", script]);
    command.arg(crate::support::binary()).arg(format!("--state-dir={}", host.state().display()));
    command.args([&host.rootfs_flag(), "--network=none", "--", "/bin/grep", "^Sig[BI]", "/proc/self/status"]);
    let mut tracer = crate::support::Background::of(command.spawn().expect("strace runs"));
    eventually("a container is being made", || !host.containers().is_empty());
    let pid = tracer.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it lives");
    let rabbitc = children.split_whitespace().next().expect("the traced program");
    for signal in signals {
        let sent = Command::new("kill").args([&format!("-{signal}"), rabbitc]).status();
        assert!(sent.expect("kill runs").success());
    }
    tracer.finish()
}

#[test]
fn start_that_takes_its_time_can_be_interrupted() {
    let Some(host) = Host::new() else { return };
    if !has_program("strace") {
        return;
    }
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        // Uninterrupted it would succeed after that; strace itself may wait as long for what was killed meanwhile.
        let ran = interrupted(&host, 5, "exec \"$0\" \"$@\"", &[signal]);
        assert_eq!(ran.code(), code, "{ran:?}");
        assert!(ran.stderr.contains("interrupted"), "{ran:?}");
        host.assert_nothing_left();
    }
}

/// As in the background of a script, where Ctrl-C is for others, and below whoever else ignores a signal.
#[test]
fn signals_that_the_caller_ignores_neither_end_a_start_nor_stay_ignored_inside() {
    let Some(host) = Host::new() else { return };
    if !has_program("strace") {
        return;
    }
    let ignored = ["INT", "TERM", "QUIT", "HUP"];
    let script = format!("trap '' {}; exec \"$0\" \"$@\"", ignored.join(" "));
    let ran = interrupted(&host, 2, &script, &ignored);
    let none = "0".repeat(16);
    assert_eq!(ran.text(), format!("SigBlk:\t{none}\nSigIgn:\t{none}"), "{ran:?}");
    // Nor one that runs.
    let line = format!(
        "trap '' INT; exec {} --state-dir={} {} -- /bin/sh -c 'trap \"exit 9\" INT; echo up; read end; exit 3'",
        crate::support::binary().display(),
        host.state().display(),
        host.rootfs_flag()
    );
    let mut command = host.command("sh");
    command.args(["-c", &line]).stdin(Stdio::piped());
    let mut container = crate::support::Background::of(command.spawn().expect("nsenter runs"));
    container.read_exact(&mut [0u8; 3]);
    container.signal("INT");
    container.write(b"end\n");
    assert_eq!(container.finish().code(), 3);
    host.assert_nothing_left();
}
