//! Tests of downloads and of the resulting cache layout.
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::common::{
    COMMIT, Home, NAME, Reply, SNAPSHOT, Server, WEIGHTS, etag, files, model, sha256, weights,
};

#[test]
fn a_name_is_fetched_in_the_layout_of_the_cache_and_then_found() {
    let mut served = model();
    served.insert("1_Pooling/config.json".into(), b"{\"pooling_mode\": \"cls\"}".to_vec());
    let server = Server::of(served);
    let home = Home::new(&format!("{}/", server.url));
    let told = Mutex::new(Vec::new());
    let resolved = home.hub().resolve(NAME, &mut |progress| {
        told.lock().unwrap().push((progress.file.to_owned(), progress.done, progress.total));
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
    let main = home.cache().join("models--deepset--tiny/refs/main");
    assert_eq!(fs::read_to_string(main).unwrap(), COMMIT);
    let tree = home.tree();
    assert_eq!(tree.len(), 5 + 5 + 1, "{tree:?}");
    let pooling = fs::read_to_string(resolved.folder.join("1_Pooling/config.json")).unwrap();
    assert_eq!(pooling, "{\"pooling_mode\": \"cls\"}");
    assert!(tree.iter().all(|path| path.starts_with("hub/models--deepset--tiny/")), "{tree:?}");

    let told = told.into_inner().unwrap();
    let total = weights().len() as u64;
    assert_eq!(told.first().unwrap().0, "config.json");
    assert_eq!(told.last().unwrap(), &(WEIGHTS.to_owned(), total, total));
    assert!(told.iter().any(|(_, done, total)| 0 < *done && done < total));

    let before = server.seen().len();
    assert_eq!(home.resolve(NAME).unwrap(), resolved);
    assert_eq!(home.with("HF_HUB_OFFLINE", "1").resolve(NAME).unwrap(), resolved);
    assert_eq!(server.seen().len(), before, "no request for what is cached");

    let json = serde_json::to_value(&resolved).unwrap();
    assert_eq!(json["origin"]["files"][WEIGHTS], sha256(&weights()).as_str());
}

#[test]
fn a_revision_is_a_branch_a_tag_or_a_commit() {
    let server = Server::of(model());
    let home = Home::new(&server.url);
    for revision in ["v1", "refs/pr/1", COMMIT] {
        let resolved = home.resolve(&format!("{NAME}@{revision}")).unwrap();
        assert_eq!(resolved.origin.unwrap().commit, COMMIT);
        let noted = home.cache().join("models--deepset--tiny/refs").join(revision);
        assert_eq!(noted.exists(), revision != COMMIT);
    }
    // Three requests for the list of files; the commit itself needs no list.
    assert_eq!(server.contents(WEIGHTS), 1);
    let line = home.refusal(&format!("{NAME}@v2"));
    assert!(line.contains("deepset/tiny@v2") && line.contains("status 404"), "{line}");
}

#[test]
fn an_interrupted_download_is_resumed() {
    let back = Arc::new(AtomicBool::new(false));
    let is_back = Arc::clone(&back);
    let server = Server::changed(model(), move |request, reply| match request.file() {
        Some(WEIGHTS) if !is_back.load(Ordering::Relaxed) => {
            let whole = !request.headers.contains_key("range");
            Reply { cut: Some(if whole { 100_000 } else { 0 }), ..reply }
        }
        _ => reply,
    });
    let home = Home::new(&server.url);
    let line = home.refusal(NAME);
    back.store(true, Ordering::Relaxed);
    for part in ["deepset/tiny, model.safetensors: 100000 of 300000 bytes", "run the command again"]
    {
        assert!(line.contains(part), "{line}");
    }
    let partial = home.blob(&format!("{}.incomplete", sha256(&weights())));
    assert_eq!(fs::read(&partial).unwrap(), weights()[..100_000]);
    assert!(!home.cache().join("models--deepset--tiny/refs/main").exists());

    let resolved = home.resolve(NAME).unwrap();
    assert_eq!(fs::read(resolved.folder.join(WEIGHTS)).unwrap(), weights());
    assert!(!partial.exists());
    let last = server.seen().pop().unwrap();
    assert_eq!(last.headers["range"], "bytes=100000-");
    assert_eq!(server.contents("config.json"), 1);
}

#[test]
fn a_download_is_retried_after_a_closed_connection() {
    let server = Server::changed(model(), |request, reply| match request.file() {
        Some(WEIGHTS) if reply.body.len() > 80_000 => Reply { cut: Some(80_000), ..reply },
        _ => reply,
    });
    let home = Home::new(&server.url);
    let resolved = home.resolve(NAME).unwrap();
    assert_eq!(fs::read(resolved.folder.join(WEIGHTS)).unwrap(), weights());
    assert_eq!(server.contents(WEIGHTS), 4);
}

/// Writes the files of an interrupted download.
fn leave(home: &Home, content: &[u8]) {
    let partial = home.blob(&format!("{}.incomplete", sha256(&weights())));
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(partial, content).unwrap();
}

#[test]
fn a_server_without_parts_starts_over() {
    let server = Server::changed(model(), |request, reply| match reply.status {
        206 => {
            let mut whole = request.clone();
            whole.headers.clear();
            crate::common::answer(&model(), &whole)
        }
        _ => reply,
    });
    // A correct part, a part of another file, the complete file, and a file that is too long.
    let more = [weights(), weights()].concat();
    for left in [&weights()[..1000], &[7; 1000], &weights(), &more] {
        let home = Home::new(&server.url);
        leave(&home, left);
        let resolved = home.resolve(NAME).unwrap();
        assert_eq!(fs::read(resolved.folder.join(WEIGHTS)).unwrap(), weights());
    }
}

#[test]
fn a_part_that_does_not_fit_is_no_content() {
    let server = Server::changed(model(), |_, reply| match reply.status {
        206 => reply.with("Content-Range", "bytes 0-299999/300000"),
        _ => reply,
    });
    let home = Home::new(&server.url);
    leave(&home, &weights()[..1000]);
    let line = home.refusal(NAME);
    assert!(line.contains("from byte 1000 of 300000") && line.contains("bytes 0-"), "{line}");
    home.resolve(NAME).unwrap();

    let server = Server::of(model());
    let home = Home::new(&server.url);
    leave(&home, &[7; 1000]);
    let line = home.refusal(NAME);
    assert!(line.contains("SHA-256") && line.contains("deleted"), "{line}");
    home.resolve(NAME).unwrap();
}

/// Starts a server with slow responses.
fn slow_server() -> Server {
    Server::changed(model(), |_, reply| {
        thread::sleep(Duration::from_millis(20));
        reply
    })
}

fn expect_fetched_once(server: &Server, home: &Home) {
    for file in ["config.json", "tokenizer.json", WEIGHTS] {
        assert_eq!(server.contents(file), 1, "{file}");
    }
    assert_eq!(fs::read(home.cache().join(SNAPSHOT).join(WEIGHTS)).unwrap(), weights());
}

#[test]
fn threads_fetch_once() {
    let server = slow_server();
    let home = Home::new(&server.url);
    thread::scope(|scope| {
        let all: Vec<_> = (0..3).map(|_| scope.spawn(|| home.resolve(NAME).unwrap())).collect();
        let all: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    });
    expect_fetched_once(&server, &home);
}

/// A process that the test below starts.
#[test]
fn another_process_fetches() {
    let [Some(endpoint), Some(cache)] = ["TEST_ENDPOINT", "TEST_CACHE"].map(std::env::var_os)
    else {
        return;
    };
    let home = Home::new(endpoint.to_str().unwrap()).with("HF_HUB_CACHE", cache);
    home.resolve(NAME).unwrap();
}

#[test]
fn processes_fetch_once() {
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
    expect_fetched_once(&server, &home);
}

#[test]
fn an_index_brings_its_shards() {
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
    let server = Server::of(files.clone());
    let home = Home::new(&server.url);
    let resolved = home.resolve(NAME).unwrap();
    files.remove("other.safetensors");
    let origin = resolved.origin.clone().unwrap();
    assert!(origin.files.keys().eq(files.keys()), "{origin:?}");

    // The absence of tokenizer.json is recorded, too.
    let before = server.seen().len();
    assert_eq!(home.resolve(NAME).unwrap(), resolved);
    assert_eq!(server.seen().len(), before);
    // Only a deleted shard is downloaded again.
    fs::remove_file(resolved.folder.join("model-00002-of-00002.safetensors")).unwrap();
    fs::remove_file(home.blob(&sha256(b"second"))).unwrap();
    assert_eq!(home.resolve(NAME).unwrap(), resolved);
    assert_eq!(server.contents("model-00001-of-00002.safetensors"), 1);
    assert_eq!(server.contents("model-00002-of-00002.safetensors"), 2);
}

#[test]
fn the_token_stays_with_its_server() {
    let away = Server::of(model());
    let url = away.url.clone();
    let server = Server::changed(model(), move |request, reply| match request.file() {
        Some(WEIGHTS) => Reply { status: 302, body: b"moved".to_vec(), ..reply }
            .with("X-Linked-Size", weights().len())
            .with("Location", format!("{url}{}", request.path)),
        // Redirects within the server keep the token, and their address is relative.
        Some("config.json") if !request.path.starts_with("/cache") => Reply::new(307, "")
            .with("X-Repo-Commit", COMMIT)
            .with("Location", format!("/cache{}", request.path)),
        Some("config.json") => {
            let mut plain = request.clone();
            plain.path = plain.path.replace("/cache", "");
            crate::common::answer(&model(), &plain)
        }
        _ => reply,
    });
    let home = Home::new(&server.url).with("HF_TOKEN", "hf_secret\n");
    let resolved = home.resolve(NAME).unwrap();
    assert_eq!(fs::read(resolved.folder.join(WEIGHTS)).unwrap(), weights());
    let own = server.seen();
    let token = |request: &crate::common::Request| request.headers.get("authorization").cloned();
    assert!(own.iter().all(|request| token(request).as_deref() == Some("Bearer hf_secret")));
    assert!(own.iter().any(|request| request.path.starts_with("/cache")));
    let away = away.seen();
    assert_eq!(away.len(), 1, "the content alone: {away:?}");
    assert!(away.iter().all(|request| token(request).is_none()), "{away:?}");
}

#[test]
fn the_stored_token_is_used() {
    let server = Server::of(model());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "hf_stored\n").unwrap();
    let home = Home::new(&server.url).with("HF_HOME", folder.path());
    home.resolve(NAME).unwrap();
    assert!(
        server.seen().iter().all(|request| request.headers["authorization"] == "Bearer hf_stored")
    );
}
