//! Measures the F1 of a reader on XQuAD's paragraphs and whole articles, for each window score
//! (`--window-score` of `polyqa answer`). F1 is also measured for passages with the penalties of
//! BM25 or of a retriever. Windows are computed once for all window scores. `POLYQA_PRECISION` sets
//! the precision. `--unrelated` also measures the share of answers that change when another article
//! is added as a document.
#![allow(clippy::unwrap_used, missing_docs)] // a program for developers

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use mlqa_eval::{
    Dataset, DecodeConfig, Language, Normalization, Predictions, Purpose, Question, Resampling,
    Window, WindowConfig, WindowScore, bootstrap, score, windows,
};
use polyqa::{
    Document, DocumentIndex, Documents, Query, Reader, Result, Retrieval, Retriever, Step,
    select_precision,
};
use tasks::question_answering::QaPredictor;
use tch::Device;
use xlmr_model::{Head, Pretrained};

/// F1 for each of [`WINDOW_SCORES`], F1 for passages with BM25 and with the retriever, and the
/// percentages of changed answers with BM25 and with the retriever.
type RowValues = [f64; 7];

/// The number of questions of each article, the summed F1 of these questions with paragraphs as
/// contexts, and the summed F1 with whole articles as contexts.
type Totals = (Vec<usize>, [Vec<RowValues>; 2]);

/// Windows per batch.
const BATCH_SIZE: usize = 32;

const WINDOW_SCORES: [WindowScore; 3] =
    [WindowScore::Raw, WindowScore::Softmax, WindowScore::Margin];

/// F1 of a reader on paragraphs and whole articles.
#[derive(Parser)]
struct Options {
    /// Folder of a reader that was not trained on the articles
    #[arg(long)]
    model: Option<PathBuf>,
    /// Languages of XQuAD
    #[arg(long, value_delimiter = ',', default_value = "en,de,es,ar,hi,vi,zh")]
    languages: Vec<Language>,
    /// Also answer the questions of every language over the articles of every other language
    #[arg(long)]
    pairs: bool,
    /// Index of the first test article
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// Number of test articles
    #[arg(long, default_value_t = 12)]
    articles: usize,
    /// Use every Nth question
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Sentence encoder that reduces the scores of answers in less relevant passages
    #[arg(long)]
    retriever: Option<PathBuf>,
    /// Also add the next article as a second document, and count the first answers that change
    #[arg(long)]
    unrelated: bool,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// The questions of each article: first with paragraphs as contexts, second with the whole article
/// as context.
type Articles = [Vec<Vec<Question>>; 2];

fn read_articles(language: Language, options: &Options) -> Articles {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dataset = Dataset::read(root.join(format!("data/xquad/xquad.{language}.json"))).unwrap();
    let (mut paragraphs, mut by_article) = (Vec::new(), Vec::new());
    for article in dataset.articles().skip(options.skip).take(options.articles) {
        let mut texts: Vec<&str> = article.iter().map(|question| &*question.context).collect();
        texts.dedup();
        let context: Arc<str> = texts.join("\n\n").into();
        let over_article =
            |question: &Question| Question { context: context.clone(), ..question.clone() };
        let selected_questions = || article.iter().step_by(options.every);
        paragraphs.push(selected_questions().cloned().collect());
        by_article.push(selected_questions().map(over_article).collect());
    }
    [paragraphs, by_article]
}

/// Returns `articles` with each question replaced by its translation, the question of `translated`
/// with the same id.
fn with_questions(articles: &[Vec<Question>], translated: &[Vec<Question>]) -> Vec<Vec<Question>> {
    let mut articles = articles.to_vec();
    for (question, source) in articles.iter_mut().flatten().zip(translated.iter().flatten()) {
        assert_eq!(question.id, source.id);
        question.question.clone_from(&source.question);
    }
    articles
}

/// Returns the summed F1 of questions.
fn sum_f1(questions: &[Question], predictions: &Predictions, language: Language) -> Result<f64> {
    let path = "articles".into();
    let gold = Dataset { path, version: None, questions: questions.to_vec() };
    let scored = score(&gold, predictions, Normalization::Mlqa(language))?;
    Ok(scored.per_question.iter().map(|question| 100.0 * question.f1).sum())
}

/// Answers the questions of an article over the passages of the article; `unrelated` is an article
/// that is added as a second document.
fn predict_all(
    reader: &Reader,
    retriever: Option<&Retriever>,
    article: &[Question],
    unrelated: Option<&[Question]>,
) -> Result<Predictions> {
    let document = |article: &[Question]| Document {
        id: article[0].id.as_str().into(),
        text: article[0].context.clone(),
    };
    let documents = [Some(article), unrelated].into_iter().flatten().map(document);
    let documents: Documents = documents.collect::<Vec<_>>().into();
    let mut index = DocumentIndex::over(&documents)?;
    if let Some(retriever) = retriever {
        index = index.with_retriever(retriever, &mut |_| {})?;
    }
    let query = |qa: &Question| Query { id: Some(qa.id.clone()), text: qa.question.clone() };
    let queries: Vec<Query> = article.iter().map(query).collect();
    let mut best_answers = Vec::new();
    let mut on_step = |step: Step| -> Result<()> {
        if let Step::Answers(results) = step {
            best_answers.extend(results.into_iter().map(|result| {
                let text = result.answers.first().map(|answer| answer.text.clone());
                (result.id.expect("a query has an id"), text.unwrap_or_default())
            }));
        }
        Ok(())
    };
    let retrieval = Retrieval { retriever, ..Retrieval::by_words(&index) };
    reader.answer_all(&queries, &retrieval, &mut on_step)?;
    Ok(Predictions(best_answers.into_iter().collect()))
}

/// Computes the summed F1 of each article's questions for each window score.
fn article_sums(
    reader: &Pretrained,
    articles: &[Vec<Question>],
    language: Language,
) -> Result<Vec<RowValues>> {
    let Pretrained { model, tokenizer, .. } = reader;
    let config = WindowConfig::default();
    let predictor = QaPredictor::new(model, tokenizer, &config);
    let mut sums = Vec::new();
    for questions in articles {
        let windows = windows(questions, tokenizer, &config, Purpose::Eval)?;
        let mut order: Vec<usize> = (0..windows.len()).collect();
        order.sort_by_key(|&index| windows[index].input_ids.len());
        let mut logits = vec![(Vec::new(), Vec::new()); windows.len()];
        for batch in order.chunks(BATCH_SIZE) {
            let rows: Vec<&Window> = batch.iter().map(|&index| &windows[index]).collect();
            for (&index, window_logits) in batch.iter().zip(predictor.window_logits(&rows)?) {
                logits[index] = window_logits;
            }
        }
        let mut sum = [f64::NAN; 7];
        for (window_score, sum) in WINDOW_SCORES.into_iter().zip(&mut sum) {
            let decoding = DecodeConfig { window_score, ..DecodeConfig::default() };
            let predictor = predictor.clone().with_decoding(&decoding);
            let answers = predictor.best_answers(questions, &windows, logits.clone())?;
            *sum = sum_f1(questions, &Predictions::from(answers.as_slice()), language)?;
        }
        sums.push(sum);
    }
    Ok(sums)
}

/// Formats a table cell: the mean over questions with its 95 % bootstrap interval over articles.
/// Articles have different numbers of questions, so the mean is the ratio of two sums; the
/// bootstrap uses a linear approximation of this ratio.
fn cell(sums: &[f64], counts: &[usize], signed: bool) -> String {
    let questions = counts.iter().sum::<usize>() as f64;
    let mean = sums.iter().sum::<f64>() / questions;
    if mean.is_nan() {
        return "–".to_owned();
    }
    let scale = sums.len() as f64 / questions;
    let pairs = sums.iter().zip(counts);
    let values: Vec<f64> =
        pairs.map(|(sum, &count)| mean + scale * (sum - mean * count as f64)).collect();
    let interval = bootstrap(&values, &Resampling::default()).unwrap();
    match signed {
        true => format!("{:+.1} ({:+.1} to {:+.1})", interval.mean, interval.low, interval.high),
        false => format!("{:.1} ({:.1} to {:.1})", interval.mean, interval.low, interval.high),
    }
}

/// Formats a table row: F1 on paragraphs with raw scores, F1 on articles with each window score,
/// and differences of F1.
fn row(paragraphs: &[RowValues], by_article: &[RowValues], counts: &[usize]) -> String {
    let column = |sums: &[RowValues], index: usize| {
        cell(&sums.iter().map(|sum| sum[index]).collect::<Vec<f64>>(), counts, false)
    };
    let difference = |(a, b): (usize, usize)| {
        cell(&by_article.iter().map(|sum| sum[a] - sum[b]).collect::<Vec<f64>>(), counts, true)
    };
    let mut cells = vec![column(paragraphs, 0)];
    cells.extend((0..5).map(|index| column(by_article, index)));
    cells.extend([(3, 1), (3, 2), (4, 3)].map(difference));
    cells.extend((5..7).map(|index| column(by_article, index)));
    cells.join(" | ")
}

fn main() -> Result<()> {
    let options = Options::parse();
    let (true, Some(model)) = (options.bench, &options.model) else {
        println!("skipped: no --model");
        return Ok(());
    };
    let device = Device::cuda_if_available();
    let precision = select_precision(None, device)?;
    let pretrained = Pretrained::load_trained(model, Head::Span, device, precision)?;
    let reader = Reader::load(model, device, precision)?;
    println!("{} articles, {:?}", options.articles, reader.precision());
    let retriever =
        options.retriever.as_ref().map(|folder| Retriever::load(folder, device, precision));
    let retriever = retriever.transpose()?;
    println!(
        "| documents | questions | paragraph | raw | softmax | margin | BM25 | retriever | \
         BM25 − softmax | BM25 − margin | retriever − BM25 | changed, BM25 | changed, retriever |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    );
    let read = |&language: &Language| (language, read_articles(language, &options));
    let languages: Vec<(Language, Articles)> = options.languages.iter().map(read).collect();
    let start = Instant::now();
    // Sums for each article, first over pairs of equal context and question languages, then over
    // pairs of different languages.
    let mut totals: [Totals; 2] = Default::default();
    for (language, documents) in &languages {
        for (question_language, translated) in &languages {
            if !(options.pairs || question_language == language) {
                continue;
            }
            let [paragraphs, by_article] =
                [0, 1].map(|level| with_questions(&documents[level], &translated[level]));
            let mut sums = [
                article_sums(&pretrained, &paragraphs, *language)?,
                article_sums(&pretrained, &by_article, *language)?,
            ];
            let next_articles = by_article.iter().cycle().skip(1);
            for ((article, next), sum) in by_article.iter().zip(next_articles).zip(&mut sums[1]) {
                for (index, retriever) in [None, retriever.as_ref()].into_iter().enumerate() {
                    if index == 1 && retriever.is_none() {
                        continue;
                    }
                    let answers = predict_all(&reader, retriever, article, None)?;
                    sum[3 + index] = sum_f1(article, &answers, *language)?;
                    if options.unrelated {
                        let with_unrelated = predict_all(&reader, retriever, article, Some(next))?;
                        let changed = answers
                            .0
                            .iter()
                            .filter(|(id, text)| with_unrelated.0.get(*id) != Some(*text));
                        sum[5 + index] = 100.0 * changed.count() as f64;
                    }
                }
            }
            let counts: Vec<usize> = by_article.iter().map(Vec::len).collect();
            println!("| {language} | {question_language} | {} |", row(&sums[0], &sums[1], &counts));
            let (count, total) = &mut totals[usize::from(question_language != language)];
            count.resize(counts.len(), 0);
            count.iter_mut().zip(&counts).for_each(|(total, count)| *total += count);
            for (total, sums) in total.iter_mut().zip(sums) {
                total.resize(sums.len(), [0.0; 7]);
                for (total, sum) in total.iter_mut().zip(sums) {
                    total.iter_mut().zip(sum).for_each(|(total, sum)| *total += sum);
                }
            }
        }
    }
    for (name, (count, [paragraphs, by_article])) in ["same", "different"].iter().zip(&totals) {
        if !count.is_empty() {
            println!("| mean | {name} | {} |", row(paragraphs, by_article, count));
        }
    }
    println!("\n{:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
