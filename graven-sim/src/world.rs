//! [`World`]: a store on a simulated machine beside the model of it, taking the same steps.

use crate::dice::mix;
use crate::disk::SimDisk;
use crate::judge::{
    Verdict, same, same_answer, same_events, same_everything, same_follow, same_lookups, same_read,
    same_stream,
};
use crate::machine::SimMachine;
use crate::model::Model;
use crate::workload::{Step, Workload};
use graven_engine::{Options, Store};
use graven_model::{Receipt, Result as Answer, Selector, StoredEvent, Timestamp};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Where stores live on simulated disks.
pub const DIR: &str = "/data";

/// A store and its model.
pub struct World {
    /// The computer.
    pub machine: SimMachine,
    /// The store, unless it is closed.
    pub store: Option<Store>,
    /// What it should hold.
    pub model: Model,
    options: Options,
}

/// Bounds so small that a few dozen events fill an index file and evict stream heads.
#[must_use]
pub fn tiny_options() -> Options {
    Options { index_flush_events: 16, heads_max: 4, ..Options::small() }
}

impl World {
    /// An empty store.
    ///
    /// # Errors
    /// If it does not open.
    pub fn new(seed: u64, options: Options) -> Result<World, String> {
        World::on(SimMachine::new(seed), options)
    }

    /// An empty store on this machine.
    ///
    /// # Errors
    /// If it does not open.
    pub fn on(machine: SimMachine, options: Options) -> Result<World, String> {
        let mut world = World { machine, store: None, model: Model::new(), options };
        world.open()?;
        Ok(world)
    }

    /// The disk as it is now.
    #[must_use]
    pub fn disk(&self) -> &SimDisk {
        &self.machine.disk
    }

    /// The options the store is opened with, on this machine.
    #[must_use]
    pub fn options(&self) -> Options {
        Options { env: self.machine.env(), ..self.options.clone() }
    }

    /// The open store.
    ///
    /// # Panics
    /// If it is closed.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("the store is open")
    }

    /// What the clock shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.machine.clock.shows_us())
    }

    /// Opens the store.
    ///
    /// # Errors
    /// If it does not open.
    pub fn open(&mut self) -> Verdict {
        self.store = Some(Store::open(DIR, self.options()).map_err(|error| format!("open: {error}"))?);
        Ok(())
    }

    /// Closes the store and opens it again.
    ///
    /// # Errors
    /// If one of them fails, or the tree is another one afterwards.
    pub fn reopen(&mut self) -> Verdict {
        let store = self.store.take().expect("the store is open");
        let before = store.info();
        store.close().map_err(|error| format!("close: {error}"))?;
        drop(store);
        // Another process draws other ids.
        self.machine.seed = mix(self.machine.seed);
        self.open()?;
        let after = self.store().info();
        same("log id after opening again", &after.log_id, &before.log_id)?;
        same("root after opening again", &(after.head, after.root), &(before.head, before.root))
    }

    /// Takes a step in the store and in the model.
    ///
    /// # Errors
    /// What they disagree about.
    pub fn take(&mut self, step: &Step) -> Verdict {
        let now = self.now();
        match step {
            Step::Append(_)
            | Step::Delete(..)
            | Step::Tombstone(..)
            | Step::Truncate(..)
            | Step::SetMetadata(..) => {
                let before = self.model.head();
                let found = write(self.store(), step);
                let wanted = write_model(&mut self.model, step, now);
                let unseen = if let Step::Append(request) = step { request.unseen_max } else { 0 };
                let wanted = wanted.map_err(|error| self.model.with_unseen(error, unseen, now));
                same_answer(&found, &wanted)?;
                self.learn(before.0 as usize)
            }
            Step::Read(request) => same_read(self.store(), &self.model, request, now),
            Step::Follow(request) => same_follow(self.store(), &self.model, request, now),
            Step::LookUp(stream, id, position) => {
                same_stream(self.store(), &self.model, stream, now)?;
                same_lookups(self.store(), &self.model, *id, *position)
            }
            Step::Clock(by_us) => {
                self.machine.clock.advance(*by_us);
                Ok(())
            }
            Step::Reopen => self.reopen(),
            Step::Kill => self.restart(SimMachine::kill),
            Step::Crash(seed) => self.restart(|machine| machine.crash(*seed)),
        }
    }

    /// Goes on with the same store on a machine that is restarted, everything acknowledged being there.
    ///
    /// # Errors
    /// If it does not open, or has another tree.
    pub fn restart(&mut self, restart: impl FnOnce(&SimMachine) -> SimMachine) -> Verdict {
        let before = self.store.as_ref().map(Store::info);
        self.machine = restart(&self.machine);
        self.store = None;
        self.open()?;
        match before {
            Some(before) => {
                let after = self.store().info();
                same("root after a restart", &(after.head, after.root), &(before.head, before.root))
            }
            None => Ok(()),
        }
    }

    /// Compares the newest events one by one; the model learns the ids of those the store made by itself.
    ///
    /// # Errors
    /// The first event that differs.
    pub fn learn(&mut self, from: usize) -> Verdict {
        same("head", &self.store.as_ref().expect("the store is open").head(), &self.model.head())?;
        for position in from..self.model.log().len() {
            let wanted = self.model.log()[position].position;
            let event =
                self.store().event_at(wanted).map_err(|error| format!("event at {wanted}: {error}"))?;
            self.model.learn_id(&event);
            same_events(std::slice::from_ref(&event), &self.model.log()[position..=position])?;
        }
        Ok(())
    }

    /// Compares everything.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self) -> Verdict {
        same_everything(self.store(), &self.model, self.now())
    }
}

/// Does a writing step in a store.
///
/// # Errors
/// What the store answers.
///
/// # Panics
/// If the step does not write.
pub fn write(store: &Store, step: &Step) -> Answer<Receipt> {
    match step {
        Step::Append(request) => store.append(request.clone()),
        Step::Delete(stream, expected) => store.delete_stream(stream, *expected),
        Step::Tombstone(stream, expected) => store.tombstone_stream(stream, *expected),
        Step::Truncate(stream, before) => store.truncate_stream(stream, *before),
        Step::SetMetadata(stream, expected, json) => {
            store.set_stream_metadata(stream, *expected, json.clone())
        }
        other => panic!("{other:?} does not write"),
    }
}

/// Does a writing step in the model.
///
/// # Errors
/// What the model answers.
///
/// # Panics
/// If the step does not write.
pub fn write_model(model: &mut Model, step: &Step, now: Timestamp) -> Answer<Receipt> {
    match step {
        Step::Append(request) => model.append(request, now),
        Step::Delete(stream, expected) => model.delete_stream(stream, *expected, now),
        Step::Tombstone(stream, expected) => model.tombstone_stream(stream, *expected, now),
        Step::Truncate(stream, before) => model.truncate_stream(stream, *before, now),
        Step::SetMetadata(stream, expected, json) => {
            model.set_stream_metadata(stream, *expected, json.clone(), now)
        }
        other => panic!("{other:?} does not write"),
    }
}

/// All events of a store.
///
/// # Errors
/// What a page has wrong or the store answered.
pub fn whole_log(store: &Store) -> Result<Vec<StoredEvent>, String> {
    let request = graven_model::ReadRequest::new(Selector::All).limit(1_000);
    crate::judge::read_pages(store, &request)?.map_err(|error| format!("reading the log: {error}"))
}

/// A run of random steps that went wrong.
#[derive(Debug)]
pub struct Failure {
    /// The steps, the last being the one that went wrong.
    pub steps: Vec<Step>,
    /// What was wrong.
    pub what: String,
}

/// Takes `count` random steps and compares everything at the end.
///
/// # Errors
/// The steps up to the first disagreement.
pub fn run_random(seed: u64, count: usize, options: &Options) -> Result<(), Failure> {
    let mut steps = Vec::new();
    let mut run = || {
        let mut world = World::new(seed, options.clone())?;
        let mut workload = Workload::new(seed);
        for _ in 0..count {
            let step = workload.step(&world.model);
            steps.push(step.clone());
            world.take(&step)?;
        }
        world.check()?;
        world.reopen()?;
        world.check()
    };
    caught(&mut run).map_err(|what| Failure { steps, what })
}

/// A panic is a failure like another.
fn caught(run: &mut dyn FnMut() -> Verdict) -> Verdict {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(format!("panic: {}", text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?")))
    })
}

/// Takes these steps and compares everything at the end.
///
/// # Errors
/// The first disagreement.
pub fn run_steps(seed: u64, steps: &[Step], options: &Options) -> Verdict {
    caught(&mut || {
        let mut world = World::new(seed, options.clone())?;
        steps.iter().try_for_each(|step| world.take(step))?;
        world.check()?;
        world.reopen()?;
        world.check()
    })
}

/// Leaves out steps as long as something still goes wrong, larger runs of them first.
#[must_use]
pub fn shrink(seed: u64, failure: Failure, options: &Options) -> Failure {
    let Failure { mut steps, mut what } = failure;
    let mut chunk = steps.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < steps.len() {
            let fewer = [&steps[..at], &steps[(at + chunk).min(steps.len())..]].concat();
            match run_steps(seed, &fewer, options) {
                Err(still) => (steps, what) = (fewer, still),
                Ok(()) => at += chunk,
            }
        }
        chunk /= 2;
    }
    Failure { steps, what }
}
