//! Variables and labels as docker's and podman's flags and files write them. Reads neither files nor the environment:
//! the caller does, and hands over text.

use crate::error::{Error, Result};

/// The caller's environment: `None` is a variable that is not there, an error one that can't be passed on.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Result<Option<String>>;

/// Reads one `--env`: `NAME=value`, `NAME` for the caller's value (nothing where it has none), or `PREFIX*` for all of
/// the caller's variables that begin so, whose names are `names`.
pub fn parse_variable(
    flag: &str,
    text: &str,
    names: &dyn Fn() -> Vec<String>,
    lookup: Lookup<'_>,
) -> Result<Vec<String>> {
    match text.split_once('=') {
        Some(("", _)) => Err(nameless(flag, format!("`{}` has no name", text.escape_debug()))),
        None if text.is_empty() => Err(nameless(flag, "is empty".to_owned())),
        Some(_) => Ok(vec![text.to_owned()]),
        None => {
            let names = match text.strip_suffix('*') {
                Some(prefix) => names().into_iter().filter(|name| name.starts_with(prefix)).collect(),
                None => vec![text.to_owned()],
            };
            let mut found = Vec::new();
            for name in names {
                found.extend(lookup(&name)?.map(|value| format!("{name}={value}")));
            }
            Ok(found)
        }
    }
}

fn nameless(flag: &str, reason: String) -> Error {
    Error::invalid(flag, reason).with_hint("write `NAME=value`, or `NAME` to take the caller's value")
}

/// The lines of a file of variables or labels, as docker reads one: `#` at the beginning makes a comment, empty lines
/// and blanks before a name are skipped, a value is everything behind the first `=` as it stands, quotes included.
fn lines<'a>(flag: &str, path: &str, text: &'a [u8]) -> Result<Vec<(&'a str, Option<&'a str>)>> {
    // Editors on Windows begin a file so.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut found = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let wrong = |reason: String| {
            let error = Error::invalid(flag, format!("`{path}`, line {number}: {reason}"));
            error.with_hint(
                "write `NAME=value` on each line, `NAME` alone for the caller's value, or `#` and a comment",
            )
        };
        let line = std::str::from_utf8(line).map_err(|_| wrong("is not UTF-8".to_owned()))?;
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (line.trim_end(), None),
        };
        if name.is_empty() {
            return Err(wrong(format!("`{}` has no name", line.escape_debug())));
        }
        if name.contains(char::is_whitespace) {
            return Err(wrong(format!("the name `{}` contains white space", name.escape_debug())));
        }
        if line.contains('\0') {
            return Err(wrong("has a NUL byte".to_owned()));
        }
        found.push((name, value));
    }
    Ok(found)
}

/// Reads a file of variables.
pub fn parse_variables(flag: &str, path: &str, text: &[u8], lookup: Lookup<'_>) -> Result<Vec<String>> {
    let mut variables = Vec::new();
    for (name, value) in lines(flag, path, text)? {
        let value = match value {
            Some(value) => Some(value.to_owned()),
            None => lookup(name)?,
        };
        variables.extend(value.map(|value| format!("{name}={value}")));
    }
    Ok(variables)
}

/// Reads a label or annotation, `KEY=value`; where `value_needed` does not say so, `KEY` alone has an empty value.
pub fn parse_pair(flag: &str, text: &str, value: Value) -> Result<(String, String)> {
    match (text.split_once('='), value) {
        (Some((key, value)), _) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        (None, Value::MayLack) if !text.is_empty() => Ok((text.to_owned(), String::new())),
        _ => {
            let error = Error::invalid(flag, format!("`{}` is not `KEY=value`", text.escape_debug()));
            Err(error.with_hint("write a key, `=` and a value"))
        }
    }
}

/// Whether a pair needs its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// It does.
    Needed,
    /// A key alone has an empty one.
    MayLack,
}

/// Reads a file of labels.
pub fn parse_labels(flag: &str, path: &str, text: &[u8]) -> Result<Vec<(String, String)>> {
    let pairs = lines(flag, path, text)?.into_iter();
    Ok(pairs.map(|(key, value)| (key.to_owned(), value.unwrap_or_default().to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Result<Option<String>> {
        Ok((name == "TAKEN" || name.starts_with("P_")).then(|| format!("value of {name}")))
    }

    #[test]
    fn variables_are_set_taken_or_taken_by_prefix() {
        let names = || ["P_A", "OTHER", "P_B"].map(str::to_owned).to_vec();
        let read = |text: &str| parse_variable("--env", text, &names, &lookup);
        assert_eq!(read("A=b=c").expect("legal"), ["A=b=c"]);
        assert_eq!(read("A=").expect("legal"), ["A="]);
        assert_eq!(read("TAKEN").expect("legal"), ["TAKEN=value of TAKEN"]);
        assert_eq!(read("NONE").expect("legal"), Vec::<String>::new());
        assert_eq!(read("P_*").expect("legal"), ["P_A=value of P_A", "P_B=value of P_B"]);
        assert_eq!(read("A=*").expect("legal"), ["A=*"]);
        for text in ["=x", "=", ""] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn files_of_variables_are_read_as_docker_reads_them() {
        let text = "\u{feff}# comment\n\n  A=1\nB= two words \nC='quoted' # no comment\r\n\tD=\nTAKEN\nNONE\n  # again\nE=a=b";
        let read = parse_variables("--env-file", "file", text.as_bytes(), &lookup).expect("legal");
        assert_eq!(
            read,
            ["A=1", "B= two words ", "C='quoted' # no comment", "D=", "TAKEN=value of TAKEN", "E=a=b"]
        );
        for text in [&b"=x"[..], b"A B=1", b"A =1", b"A=\xff", b"A=\0", b"two words"] {
            let error = parse_variables("--env-file", "file", text, &lookup).expect_err("refused");
            assert!(error.to_string().contains("line 1"), "{error}");
        }
    }

    #[test]
    fn pairs_have_a_key() {
        assert_eq!(
            parse_pair("--label", "a=b=c", Value::MayLack).expect("legal"),
            ("a".into(), "b=c".into())
        );
        assert_eq!(parse_pair("--label", "a", Value::MayLack).expect("legal"), ("a".into(), String::new()));
        for text in ["", "=b", "a"] {
            assert!(parse_pair("--annotation", text, Value::Needed).is_err(), "{text:?}");
        }
    }
}
