//! `PersistentSubscriptions`: consumer groups, as KurrentDB's clients know them.
//!
//! The name of a group is what it reads and its own name together ([`source`]). What clients say of settings is in
//! [`settings`], what they are told of a group in [`info`], and a consumer's call in [`read`].

/// The group that options name, each in types of its own but in the same words.
macro_rules! group {
    ($options:ident) => {
        match $options.stream_option {
            Some(StreamOption::StreamIdentifier(stream)) => {
                Group::new(source_of(Some(&stream))?, $options.group_name)?
            }
            Some(StreamOption::All(_)) => Group::new(Source::All, $options.group_name)?,
            None => return Err(no_source()),
        }
    };
}

mod form;
mod hands;
mod info;
mod read;
mod settings;
mod source;

use super::errors::{About, Refusal};
use super::{Answer, Call};
use crate::server::App;
use crate::server::blocking;
use crate::server::grpc::answer::{message, whole};
use crate::server::grpc::message::Messages;
use graven_engine::{Groups, Store};
use graven_model::{Code, DeadLetterFilter, Error, GroupName, Result};
use graven_proto::kurrentdb::persistent as wire;
use graven_proto::kurrentdb::shared::Empty;
use settings::{Wish, source_of};
use source::Source;
use std::sync::Arc;

/// Answers the call of a method.
pub(super) async fn answer(method: &str, call: Call) -> Answer {
    if method == "Read" {
        return read::open(call).await;
    }
    let Call { app, body, .. } = call;
    let bytes = match method {
        "Create" => {
            let asked: wire::CreateReq = Messages::only(app.clone(), body).await?;
            create(&app, Wish::of(asked.options)?).await?;
            message(&wire::CreateResp {})
        }
        "Update" => {
            // The fields are those of a creation; see [`Wish`].
            let asked: wire::CreateReq = Messages::only(app.clone(), body).await?;
            update(&app, Wish::of(asked.options)?).await?;
            message(&wire::UpdateResp {})
        }
        "Delete" => {
            use wire::delete_req::options::StreamOption;
            let asked: wire::DeleteReq = Messages::only(app.clone(), body).await?;
            let options = asked.options.ok_or_else(no_options)?;
            let group = group!(options);
            group.change(&app, |groups, name| groups.delete(name)).await?;
            message(&wire::DeleteResp {})
        }
        "GetInfo" => {
            use wire::get_info_req::options::StreamOption;
            let asked: wire::GetInfoReq = Messages::only(app.clone(), body).await?;
            let options = asked.options.ok_or_else(no_options)?;
            let group = group!(options);
            let info = group
                .ask(&app, |store, group| {
                    let info = store.groups().info(&group.stored)?;
                    info::describe(store, &group.source, group.name.clone(), &info)
                })
                .await?;
            message(&wire::GetInfoResp { subscription_info: Some(info) })
        }
        "ReplayParked" => {
            use wire::replay_parked_req::options::{StopAtOption, StreamOption};
            let asked: wire::ReplayParkedReq = Messages::only(app.clone(), body).await?;
            let options = asked.options.ok_or_else(no_options)?;
            let group = group!(options);
            let limit = match options.stop_at_option {
                Some(StopAtOption::StopAt(limit)) => Some(group.limit(limit)?),
                Some(StopAtOption::NoLimit(_)) | None => None,
            };
            group.change_parked(&app, move |groups, filter| groups.replay(filter, limit)).await?;
            message(&wire::ReplayParkedResp {})
        }
        "TruncateParked" => {
            use wire::truncate_parked_req::options::{StopAtOption, StreamOption};
            let asked: wire::TruncateParkedReq = Messages::only(app.clone(), body).await?;
            let options = asked.options.ok_or_else(no_options)?;
            let group = group!(options);
            let limit = match options.stop_at_option {
                Some(StopAtOption::StopAt(limit)) => Some(group.limit(limit)?),
                Some(StopAtOption::NoLimit(_)) | None => None,
            };
            group.change_parked(&app, move |groups, filter| groups.skip(filter, limit)).await?;
            message(&wire::TruncateParkedResp {})
        }
        "List" => {
            let asked: wire::ListReq = Messages::only(app.clone(), body).await?;
            let subscriptions = list(&app, asked.options.and_then(|options| options.list_option)).await?;
            message(&wire::ListResp { subscriptions })
        }
        "RestartSubsystem" => {
            let Empty {} = Messages::only(app.clone(), body).await?;
            let groups = app.store.groups();
            blocking(move || groups.restart()).await?;
            message(&Empty {})
        }
        _ => return Err(Refusal::unimplemented(method)),
    };
    Ok(whole(app.answers.hold(bytes).await))
}

fn no_options() -> Refusal {
    Refusal::invalid("the options are missing")
}

fn no_source() -> Refusal {
    Refusal::invalid("neither a stream nor $all is named")
}

/// A group, as a client names it and as the store does.
struct Group {
    source: Source,
    name: String,
    stored: GroupName,
}

impl Group {
    fn new(source: Source, name: String) -> Result<Group, Refusal> {
        match source.group(&name) {
            Ok(stored) => Ok(Group { source, name, stored }),
            Err(error) => Err(Refusal::of(&error, About::group(&source.name(), &name))),
        }
    }

    /// What a client is told of an error that has to do with this group.
    fn refusal(&self, error: &Error) -> Refusal {
        Refusal::of(error, About::group(&self.source.name(), &self.name))
    }

    /// A number of parked events.
    fn limit(&self, limit: i64) -> Result<u64, Refusal> {
        u64::try_from(limit).map_err(|_| {
            Refusal::group_failed(
                About::group(&self.source.name(), &self.name),
                "Cannot stop replaying parked message at a negative version.",
            )
        })
    }

    /// Asks the store.
    async fn ask<T: Send + 'static>(
        self,
        app: &Arc<App>,
        work: impl FnOnce(&Store, &Group) -> Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let group = Arc::new(self);
        let asking = group.clone();
        app.read(move |store| work(store, &asking)).await.map_err(|error| group.refusal(&error))
    }

    /// Has something changed.
    async fn change<T: Send + 'static>(
        self,
        app: &Arc<App>,
        work: impl FnOnce(&Groups, &GroupName) -> Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (groups, stored) = (app.store.groups(), self.stored.clone());
        blocking(move || work(&groups, &stored)).await.map_err(|error| self.refusal(&error))
    }

    /// Has something done to its parked events. That there are none is no error, but that there is no group is one.
    async fn change_parked(
        self,
        app: &Arc<App>,
        work: impl FnOnce(&Groups, &DeadLetterFilter) -> Result<u64> + Send + 'static,
    ) -> Result<(), Refusal> {
        let changed = self.change(app, move |groups, name| {
            let filter = DeadLetterFilter { group: Some(name.clone()), ..DeadLetterFilter::default() };
            match work(groups, &filter) {
                Err(error) if error.code == Code::DeadLetterNotFound => Ok(0),
                outcome => outcome,
            }
        });
        changed.await.map(|_| ())
    }
}

async fn create(app: &Arc<App>, wish: Wish) -> Result<(), Refusal> {
    let group = Group::new(wish.source.clone(), wish.group.clone())?;
    group
        .with_wish(app, wish, |store, group, wish| {
            let settings = wish.create(wish.start(store)?)?;
            store.groups().create(&group.stored, &settings)
        })
        .await
}

async fn update(app: &Arc<App>, wish: Wish) -> Result<(), Refusal> {
    let group = Group::new(wish.source.clone(), wish.group.clone())?;
    group
        .with_wish(app, wish, |store, group, wish| {
            let groups = store.groups();
            let before = groups.info(&group.stored)?.settings;
            groups.update(&group.stored, &wish.update(&before, wish.start(store)?)?)
        })
        .await
}

impl Group {
    async fn with_wish(
        self,
        app: &Arc<App>,
        wish: Wish,
        work: impl FnOnce(&Store, &Group, &Wish) -> Result<()> + Send + 'static,
    ) -> Result<(), Refusal> {
        let group = Arc::new(self);
        let (changing, with_app) = (group.clone(), app.clone());
        let changed = blocking(move || work(&with_app.store, &changing, &wish)).await;
        changed.map_err(|error| group.refusal(&error))
    }
}

/// The groups clients of this protocol can name: all, or those of one source, of which there has to be one.
async fn list(
    app: &Arc<App>,
    option: Option<wire::list_req::options::ListOption>,
) -> Result<Vec<wire::SubscriptionInfo>, Refusal> {
    use wire::list_req::options::ListOption;
    use wire::list_req::stream_option::StreamOption;
    let wanted = match option {
        Some(ListOption::ListAllSubscriptions(_)) => None,
        Some(ListOption::ListForStream(of)) => Some(match of.stream_option {
            Some(StreamOption::Stream(stream)) => source_of(Some(&stream))?,
            Some(StreamOption::All(_)) => Source::All,
            None => return Err(no_source()),
        }),
        None => return Err(Refusal::invalid("it is not said which groups to list")),
    };
    let of = wanted.clone();
    let listed = app
        .read(move |store| {
            let groups = store.groups().list()?;
            let named = groups.iter().filter_map(|info| {
                let (source, name) = Source::split(&info.name, &info.settings.selector)?;
                of.as_ref().is_none_or(|of| *of == source).then_some((source, name, info))
            });
            named
                .map(|(source, name, info)| info::describe(store, &source, name, info))
                .collect::<Result<Vec<_>>>()
        })
        .await?;
    match wanted {
        Some(source) if listed.is_empty() => {
            let error = Error::new(Code::GroupNotFound, "there is no group on this source");
            Err(Refusal::of(&error, About::group(&source.name(), "")))
        }
        _ => Ok(listed),
    }
}
