//! A matrix as a self-contained HTML page.
use super::markdown::averages;
use crate::{Average, Language, Matrix, Metric, Spread};

const STYLE: &str = include_str!("matrix.css");

impl Matrix {
    /// Returns an HTML page with heat maps of F1 and EM and the averages below.
    ///
    /// Details appear on hover. Colours range from the lowest to the highest score shown.
    pub fn to_html(&self) -> String {
        let row = |(name, average): (&str, Option<Average>)| {
            let Average { f1, em, cells } = average?;
            let numbers = format!("<td>{cells}</td><td>{f1:.2}</td><td>{em:.2}</td>");
            Some(format!("<tr><th scope=\"row\">{name}</th>{numbers}</tr>\n"))
        };
        format!(
            include_str!("matrix.html"),
            title = escape(if self.title.is_empty() { "G-XLT" } else { &self.title }),
            style = STYLE.replace('\n', ""),
            maps = Metric::ALL.map(|metric| self.heat_map(metric)).concat(),
            averages = averages(self).into_iter().filter_map(row).collect::<String>()
        )
    }

    fn heat_map(&self, metric: Metric) -> String {
        let name = metric.name();
        let scores = || self.cells().map(|(_, _, cell)| metric.of(cell).mean);
        let low = scores().fold(f64::INFINITY, f64::min);
        let high = scores().fold(f64::NEG_INFINITY, f64::max);
        let range = match low <= high {
            true => format!(" in percent, from {low:.2} (pale) to {high:.2} (strong)"),
            false => String::new(),
        };
        let head = |scope: &str, language: &Language| {
            let abbr = format!("<abbr title=\"{}\">{language}</abbr>", language.name());
            format!("<th scope=\"{scope}\">{abbr}</th>")
        };
        let questions = self.questions();
        let row = |context: &Language| {
            let cell = |question: &Language| self.heat_cell(metric, *context, *question, low, high);
            let cells: String = questions.iter().map(cell).collect();
            format!("<tr>{}{cells}</tr>\n", head("row", context))
        };
        let columns: String = questions.iter().map(|question| head("col", question)).collect();
        let rows: String = self.contexts().iter().map(row).collect();
        format!(
            "<h2>{name}</h2>\n<div class=\"wide\"><table>\n<caption>{name}{range}</caption>\n\
             <thead><tr><th scope=\"col\">context \\ question</th>{columns}</tr></thead>\n\
             <tbody>\n{rows}</tbody>\n</table></div>\n"
        )
    }

    fn heat_cell(
        &self,
        metric: Metric,
        context: Language,
        question: Language,
        low: f64,
        high: f64,
    ) -> String {
        let pair = format!("{} context, {} question", context.name(), question.name());
        let Some(cell) = self.get(context, question) else {
            return format!("<td class=\"none\" title=\"{pair}: no data\">–</td>");
        };
        let Spread { mean: score, half_width } = metric.of(cell);
        // At most 0.5, so that the text stays readable in both colour schemes.
        let heat = if high > low { 0.04 + 0.46 * (score - low) / (high - low) } else { 0.25 };
        let class = if context == question { " class=\"same\"" } else { "" };
        let spread =
            half_width.map(|half| format!("<small>± {half:.2}</small>")).unwrap_or_default();
        let [f1, em] = Metric::ALL.map(|metric| metric.of(cell).text(2));
        let about = format!("{pair}: F1 {f1}, EM {em}, {} questions", cell.questions);
        format!(
            "<td{class} data-score=\"{score}\" style=\"--heat:{heat:.3}\" title=\"{about}\">\
             {score:.2}{spread}</td>"
        )
    }
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('"', "&quot;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}
