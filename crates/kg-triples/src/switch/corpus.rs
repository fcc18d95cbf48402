use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{EntityLabels, SwitchConfig, SwitchReport, switch_texts};
use crate::entity_linking::LinkedText;
use crate::phrases::PhrasePassage;
use crate::{KgError, Language};

/// Switched sentences in memory, and which of their entities were switched.
#[derive(Clone, Debug, Default)]
pub struct SwitchedCorpus {
    /// The sentences by the language of their labels.
    pub switched: BTreeMap<Language, Vec<PhrasePassage>>,
    /// Their sources, each once.
    pub source: Vec<PhrasePassage>,
    /// The entities that were switched, by language.
    pub seen: BTreeMap<Language, BTreeSet<String>>,
    /// Those that the texts mention and that were kept from switching.
    pub held_out: BTreeSet<String>,
    /// What became of the texts.
    pub report: SwitchReport,
}

impl SwitchedCorpus {
    /// Switches `texts`, as [`switch_texts`] does, but for the entities in `held_out`, whose
    /// mentions keep their text.
    ///
    /// # Errors
    /// As [`switch_texts`]; [`KgError::Empty`] if no sentence can be switched.
    ///
    /// ```
    /// use std::collections::BTreeSet;
    ///
    /// use kg_triples::Language;
    /// use kg_triples::entity_linking::LinkedText;
    /// use kg_triples::switch::{EntityLabels, SwitchConfig, SwitchedCorpus};
    ///
    /// let text: LinkedText = serde_json::from_str(
    ///     r#"{"id": "7", "lang": "en", "text": "Munich, Bavaria", "mentions":
    ///         [{"start": 0, "end": 6, "entity": "Q1726"},
    ///          {"start": 8, "end": 15, "entity": "Q980"}]}"#,
    /// ).unwrap();
    /// let mut labels = EntityLabels::default();
    /// labels.add("Q1726", Language::DE, "München");
    /// labels.add("Q980", Language::DE, "Bayern");
    /// let (config, held_out) =
    ///     (SwitchConfig::for_languages([Language::DE]), BTreeSet::from(["Q980".to_owned()]));
    /// let corpus = SwitchedCorpus::of([Ok(text)], &labels, &held_out, &config)?;
    /// assert_eq!(corpus.switched[&Language::DE][0].text, "München, Bavaria");
    /// assert_eq!(corpus.held_out, held_out);
    /// # Ok::<(), kg_triples::KgError>(())
    /// ```
    pub fn of(
        texts: impl IntoIterator<Item = Result<LinkedText, KgError>>,
        labels: &EntityLabels,
        held_out: &BTreeSet<String>,
        config: &SwitchConfig,
    ) -> Result<Self, KgError> {
        let mut switchable = labels.clone();
        held_out.iter().for_each(|id| switchable.remove(id));
        let mut corpus = Self::default();
        let report = switch_texts(texts, &switchable, config, |_, sentence, forms| {
            let entities = || sentence.mentions.iter().map(|mention| mention.entity.clone());
            corpus.held_out.extend(entities().filter(|entity| held_out.contains(entity)));
            if !forms.is_empty() {
                corpus.source.push(PhrasePassage::from(sentence));
            }
            for form in forms {
                let language = form.text.language;
                let passage = PhrasePassage::from(&form.text);
                corpus.switched.entry(language).or_default().push(passage);
                let with_label = entities().zip(&form.switched).filter(|(_, switched)| **switched);
                let seen = corpus.seen.entry(language).or_default();
                seen.extend(with_label.map(|(entity, _)| entity));
            }
            Ok(())
        })?;
        if report.switched == 0 {
            return Err(KgError::Empty {
                what: "sentence that can be switched".into(),
                hint: "see the texts' mentions, the labels, and the languages".into(),
            });
        }
        Ok(Self { report, ..corpus })
    }
}

impl fmt::Display for SwitchedCorpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SwitchReport { switched, sentences, by_language, .. } = &self.report;
        write!(f, "switched {switched} of {sentences} sentences:")?;
        for (language, (sentences, mentions)) in by_language {
            write!(f, " {language} {sentences} ({mentions} mentions)")?;
        }
        Ok(())
    }
}
