//! A model with the tokenizer that belongs to it.
use std::path::{Path, PathBuf};

use tch::Device;
use tokenizers::Tokenizer;

use crate::{Error, Head, LoadOptions, LoadReport, Model, Result, SpecialTokens, check_tokenizer};

const TOKENIZER: &str = "tokenizer.json";

/// A Hugging Face folder in memory: a model and its tokenizer, checked against each other.
#[derive(Debug)]
pub struct Pretrained {
    /// Encoder and heads.
    pub model: Model,
    /// Its tokenizer; neither truncates nor pads.
    pub tokenizer: Tokenizer,
    /// The tokenizer's special tokens.
    pub specials: SpecialTokens,
    folder: PathBuf,
}

impl Pretrained {
    /// Loads `config.json`, weights and `tokenizer.json` of `folder`, see [`Model::load`].
    ///
    /// # Errors
    /// As [`Model::load`] and [`check_tokenizer`]; [`Error::Tokenizer`] naming a tokenizer file
    /// that cannot be read.
    pub fn load(
        folder: impl AsRef<Path>,
        heads: &[Head],
        device: Device,
        options: LoadOptions,
    ) -> Result<(Self, LoadReport)> {
        let folder = folder.as_ref();
        let tokenizer = read_tokenizer(folder)?;
        let (model, report) = Model::load(folder, heads, device, options)?;
        let specials = check_tokenizer(&tokenizer, model.config())?;
        Ok((Self { model, tokenizer, specials, folder: folder.to_owned() }, report))
    }

    /// Loads a model that was trained with `head`, to use it without further training: one whose
    /// `config.json` names the head's class first in `architectures`, as [`Model::save`] writes it.
    ///
    /// # Errors
    /// [`Error::Untrained`] for a model of another class or without the head's weights; as
    /// [`load`](Self::load).
    ///
    /// # Example
    /// ```
    /// use xlmr_model::{Head, Pretrained};
    ///
    /// // A pre-trained encoder answers no questions.
    /// let base = Pretrained::load_trained("../../data/base", Head::Span, tch::Device::Cpu);
    /// let error = base.err().map(|error| error.to_string()).unwrap_or_default();
    /// assert!(error.contains("config.json names XLMRobertaForMaskedLM"));
    /// ```
    pub fn load_trained(folder: impl AsRef<Path>, head: Head, device: Device) -> Result<Self> {
        let folder = folder.as_ref();
        let (loaded, report) = Self::load(folder, &[head], device, LoadOptions::default())?;
        let class = head.class(&loaded.model.config().architecture);
        let named = loaded.model.config().architectures.first();
        let reason = if named != Some(&class) {
            format!("config.json names {}", named.map_or("no class", String::as_str))
        } else if !report.missing.is_empty() {
            format!("the weights lack {}", report.missing.join(", "))
        } else {
            return Ok(loaded);
        };
        Err(Error::Untrained { path: folder.to_owned(), head: head.name(), class, reason })
    }

    /// The folder it was loaded from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the model as [`Model::save`] does, with its `tokenizer.json` as it was read, byte for
    /// byte.
    ///
    /// # Errors
    /// As [`Model::save`]; [`Error::Io`] if the tokenizer cannot be copied.
    pub fn save(&self, folder: impl AsRef<Path>, architecture: Head) -> Result<()> {
        let folder = folder.as_ref();
        self.model.save(folder, architecture)?;
        let (from, to) = (self.folder.join(TOKENIZER), folder.join(TOKENIZER));
        let text = std::fs::read(&from).map_err(|error| Error::io(&from, error))?;
        whole_file::write(&to, text).map_err(|error| Error::io(&to, error))
    }
}

/// Reads `tokenizer.json` of a model folder, without truncation or padding.
///
/// # Errors
/// [`Error::Tokenizer`] naming the file.
pub fn read_tokenizer(folder: impl AsRef<Path>) -> Result<Tokenizer> {
    let path = folder.as_ref().join(TOKENIZER);
    let mut tokenizer =
        tokenizer_file::read(&path).map_err(|error| Error::Tokenizer(error.to_string()))?;
    tokenizer.with_padding(None);
    let _ = tokenizer
        .with_truncation(None)
        .map_err(|error| Error::Tokenizer(format!("{}: {error}", path.display())))?;
    Ok(tokenizer)
}
