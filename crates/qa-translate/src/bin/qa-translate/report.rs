//! The file `report.json`, which contains the results of this run and earlier runs by language.
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use atomic_file::{FileLock, FileSet, fs};
use mlqa_eval::{Language, TableLanguage};
use qa_translate::{Error, TranslateReport};
use serde_json::Value;

use crate::CommandResult;

/// File name of the report.
pub const NAME: &str = "report.json";

/// A language's entry in the report.
#[derive(serde::Serialize)]
struct Entry {
    kept: usize,
    skip_ratio: f64,
    #[serde(flatten)]
    report: TranslateReport,
}

/// Adds a language to the report of the folder `out`, and publishes the report together with
/// `files`.
#[expect(clippy::expect_used, reason = "an entry has a JSON form")]
pub fn publish(
    out: &Path,
    language: Language,
    report: TranslateReport,
    mut files: FileSet,
) -> CommandResult {
    let path = out.join(NAME);
    // The lock is held until the end, so that concurrent runs do not overwrite each other's
    // entries.
    let _lock = lock(out)?;
    let mut entries = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        bytes => parse(&bytes?).map_err(atomic_file::Error::new(&path, "read"))?,
    };
    let entry = Entry { kept: report.kept(), skip_ratio: report.skip_ratio(), report };
    let entry = serde_json::to_value(entry).expect("an entry has a JSON form");
    entries.insert(TableLanguage(language), entry);
    let text = atomic_file::json::to_string_pretty(&path, &entries)?;
    files.add(&path, text + "\n")?;
    Ok(files.publish()?)
}

fn parse(bytes: &[u8]) -> io::Result<BTreeMap<TableLanguage, Value>> {
    let format_error = |problem: String| {
        let reason = format!("{problem}; expected a report by language; move the file away");
        io::Error::new(io::ErrorKind::InvalidData, reason)
    };
    let entries: BTreeMap<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| format_error(error.to_string()))?;
    let entry = |(code, entry): (String, Value)| match code.parse::<Language>() {
        Ok(language) => Ok((TableLanguage(language), entry)),
        Err(error) => Err(format_error(error.to_string())),
    };
    entries.into_iter().map(entry).collect()
}

/// Waits until no other run writes to the folder. On file systems without locks, the function does
/// not wait.
#[cfg(unix)]
fn lock(folder: &Path) -> Result<Option<FileLock>, Error> {
    Ok(fs::open(folder)?.lock()?)
}

#[cfg(not(unix))]
fn lock(_: &Path) -> Result<(), Error> {
    Ok(())
}
