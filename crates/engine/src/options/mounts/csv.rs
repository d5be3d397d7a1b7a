//! One record of comma-separated values (RFC 4180), as docker reads `--mount`.

/// The fields of `text`; `None` where a quote is in the wrong place or does not end.
pub(super) fn fields(text: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let (field, after) = match rest.split_once(',') {
                    Some((field, after)) => (field, Some(after)),
                    None => (rest, None),
                };
                if field.contains('"') {
                    return None;
                }
                (field.to_owned(), after)
            }
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Some(fields),
        }
    }
}

/// The field whose first quote is already read, and what follows the comma behind it.
fn quoted_field(text: &str) -> Option<(String, Option<&str>)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        field.push_str(part);
        match after.strip_prefix('"') {
            // Two stand for one.
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None if after.is_empty() => return Some((field, None)),
            None => return Some((field, Some(after.strip_prefix(',')?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_commas_and_double_for_themselves() {
        assert_eq!(fields("a,b=c").expect("legal"), ["a", "b=c"]);
        assert_eq!(fields(r#"type=bind,"source=/a,b",x"#).expect("legal"), ["type=bind", "source=/a,b", "x"]);
        assert_eq!(fields(r#""say ""hi""""#).expect("legal"), [r#"say "hi""#]);
        assert_eq!(fields("").expect("legal"), [""]);
        for wrong in [r#"a"b"#, r#""a"#, r#""a"b"#] {
            assert_eq!(fields(wrong), None, "{wrong}");
        }
    }
}
