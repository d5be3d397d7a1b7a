//! Which registries are asked for a name, in which order and how securely: registries.conf in version 2
//! (containers-registries.conf(5)), and what holds where there is none. Asks nobody.

mod file;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use self::file::{Mode, Written};
use self::rules::Rule;
use super::{DOCKER_HOST, known_name};
use crate::error::{Error, Kind, Result};
use crate::reference::{DOCKER_IO, LOCALHOST, Reference, Typed};

/// One place where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The registry's host and port, as names have it: `docker.io`, `localhost:5000`.
    pub registry: String,
    /// The repository there: a mirror may have it elsewhere than the name says.
    pub repository: String,
    /// What its connection must be.
    pub security: Security,
}

/// What a connection to a registry must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS, with a certificate that somebody known vouches for.
    Verified,
    /// TLS with any certificate, and plain HTTP where the registry does not speak TLS.
    Any,
}

/// What the caller says about certificates for this once (`--tls-verify`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVerify {
    /// Nothing: the configuration says, and registries on this host's own loopback need not have one, as docker has it.
    #[default]
    AsConfigured,
    /// They are checked, whatever the configuration says.
    Always,
    /// They are not checked.
    Never,
}

/// What somebody wants of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To read, from mirrors too.
    Pull,
    /// To write; mirrors are left alone.
    Push,
}

/// Where the files of the configuration are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// The main file.
    pub main: Option<PathBuf>,
    /// Directories of files that add to it, each in the order of their names.
    pub drop_ins: Vec<PathBuf>,
}

/// What all the files say together.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// The registries for names that say none; nothing where no file says so.
    search: Option<Vec<String>>,
    aliases: BTreeMap<String, Reference>,
    rules: Vec<Rule>,
    mode: Mode,
}

impl Files {
    /// Where podman looks: `CONTAINERS_REGISTRIES_CONF`, else the user's own file, else the host's; the user's own main file
    /// takes the place of all that the host has (containers-registries.conf.d(5)).
    pub fn find(environment: &[(OsString, OsString)]) -> Files {
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| PathBuf::from(value)).filter(|path| !path.as_os_str().is_empty())
        };
        if let Some(file) = variable("CONTAINERS_REGISTRIES_CONF") {
            let drop_ins = variable("CONTAINERS_REGISTRIES_CONF_DIR").into_iter().collect();
            return Files { main: Some(file), drop_ins };
        }
        let host = PathBuf::from("/etc/containers");
        let user = variable("XDG_CONFIG_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".config")))
            .map(|directory| directory.join("containers"));
        let own = user.as_ref().map(|user| user.join("registries.conf"));
        let own_drop_ins = user.map(|user| user.join("registries.conf.d"));
        let (main, hosts_drop_ins) = match own.filter(|own| own.exists()) {
            Some(own) => (own, None),
            None => (host.join("registries.conf"), Some(host.join("registries.conf.d"))),
        };
        Files { main: Some(main), drop_ins: hosts_drop_ins.into_iter().chain(own_drop_ins).collect() }
    }
}

impl Configuration {
    /// Reads the files; none of them need be there.
    pub fn read(files: &Files) -> Result<Configuration> {
        let mut configuration = Configuration::default();
        if let Some(path) = &files.main
            && let Some(written) = Written::read(path)?
        {
            configuration.add(written, path)?;
        }
        for directory in &files.drop_ins {
            for path in drop_ins(directory)? {
                // It may have been removed since it was listed.
                if let Some(written) = Written::read(&path)? {
                    configuration.add(written, &path)?;
                }
            }
        }
        Ok(configuration)
    }

    /// The registries that are asked for names that say none, in order.
    pub fn searched(&self) -> Vec<String> {
        self.search.clone().unwrap_or_else(|| vec![DOCKER_IO.to_owned()])
    }

    /// The whole names that a typed one can stand for among the images that are here: what [`Configuration::complete`] has, and
    /// at the end Docker's registry, as that is where a name is put that says none, and podman's for what was built here. That one
    /// comes last, so that what was fetched is what is run.
    pub fn candidates(&self, typed: &Typed) -> Vec<Reference> {
        let mut names = match self.known(typed) {
            Some(known) => vec![known],
            None => self.in_searched(typed),
        };
        for registry in [DOCKER_IO, LOCALHOST] {
            let name = typed.clone().in_registry(registry);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The whole names that a typed one can stand for, in the order in which they are tried: one, unless several registries
    /// are searched.
    pub fn complete(&self, typed: &Typed) -> Result<Vec<Reference>> {
        if let Some(known) = self.known(typed) {
            return Ok(vec![known]);
        }
        let names = self.in_searched(typed);
        let refuse = |reason: &str, hint: String| {
            let operation = format!("look for `{}`", typed.repository);
            Err(Error::new(Kind::Invalid, operation, reason).with_hint(hint))
        };
        match (&names[..], self.mode) {
            ([], _) => refuse(
                "it names no registry, and `unqualified-search-registries` is empty",
                format!("write the whole name: `{DOCKER_IO}/library/{}`", typed.repository),
            ),
            ([_, _, ..], Mode::Enforcing) => {
                let whole: Vec<String> = names.iter().map(|name| format!("`{}`", name.name())).collect();
                refuse(
                    "it names no registry, and `short-name-mode` lets nobody guess among several",
                    format!("write the whole name: {}", whole.join(" or ")),
                )
            }
            _ => Ok(names),
        }
    }

    /// The name that is meant where nothing is to be guessed: it is whole, or an alias.
    fn known(&self, typed: &Typed) -> Option<Reference> {
        if typed.registry.is_some() {
            return Some(typed.clone().in_registry(DOCKER_IO));
        }
        let alias = self.aliases.get(&typed.repository)?;
        let Typed { tag, digest, .. } = typed.clone();
        let repository = alias.repository.clone();
        let typed = Typed { registry: Some(alias.registry.clone()), repository, tag, digest };
        Some(typed.in_registry(DOCKER_IO))
    }

    fn in_searched(&self, typed: &Typed) -> Vec<Reference> {
        self.searched().iter().map(|registry| typed.clone().in_registry(registry)).collect()
    }

    /// The places of `reference`, in the order in which they are tried; the registry itself is the last.
    pub fn endpoints(
        &self,
        reference: &Reference,
        purpose: Purpose,
        verify: TlsVerify,
    ) -> Result<Vec<Endpoint>> {
        let rule = self.rule(reference);
        if rule.is_some_and(|rule| rule.blocked) {
            let operation = format!("look for `{reference}`");
            let error = Error::new(Kind::Invalid, operation, "its registry is `blocked` in registries.conf");
            return Err(error.with_hint("ask whoever administers this host"));
        }
        let mut places: Vec<(String, bool)> = Vec::new();
        if let (Some(rule), Purpose::Pull) = (rule, purpose) {
            let mirrors = rule.mirrors.iter().filter(|mirror| mirror.pull.takes(reference));
            places
                .extend(mirrors.map(|mirror| (rule.rewritten(reference, &mirror.location), mirror.insecure)));
        }
        places.push(match rule {
            Some(rule) => {
                let location = match purpose {
                    Purpose::Pull => rule.rewritten(reference, &rule.location),
                    // "Redirection and mirrors are currently processed only when reading images."
                    Purpose::Push => reference.name(),
                };
                (location, rule.insecure)
            }
            None => (reference.name(), false),
        });
        places.into_iter().map(|(place, insecure)| Endpoint::at(&place, insecure, verify)).collect()
    }

    /// The registry itself, for `login`.
    pub fn registry(&self, registry: &str, verify: TlsVerify) -> Result<Endpoint> {
        // Any repository: only the settings of the whole registry matter.
        let any = Typed { registry: None, repository: "any".to_owned(), tag: None, digest: None };
        let rule = self.rule(&any.in_registry(known_name(registry)));
        let endpoint =
            Endpoint::at(&format!("{registry}/any"), rule.is_some_and(|rule| rule.insecure), verify)?;
        Ok(Endpoint { repository: String::new(), ..endpoint })
    }

    /// The rule with the longest prefix.
    fn rule(&self, reference: &Reference) -> Option<&Rule> {
        let rules = self.rules.iter().filter(|rule| rule.matched(reference).is_some());
        rules.max_by_key(|rule| rule.prefix.len())
    }

    fn add(&mut self, written: Written, path: &Path) -> Result<()> {
        if let Some(search) = written.search {
            for registry in &search {
                rules::check_place(registry, path)?;
            }
            self.search = Some(search);
        }
        if let Some(mode) = written.mode {
            self.mode = mode;
        }
        for rule in written.registries {
            let rule = Rule::new(rule, path)?;
            self.rules.retain(|other| other.prefix != rule.prefix);
            self.rules.push(rule);
        }
        for (name, whole) in written.aliases {
            match whole.is_empty() {
                true => drop(self.aliases.remove(&name)),
                false => drop(self.aliases.insert(name.clone(), rules::alias(&name, &whole, path)?)),
            }
        }
        Ok(())
    }
}

impl Endpoint {
    fn at(place: &str, insecure: bool, verify: TlsVerify) -> Result<Endpoint> {
        let typed: Typed = place.parse()?;
        let Some(registry) = typed.registry else {
            let operation = format!("look at `{}`", place.escape_debug());
            return Err(Error::new(Kind::Invalid, operation, "it begins with no registry"));
        };
        let security = match verify {
            TlsVerify::Always => Security::Verified,
            TlsVerify::Never => Security::Any,
            TlsVerify::AsConfigured if insecure || is_loopback(&registry) => Security::Any,
            TlsVerify::AsConfigured => Security::Verified,
        };
        Ok(Endpoint { registry: known_name(&registry).to_owned(), repository: typed.repository, security })
    }

    /// The host and port that is spoken to.
    pub fn host(&self) -> &str {
        if self.registry == DOCKER_IO { DOCKER_HOST } else { &self.registry }
    }

    /// Registry and repository.
    pub fn name(&self) -> String {
        match self.repository.is_empty() {
            true => self.registry.clone(),
            false => format!("{}/{}", self.registry, self.repository),
        }
    }
}

/// Whether nobody but this host hears what is said to that registry.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => registry.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The files of a directory that end with `.conf`, in the order of their names; none where it is not there.
fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Error::at_path("list", directory, error);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "conf") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
