//! `transfer-eval ner`: scores named entities like `seqeval`.
use std::path::PathBuf;

use transfer_eval::ner::{
    NerFormat, Scheme, Sentence, read_label_names, read_ner_with_format, read_spans, rename_labels,
    score_ner, score_spans,
};

use crate::{CommandResult, print_json, print_stderr};

/// Print precision, recall and F1 of entities as JSON, from 0 to 1. The values equal those of
/// seqeval.
///
/// Both files have one word with its tag per line. The two files may have different formats, but
/// must contain the same words. The formats are detected from all lines and printed to standard
/// error.
///
/// Files of spans (FiNERweb) have a JSON object with `text` and `char_spans` per line, and may have
/// any labels. Spans are compared by their offsets and labels.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval ner data/uner/de_pud.test.iob2.gz \\
    data/uner/de_pud.test.iob2.gz
With your predictions:
  transfer-eval ner eng.testb predictions.txt
  transfer-eval ner --strict en_pud.test.iob2.gz predictions.iob2
  transfer-eval ner --format conll gold.tsv predicted.tsv
With texts and spans, and translated labels mapped to few English names:
  transfer-eval ner deu.jsonl predicted.jsonl --label-names names.tsv")]
pub struct Args {
    /// Gold tags, plain or gzipped
    gold: PathBuf,
    /// Predicted tags
    predicted: PathBuf,
    /// Count only entities that start with B- (seqeval's mode="strict", scheme=IOB2)
    #[arg(long)]
    strict: bool,
    /// Format of both files [default: detected]
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
    /// Format of the file of predicted tags [default: --format]
    #[arg(long, value_enum, value_name = "FORMAT")]
    predicted_format: Option<FormatArg>,
    /// For files of spans: a label, a tab and its name per line. Labels are replaced by their names in
    /// both files; spans whose label has an empty name are removed
    #[arg(long, value_name = "FILE.tsv", conflicts_with = "strict")]
    label_names: Option<PathBuf>,
}

/// File format of words and tags.
#[derive(Clone, Copy, clap::ValueEnum)]
enum FormatArg {
    /// The word is the first column and the tag is the last column
    Conll,
    /// lang:word, a tab and the tag
    Wikiann,
    /// Index of the word, word, tag and further columns, separated by tabs
    UniversalNer,
    /// A JSON object with `text` and `char_spans` (start, end, label) per line
    Spans,
}

impl From<FormatArg> for NerFormat {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Conll => Self::Conll,
            FormatArg::Wikiann => Self::WikiAnn,
            FormatArg::UniversalNer => Self::UniversalNer,
            FormatArg::Spans => Self::Spans,
        }
    }
}

pub fn run(args: &Args) -> CommandResult {
    let predicted_format = args.predicted_format.or(args.format);
    let (gold, gold_format) = read_ner_with_format(&args.gold, args.format.map(NerFormat::from))?;
    let (predicted, used_format) =
        read_ner_with_format(&args.predicted, predicted_format.map(NerFormat::from))?;
    let spans = [gold_format, used_format].map(|format| format == NerFormat::Spans);
    match spans {
        [true, true] if args.strict => return Err("--strict: files of spans have no tags".into()),
        [true, true] => return score_span_files(args),
        [false, false] if args.label_names.is_none() => {}
        _ => {
            let (gold, predicted) = (gold_format.name(), used_format.name());
            return Err(format!(
                "{}: format {predicted}, but the gold file has the format {gold}; files of spans \
                 are compared only with files of spans, and only they have --label-names",
                args.predicted.display()
            )
            .into());
        }
    }
    for (k, (gold, predicted)) in gold.iter().zip(&predicted).enumerate() {
        if let Some(problem) = first_difference(gold, predicted) {
            let path = args.predicted.display();
            let [line, gold_line] = [predicted.line(), gold.line()]
                .map(|line| line.expect("a sentence of a file has a line"));
            let number = k + 1;
            return Err(format!(
                "{path}:{line}: sentence {number} (line {gold_line} of the gold file): {problem}"
            )
            .into());
        }
    }
    let tags: Vec<Vec<Option<String>>> = predicted
        .into_iter()
        .map(|sentence| sentence.tags.into_iter().map(Some).collect())
        .collect();
    let scheme = if args.strict { Scheme::StrictIob2 } else { Scheme::Lenient };
    let score = score_ner(&gold, &tags, scheme)?;
    for (path, option, format) in
        [(&args.gold, args.format, gold_format), (&args.predicted, predicted_format, used_format)]
    {
        if option.is_none() {
            print_stderr(&format!("note: {}: format {}", path.display(), format.name()));
        }
    }
    print_json(&score)
}

fn score_span_files(args: &Args) -> CommandResult {
    let (mut gold, mut predicted) = (read_spans(&args.gold)?, read_spans(&args.predicted)?);
    if let Some(path) = &args.label_names {
        let names = read_label_names(path)?;
        rename_labels(&mut gold, &names);
        rename_labels(&mut predicted, &names);
    }
    print_json(&score_spans(&gold, &predicted)?)
}

/// Describes the first difference between the words of two sentences.
fn first_difference(gold: &Sentence, predicted: &Sentence) -> Option<String> {
    let words = gold.words.iter().zip(&predicted.words).enumerate();
    if let Some((k, (gold, predicted))) = words.into_iter().find(|(_, (gold, word))| gold != word) {
        return Some(format!("word {} is `{predicted}`, but the gold file has `{gold}`", k + 1));
    }
    let (expected, got) = (gold.words.len(), predicted.words.len());
    (expected != got).then(|| format!("{got} words, but the gold file has {expected}"))
}
