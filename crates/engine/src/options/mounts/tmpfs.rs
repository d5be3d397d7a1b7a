//! `--tmpfs DESTINATION[:OPTIONS]`, and the options of tmpfs that `--mount` shares.

use super::{Access, MountRequest, Reach, Words, parse_target};
use crate::error::{Error, Result};
use crate::options::{MOST_BYTES, SizeMistake, read_size};

impl MountRequest {
    /// Reads `DESTINATION[:OPTIONS]`, with options of tmpfs(5) and mount(8).
    pub fn parse_tmpfs(text: &str) -> Result<MountRequest> {
        if text.is_empty() {
            let error = Error::invalid("--tmpfs", "is empty".to_owned());
            return Err(error
                .with_hint("write `DESTINATION[:OPTIONS]`; a variable that it comes from may not be set"));
        }
        let flag = format!("--tmpfs {text}");
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let mut words = Words::default();
        for word in options.split(',').filter(|word| !word.is_empty()) {
            if words.take(word, &flag)? {
                continue;
            }
            match word.split_once('=') {
                Some((key, value)) => take_parameter(&mut words, key, value, &flag)?,
                None => take_tmpfs_word(&mut words, word, &flag)?,
            }
        }
        check_tmpfs(&words, &flag)?;
        let target = parse_target(&flag, target)?;
        Ok(words.into_tmpfs(flag, target))
    }
}

fn take_tmpfs_word(words: &mut Words, word: &str, flag: &str) -> Result<()> {
    match word {
        "tmpcopyup" => words.copy_up.set(true, word, flag)?,
        "notmpcopyup" => words.copy_up.set(false, word, flag)?,
        "noswap" => take_noswap(words, flag)?,
        "readonly" => {
            let error = Error::invalid(flag, "`readonly` is no option of a file system in memory".to_owned());
            return Err(error.with_hint("did you mean `ro`?"));
        }
        // What the kernel does anyhow.
        "defaults" | "async" | "relatime" => {}
        _ => {
            let error = Error::invalid(flag, format!("`{word}` is no option of a file system in memory"));
            return Err(error.with_hint(
                "known are size=, mode=, uid=, gid=, nr_inodes=, ro, rw, exec, suid, dev, their opposites, tmpcopyup, noswap",
            ));
        }
    }
    Ok(())
}

/// Takes `noswap`, which the kernel knows since 6.4, and only from root.
pub(super) fn take_noswap(words: &mut Words, flag: &str) -> Result<()> {
    if words.parameters.iter().any(|(known, _)| known == "noswap") {
        let error = Error::invalid(flag, "`noswap` is given twice".to_owned());
        return Err(error.with_hint("leave one of them out"));
    }
    words.parameters.push(("noswap".to_owned(), String::new()));
    Ok(())
}

/// Takes an option of tmpfs with its value, which is checked here, as the kernel's refusal would not name it.
pub(super) fn take_parameter(words: &mut Words, key: &str, value: &str, flag: &str) -> Result<()> {
    let wrong = |hint: &str| {
        let error = Error::invalid(flag, format!("`{value}` is no value of `{key}`"));
        Err(error.with_hint(hint))
    };
    let number = |text: &str| text.parse::<u32>().is_ok_and(|number| number != u32::MAX);
    let percent = |text: &str| text.strip_suffix('%').is_some_and(number);
    let value = match key {
        "size" | "nr_blocks" if percent(value) && key == "size" => value.to_owned(),
        "size" | "nr_blocks" | "nr_inodes" => match read_size(value) {
            Ok(bytes) => bytes.to_string(),
            Err(SizeMistake::NoSize) => {
                return wrong("write a number with k, m or g behind it, such as `64m`");
            }
            Err(SizeMistake::TooLarge) => {
                let error = Error::invalid(flag, format!("`{value}` is too large for `{key}`"));
                return Err(error.with_hint(MOST_BYTES));
            }
        },
        "mode" => match u32::from_str_radix(value, 8) {
            Ok(mode) if mode <= 0o7777 => value.to_owned(),
            _ => return wrong("write it in octal digits, such as `1777`"),
        },
        "uid" | "gid" if number(value) => value.to_owned(),
        "uid" | "gid" => return wrong("write it as a number from 0 to 4294967294"),
        _ => {
            let error = Error::invalid(flag, format!("`{key}` is no option of a file system in memory"));
            return Err(error.with_hint("known are size, mode, uid, gid, nr_blocks and nr_inodes"));
        }
    };
    if words.parameters.iter().any(|(known, _)| known == key) {
        return Err(Error::invalid(flag, format!("`{key}` is given twice")));
    }
    words.parameters.push((key.to_owned(), value));
    Ok(())
}

/// Refuses what is of binds alone.
pub(super) fn check_tmpfs(words: &Words, flag: &str) -> Result<()> {
    let strange = [
        (words.access.get() == Some(Access::ThrownAway), "O"),
        (words.propagation.get().is_some(), "a propagation"),
        (words.reach.get() == Some(Reach::Mount), "bind-recursive"),
        (words.relabel.get().is_some(), "a label"),
        (words.owns(), "U"),
        (words.idmap, "idmap"),
    ];
    match strange.into_iter().find(|(given, _)| *given) {
        Some((_, name)) => {
            let error = Error::invalid(flag, format!("{name} is for directories of the host"));
            Err(error.with_hint("leave it out: a file system in memory is the container's own"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MountKind, Toggle};
    use super::*;

    #[test]
    fn options_of_tmpfs_are_read_and_checked() {
        let parsed =
            MountRequest::parse_tmpfs("/run:rw,exec,size=64m,mode=1770,uid=5,tmpcopyup").expect("legal");
        assert_eq!((parsed.target.as_str(), parsed.exec), ("/run", Toggle::On));
        let MountKind::Tmpfs(tmpfs) = parsed.kind else { panic!("a tmpfs") };
        assert!(tmpfs.copy_up && !tmpfs.read_only);
        let parameters: Vec<String> =
            tmpfs.parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(parameters, ["size=67108864", "mode=1770", "uid=5"]);
        for text in [
            "run",
            "/run:size=x",
            "/run:mode=9",
            "/run:uid=root",
            "/run:size=1m,size=2m",
            "/run:rslave",
            "/run:nonsense",
            "/run:huge=always",
            "/run:readonly",
            "/run:mode=17777",
        ] {
            let error = MountRequest::parse_tmpfs(text).expect_err(text);
            assert!(error.to_string().starts_with(&format!("--tmpfs {text}: ")), "{error}");
        }
        let error = MountRequest::parse_tmpfs("/x:size=99999999999g").expect_err("no such size");
        assert!(
            error.reason == "`99999999999g` is too large for `size`" && error.hint.is_some(),
            "{error:?}"
        );
    }
}
