//! What a run found, for people: text on the terminal, Markdown and plots in the documentation.

use crate::result::{Fact, Group, Run, Spread};
use crate::{goals, plot};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// How it was measured; the same for every run.
const METHOD: &str = "\
Every target is given the same events: 256 bytes of JSON, one tag, ten events a stream, all streams in one category, an
id each. Graven's audit trail is on; it cannot be turned off. Everything is durable before it is acknowledged: all
stores run with the defaults they are shipped with, PostgreSQL with `fsync` and `synchronous_commit` on. UmaDB is built
from its own crate with the profile Graven is shipped with, and spoken to by its own client. Servers and load share the
machine; clients are closed loops with one call on their way.

A group is measured in rounds: A B C, then C B A, and so on, every target a slot a round. What machines do to figures
between one minute and the next (a factor of two is not rare) so meets all of them. A **ratio** is taken within a round;
the table has the median of these and their range. Where latencies are given, p50, p99 and p99.9 are over all rounds.

*CPU* is user and system time of the server's processes for each unit of work (of the whole process, load included, where
the store runs *in process*). *Written* is what was handed to write calls (`wchar` of the process, which may count
answers to clients too: an upper bound), not what a disk made of it. *Memory* is resident, in brackets the part that is
not backed by files. `write + fdatasync` is the floor: what the disk takes for the same bytes with no store around them.

The *cost of the audit trail* is 1 − rate with it / rate without it. Without it runs an engine that only this bench builds
and whose stores every start refuses: it computes no commitments, no keyed names, no leaf hashes, no tree and no tiles, and
looks for no salts. What it keeps, the 16 bytes of a seed in each record and the tags in memory, is not counted. Rounds are
with, without, without, with: in a server that is used through the client, as the other goals are, and in the process that
loads the store, which is the strictest way to say it, since no network takes a share. An import parses its lines on a thread of its own, as the command does; *parsed beforehand*, nothing is
measured but the store.

A *replay* is one thread that reads the whole log in order as stored frames, a thousand events each but for those of later
measurements, out of the page cache. For the *heads* it compares the checksum of each frame's header and that over the
lengths and checksums of its records; for the *events* also each record's own, and decodes each event where it lies. The
*verification* is one thread too: it reads everything, hashes payloads, leaves and tree again, and compares them with every
hash and checksum that is stored.

*The KurrentDB protocol* is spoken by the bench with the messages KurrentDB's clients send, beside the server's own gRPC interface
in the same rounds; the native reads come in pages, those of the protocol event by event. A category is read through the virtual stream
`$ce-loan`, with links resolved; *stored links* is a stream that holds a link record to each event of the category, as a
projection would write it, read the same way. Events that come through the protocol have no tag, which it does not know.
";

/// A table on the terminal.
pub(crate) fn text(run: &Run) -> String {
    let mut out = String::new();
    for group in &run.groups {
        let _ = writeln!(out, "\n{}", group.title);
        out.push_str(&table(&rows(group), Style::Plain));
        if !group.ratios.is_empty() {
            out.push_str(&table(&ratios(group), Style::Plain));
        }
    }
    if !run.facts.is_empty() {
        out.push('\n');
        out.push_str(&table(&facts(&run.facts), Style::Plain));
    }
    let goals = goals::table(run);
    if goals.len() > 1 {
        out.push('\n');
        out.push_str(&table(&goals, Style::Plain));
    }
    for reason in &run.left_out {
        let _ = writeln!(out, "left out: {reason}");
    }
    out
}

/// Writes `benchmarks.md` and its plots into the folder of the documentation.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write_docs(run: &Run, docs: &Path) -> Result<()> {
    let plots = docs.join("benchmarks");
    fs::create_dir_all(&plots).with_context(|| format!("cannot create {}", plots.display()))?;
    let mut out = String::from("# Benchmarks\n\nWritten by the run itself; to repeat it:\n\n");
    let _ = writeln!(out, "```sh\n{} --docs\n```\n\n{METHOD}\n## The run\n", run.command);
    let mut about = vec![vec!["".to_owned(), "".to_owned()], vec!["day".to_owned(), run.begun.clone()]];
    for (name, value) in run.machine.iter().chain(&run.versions) {
        about.push(vec![name.clone(), value.clone()]);
    }
    out.push_str(&table(&about, Style::Markdown));
    for reason in &run.left_out {
        let _ = writeln!(out, "\nLeft out: {reason}.");
    }
    let goals = goals::table(run);
    if goals.len() > 1 {
        out.push_str("\n## Goals\n\n");
        out.push_str(&table(&goals, Style::Markdown));
    }
    for group in &run.groups {
        let _ = writeln!(out, "\n## {}\n", group.title);
        let name = format!("{}.svg", group.key);
        fs::write(plots.join(&name), plot::bars(group)).with_context(|| format!("cannot write {name}"))?;
        if let Some(later) = &group.later {
            let _ = writeln!(out, "Measured apart from the rest: {later}.\n");
        }
        let _ = writeln!(out, "![{}](benchmarks/{name})\n", group.title);
        out.push_str(&table(&rows(group), Style::Markdown));
        if !group.ratios.is_empty() {
            out.push('\n');
            out.push_str(&table(&ratios(group), Style::Markdown));
        }
    }
    if !run.facts.is_empty() {
        out.push_str("\n## Disk, start, replay, import, audit trail\n\n");
        out.push_str(&table(&facts(&run.facts), Style::Markdown));
    }
    let path = docs.join("benchmarks.md");
    fs::write(&path, out).with_context(|| format!("cannot write {}", path.display()))
}

fn rows(group: &Group) -> Vec<Vec<String>> {
    let cpu = format!("CPU µs/{}", unit_of(group));
    let written = format!("written B/{}", unit_of(group));
    let head = ["target", &group.unit, "range", "p50 µs", "p99 µs", "p99.9 µs", &cpu, &written, "memory MiB"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for row in &group.rows {
        let rate = Spread::of(&row.rates);
        rows.push(vec![
            row.name(),
            number(rate.median),
            format!("{}–{}", number(rate.min), number(rate.max)),
            number(row.p50_us),
            number(row.p99_us),
            number(row.p999_us),
            number(row.cpu_us),
            number(row.written_bytes),
            row.resident_bytes
                .map_or_else(String::new, |(all, own)| format!("{} ({})", all >> 20, own >> 20)),
        ]);
    }
    rows
}

fn ratios(group: &Group) -> Vec<Vec<String>> {
    let p50 = format!("p50 of {}", group.latency_of);
    let mut rows = vec![["", "over", &group.unit, &p50].map(str::to_owned).to_vec()];
    for ratio in &group.ratios {
        rows.push(vec![ratio.of.clone(), ratio.to.clone(), times(ratio.rate), times(ratio.p50)]);
    }
    rows
}

fn facts(facts: &[Fact]) -> Vec<Vec<String>> {
    let mut rows = vec![["measure", "target", "median", "range", "unit"].map(str::to_owned).to_vec()];
    for fact in facts {
        let Spread { median, min, max } = fact.values;
        let range = if min == max { String::new() } else { format!("{}–{}", number(min), number(max)) };
        rows.push(vec![
            fact.measure.clone(),
            fact.target.clone(),
            number(median),
            range,
            fact.unit.to_owned(),
        ]);
    }
    rows
}

/// `events/s` counts events.
fn unit_of(group: &Group) -> &str {
    group.unit.trim_end_matches("s/s")
}

fn times(spread: Spread) -> String {
    format!("{:.2} × ({:.2}–{:.2})", spread.median, spread.min, spread.max)
}

/// Three digits that matter, thousands apart.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size < 10.0 {
        return format!("{value:.2}");
    }
    if size < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", size);
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(' ');
        }
        out.push(digit);
    }
    if value < 0.0 { format!("-{out}") } else { out }
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Plain,
    Markdown,
}

/// The first column to the left, the others to the right.
fn table(rows: &[Vec<String>], style: Style) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        let cells: Vec<String> = cells.collect();
        if style == Style::Plain {
            let _ = writeln!(out, "  {}", cells.join("  ").trim_end());
            continue;
        }
        let _ = writeln!(out, "| {} |", cells.join(" | "));
        if index == 0 {
            let lines = widths.iter().enumerate().map(|(column, width)| {
                let dashes = "-".repeat((*width).max(3) - usize::from(column > 0));
                if column == 0 { dashes } else { format!("{dashes}:") }
            });
            let _ = writeln!(out, "| {} |", lines.collect::<Vec<_>>().join(" | "));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        let shown = [0.5, 37.25, 420.4, 12_345.6, 1_300_000.0, -150.0].map(number);
        assert_eq!(shown, ["0.50", "37.2", "420", "12 346", "1 300 000", "-150"]);
    }

    #[test]
    fn a_table_lines_its_columns_up() {
        let rows = [vec!["a".to_owned(), "12".to_owned()], vec!["bcd".to_owned(), "3".to_owned()]];
        assert_eq!(table(&rows, Style::Markdown), "| a   | 12 |\n| --- | --: |\n| bcd |  3 |\n");
    }
}
