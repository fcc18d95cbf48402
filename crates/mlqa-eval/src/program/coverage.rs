//! `mlqa-eval coverage`: share of the questions' vocabulary that occurs in a text.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{
    Coverage, Dataset, DatasetName, Error, Language, TableLanguage, coverage, find_language_file,
    list_dataset_names, load_tokenizer,
};

use super::{Failure, format_json, print};

/// Print the share of the questions' tokens that occur in a text.
///
/// Compares two files, or two folders for all languages at once (Fig. 5 of "Bridging the Language
/// Gap"). In folders, `{split}-context-{context}-question-{q}.json` is compared with
/// `triples.{q}.txt`, which `kg-triples texts` writes.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval coverage --tokenizer data/base/tokenizer.json \\
    --questions data/xquad/xquad.de.json --text data/pud/de.tsv
With MLQA, and texts that `kg-triples texts --in wikidata --out texts` wrote:
  mlqa-eval coverage --tokenizer xlmr/tokenizer.json --questions MLQA_V1/test \\
    --text texts/train")]
pub struct Args {
    /// Hugging Face tokenizer.json
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// Question file, or a folder of files with MLQA names
    #[arg(long, value_name = "FILE|DIR")]
    questions: PathBuf,
    /// Text file, tokenised line by line, or a folder with triples.<language>.txt
    #[arg(long, value_name = "FILE|DIR")]
    text: PathBuf,
    /// Split: the first part of the file names in a folder of questions
    #[arg(long, default_value = "test")]
    split: String,
    /// Context language of the files to use in a folder of questions
    #[arg(long, default_value = "en", value_name = "LANG", value_parser = Language::registered)]
    context: Language,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let tokenizer = load_tokenizer(&args.tokenizer)?;
    let compute_coverage = |questions: &Path, path: &Path| -> Result<Coverage, Error> {
        let dataset = Dataset::read(questions)?;
        let questions: Vec<&str> = dataset.questions.iter().map(|q| q.question.as_str()).collect();
        let text = crate::files::read_text(path)?;
        atomic_file::note_missing_newline(path, text.as_bytes());
        coverage(&questions, &text.lines().collect::<Vec<_>>(), &tokenizer)
    };
    if !args.questions.is_dir() {
        return print(&format_json(&compute_coverage(&args.questions, &args.text)?)?);
    }
    let mut coverages: BTreeMap<TableLanguage, Coverage> = BTreeMap::new();
    for (name, text) in find_question_and_text_files(args)? {
        let coverage =
            compute_coverage(&find_language_file(&args.questions, &name.to_string()), &text)?;
        coverages.insert(TableLanguage(name.question), coverage);
    }
    print(&format_json(&coverages)?)
}

/// Returns the question files whose language has a text file, with the path of the text file.
fn find_question_and_text_files(args: &Args) -> Result<Vec<(DatasetName, PathBuf)>, Failure> {
    let has_context = |name: &DatasetName| name.context == args.context;
    let with_text_file = |name: DatasetName| {
        let text = find_language_file(&args.text, &format!("triples.{}.txt", name.question));
        text.exists().then_some((name, text))
    };
    let names = list_dataset_names(&args.questions, &args.split)?.into_iter().filter(has_context);
    let pairs: Vec<_> = names.filter_map(with_text_file).collect();
    if pairs.is_empty() {
        let files = format!("{}-context-{}-question-….json", args.split, args.context);
        let what = format!("triples.<language>.txt for a language of {files} in --questions");
        return Err(Error::NothingFound { what, path: args.text.clone() }.into());
    }
    Ok(pairs)
}
