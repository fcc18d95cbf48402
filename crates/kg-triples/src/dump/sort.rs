//! Records sorted by key on disk, in bounded memory.
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use tempfile::TempDir;

/// A key, the number that orders equal keys, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) number: u64,
    pub(super) values: Vec<String>,
}

impl Entry {
    /// About the memory that it takes, in bytes.
    fn size(&self) -> usize {
        self.values.iter().map(String::len).sum::<usize>() + self.key.len() + 128
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.number.to_le_bytes())?;
        write_text(out, &self.key)?;
        out.write_all(&(self.values.len() as u64).to_le_bytes())?;
        self.values.iter().try_for_each(|value| write_text(out, value))
    }

    /// `None` at the end.
    fn read(input: &mut impl Read) -> io::Result<Option<Self>> {
        let mut first = [0; 8];
        match input.read(&mut first)? {
            0 => return Ok(None),
            read => input.read_exact(first.get_mut(read..).unwrap_or_default())?,
        }
        let key = read_text(input)?;
        let count = read_number(input)?;
        let values = (0..count).map(|_| read_text(input)).collect::<io::Result<_>>()?;
        Ok(Some(Self { key, number: u64::from_le_bytes(first), values }))
    }
}

fn write_text(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(&(text.len() as u64).to_le_bytes())?;
    out.write_all(text.as_bytes())
}

fn read_number(input: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    input.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn read_text(input: &mut impl Read) -> io::Result<String> {
    let length = read_number(input)?;
    let mut bytes = Vec::new();
    if input.take(length).read_to_end(&mut bytes)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Takes entries in any order and gives them back sorted by key and number. What does not fit
/// `budget` bytes lies in files of `folder`, which goes when the sorter and its output do.
pub(super) struct Sorter {
    folder: TempDir,
    budget: usize,
    entries: Vec<Entry>,
    held: usize,
    runs: Vec<PathBuf>,
}

impl Sorter {
    pub(super) fn new(folder: TempDir, budget: usize) -> Self {
        Self { folder, budget, entries: Vec::new(), held: 0, runs: Vec::new() }
    }

    /// # Errors
    /// If a file cannot be written.
    pub(super) fn push(&mut self, entry: Entry) -> io::Result<()> {
        self.held += entry.size();
        self.entries.push(entry);
        if self.held > self.budget {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.entries.sort_unstable();
        let path = self.folder.path().join(format!("run-{}", self.runs.len()));
        let mut file = BufWriter::with_capacity(1 << 18, File::create(&path)?);
        self.entries.drain(..).try_for_each(|entry| entry.write(&mut file))?;
        file.flush()?;
        self.runs.push(path);
        self.held = 0;
        Ok(())
    }

    /// All entries, sorted.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(super) fn sorted(mut self) -> io::Result<Sorted> {
        self.entries.sort_unstable();
        let memory = Run::Memory(std::mem::take(&mut self.entries).into_iter());
        let mut runs = vec![memory];
        for path in &self.runs {
            runs.push(Run::File(BufReader::with_capacity(1 << 18, File::open(path)?)));
        }
        let mut heads = BinaryHeap::new();
        for (number, run) in runs.iter_mut().enumerate() {
            heads.extend(run.next()?.map(|entry| Reverse((entry, number))));
        }
        Ok(Sorted { runs, heads, _folder: self.folder })
    }
}

enum Run {
    Memory(std::vec::IntoIter<Entry>),
    File(BufReader<File>),
}

impl Run {
    fn next(&mut self) -> io::Result<Option<Entry>> {
        match self {
            Self::Memory(entries) => Ok(entries.next()),
            Self::File(file) => Entry::read(file),
        }
    }
}

/// Entries in the order of key and number.
pub(super) struct Sorted {
    runs: Vec<Run>,
    heads: BinaryHeap<Reverse<(Entry, usize)>>,
    _folder: TempDir,
}

impl Sorted {
    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        let Some(Reverse((entry, number))) = self.heads.pop() else { return Ok(None) };
        if let Some(run) = self.runs.get_mut(number) {
            self.heads.extend(run.next()?.map(|next| Reverse((next, number))));
        }
        Ok(Some(entry))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn entries_come_sorted_whatever_fits_in_memory(
            keys in prop::collection::vec("[a-c\u{e9}]{0,3}", 0..200),
            budget in 1usize..20_000,
        ) {
            let mut sorter = Sorter::new(tempfile::tempdir().unwrap(), budget);
            let numbered = (0..).zip(&keys);
            let entries: Vec<Entry> = numbered
                .map(|(number, key)| {
                    let values = vec![format!("{key}\t{number}\n"), String::new()];
                    Entry { key: key.clone(), number, values }
                })
                .collect();
            for entry in &entries {
                sorter.push(entry.clone()).unwrap();
            }
            let mut expected = entries;
            expected.sort();
            let mut sorted = sorter.sorted().unwrap();
            let found = std::iter::from_fn(|| sorted.next().unwrap()).collect::<Vec<_>>();
            prop_assert_eq!(found, expected);
        }
    }
}
