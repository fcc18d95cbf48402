//! Examples of shards, in memory if they fit the shuffle buffer, otherwise streamed.
use std::collections::VecDeque;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use trainer::{
    ExampleSource, ExampleStream, Examples, Fingerprint, ShardLine, ShardPosition, Shards,
    ShuffleConfig, ShuffledLines, TaskError,
};

use crate::Result;

/// Converter of lines to examples.
pub(crate) struct LineReader<T> {
    /// Returns the examples of a line; empty for a line that is not selected.
    pub(crate) parse: ParseLine<T>,
    /// Fingerprint of everything that determines `parse`.
    pub(crate) selection: Fingerprint,
    /// Total number of examples in all lines, if known.
    pub(crate) example_count: Option<u64>,
    /// Returns the number of tokens of an example.
    pub(crate) tokens: fn(&T) -> usize,
}

type ParseLine<T> = Box<dyn Fn(ShardLine<'_>) -> std::result::Result<Vec<T>, String>>;

/// Examples from shards, in memory or streamed.
///
/// Examples in memory are batched by similar length, in a new order each epoch; streamed examples
/// are in the order of [`ShuffledLines`].
pub(crate) enum ShardExamples<T> {
    /// Examples in the order of the shards, and the number of tokens of each example.
    InMemory(Vec<T>, Vec<usize>),
    Streamed(Box<ExampleStream<LineExamples<T>>>),
}

impl<T: 'static> ShardExamples<T> {
    /// Wraps examples in memory; `tokens` returns the number of tokens of an example.
    pub(crate) fn in_memory(examples: Vec<T>, tokens: fn(&T) -> usize) -> Self {
        let lengths = examples.iter().map(tokens).collect();
        Self::InMemory(examples, lengths)
    }

    /// Opens the examples that `reader` parses from the lines of `shards`.
    pub(crate) fn open(
        shards: Shards,
        shuffle: &ShuffleConfig,
        reader: LineReader<T>,
    ) -> Result<Self> {
        let LineReader { parse, selection, example_count, tokens } = reader;
        if shuffle.fits_in_block(&shards) {
            let mut examples = Vec::new();
            shards.for_each_line(|line| {
                examples.extend(parse(line)?);
                Ok(())
            })?;
            return Ok(Self::in_memory(examples, tokens));
        }
        let source = LineExamples {
            lines: ShuffledLines::new(shards, shuffle.clone())?,
            parse,
            selection: selection.finish()?,
            example_count,
            line_start: ShardPosition::default(),
            examples: VecDeque::new(),
            returned_count: 0,
        };
        Ok(Self::Streamed(Box::new(ExampleStream::new(source, tokens))))
    }

    /// Returns an example in memory, or an example of the stream's current batch.
    pub(crate) fn get(&self, index: usize) -> &T {
        match self {
            Self::InMemory(examples, _) => &examples[index],
            Self::Streamed(stream) => &stream.batch()[index],
        }
    }

    /// Returns the examples in the form that [`trainer::Task::examples`] returns.
    pub(crate) fn examples(&mut self) -> Examples<'_> {
        match self {
            Self::InMemory(_, lengths) => Examples::Indexed(lengths),
            Self::Streamed(stream) => Examples::Streamed(stream.as_mut()),
        }
    }

    /// Adds the examples to the fingerprint: examples in memory with `add`, streamed examples by
    /// everything that determines them.
    pub(crate) fn fingerprint(
        &self,
        fingerprint: &mut Fingerprint,
        mut add: impl FnMut(&mut Fingerprint, &T),
    ) {
        match self {
            Self::InMemory(examples, _) => {
                examples.iter().for_each(|example| add(fingerprint, example))
            }
            Self::Streamed(stream) => stream.fingerprint(fingerprint),
        }
    }
}

/// Source of the examples that are parsed from lines; the examples of a line are consecutive.
pub(crate) struct LineExamples<T> {
    lines: ShuffledLines,
    parse: ParseLine<T>,
    /// Hash of everything that determines `parse`.
    selection: String,
    example_count: Option<u64>,
    /// The position before the current line.
    line_start: ShardPosition,
    /// Remaining examples of the current line; `returned_count` is the number of examples of this
    /// line that have been returned.
    examples: VecDeque<T>,
    returned_count: usize,
}

/// A position between two examples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinePosition {
    /// The position before the next example's line.
    line: ShardPosition,
    /// Number of examples of this line before the position.
    example: usize,
}

impl<T> LineExamples<T> {
    /// Advances to the next line that has an example; returns `false` at the end of the epoch.
    fn advance_line(&mut self) -> std::result::Result<bool, TaskError> {
        self.returned_count = 0;
        self.examples.clear();
        while self.examples.is_empty() {
            self.line_start = self.lines.position();
            let Some(line) = self.lines.next_line()? else { return Ok(false) };
            let examples = (self.parse)(line).map_err(|reason| line.error(reason))?;
            self.examples = examples.into();
        }
        Ok(true)
    }
}

impl<T> ExampleSource for LineExamples<T> {
    type Example = T;
    type Position = LinePosition;

    fn start_epoch(&mut self, _: u64, rng: ChaCha8Rng) -> std::result::Result<(), TaskError> {
        self.lines.start_epoch(rng);
        self.examples.clear();
        self.returned_count = 0;
        Ok(())
    }

    fn next_example(&mut self) -> std::result::Result<Option<T>, TaskError> {
        if self.examples.is_empty() && !self.advance_line()? {
            return Ok(None);
        }
        self.returned_count += 1;
        Ok(self.examples.pop_front())
    }

    fn position(&self) -> LinePosition {
        if self.examples.is_empty() {
            return LinePosition { line: self.lines.position(), example: 0 };
        }
        LinePosition { line: self.line_start.clone(), example: self.returned_count }
    }

    fn seek(&mut self, position: LinePosition) -> std::result::Result<(), TaskError> {
        self.lines.seek(position.line)?;
        self.examples.clear();
        self.returned_count = 0;
        if position.example > 0 {
            let has_line = self.advance_line()?;
            if !has_line || position.example >= self.examples.len() {
                let (example, examples) = (position.example, self.examples.len());
                return Err(
                    format!("no example {example} in a line with {examples} examples").into()
                );
            }
            self.examples.drain(..position.example);
            self.returned_count = position.example;
        }
        Ok(())
    }

    fn example_count(&self) -> Option<u64> {
        self.example_count
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add("choice", &self.selection);
        self.lines.fingerprint(fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use trainer::{BatchStream, rng_for};

    use super::*;

    /// Opens 20 lines with a shuffle buffer of `lines` lines; line k has k mod 4 examples.
    fn examples(folder: &std::path::Path, lines: usize) -> ShardExamples<[usize; 2]> {
        let text: String = (0..20).map(|line| format!("[{line}, {}]\n", line % 4)).collect();
        std::fs::write(folder.join("a.jsonl"), text).unwrap();
        let shuffle = ShuffleConfig { lines, ..ShuffleConfig::default() };
        let reader = LineReader {
            parse: Box::new(|line| {
                let [number, count]: [usize; 2] = line.parse()?;
                Ok((0..count).map(|part| [number, part]).collect())
            }),
            selection: Fingerprint::new(),
            example_count: Some(30),
            tokens: |_| 1,
        };
        ShardExamples::open(Shards::open([folder]).unwrap(), &shuffle, reader).unwrap()
    }

    fn read_remaining(examples: &mut ShardExamples<[usize; 2]>) -> Vec<[usize; 2]> {
        let ShardExamples::Streamed(stream) = examples else { panic!("in memory") };
        let mut returned = Vec::new();
        while !stream.next_batch(1).unwrap().lengths.is_empty() {
            returned.extend_from_slice(stream.batch());
        }
        returned
    }

    /// Returns a stream at the start of its first epoch.
    fn started_stream(folder: &std::path::Path, lines: usize) -> ShardExamples<[usize; 2]> {
        let mut examples = examples(folder, lines);
        let ShardExamples::Streamed(stream) = &mut examples else { panic!("in memory") };
        stream.start_epoch(0, rng_for(4, "order", 0)).unwrap();
        examples
    }

    #[test]
    fn data_that_fits_the_buffer_is_stored_in_line_order() {
        let folder = tempfile::tempdir().unwrap();
        let expected: Vec<[usize; 2]> =
            (0..20).flat_map(|line| (0..line % 4).map(move |part| [line, part])).collect();
        let mut in_memory = examples(folder.path(), 20);
        let ShardExamples::InMemory(stored_examples, lengths) = &in_memory else {
            panic!("streamed")
        };
        assert_eq!((stored_examples, lengths.len()), (&expected, expected.len()));
        assert_eq!(in_memory.get(1), &expected[1]);
        assert!(matches!(in_memory.examples(), Examples::Indexed(lengths) if lengths.len() == 30));
        let mut streamed = started_stream(folder.path(), 19);
        let mut returned = read_remaining(&mut streamed);
        returned.sort_unstable();
        assert_eq!(returned, expected);
        let hash = |examples: &ShardExamples<[usize; 2]>| {
            let mut fingerprint = Fingerprint::new();
            examples.fingerprint(&mut fingerprint, |fingerprint, [line, part]| {
                fingerprint.add_number("line", *line as u64).add_number("part", *part as u64);
            });
            fingerprint.finish().unwrap()
        };
        assert_ne!(hash(&in_memory), hash(&streamed));
        assert_eq!(hash(&streamed), hash(&examples(folder.path(), 19)));
        assert_ne!(hash(&streamed), hash(&examples(folder.path(), 18)));
    }

    #[test]
    fn every_position_can_be_restored() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = started_stream(folder.path(), 4);
        let ShardExamples::Streamed(stream) = &mut first else { panic!("in memory") };
        let mut positions = vec![stream.position().unwrap()];
        let mut returned = Vec::new();
        while !stream.next_batch(1).unwrap().lengths.is_empty() {
            returned.extend_from_slice(stream.batch());
            positions.push(stream.position().unwrap());
        }
        assert!(positions.iter().any(|position| position["example"] != 0), "{positions:?}");
        for (number, position) in positions.iter().enumerate() {
            let mut restored = started_stream(folder.path(), 4);
            let ShardExamples::Streamed(stream) = &mut restored else { panic!("in memory") };
            stream.seek(position).unwrap();
            assert_eq!(read_remaining(&mut restored), returned[number.min(returned.len())..]);
        }
        let ShardExamples::Streamed(stream) = &mut first else { panic!("in memory") };
        let mut position = positions[0].clone();
        position["example"] = 99.into();
        assert!(stream.seek(&position).is_err());
    }
}
