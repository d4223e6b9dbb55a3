//! [`Groups`]: making, changing and ending groups, consuming, and what to do about dead letters.

use super::consumer::{Consumer, ConsumerHandle};
use super::group::{Group, changed, not_found};
use super::log::{GroupLog, restore};
use super::records::{
    CHECKPOINT, CheckpointRecord, DeletedRecord, GROUP_CREATED, GROUP_DELETED, GROUP_UPDATED, GROUPS_STREAM,
    GroupRecord, decode, stream_of,
};
use super::settings;
use super::totals::GroupTotals;
use crate::append::{Shared, WritePath};
use crate::node::Membership;
use crate::read::start;
use graven_model::group::{
    ConsumerOptions, DeadLetterFilter, DeadLetterPage, GroupInfo, GroupName, GroupSettings,
};
use graven_model::{
    AppendRequest, Code, Direction, Error, Expected, Position, Result, Selector, Start, StreamName,
    Timestamp, limits,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The consumer groups of an open store. Cheap to clone; does not keep the store open. All calls but those of consumers may
/// block on the disk.
#[derive(Clone)]
pub struct Groups {
    inner: Arc<Inner>,
}

struct Inner {
    log: Arc<GroupLog>,
    /// Read from the log when it is first asked for.
    registry: Mutex<Option<Registry>>,
    consumers: AtomicU64,
    stopped: AtomicBool,
}

/// The groups there are.
#[derive(Default)]
struct Registry {
    groups: BTreeMap<GroupName, Arc<Group>>,
    /// Events in `$groups` that can be seen, and the revision after the last.
    changes: u64,
    end: u64,
}

/// Changes in `$groups` before it is written anew.
const CHANGES_MAX: u64 = 1_000;

/// Parked events looked at under one lock.
const LOOKED_AT_MAX: usize = 10_000;

impl Groups {
    pub(crate) fn new(shared: Arc<Shared>, node: Option<Arc<Membership>>) -> Groups {
        Groups {
            inner: Arc::new(Inner {
                log: Arc::new(GroupLog::new(shared, node)),
                registry: Mutex::new(None),
                consumers: AtomicU64::new(0),
                stopped: AtomicBool::new(false),
            }),
        }
    }

    /// Appends are taken from now on.
    pub(crate) fn begin_writing(&self, path: &Arc<WritePath>) {
        self.inner.log.begin_writing(Arc::clone(path));
    }

    /// Makes a group. Durable when this returns.
    ///
    /// # Errors
    /// [`Code::GroupExists`], [`Code::InvalidGroup`], [`Code::TooManyGroups`]; the `Invalid…` code of selector, filter or start;
    /// otherwise as [`crate::Store::append`].
    pub fn create(&self, name: &GroupName, settings: &GroupSettings) -> Result<()> {
        settings::check(settings)?;
        self.with(|registry| {
            if registry.groups.contains_key(name) {
                return Err(Error::new(
                    Code::GroupExists,
                    format!("there is a consumer group {:?} already", name.as_str()),
                ));
            }
            if registry.groups.len() >= limits::GROUPS_MAX {
                return Err(Error::new(
                    Code::TooManyGroups,
                    "the store holds as many consumer groups as it may",
                )
                .expected(format!("fewer than {}", limits::GROUPS_MAX)));
            }
            let log = &self.inner.log;
            let (next, from_revision) = self.resolve(&settings.selector, settings.start)?;
            let checkpoint = log.event(CHECKPOINT, &CheckpointRecord::at(next, from_revision))?;
            let created_at = Timestamp::from_micros(log.shared.env.clock.now_us());
            let record = log.event(GROUP_CREATED, &GroupRecord::new(name, created_at, settings))?;
            let request = AppendRequest::to(stream_of(name)?, Expected::Any, [checkpoint]);
            self.change(registry, request, record, None)?;
            let group =
                Group::new(name.clone(), created_at, settings.clone(), restore(log, name)?, Arc::clone(log))?;
            registry.groups.insert(name.clone(), Arc::new(group));
            Ok(())
        })
    }

    /// Changes a group's settings; what it has done and where it is stays, and `start` means nothing. Consumers end with
    /// [`Code::GroupChanged`]. Durable when this returns.
    ///
    /// # Errors
    /// [`Code::GroupNotFound`]; [`Code::InvalidGroup`] for settings out of bounds and for another selector; the `Invalid…` code
    /// of the filter; otherwise as [`crate::Store::append`].
    pub fn update(&self, name: &GroupName, settings: &GroupSettings) -> Result<()> {
        settings::check(settings)?;
        self.with(|registry| {
            let group = registry.get(name)?;
            if group.lock().0.machine.settings.selector != settings.selector {
                return Err(Error::new(
                    Code::InvalidGroup,
                    format!("what group {:?} consumes cannot be changed", name.as_str()),
                )
                .expected("the selector it was made with, or another group"));
            }
            let record = GroupRecord::new(name, group.created_at, settings);
            let record = self.inner.log.event(GROUP_UPDATED, &record)?;
            group.update(settings, || {
                self.change(registry, AppendRequest::default(), record, Some((name, settings)))
            })
        })
    }

    /// Has a group go on from somewhere else, backwards or forwards. What is parked stays parked, and is not delivered again
    /// but by a replay. Consumers end with [`Code::GroupChanged`]. Durable when this returns.
    ///
    /// # Errors
    /// [`Code::GroupNotFound`]; [`Code::InvalidStart`] for a revision if the group is not on a stream; otherwise as
    /// [`crate::Store::append`].
    pub fn reset(&self, name: &GroupName, to: Start) -> Result<()> {
        let group = self.group(name)?;
        let selector = group.lock().0.machine.settings.selector.clone();
        let (next, from_revision) = self.resolve(&selector, to)?;
        group.reset(next, from_revision)
    }

    /// Ends a group; its parked events go with it. Consumers end with [`Code::GroupNotFound`]. Durable when this returns.
    ///
    /// # Errors
    /// [`Code::GroupNotFound`]; otherwise as [`crate::Store::append`].
    pub fn delete(&self, name: &GroupName) -> Result<()> {
        self.with(|registry| {
            let group = registry.get(name)?;
            let record = self.inner.log.event(GROUP_DELETED, &DeletedRecord::new(name))?;
            group.delete(|hide| {
                registry.groups.remove(name);
                let changed = self.change(registry, hide, record, None);
                if changed.is_err() {
                    registry.groups.insert(name.clone(), Arc::clone(&group));
                }
                changed
            })
        })
    }

    /// All groups, by name.
    ///
    /// # Errors
    /// [`Code::NotTheWriter`] on a node that follows; [`Code::Corrupted`]; [`Code::Io`].
    pub fn list(&self) -> Result<Vec<GroupInfo>> {
        self.all(None)?.iter().map(|group| group.info()).collect()
    }

    /// How a group stands.
    ///
    /// # Errors
    /// [`Code::GroupNotFound`]; otherwise as [`Groups::list`].
    pub fn info(&self, name: &GroupName) -> Result<GroupInfo> {
        self.group(name)?.info()
    }

    /// What all groups have done since the store was opened, those among them that are gone. Cheap.
    #[must_use]
    pub fn totals(&self) -> GroupTotals {
        self.inner.log.totals.now()
    }

    /// Begins to consume.
    ///
    /// # Errors
    /// [`Code::GroupNotFound`]; [`Code::GroupFull`]; [`Code::InvalidGroup`] for options out of bounds; [`Code::NotTheWriter`]
    /// with the writer's address on a node that follows.
    pub fn connect(&self, name: &GroupName, options: ConsumerOptions) -> Result<Consumer> {
        if options.buffer == 0 || options.buffer > limits::CONSUMER_BUFFER_MAX {
            return Err(Error::new(Code::InvalidGroup, "the buffer of a consumer is out of bounds")
                .expected(format!("1 to {} events", limits::CONSUMER_BUFFER_MAX))
                .found(options.buffer.to_string()));
        }
        if options.name.len().max(options.address.len()) > limits::CONSUMER_NAME_BYTES_MAX {
            return Err(Error::new(Code::InvalidGroup, "the name or address of a consumer is too long")
                .expected(format!("at most {} bytes", limits::CONSUMER_NAME_BYTES_MAX))
                .found(format!("{} bytes", options.name.len().max(options.address.len()))));
        }
        self.inner.log.check()?;
        let group = self.group(name)?;
        let id = self.inner.consumers.fetch_add(1, Ordering::Relaxed) + 1;
        group.connect(id, options).map(Consumer::new)
    }

    /// The handle of a consumer, by its id.
    ///
    /// # Errors
    /// [`Code::GroupNotFound`]; [`Code::ConsumerNotFound`].
    pub fn consumer(&self, name: &GroupName, id: u64) -> Result<ConsumerHandle> {
        let seat = self.group(name)?.seat(id).ok_or_else(|| {
            Error::new(Code::ConsumerNotFound, format!("group {:?} has no consumer {id}", name.as_str()))
        })?;
        Ok(ConsumerHandle { seat })
    }

    /// Dead letters in order of group and position, those after a place.
    ///
    /// # Errors
    /// [`Code::InvalidLimit`] for a limit of 0 or above [`limits::DEAD_LETTER_PAGE_MAX`], and for as many positions;
    /// [`Code::GroupNotFound`] if the filter names a group that is not there; otherwise as [`Groups::list`].
    pub fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&(GroupName, Position)>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        if limit == 0 || limit > limits::DEAD_LETTER_PAGE_MAX {
            return Err(Error::new(Code::InvalidLimit, "the number of dead letters a page is out of bounds")
                .expected(format!("1 to {}", limits::DEAD_LETTER_PAGE_MAX))
                .found(limit.to_string()));
        }
        check_filter(filter)?;
        let mut page = DeadLetterPage::default();
        let mut more = false;
        for group in self.all(filter.group.as_ref())? {
            let from = match after {
                Some((name, _)) if group.name < *name => continue,
                Some((name, position)) if group.name == *name => position.next().0,
                _ => 0,
            };
            let room = limit - page.letters.len();
            let (chosen, rest) = choose(&group, filter, from, room as u64);
            for position in chosen {
                let found = group.lock().0.machine.letters.get(position).cloned();
                // It may have been replayed meanwhile.
                let Some(letter) = found else { continue };
                let error = self.inner.log.error_of(&letter)?;
                page.letters.extend(group.lock().0.machine.letters.show(&group.name, position, error));
            }
            if rest {
                more = true;
                break;
            }
        }
        if more {
            page.next = page.letters.last().map(|letter| (letter.group.clone(), letter.position));
        }
        Ok(page)
    }

    /// How many dead letters a selection means.
    ///
    /// # Errors
    /// As [`Groups::dead_letters`].
    pub fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
        check_filter(filter)?;
        let mut count = 0;
        for group in self.all(filter.group.as_ref())? {
            count += choose(&group, filter, 0, u64::MAX).0.len() as u64;
        }
        Ok(count)
    }

    /// Replays dead letters, oldest first, `limit` of them at the most: they are delivered before anything else, and leave the
    /// list when they are done. One that fails again stays where it is. In an ordered group the parked events before one in its
    /// stream are replayed with it, and those parked behind it follow by themselves. Answers with how many are being replayed
    /// now that were not before. What is being replayed when the store crashes or is closed is parked as before.
    ///
    /// # Errors
    /// As [`Groups::dead_letters`].
    pub fn replay(&self, filter: &DeadLetterFilter, limit: Option<u64>) -> Result<u64> {
        check_filter(filter)?;
        self.inner.log.check()?;
        let limit = limit.unwrap_or(u64::MAX);
        let mut count = 0;
        for group in self.all(filter.group.as_ref())? {
            if count >= limit {
                break;
            }
            count += group.replay(&choose(&group, filter, 0, u64::MAX).0, limit - count);
        }
        Ok(count)
    }

    /// Takes dead letters out of the list without their being processed, oldest first, `limit` of them at the most. In an
    /// ordered group those parked behind them follow. Durable when this returns; answers with how many.
    ///
    /// # Errors
    /// As [`Groups::dead_letters`]; otherwise as [`crate::Store::append`].
    pub fn skip(&self, filter: &DeadLetterFilter, limit: Option<u64>) -> Result<u64> {
        check_filter(filter)?;
        let limit = limit.unwrap_or(u64::MAX);
        let mut count = 0;
        for group in self.all(filter.group.as_ref())? {
            if count >= limit {
                break;
            }
            count += group.skip(&choose(&group, filter, 0, limit - count).0)?;
        }
        Ok(count)
    }

    /// Ends all consumers with [`Code::GroupChanged`] and reads everything from the log again.
    ///
    /// # Errors
    /// As [`Groups::list`], and [`crate::Store::append`] for the last checkpoints.
    pub fn restart(&self) -> Result<()> {
        let mut registry = self.inner.registry.lock();
        self.inner.log.check()?;
        let mut outcome = Ok(());
        for group in registry.take().unwrap_or_default().groups.into_values() {
            outcome = outcome.and(group.stop(&changed(&group.name)));
        }
        *registry = Some(self.load()?);
        outcome
    }

    /// Ends all consumers and writes the last checkpoints. Appends are still taken.
    pub(crate) fn stop(&self) {
        self.inner.stopped.store(true, Ordering::SeqCst);
        let registry = self.inner.registry.lock().take();
        let closed = Error::new(Code::Closed, "the store is closed");
        for group in registry.unwrap_or_default().groups.into_values() {
            if let Err(error) = group.stop(&closed) {
                tracing::warn!(group = group.name.as_str(), %error, "a consumer group stops without a checkpoint");
            }
        }
    }

    /// Does something with the groups, which are read from the log first if need be.
    fn with<T>(&self, body: impl FnOnce(&mut Registry) -> Result<T>) -> Result<T> {
        let mut registry = self.inner.registry.lock();
        if self.inner.stopped.load(Ordering::SeqCst) {
            return Err(Error::new(Code::Closed, "the store is closed"));
        }
        self.inner.log.check_writer()?;
        if registry.is_none() {
            *registry = Some(self.load()?);
        }
        body(registry.as_mut().expect("it was just read"))
    }

    fn group(&self, name: &GroupName) -> Result<Arc<Group>> {
        self.with(|registry| registry.get(name))
    }

    /// All groups by name, or the one.
    fn all(&self, only: Option<&GroupName>) -> Result<Vec<Arc<Group>>> {
        self.with(|registry| match only {
            Some(name) => Ok(vec![registry.get(name)?]),
            None => Ok(registry.groups.values().cloned().collect()),
        })
    }

    fn load(&self) -> Result<Registry> {
        let log = &self.inner.log;
        let mut registry = Registry::default();
        let mut found: BTreeMap<GroupName, (Timestamp, GroupSettings)> = BTreeMap::new();
        log.each(&groups_stream()?, |event| {
            registry.changes += 1;
            registry.end = event.revision.0 + 1;
            match &*event.event.event_type {
                GROUP_CREATED | GROUP_UPDATED => {
                    let record: GroupRecord = decode(event)?;
                    let name = GroupName::new(record.group.as_str())?;
                    found.insert(name, (record.created_at, record.settings()?));
                }
                GROUP_DELETED => {
                    let record: DeletedRecord = decode(event)?;
                    found.remove(&GroupName::new(record.group.as_str())?);
                }
                other => {
                    return Err(Error::new(
                        Code::UnknownFormat,
                        "stream \"$groups\" has a record of an unknown type",
                    )
                    .found(format!("{other:?} at position {}", event.position)));
                }
            }
            Ok(())
        })?;
        for (name, (created_at, settings)) in found {
            let restored = restore(log, &name)?;
            let group = Group::new(name.clone(), created_at, settings, restored, Arc::clone(log))?;
            registry.groups.insert(name, Arc::new(group));
        }
        Ok(registry)
    }

    /// Appends what changes with a record about a group, and writes `$groups` anew if it has grown long. `to`: the settings a
    /// group is about to have.
    fn change(
        &self,
        registry: &mut Registry,
        request: AppendRequest,
        record: graven_model::NewEvent,
        to: Option<(&GroupName, &GroupSettings)>,
    ) -> Result<()> {
        let log = &self.inner.log;
        let mut events = vec![record];
        let mut cut = None;
        if registry.changes > CHANGES_MAX + 4 * registry.groups.len() as u64 {
            // The record says last what became of its group, the others stand before it.
            let mut all = Vec::with_capacity(registry.groups.len() + 1);
            for group in registry.groups.values() {
                let settings = match to {
                    Some((name, settings)) if *name == group.name => settings.clone(),
                    _ => group.lock().0.machine.settings.clone(),
                };
                all.push(
                    log.event(GROUP_UPDATED, &GroupRecord::new(&group.name, group.created_at, &settings))?,
                );
            }
            all.append(&mut events);
            events = all;
            cut = Some(registry.end);
        }
        let count = events.len() as u64;
        let mut request = request.and_to(groups_stream()?, Expected::Any, events);
        if let Some(before) = cut {
            request = request.and_to(groups_stream()?.metadata()?, Expected::Any, [log.truncation(before)?]);
        }
        log.append(request)?;
        registry.end += count;
        registry.changes = if cut.is_some() { count } else { registry.changes + count };
        Ok(())
    }

    /// Where a group goes on: a position, and a revision below which it gets nothing.
    fn resolve(&self, selector: &Selector, to: Start) -> Result<(u64, u64)> {
        let shared = &self.inner.log.shared;
        let head = shared.head();
        let next = start::resolve(&shared.sources, head, selector, to, Direction::Forward)?.unwrap_or(head);
        let from_revision = match to {
            Start::Revision(revision) => revision.0,
            _ => 0,
        };
        Ok((next, from_revision))
    }
}

impl Registry {
    fn get(&self, name: &GroupName) -> Result<Arc<Group>> {
        self.groups.get(name).cloned().ok_or_else(|| not_found(name))
    }
}

fn groups_stream() -> Result<StreamName> {
    StreamName::new(GROUPS_STREAM)
}

fn check_filter(filter: &DeadLetterFilter) -> Result<()> {
    if filter.positions.len() > limits::DEAD_LETTER_PAGE_MAX {
        return Err(Error::new(Code::InvalidLimit, "a selection of dead letters names too many positions")
            .expected(format!("at most {}", limits::DEAD_LETTER_PAGE_MAX))
            .found(filter.positions.len().to_string()));
    }
    Ok(())
}

/// Parked events a filter means, from a position on, so many at the most; whether there are more.
fn choose(group: &Group, filter: &DeadLetterFilter, from: u64, max: u64) -> (Vec<u64>, bool) {
    let mut chosen = Vec::new();
    if !filter.positions.is_empty() {
        let mut positions: Vec<u64> = filter.positions.iter().map(|position| position.0).collect();
        positions.sort_unstable();
        positions.dedup();
        let (core, _) = group.lock();
        let fits = |position: &u64| {
            *position >= from
                && core.machine.letters.get(*position).is_some_and(|letter| letter.fits(*position, filter))
        };
        chosen.extend(positions.into_iter().filter(fits));
        let more = chosen.len() as u64 > max;
        chosen.truncate(usize::try_from(max).unwrap_or(usize::MAX));
        return (chosen, more);
    }
    let mut next = Bound::Included(from);
    loop {
        let (core, _) = group.lock();
        let mut looked_at = 0;
        let mut last = None;
        for (position, letter) in core.machine.letters.range((next, Bound::Unbounded)) {
            looked_at += 1;
            last = Some(position);
            if letter.fits(position, filter) {
                if chosen.len() as u64 >= max {
                    return (chosen, true);
                }
                chosen.push(position);
            }
            if looked_at >= LOOKED_AT_MAX {
                break;
            }
        }
        match last {
            Some(last) if looked_at >= LOOKED_AT_MAX => next = Bound::Excluded(last),
            _ => return (chosen, false),
        }
    }
}
