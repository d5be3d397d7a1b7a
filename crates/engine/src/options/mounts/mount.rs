//! `--mount KEY=VALUE,…`: docker's long form, with podman's additions.

use std::path::Path;

use super::tmpfs::{check_tmpfs, take_noswap, take_parameter};
use super::{
    Access, CONSISTENCY, Choice, MountRequest, Propagation, Reach, Relabel, Source, VolumeContent,
    VolumeRequest, VolumeSettings, Words, csv, parse_name, parse_path, parse_target,
};
use crate::error::{Error, Result};

/// Kinds that name something of the host or of memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As with docker, what nothing is said of.
    Volume,
    Bind,
    Tmpfs,
    Ramfs,
}

/// What the fields say, one after the other.
#[derive(Default)]
struct Fields {
    kind: Choice<Kind>,
    source: Option<String>,
    target: Option<String>,
    words: Words,
    recursion: Choice<Recursion>,
    subpath: Option<String>,
    settings: VolumeSettings,
    driver: Option<String>,
}

/// `bind-recursive`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recursion {
    /// Mounts below come along, read-only where the mount is.
    Enabled,
    /// They don't come along.
    Disabled,
    /// They come along, and stay as they are.
    Writable,
    /// They come along, and must be read-only.
    ReadOnly,
}

impl MountRequest {
    /// Reads the value of `--mount`; `directory` is where relative sources begin.
    pub fn parse_mount(text: &str, directory: &Path) -> Result<MountRequest> {
        if text.is_empty() {
            let error = Error::invalid("--mount", "is empty".to_owned());
            return Err(error.with_hint(
                "write `type=bind,source=PATH,target=PATH`, or `source=NAME,target=PATH` for a volume; a variable that it comes from may not be set",
            ));
        }
        let flag = format!("--mount {text}");
        let Some(list) = csv::fields(text) else {
            let error = Error::invalid(flag.as_str(), "a quote is in the wrong place".to_owned());
            return Err(error.with_hint("put a whole field in quotes: `type=bind,\"source=/a,b\",target=/c`"));
        };
        let mut fields = Fields::default();
        for field in &list {
            fields.take(field, &flag)?;
        }
        fields.finish(flag, directory)
    }
}

/// The fields, without synonyms.
const KNOWN: &str = "type, source, target, readonly, bind-propagation, bind-recursive, bind-nonrecursive, idmap, relabel, \
                     chown, volume-nocopy, volume-subpath, volume-label, volume-driver, volume-opt, tmpfs-size, tmpfs-mode, \
                     tmpcopyup, noswap, uid, gid, nr_inodes, nr_blocks, exec, suid, dev, noexec, nosuid, nodev";

fn boolean(flag: &str, key: &str, value: Option<&str>) -> Result<bool> {
    match value.unwrap_or("true").to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        other => {
            let error = Error::invalid(flag, format!("`{other}` is no value of `{key}`"));
            Err(error.with_hint("write `true` or `false`"))
        }
    }
}

impl Fields {
    fn take(&mut self, field: &str, flag: &str) -> Result<()> {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field, None),
        };
        let lower = key.to_ascii_lowercase();
        match (lower.as_str(), value) {
            ("type", Some(value)) => self.kind.set(kind(value, flag)?, field, flag)?,
            ("source" | "src", Some(value)) => set(&mut self.source, value, key, flag)?,
            ("target" | "dst" | "destination", Some(value)) => set(&mut self.target, value, key, flag)?,
            ("readonly" | "ro", value) => self.access(boolean(flag, key, value)?, field, flag)?,
            ("rw", value) => self.access(!boolean(flag, key, value)?, field, flag)?,
            ("bind-propagation", Some(value)) => {
                self.words.propagation.set(propagation(value, flag)?, field, flag)?;
            }
            ("bind-nonrecursive", value) => {
                if boolean(flag, key, value)? {
                    self.recursion.set(Recursion::Disabled, field, flag)?;
                }
            }
            ("bind-recursive", Some(value)) => self.recursion.set(recursion(value, flag)?, field, flag)?,
            ("tmpfs-size" | "size", Some(value)) => take_parameter(&mut self.words, "size", value, flag)?,
            ("tmpfs-mode" | "mode", Some(value)) => take_parameter(&mut self.words, "mode", value, flag)?,
            ("uid" | "gid" | "nr_inodes" | "nr_blocks", Some(value)) => {
                take_parameter(&mut self.words, &lower, value, flag)?;
            }
            ("relabel", Some("shared")) => self.words.relabel.set(Relabel::Shared, field, flag)?,
            ("relabel", Some("private")) => self.words.relabel.set(Relabel::Private, field, flag)?,
            ("z", None) if key == "z" => self.words.relabel.set(Relabel::Shared, field, flag)?,
            ("z", None) => self.words.relabel.set(Relabel::Private, field, flag)?,
            ("u" | "chown", value) => self.words.chown.set(boolean(flag, key, value)?, field, flag)?,
            ("idmap", None) => self.words.idmap = true,
            ("tmpcopyup", value) => self.words.copy_up.set(boolean(flag, key, value)?, field, flag)?,
            ("noswap", None) => take_noswap(&mut self.words, flag)?,
            ("notmpcopyup", None) => self.words.copy_up.set(false, field, flag)?,
            ("consistency", Some(value)) if CONSISTENCY.contains(&value) => {}
            (other, None) if self.words.take(other, flag)? => {}
            ("volume-nocopy", value) => {
                let content =
                    if boolean(flag, key, value)? { VolumeContent::Nothing } else { VolumeContent::Copied };
                self.words.content.set(content, field, flag)?;
            }
            ("nocopy", None) => self.words.content.set(VolumeContent::Nothing, field, flag)?,
            ("copy", None) => self.words.content.set(VolumeContent::Copied, field, flag)?,
            ("volume-subpath" | "subpath", Some(value)) => set(&mut self.subpath, value, key, flag)?,
            ("volume-driver", Some(value)) => set(&mut self.driver, value, key, flag)?,
            ("volume-label", Some(value)) => {
                let (name, value) = value.split_once('=').unwrap_or((value, ""));
                self.settings.labels.insert(name.to_owned(), value.to_owned());
            }
            ("volume-opt", Some(value)) => {
                let (name, value) = value.split_once('=').unwrap_or((value, ""));
                self.settings.options.insert(name.to_owned(), value.to_owned());
            }
            (other, _) if other.starts_with("image-") => {
                let error = Error::unsupported(flag, format!("`{key}`"), "");
                return Err(error.with_hint("it is for images, which are to come"));
            }
            ("", None) => {
                let error = Error::invalid(flag, "a field is empty".to_owned());
                return Err(error.with_hint("one comma stands between two fields, and none at the ends"));
            }
            _ => {
                let error = Error::invalid(flag, format!("`{field}` is no field of a mount"));
                return Err(error.with_hint(format!("known are {KNOWN}; and, without effect, consistency")));
            }
        }
        Ok(())
    }

    fn access(&mut self, read_only: bool, field: &str, flag: &str) -> Result<()> {
        let access = if read_only { Access::ReadOnly } else { Access::Writable };
        self.words.access.set(access, field, flag)
    }

    fn finish(mut self, flag: String, directory: &Path) -> Result<MountRequest> {
        let kind = self.kind.get().unwrap_or(Kind::Volume);
        let Some(target) = &self.target else {
            let error = Error::invalid(flag.as_str(), "it has no target".to_owned());
            return Err(error.with_hint("add `target=PATH`, where it appears inside"));
        };
        let target = parse_target(&flag, target)?;
        if kind != Kind::Volume {
            self.refuse_what_is_of_volumes(&flag)?;
        }
        self.resolve_recursion(&flag)?;
        match kind {
            Kind::Volume => {
                let volume = self.volume(&flag)?;
                Ok(self.words.into_bind(flag, Source::Volume(volume), target))
            }
            Kind::Bind => {
                let Some(source) = &self.source else {
                    let error = Error::invalid(flag.as_str(), "it has no source".to_owned());
                    return Err(error.with_hint("add `source=PATH`, a directory or file of the host"));
                };
                if !self.words.parameters.is_empty() || self.words.copy_up.get().is_some() {
                    let error =
                        Error::invalid(flag.as_str(), "tmpfs options are for `type=tmpfs`".to_owned());
                    return Err(error.with_hint("leave them out"));
                }
                let source = parse_path(&flag, source, directory)?;
                Ok(self.words.into_bind(flag, Source::Path(source), target))
            }
            Kind::Tmpfs | Kind::Ramfs => {
                if self.source.is_some() {
                    let error = Error::invalid(flag.as_str(), "a tmpfs has no source".to_owned());
                    return Err(error.with_hint("leave `source` out, or say `type=bind`"));
                }
                check_tmpfs(&self.words, &flag)?;
                if kind == Kind::Tmpfs {
                    return Ok(self.words.into_tmpfs(flag, target));
                }
                if let Some((key, _)) = self.words.parameters.iter().find(|(key, _)| key != "mode") {
                    let error = Error::invalid(flag, format!("ramfs has no `{key}`"));
                    return Err(error.with_hint("leave it out, or say `type=tmpfs`"));
                }
                Ok(self.words.into_ramfs(flag, target))
            }
        }
    }

    /// The volume that is meant.
    fn volume(&mut self, flag: &str) -> Result<VolumeRequest> {
        let refuse = |reason: String, hint: &str| Err(Error::invalid(flag, reason).with_hint(hint));
        if self.recursion.get().is_some() {
            return refuse("bind-recursive is for `type=bind`".to_owned(), "leave it out");
        }
        if !self.words.parameters.is_empty() || self.words.copy_up.get().is_some() {
            return refuse("tmpfs options are for `type=tmpfs`".to_owned(), "leave them out");
        }
        if let Some(driver) = self.driver.as_deref().filter(|driver| !matches!(*driver, "" | "local")) {
            let error =
                Error::unsupported(flag, format!("the volume driver `{}`", driver.escape_debug()), "");
            return Err(error.with_hint("there is `local`, which need not be named"));
        }
        if let Some(subpath) = &self.subpath
            && (subpath.starts_with('/') || subpath.split('/').any(|part| part == ".."))
        {
            let reason = format!("`{}` leads out of the volume", subpath.escape_debug());
            return refuse(reason, "write a path that begins in the volume, without `..`");
        }
        let mut volume = match self.source.as_deref().filter(|source| !source.is_empty()) {
            Some(name) if name.starts_with(['/', '.']) => {
                return refuse(
                    format!("`{name}` is no name of a volume"),
                    "say `type=bind` for a directory of the host",
                );
            }
            Some(name) => parse_name(flag, name)?,
            None => VolumeRequest { anonymous: true, ..VolumeRequest::default() },
        };
        volume.subpath = self.subpath.take();
        volume.settings = std::mem::take(&mut self.settings);
        Ok(volume)
    }

    fn refuse_what_is_of_volumes(&self, flag: &str) -> Result<()> {
        let found = [
            (self.words.content.get().is_some(), "volume-nocopy"),
            (self.subpath.is_some(), "volume-subpath"),
            (self.driver.is_some(), "volume-driver"),
            (!self.settings.labels.is_empty(), "volume-label"),
            (!self.settings.options.is_empty(), "volume-opt"),
        ];
        match found.into_iter().find(|(given, _)| *given) {
            Some((_, name)) => {
                let error = Error::invalid(flag, format!("{name} is for `type=volume`"));
                Err(error.with_hint("leave it out"))
            }
            None => Ok(()),
        }
    }

    fn resolve_recursion(&mut self, flag: &str) -> Result<()> {
        let words = &mut self.words;
        let read_only = words.access.get() == Some(Access::ReadOnly);
        match self.recursion.get() {
            None | Some(Recursion::Enabled) => {}
            Some(Recursion::Disabled) => words.reach.replace(Reach::Mount),
            Some(Recursion::Writable) if read_only => words.access.replace(Access::ReadOnlyHere),
            Some(Recursion::ReadOnly)
                if words.propagation.get().is_some_and(|one| one != Propagation::Private) =>
            {
                let reason = "mounts that travel into it later would not be read-only".to_owned();
                return Err(Error::invalid(flag, reason).with_hint("say `bind-propagation=rprivate`"));
            }
            Some(Recursion::ReadOnly) if read_only => {}
            Some(Recursion::Writable | Recursion::ReadOnly) => {
                let error = Error::invalid(flag, "this bind-recursive needs `readonly`".to_owned());
                return Err(error.with_hint("add `readonly`"));
            }
        }
        Ok(())
    }
}

fn set(place: &mut Option<String>, value: &str, key: &str, flag: &str) -> Result<()> {
    match place.replace(value.to_owned()) {
        Some(_) => Err(Error::invalid(flag, format!("`{key}` is given twice"))),
        None => Ok(()),
    }
}

fn kind(value: &str, flag: &str) -> Result<Kind> {
    match value.to_ascii_lowercase().as_str() {
        "bind" => Ok(Kind::Bind),
        "tmpfs" => Ok(Kind::Tmpfs),
        "ramfs" => Ok(Kind::Ramfs),
        "volume" => Ok(Kind::Volume),
        "image" | "artifact" | "cluster" | "glob" | "devpts" | "npipe" => {
            let error = Error::unsupported(flag, format!("`type={value}`"), "");
            Err(error.with_hint(
                "say `type=volume`, `type=bind` for a directory of the host, `type=tmpfs` or `type=ramfs`",
            ))
        }
        _ => {
            let error = Error::invalid(flag, format!("`{value}` is no type of mount"));
            Err(error.with_hint("known are volume, bind, tmpfs and ramfs"))
        }
    }
}

fn propagation(value: &str, flag: &str) -> Result<Propagation> {
    match value {
        "private" | "rprivate" => Ok(Propagation::Private),
        "slave" | "rslave" => Ok(Propagation::Slave),
        "shared" | "rshared" => Ok(Propagation::Shared),
        _ => {
            let error = Error::invalid(flag, format!("`{value}` is no propagation"));
            Err(error.with_hint("write rprivate, rslave or rshared"))
        }
    }
}

fn recursion(value: &str, flag: &str) -> Result<Recursion> {
    Ok(match value {
        "enabled" => Recursion::Enabled,
        "disabled" => Recursion::Disabled,
        "writable" => Recursion::Writable,
        "readonly" => Recursion::ReadOnly,
        _ => {
            let error = Error::invalid(flag, format!("`{value}` is no value of bind-recursive"));
            return Err(error.with_hint("write enabled, disabled, writable or readonly"));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::{MountKind, Toggle};
    use super::*;

    fn parse(text: &str) -> Result<MountRequest> {
        MountRequest::parse_mount(text, Path::new("/here"))
    }

    #[test]
    fn synonyms_and_quotes_mean_what_docker_means_by_them() {
        for text in [
            "type=bind,source=/a,target=/b,readonly",
            "type=bind,src=/a,dst=/b,ro=true",
            "TYPE=bind,Src=/a,destination=/b/,readonly=1,consistency=cached",
            r#""type=bind","source=/a",target=/b,ro"#,
        ] {
            let MountRequest { target, kind: MountKind::Bind(bind), .. } = parse(text).expect(text) else {
                panic!("{text} is a bind")
            };
            assert_eq!((target.as_str(), bind.source.as_path()), ("/b", Path::new("/a")), "{text}");
            assert_eq!((bind.access, bind.reach), (Access::ReadOnly, Reach::Tree), "{text}");
        }
        let request = parse(r#"type=bind,"source=/with,comma and ""quote"":x",target=/b"#).expect("legal");
        let MountKind::Bind(bind) = request.kind else { panic!("a bind") };
        assert_eq!(bind.source, Path::new(r#"/with,comma and "quote":x"#));
    }

    #[test]
    fn recursion_decides_what_is_read_only() {
        let bind = |text: &str| match parse(text).expect(text).kind {
            MountKind::Bind(bind) => (bind.reach, bind.access),
            MountKind::Tmpfs(_) => panic!("{text} is a bind"),
        };
        let base = "type=bind,source=/a,target=/b";
        assert_eq!(bind(&format!("{base},bind-nonrecursive")), (Reach::Mount, Access::Writable));
        assert_eq!(bind(&format!("{base},bind-recursive=disabled,ro")), (Reach::Mount, Access::ReadOnly));
        assert_eq!(bind(&format!("{base},bind-recursive=writable,ro")), (Reach::Tree, Access::ReadOnlyHere));
        assert_eq!(bind(&format!("{base},bind-recursive=readonly,ro")), (Reach::Tree, Access::ReadOnly));
        parse(&format!("{base},bind-recursive=readonly")).expect_err("it must be read-only");
        parse(&format!("{base},bind-recursive=readonly,ro,bind-propagation=rslave"))
            .expect_err("not later ones");
    }

    #[test]
    fn fields_that_contradict_each_other_are_both_named() {
        for (fields, first, second) in [
            ("type=bind,source=/a,readonly,rw", "readonly", "rw"),
            ("type=bind,source=/a,ro=false,readonly=true", "ro=false", "readonly=true"),
            ("type=bind,source=/a,rslave,bind-propagation=rshared", "rslave", "bind-propagation=rshared"),
            ("type=bind,source=/a,exec,noexec", "exec", "noexec"),
            ("type=tmpfs,rw,ro", "rw", "ro"),
            ("type=bind,source=/a,type=tmpfs", "type=bind", "type=tmpfs"),
            ("type=bind,source=/a,chown,chown=false", "chown", "chown=false"),
            ("type=bind,source=/a,relabel=shared,Z", "relabel=shared", "Z"),
            (
                "type=bind,source=/a,bind-recursive=writable,bind-nonrecursive",
                "bind-recursive=writable",
                "bind-nonrecursive",
            ),
            ("type=tmpfs,tmpcopyup,notmpcopyup", "tmpcopyup", "notmpcopyup"),
        ] {
            let error = parse(&format!("{fields},target=/b")).expect_err(fields);
            assert_eq!(error.reason, format!("both `{first}` and `{second}` are given"));
            assert!(error.hint.is_some(), "{error:?}");
        }
        parse("type=bind,source=/a,target=/b,ro,rw=false,readonly=1").expect("they say the same");
    }

    #[test]
    fn tmpfs_has_size_and_mode() {
        let request = parse("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700,exec").expect("legal");
        assert_eq!(request.exec, Toggle::On);
        let MountKind::Tmpfs(tmpfs) = request.kind else { panic!("a tmpfs") };
        assert_eq!(tmpfs.parameters.len(), 2);
    }

    #[test]
    fn fields_that_a_refusal_lists_are_those_that_are_taken() {
        let error = parse("type=bind,sauce=x").expect_err("no field");
        let hint = error.hint.expect("there is one");
        let listed = hint.strip_prefix("known are ").and_then(|list| list.split(';').next()).expect("a list");
        let listed: Vec<&str> = listed.split(", ").collect();
        let with_values = [
            ("type", "bind"),
            ("source", "/a"),
            ("target", "/b"),
            ("bind-propagation", "rslave"),
            ("bind-recursive", "enabled"),
            ("relabel", "shared"),
            ("volume-subpath", "a"),
            ("volume-label", "a=b"),
            ("volume-driver", "local"),
            ("volume-opt", "o=bind"),
            ("tmpfs-size", "1m"),
            ("tmpfs-mode", "700"),
            ("uid", "1"),
            ("gid", "1"),
            ("nr_inodes", "9"),
            ("nr_blocks", "9"),
        ];
        for field in &listed {
            let value = with_values.iter().find(|(key, _)| key == field);
            let text = value.map_or_else(|| (*field).to_owned(), |(key, value)| format!("{key}={value}"));
            Fields::default().take(&text, "--mount").expect(field);
        }
        for field in ["bind-nonrecursive", "idmap", "uid", "tmpcopyup"] {
            assert!(listed.contains(&field), "{field}");
        }
        let empty = parse("").expect_err("nothing");
        assert_eq!(empty.to_string(), "--mount: is empty");
    }

    #[test]
    fn volume_has_a_name_or_is_the_containers_own_and_says_how_it_is_made() {
        let text =
            "source=x,target=/b,ro,volume-nocopy,volume-label=a=b,volume-opt=type=tmpfs,volume-subpath=c/d";
        let MountKind::Bind(bind) = parse(text).expect("legal").kind else { panic!("a volume") };
        let volume = bind.volume.expect("a volume");
        assert_eq!((volume.name.as_deref(), volume.subpath.as_deref()), (Some("x"), Some("c/d")));
        assert_eq!((volume.content, bind.access), (VolumeContent::Nothing, Access::ReadOnly));
        assert_eq!((&*volume.settings.labels["a"], &*volume.settings.options["type"]), ("b", "tmpfs"));
        for text in ["type=volume,target=/b", "target=/b", "type=volume,source=,target=/b"] {
            let MountKind::Bind(bind) = parse(text).expect(text).kind else { panic!("a volume") };
            assert!(bind.volume.is_some_and(|volume| volume.anonymous && volume.name.is_none()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_or_to_come_is_refused_with_the_flag() {
        for text in [
            "source=/a,target=/b",
            "type=volume,source=/x,target=/b",
            "type=volume,source=x",
            "type=volume,source=x,target=/b,bind-recursive=enabled",
            "type=volume,source=x,target=/b,tmpfs-size=1m",
            "type=volume,source=x,target=/b,volume-driver=other",
            "type=volume,source=x,target=/b,volume-subpath=a/../b",
            "type=tmpfs,target=/b,volume-opt=a=b",
            "type=image,source=x,target=/b",
            "type=what,target=/b",
            "type=bind,source=/a",
            "type=bind,target=/b",
            "type=bind,source=/a,target=b",
            "type=bind,source=/a,source=/b,target=/c",
            "type=bind,source=/a,target=/b,ro=maybe",
            "type=bind,source=/a,target=/b,tmpfs-size=1m",
            "type=bind,source=/a,target=/b,bind-propagation=x",
            "type=bind,source=/a,target=/b,volume-nocopy",
            "type=bind,source=/a,target=/b,sauce=x",
            "type=tmpfs,source=/a,target=/b",
            "type=tmpfs,target=/b,bind-propagation=rslave",
            "type=tmpfs,target=/b,tmpfs-mode=999",
            "type=bind,\"source=/a,target=/b",
            "type=tmpfs,,target=/b",
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.to_string().starts_with(&format!("--mount {text}: ")), "{error}");
        }
    }
}
