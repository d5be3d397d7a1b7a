//! Searching registries.

use image::Reference;
use image::reference::{DOCKER_IO, Typed};
use image::registry::Endpoint;

use super::registries::{Registries, RegistryAccess};
use crate::error::{Error, Result, from_image};

/// Who answers searches for Docker's own registry.
const DOCKER_SEARCH: &str = "index.docker.io";

/// What is looked for.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// A part of a name, with a registry before it where not all are meant that short names are looked for in.
    pub term: String,
    /// The most of each registry.
    pub limit: usize,
    /// How registries are asked.
    pub access: RegistryAccess,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRepository {
    /// Its registry.
    pub registry: String,
    /// Its name, as docker shows it: with its registry, where that is not Docker's own.
    pub name: String,
    /// What it says of itself.
    pub description: String,
    /// How many like it.
    pub stars: u64,
    /// Whether the registry stands for it.
    pub is_official: bool,
}

/// What was found, and who could not be asked.
#[derive(Debug)]
pub struct SearchOutcome {
    /// What was found, in the order of the registries.
    pub found: Vec<FoundRepository>,
    /// Why some have not answered.
    pub failed: Vec<Error>,
}

/// Looks for repositories; an error where no registry answers.
pub fn search(request: &SearchRequest) -> Result<SearchOutcome> {
    let registries = Registries::new(&request.access).map_err(from_image)?;
    let (names, term) = split(&request.term, &registries);
    registries.check_given(names.len(), &format!("search for `{term}`")).map_err(from_image)?;
    let mut outcome = SearchOutcome { found: Vec::new(), failed: Vec::new() };
    for name in &names {
        match search_in(&registries, name, term, request.limit) {
            Ok(found) => outcome.found.extend(found),
            Err(error) => outcome.failed.push(from_image(error)),
        }
    }
    match outcome.failed.len() == names.len() {
        true if !names.is_empty() => Err(outcome.failed.swap_remove(0)),
        _ => Ok(outcome),
    }
}

/// The tags of a repository whose name is known, with that name.
pub fn list_tags(request: &SearchRequest) -> Result<(String, Vec<String>)> {
    let registries = Registries::new(&request.access).map_err(from_image)?;
    let typed: Typed = request.term.parse().map_err(from_image)?;
    let names = registries.configuration.complete(&typed).map_err(from_image)?;
    let operation = format!("list the tags of `{}`", typed.repository);
    registries.check_given(names.len(), &operation).map_err(from_image)?;
    let reference = names.into_iter().next().expect("a name has a registry, or is refused");
    let tags = registries.at_home(&reference).and_then(|client| client.tags());
    let mut tags = tags.map_err(from_image)?;
    tags.truncate(request.limit);
    Ok((reference.name(), tags))
}

/// The registries that are meant, and what is looked for there.
fn split<'a>(term: &'a str, registries: &Registries) -> (Vec<String>, &'a str) {
    let (first, rest) = term.split_once('/').unwrap_or((term, ""));
    let is_registry = match term.contains('/') {
        true => first.contains(['.', ':']) || first == "localhost",
        // `registry.example:5000/` without its slash: all that is there.
        false => first.contains(':'),
    };
    match is_registry {
        true => (vec![first.to_owned()], rest),
        false => (registries.configuration.searched(), term),
    }
}

fn search_in(
    registries: &Registries,
    name: &str,
    term: &str,
    limit: usize,
) -> image::Result<Vec<FoundRepository>> {
    let endpoint = registries.endpoint(name)?;
    let registry = endpoint.registry.clone();
    let client = registries.client(match registry == DOCKER_IO {
        true => Endpoint { registry: DOCKER_SEARCH.to_owned(), ..endpoint },
        false => endpoint,
    })?;
    let found = client.search(term, limit)?;
    Ok(found
        .into_iter()
        .map(|one| FoundRepository {
            name: shown(&registry, &one.repository),
            registry: registry.clone(),
            description: one.description,
            stars: one.stars,
            is_official: one.is_official,
        })
        .collect())
}

fn shown(registry: &str, repository: &str) -> String {
    match format!("{registry}/{repository}").parse::<Reference>() {
        Ok(reference) => reference.familiar_name(),
        // A registry may have names that we would not take.
        Err(_) => format!("{registry}/{repository}"),
    }
}
