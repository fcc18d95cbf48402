//! The day on which a file was last changed.
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// The latest modification day of the files, as `2026-11-20` in UTC; `None` if the file system
/// provides none.
pub(crate) fn newest<'a>(files: impl Iterator<Item = &'a Path>) -> Option<String> {
    let changed = |path: &Path| {
        let time = std::fs::metadata(path).and_then(|about| about.modified()).ok()?;
        time.duration_since(UNIX_EPOCH).ok()
    };
    files.filter_map(changed).max().map(day)
}

/// Converts a duration since 1970 into a date. Years are counted from March, so a leap day is the
/// last day of its year; 400 years have 146,097 days (Howard Hinnant, "chrono-Compatible Low-Level
/// Date Algorithms").
fn day(since: Duration) -> String {
    let days = since.as_secs() / 86_400 + 719_468;
    let of_era = days % 146_097;
    let of_leap_days = of_era / 1460 + of_era / 146_096 - of_era / 36_524;
    let year = (of_era - of_leap_days) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = 400 * (days / 146_097) + year + month / 10;
    format!("{year:04}-{:02}-{day:02}", (month + 2) % 12 + 1)
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
