//! SVG figures, for pages and as files.
use std::fmt::Write;

use crate::text::escape;

/// Colours that are distinguishable with any colour vision (Okabe and Ito 2008), in mid tones that
/// are visible on white and on black. Runs also differ in the shape of their marks.
const COLOURS: [&str; 7] =
    ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c"];

/// Returns the colour of a run.
pub(crate) fn colour(run: usize) -> &'static str {
    COLOURS[run % COLOURS.len()]
}

/// Alignment of a text at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// Style of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub size: f64,
    pub bold: bool,
    /// Whether the text has the muted colour of titles and axes.
    pub muted: bool,
    pub anchor: Anchor,
}

impl Style {
    pub const fn of(size: f64, anchor: Anchor) -> Self {
        Self { size, bold: false, muted: false, anchor }
    }

    pub const fn muted(self) -> Self {
        Self { muted: true, ..self }
    }

    pub const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }
}

/// A figure. Lines and text have the colour `currentColor`, so that the figure is readable on light
/// and dark pages.
#[derive(Clone, Debug)]
pub(crate) struct Svg {
    /// Part of the file name; unique in a report.
    pub name: String,
    title: String,
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    /// Creates a figure with its title.
    pub fn new(name: impl Into<String>, title: impl Into<String>, width: f64, height: f64) -> Self {
        let (name, title, body) = (name.into(), title.into(), String::new());
        let mut svg = Self { name, title, width, height, body };
        let title_text = clip(&svg.title, 15.0, width - 16.0);
        svg.text(8.0, 22.0, Style::of(15.0, Anchor::Start).bold(), &title_text);
        svg
    }

    pub fn text(&mut self, x: f64, y: f64, style: Style, text: &str) {
        let Style { size, bold, muted, anchor } = style;
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let weight = if bold { " font-weight=\"600\"" } else { "" };
        let muted = if muted { " fill-opacity=\".68\"" } else { "" };
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\"{anchor}{weight}{muted} \
             unicode-bidi=\"isolate\">{}</text>",
            escape(text)
        );
    }

    /// Draws a filled rectangle with the tooltip `tip`.
    pub fn rect(&mut self, [x, y, width, height]: [f64; 4], fill: &str, opacity: f64, tip: &str) {
        let _ = write!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"3\" \
             fill=\"{fill}\" fill-opacity=\"{opacity:.3}\""
        );
        let _ = match tip.is_empty() {
            true => writeln!(self.body, "/>"),
            false => writeln!(self.body, "><title>{}</title></rect>", escape(tip)),
        };
    }

    /// Draws the outline of a rectangle.
    pub fn frame(&mut self, [x, y, width, height]: [f64; 4], dashed: bool) {
        let dashes = if dashed { " stroke-dasharray=\"3 3\" stroke-opacity=\".4\"" } else { "" };
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"3\" \
             fill=\"none\" stroke=\"currentColor\" stroke-opacity=\".55\"{dashes}/>"
        );
    }

    pub fn line(
        &mut self,
        from: (f64, f64),
        to: (f64, f64),
        stroke: &str,
        width: f64,
        opacity: f64,
    ) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{stroke}\" \
             stroke-width=\"{width}\" stroke-opacity=\"{opacity}\"/>"
        );
    }

    /// Draws a tick of a value axis: a faint line with a label at its left end.
    pub fn tick_line(&mut self, (x, y): (f64, f64), width: f64, tick: f64) {
        self.line((x, y), (x + width, y), "currentColor", 1.0, 0.15);
        self.text(x - 6.0, y + 4.0, Style::of(12.0, Anchor::End).muted(), &label(tick));
    }

    /// Draws a line through points.
    pub fn path(&mut self, points: &[(f64, f64)], stroke: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            self.body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
    }

    /// Draws the mark of a run. Its shape depends on the run; a hollow mark is an outline.
    pub fn mark(&mut self, (x, y): (f64, f64), run: usize, hollow: bool, tip: &str) {
        let colour = colour(run);
        let (fill, r) = (if hollow { "none" } else { colour }, 4.5);
        let shape = match run % 4 {
            0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r}\""),
            1 => {
                format!("<rect x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\"", x - 4.0, y - 4.0)
            }
            2 => format!("<path d=\"M{x:.1} {:.1}l5 9h-10z\"", y - 5.5),
            _ => format!("<path d=\"M{x:.1} {:.1}l5.5 5.5l-5.5 5.5l-5.5 -5.5z\"", y - 5.5),
        };
        let _ = writeln!(
            self.body,
            "<g>{shape} fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"1.5\"/><title>{}</title></g>",
            escape(tip)
        );
    }

    /// Draws a legend with the runs' marks and names. It starts at (x, y) and wraps at the figure's
    /// width.
    pub fn legend<'a>(
        &mut self,
        (x, y): (f64, f64),
        names: impl IntoIterator<Item = (usize, &'a str)>,
    ) {
        let (mut at, mut line) = (x, y);
        for (run, name) in names {
            let width = 26.0 + text_width(name, 12.0);
            if at > x && at + width > self.width {
                (at, line) = (x, line + 18.0);
            }
            self.mark((at + 5.0, line - 4.0), run, false, name);
            self.text(at + 15.0, line, Style::of(12.0, Anchor::Start), name);
            at += width;
        }
    }

    /// Returns the figure as an SVG element for a page.
    pub fn inline(&self) -> String {
        self.element("")
    }

    /// Returns the figure as an SVG file with dark lines on white.
    pub fn file(&self) -> String {
        let background = format!(
            "<rect width=\"{:.0}\" height=\"{:.0}\" fill=\"#fff\"/>\n",
            self.width, self.height
        );
        self.element(&background).replacen("<svg ", "<svg color=\"#1b1f24\" ", 1)
    }

    fn element(&self, background: &str) -> String {
        let (title, width, height) = (escape(&self.title), self.width, self.height);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{title}\" \
             data-name=\"{}\" fill=\"currentColor\" font-family=\"system-ui, 'Noto Sans', \
             sans-serif\">\n<title>{title}</title>\n{background}{}</svg>\n",
            escape(&self.name),
            self.body
        )
    }
}

/// Estimates the width of a text in pixels without font metrics.
pub(crate) fn text_width(text: &str, size: f64) -> f64 {
    let char_width = |c: char| if u32::from(c) >= 0x1100 { 1.0 } else { 0.58 };
    crate::text::make_visible(text).chars().map(char_width).sum::<f64>() * size
}

/// Truncates a text to about `width` pixels, with an ellipsis if it is too long.
pub(crate) fn clip(text: &str, size: f64, width: f64) -> String {
    let text = crate::text::make_visible(text);
    if text_width(&text, size) <= width {
        return text;
    }
    let mut out = String::new();
    for c in text.chars() {
        if text_width(&out, size) + 2.0 * size > width {
            break;
        }
        out.push(c);
    }
    out + "…"
}

/// Returns about four round tick values that cover the range from `low` to `high`.
pub(crate) fn ticks(low: f64, high: f64) -> Vec<f64> {
    let high = if high > low { high } else { low + 1.0 };
    let raw = (high - low) / 4.0;
    let power = 10f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|factor| factor * power);
    let step = steps.into_iter().find(|&step| step >= raw).unwrap_or(10.0 * power);
    let first = (low / step).floor();
    let mut ticks = Vec::new();
    for at in 0..12 {
        let tick = (first + f64::from(at)) * step;
        ticks.push(tick);
        if tick >= high {
            break;
        }
    }
    ticks
}

/// Returns the relative position of a value between the first tick (0) and the last tick (1).
pub(crate) fn relative_position(ticks: &[f64], value: f64) -> f64 {
    let (first, last) = (ticks[0], ticks[ticks.len() - 1]);
    (value - first) / (last - first)
}

/// Formats a tick's label.
pub(crate) fn label(tick: f64) -> String {
    let text = format!("{tick:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.replace('-', "−") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_all_values() {
        assert_eq!(ticks(0.0, 100.0), [0.0, 50.0, 100.0]);
        assert_eq!(ticks(-3.0, 18.0), [-10.0, 0.0, 10.0, 20.0]);
        assert_eq!(ticks(5.0, 5.0), [5.0, 5.5, 6.0]);
        assert_eq!([0.0, -0.001, 2.5, -10.0].map(label), ["0", "0", "2.5", "−10"]);
    }

    #[test]
    fn figures_are_complete_files_with_escaped_text() {
        let mut svg = Svg::new("a", "</title><script>", 100.0, 50.0);
        svg.text(1.0, 2.0, Style::of(12.0, Anchor::End).bold(), "<b>");
        svg.mark((1.0, 2.0), 5, true, "\"");
        assert!(!svg.file().contains("<script") && !svg.file().contains("<b>"));
        assert!(svg.file().contains("fill=\"#fff\"") && !svg.inline().contains("fill=\"#fff\""));
        assert_eq!(clip("a long name of a run", 10.0, 60.0), "a long …");
    }
}
