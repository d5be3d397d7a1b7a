//! Finds and reads network configuration lists (CNI specification, section 1). Runs nothing and writes nothing.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::options::nearest;

/// Where configuration lists are, unless somebody says otherwise.
pub(crate) const CONFIGURATIONS: &str = "/etc/cni/net.d";

/// Where plugins are, unless somebody says otherwise: the specification's own place, and those of Debian and Fedora.
pub(crate) const PLUGINS: [&str; 3] = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];

/// The versions of the specification that are spoken here, in their order.
const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A network as its list describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Configuration {
    /// The network's name.
    pub(crate) name: String,
    /// The version of the specification in which plugins are spoken to.
    pub(crate) version: String,
    /// What each plugin is given, in the order in which they add to a container.
    pub(crate) plugins: Vec<Map<String, Value>>,
}

impl Configuration {
    /// The first list in `directory`, by the names of the files, that describes the network `name`.
    pub(crate) fn find(name: &str, directory: &Path) -> Result<Configuration> {
        let files = files(directory, &["conflist", "conf", "json"])?;
        let (mut known, mut unreadable) = (Vec::new(), Vec::new());
        for path in &files {
            // One that is damaged is some other network's affair, unless this one is not found.
            let list = match read(path) {
                Ok(list) => list,
                Err(error) => {
                    unreadable.push(error);
                    continue;
                }
            };
            match list.get("name").and_then(Value::as_str) {
                Some(found) if found == name => return Configuration::parse(list, path, directory),
                found => known.extend(found.map(str::to_owned)),
            }
        }
        if let Some(error) = unreadable.into_iter().next() {
            return Err(error);
        }
        let reason =
            format!("no configuration in `{}` has the name `{}`", directory.display(), name.escape_debug());
        let hint = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("`{near}` is there"),
            None if known.is_empty() => {
                format!("put a file with the ending `.conflist` into `{}`", directory.display())
            }
            None => format!("there are: `{}`", known.join("`, `")),
        };
        Err(Error::invalid("--network", reason).with_hint(hint))
    }

    fn parse(list: Map<String, Value>, path: &Path, directory: &Path) -> Result<Configuration> {
        let wrong = |reason: String| {
            let operation = format!("read the CNI configuration `{}`", path.display());
            Error::new(crate::ErrorKind::Invalid, operation, reason)
                .with_hint("see the CNI specification, section 1: network configuration format")
        };
        let name = list.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if !name.bytes().all(legal) || !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err(wrong(format!("`{}` is no legal name of a network", name.escape_debug())));
        }
        let version = version(&list).map_err(&wrong)?;
        let mut plugins: Vec<Value> = match list.get("plugins") {
            Some(Value::Array(plugins)) => plugins.clone(),
            Some(_) => return Err(wrong("`plugins` is no list".to_owned())),
            // A file for one plugin alone, as there were before there were lists.
            None if list.contains_key("type") => vec![Value::Object(list.clone())],
            None => Vec::new(),
        };
        // Since 1.1 plugins may have files of their own.
        if list.get("loadOnlyInlinedPlugins") == Some(&json!(false)) {
            let own = directory.join(&name);
            if own.is_dir() {
                for path in files(&own, &["conf"])? {
                    plugins.push(Value::Object(read(&path)?));
                }
            }
        }
        let plugins: Option<Vec<Map<String, Value>>> = plugins
            .into_iter()
            .map(|plugin| match plugin {
                Value::Object(plugin) if plugin.get("type").is_some_and(Value::is_string) => Some(plugin),
                _ => None,
            })
            .collect();
        let plugins = plugins.ok_or_else(|| wrong("an entry of `plugins` has no `type`".to_owned()))?;
        if plugins.is_empty() {
            return Err(wrong("there is no plugin in it".to_owned()));
        }
        Ok(Configuration { name, version, plugins })
    }

    /// Whether the version that is spoken is this one or a later one.
    pub(crate) fn speaks(&self, version: &str) -> bool {
        let place = |version: &str| VERSIONS.iter().position(|known| *known == version);
        place(&self.version) >= place(version)
    }

    /// Whether one of the plugins takes what this capability passes.
    pub(crate) fn takes(&self, capability: &str) -> bool {
        self.plugins.iter().any(|plugin| takes(plugin, capability))
    }

    /// The programs of each plugin, those that give addresses for it included: the name, and the file where there is one.
    pub(crate) fn programs<'a>(
        &'a self,
        directories: &'a [PathBuf],
    ) -> impl Iterator<Item = (&'a str, Option<PathBuf>)> {
        let ipam = |plugin: &'a Map<String, Value>| plugin.get("ipam").and_then(|ipam| ipam.get("type"));
        let types = self.plugins.iter().flat_map(move |plugin| [plugin.get("type"), ipam(plugin)]);
        let names = types.flatten().filter_map(Value::as_str).filter(|name| !name.is_empty());
        names.map(|name| (name, program(name, directories)))
    }
}

/// Whether a plugin's configuration says that it takes a capability.
pub(crate) fn takes(plugin: &Map<String, Value>, capability: &str) -> bool {
    plugin.get("capabilities").and_then(|all| all.get(capability)) == Some(&Value::Bool(true))
}

/// The first file with a plugin's name.
pub(crate) fn program(name: &str, directories: &[PathBuf]) -> Option<PathBuf> {
    if name.contains('/') || name.starts_with('.') {
        return None;
    }
    directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// The highest that the list offers and that is known here.
fn version(list: &Map<String, Value>) -> std::result::Result<String, String> {
    let one = list.get("cniVersion").map(std::slice::from_ref);
    let several = list.get("cniVersions").and_then(Value::as_array).map(Vec::as_slice);
    let offered: Vec<&str> = one.into_iter().chain(several).flatten().filter_map(Value::as_str).collect();
    match VERSIONS.iter().rev().find(|known| offered.contains(known)) {
        Some(version) => Ok((*version).to_owned()),
        None if offered.is_empty() => Err("it has no `cniVersion`".to_owned()),
        None => Err(format!("`{}` is no `cniVersion` known here ({})", offered[0], VERSIONS.join(", "))),
    }
}

fn files(directory: &Path, endings: &[&str]) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).map_err(|error| {
        let error = Error::at_path("list the CNI configurations in", directory, error);
        error.with_hint("name the directory with `--cni-config-dir`")
    })?;
    let has_ending =
        |path: &PathBuf| path.extension().is_some_and(|own| endings.iter().any(|ending| own == *ending));
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(has_ending).collect();
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Map<String, Value>> {
    let text = std::fs::read(path).map_err(|error| Error::at_path("read", path, error))?;
    serde_json::from_slice(&text).map_err(|error| {
        let operation = format!("read the CNI configuration `{}`", path.display());
        let error = Error::new(crate::ErrorKind::Invalid, operation, error.to_string());
        error.with_hint("correct it, or take it out of the directory")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Configuration> {
        let list = serde_json::from_str(text).expect("an object");
        Configuration::parse(list, Path::new("/etc/cni/net.d/x.conflist"), Path::new("/etc/cni/net.d"))
    }

    #[test]
    fn highest_version_that_both_know_is_spoken() {
        let version = |text: &str| parse(text).map(|list| list.version);
        let one = r#"{"name": "n", "cniVersion": "0.4.0", "plugins": [{"type": "bridge"}]}"#;
        assert_eq!(version(one).expect("legal"), "0.4.0");
        let several = r#"{"name": "n", "cniVersion": "0.4.0", "cniVersions": ["9.0.0", "1.0.0", "0.3.1"],
                          "plugins": [{"type": "bridge"}]}"#;
        let list = parse(several).expect("legal");
        assert_eq!(list.version, "1.0.0");
        assert!(list.speaks("0.4.0") && list.speaks("1.0.0") && !list.speaks("1.1.0"));
        for (text, part) in [
            (r#"{"name": "n", "plugins": [{"type": "bridge"}]}"#, "no `cniVersion`"),
            (r#"{"name": "n", "cniVersion": "0.2.0", "type": "bridge"}"#, "`0.2.0`"),
            (r#"{"name": "n", "cniVersion": "1.0.0", "plugins": []}"#, "no plugin"),
            (r#"{"name": "n", "cniVersion": "1.0.0", "plugins": [{}]}"#, "no `type`"),
            (r#"{"name": "../n", "cniVersion": "1.0.0", "type": "bridge"}"#, "no legal name"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn file_for_one_plugin_is_a_list_of_one() {
        let list = parse(
            r#"{"name": "n", "cniVersion": "0.3.1", "type": "ptp", "ipam": {"type": "host-local"},
                             "capabilities": {"ips": true, "mac": false}}"#,
        )
        .expect("legal");
        assert_eq!(list.plugins.len(), 1);
        assert!(list.takes("ips") && !list.takes("mac") && !list.takes("portMappings"));
        let programs: Vec<&str> = list.programs(&[]).map(|(name, _)| name).collect();
        assert_eq!(programs, ["ptp", "host-local"]);
    }

    #[test]
    fn plugins_are_files_of_their_directories_and_nothing_else() {
        let directories = [PathBuf::from("/bin")];
        assert_eq!(program("sh", &directories), Some("/bin/sh".into()));
        for name in ["../bin/sh", "/bin/sh", ".", "no-such-plugin"] {
            assert_eq!(program(name, &directories), None);
        }
    }
}
