//! Search by words: BM25 over the terms of passages.
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, BinaryHeap};

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
    /// Id of the document.
    pub id: String,
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
    let mut terms = BTreeSet::new();
    language::for_each_term(question, |term| {
        terms.insert(term.to_owned());
    });
    if terms.is_empty() || limit == 0 {
        return Ok(Vec::new());
    }
    let query = |term: &String| -> Box<dyn Query> {
        let term = Term::from_field_text(text, term);
        Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
    };
    let query = BooleanQuery::union(terms.iter().map(query).collect());
    let statistics = Statistics { searcher };
    searcher.search_with_statistics_provider(&query, &BestPassages { limit }, &statistics)
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

/// Collects the best passages.
struct BestPassages {
    limit: usize,
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
            Some(Reverse(last)) if self.heap.len() == self.limit => last.score.next_down(),
            _ => Score::MIN,
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

impl Collector for BestPassages {
    type Fruit = Vec<WordHit>;
    type Child = SegmentCandidates;

    fn for_segment(&self, _: u32, reader: &SegmentReader) -> tantivy::Result<SegmentCandidates> {
        Ok(SegmentCandidates {
            limit: self.limit,
            ids: id_column(reader)?.ords().clone(),
            numbers: reader.fast_fields().u64(NUMBER)?,
            heap: BinaryHeap::new(),
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
        let mut threshold = Score::MIN;
        weight.for_each_pruning(threshold, reader, &mut |doc, score| {
            if alive.is_none_or(|alive| alive.is_alive(doc)) {
                threshold = candidates.add(doc, score);
            }
            threshold
        })?;
        let ids = id_column(reader)?;
        let hit = |Reverse(candidate): Reverse<Candidate>| {
            let mut id = String::new();
            ids.ord_to_str(candidate.id.0, &mut id)?;
            let address = DocAddress::new(segment_ord, candidate.doc);
            Ok(WordHit { score: candidate.score, id, number: candidate.number.0, address })
        };
        candidates.heap.into_iter().map(hit).collect()
    }

    fn merge_fruits(&self, fruits: Vec<Vec<WordHit>>) -> tantivy::Result<Vec<WordHit>> {
        let mut hits: Vec<WordHit> = fruits.into_iter().flatten().collect();
        hits.sort_by(|a, b| {
            let by_score = b.score.total_cmp(&a.score);
            by_score.then_with(|| a.id.cmp(&b.id)).then(a.number.cmp(&b.number))
        });
        hits.truncate(self.limit);
        Ok(hits)
    }
}

/// Returns the column of document ids of a segment.
pub(crate) fn id_column(reader: &SegmentReader) -> tantivy::Result<tantivy::columnar::StrColumn> {
    let column = reader.fast_fields().str(ID)?;
    column.ok_or_else(|| TantivyError::SchemaError("a segment has no column of ids".to_owned()))
}
