//! Consumer groups over HTTP.

use super::client::{Client, EventStream, Message};
use super::contract;
use serde_json::{Value, json};

/// A consumer of a group, connected.
pub(crate) struct Consumer {
    client: Client,
    group: String,
    stream: EventStream,
    /// By which it acknowledges.
    pub(crate) id: u64,
}

/// What the text of a path becomes for a name with anything in it.
pub(crate) fn encoded(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

impl Client {
    /// Makes or updates a group and gives how it stands.
    pub(crate) fn put_group(&self, group: &str, settings: &Value) -> Value {
        let answer = self.put(&format!("/v1/groups/{}", encoded(group)), &[], settings);
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
        answer.json()
    }

    /// `PUT` of JSON.
    pub(crate) fn put(&self, target: &str, headers: &[(&str, &str)], body: &Value) -> super::Answer {
        let headers = [&[("Content-Type", "application/json")], headers].concat();
        self.send("PUT", target, &headers, Some(body.to_string().as_bytes()))
    }

    /// How a group stands.
    pub(crate) fn group(&self, group: &str) -> Value {
        self.get(&format!("/v1/groups/{}", encoded(group))).expect(200)
    }

    /// The dead letters of a group.
    pub(crate) fn dead_letters(&self, group: &str) -> Vec<Value> {
        let (mut all, mut more) = (Vec::new(), String::new());
        loop {
            let page =
                self.get(&format!("/v1/dead-letters?limit=1000&group={}{more}", encoded(group))).expect(200);
            all.extend(page["dead_letters"].as_array().expect("a list").iter().cloned());
            match page["next"].as_str() {
                Some(next) => more = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// Connects a consumer that takes so many events at a time.
    pub(crate) fn consume(&self, group: &str, name: &str, buffer: u32) -> Consumer {
        let target = format!("/v1/groups/{}/consume?name={name}&buffer={buffer}", encoded(group));
        let mut stream = self.follow(&target, None);
        let connected = stream.next().expect("the consumer connects");
        assert_eq!((connected.event.as_str(), &connected.id), ("connected", &None), "{connected:?}");
        contract::check_schema("GroupConnected", &connected.data);
        let id = connected.data["consumer"].as_u64().expect("an id");
        Consumer { client: self.clone(), group: group.to_owned(), stream, id }
    }
}

impl Client {
    /// [`Client::consume`] that may find no server, or be refused.
    pub(crate) fn try_consume(&self, group: &str, name: &str, buffer: u32) -> Option<Consumer> {
        let target = format!("/v1/groups/{}/consume?name={name}&buffer={buffer}", encoded(group));
        let mut stream = self.try_follow(&target)?;
        let connected = stream.try_next().ok()??;
        let id = connected.data["consumer"].as_u64()?;
        Some(Consumer { client: self.clone(), group: group.to_owned(), stream, id })
    }
}

impl Consumer {
    /// The next delivery; `None` once the connection is gone, or the group sends the consumer away.
    pub(crate) fn try_next(&mut self) -> Option<Value> {
        let message = self.stream.try_next().ok()??;
        (message.event == "event").then_some(message.data)
    }

    /// Says something of an event; gives whether the server took it from the consumer's hands.
    pub(crate) fn try_say(&self, what: &str, position: u64, more: &Value) -> Option<bool> {
        let mut body = json!({"consumer": self.id, "positions": [position]});
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let target = format!("/v1/groups/{}/{what}", encoded(&self.group));
        let headers = [("Content-Type", "application/json")];
        let answer =
            self.client.try_send("POST", &target, &headers, Some(body.to_string().as_bytes())).ok()?;
        (answer.status == 200).then(|| answer.json()["in_hand"] == 1)
    }

    /// The next message; `None` when the server ended the stream.
    pub(crate) fn message(&mut self) -> Option<Message> {
        self.stream.next()
    }

    /// The next delivery: `{retries, replayed, event}`.
    pub(crate) fn next(&mut self) -> Value {
        let message = self.message().expect("the stream goes on");
        assert_eq!(message.event, "event", "{message:?}");
        contract::check_schema("GroupDelivery", &message.data);
        assert_eq!(message.id, Some(message.data["event"]["position"].to_string()));
        message.data
    }

    /// The error that ends the stream.
    pub(crate) fn problem(&mut self) -> Value {
        loop {
            let message = self.message().expect("the stream says why it ends");
            if message.event == "problem" {
                assert!(self.message().is_none(), "a problem ends the stream");
                return message.data;
            }
        }
    }

    /// Acknowledges; gives how many of them it had.
    pub(crate) fn ack(&self, positions: &[u64]) -> u64 {
        self.say("ack", &json!({"consumer": self.id, "positions": positions}))
    }

    /// Refuses; gives how many of them it had.
    pub(crate) fn nack(&self, positions: &[u64], action: &str, reason: &str) -> u64 {
        let body = json!({"consumer": self.id, "positions": positions, "action": action, "reason": reason});
        self.say("nack", &body)
    }

    fn say(&self, what: &str, body: &Value) -> u64 {
        let answer = self.client.post(&format!("/v1/groups/{}/{what}", encoded(&self.group)), body);
        answer.expect(200)["in_hand"].as_u64().expect("a number")
    }
}

/// The position of a delivery or a dead letter.
pub(crate) fn position(of: &Value) -> u64 {
    of["position"].as_u64().or_else(|| of["event"]["position"].as_u64()).expect("a position")
}
