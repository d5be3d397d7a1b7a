//! Devices as meant: `--device` and `--device-cgroup-rule`. Looks nothing up.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What may be done with a device (cgroups(7), devices).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceAccess(String);

impl DeviceAccess {
    /// Letters of `r` (read), `w` (write) and `m` (make a node), each at most once.
    pub fn parse(text: &str) -> Option<DeviceAccess> {
        let legal = !text.is_empty()
            && text.bytes().all(|byte| b"rwm".contains(&byte))
            && (1..text.len()).all(|index| !text[..index].contains(&text[index..=index]));
        legal.then(|| DeviceAccess(text.to_owned()))
    }

    /// Its letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DeviceAccess {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<DeviceAccess, String> {
        DeviceAccess::parse(&text).ok_or_else(|| format!("`{text}` is no access"))
    }
}

impl From<DeviceAccess> for String {
    fn from(access: DeviceAccess) -> String {
        access.0
    }
}

/// A node of the host, or all of a directory, that the container gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRequest {
    /// The flag with its value, as typed.
    pub flag: String,
    /// Its path on the host, absolute.
    pub source: PathBuf,
    /// Its path inside, absolute.
    pub target: String,
    /// What may be done with it.
    pub access: DeviceAccess,
}

impl DeviceRequest {
    /// Reads `SOURCE[:DESTINATION][:ACCESS]`.
    pub fn parse(text: &str) -> Result<DeviceRequest> {
        let flag = format!("--device {text}");
        let wrong = |reason: String, hint: &str| Err(Error::invalid(flag.as_str(), reason).with_hint(hint));
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, access) = match parts.as_slice() {
            [source] => (*source, *source, "rwm"),
            [source, second] if DeviceAccess::parse(second).is_some() => (*source, *source, *second),
            [source, target] => (*source, *target, "rwm"),
            [source, target, access] => (*source, *target, *access),
            _ => return wrong("it has more than two colons".to_owned(), "write SOURCE[:DESTINATION][:rwm]"),
        };
        let Some(access) = DeviceAccess::parse(access) else {
            let reason = format!("`{access}` is no access");
            return wrong(reason, "write some of r (read), w (write) and m (make a node)");
        };
        if !source.starts_with('/') {
            if source.contains('=') {
                let error = Error::unsupported(flag.as_str(), "a device by its CDI name".to_owned(), "");
                return Err(error.with_hint("name the nodes themselves, such as `/dev/nvidia0`"));
            }
            return wrong(format!("`{source}` is not absolute"), "name a node such as `/dev/fuse`");
        }
        let parts: Vec<&str> = target.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if !target.starts_with('/') || parts.contains(&"..") || parts.is_empty() {
            let reason = format!("`{target}` is no place for a device");
            return wrong(reason, "the destination is an absolute path inside the container");
        }
        let target = format!("/{}", parts.join("/"));
        Ok(DeviceRequest { source: PathBuf::from(source), target, access, flag })
    }
}

/// Devices that the container may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRuleRequest {
    /// `a` (all), `b` (block) or `c` (character).
    pub kind: char,
    /// Its number, or every one.
    pub major: Option<u32>,
    /// As for `major`.
    pub minor: Option<u32>,
    /// What may be done with it.
    pub access: DeviceAccess,
}

impl DeviceRuleRequest {
    /// Reads `TYPE MAJOR:MINOR ACCESS`, such as `c 189:* rwm`.
    pub fn parse(text: &str) -> Result<DeviceRuleRequest> {
        let wrong = || {
            let error = Error::invalid("--device-cgroup-rule", format!("`{text}` is no rule"));
            error.with_hint("write a type (a, b, c), numbers, and access, such as `c 189:* rwm`")
        };
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        let [kind @ ("a" | "b" | "c"), numbers, access] = words.as_slice() else { return Err(wrong()) };
        let (major, minor) = numbers.split_once(':').ok_or_else(wrong)?;
        let number = |text: &str| match text {
            "*" => Ok(None),
            _ => text.parse().map(Some).map_err(|_| wrong()),
        };
        Ok(DeviceRuleRequest {
            kind: kind.chars().next().ok_or_else(wrong)?,
            major: number(major)?,
            minor: number(minor)?,
            access: DeviceAccess::parse(access).ok_or_else(wrong)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_docker_reads_them() {
        for (text, source, target, access) in [
            ("/dev/fuse", "/dev/fuse", "/dev/fuse", "rwm"),
            ("/dev/sda:r", "/dev/sda", "/dev/sda", "r"),
            ("/dev/sda:/dev//xvdc", "/dev/sda", "/dev/xvdc", "rwm"),
            ("/dev/sda:/dev/xvdc:wr", "/dev/sda", "/dev/xvdc", "wr"),
        ] {
            let read = DeviceRequest::parse(text).expect(text);
            let found = (read.source.to_str(), read.target.as_str(), read.access.as_str());
            assert_eq!(found, (Some(source), target, access), "{text}");
        }
        for text in
            ["", "dev/fuse", "/dev/fuse:x", "/dev/fuse:/dev/f:rr", "/a:/b:r:w", "/a:/../b", "v.com/c=n"]
        {
            assert!(DeviceRequest::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rules_have_type_numbers_and_access() {
        let rule = DeviceRuleRequest::parse("c 189:* rwm").expect("legal");
        assert_eq!((rule.kind, rule.major, rule.minor), ('c', Some(189), None));
        for text in ["", "c 1:3", "x 1:3 r", "c 1 r", "c 1:3 q", "c -1:3 r", "c 1:3 r w"] {
            assert!(DeviceRuleRequest::parse(text).is_err(), "{text}");
        }
    }
}
