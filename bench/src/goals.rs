//! What Graven is to reach, and whether a run did. Against UmaDB the layout that serves UmaDB best counts.

use crate::report::number;
use crate::result::{Fact, Ratio, Row, Run, Spread};

const CALLS: &str = "Graven, gRPC, own connections";
const CLIENT: &str = "Graven, client, one session";
const FRAMES: &str = "Graven, client, frames, own connections";

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

struct Goal {
    measure: &'static str,
    bound: Bound,
    unit: &'static str,
    found: fn(&Run) -> Option<f64>,
}

use Bound::{AtLeast, AtMost};

const GOALS: &[Goal] = &[
    goal("append 1 × 1, gRPC over UmaDB", AtLeast(2.0), "×", |run| rate(run, "append-1x1", CALLS, "UmaDB")),
    goal("append 1 × 1, p50 of UmaDB's", AtMost(0.55), "×", |run| p50(run, "append-1x1", CALLS, "UmaDB")),
    goal("append 1 × 1, system calls", AtMost(13.0), "calls", |run| {
        fact(run, "System calls", "Graven, gRPC").map(|fact| fact.values.median)
    }),
    goal("append 8 × 1, gRPC over UmaDB", AtLeast(2.2), "×", |run| rate(run, "append-8x1", CALLS, "UmaDB")),
    goal("append 64 × 1, client over UmaDB", AtLeast(8.0), "×", |run| {
        rate(run, "append-64x1", CLIENT, "UmaDB")
    }),
    goal("append 64 × 10, client over UmaDB", AtLeast(4.0), "×", |run| {
        rate(run, "append-64x10", CLIENT, "UmaDB")
    }),
    goal("append 64 × 10, client, server CPU an event", AtMost(3.0), "µs", |run| {
        row(run, "append-64x10", CLIENT).map(|row| row.cpu_us)
    }),
    goal("append 64 × 10, gRPC over UmaDB", AtLeast(1.8), "×", |run| {
        rate(run, "append-64x10", CALLS, "UmaDB")
    }),
    goal("append, one category, 64 clients, client over message-db", AtLeast(50.0), "×", |run| {
        rate(run, "append-64x1", CLIENT, "message-db")
    }),
    goal("append unless an event of a type is there, p50", AtMost(1_000.0), "µs", |run| {
        row(run, "condition", CALLS).map(|row| row.p50_us)
    }),
    goal("read the whole log, events over UmaDB", AtLeast(2.0), "×", |run| {
        rate(run, "read-all", CALLS, "UmaDB")
    }),
    goal("read the whole log, frames over UmaDB", AtLeast(3.5), "×", |run| {
        rate(run, "read-all", FRAMES, "UmaDB")
    }),
    goal("read a stream of 10, p50", AtMost(200.0), "µs", |run| {
        row(run, "read-stream", CALLS).map(|row| row.p50_us)
    }),
    goal("read the 10 events of a tag, gRPC over UmaDB", AtLeast(2.0), "×", |run| {
        rate(run, "read-tag", CALLS, "UmaDB")
    }),
    goal("live delivery after the acknowledgement, p50", AtMost(100.0), "µs", |run| {
        row(run, "deliver", CALLS).map(|row| row.p50_us)
    }),
    goal("start until the first answer, over UmaDB's", AtMost(1.0), "×", |run| {
        let of = |name| fact(run, "Start with", name).map(|fact| fact.values.median);
        Some(of("Graven")? / of("UmaDB")?)
    }),
    goal("disk an event of 256 bytes", AtMost(420.0), "bytes", |run| {
        fact(run, "Disk after a stop, blocks", "Graven, gRPC").map(|fact| fact.values.median)
    }),
    goal("import into a stopped store", AtLeast(600_000.0), "events/s", |run| {
        fact(run, "Import", "Graven").map(|fact| fact.values.median)
    }),
];

const fn goal(
    measure: &'static str,
    bound: Bound,
    unit: &'static str,
    found: fn(&Run) -> Option<f64>,
) -> Goal {
    Goal { measure, bound, unit, found }
}

/// A line a goal that the run can judge, below a head.
pub(crate) fn table(run: &Run) -> Vec<Vec<String>> {
    let mut rows = vec![["goal", "wanted", "found", ""].map(str::to_owned).to_vec()];
    for goal in GOALS {
        let Some(found) = (goal.found)(run) else { continue };
        let (wanted, reached) = match goal.bound {
            AtLeast(bound) => (format!("≥ {} {}", number(bound), goal.unit), found >= bound),
            AtMost(bound) => (format!("≤ {} {}", number(bound), goal.unit), found <= bound),
        };
        let word = if reached { "reached" } else { "missed" };
        rows.push(vec![
            goal.measure.to_owned(),
            wanted,
            format!("{} {}", number(found), goal.unit),
            word.to_owned(),
        ]);
    }
    rows
}

fn row<'a>(run: &'a Run, key: &str, name: &str) -> Option<&'a Row> {
    run.groups.iter().find(|group| group.key == key)?.rows.iter().find(|row| row.name() == name)
}

fn fact<'a>(run: &'a Run, measure: &str, target: &str) -> Option<&'a Fact> {
    run.facts.iter().find(|fact| fact.measure.starts_with(measure) && fact.target.starts_with(target))
}

fn rate(run: &Run, key: &str, of: &str, to: &str) -> Option<f64> {
    ratios(run, key, of, to).map(|ratio| ratio.rate.median).reduce(f64::min)
}

fn p50(run: &Run, key: &str, of: &str, to: &str) -> Option<f64> {
    let spread = ratios(run, key, of, to).map(|ratio| ratio.p50).reduce(larger)?;
    Some(spread.median)
}

fn larger(a: Spread, b: Spread) -> Spread {
    if a.median < b.median { b } else { a }
}

fn ratios<'a>(run: &'a Run, key: &str, of: &str, to: &str) -> impl Iterator<Item = &'a Ratio> {
    let group = run.groups.iter().find(|group| group.key == key);
    let ratios = group.into_iter().flat_map(|group| &group.ratios);
    ratios.filter(move |ratio| ratio.of == of && ratio.to.starts_with(to))
}
