//! Models for the benches that compare with transformers.
#![allow(dead_code)] // not every bench uses all functions
use std::fs;
use std::io;
use std::path::Path;

use tch::Device;
use xlmr_model::{Config, Head, Model, TokenizerFiles};

/// Creates a reader of random weights with XLM-R's shape and the embedded tokenizer.
pub fn model(root: &Path, folder: &Path, layers: i64, hidden: i64) -> io::Result<()> {
    let config = Config {
        vocab_size: 4000,
        num_hidden_layers: layers,
        hidden_size: hidden,
        num_attention_heads: hidden / 64,
        intermediate_size: 4 * hidden,
        ..Config::base()
    };
    let written = || -> xlmr_model::Result<()> {
        Model::new(&config, &[Head::Span], Device::Cpu, 1)?.save(folder, Head::Span)?;
        let (tokenizer, files) = TokenizerFiles::of_file(root.join("data/base/tokenizer.json"))?;
        files.write(folder, &tokenizer, &config)
    };
    written().map_err(io::Error::other)
}

/// Copies the files of a model folder; files of an earlier copy are removed.
pub fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
