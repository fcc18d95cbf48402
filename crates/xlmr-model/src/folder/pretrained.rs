//! A model with its tokenizer.
use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};

use tch::Device;
use tokenizer_file::Layout;
use tokenizers::Tokenizer;
use tokenizers::models::ModelWrapper;
use torch_ext::Precision;

use crate::folder::checkpoint::Checkpoint;
use crate::folder::load::{self, model_folder};
use crate::folder::tokenizer_files::{layout_error, tokenizer_path};
use crate::parameters::{Spec, head_specs};
use crate::{
    Config, Error, Head, LoadOptions, LoadReport, Model, Result, SpecialTokens, TokenizerFiles,
    check_tokenizer,
};

/// A model and its tokenizer from a Hugging Face folder. Loading checks that the tokenizer matches
/// the model.
#[derive(Debug)]
pub struct Pretrained {
    /// Encoder and heads.
    pub model: Model,
    /// Tokenizer, without truncation and padding.
    pub tokenizer: Tokenizer,
    /// The tokenizer's special tokens.
    pub special_tokens: SpecialTokens,
    /// One note for each token id of `config.json` that was replaced by the tokenizer's id; see
    /// [`Config::apply_token_ids`].
    pub notes: Vec<String>,
    files: TokenizerFiles,
}

impl Pretrained {
    /// Loads `config.json`, weights and the tokenizer's files of `folder`, see [`Model::load`].
    ///
    /// If `config.json` and the tokenizer have different ids for a special token, the model's
    /// [`Config`] has the tokenizer's id, see [`Config::apply_token_ids`]. The tokenizer's files
    /// determine the [segments](Model::pair_segments) of pairs as in transformers, see
    /// [`tokenizer_file::returns_token_types`].
    ///
    /// # Errors
    /// As [`Model::load`], [`Config::apply_token_ids`] and [`TokenizerFiles::of_folder`];
    /// [`Error::Tokenizer`] if a model with several segments has a tokenizer with token types of an
    /// unsupported form.
    pub fn load(
        folder: impl AsRef<Path>,
        heads: &[Head],
        device: Device,
        options: LoadOptions,
    ) -> Result<(Self, LoadReport)> {
        let folder = folder.as_ref();
        // Parsing the tokenizer takes as long as loading the model, so the two run in parallel. The
        // tokenizer is parsed in the calling thread, which is usually the main thread. Parsing
        // allocates many small blocks, which is faster in the main thread, because glibc grows the
        // main thread's heap in larger steps.
        let (tokenizer, model) = std::thread::scope(|scope| {
            let model = scope.spawn(|| Model::load(folder, heads, device, options));
            (TokenizerFiles::of_folder(folder), model.join())
        });
        let (tokenizer, files) = tokenizer?;
        let (mut model, report) = model.unwrap_or_else(|panic| resume_unwind(panic))?;
        let notes = model.config.apply_token_ids(&tokenizer)?;
        let specials = check_tokenizer(&tokenizer, model.config())?;
        model.set_pair_segments(files.pair_segments(&tokenizer, model.config())?);
        Ok((Self { model, tokenizer, special_tokens: specials, notes, files }, report))
    }

    /// Puts the second text of a pair in segment 1, even if the tokenizer returns no token types.
    ///
    /// A model that is trained with [segments](Model::pair_segments) that its tokenizer does not
    /// return needs this call before training and [`save`](Self::save), which then writes a
    /// tokenizer that returns these segments. The call has no effect on a model with one segment, or
    /// whose tokenizer returns segments. In XLM-R, RoBERTa, CamemBERT and data2vec, segment 1 begins
    /// at the last of two or more separators; in other architectures, at the second text.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the tokenizer's layout of a pair is not supported.
    pub fn enable_pair_segments(&mut self) -> Result<()> {
        let config = self.model.config();
        if config.type_vocab_size > 1 && self.model.pair_segments().is_none() {
            let layout = Layout::of(&self.tokenizer).map_err(layout_error)?;
            let n_separators = layout.between().map_err(layout_error)?.len();
            let has_separator = config.architecture.is_roberta() && n_separators > 1;
            self.model.set_pair_segments(Some(usize::from(has_separator)));
        }
        Ok(())
    }

    /// Loads a model trained with `head`, for inference.
    ///
    /// The first class in `architectures` of `config.json` must be the class of `head`, as in
    /// folders that [`Model::save`] wrote for this head, unless the LoRA next to the weights has the
    /// head.
    ///
    /// # Errors
    /// [`Error::Untrained`] for a model of another class or without the head's weights; as
    /// [`load`](Self::load).
    ///
    /// # Example
    /// ```
    /// use xlmr_model::{Head, Pretrained};
    ///
    /// // A pretrained encoder has no trained span head.
    /// let (cpu, f32) = (tch::Device::Cpu, torch_ext::Precision::F32);
    /// let base = Pretrained::load_trained("../../data/base", Head::Span, cpu, f32);
    /// let error = base.err().map(|error| error.to_string()).unwrap_or_default();
    /// assert!(error.contains("config.json names XLMRobertaForMaskedLM"));
    /// ```
    pub fn load_trained(
        folder: impl AsRef<Path>,
        head: Head,
        device: Device,
        precision: Precision,
    ) -> Result<Self> {
        let folder = folder.as_ref();
        let options = LoadOptions { inference: true, precision, ..LoadOptions::default() };
        let (loaded, report) = Self::load(folder, &[head], device, options)?;
        check_trained(folder, loaded.model.config(), &report, head)?;
        Ok(loaded)
    }

    /// Saves the model as [`Model::save`] does, with its tokenizer's original files; see
    /// [`TokenizerFiles::write`].
    ///
    /// # Errors
    /// As [`Model::save`] and [`TokenizerFiles::write`].
    pub fn save(&self, folder: impl AsRef<Path>, main_head: Head) -> Result<()> {
        let folder = folder.as_ref();
        self.model.save(folder, main_head)?;
        let segments = self.model.pair_segments();
        self.files.write_with_segments(folder, &self.tokenizer, self.model.config(), segments)
    }
}

/// Returns [`Error::Untrained`] if `config` names a class other than the class of `head`, or if
/// `report` lists missing weights. The class is not checked if all weights of the head are from the
/// LoRA next to the weights, whose base model may have another class.
fn check_trained(folder: &Path, config: &Config, report: &LoadReport, head: Head) -> Result<()> {
    let class = head.class(&config.architecture);
    let named_class = config.architectures.first();
    let head_specs = head_specs(config, head);
    let is_in_adapter =
        |spec: &Spec| report.merged.iter().any(|name| name.as_str() == spec.stored_name());
    let is_from_adapter = !head_specs.is_empty() && head_specs.iter().all(is_in_adapter);
    let reason = if named_class != Some(&class) && !is_from_adapter {
        format!("config.json names {}", named_class.map_or("no class", String::as_str))
    } else if !report.missing.is_empty() {
        format!("the weights lack {}", report.missing.join(", "))
    } else {
        return Ok(());
    };
    Err(Error::Untrained { path: folder.to_owned(), head: head.name(), class, reason })
}

/// Information about a model folder, read without loading the weights.
#[derive(Debug)]
pub struct Inspection {
    /// The configuration in `config.json`, with token ids replaced by the tokenizer's ids.
    pub config: Config,
    /// Type of the tokenizer's model and number of its tokens.
    pub tokenizer: (&'static str, usize),
    /// One note for each replaced token id, as in [`Pretrained::notes`].
    pub notes: Vec<String>,
    /// The segments of the model's pairs, as in [`Model::pair_segments`].
    pub pair_segments: Option<usize>,
    /// Number of stored elements.
    pub parameters: i64,
    /// The dtypes of the stored tensors.
    pub dtypes: BTreeSet<String>,
    /// Size of the weights' files in bytes.
    pub bytes: u64,
    folder: PathBuf,
}

impl Inspection {
    /// Reads `config.json`, the tokenizer and the headers of the weights. Saved adapters are not
    /// checked.
    ///
    /// # Errors
    /// As [`Pretrained::load`] for a model without a head.
    pub fn of_folder(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_owned();
        let mut config = Config::of_folder(&folder)?;
        let (tokenizer, files) = TokenizerFiles::of_folder(&folder)?;
        let notes = config.apply_token_ids(&tokenizer)?;
        check_tokenizer(&tokenizer, &config)?;
        let pair_segments = files.pair_segments(&tokenizer, &config)?;
        let kind = match tokenizer.get_model() {
            ModelWrapper::BPE(_) => "BPE",
            ModelWrapper::WordPiece(_) => "WordPiece",
            ModelWrapper::WordLevel(_) => "WordLevel",
            ModelWrapper::Unigram(_) => "Unigram",
        };
        let tokenizer = (kind, tokenizer.get_vocab_size(true));
        let checkpoint = Checkpoint::open(&model_folder(&folder)?, config.architecture.names())?;
        let (parameters, dtypes, bytes) = checkpoint.summarise()?;
        let inspection =
            Self { config, tokenizer, notes, pair_segments, parameters, dtypes, bytes, folder };
        inspection.report(Head::None)?;
        Ok(inspection)
    }

    /// Returns the report that [`Pretrained::load`] would return for one head.
    ///
    /// # Errors
    /// As [`Pretrained::load`].
    pub fn report(&self, head: Head) -> Result<LoadReport> {
        let folder = model_folder(&self.folder)?;
        let checkpoint = Checkpoint::open(&folder, self.config.architecture.names())?;
        load::dry_run(&folder, checkpoint, self.config.clone(), head)
    }

    /// Checks that [`Pretrained::load_trained`] would load the model.
    ///
    /// # Errors
    /// As [`Pretrained::load_trained`].
    pub fn check_trained(&self, head: Head) -> Result<()> {
        check_trained(&self.folder, &self.config, &self.report(head)?, head)
    }
}

/// Reads the tokenizer of a model folder, without truncation or padding, from `tokenizer.json` or,
/// if this file is missing, from `sentencepiece.bpe.model` or `spm.model`.
///
/// # Errors
/// [`Error::Tokenizer`] naming the file.
pub fn read_tokenizer(folder: impl AsRef<Path>) -> Result<Tokenizer> {
    Ok(TokenizerFiles::of_file(tokenizer_path(folder.as_ref())?)?.0)
}
