use std::path::PathBuf;

use cli::TextOutput;
use mlqa_eval::{Dataset, Language};
use qa_translate::{
    Error, FileTranslator, MissingText, ParallelTexts, TranslatedFolder, place_answers,
    translate_plain,
};

use crate::translate::{check_not_empty, print_and_write};
use crate::{CommandResult, parse_name};

/// Place answers in existing translations by a word alignment
///
/// Translations without markers are more accurate than translations of marked texts. A word aligner
/// such as eflomal, fast_align or awesome-align finds the words of an answer in the translation. To
/// place answers with an encoder instead, use the program `answer-alignment` of the repository.
///
/// First, --pairs writes the parallel texts: one line per distinct passage and question, with the
/// words of source and translation separated by `|||`. The aligner writes one line per pair with
/// links `i-j` of words, from 0. Then --alignment reads these lines, places the answers, and writes
/// the same files as `qa-translate translate`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  qa-translate place --in data/xquad/xquad.en.json --to de \\
    --translated data/xquad/xquad.de.json --pairs pairs.txt
With the translations of an earlier run without markers, and eflomal:
  qa-translate translate --in train-v1.1.json --to de --markers none \\
    --server http://localhost:5000 --out plain
  qa-translate place --in train-v1.1.json --to de --file plain/cache.de.jsonl \\
    --pairs pairs.txt
  eflomal-align -i pairs.txt -f alignment.txt
  qa-translate place --in train-v1.1.json --to de --file plain/cache.de.jsonl \\
    --alignment alignment.txt --out translated")]
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
    /// How to handle texts that --file does not contain: error or skip
    #[arg(long, default_value = "error", value_parser = parse_name::<MissingText>, requires = "file")]
    missing: MissingText,
    /// File of parallel texts to write, for a word aligner
    #[arg(long, value_name = "FILE", required_unless_present = "alignment")]
    pairs: Option<PathBuf>,
    /// Word alignment of the parallel texts: links `i-j`, one line per pair
    #[arg(long, value_name = "FILE", conflicts_with = "pairs", requires = "out")]
    alignment: Option<PathBuf>,
    /// Prefix of the file names
    #[arg(long, default_value = "train")]
    split: String,
    /// Output folder
    #[arg(long, value_name = "DIR", conflicts_with = "pairs")]
    out: Option<PathBuf>,
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

pub fn run(args: &Args) -> CommandResult {
    let source = Dataset::read(&args.source)?;
    let target = match (&args.translations.translated, &args.translations.file) {
        (Some(path), _) => Dataset::read(path)?,
        (None, Some(path)) => {
            let mut file = FileTranslator::read(path, args.missing)?;
            translate_plain(&source, args.from, args.to, &mut file, |_, _, _| {})?
        }
        (None, None) => unreachable!("one option of the group is required"),
    };
    let texts = ParallelTexts::of(&source, &target);
    if texts.is_empty() {
        return Err(Error::Empty { hint: "no question of --in has a translation".into() });
    }
    if let Some(path) = &args.pairs {
        atomic_file::write(path, texts.to_lines())?;
        let line = format!("{}: {} pairs of texts\n", path.display(), texts.len());
        // The file is complete, so an error of the message is ignored.
        let _ = TextOutput::next_to([path]).print(&line);
        return Ok(());
    }
    let (Some(alignment), Some(out)) = (&args.alignment, &args.out) else {
        unreachable!("without --pairs, --alignment and --out are required")
    };
    let output = TranslatedFolder { path: out, split: &args.split, from: args.from };
    output.check(args.to)?;
    let mut placer = texts.read_alignments(alignment)?;
    let placed = place_answers(&source, &target, args.from, args.to, &mut placer)?;
    let without_questions: Vec<Language> =
        if placed.report.kept() == 0 { vec![args.to] } else { Vec::new() };
    print_and_write(&output, placed)?;
    check_not_empty(&output, &without_questions)
}
