//! Layouts of sequences: the order of triples, the languages of their elements, and the masked
//! entities.
use super::{Directions, MixedTarget, Role, SequenceConfig, SequenceKind};

/// One of the two languages of a pair (i, j).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    I,
    J,
}

impl Side {
    pub(super) fn of_pair<T: Copy>(self, pair: (T, T)) -> T {
        match self {
            Self::I => pair.0,
            Self::J => pair.1,
        }
    }
}

/// A triple inside a sequence: the language of each element, and the masked entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TripleLayout {
    pub(super) head: Side,
    pub(super) relation: Side,
    pub(super) tail: Side,
    pub(super) masked: Role,
}

/// The kind, languages and masked entities of a sequence. One sequence of each form is built per
/// triple and language pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) kind: SequenceKind,
    pub(super) sides: (Side, Side),
    pub(super) triples: Vec<TripleLayout>,
}

/// Returns all forms of the configuration, grouped by kind.
pub(super) fn sequence_forms(config: &SequenceConfig) -> Vec<Form> {
    use Side::{I, J};
    let directions = |option: Directions| match option {
        Directions::Forward => vec![(I, J)],
        Directions::Both => vec![(I, J), (J, I)],
    };
    let mut forms = Vec::new();
    if config.kinds.contains(&SequenceKind::Monolingual) {
        for side in [I, J] {
            for masked in [Role::Tail, Role::Head] {
                let triples = vec![monolingual_triple(side, masked)];
                forms.push(Form { kind: SequenceKind::Monolingual, sides: (side, side), triples });
            }
        }
    }
    if config.kinds.contains(&SequenceKind::Mixed) {
        for (main, other) in directions(config.mixed_directions) {
            let foreign_head = (other, main);
            let foreign_tail = (main, other);
            let foreign = [(foreign_head, Role::Head), (foreign_tail, Role::Tail)];
            let native = [(foreign_head, Role::Tail), (foreign_tail, Role::Head)];
            let targets: &[_] = match config.mixed_target {
                MixedTarget::ForeignEntity => &[foreign],
                MixedTarget::NativeEntity => &[native],
                MixedTarget::Both => &[foreign, native],
            };
            for ((head, tail), masked) in targets.iter().flatten().copied() {
                let triples = vec![TripleLayout { head, relation: main, tail, masked }];
                forms.push(Form { kind: SequenceKind::Mixed, sides: (main, other), triples });
            }
        }
    }
    if config.kinds.contains(&SequenceKind::Concatenated) {
        for (first, second) in directions(config.concatenated_orders) {
            for masked in [Role::Head, Role::Tail] {
                let triples =
                    vec![monolingual_triple(first, masked), monolingual_triple(second, masked)];
                let kind = SequenceKind::Concatenated;
                forms.push(Form { kind, sides: (first, second), triples });
            }
        }
    }
    forms
}

fn monolingual_triple(side: Side, masked: Role) -> TripleLayout {
    TripleLayout { head: side, relation: side, tail: side, masked }
}
