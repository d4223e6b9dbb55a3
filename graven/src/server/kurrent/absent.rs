//! Methods there are not, and what clients are told of them.

use super::errors::Refusal;
use graven_model::Code;
use tonic::Code as GrpcCode;

const PROJECTIONS: &str = "projections do not run in this server; what they are mostly used for, the streams of categories \
                           and types, is there without them";
const USERS: &str = "this server asks nobody who he is: there are no users";

/// Why there is no such method; `None` if there is one.
pub(super) fn absent(route: &str) -> Option<&'static str> {
    let (service, method) = route[1..].split_once('/')?;
    match (service, method) {
        ("event_store.client.projections.Projections", _) => Some(PROJECTIONS),
        ("event_store.client.users.Users", "Create") => Some(USERS),
        ("event_store.client.operations.Operations", "Shutdown") => {
            Some("nobody shuts this server down over the network; end its process")
        }
        ("event_store.client.operations.Operations", "ResignNode") => {
            Some("a node does not resign; have another one take over")
        }
        ("event_store.client.operations.Operations", "SetNodePriority") => {
            Some("nodes have no priorities; have the one that is to write take over")
        }
        _ => None,
    }
}

/// The refusal of a method there is not.
pub(super) fn refusal(why: &str) -> Refusal {
    Refusal::new(Code::NotFound, GrpcCode::Unimplemented, why, &[])
}
