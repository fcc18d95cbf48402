//! The encoder, and the models that the methods build on it.
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result};
use experiment::{RunConfig, Runtime};
use qa_translate::{Alignment, Error, SpanTask};
use tasks::alignment::{AlignmentConfig, AnswerAligner, EncodedText, HiddenStates};
use tasks::text_scores::{EncoderScorer, ScorerConfig};
use xlmr_model::{Head, LoadOptions, Pretrained};

/// Options of the encoder.
#[derive(clap::Args)]
pub struct EncoderArgs {
    /// The encoder: a Hugging Face folder with tokenizer.json
    #[arg(long, default_value = "data/base", value_name = "DIR")]
    model: PathBuf,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// CPU threads; 0: one per core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// f32; bf16 is faster, and changes few placements; f16 on a GPU only
    #[arg(long, default_value = "f32")]
    precision: String,
}

/// A loaded encoder.
pub struct Encoder {
    base: Pretrained,
    folder: PathBuf,
    has_masked_lm: bool,
}

impl Encoder {
    /// Sets up the process and loads the encoder.
    pub fn load(args: &EncoderArgs) -> Result<Self> {
        let (device, threads) = (args.device.clone(), args.threads);
        let precision = args.precision.clone();
        let runtime =
            Runtime::set_up(&RunConfig { device, threads, precision, ..RunConfig::default() })?;
        let precision = runtime.precision;
        let options = LoadOptions { inference: true, precision, ..LoadOptions::default() };
        let heads = [Head::MaskedLm];
        let (base, report) = Pretrained::load(&args.model, &heads, runtime.device, options)?;
        Ok(Self { base, folder: args.model.clone(), has_masked_lm: report.missing.is_empty() })
    }

    /// Returns an aligner that compares the hidden states of a layer; without a layer, it compares
    /// the mean of the last two layers.
    pub fn aligner(&self, layer: Option<usize>) -> Result<CachedAligner<'_>> {
        let states = layer.map_or(HiddenStates::MeanOfLast(2), HiddenStates::Layer);
        let config = AlignmentConfig { states, ..AlignmentConfig::default() };
        let Pretrained { model, tokenizer, special_tokens, .. } = &self.base;
        let aligner = AnswerAligner::new(model, tokenizer, *special_tokens, config)?;
        Ok(CachedAligner { aligner, sources: RefCell::default(), last: RefCell::default() })
    }

    /// Returns a scorer; `None` if the model has no masked-LM head.
    pub fn scorer(&self) -> Result<Option<EncoderScorer<'_>>> {
        if !self.has_masked_lm {
            return Ok(None);
        }
        let config = ScorerConfig::default();
        Ok(Some(EncoderScorer::new(&self.base.model, &self.base.tokenizer, config)?))
    }

    /// Returns a scorer.
    ///
    /// # Errors
    /// If the model has no masked-LM head.
    pub fn required_scorer(&self) -> Result<EncoderScorer<'_>> {
        self.scorer()?.with_context(|| {
            let folder = self.folder.display();
            format!(
                "{folder}: no masked-LM head, whose scores `codec` and `t-projection` need; use \
                 another model, or --method alignment"
            )
        })
    }
}

/// An aligner with the hidden states of all source texts, and the similarities of the last pair of
/// texts. Consecutive questions often have the same passage.
pub struct CachedAligner<'a> {
    aligner: AnswerAligner<'a>,
    sources: RefCell<HashMap<String, Rc<EncodedText>>>,
    /// Source, target and their alignment.
    last: RefCell<Option<(String, String, Alignment)>>,
}

impl CachedAligner<'_> {
    /// Computes the similarities of a task's tokens.
    pub fn align(&self, task: &SpanTask) -> Result<Alignment, Error> {
        if let Some((source, target, alignment)) = &*self.last.borrow()
            && (source, target) == (&task.source, &task.target)
        {
            return Ok(alignment.clone());
        }
        let cached = self.sources.borrow().get(&task.source).map(Rc::clone);
        let source = match cached {
            Some(source) => source,
            None => {
                let source = Rc::new(self.aligner.encode(&task.source)?);
                self.sources.borrow_mut().insert(task.source.clone(), Rc::clone(&source));
                source
            }
        };
        let target = self.aligner.encode(&task.target)?;
        let similarity = self.aligner.similarity(&source, &target)?;
        let (source_tokens, target_tokens) = (source.tokens(), target.tokens());
        let alignment = Alignment { similarity, source_tokens, target_tokens };
        let entry = (task.source.clone(), task.target.clone(), alignment.clone());
        *self.last.borrow_mut() = Some(entry);
        Ok(alignment)
    }
}
