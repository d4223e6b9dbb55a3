//! What several nodes agree on: whose log it is, who writes, where it ends.

use crate::journal::{Held, PostgresJournal, Seen, Values, get, no_row, small};
use crate::risks;
use crate::statements::Which;
use graven_engine::journal::{Batch, Claim, SharedJournal, Term, View};
use graven_engine::replica::LogIdentity;
use graven_model::{Code, Error, Result};
use std::time::{Duration, Instant};

/// How often a standby is asked for news: it takes no `LISTEN`.
const STANDBY_PAUSE: Duration = Duration::from_millis(50);

impl PostgresJournal {
    /// What the journal says of itself now, and of the last batch before `at`. `None` if it has no tables.
    fn see(&mut self, at: u64) -> Result<Option<Seen>> {
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        let row = self.call("look at the journal", async |link| {
            if !link.has_tables {
                return Ok(None);
            }
            Ok(Some(link.query(Which::Look, &[&at]).await?.pop()))
        })?;
        let Some(row) = row else { return Ok(None) };
        let seen = Seen::of(&row.ok_or_else(|| no_row("meta"))?)?;
        self.learn(&seen)?;
        self.leave_what_is_over()?;
        Ok(Some(seen))
    }

    fn not_the_writer(&self, term: &Term, why: &str) -> Error {
        let address = if term.address.is_empty() { "an unknown address" } else { &term.address };
        Error::new(
            Code::NotTheWriter,
            format!(
                "{why}: the writer of the journal at {} is at {address}, epoch {}",
                self.place(),
                term.epoch
            ),
        )
        .naming_writer(&term.address)
    }
}

impl SharedJournal for PostgresJournal {
    fn identity(&mut self) -> Result<Option<LogIdentity>> {
        Ok(self.see(0)?.and_then(|seen| seen.log))
    }

    fn found(&mut self, identity: &LogIdentity) -> Result<LogIdentity> {
        let id = &identity.log_id.0[..];
        let created_at = identity.created_at.micros();
        self.change("found the journal", async |link| {
            link.execute(Which::Found, &[&id, &identity.origin, &created_at]).await
        })?;
        self.identity()?.ok_or_else(|| no_row("the identity"))
    }

    /// A writer that is connected holds a lock of its session, which is what [`Claim::IfVacant`] looks at.
    fn claim(&mut self, writer: [u8; 16], address: &str, claim: Claim) -> Result<Term> {
        let seen = self.see(0)?.ok_or_else(|| no_row("meta"))?;
        self.founded()?;
        let key = self.lock_key().expect("a journal of some log has a key");
        let what = "claim the journal";
        let vacant = self.call(what, async |link| link.try_lock(key).await)?;
        if claim == Claim::IfVacant && !vacant {
            return Err(self.not_the_writer(&seen.term, "the journal has a writer that is connected"));
        }
        let epoch = i64::from(seen.term.epoch);
        let id = &writer[..];
        let begun = self.change(what, async |link| {
            if epoch >= i64::from(u32::MAX) {
                return Err(Error::new(Code::Internal, "the journal has no epochs left").into());
            }
            Ok(link.query(Which::Claim, &[&id, &address, &epoch]).await?.pop())
        })?;
        let Some(row) = begun else {
            self.held = None;
            self.leave_what_is_over()?;
            let seen = self.see(0)?.ok_or_else(|| no_row("meta"))?;
            return Err(self.not_the_writer(&seen.term, "another node claimed the journal first"));
        };
        let term = Term { epoch: small(get(&row, "epoch")?)?, writer, address: address.to_owned() };
        self.held = Some(Held { epoch: term.epoch, writer });
        Ok(term)
    }

    fn look(&mut self, at: u64) -> Result<View> {
        let Some(seen) = self.see(at)? else {
            return Ok(View { tail: self.begin(), checksum: None, term: Term::default() });
        };
        // A writer that took over from one that was still connected gets the lock when that one has left it.
        if self.held.is_some()
            && self.link.as_ref().is_some_and(|link| !link.holds_lock && !link.is_standby)
            && let Some(key) = self.lock_key()
        {
            self.call("look at the journal", async |link| link.try_lock(key).await)?;
        }
        let here = seen.here.filter(|here| here.position == at).map(|here| here.checksum);
        let checksum = if at == 0 && self.log.is_some() { Some(self.begin().checksum) } else { here };
        Ok(View { tail: self.tail, checksum, term: seen.term })
    }

    fn rewrite(&mut self, batch: &Batch) -> Result<bool> {
        let what = "erase from the journal";
        let Some(held) = self.held else {
            let term = self.see(0)?.ok_or_else(|| no_row("meta"))?.term;
            return Err(self.not_the_writer(&term, "this connection holds no term"));
        };
        let values = Values::of(batch)?;
        let epoch = i64::from(held.epoch);
        let changed = self.change(what, async |link| {
            link.execute(
                Which::Rewrite,
                &[&values.first, &values.end, &values.checksum, &values.frames, &values.frame_bytes, &epoch],
            )
            .await
        })?;
        if changed > 0 {
            return Ok(true);
        }
        let term = self.see(0)?.ok_or_else(|| no_row("meta"))?.term;
        if (term.epoch, term.writer) == (held.epoch, held.writer) {
            return Ok(false);
        }
        Err(self.not_the_writer(&term, "another node has taken over"))
    }

    fn wait(&mut self, beyond: u64, timeout: Duration) -> Result<()> {
        let until = Instant::now() + timeout;
        let what = "wait for the journal";
        // What was told while nobody listened is found by looking.
        let knew = self.link.as_ref().is_some_and(|link| link.listens);
        self.listens = true;
        self.call(what, async |link| if link.is_standby { Ok(()) } else { link.listen().await })?;
        let is_standby = self.link.as_ref().is_some_and(|link| link.is_standby);
        if !knew || is_standby {
            self.see(0)?;
        }
        while self.tail.position <= beyond {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if is_standby {
                let pause = left.min(STANDBY_PAUSE);
                self.call(what, async |_| {
                    tokio::time::sleep(pause).await;
                    Ok(())
                })?;
                self.see(0)?;
                continue;
            }
            let outcome = self.drive(left + self.settings.call_timeout, async |link| {
                // Its own end of waiting is no failure.
                tokio::time::timeout(left, link.hear(beyond)).await.unwrap_or(Ok(()))
            });
            return outcome.map_err(|failure| {
                self.disconnect();
                failure.into_error(what, &self.target.name)
            });
        }
        Ok(())
    }

    fn risks(&mut self) -> Result<Vec<String>> {
        self.call("ask for the journal's risks", async |link| risks::ask(link).await)
    }
}
