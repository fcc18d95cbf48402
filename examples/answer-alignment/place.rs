//! The command `place`: projects the answers of a data set into its finished translation.
use std::path::PathBuf;

use anyhow::{Result, ensure};
use experiment::log;
use mlqa_eval::{Dataset, Language};
use qa_translate::{
    ByAlignment, FileTranslator, MissingText, PlaceSpans, ProjectionConfig, SpanTask,
    Symmetrization, TranslateReport, TranslatedFolder, place_answers, translate_plain,
};

use crate::encoder::{Encoder, EncoderArgs};
use crate::methods::{BySentence, OneByOne, marker_placer, t_projection};

/// Place answers in existing translations with an encoder
///
/// The command locates the answers of --in in translations without markers, and writes the files of
/// `qa-translate translate`: training questions in the language of the translation, and the counts.
/// With word alignments of another program, use `qa-translate place --alignment`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  answer-alignment place --in data/xquad/xquad.en.json --to es \\
    --translated data/xquad/xquad.es.json --out placed \\
    --model .pretrained/multilingual-e5-small --layer 8
With the translations of an earlier run without markers:
  qa-translate translate --in train-v1.1.json --to de --markers none \\
    --server http://localhost:5000 --out plain
  answer-alignment place --in train-v1.1.json --to de --file plain/cache.de.jsonl \\
    --model xlm-roberta-base --layer 8 --out placed")]
pub struct Args {
    /// Source questions with answers, SQuAD JSON or rows
    #[arg(long = "in", value_name = "FILE")]
    source: PathBuf,
    /// Language of the source data
    #[arg(long, default_value = "en", value_name = "LANG", value_parser = Language::registered)]
    from: Language,
    /// Language of the translation
    #[arg(long, value_name = "LANG", value_parser = Language::registered)]
    to: Language,
    #[command(flatten)]
    translations: Translations,
    /// Skip texts that --file does not contain
    #[arg(long, requires = "file")]
    skip_missing: bool,
    /// Method
    #[arg(long, value_enum, default_value = "alignment")]
    method: Method,
    #[command(flatten)]
    encoder: EncoderArgs,
    /// Layer whose hidden states `alignment` compares, from 1; 0: embeddings [default: the mean of
    /// the last two layers]
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// How `alignment` links similar tokens: intersection or grow_diag
    #[arg(long, default_value = "grow_diag", value_parser = crate::parse_symmetrization)]
    links: Symmetrization,
    /// Prefix of the file names
    #[arg(long, default_value = "train")]
    split: String,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Translations {
    /// Translated questions and passages with the ids of --in; answers are ignored
    #[arg(long, value_name = "FILE")]
    translated: Option<PathBuf>,
    /// Translations, JSONL: {"from": "en", "to": "de", "source": "…", "target": "…"}
    #[arg(long, value_name = "FILE.jsonl")]
    file: Option<PathBuf>,
}

/// A method that needs an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Method {
    /// The tokens that are most similar to the answer's tokens
    Alignment,
    /// The most probable positions of two markers; needs a masked-LM head
    Codec,
    /// The candidate span with the best score as a translation of the answer; needs a masked-LM head
    TProjection,
}

pub fn run(args: &Args) -> Result<()> {
    let folder = TranslatedFolder { path: &args.out, split: &args.split, from: args.from };
    folder.check(args.to)?;
    let source = Dataset::read(&args.source)?;
    let target = match (&args.translations.translated, &args.translations.file) {
        (Some(path), _) => Dataset::read(path)?,
        (None, Some(path)) => {
            let missing = if args.skip_missing { MissingText::Skip } else { MissingText::Error };
            let mut file = FileTranslator::read(path, missing)?;
            translate_plain(&source, args.from, args.to, &mut file, |_, _, _| {})?
        }
        (None, None) => unreachable!("one option of the group is required"),
    };
    let encoder = Encoder::load(&args.encoder)?;
    let aligner = encoder.aligner(args.layer)?;
    let mut placer: Box<dyn PlaceSpans + '_> = match args.method {
        Method::Alignment => {
            let config =
                ProjectionConfig { symmetrization: args.links, ..ProjectionConfig::default() };
            Box::new(ByAlignment { align: |task: &SpanTask| aligner.align(task), config })
        }
        Method::Codec => Box::new(BySentence(marker_placer(encoder.required_scorer()?)?)),
        Method::TProjection => Box::new(OneByOne(t_projection(encoder.required_scorer()?))),
    };
    let placed = place_answers(&source, &target, args.from, args.to, placer.as_mut())?;
    log(format!("{}: {}", args.to, summary(&placed.report)));
    let kept = placed.report.kept();
    folder.write(placed)?;
    ensure!(
        kept > 0,
        "no question was kept for {}; {} has the reasons",
        args.to,
        folder.report_path().display()
    );
    Ok(())
}

/// Returns the number of placed and skipped questions, by reason.
fn summary(report: &TranslateReport) -> String {
    let (kept, ratio) = (report.kept(), report.skip_ratio());
    let mut text = format!("{kept} of {} kept, skip ratio {ratio:.4}", report.source);
    for (reason, count) in report.discarded.by_reason() {
        if count > 0 {
            text.push_str(&format!("; {reason}: {count}"));
        }
    }
    text
}
