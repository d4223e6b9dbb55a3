//! What a bundle needs before its checkpoint can be signed or chosen: positions, streams, and the seal they rest on.

use super::export::Wanted;
use graven_engine::Store;
use graven_engine::audit::Trail;
use graven_model::{Code, Error, ReadRequest, Result, Selector, StreamName, limits};
use graven_proof::Hash;
use graven_proof::bundle::Completeness;
use graven_proof::trie::StreamHead;
use std::collections::BTreeSet;
use std::ops::Range;

/// How often streams are looked up anew because a seal came in between.
const SEAL_ATTEMPTS: usize = 5;

/// See the module.
pub(super) struct Plan {
    pub(super) of: Of,
    /// Position of the seal in the bundle.
    pub(super) seal: Option<u64>,
    /// Size the checkpoint has at the least.
    pub(super) size_min: u64,
}

/// What goes into the bundle.
pub(super) enum Of {
    /// Positions without a gap; everything up to the checkpoint if not said.
    Run(Option<Range<u64>>),
    Streams(Vec<Whole>),
}

/// A stream as of the seal.
pub(super) struct Whole {
    name: StreamName,
    pub(super) key: Hash,
    head: StreamHead,
    pub(super) said: Completeness,
}

impl Plan {
    /// Seals first, if it takes a seal, unless the checkpoint has a size already.
    ///
    /// # Errors
    /// Those of [`super::export::export`].
    pub(super) fn make(store: &Store, wanted: &Wanted, size: Option<u64>) -> Result<Plan> {
        let trail = store.trail();
        let plan = Plan::below(store, &trail, wanted, size)?;
        match size.filter(|size| plan.size_min > *size) {
            None => Ok(plan),
            Some(size) if matches!(wanted, Wanted::Range(_)) => {
                let message = "the range to export goes beyond the checkpoint that was asked for";
                Err(Error::new(Code::SizeNotReached, message)
                    .expected(format!("an end of at most {size}"))
                    .found(plan.size_min.to_string()))
            }
            Some(size) => Err(unsealed(size)),
        }
    }

    fn below(store: &Store, trail: &Trail, wanted: &Wanted, size: Option<u64>) -> Result<Plan> {
        let newest_seal = || match size {
            None => Ok(trail.seal()?.position),
            Some(size) => match trail.last_seal()? {
                Some(seal) => Ok(seal.position),
                None => Err(unsealed(size)),
            },
        };
        match wanted {
            Wanted::Range(run) if run.is_empty() => {
                Err(Error::new(Code::BadRequest, "the range to export is empty")
                    .expected("a first position below the end")
                    .found(format!("{}..{}", run.start, run.end)))
            }
            Wanted::Range(run) => Ok(Plan { of: Of::Run(Some(run.clone())), seal: None, size_min: run.end }),
            Wanted::All => {
                let seal = match size {
                    None => trail.seal()?.position,
                    Some(size) => seal_below(store, size)?.ok_or_else(|| unsealed(size))?,
                };
                Ok(Plan { of: Of::Run(None), seal: Some(seal), size_min: seal + 1 })
            }
            Wanted::Streams(names) => {
                let names: BTreeSet<&StreamName> = names.iter().collect();
                if names.is_empty() || names.len() > limits::BUNDLE_STREAMS_MAX {
                    return Err(Error::new(Code::ExportTooLarge, "a bundle has streams, and not too many")
                        .expected(format!("1 to {}", limits::BUNDLE_STREAMS_MAX))
                        .found(names.len().to_string()));
                }
                for _ in 0..SEAL_ATTEMPTS {
                    let seal = newest_seal()?;
                    let streams: Vec<Whole> =
                        names.iter().map(|name| Whole::of(trail, name)).collect::<Result<_>>()?;
                    if streams.iter().all(|stream| stream.said.seal == seal) {
                        return Ok(Plan { of: Of::Streams(streams), seal: Some(seal), size_min: seal + 1 });
                    }
                }
                Err(Error::new(Code::NotSealedYet, "the store is sealed again and again meanwhile"))
            }
        }
    }
}

impl Whole {
    fn of(trail: &Trail, name: &StreamName) -> Result<Whole> {
        let proven = trail.completeness(name)?;
        let head = proven.head.ok_or_else(|| {
            Error::new(Code::NotSealedYet, format!("stream {:?} is in no seal yet", name.as_str()))
        })?;
        let said = Completeness::new(name.as_str(), &proven.name_salt, proven.seal.position, &proven.proof);
        Ok(Whole { name: name.clone(), key: proven.stream_key, head, said })
    }

    /// Positions of its events, ascending.
    pub(super) fn positions(&self, trail: &Trail, out: &mut Vec<u64>) -> Result<()> {
        for revision in 0..self.head.next_version {
            let position = trail.position_of(&self.name, revision)?;
            let missing = || {
                let what = format!("revision {revision} of stream {:?} cannot be found", self.name.as_str());
                Error::new(Code::Corrupted, what)
            };
            out.push(position.ok_or_else(missing)?);
            if out.len() > limits::BUNDLE_STREAM_EVENTS_MAX {
                return Err(Error::new(
                    Code::ExportTooLarge,
                    "the streams have too many events for one bundle",
                )
                .expected(format!("at most {}", limits::BUNDLE_STREAM_EVENTS_MAX)));
            }
        }
        if self.head.tombstoned {
            out.push(self.head.last_position);
        }
        Ok(())
    }
}

/// Position of the newest seal below a size.
fn seal_below(store: &Store, size: u64) -> Result<Option<u64>> {
    let mut request = ReadRequest::new(Selector::Types(vec!["$mapRoot".into()])).backward();
    loop {
        let page = store.read(&request)?;
        let found = page.events.iter().map(|event| event.position.0).find(|position| *position < size);
        match page.next.filter(|_| found.is_none()) {
            Some(next) => request = request.from(next),
            None => return Ok(found),
        }
    }
}

fn unsealed(size: u64) -> Error {
    let message = "the newest seal is above the checkpoint that was asked for";
    Error::new(Code::NotSealedYet, message)
        .expected(format!(
            "a seal below {size}: start the server until the newest checkpoint is cosigned or timestamped, stop it again, or \
             export a range"
        ))
}
