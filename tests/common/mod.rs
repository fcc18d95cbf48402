//! Helpers that run the programs of this package.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;
use tch::Device;
use xlmr_model::{
    Architecture, Config, DebertaV2, DistilBert, Electra, EuroBert, Head, LayerType, Model,
    ModernBert,
};

/// Returns a command that runs a program of this package. Cargo builds the programs before it runs
/// the tests.
pub fn program(name: &str) -> Command {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    let path = path.join("examples").join(name);
    assert!(path.exists(), "{} is not built", path.display());
    let mut command = Command::new(path);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Returns a command that runs a recipe with the run folder `out`. `recipe` is the name of a
/// recipe, whose `small.toml` is used, or `NAME/FILE` for another file, `FILE.toml`.
pub fn small_recipe(recipe: &str, out: &Path) -> Command {
    let (name, file) = recipe.split_once('/').unwrap_or((recipe, "small"));
    let mut command = program(name);
    command.arg(format!("examples/{name}/{file}.toml")).arg("--out").arg(out);
    command
}

/// Adds settings to a recipe's command.
pub trait CommandExt {
    /// Adds `--set` before each setting.
    fn set_all<S: AsRef<OsStr>>(&mut self, settings: impl IntoIterator<Item = S>) -> &mut Self;

    /// Sets a key to a path.
    fn set_path(&mut self, key: &str, path: &Path) -> &mut Self {
        self.set_all([format!("{key}={}", path.display())])
    }
}

impl CommandExt for Command {
    fn set_all<S: AsRef<OsStr>>(&mut self, settings: impl IntoIterator<Item = S>) -> &mut Self {
        for setting in settings {
            self.arg("--set").arg(setting);
        }
        self
    }
}

/// Returns a command that runs a program of another crate of this workspace. Cargo builds such a
/// program with the tests of its crate.
pub fn tool(name: &str) -> Command {
    let example_program = program("bridging-gap").get_program().to_owned();
    let path = Path::new(&example_program).parent().unwrap().parent().unwrap().join(name);
    assert!(path.exists(), "{} is not built; run `cargo test --workspace`", path.display());
    let mut command = Command::new(path);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Returns a shell that runs `command`. Its PATH contains the programs of this package and of the
/// other crates.
pub fn shell(command: &str) -> Command {
    let folder = |program: Command| Path::new(program.get_program()).parent().unwrap().to_owned();
    for name in ["demo-data", "kg-triples", "mlqa-eval", "polyqa", "qa-translate", "transfer-eval"]
    {
        drop(tool(name));
    }
    let folders = [folder(program("bridging-gap")), folder(tool("polyqa"))];
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&inherited)));
    let mut shell = Command::new("sh");
    shell.args(["-ec", command]).current_dir(root()).env("PATH", path.unwrap());
    shell
}

/// Runs a command that writes a folder, and returns the folder. Each command is run only once for
/// all tests.
pub fn prepare(command: &str) -> String {
    static PREPARED: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
    let mut hasher = DefaultHasher::new();
    command.hash(&mut hasher);
    let hash = hasher.finish();
    let folder = format!("{}/prepared/{hash:016x}", env!("CARGO_TARGET_TMPDIR"));
    let mut prepared_hashes = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
    if !prepared_hashes.contains(&hash) {
        let (program, arguments) = command.split_once(' ').unwrap();
        let mut tool = tool(program);
        tool.args(arguments.split_whitespace()).args(["--out", &folder]);
        succeed(tool);
        prepared_hashes.insert(hash);
    }
    folder
}

/// Arguments of `demo-data` commands: the demo's facts, and the shares of their splits.
const FACT_OPTIONS: &str = "--kg data/demo/kg --split 0.4,0.3,0.3 --seed 1234";

/// A command that prepares four articles of XQuAD in English and German.
pub const FEW_ARTICLES_COMMAND: &str =
    "demo-data xquad-split --xquad data/xquad --articles 4 --languages en,de";

/// Runs a command of `demo-data` on the demo's facts, and returns the folder that it writes.
pub fn demo_data(command: &str, options: &str) -> String {
    prepare(&format!(
        "demo-data {command} {FACT_OPTIONS} --templates data/demo/templates-all.tsv {options}"
    ))
}

/// Returns a folder with a few questions about facts, with English passages.
pub fn fact_questions() -> String {
    let templates = "--templates data/demo/templates.tsv";
    prepare(&format!("demo-data fact-questions {FACT_OPTIONS} {templates} --items 40"))
}

/// Returns a file with the German passages of the folder `questions` and their knowledge phrases.
fn prepare_phrases(questions: &str) -> String {
    let results = prepare(&format!("demo-data search --questions {questions} --languages de"));
    let mining_options = "--title-fraction 2/10 --min-chars 0";
    prepare(&format!("kg-triples phrases --queries {results}/queries.jsonl.gz {mining_options}"))
}

/// Returns settings that select small data for a recipe. The data is in two languages; for
/// `bridging-gap`, it is in all languages of the demo.
pub fn small_data(recipe: &str) -> Vec<String> {
    let folder_settings = |folder: &str, keys: &[&str]| -> Vec<String> {
        let train = format!("data.train={folder}/train-context-en-question-en.json");
        let keys = keys.iter().map(|key| format!("data.{key}={folder}"));
        keys.chain([train]).collect()
    };
    match recipe {
        "bridging-gap" => folder_settings(&fact_questions(), &["evaluation"]),
        "mixmrc-lakm" => {
            let folder = demo_data("fact-questions", "--parallel --languages en,de --items 40");
            let mut settings = folder_settings(&folder, &["translated", "dev", "evaluation"]);
            settings.push(format!("data.phrases={}", prepare_phrases(&folder)));
            settings
        }
        "filter" => {
            let folder = prepare(&format!("{FEW_ARTICLES_COMMAND} --first 3"));
            let mut settings = folder_settings(&folder, &["translated", "evaluation"]);
            settings.push(format!("data.second={folder}/second"));
            settings
        }
        "filter/xnli-small" => {
            let folder = demo_data("inference", "--languages en,de --premises 2");
            vec![
                format!("data.train={folder}"),
                format!("data.evaluation={folder}/xnli.test.tsv"),
                format!("data.second={folder}/xnli.test.to-en.tsv"),
            ]
        }
        "good-to-best" => {
            let folder = demo_data("fact-questions", "--parallel --languages en,zh --items 40");
            vec![
                format!("data.train=[\"{folder}/train-context-en-question-en.json\"]"),
                format!("data.dev=[\"{folder}/dev-context-en-question-en.json\"]"),
                format!("data.mlqa={folder}"),
            ]
        }
        "transfer-suite" => {
            let split_options = "--train 0.25 --dev 0.25 --seed 1234";
            let questions = prepare(&format!("{FEW_ARTICLES_COMMAND} {split_options}"));
            let pairs = demo_data("inference", "--languages en,de --premises 2");
            let clozes = demo_data("clozes", "--languages en,de");
            let folders = |split: &str| {
                let entry = |code: &str| format!("{code} = \"{clozes}/{split}/{code}\"");
                format!("{{ {}, {} }}", entry("en"), entry("de"))
            };
            vec![
                format!("tasks.xnli.data.train={pairs}/multinli.train.en.tsv"),
                format!("tasks.xnli.data.dev={pairs}/xnli.dev.tsv"),
                format!("tasks.xnli.data.test={pairs}/xnli.test.tsv"),
                format!("tasks.facts.data.test={}", folders("test")),
                format!("tasks.facts.data.seen={}", folders("train")),
                format!("tasks.mlqa.data.train={questions}/train-context-en-question-en.json"),
                format!("tasks.mlqa.data.dev={questions}"),
                format!("tasks.mlqa.data.test={questions}"),
                "tasks.mlqa.data.languages=[\"en\", \"de\"]".into(),
            ]
        }
        _ => Vec::new(),
    }
}

/// Returns a folder with the demo's triples as token sequences. `options` are options of
/// `kg-triples mix`, such as the pairs of languages.
pub fn sequences(model: &Path, options: &str) -> PathBuf {
    let model = model.display();
    prepare(&format!("kg-triples mix --in data/demo/kg --tokenizer {model} {options}")).into()
}

/// Returns a folder with code-switched sentences of the embedded English extracts. Mentions of
/// entities are found by their labels.
pub fn switched_texts(options: &str) -> PathBuf {
    let folder = prepare("kg-triples link --entities data/codex --languages en");
    let texts = format!("{folder}/first.jsonl.gz");
    copy_first_lines(Path::new(&format!("{folder}/train/linked.jsonl.gz")), Path::new(&texts), 400);
    let switch_options = "--entities data/codex --rule per_mention --with-source";
    prepare(&format!("kg-triples switch --texts {texts} {switch_options} {options}")).into()
}

/// Copies the first `count` lines of the gzip file `from` to `to`, unless `to` exists.
fn copy_first_lines(from: &Path, to: &Path, count: usize) {
    static LOCK: Mutex<()> = Mutex::new(());
    let _guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    if !to.exists() {
        std::fs::write(
            to,
            gzip(&gunzip(from).split_inclusive('\n').take(count).collect::<String>()),
        )
        .unwrap();
    }
}

/// Decompresses a gzip file to text.
pub fn gunzip(path: &Path) -> String {
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// Compresses a text with gzip.
pub fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Runs a command, asserts that it succeeds, and returns its standard output.
pub fn succeed(mut command: Command) -> String {
    let output = command.output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    out.into_owned()
}

/// Asserts that the text contains each piece.
pub fn assert_contains(text: &str, pieces: &[&str]) {
    for piece in pieces {
        assert!(text.contains(piece), "no {piece:?} in:\n{text}");
    }
}

/// Asserts that a program ended with exit code 2 and printed exactly one line `error: …`. Returns
/// its standard error.
pub fn expect_failure(output: &Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{err}");
    let lines: Vec<&str> = err.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(lines.len(), 1, "{err}");
    assert!(!err.contains("panicked"), "{err}");
    err
}

/// Runs the command once for each pair of a setting and a text. Asserts that each run fails, and
/// that its error contains the text.
pub fn expect_invalid(command: impl Fn() -> Command, cases: &[(&str, &str)]) {
    for &(setting, expected) in cases {
        let error = expect_failure(&command().set_all([setting]).output().unwrap());
        assert!(error.contains(expected), "{setting}: {error}");
    }
}

/// Asserts that files with these names are equal in both folders.
pub fn assert_equal_files(folders: [&Path; 2], names: &[&str]) {
    for name in names {
        let [first, second] = folders.map(|folder| std::fs::read(folder.join(name)).unwrap());
        assert!(first == second, "{name} differs in {}", folders[1].display());
    }
}

/// Starts a program, and kills it as soon as `path` exists.
pub fn kill_at(mut command: Command, path: &Path) {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    kill_child_at(child, path);
}

/// Kills a started program as soon as `path` exists.
pub fn kill_child_at(mut child: Child, path: &Path) {
    let start = Instant::now();
    while !path.exists() && child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(600), "{} was not written", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "the run ended before it was interrupted");
}

/// Starts `command` in two processes, as rank 0 and rank 1 of 2.
pub fn start_two_ranks(command: impl Fn() -> Command) -> Vec<Child> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = |rank: usize| {
        let mut command = command();
        command.env("WORLD_SIZE", "2").env("RANK", rank.to_string());
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    (0..2).map(start).collect()
}

/// Runs `command` in two processes. Asserts that both succeed, and that only rank 0 prints to
/// standard output.
pub fn run_on_two_ranks(command: impl Fn() -> Command) {
    for (rank, child) in start_two_ranks(command).into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rank {rank}: {errors}");
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert_eq!(stdout.is_empty(), rank == 1, "rank {rank}: {stdout}");
    }
}

/// Returns the losses of all `metrics.jsonl` files below `folder`, in the order of their paths.
pub fn losses(folder: &Path) -> Vec<f64> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("metrics.jsonl") {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut losses = Vec::new();
    for file in files {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            losses.push(line["loss"].as_f64().unwrap());
        }
    }
    losses
}

/// Asserts that two runs have `count` losses each, which differ only by rounding errors.
pub fn assert_equal_losses(one: &Path, two: &Path, count: usize) {
    let (one, two) = (losses(one), losses(two));
    assert_eq!((one.len(), two.len()), (count, count));
    for (a, b) in one.iter().zip(&two) {
        assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{one:?}\n{two:?}");
    }
}

/// Returns a run's `summary.json` without times, which are the only values that differ between
/// runs.
pub fn summary(folder: &Path) -> Value {
    fn remove_times(value: &mut Value) -> usize {
        match value {
            Value::Object(map) => {
                let removed = map.remove("seconds").inspect(|seconds| assert!(seconds.is_f64()));
                usize::from(removed.is_some()) + map.values_mut().map(remove_times).sum::<usize>()
            }
            Value::Array(values) => values.iter_mut().map(remove_times).sum(),
            _ => 0,
        }
    }
    let text = std::fs::read_to_string(folder.join("summary.json")).unwrap();
    let mut summary: Value = serde_json::from_str(&text).unwrap();
    assert!(remove_times(&mut summary) > 0, "no times in:\n{text}");
    summary
}

/// Writes a random two-layer model of an architecture other than XLM-R's, and a tokenizer of the
/// kind that this architecture commonly uses: WordPiece for `bert`, `distilbert` and `electra`, BPE
/// with byte fallback for `modernbert`, byte-level BPE for `eurobert`, and SentencePiece for
/// `deberta`.
pub fn write_encoder(architecture: &str, folder: &Path) {
    let (tokenizer, default_config, variant) = match architecture {
        "deberta" => {
            let deberta = DebertaV2 { position_buckets: 64, ..DebertaV2::v3() };
            ("spm.model", Config::mdeberta_v3_base(), Architecture::DebertaV2(deberta))
        }
        "bert" => ("wordpiece", Config::bert_base_multilingual(), Architecture::Bert),
        "distilbert" => {
            let default_config = Config { type_vocab_size: 1, ..Config::bert_base_multilingual() };
            ("wordpiece", default_config, Architecture::DistilBert(DistilBert::default()))
        }
        "electra" => {
            let electra = Architecture::Electra(Electra { embedding_size: 16 });
            ("wordpiece", Config::bert_base_multilingual(), electra)
        }
        "eurobert" => {
            let eurobert = EuroBert { num_key_value_heads: Some(2), ..EuroBert::default() };
            let ids = Config {
                pad_token_id: 2998,
                bos_token_id: Some(2997),
                eos_token_id: Some(2998),
                ..Config::eurobert_210m()
            };
            ("byte_level", ids, Architecture::EuroBert(eurobert))
        }
        _ => {
            let layer_types = vec![LayerType::Global, LayerType::Local];
            let modernbert = ModernBert { layer_types, local_attention: 16, ..ModernBert::new(2) };
            ("byte_fallback", Config::mmbert_base(), Architecture::ModernBert(modernbert))
        }
    };
    let config = Config {
        architecture: variant,
        vocab_size: if architecture == "deberta" { 8192 } else { 3000 },
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 48,
        max_position_embeddings: 384,
        ..default_config
    };
    let model = Model::new(&config, &[Head::MaskedLm, Head::Span], Device::Cpu, 1).unwrap();
    model.save(folder, Head::MaskedLm).unwrap();
    if tokenizer == "spm.model" {
        std::fs::write(folder.join(tokenizer), testkit::deberta_spm_model()).unwrap();
        return;
    }
    let tokenizer = root().join(format!("crates/testkit/fixtures/{tokenizer}.json"));
    std::fs::copy(tokenizer, folder.join("tokenizer.json")).unwrap();
}
