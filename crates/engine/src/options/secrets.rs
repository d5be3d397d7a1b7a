//! `--secret`: values that the program finds in a file, or in a variable. Looks nothing up.

use serde::{Deserialize, Serialize};

use super::{MountRequest, nearest};
use crate::error::{Error, Result};
use crate::secret_store::{SecretStore, check_secret_name};

/// The directory in which they are found without a word.
const DIRECTORY: &str = "/run/secrets";

/// The mode of their files without a word: whoever is in the container may read them.
const MODE: u32 = 0o444;

/// The secrets of one container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretOptions {
    /// Those that it gets.
    pub requests: Vec<SecretRequest>,
    /// Where they are; without it, the container has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<SecretStore>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRequest {
    /// The flag as it was given.
    pub flag: String,
    /// Its name, or its id or the beginning of that.
    pub name: String,
    /// Its id, once it was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where the program finds it.
    pub place: SecretPlace,
}

/// Where a program finds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SecretPlace {
    /// In a file.
    File {
        /// An absolute path.
        path: String,
        /// Its user, as the container counts.
        uid: u32,
        /// Its group, likewise.
        gid: u32,
        /// Its mode bits.
        mode: u32,
    },
    /// In a variable of its environment.
    Variable {
        /// The variable's name.
        name: String,
    },
}

const HINT: &str = "write NAME[,type=mount|env][,target=PATH][,uid=ID][,gid=ID][,mode=BITS]";
const WORDS: [&str; 6] = ["source", "type", "target", "uid", "gid", "mode"];

impl SecretRequest {
    /// Reads `NAME[,KEY=VALUE…]`, as podman has it.
    pub fn parse(text: &str) -> Result<SecretRequest> {
        let flag = format!("--secret {text}");
        let refuse = |reason: String| Error::invalid(flag.as_str(), reason).with_hint(HINT);
        let mut words = text.split(',').peekable();
        let mut name = words.next_if(|word| !word.contains('='));
        let (mut target, mut uid, mut gid, mut mode) = (None, None, None, None);
        let mut in_variable = false;
        for word in words {
            let shown = word.escape_debug();
            let Some((key, value)) = word.split_once('=') else {
                return Err(refuse(format!("`{shown}` has no `=`")));
            };
            let number = |radix: u32, most: u32| {
                let legal = !value.is_empty() && value.chars().all(|digit| digit.is_digit(radix));
                let number = u32::from_str_radix(value, radix).ok().filter(|number| legal && *number <= most);
                number.ok_or_else(|| refuse(format!("`{shown}` is no number for that")))
            };
            match key {
                "source" => name = Some(value),
                "type" => {
                    in_variable = match value {
                        "mount" => false,
                        "env" => true,
                        _ => return Err(refuse(format!("`{shown}` is neither `mount` nor `env`"))),
                    }
                }
                "target" => target = Some(value).filter(|target| !target.is_empty()),
                "uid" | "UID" => uid = Some(number(10, u32::MAX - 1)?),
                "gid" | "GID" => gid = Some(number(10, u32::MAX - 1)?),
                "mode" => mode = Some(number(8, 0o7777)?),
                _ => {
                    let error =
                        Error::invalid(flag.as_str(), format!("`{}` is not known", key.escape_debug()));
                    return Err(match nearest(key, WORDS.into_iter()) {
                        Some(word) => error.with_hint(format!("did you mean `{word}`?")),
                        None => error.with_hint(HINT),
                    });
                }
            }
        }
        let name = name.unwrap_or_default().to_owned();
        check_secret_name(&name).map_err(refuse)?;
        let place = match in_variable {
            true => {
                if uid.or(gid).or(mode).is_some() {
                    return Err(refuse("a variable has no owner and no mode".to_owned()));
                }
                SecretPlace::Variable { name: target.map_or_else(|| name.clone(), str::to_owned) }
            }
            false => SecretPlace::File {
                path: path_of(target.unwrap_or(&name)).map_err(refuse)?,
                uid: uid.unwrap_or(0),
                gid: gid.unwrap_or(0),
                mode: mode.unwrap_or(MODE),
            },
        };
        if let SecretPlace::Variable { name } = &place
            && name.contains(|character: char| character == '=' || character.is_control())
        {
            return Err(refuse(format!("`{}` is no name of a variable", name.escape_debug())));
        }
        Ok(SecretRequest { flag, name, id: None, place })
    }
}

/// Where a target is: what is no absolute path lies below /run/secrets.
fn path_of(target: &str) -> std::result::Result<String, String> {
    let path = match target.starts_with('/') {
        true => target.to_owned(),
        false => format!("{DIRECTORY}/{target}"),
    };
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let shown = target.escape_debug();
    match parts.first() {
        _ if parts.contains(&"..") => Err(format!("`{shown}` contains `..`")),
        _ if path.ends_with('/') => Err(format!("`{shown}` is a directory, and a secret is a file")),
        None => Err(format!("`{shown}` is a directory, and a secret is a file")),
        Some(&("proc" | "sys" | "dev")) => {
            Err(format!("`{shown}` lies among the kernel's own files, where a secret has no place"))
        }
        Some(_) => Ok(format!("/{}", parts.join("/"))),
    }
}

impl SecretOptions {
    /// Whether there are none.
    pub(crate) fn is_none(&self) -> bool {
        *self == SecretOptions::default()
    }

    /// Refuses what gets in each other's way, or in that of a mount.
    pub(crate) fn check(&self, mounts: &[MountRequest]) -> Result<()> {
        for (index, request) in self.requests.iter().enumerate() {
            let earlier =
                self.requests[..index].iter().find(|earlier| match (&earlier.place, &request.place) {
                    (SecretPlace::File { path: one, .. }, SecretPlace::File { path: other, .. }) => {
                        one == other
                    }
                    (SecretPlace::Variable { name: one }, SecretPlace::Variable { name: other }) => {
                        one == other
                    }
                    _ => false,
                });
            let covered = mounts.iter().find(|mount| match &request.place {
                SecretPlace::File { path, .. } => *path == mount.target,
                SecretPlace::Variable { .. } => false,
            });
            let other = earlier.map(|earlier| &earlier.flag).or(covered.map(|mount| &mount.flag));
            if let Some(other) = other {
                let error = Error::invalid(request.flag.as_str(), format!("`{other}` has its place already"));
                return Err(error.with_hint("choose another one with `target=`"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, uid: u32, gid: u32, mode: u32) -> SecretPlace {
        SecretPlace::File { path: path.to_owned(), uid, gid, mode }
    }

    #[test]
    fn secrets_are_read_as_podman_reads_them() {
        let variable = |name: &str| SecretPlace::Variable { name: name.to_owned() };
        for (text, name, place) in [
            ("key", "key", file("/run/secrets/key", 0, 0, 0o444)),
            ("source=key", "key", file("/run/secrets/key", 0, 0, 0o444)),
            ("key,target=other", "key", file("/run/secrets/other", 0, 0, 0o444)),
            ("key,target=a/b", "key", file("/run/secrets/a/b", 0, 0, 0o444)),
            ("key,target=/etc//app/./key", "key", file("/etc/app/key", 0, 0, 0o444)),
            ("key,type=mount,uid=7,gid=8,mode=0400", "key", file("/run/secrets/key", 7, 8, 0o400)),
            ("key,UID=7,GID=8,mode=600", "key", file("/run/secrets/key", 7, 8, 0o600)),
            ("key,type=env", "key", variable("key")),
            ("type=env,source=key,target=KEY", "key", variable("KEY")),
        ] {
            let read = SecretRequest::parse(text).expect(text);
            assert_eq!((read.name.as_str(), read.place), (name, place), "{text}");
            assert_eq!(read.flag, format!("--secret {text}"));
        }
        for text in [
            "",
            "source=",
            "type=env",
            "a/b",
            "..",
            "key,",
            "key,mode",
            "key,type=file",
            "key,mode=9",
            "key,mode=+7",
            "key,mode=17777",
            "key,uid=root",
            "key,uid=4294967295",
            "key,tarjet=x",
            "key,target=../x",
            "key,target=/",
            "key,target=x/",
            "key,target=/proc/version",
            "key,target=/dev/key",
            "key,type=env,mode=0400",
            "key,type=env,target=A=B",
        ] {
            let error = SecretRequest::parse(text).expect_err(text);
            assert!(error.hint.is_some() && error.to_string().contains("--secret"), "{error}");
        }
    }

    #[test]
    fn each_place_is_had_by_one() {
        let options = |texts: &[&str]| SecretOptions {
            requests: texts.iter().map(|text| SecretRequest::parse(text).expect("legal")).collect(),
            store: None,
        };
        assert!(options(&["a", "b", "a,type=env", "a,target=c"]).check(&[]).is_ok());
        for twice in [["a", "b,target=a"], ["a,type=env,target=X", "b,type=env,target=X"]] {
            assert!(options(&twice).check(&[]).is_err(), "{twice:?}");
        }
        let mount = MountRequest::parse_tmpfs("/run/secrets/a").expect("legal");
        assert!(options(&["a"]).check(&[mount]).is_err());
    }
}
