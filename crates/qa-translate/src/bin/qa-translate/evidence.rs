use std::collections::HashMap;
use std::path::PathBuf;

use mlqa_eval::Dataset;
use qa_translate::{EvidencePlace, TaggedEvidence, write_evidence};

use crate::{Done, say};

/// Tag the sentences that answer questions, for a tagger of evidence.
///
/// Each row is a question and its passage, a word and its tag a line: B-EVIDENCE and I-EVIDENCE in
/// the sentence that holds the answer. With --translated the rows are in that language, and their
/// evidence is found from the source's.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  qa-translate evidence --in data/xquad/xquad.en.json --out evidence.en.conll
  qa-translate evidence --in data/xquad/xquad.en.json --place search \\
    --translated data/xquad/xquad.de.json --out evidence.de.conll
  qa-translate evidence --in data/xquad/xquad.en.json --place random \\
    --translated data/xquad/xquad.de.json --out random.de.conll

Random places are labels that say nothing, to compare with.")]
pub struct Args {
    /// Questions with answers, SQuAD-style JSON or rows
    #[arg(long = "in", value_name = "FILE")]
    source: PathBuf,
    /// The same questions in another language, by their ids
    #[arg(long, value_name = "FILE")]
    translated: Option<PathBuf>,
    /// How evidence is found: gold, search, order or random
    #[arg(long, default_value = "gold", value_parser = crate::word::<EvidencePlace>)]
    place: EvidencePlace,
    /// Seed of random places
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// The file that is written
    #[arg(long, value_name = "FILE.conll")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Done {
    let source = Dataset::read(&args.source)?;
    let translated = args.translated.as_ref().map(Dataset::read).transpose()?;
    let targets: HashMap<&str, _> = translated
        .as_ref()
        .unwrap_or(&source)
        .questions
        .iter()
        .map(|one| (one.id.as_str(), one))
        .collect();
    let (mut rows, mut missing, mut lost) = (Vec::new(), 0, 0);
    for question in &source.questions {
        let Some(target) = targets.get(question.id.as_str()) else {
            missing += 1;
            continue;
        };
        match args.place.find(question, target, args.seed) {
            Some(span) => {
                rows.push(TaggedEvidence::new(&target.question, &target.context, &span));
            }
            None => lost += 1,
        }
    }
    write_evidence(&args.out, &rows)?;
    let all = source.questions.len();
    say(&format!(
        "{} of {all} questions tagged; {lost} without evidence, {missing} without translation",
        rows.len()
    ));
    Ok(())
}
