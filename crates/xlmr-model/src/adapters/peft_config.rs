//! `adapter_config.json` of PEFT: the modules that a LoRA changes, and its scales.
use std::collections::BTreeMap;

use fancy_regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::adapters::folder::reject_unknown_keys;
use crate::config::fields::{BOOLEAN, Fields, INTEGER, NUMBER, shorten};
use crate::{Error, Result};

/// Keys that do not affect the computation of a merged LoRA.
pub(crate) const UNUSED_KEYS: [&str; 10] = [
    "auto_mapping",
    "base_model_name_or_path",
    // PEFT ignores this option for linear layers.
    "fan_in_fan_out",
    "inference_mode",
    "lora_dropout",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "revision",
];

/// Initialisation methods that do not change the base model's weights.
const INITS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// A value or a list of values.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// Names of modules.
#[derive(Debug)]
enum Modules {
    /// Each module whose whole name matches.
    Pattern(Regex),
    /// Names, of which leading components may be omitted.
    Names(Vec<String>),
}

impl Modules {
    fn contains(&self, name: &str, error: impl Fn(String) -> Error) -> Result<bool> {
        match self {
            Self::Names(names) => Ok(names.iter().any(|module| ends_with_module(name, module))),
            Self::Pattern(pattern) => {
                pattern.is_match(name).map_err(|problem| error(problem.to_string()))
            }
        }
    }
}

/// Returns whether the last components of `name` are `module`.
fn ends_with_module(name: &str, module: &str) -> bool {
    name.strip_suffix(module).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Contents of `adapter_config.json` that a merged LoRA depends on. Functions that take a name of a
/// module expect its name in PEFT's model.
#[derive(Debug)]
pub(crate) struct PeftConfig {
    file: String,
    rank: i64,
    alpha: f64,
    use_rslora: bool,
    pub(crate) use_dora: bool,
    pub(crate) lora_bias: bool,
    targets: Modules,
    excluded: Modules,
    saved_modules: Vec<String>,
    /// Indices of the adapted layers; empty if all layers are adapted.
    layers: Vec<i64>,
    layer_patterns: Vec<Regex>,
    rank_pattern: Vec<(Regex, i64)>,
    alpha_pattern: Vec<(Regex, f64)>,
}

impl PeftConfig {
    /// Reads a parsed `adapter_config.json`; `file` is used in error messages.
    pub(crate) fn read(value: Value, file: &str) -> Result<Self> {
        let mut fields = Fields::new(value, file)?;
        let peft_type: Option<String> = fields.take("peft_type", "\"LORA\"", None)?;
        if peft_type.as_deref() != Some("LORA") {
            let got = peft_type.map_or("none".to_owned(), |name| format!("{name:?}"));
            return Err(fields.error("peft_type", "\"LORA\"", got));
        }
        let init = fields.take("init_lora_weights", "true, false or a name", json!(true))?;
        let is_supported = init.is_boolean() || INITS.iter().any(|name| init == *name);
        if !is_supported {
            let expected = "true, false, \"gaussian\", \"eva\" or \"orthogonal\"; other methods change \
                            the base model's weights";
            return Err(fields.error("init_lora_weights", expected, shorten(&init)));
        }
        let bias: String = fields.take("bias", BIAS_VALUES, "none".to_owned())?;
        if !["none", "all", "lora_only"].contains(&bias.as_str()) {
            return Err(fields.error("bias", BIAS_VALUES, format!("{bias:?}")));
        }
        let expected = "a list of modules' names, or null";
        let saved_modules: Option<Vec<String>> = fields.take("modules_to_save", expected, None)?;
        let targets = take_modules(&mut fields, "target_modules")?;
        let Some(targets) = targets else {
            return Err(fields.error(
                "target_modules",
                "a list of names or a pattern",
                "none".into(),
            ));
        };
        let excluded = take_modules(&mut fields, "exclude_modules")?;
        let layers: Option<OneOrMany<i64>> = fields.take(
            "layers_to_transform",
            "a layer's index, a list of indices, or null",
            None,
        )?;
        let layers = match layers {
            None => Vec::new(),
            Some(OneOrMany::One(layer)) => vec![layer],
            Some(OneOrMany::Many(layers)) => layers,
        };
        let config = Self {
            rank: fields.take("r", INTEGER, 8)?,
            alpha: fields.take("lora_alpha", NUMBER, 8.0)?,
            use_rslora: fields.take("use_rslora", BOOLEAN, false)?,
            use_dora: fields.take("use_dora", BOOLEAN, false)?,
            lora_bias: fields.take("lora_bias", BOOLEAN, false)?,
            targets,
            excluded: excluded.unwrap_or(Modules::Names(Vec::new())),
            saved_modules: saved_modules.into_iter().flatten().collect(),
            layers,
            layer_patterns: take_layer_patterns(&mut fields)?,
            rank_pattern: take_patterns(&mut fields, "rank_pattern", INTEGER)?,
            alpha_pattern: take_patterns(&mut fields, "alpha_pattern", NUMBER)?,
            file: file.to_owned(),
        };
        let _: Option<String> = fields.take("task_type", "a name or null", None)?;
        reject_unknown_keys(fields, file, |key| UNUSED_KEYS.contains(&key))?;
        Ok(config)
    }

    fn error(&self, key: &str, expected: &str, got: String) -> Error {
        Error::config(&self.file, key, expected, got)
    }

    /// Returns whether the LoRA changes a module.
    pub(crate) fn targets(&self, name: &str) -> Result<bool> {
        let error = |key: &'static str| {
            move |problem: String| self.error(key, "a pattern that can be evaluated", problem)
        };
        if self.excluded.contains(name, error("exclude_modules"))?
            || self.is_saved_module(name)
            || !self.targets.contains(name, error("target_modules"))?
        {
            return Ok(false);
        }
        // As in PEFT, a pattern selects layers itself, and a module that is named in full is adapted
        // in any layer.
        match &self.targets {
            Modules::Names(names)
                if !self.layers.is_empty() && !names.iter().any(|n| n == name) =>
            {
                Ok(self.layer_index(name)?.is_some_and(|index| self.layers.contains(&index)))
            }
            _ => Ok(true),
        }
    }

    /// Returns whether a module or parameter belongs to `modules_to_save`.
    pub(crate) fn is_saved_module(&self, name: &str) -> bool {
        let name = format!(".{name}.");
        self.saved_modules.iter().any(|module| name.contains(&format!(".{module}.")))
    }

    /// Returns the index of a module's layer: the number after the first name that matches
    /// `layers_pattern`, or after any name if there are no patterns.
    fn layer_index(&self, name: &str) -> Result<Option<i64>> {
        for pattern in &self.layer_patterns {
            let captures = pattern.captures(name).map_err(|problem| {
                self.error("layers_pattern", "a pattern that can be evaluated", problem.to_string())
            })?;
            if let Some(index) = captures.and_then(|captures| captures.name("idx")) {
                let index = index.as_str();
                return index.parse().map(Some).map_err(|_| {
                    self.error("layers_pattern", "an index after the name", format!("{index:?}"))
                });
            }
        }
        Ok(None)
    }

    /// Returns the rank of a module's LoRA, and the scale of its update.
    pub(crate) fn rank_and_scale(&self, name: &str) -> Result<(i64, f64)> {
        let rank = self.find(&self.rank_pattern, "rank_pattern", name)?.unwrap_or(self.rank);
        let alpha = self.find(&self.alpha_pattern, "alpha_pattern", name)?.unwrap_or(self.alpha);
        if !(1..=1 << 16).contains(&rank) {
            return Err(self.error("r", "an integer from 1 to 65536", rank.to_string()));
        }
        if !alpha.is_finite() {
            return Err(self.error("lora_alpha", "a finite number", alpha.to_string()));
        }
        let divisor = if self.use_rslora { (rank as f64).sqrt() } else { rank as f64 };
        Ok((rank, alpha / divisor))
    }

    /// Returns the value of the pattern that matches a module. Returns an error if patterns with
    /// different values match.
    fn find<T: Copy + PartialEq>(
        &self,
        patterns: &[(Regex, T)],
        key: &str,
        name: &str,
    ) -> Result<Option<T>> {
        let mut found = None;
        for (pattern, value) in patterns {
            let is_match = pattern.is_match(name).map_err(|problem| {
                self.error(key, "a pattern that can be evaluated", problem.to_string())
            })?;
            if is_match && found.is_some_and(|earlier| earlier != *value) {
                let got = format!("two values for {name}");
                return Err(self.error(key, "one value for each module", got));
            }
            if is_match {
                found = Some(*value);
            }
        }
        Ok(found)
    }
}

const BIAS_VALUES: &str = "\"none\", \"all\" or \"lora_only\"";

/// Compiles a regular expression of Python's `re`, which must match from the first character.
fn compile(fields: &Fields, key: &str, pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|problem| {
        fields.error(key, "a regular expression", format!("{pattern:?}: {problem}"))
    })
}

fn take_modules(fields: &mut Fields, key: &str) -> Result<Option<Modules>> {
    let expected = "a list of modules' names, a regular expression, or null";
    let modules: Option<OneOrMany<String>> = fields.take(key, expected, None)?;
    Ok(match modules {
        None => None,
        Some(OneOrMany::Many(names)) => Some(Modules::Names(names)),
        Some(OneOrMany::One(name)) if name.eq_ignore_ascii_case("all-linear") => {
            let expected = "a list of modules' names; PEFT replaces \"all-linear\" when it saves";
            return Err(fields.error(key, expected, format!("{name:?}")));
        }
        Some(OneOrMany::One(pattern)) => {
            Some(Modules::Pattern(compile(fields, key, &format!(r"\A(?:{pattern})\z"))?))
        }
    })
}

fn take_layer_patterns(fields: &mut Fields) -> Result<Vec<Regex>> {
    let key = "layers_pattern";
    let patterns: Option<OneOrMany<String>> =
        fields.take(key, "a pattern, a list of patterns, or null", None)?;
    let patterns = match patterns {
        None => Vec::new(),
        Some(OneOrMany::One(pattern)) if pattern.is_empty() => Vec::new(),
        Some(OneOrMany::One(pattern)) => vec![pattern],
        Some(OneOrMany::Many(patterns)) => patterns,
    };
    if patterns.is_empty() {
        return Ok(vec![compile(fields, key, r"\A.*?\.[^.]*\.(?P<idx>\d+)\.")?]);
    }
    let compile = |pattern: &String| {
        compile(fields, key, &format!(r"\A(?:|.*?\.)(?:{pattern})\.(?P<idx>\d+)\."))
    };
    patterns.iter().map(compile).collect()
}

/// Reads an object of values by regular expressions, which may omit a module's leading components.
fn take_patterns<T: for<'de> Deserialize<'de>>(
    fields: &mut Fields,
    key: &str,
    expected: &str,
) -> Result<Vec<(Regex, T)>> {
    let expected = format!("an object with {expected} for each pattern");
    let patterns: Option<BTreeMap<String, T>> = fields.take(key, &expected, None)?;
    let patterns = patterns.into_iter().flatten();
    let compile = |(pattern, value): (String, T)| {
        Ok((compile(fields, key, &format!(r"\A(?:.*\.)?(?:{pattern})\z"))?, value))
    };
    patterns.map(compile).collect()
}
