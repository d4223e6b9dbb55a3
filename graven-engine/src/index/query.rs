//! Queries over types, tags, categories and births: items OR-ed, the conditions of an item AND-ed.
//!
//! An item walks its rarest condition and seeks in the others (a leapfrog join), so it never makes the union of
//! anything; items are merged in order, each position once.

use super::Index;
use super::list::{Cursor, List};
use super::lookup::View;
use super::memory::{BIRTHS_KEY, Terms};
use graven_model::Direction;

/// Seeks of one call before it answers with what it has.
const WORK_MAX: usize = 200_000;
/// Seeks under one hold of a memory part's lock: the writer waits for no more.
const WORK_LOCKED_MAX: usize = 4_096;
/// Seeks an item is allowed in any case, so that every call gets on.
const WORK_ITEM_MIN: usize = 64;
/// What looking up one list counts for.
const WORK_LOOKUP: usize = 4;

/// An event matches if it matches one of the items.
#[derive(Debug, Clone, Default)]
pub(crate) struct TermQuery {
    pub(crate) items: Vec<Item>,
}

/// An event matches if all that is set matches. Names are keys made by [`super::Hasher`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Item {
    /// One of these; empty means any.
    pub(crate) types: Vec<u64>,
    /// All of these.
    pub(crate) tags: Vec<u64>,
    pub(crate) category: Option<u64>,
    /// Only the first event of a stream.
    pub(crate) births: bool,
}

/// One name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Term {
    Type(u64),
    Tag(u64),
    Category(u64),
    /// The first event of every stream.
    Births,
}

impl Term {
    pub(super) fn parts(self) -> (Terms, u64) {
        match self {
            Term::Type(key) => (Terms::Type, key),
            Term::Tag(key) => (Terms::Tag, key),
            Term::Category(key) => (Terms::Category, key),
            Term::Births => (Terms::Birth, BIRTHS_KEY),
        }
    }
}

impl Index {
    /// Candidates for the query from position `from` (inclusive) on, at most `max`, in the direction's order.
    /// `Some` is the position to go on from, after `max` answers or a bounded amount of work; `None` is the end.
    pub(crate) fn query(
        &self,
        query: &TermQuery,
        from: u64,
        direction: Direction,
        below: u64,
        max: usize,
        out: &mut Vec<u64>,
    ) -> Option<u64> {
        let mut next = match direction {
            Direction::Forward if from < below => from,
            Direction::Backward if below > 0 => from.min(below - 1),
            _ => return None,
        };
        let full = out.len().saturating_add(max);
        let set = self.shared.set();
        let mut number = set.part_of(next);
        let mut work = 0;
        loop {
            if work >= WORK_MAX {
                return Some(next);
            }
            let outcome = set.with_part(number, |view| {
                let allowed = match view {
                    View::Memory(..) => WORK_LOCKED_MAX,
                    View::Sealed(_) => WORK_MAX,
                };
                scan(view, query, next, direction, view.limit(below), full, allowed.min(WORK_MAX - work), out)
            });
            work += outcome.work;
            if let Some(position) = outcome.next {
                next = position;
                if out.len() >= full {
                    return Some(next);
                }
                continue;
            }
            match direction {
                Direction::Forward => {
                    number += 1;
                    if number == set.parts() || set.base(number) >= below {
                        return None;
                    }
                    next = set.base(number);
                }
                Direction::Backward => {
                    next = set.base(number).checked_sub(1)?;
                    number = number.checked_sub(1)?;
                }
            }
        }
    }
}

struct Outcome {
    /// Where to go on in this part; `None` if it holds no more.
    next: Option<u64>,
    work: usize,
}

/// Goes through one part from position `from` on.
#[expect(clippy::too_many_arguments, reason = "the state of a query, used in one place")]
fn scan(
    view: &View,
    query: &TermQuery,
    from: u64,
    direction: Direction,
    limit: u32,
    full: usize,
    work: usize,
    out: &mut Vec<u64>,
) -> Outcome {
    let Some(last) = limit.checked_sub(1) else { return Outcome { next: None, work: 1 } };
    let from = match direction {
        Direction::Forward if from > view.base() + u64::from(last) => return Outcome { next: None, work: 1 },
        Direction::Forward => from.saturating_sub(view.base()) as u32,
        Direction::Backward => from.saturating_sub(view.base()).min(u64::from(last)) as u32,
    };
    let share = (work / query.items.len().max(1)).max(WORK_ITEM_MIN);
    let mut items: Vec<Scan> = Vec::with_capacity(query.items.len());
    items
        .extend(query.items.iter().filter_map(|item| Scan::begin(view, item, direction, from, limit, share)));
    let mut done = 1 + query
        .items
        .iter()
        .map(|item| WORK_LOOKUP * (1 + item.types.len() + item.tags.len()))
        .sum::<usize>();
    let next = loop {
        items.iter_mut().for_each(Scan::advance);
        let heads = items.iter().filter_map(|item| item.head.position());
        let front = match direction {
            Direction::Forward => heads.min(),
            Direction::Backward => heads.max(),
        };
        let Some(front) = front else { break None };
        let out_of_work = items.iter().any(|item| item.head == Head::Unknown(front));
        if out_of_work || out.len() >= full {
            break Some(view.base() + u64::from(front));
        }
        view.push(front, out);
        items.iter_mut().for_each(|item| item.pass(front));
    };
    done += items.iter().map(|item| share - item.work_left).sum::<usize>();
    Outcome { next, work: done }
}

/// What is known of an item's next match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    Match(u32),
    /// None before this position.
    Unknown(u32),
    Done,
}

impl Head {
    fn position(self) -> Option<u32> {
        match self {
            Head::Match(position) | Head::Unknown(position) => Some(position),
            Head::Done => None,
        }
    }
}

/// An item on its way through a part.
struct Scan<'a> {
    /// AND-ed, rarest first.
    conditions: Vec<Condition<'a>>,
    head: Head,
    direction: Direction,
    limit: u32,
    work_left: usize,
}

impl<'a> Scan<'a> {
    /// `None` if the part has nothing for one of the conditions.
    fn begin(
        view: &'a View,
        item: &Item,
        direction: Direction,
        from: u32,
        limit: u32,
        work_left: usize,
    ) -> Option<Scan<'a>> {
        let mut conditions = Vec::with_capacity(item.tags.len() + 3);
        let one = |terms, key| Condition::any_of([view.list(terms, key)], direction);
        for &tag in &item.tags {
            conditions.push(one(Terms::Tag, tag)?);
        }
        if let Some(category) = item.category {
            conditions.push(one(Terms::Category, category)?);
        }
        if item.births {
            conditions.push(one(Terms::Birth, BIRTHS_KEY)?);
        }
        if !item.types.is_empty() {
            let lists = item.types.iter().map(|&key| view.list(Terms::Type, key));
            conditions.push(Condition::any_of(lists, direction)?);
        }
        if conditions.is_empty() {
            conditions.push(Condition::any_of([List::Every(limit)], direction)?);
        }
        conditions.sort_by_key(|condition| condition.count);
        Some(Scan { conditions, head: Head::Unknown(from), direction, limit, work_left })
    }

    /// Finds the next match, unless the work allowed runs out before.
    fn advance(&mut self) {
        let Head::Unknown(mut target) = self.head else { return };
        'target: while self.work_left > 0 {
            for (number, condition) in self.conditions.iter_mut().enumerate() {
                self.work_left = self.work_left.saturating_sub(condition.cursors.len());
                let found = condition.seek(target, self.direction).filter(|&found| {
                    found < self.limit && (found == target || is_beyond(self.direction, found, target))
                });
                let Some(found) = found else {
                    self.head = Head::Done;
                    return;
                };
                if found != target {
                    target = found;
                    if number > 0 {
                        continue 'target;
                    }
                }
            }
            self.head = Head::Match(target);
            return;
        }
        self.head = Head::Unknown(target);
    }

    /// Goes beyond a position that was answered.
    fn pass(&mut self, position: u32) {
        if self.head != Head::Match(position) {
            return;
        }
        let next = match self.direction {
            Direction::Forward => position.checked_add(1).filter(|&next| next < self.limit),
            Direction::Backward => position.checked_sub(1),
        };
        self.head = next.map_or(Head::Done, Head::Unknown);
    }
}

fn is_beyond(direction: Direction, position: u32, target: u32) -> bool {
    match direction {
        Direction::Forward => position > target,
        Direction::Backward => position < target,
    }
}

/// Lists OR-ed.
struct Condition<'a> {
    cursors: Vec<Cursor<'a>>,
    count: u64,
}

impl<'a> Condition<'a> {
    /// `None` if all lists are empty.
    fn any_of(lists: impl IntoIterator<Item = List<'a>>, direction: Direction) -> Option<Condition<'a>> {
        let mut condition = Condition { cursors: Vec::new(), count: 0 };
        for list in lists {
            if list.len() > 0 {
                condition.count += u64::from(list.len());
                condition.cursors.push(Cursor::new(list, direction));
            }
        }
        (condition.count > 0).then_some(condition)
    }

    /// The first posting of any of the lists at or beyond the target.
    fn seek(&mut self, target: u32, direction: Direction) -> Option<u32> {
        let found = self.cursors.iter_mut().filter_map(|cursor| cursor.seek(target));
        match direction {
            Direction::Forward => found.min(),
            Direction::Backward => found.max(),
        }
    }
}
