//! The processes of a stage as a [`ReadingGroup`].
use std::rc::Rc;

use torch_ext::ProcessGroup;

use crate::{ReadingGroup, TaskError};

/// The processes of a stage, which share the work of encoding streamed examples.
pub(crate) struct StageProcesses(pub(crate) Rc<ProcessGroup>);

impl ReadingGroup for StageProcesses {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn gather_rows(&self, rows: &[Vec<u32>]) -> Result<Vec<Vec<u32>>, TaskError> {
        Ok(self.0.all_gather_rows(rows)?)
    }
}
