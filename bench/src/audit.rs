//! What the audit trail costs: the engine in this process, and the server, with it and, for measuring only, without it, in
//! turn.

use crate::import_data;
use crate::load::{Contender, Sample, Work};
use crate::run::{Runner, count};
use crate::target::Target;
use crate::targets::graven_grpc::{GravenGrpc, Use};
use crate::targets::graven_process::GravenProcess;
use crate::targets::graven_server::GravenServer;
use anyhow::{Context, Result};
use bytes::Bytes;
use graven_engine::env::spawn_named;
use graven_engine::{Options, PendingAppend, Store};
use graven_model::cloudevents::{self, Incoming, Interner};
use graven_model::{AppendRequest, Expected, Idempotency, StreamName, StreamWrite};
use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::BufRead as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

/// How the measures of a cost begin.
pub(crate) const COST: &str = "Cost of the audit trail";
/// How a measure goes on for appends of this many clients and events.
pub(crate) const APPEND_64X1: &str = "append one event at a time, 64 clients";
/// The same, ten events at a time.
pub(crate) const APPEND_64X10: &str = "append ten events at a time, 64 clients";
/// How a measure begins for an import.
pub(crate) const IMPORT: &str = "import";

const TARGET: &str = "Graven, library";
const SERVER: &str = "Graven, client";
/// With it, without it, without it, with it: what drifts within a round meets both alike.
const ROUND: [bool; 4] = [true, false, false, true];

/// As `graven import`: events and bytes of a chunk, chunks parsed ahead, chunks on their way.
const CHUNK_EVENTS_MAX: usize = 4_096;
const CHUNK_BYTES_MAX: usize = 4 << 20;
const CHUNKS_AHEAD: usize = 2;
const IN_FLIGHT_MAX: usize = 4;

/// Rates of each round.
#[derive(Default)]
struct Sides {
    with: Vec<f64>,
    without: Vec<f64>,
}

/// Events and seconds of one side in a round.
#[derive(Clone, Copy, Default)]
struct Done(u64, f64);

impl Sides {
    fn push(&mut self, with: Done, without: Done) {
        self.with.push(with.0 as f64 / with.1);
        self.without.push(without.0 as f64 / without.1);
    }

    /// By how much what is done in a second becomes less, percent, round by round.
    fn costs(&self) -> Vec<f64> {
        self.with.iter().zip(&self.without).map(|(with, without)| 100.0 * (1.0 - with / without)).collect()
    }
}

impl Done {
    fn add(&mut self, events: u64, seconds: f64) {
        self.0 += events;
        self.1 += seconds;
    }
}

impl Runner {
    /// Appends and imports on both sides.
    ///
    /// # Errors
    /// The first failure.
    pub(crate) async fn audit(&mut self) -> Result<()> {
        for (key, what, batch) in [("audit-64x1", APPEND_64X1, 1), ("audit-64x10", APPEND_64X10, 10)] {
            let work = Work::Append { clients: 64, batch };
            if self.wants(key) && self.is_asked_for(TARGET) {
                let sides = self.audited_appends(work).await?;
                self.cost(what, TARGET, &sides);
            }
            if self.wants(key)
                && self.is_asked_for(SERVER)
                && let Some(without) = self.installed.graven_without_audit.clone()
            {
                let sides = self.audited_sessions(work, &without).await?;
                self.cost(what, SERVER, &sides);
            }
        }
        if self.wants("audit-import") && self.is_asked_for(TARGET) {
            let file = self.dir.join("audit.ndjson");
            import_data::write(&file, self.scale.imported)?;
            let text =
                Bytes::from(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
            let what = format!("{IMPORT} of {} CloudEvents", count(self.scale.imported));
            for (how, parsed) in [("", false), (", parsed beforehand", true)] {
                let sides = self.audited_imports(&text, parsed).await?;
                self.cost(&format!("{what}{how}"), TARGET, &sides);
            }
        }
        Ok(())
    }

    async fn audited_appends(&self, work: Work) -> Result<Sides> {
        let dir = self.dir.join("audit");
        let open = |audited: bool| -> Result<Arc<dyn Target>> {
            Ok(Arc::new(GravenProcess::open_with(&dir.join(audited.to_string()), options(audited))?))
        };
        let sides = self.turns([open(true)?, open(false)?], work).await?;
        remove(&dir)?;
        Ok(sides)
    }

    /// The same over the network, between two servers.
    async fn audited_sessions(&self, work: Work, without: &Path) -> Result<Sides> {
        let dir = self.dir.join("audit");
        let start = |binary: &Path, name| GravenServer::start(binary, &dir.join(name)).map(Arc::new);
        let servers = [start(&self.installed.graven, "with")?, start(without, "without")?];
        let target = |server: &Arc<GravenServer>| -> Arc<dyn Target> {
            Arc::new(GravenGrpc::new(Arc::clone(server), Use::Session))
        };
        let sides = self.turns([target(&servers[0]), target(&servers[1])], work).await?;
        for server in servers {
            Arc::into_inner(server).context("a client still holds the server")?.stop()?;
        }
        remove(&dir)?;
        Ok(sides)
    }

    /// Loads a target with the trail and one without it, in turn.
    async fn turns(&self, targets: [Arc<dyn Target>; 2], work: Work) -> Result<Sides> {
        let mut contenders = Vec::new();
        for target in targets {
            let mut contender = Contender::connect(target, work).await?;
            contender.slot(work, self.scale.slot / 4).await?;
            contenders.push(contender);
        }
        let mut sides = Sides::default();
        for _ in 0..self.scale.rounds {
            let mut done = [Done::default(); 2];
            for audited in ROUND {
                let side = usize::from(!audited);
                let Sample { done: events, seconds, .. } =
                    contenders[side].slot(work, self.scale.slot).await?;
                done[side].add(events, seconds);
            }
            sides.push(done[0], done[1]);
        }
        Ok(sides)
    }

    async fn audited_imports(&self, text: &Bytes, parsed: bool) -> Result<Sides> {
        let dir = self.dir.join("audit");
        let mut sides = Sides::default();
        for _ in 0..self.scale.repetitions {
            let mut done = [Done::default(); 2];
            for audited in ROUND {
                let (dir, chunks) = (dir.clone(), Chunks::of(text));
                let seconds = tokio::task::spawn_blocking(move || {
                    if parsed {
                        parsed_before(&dir, audited, chunks)
                    } else {
                        parsed_beside(&dir, audited, chunks)
                    }
                });
                done[usize::from(!audited)].add(self.scale.imported, seconds.await??);
                remove(&self.dir.join("audit"))?;
            }
            sides.push(done[0], done[1]);
        }
        Ok(sides)
    }

    fn cost(&mut self, what: &str, target: &str, sides: &Sides) {
        self.fact(&format!("With the audit trail, {what}"), target, &sides.with, "events/s");
        self.fact(&format!("Without the audit trail, {what}"), target, &sides.without, "events/s");
        self.fact(&format!("{COST}, {what}"), target, &sides.costs(), "%");
    }
}

fn options(audited: bool) -> Options {
    Options { without_audit: !audited, ..Options::default() }
}

fn remove(dir: &Path) -> Result<()> {
    fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))
}

/// Imports chunks that a thread of their own parses meanwhile, as `graven import` does; returns the seconds it took.
fn parsed_beside(dir: &Path, audited: bool, chunks: Chunks) -> Result<f64> {
    let (send, receive) = sync_channel(CHUNKS_AHEAD);
    let parser = spawn_named("bench-parser", move || {
        for chunk in chunks {
            if send.send(chunk).is_err() {
                return;
            }
        }
    });
    let seconds = import(dir, audited, receive.into_iter());
    parser.join().map_err(|_| anyhow::anyhow!("the parsing thread panicked"))?;
    seconds
}

/// Imports chunks that are there before the clock starts: nothing but the store is measured.
fn parsed_before(dir: &Path, audited: bool, chunks: Chunks) -> Result<f64> {
    let chunks: Vec<_> = chunks.collect();
    import(dir, audited, chunks.into_iter())
}

/// Opens a new store, hands it the chunks, a few on their way at a time, and closes it.
fn import(dir: &Path, audited: bool, chunks: impl Iterator<Item = Result<AppendRequest>>) -> Result<f64> {
    let begun = Instant::now();
    let store = Store::open(dir, options(audited)).context("cannot open the store")?;
    let mut on_their_way = VecDeque::new();
    for chunk in chunks {
        if on_their_way.len() == IN_FLIGHT_MAX
            && let Some(oldest) = on_their_way.pop_front()
        {
            wait(oldest)?;
        }
        on_their_way.push_back(store.submit(chunk?)?);
    }
    on_their_way.into_iter().try_for_each(wait)?;
    store.close()?;
    Ok(begun.elapsed().as_secs_f64())
}

fn wait(append: PendingAppend) -> Result<()> {
    append.wait()?;
    Ok(())
}

/// Lines as the appends an import makes of them.
struct Chunks {
    rest: Bytes,
    names: Interner,
}

impl Chunks {
    fn of(text: &Bytes) -> Chunks {
        Chunks { rest: text.clone(), names: Interner::default() }
    }

    fn chunk(&mut self) -> Result<AppendRequest> {
        let mut chunk = AppendRequest {
            events: Vec::with_capacity(CHUNK_EVENTS_MAX),
            idempotency: Idempotency::EachEvent,
            ..AppendRequest::default()
        };
        let mut streams: HashMap<StreamName, u32> = HashMap::new();
        let mut bytes = 0;
        while chunk.events.len() < CHUNK_EVENTS_MAX && bytes < CHUNK_BYTES_MAX && !self.rest.is_empty() {
            let length =
                (&self.rest[..]).skip_until(b'\n').context("bytes in memory are read without fail")?;
            let line = self.rest.split_to(length);
            bytes += length;
            let Incoming { stream, event } = cloudevents::parse(&line, &mut self.names)?;
            let index = match streams.get(&stream) {
                Some(index) => *index,
                None => {
                    let index = u32::try_from(chunk.streams.len())?;
                    streams.insert(stream.clone(), index);
                    chunk.streams.push(StreamWrite { stream, expected: Expected::Any });
                    index
                }
            };
            chunk.events.push((index, event));
        }
        Ok(chunk)
    }
}

impl Iterator for Chunks {
    type Item = Result<AppendRequest>;

    fn next(&mut self) -> Option<Result<AppendRequest>> {
        (!self.rest.is_empty()).then(|| self.chunk())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Spread;
    use graven_model::{Code, Position};

    fn directory(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("graven-bench-{name}-{}", std::process::id()))
    }

    fn lines(events: u64) -> Bytes {
        let file = directory("lines");
        import_data::write(&file, events).unwrap();
        let text = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        text.into()
    }

    #[test]
    fn a_store_without_its_audit_trail_is_refused_and_one_with_it_has_every_line() {
        let text = lines(5_000);
        for audited in [true, false] {
            let dir = directory("audit");
            parsed_beside(&dir, audited, Chunks::of(&text)).unwrap();
            let opened = Store::open(&dir, Options::default());
            if audited {
                assert_eq!(opened.unwrap().head(), Position(5_000));
            } else {
                assert_eq!(opened.err().map(|error| error.code), Some(Code::Corrupted));
            }
            remove(&dir).unwrap();
        }
    }

    #[test]
    fn a_cost_is_what_is_missing_of_the_rate_without() {
        let mut sides = Sides::default();
        sides.push(Done(90, 1.0), Done(200, 2.0));
        sides.push(Done(200, 1.0), Done(100, 1.0));
        let spread = Spread::of(&sides.costs());
        assert_eq!((spread.min.round(), spread.max.round()), (-100.0, 10.0));
    }
}
