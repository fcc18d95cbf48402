//! A stand-in for the search engine that LAKM's data come from.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bm25::{Embedder, EmbedderBuilder, Scorer, Tokenizer};
use kg_triples::Language;
use kg_triples::entity_linking::{EntityPage, PageText, page_files};
use kg_triples::jsonl::JsonlReader;
use kg_triples::phrases::{Document, QueryDocuments, StopWords, Units, words};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::stand_in::{Files, StandIn, line};

/// Where queries and documents lie, and how documents are ranked.
#[derive(Clone, Debug, clap::Args)]
pub struct Search {
    /// Folder with xquad.<lang>.json, whose questions are the queries
    #[arg(long, value_name = "DIR", required_unless_present = "own")]
    pub questions: Option<PathBuf>,
    /// Articles at the end of those files whose questions are left out, as they are kept for
    /// evaluation
    #[arg(long, default_value_t = 12)]
    pub held_out_articles: usize,
    /// Folder with entities.<lang>.jsonl[.gz]: label and extract are title and text
    #[arg(long, value_name = "DIR", required_unless_present = "own")]
    pub pages: Option<PathBuf>,
    /// In place of both a folder with train-context-xx-question-xx.json: its questions are the
    /// queries, each with its own passage for its only result
    #[arg(long, value_name = "DIR", conflicts_with_all = ["questions", "pages"])]
    pub own: Option<PathBuf>,
    /// Languages
    #[arg(long, value_name = "LANG,…", value_delimiter = ',', required = true)]
    pub languages: Vec<Language>,
    /// Code points of a text's beginning that stand in the title after the label, as a search page
    /// shows them; 0: none
    #[arg(long, default_value_t = 0)]
    pub snippet: usize,
}

/// Maximum number of documents of a query, N of the paper's "top N".
const RESULTS: usize = 10;
/// BM25's saturation of the term frequency.
const K1: f32 = 1.2;
/// BM25's weight of the document length.
const B: f32 = 0.75;

impl StandIn for Search {
    const COMMAND: &'static str = "demo-data search";

    fn seed(&self) -> Option<u64> {
        None
    }

    /// `queries.jsonl.gz`, for `kg-triples phrases`.
    fn make(&self) -> Result<(Files, Value)> {
        let found = match &self.own {
            Some(folder) => own_passages(folder, &self.languages)?,
            None => search(self)?,
        };
        let lines: String = found.iter().map(line).collect::<Result<_>>()?;
        let documents: usize = found.iter().map(|query| query.documents.len()).sum();
        let counts = json!({ "queries": found.len(), "documents": documents });
        Ok((vec![("queries.jsonl.gz".to_owned(), lines)], counts))
    }
}

/// Each question with its passage, which is its title too.
fn own_passages(folder: &Path, languages: &[Language]) -> Result<Vec<QueryDocuments>> {
    let mut all = Vec::new();
    for &language in languages {
        let path = folder.join(format!("train-context-{language}-question-{language}.json"));
        for question in mlqa_eval::Dataset::read(path)?.questions {
            let text = question.context.to_string();
            let documents = vec![Document { title: text.clone(), text }];
            all.push(QueryDocuments { query: question.question, language, documents });
        }
    }
    Ok(all)
}

/// Words as phrase mining sees them.
struct Terms;

impl Tokenizer for Terms {
    fn tokenize(&self, text: &str) -> Vec<String> {
        words(text, Units::Words).into_iter().map(|word| word.text).collect()
    }
}

/// Questions with the Wikipedia extracts that BM25 (Robertson and Zaragoza 2009) ranks first for
/// them.
///
/// **A stand-in.** LAKM mines the query log of a search engine and the titles of its results, which
/// are not public. Here the queries are reading-comprehension questions, the documents a few
/// thousand leads of encyclopedia pages about types and concepts, and the titles their labels. Web
/// titles repeat the words of a query, ten different pages do not share a label, so the paper's
/// `title_fraction` of 0.7 leaves next to nothing. Lower shares keep n-grams of a question that
/// name a page found for it. They show that the pipeline runs, and say nothing about the paper's
/// data.
///
/// Documents are compared by the words of title and text, less the query's stop words; documents
/// without a word of the query are no results. Of equal scores the earlier page comes first. The
/// result does not depend on the number of threads.
///
/// # Errors
/// Naming the file or key that cannot be used.
fn search(config: &Search) -> Result<Vec<QueryDocuments>> {
    let pages = config.pages.as_deref().context("--pages is not given")?;
    let xquad = config.questions.as_deref().context("--questions is not given")?;
    let files = page_files(pages)?;
    let mut all = Vec::new();
    for &language in &config.languages {
        let (_, pages) = files
            .iter()
            .find(|(code, _)| *code == language)
            .with_context(|| format!("{}: no entities.{language}.jsonl[.gz]", pages.display()))?;
        let index = Index::read(pages, config, StopWords::built_in(language, Units::Words)?)?;
        let queries = questions(&xquad.join(format!("xquad.{language}.json")), config)?;
        let found: Vec<QueryDocuments> = queries
            .into_par_iter()
            .map(|query| {
                let documents = index.best(&query, RESULTS);
                QueryDocuments { query, language, documents }
            })
            .collect();
        all.extend(found);
    }
    Ok(all)
}

/// The questions of all but the last articles.
fn questions(path: &Path, config: &Search) -> Result<Vec<String>> {
    let dataset = mlqa_eval::Dataset::read(path)?;
    let articles = dataset.articles();
    let kept = articles.len().saturating_sub(config.held_out_articles);
    Ok(articles.take(kept).flatten().map(|question| question.question.clone()).collect())
}

struct Index {
    documents: Vec<Document>,
    embedder: Embedder<u64, Terms>,
    scorer: Scorer<usize, u64>,
    stop_words: StopWords,
    snippet: usize,
}

impl Index {
    fn read(path: &Path, config: &Search, stop_words: StopWords) -> Result<Self> {
        let mut documents = Vec::new();
        for page in JsonlReader::<EntityPage>::open(path)? {
            let page = page?;
            if let (Some(title), Some(text)) = (&page.label, page.text(PageText::Extract)) {
                documents.push(Document { title: title.clone(), text: text.to_owned() });
            }
        }
        Ok(Self::new(documents, config, stop_words))
    }

    fn new(documents: Vec<Document>, config: &Search, stop_words: StopWords) -> Self {
        let texts: Vec<String> =
            documents.iter().map(|one| format!("{}\n{}", one.title, one.text)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let builder =
            EmbedderBuilder::<u64, Terms>::with_tokenizer_and_fit_to_corpus(Terms, &texts);
        let embedder = builder.k1(K1).b(B).build();
        let mut scorer = Scorer::new();
        for (number, text) in texts.iter().enumerate() {
            scorer.upsert(&number, embedder.embed(text));
        }
        Self { documents, embedder, scorer, stop_words, snippet: config.snippet }
    }

    /// The document under the title that a result has.
    fn shown(&self, document: &Document) -> Document {
        let mut title = document.title.clone();
        if self.snippet > 0 {
            title.push_str(": ");
            title.extend(document.text.chars().take_while(|c| *c != '\n').take(self.snippet));
        }
        Document { title, text: document.text.clone() }
    }

    fn best(&self, query: &str, results: usize) -> Vec<Document> {
        let mut terms = Terms.tokenize(query);
        terms.retain(|term| !self.stop_words.contains(term));
        let mut scored = self.scorer.matches(&self.embedder.embed(&terms.join(" ")));
        // Matches come from a hash map: equal scores have no order.
        scored.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
        let best = scored.into_iter().take(results);
        best.filter_map(|one| self.documents.get(one.id)).map(|one| self.shown(one)).collect()
    }
}

#[cfg(test)]
mod tests {
    use kg_triples::phrases::{PhraseConfig, PhraseMiner, mine_passages};

    use super::*;

    fn config(language: &str) -> Search {
        Search {
            questions: Some(data("xquad")),
            held_out_articles: 12,
            pages: Some(data("codex")),
            own: None,
            languages: vec![language.parse().unwrap()],
            snippet: 0,
        }
    }

    fn document(title: &str, text: &str) -> Document {
        Document { title: title.into(), text: text.into() }
    }

    #[test]
    fn scores_are_those_of_the_formula() {
        let texts = [
            document("bridge", "a bridge over the river"),
            document("river", "a river is a stream"),
            document("stream", "water"),
            document("stream", "water"),
        ];
        let config = config("es");
        let index = Index::new(texts.to_vec(), &config, StopWords::new(["the"], Units::Words));
        // Okapi BM25 with idf = ln(1 + (N - n + 0.5) / (n + 0.5)), by loops.
        let terms =
            |document: &Document| Terms.tokenize(&format!("{}\n{}", document.title, document.text));
        let all: Vec<Vec<String>> = texts.iter().map(terms).collect();
        let mean = all.iter().map(Vec::len).sum::<usize>() as f64 / all.len() as f64;
        let score = |document: &Vec<String>, term: &str| {
            let with = all.iter().filter(|own| own.iter().any(|word| word == term)).count() as f64;
            let idf = (1.0 + (all.len() as f64 - with + 0.5) / (with + 0.5)).ln();
            let count = document.iter().filter(|word| *word == term).count() as f64;
            idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * document.len() as f64 / mean))
        };
        for found in index.scorer.matches(&index.embedder.embed("River water!")) {
            let want = score(&all[found.id], "river") + score(&all[found.id], "water");
            assert!((f64::from(found.score) - want).abs() < 1e-5, "{} {want}", found.id);
        }
        let titles = |query: &str, count: usize| -> Vec<String> {
            index.best(query, count).into_iter().map(|own| own.title).collect()
        };
        assert_eq!(titles("the river", 10), ["river", "bridge"]);
        assert_eq!(titles("water", 10), ["stream", "stream"]);
        assert!(titles("nothing", 10).is_empty());
        assert_eq!(titles("river", 1), ["river"]);
    }

    fn data(folder: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(folder)
    }

    #[test]
    fn questions_of_xquad_lead_to_passages_with_phrases() {
        let config = Search { held_out_articles: 40, snippet: 40, ..config("es") };
        let [one, two] = [1, 2].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| search(&config).unwrap())
        });
        assert_eq!(one, two);
        // The questions of the first 8 of 48 articles, in their order.
        let file = mlqa_eval::Dataset::read(data("xquad").join("xquad.es.json")).unwrap();
        let first: Vec<&str> =
            file.articles().take(8).flatten().map(|own| own.question.as_str()).collect();
        assert_eq!(one.iter().map(|own| own.query.as_str()).collect::<Vec<_>>(), first);
        for document in one.iter().flat_map(|query| &query.documents) {
            let (_, snippet) = document.title.rsplit_once(": ").unwrap();
            assert!(snippet.chars().count() <= 40);
        }
        assert!(one.iter().all(|own| own.documents.len() <= 10));
        let mined = |share: &str| {
            let title_fraction = share.parse().unwrap();
            let config = PhraseConfig { title_fraction, min_chars: 0, ..PhraseConfig::default() };
            let miner = PhraseMiner::new(config).unwrap();
            mine_passages(one.iter().cloned().map(Ok), &miner).unwrap().0
        };
        let (few, some) = (mined("0.7"), mined("1/10"));
        assert!(few.len() < some.len(), "{} {}", few.len(), some.len());
    }

    #[test]
    fn own_questions_give_the_words_that_they_share_with_their_passage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train-context-en-question-en.json");
        let file = serde_json::json!({"data": [{"paragraphs": [{
            "context": "The old town of Bern lies in a loop of the river Aare.",
            "qas": [{"id": "1", "question": "Where is the old town of Bern?",
                "answers": [{"text": "Aare", "answer_start": 49}]}],
        }]}]});
        std::fs::write(&path, file.to_string()).unwrap();
        let found = own_passages(folder.path(), &[Language::EN]).unwrap();
        let mining = PhraseConfig { min_chars: 0, ..PhraseConfig::default() };
        let miner = PhraseMiner::new(mining).unwrap();
        let (passages, _) = mine_passages(found.into_iter().map(Ok), &miner).unwrap();
        let [passage] = passages.as_slice() else { panic!("{passages:?}") };
        let masked: Vec<&str> = passage.phrases.iter().map(|own| own.phrase.as_str()).collect();
        // Stop words at either end are left out; "old" is one.
        assert_eq!(masked, ["town of bern"]);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let config = config("de");
        for (wrong, why) in [
            (
                Search { languages: vec!["vi".parse().unwrap()], ..config.clone() },
                "entities.vi.jsonl",
            ),
            (Search { pages: Some(data("none")), ..config.clone() }, "none"),
        ] {
            let error = format!("{:#}", search(&wrong).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }
}
