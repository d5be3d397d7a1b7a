//! Completion in shells, and man pages.

use std::process::{Command, Stdio};

use crate::life::Place;
use crate::support::{Host, binary, finish, has_program, names};

/// What bash offers behind a line; it is cut into words as bash does it, at blanks and at `=` and `:`.
pub fn offered(place: &Place<'_>, host: &Host, line: &str) -> Vec<String> {
    let program = binary().display().to_string();
    let root = place.command("ps", &[]);
    let flag = root.get_args().find_map(|word| word.to_str().filter(|word| word.starts_with("--root=")));
    let line = format!("{program} {} {line}", flag.expect("it is among them"));
    let mut words: Vec<String> = vec![String::new()];
    for letter in line.chars() {
        match letter {
            ' ' => words.push(String::new()),
            '=' | ':' => words.extend([letter.to_string(), String::new()]),
            letter => words.last_mut().expect("one").push(letter),
        }
    }
    let last = words.len() - 1;
    let words: Vec<String> = words
        .into_iter()
        .enumerate()
        .filter(|(number, word)| !word.is_empty() || *number == last)
        .map(|(_, word)| format!("'{word}'"))
        .collect();
    let script = format!(
        "cd {}\nsource <({program} completion bash)\nCOMP_LINE='{line}' COMP_POINT={} COMP_CWORD={}\nCOMP_WORDS=({})\n\
         _rabbitc\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        host.directory().display(),
        line.len(),
        words.len() - 1,
        words.join(" ")
    );
    let mut bash = host.command("bash");
    bash.args(["--norc", "-c", &script]);
    let ran = finish(bash.spawn().expect("bash runs"), None);
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{ran:?}");
    ran.text().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_flags_values_and_names() {
    let Some(host) = Host::new() else { return };
    if !has_program("bash") {
        return;
    }
    let place = Place::of(&host);
    assert_eq!(place.script("run", &["-d", "--name=web"], "sleep 100").code(), 0);
    assert_eq!(place.script("create", &["--name=wake"], "true").code(), 0);
    assert_eq!(place.verb("volume create", &["data"]).code(), 0);
    let list = |line: &str| offered(&place, &host, line);
    assert_eq!(list("expl"), ["explain"]);
    assert_eq!(list("run --memory-r"), ["--memory-reservation"]);
    assert_eq!(list("run --pull=ne"), ["newer", "never"], "what stands before `=` is there already");
    assert_eq!(list("why w"), ["wake", "web"]);
    assert_eq!(list("stop w"), ["web"], "only what runs can be stopped");
    assert_eq!(list("container start "), ["wake"]);
    assert_eq!(list("volume rm "), ["data"]);
    assert_eq!(place.verb("pod create", &["--infra=false", "--name=shop"]).code(), 0);
    assert_eq!(list("pod stop "), ["shop"]);
    assert_eq!(list("run --pod s"), ["shop"]);
    assert_eq!(list("pod create --exit-policy="), ["continue", "stop"]);
    assert_eq!(place.verb("pod rm", &["shop"]).code(), 0);
    assert_eq!(list("cp we"), ["web:"]);
    assert_eq!(list("cp web:/x rootf"), ["rootfs"], "files of the host");
    assert_eq!(list("run --name x --cidfile=rootf"), ["rootfs"]);
    assert_eq!(list("logs --tail 3 we"), ["web"]);
    assert!(list("nothing-of-ours ").is_empty());
    place.assert_nothing_left();
    assert_eq!(place.verb("volume rm", &["data"]).code(), 0);
}

/// The script runs as people run it: at a terminal, by Tab.
#[test]
fn tab_at_a_terminal_completes_the_name_of_a_container() {
    let Some(host) = Host::new() else { return };
    if !["bash", "script"].into_iter().all(has_program) {
        return;
    }
    let place = Place::of(&host);
    assert_eq!(place.script("create", &["--name=burrow"], "true").code(), 0);
    let program = binary().display().to_string();
    let directory = binary().parent().expect("it is in one").display().to_string();
    let root = host.directory().join("store").display().to_string();
    let mut shell = host.command("script");
    shell.args(["-qec", "bash --norc --noprofile -i", "/dev/null"]).stdin(Stdio::piped());
    shell.env("TERM", "dumb");
    let typed = format!(
        "PATH={directory}:$PATH PS1=; source <({program} completion bash)\n\
         rabbitc inspect --runroot={} --root={root} --format '{{{{.Name}}}}' burr\t\nexit\n",
        host.state().display()
    );
    let ran = finish(shell.spawn().expect("script runs"), Some(typed.into_bytes()));
    assert!(ran.stdout.lines().any(|line| line.trim() == "/burrow"), "{ran:?}");
    place.assert_nothing_left();
}

#[test]
fn man_pages_tell_of_every_verb_and_are_without_mistakes() {
    let directory = std::env::temp_dir().join(format!("rabbitc-man-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let mut write = Command::new(binary());
    write.arg("internal-man").arg(&directory).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = finish(write.spawn().expect("it runs"), None);
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{ran:?}");
    let pages = names(&directory);
    for page in [
        "rabbitc.1",
        "rabbitc-run.1",
        "rabbitc-volume-create.1",
        "rabbitc-image-tree.1",
        "rabbitc-pod-create.1",
    ] {
        assert!(pages.iter().any(|name| name == page), "no {page} in {pages:?}");
    }
    let text = std::fs::read_to_string(directory.join("rabbitc-run.1")).expect("a page");
    assert!(text.contains("\\-\\-memory\\-reservation"), "it has the flags");
    if has_program("man") && has_program("groff") {
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-Tutf8", "-l"]).args(&pages).current_dir(&directory);
        man.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = finish(man.spawn().expect("man runs"), None);
        assert_eq!((shown.code(), shown.stderr.as_str()), (0, ""));
        for name in &pages {
            let heading = format!("{}(1)", name.trim_end_matches(".1"));
            assert!(shown.stdout.contains(&heading), "{heading}");
        }
    }
    std::fs::remove_dir_all(directory).expect("it is removed");
}
