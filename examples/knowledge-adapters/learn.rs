//! Section 3: training of adapters or models on pairs of texts.
use anyhow::Result;
use experiment::Trial;
use kg_triples::knowledge::{PairKind, TextPair};
use rand::seq::SliceRandom;
use tasks::text_pairs::TextPairTask;
use tch::Tensor;
use trainer::{Alternating, TrainConfig, rng_for};
use xlmr_model::{Head, Model, Pretrained, Role};

use crate::recipe::{Arm, Inputs, PairSchedule, Recipe, UnionParameters};

/// All kinds of pairs.
const KINDS: [PairKind; 4] = [PairKind::Ep, PairKind::Tp, PairKind::Es, PairKind::Ts];

/// Name of the adapter that is trained on pairs of all kinds.
const UNION_ADAPTER: &str = "one";

/// Returns the name of the folder that stores the shared adapter of this kind for a seed.
pub fn adapter_folder(kind: PairKind) -> String {
    format!("adapter-{}", kind.name())
}

/// The result of an arm's training.
#[derive(Default)]
pub struct ArmResult {
    /// Names of the active adapters; if there are several, they are fused.
    pub adapters: Vec<&'static str>,
    /// Number of parameter updates in this trial.
    pub updates: u64,
}

impl ArmResult {
    /// Activates the adapters.
    pub fn activate(&self, model: &mut Model) -> Result<()> {
        match self.adapters.as_slice() {
            names @ [_, _, ..] => model.set_active_fusion(names)?,
            names => model.set_active_adapters(names)?,
        }
        Ok(())
    }
}

/// Trains an adapter in a frozen encoder on pairs of one kind; returns the number of updates.
pub fn learn_adapter(trial: &Trial<Recipe, ()>, kind: PairKind, inputs: &Inputs) -> Result<u64> {
    let Recipe { model, adapter, knowledge, .. } = trial.recipe;
    let mut base = trial.load(&model.path, &[], model.segments)?;
    base.model.add_bottleneck(kind.name(), adapter, trial.seed)?;
    base.model.set_active_adapters(&[kind.name()])?;
    let parameters = freeze_all_but_adapters(&base.model)?;
    let updates = train_on_pairs(trial, &base, inputs, knowledge, &[kind], &parameters)?;
    base.model.save_adapter(kind.name(), trial.dir("model"), Head::None)?;
    Ok(updates)
}

/// Trains the adapters or parameters of an arm, and activates its adapters.
pub fn learn(trial: &Trial<Recipe>, base: &mut Pretrained, inputs: &Inputs) -> Result<ArmResult> {
    let Recipe { one_adapter, fusion, .. } = trial.recipe;
    let knowledge = &trial.recipe.union_schedule(trial.arm);
    let Arm { adapters, union, .. } = trial.arm;
    let mut result = ArmResult::default();
    match union {
        None => {}
        Some(UnionParameters::AllParameters) => {
            let parameters = base.model.named_parameters();
            result.updates = train_on_pairs(trial, base, inputs, knowledge, &KINDS, &parameters)?;
        }
        Some(UnionParameters::Adapter) => {
            base.model.add_bottleneck(UNION_ADAPTER, one_adapter, trial.seed)?;
            result.adapters.push(UNION_ADAPTER);
            result.activate(&mut base.model)?;
            let parameters = freeze_all_but_adapters(&base.model)?;
            result.updates = train_on_pairs(trial, base, inputs, knowledge, &KINDS, &parameters)?;
        }
    }
    for kind in adapters {
        let folder = trial.seed_dir(adapter_folder(*kind)).join("model");
        base.model.load_adapter(kind.name(), folder, Head::None)?;
        result.adapters.push(kind.name());
    }
    if adapters.len() > 1 {
        base.model.add_adapter_fusion(&result.adapters, trial.seed)?;
    }
    result.activate(&mut base.model)?;
    // The fusion weights are trained separately.
    if adapters.len() > 1 {
        let mut parameters = base.model.freeze_encoder()?;
        parameters.retain(|(name, _)| Role::AdapterFusion.matches(name));
        result.updates += train_on_pairs(trial, base, inputs, fusion, adapters, &parameters)?;
    }
    Ok(result)
}

/// Freezes the encoder, and returns the parameters of the adapters.
fn freeze_all_but_adapters(model: &Model) -> Result<Vec<(String, Tensor)>> {
    let mut parameters = model.freeze_encoder()?;
    parameters.retain(|(name, _)| Role::Adapters.matches(name));
    Ok(parameters)
}

/// Trains `parameters` on pairs of these kinds; returns the number of updates.
fn train_on_pairs<A>(
    trial: &Trial<Recipe, A>,
    base: &Pretrained,
    inputs: &Inputs,
    schedule: &PairSchedule,
    kinds: &[PairKind],
    parameters: &[(String, Tensor)],
) -> Result<u64> {
    let (mut updates, config) = (0, &trial.recipe.pairs);
    for round in 0..schedule.rounds {
        for (stage, stage_kinds, share, training) in schedule.stages() {
            let selected_kinds: Vec<PairKind> =
                stage_kinds.into_iter().filter(|kind| kinds.contains(kind)).collect();
            let mut tasks = Alternating::new();
            let mut steps = 0;
            for &kind in &selected_kinds {
                let pairs = draw_pairs(&inputs.pairs.train, kind, share, trial.seed, round);
                if steps == 0 {
                    steps = training.total_steps(pairs.len()) * selected_kinds.len() as u64;
                }
                let (model, tokenizer) = (&base.model, &base.tokenizer);
                let task = TextPairTask::new(model, tokenizer, kind, &pairs, config)?;
                tasks = tasks.with(kind.name(), 1, task);
            }
            if selected_kinds.is_empty() {
                continue;
            }
            let mut training = TrainConfig { steps: Some(steps), ..training.clone() };
            if let Some(warmup) = schedule.warmup_steps {
                training.warmup_ratio = (warmup as f64 / steps as f64).min(1.0);
            }
            let stage = format!("{stage}-{round}");
            updates += trial.fit(&stage, &training, parameters, tasks)?.steps;
        }
    }
    Ok(updates)
}

/// Draws a share of the pairs of a kind. The drawn pairs and their order depend on the round.
fn draw_pairs(
    pairs: &[TextPair],
    kind: PairKind,
    share: f64,
    seed: u64,
    round: u64,
) -> Vec<TextPair> {
    let mut selected: Vec<TextPair> =
        pairs.iter().filter(|pair| pair.kind == kind).cloned().collect();
    selected.shuffle(&mut rng_for(seed, &format!("pairs {}", kind.name()), round));
    selected.truncate((selected.len() as f64 * share).ceil() as usize);
    selected
}
