//! Measures the recall of the first stage across languages. For every pair of languages and each
//! question, all XQuAD articles are ranked by BM25, by the dense and by the hybrid ranking. The
//! results are recall@1 and recall@5: the shares of questions whose gold article is ranked first,
//! and whose gold article is among the first five.
#![allow(clippy::unwrap_used, missing_docs)] // a program for developers

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use mlqa_eval::Dataset;
use polyqa::{Document, DocumentIndex, Documents, Ranking, Result, Retriever, select_precision};
use tch::Device;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Recall of the first stage on XQuAD.
#[derive(Parser)]
struct Options {
    /// Sentence encoder
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.pretrained/multilingual-e5-small-trimmed"))]
    model: PathBuf,
    /// Languages of XQuAD
    #[arg(long, value_delimiter = ',', default_value = "en,de,es,ar,hi,vi,zh")]
    languages: Vec<String>,
    /// Use every Nth question
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Compute precision of the encoder, as in `polyqa answer`
    #[arg(long)]
    precision: Option<String>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// The articles and questions of a language; each question has the index of its article.
struct Language {
    name: String,
    articles: Documents,
    questions: Vec<(String, usize)>,
}

impl Language {
    fn read(name: &str, every: usize) -> Self {
        let file = Path::new(ROOT).join(format!("data/xquad/xquad.{name}.json"));
        let (mut articles, mut questions) = (Vec::new(), Vec::new());
        for (index, article) in Dataset::read(file).unwrap().articles().enumerate() {
            let mut paragraphs: Vec<&str> = article.iter().map(|qa| &*qa.context).collect();
            paragraphs.dedup();
            let text = paragraphs.join("\n").into();
            articles.push(Document { id: article[0].title.clone(), text });
            questions.extend(article.iter().map(|qa| (qa.question.clone(), index)));
        }
        Self {
            name: name.to_owned(),
            articles: articles.into(),
            questions: questions.into_iter().step_by(every).collect(),
        }
    }
}

/// Computes recall@1 and recall@5 in percent.
fn recall(rankings: &[Vec<usize>], questions: &[(String, usize)]) -> [f64; 2] {
    [1, 5].map(|max_rank| {
        let pairs = rankings.iter().zip(questions);
        let hits =
            pairs.filter(|(ranking, (_, gold))| ranking.iter().take(max_rank).any(|k| k == gold));
        100.0 * hits.count() as f64 / questions.len() as f64
    })
}

fn main() -> Result<()> {
    let options = Options::parse();
    if !options.bench {
        return Ok(());
    }
    if !options.model.is_dir() {
        println!("skipped: {} is missing; run `cargo xtask reader`", options.model.display());
        return Ok(());
    }
    let device = Device::cuda_if_available();
    let precision = select_precision(options.precision.as_deref(), device)?;
    let retriever = Retriever::load(&options.model, device, precision)?;
    let read = |name: &String| Language::read(name, options.every);
    let languages: Vec<Language> = options.languages.iter().map(read).collect();
    println!(
        "{precision:?}, prefixes {:?}; recall@1 / recall@5 in percent\n",
        retriever.prefixes()
    );
    println!("| documents | questions | BM25 | dense | hybrid |\n|---|---|---:|---:|---:|");
    let start = Instant::now();
    let mut totals = [[0.0; 2]; 3];
    let mut lowest = [f64::INFINITY; 3];
    for document_language in &languages {
        let articles = &document_language.articles;
        let index = DocumentIndex::over(articles)?.with_retriever(&retriever, &mut |_| {})?;
        for question_language in &languages {
            let texts: Vec<&str> =
                question_language.questions.iter().map(|(text, _)| text.as_str()).collect();
            let mut row = format!("| {} | {} |", document_language.name, question_language.name);
            let rankings = [Ranking::Bm25, Ranking::Dense(&retriever), Ranking::Hybrid(&retriever)];
            for ((ranking, total), min) in rankings.into_iter().zip(&mut totals).zip(&mut lowest) {
                let [recall_1, recall_5] =
                    recall(&index.rank(&texts, ranking)?, &question_language.questions);
                row += &format!(" {recall_1:.1} / {recall_5:.1} |");
                *total = [total[0] + recall_1, total[1] + recall_5];
                *min = min.min(recall_5);
            }
            println!("{row}");
        }
    }
    let pairs = (languages.len() * languages.len()) as f64;
    let means = totals
        .map(|[recall_1, recall_5]| format!("{:.1} / {:.1}", recall_1 / pairs, recall_5 / pairs));
    println!("| mean | | {} |", means.join(" | "));
    println!(
        "| lowest recall@5 | | {} |",
        lowest.map(|recall_5| format!("{recall_5:.1}")).join(" | ")
    );
    println!("\n{:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
