//! A matrix as one HTML page that needs nothing else.
use std::fmt::Write;

use crate::report::averages;
use crate::{Language, Matrix, Metric, Spread};

const STYLE: &str = "\
:root{color-scheme:light dark;--ground:#fff;--ink:#1b1f24;--soft:#59636e;--line:#d1d9e0;\
--ramp:9 105 218}\
@media(prefers-color-scheme:dark){:root{--ground:#0d1117;--ink:#f0f6fc;--soft:#9198a1;\
--line:#3d444d;--ramp:56 139 253}}\
body{margin:2rem auto;max-width:62rem;padding:0 1rem;background:var(--ground);color:var(--ink);\
font:16px/1.5 system-ui,sans-serif}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}p{color:var(--soft);margin:.3rem 0}\
.wide{overflow-x:auto}\
table{border-collapse:separate;border-spacing:2px;font-variant-numeric:tabular-nums}\
caption{text-align:left;color:var(--soft);padding-bottom:.4rem}\
th,td{padding:.45rem .6rem;text-align:right;border-radius:4px;font-weight:400}\
th{color:var(--soft)}th[scope=row]{text-align:left}\
td[data-score]{background:rgb(var(--ramp)/var(--heat));min-width:4rem}\
td[data-score]:hover{outline:2px solid var(--ink)}\
td.same{font-weight:700;box-shadow:inset 0 0 0 1px var(--soft)}\
td.none{color:var(--soft);border:1px dashed var(--line)}\
small{display:block;font-size:.72em}\
.averages td{border-bottom:1px solid var(--line);border-radius:0}";

impl Matrix {
    /// A heat map for F1 and one for EM with the averages below: numbers in every cell, details on
    /// hover, readable in light and dark. Colour runs from the lowest to the highest score shown.
    pub fn to_html(&self) -> String {
        let title = escape(if self.title.is_empty() { "G-XLT" } else { &self.title });
        let mut out = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta \
             name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{title}\
             </title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>Row: language \
             of context and answer. Column: language of the question. Framed: both the \
             same.</p>\n"
        );
        for metric in Metric::ALL {
            self.heat_map(&mut out, metric);
        }
        out.push_str(
            "<h2>Averages</h2>\n<table class=\"averages\">\n<caption>Each cell counts \
             once.</caption>\n<thead><tr><th scope=\"col\">average</th><th \
             scope=\"col\">cells</th><th scope=\"col\">F1</th><th scope=\"col\">EM</th></tr>\
             </thead>\n<tbody>\n",
        );
        for (name, average) in averages(self) {
            if let Some(average) = average {
                let _ = writeln!(
                    out,
                    "<tr><th scope=\"row\">{name}</th><td>{}</td><td>{:.2}</td><td>{:.2}</td></tr>",
                    average.cells, average.f1, average.em
                );
            }
        }
        out.push_str("</tbody>\n</table>\n</body>\n</html>\n");
        out
    }

    fn heat_map(&self, out: &mut String, metric: Metric) {
        let name = metric.name();
        let scores = || self.cells().map(|(_, _, cell)| metric.of(cell).mean);
        let low = scores().fold(f64::INFINITY, f64::min);
        let high = scores().fold(f64::NEG_INFINITY, f64::max);
        let _ = write!(out, "<h2>{name}</h2>\n<div class=\"wide\"><table>\n<caption>{name}");
        if low <= high {
            let _ = write!(out, " in percent, from {low:.2} (pale) to {high:.2} (strong)");
        }
        out.push_str("</caption>\n<thead><tr><th scope=\"col\">context \\ question</th>");
        let questions = self.questions();
        for question in &questions {
            let _ = write!(
                out,
                "<th scope=\"col\"><abbr title=\"{}\">{question}</abbr></th>",
                question.name()
            );
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        for context in self.contexts() {
            let _ = write!(
                out,
                "<tr><th scope=\"row\"><abbr title=\"{}\">{context}</abbr></th>",
                context.name()
            );
            for &question in &questions {
                self.heat_cell(out, metric, context, question, (low, high));
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody>\n</table></div>\n");
    }

    fn heat_cell(
        &self,
        out: &mut String,
        metric: Metric,
        context: Language,
        question: Language,
        (low, high): (f64, f64),
    ) {
        let pair = format!("{} context, {} question", context.name(), question.name());
        let Some(cell) = self.get(context, question) else {
            let _ = write!(out, "<td class=\"none\" title=\"{pair}: no data\">–</td>");
            return;
        };
        let Spread { mean: score, sd } = metric.of(cell);
        // At most 0.5, so that the ink keeps its contrast in both colour schemes.
        let heat = if high > low { 0.04 + 0.46 * (score - low) / (high - low) } else { 0.25 };
        let class = if context == question { " class=\"same\"" } else { "" };
        let spread = sd.map(|sd| format!("<small>± {sd:.2}</small>")).unwrap_or_default();
        let _ = write!(
            out,
            "<td{class} data-score=\"{score}\" style=\"--heat:{heat:.3}\" title=\"{pair}: F1 {}, \
             EM {}, {} questions\">{score:.2}{spread}</td>",
            Metric::F1.of(cell).text(2),
            Metric::Em.of(cell).text(2),
            cell.questions
        );
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
    }
    out
}
