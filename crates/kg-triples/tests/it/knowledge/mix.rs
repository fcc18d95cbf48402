use kg_triples::Error;
use kg_triples::knowledge::LanguageMix;

type Item = (&'static str, u64, usize);

/// Returns a function that opens a source of `length` items. An item consists of the name of the
/// source, the epoch and the index of the item.
fn source(
    name: &'static str,
    length: usize,
) -> impl FnMut(u64) -> Result<Box<dyn Iterator<Item = Result<Item, Error>>>, Error> {
    move |epoch| {
        let items = (0..length).map(move |at| Ok((name, epoch, at)));
        Ok(Box::new(items) as Box<dyn Iterator<Item = Result<Item, Error>>>)
    }
}

fn draw_items(sizes: [usize; 2], smoothing: f64, seed: u64, count: usize) -> Vec<Item> {
    let sources =
        sizes.into_iter().zip(["en", "sw"]).map(|(size, name)| (size, source(name, size)));
    let mix = LanguageMix::new(sources.collect::<Vec<_>>(), smoothing, seed).unwrap();
    mix.take(count).collect::<Result<_, _>>().unwrap()
}

#[test]
fn shares_follow_the_smoothed_sizes() {
    // The expected share of a language of size 100 if the other language has size 10,000 is 100 /
    // 10,100 for α = 1, 10 / 110 for α = 0.5, 3.98 / 19.83 for α = 0.3, and one half for α = 0.
    for (smoothing, share) in [(1.0, 0.0099), (0.5, 0.0909), (0.3, 0.2008), (0.0, 0.5)] {
        let items = draw_items([10_000, 100], smoothing, 7, 20_000);
        let n_rare = items.iter().filter(|(name, ..)| *name == "sw").count();
        assert!((n_rare as f64 / 2e4 - share).abs() < 0.012, "{smoothing}: {n_rare} of 20000");
    }
}

#[test]
fn an_exhausted_language_is_opened_again() {
    let items = draw_items([50, 7], 0.3, 1, 300);
    for (name, size) in [("en", 50), ("sw", 7)] {
        let language_items: Vec<_> = items.iter().filter(|item| item.0 == name).collect();
        for (number, (_, epoch, at)) in language_items.iter().enumerate() {
            assert_eq!((*epoch as usize, *at), (number / size, number % size));
        }
    }
    assert_eq!(items, draw_items([50, 7], 0.3, 1, 300));
    assert_eq!(items[..40], draw_items([50, 7], 0.3, 1, 40));
    assert_ne!(items, draw_items([50, 7], 0.3, 2, 300));
}

#[test]
fn an_error_and_an_empty_language_end_the_iteration() {
    let open = |_: u64| {
        let items = [Ok(1), Err(Error::Tokenizer("no".into())), Ok(2)];
        Ok(items.into_iter())
    };
    let mut mix = LanguageMix::new([(3, open)], 0.3, 1).unwrap();
    assert!(matches!(mix.next(), Some(Ok(1))));
    assert!(matches!(mix.next(), Some(Err(_))) && mix.next().is_none());

    let fail_to_open =
        |_: u64| Err::<std::vec::IntoIter<Result<u8, Error>>, _>(Error::Tokenizer("no".into()));
    let mut mix = LanguageMix::new([(3, fail_to_open)], 0.3, 1).unwrap();
    assert!(matches!(mix.next(), Some(Err(_))) && mix.next().is_none());

    // The declared size of the source is three, but it contains no items.
    let mut mix = LanguageMix::new([(3, source("en", 0))], 0.3, 1).unwrap();
    assert!(mix.next().is_none() && mix.next().is_none());
}

#[test]
fn invalid_sizes_and_smoothing_are_reported() {
    let error_of = |sizes: Vec<usize>, smoothing| {
        let sources: Vec<_> = sizes.into_iter().map(|size| (size, source("en", size))).collect();
        LanguageMix::new(sources, smoothing, 1).err().unwrap().to_string()
    };
    assert!(error_of(vec![], 0.3).starts_with("sizes = []"));
    assert!(error_of(vec![3, 0], 0.3).starts_with("sizes = [3, 0]"));
    for smoothing in [-0.1, 1.1, f64::NAN] {
        assert!(error_of(vec![3], smoothing).starts_with("smoothing = "));
    }
}
