//! What a registry lists, page by page: the tags of a repository (distribution-spec, "Listing Tags") and its repositories, which
//! distribution has and the specification has not.

use serde::Deserialize;
use ureq::http::{Method, header};

use super::exchange::{Request, Target, redirected};
use super::transport::Patience;
use super::{Client, Scope};
use crate::error::{Error, Kind, Result};
use crate::reference::{is_repository, is_tag};

/// The most bytes of one page.
const MOST_PAGE_BYTES: u64 = 4 << 20;
/// The most pages, and the most entries of all of them; what a tag or a repository may be is short.
const MOST_PAGES: usize = 1000;
const MOST_ENTRIES: usize = 100_000;

/// One page of either list; null where there are none.
#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
    repositories: Option<Vec<String>>,
}

impl Client {
    /// All tags, as the registry orders them. What can't be one is left out: nobody could ask for it.
    pub fn tags(&self) -> Result<Vec<String>> {
        let operation = format!("list the tags of `{}`", self.0.endpoint.name());
        let first = self.path("tags/list?n=1000");
        self.list(&first, Scope::Pull, &operation, |page| page.tags, is_tag)
    }

    /// All repositories of the registry that it shows whoever asks, as it orders them; what can't be one is left out.
    pub fn repositories(&self) -> Result<Vec<String>> {
        let operation = format!("list the repositories of `{}`", self.0.endpoint.registry);
        self.list("/v2/_catalog?n=1000", Scope::Catalog, &operation, |page| page.repositories, is_repository)
    }

    fn list(
        &self,
        first: &str,
        scope: Scope,
        operation: &str,
        entries: impl Fn(Page) -> Option<Vec<String>>,
        is_legal: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut next = None;
        for _ in 0..MOST_PAGES {
            let request = Request {
                method: Method::GET,
                target: match &next {
                    None => Target::Path(first),
                    Some(address) => Target::Address(address),
                },
                headers: Vec::new(),
                scope: scope.clone(),
                patience: Patience::Usual,
                expected: &[200],
                operation,
            };
            let answer = self.0.ask(&request, &[])?;
            let address = answer.address.clone();
            let link = answer.header(header::LINK).and_then(next_of).map(str::to_owned);
            let page: Page = answer.parse(MOST_PAGE_BYTES, operation)?;
            found.extend(entries(page).unwrap_or_default().into_iter().filter(|entry| is_legal(entry)));
            if found.len() > MOST_ENTRIES {
                let reason = format!("there are more than {MOST_ENTRIES}");
                return Err(Error::new(Kind::TooMuch, operation, reason));
            }
            let Some(link) = link else { return Ok(found) };
            let refuse =
                |reason: String| Error::new(Kind::Corrupt, operation, format!("the next page: {reason}"));
            let following = redirected(&address, &link).map_err(refuse)?;
            if following.origin != self.0.home() {
                return Err(refuse(format!("it should be at `{}`", following.origin)));
            }
            next = Some(following);
        }
        Err(Error::new(Kind::TooMuch, operation, format!("there are more than {MOST_PAGES} pages of them")))
    }
}

/// The address of the next page (RFC 8288).
fn next_of(link: &str) -> Option<&str> {
    let (address, parameters) = link.trim_start().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|one| matches!(one.trim(), "rel=\"next\"" | "rel=next"));
    is_next.then_some(address)
}
