//! Tests of downloads and of the resulting cache layout.
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use testkit::assert_contains;

use crate::common::{
    COMMIT, Home, NAME, Reply, SNAPSHOT, Server, WEIGHTS, etag, files, model, sha256, weights,
};

#[test]
fn a_downloaded_model_has_the_layout_of_the_cache() {
    let mut all_files = model();
    all_files.insert("1_Pooling/config.json".into(), b"{\"pooling_mode\": \"cls\"}".to_vec());
    let server = Server::with_files(all_files);
    let home = Home::new(&format!("{}/", server.url));
    let reports = Mutex::new(Vec::new());
    let resolved = home.hub().resolve(NAME, &mut |progress| {
        reports.lock().unwrap().push((progress.file.to_owned(), progress.done, progress.total));
    });
    let resolved = resolved.unwrap();
    assert_eq!(resolved.folder, home.cache().join(SNAPSHOT));
    let origin = resolved.origin.clone().unwrap();
    assert_eq!((origin.repository.as_str(), origin.commit.as_str()), (NAME, COMMIT));
    let names: Vec<&str> = origin.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"]);
    assert_eq!(origin.files[WEIGHTS], sha256(&weights()));

    for (name, content) in model() {
        let path = resolved.folder.join(&name);
        let Some(blob) = origin.files.get(&name) else {
            assert!(!path.exists(), "{name}");
            continue;
        };
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(blob, &etag(&name, &content));
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("../../blobs").join(blob));
    }
    let main_ref = home.cache().join("models--deepset--tiny/refs/main");
    assert_eq!(fs::read_to_string(main_ref).unwrap(), COMMIT);
    let paths = home.paths();
    assert_eq!(paths.len(), 5 + 5 + 1, "{paths:?}");
    let pooling = fs::read_to_string(resolved.folder.join("1_Pooling/config.json")).unwrap();
    assert_eq!(pooling, "{\"pooling_mode\": \"cls\"}");
    assert!(paths.iter().all(|path| path.starts_with("hub/models--deepset--tiny/")), "{paths:?}");

    let reports = reports.into_inner().unwrap();
    let total = weights().len() as u64;
    assert_eq!(reports.first().unwrap().0, "config.json");
    assert_eq!(reports.last().unwrap(), &(WEIGHTS.to_owned(), total, total));
    assert!(reports.iter().any(|(_, done, total)| 0 < *done && done < total));

    let n_requests = server.requests().len();
    assert_eq!(home.resolve(NAME).unwrap(), resolved);
    assert_eq!(home.env("HF_HUB_OFFLINE", "1").resolve(NAME).unwrap(), resolved);
    assert_eq!(server.requests().len(), n_requests, "no request for a cached model");

    let json = serde_json::to_value(&resolved).unwrap();
    assert_eq!(json["origin"]["files"][WEIGHTS], sha256(&weights()).as_str());
}

#[test]
fn a_revision_is_a_branch_a_tag_or_a_commit() {
    let server = Server::with_files(model());
    let home = Home::new(&server.url);
    for revision in ["v1", "refs/pr/1", COMMIT] {
        let resolved = home.resolve(&format!("{NAME}@{revision}")).unwrap();
        assert_eq!(resolved.origin.unwrap().commit, COMMIT);
        let ref_file = home.cache().join("models--deepset--tiny/refs").join(revision);
        assert_eq!(ref_file.exists(), revision != COMMIT);
    }
    // All three revisions are the same commit, so the weights are downloaded once.
    assert_eq!(server.n_content_requests(WEIGHTS), 1);
    let error = home.error_message(&format!("{NAME}@v2"));
    assert!(error.contains("deepset/tiny@v2") && error.contains("status 404"), "{error}");
}

#[test]
fn an_interrupted_download_is_resumed() {
    let is_repaired = Arc::new(AtomicBool::new(false));
    let server_is_repaired = Arc::clone(&is_repaired);
    let server =
        Server::with_changed_replies(model(), move |request, reply| match request.file() {
            Some(WEIGHTS) if !server_is_repaired.load(Ordering::Relaxed) => {
                let is_first = !request.headers.contains_key("range");
                Reply { close_after: Some(if is_first { 100_000 } else { 0 }), ..reply }
            }
            _ => reply,
        });
    let home = Home::new(&server.url);
    let error = home.error_message(NAME);
    is_repaired.store(true, Ordering::Relaxed);
    let cause = "deepset/tiny, model.safetensors: received 100000 of 300000 bytes";
    assert_contains(&error, &[cause, "run the command again"]);
    let partial = home.blob(&format!("{}.incomplete", sha256(&weights())));
    assert_eq!(fs::read(&partial).unwrap(), weights()[..100_000]);
    assert!(!home.cache().join("models--deepset--tiny/refs/main").exists());

    let resolved = home.resolve(NAME).unwrap();
    assert_eq!(fs::read(resolved.folder.join(WEIGHTS)).unwrap(), weights());
    assert!(!partial.exists());
    let last_request = server.requests().pop().unwrap();
    assert_eq!(last_request.headers["range"], "bytes=100000-");
    assert_eq!(server.n_content_requests("config.json"), 1);
}

#[test]
fn a_download_is_retried_after_a_closed_connection() {
    let server = Server::with_changed_replies(model(), |request, reply| match request.file() {
        Some(WEIGHTS) if reply.body.len() > 80_000 => Reply { close_after: Some(80_000), ..reply },
        _ => reply,
    });
    let home = Home::new(&server.url);
    let resolved = home.resolve(NAME).unwrap();
    assert_eq!(fs::read(resolved.folder.join(WEIGHTS)).unwrap(), weights());
    assert_eq!(server.n_content_requests(WEIGHTS), 4);
}

/// Writes the partial file of an interrupted download.
fn write_partial(home: &Home, content: &[u8]) {
    let partial = home.blob(&format!("{}.incomplete", sha256(&weights())));
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(partial, content).unwrap();
}

#[test]
fn a_server_without_ranges_sends_the_whole_file() {
    let server = Server::with_changed_replies(model(), |request, reply| match reply.status {
        206 => {
            let mut without_range = request.clone();
            without_range.headers.clear();
            crate::common::hub_reply(&model(), &without_range)
        }
        _ => reply,
    });
    // The partial file contains the beginning of the file, bytes of another file, the complete
    // file, or too many bytes.
    let too_long = [weights(), weights()].concat();
    for partial in [&weights()[..1000], &[7; 1000], &weights(), &too_long] {
        let home = Home::new(&server.url);
        write_partial(&home, partial);
        let resolved = home.resolve(NAME).unwrap();
        assert_eq!(fs::read(resolved.folder.join(WEIGHTS)).unwrap(), weights());
    }
}

#[test]
fn wrong_bytes_of_a_partial_file_are_an_error() {
    let server = Server::with_changed_replies(model(), |_, reply| match reply.status {
        206 => reply.header("Content-Range", "bytes 0-299999/300000"),
        _ => reply,
    });
    let home = Home::new(&server.url);
    write_partial(&home, &weights()[..1000]);
    let error = home.error_message(NAME);
    assert!(error.contains("from byte 1000 of 300000") && error.contains("bytes 0-"), "{error}");
    home.resolve(NAME).unwrap();

    let server = Server::with_files(model());
    let home = Home::new(&server.url);
    write_partial(&home, &[7; 1000]);
    let error = home.error_message(NAME);
    assert!(error.contains("SHA-256") && error.contains("deleted"), "{error}");
    home.resolve(NAME).unwrap();
}

/// Starts a server with slow responses.
fn slow_server() -> Server {
    Server::with_changed_replies(model(), |_, reply| {
        thread::sleep(Duration::from_millis(20));
        reply
    })
}

fn assert_fetched_once(server: &Server, home: &Home) {
    for file in ["config.json", "tokenizer.json", WEIGHTS] {
        assert_eq!(server.n_content_requests(file), 1, "{file}");
    }
    assert_eq!(fs::read(home.cache().join(SNAPSHOT).join(WEIGHTS)).unwrap(), weights());
}

#[test]
fn concurrent_threads_download_a_model_once() {
    let server = slow_server();
    let home = Home::new(&server.url);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| home.resolve(NAME).unwrap())).collect();
        let models: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(models.windows(2).all(|pair| pair[0] == pair[1]));
    });
    assert_fetched_once(&server, &home);
}

/// The process that [`concurrent_processes_download_a_model_once`] starts.
#[test]
fn another_process_fetches() {
    let [Some(endpoint), Some(cache)] = ["TEST_ENDPOINT", "TEST_CACHE"].map(std::env::var_os)
    else {
        return;
    };
    let home = Home::new(endpoint.to_str().unwrap()).env("HF_HUB_CACHE", cache);
    home.resolve(NAME).unwrap();
}

#[test]
fn concurrent_processes_download_a_model_once() {
    let server = slow_server();
    let home = Home::new(&server.url);
    let start = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fetched::another_process_fetches"])
            .env("TEST_ENDPOINT", &server.url)
            .env("TEST_CACHE", home.cache())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    for mut process in [start(), start(), start()] {
        assert!(process.wait().unwrap().success());
    }
    assert_fetched_once(&server, &home);
}

#[test]
fn the_shards_of_an_index_are_downloaded() {
    let mut files = files(&[
        ("config.json", "{}"),
        ("sentencepiece.bpe.model", "pieces"),
        (
            "model.safetensors.index.json",
            r#"{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors",
               "b": "model-00002-of-00002.safetensors", "c": "model-00001-of-00002.safetensors"}}"#,
        ),
        ("model-00001-of-00002.safetensors", "first"),
        ("model-00002-of-00002.safetensors", "second"),
        ("other.safetensors", "adapter"),
    ]);
    let server = Server::with_files(files.clone());
    let home = Home::new(&server.url);
    let resolved = home.resolve(NAME).unwrap();
    files.remove("other.safetensors");
    let origin = resolved.origin.clone().unwrap();
    assert!(origin.files.keys().eq(files.keys()), "{origin:?}");

    // The absence of tokenizer.json is recorded, so a second resolution sends no request.
    let n_requests = server.requests().len();
    assert_eq!(home.resolve(NAME).unwrap(), resolved);
    assert_eq!(server.requests().len(), n_requests);
    // Only a deleted shard is downloaded again.
    fs::remove_file(resolved.folder.join("model-00002-of-00002.safetensors")).unwrap();
    fs::remove_file(home.blob(&sha256(b"second"))).unwrap();
    assert_eq!(home.resolve(NAME).unwrap(), resolved);
    assert_eq!(server.n_content_requests("model-00001-of-00002.safetensors"), 1);
    assert_eq!(server.n_content_requests("model-00002-of-00002.safetensors"), 2);
}

#[test]
fn a_quantized_reader_is_downloaded_with_its_calibration() {
    let reader = files(&[
        ("config.json", "{}"),
        ("tokenizer.json", "{}"),
        ("model.int8.safetensors", "8 bits"),
        ("heads.safetensors", "heads"),
        ("calibration.json", "{}"),
    ]);
    let server = Server::with_files(reader.clone());
    let home = Home::new(&server.url);
    let resolved = home.resolve(NAME).unwrap();
    for (name, content) in &reader {
        assert_eq!(&fs::read(resolved.folder.join(name)).unwrap(), content, "{name}");
    }
    let origin = resolved.origin.clone().unwrap();
    let names: Vec<&str> = origin.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["config.json", "model.int8.safetensors", "tokenizer.json"]);
    let n_requests = server.requests().len();
    assert_eq!(home.resolve(NAME).unwrap(), resolved);
    assert_eq!(server.requests().len(), n_requests, "the snapshot is complete");
    // Only a deleted file is downloaded again.
    fs::remove_file(resolved.folder.join("model.int8.safetensors")).unwrap();
    fs::remove_file(home.blob(&sha256(b"8 bits"))).unwrap();
    assert_eq!(home.resolve(NAME).unwrap(), resolved);
    assert_eq!(server.n_content_requests("model.int8.safetensors"), 2);
    assert_eq!(server.n_content_requests("config.json"), 1);

    // Other programs cannot read the 8-bit weights, so folders for them have no such file; if both
    // exist, the weights that all programs read are taken.
    let mut both = reader;
    both.insert("model.safetensors".into(), b"32 bits".to_vec());
    let server = Server::with_files(both);
    let home = Home::new(&server.url);
    let origin = home.resolve(NAME).unwrap().origin.unwrap();
    assert!(origin.files.contains_key("model.safetensors"), "{origin:?}");
    assert_eq!(server.n_content_requests("model.int8.safetensors"), 0);
}

#[test]
fn the_token_is_sent_to_the_endpoint_only() {
    let other_server = Server::with_files(model());
    let url = other_server.url.clone();
    let server =
        Server::with_changed_replies(model(), move |request, reply| match request.file() {
            Some(WEIGHTS) => Reply { status: 302, body: b"moved".to_vec(), ..reply }
                .header("X-Linked-Size", weights().len())
                .header("Location", format!("{url}{}", request.path)),
            // Redirects within the server have a relative address; the client sends the token
            // again.
            Some("config.json") if !request.path.starts_with("/cache") => Reply::new(307, "")
                .header("X-Repo-Commit", COMMIT)
                .header("Location", format!("/cache{}", request.path)),
            Some("config.json") => {
                let mut first_request = request.clone();
                first_request.path = first_request.path.replace("/cache", "");
                crate::common::hub_reply(&model(), &first_request)
            }
            _ => reply,
        });
    let home = Home::new(&server.url).env("HF_TOKEN", "hf_secret\n");
    let resolved = home.resolve(NAME).unwrap();
    assert_eq!(fs::read(resolved.folder.join(WEIGHTS)).unwrap(), weights());
    let endpoint_requests = server.requests();
    let token = |request: &crate::common::Request| request.headers.get("authorization").cloned();
    let has_token = |request| token(request).as_deref() == Some("Bearer hf_secret");
    assert!(endpoint_requests.iter().all(has_token));
    assert!(endpoint_requests.iter().any(|request| request.path.starts_with("/cache")));
    let other_requests = other_server.requests();
    assert_eq!(other_requests.len(), 1, "only the content: {other_requests:?}");
    assert!(other_requests.iter().all(|request| token(request).is_none()), "{other_requests:?}");
}

#[test]
fn the_stored_token_is_used() {
    let server = Server::with_files(model());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "hf_stored\n").unwrap();
    let home = Home::new(&server.url).env("HF_HOME", folder.path());
    home.resolve(NAME).unwrap();
    for request in server.requests() {
        assert_eq!(request.headers["authorization"], "Bearer hf_stored");
    }
}
