//! Tests that huggingface_hub and this crate read each other's cache.
use std::process::Command;

use testkit::{Peers, peers_python};

use crate::common::{COMMIT, Home, NAME, SNAPSHOT, Server, model};

const FIND: &str = "
import sys, huggingface_hub as hub
folder = hub.snapshot_download(sys.argv[1], local_files_only=True)
print(folder)
repository, = hub.scan_cache_dir().repos
revision, = repository.revisions
print(repository.repo_id, revision.commit_hash, sorted(revision.refs), repository.nb_files)
";

const FETCH: &str = "
import sys, huggingface_hub as hub
for file in ['config.json', 'model.safetensors', 'tokenizer_config.json', 'tokenizer.json']:
    try:
        print(hub.hf_hub_download(sys.argv[1], file))
    except hub.errors.EntryNotFoundError:
        print('absent:', file)
";

fn python(home: &Home, endpoint: &str, code: &str) -> Option<String> {
    let mut program = Command::new(peers_python(Peers::Tokenizers)?);
    program.args(["-c", code, NAME]).env("HF_HUB_CACHE", home.cache());
    program.env("HF_ENDPOINT", endpoint).env("HF_HUB_DISABLE_TELEMETRY", "1");
    program.env("HF_HOME", home.cache()).env_remove("HF_TOKEN").env_remove("HF_HUB_OFFLINE");
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn python_reads_the_cache_of_this_crate() {
    let server = Server::with_files(model());
    let home = Home::new(&server.url);
    home.resolve(NAME).unwrap();
    let before = server.requests().len();
    let Some(printed) = python(&home, &server.url, FIND) else { return };
    let folder = home.cache().join(SNAPSHOT);
    let expected = format!("{}\n{NAME} {COMMIT} ['main'] 4\n", folder.display());
    assert_eq!(printed, expected);
    assert_eq!(server.requests().len(), before);
}

#[test]
fn this_crate_reads_the_cache_of_python() {
    for tokenizer in [true, false] {
        let mut files = model();
        files.retain(|name, _| tokenizer || name != "tokenizer.json");
        let server = Server::with_files(files);
        let home = Home::new(&server.url);
        let Some(printed) = python(&home, &server.url, FETCH) else { return };
        assert_eq!(printed.contains("absent: tokenizer.json"), !tokenizer, "{printed}");
        let before = server.requests().len();
        let resolved = home.resolve(NAME).unwrap();
        assert!(printed.starts_with(resolved.folder.to_str().unwrap()), "{printed}");
        // Files that Python recorded as absent are not requested either.
        assert_eq!(server.requests().len(), before);

        // The content equals a download by this crate.
        let ours = Home::new(&server.url);
        assert_eq!(ours.resolve(NAME).unwrap().origin, resolved.origin);
    }
}
