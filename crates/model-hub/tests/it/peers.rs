//! Tests that huggingface_hub and this crate read each other's cache.
use std::process::Command;

use testkit::{PythonPackages, python_with};

use crate::common::{COMMIT, Home, NAME, SNAPSHOT, Server, model};

const FIND_SCRIPT: &str = "
import sys, huggingface_hub as hub
folder = hub.snapshot_download(sys.argv[1], local_files_only=True)
print(folder)
repository, = hub.scan_cache_dir().repos
revision, = repository.revisions
print(repository.repo_id, revision.commit_hash, sorted(revision.refs), repository.nb_files)
";

const DOWNLOAD_SCRIPT: &str = "
import sys, huggingface_hub as hub
for file in ['config.json', 'model.safetensors', 'tokenizer_config.json', 'tokenizer.json']:
    try:
        print(hub.hf_hub_download(sys.argv[1], file))
    except hub.errors.EntryNotFoundError:
        print('absent:', file)
";

fn run_python(home: &Home, endpoint: &str, code: &str) -> Option<String> {
    let mut program = Command::new(python_with(PythonPackages::Tokenizers)?);
    program.args(["-c", code, NAME]).env("HF_HUB_CACHE", home.cache());
    program.env("HF_ENDPOINT", endpoint).env("HF_HUB_DISABLE_TELEMETRY", "1");
    program.env("HF_HOME", home.cache()).env_remove("HF_TOKEN").env_remove("HF_HUB_OFFLINE");
    let process = program.output().unwrap();
    assert!(process.status.success(), "{}", String::from_utf8_lossy(&process.stderr));
    Some(String::from_utf8(process.stdout).unwrap())
}

#[test]
fn python_reads_the_cache_of_this_crate() {
    let server = Server::with_files(model());
    let home = Home::new(&server.url);
    home.resolve(NAME).unwrap();
    let n_requests = server.requests().len();
    let Some(output) = run_python(&home, &server.url, FIND_SCRIPT) else { return };
    let folder = home.cache().join(SNAPSHOT);
    let expected = format!("{}\n{NAME} {COMMIT} ['main'] 4\n", folder.display());
    assert_eq!(output, expected);
    assert_eq!(server.requests().len(), n_requests);
}

#[test]
fn this_crate_reads_the_cache_of_python() {
    for has_tokenizer in [true, false] {
        let mut files = model();
        files.retain(|name, _| has_tokenizer || name != "tokenizer.json");
        let server = Server::with_files(files);
        let home = Home::new(&server.url);
        let Some(output) = run_python(&home, &server.url, DOWNLOAD_SCRIPT) else { return };
        assert_eq!(output.contains("absent: tokenizer.json"), !has_tokenizer, "{output}");
        let n_requests = server.requests().len();
        let resolved = home.resolve(NAME).unwrap();
        assert!(output.starts_with(resolved.folder.to_str().unwrap()), "{output}");
        // Files that Python recorded as absent are not requested either.
        assert_eq!(server.requests().len(), n_requests);

        // The files that Python downloaded equal the files that this crate downloads.
        let other_home = Home::new(&server.url);
        assert_eq!(other_home.resolve(NAME).unwrap().origin, resolved.origin);
    }
}
