//! Writing of segments of the word index.
//!
//! The files are written with tantivy's serializers, so that they are those of its own writer. Only
//! the terms are collected in another way, see [`Postings`], and in the thread of the caller.
use std::sync::Arc;

use tantivy::directory::TerminatingWrite;
use tantivy::fastfield::FastFieldsWriter;
use tantivy::fieldnorm::{FieldNormReaders, FieldNormsSerializer};
use tantivy::index::SegmentComponent;
use tantivy::postings::InvertedIndexSerializer;
use tantivy::schema::{Schema, Value};
use tantivy::store::StoreWriter;
use tantivy::{DocId, Segment, SegmentMeta, TantivyDocument};

use crate::postings::{MAX_PASSAGES, Postings, to_u32};
use crate::stored::missing;
use crate::terms::Fields;

/// A segment of the word index that is being written. Texts are written to disk as they are added,
/// terms and columns at the end.
pub(crate) struct SegmentWriter {
    segment: Segment,
    schema: Schema,
    fields: Fields,
    store: StoreWriter,
    columns: FastFieldsWriter,
    postings: Postings,
    /// The documents' ids, and the first passage of each document.
    ids: Vec<(Arc<str>, DocId)>,
    id_bytes: usize,
}

impl SegmentWriter {
    /// Creates a writer of a new segment. `postings` has no passages, but memory.
    pub fn new(segment: Segment, fields: Fields, postings: Postings) -> tantivy::Result<Self> {
        let schema = segment.schema();
        let index = segment.index();
        let settings = index.settings();
        let store = StoreWriter::new(
            segment.open_write(SegmentComponent::Store)?,
            settings.docstore_compression,
            settings.docstore_blocksize,
            false,
        )?;
        let tokenizers = index.fast_field_tokenizer().clone();
        let columns = FastFieldsWriter::from_schema_and_tokenizer_manager(&schema, tokenizers)?;
        Ok(Self { segment, schema, fields, store, columns, postings, ids: Vec::new(), id_bytes: 0 })
    }

    /// Adds the next passage of a document. Passages of a document are added one after another.
    pub fn add(&mut self, id: &Arc<str>, passage: &TantivyDocument) -> tantivy::Result<()> {
        if self.ids.last().is_none_or(|(last, _)| last != id) {
            self.ids.push((id.clone(), to_u32(self.postings.passage_count())));
            self.id_bytes += id.len();
        }
        self.store.store(passage, &self.schema)?;
        self.columns.add_document(passage)?;
        let text = passage.get_first(self.fields.text);
        let text = text.as_ref().and_then(|value| value.as_str()).ok_or_else(|| missing("text"))?;
        self.postings.add_passage(text);
        Ok(())
    }

    /// Returns whether the segment must be finished, because it has the maximum number of passages
    /// or needs as much memory as is given.
    pub fn is_full(&self, memory_bytes: usize) -> bool {
        let ids = self.ids.len() * size_of::<(Arc<str>, DocId)>() + self.id_bytes;
        let used =
            self.postings.memory_bytes() + self.columns.mem_usage() + self.store.mem_usage() + ids;
        used >= memory_bytes || self.postings.passage_count() == MAX_PASSAGES
    }

    /// Writes the rest of the segment, and syncs it to disk. Returns its metadata, and the memory of
    /// the postings for the next segment.
    pub fn finish(self) -> tantivy::Result<(SegmentMeta, Postings)> {
        let Self { segment, fields, store, mut columns, mut postings, mut ids, .. } = self;
        let passages = to_u32(postings.passage_count());
        store.close()?;
        let mut output = segment.open_write(SegmentComponent::FastFields)?;
        columns.serialize(&mut output, None)?;
        output.terminate()?;
        let output = segment.open_write(SegmentComponent::FieldNorms)?;
        let mut lengths = FieldNormsSerializer::from_write(output)?;
        lengths.serialize_field(fields.text, postings.lengths())?;
        lengths.close()?;

        let lengths = FieldNormReaders::open(segment.open_read(SegmentComponent::FieldNorms)?)?;
        let mut serializer = InvertedIndexSerializer::open(&segment)?;
        let ends: Vec<DocId> = ids.iter().skip(1).map(|&(_, first)| first).collect();
        let ends = ends.into_iter().chain([passages]);
        let mut ranges: Vec<(Arc<str>, DocId, DocId)> =
            ids.drain(..).zip(ends).map(|((id, first), end)| (id, first, end)).collect();
        ranges.sort_unstable();
        let mut of_ids = serializer.new_field(fields.id, u64::from(passages), None)?;
        for (id, first, end) in ranges {
            of_ids.new_term_without_freq(id.as_bytes())?;
            (first..end).for_each(|passage| of_ids.write_doc(passage, 0, &[]));
            of_ids.close_term()?;
        }
        of_ids.close()?;
        if postings.total_terms() > 0 {
            let lengths = lengths.get_field(fields.text)?;
            let mut of_text = serializer.new_field(fields.text, postings.total_terms(), lengths)?;
            postings.write(&mut of_text)?;
            of_text.close()?;
        }
        serializer.close()?;
        postings.clear();
        Ok((segment.with_max_doc(passages).meta().clone(), postings))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tantivy::indexer::AddOperation;
    use tantivy::postings::Postings as _;
    use tantivy::schema::{Field, IndexRecordOption};
    use tantivy::tokenizer::{PreTokenizedString, RawTokenizer, Token};
    use tantivy::{DocSet, SegmentReader, TERMINATED};

    use super::*;
    use crate::Document;
    use crate::stored::{StoredPassage, to_stored};
    use crate::terms::{TOKENIZER, memory_index};

    type TermPassages = BTreeMap<Vec<u8>, Vec<(DocId, u32)>>;

    /// Returns the number of terms of a field, and the passages and frequencies of each term.
    fn terms(reader: &SegmentReader, field: Field) -> (u64, TermPassages) {
        let index = reader.inverted_index(field).unwrap();
        let mut terms = index.terms().stream().unwrap();
        let mut all = BTreeMap::new();
        while terms.advance() {
            let option = IndexRecordOption::WithFreqs;
            let mut list = index.read_postings_from_terminfo(terms.value(), option).unwrap();
            let mut found = Vec::new();
            while list.doc() != TERMINATED {
                found.push((list.doc(), list.term_freq()));
                list.advance();
            }
            assert_eq!(terms.value().doc_freq as usize, found.len());
            all.insert(terms.key().to_vec(), found);
        }
        (index.total_num_tokens(), all)
    }

    /// Returns a passage with its terms as tokens in place of its text.
    fn pre_tokenized(passage: &TantivyDocument, fields: Fields) -> TantivyDocument {
        let string = |field| passage.get_first(field).unwrap().as_str().unwrap().to_owned();
        let text = string(fields.text);
        let mut tokens = Vec::new();
        language::for_each_term(&text, |term| {
            tokens.push(Token { text: term.to_owned(), position: 0, ..Token::default() });
        });
        let mut document = TantivyDocument::new();
        document.add_text(fields.id, string(fields.id));
        document.add_pre_tokenized_text(fields.text, PreTokenizedString { text, tokens });
        document
    }

    #[test]
    fn segments_are_equal_to_those_of_tantivy() {
        let document = |id: &str, text: String, passages| Document {
            id: id.into(),
            text: text.into(),
            passages,
        };
        let text = "Lima. Quito und Straßen, 東京都 سيارات a ab abc abcd abcde abcdef".to_owned();
        let documents = [
            document("b", format!("{} {}", "Lima ".repeat(700), "Quito ".repeat(255)), vec![]),
            document("c", text.clone(), vec![0..5, 6..text.len()]),
            document("a", "...".to_owned(), vec![]),
            document("a2", text, vec![]),
        ];
        let (index, fields) = memory_index().unwrap();
        index.tokenizers().register(TOKENIZER, RawTokenizer::default());
        let mut memory = Postings::default();
        // The memory of the first segment is used again for the second one; the last one has no terms.
        for documents in [&documents[..], &documents[1..], &documents[2..3]] {
            let mut number = 0;
            let stored = |document| (document, to_stored(document, fields, &mut number));
            let passages: Vec<_> = documents.iter().map(stored).collect();
            let mut writer = SegmentWriter::new(index.new_segment(), fields, memory).unwrap();
            let segment = index.new_segment();
            let mut expected =
                tantivy::indexer::SegmentWriter::for_segment(15_000_000, segment.clone()).unwrap();
            for (document, passages) in &passages {
                for passage in passages {
                    writer.add(&document.id, passage).unwrap();
                    let document = pre_tokenized(passage, fields);
                    expected.add_document(AddOperation { opstamp: 0, document }).unwrap();
                }
            }
            let count = expected.max_doc();
            expected.finalize().unwrap();
            let expected = SegmentReader::open(&segment.with_max_doc(count)).unwrap();
            let (meta, cleared) = writer.finish().unwrap();
            memory = cleared;
            assert_eq!(meta.max_doc(), count);
            let actual = SegmentReader::open(&index.segment(meta)).unwrap();
            for field in [fields.id, fields.text] {
                assert_eq!(terms(&actual, field), terms(&expected, field));
            }
            let store = actual.get_store_reader(1).unwrap();
            let lengths = |reader: &SegmentReader, passage| {
                reader.get_fieldnorms_reader(fields.text).unwrap().fieldnorm_id(passage)
            };
            for (passage, stored) in (0..).zip(passages.iter().flat_map(|(_, stored)| stored)) {
                let read = store.get::<TantivyDocument>(passage).unwrap();
                let passage_of = |document| StoredPassage::new(0, document, fields).unwrap();
                assert_eq!(passage_of(&read).into_passage(), passage_of(stored).into_passage());
                assert_eq!(lengths(&actual, passage), lengths(&expected, passage));
            }
        }
    }
}
