//! Lines of shards in a seeded order that needs bounded memory and can be gone back to.
use std::ops::Range;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::shards::{LineReader, is_blank, without_end};
use crate::{Error, Fingerprint, Result, ShardFile, ShardLine, Shards, SourceError, rng_for};

/// How lines are shuffled: what is in memory at a time.
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
    /// Lines of a block, which is shuffled as a whole.
    pub lines: usize,
    /// Bytes of a block, unpacked: it ends with the line that reaches them.
    pub bytes: usize,
    /// Shards that are read side by side, so that lines of one shard do not stay together.
    pub open_shards: usize,
}

impl Default for ShuffleConfig {
    fn default() -> Self {
        Self { lines: 100_000, bytes: 16 << 20, open_shards: 8 }
    }
}

impl ShuffleConfig {
    /// Whether these are the defaults: a recipe need not write them down.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a block holds all lines of `shards`.
    pub fn holds(&self, shards: &Shards) -> bool {
        let bytes: u64 = shards.files().iter().map(ShardFile::bytes).sum();
        shards.lines() <= self.lines as u64 && bytes <= self.bytes as u64
    }

    /// Refuses a block that holds nothing.
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

/// The lines of some shards, each once an epoch, in an order drawn from the epoch's generator.
///
/// The shards are put in a random order. [`ShuffleConfig::open_shards`] of them are open at a time,
/// and give a line in turn; where one ends, the next is opened. What comes so is cut into blocks,
/// and each block is shuffled. So a line moves within its block only: many shards of equal size
/// mix well, a single one only as far as a block reaches. A position names the places of the open
/// shards where the block began, so going back reads one block again.
///
/// While the lines of a block are given, a thread reads, unpacks and shuffles the next one: two
/// blocks are in memory. What is given does not depend on it.
pub struct ShuffledLines {
    shards: Shards,
    config: ShuffleConfig,
    /// Numbers of the shards, in the epoch's order.
    order: Arc<[usize]>,
    /// Seeds the blocks of the epoch.
    key: u64,
    block: Block,
    /// `None` before the first epoch.
    ahead: Option<Ahead>,
}

/// Where the reader is.
enum Ahead {
    /// Here, before the next block.
    Waiting(BlockReader),
    /// In a thread that reads the next block.
    Reading(JoinHandle<(BlockReader, Result<Block>)>),
}

/// Reads the blocks of an epoch, one after the other.
struct BlockReader {
    shards: Shards,
    config: ShuffleConfig,
    order: Arc<[usize]>,
    key: u64,
    readers: Vec<Reader>,
    /// Shards of `order` that were opened.
    opened: usize,
    /// The reader that gives the next line.
    turn: usize,
    /// The number of the next block.
    block: u64,
    line: Vec<u8>,
}

struct Reader {
    shard: usize,
    lines: LineReader,
}

/// The lines that are shuffled together.
#[derive(Default)]
struct Block {
    /// Where it began; `given` is the number of lines given so far.
    start: ShardPosition,
    text: Vec<u8>,
    lines: Vec<BlockLine>,
    /// Whether it has been read.
    read: bool,
}

struct BlockLine {
    shard: usize,
    number: u64,
    /// In the block's text.
    text: Range<usize>,
}

/// A place between two lines of an epoch, as [`ShuffledLines`] gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ShardPosition {
    /// Number of the block in the epoch, from 0.
    pub block: u64,
    /// Lines of the block before the place.
    pub given: usize,
    /// The open shards where the block began.
    pub readers: Vec<ReadingPlace>,
    /// Shards that had been opened then.
    pub opened: usize,
    /// Which of the open shards gives the block's first line.
    pub turn: usize,
}

/// A place between two lines of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingPlace {
    /// Number of the shard, from 0.
    pub shard: usize,
    /// Bytes before the place, unpacked.
    pub byte: u64,
    /// Lines before it.
    pub line: u64,
}

impl ShuffledLines {
    /// The lines of `shards`; an epoch must be started before any is read.
    ///
    /// # Errors
    /// As [`ShuffleConfig::validate`].
    pub fn new(shards: Shards, config: ShuffleConfig) -> Result<Self> {
        config.validate()?;
        let (order, block) = (Arc::default(), Block::default());
        Ok(Self { shards, config, order, key: 0, block, ahead: None })
    }

    /// Where the lines come from.
    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// Goes to the first line of an epoch whose order `rng` decides.
    pub fn start_epoch(&mut self, mut rng: ChaCha8Rng) {
        self.key = rng.random();
        let mut order: Vec<usize> = (0..self.shards.files().len()).collect();
        order.shuffle(&mut rng);
        self.order = order.into();
        self.ahead = Some(Ahead::Waiting(self.reader()));
        self.block = Block::default();
    }

    /// A reader before the first line of the epoch.
    fn reader(&self) -> BlockReader {
        BlockReader {
            shards: self.shards.clone(),
            config: self.config.clone(),
            order: Arc::clone(&self.order),
            key: self.key,
            readers: Vec::new(),
            opened: 0,
            turn: 0,
            block: 0,
            line: Vec::new(),
        }
    }

    /// The next line of the epoch, without its end; `None` after the last one. Blank lines are
    /// skipped.
    ///
    /// # Errors
    /// [`Error::File`] naming a file that cannot be read, or that changed.
    pub fn next_line(&mut self) -> Result<Option<ShardLine<'_>>> {
        if !self.block.read || self.block.start.given >= self.block.lines.len() {
            self.next_block()?;
        }
        let Some(line) = self.block.lines.get(self.block.start.given) else { return Ok(None) };
        self.block.start.given += 1;
        let Some(file) = self.shards.files().get(line.shard) else { return Ok(None) };
        let text = self.block.text.get(line.text.clone()).unwrap_or_default();
        Ok(Some(ShardLine { path: file.path(), number: line.number, text }))
    }

    /// The place before the next line.
    pub fn position(&self) -> ShardPosition {
        self.block.start.clone()
    }

    /// Goes to a place in the epoch that was started last.
    ///
    /// # Errors
    /// If there is no such place; as [`next_line`](Self::next_line).
    pub fn seek(&mut self, position: ShardPosition) -> std::result::Result<(), SourceError> {
        let ShardPosition { opened, turn, given, .. } = position;
        if opened > self.order.len() || turn > position.readers.len() {
            return Err(
                format!("no such place in {} shards: {position:?}", self.order.len()).into()
            );
        }
        let mut reader = BlockReader { opened, turn, block: position.block, ..self.reader() };
        for place in &position.readers {
            let file = self.shards.files().get(place.shard);
            let file = file.ok_or_else(|| format!("no shard number {}", place.shard))?;
            let lines = file.reader_at(place.byte, place.line)?;
            reader.readers.push(Reader { shard: place.shard, lines });
        }
        self.ahead = Some(Ahead::Waiting(reader));
        self.block = Block { start: position, ..Block::default() };
        if given > 0 {
            self.next_block()?;
            let lines = self.block.lines.len();
            if given > lines {
                return Err(format!("line {given} of a block that has {lines}").into());
            }
            self.block.start.given = given;
        }
        Ok(())
    }

    /// Takes the next block, and has the one after it read meanwhile.
    fn next_block(&mut self) -> Result<()> {
        let (mut reader, block) = match self.ahead.take() {
            None => return Ok(()),
            Some(Ahead::Waiting(mut reader)) => {
                let block = reader.read_block();
                (reader, block)
            }
            Some(Ahead::Reading(thread)) => match thread.join() {
                Ok(read) => read,
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
                self.ahead = Some(Ahead::Reading(thread::spawn(read)));
                Ok(())
            }
            last => {
                self.ahead = Some(Ahead::Waiting(reader));
                self.block = last?;
                Ok(())
            }
        }
    }

    /// Adds the content of the shards and what decides the order.
    pub fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.serialize("shuffle", &self.config);
        self.shards.fingerprint(fingerprint);
    }
}

impl BlockReader {
    /// The start of the next block.
    fn here(&self) -> ShardPosition {
        let readers = self.readers.iter().map(|Reader { shard, lines }| ReadingPlace {
            shard: *shard,
            byte: lines.byte,
            line: lines.line,
        });
        let (opened, turn, block) = (self.opened, self.turn, self.block);
        ShardPosition { block, given: 0, readers: readers.collect(), opened, turn }
    }

    fn read_block(&mut self) -> Result<Block> {
        let mut block = Block { start: self.here(), read: true, ..Block::default() };
        while block.lines.len() < self.config.lines && block.text.len() < self.config.bytes {
            let Some((shard, number)) = self.read_line()? else { break };
            if is_blank(&self.line) {
                continue;
            }
            let start = block.text.len();
            block.text.extend_from_slice(without_end(&self.line));
            let text = start..block.text.len();
            block.lines.push(BlockLine { shard, number, text });
        }
        block.lines.shuffle(&mut rng_for(self.key, "block", block.start.block));
        self.block += 1;
        Ok(block)
    }

    /// Reads the line whose turn it is; its shard and its number there.
    fn read_line(&mut self) -> Result<Option<(usize, u64)>> {
        loop {
            while self.readers.len() < self.config.open_shards {
                let Some(&shard) = self.order.get(self.opened) else { break };
                let Some(file) = self.shards.files().get(shard) else { break };
                self.readers.push(Reader { shard, lines: file.reader_at(0, 0)? });
                self.opened += 1;
            }
            if self.turn >= self.readers.len() {
                self.turn = 0;
            }
            let Some(reader) = self.readers.get_mut(self.turn) else { return Ok(None) };
            if reader.lines.read(&mut self.line)? {
                self.turn += 1;
                return Ok(Some((reader.shard, reader.lines.line)));
            }
            if let Some(file) = self.shards.files().get(reader.shard) {
                file.check_end(&reader.lines)?;
            }
            self.readers.remove(self.turn);
        }
    }
}
