//! How well answers are found again in translations, without markers: XQuAD's gold answers in English against those in
//! its other languages.
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use examples::cli;
use examples::machine::Machine;
use examples::results::{write_json, write_text};
use mlqa_eval::{
    Answer, Dataset, Language, Normalization, Predictions, Question, TableOrder, score,
};
use qa_translate::{Links, Occurrence, SearchConfig, parallel, search};
use serde::Serialize;
use tasks::alignment::{AlignmentConfig, AnswerAligner, EncodedText, HiddenStates};
use xlmr_model::{LoadOptions, Pretrained};

/// Measures projection of answer spans and search of answers on parallel data.
#[derive(Parser)]
#[command(after_help = "Examples:
  projection --out runs/projection
  projection --model xlm-roberta-base --layer 8 --out runs/projection-xlmr
  projection --languages de,es --distortion 1 --out runs/projection-near")]
struct Args {
    /// The encoder: a Hugging Face folder with tokenizer.json.
    #[arg(long, default_value = "data/base")]
    model: PathBuf,
    /// Folder with xquad.<lang>.json.
    #[arg(long, default_value = "data/xquad")]
    data: PathBuf,
    /// Languages beside English.
    #[arg(long, value_delimiter = ',', default_value = "es,de,ar,hi,vi,zh", value_name = "LANG,…")]
    languages: Vec<Language>,
    /// Takes the states of this layer, from 1; 0 is the embeddings.
    #[arg(long, conflicts_with = "mean_of_last")]
    layer: Option<usize>,
    /// Takes the mean of so many last layers' states.
    #[arg(long, default_value_t = 2)]
    mean_of_last: usize,
    /// Leaves each text's mean state in.
    #[arg(long)]
    no_centre: bool,
    /// Prefers tokens at like places by so much.
    #[arg(long, default_value_t = 0.0)]
    distortion: f64,
    /// Takes the best target token of each source token, mutual or not.
    #[arg(long)]
    source_best: bool,
    /// Unlinked tokens allowed within an answer.
    #[arg(long, default_value_t = 3)]
    max_gap: usize,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// CPU threads; 0: one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// The folder for table.md and summary.json.
    #[arg(long, default_value = "runs/projection")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    torch_ext::passive_omp_wait();
    cli::exit(run(&args))
}

/// Ways to find an answer, in the order of the table.
const METHODS: [(&str, &str); 5] = [
    ("projection", "projection"),
    ("english_unique", "English answer, once in the passage"),
    ("english_nearest", "English answer, nearest occurrence"),
    ("gold_unique", "gold answer, once in the passage"),
    ("gold_nearest", "gold answer, nearest occurrence"),
];

/// One method in one language, in percent of all questions.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    questions: usize,
    found: f64,
    exact_span: f64,
    exact_match: f64,
    f1: f64,
}

#[derive(Serialize)]
struct Summary<'a> {
    model: &'a Path,
    config: &'a AlignmentConfig,
    /// By language and method.
    languages: BTreeMap<TableOrder, BTreeMap<&'static str, Measured>>,
}

fn run(args: &Args) -> Result<()> {
    let machine = Machine::set_up(&args.device, args.threads, "auto")?;
    let (base, _) = Pretrained::load(&args.model, &[], machine.device, LoadOptions::default())?;
    let mut config = AlignmentConfig {
        states: args.layer.map_or(HiddenStates::MeanOfLast(args.mean_of_last), HiddenStates::Layer),
        center: !args.no_centre,
        distortion: args.distortion,
        ..AlignmentConfig::default()
    };
    config.project.max_gap = args.max_gap;
    if args.source_best {
        config.project.links = Links::SourceBest;
    }
    let aligner = AnswerAligner::new(&base.model, &base.tokenizer, base.specials, config.clone())?;
    let file = |language| args.data.join(format!("xquad.{language}.json"));
    let english = Dataset::read(file(Language::EN))?;
    english.check_answers()?;
    let mut sources = Passages::new(&aligner);
    let mut languages = BTreeMap::new();
    for &language in &args.languages {
        ensure!(language != Language::EN, "--languages: English is the source");
        let translated = parallel(&english, &Dataset::read(file(language))?, language)?;
        let left_out = translated.report.discarded.total();
        let target = translated.dataset;
        cli::say(format!("{language}: {} questions, {left_out} left out", target.questions.len()))?;
        languages.insert(TableOrder(language), measure(&mut sources, &english, &target, language)?);
    }
    let summary = Summary { model: &args.model, config: &config, languages };
    let table = table(&summary, &args.languages);
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    write_text(&args.out.join("table.md"), &table)?;
    write_json(&args.out.join("summary.json"), &summary)?;
    cli::say(format!("\n{table}\nEverything is in {}.", args.out.display()))
}

/// Encoded passages by their text.
struct Passages<'a> {
    aligner: &'a AnswerAligner<'a>,
    known: BTreeMap<String, EncodedText>,
}

impl<'a> Passages<'a> {
    fn new(aligner: &'a AnswerAligner<'a>) -> Self {
        Self { aligner, known: BTreeMap::new() }
    }

    fn add(&mut self, text: &str) -> Result<()> {
        if !self.known.contains_key(text) {
            self.known.insert(text.to_owned(), self.aligner.encode(text)?);
        }
        Ok(())
    }

    fn get(&self, text: &str) -> Result<&EncodedText> {
        self.known.get(text).context("passage")
    }
}

fn measure(
    sources: &mut Passages<'_>,
    english: &Dataset,
    target: &Dataset,
    language: Language,
) -> Result<BTreeMap<&'static str, Measured>> {
    let aligner = sources.aligner;
    let by_id: BTreeMap<&str, &Question> =
        english.questions.iter().map(|one| (one.id.as_str(), one)).collect();
    let mut targets = Passages::new(aligner);
    let mut similarity = None;
    let mut found: BTreeMap<&'static str, BTreeMap<&str, Answer>> = BTreeMap::new();
    for own in &target.questions {
        let source = by_id.get(own.id.as_str()).context("id")?;
        let (answer, gold) = (first(source)?, first(own)?);
        sources.add(&source.context)?;
        targets.add(&own.context)?;
        let (from, to) = (sources.get(&source.context)?, targets.get(&own.context)?);
        // Questions of a paragraph follow each other and share its similarities.
        let pair = (source.context.to_string(), own.context.to_string());
        let similarity = match &mut similarity {
            Some((of, known)) if *of == pair => known,
            other => &mut other.insert((pair, aligner.similarity(from, to)?)).1,
        };
        let span = answer.answer_start..answer.answer_start + answer.text.chars().count();
        let projected = aligner.project(similarity, from, span, to)?.map(|span| Answer {
            text: own.context.chars().skip(span.start).take(span.len()).collect(),
            answer_start: span.start,
        });
        let length = source.context.chars().count().max(1);
        let position = answer.answer_start as f64 / length as f64;
        let searched = |text: &str, occurrence| {
            let config = SearchConfig { occurrence, ..SearchConfig::default() };
            search(&own.context, text, position, &config).ok()
        };
        for (method, answer) in [
            ("projection", projected),
            ("english_unique", searched(&answer.text, Occurrence::Unique)),
            ("english_nearest", searched(&answer.text, Occurrence::Nearest)),
            ("gold_unique", searched(&gold.text, Occurrence::Unique)),
            ("gold_nearest", searched(&gold.text, Occurrence::Nearest)),
        ] {
            let own_answers = found.entry(method).or_default();
            own_answers.extend(answer.map(|answer| (own.id.as_str(), answer)));
        }
    }
    let of_method = |(method, answers): (&'static str, BTreeMap<&str, Answer>)| {
        Ok((method, measured(&answers, target, language)?))
    };
    found.into_iter().map(of_method).collect()
}

fn first(question: &Question) -> Result<&Answer> {
    question.answers.first().with_context(|| format!("question {}: no answer", question.id))
}

fn measured(
    answers: &BTreeMap<&str, Answer>,
    target: &Dataset,
    language: Language,
) -> Result<Measured> {
    let texts = answers.iter().map(|(id, answer)| ((*id).to_owned(), answer.text.clone()));
    let score = score(target, &Predictions(texts.collect()), Normalization::Mlqa(language))?;
    let same = |one: &&Question| answers.get(one.id.as_str()) == one.answers.first();
    let exact = target.questions.iter().filter(same).count();
    let percent = |count: usize| 100.0 * count as f64 / target.questions.len() as f64;
    Ok(Measured {
        questions: target.questions.len(),
        found: percent(answers.len()),
        exact_span: percent(exact),
        exact_match: score.exact_match,
        f1: score.f1,
    })
}

/// A row for each method: exact spans and F1 by language, and their means.
fn table(summary: &Summary<'_>, languages: &[Language]) -> String {
    let mut out = String::from("| exact span / F1 |");
    for language in languages {
        let _ = write!(out, " {language} |");
    }
    let _ = write!(out, " mean |\n|---|{}", "---:|".repeat(languages.len() + 1));
    for (method, name) in METHODS {
        let of = |language: &Language| {
            summary.languages.get(&TableOrder(*language)).and_then(|all| all.get(method))
        };
        let own: Vec<&Measured> = languages.iter().filter_map(of).collect();
        let _ = write!(out, "\n| {name} |");
        for one in &own {
            let _ = write!(out, " {:.1} / {:.1} |", one.exact_span, one.f1);
        }
        let mean = |of: fn(&Measured) -> f64| {
            own.iter().map(|one| of(one)).sum::<f64>() / own.len().max(1) as f64
        };
        let _ = write!(out, " {:.1} / {:.1} |", mean(|one| one.exact_span), mean(|one| one.f1));
    }
    out.push('\n');
    out
}
