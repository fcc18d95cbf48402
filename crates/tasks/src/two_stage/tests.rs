use mlqa_eval::{Purpose, UnanswerableWindow, Window, WindowConfig, windows};
use objectives::{HardLearningWeighting, NegativeSelection};
use tch::{Kind, Tensor};
use trainer::{Step, StepLosses, Task};
use xlmr_model::Model;

use super::task::WEIGHTS;
use super::*;
use crate::testing::{assert_bf16_is_near_f32, first_loss, model, question, tokenizer};

const CONTEXT: &str = "The capital of Peru is Lima . Lima lies at the coast of Peru , and Cusco in \
                       the high mountains .";

/// Four questions; the answer to the second question occurs twice in the context.
fn training_windows() -> Vec<Window> {
    let questions = [
        question("a", "The of Peru is", CONTEXT, "capital"),
        question("b", "capital is lies", CONTEXT, "Lima"),
        question("c", "lies at of Peru", CONTEXT, "the coast"),
        question("d", "and in the high", CONTEXT, "Cusco"),
    ];
    let config = WindowConfig {
        max_length: 96,
        doc_stride: 10,
        segment_ids: true,
        unanswerable_window: UnanswerableWindow::Drop,
        ..WindowConfig::default()
    };
    windows(&questions, &tokenizer(), &config, Purpose::Train).unwrap()
}

/// A model, its windows, and a folder for their candidates.
struct Fixture {
    folder: tempfile::TempDir,
    model: Model,
    windows: Vec<Window>,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, model: model(4000), windows: training_windows() }
    }

    fn candidates(&self, config: &MiningConfig) -> (Candidates, bool) {
        let miner = CandidateMiner { model: &self.model, windows: &self.windows, batch_size: 3 };
        let path = self.folder.path().join("candidates.safetensors");
        Candidates::load_or_compute(&path, &miner, config).unwrap()
    }

    fn losses(
        &self,
        candidates: Option<&Candidates>,
        terms: BoundaryTerms,
        config: &BoundaryConfig,
        number: u64,
    ) -> StepLosses {
        let mut task =
            BoundaryTask::new(&self.model, &self.windows, candidates, terms, config, true).unwrap();
        let rng = trainer::rng_for(1, "task", number);
        let batch = [2, 0, 3, 1];
        task.losses(&mut Step { batch_index: number, batch_count: 10, ..Step::new(&batch, rng) })
            .unwrap()
    }
}

fn terms(hard_learning: bool, answer_contrast: bool) -> BoundaryTerms {
    BoundaryTerms { hard_learning, answer_contrast }
}

fn config_with(weighting: HardLearningWeighting) -> BoundaryConfig {
    let mut config = BoundaryConfig::default();
    config.hard.weighting = weighting;
    config
}

fn rows(tensor: &Tensor) -> Vec<Vec<i64>> {
    tensor.to_kind(Kind::Int64).try_into().unwrap()
}

#[test]
fn gold_occurs_once_and_candidates_are_in_the_context() {
    let fixture = Fixture::new();
    for count in [20, 5, 1] {
        let config = MiningConfig { count, max_answer_len: 4, ..Default::default() };
        let (candidates, _) = fixture.candidates(&config);
        let (starts, ends, valid) =
            (rows(&candidates.starts), rows(&candidates.ends), rows(&candidates.valid));
        for (k, window) in fixture.windows.iter().enumerate() {
            let gold = (window.start_position.unwrap() as i64, window.end_position.unwrap() as i64);
            let spans: Vec<(i64, i64)> = (0..count)
                .filter(|&slot| valid[k][slot] == 1)
                .map(|slot| (starts[k][slot], ends[k][slot]))
                .collect();
            assert_eq!(spans.iter().filter(|span| **span == gold).count(), 1);
            let slot = candidates.gold_index.int64_value(&[k as i64]) as usize;
            assert_eq!((starts[k][slot], ends[k][slot]), gold);
            for (start, end) in spans {
                assert!(window.context_start as i64 <= start && end < window.context_end as i64);
                assert!(start <= end && (end < start + 4 || (start, end) == gold));
            }
        }
        let report = &candidates.report;
        assert_eq!(report.windows, 4);
        assert_eq!(report.candidates, 4 + report.one_boundary + report.no_boundary);
        assert!(report.gold_first <= report.gold_listed && report.gold_listed <= 4);
    }
}

#[test]
fn duplicate_texts_are_reported_and_can_be_dropped() {
    let fixture = Fixture::new();
    let lima_window = &fixture.windows[1];
    let tokens = lima_window.end_position.unwrap() - lima_window.start_position.unwrap() + 1;
    // The candidates are all spans of at most the length of "Lima", which occurs twice.
    let count = tokens * (lima_window.context_end - lima_window.context_start);
    let config = MiningConfig { count, max_answer_len: tokens, ..Default::default() };
    let (with_duplicates, _) = fixture.candidates(&config);
    assert!(with_duplicates.report.duplicate_text >= 1, "{:?}", with_duplicates.report);
    let (without_duplicates, read) =
        fixture.candidates(&MiningConfig { drop_duplicate_text: true, ..config.clone() });
    assert!(!read, "other options, other candidates");
    let dropped_count = with_duplicates.report.candidates - without_duplicates.report.candidates;
    assert_eq!(without_duplicates.report.duplicate_text, dropped_count);
    assert_eq!(with_duplicates.report.duplicate_text, dropped_count);
}

#[test]
fn stored_candidates_are_used_until_their_inputs_change() {
    let mut fixture = Fixture::new();
    let config = MiningConfig { count: 6, ..Default::default() };
    let (mined, read) = fixture.candidates(&config);
    assert!(!read);
    let (stored, read) = fixture.candidates(&config);
    assert!(read);
    assert_eq!(rows(&mined.starts), rows(&stored.starts));
    assert_eq!(rows(&mined.valid), rows(&stored.valid));
    assert_eq!((mined.report, stored.slot_count()), (stored.report, 6));
    // Stored candidates are not reused after a change of a question, the model or its precision.
    fixture.windows[0].input_ids[1] += 1;
    assert!(!fixture.candidates(&config).1);
    assert!(fixture.candidates(&config).1);
    let mut embeddings = fixture.model.word_embeddings().shallow_clone();
    tch::no_grad(|| embeddings.f_add_scalar_(0.5).map(drop)).unwrap();
    assert!(!fixture.candidates(&config).1);
    assert!(fixture.candidates(&config).1);
    fixture.model.set_precision(torch_ext::Precision::Bf16).unwrap();
    assert!(!fixture.candidates(&config).1);
}

#[test]
fn with_one_candidate_the_loss_equals_the_span_loss_for_any_weighting() {
    let fixture = Fixture::new();
    let (single_candidate, _) =
        fixture.candidates(&MiningConfig { count: 1, ..Default::default() });
    let span_loss = fixture.losses(None, terms(false, false), &BoundaryConfig::default(), 0);
    assert_eq!(span_loss.parts[0].0, "span");
    let span_loss = span_loss.total.double_value(&[]);
    for weights in [
        HardLearningWeighting::Learned,
        HardLearningWeighting::HardEm,
        HardLearningWeighting::Mml,
        HardLearningWeighting::Uniform,
    ] {
        let hard =
            fixture.losses(Some(&single_candidate), terms(true, false), &config_with(weights), 0);
        let difference = hard.total.double_value(&[]) - span_loss;
        assert!(difference.abs() < 1e-5, "{weights:?}: {difference}");
    }
}

#[test]
fn weightings_are_ordered_and_the_gold_term_adds_the_span_loss() {
    let fixture = Fixture::new();
    let (candidates, _) = fixture.candidates(&MiningConfig::default());
    let loss = |config: &BoundaryConfig| {
        let losses = fixture.losses(Some(&candidates), terms(true, false), config, 0);
        assert_eq!(losses.parts.len(), 1);
        losses.total.double_value(&[])
    };
    let span_loss = fixture.losses(None, terms(false, false), &BoundaryConfig::default(), 0);
    let span_loss = span_loss.total.double_value(&[]);
    let mml = loss(&config_with(HardLearningWeighting::Mml));
    let hard_em = loss(&config_with(HardLearningWeighting::HardEm));
    let uniform = loss(&config_with(HardLearningWeighting::Uniform));
    // The gold span is one of the candidates, and the best candidate has a lower loss than the mean
    // of all candidates.
    assert!(
        mml < hard_em && hard_em < uniform && mml <= span_loss,
        "{mml} {hard_em} {uniform} {span_loss}"
    );
    // Learned weights are uniform at the start.
    assert!((loss(&config_with(HardLearningWeighting::Learned)) - uniform).abs() < 1e-5);
    let mut with_gold_term = config_with(HardLearningWeighting::Mml);
    with_gold_term.hard.gold_loss_weight = 2.0;
    assert!((loss(&with_gold_term) - (mml + 2.0 * span_loss)).abs() < 1e-4);
    // Annealing starts with MML.
    let annealed =
        BoundaryConfig { anneal_steps: Some(1_000), ..config_with(HardLearningWeighting::HardEm) };
    assert!((loss(&annealed) - mml).abs() < 1e-6);
}

#[test]
fn alpha_mixes_losses_and_ablations_select_them() {
    let fixture = Fixture::new();
    let (candidates, _) = fixture.candidates(&MiningConfig::default());
    let mut config = BoundaryConfig { alpha: 0.25, ..config_with(HardLearningWeighting::Mml) };
    config.contrast.temperature = 0.1;
    let value = |losses: &StepLosses, name: &str| {
        let part = losses.parts.iter().find(|(part, _)| *part == name);
        part.unwrap_or_else(|| panic!("no {name}")).1.double_value(&[])
    };
    let joint = fixture.losses(Some(&candidates), terms(true, true), &config, 0);
    let expected = 0.25 * value(&joint, "contrastive") + 0.75 * value(&joint, "hard");
    assert!((joint.total.double_value(&[]) - expected).abs() < 1e-6);
    assert_eq!(joint.parts.len(), 2);
    let contrast = fixture.losses(None, terms(false, true), &config, 0);
    let expected = 0.25 * value(&contrast, "contrastive") + 0.75 * value(&contrast, "span");
    assert!((contrast.total.double_value(&[]) - expected).abs() < 1e-6);
    let hard = fixture.losses(Some(&candidates), terms(true, false), &config, 0);
    assert_eq!(hard.total.double_value(&[]), value(&joint, "hard"));
    // With `hard_fraction`, the first steps use only hard learning; the remaining steps use the
    // contrastive loss and the span loss.
    let config = BoundaryConfig { hard_fraction: Some(0.5), ..config };
    let names = |number| -> Vec<&str> {
        let losses = fixture.losses(Some(&candidates), terms(true, true), &config, number);
        losses.parts.iter().map(|(name, _)| *name).collect()
    };
    assert_eq!(names(4), ["hard"]);
    assert_eq!(names(5), ["contrastive", "span"]);
}

#[test]
fn random_negatives_depend_only_on_the_step() {
    let fixture = Fixture::new();
    let mut config = BoundaryConfig { alpha: 1.0, ..Default::default() };
    config.contrast.temperature = 0.05;
    config.contrast.selection = NegativeSelection::Random { seed: 3 };
    let loss =
        |number| fixture.losses(None, terms(false, true), &config, number).total.double_value(&[]);
    assert_eq!(loss(0), loss(0));
    assert!((1..6).any(|number| loss(number) != loss(0)));
}

#[test]
fn learned_weights_are_trained() {
    let fixture = Fixture::new();
    let (candidates, _) = fixture.candidates(&MiningConfig { count: 5, ..Default::default() });
    let new_task = |weighting: HardLearningWeighting, terms: BoundaryTerms| {
        let config = config_with(weighting);
        BoundaryTask::new(&fixture.model, &fixture.windows, Some(&candidates), terms, &config, true)
            .unwrap()
    };
    let mut task = new_task(HardLearningWeighting::Learned, terms(true, true));
    let parameters = task.parameters();
    assert_eq!((parameters[0].0.as_str(), parameters[0].1.size()), (WEIGHTS, vec![5]));
    assert_eq!(task.slot_weights().unwrap().unwrap(), [0.2; 5]);
    first_loss(&mut task, &[0, 1, 2, 3]).backward();
    assert!(parameters[0].1.grad().abs().max().double_value(&[]) > 1e-4);
    assert!(new_task(HardLearningWeighting::Mml, terms(true, true)).parameters().is_empty());
    assert!(new_task(HardLearningWeighting::Learned, terms(false, true)).parameters().is_empty());
}

#[test]
fn candidates_of_other_windows_are_rejected() {
    let fixture = Fixture::new();
    let (candidates, _) = fixture.candidates(&MiningConfig { count: 5, ..Default::default() });
    let config = BoundaryConfig::default();
    let error_of = |windows: &[Window], candidates: Option<&Candidates>| {
        let task = BoundaryTask::new(
            &fixture.model,
            windows,
            candidates,
            terms(true, true),
            &config,
            true,
        );
        task.err().unwrap().to_string()
    };
    let error = error_of(&fixture.windows[..3], Some(&candidates));
    assert_eq!(error, "candidates: expected one row for each of 3 windows, got 4 rows");
    let error = error_of(&fixture.windows, None);
    assert_eq!(error, "candidates: expected one row for each of 4 windows, got none");
    // The candidates have a wrong shape, although their report has the number of windows.
    let flat = Candidates { starts: candidates.starts.view([-1]), ..candidates };
    error_of(&fixture.windows, Some(&flat));
}

#[test]
fn bf16_changes_results_little() {
    let fixture = Fixture::new();
    let (candidates, _) = fixture.candidates(&MiningConfig { count: 5, ..Default::default() });
    let parameters = fixture.model.named_parameters();
    for (hard, contrast) in [(true, false), (true, true), (false, false)] {
        let config = BoundaryConfig::default();
        let task = || {
            let (model, windows) = (&fixture.model, &fixture.windows);
            BoundaryTask::new(
                model,
                windows,
                Some(&candidates),
                terms(hard, contrast),
                &config,
                true,
            )
            .unwrap()
        };
        assert!(!task().supports_micro_batches());
        assert_bf16_is_near_f32(&parameters, task, &[0, 1, 2, 3]);
    }
}
