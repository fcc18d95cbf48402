//! Options for the source of translations, and the translator of each language.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mlqa_eval::Language;
use qa_translate::{
    Cached, ChatTranslator, Error, FileTranslator, HttpTranslator, MarkerNotation, MissingText,
    NotationScore, Occurrence, Protected, ReplyReport, SearchConfig, ServerConfig, Stage,
    Translator, TypedText, best_notation, compare_notations, sample_sentences,
};
use serde::Deserialize;

use crate::{CommandResult, parse_name, print_line};

/// Options of the commands that translate.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    provider: Provider,
    /// How to handle texts that --file does not contain or the server rejects with status 400, 413
    /// or 422: error or skip
    #[arg(long, default_value = "error", value_parser = parse_name::<MissingText>)]
    missing: MissingText,
    /// JSONL file that caches the server's translations [default: one per language]
    #[arg(long, value_name = "FILE.jsonl", conflicts_with = "file")]
    cache: Option<PathBuf>,
    /// Name of the translator in the cache, to reuse translations after the server has moved
    /// [default: address, model and version of the prompt]
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    provider_name: Option<String>,
    /// Environment variable with the server's API key
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    api_key_env: Option<String>,
    /// Model name on the --chat server
    #[arg(long, value_name = "NAME", requires = "chat")]
    model: Option<String>,
    /// Maximum number of tokens of a reply of the --chat server [default: the server's]
    #[arg(long, value_name = "N", requires = "chat")]
    max_tokens: Option<u32>,
    /// Number of texts per request
    #[arg(long, default_value_t = 16, requires = "server")]
    batch_size: usize,
    /// Timeout of a request in seconds
    #[arg(long, default_value_t = ServerConfig::default().timeout_seconds, conflicts_with = "file")]
    timeout: f64,
    /// Maximum number of attempts per request
    #[arg(long, default_value_t = ServerConfig::default().attempts, conflicts_with = "file")]
    attempts: u32,
    /// Seconds before the first retry; doubled for each further retry
    #[arg(long, default_value_t = ServerConfig::default().first_wait_seconds, conflicts_with = "file")]
    first_wait: f64,
    /// If a translated answer or entity occurs more than once, select the occurrence whose relative
    /// position is nearest to the position in the source
    #[arg(long)]
    nearest: bool,
    /// Form of the markers around answers or entities: brackets `([ ])`, tags `<m> </m>`, quotes, or
    /// none to translate without markers and search for the translated answer. With auto, 100
    /// sentences are translated in each form, and the best form is used
    #[arg(long, default_value = "brackets", value_parser = parse_name::<Markers>)]
    markers: Markers,
    /// Leave code between backticks, LaTeX formulas, addresses, placeholders such as {name} and %s,
    /// tags, numbers and markers unchanged. The translator gets ⟦0⟧, ⟦1⟧, … instead. Texts whose
    /// placeholders are missing, changed or repeated in the translation are reported and skipped
    #[arg(long)]
    protect: bool,
    /// File of names to leave unchanged, too, one per line
    #[arg(long, value_name = "FILE", requires = "protect")]
    protect_names: Option<PathBuf>,
}

/// Form of the markers around spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Markers {
    Auto,
    None,
    #[serde(untagged)]
    Notation(MarkerNotation),
}

/// Number of sentences that are translated to select the form of the markers.
const SAMPLE_SENTENCES: usize = 100;

#[derive(clap::Args)]
#[group(id = "provider", required = true, multiple = false)]
struct Provider {
    /// Translations, JSONL: {"from": "en", "to": "de", "source": "…", "target": "…"}
    #[arg(long, value_name = "FILE.jsonl")]
    file: Option<PathBuf>,
    /// LibreTranslate-compatible server
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// OpenAI-compatible server with a language model; each request has one text
    #[arg(long, value_name = "URL", requires = "model")]
    chat: Option<String>,
}

/// A source of translations. Translations by a server are cached in a file.
enum Source {
    File(FileTranslator),
    /// The configuration of a server, and its API key.
    Server(ServerConfig, Option<String>),
}

/// Callback with the stage, the number of finished texts and the total number of texts.
pub type OnProgress<'a> = &'a dyn Fn(Stage, usize, usize);

impl Options {
    /// Returns the options of the span search.
    pub fn search(&self) -> SearchConfig {
        let occurrence = if self.nearest { Occurrence::Nearest } else { Occurrence::Unique };
        SearchConfig { occurrence }
    }

    /// Returns whether texts are translated without markers.
    pub fn is_unmarked(&self) -> bool {
        self.markers == Markers::None
    }

    /// Returns the form of the markers for a translator. Prints the comparison of `auto`, which
    /// translates sentences of `texts`.
    pub fn notation(
        &self,
        texts: impl FnOnce() -> Vec<TypedText>,
        from: Language,
        to: Language,
        translator: &mut dyn Translator,
    ) -> Result<Option<MarkerNotation>, Error> {
        match self.markers {
            Markers::None => Ok(None),
            Markers::Notation(notation) => Ok(Some(notation)),
            Markers::Auto => {
                let sample = sample_sentences(&texts(), SAMPLE_SENTENCES);
                let scores = compare_notations(&sample, from, to, translator)?;
                // The report of a run counts only the texts of its data.
                drop(translator.take_reply_report());
                for score in &scores {
                    let NotationScore { notation, sentences, .. } = score;
                    print_line(&format!(
                        "{to}: {notation}: {} of {sentences} translations unchanged by markers, {} \
                         recovered, {} equal to a separate translation, {} unchanged and equal",
                        score.unchanged,
                        score.recovered,
                        score.confirmed,
                        score.unchanged_and_confirmed
                    ));
                }
                Ok(best_notation(&scores))
            }
        }
    }

    fn source(&self) -> Result<Source, Error> {
        if let Some(path) = &self.provider.file {
            return Ok(Source::File(FileTranslator::read(path, self.missing)?));
        }
        let key = self.api_key_env.as_ref().map(|name| {
            std::env::var(name).map_err(|_| Error::Config {
                key: "api_key_env",
                value: name.clone(),
                rule: "the name of an environment variable that is set",
            })
        });
        let key = key.transpose()?;
        let url = self.provider.chat.as_ref().or(self.provider.server.as_ref());
        let config = ServerConfig {
            url: url.map_or_else(String::new, Clone::clone), // a file has no address
            timeout_seconds: self.timeout,
            attempts: self.attempts,
            first_wait_seconds: self.first_wait,
            ..ServerConfig::default()
        };
        Ok(Source::Server(config, key))
    }

    /// Reads the names of `--protect-names`.
    fn protected_names(&self) -> Result<Vec<String>, Error> {
        let Some(path) = &self.protect_names else { return Ok(Vec::new()) };
        let text = atomic_file::read_to_string(path)?;
        Ok(text.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// For each language, calls `translate` with a translator and a progress callback, and then
    /// calls `finish` with the result. `cache` returns the default path of a language's cache.
    pub fn for_each_language<T>(
        &self,
        languages: &[Language],
        cache: impl Fn(Language) -> PathBuf,
        mut translate: impl FnMut(Language, &mut dyn Translator, OnProgress<'_>) -> Result<T, Error>,
        mut finish: impl FnMut(Language, T) -> CommandResult,
    ) -> CommandResult {
        let mut source = self.source()?;
        let names = self.protected_names()?;
        for &to in languages {
            let bar = cli::progress(0, "");
            let progress = |stage, done: usize, total: usize| {
                bar.set_message(format!("{to} {}", stage_name(stage)));
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            };
            // Each language has a separate cache, so that several runs can translate in parallel.
            let cache = self.cache.clone().unwrap_or_else(|| cache(to));
            let (mut http, mut chat);
            let mut cached;
            let translator: &mut dyn Translator = match &mut source {
                Source::File(file) => file,
                Source::Server(config, key) => {
                    let server: &mut dyn Translator = match &self.model {
                        Some(model) => {
                            chat = ChatTranslator::new(config.clone(), model, key.as_deref())?
                                .with_max_tokens(self.max_tokens)
                                .with_missing(self.missing);
                            &mut chat
                        }
                        None => {
                            let (config, key) = (config.clone(), key.clone());
                            http = HttpTranslator::new(config, self.batch_size, key)?
                                .with_missing(self.missing);
                            &mut http
                        }
                    };
                    let identity = self.provider_name.clone().or_else(|| server.identity());
                    cached = Cached::open_as(server, &cache, identity)?;
                    note_other_translations(&cache, cached.other_translations());
                    &mut cached
                }
            };
            let mut protected;
            let translator: &mut dyn Translator = match self.protect {
                true => {
                    protected = Protected::new(translator, names.clone());
                    &mut protected
                }
                false => translator,
            };
            let result = translate(to, translator, &progress)?;
            bar.finish_and_clear();
            finish(to, result)?;
        }
        Ok(())
    }
}

/// Prints a note if a cache has translations of other translators.
fn note_other_translations(cache: &Path, count: usize) {
    if count > 0 {
        eprintln!(
            "note: {}: {count} translations by another translator are not used",
            cache.display()
        );
    }
}

/// Formats the counts of cleaned and rejected replies, to append to a line.
pub fn format_replies(replies: &ReplyReport) -> String {
    let mut text = String::new();
    if replies.split > 0 {
        text.push_str(&format!("; splits of long texts: {}", replies.split));
    }
    for (part, count) in &replies.removed {
        text.push_str(&format!("; replies with {part} removed: {count}"));
    }
    for (reason, count) in &replies.rejected {
        text.push_str(&format!("; texts without translation, {reason}: {count}"));
    }
    text
}

/// Rejects a list that contains a language twice.
pub fn check_unique<'l>(languages: impl IntoIterator<Item = &'l Language>) -> CommandResult {
    let mut distinct = BTreeSet::new();
    match languages.into_iter().find(|language| !distinct.insert(**language)) {
        Some(&language) => {
            let problem = "is listed twice; list each language once".into();
            Err(Error::Language { language, problem })
        }
        None => Ok(()),
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Questions => "questions",
        Stage::MarkedPassages => "marked passages",
        Stage::Passages => "passages",
        Stage::Answers => "answers",
    }
}

/// Parses `LANG=VALUE`.
pub fn parse_pair<T: From<String>>(text: &str) -> Result<(Language, T), String> {
    let (language, value) = text.split_once('=').ok_or("expected LANG=VALUE")?;
    let language = Language::registered(language).map_err(|error| error.to_string())?;
    Ok((language, value.to_owned().into()))
}
