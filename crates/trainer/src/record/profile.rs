//! Profiling of some steps of a stage with libtorch's profiler.
use std::ops::Range;
use std::path::PathBuf;

use tch::Device;
use torch_ext::Profile;

use crate::{Result, Stage};

/// Name of a profile's folder in the stage's folder, and of its file.
const FOLDER: &str = "profile";
const TRACE: &str = "trace.json";
/// Number of steps before the profiled steps, if the call of `fit` runs enough steps. The first
/// steps are slower, because kernels are selected and memory is allocated.
const SKIPPED_STEPS: u64 = 5;

/// Profiles the steps selected by [`Stage::with_profile`].
pub(crate) struct StepProfile {
    stage: String,
    folder: PathBuf,
    device: Device,
    /// The profiled steps, counted from 0.
    steps: Range<u64>,
    active_profile: Option<Profile>,
}

impl StepProfile {
    /// Creates a profile for a call of `fit` that runs the steps `first..end`.
    pub(crate) fn new(stage: &Stage, device: Device, first: u64, end: u64) -> Self {
        let count = stage.profile_steps.min(end.saturating_sub(first));
        let start = first.saturating_add(SKIPPED_STEPS).min(end.saturating_sub(count));
        Self {
            stage: stage.name.clone(),
            folder: stage.folder.join(FOLDER),
            device,
            steps: if stage.is_rank_0() { start..start + count } else { 0..0 },
            active_profile: None,
        }
    }

    /// Starts the profile if `step`, counted from 0, is the first profiled step.
    pub(crate) fn before_step(&mut self, step: u64) -> Result<()> {
        if !self.steps.is_empty() && step == self.steps.start {
            self.active_profile = Some(Profile::start(self.device)?);
        }
        Ok(())
    }

    /// Writes the profile after its last step; `completed` is the number of steps so far. Returns a
    /// message for the user. A failed write is reported in this message, and training continues.
    pub(crate) fn after_step(&mut self, completed: u64) -> Option<String> {
        let profile = self.active_profile.take_if(|_| completed == self.steps.end)?;
        let message = self.write(profile);
        Some(message.unwrap_or_else(|error| format!("no profile: {error}; training continues")))
    }

    fn write(&self, profile: Profile) -> Result<String> {
        atomic_file::fs::create_dir_all(&self.folder)?;
        let trace = self.folder.join(TRACE);
        profile.finish(&trace)?;
        let Range { start, end } = self.steps;
        Ok(format!(
            "{}: steps {} to {end}: {} opens in https://ui.perfetto.dev",
            self.stage,
            start + 1,
            trace.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Environment;

    #[test]
    fn profiling_skips_the_first_steps_if_enough_steps_follow() {
        let stage = Stage::new("test", "none", Environment::for_tests());
        let profiled_steps = |count, first, end| {
            let stage = stage.clone().with_profile(count);
            StepProfile::new(&stage, Device::Cpu, first, end).steps
        };
        assert_eq!(profiled_steps(3, 0, 100), 5..8);
        assert_eq!(profiled_steps(3, 40, 100), 45..48);
        assert_eq!(profiled_steps(3, 40, 46), 43..46);
        assert_eq!(profiled_steps(3, 40, 42), 40..42);
        assert!(profiled_steps(3, 40, 40).is_empty() && profiled_steps(0, 0, 100).is_empty());
        assert!(profiled_steps(3, 50, 40).is_empty());
    }
}
