//! A node's thread: follows the journal, takes over when it is asked to, and as the writer watches that it still is one.

use super::commit::{Line, SharedCommit, overtaken};
use super::feed::{Feed, Parts};
use super::membership::{Membership, Role, Standing};
use super::{NodeOptions, claim, writer_id};
use crate::append::{Author, Shared, WritePath, Writer};
use crate::env::spawn_named;
use crate::journal::{Claim, Term, View};
use crate::store::writer_entropy;
use crate::{Options, Store};
use graven_model::{Code, Error, Result, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// A follower asks the journal this often though nothing told it of more.
const POLL: Duration = Duration::from_millis(200);
/// A writer asks this often whether it still is one.
const WATCH: Duration = Duration::from_secs(1);

/// Attempts to reach the journal before a take-over is given up: a quarter of a minute and more.
const ATTEMPTS_MAX: u32 = 20;

/// Growing pauses between attempts.
#[derive(Default)]
pub(super) struct Pause {
    attempts: u32,
}

impl Pause {
    /// How long to wait before the next attempt: 10 ms, doubled each time, up to a second.
    pub(super) fn next(&mut self) -> Duration {
        let pause = Duration::from_millis((10 << self.attempts).min(1_000));
        self.attempts = (self.attempts + 1).min(7);
        pause
    }
}

/// How a node begins.
pub(super) enum Begin {
    /// Its copy has joined the journal, which showed this. With a term, and everything read, it writes from the start.
    Joined(View, Option<Term>),
    /// The journal does not answer yet.
    Away(Error),
}

/// The store of a node.
pub(super) fn start(mut feed: Feed, node: NodeOptions, begin: Begin, options: &Options) -> Result<Store> {
    let mut standing = Standing {
        role: Role::Follower,
        epoch: 0,
        writer: String::new(),
        journal_head: feed.head(),
        complete_at: None,
        trouble: None,
    };
    let (term, hopes) = match begin {
        Begin::Joined(view, term) => {
            (standing.epoch, standing.writer) = (view.term.epoch, view.term.address);
            standing.journal_head = view.tail.position;
            (term, false)
        }
        Begin::Away(error) => {
            standing.trouble = Some(error);
            (None, !node.follow)
        }
    };
    let member = Arc::new(Membership::new(node.address, Arc::clone(feed.keeper()), standing));
    let store = feed.replica().store(Arc::clone(&member), options)?;
    let node = Node {
        shared: Arc::clone(feed.shared()),
        member: Arc::clone(&member),
        options: options.clone(),
        begin: Box::new(store.begin_later()),
    };
    let part = match term {
        Some(term) => Part::Writing(node.write(feed, term)?),
        None => Part::Following(Box::new(feed), hopes),
    };
    let keeper = Arc::clone(&member.keeper);
    member.has_threads(vec![
        spawn_named("graven-node", move || node.run(part)),
        spawn_named("graven-keeper", move || keeper.run()),
    ]);
    Ok(store)
}

struct Node {
    shared: Arc<Shared>,
    member: Arc<Membership>,
    options: Options,
    /// Gives the store its way to the log.
    begin: Box<dyn Fn(WritePath) + Send>,
}

enum Part {
    /// And whether it is to write if nobody does once the journal answers.
    Following(Box<Feed>, bool),
    Writing(Tenure),
}

/// What the watch of a writer needs.
struct Tenure {
    line: Line,
    term: Term,
}

impl Node {
    fn run(&self, part: Part) {
        let tenure = match part {
            Part::Following(feed, hopes) => self.follow(*feed, hopes),
            Part::Writing(tenure) => Ok(Some(tenure)),
        };
        match tenure {
            Ok(Some(tenure)) => self.watch(&tenure),
            Ok(None) => {}
            Err(error) => self.shared.poison(error),
        }
    }

    /// Reads the journal until the stop, or until this node writes. `hopes`: it does if nobody else is connected when the
    /// journal answers first.
    fn follow(&self, mut feed: Feed, mut hopes: bool) -> Result<Option<Tenure>> {
        let mut pause = Pause::default();
        // Nothing is known of a journal that was just connected to, and after it did not answer.
        let mut known = false;
        while !self.member.stopping() {
            let wishes = self.member.take_over_wishes();
            if !wishes.is_empty() {
                match self.take_over(&mut feed) {
                    Ok(term) => {
                        let tenure = self.write(feed, term.clone())?;
                        wishes.into_iter().for_each(|wish| drop(wish.send(Ok(term.clone()))));
                        return Ok(Some(tenure));
                    }
                    Err(error) => {
                        wishes.into_iter().for_each(|wish| drop(wish.send(Err(error.clone()))));
                        known = false;
                    }
                }
            }
            let round = self.round(&mut feed, &mut known);
            if round.is_ok() && std::mem::take(&mut hopes) {
                match claim(&self.options.env, &mut feed, &self.member.address) {
                    Ok(Some(term)) => {
                        // Nobody else writes now, so there is nothing to give up for.
                        while let Err(error) = self.patiently(|| feed.catch_up(&mut |_, _| {})) {
                            if !may_pass(&error) || self.member.stopping() {
                                return Err(error);
                            }
                        }
                        return self.write(feed, term).map(Some);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        hopes = true;
                        self.member.trouble(&error);
                    }
                }
            }
            match round {
                Ok(()) => pause = Pause::default(),
                Err(error) if may_pass(&error) => {
                    known = false;
                    self.member.trouble(&error);
                    self.member.pause(pause.next());
                }
                Err(error) => {
                    self.member.trouble(&error);
                    self.shared.poison(error.clone());
                    self.refuse_until_stop(&error);
                    return Ok(None);
                }
            }
        }
        feed.finish().map(|()| None)
    }

    /// Takes what the journal has, and waits a moment if that was nothing.
    fn round(&self, feed: &mut Feed, known: &mut bool) -> Result<()> {
        // What the writer erased goes from here too; what keeps it from going may pass.
        if let Err(error) = self.shared.eraser.follow(&self.shared) {
            tracing::warn!(%error, "what was erased at the writer cannot be erased here yet");
        }
        if *known && feed.pull()? {
            self.member.heard(None, feed.head(), None);
            return Ok(());
        }
        let view = feed.join()?;
        *known = true;
        let complete = view.tail.position == feed.head();
        let now = Timestamp::from_micros(self.shared.env.clock.now_us());
        self.member.heard(Some(&view.term), view.tail.position, complete.then_some(now));
        if complete { feed.wait(POLL) } else { Ok(()) }
    }

    /// Claims the journal and reads the rest of what others wrote.
    fn take_over(&self, feed: &mut Feed) -> Result<Term> {
        let writer = writer_id(&self.options.env)?;
        // A node that cannot write must not keep the others from it.
        self.patiently(|| feed.join())?;
        let term = self.patiently(|| match feed.claim(writer, &self.member.address, Claim::TakeOver) {
            // The answer may be all that was lost.
            Err(error) if error.code == Code::JournalUnreachable => match feed.join() {
                Ok(view) if view.term.writer == writer => Ok(view.term),
                _ => Err(error),
            },
            outcome => outcome,
        })?;
        self.patiently(|| feed.catch_up(&mut |_, _| {}))?;
        Ok(term)
    }

    /// Tries a thing again, some times, while the journal does not answer.
    fn patiently<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let mut pause = Pause::default();
        for _ in 0..ATTEMPTS_MAX {
            match attempt() {
                Err(error) if error.code == Code::JournalUnreachable && !self.member.stopping() => {
                    self.member.trouble(&error);
                    self.member.pause(pause.next());
                }
                outcome => return outcome,
            }
        }
        attempt()
    }

    /// Makes the store write. The copy holds everything the journal holds.
    fn write(&self, feed: Feed, term: Term) -> Result<Tenure> {
        let entropy = writer_entropy(&self.options.env)?;
        let Parts { chain, names, journal } = feed.into_parts();
        let author = Author { epoch: term.epoch, writer: term.writer };
        let flush_events = self.options.index_flush_events;
        let writer = Writer::new(Arc::clone(&self.shared), chain, names, entropy, author, flush_events);
        let line = Line::new(journal);
        self.member.writes_over(line.clone());
        let point = SharedCommit {
            line: line.clone(),
            shared: Arc::clone(&self.shared),
            member: Arc::clone(&self.member),
            term: term.clone(),
        };
        (self.begin)(WritePath::new(Arc::clone(&self.shared), writer, Box::new(point), false));
        self.member.becomes(Role::Writer, &term);
        Ok(Tenure { line, term })
    }

    /// Asks now and then whether this node still is the writer, so that one without appends learns it too.
    fn watch(&self, tenure: &Tenure) {
        while !self.member.stopping() {
            let standing = self.member.standing();
            for wish in self.member.take_over_wishes() {
                let outcome = match standing.role {
                    Role::Writer => self.shared.refusal_when_poisoned().map_or(Ok(tenure.term.clone()), Err),
                    _ => Err(Error::new(
                        Code::NotTheWriter,
                        "this node has just stepped down; ask again when it follows",
                    )),
                };
                let _ = wish.send(outcome);
            }
            if self.shared.poisoned().is_none() {
                self.check(tenure);
            }
            self.member.pause(WATCH);
        }
    }

    fn check(&self, tenure: &Tenure) {
        let looked = tenure.line.try_ask(|journal| {
            let copy = self.member.copy();
            Ok((copy, journal.look(copy.position)?))
        });
        let (copy, view) = match looked {
            Some(Ok(seen)) => seen,
            Some(Err(error)) => return self.member.trouble(&error),
            // A commit under way finds out by itself.
            None => return,
        };
        // What was committed a moment ago may not be in the copy yet, and stands behind what is.
        match overtaken(&view, &tenure.term, copy) {
            Some(cause) => {
                if cause.code == Code::NotTheWriter {
                    self.member.becomes(Role::SteppedDown, &view.term);
                }
                self.shared.poison(cause);
            }
            None => {
                let now = Timestamp::from_micros(self.shared.env.clock.now_us());
                self.member.heard(Some(&view.term), view.tail.position, Some(now));
            }
        }
    }

    /// Nothing can be done any more but to say so.
    fn refuse_until_stop(&self, cause: &Error) {
        while !self.member.stopping() {
            for wish in self.member.take_over_wishes() {
                let _ = wish.send(Err(cause.clone()));
            }
            self.member.pause(WATCH);
        }
    }
}

/// Whether trying again may help.
pub(super) fn may_pass(error: &Error) -> bool {
    matches!(error.code, Code::JournalUnreachable | Code::Timeout | Code::Unavailable | Code::NotTheWriter)
}
