//! A test server with one repository, and hubs with a separate cache folder for each test.
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use model_hub::{Error, Hub, ResolvedModel};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

pub const NAME: &str = "deepset/tiny";
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Path of the snapshot of `COMMIT` in the cache.
pub const SNAPSHOT: &str =
    "models--deepset--tiny/snapshots/0123456789abcdef0123456789abcdef01234567";
pub const WEIGHTS: &str = "model.safetensors";

/// A received request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Header names in lower case.
    pub headers: HashMap<String, String>,
}

impl Request {
    /// Returns the name of the requested file; `None` for other requests.
    pub fn file(&self) -> Option<&str> {
        self.path.contains("/resolve/").then(|| self.path.rsplit('/').next())?
    }
}

/// A response of the server.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Number of bytes of the body after which the connection is closed.
    pub close_after: Option<usize>,
    /// Whether the server stops sending after `close_after` bytes but keeps the connection open.
    pub hangs: bool,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.retain(|(existing, _)| existing != name);
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

/// The files of a repository.
pub type Files = BTreeMap<String, Vec<u8>>;

pub fn files(files: &[(&str, &str)]) -> Files {
    files.iter().map(|(name, text)| (name.to_string(), text.as_bytes().to_vec())).collect()
}

pub fn weights() -> Vec<u8> {
    (0..300_000_u32).map(|index| (index % 251) as u8).collect()
}

/// Returns the files of a model, and files that must not be downloaded.
pub fn model() -> Files {
    let mut files = files(&[
        ("config.json", "{}"),
        ("tokenizer.json", "{\"a\": 1}"),
        ("tokenizer_config.json", "{\"b\": 1}"),
        ("pytorch_model.bin", "pickle"),
        ("README.md", "# tiny"),
        ("run.py", "import os"),
    ]);
    files.insert(WEIGHTS.into(), weights());
    files
}

pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Returns the ETag of a file: the SHA-256 for weights, 40 hex digits (like a git blob id) for
/// other files.
pub fn etag(name: &str, bytes: &[u8]) -> String {
    let mut digest = sha256(bytes);
    if !name.ends_with(".safetensors") {
        digest.truncate(40);
    }
    digest
}

pub fn listing(commit: &str, names: impl IntoIterator<Item = impl AsRef<str>>) -> Reply {
    let names = names.into_iter();
    let names: Vec<String> =
        names.map(|name| format!("{{\"rfilename\": {:?}}}", name.as_ref())).collect();
    Reply::new(
        200,
        format!("{{\"id\": {NAME:?}, \"sha\": {commit:?}, \"siblings\": [{}]}}", names.join(", ")),
    )
}

/// Returns the response that the hub would send.
pub fn hub_reply(files: &Files, request: &Request) -> Reply {
    if let Some(revision) = request.path.strip_prefix(&format!("/api/models/{NAME}/revision/")) {
        return match revision {
            "main" | "v1" | "refs%2Fpr%2F1" | COMMIT => listing(COMMIT, files.keys()),
            _ => Reply::new(404, "").header("X-Error-Code", "RevisionNotFound"),
        };
    }
    let file = [COMMIT, "main"]
        .iter()
        .find_map(|revision| request.path.strip_prefix(&format!("/{NAME}/resolve/{revision}/")));
    let Some((name, bytes)) = file.and_then(|name| files.get_key_value(name)) else {
        let reply = Reply::new(404, "").header("X-Error-Code", "EntryNotFound");
        return reply.header("X-Repo-Commit", COMMIT);
    };
    let start = request
        .headers
        .get("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let etag = etag(name, bytes);
    let etag_header = match etag.len() {
        64 => "X-Linked-ETag",
        _ => "ETag",
    };
    let reply = match start {
        None => Reply::new(200, bytes.clone()),
        Some(start) => Reply::new(206, &bytes[start..])
            .header("Content-Range", format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len())),
    };
    reply.header("X-Repo-Commit", COMMIT).header(etag_header, format!("\"{etag}\""))
}

pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let handler = Arc::new(handler);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = Arc::clone(&log);
                let handler = Arc::clone(&handler);
                thread::spawn(move || serve(stream, &log, &*handler));
            }
        });
        Self { url, requests }
    }

    /// Starts a server with the files of one repository.
    pub fn with_files(files: Files) -> Self {
        Self::start(move |request| hub_reply(&files, request))
    }

    /// Starts a server whose responses are modified by `change`.
    pub fn with_changed_replies(
        files: Files,
        change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |request| change(request, hub_reply(&files, request)))
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Returns the number of requests for the content of a file.
    pub fn n_content_requests(&self, file: &str) -> usize {
        let is_download =
            |request: &&Request| request.method == "GET" && request.file() == Some(file);
        self.requests().iter().filter(is_download).count()
    }
}

fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Request>>,
    handler: &dyn Fn(&Request) -> Reply,
) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let request_line = lines.next()?.ok()?;
    let mut parts = request_line.split(' ').map(str::to_owned);
    let (method, path) = (parts.next()?, parts.next()?);
    let headers = lines
        .map_while(|line| line.ok().filter(|line| !line.is_empty()))
        .filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_ascii_lowercase(), value.to_owned()))
        })
        .collect();
    let request = Request { method, path, headers };
    log.lock().unwrap().push(request.clone());
    let reply = handler(&request);
    let mut header = format!("HTTP/1.1 {} .\r\nConnection: close\r\n", reply.status);
    if !reply.headers.iter().any(|(name, _)| name == "Content-Length") {
        header += &format!("Content-Length: {}\r\n", reply.body.len());
    }
    for (name, value) in &reply.headers {
        header += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{header}\r\n").as_bytes()).ok()?;
    if request.method != "HEAD" {
        let end = reply.close_after.unwrap_or(reply.body.len());
        stream.write_all(&reply.body[..end]).ok()?;
        if reply.hangs {
            // Waits until the client closes the connection.
            let _ = stream.read(&mut [0; 1]);
        }
    }
    Some(())
}

/// A temporary folder with a cache, and the environment variables of a hub that uses the cache.
pub struct Home {
    folder: TempDir,
    variables: HashMap<String, OsString>,
}

impl Home {
    pub fn new(endpoint: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let home = Self { variables: HashMap::new(), folder };
        let cache = home.cache();
        home.env("HF_HUB_CACHE", cache)
            .env("HF_ENDPOINT", endpoint)
            .env("HF_HUB_DOWNLOAD_TIMEOUT", "10")
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    pub fn hub(&self) -> Hub {
        Hub::from_variables(|name| self.variables.get(name).cloned())
    }

    pub fn resolve(&self, model: &str) -> Result<ResolvedModel, Error> {
        self.hub().resolve(model, &mut |_| ())
    }

    /// Returns the error message of [`resolve`](Self::resolve).
    pub fn error_message(&self, model: &str) -> String {
        let message = self.resolve(model).unwrap_err().to_string();
        assert!(!message.contains('\n'), "{message}");
        message
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    pub fn blob(&self, name: &str) -> PathBuf {
        self.cache().join("models--deepset--tiny/blobs").join(name)
    }

    /// Returns all files and links below the home folder except lock files, sorted.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        collect_paths(self.folder.path(), self.folder.path(), &mut paths);
        paths.retain(|path| !path.ends_with(".lock"));
        paths.sort();
        paths
    }
}

fn collect_paths(root: &Path, folder: &Path, paths: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() && !path.is_symlink() {
            true => collect_paths(root, &path, paths),
            false => paths.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()),
        }
    }
}
