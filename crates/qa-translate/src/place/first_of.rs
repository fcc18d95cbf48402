//! Several ways, each for what those before it did not find.
use crate::{Error, PlaceFault, PlaceSpans, Placed, SpanTask};

/// The first way that finds a span. A span that none finds has the last one's fault.
#[derive(Default)]
pub struct FirstOf<'a> {
    /// In order.
    pub ways: Vec<Box<dyn PlaceSpans + 'a>>,
}

impl std::fmt::Debug for FirstOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ways.iter().map(|way| way.name())).finish()
    }
}

impl PlaceSpans for FirstOf<'_> {
    fn name(&self) -> &'static str {
        "first of"
    }

    fn place(&mut self, tasks: &[SpanTask]) -> Result<Vec<Result<Placed, PlaceFault>>, Error> {
        let mut all: Vec<Result<Placed, PlaceFault>> =
            tasks.iter().map(|_| Err(PlaceFault::NoCandidate)).collect();
        for way in &mut self.ways {
            let left: Vec<usize> =
                (0..).zip(&all).filter(|(_, one)| one.is_err()).map(|(k, _)| k).collect();
            let wanted: Vec<SpanTask> =
                left.iter().filter_map(|&k| tasks.get(k).cloned()).collect();
            for (k, result) in left.into_iter().zip(way.place(&wanted)?) {
                if let Some(place) = all.get_mut(k) {
                    *place = result;
                }
            }
        }
        Ok(all)
    }
}
