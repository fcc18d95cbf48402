//! Tests of every recipe on BERT, ModernBERT, EuroBERT and DeBERTa, with a few steps each.
#[path = "../crates/xlmr-model/tests/it/common/encodings.rs"]
mod encodings;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::common::{
    CommandExt, FEW_ARTICLES_COMMAND, prepare, program, sequences, small_data, small_recipe,
    succeed, summary, switched_texts, tool, write_encoder,
};

/// A recipe, and settings for a short run.
pub struct ShortRecipe {
    /// Argument of [`small_recipe`].
    pub recipe: &'static str,
    arms: &'static str,
    settings: &'static [&'static str],
    /// Settings that disable segment ids, for models without segments such as ModernBERT.
    no_segments: &'static [&'static str],
}

const NO_WINDOW_SEGMENTS: &[&str] = &["windows.segment_ids=false"];

pub const RECIPES: [ShortRecipe; 7] = [
    ShortRecipe {
        recipe: "bridging-gap",
        arms: "[\"injected\"]",
        settings: &[
            "injection.steps=3",
            "injection.batch_size=8",
            "fine_tuning.steps=2",
            "fine_tuning.batch_size=4",
        ],
        no_segments: NO_WINDOW_SEGMENTS,
    },
    ShortRecipe {
        recipe: "xlm-k",
        arms: "[\"xlm-k\"]",
        settings: &["losses.queue.size=16", "pretraining.steps=2", "pretraining.batch_size=6"],
        no_segments: &[],
    },
    ShortRecipe {
        recipe: "mixmrc-lakm",
        arms: "[\"mixmrc-lakm\"]",
        settings: &[
            "languages=[\"en\",\"de\"]",
            "evaluation.contexts=[\"en\",\"de\"]",
            "training.steps=2",
            "training.batch_size=4",
        ],
        no_segments: &["windows.segment_ids=false", "lakm.segment=0"],
    },
    ShortRecipe {
        recipe: "good-to-best",
        arms: "[\"hl+aa-cl\"]",
        settings: &[
            "languages=[\"en\",\"zh\"]",
            "stage_one.steps=2",
            "stage_one.batch_size=6",
            "stage_two.steps=2",
            "stage_two.batch_size=6",
        ],
        no_segments: NO_WINDOW_SEGMENTS,
    },
    ShortRecipe {
        recipe: "entity-cs",
        arms: "[\"wep\"]",
        settings: &["pretraining.steps=3", "pretraining.batch_size=4"],
        no_segments: &["task.segment=0"],
    },
    ShortRecipe {
        recipe: "filter",
        arms: "[\"filter-soft\"]",
        settings: &[
            "languages=[\"en\",\"de\"]",
            "training.steps=2",
            "training.batch_size=4",
            "teacher.steps=2",
            "teacher.batch_size=4",
            "evaluation.second=[\"translation\"]",
        ],
        no_segments: NO_WINDOW_SEGMENTS,
    },
    ShortRecipe {
        recipe: "filter/xnli-small",
        arms: "[\"filter-soft\"]",
        settings: &[
            "languages=[\"en\",\"de\"]",
            "training.steps=2",
            "training.batch_size=4",
            "teacher.steps=2",
            "teacher.batch_size=4",
        ],
        no_segments: &[],
    },
];

/// Returns the model classes in the `config.json` files of a run folder.
fn classes(run: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(run).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names.extend(classes(&path));
        } else if path.ends_with("config.json") {
            let config: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            names.push(config["architectures"][0].as_str().unwrap().to_owned());
        }
    }
    names
}

/// Prepares mentions and triples in `folder` for the tokenizer of `model`. Returns the paths, with
/// the recipe's keys for them.
fn prepare_knowledge(folder: &Path, model: &Path) -> [(&'static str, PathBuf); 2] {
    let mentions = "mentions --entities data/codex --languages de,zh --max-tokens 64 --count 50 \
                    --hold-out texts=0.1 --queries 20";
    let triples = "entailment --kg data/mini-kg --synthetic --count 50 --hold-out 0.2";
    [("data.mentions", mentions), ("data.triples", triples)].map(|(key, command)| {
        let path = folder.join(key);
        let mut program = tool("kg-triples");
        program.args(command.split_whitespace()).args(["--description-tokens", "24"]);
        program.arg("--tokenizer").arg(model).arg("--out").arg(&path);
        succeed(program);
        (key, path)
    })
}

impl ShortRecipe {
    /// Returns the name of the run folder.
    pub fn folder_name(&self) -> String {
        self.recipe.replace('/', "-")
    }

    /// Returns the recipe's command for `model`, with a run folder next to the model.
    /// `has_segments` is true for models with segment embeddings.
    pub fn command(&self, model: &Path, has_segments: bool) -> Command {
        let Self { recipe, arms, settings, no_segments } = *self;
        let folder = model.parent().unwrap();
        let mut command = small_recipe(recipe, &folder.join(self.folder_name()));
        command.arg("--model").arg(model).args(["--seeds", "1"]);
        command.set_all(["run.threads=1", &format!("run.arms={arms}")]);
        let data = match recipe {
            "bridging-gap" => Some(("data.sequences", sequences(model, "--pairs en-de"))),
            "entity-cs" => Some(("data.switched", switched_texts("--languages de,zh"))),
            _ => None,
        };
        if let Some((key, path)) = data {
            command.set_path(key, &path);
        }
        let segment_settings: &[&str] = if has_segments { &[] } else { no_segments };
        command.set_all(settings.iter().chain(segment_settings));
        if recipe == "xlm-k" {
            // The files contain token ids, so they are prepared for each tokenizer.
            for (key, path) in prepare_knowledge(folder, model) {
                command.set_path(key, &path);
            }
        }
        command.set_all(small_data(recipe));
        command
    }
}

fn run_all_recipes(architecture: &str, class: &str) {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join(architecture);
    write_encoder(architecture, &model);
    for recipe_case in RECIPES {
        let (recipe, out) = (recipe_case.recipe, folder.path().join(recipe_case.folder_name()));
        succeed(recipe_case.command(&model, architecture == "bert"));
        assert!(summary(&out).is_object(), "{recipe}");
        let classes = classes(&out);
        assert!(!classes.is_empty(), "{recipe}: no saved model");
        for actual in classes {
            assert!(actual.starts_with(class), "{recipe}: {actual}");
        }
    }
}

#[test]
fn recipe_every_recipe_runs_on_bert() {
    run_all_recipes("bert", "Bert");
}

#[test]
fn recipe_every_recipe_runs_on_modernbert() {
    run_all_recipes("modernbert", "ModernBert");
}

#[test]
fn recipe_every_recipe_runs_on_eurobert() {
    run_all_recipes("eurobert", "EuroBert");
}

#[test]
fn recipe_every_recipe_runs_on_deberta() {
    run_all_recipes("deberta", "DebertaV2");
}

#[test]
fn recipe_questions_are_answered_by_each_architecture() {
    let folder = tempfile::tempdir().unwrap();
    let questions = prepare(&format!("{FEW_ARTICLES_COMMAND},zh --first 3"));
    let mut trained_models = Vec::new();
    for architecture in ["bert", "modernbert", "eurobert", "deberta", "distilbert", "electra"] {
        let model = folder.path().join(architecture);
        write_encoder(architecture, &model);
        let out = folder.path().join(format!("{architecture}-run"));
        let mut command = tool("polyqa");
        command.args(["train", "--model"]).arg(&model).arg("--out").arg(&out);
        command.args(["--train", &format!("{questions}/train-context-en-question-en.json")]);
        command.args(["--dev", &format!("{questions}/xquad.zh.json"), "--batch-size", "2"]);
        command.set_all(["run.threads=1", "training.steps=2", "run.device=cpu"]);
        let text = succeed(command);
        assert!(text.contains("zh"), "{text}");
        trained_models.push(out.join("model"));
    }
    encodings::check_transformers_encoding(&trained_models);
}

#[test]
fn recipe_plans_for_a_pretrained_encoder_support_a_bert_folder() {
    let folder = tempfile::tempdir().unwrap();
    write_encoder("bert", folder.path());
    for recipe in ["bridging-gap", "good-to-best", "mixmrc-lakm", "xlm-k"] {
        let mut command = program(recipe);
        command.arg(format!("examples/{recipe}/pretrained.toml"));
        command.args(["--show", "--model"]).arg(folder.path());
        let plan: toml::Table = succeed(command).parse().unwrap();
        let run = &plan["run"];
        assert_eq!(run["precision"].as_str(), Some("auto"), "{recipe}");
        for arm in run["arms"].as_array().unwrap() {
            assert!(plan["arms"].get(arm.as_str().unwrap()).is_some(), "{recipe}: {arm}");
        }
    }
}
