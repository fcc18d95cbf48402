//! Search by words: BM25 over the terms of passages.
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::{Mutex, PoisonError};

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::Column;
use tantivy::query::{Bm25StatisticsProvider, BooleanQuery, Query, TermQuery, Weight};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocAddress, DocId, Score, Searcher, SegmentReader, TantivyError, Term};

use crate::terms::{ID, NUMBER};

/// Minimum number of passages from which inverse document frequencies are computed. A smaller
/// collection is padded with passages of average length without words. Without padding, an
/// additional short document would change the weight of rare words relative to frequent words.
const MIN_PASSAGES: u64 = 50;

/// A passage found by words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WordHit {
    pub score: f32,
    /// Index of the document's id in the sorted ids of its segment.
    id: u64,
    /// Number of the passage.
    pub number: u64,
    pub address: DocAddress,
}

/// Returns the `limit` best passages by BM25. Passages with equal scores are in the order of their
/// documents' ids, and in the order of the document.
pub(crate) fn search(
    searcher: &Searcher,
    text: Field,
    question: &str,
    limit: usize,
) -> tantivy::Result<Vec<WordHit>> {
    match to_query(text, question) {
        Some(query) if limit > 0 => {
            let statistics = Statistics { searcher };
            let best = BestPassages { searcher, limit, scores: Mutex::default() };
            searcher.search_with_statistics_provider(&query, &best, &statistics)
        }
        _ => Ok(Vec::new()),
    }
}

/// Returns the number and the BM25 score of each passage with a word of the question, in ascending
/// order of numbers.
pub(crate) fn scores(
    searcher: &Searcher,
    text: Field,
    question: &str,
) -> tantivy::Result<Vec<(u64, Score)>> {
    let Some(query) = to_query(text, question) else { return Ok(Vec::new()) };
    let statistics = Statistics { searcher };
    searcher.search_with_statistics_provider(&query, &AllPassages, &statistics)
}

/// Returns the query for passages with any word of a question; `None` without words.
fn to_query(text: Field, question: &str) -> Option<BooleanQuery> {
    let mut terms = BTreeSet::new();
    language::for_each_term(question, |term| {
        terms.insert(term.to_owned());
    });
    let query = |term: &String| -> Box<dyn Query> {
        let term = Term::from_field_text(text, term);
        Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
    };
    (!terms.is_empty()).then(|| BooleanQuery::union(terms.iter().map(query).collect()))
}

/// The statistics of a searcher, padded to [`MIN_PASSAGES`].
struct Statistics<'a> {
    searcher: &'a Searcher,
}

impl Bm25StatisticsProvider for Statistics<'_> {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        let tokens = Bm25StatisticsProvider::total_num_tokens(self.searcher, field)?;
        let passages = Bm25StatisticsProvider::total_num_docs(self.searcher)?;
        // Padding does not change the average length.
        match passages {
            0 => Ok(0),
            1..MIN_PASSAGES => Ok(tokens * MIN_PASSAGES / passages),
            _ => Ok(tokens),
        }
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(Bm25StatisticsProvider::total_num_docs(self.searcher)?.max(MIN_PASSAGES))
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        self.searcher.doc_freq(term)
    }
}

/// Collects the scores of all passages.
struct AllPassages;

/// The scores of a segment's passages.
struct SegmentScores {
    numbers: Column<u64>,
    scores: Vec<(u64, Score)>,
}

impl SegmentCollector for SegmentScores {
    type Fruit = Vec<(u64, Score)>;

    fn collect(&mut self, doc: DocId, score: Score) {
        self.scores.push((value(&self.numbers, doc), score));
    }

    fn harvest(self) -> Vec<(u64, Score)> {
        self.scores
    }
}

impl Collector for AllPassages {
    type Fruit = Vec<(u64, Score)>;
    type Child = SegmentScores;

    fn for_segment(&self, _: u32, reader: &SegmentReader) -> tantivy::Result<SegmentScores> {
        let numbers = reader.fast_fields().u64(NUMBER)?;
        Ok(SegmentScores { numbers, scores: Vec::new() })
    }

    fn requires_scoring(&self) -> bool {
        true
    }

    fn merge_fruits(&self, scores: Vec<Vec<(u64, Score)>>) -> tantivy::Result<Vec<(u64, Score)>> {
        let mut scores: Vec<(u64, Score)> = scores.into_iter().flatten().collect();
        scores.sort_unstable_by_key(|&(number, _)| number);
        Ok(scores)
    }
}

/// Collects the best passages.
struct BestPassages<'a> {
    searcher: &'a Searcher,
    limit: usize,
    /// The `limit` best scores of the segments that were searched, best first.
    scores: Mutex<Vec<Score>>,
}

/// A passage of a segment. The greatest one is the best one.
#[derive(PartialEq)]
struct Candidate {
    score: Score,
    /// Index of the document's id in the segment's sorted ids.
    id: Reverse<u64>,
    number: Reverse<u64>,
    doc: DocId,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then(self.id.cmp(&other.id)).then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The candidates of a segment.
struct SegmentCandidates {
    limit: usize,
    ids: Column<u64>,
    numbers: Column<u64>,
    heap: BinaryHeap<Reverse<Candidate>>,
    /// The score that a passage must exceed because of other segments.
    min_score: Score,
}

impl SegmentCandidates {
    /// Adds a passage, and returns the score that a passage must exceed to be considered.
    fn add(&mut self, doc: DocId, score: Score) -> Score {
        let id = Reverse(value(&self.ids, doc));
        let number = Reverse(value(&self.numbers, doc));
        self.heap.push(Reverse(Candidate { score, id, number, doc }));
        if self.heap.len() > self.limit {
            self.heap.pop();
        }
        match self.heap.peek() {
            // Passages with the same score as the last candidate are considered, too.
            Some(Reverse(last)) if self.heap.len() == self.limit => {
                last.score.next_down().max(self.min_score)
            }
            _ => self.min_score,
        }
    }
}

/// Returns a passage's value in a column.
fn value(column: &Column<u64>, doc: DocId) -> u64 {
    column.first(doc).expect("a passage has an id and a number")
}

impl SegmentCollector for SegmentCandidates {
    type Fruit = Vec<WordHit>;

    fn collect(&mut self, doc: DocId, score: Score) {
        self.add(doc, score);
    }

    fn harvest(self) -> Vec<WordHit> {
        Vec::new()
    }
}

impl Collector for BestPassages<'_> {
    type Fruit = Vec<WordHit>;
    type Child = SegmentCandidates;

    fn for_segment(&self, _: u32, reader: &SegmentReader) -> tantivy::Result<SegmentCandidates> {
        Ok(SegmentCandidates {
            limit: self.limit,
            ids: id_column(reader)?.ords().clone(),
            numbers: reader.fast_fields().u64(NUMBER)?,
            heap: BinaryHeap::new(),
            min_score: self.min_score(),
        })
    }

    fn requires_scoring(&self) -> bool {
        true
    }

    fn collect_segment(
        &self,
        weight: &dyn Weight,
        segment_ord: u32,
        reader: &SegmentReader,
    ) -> tantivy::Result<Vec<WordHit>> {
        let mut candidates = self.for_segment(segment_ord, reader)?;
        let alive = reader.alive_bitset();
        let mut threshold = candidates.min_score;
        weight.for_each_pruning(threshold, reader, &mut |doc, score| {
            if alive.is_none_or(|alive| alive.is_alive(doc)) {
                threshold = candidates.add(doc, score);
            }
            threshold
        })?;
        let hit = |Reverse(candidate): Reverse<Candidate>| {
            let Candidate { score, id: Reverse(id), number: Reverse(number), doc } = candidate;
            WordHit { score, id, number, address: DocAddress::new(segment_ord, doc) }
        };
        let hits: Vec<WordHit> = candidates.heap.into_iter().map(hit).collect();
        self.add_scores(&hits);
        Ok(hits)
    }

    fn merge_fruits(&self, fruits: Vec<Vec<WordHit>>) -> tantivy::Result<Vec<WordHit>> {
        let mut hits: Vec<WordHit> = fruits.into_iter().flatten().collect();
        let segment = |hit: &WordHit| hit.address.segment_ord;
        hits.sort_by_key(|hit| (segment(hit), hit.id, hit.number));
        hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut rank = 0;
        for equal in hits.chunk_by_mut(|a, b| a.score.total_cmp(&b.score).is_eq()) {
            // Only the ids of different segments must be compared as text, which is slow to read.
            if rank < self.limit && segment(&equal[0]) != segment(&equal[equal.len() - 1]) {
                self.sort_by_id(equal)?;
            }
            rank += equal.len();
        }
        hits.truncate(self.limit);
        Ok(hits)
    }
}

impl BestPassages<'_> {
    /// Returns the score that a passage must exceed to be considered, given the passages of other
    /// segments. Passages with the same score as the last of the best passages are considered.
    fn min_score(&self) -> Score {
        let scores = self.scores.lock().unwrap_or_else(PoisonError::into_inner);
        scores.get(self.limit - 1).map_or(Score::MIN, |score| score.next_down())
    }

    fn add_scores(&self, hits: &[WordHit]) {
        let mut scores = self.scores.lock().unwrap_or_else(PoisonError::into_inner);
        scores.extend(hits.iter().map(|hit| hit.score));
        scores.sort_by(|a, b| b.total_cmp(a));
        scores.truncate(self.limit);
    }

    /// Sorts passages by the ids of their documents and by their numbers.
    fn sort_by_id(&self, hits: &mut [WordHit]) -> tantivy::Result<()> {
        let mut keyed = Vec::with_capacity(hits.len());
        for hit in &*hits {
            let mut id = String::new();
            let reader = self.searcher.segment_reader(hit.address.segment_ord);
            id_column(reader)?.ord_to_str(hit.id, &mut id)?;
            keyed.push((id, hit.number, hit.clone()));
        }
        keyed.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        for (hit, (.., sorted)) in hits.iter_mut().zip(keyed) {
            *hit = sorted;
        }
        Ok(())
    }
}

/// Returns the column of document ids of a segment.
pub(crate) fn id_column(reader: &SegmentReader) -> tantivy::Result<tantivy::columnar::StrColumn> {
    let column = reader.fast_fields().str(ID)?;
    column.ok_or_else(|| TantivyError::SchemaError("a segment has no column of ids".to_owned()))
}
