#![doc = include_str!("../README.md")]

mod arguments;
mod help;
mod inputs;
mod messages;
mod notes;
mod progress;
mod temporary_folder;
mod text_output;

pub use arguments::{arguments, parse, parse_command};
pub use help::fit_to_terminal;
pub use inputs::{inputs, protect_inputs};
pub use messages::{describe, end, print_notes, print_stderr};
pub use progress::{byte_progress, progress, spinner};
pub use temporary_folder::TemporaryFolder;
pub use text_output::TextOutput;
