use std::collections::BTreeSet;
use std::path::PathBuf;

use mlqa_eval::{Dataset, DatasetName, Language, LanguageError};
use qa_translate::{
    Cached, ChatConfig, ChatTranslator, Error, FileTranslator, HttpChat, HttpConfig,
    HttpTranslator, MissingText, Occurrence, Protect, ProtectConfig, ProtectReport, Protected,
    SearchConfig, Stage, TranslateConfig, TranslateReport, Translated, Translator, parallel,
    translate,
};
use whole_file::{Together, cli};

use crate::{Done, report, say, word};

/// Translate a data set and find its answers again.
///
/// Writes to --out, for each language: questions, passages and answers in it
/// (`{split}-context-de-question-de.json`), its questions about the source's passages
/// (`{split}-context-en-question-de.json`), and `report.json` for all, those of earlier runs too.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  qa-translate translate --in data/xquad/xquad.en.json --split xquad \\
    --parallel de=data/xquad/xquad.de.json,es=data/xquad/xquad.es.json \\
    --out translated
  qa-translate translate --in crates/testkit/fixtures/translate/en.json \\
    --to fr --file crates/testkit/fixtures/translate/fr.jsonl --out french
With a server that speaks as LibreTranslate does, or translations in a file:
  qa-translate translate --in train-v1.1.json --to de,es \\
    --server http://localhost:5000 --split train --out translated
  qa-translate translate --in train-v1.1.json --to de --missing skip \\
    --file translations.jsonl --out translated
With a language model behind an OpenAI-compatible server (llama.cpp, vLLM,
Ollama), code and placeholders kept as they are:
  qa-translate translate --in train-v1.1.json --to de --out translated \\
    --chat http://localhost:8080 --model gemma \\
    --protect code,placeholders,markers

What a server translates is kept in --cache after each batch; the same command
goes on where it was stopped.")]
pub struct Args {
    /// Questions to translate, SQuAD-style JSON or rows
    #[arg(long = "in", value_name = "FILE")]
    source: PathBuf,
    /// Their language
    #[arg(long, default_value = "en", value_name = "LANG")]
    from: Language,
    /// Languages to translate into
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LANG,…",
        required_unless_present = "parallel"
    )]
    to: Vec<Language>,
    #[command(flatten)]
    provider: Provider,
    /// What a text that --file lacks means: error or skip
    #[arg(long, default_value = "error", value_parser = word::<MissingText>, requires = "file")]
    missing: MissingText,
    /// JSONL file that keeps what the server translated [default: cache.<language>.jsonl in --out]
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["file", "parallel"])]
    cache: Option<PathBuf>,
    /// Environment variable that holds the server's API key
    #[arg(long, value_name = "NAME", conflicts_with_all = ["file", "parallel"])]
    api_key_env: Option<String>,
    /// The model's name at the --chat server
    #[arg(long, value_name = "NAME", requires = "chat")]
    model: Option<String>,
    /// Requests to the --chat server in a minute; 0: as fast as it answers
    #[arg(long, default_value_t = 0.0, requires = "chat")]
    requests_per_minute: f64,
    /// Texts that the --chat server translates before the run ends, to be gone on with; 0: all
    #[arg(long, default_value_t = 0, requires = "chat")]
    most_requests: u64,
    /// What a translator must leave as it is: code, math, addresses, placeholders, tags, markers
    #[arg(long, value_delimiter = ',', value_name = "KIND,…", value_parser = word::<Protect>, conflicts_with = "parallel")]
    protect: Vec<Protect>,
    /// A name or term that stays as it is; may be given several times
    #[arg(long, value_name = "TEXT", conflicts_with = "parallel")]
    keep: Vec<String>,
    /// Languages that the server calls otherwise, as zh=zh-Hans
    #[arg(long, value_delimiter = ',', value_name = "LANG=CODE,…", value_parser = pair::<String>, requires = "server")]
    codes: Vec<(Language, String)>,
    /// Texts in a request
    #[arg(long, default_value_t = HttpConfig::default().batch_size, requires = "server")]
    batch_size: usize,
    /// Seconds that a request may take
    #[arg(long, default_value_t = HttpConfig::default().timeout_seconds, conflicts_with_all = ["file", "parallel"])]
    timeout: f64,
    /// Requests for one batch before giving up
    #[arg(long, default_value_t = HttpConfig::default().attempts, conflicts_with_all = ["file", "parallel"])]
    attempts: u32,
    /// Seconds before a request is repeated; doubled each time
    #[arg(long, default_value_t = HttpConfig::default().first_wait_seconds, conflicts_with_all = ["file", "parallel"])]
    first_wait: f64,
    /// Leave out answers whose markers are lost, without searching them
    #[arg(long)]
    no_search: bool,
    /// Take the occurrence at the nearest relative position where a searched answer occurs more
    /// than once
    #[arg(long)]
    nearest: bool,
    /// Search answers without regard to case
    #[arg(long)]
    ignore_case: bool,
    /// The first word of the file names
    #[arg(long, default_value = "train")]
    split: String,
    /// Folder for the files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Provider {
    /// Translations, JSONL: {"from": "en", "to": "de", "source": "…", "target": "…"}
    #[arg(long, value_name = "FILE.jsonl")]
    file: Option<PathBuf>,
    /// LibreTranslate-compatible server
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// OpenAI-compatible server with a language model, asked for one text at a time
    #[arg(long, value_name = "URL", requires = "model")]
    chat: Option<String>,
    /// The same data in other languages, with the same ids
    #[arg(long, value_delimiter = ',', value_name = "LANG=FILE,…", value_parser = pair::<PathBuf>)]
    parallel: Vec<(Language, PathBuf)>,
}

pub fn run(args: &Args) -> Done {
    let parallel_languages = args.provider.parallel.iter().map(|(to, _)| to);
    each_once(&args.to)?;
    each_once(parallel_languages.clone())?;
    let wanted = |language| args.to.is_empty() || args.to.contains(language);
    if !args.provider.parallel.is_empty() && !parallel_languages.clone().any(wanted) {
        let hint = "--parallel has no file in a language of --to".to_owned();
        return Err(Error::Empty { hint });
    }
    let source = Dataset::read(&args.source)?;
    for &to in args.to.iter().chain(parallel_languages) {
        // Reported before hours of work.
        for path in args.paths(to) {
            whole_file::check_output(&path).map_err(Error::io(&path, "write the file"))?;
        }
    }
    let mut empty = Vec::new();
    let mut finish = |translated: Translated| -> Done {
        print(translated.language, &translated.report);
        empty.extend((translated.report.kept() == 0).then_some(translated.language));
        write(args, translated)
    };
    if args.provider.parallel.is_empty() {
        let mut origin = Origin::new(args)?;
        let search = SearchConfig {
            occurrence: if args.nearest { Occurrence::Nearest } else { Occurrence::Unique },
            ignore_case: args.ignore_case,
        };
        let config = TranslateConfig { fall_back: !args.no_search, search };
        for &to in &args.to {
            let bar = cli::progress(0, "");
            let progress = |stage, done: usize, total: usize| {
                bar.set_message(format!("{to} {}", stage_name(stage)));
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            };
            // A file for each language, so that several runs may work at once.
            let of_language = || args.out.join(format!("cache.{to}.jsonl"));
            let cache = args.cache.clone().unwrap_or_else(of_language);
            let (mut cached, mut chat);
            let translator: &mut dyn Translator = match &mut origin {
                Origin::File(file) => file,
                Origin::Server(config, key) => {
                    let server = HttpTranslator::new(config.clone(), key.clone())?;
                    cached = Cached::open(server, cache)?;
                    &mut cached
                }
                Origin::Chat(config, model, key) => {
                    let model = model.clone();
                    let server = HttpChat::new(config, key.as_deref())?;
                    chat = Cached::open(ChatTranslator { chat: server, model }, cache)?;
                    &mut chat
                }
            };
            let protect = ProtectConfig {
                kinds: args.protect.clone(),
                names: args.keep.clone(),
                ..ProtectConfig::default()
            };
            let mut translator = Protected::new(translator, protect);
            let translated = translate(&source, args.from, to, &mut translator, &config, progress)?;
            bar.finish_and_clear();
            print_protected(to, &translator.report);
            finish(translated)?;
        }
    } else {
        for (to, path) in args.provider.parallel.iter().filter(|(to, _)| wanted(to)) {
            finish(parallel(&source, &Dataset::read(path)?, *to)?)?;
        }
    }
    if empty.is_empty() {
        return Ok(());
    }
    let languages: Vec<String> = empty.iter().map(Language::to_string).collect();
    let report = args.out.join(report::NAME);
    let hint = format!(
        "no question was kept for {}; {} has the reasons",
        languages.join(", "),
        report.display()
    );
    Err(Error::Empty { hint })
}

/// Refuses a list that names a language twice.
fn each_once<'l>(languages: impl IntoIterator<Item = &'l Language>) -> Done {
    let mut seen = BTreeSet::new();
    match languages.into_iter().find(|language| !seen.insert(**language)) {
        Some(&language) => {
            let problem = "is named twice; name each once".into();
            Err(Error::Language { language, problem })
        }
        None => Ok(()),
    }
}

impl Args {
    /// The two files of a language: its passages with its questions, the source's with them.
    fn paths(&self, to: Language) -> [PathBuf; 2] {
        [to, self.from].map(|context| {
            let name = DatasetName { split: self.split.clone(), context, question: to };
            self.out.join(name.to_string())
        })
    }
}

/// Writes the files of a language and its part of the report, together. Without a question that
/// was kept there is the report alone, and files of an earlier run stay.
fn write(args: &Args, translated: Translated) -> Done {
    let refuse = |path| Error::io(path, "write the file");
    std::fs::create_dir_all(&args.out).map_err(refuse(&args.out))?;
    let mut together = Together::default();
    let Translated { language, dataset, questions, report } = translated;
    if report.kept() > 0 {
        for (path, dataset) in args.paths(language).iter().zip([dataset, questions]) {
            together.add(path, dataset.to_json(path)?).map_err(refuse(path))?;
        }
    }
    report::publish(&args.out, language, report, together)
}

/// Where translations come from; a server's are kept in a file.
enum Origin {
    File(FileTranslator),
    Server(HttpConfig, Option<String>),
    /// With the model's name.
    Chat(ChatConfig, String, Option<String>),
}

impl Origin {
    fn new(args: &Args) -> Result<Self, Error> {
        if let Some(path) = &args.provider.file {
            return Ok(Self::File(FileTranslator::read(path, args.missing)?));
        }
        let key = args.api_key_env.as_ref().map(|name| {
            std::env::var(name).map_err(|_| Error::Config {
                key: "api_key_env",
                value: name.clone(),
                rule: "the name of an environment variable that is set",
            })
        });
        let key = key.transpose()?;
        if let Some(url) = &args.provider.chat {
            let config = ChatConfig {
                url: url.clone(),
                timeout_seconds: args.timeout,
                attempts: args.attempts,
                first_wait_seconds: args.first_wait,
                requests_per_minute: args.requests_per_minute,
                most_requests: args.most_requests,
                ..ChatConfig::default()
            };
            return Ok(Self::Chat(config, args.model.clone().unwrap_or_default(), key));
        }
        let config = HttpConfig {
            url: args.provider.server.clone().unwrap_or_default(),
            batch_size: args.batch_size,
            timeout_seconds: args.timeout,
            attempts: args.attempts,
            first_wait_seconds: args.first_wait,
            codes: args.codes.iter().cloned().collect(),
            ..HttpConfig::default()
        };
        Ok(Self::Server(config, key))
    }
}

fn print(to: Language, report: &TranslateReport) {
    let mut line = format!(
        "{to}: {} of {} kept ({} by markers, {} by search, {} given), skip ratio {:.4}",
        report.kept(),
        report.source,
        report.by_markers,
        report.by_search,
        report.given,
        report.skip_ratio()
    );
    for (reason, count) in report.discarded.by_reason() {
        if count > 0 {
            line.push_str(&format!("; {reason}: {count}"));
        }
    }
    say(&line);
}

fn print_protected(to: Language, report: &ProtectReport) {
    if report.protected == 0 {
        return;
    }
    let ProtectReport { protected, lost, doubled, by_segments, rejected, .. } = report;
    say(&format!(
        "{to}: {protected} texts with protected parts, {lost} came back without one, {doubled} \
         with one twice; {by_segments} translated in pieces, {rejected} left out"
    ));
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Questions => "questions",
        Stage::MarkedPassages => "marked passages",
        Stage::Passages => "passages",
        Stage::Answers => "answers",
    }
}

/// `de=…`.
fn pair<T: From<String>>(text: &str) -> Result<(Language, T), String> {
    let (language, value) = text.split_once('=').ok_or("expected LANG=VALUE")?;
    let language: Language = language.parse().map_err(|error: LanguageError| error.to_string())?;
    Ok((language, value.to_owned().into()))
}
