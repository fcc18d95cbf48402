//! Terms of passages in memory.
//!
//! The terms are collected passage by passage, which appends to one list, and are sorted by term
//! when they are written. tantivy's own writer appends to a list per term instead, which reads
//! memory at three unrelated addresses for each term of a passage.
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use tantivy::DocId;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::FieldSerializer;

/// Bits of a frequency in [`Posting`].
const FREQUENCY_BITS: u32 = 8;

/// Maximum number of passages.
pub(crate) const MAX_PASSAGES: usize = 1 << (DocId::BITS - FREQUENCY_BITS);

/// A passage with a term, and the frequency of the term in the passage.
#[derive(Clone, Copy)]
struct Posting(u32);

impl Posting {
    fn new(passage: DocId, frequency: u8) -> Self {
        Self(passage << FREQUENCY_BITS | u32::from(frequency))
    }

    fn passage(self) -> DocId {
        self.0 >> FREQUENCY_BITS
    }

    fn frequency(self) -> u32 {
        self.0 & u32::from(u8::MAX)
    }
}

/// A term in the table of terms.
struct Term {
    /// The first bytes of the term, which is often all of it.
    head: u64,
    /// Position of the term's bytes.
    start: u32,
    length: u32,
    number: u32,
    /// Index of the term's last entry.
    last_entry: u32,
}

impl Term {
    fn range(&self) -> Range<usize> {
        self.start as usize..(self.start + self.length) as usize
    }
}

/// Returns the first eight bytes of a term as a number. Terms of the same length of up to eight bytes
/// have the same number only if they are equal.
fn head(term: &[u8]) -> u64 {
    let half = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
    match (term.first_chunk::<8>(), term.first_chunk::<4>(), term.last_chunk::<4>()) {
        (Some(bytes), ..) => u64::from_le_bytes(*bytes),
        (None, Some(first), Some(last)) => half(first) | half(last) << 32,
        _ => term.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)),
    }
}

/// The terms of passages.
#[derive(Default)]
pub(crate) struct Postings {
    hasher: DefaultHashBuilder,
    table: HashTable<Term>,
    /// The bytes of all different terms, in the order of their numbers.
    bytes: Vec<u8>,
    /// End of each term in `bytes`.
    term_ends: Vec<u32>,
    /// The number of the term and the frequency of each entry. A passage has one entry for each of
    /// its terms, and further entries for frequencies that are larger than `u8::MAX`.
    entry_terms: Vec<u32>,
    entry_frequencies: Vec<u8>,
    /// End of each passage's entries.
    passage_ends: Vec<u32>,
    /// The encoded number of terms of each passage.
    lengths: Vec<u8>,
    /// Number of terms of all passages.
    total_terms: u64,
    /// The postings in the order of the terms; empty until they are written.
    sorted: Vec<Posting>,
}

impl Postings {
    /// Adds a passage with the terms of a text.
    pub fn add_passage(&mut self, text: &str) {
        let first_entry = to_u32(self.entry_terms.len());
        let mut length = 0;
        language::for_each_term(text, |term| {
            self.add_term(term.as_bytes(), first_entry);
            length += 1;
        });
        self.passage_ends.push(to_u32(self.entry_terms.len()));
        self.lengths.push(FieldNormReader::fieldnorm_to_id(length));
        self.total_terms += u64::from(length);
    }

    /// Adds a term of the passage whose entries begin at `first_entry`.
    fn add_term(&mut self, term: &[u8], first_entry: u32) {
        let Self { hasher, table, bytes, term_ends, entry_terms, entry_frequencies, .. } = self;
        let next_entry = to_u32(entry_terms.len());
        let hash = |term: &[u8]| {
            let mut state = hasher.build_hasher();
            state.write(term);
            state.finish()
        };
        let head = head(term);
        let length = to_u32(term.len());
        let is_equal = |other: &Term| {
            other.head == head
                && other.length == length
                && (term.len() <= 8 || bytes[other.range()] == *term)
        };
        let number = match table.entry(hash(term), is_equal, |other| hash(&bytes[other.range()])) {
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                if known.last_entry >= first_entry {
                    let frequency = &mut entry_frequencies[known.last_entry as usize];
                    if let Some(increased) = frequency.checked_add(1) {
                        *frequency = increased;
                        return;
                    }
                }
                known.last_entry = next_entry;
                known.number
            }
            Entry::Vacant(entry) => {
                let number = to_u32(term_ends.len());
                let start = to_u32(bytes.len());
                bytes.extend_from_slice(term);
                term_ends.push(to_u32(bytes.len()));
                entry.insert(Term { head, start, length, number, last_entry: next_entry });
                number
            }
        };
        entry_terms.push(number);
        entry_frequencies.push(1);
    }

    /// Returns the number of passages.
    pub fn passage_count(&self) -> usize {
        self.passage_ends.len()
    }

    /// Returns the number of terms of all passages.
    pub fn total_terms(&self) -> u64 {
        self.total_terms
    }

    /// Returns the encoded number of terms of each passage.
    pub fn lengths(&self) -> &[u8] {
        &self.lengths
    }

    /// Returns the memory in bytes that is needed until the postings have been written.
    pub fn memory_bytes(&self) -> usize {
        self.table.capacity() * size_of::<Term>()
            + self.bytes.len()
            + self.term_ends.len() * 3 * size_of::<u32>()
            + self.entry_terms.len() * (size_of::<u32>() + size_of::<u8>() + size_of::<Posting>())
            + self.passage_ends.len() * (size_of::<u32>() + size_of::<u8>())
    }

    /// Removes all passages, and retains the memory for the next ones.
    pub fn clear(&mut self) {
        let Self { hasher: _, table, bytes, term_ends, entry_terms, entry_frequencies, .. } = self;
        table.clear();
        bytes.clear();
        term_ends.clear();
        entry_terms.clear();
        entry_frequencies.clear();
        self.passage_ends.clear();
        self.lengths.clear();
        self.total_terms = 0;
        self.sorted.clear();
    }

    /// Writes the postings of all terms.
    pub fn write(&mut self, serializer: &mut FieldSerializer<'_>) -> std::io::Result<()> {
        let ends = self.sort_by_term();
        let start = |ends: &[u32], index: usize| match index {
            0 => 0,
            _ => ends[index - 1] as usize,
        };
        let term_bytes = |number: u32| {
            let index = number as usize;
            &self.bytes[start(&self.term_ends, index)..self.term_ends[index] as usize]
        };
        let mut numbers: Vec<u32> = (0..to_u32(self.term_ends.len())).collect();
        numbers.sort_unstable_by_key(|&number| term_bytes(number));
        for number in numbers {
            let index = number as usize;
            let postings = &self.sorted[start(&ends, index)..ends[index] as usize];
            let by_passage = || postings.chunk_by(|a, b| a.passage() == b.passage());
            serializer.new_term(term_bytes(number), to_u32(by_passage().count()), true)?;
            for entries in by_passage() {
                let frequency = entries.iter().map(|posting| posting.frequency()).sum();
                serializer.write_doc(entries[0].passage(), frequency, &[]);
            }
            serializer.close_term()?;
        }
        Ok(())
    }

    /// Sorts the postings by the terms' numbers and the passages, and returns the end of each term's
    /// postings.
    fn sort_by_term(&mut self) -> Vec<u32> {
        // The positions of the next posting of each term; at the end, those are the terms' ends.
        let mut ends = vec![0; self.term_ends.len()];
        for &term in &self.entry_terms {
            ends[term as usize] += 1;
        }
        let mut position = 0;
        for end in &mut ends {
            position += std::mem::replace(end, position);
        }
        self.sorted.resize(self.entry_terms.len(), Posting(0));
        let mut entry = 0;
        for (passage, &passage_end) in (0..).zip(&self.passage_ends) {
            let entries = entry..passage_end as usize;
            let terms = &self.entry_terms[entries.clone()];
            for (&term, &frequency) in terms.iter().zip(&self.entry_frequencies[entries]) {
                let next = &mut ends[term as usize];
                self.sorted[*next as usize] = Posting::new(passage, frequency);
                *next += 1;
            }
            entry = passage_end as usize;
        }
        ends
    }
}

/// Converts a count. A passage of the maximum size has fewer than 2^32 terms, and the postings are
/// written before they need much more memory than one passage.
pub(crate) fn to_u32(count: usize) -> u32 {
    u32::try_from(count).expect("a count of a segment fits into 32 bits")
}
