//! Run as `graven-kurrent-client HOST:PORT [WORD]`: its scenarios prove something of the server there with KurrentDB's
//! client as its authors published it, one after the other, or only those whose text contains the word. The first that
//! fails ends the run.

mod groups;
mod streams;

use kurrentdb::{Client, EventData, ReadStream, ResolvedEvent};
use serde_json::{Value, json};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use uuid::Uuid;

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a scenario ends with.
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What it proves, and how.
type Scenario = (&'static str, fn(Client) -> Pin<Box<dyn Future<Output = Outcome>>>);

#[tokio::main]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("the first argument is not there: HOST:PORT")?;
    let word = arguments.next().unwrap_or_default();
    let mut proved = 0;
    for (what, scenario) in streams::SCENARIOS.iter().chain(groups::SCENARIOS) {
        if !what.contains(&word) {
            continue;
        }
        let client = Client::new(format!("kurrentdb://{address}?tls=false").parse()?)?;
        let outcome = tokio::time::timeout(PATIENCE * 3, scenario(client)).await;
        if let Err(error) = outcome.map_err(Into::into).and_then(|outcome| outcome) {
            return Err(format!("NOT proved: {what}: {error}").into());
        }
        println!("proved: {what}");
        proved += 1;
    }
    println!("{proved} passed, 0 failed");
    Ok(())
}

/// A stream that nobody else uses.
fn name(category: &str) -> String {
    format!("{category}-{}", Uuid::new_v4().simple())
}

/// A category that nobody else uses.
fn category() -> String {
    format!("loan{}", Uuid::new_v4().simple())
}

fn event(number: u64) -> EventData {
    typed("Lent", number)
}

fn typed(event_type: &str, number: u64) -> EventData {
    EventData::json(event_type, &json!({ "number": number })).expect("JSON").id(Uuid::new_v4())
}

fn events(numbers: std::ops::Range<u64>) -> Vec<EventData> {
    numbers.map(event).collect()
}

fn number(event: &ResolvedEvent) -> u64 {
    let recorded = event.event.as_ref().expect("the event is there");
    recorded.as_json::<Value>().expect("JSON")["number"].as_u64().expect("a number")
}

async fn numbers(mut reading: ReadStream) -> kurrentdb::Result<Vec<u64>> {
    let mut found = Vec::new();
    while let Some(event) = reading.next().await? {
        found.push(number(&event));
    }
    Ok(found)
}

/// Waits, but not for ever.
async fn soon<T>(what: impl Future<Output = kurrentdb::Result<T>>) -> kurrentdb::Result<T> {
    tokio::time::timeout(PATIENCE, what).await.expect("it came in time")
}
