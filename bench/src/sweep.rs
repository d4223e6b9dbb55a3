//! The volume sweep: what the Graven server costs as its store grows.

use crate::events::ENTITY_EVENTS;
use crate::load::{Contender, Work, fill, first_answer};
use crate::process::{disk_bytes, resident_peak_bytes};
use crate::products::{Product, Running};
use crate::result::Row;
use crate::run::{Runner, count};
use crate::target::By;
use anyhow::Result;
use std::time::Instant;

/// Events appended before each kill.
const TAIL: u64 = 100_000;

/// Starts after a stop and after a kill, at the most: every one adds [`TAIL`] events.
const STARTS_MAX: usize = 5;

impl Runner {
    /// Fills one store up to each volume in turn; measures lone appends, point reads, memory, disk and starts there.
    ///
    /// # Errors
    /// The first failure.
    pub(crate) async fn volumes(&mut self) -> Result<()> {
        let mut filled = 0;
        for volume in self.scale.volumes.iter().copied() {
            let Some(running) = self.start(&[Product::Graven], "volume")?.pop() else { return Ok(()) };
            let at = format!("At {} events", count(volume));
            eprintln!("{at}");
            fill(&*self.usual_target(&running)?, filled, volume).await?;
            filled = filled.max(volume);
            let entities = volume / ENTITY_EVENTS;
            let works = [
                ("append of one event, p50", Work::Append { clients: 1, batch: 1 }),
                ("read of a stream of 10, p50", Work::ReadTen { by: By::Stream, entities }),
                ("read of the 10 events of a tag, p50", Work::ReadTen { by: By::Tag, entities }),
            ];
            for (measure, work) in works {
                let p50s = self.p50s(&running, work).await?;
                self.fact(&format!("{at}: {measure}"), "Graven", &p50s, "µs");
            }
            let peak = resident_peak_bytes(&running.targets[0].processes()) as f64 / f64::from(1 << 20);
            self.fact(&format!("{at}: resident memory at its highest"), "Graven", &[peak], "MiB");

            let data = running.data.clone();
            running.stop()?;
            let share = disk_bytes(&data).1 as f64 / volume as f64;
            self.fact(&format!("{at}: disk, blocks that are not blank"), "Graven", &[share], "bytes/event");
            let (mut stopped, mut killed) = (Vec::new(), Vec::new());
            for _ in 0..self.scale.repetitions.min(STARTS_MAX) {
                let (running, millis) = self.timed_start().await?;
                stopped.push(millis);
                // Killed with events that no index file has yet.
                fill(&*self.usual_target(&running)?, filled, filled + TAIL).await?;
                filled += TAIL;
                running.kill()?;
                let (running, millis) = self.timed_start().await?;
                killed.push(millis);
                running.stop()?;
            }
            self.fact(&format!("{at}: start until the first answer"), "Graven", &stopped, "ms");
            self.fact(
                &format!("{at}: start until the first answer after a kill 100 k events later"),
                "Graven",
                &killed,
                "ms",
            );
        }
        Ok(())
    }

    async fn p50s(&self, running: &Running, work: Work) -> Result<Vec<f64>> {
        let mut contender = Contender::connect(self.usual_target(running)?, work).await?;
        contender.slot(work, self.scale.slot / 4).await?;
        let mut rounds = Vec::new();
        for _ in 0..self.scale.rounds {
            rounds.push(contender.slot(work, self.scale.slot).await?);
        }
        Ok(Row::of(contender.target.name(), "", &rounds, None).p50s_us)
    }

    async fn timed_start(&self) -> Result<(Running, f64)> {
        let begun = Instant::now();
        let running = Product::Graven.start(&self.installed, &self.dir.join("volume"))?;
        first_answer(&*self.usual_target(&running)?).await?;
        Ok((running, begun.elapsed().as_secs_f64() * 1e3))
    }
}
