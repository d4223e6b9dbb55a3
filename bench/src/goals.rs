//! What Graven is to reach, whether a run did, and what stands in the way of what it missed. Against UmaDB the layout that
//! serves UmaDB best counts.

use crate::audit::{APPEND_64X1, APPEND_64X10, COST, IMPORT};
use crate::replay::{EVENTS, HEADS, VERIFY};
use crate::report::number;
use crate::result::{Fact, Ratio, Row, Run, Spread};

const CALLS: &str = "Graven, gRPC, own connections";
const CLIENT: &str = "Graven, client, one session";
const FRAMES: &str = "Graven, client, frames, own connections";
const SHARED_CALLS: &str = "Graven over PostgreSQL, gRPC, own connections";
const SHARED_CLIENT: &str = "Graven over PostgreSQL, client, one session";

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
    goal("replay in process, one core, heads", AtLeast(5e6), "events/s", |run| {
        fact(run, HEADS, "Graven").map(|fact| fact.values.median)
    }),
    goal("replay in process, one core, events", AtLeast(5e6), "events/s", |run| {
        fact(run, EVENTS, "Graven").map(|fact| fact.values.median)
    }),
    goal("verification in process, one core", AtLeast(1e6), "events/s", |run| {
        fact(run, VERIFY, "Graven").map(|fact| fact.values.median)
    }),
    goal("cost of the audit trail, append 64 × 1, client", AtMost(10.0), "%", |run| {
        cost(run, APPEND_64X1, "Graven, client")
    }),
    goal("cost of the audit trail, append 64 × 10, client", AtMost(10.0), "%", |run| {
        cost(run, APPEND_64X10, "Graven, client")
    }),
    goal("cost of the audit trail, append 64 × 1, in process", AtMost(10.0), "%", |run| {
        cost(run, APPEND_64X1, "Graven, library")
    }),
    goal("cost of the audit trail, append 64 × 10, in process", AtMost(10.0), "%", |run| {
        cost(run, APPEND_64X10, "Graven, library")
    }),
    goal("cost of the audit trail, import, in process", AtMost(30.0), "%", |run| {
        cost(run, IMPORT, "Graven, library")
    }),
    goal("import into a stopped store", AtLeast(600_000.0), "events/s", |run| {
        fact(run, "Import", "Graven").map(|fact| fact.values.median)
    }),
    goal("append 64 × 10 over PostgreSQL, client", AtLeast(100_000.0), "events/s", |run| {
        row(run, "journal-64x10", SHARED_CLIENT).map(|row| Spread::of(&row.rates).median)
    }),
    goal("delivery at a follower over PostgreSQL, p50 of an append's", AtMost(2.0), "×", |run| {
        let lag = row(run, "journal-deliver", SHARED_CALLS)?.p50_us;
        Some(lag / row(run, "journal-1x1", SHARED_CALLS)?.p50_us)
    }),
];

/// What stands in the way of a goal, by how its measure begins. From profiles of the runs that missed it.
const CAUSES: &[(&str, &str)] = &[
    (
        "append 1 × 1",
        "the disk's flush and HTTP/2 on both sides are nearly all of it; the server itself enters the kernel five times",
    ),
    ("append 8 × 1", "a call each: HTTP/2 on both sides takes the cores before the log does"),
    (
        "append 64 × 1,",
        "the load shares two cores with the server, which takes 10 to 12 µs an event and waits a third of the time for the disk",
    ),
    (
        "append 64 × 10, client over",
        "both cores are full: 3 to 4 µs an event in the server, half of that in the load",
    ),
    (
        "append 64 × 10, client, server",
        "hashing and indexing are half of it; the rest is decoding, the frame, the socket, blank segments written ahead",
    ),
    (
        "append 64 × 10, gRPC",
        "both cores are full, and half of what they do is HTTP/2, which UmaDB has from the same library",
    ),
    ("append, one category", "as for 64 × 1"),
    (
        "read the whole log, events",
        "one client decodes all of it, which is as much work as the server has with it",
    ),
    (
        "read the whole log, frames",
        "one client compares two checksums an event and copies its bytes twice on their way through HTTP/2",
    ),
    (
        "read the 10 events",
        "three quarters of it are HTTP/2 and the wake-ups of four tasks, which both sides have alike",
    ),
    (
        "start until",
        "some 15 ms whatever the size: the blank rest of the last segment and the checksums of small index files are read",
    ),
    ("disk an event", "index files that are not merged yet"),
    (
        "cost of the audit trail, append",
        "both cores are full, so every block of SHA-256 is felt: some fourteen an event for payload, leaf and tree; and a new tag is looked for in the index",
    ),
    (
        "cost of the audit trail, import",
        "leaf and tree are hashed on the one thread that encodes, which the others wait for; payload and metadata on the one that hands over",
    ),
    ("import into", "parsing and encoding need a core each, and the disk a share of both"),
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
    let mut rows = vec![["goal", "wanted", "found", "", "in the way"].map(str::to_owned).to_vec()];
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
            if reached { String::new() } else { cause(goal.measure).to_owned() },
        ]);
    }
    rows
}

fn cause(measure: &str) -> &'static str {
    CAUSES.iter().find(|(begin, _)| measure.starts_with(begin)).map_or("", |(_, cause)| cause)
}

fn row<'a>(run: &'a Run, key: &str, name: &str) -> Option<&'a Row> {
    run.groups.iter().find(|group| group.key == key)?.rows.iter().find(|row| row.name() == name)
}

fn fact<'a>(run: &'a Run, measure: &str, target: &str) -> Option<&'a Fact> {
    run.facts.iter().find(|fact| fact.measure.starts_with(measure) && fact.target.starts_with(target))
}

fn cost(run: &Run, what: &str, target: &str) -> Option<f64> {
    fact(run, &format!("{COST}, {what}"), target).map(|fact| fact.values.median)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::products::Installed;
    use crate::run::{Runner, Scale};
    use std::path::PathBuf;
    use std::time::Duration;

    /// A goal whose measure has another name than what was measured would be left out of the table without a word.
    #[test]
    fn what_is_measured_in_process_is_what_the_goals_ask_for() {
        let dir = std::env::temp_dir().join(format!("graven-bench-goals-{}", std::process::id()));
        let scale = Scale {
            rounds: 1,
            slot: Duration::from_millis(20),
            filled: 2_000,
            imported: 2_000,
            repetitions: 1,
            volumes: &[],
        };
        let installed = Installed {
            graven: PathBuf::new(),
            graven_without_audit: None,
            #[cfg(feature = "peers")]
            postgres: None,
        };
        let (groups, facts) = (Vec::new(), Vec::new());
        let mut runner =
            Runner { scale, installed, dir: dir.clone(), only: None, targets: Vec::new(), groups, facts };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for only in ["replay", "audit"] {
            runner.only = Some(only.to_owned());
            runtime.block_on(runner.run()).unwrap();
        }
        std::fs::remove_dir_all(dir).unwrap();
        let facts = runner.facts;
        let run = Run {
            command: String::new(),
            begun: String::new(),
            machine: Vec::new(),
            versions: Vec::new(),
            left_out: Vec::new(),
            groups: Vec::new(),
            facts,
        };
        let found: Vec<String> = table(&run).into_iter().skip(1).map(|row| row[0].clone()).collect();
        let asked: Vec<&str> = GOALS.iter().map(|goal| goal.measure).collect();
        let in_process = |measure: &&str| measure.contains("in process");
        assert_eq!(found, asked.into_iter().filter(in_process).collect::<Vec<_>>());
    }

    #[test]
    fn every_cause_is_one_of_a_goal() {
        for (begin, _) in CAUSES {
            assert!(GOALS.iter().any(|goal| cause(goal.measure) == cause(begin)), "{begin}");
        }
    }
}
