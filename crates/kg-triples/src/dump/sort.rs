//! Sorting of entries by key in bounded memory, with files on disk.
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use atomic_file::fs::File;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Error;

/// A key with its values. Entries with equal keys are sorted by `number`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) number: u64,
    pub(super) values: Vec<String>,
}

impl Entry {
    /// Approximate memory of the entry in bytes.
    fn size(&self) -> usize {
        self.values.iter().map(String::len).sum::<usize>() + self.key.len() + 128
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.number.to_le_bytes())?;
        write_text(out, &self.key)?;
        out.write_all(&(self.values.len() as u64).to_le_bytes())?;
        self.values.iter().try_for_each(|value| write_text(out, value))
    }

    /// Reads an entry; returns `None` at the end of the input.
    fn read(input: &mut impl Read) -> io::Result<Option<Self>> {
        let mut number_bytes = [0; 8];
        match input.read(&mut number_bytes)? {
            0 => return Ok(None),
            length => input.read_exact(&mut number_bytes[length..])?,
        }
        let key = read_text(input)?;
        let count = read_number(input)?;
        let values = (0..count).map(|_| read_text(input)).collect::<io::Result<_>>()?;
        Ok(Some(Self { key, number: u64::from_le_bytes(number_bytes), values }))
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

/// Number of files of one generation (see [`RunFile`]) that are merged into one file. Merging
/// limits the number of open files.
const RUNS_PER_MERGE: usize = 64;

/// A sorted file of entries.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct RunFile {
    name: String,
    /// Number of merges that produced this file; 0 for a file of entries from memory.
    generation: u32,
}

/// Sorts entries by key and number. Entries are held in memory until the caller calls
/// [`Sorter::spill`]. `budget` is the memory in bytes above which [`Sorter::is_full`] returns
/// `true`. The caller removes the folder with the files.
pub(super) struct Sorter {
    folder: PathBuf,
    /// Prefix of the file names.
    name: &'static str,
    budget: usize,
    entries: Vec<Entry>,
    entry_bytes: usize,
    runs: Vec<RunFile>,
    /// Number of files created so far.
    file_count: u64,
    /// Names of files that were merged into other files and can be removed.
    obsolete: Vec<String>,
}

impl Sorter {
    pub(super) fn new(folder: &Path, name: &'static str, budget: usize) -> Self {
        let folder = folder.to_owned();
        let (entries, runs, obsolete) = (Vec::new(), Vec::new(), Vec::new());
        Self { folder, name, budget, entries, entry_bytes: 0, runs, file_count: 0, obsolete }
    }

    /// Adds the files of an earlier sorter, as returned by its [`Sorter::runs`].
    pub(super) fn with_runs(mut self, (file_count, runs): (u64, Vec<RunFile>)) -> Self {
        (self.file_count, self.runs) = (file_count, runs);
        self
    }

    /// Returns the number of files created and the files that hold the spilled entries.
    pub(super) fn runs(&self) -> (u64, Vec<RunFile>) {
        (self.file_count, self.runs.clone())
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entry_bytes += entry.size();
        self.entries.push(entry);
    }

    /// Whether the entries in memory exceed the budget.
    pub(super) fn is_full(&self) -> bool {
        self.entry_bytes > self.budget
    }

    /// Writes all entries in memory to a file and syncs it to disk.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(super) fn spill(&mut self) -> Result<(), Error> {
        if self.entries.is_empty() {
            return Ok(());
        }
        self.entries.par_sort_unstable();
        let name = self.next_file_name();
        let mut file = self.create(&name)?;
        self.entries.drain(..).try_for_each(|entry| file.write(&entry))?;
        file.finish()?;
        self.entry_bytes = 0;
        self.runs.push(RunFile { name, generation: 0 });
        while let Some(generation) = self.generation_to_merge() {
            self.merge(generation)?;
        }
        Ok(())
    }

    fn next_file_name(&mut self) -> String {
        self.file_count += 1;
        format!("{}-{}", self.name, self.file_count)
    }

    fn create(&self, name: &str) -> Result<RunWriter, Error> {
        let file = File::create(self.folder.join(name))?;
        Ok(RunWriter(BufWriter::with_capacity(1 << 18, file)))
    }

    /// Returns the generation of the newest file if [`RUNS_PER_MERGE`] files have this generation.
    fn generation_to_merge(&self) -> Option<u32> {
        let generation = self.runs.last()?.generation;
        let runs = self.runs.iter().rev().take_while(|run| run.generation == generation);
        (runs.count() >= RUNS_PER_MERGE).then_some(generation)
    }

    /// Merges all files of a generation into one file of the next generation.
    fn merge(&mut self, generation: u32) -> Result<(), Error> {
        let (merged_runs, remaining): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.runs).into_iter().partition(|r| r.generation == generation);
        let mut sorted = SortedEntries::new(self.open(&merged_runs)?)?;
        let name = self.next_file_name();
        let mut file = self.create(&name)?;
        while let Some(entry) = sorted.next()? {
            file.write(&entry)?;
        }
        file.finish()?;
        self.obsolete.extend(merged_runs.into_iter().map(|run| run.name));
        self.runs = remaining;
        self.runs.push(RunFile { name, generation: generation + 1 });
        Ok(())
    }

    fn open(&self, runs: &[RunFile]) -> Result<Vec<Run>, Error> {
        let open = |run: &RunFile| {
            let file = File::open(self.folder.join(&run.name))?;
            Ok(Run::File(BufReader::with_capacity(1 << 18, file)))
        };
        runs.iter().map(open).collect()
    }

    /// Removes the files that were merged into other files. [`Sorter::runs`] no longer lists them.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub(super) fn remove_merged(&mut self) -> Result<(), Error> {
        let mut paths = self.obsolete.drain(..).map(|name| self.folder.join(name));
        Ok(paths.try_for_each(atomic_file::fs::remove_file)?)
    }

    /// Returns all entries, sorted.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(super) fn into_sorted(mut self) -> Result<SortedEntries, Error> {
        self.entries.par_sort_unstable();
        let mut runs = self.open(&self.runs)?;
        runs.push(Run::Memory(self.entries.into_iter()));
        SortedEntries::new(runs)
    }
}

/// Writes a file of sorted entries.
struct RunWriter(BufWriter<File>);

impl RunWriter {
    fn write(&mut self, entry: &Entry) -> Result<(), Error> {
        let written = entry.write(&mut self.0);
        Ok(written.map_err(atomic_file::Error::new(self.0.get_ref().path(), "write"))?)
    }

    /// Syncs the file to disk.
    fn finish(mut self) -> Result<(), Error> {
        let written = self.0.flush();
        let file = self.0.get_ref();
        written.map_err(atomic_file::Error::new(file.path(), "write"))?;
        Ok(file.sync_all()?)
    }
}

enum Run {
    Memory(std::vec::IntoIter<Entry>),
    File(BufReader<File>),
}

impl Run {
    fn next(&mut self) -> Result<Option<Entry>, Error> {
        match self {
            Self::Memory(entries) => Ok(entries.next()),
            Self::File(file) => Entry::read(file)
                .map_err(|error| Error::io(file.get_ref().path(), "read the file")(error)),
        }
    }
}

/// Entries ordered by key and number.
pub(super) struct SortedEntries {
    runs: Vec<Run>,
    next_entries: BinaryHeap<Reverse<(Entry, usize)>>,
}

impl SortedEntries {
    fn new(mut runs: Vec<Run>) -> Result<Self, Error> {
        let mut next_entries = BinaryHeap::new();
        for (run_index, run) in runs.iter_mut().enumerate() {
            next_entries.extend(run.next()?.map(|entry| Reverse((entry, run_index))));
        }
        Ok(Self { runs, next_entries })
    }

    /// Returns the next entry; `None` at the end.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Error> {
        let Some(Reverse((entry, run_index))) = self.next_entries.pop() else { return Ok(None) };
        let next = self.runs[run_index].next()?;
        self.next_entries.extend(next.map(|next| Reverse((next, run_index))));
        Ok(Some(entry))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn entries_are_sorted_for_any_budget(
            keys in prop::collection::vec("[a-c\u{e9}]{0,3}", 0..200),
            budget in 1usize..20_000,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::new(folder.path(), "run", budget);
            let numbered_keys = (0..).zip(&keys);
            let entries: Vec<Entry> = numbered_keys
                .map(|(number, key)| {
                    let values = vec![format!("{key}\t{number}\n"), String::new()];
                    Entry { key: key.clone(), number, values }
                })
                .collect();
            for entry in &entries {
                sorter.push(entry.clone());
                if sorter.is_full() {
                    sorter.spill().unwrap();
                    // The test continues with a new sorter that has the files of the old one.
                    sorter.remove_merged().unwrap();
                    let runs = sorter.runs();
                    prop_assert!(runs.1.len() < 2 * RUNS_PER_MERGE);
                    sorter = Sorter::new(folder.path(), "run", budget).with_runs(runs);
                }
            }
            let mut expected = entries;
            expected.sort();
            let files = std::fs::read_dir(folder.path()).unwrap().count();
            prop_assert_eq!(files, sorter.runs().1.len());
            let mut sorted = sorter.into_sorted().unwrap();
            let sorted_entries = std::iter::from_fn(|| sorted.next().unwrap()).collect::<Vec<_>>();
            prop_assert_eq!(sorted_entries, expected);
        }
    }
}
