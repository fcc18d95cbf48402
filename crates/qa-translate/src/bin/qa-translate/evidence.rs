use std::collections::HashMap;
use std::path::PathBuf;

use mlqa_eval::{Dataset, DatasetName, Language, Question};
use qa_translate::{Error, EvidencePlace, TaggedEvidence, write_evidence};
use serde_json::json;
use shards::{Preparation, Preparing};

use crate::{Done, say};

/// Tag the sentences that answer questions, for a tagger of evidence.
///
/// Each row is a question and its passage, a word and its tag a line: B-EVIDENCE and I-EVIDENCE in
/// the sentence that holds the answer. Writes train.conll, the source's rows and those of other
/// languages, whose evidence is found from the source's; test.<language>.conll with the evidence
/// that stands in the data, and dev.<source>.conll where the folder has such questions.
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
    /// The questions whose answers say what is evidence [default: the folder's]
    #[arg(long = "in", value_name = "FILE")]
    source: Option<PathBuf>,
    /// Their language
    #[arg(long, default_value = "en", value_name = "LANG")]
    from: Language,
    /// Languages that are trained besides
    #[arg(long, value_delimiter = ',', value_name = "LANG,…")]
    to: Vec<Language>,
    /// How their evidence is found: gold, search, order or random
    #[arg(long, default_value = "search", value_parser = crate::word::<EvidencePlace>)]
    place: EvidencePlace,
    /// Seed of random places
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// The folder that is written
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Args {
    /// The questions of a split in a language, in both parts; none where there is no file.
    fn read(&self, split: &str, language: Language) -> Result<Option<Dataset>, Error> {
        let (context, question) = (language, language);
        let name = DatasetName { split: split.into(), context, question }.to_string();
        let path = self.questions.join(name);
        let there = path.try_exists().map_err(Error::io(&path, "read the file"))?;
        Ok(if there { Some(Dataset::read(path)?) } else { None })
    }

    fn required(&self, split: &str, language: Language) -> Result<Dataset, Error> {
        let hint = || {
            let folder = self.questions.display();
            format!("no {split}-context-{language}-question-{language}.json in {folder}")
        };
        self.read(split, language)?.ok_or_else(|| Error::Empty { hint: hint() })
    }
}

fn tagged(
    place: EvidencePlace,
    source: &Question,
    target: &Question,
    seed: u64,
) -> Option<TaggedEvidence> {
    let span = place.find(source, target, seed)?;
    Some(TaggedEvidence::new(&target.question, &target.context, &span))
}

/// The rows of questions by their own evidence.
fn own(data: &Dataset) -> Vec<TaggedEvidence> {
    let gold = |one| tagged(EvidencePlace::Gold, one, one, 0);
    data.questions.iter().filter_map(gold).collect()
}

pub fn run(args: &Args) -> Done {
    let source = match &args.source {
        Some(path) => Dataset::read(path)?,
        None => args.required("train", args.from)?,
    };
    let mut rows = own(&source);
    let mut counts = serde_json::Map::new();
    counts.insert(args.from.to_string(), json!(rows.len()));
    say(&format!("{}: {} of {} questions tagged", args.from, rows.len(), source.questions.len()));
    for &to in args.to.iter().filter(|&&to| to != args.from) {
        let target = args.required("train", to)?;
        let by_id: HashMap<&str, &Question> =
            target.questions.iter().map(|one| (one.id.as_str(), one)).collect();
        let found = source
            .questions
            .iter()
            .filter_map(|one| tagged(args.place, one, by_id.get(one.id.as_str())?, args.seed));
        let before = rows.len();
        rows.extend(found);
        let count = rows.len() - before;
        counts.insert(to.to_string(), json!(count));
        say(&format!("{to}: {count} of {} questions tagged", source.questions.len()));
    }
    let folder = Preparing::start(&args.out)?;
    write_evidence(folder.file("train.conll")?, &rows)?;
    if let Some(dev) = args.read("dev", args.from)? {
        write_evidence(folder.file(format!("dev.{}.conll", args.from))?, &own(&dev))?;
    }
    let names = mlqa_eval::dataset_names(&args.questions, "test").unwrap_or_default();
    for language in names.iter().filter(|one| one.context == one.question).map(|one| one.context) {
        let test = args.required("test", language)?;
        write_evidence(folder.file(format!("test.{language}.conll"))?, &own(&test))?;
    }
    let program = "qa-translate evidence";
    folder.finish(Preparation { program, seed: Some(args.seed), counts: counts.into() })?;
    Ok(())
}
