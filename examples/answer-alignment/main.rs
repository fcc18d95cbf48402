//! How well answers are found again in translations, without markers: XQuAD's gold answers in
//! English against those in its other languages, and the entities of Universal NER.
mod cases;
mod measure;
mod placements;
mod report;
mod ways;

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use experiment::{RunConfig, Runtime, log, write_json, write_text};
use measure::Measurement;
use mlqa_eval::{Dataset, Language};
use placements::{Case, Placements, overlap};
use qa_translate::{Links, parallel};
use report::Summary;
use tasks::alignment::{AlignmentConfig, AnswerAligner, HiddenStates};
use tasks::text_scores::{EncoderScorer, ScorerConfig};
use ways::Ways;
use xlmr_model::{Head, LoadOptions, Pretrained};

/// The languages of Universal NER's PUD beside English.
const ENTITIES: [Language; 2] = [Language::DE, Language::ZH];

/// Measures alignment of answers and search of answers on parallel data.
#[derive(Parser)]
#[command(after_help = "Examples:
  answer-alignment --out runs/answer-alignment
  answer-alignment --model xlm-roberta-base --layer 8 --out runs/alignment-xlmr
  answer-alignment --languages de,es --distortion 1 --out runs/alignment-near")]
struct Args {
    /// The encoder: a Hugging Face folder with tokenizer.json.
    #[arg(long, default_value = "data/base")]
    model: PathBuf,
    /// Folder with xquad.<lang>.json.
    #[arg(long, default_value = "data/xquad")]
    data: PathBuf,
    /// Folder with Universal NER's <lang>_pud.test.iob2.gz.
    #[arg(long, default_value = "data/uner")]
    entities: PathBuf,
    /// Folder with PUD's sentences, <lang>.tsv, which tell what translates what.
    #[arg(long, default_value = "data/pud")]
    sentences: PathBuf,
    /// Languages beside English.
    #[arg(long, value_delimiter = ',', default_value = "es,de,ar,hi,vi,zh", value_name = "LANG,…")]
    languages: Vec<Language>,
    /// Takes the states of this layer, from 1; 0 is the embeddings.
    #[arg(long, conflicts_with = "mean_of_last")]
    layer: Option<usize>,
    /// Takes the mean of the states of so many last layers.
    #[arg(long, default_value_t = 2)]
    mean_of_last: usize,
    /// Leaves each text's mean state in.
    #[arg(long, alias = "no-centre")]
    no_center: bool,
    /// Prefers tokens at like positions by so much.
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
    #[arg(long, default_value = "runs/answer-alignment")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    torch_ext::passive_omp_wait();
    experiment::exit(run(&args))
}

fn run(args: &Args) -> Result<()> {
    ensure!(!args.languages.contains(&Language::EN), "--languages: English is the source");
    let (device, threads) = (args.device.clone(), args.threads);
    let runtime = Runtime::set_up(&RunConfig { device, threads, ..RunConfig::default() })?;
    let options = LoadOptions::default();
    let heads = [Head::MaskedLm];
    let (base, loaded) = Pretrained::load(&args.model, &heads, runtime.device, options)?;
    let config = args.config();
    let aligner = AnswerAligner::new(&base.model, &base.tokenizer, base.specials, config.clone())?;
    let scorer = || EncoderScorer::new(&base.model, &base.tokenizer, ScorerConfig::default());
    let scorer = loaded.missing.is_empty().then(scorer).transpose()?;
    if scorer.is_none() {
        log("The model has no masked-LM head: what needs its scores is left out.");
    }
    let ways = Ways { aligner: &aligner, project: &config.project, scorer };

    let file = |language| args.data.join(format!("xquad.{language}.json"));
    let english = Dataset::read(file(Language::EN))?;
    english.check_answers()?;
    let mut summary = Summary::new(&args.model, &config);
    let mut measurement = Measurement::new(&aligner, &english);
    let (mut placements, mut entities) = (Placements::default(), Placements::default());
    for &language in &args.languages {
        let translated = parallel(&english, &Dataset::read(file(language))?, language)?;
        let (left_out, target) = (translated.report.discarded.total(), translated.dataset);
        log(format!("{language}: {} questions, {left_out} left out", target.questions.len()));
        summary.add(language, measurement.scores(&target, language)?);
        let cases = cases::answers(&english, &target, language)?;
        let f1 = |case: &Case, span: &Range<usize>| cases::f1(&target, language, case, span);
        placements.add(&ways, &cases, language, f1)?;
    }
    let both: Vec<Language> =
        args.languages.iter().copied().filter(|one| ENTITIES.contains(one)).collect();
    for &language in &both {
        let cases = cases::pud_entities(&args.entities, &args.sentences, language)?;
        log(format!("{language}: {} entities", cases.len()));
        entities.add(&ways, &cases, language, |case, span| {
            Ok(f64::from(u8::from(case.gold.iter().any(|gold| overlap(gold, span)))))
        })?;
    }
    let table = summary.table(&args.languages);
    write_text(args.out.join("table.md"), &table)?;
    let mut tables = table.clone();
    for (name, measured, title, partial, languages) in [
        ("placements", &placements, "exact spans, %", "F1", &args.languages),
        ("entities", &entities, "exact entities, %", "overlap", &both),
    ] {
        let table = measured.table(title, partial, languages);
        write_text(args.out.join(format!("{name}.md")), &table)?;
        write_json(args.out.join(format!("{name}.json")), measured)?;
        tables = format!("{tables}\n{table}");
    }
    write_json(args.out.join("summary.json"), &summary)?;
    log(format!("\n{tables}\nEverything is in {}.", args.out.display()));
    Ok(())
}

impl Args {
    fn config(&self) -> AlignmentConfig {
        let mut config = AlignmentConfig {
            states: self.layer.map_or(HiddenStates::MeanOfLast(self.mean_of_last), |layer| {
                HiddenStates::Layer(layer)
            }),
            center: !self.no_center,
            distortion: self.distortion,
            ..AlignmentConfig::default()
        };
        config.project.max_gap = self.max_gap;
        if self.source_best {
            config.project.links = Links::SourceBest;
        }
        config
    }
}
