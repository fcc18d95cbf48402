//! HTTP requests; the only code of this crate that uses the network.
use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::header::{CONTENT_LENGTH, ETAG};
use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body};

use crate::error::{Error, Result};
use crate::names::{MAX_JSON_BYTES, Repository, is_blob_name, quote};
use crate::settings::Settings;

/// Text that replaces the file name in errors about the list of files.
pub(crate) const FILE_LIST: &str = "the list of files";

/// Maximum number of redirects.
const MAX_REDIRECTS: usize = 10;

pub(crate) struct Client<'a> {
    agent: Agent,
    settings: &'a Settings,
    repository: &'a Repository,
    endpoint: Uri,
}

/// The server's description of a revision: its commit and its files.
#[derive(Deserialize)]
pub(crate) struct Listing {
    pub(crate) sha: String,
    pub(crate) siblings: Vec<ListedFile>,
}

/// A file of the repository.
#[derive(Deserialize)]
pub(crate) struct ListedFile {
    pub(crate) rfilename: String,
}

/// The size and ETag of a file, from the server's response headers.
pub(crate) struct FileInfo {
    pub(crate) etag: String,
    pub(crate) size: u64,
}

impl<'a> Client<'a> {
    pub(crate) fn new(settings: &'a Settings, repository: &'a Repository) -> Result<Self> {
        let setting_error = |variable, problem| Err(Error::Setting { variable, problem });
        let endpoint: Option<Uri> = settings.endpoint.parse().ok();
        let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
        let Some(endpoint) = endpoint.filter(is_http) else {
            let got = &settings.endpoint;
            let problem = format!("expected an address such as https://huggingface.co, got {got}");
            return setting_error("HF_ENDPOINT", problem);
        };
        let is_valid = |token: &String| token.bytes().all(|byte| byte.is_ascii_graphic());
        if !settings.token.as_ref().is_none_or(is_valid) {
            let problem = "expected ASCII without spaces, here or in the token file".to_owned();
            return setting_error("HF_TOKEN", problem);
        }
        // The agent does not follow redirects; `request` follows them, so that the token is sent to
        // the endpoint only.
        let timeout = settings.timeout()?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_resolve(Some(Duration::from_secs(30)))
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(timeout))
            .timeout_per_read(Some(timeout))
            .user_agent(concat!("polyqa-hub/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: agent.into(), settings, repository, endpoint })
    }

    /// Requests the commit and the files of the revision.
    pub(crate) fn listing(&self) -> Result<Listing> {
        let Repository { name, revision } = self.repository;
        let revision = revision.replace('/', "%2F");
        let path = format!("api/models/{name}/revision/{revision}");
        let (mut response, _) = self.request(Some(0), &path, FILE_LIST)?;
        let body = response.body_mut().with_config().limit(MAX_JSON_BYTES);
        let bytes = body.read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(limit) => {
                self.response_error(FILE_LIST, format!("expected JSON of at most {limit} bytes"))
            }
            error => self.network_error(FILE_LIST, error.to_string()),
        })?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let reason = format!("expected JSON with `sha` and `siblings`: {error}");
            self.response_error(FILE_LIST, reason)
        })
    }

    /// Requests the size and ETag of a file at a commit.
    pub(crate) fn file_info(&self, commit: &str, file: &str) -> Result<FileInfo> {
        let (_, headers) = self.request(None, &self.content_path(commit, file), file)?;
        let value = |name| header(&headers, name);
        // The checks below reject the empty texts of missing headers.
        let etag = value("x-linked-etag").or(value("etag")).unwrap_or("");
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        let size = value("x-linked-size").or(value("content-length")).unwrap_or("");
        let file_commit = value("x-repo-commit").unwrap_or(commit);
        match size.parse() {
            Ok(size) if is_blob_name(etag) && file_commit == commit => {
                Ok(FileInfo { etag: etag.into(), size })
            }
            _ => {
                let got = [etag, size, file_commit].map(quote).join(", ");
                let reason = format!("expected ETag, size and commit {commit}, got {got}");
                Err(self.response_error(file, reason))
            }
        }
    }

    /// Requests the content of a file from byte `start`. Returns a reader and the offset of the
    /// first received byte, which is 0 if the server does not support ranges.
    pub(crate) fn content(
        &self,
        commit: &str,
        file: &str,
        start: u64,
        size: u64,
    ) -> Result<(impl Read + use<>, u64)> {
        let (response, _) = self.request(Some(start), &self.content_path(commit, file), file)?;
        let offset = if response.status() == 206 { start } else { 0 };
        let range = header(response.headers(), "content-range").unwrap_or("");
        if response.status() == 206 && !starts_at(range, start, size) {
            let reason =
                format!("expected a part from byte {start} of {size}, got {}", quote(range));
            return Err(self.response_error(file, reason));
        }
        Ok((response.into_body().into_reader(), offset))
    }

    fn content_path(&self, commit: &str, file: &str) -> String {
        format!("{}/resolve/{commit}/{file}", self.repository.name)
    }

    /// Requests a path and follows redirects. Without `start`, only headers are requested, and only
    /// redirects within the endpoint are followed. The second returned value contains the headers
    /// that the endpoint sent, each with its first value. Headers of other servers are excluded, so
    /// that these servers cannot determine file names in the cache.
    fn request(
        &self,
        start: Option<u64>,
        path: &str,
        file: &str,
    ) -> Result<(Response<Body>, HeaderMap)> {
        let mut address = format!("{}/{path}", self.settings.endpoint);
        let mut headers = HeaderMap::new();
        for _ in 0..MAX_REDIRECTS {
            let response = self.send(start, &address, file)?;
            let target = self.redirect_target(&response, &address, file)?;
            let is_endpoint = self.is_endpoint(&address);
            // In a redirect, `ETag` and `Content-Length` describe the body of the redirect, not the
            // file.
            let is_trusted =
                |name| is_endpoint && (target.is_none() || ![ETAG, CONTENT_LENGTH].contains(name));
            for (name, value) in response.headers().iter().filter(|(name, _)| is_trusted(name)) {
                headers.entry(name).or_insert_with(|| value.clone());
            }
            match target {
                Some(target) if start.is_some() || self.is_endpoint(&target) => address = target,
                _ => return Ok((response, headers)),
            }
        }
        Err(self
            .response_error(file, format!("the server redirects more than {MAX_REDIRECTS} times")))
    }

    /// Sends one request; requests to the endpoint contain the token.
    fn send(&self, start: Option<u64>, address: &str, file: &str) -> Result<Response<Body>> {
        let mut request = match start {
            None => self.agent.head(address),
            Some(_) => self.agent.get(address),
        };
        request = request.header("accept-encoding", "identity");
        if let Some(start @ 1..) = start {
            request = request.header("range", format!("bytes={start}-"));
        }
        let is_endpoint = self.is_endpoint(address);
        if let Some(token) = self.settings.token.as_ref().filter(|_| is_endpoint) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response =
            request.call().map_err(|error| self.network_error(file, error.to_string()))?;
        let status = response.status().as_u16();
        if matches!(status, 200 | 206 | 300..=399) {
            return Ok(response);
        }
        let is_gated = header(response.headers(), "x-error-code") == Some("GatedRepo");
        let advice = match is_endpoint {
            true => self.advice(status, is_gated),
            false => "the content is on another server; run the command again".to_owned(),
        };
        let repository = self.repository.to_string();
        Err(Error::Status { repository, file: file.to_owned(), status, advice })
    }

    /// Returns the target of a redirect; `None` for other responses.
    fn redirect_target(
        &self,
        response: &Response<Body>,
        address: &str,
        file: &str,
    ) -> Result<Option<String>> {
        if !response.status().is_redirection() {
            return Ok(None);
        }
        // The check below rejects the empty text of a missing header.
        let location = header(response.headers(), "location").unwrap_or("");
        let (scheme, path) = address.split_once("://").expect("an address has a scheme");
        let host = path.split_once('/').map_or(path, |(host, _)| host);
        let target = match location.starts_with('/') && !location.starts_with("//") {
            true => format!("{scheme}://{host}{location}"),
            false => location.to_owned(),
        };
        if target.starts_with("https://") || (scheme == "http" && target.starts_with("http://")) {
            return Ok(Some(target));
        }
        let reason = format!("expected a redirect to https://, got {}", quote(location));
        Err(self.response_error(file, reason))
    }

    /// Returns whether an address belongs to the endpoint. Only the endpoint receives the token,
    /// and only its headers are trusted.
    fn is_endpoint(&self, address: &str) -> bool {
        address.parse().is_ok_and(|uri: Uri| {
            uri.scheme() == self.endpoint.scheme() && uri.authority() == self.endpoint.authority()
        })
    }

    fn advice(&self, status: u16, is_gated: bool) -> String {
        let page = format!("{}/{}", self.settings.endpoint, self.repository.name);
        let hint = "check the name and the revision; there is no local folder of this name";
        match status {
            401 if !is_gated && self.settings.token.is_some() => {
                format!("{hint}; the token was not accepted; set HF_TOKEN to a valid one")
            }
            401 if !is_gated => format!("{hint}; for a private repository set HF_TOKEN"),
            401 | 403 => format!(
                "accept the terms at {page} in a browser, and set HF_TOKEN to a token of that \
                 account with read access to the repository"
            ),
            404 => format!("{hint}; the repository would be {page}"),
            429 => "too many requests; wait a few minutes, or set HF_TOKEN".to_owned(),
            500.. => "try again later".to_owned(),
            _ => format!("check HF_ENDPOINT, which is {}", self.settings.endpoint),
        }
    }

    pub(crate) fn response_error(&self, file: &str, reason: String) -> Error {
        self.repository.response_error(file, reason)
    }

    pub(crate) fn network_error(&self, file: &str, problem: String) -> Error {
        let repository = self.repository.to_string();
        Error::Network { repository, file: file.to_owned(), problem }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Returns whether a `Content-Range` header describes a range that begins at byte `start` of a file
/// of `size` bytes.
fn starts_at(range: &str, start: u64, size: u64) -> bool {
    let end_and_total = range.strip_prefix(&format!("bytes {start}-"));
    let total = end_and_total.and_then(|text| text.split_once('/')).map(|(_, total)| total);
    total.is_some_and(|total| total == "*" || total.parse() == Ok(size))
}
