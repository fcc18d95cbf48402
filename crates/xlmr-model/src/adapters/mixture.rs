//! Configuration and parameters of mixtures of LoRA modules (Yang et al. 2023).
use serde::{Deserialize, Serialize};

use crate::parameters::{Init, Spec};
use crate::{Architecture, Config, Error, LoraConfig, LoraTarget, Result};

/// A mixture of LoRA modules (MT4CrossOIE, Yang et al. 2023): `y = W x + b + (α / r) Σ_i w_i B_i A_i
/// drop(x)` with `w = softmax(g)` over the modules, in selected linear layers of every encoder layer.
///
/// Each adapted linear layer has its own gate g, which starts at 0, so that all modules have equal
/// weights. With the same α, the mixture then equals one LoRA whose rank is `modules * r`.
///
/// The released code has, for its embeddings, one gate for all inputs, and for its linear layers a
/// gate that is a linear function of the first token's hidden state. Here the gate depends on the
/// language of a row, which is known; the embeddings have no modules.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraMixtureConfig {
    /// Number of modules, 2 or more. The default is the released code's.
    pub modules: i64,
    /// The inputs that share a gate.
    pub gate: MixtureGate,
    /// The languages that have a gate, as in [`Inputs::languages`](crate::Inputs::languages); empty
    /// for a shared gate.
    pub languages: Vec<String>,
    /// Rank r and α of each module, dropout and targets.
    pub lora: LoraConfig,
}

/// The inputs that share a gate of a [`LoraMixtureConfig`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MixtureGate {
    /// All inputs. The sum of the modules then is one LoRA of rank `modules * r`, so that this gate
    /// only changes how such a LoRA is trained.
    Shared,
    /// The rows of one language, so that languages share modules, and differ in their weights. This
    /// is the default, because a shared gate adds nothing to the functions that a LoRA can represent.
    #[default]
    PerLanguage,
}

impl Default for LoraMixtureConfig {
    /// Returns a mixture of six modules of rank 8, to which languages must be added.
    fn default() -> Self {
        let gate = MixtureGate::default();
        Self { modules: 6, gate, languages: Vec::new(), lora: LoraConfig::default() }
    }
}

impl LoraMixtureConfig {
    /// Returns an error if the options do not fit a model with the configuration `config`.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self, config: &Config) -> Result<()> {
        self.specs("", config, "mixture").map(|_| ())
    }

    /// Returns the row of the gate of a language.
    ///
    /// # Errors
    /// [`Error::Input`] if the language has no gate.
    pub(crate) fn gate_row(&self, language: &str) -> Result<i64> {
        let row = (0..).zip(&self.languages).find(|(_, name)| *name == language);
        let expected = || format!("one of [{}]", self.languages.join(", "));
        row.map(|(row, _)| row).ok_or_else(|| Error::input("language", expected(), language))
    }

    /// Returns the parameters A, B and the gate's logits of every adapted linear layer. Their names
    /// start with `prefix`.
    pub(crate) fn specs(&self, prefix: &str, config: &Config, file: &str) -> Result<Vec<Spec>> {
        self.check(&config.architecture, file)?;
        self.lora.adapted_layers(&config.architecture, file)?;
        let rank = self.modules * self.lora.rank;
        let mut specs = LoraConfig { rank, ..self.lora.clone() }.specs(prefix, config, file)?;
        let n_gates = match self.gate {
            MixtureGate::Shared => 1,
            MixtureGate::PerLanguage => self.languages.len() as i64,
        };
        let gate_name = |name: &str| {
            let layer = name.strip_suffix("lora_A.weight")?;
            Some(format!("{layer}lora_gate.weight"))
        };
        let gates: Vec<Spec> = specs
            .iter()
            .filter_map(|spec| {
                let name = gate_name(&spec.name)?;
                let stored_name = spec.stored_name.as_deref().and_then(gate_name);
                let shape = [n_gates, self.modules];
                Some(Spec { stored_name, ..Spec::new(name, &shape, Init::Zeros) })
            })
            .collect();
        specs.extend(gates);
        Ok(specs)
    }

    fn check(&self, architecture: &Architecture, file: &str) -> Result<()> {
        let refuse =
            |key: &str, expected: &str, got: String| Err(Error::config(file, key, expected, got));
        if !(2..=1 << 10).contains(&self.modules) {
            return refuse("modules", "an integer from 2 to 1024", self.modules.to_string());
        }
        let languages = &self.languages;
        let got = || format!("{languages:?}");
        if self.gate == MixtureGate::Shared {
            return match languages.is_empty() {
                true => Ok(()),
                false => refuse("languages", "none for gate = \"shared\"", got()),
            };
        }
        let is_distinct = |(index, name): (usize, &String)| {
            !name.trim().is_empty()
                && languages.iter().position(|other| other == name) == Some(index)
        };
        if languages.is_empty() || !languages.iter().enumerate().all(is_distinct) {
            let expected = "distinct names, such as [\"en\", \"de\"], for gate = \"per_language\"";
            return refuse("languages", expected, got());
        }
        let is_shared_with_positions = |target: &LoraTarget| {
            matches!(target, LoraTarget::Query | LoraTarget::Key)
                && matches!(architecture, Architecture::DebertaV2(_))
        };
        match self.lora.targets.iter().find(|target| is_shared_with_positions(target)) {
            None => Ok(()),
            Some(target) => refuse(
                "target_modules",
                "neither queries nor keys, which in DeBERTa also project relative positions, for \
                 gate = \"per_language\"",
                format!("{target:?}"),
            ),
        }
    }
}
