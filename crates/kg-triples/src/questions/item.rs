use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::seq::{SliceRandom, index};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::context::FactPool;
use super::template::{Rendered, Template, TemplateKind, TemplateSet};
use crate::{KgError, KnowledgeGraph, Language, each_once, seed};

/// How reading items are made. Our own choice, no paper's: a small-scale stand-in for SQuAD and
/// MLQA.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuestionConfig {
    /// Sentences in a context, with that of the fact asked for.
    pub facts_per_context: usize,
    /// Other facts with the same relation, at most `facts_per_context` − 1; fillers of any relation
    /// stand in where there are too few.
    pub same_relation: usize,
    /// Training data from which no fact can be learned: every label of a context is drawn at random
    /// without replacement from all entities, and the question asks for the drawn head.
    pub counterfactual: bool,
    /// Items to make; more than there are facts asks some again in another context. `None` asks
    /// each fact once.
    pub count: Option<usize>,
    /// Language of the contexts and answers.
    pub context_language: String,
    /// Languages of the questions; every item has a question in each.
    pub question_languages: Vec<String>,
    /// Seed of all draws.
    pub seed: u64,
}

/// Most items of a split: all are in memory.
pub(super) const MOST_ITEMS: usize = 100_000_000;

impl Default for QuestionConfig {
    fn default() -> Self {
        Self {
            facts_per_context: 4,
            same_relation: 3,
            counterfactual: false,
            count: None,
            context_language: "en".into(),
            question_languages: ["en", "de", "es", "ar", "hi", "vi", "zh"].map(String::from).into(),
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
    /// Fact number of the asked triple in the graph; with counterfactual contexts only its relation
    /// is kept.
    pub fact: u32,
    /// Statements joined by a space.
    pub context: String,
    /// The tail of the asked fact, as it stands in the context.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
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

/// Makes the items of one split: questions about the facts of `graph` whose head is in `heads`, in
/// contexts of such facts only; counterfactual labels are drawn from all entities of `graph`.
///
/// # Errors
/// [`KgError::Config`] for a value out of its range, [`KgError::UnknownLanguage`],
/// [`KgError::Empty`] if no item can be made.
///
/// ```
/// use kg_triples::questions::{QuestionConfig, TemplateSet, build_questions};
/// # let mut builder = kg_triples::GraphBuilder::default();
/// # let capitals =
/// #     [("Germany", "Berlin", "Deutschland"), ("France", "Paris", "Frankreich")];
/// # for (head, tail, de) in capitals {
/// #     builder.add_triple(head, "P36", tail)?;
/// #     for (id, language, label) in
/// #         [(head, "en", head), (head, "de", de), (tail, "en", tail), (tail, "de", tail)]
/// #     {
/// #         builder.add_label(id, language, label, kg_triples::LabelKind::Entity)?;
/// #     }
/// # }
/// # builder.add_label("P36", "en", "capital", kg_triples::LabelKind::Relation)?;
/// # builder.add_label("P36", "de", "Hauptstadt", kg_triples::LabelKind::Relation)?;
/// # let graph = builder.build();
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("templates.tsv");
/// # let rows = "relation_id\tlang\tkind\ttemplate\n\
/// #             P36\ten\tstatement\t{tail} is the capital of {head}.\n\
/// #             P36\ten\tquestion\tWhat is the capital of {head}?\n";
/// # std::fs::write(&path, rows).unwrap();
/// let templates = TemplateSet::read(&path)?;
/// let heads = ["Germany", "France"].map(String::from).into();
/// let config = QuestionConfig {
///     facts_per_context: 2,
///     same_relation: 1,
///     question_languages: vec!["en".into()],
///     ..QuestionConfig::default()
/// };
/// let set = build_questions(&graph, &templates, "test", &heads, &config)?;
/// assert_eq!(set.items.len(), 2);
/// for item in &set.items {
///     let found = item.context.chars().skip(item.answer_start).collect::<String>();
///     assert!(found.starts_with(&item.answer)); // "Berlin" or "Paris"
/// }
/// let files = set.write_dir(folder.path())?; // SQuAD JSON
/// assert!(files[0].ends_with("test-context-en-question-en.json"));
/// # Ok::<(), kg_triples::KgError>(())
/// ```
pub fn build_questions(
    graph: &KnowledgeGraph,
    templates: &TemplateSet,
    split: &str,
    heads: &BTreeSet<String>,
    config: &QuestionConfig,
) -> Result<QuestionSet, KgError> {
    let builder = Builder::new(graph, templates, split, config)?;
    let (pool, order, mut report) = builder.facts(heads);
    let made: Vec<Option<QuestionItem>> = (0u64..)
        .zip(order)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|(number, fact)| builder.item(&pool, number, fact))
        .collect();
    let planned = made.len();
    let items: Vec<_> = made.into_iter().flatten().collect();
    report.without_context = planned - items.len();
    report.items = items.len();
    if items.is_empty() {
        return Err(none(split, config, &report));
    }
    let context_language = builder.context_language;
    Ok(QuestionSet { split: split.into(), context_language, items, report })
}

pub(super) fn none(split: &str, config: &QuestionConfig, report: &QuestionReport) -> KgError {
    KgError::Empty {
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

/// The asked facts: all in random order, again and again until there are `count`.
fn ask_order(pool: &FactPool<'_>, count: Option<usize>, seed: u64) -> Vec<[u32; 3]> {
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

/// The sentences of a context as (head, relation, tail), and the one that is asked for.
pub(super) struct Plan {
    number: u64,
    fact: u32,
    pub(super) facts: Vec<[u32; 3]>,
    /// Which of `facts` is asked for.
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
    drawable: Vec<u32>,
    seed: u64,
}

impl<'b> Builder<'b> {
    pub(super) fn new(
        graph: &'b KnowledgeGraph,
        templates: &'b TemplateSet,
        split: &'b str,
        config: &'b QuestionConfig,
    ) -> Result<Self, KgError> {
        let fault = |key, value: String, rule| Err(KgError::Config { key, value, rule });
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if split.is_empty() || !split.chars().all(plain) {
            return fault("split", format!("{split:?}"), "letters, digits, - and _");
        }
        if config.facts_per_context == 0 {
            return fault("facts_per_context", "0".into(), "1 or more");
        }
        if let Some(count) = config.count.filter(|&count| count > MOST_ITEMS) {
            return fault("count", count.to_string(), "100 million or less");
        }
        if config.same_relation >= config.facts_per_context {
            let rule = "less than facts_per_context";
            return fault("same_relation", config.same_relation.to_string(), rule);
        }
        if config.count == Some(0) {
            return fault("count", "0".into(), "1 or more");
        }
        if config.question_languages.is_empty() {
            return fault("question_languages", "[]".into(), "one language or more");
        }
        each_once("question_languages", &config.question_languages)?;
        let context_language = graph.known_language(&config.context_language)?;
        let known = config.question_languages.iter().map(|language| graph.known_language(language));
        let question_languages = known.collect::<Result<Vec<_>, _>>()?;
        let seed = config.seed ^ seed::hash(&[split]);
        let mut builder = Self {
            graph,
            templates,
            config,
            split,
            context_language,
            question_languages,
            drawable: Vec::new(),
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
    ) -> (FactPool<'b>, Vec<[u32; 3]>, QuestionReport) {
        let mut report = QuestionReport::default();
        let mut usable = Vec::new();
        for triple in &self.graph.triples {
            if heads.contains(self.graph.id_at(triple[0])) {
                report.facts += 1;
                if self.has_words(*triple) {
                    usable.push(*triple);
                }
            }
        }
        report.without_words = report.facts - usable.len();
        let pool = FactPool::new(self.graph, self.context_language, usable);
        let order = ask_order(&pool, self.config.count, self.seed);
        (pool, order, report)
    }

    /// One entity per label of the context language, with labels in all question languages.
    fn drawable(&self) -> Vec<u32> {
        let entities = self.graph.triples.iter().flat_map(|[head, _, tail]| [*head, *tail]);
        let mut by_label = BTreeMap::new();
        for entity in entities.collect::<BTreeSet<_>>() {
            if let (Some(label), true) = (self.label(entity), self.asks(entity)) {
                by_label.entry(label).or_insert(entity);
            }
        }
        by_label.into_values().collect()
    }

    fn label(&self, id: u32) -> Option<&'b str> {
        self.graph.label_at(id, self.context_language)
    }

    fn asks(&self, head: u32) -> bool {
        let languages = &self.question_languages;
        languages.iter().all(|language| self.graph.label_at(head, *language).is_some())
    }

    fn has_words(&self, [head, relation, tail]: [u32; 3]) -> bool {
        let words = |language, kind| {
            !self.templates.get(self.graph.id_at(relation), language, kind).is_empty()
        };
        let labels = (self.label(head), self.label(tail));
        matches!(labels, (Some(head), Some(tail)) if head != tail)
            && self.asks(head)
            && words(self.context_language, TemplateKind::Statement)
            && self.question_languages.iter().all(|q| words(*q, TemplateKind::Question))
    }

    /// Item `number`, about `target`; its draws depend on the seed, the split and the number only.
    fn item(&self, pool: &FactPool<'_>, number: u64, target: [u32; 3]) -> Option<QuestionItem> {
        let plan = self.plan(pool, number, target)?;
        self.render(&plan, self.context_language)
    }

    /// What item `number` tells and asks, before it is put into words.
    pub(super) fn plan(&self, pool: &FactPool<'_>, number: u64, target: [u32; 3]) -> Option<Plan> {
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
                (fact[0], fact[2]) = (draw(0)?, draw(1)?);
            }
        }
        let fact = u32::try_from(self.graph.triples.binary_search(&target).ok()?).ok()?;
        Some(Plan { number, fact, facts, target: index, rng })
    }

    /// The item in words; context and answer in `language`.
    pub(super) fn render(&self, plan: &Plan, language: Language) -> Option<QuestionItem> {
        let mut rng = plan.rng.clone();
        let mut context = String::new();
        let mut length = 0;
        let mut found = None;
        for (index, &[head, relation, tail]) in plan.facts.iter().enumerate() {
            let template = self.wording(relation, language, TemplateKind::Statement, &mut rng)?;
            let tail_label = self.graph.label_at(tail, language)?;
            let sentence = template.render(self.graph.label_at(head, language)?, tail_label);
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
            let Rendered { text, head, .. } =
                template.render(self.graph.label_at(head, *language)?, "");
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
        relation: u32,
        language: Language,
        kind: TemplateKind,
        rng: &mut ChaCha8Rng,
    ) -> Option<&'b Template> {
        let wordings = self.templates.get(self.graph.id_at(relation), language, kind);
        wordings.get(rng.random_range(0..wordings.len().max(1)))
    }
}
