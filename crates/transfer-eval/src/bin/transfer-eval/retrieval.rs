//! `transfer-eval retrieval`: draws candidate lists and ranks their candidates.
use std::path::PathBuf;

use results::Measured;
use transfer_eval::Error;
use transfer_eval::retrieval::{
    CandidateConfig, CandidateList, Description, Qrels, Query, RankConfig, Run, Similarity,
    SkipReason, rank_candidates, read_vectors, score_retrieval, score_run,
};

use crate::{CommandResult, print_json_next_to, print_stderr};

/// Draw a list of candidates that is stored in a file, and score the ranks of the gold candidates
/// (XLM-K's XEP and XOR); score rankings in TREC's format.
#[derive(clap::Subcommand)]
pub enum Command {
    List(ListArgs),
    Score(ScoreArgs),
    Run(RunArgs),
}

/// Print MAP, MRR, recall and success (the share of queries with a relevant document) of a TREC run
/// as JSON, all from 0 to 1: of complete rankings and of their first documents. Queries with a
/// relevant document but without a ranking count as 0.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval retrieval run crates/testkit/fixtures/matching/qrels.txt \\
    crates/testkit/fixtures/matching/ranking.run --cutoffs 1,5,20

A line of QRELS is: query iteration document relevance
A line of RUN is:   query Q0 document rank score tag
`kg-triples match` writes runs. As in trec_eval, documents are ranked by their scores and not by the
column rank.")]
pub struct RunArgs {
    /// File of the relevant documents, in TREC's qrels format
    qrels: PathBuf,
    /// File of the ranked documents, in TREC's run format
    run: PathBuf,
    /// Numbers of documents at which scores are also computed
    #[arg(long, value_name = "K,…", value_delimiter = ',', default_values_t = [1, 5, 20])]
    cutoffs: Vec<usize>,
}

/// Draw a list of entity descriptions in random order: one description of each queried entity, and
/// descriptions of random other entities until the list has --size entries.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval retrieval list --size 5 --out xep.json \\
    --descriptions crates/testkit/fixtures/transfer/descriptions.jsonl \\
    --queries crates/testkit/fixtures/transfer/queries.jsonl
With a list of the paper's size:
  transfer-eval retrieval list --descriptions descriptions.jsonl \\
    --queries queries.jsonl --size 32768 --seed 1 --out xep.json")]
pub struct ListArgs {
    /// JSONL file of the available descriptions: {"entity": "Q64", "language": "de"}
    #[arg(long, value_name = "FILE")]
    descriptions: PathBuf,
    /// JSONL file of the queries: {"id": "…", "entity": "Q64", "language": "en"}
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Number of candidates in the list
    #[arg(long, default_value_t = CandidateConfig::default().size)]
    size: usize,
    /// Random seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Output file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Print accuracy@1 and hits@10 (both in percent) and MRR as JSON: over all queries, by language of
/// the query, and by languages of the query and the gold candidate.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval retrieval list --size 5 --out xep.json \\
    --descriptions crates/testkit/fixtures/transfer/descriptions.jsonl \\
    --queries crates/testkit/fixtures/transfer/queries.jsonl
  transfer-eval retrieval score xep.json \\
    crates/testkit/fixtures/transfer/vectors.safetensors
With results for a table:
  transfer-eval retrieval score xor.json vectors.safetensors --cosine \\
    --model ours --task XOR --measured run.jsonl")]
pub struct ScoreArgs {
    /// Output file of `retrieval list`
    list: PathBuf,
    /// safetensors file with the float32 tensors `queries` [Q, D] and `candidates` [N, D], whose
    /// rows are in the order of the list
    vectors: PathBuf,
    /// Use cosine similarity instead of the dot product
    #[arg(long)]
    cosine: bool,
    /// Also write the result for `transfer-eval table 001-7` to this file
    #[arg(long, value_name = "FILE", requires_all = ["model", "task"])]
    measured: Option<PathBuf>,
    /// Model name, for --measured
    #[arg(long)]
    model: Option<String>,
    /// XEP or XOR, for --measured
    #[arg(long, value_parser = ["XEP", "XOR"])]
    task: Option<String>,
}

pub fn run(command: &Command) -> CommandResult {
    match command {
        Command::List(args) => draw_list(args),
        Command::Score(args) => score(args),
        Command::Run(args) => score_rankings(args),
    }
}

fn score_rankings(args: &RunArgs) -> CommandResult {
    let (qrels, run) = (Qrels::read(&args.qrels)?, Run::read(&args.run)?);
    print_json_next_to(&None, &score_run(&qrels, &run, &args.cutoffs)?)
}

fn draw_list(args: &ListArgs) -> CommandResult {
    let (size, seed) = (args.size, args.seed);
    let config = CandidateConfig { size, seed, ..CandidateConfig::default() };
    let descriptions = Description::read(&args.descriptions)?;
    let list = CandidateList::draw(&descriptions, &Query::read(&args.queries)?, &config)?;
    list.write(&args.out)?;
    let without_description =
        list.skipped.iter().filter(|query| query.reason == SkipReason::NoDescription).count();
    print_stderr(&format!(
        "{} candidates, {} queries; skipped: {without_description} without a description, {} in the language of their candidate",
        list.candidates.len(),
        list.queries.len(),
        list.skipped.len() - without_description
    ));
    Ok(())
}

fn score(args: &ScoreArgs) -> CommandResult {
    let list = CandidateList::read(&args.list)?;
    let read_array = |name: &str, expected: usize| {
        let array = read_vectors(&args.vectors, name)?;
        if array.nrows() == expected {
            return Ok(array);
        }
        let message = format!("`{name}` has {} rows, but the list has {expected}", array.nrows());
        Err(Error::Content { path: args.vectors.clone(), message })
    };
    let queries = read_array("queries", list.queries.len())?;
    let candidates = read_array("candidates", list.candidates.len())?;
    let similarity = if args.cosine { Similarity::Cosine } else { Similarity::Dot };
    let config = RankConfig { similarity };
    let ranks = rank_candidates(queries.view(), candidates.view(), &list.gold_indices(), &config)?;
    let score = score_retrieval(&list, &ranks)?;
    if let (Some(path), Some(model), Some(task)) = (&args.measured, &args.model, &args.task) {
        Measured::write(path, &[score.measured(model, task)])?;
    }
    print_json_next_to(&args.measured, &score)
}
