//! Plots as SVG: a bar a target, its length the median rate, a whisker from the slowest round to the fastest.

use crate::report::number;
use crate::result::{Group, Row, Spread};
use std::fmt::Write as _;

const WIDTH: f64 = 880.0;
const NAMES: f64 = 300.0;
const VALUES: f64 = 150.0;
const BAR: f64 = 22.0;
const GAP: f64 = 10.0;
const TOP: f64 = 44.0;

/// The bars of a group.
pub(crate) fn bars(group: &Group) -> String {
    let spreads: Vec<Spread> = group.rows.iter().map(|row| Spread::of(&row.rates)).collect();
    let most = spreads.iter().map(|spread| spread.max).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - NAMES - VALUES) / most;
    let height = TOP + group.rows.len() as f64 * (BAR + GAP) + GAP;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{GAP}\" y=\"26\" font-size=\"16\" font-weight=\"600\" fill=\"#1b1f24\">{} ({})</text>\n",
        escaped(&group.title),
        group.unit,
    );
    for (index, (row, spread)) in group.rows.iter().zip(&spreads).enumerate() {
        let y = TOP + index as f64 * (BAR + GAP);
        let (middle, text) = (y + BAR / 2.0, y + BAR / 2.0 + 5.0);
        let at = |value: f64| NAMES + value * scale;
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\" fill=\"#1b1f24\">{}</text>",
            NAMES - 8.0,
            escaped(&row.name())
        );
        let _ = writeln!(
            out,
            "<rect x=\"{NAMES}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{}\"/>",
            (spread.median * scale).max(1.0),
            color(row)
        );
        let _ = writeln!(
            out,
            "<path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"#1b1f24\" stroke-width=\"1.5\"/>",
            at(spread.min),
            at(spread.max)
        );
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{text:.1}\" fill=\"#1b1f24\">{}</text>",
            at(spread.max) + 8.0,
            number(spread.median)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn color(row: &Row) -> &'static str {
    match row.target.as_str() {
        target if target.starts_with("Graven") => "#2f6f9f",
        "UmaDB" => "#c9803a",
        "message-db" => "#7b9e57",
        _ => "#9aa1a9",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
