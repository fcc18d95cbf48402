//! A model with its tokenizer.
use std::path::Path;

use tch::Device;
use tokenizers::Tokenizer;

use crate::tokenizer_files::tokenizer_in;
use crate::{
    Config, Error, Head, LoadOptions, LoadReport, Model, Result, SpecialTokens, TokenizerFiles,
    check_tokenizer,
};

/// A model and its tokenizer from a Hugging Face folder, checked against each other.
#[derive(Debug)]
pub struct Pretrained {
    /// Encoder and heads.
    pub model: Model,
    /// Its tokenizer; neither truncates nor pads.
    pub tokenizer: Tokenizer,
    /// The tokenizer's special tokens.
    pub specials: SpecialTokens,
    /// A line for each token id of `config.json` that was replaced by the tokenizer's; see
    /// [`Config::apply_token_ids`].
    pub notes: Vec<String>,
    files: TokenizerFiles,
}

impl Pretrained {
    /// Loads `config.json`, weights and the tokenizer's files of `folder`, see [`Model::load`].
    ///
    /// Where `config.json` and the tokenizer contradict each other about the id of a special
    /// token, the model's [`Config`] gets the tokenizer's id, see [`Config::apply_token_ids`].
    ///
    /// # Errors
    /// As [`Model::load`], [`Config::apply_token_ids`] and [`TokenizerFiles::of_folder`].
    pub fn load(
        folder: impl AsRef<Path>,
        heads: &[Head],
        device: Device,
        options: LoadOptions,
    ) -> Result<(Self, LoadReport)> {
        let folder = folder.as_ref();
        let (tokenizer, files) = TokenizerFiles::of_folder(folder)?;
        let mut config = Config::of_folder(folder)?;
        let notes = config.apply_token_ids(&tokenizer)?;
        let (model, report) = Model::load_with(folder, config, heads, device, options)?;
        let specials = check_tokenizer(&tokenizer, model.config())?;
        Ok((Self { model, tokenizer, specials, notes, files }, report))
    }

    /// Loads a model trained with `head`, for inference.
    ///
    /// Its `config.json` must name the head's class first in `architectures`, as written by
    /// [`Model::save`].
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

    /// Saves the model as [`Model::save`] does, with its tokenizer's original files; see
    /// [`TokenizerFiles::write`].
    ///
    /// # Errors
    /// As [`Model::save`] and [`TokenizerFiles::write`].
    pub fn save(&self, folder: impl AsRef<Path>, architecture: Head) -> Result<()> {
        let folder = folder.as_ref();
        self.model.save(folder, architecture)?;
        self.files.write(folder, &self.tokenizer, self.model.config())
    }
}

/// Reads `tokenizer.json` of a model folder, or else its `sentencepiece.bpe.model` or `spm.model`,
/// without truncation or padding.
///
/// # Errors
/// [`Error::Tokenizer`] naming the file.
pub fn read_tokenizer(folder: impl AsRef<Path>) -> Result<Tokenizer> {
    Ok(TokenizerFiles::of_file(tokenizer_in(folder.as_ref())?)?.0)
}
