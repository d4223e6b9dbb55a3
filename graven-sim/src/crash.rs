//! Crashes: pipelined appends, the power (or the process, or a flush) going at some call, and what must be true afterwards.
//!
//! What was acknowledged is there and identical. What was not is there whole or not at all, and nothing follows the first
//! one that is not there. Nothing else appears. Every read agrees with a full scan. Retries of unknown outcomes end in
//! exactly-once.

use crate::dice::{Dice, mix};
use crate::disk::{Call, Fault};
use crate::judge::{Verdict, same, same_answer, same_events};
use crate::machine::SimMachine;
use crate::model::Model;
use crate::workload::{Step, Workload};
use crate::world::{World, whole_log, write, write_model};
use graven_engine::{Options, PendingAppend, Store};
use graven_model::{Code, Receipt, Result as Answer, StoredEvent, Timestamp};

/// What a run met with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Restarts after a loss of power, a kill or a failed flush.
    pub crashes: u64,
    /// Of these, how many hit a store that was just opening.
    pub while_opening: u64,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Writes of unknown outcome that were there afterwards.
    pub unknown_there: u64,
    /// Writes of unknown outcome that were not.
    pub unknown_gone: u64,
}

impl Tally {
    /// Adds another run's counts.
    pub fn add(&mut self, other: Tally) {
        self.crashes += other.crashes;
        self.while_opening += other.while_opening;
        self.acknowledged += other.acknowledged;
        self.unknown_there += other.unknown_there;
        self.unknown_gone += other.unknown_gone;
    }
}

/// How a round ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Power,
    Kill,
    FailedSync,
    FailedWrite,
    /// Every kind of call fails now and then, before the process is killed.
    FlakyDisk,
}

/// A store that goes through `rounds` crashes, with threads of its own or without.
///
/// # Errors
/// The first thing that should not be.
pub fn run_crashes(seed: u64, rounds: u32, threads: bool, options: &Options) -> Result<Tally, String> {
    let machine = SimMachine { threads, ..SimMachine::new(seed) };
    let mut run = Run {
        world: World::on(machine, options.clone())?,
        workload: Workload::new(seed),
        dice: Dice::new(mix(seed)),
        tally: Tally::default(),
        burst_time: Timestamp::default(),
    };
    for round in 0..rounds {
        run.round().map_err(|what| format!("round {round}: {what}"))?;
    }
    run.world.reopen()?;
    run.world.check()?;
    Ok(run.tally)
}

const CHANGES: [Call; 7] =
    [Call::Write, Call::Sync, Call::SetLen, Call::Create, Call::Rename, Call::Remove, Call::SyncDir];

/// A write after which not everything is certain, and its answer if that one is.
struct Tried {
    step: Step,
    answer: Option<Answer<Receipt>>,
}

struct Run {
    world: World,
    workload: Workload,
    dice: Dice,
    tally: Tally,
    /// What the clock showed when the last writes went off.
    burst_time: Timestamp,
}

impl Run {
    fn round(&mut self) -> Verdict {
        let end = *self.dice.pick(&[
            End::Power,
            End::Power,
            End::Power,
            End::Kill,
            End::FailedSync,
            End::FailedWrite,
            End::FlakyDisk,
        ]);
        let calls = self.dice.below(40);
        match end {
            End::Power => self.world.disk().power_off_after(calls),
            End::Kill => {}
            End::FlakyDisk => CHANGES.iter().for_each(|call| self.world.disk().inject_chance(*call, 10_000)),
            End::FailedSync => self.world.disk().inject(Fault::eio(Call::Sync).on(".seg").after(calls / 3)),
            End::FailedWrite => self.world.disk().inject(Fault::eio(Call::Write).on(".seg").after(calls / 3)),
        }
        let mut unknown = Vec::new();
        for _ in 0..1 + self.dice.below(12) {
            unknown = self.burst()?;
            if !unknown.is_empty() || !self.world.disk().is_powered() {
                break;
            }
        }
        self.world.store = None;
        self.world.machine = if end == End::Power { self.crash() } else { self.world.machine.kill() };
        self.tally.crashes += 1;
        self.world.machine.clock.advance(self.dice.below(2_000_000) as i64 - 500_000);
        self.open()?;
        self.settle(&unknown)?;
        self.world.check().map_err(|what| format!("after {end:?}: {what}"))?;
        self.retry(&unknown)?;
        let log = whole_log(self.world.store())?;
        same_events(&log, self.world.model.log()).map_err(|what| format!("after {end:?} and retries: {what}"))
    }

    fn crash(&mut self) -> SimMachine {
        self.world.machine.crash(self.dice.number())
    }

    /// Opens the store, which may lose power again and again while it does.
    fn open(&mut self) -> Verdict {
        while self.dice.chance(1, 3) {
            self.world.disk().power_off_after(self.dice.below(8));
            let opened = self.world.open();
            let interrupted = !self.world.disk().is_powered();
            self.world.store = None;
            if !interrupted {
                opened?;
            }
            self.world.machine = self.crash();
            self.tally.while_opening += 1;
        }
        self.world.open()
    }

    /// Several writes at once; those from the first one of unknown outcome on are returned, in order.
    fn burst(&mut self) -> Result<Vec<Tried>, String> {
        let mut planned = self.world.model.clone();
        let now = self.world.now();
        self.burst_time = now;
        let before = self.world.model.log().len();
        let mut steps = Vec::new();
        let mut wanted = Vec::new();
        let single = self.dice.chance(1, 6);
        for _ in 0..if single { 1 } else { 1 + self.dice.below(8) } {
            let step = if single {
                self.workload.change_stream(&planned)
            } else {
                Step::Append(self.workload.append(&planned))
            };
            wanted.push(write_model(&mut planned, &step, now));
            steps.push(step);
        }
        let found = submit(self.world.store(), &steps);
        let certain = found.iter().take_while(|answer| is_known(answer)).count();
        let mut tried: Vec<Tried> = Vec::new();
        for (at, ((step, found), wanted)) in steps.into_iter().zip(found).zip(wanted).enumerate() {
            self.tally.acknowledged += u64::from(found.is_ok());
            if at < certain {
                same_answer(&found, &wanted).map_err(|what| format!("{step}: {what}"))?;
                write_model(&mut self.world.model, &step, now).ok();
            } else {
                let answer = is_known(&found).then_some(found);
                tried.push(Tried { step, answer });
            }
        }
        if tried.is_empty() {
            let learned = self.world.learn(before);
            // Where the power went after the last answer, the log tells the rest after the restart.
            learned.or_else(|what| if self.world.disk().is_powered() { Err(what) } else { Ok(()) })?;
        }
        Ok(tried)
    }

    /// Finds out which of the writes of unknown outcome happened, and that nothing else did.
    fn settle(&mut self, tried: &[Tried]) -> Verdict {
        let log = whole_log(self.world.store())?;
        let mut model = self.world.model.clone();
        log.iter().take(model.log().len()).for_each(|event| model.learn_id(event));
        let acknowledged = log.get(..model.log().len()).unwrap_or(&log);
        same_events(acknowledged, model.log()).map_err(|what| format!("after a crash: {what}"))?;
        let mut there = 0;
        let explained = explain(&log, model, tried, self.burst_time, &mut there)
            .map_err(|what| format!("nothing explains the log after a crash: {what}"))?;
        self.tally.unknown_there += there;
        self.tally.unknown_gone += tried.iter().filter(|tried| tried.answer.is_none()).count() as u64 - there;
        self.world.model = explained;
        same("head after a crash", &self.world.store().head(), &self.world.model.head())
    }

    /// Sends the appends of unknown outcome again: each is there once afterwards.
    fn retry(&mut self, tried: &[Tried]) -> Verdict {
        for Tried { step, .. } in tried.iter().filter(|tried| matches!(tried.step, Step::Append(_))) {
            self.world.take(step).map_err(|what| format!("retry of {step}: {what}"))?;
        }
        Ok(())
    }
}

/// The model after those writes of which a choice explains the whole log: each of unknown outcome happened or not, the
/// others as they were answered. `there` counts those that happened.
fn explain(
    log: &[StoredEvent],
    model: Model,
    tried: &[Tried],
    now: Timestamp,
    there: &mut u64,
) -> Result<Model, String> {
    let Some((first, rest)) = tried.split_first() else {
        return same_events(log, model.log()).map(|()| model);
    };
    let mut with = model.clone();
    let wanted = write_model(&mut with, &first.step, now);
    let upto = with.log().len();
    let fits = log.get(..upto).is_some_and(|prefix| {
        prefix[model.log().len()..].iter().for_each(|event| with.learn_id(event));
        same_events(&prefix[model.log().len()..], &with.log()[model.log().len()..]).is_ok()
    });
    if let Some(found) = &first.answer {
        same_answer(found, &wanted)?;
        return if fits {
            explain(log, with, rest, now, there)
        } else {
            Err(format!("{} is lost", first.step))
        };
    }
    let stores = upto > model.log().len();
    if fits && stores {
        let counted = *there;
        *there += 1;
        match explain(log, with, rest, now, there) {
            Ok(model) => return Ok(model),
            Err(_) => *there = counted,
        }
    }
    explain(log, model, rest, now, there)
}

/// Appends go off together, other writes one by one.
fn submit(store: &Store, steps: &[Step]) -> Vec<Answer<Receipt>> {
    let submitted: Vec<Result<PendingAppend, Answer<Receipt>>> = steps
        .iter()
        .map(|step| match step {
            Step::Append(request) => store.submit(request.clone()).map_err(Err),
            other => Err(write(store, other)),
        })
        .collect();
    submitted.into_iter().map(|pending| pending.map_or_else(|answer| answer, PendingAppend::wait)).collect()
}

/// Whether an answer says what happened. A poisoned store says that nothing did, but is no sign of the store's decision.
fn is_known(answer: &Answer<Receipt>) -> bool {
    match answer {
        Ok(_) => true,
        Err(error) => {
            error.code.entry().no_side_effects && !matches!(error.code, Code::Poisoned | Code::Closed)
        }
    }
}
