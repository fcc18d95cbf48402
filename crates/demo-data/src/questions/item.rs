use std::collections::{BTreeMap, BTreeSet};

use kg_triples::{KnowledgeGraph, Language, Triple};
use rand::Rng;
use rand::seq::{SliceRandom, index};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::context::FactPool;
use super::template::{RenderedSentence, Template, TemplateKind, TemplateSet};
use crate::seed;

/// Options for question items, a small substitute for SQuAD and MLQA. The options are not from a
/// paper.
#[derive(Clone, Debug, PartialEq)]
pub struct QuestionConfig {
    /// Number of sentences in a context, including the sentence of the question's fact.
    pub facts_per_context: usize,
    /// Number of other facts with the relation of the question's fact, at most `facts_per_context`
    /// − 1. If too few facts have this relation, facts of any relation are added.
    pub same_relation_facts: usize,
    /// Whether the contexts are counterfactual, so that a model learns no facts in training.
    ///
    /// The head and tail of each fact in a context are replaced by random entities, drawn from all
    /// entities without replacement. The question contains the label of the random head.
    pub counterfactual: bool,
    /// Number of items; `None` for one item per fact. If there are more items than facts, facts are
    /// repeated in different contexts.
    pub items: Option<usize>,
    /// Language of the contexts and answers.
    pub context_language: Language,
    /// Languages of the questions; every item has a question in each language.
    pub question_languages: Vec<Language>,
    /// Random seed.
    pub seed: u64,
}

/// Maximum number of items of a split. The number is limited because all items are in memory.
const MAX_ITEMS: usize = 100_000_000;

impl Default for QuestionConfig {
    fn default() -> Self {
        Self {
            facts_per_context: 4,
            same_relation_facts: 3,
            counterfactual: false,
            items: None,
            context_language: Language::EN,
            question_languages: vec![Language::EN],
            seed: 42,
        }
    }
}

/// A question in one language, with the span of the head's label in Unicode code points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionText {
    /// Text of the question.
    pub text: String,
    /// Start of the head's label.
    pub head_start: usize,
    /// Length of the head's label.
    pub head_length: usize,
}

/// A context, its answer, and its question in several languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionItem {
    /// Id of the item, equal in all languages, such as `test-000041`.
    pub id: String,
    /// Number of the question's fact in the graph. If the context is counterfactual, only the
    /// relation of this fact is used.
    pub fact_number: u32,
    /// Statements joined by a space.
    pub context: String,
    /// Label of the fact's tail, as it occurs in the context.
    pub answer: String,
    /// Start of the answer in the context, in Unicode code points.
    pub answer_start: usize,
    /// The question in each language.
    pub questions: BTreeMap<Language, QuestionText>,
}

/// The items of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionSet {
    /// Name of the split, the prefix of file names and item ids.
    pub split: String,
    /// Language of contexts and answers.
    pub context_language: Language,
    /// The items, in random order.
    pub items: Vec<QuestionItem>,
    /// Counts of facts and items.
    pub report: QuestionReport,
}

/// Counts of facts and items of a split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QuestionReport {
    /// Number of facts whose head is in the split.
    pub facts: usize,
    /// Number of skipped facts, which lack a label or template, or whose head and tail have equal
    /// labels.
    #[serde(rename = "without_words")]
    pub without_sentence: usize,
    /// Number of skipped items, which have too few compatible facts for a context, or whose context
    /// cannot be rendered unambiguously in every language.
    pub without_context: usize,
    /// Number of items.
    pub items: usize,
}

pub(super) fn no_items_error(
    split: &str,
    config: &QuestionConfig,
    report: &QuestionReport,
) -> kg_triples::Error {
    kg_triples::Error::Empty {
        what: format!("questions of split {split:?}"),
        hint: format!(
            "of {} facts, {} lack labels or templates and {} lack {} compatible facts for their \
             context; check the template file and the split",
            report.facts,
            report.without_sentence,
            report.without_context,
            config.facts_per_context - 1
        ),
    }
}

/// Returns the facts of the questions in random order, repeated until there are `count` facts.
fn question_order<'g>(pool: &FactPool<'g>, count: Option<usize>, seed: u64) -> Vec<Triple<'g>> {
    let facts = pool.facts();
    let count = if facts.is_empty() { 0 } else { count.unwrap_or(facts.len()) };
    let mut rng = seed::item_rng(seed, u64::MAX);
    let mut item_facts = Vec::with_capacity(count);
    while item_facts.len() < count {
        let mut round = facts.to_vec();
        round.shuffle(&mut rng);
        round.truncate(count - item_facts.len());
        item_facts.append(&mut round);
    }
    item_facts
}

/// The facts of an item's context, and the index of the question's fact among them.
pub(super) struct Plan<'g> {
    /// Number of the item.
    number: u64,
    /// Number of the question's fact in the graph.
    fact_number: u32,
    pub(super) facts: Vec<Triple<'g>>,
    /// Index of the question's fact in `facts`.
    target_index: usize,
    rng: ChaCha8Rng,
}

/// A generator of the items of one split.
pub(super) struct ItemBuilder<'b> {
    graph: &'b KnowledgeGraph,
    templates: &'b TemplateSet,
    config: &'b QuestionConfig,
    split: &'b str,
    pub(super) context_language: Language,
    question_languages: Vec<Language>,
    /// Entities for counterfactual contexts, with distinct labels.
    counterfactual_entities: Vec<&'b str>,
    /// Position of each fact in the graph.
    fact_numbers: BTreeMap<Triple<'b>, u32>,
    seed: u64,
}

impl<'b> ItemBuilder<'b> {
    pub(super) fn new(
        graph: &'b KnowledgeGraph,
        templates: &'b TemplateSet,
        split: &'b str,
        config: &'b QuestionConfig,
    ) -> Result<Self, kg_triples::Error> {
        let config_error =
            |key, value: String, rule| Err(kg_triples::Error::Config { key, value, rule });
        if let Some(items) = config.items.filter(|&items| items > MAX_ITEMS) {
            return config_error("items", items.to_string(), "100 million or less");
        }
        if config.items == Some(0) {
            return config_error("items", "0".into(), "1 or more");
        }
        let known_language = |language: &Language| graph.known_language(language.as_str());
        let context_language = known_language(&config.context_language)?;
        let question_languages =
            config.question_languages.iter().map(known_language).collect::<Result<Vec<_>, _>>()?;
        let seed = config.seed ^ shards::hash_of(&[split]);
        let mut builder = Self {
            graph,
            templates,
            config,
            split,
            context_language,
            question_languages,
            counterfactual_entities: Vec::new(),
            fact_numbers: graph.triples().zip(0u32..).collect(),
            seed,
        };
        if config.counterfactual {
            builder.counterfactual_entities = builder.entities_with_distinct_labels();
            let min_entities = 2 * config.facts_per_context;
            if builder.counterfactual_entities.len() < min_entities {
                let value = config.facts_per_context.to_string();
                let rule =
                    "at most half the number of entities with distinct labels in all languages";
                return config_error("facts_per_context", value, rule);
            }
        }
        Ok(builder)
    }

    /// Returns the facts about `heads` that can be expressed as sentences, the fact of each item in
    /// order, and counts of the facts.
    pub(super) fn select_facts(
        &self,
        heads: &BTreeSet<String>,
    ) -> (FactPool<'b>, Vec<Triple<'b>>, QuestionReport) {
        let mut report = QuestionReport::default();
        let mut expressible_facts = Vec::new();
        for triple in self.graph.triples().filter(|triple| heads.contains(triple.head)) {
            report.facts += 1;
            if self.has_sentences(triple) {
                expressible_facts.push(triple);
            }
        }
        report.without_sentence = report.facts - expressible_facts.len();
        let pool = FactPool::new(self.graph, self.context_language, expressible_facts);
        let item_facts = question_order(&pool, self.config.items, self.seed);
        (pool, item_facts, report)
    }

    /// Returns one entity for each label in the context language. Entities that lack a label in a
    /// question language are excluded.
    fn entities_with_distinct_labels(&self) -> Vec<&'b str> {
        let entities = self.graph.triples().flat_map(|triple| [triple.head, triple.tail]);
        let mut entity_by_label = BTreeMap::new();
        for entity in entities.collect::<BTreeSet<_>>() {
            if let (Some(label), true) = (self.label(entity), self.has_question_labels(entity)) {
                entity_by_label.entry(label).or_insert(entity);
            }
        }
        entity_by_label.into_values().collect()
    }

    fn label(&self, id: &str) -> Option<&'b str> {
        self.graph.label(id, self.context_language.as_str())
    }

    fn has_question_labels(&self, entity: &str) -> bool {
        let languages = &self.question_languages;
        languages.iter().all(|language| self.graph.label(entity, language.as_str()).is_some())
    }

    fn has_sentences(&self, Triple { head, relation, tail }: Triple<'_>) -> bool {
        let has_template =
            |language, kind| !self.templates.get(relation, language, kind).is_empty();
        let labels = (self.label(head), self.label(tail));
        matches!(labels, (Some(head), Some(tail)) if head != tail)
            && self.has_question_labels(head)
            && has_template(self.context_language, TemplateKind::Statement)
            && self
                .question_languages
                .iter()
                .all(|language| has_template(*language, TemplateKind::Question))
    }

    /// Selects the facts of item `number`, whose question is about `target`. Random draws depend
    /// only on the seed, the split and `number`.
    pub(super) fn plan(
        &self,
        pool: &FactPool<'b>,
        number: u64,
        target: Triple<'b>,
    ) -> Option<Plan<'b>> {
        let mut rng = seed::item_rng(self.seed, number);
        let config = self.config;
        let mut facts =
            pool.select(target, config.facts_per_context, config.same_relation_facts, &mut rng)?;
        facts.shuffle(&mut rng);
        let target_index = facts.iter().position(|fact| *fact == target)?;
        if config.counterfactual {
            let indices =
                index::sample(&mut rng, self.counterfactual_entities.len(), 2 * facts.len())
                    .into_vec();
            for (fact, pair) in facts.iter_mut().zip(indices.chunks_exact(2)) {
                let [head, tail] = [pair[0], pair[1]].map(|k| self.counterfactual_entities[k]);
                (fact.head, fact.tail) = (head, tail);
            }
        }
        let fact_number = self.fact_numbers[&target];
        Some(Plan { number, fact_number, facts, target_index, rng })
    }

    /// Returns an item with context and answer in `language`; `None` if a label or template is
    /// missing.
    pub(super) fn render(&self, plan: &Plan<'_>, language: Language) -> Option<QuestionItem> {
        let mut rng = plan.rng.clone();
        let mut context = String::new();
        let mut target = None;
        let label = |id, language: Language| self.graph.label(id, language.as_str());
        for (index, &Triple { head, relation, tail }) in plan.facts.iter().enumerate() {
            let template =
                self.random_template(relation, language, TemplateKind::Statement, &mut rng)?;
            let tail_label = label(tail, language)?;
            let sentence = template.render(label(head, language)?, tail_label);
            if index > 0 {
                context.push(' ');
            }
            if index == plan.target_index {
                let answer_start = context.chars().count() + sentence.tail_start;
                target = Some((head, relation, tail_label, answer_start));
            }
            context.push_str(&sentence.text);
        }
        let (head, relation, answer, answer_start) = target?;
        let mut questions = BTreeMap::new();
        for language in &self.question_languages {
            let template =
                self.random_template(relation, *language, TemplateKind::Question, &mut rng)?;
            let head_label = label(head, *language)?;
            let RenderedSentence { text, head_start, .. } = template.render(head_label, "");
            let head_length = head_label.chars().count();
            questions.insert(*language, QuestionText { text, head_start, head_length });
        }
        Some(QuestionItem {
            id: format!("{}-{:06}", self.split, plan.number),
            fact_number: plan.fact_number,
            context,
            answer: answer.into(),
            answer_start,
            questions,
        })
    }

    fn random_template(
        &self,
        relation: &str,
        language: Language,
        kind: TemplateKind,
        rng: &mut ChaCha8Rng,
    ) -> Option<&'b Template> {
        let templates = self.templates.get(relation, language, kind);
        templates.get(rng.random_range(0..templates.len().max(1)))
    }
}
