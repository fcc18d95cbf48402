//! The folder of translated questions, with the file `report.json` that contains the results of all
//! runs by language.
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use atomic_file::{FileLock, FileSet, fs};
use mlqa_eval::{DatasetName, Language, TableLanguage};
use serde_json::Value;

use crate::{Error, TranslateReport, Translated};

/// File name of the report.
const REPORT: &str = "report.json";

/// A folder to which translated questions are written. The functions
/// [`read_translations`](crate::read_translations()) and
/// [`MixedQuestions::read`](crate::MixedQuestions::read) read the files.
///
/// ```
/// use mlqa_eval::{Dataset, Language};
/// use qa_translate::{TranslatedFolder, align_by_id};
///
/// let english = Dataset::read("../../data/xquad/xquad.en.json")?;
/// let german = Dataset::read("../../data/xquad/xquad.de.json")?;
/// let out = tempfile::tempdir().unwrap();
/// let folder = TranslatedFolder { path: out.path(), split: "train", from: Language::EN };
/// folder.write(align_by_id(&english, &german, Language::DE)?)?;
/// assert!(out.path().join("train-context-de-question-de.json").exists());
/// assert!(folder.report_path().exists());
/// # Ok::<(), qa_translate::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TranslatedFolder<'a> {
    /// The folder.
    pub path: &'a Path,
    /// Prefix of the file names.
    pub split: &'a str,
    /// The source's language.
    pub from: Language,
}

impl TranslatedFolder<'_> {
    /// Returns the paths of the two files of a language: with passages in this language, and with
    /// the source's passages.
    pub fn question_paths(&self, to: Language) -> [PathBuf; 2] {
        [to, self.from].map(|context| {
            let name = DatasetName { split: self.split.to_owned(), context, question: to };
            self.path.join(name.to_string())
        })
    }

    /// Returns the path of the report.
    pub fn report_path(&self) -> PathBuf {
        self.path.join(REPORT)
    }

    /// Checks that the files of a language can be written.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn check(&self, to: Language) -> Result<(), Error> {
        let paths = self.question_paths(to);
        Ok(paths.iter().try_for_each(|path| atomic_file::check_output(path))?)
    }

    /// Writes the files of a language, and adds the language to the report. All files are replaced
    /// together. If no question was kept, only the report is written, and question files of an
    /// earlier run are unchanged.
    ///
    /// # Errors
    /// [`Error::File`], also if the folder has a `report.json` of another format.
    pub fn write(&self, translated: Translated) -> Result<(), Error> {
        fs::create_dir_all(self.path)?;
        let mut files = FileSet::default();
        let Translated { language, dataset, questions, report } = translated;
        if report.kept() > 0 {
            for (path, dataset) in self.question_paths(language).iter().zip([dataset, questions]) {
                files.add(path, dataset.to_json(path)?)?;
            }
        }
        self.publish(language, report, files)
    }

    /// Adds a language to the report, and publishes the report together with `files`.
    #[expect(clippy::expect_used, reason = "an entry has a JSON form")]
    fn publish(
        &self,
        language: Language,
        report: TranslateReport,
        mut files: FileSet,
    ) -> Result<(), Error> {
        let path = self.report_path();
        // The lock is held until the end, so that concurrent runs do not overwrite each other's
        // entries.
        let _lock = lock(self.path)?;
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
}

/// A language's entry in the report.
#[derive(serde::Serialize)]
struct Entry {
    kept: usize,
    skip_ratio: f64,
    #[serde(flatten)]
    report: TranslateReport,
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
