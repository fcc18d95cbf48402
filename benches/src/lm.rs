//! XLM-R's masked LM head, on the masked positions or on all of them.
use anyhow::Result;
use objectives::{IGNORE_INDEX, MaskedLmConfig, masked_lm, masked_positions};
use tch::{Device, Kind, Reduction, Tensor};

use crate::SEED;

/// The sizes of a step; 15 % of the tokens are masked.
#[derive(Clone, Copy, Debug)]
pub struct LmSize {
    /// B, rows.
    pub batch: i64,
    /// L, tokens per row.
    pub length: i64,
    /// H, size of the hidden states.
    pub hidden: i64,
    /// V, size of the vocabulary.
    pub vocabulary: i64,
}

/// Random hidden states, labels and head; hidden states and weights ask for their gradient.
pub struct LmCase {
    hidden: Tensor,
    labels: Tensor,
    dense: [Tensor; 2],
    norm: [Tensor; 2],
    decoder: [Tensor; 2],
}

impl LmCase {
    /// The same numbers at every call.
    ///
    /// # Errors
    /// If libtorch cannot allocate.
    pub fn random(size: LmSize) -> Result<Self> {
        tch::manual_seed(SEED);
        let LmSize { batch, length, hidden, vocabulary } = size;
        let options = (Kind::Float, Device::Cpu);
        let weight = |rows, columns| -> Result<Tensor> {
            let mut weight = Tensor::f_randn([rows, columns], options)?;
            let _ = weight.f_mul_scalar_(0.02)?; // in place, so that the peak memory is the step's
            Ok(weight.set_requires_grad(true))
        };
        let zeros =
            |n| -> Result<Tensor> { Ok(Tensor::f_zeros([n], options)?.set_requires_grad(true)) };
        let tokens = batch * length;
        let masked = Tensor::f_randperm(tokens, (Kind::Int64, Device::Cpu))?
            .f_lt_tensor(&Tensor::f_full([1], tokens * 15 / 100, (Kind::Int64, Device::Cpu))?)?;
        let labels = Tensor::f_randint(vocabulary, [tokens], (Kind::Int64, Device::Cpu))?
            .f_masked_fill(&masked.f_logical_not()?, IGNORE_INDEX)?
            .f_view([batch, length])?;
        Ok(Self {
            hidden: Tensor::f_randn([batch, length, hidden], options)?.set_requires_grad(true),
            labels,
            dense: [weight(hidden, hidden)?, zeros(hidden)?],
            norm: [Tensor::f_ones([hidden], options)?.set_requires_grad(true), zeros(hidden)?],
            decoder: [weight(vocabulary, hidden)?, zeros(vocabulary)?],
        })
    }

    /// Dense, GELU, LayerNorm, decoder.
    fn head(&self, hidden: &Tensor) -> Result<Tensor> {
        let [weight, bias] = &self.dense;
        let x = hidden.f_linear(weight, Some(bias))?.f_gelu("none")?;
        let [weight, bias] = &self.norm;
        let x = x.f_layer_norm([weight.size1()?], Some(weight), Some(bias), 1e-5, true)?;
        let [weight, bias] = &self.decoder;
        Ok(x.f_linear(weight, Some(bias))?)
    }

    /// Ours: the head runs on the masked positions alone. Forward and backward; the loss.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn gather_first(&self) -> Result<f64> {
        let masked = masked_positions(&self.labels)?;
        let logits = self.head(&masked.gather(&self.hidden)?)?;
        let loss = masked_lm(&logits, &masked.targets, &MaskedLmConfig::default())?;
        drop(logits);
        self.backward(loss)
    }

    /// As `XLMRobertaForMaskedLM` does it: logits of all positions, cross-entropy that ignores -100.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn every_position(&self) -> Result<f64> {
        let logits = self.head(&self.hidden)?;
        let (_, _, vocabulary) = logits.size3()?;
        let loss = logits.f_view([-1, vocabulary])?.f_cross_entropy_loss::<Tensor>(
            &self.labels.f_view([-1])?,
            None,
            Reduction::Mean,
            IGNORE_INDEX,
            0.0,
        )?;
        drop(logits);
        self.backward(loss)
    }

    fn backward(&self, loss: Tensor) -> Result<f64> {
        let leaves: Vec<&Tensor> = [&self.hidden]
            .into_iter()
            .chain(&self.dense)
            .chain(&self.norm)
            .chain(&self.decoder)
            .collect();
        let value = loss.f_double_value(&[])?;
        drop(Tensor::f_run_backward(&[loss], &leaves, false, false)?);
        Ok(value)
    }
}
