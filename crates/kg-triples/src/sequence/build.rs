use std::collections::BTreeMap;
use std::ops::AddAssign;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use super::layout::{Form, TripleLayout, sequence_forms};
use super::pieces::{PieceTable, Pieces, separator_ids};
use super::{
    ConcatSeparator, IGNORE_INDEX, MaskedEntity, Masking, Role, SequenceConfig, SequenceKind,
};
use crate::tokens::Specials;
use crate::{Error, KnowledgeGraph, Language, Sequence};

/// Counts of dropped sequences by reason. A sequence that could be dropped for several reasons is
/// counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct DropReport {
    /// A head, relation or tail has no label in the language of its position in the sequence.
    pub missing_label: usize,
    /// A label has no tokens or contains a special token such as `<mask>`, or the label of a masked
    /// entity contains the unknown token.
    pub unusable_label: usize,
    /// A masked entity has more sub-tokens than [`Masking::Single`] or [`Masking::FixedLength`]
    /// allow.
    pub entity_too_long: usize,
    /// The sequence is longer than `max_length`.
    pub sequence_too_long: usize,
    /// The sequence was dropped at random to obtain the proportions of `mix_weights`.
    pub mix_weights: usize,
}

impl DropReport {
    /// Returns the number of dropped sequences.
    pub fn total(&self) -> usize {
        self.missing_label
            + self.unusable_label
            + self.entity_too_long
            + self.sequence_too_long
            + self.mix_weights
    }
}

impl AddAssign for DropReport {
    fn add_assign(&mut self, other: Self) {
        self.missing_label += other.missing_label;
        self.unusable_label += other.unusable_label;
        self.entity_too_long += other.entity_too_long;
        self.sequence_too_long += other.sequence_too_long;
        self.mix_weights += other.mix_weights;
    }
}

/// Counts of built and dropped sequences. The sum of all counts in `kept` and `dropped` is `facts`
/// × `pairs` × `forms`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct BuildReport {
    /// Triples of the graph.
    pub facts: usize,
    /// Language pairs.
    pub pairs: usize,
    /// Number of sequences per triple and pair if none is dropped: 10 with the default
    /// configuration.
    pub forms: usize,
    /// Number of returned sequences by kind.
    pub kept: BTreeMap<SequenceKind, usize>,
    /// Number of dropped sequences by reason.
    pub dropped: DropReport,
    /// Number of tokens of all returned sequences, including special tokens.
    pub tokens: usize,
    /// Number of masked positions of all returned sequences.
    pub masked_tokens: usize,
}

impl AddAssign for BuildReport {
    /// Adds the counts of another call, which built sequences of the same triples for other pairs.
    fn add_assign(&mut self, other: Self) {
        self.facts = self.facts.max(other.facts);
        self.pairs += other.pairs;
        self.forms = self.forms.max(other.forms);
        for (kind, count) in other.kept {
            *self.kept.entry(kind).or_default() += count;
        }
        self.dropped += other.dropped;
        self.tokens += other.tokens;
        self.masked_tokens += other.masked_tokens;
    }
}

impl BuildReport {
    /// Returns the number of returned sequences, of all kinds.
    pub fn sequence_count(&self) -> usize {
        self.kept.values().sum()
    }

    /// Returns how many training steps on these sequences process as many tokens as `steps`
    /// training steps on the sequences of `other`, if both use one batch size.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// use kg_triples::{BuildReport, SequenceKind};
    ///
    /// let report = |sequences, tokens| BuildReport {
    ///     kept: BTreeMap::from([(SequenceKind::Monolingual, sequences)]),
    ///     tokens,
    ///     ..BuildReport::default()
    /// };
    /// // 10 tokens per sequence in the first report, 15 in the second.
    /// assert_eq!(report(40, 400).equal_token_steps(&report(60, 900), 100), 150);
    /// ```
    pub fn equal_token_steps(&self, other: &Self, steps: u64) -> u64 {
        let mean_tokens =
            |report: &Self| report.tokens as f64 / report.sequence_count().max(1) as f64;
        (steps as f64 * mean_tokens(other) / mean_tokens(self)).round() as u64
    }
}

/// Builds the sequences of all triples of `graph` for the languages (i, j) = `pair`, in random
/// order.
///
/// # Errors
/// As [`visit_sequences`].
///
/// ```
/// use kg_triples::{GraphBuilder, LabelKind, SequenceConfig, SequenceKind, build_sequences};
/// # let tokenizer = tokenizers::Tokenizer::from_file(
/// #     concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/tokenizer.json")).unwrap();
/// // let tokenizer = Tokenizer::from_file("xlm-roberta-base/tokenizer.json")?;
/// let mut builder = GraphBuilder::default();
/// builder.add_triple("Q183", "P36", "Q64")?;
/// for (id, en, de) in [("Q183", "Germany", "Deutschland"), ("Q64", "Berlin", "Berlin")] {
///     builder.add_label(id, "en", en, LabelKind::Entity)?;
///     builder.add_label(id, "de", de, LabelKind::Entity)?;
/// }
/// builder.add_label("P36", "en", "capital", LabelKind::Relation)?;
/// builder.add_label("P36", "de", "Hauptstadt", LabelKind::Relation)?;
///
/// let (graph, config) = (builder.build(), SequenceConfig::default());
/// let (sequences, report) = build_sequences(&graph, ("en", "de"), &config, &tokenizer)?;
/// // One triple, one pair: 4 monolingual, 4 mixed and 2 concatenated sequences.
/// assert_eq!((sequences.len(), report.kept[&SequenceKind::Concatenated]), (10, 2));
/// # Ok::<(), kg_triples::Error>(())
/// ```
pub fn build_sequences(
    graph: &KnowledgeGraph,
    pair: (&str, &str),
    config: &SequenceConfig,
    tokenizer: &Tokenizer,
) -> Result<(Vec<Sequence>, BuildReport), Error> {
    let pair = (pair.0.to_owned(), pair.1.to_owned());
    let mut sequences = Vec::new();
    let report = visit_sequences(graph, &[pair], config, tokenizer, |sequence| {
        sequences.push(sequence);
        Ok(())
    })?;
    Ok((sequences, report))
}

/// Builds the sequences of all triples of `graph` for every pair, and passes them to `visit` in
/// random order.
///
/// See *Bridging the Language Gap*, sections III-A and III-B. The result does not depend on the
/// number of threads. The list of sequences needs twelve bytes of memory per sequence; the
/// sequences themselves are built in blocks.
///
/// Head, relation and tail are encoded separately, each as the beginning of a word, so no token
/// belongs to two of them. Monolingual sequences are built for each pair. If a language is in two
/// pairs, its monolingual sequences are therefore built twice.
///
/// # Errors
/// [`Error::Config`] for a value out of its range, an empty list of pairs, or a pair of equal
/// languages; [`Error::Empty`] if `mix_weights` has a positive weight for a kind without sequences;
/// [`Error::UnknownLanguage`]; [`Error::Tokenizer`] if a special token is missing or a label cannot
/// be encoded; errors of `visit`.
///
/// ```
/// use kg_triples::Error;
/// use kg_triples::sequence::{SequenceConfig, visit_sequences};
/// # let tokenizer = tokenizers::Tokenizer::from_file(
/// #     concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/tokenizer.json")).unwrap();
/// // let tokenizer = Tokenizer::from_file("xlm-roberta-base/tokenizer.json")?;
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
/// let pairs = [("en".into(), "de".into()), ("de".into(), "en".into())];
/// let config = SequenceConfig { seed: 7, ..SequenceConfig::default() };
/// let mut visited = 0;
/// let report = visit_sequences(&graph, &pairs, &config, &tokenizer, |_| {
///     visited += 1;
///     Ok(())
/// })?;
/// assert_eq!(visited, report.facts * report.pairs * report.forms);
///
/// let error = visit_sequences(&graph, &[], &config, &tokenizer, |_| Ok(())).unwrap_err();
/// assert!(matches!(error, Error::Config { key: "pairs", .. }));
/// # Ok::<(), kg_triples::Error>(())
/// ```
pub fn visit_sequences(
    graph: &KnowledgeGraph,
    pairs: &[(String, String)],
    config: &SequenceConfig,
    tokenizer: &Tokenizer,
    mut visit: impl FnMut(Sequence) -> Result<(), Error>,
) -> Result<BuildReport, Error> {
    config.check()?;
    let pairs = known_pairs(graph, pairs)?;
    let mut languages: Vec<_> = pairs.iter().flat_map(|(i, j)| [*i, *j]).collect();
    languages.sort_unstable();
    languages.dedup();
    let specials = Specials::find(tokenizer)?;
    let builder = SequenceBuilder {
        pieces: PieceTable::encode(graph, &languages, tokenizer, &specials)?,
        element_separator: separator_ids(config.triple_style, tokenizer)?,
        triple_separator: match config.concat_separator {
            ConcatSeparator::None => separator_ids(config.triple_style, tokenizer)?,
            ConcatSeparator::SepToken => specials.between()?.to_vec(),
        },
        specials,
        config,
        facts: (0..).zip(graph.triples.iter().copied()).collect(),
        pairs,
        forms: sequence_forms(config),
    };
    let mut report = BuildReport {
        facts: builder.facts.len(),
        pairs: builder.pairs.len(),
        forms: builder.forms.len(),
        kept: SequenceKind::ALL
            .into_iter()
            .filter(|kind| config.kinds.contains(kind))
            .map(|kind| (kind, 0))
            .collect(),
        ..BuildReport::default()
    };
    let mut order = Vec::new();
    for (pair_index, pair) in (0..).zip(&builder.pairs) {
        for (buildable, dropped) in builder.buildable_sequences(pair_index, *pair) {
            order.extend(buildable);
            report.dropped += dropped;
        }
    }
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(config.seed));
    if let Some(weights) = config.mix_weights {
        let count_before = order.len();
        apply_mix_weights(&mut order, &builder.forms, weights, config)?;
        report.dropped.mix_weights = count_before - order.len();
        if report.dropped.mix_weights > 0 {
            // The list is shuffled again, because the end of the list now lacks the kinds of which
            // sequences were dropped.
            let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
            rng.set_stream(1);
            order.shuffle(&mut rng);
        }
    }
    for block in order.chunks(BLOCK_SEQUENCES) {
        let sequences: Vec<_> = block.par_iter().map(|index| builder.build(index)).collect();
        for sequence in sequences {
            *report.kept.entry(sequence.kind).or_default() += 1;
            report.tokens += sequence.input_ids.len();
            report.masked_tokens +=
                sequence.entities.iter().map(|e| e.end - e.start).sum::<usize>();
            visit(sequence)?;
        }
    }
    Ok(report)
}

/// Number of sequences per block.
const BLOCK_SEQUENCES: usize = 4096;

/// Indices of the triple, language pair and form of a sequence.
struct SequenceIndex {
    fact: u32,
    pair: u32,
    form: u8,
}

/// Parses the pairs and checks that the graph has labels in their languages.
fn known_pairs(
    graph: &KnowledgeGraph,
    pairs: &[(String, String)],
) -> Result<Vec<(Language, Language)>, Error> {
    if let Some((i, j)) = pairs.iter().find(|(i, j)| i == j) {
        let value = format!("{i}-{j}");
        return Err(Error::Config { key: "pairs", value, rule: "pairs of two languages" });
    }
    if pairs.is_empty() {
        let rule = "one pair of languages or more";
        return Err(Error::Config { key: "pairs", value: "[]".into(), rule });
    }
    let parse_pair =
        |(i, j): &(String, String)| Ok((graph.known_language(i)?, graph.known_language(j)?));
    pairs.iter().map(parse_pair).collect()
}

/// Builds the sequences of one call of [`visit_sequences`].
struct SequenceBuilder<'c> {
    pieces: PieceTable,
    /// Separator tokens between head, relation and tail.
    element_separator: Vec<u32>,
    triple_separator: Vec<u32>,
    specials: Specials,
    config: &'c SequenceConfig,
    facts: Vec<(u32, [u32; 3])>,
    pairs: Vec<(Language, Language)>,
    forms: Vec<Form>,
}

impl SequenceBuilder<'_> {
    /// Returns the indices of the sequences of a pair that can be built, and counts of the dropped
    /// sequences, for each block of triples. `pair_index` is the index of the pair.
    fn buildable_sequences(
        &self,
        pair_index: u32,
        pair: (Language, Language),
    ) -> Vec<(Vec<SequenceIndex>, DropReport)> {
        self.facts
            .par_chunks(256)
            .map(|chunk| {
                let mut buildable = Vec::with_capacity(chunk.len() * self.forms.len());
                let mut dropped = DropReport::default();
                for (fact, triple) in chunk {
                    for (index, form) in (0..).zip(&self.forms) {
                        match self.build_form(*fact, *triple, pair, form) {
                            Ok(_) => buildable.push(SequenceIndex {
                                fact: *fact,
                                pair: pair_index,
                                form: index,
                            }),
                            Err(reason) => dropped += reason,
                        }
                    }
                }
                (buildable, dropped)
            })
            .collect()
    }

    /// Builds a sequence that [`Self::buildable_sequences`] returned.
    fn build(&self, index: &SequenceIndex) -> Sequence {
        let (fact, triple) = self.facts[index.fact as usize];
        let (pair, form) = (self.pairs[index.pair as usize], &self.forms[usize::from(index.form)]);
        match self.build_form(fact, triple, pair, form) {
            Ok(sequence) => sequence,
            Err(_) => unreachable!("a buildable sequence is not dropped"),
        }
    }

    /// Builds the sequence of one form. If it must be dropped, the error is a report with a count
    /// of 1 for the reason.
    fn build_form(
        &self,
        fact: u32,
        triple: [u32; 3],
        pair: (Language, Language),
        form: &Form,
    ) -> Result<Sequence, DropReport> {
        let mut draft = Draft::default();
        draft.push_visible(&[self.specials.start]);
        for (number, layout) in form.triples.iter().enumerate() {
            if number > 0 {
                draft.push_visible(&self.triple_separator);
            }
            self.push_triple(&mut draft, triple, pair, layout)?;
        }
        draft.push_visible(&[self.specials.end]);
        if draft.input_ids.len() > self.config.max_length {
            return Err(DropReport { sequence_too_long: 1, ..DropReport::default() });
        }
        Ok(Sequence {
            fact,
            kind: form.kind,
            languages: (form.sides.0.of_pair(pair), form.sides.1.of_pair(pair)),
            input_ids: draft.input_ids,
            labels: draft.labels,
            entities: draft.entities,
        })
    }

    /// Appends head, relation and tail of a triple, with separators.
    fn push_triple(
        &self,
        draft: &mut Draft,
        [head, relation, tail]: [u32; 3],
        pair: (Language, Language),
        layout: &TripleLayout,
    ) -> Result<(), DropReport> {
        let elements = [
            (head, layout.head, Some(Role::Head)),
            (relation, layout.relation, None),
            (tail, layout.tail, Some(Role::Tail)),
        ];
        for (index, (id, side, role)) in elements.into_iter().enumerate() {
            if index > 0 {
                draft.push_visible(&self.element_separator);
            }
            let language = side.of_pair(pair);
            let pieces = self
                .pieces
                .get(id, language)
                .ok_or(DropReport { missing_label: 1, ..DropReport::default() })?;
            let masked_role = role.filter(|role| *role == layout.masked);
            if !pieces.is_valid || (masked_role.is_some() && !pieces.is_predictable) {
                return Err(DropReport { unusable_label: 1, ..DropReport::default() });
            }
            match masked_role {
                Some(role) => {
                    draft.push_masked(pieces, self.n_masks(pieces)?, role, language, &self.specials)
                }
                None => draft.push_visible(&pieces.ids),
            }
        }
        Ok(())
    }

    /// Returns the number of `<mask>` tokens for an entity, or an error if the entity has more
    /// sub-tokens.
    fn n_masks(&self, pieces: &Pieces) -> Result<usize, DropReport> {
        let masks = match self.config.masking {
            Masking::GoldLength => pieces.ids.len(),
            Masking::Single => 1,
            Masking::FixedLength { masks } => masks,
        };
        if pieces.ids.len() > masks {
            return Err(DropReport { entity_too_long: 1, ..DropReport::default() });
        }
        Ok(masks)
    }
}

/// A partial sequence; `input_ids` and `labels` have equal lengths.
#[derive(Default)]
struct Draft {
    input_ids: Vec<u32>,
    labels: Vec<i64>,
    entities: Vec<MaskedEntity>,
}

impl Draft {
    /// Appends tokens that are excluded from the loss.
    fn push_visible(&mut self, ids: &[u32]) {
        self.input_ids.extend_from_slice(ids);
        self.labels.resize(self.input_ids.len(), IGNORE_INDEX);
    }

    /// Appends `masks` mask tokens. Their targets are the tokens of the entity, followed by the
    /// padding token if there are more masks than tokens.
    fn push_masked(
        &mut self,
        entity: &Pieces,
        masks: usize,
        role: Role,
        language: Language,
        specials: &Specials,
    ) {
        let start = self.input_ids.len();
        let end = start + masks;
        self.input_ids.resize(end, specials.mask);
        self.labels.extend(entity.ids.iter().map(|id| i64::from(*id)));
        self.labels.resize(end, i64::from(specials.pad));
        self.entities.push(MaskedEntity { start, end, pieces: entity.ids.len(), role, language });
    }
}

/// Drops sequences from the end of the shuffled list so that the kinds have the proportions of
/// `weights`. The function drops as few sequences as possible.
fn apply_mix_weights(
    order: &mut Vec<SequenceIndex>,
    forms: &[Form],
    weights: [f64; 3],
    config: &SequenceConfig,
) -> Result<(), Error> {
    let weighted_kinds = || {
        let kinds = SequenceKind::ALL.into_iter().zip(weights);
        kinds.filter(|(kind, _)| config.kinds.contains(kind))
    };
    let kind_of = |index: &SequenceIndex| forms[usize::from(index.form)].kind;
    let count = |kind| order.iter().filter(|index| kind_of(index) == kind).count();
    let mut scale = f64::INFINITY;
    for (kind, weight) in weighted_kinds().filter(|(_, weight)| *weight > 0.0) {
        let available = count(kind);
        if available == 0 {
            return Err(Error::Empty {
                what: format!("{} sequences, which mix_weights require", kind.name()),
                hint: "set the weight of this kind to 0 or check why all were dropped".into(),
            });
        }
        scale = scale.min(available as f64 / weight);
    }
    let mut remaining: BTreeMap<SequenceKind, f64> =
        weighted_kinds().map(|(kind, weight)| (kind, (scale * weight + 1e-6).floor())).collect();
    order.retain(|index| {
        let remaining = remaining.get_mut(&kind_of(index)).expect("a kind of the config");
        let is_kept = *remaining >= 1.0;
        if is_kept {
            *remaining -= 1.0;
        }
        is_kept
    });
    Ok(())
}
