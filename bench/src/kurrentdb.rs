//! What it costs to come through the protocol of KurrentDB's clients: the same server through it and through its own gRPC
//! interface, in the same rounds; and a category read from the index beside one read through stored links to its events.

use crate::events::{ENTITY_EVENTS, entity};
use crate::load::{FILL_SOURCE, Work, fill};
use crate::run::{Runner, count};
use crate::target::{By, Target};
use crate::targets::graven_grpc::{self, GravenGrpc};
use crate::targets::graven_kurrent::{GravenKurrent, Use};
use crate::targets::graven_server::GravenServer;
use anyhow::{Context, Result, ensure};
use std::sync::Arc;

/// Events of the category at the most: whole reads of it are repeated in every round.
const CATEGORY_EVENTS_MAX: u64 = 200_000;

impl Runner {
    /// Appends, reads and groups through both.
    ///
    /// # Errors
    /// The first failure.
    pub(crate) async fn kurrentdb(&mut self) -> Result<()> {
        let server = Arc::new(GravenServer::start(&self.installed.graven, &self.dir.join("kurrentdb"))?);
        let native: Arc<dyn Target> = Arc::new(GravenGrpc::new(Arc::clone(&server), graven_grpc::Use::Calls));
        let links = Arc::new(GravenKurrent::new(Arc::clone(&server), Use::Links));
        let calls: Arc<dyn Target> = Arc::new(GravenKurrent::new(Arc::clone(&server), Use::Calls));
        let batches: Arc<dyn Target> = Arc::new(GravenKurrent::new(Arc::clone(&server), Use::Batches));
        let filled = self.scale.filled.min(CATEGORY_EVENTS_MAX);
        eprintln!("filling Graven with {filled} events");
        fill(&*native, 0, filled).await?;

        let entities = filled / ENTITY_EVENTS;
        let many = count(filled);
        let read_ten = Work::ReadTen { by: By::Stream, entities };
        let reads = [
            (
                Work::ReadAll,
                "read-all",
                format!("read the whole log of {many} events"),
                "events/s",
                "the whole read",
            ),
            (
                read_ten,
                "read-stream",
                format!("read a stream of 10 out of {many} events"),
                "reads/s",
                "a read",
            ),
        ];
        for (work, key, title, unit, latency_of) in reads {
            self.beside(&title, key, unit, latency_of, work, [&native, &calls]).await?;
        }

        if self.wants("kurrentdb-category") {
            let targets = (0..filled).map(|made| {
                (format!("loan-{}", entity(FILL_SOURCE, made / ENTITY_EVENTS)), made % ENTITY_EVENTS)
            });
            ensure!(links.link(targets).await? == filled, "every event has a link");
        }
        let linked: Arc<dyn Target> = links;
        let title = format!("read a category of {many} events");
        let all = [&native, &calls, &linked];
        self.beside(&title, "category", "events/s", "the whole read", Work::ReadCategory, all).await?;
        let work = Work::Consume { events: filled };
        let title = format!("take and acknowledge {many} events of a category, 1 consumer in a new group");
        self.beside(&title, "group", "events/s", "an event", work, [&native, &calls]).await?;

        for (clients, batch) in [(1, 1), (8, 1), (8, 10)] {
            let work = Work::Append { clients, batch };
            let events = if batch == 1 { "one event" } else { "ten events" };
            let clients_of = if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") };
            let title = format!("append {events} at a time, {clients_of}");
            let key = format!("{clients}x{batch}");
            let all = [&native, &calls, &batches];
            self.beside(&title, &key, "events/s", "an append", work, all).await?;
        }
        self.beside(
            "live delivery, 1 follower, 1 writer",
            "deliver",
            "events/s",
            "acknowledgement to delivery",
            Work::Deliver,
            [&native, &calls],
        )
        .await?;
        drop((native, calls, batches, linked));
        Arc::into_inner(server).context("a client still holds the server")?.stop()
    }

    async fn beside<const N: usize>(
        &mut self,
        title: &str,
        key: &str,
        unit: &'static str,
        latency_of: &'static str,
        work: Work,
        targets: [&Arc<dyn Target>; N],
    ) -> Result<()> {
        let targets = targets
            .into_iter()
            .filter(|target| target.offers(work.ask()) && self.is_asked_for(target.name()));
        let targets = targets.map(|target| (Arc::clone(target), true)).collect();
        let title = format!("The KurrentDB protocol: {title}");
        self.group(&title, &format!("kurrentdb-{key}"), unit, latency_of, work, targets).await
    }
}
