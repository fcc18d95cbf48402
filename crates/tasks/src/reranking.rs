//! Re-ranking of candidates by a cross-encoder (xMEN, Borchert et al. 2023).
use objectives::{IGNORE_INDEX, ListwiseConfig, listwise};
use tch::{Kind, Tensor};
use torch_ext::{to_i64, upload};
use trainer::{ExampleRecord, Examples, Fingerprint, Step, StepLosses, Task, TaskError};
use xlmr_model::{Head, Model};

use crate::{Error, Result, batch, inference, micro_batches};

/// The head of a cross-encoder: one score per pair of texts.
pub const RERANKING_HEAD: Head = Head::SequenceClassification { labels: 1 };

/// A query with its candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct CandidateList {
    /// Token ids of the query with each candidate, including special tokens, unpadded.
    pub pairs: Vec<Vec<u32>>,
    /// The score of each candidate by the candidate generator.
    pub prior: Vec<f32>,
    /// Index of the correct candidate; `None` if it is not in the list.
    pub gold: Option<usize>,
}

/// Training task of a cross-encoder, logged as `reranking`. The loss is [`listwise`] over the lists
/// of a batch.
///
/// # Example
/// ```
/// use objectives::ListwiseConfig;
/// use tasks::reranking::{CandidateList, RERANKING_HEAD, RerankingTask, rerank};
/// use trainer::{Step, Task};
/// use xlmr_model::{Config, Model};
///
/// let model = Model::new(&Config::tiny(50), &[RERANKING_HEAD], tch::Device::Cpu, 1)?;
/// // <s> query </s></s> candidate </s>
/// let pairs = vec![vec![0, 11, 2, 2, 12, 2], vec![0, 11, 2, 2, 13, 14, 2]];
/// let lists = vec![CandidateList { pairs, prior: vec![0.7, 0.4], gold: Some(0) }];
/// let mut task = RerankingTask::new(&model, lists.clone(), ListwiseConfig::default())?;
/// let losses = task.losses(&mut Step::new(&[0], trainer::rng_for(0, "reranking", 0)))?;
/// assert!(losses.total.double_value(&[]) > 0.0);
/// assert_eq!(rerank(&model, &lists, 32)?[0].len(), 2);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct RerankingTask<'a> {
    model: &'a Model,
    lists: Vec<CandidateList>,
    config: ListwiseConfig,
    /// Number of tokens of each list.
    lengths: Vec<usize>,
}

impl<'a> RerankingTask<'a> {
    /// Creates a task from lists of candidates, which may have different lengths.
    ///
    /// # Errors
    /// [`Error::Empty`] without a list; [`Error::Data`] naming a list without candidates, with a
    /// number of scores other than its number of candidates, or with a gold index outside of the
    /// list; [`Error::Loss`] for invalid options.
    pub fn new(
        model: &'a Model,
        lists: Vec<CandidateList>,
        config: ListwiseConfig,
    ) -> Result<Self> {
        config.validate()?;
        if lists.is_empty() {
            return Err(Error::empty("lists to train on"));
        }
        for (number, list) in lists.iter().enumerate() {
            let (pairs, scores) = (list.pairs.len(), list.prior.len());
            if pairs == 0 || scores != pairs {
                let got = format!("{pairs} candidates and {scores} scores");
                let expected = "as many scores as candidates, at least one";
                return Err(Error::data(format!("list {number}"), expected, got));
            }
            if let Some(gold) = list.gold.filter(|&gold| gold >= pairs) {
                let expected = format!("below {pairs}, the number of candidates");
                return Err(Error::data(format!("gold of list {number}"), expected, gold));
            }
        }
        let lengths = lists.iter().map(|list| list.pairs.iter().map(Vec::len).sum()).collect();
        Ok(Self { model, lists, config, lengths })
    }

    /// Computes the mean loss over some lists.
    fn loss(&self, lists: &[&CandidateList]) -> Result<Tensor> {
        let rows: Vec<&[u32]> =
            lists.iter().flat_map(|list| list.pairs.iter().map(Vec::as_slice)).collect();
        let inputs = batch::pair_inputs(self.model, &rows)?;
        let hidden = self.model.encode(&inputs, true)?;
        let mask = inputs.attention_mask.as_ref();
        let scores = scores_of(self.model.sequence_logits(&hidden, mask, true)?)?; // [N]
        let device = scores.device();
        // Row of each candidate in `scores`; padding refers to row 0 and is masked.
        let width = lists.iter().map(|list| list.pairs.len()).fold(0, usize::max);
        let (mut index, mut valid, mut prior, mut gold) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut first = 0;
        for list in lists {
            let count = list.pairs.len();
            for slot in 0..width {
                let is_valid = slot < count;
                index.push(if is_valid { to_i64(first + slot) } else { 0 });
                prior.push(if is_valid { list.prior[slot] } else { 0.0 });
                valid.push(is_valid);
            }
            gold.push(list.gold.map_or(IGNORE_INDEX, to_i64));
            first += count;
        }
        let shape = [to_i64(lists.len()), to_i64(width)];
        let matrix =
            |tensor: Tensor| -> Result<Tensor> { Ok(upload(&tensor.f_view(shape)?, device)?) };
        let index = upload(&Tensor::f_from_slice(&index)?, device)?;
        let logits = scores.f_index_select(0, &index)?.f_view(shape)?;
        let prior = matrix(Tensor::f_from_slice(&prior)?)?;
        let valid = matrix(Tensor::f_from_slice(&valid)?)?;
        let gold = Tensor::f_from_slice(&gold)?;
        Ok(listwise(&logits, &prior, &gold, Some(&valid), &self.config)?)
    }
}

/// Converts the logits `[N, 1]` of a cross-encoder to scores `[N]` in float32 or float64.
fn scores_of(logits: Tensor) -> Result<Tensor> {
    let shape = logits.size();
    if shape.last() != Some(&1) {
        return Err(Error::data(
            "logits",
            "[N, 1], from a head with one label",
            format!("{shape:?}"),
        ));
    }
    let scores = logits.f_squeeze_dim(-1)?;
    Ok(match scores.f_kind()? {
        Kind::Half | Kind::BFloat16 => scores.f_to_kind(Kind::Float)?,
        _ => scores,
    })
}

impl Task for RerankingTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("config", &self.config);
        for list in &self.lists {
            for pair in &list.pairs {
                fingerprint.add_ids("pair", pair);
            }
            fingerprint.add_json("prior", &list.prior).add_json("gold", &list.gold);
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let lists: Vec<&CandidateList> = step.batch.iter().map(|&k| &self.lists[k]).collect();
        let mean = micro_batches::Reduction::Mean;
        micro_batches::losses(step, "reranking", &lists, mean, |_| 1, |lists| self.loss(lists))
    }

    fn supports_micro_batches(&self) -> bool {
        true
    }

    fn example(&self, index: usize) -> ExampleRecord {
        ExampleRecord { id: None, input_ids: self.lists[index].pairs.concat() }
    }
}

/// Returns the cross-encoder's score of each candidate, in the order of the lists.
///
/// # Errors
/// If the model has no sequence classification head or rejects an input; [`Error::Data`] if the head
/// does not have one label or a score is not finite; [`Error::Config`] if `batch_size` is 0.
pub fn rerank(model: &Model, lists: &[CandidateList], batch_size: usize) -> Result<Vec<Vec<f32>>> {
    let rows: Vec<&[u32]> =
        lists.iter().flat_map(|list| list.pairs.iter().map(Vec::as_slice)).collect();
    let scores = inference::map_rows(model, &rows, batch_size, |_, inputs, hidden| {
        let mask = inputs.attention_mask.as_ref();
        let scores = scores_of(model.sequence_logits(hidden, mask, false)?)?;
        let scores = inference::check_finite(scores)?.f_to_kind(Kind::Float)?;
        Ok(Vec::<f32>::try_from(scores.f_to_device(tch::Device::Cpu)?)?)
    })?;
    let mut scores = scores.into_iter();
    Ok(lists.iter().map(|list| scores.by_ref().take(list.pairs.len()).collect()).collect())
}

#[cfg(test)]
mod tests {
    use xlmr_model::Inputs;

    use super::*;
    use crate::testing::{
        assert_bf16_is_near_f32, assert_gradient_equals_differences, assert_micro_batches_match,
        cross_entropy, fingerprint_of, first_loss, model_with_head,
    };

    fn model(initializer_range: f64) -> Model {
        model_with_head(RERANKING_HEAD, initializer_range, 1)
    }

    /// Lists of different lengths, one without its correct candidate.
    fn lists() -> Vec<CandidateList> {
        let list = |count: u32, gold: Option<usize>| CandidateList {
            pairs: (0..count)
                .map(|c| (0..4 + c).map(|k| 5 + (k * 7 + count + 3 * c) % 30).collect())
                .collect(),
            prior: (0..count).map(|c| 0.3 + 0.2 * ((c * count) as f32).sin()).collect(),
            gold,
        };
        vec![list(3, Some(1)), list(5, Some(4)), list(2, None), list(1, Some(0))]
    }

    /// Computes the loss in float64, with each pair encoded separately.
    fn reference_loss(model: &Model, weight: f64, batch: &[usize]) -> f64 {
        let loss = |list: &CandidateList| {
            let score = |pair: &Vec<u32>| {
                let hidden = model.encode(&Inputs::from_rows(&[pair], 1).unwrap(), false).unwrap();
                model.sequence_logits(&hidden, None, false).unwrap().double_value(&[0, 0])
            };
            let scores: Vec<f64> = list.pairs.iter().map(score).collect();
            let squares = scores.iter().zip(&list.prior);
            let squares = squares.map(|(score, prior)| (score - f64::from(*prior) + 1e-6).powi(2));
            let gold = list.gold.map_or(0.0, |gold| cross_entropy(&scores, to_i64(gold)));
            gold + weight * squares.sum::<f64>().sqrt()
        };
        batch.iter().map(|&k| loss(&lists()[k])).sum::<f64>() / batch.len() as f64
    }

    fn config(rank_weight: f64) -> ListwiseConfig {
        ListwiseConfig { rank_weight }
    }

    #[test]
    fn the_loss_equals_the_reference() {
        let model = model(0.1);
        for weight in [0.0, 1.0] {
            for batch in [&[0, 1, 2, 3][..], &[2, 0], &[1]] {
                let mut task = RerankingTask::new(&model, lists(), config(weight)).unwrap();
                let actual = first_loss(&mut task, batch).double_value(&[]);
                let expected = reference_loss(&model, weight, batch);
                assert!((actual - expected).abs() < 1e-5, "{batch:?}: {actual}, {expected}");
            }
        }
    }

    #[test]
    fn the_gradient_equals_central_differences() {
        let mut model = model(0.1);
        model.set_kind(Kind::Double).unwrap();
        let batch = [0, 1, 2, 3];
        first_loss(&mut RerankingTask::new(&model, lists(), config(1.0)).unwrap(), &batch)
            .backward();
        let parameters = model.named_parameters();
        let (_, bias) =
            parameters.iter().find(|(name, _)| name.ends_with("out_proj.bias")).unwrap();
        assert_gradient_equals_differences(bias, 1e-8, || reference_loss(&model, 1.0, &batch));
    }

    #[test]
    fn scores_are_in_the_order_of_the_candidates() {
        let model = model(0.1);
        let together = rerank(&model, &lists(), 4).unwrap();
        let mut sorted = together.concat();
        sorted.sort_by(f32::total_cmp);
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] > 1e-4), "{sorted:?}");
        for (list, scores) in lists().into_iter().zip(&together) {
            assert_eq!(list.pairs.len(), scores.len());
            let alone = rerank(&model, &[list], 1).unwrap().remove(0);
            for (alone, together) in alone.iter().zip(scores) {
                let distance = (alone - together).abs();
                assert!(distance < 1e-5, "{alone} {together}");
            }
        }
    }

    #[test]
    fn invalid_lists_are_errors() {
        let model = model(0.1);
        let error_of =
            |lists| RerankingTask::new(&model, lists, config(1.0)).err().unwrap().to_string();
        assert!(error_of(vec![]).contains("lists to train on"));
        let all = lists();
        let first = &all[0];
        let few_scores = CandidateList { prior: vec![0.0], ..first.clone() };
        assert!(error_of(vec![few_scores]).contains("3 candidates and 1 scores"));
        let no_pairs = CandidateList { pairs: vec![], prior: vec![], gold: None };
        assert!(error_of(vec![first.clone(), no_pairs]).contains("list 1"));
        let gold = CandidateList { gold: Some(3), ..first.clone() };
        assert!(error_of(vec![gold]).contains("gold of list 0: expected below 3"));
        let error = RerankingTask::new(&model, lists(), config(-1.0)).err().unwrap();
        assert!(error.to_string().contains("rank_weight"), "{error}");
        let wide = model_with_head(Head::SequenceClassification { labels: 2 }, 0.1, 1);
        let error = rerank(&wide, &lists(), 4).unwrap_err().to_string();
        assert!(error.contains("a head with one label"), "{error}");
    }

    #[test]
    fn the_fingerprint_depends_on_everything() {
        let model = model(0.1);
        let hash = |lists, weight| {
            fingerprint_of(&RerankingTask::new(&model, lists, config(weight)).unwrap())
        };
        let first = hash(lists(), 1.0);
        assert_eq!(first, hash(lists(), 1.0));
        assert_ne!(first, hash(lists(), 0.5));
        for change in [
            |list: &mut CandidateList| list.gold = None,
            |list: &mut CandidateList| list.prior[0] += 0.5,
            |list: &mut CandidateList| list.pairs[0][1] += 1,
        ] {
            let mut changed = lists();
            change(&mut changed[0]);
            assert_ne!(first, hash(changed, 1.0));
        }
    }

    #[test]
    fn bf16_and_micro_batches_change_results_little() {
        let model = model(0.05);
        let task = || RerankingTask::new(&model, lists(), config(1.0)).unwrap();
        let batch = [0, 1, 2, 3, 1, 0];
        let parameters = model.named_parameters();
        assert_bf16_is_near_f32(&parameters, task, &batch);
        assert_micro_batches_match(&parameters, task, &batch);
    }
}
