#![doc = include_str!("../README.md")]

mod error;
mod files;
mod identity;
mod print;
mod program;
mod recipe;
mod run;

mod runtime;

pub use error::{Error, Result};
pub use files::{read_json, write_json, write_text};
pub use print::log;
pub use program::{exit, main, run_with};
pub use recipe::{
    Adapters, BaseModel, InputPath, JsonFolder, JsonlFolder, ModelFolder, Recipe, RunConfig,
    ShardFiles, ShardPaths, Sweeps, TsvFolder, read_recipe, with_overrides,
};
pub use run::{Experiment, Results, Trial, TrialResult, resolve_roles};
pub use runtime::Runtime;
