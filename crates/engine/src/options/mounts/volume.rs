//! `-v`, `--volume [SOURCE:]DESTINATION[:OPTIONS]`.

use std::path::Path;

use super::{
    Access, CONSISTENCY, MountRequest, Reach, Relabel, Source, VolumeContent, VolumeRequest, Words,
    parse_source, parse_target,
};
use crate::error::{Error, Result};

impl MountRequest {
    /// Reads `SOURCE:DESTINATION[:OPTIONS]`, or a destination alone for a volume of the container's own; `directory` is where
    /// relative sources begin.
    pub fn parse_volume(text: &str, directory: &Path) -> Result<MountRequest> {
        let flag = format!("--volume {text}");
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts.as_slice() {
            [""] => {
                let error = Error::invalid("--volume", "is empty".to_owned());
                return Err(error.with_hint(
                    "write `[SOURCE:]DESTINATION[:OPTIONS]`; a variable that it comes from may not be set",
                ));
            }
            [lone] if !lone.starts_with('/') => {
                let error = Error::invalid(flag.as_str(), "it has no destination".to_owned());
                let source = if lone.starts_with(['.', '~']) { "" } else { "./" };
                return Err(error.with_hint(format!(
                    "write `{source}{lone}:/PATH`, with the path at which it appears inside"
                )));
            }
            [target] => {
                let target = parse_target(&flag, target)?;
                let volume = VolumeRequest { anonymous: true, ..VolumeRequest::default() };
                return Ok(Words::default().into_bind(flag, Source::Volume(volume), target));
            }
            [source, target] => (*source, *target, ""),
            [source, target, options] => (*source, *target, *options),
            _ => {
                let error = Error::invalid(flag.as_str(), "it has more than two colons".to_owned());
                return Err(error
                    .with_hint("a path with a colon goes into `--mount type=bind,source=PATH,target=PATH`"));
            }
        };
        let mut words = Words::default();
        for word in options.split(',').filter(|word| !word.is_empty()) {
            if !words.take(word, &flag)? {
                take_volume_word(&mut words, word, &flag)?;
            }
        }
        if words.access.get() == Some(Access::ThrownAway) && (words.relabel.get().is_some() || words.owns()) {
            let error = Error::invalid(flag.as_str(), "`O` leaves the source as it is".to_owned());
            return Err(error.with_hint("leave `z`, `Z` and `U` out"));
        }
        let source = parse_source(&flag, source, directory)?;
        let target = parse_target(&flag, target)?;
        Ok(words.into_bind(flag, source, target))
    }
}

fn take_volume_word(words: &mut Words, word: &str, flag: &str) -> Result<()> {
    match word {
        "z" => words.relabel.set(Relabel::Shared, word, flag)?,
        "Z" => words.relabel.set(Relabel::Private, word, flag)?,
        "U" => words.chown.set(true, word, flag)?,
        "idmap" => words.idmap = true,
        "rbind" => words.reach.set(Reach::Tree, word, flag)?,
        "bind" => words.reach.set(Reach::Mount, word, flag)?,
        // About volumes, which alone are ever filled from an image.
        "nocopy" => words.content.set(VolumeContent::Nothing, word, flag)?,
        "copy" => words.content.set(VolumeContent::Copied, word, flag)?,
        _ if CONSISTENCY.contains(&word) => {}
        _ if word.starts_with("idmap=") => {
            let error = Error::unsupported(flag, format!("a map of the mount's own (`{word}`)"), "");
            return Err(error.with_hint("`idmap` alone goes by the map of the container's user namespace"));
        }
        // A word of `--mount`; docker and podman refuse it here.
        "readonly" => {
            let error = Error::invalid(flag, "`readonly` is no option of a volume".to_owned());
            return Err(error.with_hint("did you mean `ro`?"));
        }
        _ => {
            let known = "ro, rw, z, Z, U, O, rprivate, rslave, rshared, exec, suid, dev, noexec, nosuid, nodev, \
                         bind, rbind, idmap, nocopy; and, without effect, cached, delegated, consistent";
            let error = Error::invalid(flag, format!("`{word}` is no option of a volume"));
            return Err(error.with_hint(format!("known are {known}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{BindRequest, MountKind, Propagation, Toggle};
    use super::*;

    fn parse(text: &str) -> Result<MountRequest> {
        MountRequest::parse_volume(text, Path::new("/here"))
    }

    fn bind(text: &str) -> BindRequest {
        match parse(text).expect("legal").kind {
            MountKind::Bind(bind) => bind,
            MountKind::Tmpfs(_) => panic!("{text} is a bind"),
        }
    }

    #[test]
    fn volume_is_a_recursive_private_writable_bind_unless_it_says_otherwise() {
        let plain = bind("/a:/b");
        assert_eq!((plain.reach, plain.access), (Reach::Tree, Access::Writable));
        assert_eq!(plain.propagation, Propagation::Private);
        let said = parse("/a:/b//c/.:ro,Z,U,rslave,noexec,dev,cached").expect("legal");
        assert_eq!((said.target.as_str(), said.exec, said.dev), ("/b/c", Toggle::Off, Toggle::On));
        let MountKind::Bind(said) = said.kind else { panic!("a bind") };
        assert_eq!((said.access, said.relabel, said.chown), (Access::ReadOnly, Some(Relabel::Private), true));
        assert_eq!(said.propagation, Propagation::Slave);
        assert_eq!(bind("/a:/b:O").access, Access::ThrownAway);
    }

    #[test]
    fn relative_source_needs_a_dot_and_begins_at_the_caller() {
        assert_eq!(bind("./data:/d").source, Path::new("/here/data"));
        assert_eq!(bind(".:/d").source, Path::new("/here"));
        assert_eq!(bind(".hidden:/d").source, Path::new("/here/.hidden"));
        MountRequest::parse_volume(".:/d", Path::new("")).expect_err("a directory that is gone");
        let error = parse("sub/data:/d").expect_err("neither a path nor a name");
        assert!(error.hint.as_deref().is_some_and(|found| found.contains("./sub/data")), "{error:?}");
    }

    #[test]
    fn what_is_no_path_is_the_name_of_a_volume_and_no_source_is_a_volume_of_the_containers_own() {
        let named = bind("data:/d:ro,nocopy");
        let volume = named.volume.expect("a volume");
        assert_eq!((volume.name.as_deref(), volume.anonymous), (Some("data"), false));
        assert_eq!((volume.content, named.access), (VolumeContent::Nothing, Access::ReadOnly));
        let own = parse("/d//e/.").expect("legal");
        assert_eq!(own.target, "/d/e");
        let MountKind::Bind(BindRequest { volume: Some(volume), .. }) = own.kind else { panic!("a volume") };
        assert_eq!((volume.name, volume.anonymous), (None, true));
        assert_eq!(volume.content, VolumeContent::Copied);
        for text in ["-x:/d", "_x:/d", "a b:/d", "ä:/d", &format!("{}:/d", "x".repeat(256))] {
            let error = parse(text).expect_err(text);
            assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("a volume's name")), "{error:?}");
        }
    }

    #[test]
    fn what_contradicts_itself_or_means_nothing_is_refused_with_the_flag() {
        for text in [
            "d",
            "/d/../e",
            ".",
            "/a:b",
            "/a:/b:ro:x",
            "/a:/b:ro,rw",
            "/a:/b:z,Z",
            "/a:/b:rslave,rshared",
            "/a:/b:x",
            "/a:/b/../c",
            ":/b",
            "/a:",
            "/a:/b:O,U",
            "/a:/b:exec,noexec",
            "/a:/b:idmap=uids=0-1-10",
            "/a:/b:readonly",
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.to_string().starts_with(&format!("--volume {text}: ")), "{error}");
            assert!(error.hint.is_some(), "{error:?}");
        }
    }

    #[test]
    fn words_that_contradict_each_other_are_both_named() {
        for (options, first, second) in [
            ("ro,z,rw", "ro", "rw"),
            ("rw,rw,ro", "rw", "ro"),
            ("O,ro", "O", "ro"),
            ("rslave,shared", "rslave", "shared"),
            ("exec,suid,noexec", "exec", "noexec"),
            ("nodev,dev", "nodev", "dev"),
            ("rbind,bind", "rbind", "bind"),
        ] {
            let error = parse(&format!("/a:/b:{options}")).expect_err(options);
            assert_eq!(error.reason, format!("both `{first}` and `{second}` are given"));
            assert!(error.hint.is_some(), "{error:?}");
        }
        parse("/a:/b:ro,ro,noexec,noexec,private,rprivate").expect("the same twice");
    }
}
