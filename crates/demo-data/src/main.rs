//! `demo-data` generates substitutes for data sets that cannot be distributed.
//!
//! Each command reads files of `data/` and writes a prepared folder of questions, inference pairs,
//! clozes, text or search results. The help text of each command describes which parts of its
//! output are synthetic. Libraries and recipes do not depend on this program; they read the
//! prepared folders.
mod corpus;
mod facts;
mod generator;
mod mixture;
mod parallel;
mod probes;
mod questions;
mod relations;
mod search;
mod seed;
mod split;
mod xquad;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use cli::TextOutput;

use crate::corpus::CorpusConfig;
use crate::generator::Generator;
use crate::mixture::MixtureConfig;
use crate::probes::cloze::ClozeConfig;
use crate::probes::inference::InferenceConfig;
use crate::questions::fact_questions::FactQuestionConfig;
use crate::relations::RelationConfig;
use crate::search::SearchConfig;
use crate::xquad::XquadSplit;

/// Generate substitutes for data sets that cannot be distributed, from files of `data/`
///
/// Results on the substitutes show that a method runs and whether it has an effect. These results
/// are not comparable with results on the original data.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  demo-data fact-questions --kg data/demo/kg --items 40 \\
    --templates data/demo/templates.tsv --out questions
  demo-data fact-questions --parallel --languages en,de --items 40 \\
    --kg data/demo/kg --templates data/demo/templates-all.tsv --out parallel
  demo-data inference --kg data/demo/kg --premises 2 \\
    --templates data/demo/templates-all.tsv --out pairs
  demo-data clozes --kg data/demo/kg \\
    --templates data/demo/templates-all.tsv --out clozes
  demo-data relations --kg data/wikidata-facts --extracts data/codex \\
    --languages en,es,zh --out relations
  demo-data xquad-split --xquad data/xquad --first 36 --out divided
  demo-data xquad-split --xquad data/xquad --first 36 --documents --out articles
  demo-data xquad-split --xquad data/xquad --fold 1/4 --out fold-1
  demo-data mixture --xquad data/xquad --first 36 --unanswerable 0.1 \\
    --questions data/multilingual-qa/arcd.train.json.gz --out mixture
  demo-data mixture --questions data/nq-qed/dev.json.gz --unanswerable 1 --out held-out
  demo-data text --extracts data/codex --sentences data/pud \\
    --paragraphs data/xquad --out text
  demo-data search --questions divided --languages de --out found

--out is a folder that is published only when it is complete. Its manifest.json
has the command, counts and digests. An existing prepared folder is
replaced. Invalid input ends the program with exit code 2 and one error line.";

/// Arguments of a command: its generator and the output folder.
#[derive(Args)]
struct PrepareArgs<T: Args> {
    #[command(flatten)]
    generator: T,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Write questions about facts, a synthetic substitute for SQuAD and MLQA
    ///
    /// Contexts and questions are synthetic: facts rendered with templates. In training contexts,
    /// entity names are random, so that a model learns no facts from the contexts. Development and
    /// test contexts contain true facts.
    FactQuestions(PrepareArgs<FactQuestionConfig>),
    /// Split XQuAD by article, a substitute for machine-translated questions
    ///
    /// Humans wrote the questions and translations, so results are an upper bound for results with
    /// machine-translated questions.
    XquadSplit(PrepareArgs<XquadSplit>),
    /// Mix questions of several files and languages, to train a reader
    ///
    /// XQuAD's questions occur in each language, and with contexts in other languages. Humans wrote
    /// all questions; XQuAD's translations are by humans, too. Unanswerable questions are made by
    /// exchanging contexts.
    Mixture(PrepareArgs<MixtureConfig>),
    /// Write pairs of sentences about facts, a substitute for XNLI
    ///
    /// Premises and hypotheses are synthetic: facts rendered with templates. The label follows from
    /// the two sentences, without world knowledge.
    Inference(PrepareArgs<InferenceConfig>),
    /// Write clozes about facts, a substitute for mLAMA
    ///
    /// The facts are real; the sentences are rendered with templates.
    Clozes(PrepareArgs<ClozeConfig>),
    /// Write sentences with two entities and their relation, a substitute for MultiTACRED
    ///
    /// The sentences are from Wikipedia extracts. Entities are found by their labels, and the relation
    /// is that of a fact about them, which the sentence need not express (distant supervision).
    Relations(PrepareArgs<RelationConfig>),
    /// Write text in seven languages, a substitute for a pretraining corpus
    ///
    /// The text consists of first paragraphs of encyclopedia pages, sentences from news, and the
    /// paragraphs of XQuAD. The last 12 articles of XQuAD are excluded, because they are reserved
    /// for evaluation.
    Text(PrepareArgs<CorpusConfig>),
    /// Write training questions with their passages, a substitute for a search log
    ///
    /// The output is the input of `kg-triples phrases`.
    Search(PrepareArgs<SearchConfig>),
}

fn main() -> ExitCode {
    cli::protect_inputs();
    let result = match cli::parse() {
        Ok(Cli { command }) => match command {
            Command::FactQuestions(args) => prepare(&args),
            Command::XquadSplit(args) => prepare(&args),
            Command::Mixture(args) => prepare(&args),
            Command::Inference(args) => prepare(&args),
            Command::Clozes(args) => prepare(&args),
            Command::Relations(args) => prepare(&args),
            Command::Text(args) => prepare(&args),
            Command::Search(args) => prepare(&args),
        },
        Err(code) => return code,
    };
    cli::end(result.map_err(|error| cli::describe(error.as_ref())))
}

fn prepare<T: Generator + Args>(args: &PrepareArgs<T>) -> anyhow::Result<()> {
    let counts = args.generator.prepare(&args.out)?;
    let counts = serde_json::to_string_pretty(&counts)?;
    Ok(TextOutput::Stdout.print(&format!("{}: {counts}\n", args.out.display()))?)
}

#[cfg(test)]
mod tests;
