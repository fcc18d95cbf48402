//! The requests: the only code here that speaks to a network.
use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{Response, Uri};
use ureq::{Agent, Body};

use crate::names::{LONGEST_JSON, Repository, is_blob};
use crate::settings::Settings;
use crate::{Error, Result};

/// What errors name where no file is meant.
pub(crate) const LIST: &str = "the list of files";

/// Redirects that are followed at most.
const HOPS: usize = 10;

pub(crate) struct Client<'a> {
    agent: Agent,
    settings: &'a Settings,
    repository: &'a Repository,
    endpoint: Uri,
}

/// A revision's commit and its files.
#[derive(Deserialize)]
pub(crate) struct Listing {
    pub(crate) sha: String,
    pub(crate) siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
pub(crate) struct Sibling {
    pub(crate) rfilename: String,
}

/// What the server announces of a file.
pub(crate) struct Announced {
    pub(crate) etag: String,
    pub(crate) size: u64,
}

#[derive(Clone, Copy)]
enum Method {
    Head,
    /// From this byte on.
    Get(u64),
}

impl<'a> Client<'a> {
    pub(crate) fn new(settings: &'a Settings, repository: &'a Repository) -> Result<Self> {
        let refuse = || Error::Variable {
            name: "HF_ENDPOINT",
            rule: format!("expected https://huggingface.co or its like, got {}", settings.endpoint),
        };
        let endpoint: Uri = settings.endpoint.parse().map_err(|_| refuse())?;
        if !matches!(endpoint.scheme_str(), Some("http" | "https")) {
            return Err(refuse());
        }
        // Redirects are followed here, so that the token stays with its server.
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_resolve(Some(Duration::from_secs(30)))
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(settings.timeout))
            .timeout_per_read(Some(settings.timeout))
            .user_agent(concat!("polyqa-hub/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: agent.into(), settings, repository, endpoint })
    }

    /// Asks for the commit and the files of the revision.
    pub(crate) fn listing(&self) -> Result<Listing> {
        let revision = self.repository.revision.replace('/', "%2F");
        let api = format!("{}/api/models", self.settings.endpoint);
        let address = format!("{api}/{}/revision/{revision}", self.repository.name);
        let mut response = self.follow(Method::Get(0), &address, LIST)?;
        let limited = response.body_mut().with_config().limit(LONGEST_JSON);
        let bytes = limited.read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(limit) => {
                self.answer(LIST, format!("expected JSON of at most {limit} bytes"))
            }
            error => self.network(LIST, error),
        })?;
        serde_json::from_slice(&bytes).map_err(|error| {
            self.answer(LIST, format!("expected JSON with `sha` and `siblings`: {error}"))
        })
    }

    /// Asks what a file of a commit holds, as far as the hub itself knows: what another server
    /// behind it says names nothing in the cache.
    pub(crate) fn announced(&self, commit: &str, file: &str) -> Result<Announced> {
        let mut address = self.address(commit, file);
        let mut etag = None;
        let mut size = None;
        for _ in 0..HOPS {
            let response = self.send(Method::Head, &address, file)?;
            if let Some(got) = header(&response, "x-repo-commit").filter(|got| *got != commit) {
                let got: String = got.chars().take(80).collect();
                return Err(self.answer(file, format!("expected commit {commit}, got {got:?}")));
            }
            etag = etag.or_else(|| header(&response, "x-linked-etag").map(str::to_owned));
            size = size.or_else(|| header(&response, "x-linked-size")?.parse::<u64>().ok());
            match self.next(&response, &address, file)? {
                Some(next) if self.is_own(&next) => address = next,
                Some(_) => break,
                None => {
                    etag = etag.or_else(|| header(&response, "etag").map(str::to_owned));
                    size = size.or_else(|| header(&response, "content-length")?.parse().ok());
                    break;
                }
            }
        }
        let etag = etag.unwrap_or_default();
        let etag = etag.strip_prefix("W/").unwrap_or(&etag).trim_matches('"').to_owned();
        match size {
            Some(size) if is_blob(&etag) => Ok(Announced { etag, size }),
            _ => {
                let etag: String = etag.chars().take(80).collect();
                let got = format!("got ETag {etag:?} and size {size:?}");
                Err(self.answer(file, format!("expected a file's ETag and size, {got}")))
            }
        }
    }

    /// A file's content from byte `start` on, or from its beginning where the server gives no
    /// parts: the second value is the first byte that comes.
    pub(crate) fn content(
        &self,
        commit: &str,
        file: &str,
        start: u64,
        size: u64,
    ) -> Result<(impl Read + use<>, u64)> {
        let response = self.follow(Method::Get(start), &self.address(commit, file), file)?;
        let from = match response.status().as_u16() {
            206 => start,
            _ => 0,
        };
        if from > 0 && !continues(&response, start, size) {
            let got = header(&response, "content-range").unwrap_or("no Content-Range").to_owned();
            let wanted = format!("expected bytes {start}-{}/{size}", size.saturating_sub(1));
            return Err(self.answer(file, format!("{wanted}, got {got:?}")));
        }
        Ok((response.into_body().into_reader(), from))
    }

    fn address(&self, commit: &str, file: &str) -> String {
        format!("{}/{}/resolve/{commit}/{file}", self.settings.endpoint, self.repository.name)
    }

    fn follow(&self, method: Method, address: &str, file: &str) -> Result<Response<Body>> {
        let mut address = address.to_owned();
        for _ in 0..HOPS {
            let response = self.send(method, &address, file)?;
            match self.next(&response, &address, file)? {
                Some(next) => address = next,
                None => return Ok(response),
            }
        }
        Err(self.answer(file, format!("the server redirects more than {HOPS} times")))
    }

    /// Sends one request, with the token where it goes to the endpoint.
    fn send(&self, method: Method, address: &str, file: &str) -> Result<Response<Body>> {
        let mut request = match method {
            Method::Head => self.agent.head(address),
            Method::Get(_) => self.agent.get(address),
        };
        request = request.header("accept-encoding", "identity");
        if let Method::Get(start @ 1..) = method {
            request = request.header("range", format!("bytes={start}-"));
        }
        let own = self.is_own(address);
        if let Some(token) = self.settings.token.as_ref().filter(|_| own) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = request.call().map_err(|error| self.network(file, error))?;
        let status = response.status().as_u16();
        if matches!(status, 200 | 206 | 300..=399) {
            return Ok(response);
        }
        let code = header(&response, "x-error-code").unwrap_or_default();
        Err(Error::Status {
            repository: self.repository.to_string(),
            file: file.to_owned(),
            status,
            advice: self.advice(status, code, own),
        })
    }

    /// Where a response redirects to.
    fn next(&self, response: &Response<Body>, from: &str, file: &str) -> Result<Option<String>> {
        if !response.status().is_redirection() {
            return Ok(None);
        }
        let to = header(response, "location").unwrap_or_default();
        let uri: Option<Uri> = from.parse().ok();
        let scheme = uri.as_ref().and_then(Uri::scheme_str).unwrap_or_default();
        let host = uri.as_ref().and_then(Uri::authority).map_or("", |host| host.as_str());
        let next = if to.starts_with("//") {
            format!("{scheme}:{to}")
        } else if to.starts_with('/') {
            format!("{scheme}://{host}{to}")
        } else {
            to.to_owned()
        };
        let is_safe = next.starts_with("https://")
            || (next.starts_with("http://") && scheme.eq_ignore_ascii_case("http"));
        if is_safe {
            return Ok(Some(next));
        }
        let to: String = to.chars().take(80).collect();
        Err(self.answer(file, format!("expected a redirect to https://, got {to:?}")))
    }

    /// Whether an address is the endpoint's: what it answers is the hub's word, and the token may
    /// go there.
    fn is_own(&self, address: &str) -> bool {
        let same = |uri: Uri| {
            uri.scheme() == self.endpoint.scheme() && uri.authority() == self.endpoint.authority()
        };
        address.parse().is_ok_and(same)
    }

    fn advice(&self, status: u16, code: &str, own: bool) -> String {
        let page = format!("{}/{}", self.settings.endpoint, self.repository.name);
        let names = "check the name and the revision; no folder of this name is here either";
        match status {
            401 | 403 if !own => "run the command again".to_owned(),
            401 | 403 if status == 403 || code == "GatedRepo" => format!(
                "accept the terms at {page} in a browser, and set HF_TOKEN to a token of that \
                 account that may read the repository"
            ),
            401 if self.settings.token.is_some() => {
                format!("{names}; the token was not accepted, set HF_TOKEN to another")
            }
            401 => format!("{names}; for a private repository set HF_TOKEN"),
            404 => format!("{names}; the repository would be {page}"),
            429 => "too many requests; wait some minutes, or set HF_TOKEN".to_owned(),
            500.. => "try again later".to_owned(),
            _ => format!("check HF_ENDPOINT, which is {}", self.settings.endpoint),
        }
    }

    pub(crate) fn repository(&self) -> &Repository {
        self.repository
    }

    pub(crate) fn answer(&self, file: &str, reason: String) -> Error {
        Error::Answer { repository: self.repository.to_string(), file: file.to_owned(), reason }
    }

    pub(crate) fn network(&self, file: &str, problem: impl std::fmt::Display) -> Error {
        Error::Network {
            repository: self.repository.to_string(),
            file: file.to_owned(),
            problem: problem.to_string(),
        }
    }
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// Whether a part begins at `start` of a file of `size` bytes.
fn continues(response: &Response<Body>, start: u64, size: u64) -> bool {
    let range = header(response, "content-range").and_then(|range| range.strip_prefix("bytes "));
    let Some((span, total)) = range.and_then(|range| range.split_once('/')) else { return false };
    let first = span.split_once('-').and_then(|(first, _)| first.parse::<u64>().ok());
    first == Some(start) && (total == "*" || total.parse() == Ok(size))
}
