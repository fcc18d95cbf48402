#![doc = include_str!("../README.md")]

mod args;
mod arms;
mod base;
mod base_model;
mod cached;
mod cell;
mod digest;
mod error;
mod folder;
mod identity;
mod input;
mod kept_models;
mod keys;
mod left_files;
mod machine;
mod names;
mod output;
mod prepare;
mod ranks;
mod read;
mod recipe;
mod record;
mod report;
mod results;
mod run;
mod runtime;
mod shard_paths;
mod sweeps;

pub use self::results::{CellResult, Results};
pub use base_model::{BaseModel, ModelLimits};
pub use cell::{Cell, resolve_roles};
pub use error::{Error, Result};
pub use identity::first_difference;
pub use input::{
    AllFiles, EntityPages, InputFiles, InputPath, JsonFiles, JsonFolder, JsonlFiles, JsonlFolder,
    ModelFiles, ModelFolder, TsvFiles, TsvFolder, XquadFiles,
};
pub use output::{exit, log, main, run_with};
pub use read::{read_recipe, with_overrides};
pub use recipe::{Recipe, RunConfig};
pub use record::{read_json, write_json, write_text};
pub use run::Experiment;
pub use runtime::Runtime;
pub use shard_paths::{ShardFiles, ShardPaths};
pub use sweeps::Sweeps;
