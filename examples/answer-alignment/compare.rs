//! Comparison of all methods on XQuAD, or on other parallel data with known answers.
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use experiment::{log, write_json, write_text};
use mlqa_eval::{Dataset, Language};
use qa_translate::{ParallelTexts, align_by_id};
use results::Measured;

use crate::cases::{self, Articles, Case};
use crate::encoder::{Encoder, EncoderArgs};
use crate::methods::{MethodGroup, Methods};
use crate::placements::Placements;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    encoder: EncoderArgs,
    /// Folder with xquad.<lang>.json
    #[arg(long, default_value = "data/xquad", value_name = "DIR")]
    data: PathBuf,
    /// Languages other than English
    #[arg(long, value_delimiter = ',', default_value = "es,de,ar,hi,vi,zh", value_name = "LANG,…", value_parser = Language::registered)]
    languages: Vec<Language>,
    /// Methods to evaluate
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_values_t = MethodGroup::ALL,
        hide_default_value = true,
        value_name = "METHOD,…"
    )]
    methods: Vec<MethodGroup>,
    /// Layers whose hidden states are compared, from 1; 0: embeddings [default: the mean of the last
    /// two layers]
    #[arg(long, value_delimiter = ',', value_name = "N,…")]
    layers: Vec<usize>,
    /// Articles whose questions are evaluated. Choose a layer on `selection`, every fourth article,
    /// and report it on `evaluation`, the other articles
    #[arg(long, value_enum, default_value = "all")]
    articles: Articles,
    /// Maximum number of questions per language; evenly spaced questions are selected
    #[arg(long, default_value_t = 200, value_name = "N")]
    questions: usize,
    /// Folder with word alignments <lang>.txt: links i-j, one line per pair of texts of
    /// `qa-translate place --pairs`
    #[arg(long, value_name = "DIR")]
    alignments: Option<PathBuf>,
    /// Output folder for table.md, numbers.jsonl and placements.json
    #[arg(long, default_value = "runs/answer-alignment", value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    ensure!(!args.languages.contains(&Language::EN), "--languages: English is the source");
    ensure!(args.questions > 0, "--questions 0: give 1 or more");
    let encoder = Encoder::load(&args.encoder)?;
    let mut methods = Methods::new(&encoder, &args.methods, &args.layers)?;
    if methods.lacks_scorer() {
        log("The model has no masked-LM head: methods that need its scores are skipped.");
    }
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
        let cases =
            cases::select_cases(&english, &target, language, args.articles, args.questions)?;
        let f1 = |case: &Case, span: &Range<usize>| cases::f1(&target, language, case, span);
        placements.evaluate(&methods, &cases, language, f1)?;
    }
    let tables = placements.tables(&args.languages);
    write_text(args.out.join("table.md"), &tables)?;
    Measured::write(args.out.join("numbers.jsonl"), &placements.numbers(&args.languages))?;
    write_json(args.out.join("placements.json"), &placements)?;
    log(format!("\n{tables}\nFiles are in {}.", args.out.display()));
    Ok(())
}
