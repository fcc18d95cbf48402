use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{EntityLabels, SwitchConfig, SwitchReport, switch_texts};
use crate::entity_linking::LinkedText;
use crate::phrases::PhrasePassage;
use crate::{KgError, Language, seed};

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

impl SwitchedCorpus {
    /// Takes `count` sentences of each language out of the corpus, of the source language too,
    /// drawn from `seed`: to score a model with. No more than half of a language's.
    ///
    /// ```
    /// # use std::collections::BTreeSet;
    /// # use kg_triples::Language;
    /// # use kg_triples::entity_linking::LinkedText;
    /// # use kg_triples::switch::{EntityLabels, SwitchConfig, SwitchedCorpus};
    /// # let text = |number: u32| serde_json::from_str::<LinkedText>(&format!(
    /// #     r#"{{"id": "{number}", "lang": "en", "text": "Munich {number}", "mentions":
    /// #         [{{"start": 0, "end": 6, "entity": "Q1726"}}]}}"#));
    /// # let texts = (0..10).map(|number| Ok(text(number).unwrap()));
    /// # let mut labels = EntityLabels::default();
    /// # labels.add("Q1726", Language::DE, "München");
    /// # let config = SwitchConfig::for_languages([Language::DE]);
    /// let mut corpus = SwitchedCorpus::of(texts, &labels, &BTreeSet::new(), &config)?;
    /// let held_back = corpus.hold_back(3, 42);
    /// assert_eq!(held_back[&Language::DE].len(), 3);
    /// assert_eq!((corpus.switched[&Language::DE].len(), corpus.source.len()), (7, 7));
    /// # Ok::<(), kg_triples::KgError>(())
    /// ```
    pub fn hold_back(&mut self, count: usize, seed: u64) -> BTreeMap<Language, Vec<PhrasePassage>> {
        let switched = self.switched.iter_mut().map(|(language, all)| (*language, all));
        let source = self.source.first().map(|passage| passage.language);
        let all = switched.chain(source.map(|language| (language, &mut self.source)));
        let mut held_back = BTreeMap::new();
        for (number, (language, passages)) in all.enumerate() {
            let mut rng = seed::use_rng("hold back", seed, number as u64);
            let count = count.min(passages.len() / 2);
            let drawn: BTreeSet<usize> =
                rand::seq::index::sample(&mut rng, passages.len(), count).into_iter().collect();
            let mut numbers = 0..;
            let taken = |_: &mut PhrasePassage| {
                numbers.next().is_some_and(|number| drawn.contains(&number))
            };
            held_back.insert(language, passages.extract_if(.., taken).collect());
        }
        held_back
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
