//! Counts of skipped data, printed at the start of a stage and stored with its metrics.

use serde::Serialize;

use crate::record::print_note;
use crate::task::slot::TaskSlot;
use crate::task::slot::slot_label;
use crate::{Result, Stage};

/// Name of the file in the stage's folder.
const FILE: &str = "left-out.json";

/// A count of skipped, truncated or invalid data of a task; see
/// [`Task::skipped_data`](crate::Task::skipped_data).
///
/// ```
/// let skipped = trainer::SkippedData::new("questions without an answer", 3, 40);
/// assert_eq!(skipped.to_string(), "questions without an answer: 3 of 40");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkippedData {
    /// Name of the counted items, in the plural.
    pub what: String,
    /// Number of skipped, truncated or invalid items.
    pub count: usize,
    /// Total number of items.
    pub of: usize,
}

impl SkippedData {
    /// Creates the count of `count` items among `of` items named `what`.
    pub fn new(what: impl Into<String>, count: usize, of: usize) -> Self {
        Self { what: what.into(), count, of }
    }
}

impl std::fmt::Display for SkippedData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, count, of } = self;
        write!(f, "{what}: {count} of {of}")
    }
}

/// An entry of `left-out.json`.
#[derive(Serialize)]
struct SkippedDataEntry {
    /// The slot's name, if the stage has several slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    #[serde(flatten)]
    skipped: SkippedData,
}

/// Prints a line for each count above 0, and writes all counts to `left-out.json`.
pub(crate) fn write_skipped_data(stage: &Stage, slots: &[TaskSlot<'_>]) -> Result<()> {
    if !stage.is_rank_0() {
        return Ok(());
    }
    let mut entries = Vec::new();
    for slot in slots {
        let name = slot_label(&stage.name, slots.len(), &slot.name);
        for skipped in slot.task.skipped_data() {
            if skipped.count > 0 {
                print_note(&format!("{name}: {skipped}"));
            }
            let task = (slots.len() > 1).then(|| slot.name.clone());
            entries.push(SkippedDataEntry { task, skipped });
        }
    }
    if entries.is_empty() {
        return Ok(());
    }
    let path = stage.folder.join(FILE);
    let text = atomic_file::json::to_string_pretty(&path, &entries)?;
    atomic_file::create_folder_of(&path)?;
    Ok(atomic_file::write(&path, text + "\n")?)
}
