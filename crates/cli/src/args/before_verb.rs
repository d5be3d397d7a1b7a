//! Flags that podman has before its verbs: the directories of what is kept and of what runs. They are brought behind the verb,
//! where the parser reads them; must not know what they mean.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::refused;
use crate::{images, kept};

/// Those flags.
const FLAGS: [&[u8]; 2] = [b"--root", b"--runroot"];

/// The same command line with the verb first. Without a verb it is left as it is.
pub(crate) fn verb_first(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let mut at = 1;
    while let Some(word) = arguments.get(at) {
        let word = word.as_bytes();
        let (name, has_value) = match word.iter().position(|byte| *byte == b'=') {
            Some(end) => (&word[..end], true),
            None => (word, false),
        };
        if !FLAGS.contains(&name) {
            break;
        }
        at += if has_value { 1 } else { 2 };
    }
    let words = arguments.get(at).map_or(0, |verb| words_of(verb));
    if at == 1 || words == 0 {
        return arguments;
    }
    let end = arguments.len().min(at + words);
    arguments[1..end].rotate_left(at - 1);
    arguments
}

/// How many words a verb has; none where it is none.
fn words_of(verb: &OsStr) -> usize {
    match verb.to_str().unwrap_or_default() {
        "image" | "system" => 2,
        "run" | "plan" => 1,
        verb if images::VERBS.contains(&verb) || kept::VERBS.contains(&verb) || refused::is_command(verb) => {
            1
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_before_a_verb_are_read_behind_it() {
        for (typed, expected) in [
            ("images -q", "images -q"),
            ("--root /a images -q", "images --root /a -q"),
            ("--root=/a --runroot /b run x", "run --root=/a --runroot /b x"),
            ("--runroot=/b image ls", "image ls --runroot=/b"),
            ("--root /a image", "image --root /a"),
            ("--root /a build .", "build --root /a ."),
            // Without a verb, and without a value.
            ("--root /a --rootfs=/r x", "--root /a --rootfs=/r x"),
            ("--root", "--root"),
            ("--rootfs images", "--rootfs images"),
        ] {
            let words = ["rabbitc"].into_iter().chain(typed.split(' ')).map(OsString::from).collect();
            let words = verb_first(words).into_iter().skip(1).collect::<Vec<_>>();
            assert_eq!(words.join(OsStr::new(" ")), expected, "{typed}");
        }
    }
}
