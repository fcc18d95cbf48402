//! The file `report.json`, which contains the results of this run and earlier runs by language.
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use atomic_file::{FileLock, FileSet};
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
pub fn publish(
    out: &Path,
    language: Language,
    report: TranslateReport,
    mut files: FileSet,
) -> CommandResult {
    let path = out.join(NAME);
    let io_error = |action| Error::io(&path, action);
    // The lock is held until the end, so that concurrent runs do not overwrite each other's
    // entries.
    let _lock = lock(out).map_err(io_error("lock the folder of the file"))?;
    let mut entries = match fs::read(&path) {
        Ok(bytes) => parse(&bytes).map_err(io_error("read the file"))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(io_error("read the file")(error)),
    };
    let entry = Entry { kept: report.kept(), skip_ratio: report.skip_ratio(), report };
    let text = serde_json::to_value(entry).and_then(|entry| {
        entries.insert(TableLanguage(language), entry);
        serde_json::to_string_pretty(&entries)
    });
    let text = text.map_err(io::Error::from).map_err(io_error("write the file"))?;
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
fn lock(folder: &Path) -> io::Result<Option<FileLock>> {
    FileLock::acquire(&File::open(folder)?)
}

#[cfg(not(unix))]
fn lock(_: &Path) -> io::Result<()> {
    Ok(())
}
