//! Comparisons of two formulations of XLM-R's masked LM head on the masked positions: in chunks,
//! and all positions at once.
use anyhow::Result;
use objectives::{IGNORE_INDEX, MaskedLmConfig, TokenScores, masked_lm, masked_positions};
use tch::{Device, Kind, Reduction, Tensor};

use crate::case::{backward, share_inputs};
use crate::{Case, SEED, Spec, Step};

/// Sizes of a step; 15 % of the tokens are masked.
#[derive(Clone, Copy, Debug)]
struct LmSize {
    /// B, rows.
    batch: i64,
    /// L, tokens per row.
    length: i64,
    /// H, hidden size.
    hidden: i64,
    /// V, vocabulary size.
    vocabulary: i64,
}

/// Returns the comparisons of `masked_lm`.
pub(crate) fn specs(quick: bool, device: Device) -> Vec<Spec> {
    let size = |batch, vocabulary| LmSize { batch, length: 256, hidden: 768, vocabulary };
    let spec = |size: LmSize, kind: Kind| {
        let dtype = if kind == Kind::Float { "" } else { ",bf16" };
        let name = format!("V={},{}x{}{dtype}", size.vocabulary, size.batch, size.length);
        Spec::new("masked_lm", name, move || case(size, (kind, device)))
    };
    let mut specs = vec![
        spec(size(4, 250_002), Kind::Float).goal(0.70).goal_mib(0.80 * 1024.0),
        spec(size(4, 250_002), Kind::BFloat16).goal(0.35).memory(),
    ];
    if !quick {
        specs.push(spec(size(4, 4_000), Kind::Float));
        specs.push(spec(size(24, 250_002), Kind::Float).goal(0.70).goal_mib(0.85 * 1024.0));
    }
    specs
}

fn case(size: LmSize, options: (Kind, Device)) -> Result<Case> {
    let step = share_inputs(Inputs::random(size, options)?);
    let baselines = vec![step("gather, then cross-entropy", Inputs::gather_first)];
    let tolerance = if options.0 == Kind::Float { 1e-3 } else { 0.1 };
    let case = Case::new(step("chunked", Inputs::chunked), baselines);
    Ok(case.with_unit(matmuls(size, options.1)?).with_tolerance(tolerance))
}

/// The step whose time is the denominator of the reported ratio: only the three large matmuls that
/// every formulation needs. Uses libtorch's default float32 kernel and preallocated outputs.
fn matmuls(size: LmSize, device: Device) -> Result<Step> {
    let rows = size.batch * size.length * 15 / 100;
    let matrix = move |rows, columns| Tensor::f_randn([rows, columns], (Kind::Float, device));
    let outputs = std::cell::OnceCell::new();
    let inputs = std::cell::OnceCell::new();
    Ok(Step::new("three products", move || {
        // Inputs and outputs are created on first use, so that the peak memory of the formulations
        // excludes them.
        if inputs.get().is_none() {
            let _ = inputs.set([matrix(rows, size.hidden)?, matrix(size.vocabulary, size.hidden)?]);
            let _ = outputs.set([
                matrix(rows, size.vocabulary)?,
                matrix(rows, size.hidden)?,
                matrix(size.vocabulary, size.hidden)?,
            ]);
        }
        if let (Some([hidden, weight]), Some([logits, hidden_grad, weight_grad])) =
            (inputs.get(), outputs.get())
        {
            let _ = hidden.f_mm_out(logits, &weight.f_tr()?)?;
            let _ = logits.f_mm_out(hidden_grad, weight)?;
            let _ = logits.f_tr()?.f_mm_out(weight_grad, hidden)?;
        }
        Ok(0.0)
    }))
}

/// Random hidden states, labels and head; hidden states and weights require gradients.
struct Inputs {
    hidden: Tensor,
    labels: Tensor,
    dense: [Tensor; 2],
    norm: [Tensor; 2],
    decoder: [Tensor; 2],
}

impl Inputs {
    fn random(size: LmSize, options: (Kind, Device)) -> Result<Self> {
        tch::manual_seed(SEED);
        let LmSize { batch, length, hidden, vocabulary } = size;
        let ids = (Kind::Int64, options.1);
        let weight = |rows, columns| -> Result<Tensor> {
            let mut weight = Tensor::f_empty([rows, columns], options)?;
            let _ = weight.f_normal_(0.0, 0.02)?; // in place, to keep the peak memory low
            Ok(weight.set_requires_grad(true))
        };
        let zeros =
            |n| -> Result<Tensor> { Ok(Tensor::f_zeros([n], options)?.set_requires_grad(true)) };
        let tokens = batch * length;
        let masked = Tensor::f_randperm(tokens, ids)?.f_lt_tensor(&Tensor::f_full(
            [1],
            tokens * 15 / 100,
            ids,
        )?)?;
        let labels = Tensor::f_randint(vocabulary, [tokens], ids)?
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

    /// Applies dense layer, GELU and LayerNorm.
    fn transform(&self, hidden: &Tensor) -> Result<Tensor> {
        let [weight, bias] = &self.dense;
        let x = hidden.f_linear(weight, Some(bias))?.f_gelu("none")?;
        let [weight, bias] = &self.norm;
        Ok(x.f_layer_norm([weight.size1()?], Some(weight), Some(bias), 1e-5, true)?)
    }

    /// This project's formulation: the head is applied only to masked positions, and the head's
    /// decoder and the loss are computed in chunks.
    fn chunked(&self) -> Result<f64> {
        let masked = masked_positions(&self.labels)?;
        let rows = self.transform(&masked.gather(&self.hidden)?)?;
        let [weight, bias] = &self.decoder;
        let scores = TokenScores::linear(&rows, weight, Some(bias));
        self.backward(masked_lm(scores, &masked.targets, &MaskedLmConfig::default())?)
    }

    /// Gathers the masked positions, then computes logits and cross-entropy.
    fn gather_first(&self) -> Result<f64> {
        let labels = self.labels.f_view([-1])?;
        let has_target = labels.f_ne(IGNORE_INDEX)?;
        let index = has_target.f_nonzero()?.f_squeeze_dim(1)?;
        let rows = self.hidden.f_flatten(0, 1)?.f_index_select(0, &index)?;
        let [weight, bias] = &self.decoder;
        let logits = self.transform(&rows)?.f_linear(weight, Some(bias))?.f_to_kind(Kind::Float)?;
        let (targets, mean) = (labels.f_index_select(0, &index)?, Reduction::Mean);
        let loss =
            logits.f_cross_entropy_loss::<Tensor>(&targets, None, mean, IGNORE_INDEX, 0.0)?;
        drop((logits, rows));
        self.backward(loss)
    }

    fn backward(&self, loss: Tensor) -> Result<f64> {
        let leaves: Vec<&Tensor> = [&self.hidden]
            .into_iter()
            .chain(&self.dense)
            .chain(&self.norm)
            .chain(&self.decoder)
            .collect();
        backward(loss, &leaves)
    }
}
