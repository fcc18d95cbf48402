use std::collections::HashMap;
use std::path::PathBuf;

use mlqa_eval::{Dataset, DatasetName, Language, Question, dataset_names};
use qa_translate::{Error, EvidencePlace};
use serde_json::json;
use shards::{Preparation, Preparing};

use crate::{Done, say};

/// Make the sentence that answers a question its answer, for a tagger of evidence.
///
/// Writes train-context-xx-question-xx.json for the source and the other languages, whose evidence
/// is found from the source's; questions without are left out. Files of the splits dev and test, in
/// any pair of languages, get the sentences that hold their own answers.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  qa-translate translate --in data/xquad/xquad.en.json --out translated \\
    --parallel de=data/xquad/xquad.de.json,zh=data/xquad/xquad.zh.json
  qa-translate evidence --in data/xquad/xquad.en.json --questions translated \\
    --to de,zh --out evidence
With tests (`demo-data xquad-split`), and labels that say nothing to compare with:
  qa-translate evidence --questions split --to de,zh --out search
  qa-translate evidence --questions split --to de,zh --place random --out random")]
pub struct Args {
    /// Folder with questions in several languages, as `demo-data xquad-split` and
    /// `qa-translate translate` write it
    #[arg(long, value_name = "DIR")]
    questions: PathBuf,
    /// Questions whose answers mark the evidence [default: those of the folder]
    #[arg(long = "in", value_name = "FILE")]
    source: Option<PathBuf>,
    /// Language of the source data
    #[arg(long, default_value = "en", value_name = "LANG")]
    from: Language,
    /// Additional training languages
    #[arg(long, value_delimiter = ',', value_name = "LANG,…")]
    to: Vec<Language>,
    /// How evidence is located: gold, search, order, search_or_order or random
    #[arg(long, default_value = "search_or_order", value_parser = crate::word::<EvidencePlace>)]
    place: EvidencePlace,
    /// Random seed for --place random
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

fn name(split: &str, language: Language) -> DatasetName {
    DatasetName { split: split.into(), context: language, question: language }
}

pub fn run(args: &Args) -> Done {
    let read = |name: &DatasetName| Dataset::read(args.questions.join(name.to_string()));
    let source = match &args.source {
        Some(path) => Dataset::read(path)?,
        None => read(&name("train", args.from))?,
    };
    let by_id: HashMap<&str, &Question> =
        source.questions.iter().map(|one| (one.id.as_str(), one)).collect();
    let folder = Preparing::start(&args.out)?;
    let mut counts = serde_json::Map::new();
    let mut write = |name: &DatasetName, questions: Vec<Question>, of: usize| -> Done {
        if name.split == "train" {
            say(&format!("{name}: {} of {of} questions", questions.len()));
        }
        if questions.is_empty() {
            return Err(Error::Empty { hint: format!("{name}: no evidence was found") });
        }
        counts.insert(name.to_string(), json!({ "found": questions.len(), "of": of }));
        let file = folder.file(name.to_string())?;
        Ok(Dataset { questions, path: file.clone(), version: None }.write(file)?)
    };
    let own = |data: &Dataset| {
        let gold = |one| EvidencePlace::Gold.mark(one, one, 0);
        data.questions.iter().filter_map(gold).collect::<Vec<_>>()
    };
    write(&name("train", args.from), own(&source), source.questions.len())?;
    for &to in args.to.iter().filter(|&&to| to != args.from) {
        let target = read(&name("train", to))?;
        let mark = |one: &Question| args.place.mark(by_id.get(one.id.as_str())?, one, args.seed);
        let found = target.questions.iter().filter_map(mark).collect();
        write(&name("train", to), found, source.questions.len())?;
    }
    for split in ["dev", "test"] {
        let names = match dataset_names(&args.questions, split) {
            Err(mlqa_eval::Error::NothingFound { .. }) => Vec::new(),
            names => names?,
        };
        for name in &names {
            let data = read(name)?;
            write(name, own(&data), data.questions.len())?;
        }
        if !names.is_empty() {
            say(&format!("{split}: {} files", names.len()));
        }
    }
    let program = "qa-translate evidence";
    folder.finish(Preparation { program, seed: Some(args.seed), counts: counts.into() })?;
    Ok(())
}
