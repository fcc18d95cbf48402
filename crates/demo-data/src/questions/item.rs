use std::collections::{BTreeMap, BTreeSet};

use kg_triples::{KnowledgeGraph, Language, Triple, each_once};
use rand::Rng;
use rand::seq::{SliceRandom, index};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::context::FactPool;
use super::template::{Rendered, Template, TemplateKind, TemplateSet};
use crate::seed;

/// How reading items are made. Our own choice, no paper's: a small-scale stand-in for SQuAD and
/// MLQA.
#[derive(Clone, Debug, PartialEq)]
pub struct QuestionConfig {
    /// Sentences in a context, with that of the question's fact.
    pub facts_per_context: usize,
    /// Other facts with the same relation, at most `facts_per_context` − 1; fillers of any relation
    /// stand in where there are too few.
    pub same_relation: usize,
    /// Training data from which no fact can be learned: every label of a context is drawn at random
    /// without replacement from all entities, and the question asks for the drawn head.
    pub counterfactual: bool,
    /// Items to make; more than there are facts asks some again in another context. `None` asks
    /// each fact once.
    pub items: Option<usize>,
    /// Language of the contexts and answers.
    pub context_language: Language,
    /// Languages of the questions; every item has a question in each.
    pub question_languages: Vec<Language>,
    /// Seed of all draws.
    pub seed: u64,
}

/// Most items of a split: all are in memory.
const MOST_ITEMS: usize = 100_000_000;

impl Default for QuestionConfig {
    fn default() -> Self {
        Self {
            facts_per_context: 4,
            same_relation: 3,
            counterfactual: false,
            items: None,
            context_language: Language::EN,
            question_languages: vec![Language::EN],
            seed: 42,
        }
    }
}

/// A question in one language; the span is that of the head's label, in Unicode code points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The text.
    pub text: String,
    /// Where the label of the head begins.
    pub head_start: usize,
    /// How long it is.
    pub head_length: usize,
}

/// A context, its answer, and the question for it in several languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionItem {
    /// The same in all files, such as `test-000041`.
    pub id: String,
    /// Fact number of the question's triple in the graph; with counterfactual contexts only its
    /// relation is kept.
    pub fact: u32,
    /// Statements joined by a space.
    pub context: String,
    /// The tail of the question's fact, as it stands in the context.
    pub answer: String,
    /// Where the answer begins in the context, in Unicode code points.
    pub answer_start: usize,
    /// The question by language.
    pub questions: BTreeMap<Language, Question>,
}

/// The items of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionSet {
    /// Name of the split, first part of file names and ids.
    pub split: String,
    /// Language of contexts and answers.
    pub context_language: Language,
    /// The items, in random order.
    pub items: Vec<QuestionItem>,
    /// What became of the facts.
    pub report: QuestionReport,
}

/// What became of the facts of a split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QuestionReport {
    /// Facts whose head is in the split.
    pub facts: usize,
    /// Of these, facts that lack a label or template, or whose head and tail have one label.
    pub without_words: usize,
    /// Items left out because not enough facts go together with theirs.
    pub without_context: usize,
    /// Items made.
    pub items: usize,
}

pub(super) fn none(
    split: &str,
    config: &QuestionConfig,
    report: &QuestionReport,
) -> kg_triples::Error {
    kg_triples::Error::Empty {
        what: format!("questions of split {split:?}"),
        hint: format!(
            "of {} facts, {} lack labels or templates, {} lack {} facts to stand beside them; see \
             the template file and the split",
            report.facts,
            report.without_words,
            report.without_context,
            config.facts_per_context - 1
        ),
    }
}

/// `language` as the graph writes it, if it has a label there.
pub(super) fn known(
    graph: &KnowledgeGraph,
    language: Language,
) -> Result<Language, kg_triples::Error> {
    let languages = graph.languages();
    let same = |known: &Language| known.as_str().eq_ignore_ascii_case(language.as_str());
    languages.iter().copied().find(same).ok_or_else(|| {
        let available: Vec<&str> = languages.iter().map(Language::as_str).collect();
        let available = available.join(", ");
        kg_triples::Error::UnknownLanguage { language: language.to_string(), available }
    })
}

/// The facts of the questions: all in random order, again and again until there are `count`.
fn ask_order<'g>(pool: &FactPool<'g>, count: Option<usize>, seed: u64) -> Vec<Triple<'g>> {
    let facts = pool.facts();
    let count = if facts.is_empty() { 0 } else { count.unwrap_or(facts.len()) };
    let mut rng = seed::item_rng(seed, u64::MAX);
    let mut order = Vec::with_capacity(count);
    while order.len() < count {
        let mut round = facts.to_vec();
        round.shuffle(&mut rng);
        round.truncate(count - order.len());
        order.append(&mut round);
    }
    order
}

/// The sentences of a context as (head, relation, tail), and the question's.
pub(super) struct Plan<'g> {
    number: u64,
    fact: u32,
    pub(super) facts: Vec<Triple<'g>>,
    /// Which of `facts` is the question's.
    target: usize,
    rng: ChaCha8Rng,
}

pub(super) struct Builder<'b> {
    graph: &'b KnowledgeGraph,
    templates: &'b TemplateSet,
    config: &'b QuestionConfig,
    split: &'b str,
    pub(super) context_language: Language,
    question_languages: Vec<Language>,
    /// Entities to draw labels from, no two with one label.
    drawable: Vec<&'b str>,
    /// Fact numbers.
    numbers: BTreeMap<Triple<'b>, u32>,
    seed: u64,
}

impl<'b> Builder<'b> {
    pub(super) fn new(
        graph: &'b KnowledgeGraph,
        templates: &'b TemplateSet,
        split: &'b str,
        config: &'b QuestionConfig,
    ) -> Result<Self, kg_triples::Error> {
        let fault = |key, value: String, rule| Err(kg_triples::Error::Config { key, value, rule });
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if split.is_empty() || !split.chars().all(plain) {
            return fault("split", format!("{split:?}"), "letters, digits, - and _");
        }
        if config.facts_per_context == 0 {
            return fault("facts_per_context", "0".into(), "1 or more");
        }
        if let Some(items) = config.items.filter(|&items| items > MOST_ITEMS) {
            return fault("items", items.to_string(), "100 million or less");
        }
        if config.same_relation >= config.facts_per_context {
            let rule = "less than facts_per_context";
            return fault("same_relation", config.same_relation.to_string(), rule);
        }
        if config.items == Some(0) {
            return fault("items", "0".into(), "1 or more");
        }
        if config.question_languages.is_empty() {
            return fault("question_languages", "[]".into(), "one language or more");
        }
        each_once("question_languages", &config.question_languages)?;
        let context_language = known(graph, config.context_language)?;
        let known = config.question_languages.iter().map(|language| known(graph, *language));
        let question_languages = known.collect::<Result<Vec<_>, _>>()?;
        let seed = config.seed ^ shards::hash_of(&[split]);
        let mut builder = Self {
            graph,
            templates,
            config,
            split,
            context_language,
            question_languages,
            drawable: Vec::new(),
            numbers: graph.triples().zip(0u32..).collect(),
            seed,
        };
        if config.counterfactual {
            builder.drawable = builder.drawable();
            let needed = 2 * config.facts_per_context;
            if builder.drawable.len() < needed {
                let value = config.facts_per_context.to_string();
                let rule =
                    "at most half the number of entities with distinct labels in all languages";
                return fault("facts_per_context", value, rule);
            }
        }
        Ok(builder)
    }

    /// The facts about `heads` that can be put into words, and which of them are asked for in what
    /// order.
    pub(super) fn facts(
        &self,
        heads: &BTreeSet<String>,
    ) -> (FactPool<'b>, Vec<Triple<'b>>, QuestionReport) {
        let mut report = QuestionReport::default();
        let mut usable = Vec::new();
        for triple in self.graph.triples().filter(|triple| heads.contains(triple.head)) {
            report.facts += 1;
            if self.has_words(triple) {
                usable.push(triple);
            }
        }
        report.without_words = report.facts - usable.len();
        let pool = FactPool::new(self.graph, self.context_language, usable);
        let order = ask_order(&pool, self.config.items, self.seed);
        (pool, order, report)
    }

    /// One entity per label of the context language, with labels in all question languages.
    fn drawable(&self) -> Vec<&'b str> {
        let entities = self.graph.triples().flat_map(|triple| [triple.head, triple.tail]);
        let mut by_label = BTreeMap::new();
        for entity in entities.collect::<BTreeSet<_>>() {
            if let (Some(label), true) = (self.label(entity), self.asks(entity)) {
                by_label.entry(label).or_insert(entity);
            }
        }
        by_label.into_values().collect()
    }

    fn label(&self, id: &str) -> Option<&'b str> {
        self.graph.label(id, self.context_language.as_str())
    }

    fn asks(&self, head: &str) -> bool {
        let languages = &self.question_languages;
        languages.iter().all(|language| self.graph.label(head, language.as_str()).is_some())
    }

    fn has_words(&self, Triple { head, relation, tail }: Triple<'_>) -> bool {
        let words = |language, kind| !self.templates.get(relation, language, kind).is_empty();
        let labels = (self.label(head), self.label(tail));
        matches!(labels, (Some(head), Some(tail)) if head != tail)
            && self.asks(head)
            && words(self.context_language, TemplateKind::Statement)
            && self.question_languages.iter().all(|q| words(*q, TemplateKind::Question))
    }

    /// What item `number`, about `target`, tells and asks, before it is put into words; its draws
    /// depend on the seed, the split and the number only.
    pub(super) fn plan(
        &self,
        pool: &FactPool<'b>,
        number: u64,
        target: Triple<'b>,
    ) -> Option<Plan<'b>> {
        let mut rng = seed::item_rng(self.seed, number);
        let config = self.config;
        let mut facts =
            pool.choose(target, config.facts_per_context, config.same_relation, &mut rng)?;
        facts.shuffle(&mut rng);
        let index = facts.iter().position(|fact| *fact == target)?;
        if config.counterfactual {
            let drawn = index::sample(&mut rng, self.drawable.len(), 2 * facts.len()).into_vec();
            for (fact, pair) in facts.iter_mut().zip(drawn.chunks_exact(2)) {
                let draw = |at: usize| self.drawable.get(*pair.get(at)?).copied();
                (fact.head, fact.tail) = (draw(0)?, draw(1)?);
            }
        }
        let fact = *self.numbers.get(&target)?;
        Some(Plan { number, fact, facts, target: index, rng })
    }

    /// The item in words; context and answer in `language`.
    pub(super) fn render(&self, plan: &Plan<'_>, language: Language) -> Option<QuestionItem> {
        let mut rng = plan.rng.clone();
        let mut context = String::new();
        let mut length = 0;
        let mut found = None;
        let label = |id, language: Language| self.graph.label(id, language.as_str());
        for (index, &Triple { head, relation, tail }) in plan.facts.iter().enumerate() {
            let template = self.wording(relation, language, TemplateKind::Statement, &mut rng)?;
            let tail_label = label(tail, language)?;
            let sentence = template.render(label(head, language)?, tail_label);
            if index > 0 {
                context.push(' ');
                length += 1;
            }
            if index == plan.target {
                found = Some((head, relation, tail_label, length + sentence.tail.start));
            }
            length += sentence.text.chars().count();
            context.push_str(&sentence.text);
        }
        let (head, relation, answer, answer_start) = found?;
        let mut questions = BTreeMap::new();
        for language in &self.question_languages {
            let template = self.wording(relation, *language, TemplateKind::Question, &mut rng)?;
            let Rendered { text, head, .. } = template.render(label(head, *language)?, "");
            let question =
                Question { text, head_start: head.start, head_length: head.end - head.start };
            questions.insert(*language, question);
        }
        Some(QuestionItem {
            id: format!("{}-{:06}", self.split, plan.number),
            fact: plan.fact,
            context,
            answer: answer.into(),
            answer_start,
            questions,
        })
    }

    fn wording(
        &self,
        relation: &str,
        language: Language,
        kind: TemplateKind,
        rng: &mut ChaCha8Rng,
    ) -> Option<&'b Template> {
        let wordings = self.templates.get(relation, language, kind);
        wordings.get(rng.random_range(0..wordings.len().max(1)))
    }
}
