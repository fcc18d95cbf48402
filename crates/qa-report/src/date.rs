//! The day on which a file was last changed.
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// The newest day of these files, as `2026-11-20` in UTC; `None` where the file system knows none.
pub(crate) fn newest<'a>(files: impl Iterator<Item = &'a Path>) -> Option<String> {
    let changed = |path: &Path| {
        let time = std::fs::metadata(path).and_then(|about| about.modified()).ok()?;
        time.duration_since(UNIX_EPOCH).ok()
    };
    files.filter_map(changed).max().map(day)
}

/// The day that `since` 1970 leads to, by the rule of leap years.
fn day(since: Duration) -> String {
    let mut days = since.as_secs() / 86_400;
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        // date -u -d @SECONDS +%F
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_709_251_199, "2024-02-29"),
            (1_709_251_200, "2024-03-01"),
            (1_798_761_599, "2026-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(Duration::from_secs(seconds)), expected);
        }
    }
}
