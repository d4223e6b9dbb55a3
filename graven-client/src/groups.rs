//! [`Groups`]: consumer groups of a server, and their dead letters. [`GroupConsumer`] consumes as one of a group's consumers.

mod consumer;

pub use consumer::{ConsumeOptions, Consumed, GroupConsumer};

use crate::client::{Client, Repeat};
use graven_model::{
    DeadLetterFilter, DeadLetterPage, GroupInfo, GroupName, GroupSettings, Position, Result, Start,
};
use graven_proto::wire;

/// The consumer groups of a server: [`Client::groups`]. Cheap to clone.
///
/// Groups live where the log is written: of several nodes, every call goes to the one that writes.
#[derive(Debug, Clone)]
pub struct Groups(Client);

impl Client {
    /// The consumer groups of the server.
    #[must_use]
    pub fn groups(&self) -> Groups {
        Groups(self.clone())
    }
}

impl Groups {
    /// Makes a group. It is durable when this returns.
    ///
    /// # Errors
    /// [`graven_model::Code::GroupExists`], [`graven_model::Code::InvalidGroup`], [`graven_model::Code::TooManyGroups`]; those of the
    /// connection, after which the group may have been made.
    pub async fn create(&self, group: &GroupName, settings: &GroupSettings) -> Result<()> {
        let message = definition(group, settings);
        let answer =
            self.0.call("making the group", Repeat::IfUntouched, message, async |mut service, message| {
                service.create_group(message).await
            });
        answer.await.map(|wire::GroupChanged {}| ())
    }

    /// Replaces a group's settings. It keeps its position and its parked events; its consumers connect again. What it selects
    /// cannot be changed.
    ///
    /// # Errors
    /// [`graven_model::Code::GroupNotFound`], [`graven_model::Code::InvalidGroup`]; those of the connection.
    pub async fn update(&self, group: &GroupName, settings: &GroupSettings) -> Result<()> {
        let message = definition(group, settings);
        let answer =
            self.0.call("updating the group", Repeat::IfUntouched, message, async |mut service, message| {
                service.update_group(message).await
            });
        answer.await.map(|wire::GroupChanged {}| ())
    }

    /// Moves a group to another place, inclusive: a position, a time, one of the ends, or, for a group on a stream, a revision.
    /// Its consumers connect again; parked events stay.
    ///
    /// # Errors
    /// [`graven_model::Code::GroupNotFound`], [`graven_model::Code::InvalidStart`]; those of the connection.
    pub async fn reset(&self, group: &GroupName, to: Start) -> Result<()> {
        let message = wire::ResetGroupRequest { group: group.to_string(), to: Some(to.into()) };
        let answer =
            self.0.call("resetting the group", Repeat::IfUntouched, message, async |mut service, message| {
                service.reset_group(message).await
            });
        answer.await.map(|wire::GroupChanged {}| ())
    }

    /// Ends a group, its parked events with it.
    ///
    /// # Errors
    /// [`graven_model::Code::GroupNotFound`]; those of the connection, after which the group may have ended.
    pub async fn delete(&self, group: &GroupName) -> Result<()> {
        let message = wire::GroupRequest { group: group.to_string() };
        let answer =
            self.0.call("deleting the group", Repeat::IfUntouched, message, async |mut service, message| {
                service.delete_group(message).await
            });
        answer.await.map(|wire::GroupChanged {}| ())
    }

    /// All groups, by name. How long consumers took is left out.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn list(&self) -> Result<Vec<GroupInfo>> {
        let message = wire::GroupsRequest {};
        let answer = self.0.call("the groups", Repeat::AtWriter, message, async |mut service, message| {
            service.groups(message).await
        });
        answer.await?.groups.into_iter().map(GroupInfo::try_from).collect()
    }

    /// How a group stands.
    ///
    /// # Errors
    /// [`graven_model::Code::GroupNotFound`]; those of the server.
    pub async fn info(&self, group: &GroupName) -> Result<GroupInfo> {
        let message = wire::GroupRequest { group: group.to_string() };
        let answer = self.0.call("the group", Repeat::AtWriter, message, async |mut service, message| {
            service.group_info(message).await
        });
        answer.await?.try_into()
    }

    /// Consumes as one of a group's consumers, over connections that may break: see [`GroupConsumer`].
    ///
    /// # Errors
    /// [`graven_model::Code::GroupNotFound`], [`graven_model::Code::GroupFull`], [`graven_model::Code::InvalidGroup`] for options
    /// out of bounds; those of the connection.
    pub async fn consume(&self, group: &GroupName, options: ConsumeOptions) -> Result<GroupConsumer> {
        GroupConsumer::open(self.0.clone(), group, &options).await
    }

    /// A page of dead letters, in order of group and position: after a place, and at most so many; 0 = the server's choice.
    ///
    /// # Errors
    /// [`graven_model::Code::InvalidLimit`]; those of the server.
    pub async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&(GroupName, Position)>,
        limit: u32,
    ) -> Result<DeadLetterPage> {
        let message = wire::DeadLettersRequest {
            filter: Some(filter.into()),
            after: after.map(wire::DeadLetterPlace::from),
            limit,
        };
        let answer =
            self.0.call("the dead letters", Repeat::AtWriter, message, async |mut service, message| {
                service.dead_letters(message).await
            });
        answer.await?.try_into()
    }

    /// How many dead letters fit.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64> {
        let message = wire::SelectDeadLettersRequest { filter: Some(filter.into()), limit: None };
        let answer =
            self.0.call("counting dead letters", Repeat::AtWriter, message, async |mut service, message| {
                service.count_dead_letters(message).await
            });
        answer.await.map(|wire::DeadLettersAffected { letters }| letters)
    }

    /// Has dead letters delivered again, at most so many and the oldest first; gives how many are replayed now. They leave the
    /// list when they are acknowledged.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn replay(&self, filter: &DeadLetterFilter, limit: Option<u64>) -> Result<u64> {
        let message = wire::SelectDeadLettersRequest { filter: Some(filter.into()), limit };
        let answer = self.0.call("the replay", Repeat::IfUntouched, message, async |mut service, message| {
            service.replay_dead_letters(message).await
        });
        answer.await.map(|wire::DeadLettersAffected { letters }| letters)
    }

    /// Takes dead letters from the list without having them processed, at most so many and the oldest first; gives how many it
    /// were. Durable when this returns.
    ///
    /// # Errors
    /// Those of the server; those of the connection, after which they may have been skipped.
    pub async fn skip(&self, filter: &DeadLetterFilter, limit: Option<u64>) -> Result<u64> {
        let message = wire::SelectDeadLettersRequest { filter: Some(filter.into()), limit };
        let answer = self.0.call(
            "skipping dead letters",
            Repeat::IfUntouched,
            message,
            async |mut service, message| service.skip_dead_letters(message).await,
        );
        answer.await.map(|wire::DeadLettersAffected { letters }| letters)
    }
}

fn definition(group: &GroupName, settings: &GroupSettings) -> wire::GroupDefinition {
    wire::GroupDefinition { group: group.to_string(), settings: Some(settings.into()) }
}
