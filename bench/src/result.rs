//! What a run found, in the form it is kept in (JSON) and drawn from.

use crate::load::Sample;
use serde::{Deserialize, Serialize};

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The command that repeats it.
    pub(crate) command: String,
    /// When it began, as `date` writes it.
    pub(crate) begun: String,
    /// The machine, a line a fact.
    pub(crate) machine: Vec<(String, String)>,
    /// Versions of what was measured.
    pub(crate) versions: Vec<(String, String)>,
    /// What was left out, and why.
    pub(crate) left_out: Vec<String>,
    /// Side by side, in interleaved rounds.
    pub(crate) groups: Vec<Group>,
    /// Everything else.
    pub(crate) facts: Vec<Fact>,
}

/// Targets that did the same work in the same rounds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Group {
    /// What was done.
    pub(crate) title: String,
    /// For file names.
    pub(crate) key: String,
    /// Of a rate: `events/s`, `calls/s`.
    pub(crate) unit: String,
    /// What the latencies are of.
    pub(crate) latency_of: String,
    /// One a target.
    pub(crate) rows: Vec<Row>,
    /// Of Graven to the others.
    pub(crate) ratios: Vec<Ratio>,
    /// Day and version, if it was measured after the rest of the run it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) later: Option<String>,
}

/// A target in a group.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Product and interface.
    pub(crate) target: String,
    /// How clients reach it.
    pub(crate) layout: String,
    /// A rate a round.
    pub(crate) rates: Vec<f64>,
    /// Median latency of each round, microseconds.
    pub(crate) p50s_us: Vec<f64>,
    /// Latencies over all rounds, microseconds.
    pub(crate) p50_us: f64,
    /// Of a hundred calls, 99 took no longer.
    pub(crate) p99_us: f64,
    /// Of a thousand calls, 999 took no longer.
    pub(crate) p999_us: f64,
    /// CPU of the target's processes for each unit of work, microseconds; with the load generator's for a library.
    pub(crate) cpu_us: f64,
    /// Bytes handed to write calls (`wchar`) for each unit of work.
    pub(crate) written_bytes: f64,
    /// Resident memory after the last round: all, and what is not backed by files. Nothing for a library.
    pub(crate) resident_bytes: Option<(u64, u64)>,
}

/// One target over another, round by round.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ratio {
    /// Whose rate is divided.
    pub(crate) of: String,
    /// By whose.
    pub(crate) to: String,
    /// Rates.
    pub(crate) rate: Spread,
    /// Median latencies.
    pub(crate) p50: Spread,
}

/// A median and its range.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// Half are below.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
}

/// One figure of one target.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Fact {
    /// What.
    pub(crate) measure: String,
    /// Of whom.
    pub(crate) target: String,
    /// A value a repetition.
    pub(crate) values: Spread,
    /// Unit of the value.
    pub(crate) unit: String,
}

impl Run {
    /// Takes in what a later run of a part found, in place of what was found of the same before.
    pub(crate) fn take_in(&mut self, later: Run) {
        let version = later.versions.first().map(|(_, version)| version.as_str()).unwrap_or_default();
        let said = format!("{}, {version}", later.begun);
        for mut group in later.groups {
            group.later = Some(said.clone());
            match self.groups.iter_mut().find(|old| old.key == group.key) {
                Some(old) => *old = group,
                None => self.groups.push(group),
            }
        }
        for fact in later.facts {
            match self.facts.iter_mut().find(|old| old.measure == fact.measure && old.target == fact.target) {
                Some(old) => *old = fact,
                None => self.facts.push(fact),
            }
        }
    }
}

impl Spread {
    /// Of these values; zeros if there are none.
    pub(crate) fn of(values: &[f64]) -> Spread {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
        Spread {
            median: f64::midpoint(at(low), at(high)),
            min: at(0),
            max: at(sorted.len().saturating_sub(1)),
        }
    }
}

impl Row {
    /// What the rounds of one target came to.
    pub(crate) fn of(
        target: &str,
        layout: &'static str,
        rounds: &[Sample],
        resident_bytes: Option<(u64, u64)>,
    ) -> Row {
        let done: u64 = rounds.iter().map(|sample| sample.done).sum();
        let cpu: f64 = rounds.iter().map(|sample| sample.used.cpu_seconds).sum();
        let written: u64 = rounds.iter().map(|sample| sample.used.written_bytes).sum();
        let mut all: Vec<f32> =
            rounds.iter().flat_map(|sample| sample.latencies_us.iter().copied()).collect();
        all.sort_by(f32::total_cmp);
        let p50 = |sample: &Sample| {
            let mut sorted = sample.latencies_us.clone();
            sorted.sort_by(f32::total_cmp);
            percentile(&sorted, 0.5)
        };
        Row {
            target: target.to_owned(),
            layout: layout.to_owned(),
            rates: rounds.iter().map(|sample| sample.done as f64 / sample.seconds).collect(),
            p50s_us: rounds.iter().map(p50).collect(),
            p50_us: percentile(&all, 0.5),
            p99_us: percentile(&all, 0.99),
            p999_us: percentile(&all, 0.999),
            cpu_us: cpu * 1e6 / done.max(1) as f64,
            written_bytes: written as f64 / done.max(1) as f64,
            resident_bytes,
        }
    }

    /// Target and layout.
    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.target, self.layout)
    }

    fn is_graven(&self) -> bool {
        self.target.starts_with("Graven")
    }
}

impl Group {
    /// Compares every row of Graven with every row of a peer or of the disk; where there are none, with those behind it.
    pub(crate) fn compare(&mut self) {
        let alone = self.rows.iter().all(Row::is_graven);
        for (index, row) in self.rows.iter().enumerate().filter(|(_, row)| row.is_graven()) {
            let others: Vec<&Row> = match alone {
                true => self.rows[index + 1..].iter().collect(),
                false => self.rows.iter().filter(|row| !row.is_graven()).collect(),
            };
            for other in others {
                self.ratios.push(Ratio {
                    of: row.name(),
                    to: other.name(),
                    rate: round_by_round(&row.rates, &other.rates),
                    p50: round_by_round(&row.p50s_us, &other.p50s_us),
                });
            }
        }
    }
}

fn round_by_round(of: &[f64], to: &[f64]) -> Spread {
    let ratios: Vec<f64> = of.iter().zip(to).filter(|(_, to)| **to != 0.0).map(|(of, to)| of / to).collect();
    Spread::of(&ratios)
}

/// Of sorted values.
fn percentile(sorted: &[f32], part: f64) -> f64 {
    let index = (sorted.len() as f64 * part).ceil() as usize;
    sorted
        .get(index.saturating_sub(1).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(key: &str, title: &str, rows: Vec<Row>) -> Group {
        Group {
            title: title.to_owned(),
            key: key.to_owned(),
            unit: String::new(),
            latency_of: String::new(),
            rows,
            ratios: Vec::new(),
            later: None,
        }
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f32> = (1..=1000).map(|value| value as f32).collect();
        assert_eq!([0.5, 0.99, 0.999].map(|part| percentile(&values, part)), [500.0, 990.0, 999.0]);
        assert_eq!(percentile(&[7.0], 0.999), 7.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    #[test]
    fn a_later_run_of_a_part_takes_its_place_in_the_run_before() {
        let group = |key: &str, title: &str| group(key, title, Vec::new());
        let run = |version: &str, groups: Vec<Group>| Run {
            command: String::new(),
            begun: "a day".to_owned(),
            machine: Vec::new(),
            versions: vec![("Graven".to_owned(), version.to_owned())],
            left_out: Vec::new(),
            groups,
            facts: Vec::new(),
        };
        let mut whole = run("1", vec![group("a", "old a"), group("b", "old b")]);
        whole.take_in(run("2", vec![group("b", "new b"), group("c", "new c")]));
        let said: Vec<_> = whole.groups.iter().map(|group| (&*group.title, group.later.as_deref())).collect();
        assert_eq!(said, [("old a", None), ("new b", Some("a day, 2")), ("new c", Some("a day, 2"))]);
        assert_eq!(whole.versions[0].1, "1");
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let spread = round_by_round(&[2.0, 30.0, 8.0], &[1.0, 10.0, 2.0]);
        assert_eq!((spread.median, spread.min, spread.max), (3.0, 2.0, 4.0));
    }

    #[test]
    fn ratios_are_to_peers_and_without_them_to_the_rows_behind() {
        let pairs = |targets: &[&str]| -> Vec<String> {
            let rows = targets.iter().map(|target| Row::of(target, "alone", &[], None)).collect();
            let mut group = group("", "", rows);
            group.compare();
            let short = |name: &str| name.split(',').next().unwrap_or_default().to_owned();
            group.ratios.iter().map(|ratio| format!("{}/{}", short(&ratio.of), short(&ratio.to))).collect()
        };
        assert_eq!(pairs(&["disk", "Graven 1", "Graven 2"]), ["Graven 1/disk", "Graven 2/disk"]);
        assert_eq!(
            pairs(&["Graven 1", "Graven 2", "Graven 3"]),
            ["Graven 1/Graven 2", "Graven 1/Graven 3", "Graven 2/Graven 3"]
        );
    }

    #[test]
    fn a_median_of_two_lies_between_them() {
        assert_eq!(Spread::of(&[1.0, 3.0]).median, 2.0);
        assert_eq!(Spread::of(&[]).median, 0.0);
    }
}
