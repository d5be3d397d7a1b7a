//! Searching a registry: by the search of the protocol's first version, which Docker Hub has kept, else in the list of its
//! repositories.

use serde::Deserialize;
use ureq::http::Method;

use super::address::percent_encoded;
use super::answer::shortened;
use super::exchange::{Request, Target};
use super::transport::Patience;
use super::{Client, Scope};
use crate::error::{Error, Kind, Result};

/// The most bytes of an answer.
const MOST_BYTES: u64 = 4 << 20;

/// A repository that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchResult {
    /// Its name in the registry.
    pub repository: String,
    /// What it says of itself; empty where the registry only lists names.
    pub description: String,
    /// How many like it.
    pub stars: u64,
    /// Whether the registry itself stands for it.
    pub is_official: bool,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    star_count: u64,
    #[serde(default)]
    is_official: bool,
}

impl Client {
    /// Repositories that have to do with `term`, at most `limit`.
    pub fn search(&self, term: &str, limit: usize) -> Result<Vec<SearchResult>> {
        if !term.is_empty()
            && let Some(found) = self.search_of_first_version(term, limit)?
        {
            return Ok(found);
        }
        let names = self.repositories().map_err(|error| match error.kind {
            Kind::NotFound | Kind::Unsupported | Kind::Invalid => {
                let operation = format!("search `{}`", self.0.endpoint.registry);
                let reason = "this registry has no search, and does not list its repositories";
                Error::new(Kind::Unsupported, operation, reason).with_hint(
                    "look at its own pages; `--list-tags` lists the tags of a repository that you know",
                )
            }
            _ => error,
        })?;
        let found = names.into_iter().filter(|name| name.contains(term)).take(limit);
        Ok(found
            .map(|repository| SearchResult {
                repository: shortened(&repository),
                description: String::new(),
                stars: 0,
                is_official: false,
            })
            .collect())
    }

    /// Nothing where the registry has no such search.
    fn search_of_first_version(&self, term: &str, limit: usize) -> Result<Option<Vec<SearchResult>>> {
        let operation = format!("search `{}`", self.0.endpoint.registry);
        let path = format!("/v1/search?q={}&n={limit}", percent_encoded(term));
        let request = Request {
            method: Method::GET,
            target: Target::Path(&path),
            headers: Vec::new(),
            scope: Scope::Login,
            patience: Patience::Usual,
            // Whoever has none says so in some way or other.
            expected: &[200, 400, 404, 405, 410, 501],
            operation: &operation,
        };
        let answer = match self.0.ask(&request, &[]) {
            Ok(answer) => answer,
            // The list says why, if that is not for everybody either.
            Err(error) if error.kind == Kind::Unauthorized => return Ok(None),
            Err(error) => return Err(error),
        };
        // Some show a page for people for whatever they do not know.
        let is_json = answer
            .header(ureq::http::header::CONTENT_TYPE)
            .is_some_and(|kind| kind.starts_with("application/json"));
        if answer.status != 200 || !is_json {
            return Ok(None);
        }
        let answer: Answer = answer.parse(MOST_BYTES, &operation)?;
        let found = answer.results.into_iter().take(limit);
        Ok(Some(
            found
                .map(|entry| SearchResult {
                    repository: shortened(&entry.name),
                    description: shortened(&entry.description.unwrap_or_default()),
                    stars: entry.star_count,
                    is_official: entry.is_official,
                })
                .collect(),
        ))
    }
}
