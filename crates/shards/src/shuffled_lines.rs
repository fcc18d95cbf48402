//! Lines of shards in a seeded random order, with bounded memory and positions to resume from.
use std::ops::Range;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::line::{is_blank, without_line_end};
use crate::shards::LineReader;
use crate::{Error, Fingerprint, Result, ShardFile, ShardLine, Shards, SourceError, rng_for};

/// Options for shuffling lines with limited memory.
///
/// # Example
/// ```
/// use shards::ShuffleConfig;
///
/// let config = ShuffleConfig { lines: 1000, ..ShuffleConfig::default() };
/// assert!(config.validate().is_ok());
/// assert!(ShuffleConfig { open_shards: 0, ..config }.validate().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShuffleConfig {
    /// Maximum number of lines in a block. The lines of a block are shuffled together.
    pub lines: usize,
    /// Limit of the uncompressed bytes of a block. A block ends with the line that reaches the
    /// limit.
    pub bytes: usize,
    /// Number of shards that are open at a time and provide lines alternately, to mix lines of
    /// different shards.
    pub open_shards: usize,
}

impl Default for ShuffleConfig {
    fn default() -> Self {
        Self { lines: 100_000, bytes: 16 << 20, open_shards: 8 }
    }
}

impl ShuffleConfig {
    /// Returns whether all options have their default values, for `skip_serializing_if`.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether all lines of `shards` fit in one block.
    pub fn fits_in_block(&self, shards: &Shards) -> bool {
        let bytes: u64 = shards.files().iter().map(ShardFile::bytes).sum();
        shards.line_count() <= self.lines as u64 && bytes <= self.bytes as u64
    }

    /// Rejects values of 0.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        let Self { lines, bytes, open_shards } = *self;
        for (key, value) in [("lines", lines), ("bytes", bytes), ("open_shards", open_shards)] {
            if value == 0 {
                let (value, rule) = (value.to_string(), "must be 1 or more".into());
                return Err(Error::Config { key: format!("shuffle.{key}"), value, rule });
            }
        }
        Ok(())
    }
}

/// A source of the lines of shards, which returns each line once per epoch in a random order.
///
/// The order is determined by the random generator of the epoch:
///
/// 1. The shards are shuffled.
/// 2. [`ShuffleConfig::open_shards`] shards are open at a time and provide lines alternately. At
///    the end of a shard, the next shard is opened.
/// 3. The resulting sequence is split into blocks, and each block is shuffled.
///
/// Step 2 mixes the lines of many shards of equal size well. The lines of a single shard are
/// shuffled only within blocks of consecutive lines. A position contains the positions of the open
/// shards at the start of its block, so seeking reads this block again.
///
/// A thread reads, decompresses and shuffles the next block while the current block is in use, so
/// two blocks are in memory. The thread does not affect the order.
pub struct ShuffledLines {
    shards: Shards,
    config: ShuffleConfig,
    /// Indices of the shards, in the epoch's order.
    order: Arc<[usize]>,
    /// Seed for shuffling the blocks of the epoch.
    seed: u64,
    block: Block,
    /// Reader of the next block; `None` before the first epoch.
    next_block: Option<NextBlock>,
}

/// State of the reader of the next block.
enum NextBlock {
    /// The reader is idle.
    Idle(BlockReader),
    /// A thread is reading the next block.
    Reading(JoinHandle<(BlockReader, Result<Block>)>),
}

/// A sequential reader of the blocks of an epoch.
struct BlockReader {
    shards: Shards,
    config: ShuffleConfig,
    order: Arc<[usize]>,
    seed: u64,
    readers: Vec<OpenShard>,
    /// Number of shards of `order` that have been opened.
    opened: usize,
    /// Index of the reader that provides the next line.
    turn: usize,
    /// Index of the next block.
    block_index: u64,
    line: Vec<u8>,
}

struct OpenShard {
    /// Index of the shard in [`Shards::files`].
    shard: usize,
    reader: LineReader,
}

/// Lines that are shuffled together.
#[derive(Default)]
struct Block {
    /// Position of the next line: the block's start and the number of returned lines.
    position: ShardPosition,
    text: Vec<u8>,
    lines: Vec<BlockLine>,
    /// Whether the block has been read.
    is_read: bool,
}

struct BlockLine {
    shard: usize,
    number: u64,
    /// Range in the block's text.
    range: Range<usize>,
}

/// A position between two lines of an epoch of [`ShuffledLines`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ShardPosition {
    /// Index of the block in the epoch, from 0.
    pub block: u64,
    /// Number of lines in the block that precede the position.
    #[serde(rename = "given")]
    pub returned_lines: usize,
    /// Positions in the open shards at the start of the block.
    pub readers: Vec<LinePosition>,
    /// Number of shards that had been opened at the start of the block.
    pub opened: usize,
    /// Index of the open shard that provides the block's first line.
    pub turn: usize,
}

/// A position between two lines of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LinePosition {
    /// Index of the shard, from 0.
    pub shard: usize,
    /// Number of uncompressed bytes before the position.
    pub byte: u64,
    /// Number of lines before the position.
    pub line: u64,
}

impl ShuffledLines {
    /// Creates a source of the lines of `shards`. An epoch must be started before lines are read.
    ///
    /// # Errors
    /// The errors of [`ShuffleConfig::validate`].
    pub fn new(shards: Shards, config: ShuffleConfig) -> Result<Self> {
        config.validate()?;
        let (order, block) = (Arc::default(), Block::default());
        Ok(Self { shards, config, order, seed: 0, block, next_block: None })
    }

    /// Returns the shards.
    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// Starts an epoch; `rng` determines the order.
    pub fn start_epoch(&mut self, mut rng: ChaCha8Rng) {
        self.seed = rng.random();
        let mut order: Vec<usize> = (0..self.shards.files().len()).collect();
        order.shuffle(&mut rng);
        self.order = order.into();
        self.next_block = Some(NextBlock::Idle(self.reader_at_epoch_start()));
        self.block = Block::default();
    }

    /// Creates a reader at the first line of the epoch.
    fn reader_at_epoch_start(&self) -> BlockReader {
        BlockReader {
            shards: self.shards.clone(),
            config: self.config.clone(),
            order: Arc::clone(&self.order),
            seed: self.seed,
            readers: Vec::new(),
            opened: 0,
            turn: 0,
            block_index: 0,
            line: Vec::new(),
        }
    }

    /// Returns the next line of the epoch without its line end, or `None` after the last line.
    /// Blank lines are skipped.
    ///
    /// # Errors
    /// [`Error::File`] naming a file that cannot be read or has changed.
    pub fn next_line(&mut self) -> Result<Option<ShardLine<'_>>> {
        if !self.block.is_read || self.block.position.returned_lines >= self.block.lines.len() {
            self.advance_block()?;
        }
        let Some(line) = self.block.lines.get(self.block.position.returned_lines) else {
            return Ok(None);
        };
        self.block.position.returned_lines += 1;
        let path = self.shards.files()[line.shard].path();
        let text = &self.block.text[line.range.clone()];
        Ok(Some(ShardLine { path, number: line.number, text }))
    }

    /// Returns the position before the next line.
    pub fn position(&self) -> ShardPosition {
        self.block.position.clone()
    }

    /// Moves to a position in the last started epoch.
    ///
    /// # Errors
    /// If the position does not exist; the errors of [`next_line`](Self::next_line).
    pub fn seek(&mut self, position: ShardPosition) -> std::result::Result<(), SourceError> {
        let ShardPosition { opened, turn, returned_lines, .. } = position;
        if opened > self.order.len() || turn > position.readers.len() {
            return Err(
                format!("invalid position in {} shards: {position:?}", self.order.len()).into()
            );
        }
        let block_index = position.block;
        let mut reader = BlockReader { opened, turn, block_index, ..self.reader_at_epoch_start() };
        for &LinePosition { shard, byte, line } in &position.readers {
            let file = self.shards.files().get(shard);
            let file = file.ok_or_else(|| format!("there is no shard with index {shard}"))?;
            let open_shard = OpenShard { shard, reader: file.reader_at(byte, line)? };
            reader.readers.push(open_shard);
        }
        self.next_block = Some(NextBlock::Idle(reader));
        self.block = Block { position, ..Block::default() };
        if returned_lines > 0 {
            self.advance_block()?;
            let line_count = self.block.lines.len();
            if returned_lines > line_count {
                let error = format!("position {returned_lines} in a block of {line_count} lines");
                return Err(error.into());
            }
            self.block.position.returned_lines = returned_lines;
        }
        Ok(())
    }

    /// Moves to the next block, and starts a thread that reads the following block.
    fn advance_block(&mut self) -> Result<()> {
        let (mut reader, block) = match self.next_block.take() {
            None => return Ok(()),
            Some(NextBlock::Idle(mut reader)) => {
                let block = reader.read_block();
                (reader, block)
            }
            Some(NextBlock::Reading(thread)) => match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            },
        };
        match block {
            Ok(block) if !block.lines.is_empty() => {
                self.block = block;
                let read = move || {
                    let block = reader.read_block();
                    (reader, block)
                };
                self.next_block = Some(NextBlock::Reading(thread::spawn(read)));
                Ok(())
            }
            empty_or_error => {
                self.next_block = Some(NextBlock::Idle(reader));
                self.block = empty_or_error?;
                Ok(())
            }
        }
    }

    /// Adds the contents of the shards and the options that determine the order to the fingerprint.
    pub fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("shuffle", &self.config);
        self.shards.fingerprint(fingerprint);
    }
}

impl BlockReader {
    /// Returns the position of the start of the next block.
    fn position(&self) -> ShardPosition {
        let readers = self.readers.iter().map(|OpenShard { shard, reader }| LinePosition {
            shard: *shard,
            byte: reader.n_bytes,
            line: reader.n_lines,
        });
        let (opened, turn, block) = (self.opened, self.turn, self.block_index);
        ShardPosition { block, returned_lines: 0, readers: readers.collect(), opened, turn }
    }

    fn read_block(&mut self) -> Result<Block> {
        let mut block = Block { position: self.position(), is_read: true, ..Block::default() };
        while block.lines.len() < self.config.lines && block.text.len() < self.config.bytes {
            let Some((shard, number)) = self.read_line()? else { break };
            if is_blank(&self.line) {
                continue;
            }
            let start = block.text.len();
            block.text.extend_from_slice(without_line_end(&self.line));
            let range = start..block.text.len();
            block.lines.push(BlockLine { shard, number, range });
        }
        block.lines.shuffle(&mut rng_for(self.seed, "block", block.position.block));
        self.block_index += 1;
        Ok(block)
    }

    /// Reads the next line into `self.line`; returns the index of its shard and its line number.
    fn read_line(&mut self) -> Result<Option<(usize, u64)>> {
        loop {
            while self.readers.len() < self.config.open_shards {
                let Some(&shard) = self.order.get(self.opened) else { break };
                let reader = self.shards.files()[shard].reader_at(0, 0)?;
                self.readers.push(OpenShard { shard, reader });
                self.opened += 1;
            }
            if self.turn >= self.readers.len() {
                self.turn = 0;
            }
            let Some(open) = self.readers.get_mut(self.turn) else { return Ok(None) };
            if open.reader.read(&mut self.line)? {
                self.turn += 1;
                return Ok(Some((open.shard, open.reader.n_lines)));
            }
            self.shards.files()[open.shard].check_end(&open.reader)?;
            self.readers.remove(self.turn);
        }
    }
}
