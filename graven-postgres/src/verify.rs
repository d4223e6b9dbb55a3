//! [`verify`]: tries a database out before anything depends on it.

use crate::journal::PostgresJournal;
use crate::settings::Settings;
use bytes::Bytes;
use graven_engine::env::Env;
use graven_engine::journal::{Batch, Claim, Journal, Outcome, SharedJournal, Tail};
use graven_engine::replica::LogIdentity;
use graven_model::{Code, Error, EventId, Result, Timestamp};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Bytes of a batch: what a handful of appends come to.
const FRAMES_BYTES: usize = 16 << 10;

/// What randomness is drawn for.
const PURPOSE: u64 = 0x7665_7269_6679;

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Rounds that were raced.
    pub rounds: u32,
    /// Rounds each writer won.
    pub wins: Vec<u32>,
    /// Commits whose outcome had to be looked up.
    pub unknown: u32,
    /// Laws that did not hold, as sentences. There must be none.
    pub violations: Vec<String>,
    /// How long half of the commits that won took at the most.
    pub commit_p50: Duration,
    /// How long 99 of 100 commits that won took at the most.
    pub commit_p99: Duration,
    /// What could make this database lose what it acknowledged.
    pub risks: Vec<String>,
    /// What the server says it is.
    pub server: String,
}

impl Report {
    /// Whether every law held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Races writers, each with a connection of its own, through so many rounds: in each, all of them append after the same
/// tail, one must win, and the others must be told where the journal ends. Then one of them begins a new epoch, and another
/// must be refused. `progress` is called with the number of each round that is over.
///
/// All of this happens in a schema of its own beside the one of the settings, which is dropped at the end.
///
/// # Errors
/// If the database cannot be asked, or the schema not be made or dropped; then its name is in the message. Laws that do not
/// hold are no error: they are in the report.
pub fn verify(
    settings: &Settings,
    rounds: u32,
    writers: u32,
    progress: &mut dyn FnMut(u32),
) -> Result<Report> {
    let mut entropy = Env::real()
        .entropy(PURPOSE)
        .map_err(|error| Error::io("no randomness for a schema's name", &error))?;
    let schema = format!("graven_verify_{:016x}", entropy.number());
    let settings = Settings { schema, ..settings.clone() };
    let identity = LogIdentity {
        log_id: EventId(entropy.bytes()),
        origin: "graven-verify".to_owned(),
        created_at: Timestamp::from_micros(0),
    };
    let mut judge = PostgresJournal::open(settings.clone())?;
    let outcome = race(&mut judge, &settings, &identity, rounds, writers.max(2), progress);
    let dropped = judge.call("drop the schema of the trial", async |link| {
        link.run(&format!("DROP SCHEMA IF EXISTS \"{}\" CASCADE", settings.schema)).await
    });
    match (outcome, dropped) {
        (Ok(report), Ok(())) => Ok(report),
        (Err(error), Ok(())) => Err(error),
        (_, Err(mut error)) => {
            error.message = format!("{}; drop {} by hand", error.message, settings.schema);
            Err(error)
        }
    }
}

/// A writer on a thread of its own: what it is to commit, and what came of it.
struct Racer {
    batches: Sender<Batch>,
    outcomes: Receiver<(Outcome, Duration)>,
}

fn race(
    judge: &mut PostgresJournal,
    settings: &Settings,
    identity: &LogIdentity,
    rounds: u32,
    writers: u32,
    progress: &mut dyn FnMut(u32),
) -> Result<Report> {
    judge.found(identity)?;
    let epoch = judge.claim([0; 16], "", Claim::TakeOver)?.epoch;
    let mut journals = Vec::new();
    for _ in 0..writers {
        journals.push(PostgresJournal::open(settings.clone())?);
    }
    let mut trial = Trial { tail: judge.tail(), epoch, wins: vec![0; journals.len()], ..Trial::default() };
    std::thread::scope(|scope| {
        let mut racers = Vec::new();
        for mut journal in journals {
            let (batches, todo) = channel::<Batch>();
            let (done, outcomes) = channel();
            scope.spawn(move || {
                for batch in todo {
                    let began = Instant::now();
                    let outcome = journal.commit(&batch);
                    if done.send((outcome, began.elapsed())).is_err() {
                        return;
                    }
                }
            });
            racers.push(Racer { batches, outcomes });
        }
        for round in 1..=rounds {
            trial.round(round, &racers, judge)?;
            progress(round);
        }
        trial.refuse_the_old(&racers[0], judge)
    })?;
    trial.read_back(judge)?;
    let server = judge.call("ask for the server's version", async |link| {
        let rows = link.ask("SELECT current_setting('server_version')", &[]).await?;
        Ok(rows.first().and_then(|row| row.try_get::<_, String>(0).ok()).unwrap_or_default())
    })?;
    trial.took.sort_unstable();
    Ok(Report {
        rounds,
        commit_p50: percentile(&trial.took, 50),
        commit_p99: percentile(&trial.took, 99),
        wins: trial.wins,
        unknown: trial.unknown,
        violations: trial.violations,
        risks: judge.risks()?,
        server: format!("PostgreSQL {server}"),
    })
}

#[derive(Default)]
struct Trial {
    tail: Tail,
    epoch: u32,
    wins: Vec<u32>,
    unknown: u32,
    violations: Vec<String>,
    took: Vec<Duration>,
    stored: Vec<Batch>,
}

impl Trial {
    fn batch(&self, writer: usize, epoch: u32) -> Batch {
        let seed = self.stored.len() as u32 ^ ((writer as u32 + 1) << 24);
        let position = self.tail.position + 1 + writer as u64;
        let frames: Vec<u8> = (0..FRAMES_BYTES as u32).map(|at| (at.wrapping_mul(seed) >> 5) as u8).collect();
        Batch {
            expected: self.tail,
            tail: Tail { position, checksum: seed.wrapping_mul(0x9e37_79b1) },
            epoch,
            writer: [writer as u8 + 1; 16],
            number: self.stored.len() as u64,
            frames: Bytes::from(frames),
        }
    }

    fn round(&mut self, round: u32, racers: &[Racer], judge: &mut PostgresJournal) -> Result<()> {
        let batches: Vec<Batch> = (0..racers.len()).map(|writer| self.batch(writer, self.epoch)).collect();
        for (racer, batch) in racers.iter().zip(&batches) {
            racer.batches.send(batch.clone()).map_err(|_| gone())?;
        }
        let mut winners = Vec::new();
        let mut told = Vec::new();
        for (writer, racer) in racers.iter().enumerate() {
            let (outcome, took) = racer.outcomes.recv().map_err(|_| gone())?;
            match outcome {
                Outcome::Appended(_) => {
                    winners.push(writer);
                    self.took.push(took);
                }
                Outcome::Conflict(tail) => told.push((writer, tail)),
                Outcome::Unknown(_) => self.unknown += 1,
            }
        }
        let tail = judge.look(0)?.tail;
        // Who was not told may have won.
        let stored = batches.iter().position(|batch| batch.tail == tail);
        match (winners.as_slice(), stored) {
            ([one], Some(stored)) if *one == stored => {}
            ([], Some(_)) => {}
            ([], None) if tail == self.tail && told.is_empty() => return Ok(()), // all lost on the way
            _ => self.violations.push(format!(
                "round {round}: {} writers were told that they appended, and the journal ends at {}",
                winners.len(),
                tail.position
            )),
        }
        for (writer, told) in told {
            if told != tail {
                self.violations.push(format!(
                    "round {round}: writer {writer} lost and was told that the journal ends at {}, not at {}",
                    told.position, tail.position
                ));
            }
        }
        if let Some(stored) = stored {
            self.wins[stored] += 1;
            self.stored.push(batches[stored].clone());
        }
        self.tail = tail;
        Ok(())
    }

    /// A new epoch begins; who still writes in the old one is refused.
    fn refuse_the_old(&mut self, old: &Racer, judge: &mut PostgresJournal) -> Result<()> {
        let late = self.batch(0, self.epoch);
        let epoch = judge.claim([0xff; 16], "", Claim::TakeOver)?.epoch;
        old.batches.send(late).map_err(|_| gone())?;
        let (outcome, _) = old.outcomes.recv().map_err(|_| gone())?;
        if matches!(outcome, Outcome::Appended(_)) || judge.look(0)?.tail != self.tail {
            self.violations.push("a writer of an older epoch appended after a claim".to_owned());
        }
        let next = self.batch(1, epoch);
        match judge.commit(&next) {
            Outcome::Appended(_) => {
                self.tail = next.tail;
                self.stored.push(next);
            }
            other => self.violations.push(format!("the writer of the new epoch could not append: {other:?}")),
        }
        Ok(())
    }

    fn read_back(&mut self, judge: &mut PostgresJournal) -> Result<()> {
        let mut at = 0;
        let mut stored = self.stored.iter();
        loop {
            let batches = judge.read(at, 1 << 20)?;
            let Some(last) = batches.last() else { break };
            at = last.tail.position;
            if batches.iter().any(|batch| Some(batch) != stored.next()) {
                self.violations.push(format!("what is read before position {at} is not what was appended"));
                return Ok(());
            }
        }
        if stored.next().is_some() {
            self.violations.push(format!("what was appended after position {at} is not read"));
        }
        Ok(())
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

fn gone() -> Error {
    Error::new(Code::Internal, "a writer of the trial is gone")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ones_that_were_measured() {
        let took: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&took, 50), Duration::from_millis(100));
        assert_eq!(percentile(&took, 99), Duration::from_millis(198));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }
}
