//! Compares methods that project answer spans into translations, on XQuAD's English answers.
mod cases;
mod methods;
mod placements;

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use cases::Case;
use clap::Parser;
use experiment::{RunConfig, Runtime, log, write_json, write_text};
use methods::Methods;
use mlqa_eval::{Dataset, Language};
use placements::Placements;
use qa_translate::{ParallelTexts, ProjectionConfig, Symmetrization, align_by_id};
use tasks::alignment::{AlignmentConfig, AnswerAligner, HiddenStates};
use tasks::text_scores::{EncoderScorer, ScorerConfig};
use xlmr_model::{Head, LoadOptions, Pretrained};

/// Compares methods that project answer spans into translations, on parallel data.
#[derive(Parser)]
#[command(after_help = "Examples:
  answer-alignment --out runs/answer-alignment
  answer-alignment --model xlm-roberta-base --layer 8 --out runs/alignment-xlmr
  answer-alignment --languages de,es --out runs/alignment-near")]
struct Args {
    /// The encoder: a Hugging Face folder with tokenizer.json.
    #[arg(long, default_value = "data/base")]
    model: PathBuf,
    /// Folder with xquad.<lang>.json.
    #[arg(long, default_value = "data/xquad")]
    data: PathBuf,
    /// Languages other than English.
    #[arg(long, value_delimiter = ',', default_value = "es,de,ar,hi,vi,zh", value_name = "LANG,…")]
    languages: Vec<Language>,
    /// Layer whose hidden states are compared, from 1; 0: embeddings. Default: the mean of the last
    /// two layers.
    #[arg(long)]
    layer: Option<usize>,
    /// How similar tokens are linked: intersection or grow_diag.
    #[arg(long, default_value = "intersection", value_parser = parse_symmetrization)]
    links: Symmetrization,
    /// Folder with word alignments <lang>.txt: links i-j, one line per pair of texts of
    /// `qa-translate place --pairs`.
    #[arg(long, value_name = "DIR")]
    alignments: Option<PathBuf>,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// CPU threads; 0: one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// The folder to which placements.md and placements.json are written.
    #[arg(long, default_value = "runs/answer-alignment")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    torch_ext::configure_process();
    experiment::exit(run(&args))
}

fn parse_symmetrization(name: &str) -> Result<Symmetrization, String> {
    match name {
        "intersection" => Ok(Symmetrization::Intersection),
        "grow_diag" => Ok(Symmetrization::GrowDiag),
        _ => Err("expected intersection or grow_diag".into()),
    }
}

fn run(args: &Args) -> Result<()> {
    ensure!(!args.languages.contains(&Language::EN), "--languages: English is the source");
    let (device, threads) = (args.device.clone(), args.threads);
    let runtime = Runtime::set_up(&RunConfig { device, threads, ..RunConfig::default() })?;
    let options = LoadOptions::default();
    let heads = [Head::MaskedLm];
    let (base, load_report) = Pretrained::load(&args.model, &heads, runtime.device, options)?;
    let states = args.layer.map_or(HiddenStates::MeanOfLast(2), HiddenStates::Layer);
    let project = ProjectionConfig { symmetrization: args.links, ..ProjectionConfig::default() };
    let config = AlignmentConfig { states, project, ..AlignmentConfig::default() };
    let aligner =
        AnswerAligner::new(&base.model, &base.tokenizer, base.special_tokens, config.clone())?;
    let scorer = || EncoderScorer::new(&base.model, &base.tokenizer, ScorerConfig::default());
    let scorer = load_report.missing.is_empty().then(scorer).transpose()?;
    if scorer.is_none() {
        log("The model has no masked-LM head: methods that need its scores are skipped.");
    }
    let mut methods =
        Methods { aligner: &aligner, projection: &config.project, scorer, links: None };

    let xquad_file = |language| args.data.join(format!("xquad.{language}.json"));
    let english = Dataset::read(xquad_file(Language::EN))?;
    english.check_answers()?;
    let mut placements = Placements::default();
    for &language in &args.languages {
        let target = Dataset::read(xquad_file(language))?;
        if let Some(folder) = &args.alignments {
            let texts = ParallelTexts::of(&english, &target);
            let links = texts.read_alignments(folder.join(format!("{language}.txt")))?;
            methods.links = Some(links);
        }
        let translated = align_by_id(&english, &target, language)?;
        let (skipped, target) = (translated.report.discarded.total(), translated.dataset);
        log(format!("{language}: {} questions, {skipped} skipped", target.questions.len()));
        let cases = cases::select_cases(&english, &target, language)?;
        let f1 = |case: &Case, span: &Range<usize>| cases::f1(&target, language, case, span);
        placements.evaluate(&methods, &cases, language, f1)?;
    }
    let table = placements.table(&args.languages);
    write_text(args.out.join("placements.md"), &table)?;
    write_json(args.out.join("placements.json"), &placements)?;
    log(format!("\n{table}\nFiles are in {}.", args.out.display()));
    Ok(())
}
