//! Podman's `--mount type=glob`: each path of the host that a pattern matches, as a bind of its own. Must not mount anything.

use std::path::{Path, PathBuf};

use engine::{Error, Result};

/// What a mount in its long form stands for: of type `glob` a bind for each path, else itself.
pub(super) fn expand(text: &str) -> Result<Vec<String>> {
    let fields: Vec<(&str, &str)> =
        text.split(',').map(|field| field.split_once('=').unwrap_or((field, ""))).collect();
    if !fields.contains(&("type", "glob")) {
        return Ok(vec![text.to_owned()]);
    }
    let (mut source, mut target, mut others) = ("", None, Vec::new());
    for (name, value) in fields {
        match name {
            "type" => {}
            "source" | "src" => source = value,
            "target" | "dst" | "destination" => target = Some(Path::new(value)),
            _ if value.is_empty() => others.push(name.to_owned()),
            _ => others.push(format!("{name}={value}")),
        }
    }
    if !source.starts_with('/') {
        let reason = format!("the pattern `{}` is not absolute", source.escape_debug());
        return Err(Error::invalid("--mount type=glob", reason).with_hint("write `src=/directory/*`"));
    }
    let mut found = vec![PathBuf::from("/")];
    for part in source.split('/').filter(|part| !part.is_empty()) {
        found = below(&found, part);
    }
    if found.is_empty() {
        let reason = format!("no file paths matching glob \"{source}\"");
        return Err(Error::invalid("--mount type=glob", reason).with_hint("look at what is there with `ls`"));
    }
    let bind = |path: PathBuf| {
        let target = match (target, path.file_name()) {
            (Some(directory), Some(name)) => directory.join(name),
            _ => path.clone(),
        };
        let mut fields = vec![
            "type=bind".to_owned(),
            format!("source={}", path.display()),
            format!("target={}", target.display()),
        ];
        fields.extend(others.iter().cloned());
        fields.join(",")
    };
    Ok(found.into_iter().map(bind).collect())
}

/// The paths below `directories` that one part of a pattern matches, sorted.
fn below(directories: &[PathBuf], part: &str) -> Vec<PathBuf> {
    let pattern: Vec<char> = part.chars().collect();
    let mut found = Vec::new();
    for directory in directories {
        if !part.contains(['*', '?', '[']) {
            found.push(directory.join(part));
            continue;
        }
        let names =
            std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let names = names.filter_map(|name| name.into_string().ok());
        let mut matching: Vec<String> = names
            .filter(|name| {
                // As in a shell: what is hidden is named so.
                (!name.starts_with('.') || part.starts_with('.'))
                    && !name.contains(',')
                    && matches(&pattern, &name.chars().collect::<Vec<_>>())
            })
            .collect();
        matching.sort();
        found.extend(matching.into_iter().map(|name| directory.join(name)));
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found
}

/// `*`, `?` and `[…]`, as glob(7) has them.
fn matches(pattern: &[char], name: &[char]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(('*', rest)), _) => (0..=name.len()).any(|skipped| matches(rest, &name[skipped..])),
        (Some(_), None) => false,
        (Some(('?', rest)), Some((_, others))) => matches(rest, others),
        (Some(('[', rest)), Some((letter, others))) => match rest.iter().position(|one| *one == ']') {
            Some(end) if end > 0 => {
                let (is_other, set) = match &rest[..end] {
                    ['!' | '^', set @ ..] => (true, set),
                    set => (false, set),
                };
                is_in(set, *letter) != is_other && matches(&rest[end + 1..], others)
            }
            _ => *letter == '[' && matches(rest, others),
        },
        (Some((own, rest)), Some((letter, others))) => own == letter && matches(rest, others),
    }
}

fn is_in(set: &[char], letter: char) -> bool {
    match set {
        [] => false,
        [first, '-', last, rest @ ..] => (*first..=*last).contains(&letter) || is_in(rest, letter),
        [one, rest @ ..] => *one == letter || is_in(rest, letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        let matches = |pattern: &str, name: &str| {
            matches(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>())
        };
        for (pattern, name) in [("a*", "a"), ("a*c", "abbc"), ("?b", "ab"), ("[a-c]x", "bx"), ("[!a]", "b")] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a*", "b"), ("?", ""), ("[a-c]", "d"), ("[!a]", "a"), ("a", "aa")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn pattern_is_a_bind_for_each_path_and_others_stay_as_they_are() {
        assert_eq!(expand("type=bind,src=/a*,dst=/b").expect("legal"), ["type=bind,src=/a*,dst=/b"]);
        let found = expand("type=glob,src=/proc/sel?,ro").expect("there");
        assert_eq!(found, ["type=bind,source=/proc/self,target=/proc/self,ro"]);
        let found = expand("type=glob,src=/proc/sel[f],dst=/x,ro=false").expect("there");
        assert_eq!(found, ["type=bind,source=/proc/self,target=/x/self,ro=false"]);
        let error = expand("type=glob,src=/proc/none-at-all*").expect_err("nothing");
        assert!(error.reason.starts_with("no file paths matching glob"), "{error}");
    }
}
