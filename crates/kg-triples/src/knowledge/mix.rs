use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;

use crate::{Error, seed};

/// Samples items of several languages as XLM-R does: language l with probability n_l^α / Σ n^α.
///
/// Small languages are oversampled (Conneau et al. 2020, §3.1: α = 0.3, which XLM-K adopts).
///
/// The iterator is endless. The language of item i depends only on the seed and i. When a language
/// has no further items, it is opened again. An error ends the iteration.
///
/// ```
/// use kg_triples::Error;
/// use kg_triples::knowledge::LanguageMix;
///
/// let items = |name: &'static str| (0..10).map(move |at| Ok::<_, Error>((name, at)));
/// let open = |name: &'static str| move |_epoch: u64| Ok(items(name));
/// let mix = LanguageMix::new(vec![(10_000, open("en")), (100, open("sw"))], 0.3, 1)?;
/// let sw = mix.take(1_000).filter(|item| matches!(item, Ok(("sw", _)))).count();
/// assert!(sw > 150 && sw < 250); // 100^0.3 / (100^0.3 + 10000^0.3) = 0.2
/// # Ok::<(), kg_triples::Error>(())
/// ```
pub struct LanguageMix<F, I> {
    sources: Vec<Source<F, I>>,
    weights: WeightedIndex<f64>,
    seed: u64,
    count: u64,
    done: bool,
}

/// Number of times that a language without items is opened again before the iteration ends. A later
/// attempt can succeed, because items may be dropped at random.
const MAX_EMPTY_REOPENS: usize = 100;

struct Source<F, I> {
    open: F,
    epoch: u64,
    items: Option<I>,
}

impl<T, F, I> LanguageMix<F, I>
where
    F: FnMut(u64) -> Result<I, Error>,
    I: Iterator<Item = Result<T, Error>>,
{
    /// Creates an iterator from pairs, one per language: the size n, and a function that returns
    /// the items of the language. The argument of the function is the number of its earlier calls.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no language, a size is 0, or `smoothing` (α) is not from 0 to
    /// 1.
    pub fn new(
        languages: impl IntoIterator<Item = (usize, F)>,
        smoothing: f64,
        seed: u64,
    ) -> Result<Self, Error> {
        if !(0.0..=1.0).contains(&smoothing) {
            let (value, rule) = (smoothing.to_string(), "from 0 to 1");
            return Err(Error::Config { key: "smoothing", value, rule });
        }
        let (sizes, open): (Vec<usize>, Vec<F>) = languages.into_iter().unzip();
        let invalid = || Error::Config {
            key: "sizes",
            value: format!("{sizes:?}"),
            rule: "one language or more, none of them empty",
        };
        if sizes.contains(&0) {
            return Err(invalid());
        }
        let smoothed_sizes = sizes.iter().map(|size| (*size as f64).powf(smoothing));
        let weights = WeightedIndex::new(smoothed_sizes).map_err(|_| invalid())?;
        let sources = open.into_iter().map(|open| Source { open, epoch: 0, items: None });
        Ok(Self { sources: sources.collect(), weights, seed, count: 0, done: false })
    }
}

impl<T, F, I> Source<F, I>
where
    F: FnMut(u64) -> Result<I, Error>,
    I: Iterator<Item = Result<T, Error>>,
{
    /// Returns the next item. Returns `None` if there is no item after [`MAX_EMPTY_REOPENS`]
    /// further calls of `open`.
    fn next(&mut self) -> Option<Result<T, Error>> {
        for _ in 0..=MAX_EMPTY_REOPENS {
            if let Some(item) = self.items.as_mut().and_then(Iterator::next) {
                return Some(item);
            }
            match (self.open)(self.epoch) {
                Ok(items) => self.items = Some(items),
                Err(error) => return Some(Err(error)),
            }
            self.epoch += 1;
        }
        None
    }
}

impl<T, F, I> Iterator for LanguageMix<F, I>
where
    F: FnMut(u64) -> Result<I, Error>,
    I: Iterator<Item = Result<T, Error>>,
{
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let language = self.weights.sample(&mut seed::item_rng("language", self.seed, self.count));
        self.count += 1;
        let item = self.sources[language].next();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}
