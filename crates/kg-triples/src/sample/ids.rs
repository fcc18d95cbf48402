//! Compact maps with ids as keys, and redirects. Ids such as `Q64` are stored as numbers, because
//! most ids have this form.
use std::borrow::Cow;
use std::collections::HashMap;

/// Number of elements per page.
const PAGE_ELEMENTS: u64 = 1 << 16;

/// Returns the number of an id such as `Q64` if the number is below 2^32.
fn id_number(id: &str, letter: u8) -> Option<u64> {
    let (first, digits) = id.as_bytes().split_first()?;
    let (first_digit, other_digits) = digits.split_first()?;
    let has_valid_form = *first == letter && (1..=10).contains(&digits.len());
    if !has_valid_form || (*first_digit == b'0' && !other_digits.is_empty()) {
        return None;
    }
    let number = digits.iter().try_fold(0, |number: u64, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    });
    number.filter(|number| *number < 1 << 32)
}

/// A sparse array of small integers; unset elements are 0.
#[derive(Clone, Debug)]
struct SparseArray {
    /// Bits per element, a power of two up to 64.
    width: u64,
    pages: Vec<Option<Box<[u64]>>>,
}

impl SparseArray {
    /// Returns the page, word and bit offset of an element.
    fn locate(&self, position: u64) -> (usize, usize, u64) {
        let bit = position % PAGE_ELEMENTS * self.width;
        // Positions are below 2^32.
        ((position / PAGE_ELEMENTS) as usize, (bit / 64) as usize, bit % 64)
    }

    fn get(&self, position: u64) -> u64 {
        let (page, word, shift) = self.locate(position);
        // Elements of pages that do not exist are unset.
        let page = self.pages.get(page).and_then(Option::as_ref);
        let word = page.map_or(0, |page| page[word]);
        word >> shift & (u64::MAX >> (64 - self.width))
    }

    /// Sets the bits of `value` in an element by a bitwise OR.
    fn set_bits(&mut self, position: u64, value: u64) {
        let (page, word, shift) = self.locate(position);
        if self.pages.len() <= page {
            self.pages.resize(page + 1, None);
        }
        let words = (PAGE_ELEMENTS * self.width / 64) as usize;
        let page = self.pages[page].get_or_insert_with(|| vec![0; words].into());
        page[word] |= value << shift;
    }
}

/// A map from ids to small integers; unset ids have the value 0.
#[derive(Clone, Debug)]
pub(super) struct IdMap {
    items: SparseArray,
    properties: SparseArray,
    other_ids: HashMap<Box<str>, u64>,
}

impl IdMap {
    /// Creates a map whose values have at most `bits` bits, from 1 to 64.
    pub(super) fn new(bits: usize) -> Self {
        let width = bits.clamp(1, 64).next_power_of_two() as u64;
        let pages = SparseArray { width, pages: Vec::new() };
        Self { items: pages.clone(), properties: pages, other_ids: HashMap::new() }
    }

    pub(super) fn get(&self, id: &str) -> u64 {
        match (id_number(id, b'Q'), id_number(id, b'P')) {
            (Some(item), _) => self.items.get(item),
            (_, Some(property)) => self.properties.get(property),
            _ => self.other_ids.get(id).copied().unwrap_or(0), // unset
        }
    }

    /// Sets bits of an id.
    pub(super) fn set_bits(&mut self, id: &str, bits: u64) {
        match (id_number(id, b'Q'), id_number(id, b'P')) {
            (Some(item), _) => self.items.set_bits(item, bits),
            (_, Some(property)) => self.properties.set_bits(property, bits),
            _ => *self.other_ids.entry(id.into()).or_default() |= bits,
        }
    }
}

/// Redirected ids and their targets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redirects {
    items: HashMap<u64, u64>,
    other_ids: HashMap<Box<str>, Box<str>>,
}

impl Redirects {
    /// Adds a redirect, which replaces an earlier redirect of `id`.
    pub(crate) fn add(&mut self, id: &str, target: &str) {
        match (id_number(id, b'Q'), id_number(target, b'Q')) {
            (Some(from), Some(to)) => {
                self.other_ids.remove(id);
                self.items.insert(from, to);
            }
            (from, _) => {
                if let Some(from) = from {
                    self.items.remove(&from);
                }
                self.other_ids.insert(id.into(), target.into());
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.other_ids.is_empty()
    }

    fn target_of(&self, id: &str) -> Option<String> {
        let item = id_number(id, b'Q').and_then(|item| self.items.get(&item));
        let other_target = || self.other_ids.get(id).map(|target| target.clone().into_string());
        item.map(|target| format!("Q{target}")).or_else(other_target)
    }

    /// Returns the target at the end of the chain of redirects, or `id` if the chain is a cycle.
    pub(crate) fn resolve<'a>(&self, id: &'a str) -> Cow<'a, str> {
        let Some(mut current) = self.target_of(id) else { return Cow::Borrowed(id) };
        // Brent's cycle detection: `checkpoint` is compared with the following ids, and is replaced
        // by the current id after 1, 2, 4, … further steps.
        let (mut checkpoint, mut steps, mut power) = (id.to_owned(), 0_u64, 1);
        loop {
            if current == checkpoint {
                return Cow::Borrowed(id);
            }
            steps += 1;
            if steps == power {
                (checkpoint, steps, power) = (current.clone(), 0, power * 2);
            }
            match self.target_of(&current) {
                Some(next) => current = next,
                None => return Cow::Owned(current),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_stored_for_ids_of_any_form() {
        let ids = ["Q0", "Q1", "Q65535", "Q65536", "Q4294967295", "Q4294967296", "P1", "Q01", "x"];
        for bits in [1, 3, 7, 64] {
            let mut map = IdMap::new(bits);
            let value_mask = u64::MAX >> (64 - bits);
            let value =
                |at: usize| ((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 3) & value_mask | 1;
            for (at, id) in ids.iter().enumerate() {
                assert_eq!(map.get(id), 0);
                map.set_bits(id, value(at));
            }
            for (at, id) in ids.iter().enumerate() {
                assert_eq!(map.get(id), value(at), "{id}");
            }
        }
    }

    #[test]
    fn chains_of_redirects_are_followed_and_cycles_ignored() {
        let mut redirects = Redirects::default();
        let chain = (0..100).map(|at| (format!("Q{at}"), format!("Q{}", at + 1)));
        chain.for_each(|(from, to)| redirects.add(&from, &to));
        assert_eq!(redirects.resolve("Q0"), "Q100");
        redirects.add("Q100", "x");
        redirects.add("x", "Q01");
        assert_eq!((redirects.resolve("Q5"), redirects.resolve("y")), ("Q01".into(), "y".into()));
        redirects.add("Q100", "Q7");
        assert_eq!((redirects.resolve("Q3"), redirects.resolve("Q9")), ("Q3".into(), "Q9".into()));
    }
}
