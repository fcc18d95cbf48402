use std::path::PathBuf;

use mlqa_eval::{Answer, Dataset, Language, Question};
use qa_translate::{
    Error, TranslateConfig, TranslateReport, Translated, TranslatedFolder, TypedSpan, TypedText,
    align_by_id, translate,
};

use crate::provider::{Options, check_unique, format_replies, parse_pair};
use crate::{CommandResult, format_dropped, print_line};

/// Translate a data set and project its answers
///
/// Files in --out for a translation from English (en) into German (de):
/// `{split}-context-de-question-de.json` has German questions, passages and answers;
/// `{split}-context-en-question-de.json` has German questions about the English passages.
/// `report.json` has the counts of all languages, including languages of earlier runs.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  qa-translate translate --in data/xquad/xquad.en.json --split xquad \\
    --parallel de=data/xquad/xquad.de.json,es=data/xquad/xquad.es.json \\
    --out translated
  qa-translate translate --in crates/testkit/fixtures/translate/en.json \\
    --to fr --file crates/testkit/fixtures/translate/fr.jsonl --out french
With a LibreTranslate-compatible server, or translations in a file:
  qa-translate translate --in train-v1.1.json --to de,es \\
    --server http://localhost:5000 --split train --out translated
  qa-translate translate --in train-v1.1.json --to de --missing skip \\
    --file translations.jsonl --out translated
With a language model behind an OpenAI-compatible server (llama.cpp, vLLM,
Ollama):
  qa-translate translate --in train-v1.1.json --to de --out translated \\
    --chat http://localhost:8080 --model gemma
With numbers, code and the names of a file unchanged:
  qa-translate translate --in train-v1.1.json --to de --out translated \\
    --server http://localhost:5000 --protect --protect-names names.txt

Translations of a server are cached after each batch, in cache.<language>.jsonl in
--out or in --cache; the same command resumes an interrupted run.")]
pub struct Args {
    /// Questions to translate, SQuAD JSON or rows
    #[arg(long = "in", value_name = "FILE")]
    source: PathBuf,
    /// Language of the source data
    #[arg(long, default_value = "en", value_name = "LANG", value_parser = Language::registered)]
    from: Language,
    /// Languages to translate into
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LANG,…",
        required_unless_present = "parallel", value_parser = Language::registered
    )]
    to: Vec<Language>,
    #[command(flatten)]
    options: Options,
    /// Existing translations in other languages, with the ids of --in
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LANG=FILE,…",
        value_parser = parse_pair::<PathBuf>,
        group = "provider",
        conflicts_with_all = [
            "missing", "cache", "provider_name", "api_key_env", "timeout", "attempts",
            "first_wait", "markers", "protect"
        ]
    )]
    parallel: Vec<(Language, PathBuf)>,
    /// Skip answers whose markers are lost instead of searching for them
    #[arg(long)]
    no_search: bool,
    /// Prefix of the file names
    #[arg(long, default_value = "train")]
    split: String,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: &Args) -> CommandResult {
    if args.no_search && args.options.is_unmarked() {
        return Err(Error::Config {
            key: "--markers",
            value: "none".into(),
            rule: "another value with --no-search; without markers, answers can only be searched",
        });
    }
    let parallel_languages = args.parallel.iter().map(|(to, _)| to);
    check_unique(&args.to)?;
    check_unique(parallel_languages.clone())?;
    let is_selected = |language| args.to.is_empty() || args.to.contains(language);
    if !args.parallel.is_empty() && !parallel_languages.clone().any(is_selected) {
        let hint = "--parallel has no file in a language of --to".to_owned();
        return Err(Error::Empty { hint });
    }
    let source = Dataset::read(&args.source)?;
    let output = TranslatedFolder { path: &args.out, split: &args.split, from: args.from };
    for &to in args.to.iter().chain(parallel_languages) {
        // The output is checked before the translation, which may take hours.
        output.check(to)?;
    }
    let mut languages_without_questions = Vec::new();
    let mut finish = |translated: Translated| -> CommandResult {
        languages_without_questions
            .extend((translated.report.kept() == 0).then_some(translated.language));
        print_and_write(&output, translated)
    };
    if args.parallel.is_empty() {
        let config = TranslateConfig {
            fall_back: !args.no_search,
            search: args.options.search(),
            ..TranslateConfig::default()
        };
        let cache = |to: Language| args.out.join(format!("cache.{to}.jsonl"));
        args.options.for_each_language(
            &args.to,
            cache,
            |to, translator, progress| {
                let texts = || source.questions.iter().map(typed_text).collect();
                let notation = args.options.notation(texts, args.from, to, translator)?;
                let config = TranslateConfig { notation, ..config.clone() };
                translate(&source, args.from, to, translator, &config, progress)
            },
            |_, translated| finish(translated),
        )?;
    } else {
        for (to, path) in args.parallel.iter().filter(|(to, _)| is_selected(to)) {
            finish(align_by_id(&source, &Dataset::read(path)?, *to)?)?;
        }
    }
    check_not_empty(&output, &languages_without_questions)
}

/// Returns an error if no question was kept for a language.
pub fn check_not_empty(
    output: &TranslatedFolder<'_>,
    languages_without_questions: &[Language],
) -> CommandResult {
    if languages_without_questions.is_empty() {
        return Ok(());
    }
    let languages: Vec<String> =
        languages_without_questions.iter().map(Language::to_string).collect();
    let report = output.report_path();
    let hint = format!(
        "no question was kept for {}; {} has the reasons",
        languages.join(", "),
        report.display()
    );
    Err(Error::Empty { hint })
}

/// Returns a passage with its answers that have an offset.
fn typed_text(question: &Question) -> TypedText {
    let with_offset = question.answers.iter().filter_map(Answer::span);
    let spans = with_offset.map(|span| TypedSpan { span, kind: "answer".into() }).collect();
    TypedText { text: question.context.to_string(), spans }
}

/// Prints the counts of a language, and writes its files and the report.
pub fn print_and_write(output: &TranslatedFolder<'_>, translated: Translated) -> CommandResult {
    print_summary(translated.language, &translated.report);
    output.write(translated)
}

fn print_summary(to: Language, report: &TranslateReport) {
    let unanswerable = match report.unanswerable {
        0 => String::new(),
        count => format!(", {count} unanswerable"),
    };
    let mut line = format!(
        "{to}: {} of {} kept ({} by markers, {} by search, {} from parallel data{unanswerable}), \
         skip ratio {:.4}",
        report.kept(),
        report.source,
        report.by_markers,
        report.by_search,
        report.from_parallel,
        report.skip_ratio()
    );
    for (reason, count) in report.discarded.by_reason() {
        if count > 0 {
            line.push_str(&format!("; {reason}: {count}"));
        }
    }
    if report.further_answers > 0 {
        line.push_str(&format!("; further answers: {}", report.further_answers));
    }
    line.push_str(&format_dropped("dropped answer", &report.dropped_answers));
    line.push_str(&format_replies(&report.replies));
    print_line(&line);
}
