//! Measures how well a reader finds that a paragraph does not answer a question, for each pair of
//! XQuAD's languages: with the thresholds of its calibration, and with the best threshold of each
//! pair, which shows what no threshold can reach. Each question is paired with its paragraph and
//! with a paragraph of another article. `POLYQA_PRECISION` sets the precision.
#![allow(clippy::unwrap_used, missing_docs)] // a program for developers

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use mlqa_eval::{Dataset, Language, Normalization, Predictions, Question, score};
use polyqa::{Reader, Result, select_precision};
use tch::Device;

/// F1 in percentage points that a threshold may cost.
const MAX_LOST_F1: f64 = 1.5;

/// Percentage of mismatched pairs that a threshold should reject.
const MIN_REJECTED: f64 = 80.0;

/// "No answer" on pairs of languages.
#[derive(Parser)]
struct Options {
    /// Folder of a reader that was not trained on the articles
    #[arg(long)]
    model: Option<PathBuf>,
    /// Languages of XQuAD
    #[arg(long, value_delimiter = ',', default_value = "en,de,es,ar,hi,vi,zh")]
    languages: Vec<Language>,
    /// Index of the first test article
    #[arg(long, default_value_t = 36)]
    skip: usize,
    /// Number of test articles
    #[arg(long, default_value_t = 12)]
    articles: usize,
    /// Use every Nth question
    #[arg(long, default_value_t = 3, value_parser = parse_positive)]
    every: usize,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn parse_positive(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| "expected 1 or more".to_owned())
}

/// What the reader says about one question and one paragraph.
struct Outcome {
    null_odds: f64,
    rejected: bool,
    /// F1 of the best answer, 0 to 100; 0 for mismatched pairs.
    f1: f64,
}

/// Values of one pair of languages, in percent apart from the area under the curve.
struct Row {
    f1: f64,
    auroc: f64,
    rejected: f64,
    lost_f1: f64,
    /// Highest percentage of rejected pairs for at most [`MAX_LOST_F1`].
    best_rejected: f64,
    /// Lowest cost of rejecting [`MIN_REJECTED`] of the pairs.
    lowest_cost: f64,
    /// Thresholds that reject [`MIN_REJECTED`] for at most [`MAX_LOST_F1`], where null odds above the
    /// threshold reject; empty if there is none.
    sufficient: Range<f64>,
}

/// Returns the selected questions of the test articles, and the same questions with paragraphs of
/// other articles.
fn read(language: Language, options: &Options) -> [Vec<Question>; 2] {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dataset = Dataset::read(root.join(format!("data/xquad/xquad.{language}.json"))).unwrap();
    let articles: Vec<&[Question]> =
        dataset.articles().skip(options.skip).take(options.articles).collect();
    assert!(
        articles.len() > 1,
        "--skip, --articles: a mismatched paragraph needs a second article"
    );
    let (mut answerable, mut mismatched) = (Vec::new(), Vec::new());
    for (index, article) in articles.iter().enumerate() {
        for question in article.iter().step_by(options.every) {
            // Each question meets another article, and another paragraph of it.
            let count = answerable.len();
            let other = articles[(index + 1 + count % (articles.len() - 1)) % articles.len()];
            let context = &other[count * 7 % other.len()].context;
            let context = context.clone();
            mismatched.push(Question { context, answers: Vec::new(), ..question.clone() });
            answerable.push(question.clone());
        }
    }
    [answerable, mismatched]
}

/// Answers `pairs` with the questions of `translated`, which are the same questions in another
/// language.
fn outcomes(
    reader: &Reader,
    pairs: &[Question],
    translated: &[Question],
    language: Language,
) -> Result<Vec<Outcome>> {
    let mut questions = pairs.to_vec();
    for (question, source) in questions.iter_mut().zip(translated) {
        assert_eq!(question.id, source.id);
        question.question.clone_from(&source.question);
    }
    let answers = reader.answer_in_contexts(&questions)?;
    let best = answers.iter().map(|(_, n_best)| {
        let text = n_best.candidates.first().map(|best| best.text.clone());
        (n_best.id.clone(), text.unwrap_or_default())
    });
    let predictions = Predictions(best.collect());
    let f1: Vec<f64> = if questions[0].answers.is_empty() {
        vec![0.0; questions.len()]
    } else {
        let gold = Dataset { path: "pairs".into(), version: None, questions };
        let scored = score(&gold, &predictions, Normalization::Mlqa(language))?;
        scored.per_question.iter().map(|question| 100.0 * question.f1).collect()
    };
    let outcome = |((answers, n_best), f1): (_, f64)| {
        let (answers, n_best): (polyqa::Answers, mlqa_eval::NBest) = (answers, n_best);
        let null_odds = n_best.null_odds().expect("a paragraph has windows");
        Outcome { null_odds, rejected: answers.no_answer, f1 }
    };
    Ok(answers.into_iter().zip(f1).map(outcome).collect())
}

/// Returns the share of rejected mismatched pairs and the lost F1 of a rule.
fn cost(
    answerable: &[Outcome],
    mismatched: &[Outcome],
    is_rejected: impl Fn(&Outcome) -> bool,
) -> [f64; 2] {
    let rejected = mismatched.iter().filter(|one| is_rejected(one)).count();
    // An empty sum of floats is -0.
    let lost: f64 =
        answerable.iter().filter(|one| is_rejected(one)).fold(0.0, |sum, one| sum + one.f1);
    [100.0 * rejected as f64 / mismatched.len() as f64, lost / answerable.len() as f64]
}

fn row(answerable: &[Outcome], mismatched: &[Outcome]) -> Row {
    let higher = |one: &Outcome| -> f64 {
        mismatched
            .iter()
            .map(|other| match other.null_odds.total_cmp(&one.null_odds) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            })
            .sum()
    };
    let pairs = (answerable.len() * mismatched.len()) as f64;
    let [rejected, lost_f1] = cost(answerable, mismatched, |one| one.rejected);
    // Between two null odds, all thresholds have the same effect.
    let (mut best_rejected, mut lowest_cost) = (0.0f64, f64::INFINITY);
    let mut sufficient = f64::INFINITY..f64::NEG_INFINITY;
    let all = answerable.iter().chain(mismatched);
    let mut all: Vec<f64> = all.map(|one| one.null_odds).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    let mut below = f64::NEG_INFINITY;
    for lowest in all {
        let [rejected, lost] = cost(answerable, mismatched, |one| one.null_odds >= lowest);
        if lost <= MAX_LOST_F1 {
            best_rejected = best_rejected.max(rejected);
        }
        if rejected >= MIN_REJECTED {
            lowest_cost = lowest_cost.min(lost);
        }
        if lost <= MAX_LOST_F1 && rejected >= MIN_REJECTED {
            sufficient = sufficient.start.min(below)..lowest;
        }
        below = lowest;
    }
    Row {
        f1: answerable.iter().map(|one| one.f1).sum::<f64>() / answerable.len() as f64,
        auroc: answerable.iter().map(higher).sum::<f64>() / pairs,
        rejected,
        lost_f1,
        best_rejected,
        lowest_cost,
        sufficient,
    }
}

/// Returns the threshold that is sufficient for most rows, and the number of these rows.
fn best_common_threshold(rows: &[Row]) -> (f64, usize) {
    let count =
        |threshold: f64| rows.iter().filter(|row| row.sufficient.contains(&threshold)).count();
    let candidates = rows.iter().map(|row| row.sufficient.start).filter(|odds| odds.is_finite());
    let counted = candidates.map(|threshold| (threshold, count(threshold)));
    counted.max_by_key(|&(_, count)| count).unwrap_or((f64::NAN, 0))
}

fn print_row(text: &str, question: &str, row: &Row) {
    let Row { f1, auroc, rejected, lost_f1, best_rejected, lowest_cost, .. } = row;
    println!(
        "| {text} | {question} | {f1:.1} | {auroc:.3} | {rejected:.0} | {lost_f1:.1} | \
         {best_rejected:.0} | {lowest_cost:.1} |"
    );
}

fn print_summary(name: &str, rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    let mean = |value: fn(&Row) -> f64| rows.iter().map(value).sum::<f64>() / rows.len() as f64;
    let mean_row = Row {
        f1: mean(|row| row.f1),
        auroc: mean(|row| row.auroc),
        rejected: mean(|row| row.rejected),
        lost_f1: mean(|row| row.lost_f1),
        best_rejected: mean(|row| row.best_rejected),
        lowest_cost: mean(|row| row.lowest_cost),
        sufficient: f64::NAN..f64::NAN,
    };
    print_row("mean", name, &mean_row);
    let count = |is_reached: fn(&Row) -> bool| rows.iter().filter(|row| is_reached(row)).count();
    let lowest = rows.iter().map(|row| row.auroc).fold(f64::INFINITY, f64::min);
    let (common, common_count) = best_common_threshold(rows);
    println!(
        "\n{name}: {} of {} pairs of languages reject {MIN_REJECTED} % for at most {MAX_LOST_F1} F1, \
         {common_count} with the best common threshold ({common:.2}), {} with a threshold of their own; \
         lowest AUROC {lowest:.3}\n",
        count(|row| row.rejected >= MIN_REJECTED && row.lost_f1 <= MAX_LOST_F1),
        rows.len(),
        count(|row| row.best_rejected >= MIN_REJECTED),
    );
}

fn main() -> Result<()> {
    let options = Options::parse();
    let (true, Some(model)) = (options.bench, &options.model) else {
        println!("skipped: no --model");
        return Ok(());
    };
    let start = Instant::now();
    let device = Device::cuda_if_available();
    let reader = Reader::load(model, device, select_precision(None, device)?)?;
    let sets: Vec<(Language, [Vec<Question>; 2])> =
        options.languages.iter().map(|&language| (language, read(language, &options))).collect();
    println!("{} questions per pair, {:?}\n", sets[0].1[0].len(), reader.precision());
    println!(
        "| text | question | F1 | AUROC | rejected, % | lost F1 | own threshold: rejected for \
         {MAX_LOST_F1} F1, % | lost F1 for {MIN_REJECTED} % |\n|---|---|---:|---:|---:|---:|---:|---:|"
    );
    let (mut same, mut different) = (Vec::new(), Vec::new());
    for (language, [answerable, mismatched]) in &sets {
        for (question_language, [translated, _]) in &sets {
            let answered = |pairs| outcomes(&reader, pairs, translated, *language);
            let row = row(&answered(answerable)?, &answered(mismatched)?);
            print_row(language.as_str(), question_language.as_str(), &row);
            if language == question_language { &mut same } else { &mut different }.push(row);
        }
    }
    println!();
    print_summary("same language", &same);
    print_summary("different languages", &different);
    println!("{:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
