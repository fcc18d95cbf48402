//! Where translations come from: the options, and a translator made of them for each language.
use std::collections::BTreeSet;
use std::path::PathBuf;

use mlqa_eval::{Language, LanguageError};
use qa_translate::{
    Cached, ChatConfig, ChatTranslator, Error, FileTranslator, HttpChat, HttpConfig,
    HttpTranslator, MissingText, Occurrence, Protect, ProtectConfig, ProtectReport, Protected,
    SearchConfig, Stage, Translator,
};
use whole_file::cli;

use crate::{Done, say, word};

/// Options of the commands that translate.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    provider: Provider,
    /// What a text that --file lacks means: error or skip
    #[arg(long, default_value = "error", value_parser = word::<MissingText>, requires = "file")]
    missing: MissingText,
    /// JSONL file that keeps what the server translated [default: one for each language]
    #[arg(long, value_name = "FILE.jsonl", conflicts_with = "file")]
    cache: Option<PathBuf>,
    /// Environment variable that holds the server's API key
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
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
    #[arg(long, value_delimiter = ',', value_name = "KIND,…", value_parser = word::<Protect>)]
    protect: Vec<Protect>,
    /// A name or term that stays as it is; may be given several times
    #[arg(long, value_name = "TEXT")]
    keep: Vec<String>,
    /// Languages that the server calls otherwise, as zh=zh-Hans
    #[arg(long, value_delimiter = ',', value_name = "LANG=CODE,…", value_parser = pair::<String>, requires = "server")]
    codes: Vec<(Language, String)>,
    /// Texts in a request
    #[arg(long, default_value_t = HttpConfig::default().batch_size, requires = "server")]
    batch_size: usize,
    /// Seconds that a request may take
    #[arg(long, default_value_t = HttpConfig::default().timeout_seconds, conflicts_with = "file")]
    timeout: f64,
    /// Requests for one batch before giving up
    #[arg(long, default_value_t = HttpConfig::default().attempts, conflicts_with = "file")]
    attempts: u32,
    /// Seconds before a request is repeated; doubled each time
    #[arg(long, default_value_t = HttpConfig::default().first_wait_seconds, conflicts_with = "file")]
    first_wait: f64,
    /// Take the occurrence at the nearest relative position where what is searched occurs more
    /// than once
    #[arg(long)]
    nearest: bool,
    /// Search without regard to case
    #[arg(long)]
    ignore_case: bool,
}

#[derive(clap::Args)]
#[group(id = "provider", required = true, multiple = false)]
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
}

/// Where translations come from; a server's are kept in a file.
enum Origin {
    File(FileTranslator),
    Server(HttpConfig, Option<String>),
    /// With the model's name.
    Chat(ChatConfig, String, Option<String>),
}

/// Told the stage, texts done and texts in all.
pub type Progress<'a> = &'a dyn Fn(Stage, usize, usize);

impl Options {
    /// How spans are searched.
    pub fn search(&self) -> SearchConfig {
        let occurrence = if self.nearest { Occurrence::Nearest } else { Occurrence::Unique };
        SearchConfig { occurrence, ignore_case: self.ignore_case }
    }

    fn origin(&self) -> Result<Origin, Error> {
        if let Some(path) = &self.provider.file {
            return Ok(Origin::File(FileTranslator::read(path, self.missing)?));
        }
        let key = self.api_key_env.as_ref().map(|name| {
            std::env::var(name).map_err(|_| Error::Config {
                key: "api_key_env",
                value: name.clone(),
                rule: "the name of an environment variable that is set",
            })
        });
        let key = key.transpose()?;
        if let Some(url) = &self.provider.chat {
            let config = ChatConfig {
                url: url.clone(),
                timeout_seconds: self.timeout,
                attempts: self.attempts,
                first_wait_seconds: self.first_wait,
                requests_per_minute: self.requests_per_minute,
                most_requests: self.most_requests,
                ..ChatConfig::default()
            };
            return Ok(Origin::Chat(config, self.model.clone().unwrap_or_default(), key));
        }
        let config = HttpConfig {
            url: self.provider.server.clone().unwrap_or_default(),
            batch_size: self.batch_size,
            timeout_seconds: self.timeout,
            attempts: self.attempts,
            first_wait_seconds: self.first_wait,
            codes: self.codes.iter().cloned().collect(),
            ..HttpConfig::default()
        };
        Ok(Origin::Server(config, key))
    }

    /// Calls `work` for each language with a translator and a progress bar to tell, then `finish`
    /// with what it gives; `cache` names the file of a language where the options do not.
    pub fn each<T>(
        &self,
        languages: &[Language],
        cache: impl Fn(Language) -> PathBuf,
        mut work: impl FnMut(Language, &mut dyn Translator, Progress<'_>) -> Result<T, Error>,
        mut finish: impl FnMut(Language, T) -> Done,
    ) -> Done {
        let mut origin = self.origin()?;
        for &to in languages {
            let bar = cli::progress(0, "");
            let progress = |stage, done: usize, total: usize| {
                bar.set_message(format!("{to} {}", stage_name(stage)));
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            };
            // A file for each language, so that several runs may work at once.
            let cache = self.cache.clone().unwrap_or_else(|| cache(to));
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
                kinds: self.protect.clone(),
                names: self.keep.clone(),
                ..ProtectConfig::default()
            };
            let mut translator = Protected::new(translator, protect);
            let result = work(to, &mut translator, &progress)?;
            bar.finish_and_clear();
            print_protected(to, &translator.report);
            finish(to, result)?;
        }
        Ok(())
    }
}

/// Refuses a list that names a language twice.
pub fn each_once<'l>(languages: impl IntoIterator<Item = &'l Language>) -> Done {
    let mut seen = BTreeSet::new();
    match languages.into_iter().find(|language| !seen.insert(**language)) {
        Some(&language) => {
            let problem = "is named twice; name each once".into();
            Err(Error::Language { language, problem })
        }
        None => Ok(()),
    }
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
pub fn pair<T: From<String>>(text: &str) -> Result<(Language, T), String> {
    let (language, value) = text.split_once('=').ok_or("expected LANG=VALUE")?;
    let language: Language = language.parse().map_err(|error: LanguageError| error.to_string())?;
    Ok((language, value.to_owned().into()))
}
