//! Streamed passages of running text.
use std::collections::VecDeque;
use std::rc::Rc;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;
use trainer::{
    ExampleSource, Fingerprint, ReadingGroup, ShardLine, ShardPosition, Shards, ShuffleConfig,
    ShuffledLines, TaskError,
};
use xlmr_model::SpecialTokens;

use super::tokenizer_json;
use crate::{Error, Result};

/// Options for reading text for masked language modelling. `P` is the type of the list of files.
///
/// # Example
/// ```
/// use tasks::masked_lm::TextSource;
///
/// let source: TextSource = toml::from_str("text = ['cc/en.txt.gz']\npacked = true")?;
/// assert_eq!(source.max_tokens, 512); // XLM-R, and XLM-K (section 4.1)
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextSource<P = Vec<std::path::PathBuf>> {
    /// Files with one document per line, or folders of such files. A document is the line or, for
    /// `.jsonl`, the member `text` of its JSON object, as in Common Crawl; for `*.parquet` (feature
    /// `parquet` of the trainer) it is the column `text`.
    pub text: P,
    /// Maximum passage length in tokens, including special tokens.
    pub max_tokens: usize,
    /// Whether a passage continues with the next document after `</s>`, so that all passages except
    /// the last are full. Otherwise a passage contains a single document only.
    pub packed: bool,
}

impl<P: Default> Default for TextSource<P> {
    fn default() -> Self {
        Self { text: P::default(), max_tokens: 512, packed: false }
    }
}

impl<P> TextSource<P> {
    /// Validates every key that can be checked without reading a file.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        if self.max_tokens < 3 {
            return Err(Error::config("max_tokens", self.max_tokens, "3 or more"));
        }
        Ok(())
    }
}

/// Opens the files of a [`TextSource`], and reads each file once to count its documents.
///
/// # Errors
/// The errors of [`Shards::open_with`]; the error names a line without text or with more than 16
/// MiB. [`Error::Data`] naming the first file if no document has a token that can be masked, for
/// example if all documents consist of control characters or an unknown script.
pub(crate) fn open_text<P: AsRef<std::path::Path>>(
    paths: &[P],
    tokenizer: &Tokenizer,
) -> Result<Shards> {
    let added_vocabulary = tokenizer.get_added_vocabulary();
    let mut has_known_token = false;
    let shards = Shards::open_with(paths, |line| {
        let text = text_of_line(line)?;
        if text.len() > MAX_TEXT_BYTES {
            let bytes = text.len();
            return Err(format!(
                "a document of {bytes} bytes exceeds the limit of {MAX_TEXT_BYTES}; split it"
            ));
        }
        if !has_known_token {
            let encoding = tokenizer.encode(text.trim(), false);
            let encoding = encoding.map_err(|error| error.to_string())?;
            has_known_token =
                encoding.get_tokens().iter().any(|token| !added_vocabulary.is_special_token(token));
        }
        Ok(())
    })?;
    match shards.files().first() {
        Some(first) if !has_known_token => {
            let expected = "at least one document with a known token";
            Err(Error::data(first.path().display().to_string(), expected, "none"))
        }
        _ => Ok(shards),
    }
}

/// Maximum number of bytes of a document, ten times the longest pages of Wikipedia. A document is
/// encoded in one call, so a corpus on a single line would block a step for seconds and use too
/// much memory.
const MAX_TEXT_BYTES: usize = 1 << 24;

/// Returns the document in a line.
fn text_of_line(line: ShardLine<'_>) -> std::result::Result<std::borrow::Cow<'_, str>, String> {
    #[derive(Deserialize)]
    struct Document {
        text: String,
    }
    if line.is_json() {
        return Ok(line.parse::<Document>()?.text.into());
    }
    let text = std::str::from_utf8(line.text);
    let text = text.map_err(|error| format!("byte {}: not UTF-8", error.valid_up_to() + 1))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text).into())
}

/// Passages of texts as rows of token ids, `<s> … </s>`.
///
/// Documents are in the order of [`ShuffledLines`]; the passages of a document are consecutive.
///
/// If several processes share the work ([`ExampleSource::share`]), each process reads all lines,
/// because the end of a passage depends on every token before it. Each of n processes encodes only
/// every n-th document, and the token ids are gathered. Passages and positions therefore do not
/// depend on the number of processes.
pub(crate) struct TextPassages {
    lines: ShuffledLines,
    tokenizer: Tokenizer,
    specials: SpecialTokens,
    /// The processes that share the work.
    group: Option<Rc<dyn ReadingGroup>>,
    /// Maximum number of tokens of a passage without `<s>` and `</s>`.
    budget: usize,
    packed: bool,
    /// Encoded documents that are not yet split, each with the position before it.
    encoded_documents: VecDeque<(ShardPosition, Vec<u32>)>,
    /// The position before the current document, which is being split.
    document_start: ShardPosition,
    /// Token ids of the current document without special tokens; `offset` is the index of the next
    /// token to return.
    ids: Vec<u32>,
    offset: usize,
}

/// Number of documents that each process encodes before the processes exchange token ids. If there
/// is only one process, it encodes one document at a time.
const DOCUMENTS_PER_PROCESS: usize = 64;

/// A position between two passages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TextPosition {
    /// The position before the next passage's document.
    document: ShardPosition,
    /// Number of tokens of this document before the passage.
    token: usize,
}

impl TextPassages {
    /// Creates the passages of `shards`, split according to `source`.
    ///
    /// # Errors
    /// The errors of [`TextSource::validate`] and [`ShuffleConfig::validate`]; [`Error::Tokenizer`]
    /// if the tokenizer's truncation cannot be disabled.
    pub(crate) fn new<P>(
        shards: Shards,
        shuffle: &ShuffleConfig,
        source: &TextSource<P>,
        tokenizer: &Tokenizer,
        specials: SpecialTokens,
    ) -> Result<Self> {
        source.validate()?;
        let mut tokenizer = tokenizer.clone();
        tokenizer.with_padding(None);
        let result = tokenizer.with_truncation(None).map(|_| ());
        result.map_err(|error| Error::Tokenizer(error.to_string()))?;
        Ok(Self {
            lines: ShuffledLines::new(shards, shuffle.clone())?,
            tokenizer,
            specials,
            group: None,
            budget: source.max_tokens - 2,
            packed: source.packed,
            encoded_documents: VecDeque::new(),
            document_start: ShardPosition::default(),
            ids: Vec::new(),
            offset: 0,
        })
    }

    /// Advances to the next document that has tokens; returns `false` at the end of the epoch.
    fn next_document(&mut self) -> Result<bool, TaskError> {
        self.offset = 0;
        self.ids.clear();
        while self.ids.is_empty() {
            if self.encoded_documents.is_empty() {
                self.encode_documents()?;
            }
            let Some((start, ids)) = self.encoded_documents.pop_front() else { return Ok(false) };
            (self.document_start, self.ids) = (start, ids);
        }
        Ok(true)
    }

    /// Reads and encodes the next document, or the next block of documents if several processes
    /// share the work.
    fn encode_documents(&mut self) -> Result<(), TaskError> {
        let group = self.group.clone();
        let (rank, size) = group.as_ref().map_or((0, 1), |group| (group.rank(), group.size()));
        let max_rows = if size == 1 { 1 } else { size * DOCUMENTS_PER_PROCESS };
        let (mut positions, mut rows) = (Vec::new(), Vec::new());
        while rows.len() < max_rows {
            let before = self.lines.position();
            let Some(line) = self.lines.next_line()? else { break };
            let mut ids = Vec::new();
            if rows.len() % size == rank {
                let text = text_of_line(line).map_err(|reason| line.error(reason))?;
                let encoding = self.tokenizer.encode_fast(text.trim(), false);
                ids.extend_from_slice(encoding.map_err(|error| line.error(error))?.get_ids());
            }
            positions.push(before);
            rows.push(ids);
        }
        if let Some(group) = group {
            rows = group.gather_rows(&rows)?;
        }
        assert_eq!(positions.len(), rows.len(), "the processes read the same documents");
        self.encoded_documents.extend(positions.into_iter().zip(rows));
        Ok(())
    }

    /// Returns the position before the next document.
    fn next_document_position(&self) -> ShardPosition {
        let first = self.encoded_documents.front();
        first.map_or_else(|| self.lines.position(), |(before, _)| before.clone())
    }

    /// Adds the next tokens of the current document to `row`, up to the budget.
    fn append_tokens(&mut self, row: &mut Vec<u32>) {
        let remaining = &self.ids[self.offset..];
        let free_tokens = self.budget + 1 - row.len();
        let tokens = &remaining[..free_tokens.min(remaining.len())];
        row.extend_from_slice(tokens);
        self.offset += tokens.len();
    }
}

impl ExampleSource for TextPassages {
    type Example = Vec<u32>;
    type Position = TextPosition;

    fn start_epoch(&mut self, _: u64, rng: ChaCha8Rng) -> Result<(), TaskError> {
        self.lines.start_epoch(rng);
        self.encoded_documents.clear();
        self.ids.clear();
        self.offset = 0;
        Ok(())
    }

    fn next_example(&mut self) -> Result<Option<Vec<u32>>, TaskError> {
        if self.offset >= self.ids.len() && !self.next_document()? {
            return Ok(None);
        }
        let mut row = vec![self.specials.bos];
        self.append_tokens(&mut row);
        // A separator is added only if there is space for a token after it.
        while self.packed && row.len() < self.budget && self.next_document()? {
            row.push(self.specials.eos);
            self.append_tokens(&mut row);
        }
        row.push(self.specials.eos);
        Ok(Some(row))
    }

    fn position(&self) -> TextPosition {
        if self.offset >= self.ids.len() {
            return TextPosition { document: self.next_document_position(), token: 0 };
        }
        TextPosition { document: self.document_start.clone(), token: self.offset }
    }

    fn seek(&mut self, position: TextPosition) -> Result<(), TaskError> {
        self.lines.seek(position.document)?;
        self.encoded_documents.clear();
        self.ids.clear();
        self.offset = 0;
        if position.token > 0 {
            let has_document = self.next_document()?;
            if !has_document || position.token >= self.ids.len() {
                let tokens = self.ids.len();
                return Err(format!("no token {} in a document of {tokens}", position.token).into());
            }
            self.offset = position.token;
        }
        Ok(())
    }

    fn share(&mut self, group: Option<Rc<dyn ReadingGroup>>) {
        self.group = group;
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint
            .add_number("budget", self.budget as u64)
            .add_number("packed", u64::from(self.packed))
            .add("tokenizer", tokenizer_json(&self.tokenizer));
        self.lines.fingerprint(fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use trainer::rng_for;

    use super::*;
    use crate::testing::{specials, tokenizer};

    const TEXTS: [&str; 5] = [
        "Bern is the federal city of Switzerland . It lies on the Aare .",
        "",
        "Lima",
        "  Oslo ist die Hauptstadt von Norwegen und liegt am Oslofjord . ",
        "Quito es la capital de Ecuador",
    ];

    /// Writes the texts to a file of lines and a file of JSON objects.
    fn write_texts(folder: &Path) -> Vec<PathBuf> {
        let (lines, objects) = (folder.join("a.txt"), folder.join("b.jsonl"));
        std::fs::write(&lines, format!("\u{feff}{}\r\n", TEXTS[..3].join("\n"))).unwrap();
        let object =
            |text: &&str| serde_json::json!({ "url": "x", "text": text }).to_string() + "\n";
        std::fs::write(&objects, TEXTS[3..].iter().map(object).collect::<String>()).unwrap();
        vec![lines, objects]
    }

    fn passages(paths: &[PathBuf], max_tokens: usize, packed: bool) -> TextPassages {
        let source = TextSource { text: (), max_tokens, packed };
        let shuffle = ShuffleConfig { lines: 2, ..ShuffleConfig::default() };
        let shards = open_text(paths, &tokenizer()).unwrap();
        let mut passages =
            TextPassages::new(shards, &shuffle, &source, &tokenizer(), specials()).unwrap();
        passages.start_epoch(0, rng_for(4, "order", 0)).unwrap();
        passages
    }

    fn read_remaining(passages: &mut TextPassages) -> Vec<Vec<u32>> {
        std::iter::from_fn(|| passages.next_example().unwrap()).collect()
    }

    /// Returns the token ids without special tokens, sorted.
    fn sorted_tokens(ids: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut ids: Vec<u32> = ids.filter(|id| ![0, 2].contains(id)).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn every_token_occurs_once_in_rows_within_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let paths = write_texts(folder.path());
        let tokenizer = tokenizer();
        let encode = |text: &&str| tokenizer.encode_fast(text.trim(), false).unwrap();
        let expected = TEXTS.iter().map(encode).flat_map(|encoding| encoding.get_ids().to_vec());
        let expected = sorted_tokens(expected);
        for (max_tokens, packed) in [(5, false), (5, true), (12, true), (100, false), (100, true)] {
            let rows = read_remaining(&mut passages(&paths, max_tokens, packed));
            assert_eq!(sorted_tokens(rows.concat().into_iter()), expected);
            for row in &rows {
                assert!((3..=max_tokens).contains(&row.len()), "{row:?}");
                assert_eq!((row.first(), row.last()), (Some(&0), Some(&2)));
            }
            let full_rows = rows.iter().filter(|row| row.len() + 1 >= max_tokens).count();
            match (max_tokens, packed) {
                // Every row except the last is filled until there is no space for a separator and
                // another token.
                (_, true) => assert!(full_rows + 1 >= rows.len(), "{rows:?}"),
                (100, false) => assert_eq!(rows.len(), 4),
                _ => assert!(full_rows < rows.len()),
            }
        }
    }

    #[test]
    fn every_position_can_be_restored() {
        let folder = tempfile::tempdir().unwrap();
        let paths = write_texts(folder.path());
        for (max_tokens, packed) in [(6, false), (6, true), (9, true)] {
            let mut first = passages(&paths, max_tokens, packed);
            let mut positions = vec![first.position()];
            let mut rows = Vec::new();
            while let Some(row) = first.next_example().unwrap() {
                rows.push(row);
                positions.push(first.position());
            }
            assert!(rows.len() > 4 && positions.iter().any(|position| position.token > 0));
            for (number, position) in positions.into_iter().enumerate() {
                let mut restored = passages(&paths, max_tokens, packed);
                restored.seek(position).unwrap();
                assert_eq!(read_remaining(&mut restored), rows[number..]);
            }
        }
    }

    /// One of two processes, which exchange rows through channels.
    struct OneOfTwo {
        rank: usize,
        sender: Sender<Vec<Vec<u32>>>,
        receiver: Receiver<Vec<Vec<u32>>>,
    }

    impl ReadingGroup for OneOfTwo {
        fn rank(&self) -> usize {
            self.rank
        }

        fn size(&self) -> usize {
            2
        }

        fn gather_rows(&self, rows: &[Vec<u32>]) -> Result<Vec<Vec<u32>>, TaskError> {
            let mut rows_of_other = rows.iter().skip(1 - self.rank).step_by(2);
            assert!(rows_of_other.all(Vec::is_empty), "a process encodes only its documents");
            self.sender.send(rows.to_vec())?;
            let other = self.receiver.recv()?;
            let row =
                |k: usize| if k % 2 == self.rank { rows[k].clone() } else { other[k].clone() };
            Ok((0..rows.len()).map(row).collect())
        }
    }

    #[test]
    fn processes_that_share_the_work_have_all_passages() {
        let folder = tempfile::tempdir().unwrap();
        let paths = write_texts(folder.path());
        let expected = read_remaining(&mut passages(&paths, 9, true));
        let ((to_first, from_second), (to_second, from_first)) = (channel(), channel());
        std::thread::scope(|scope| {
            let ends = [(to_second, from_second), (to_first, from_first)];
            for (rank, (sender, receiver)) in ends.into_iter().enumerate() {
                let (paths, expected) = (&paths, &expected);
                scope.spawn(move || {
                    let mut passages = passages(paths, 9, true);
                    passages.share(Some(Rc::new(OneOfTwo { rank, sender, receiver })));
                    assert_eq!(read_remaining(&mut passages), *expected, "rank {rank}");
                });
            }
        });
    }

    #[test]
    fn lines_without_text_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, "{\"text\": \"a\"}\n{\"txt\": \"a\"}\n").unwrap();
        let error = open_text(&[&path], &tokenizer()).unwrap_err().to_string();
        assert!(error.contains("a.jsonl: line 2, column") && error.contains("`text`"), "{error}");
        let path = folder.path().join("a.txt");
        std::fs::write(&path, b"a\nb\xff\n").unwrap();
        let error = open_text(&[&path], &tokenizer()).unwrap_err().to_string();
        assert!(error.ends_with("a.txt: line 2, byte 2: not UTF-8"), "{error}");
        std::fs::write(&path, format!("a\n{}\n", "word ".repeat(MAX_TEXT_BYTES / 5 + 1))).unwrap();
        let error = open_text(&[&path], &tokenizer()).unwrap_err().to_string();
        assert!(error.contains("a.txt: line 2") && error.ends_with("split it"), "{error}");
    }

    #[test]
    fn text_without_a_token_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "\u{1}\u{2}\u{3}\n".repeat(20)).unwrap();
        let error = open_text(&[&path], &tokenizer()).unwrap_err().to_string();
        assert!(error.contains("a.txt") && error.contains("with a known token"), "{error}");
        std::fs::write(&path, "\u{1}\u{2}\nLima\n").unwrap();
        assert_eq!(open_text(&[&path], &tokenizer()).unwrap().line_count(), 2);
    }
}
