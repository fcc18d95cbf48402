//! A forest plot of claims: the effect of each claim with its intervals.
use std::fmt::Write;

use super::NOT_RUN;
use super::comparison::{EffectRange, Verdict};

/// One claim of the plot.
pub(super) struct Row<'a> {
    pub paper: &'a str,
    pub claim: &'a str,
    pub encoder: &'a str,
    /// `None` if the claim's run is not stored.
    pub effect: Option<EffectRange>,
    pub verdict: Option<Verdict>,
}

const WIDTH: f64 = 940.0;
/// Left end of the value axis, and its length.
const AXIS: (f64, f64) = (520.0, 400.0);
const TOP: f64 = 56.0;
const LINE: f64 = 20.0;
/// Maximum number of characters of a claim.
const MAX_CLAIM: usize = 66;
/// Difference of two ticks of the axis, in points of the metric.
const TICK: f64 = 10.0;

/// Returns the colour of a verdict, in tones that are visible on white and on black and with any
/// colour vision (Okabe and Ito 2008).
fn colour(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Shown) => "#009e73",
        Some(Verdict::Contradicted) => "#d55e00",
        _ => "#8c8c8c",
    }
}

/// Returns whether there is no verdict, so that the mark is an outline.
fn is_undecided(verdict: Option<Verdict>) -> bool {
    !matches!(verdict, Some(Verdict::Shown | Verdict::Contradicted | Verdict::NotShown))
}

/// Draws the rows as SVG, with a heading for each paper.
pub(super) fn draw(title: &str, rows: &[Row<'_>]) -> String {
    let papers = rows.chunk_by(|one, next| one.paper == next.paper).count();
    let height = TOP + LINE * (rows.len() + papers) as f64 + 34.0;
    let effects = rows.iter().filter_map(|row| row.effect);
    let ends: Vec<f64> = effects
        .flat_map(|EffectRange { mean, range }| {
            let (low, high) = range.unwrap_or((mean, mean));
            [mean, low, high]
        })
        .collect();
    let low = (ends.iter().copied().fold(0.0, f64::min) / TICK).floor() * TICK;
    let high = (ends.iter().copied().fold(0.0, f64::max) / TICK).ceil() * TICK;
    let x = |value: f64| AXIS.0 + AXIS.1 * (value - low) / (high - low).max(TICK);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"12\" \
         fill=\"#767676\" role=\"img\">\n<title>{}</title>\n",
        escape(title)
    );
    let text = |svg: &mut String, x: f64, y: f64, attributes: &str, text: &str| {
        let _ =
            writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\"{attributes}>{}</text>", escape(text));
    };
    text(&mut svg, 8.0, 20.0, " font-size=\"15\" font-weight=\"600\"", title);
    text(&mut svg, AXIS.0, 38.0, "", "worse than the control ← 0 → better, points of the metric");
    let bottom = height - 28.0;
    let ticks = ((high - low) / TICK).round() as usize;
    for tick in (0..=ticks).map(|tick| low + tick as f64 * TICK) {
        let opacity = if tick == 0.0 { 0.9 } else { 0.2 };
        let at = x(tick);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{:.1}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\" stroke=\"#767676\" \
             stroke-opacity=\"{opacity}\"/>",
            TOP - 10.0
        );
        let label = format!("{tick:+.0}").replace('-', "−").replace("+0", "0");
        text(&mut svg, at, bottom + 16.0, " text-anchor=\"middle\"", &label);
    }
    let mut y = TOP;
    for paper in rows.chunk_by(|one, next| one.paper == next.paper) {
        text(&mut svg, 8.0, y + 4.0, " font-weight=\"600\"", paper[0].paper);
        y += LINE;
        for row in paper {
            let verdict = row.verdict.map_or(NOT_RUN, Verdict::name).trim_matches('*');
            let full = format!("{} ({}, {verdict})", row.claim, row.encoder);
            let _ = writeln!(svg, "<g><title>{}</title>", escape(&full));
            let encoder = row.encoder.rsplit('/').next().unwrap_or(row.encoder);
            let encoder = encoder.trim_start_matches("multilingual-");
            text(&mut svg, 16.0, y + 4.0, "", &format!("{} · {encoder}", clip(row.claim)));
            draw_effect(&mut svg, row, y, &x);
            svg += "</g>\n";
            y += LINE;
        }
    }
    svg + "</svg>\n"
}

/// Draws the interval and the mark of a row at height `y`; a row without numbers has a dash.
fn draw_effect(svg: &mut String, row: &Row<'_>, y: f64, x: &impl Fn(f64) -> f64) {
    let colour = colour(row.verdict);
    let Some(EffectRange { mean, range }) = row.effect else {
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\">–</text>", x(0.0) + 6.0, y + 4.0);
        return;
    };
    if let Some((low, high)) = range {
        let dashes = if is_undecided(row.verdict) { " stroke-dasharray=\"3 3\"" } else { "" };
        let _ = writeln!(
            svg,
            "<line x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\" \
             stroke-width=\"2\"{dashes}/>",
            x(low),
            x(high)
        );
    }
    let fill = if is_undecided(row.verdict) { "none" } else { colour };
    let _ = writeln!(
        svg,
        "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"{fill}\" stroke=\"{colour}\"/>",
        x(mean)
    );
}

/// Shortens a claim to the width of its column.
fn clip(claim: &str) -> String {
    if claim.chars().count() <= MAX_CLAIM {
        return claim.to_owned();
    }
    let words: String = claim.chars().take(MAX_CLAIM - 1).collect();
    let end = words.rfind(' ').unwrap_or(words.len());
    format!("{}…", words[..end].trim_end_matches([',', ' ']))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(
        claim: &str,
        effect: Option<(f64, Option<(f64, f64)>)>,
        verdict: Option<Verdict>,
    ) -> Row<'_> {
        let effect = effect.map(|(mean, range)| EffectRange { mean, range });
        Row { paper: "A & B", claim, encoder: "data/base", effect, verdict }
    }

    #[test]
    fn marks_show_verdicts_and_the_axis_contains_all_intervals() {
        let long =
            "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
        let rows = [
            row("better", Some((5.0, Some((1.0, 9.0)))), Some(Verdict::Shown)),
            row(long, Some((-12.0, None)), Some(Verdict::FewSeeds(1))),
            row("open", None, None),
        ];
        let svg = draw("Claims", &rows);
        // The axis is from −20 to 10, so 5 is at five sixths of its length.
        assert!(svg.contains("cx=\"853.3\"") && svg.contains(">−20</text>"), "{svg}");
        assert!(svg.contains("fill=\"#009e73\"") && svg.contains("fill=\"none\""), "{svg}");
        assert_eq!(svg.matches("A &amp; B").count(), 1);
        assert!(svg.contains("twelve… · base</text>"), "{svg}");
        assert!(svg.contains(&format!("{long} (data/base, one seed)")), "{svg}");
        assert!(svg.contains("open (data/base, not run)"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
    }
}
