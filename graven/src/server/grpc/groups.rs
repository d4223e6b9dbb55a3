//! Calls about consumer groups and dead letters, and the one that consumes.

use super::Call;
use super::answer::{message, put_message, streaming, trailers, whole};
use super::consume::{Consuming, Ears, Ended, Voice};
use super::message::{Messages, decode};
use crate::server::serve::Peer;
use crate::server::{App, blocking, feed};
use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use graven_engine::{ConsumerHandle, Groups};
use graven_model::{
    Code, DeadLetterFilter, Delivery, Error, GroupName, GroupSettings, Position, Result, StoredEvent, limits,
};
use graven_proto::{group, wire};
use prost::Message;
use std::sync::Arc;

/// Dead letters a page, when the caller does not say.
const PAGE_DEFAULT: u32 = 100;

/// Answers the call of a method.
///
/// # Errors
/// [`Code::NotFound`] for a method that is none of these; those of the store, and of reading the message.
pub(super) async fn answer(method: &str, app: Arc<App>, body: Body) -> Result<Response<Body>> {
    let bytes = match method {
        "CreateGroup" => {
            let asked: wire::GroupDefinition = Messages::only(app.clone(), body).await?;
            let (name, settings): (GroupName, GroupSettings) = asked.try_into()?;
            change(&app, move |groups| groups.create(&name, &settings)).await?
        }
        "UpdateGroup" => {
            let asked: wire::GroupDefinition = Messages::only(app.clone(), body).await?;
            let (name, settings): (GroupName, GroupSettings) = asked.try_into()?;
            change(&app, move |groups| groups.update(&name, &settings)).await?
        }
        "ResetGroup" => {
            let wire::ResetGroupRequest { group, to } = Messages::only(app.clone(), body).await?;
            let name = GroupName::new(group)?;
            let to = graven_proto::start(to)?.ok_or_else(|| {
                Error::new(Code::BadRequest, "the request does not say where the group is to go on")
            })?;
            change(&app, move |groups| groups.reset(&name, to)).await?
        }
        "DeleteGroup" => {
            let wire::GroupRequest { group } = Messages::only(app.clone(), body).await?;
            let name = GroupName::new(group)?;
            change(&app, move |groups| groups.delete(&name)).await?
        }
        "Groups" => {
            let wire::GroupsRequest {} = Messages::only(app.clone(), body).await?;
            ask(&app, |groups| {
                let mut groups: Vec<_> = groups.list()?.iter().map(wire::GroupDescription::from).collect();
                // Thousands of numbers a consumer are for who asks about one group.
                groups.iter_mut().flat_map(|group| &mut group.consumers).for_each(|consumer| {
                    consumer.samples_us.clear();
                });
                Ok(wire::GroupsResponse { groups })
            })
            .await?
        }
        "GroupInfo" => {
            let wire::GroupRequest { group } = Messages::only(app.clone(), body).await?;
            let name = GroupName::new(group)?;
            ask(&app, move |groups| Ok(wire::GroupDescription::from(&groups.info(&name)?))).await?
        }
        "DeadLetters" => {
            let wire::DeadLettersRequest { filter, after, limit } = Messages::only(app.clone(), body).await?;
            let filter = filter.unwrap_or_default().try_into()?;
            let after = after.map(<(GroupName, Position)>::try_from).transpose()?;
            let limit = if limit == 0 { PAGE_DEFAULT } else { limit } as usize;
            if limit > limits::DEAD_LETTER_PAGE_MAX {
                return Err(Error::new(Code::InvalidLimit, "the page is too large")
                    .expected(format!("at most {} dead letters", limits::DEAD_LETTER_PAGE_MAX))
                    .found(limit.to_string()));
            }
            ask(&app, move |groups| {
                let page = groups.dead_letters(&filter, after.as_ref(), limit)?;
                Ok(wire::DeadLettersResponse::from(&page))
            })
            .await?
        }
        "CountDeadLetters" => {
            let (filter, _) = selection(&app, body).await?;
            ask(&app, move |groups| affected(groups.count_dead_letters(&filter))).await?
        }
        "ReplayDeadLetters" => {
            let (filter, limit) = selection(&app, body).await?;
            change_of(&app, move |groups| affected(groups.replay(&filter, limit))).await?
        }
        "SkipDeadLetters" => {
            let (filter, limit) = selection(&app, body).await?;
            change_of(&app, move |groups| affected(groups.skip(&filter, limit))).await?
        }
        _ => return Err(Error::new(Code::NotFound, "there is no such method")),
    };
    Ok(whole(bytes))
}

async fn selection(app: &Arc<App>, body: Body) -> Result<(DeadLetterFilter, Option<u64>)> {
    let wire::SelectDeadLettersRequest { filter, limit } = Messages::only(app.clone(), body).await?;
    Ok((filter.unwrap_or_default().try_into()?, limit))
}

fn affected(letters: Result<u64>) -> Result<wire::DeadLettersAffected> {
    Ok(wire::DeadLettersAffected { letters: letters? })
}

/// Asks, and encodes the answer.
async fn ask<Answered: Message>(
    app: &Arc<App>,
    work: impl FnOnce(&Groups) -> Result<Answered> + Send + 'static,
) -> Result<Bytes> {
    let text = app.read(move |store| Ok(message(&work(&store.groups())?))).await?;
    Ok(app.answers.hold(text).await)
}

/// Has something written, and encodes what came of it.
async fn change_of<Answered: Message>(
    app: &Arc<App>,
    work: impl FnOnce(&Groups) -> Result<Answered> + Send + 'static,
) -> Result<Bytes> {
    let groups = app.store.groups();
    blocking(move || Ok(message(&work(&groups)?))).await
}

async fn change(app: &Arc<App>, work: impl FnOnce(&Groups) -> Result<()> + Send + 'static) -> Result<Bytes> {
    change_of(app, move |groups| work(groups).map(|()| wire::GroupChanged {})).await
}

/// Consumes as one of a group's consumers. The answer begins once the consumer is connected.
///
/// # Errors
/// Those of connecting, and of reading the first message.
pub(super) async fn consume(call: Call) -> Result<Response<Body>> {
    use wire::consume_request::Content;
    let Call { app, body, deadline, peer } = call;
    let mut messages = Messages::new(app.clone(), body, false);
    let first = messages.next().await?.map(|held| decode(&held.bytes)).transpose()?;
    let Some(wire::ConsumeRequest { content: Some(Content::Options(options)) }) = first else {
        return Err(Error::new(Code::BadRequest, "the first message of a consumer is not its options"));
    };
    let (name, options) = options.with_address(&peer.as_ref().map(Peer::to_string).unwrap_or_default())?;
    let consumer = app.read(move |store| store.groups().connect(&name, options)).await?;
    let handle = consumer.handle();
    let mut first = Vec::new();
    put_message(&mut first, &response(wire::consume_response::Content::Connected(handle.id())));
    let messages = messages.that_may_wait();
    let consuming = Consuming { consumer, messages, ears: NativeEars(handle), voice: NativeVoice, deadline };
    let (feed, body) = feed::open();
    tokio::spawn(async move {
        match consuming.run(&app, first, &feed).await {
            Ended::Gone => {}
            Ended::Complete => feed.end_with(trailers(None)).await,
            Ended::Broken(error) => {
                app.metrics.refused(error.code);
                feed.end_with(trailers(Some(&error))).await;
            }
        }
    });
    Ok(streaming(body))
}

fn response(content: wire::consume_response::Content) -> wire::ConsumeResponse {
    wire::ConsumeResponse { content: Some(content) }
}

struct NativeEars(ConsumerHandle);

impl Ears for NativeEars {
    fn hear(&mut self, message: &Bytes) -> Result<()> {
        use wire::consume_request::Content;
        match decode::<wire::ConsumeRequest>(message)?.content {
            Some(Content::Ack(ack)) => {
                self.0.ack(&group::positions(ack.positions)?)?;
            }
            Some(Content::Nack(nack)) => {
                self.0.nack(&group::positions(nack.positions)?, group::nack(nack.action)?, &nack.reason)?;
            }
            Some(Content::Options(_)) => {
                return Err(Error::new(Code::BadRequest, "a consumer says its options once"));
            }
            None => return Err(Error::new(Code::BadRequest, "the message of a consumer says nothing")),
        }
        Ok(())
    }
}

struct NativeVoice;

impl Voice for NativeVoice {
    async fn say(&mut self, _: &Arc<App>, deliveries: Vec<Delivery>) -> Result<Vec<u8>> {
        let size = |delivery: &Delivery| StoredEvent::size_bytes(&delivery.event) + 96;
        let mut out = Vec::with_capacity(deliveries.iter().map(size).sum());
        for delivery in &deliveries {
            put_message(&mut out, &response(wire::consume_response::Content::Delivery(delivery.into())));
        }
        Ok(out)
    }
}
