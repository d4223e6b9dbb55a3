//! `Read`: consumes as one of a group's consumers.

use super::form::Form;
use super::hands::Hands;
use super::source::Source;
use super::{Group, no_source, source_of};
use crate::server::App;
use crate::server::feed;
use crate::server::grpc::answer::{put_message, streaming, trailers};
use crate::server::grpc::consume::{Consuming, Ears, Ended, Voice};
use crate::server::grpc::message::{Messages, decode};
use crate::server::kurrent::errors::{About, Refusal};
use crate::server::kurrent::words::event_id;
use crate::server::kurrent::{Answer, Call};
use axum::http::HeaderMap;
use bytes::Bytes;
use graven_engine::{ConsumerHandle, Store};
use graven_model::group::{ConsumerOptions, Nack};
use graven_model::{Code, Delivery, Error, Result, limits};
use graven_proto::kurrentdb::persistent::read_req::options::{StreamOption, uuid_option};
use graven_proto::kurrentdb::persistent::read_req::{Content, nack};
use graven_proto::kurrentdb::persistent::{ReadReq, ReadResp, read_resp};
use graven_proto::kurrentdb::shared::Uuid;
use std::sync::{Arc, Mutex};

/// What a connection is called that says no name.
const UNKNOWN: &str = "<unknown>";

/// Begins a consumer's call. The answer begins once the consumer is connected.
pub(super) async fn open(call: Call) -> Answer {
    let Call { app, body, headers, deadline, peer, .. } = call;
    let mut messages = Messages::new(app.clone(), body, false);
    let first = messages.next().await?.map(|held| decode(&held.bytes)).transpose()?;
    let Some(ReadReq { content: Some(Content::Options(options)) }) = first else {
        return Err(Refusal::invalid("the first message of a consumer is not its options"));
    };
    let ids_as_text = match options.uuid_option.and_then(|option| option.content) {
        Some(uuid_option::Content::String(_)) => true,
        Some(uuid_option::Content::Structured(_)) => false,
        None => return Err(Refusal::invalid("it is not said how ids are to be written")),
    };
    let group = group!(options);
    let options = ConsumerOptions {
        name: name_of(&headers).into(),
        address: peer.map(|peer| peer.to_string()).unwrap_or_default().into(),
        buffer: match u32::try_from(options.buffer_size) {
            Ok(buffer @ 1..) => buffer.min(limits::CONSUMER_BUFFER_MAX),
            _ => return Err(Refusal::invalid("buffer_size is not positive")),
        },
    };
    let buffer = options.buffer;
    let stored = group.stored.clone();
    let connected = app.read(move |store| {
        let groups = store.groups();
        let consumer = groups.connect(&stored, options)?;
        // After it: a change that came between ends the consumer.
        Ok((consumer, groups.info(&stored)?.settings))
    });
    let (consumer, settings) = connected.await.map_err(|error| group.refusal(&error))?;
    // A group that another interface made may be called after one source and read another.
    let source = Source::of(&settings.selector).filter(|source| *source == group.source);
    let form =
        Form { view: source.filter(Source::is_view), resolve_links: settings.resolve_links, ids_as_text };
    let hands = Arc::new(Mutex::new(Hands::new(buffer)));
    let consuming = Consuming {
        ears: Hearing { handle: consumer.handle(), hands: hands.clone() },
        voice: Saying { form, hands },
        consumer,
        messages: messages.that_may_wait(),
        deadline,
    };
    let confirmation = read_resp::SubscriptionConfirmation { subscription_id: group.stored.to_string() };
    let mut first = Vec::new();
    put_message(
        &mut first,
        &ReadResp { content: Some(read_resp::Content::SubscriptionConfirmation(confirmation)) },
    );
    let (feed, body) = feed::open();
    tokio::spawn(async move {
        match consuming.run(&app, first, &feed).await {
            Ended::Gone => {}
            Ended::Complete => feed.end_with(trailers(None)).await,
            Ended::Broken(error) => {
                app.metrics.refused(error.code);
                let about = (group.source.name(), group.name);
                let refusal = Refusal::of(&error, About::group(&about.0, &about.1));
                feed.end_with(refusal.trailers()).await;
            }
        }
    });
    Ok(streaming(body))
}

/// What the connection calls itself, cut at the bound of such names.
fn name_of(headers: &HeaderMap) -> &str {
    let name = headers.get("connection-name").and_then(|name| name.to_str().ok());
    // Nothing but ASCII is text in a header, so every byte is the end of a character.
    name.map_or(UNKNOWN, |name| &name[..name.len().min(limits::CONSUMER_NAME_BYTES_MAX)])
}

struct Hearing {
    handle: ConsumerHandle,
    hands: Arc<Mutex<Hands>>,
}

impl Hearing {
    fn taken(&self, ids: &[Uuid]) -> Result<Vec<graven_model::Position>> {
        let ids = ids.iter().map(|id| event_id(Some(id))).collect::<Result<Vec<_>>>()?;
        Ok(locked(&self.hands).take(&ids))
    }
}

impl Ears for Hearing {
    fn hear(&mut self, message: &Bytes) -> Result<()> {
        match decode::<ReadReq>(message)?.content {
            Some(Content::Ack(ack)) => {
                self.handle.ack(&self.taken(&ack.ids)?)?;
            }
            Some(Content::Nack(said)) => {
                let action = match nack::Action::try_from(said.action) {
                    Ok(nack::Action::Unknown | nack::Action::Retry) => Nack::Retry,
                    Ok(nack::Action::Park) => Nack::Park,
                    Ok(nack::Action::Skip) => Nack::Skip,
                    // The event stays where it is until its time-out.
                    Ok(nack::Action::Stop) => return Ok(()),
                    Err(_) => {
                        let text = format!("there is no action {}", said.action);
                        return Err(Error::new(Code::BadRequest, text));
                    }
                };
                self.handle.nack(&self.taken(&said.ids)?, action, &said.reason)?;
            }
            Some(Content::Options(_)) => {
                return Err(Error::new(Code::BadRequest, "a consumer says its options once"));
            }
            None => return Err(Error::new(Code::BadRequest, "the message of a consumer says nothing")),
        }
        Ok(())
    }
}

struct Saying {
    form: Form,
    hands: Arc<Mutex<Hands>>,
}

impl Voice for Saying {
    async fn say(&mut self, app: &Arc<App>, deliveries: Vec<Delivery>) -> Result<Vec<u8>> {
        let (form, hands) = (self.form.clone(), self.hands.clone());
        match form.asks_store() {
            false => write(&app.store, &form, &hands, &deliveries),
            true => app.read_short(move |store| write(store, &form, &hands, &deliveries)).await,
        }
    }
}

fn write(store: &Store, form: &Form, hands: &Mutex<Hands>, deliveries: &[Delivery]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(deliveries.iter().map(|one| one.event.size_bytes() + 256).sum());
    for delivery in deliveries {
        let id = form.write(&mut out, store, delivery)?;
        locked(hands).put(id, delivery.event.position);
    }
    Ok(out)
}

fn locked(hands: &Mutex<Hands>) -> std::sync::MutexGuard<'_, Hands> {
    hands.lock().expect("nothing panics while it looks for an id")
}
