//! `transfer-eval map`: evaluates orthogonal maps between word vectors of two languages.
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use transfer_eval::Error;
use transfer_eval::retrieval::map::{Dictionary, WordVectors, evaluate_translation};

use crate::{CommandResult, print_json, print_stderr};

/// Fit an orthogonal map between word vectors of two languages, and print the precision of word
/// translation with it as JSON: P@1, P@5 and P@10 in percent, by cosine and CSLS.
///
/// The map is fitted to a bilingual dictionary (Procrustes). The result includes the control
/// `without_map`. Test words without a vector, or without a translation that has a vector, are
/// counted but not scored.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval map --model data/base --out mapped \\
    --dictionary crates/testkit/fixtures/transfer/en-de.tsv
  transfer-eval map --source mapped/source.vec --target mapped/target.vec \\
    --dictionary crates/testkit/fixtures/transfer/en-de.tsv --refine 5
With fastText's vectors and MUSE's dictionaries:
  transfer-eval map --source cc.en.300.vec.gz --target cc.si.300.vec.gz \\
    --dictionary en-si.0-5000.txt --test en-si.5000-6500.txt --refine 5

A dictionary has a source word and a target word per line, separated by a tab or
a space.")]
pub struct Args {
    /// Vectors of the source language in the text format of word2vec and fastText, plain or gzipped
    #[arg(long, value_name = "FILE.vec", requires = "target", required_unless_present = "model")]
    source: Option<PathBuf>,
    /// Vectors of the target language
    #[arg(long, value_name = "FILE.vec", requires = "source")]
    target: Option<PathBuf>,
    /// Model folder: the vector of a word of the dictionaries is the mean of its token embeddings
    #[arg(long, value_name = "DIR", conflicts_with_all = ["source", "target", "max_words"])]
    model: Option<PathBuf>,
    /// Maximum number of words of --source and of --target, starting with the first word
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    max_words: usize,
    /// Dictionary to which the map is fitted
    #[arg(long, value_name = "FILE")]
    dictionary: PathBuf,
    /// Dictionary of the test words [default: every fifth source word of --dictionary, held out]
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// Maximum number of refinements of the map by mutual nearest neighbours
    #[arg(long, value_name = "ROUNDS", default_value_t = 0)]
    refine: usize,
    /// Folder for the vectors of both languages in the space of the target language: source.vec and
    /// target.vec
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args) -> CommandResult {
    let dictionary = Dictionary::read(&args.dictionary)?;
    let (training, test) = match &args.test {
        Some(path) => (dictionary, Dictionary::read(path)?),
        None => dictionary.split(),
    };
    let (source, target) = match (&args.model, &args.source, &args.target) {
        (Some(model), _, _) => {
            let pairs = || training.pairs().iter().chain(test.pairs());
            let embed = |words| WordVectors::from_token_embeddings(model, distinct(words));
            (embed(&mut pairs().map(|pair| &*pair.0))?, embed(&mut pairs().map(|pair| &*pair.1))?)
        }
        (None, Some(source), Some(target)) => read_pair(source, target, args.max_words)?,
        _ => return Err("expected --source and --target, or --model".into()),
    };
    let (report, mapped) = evaluate_translation(source, target, &training, &test, args.refine)?;
    let dimensions = mapped.target.vectors().ncols();
    if report.training_pairs < dimensions {
        print_stderr(&format!(
            "warning: {} training pairs for {dimensions} dimensions; the map is not unique",
            report.training_pairs
        ));
    }
    if report.test_words_in_training > 0 {
        print_stderr(&format!(
            "warning: {} of {} test words are source words of training pairs, too",
            report.test_words_in_training, report.test_words
        ));
    }
    if let Some(folder) = &args.out {
        mapped.source.write(folder.join("source.vec"))?;
        mapped.target.write(folder.join("target.vec"))?;
    }
    print_json(&report)
}

fn distinct(words: &mut dyn Iterator<Item = &str>) -> Vec<String> {
    let mut seen = HashSet::new();
    words.filter(|word| seen.insert(*word)).map(str::to_owned).collect()
}

/// Reads the vectors of both languages, which must have the same number of dimensions.
fn read_pair(
    source_path: &Path,
    target_path: &Path,
    max_words: usize,
) -> CommandResult<(WordVectors, WordVectors)> {
    let read = |path: &Path| {
        let vectors = WordVectors::read(path, max_words)?;
        if vectors.repeated() > 0 {
            let count = vectors.repeated();
            print_stderr(&format!("note: {}: {count} repeated words skipped", path.display()));
        }
        Ok::<_, Error>(vectors)
    };
    let (source, target) = (read(source_path)?, read(target_path)?);
    let [source_width, width] = [&source, &target].map(|vectors| vectors.vectors().ncols());
    if width != source_width {
        let path = source_path.display();
        let message = format!("{width} dimensions, but {path} has {source_width}");
        return Err(Error::Content { path: target_path.to_path_buf(), message }.into());
    }
    Ok((source, target))
}
