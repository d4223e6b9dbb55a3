//! `ServerFeatures.GetSupportedMethods`: what clients ask first, and decide by what they offer their users.

use super::{Answer, Call, ROUTES, absent};
use crate::server::grpc::answer::{message, whole};
use crate::server::grpc::message::Messages;
use graven_proto::kurrentdb::features::{SupportedMethod, SupportedMethods};
use graven_proto::kurrentdb::shared::Empty;

/// The version of KurrentDB whose interface this is. Clients compare it with those in which methods came: from 26.1 on
/// there is everything that is listed here.
const VERSION: &str = "26.1.0";

/// Answers with every method the server has.
///
/// # Errors
/// Those of reading the message.
pub(super) async fn supported_methods(call: Call) -> Answer {
    let _: Empty = Messages::only(call.app.clone(), call.body).await?;
    Ok(whole(message(&listed())))
}

fn listed() -> SupportedMethods {
    let methods = ROUTES.iter().filter(|route| absent(route).is_none()).map(|route| {
        // One of the clients looks methods up by names in lower case.
        let route = route.to_ascii_lowercase();
        let (service, method) = route[1..].split_once('/').expect("a route is a service and a method");
        SupportedMethod {
            method_name: method.to_owned(),
            service_name: service.to_owned(),
            features: features(service, method).iter().map(|feature| (*feature).to_owned()).collect(),
        }
    });
    SupportedMethods { methods: methods.collect(), event_store_server_version: VERSION.to_owned() }
}

/// What a method can do that an older one of its name could not.
fn features(service: &str, method: &str) -> &'static [&'static str] {
    match (service, method) {
        ("event_store.client.streams.streams", "read") => &["position", "events"],
        ("event_store.client.streams.streams", "batchappend") => &["deadline_duration"],
        ("event_store.client.persistent_subscriptions.persistentsubscriptions", _) => &["stream", "all"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_three_numbers() {
        let numbers: Vec<u32> = VERSION.split('.').map(|number| number.parse().unwrap()).collect();
        assert!(numbers.len() == 3 && numbers >= vec![26, 1, 0]);
    }

    #[test]
    fn methods_are_listed_in_lower_case_with_their_features_and_absent_ones_are_not() {
        let methods = listed().methods;
        let find = |service: &str, method: &str| {
            methods.iter().find(|one| one.service_name == service && one.method_name == method)
        };
        let streams = "event_store.client.streams.streams";
        assert_eq!(find(streams, "read").unwrap().features, ["position", "events"]);
        assert_eq!(find(streams, "batchappend").unwrap().features, ["deadline_duration"]);
        assert!(find(streams, "append").unwrap().features.is_empty());
        assert!(find("kurrentdb.protocol.v2.streams.streamsservice", "appendrecords").is_some());
        let groups = "event_store.client.persistent_subscriptions.persistentsubscriptions";
        assert_eq!(find(groups, "create").unwrap().features, ["stream", "all"]);
        assert!(methods.iter().all(|one| !one.service_name.contains("projections")));
        assert!(find("event_store.client.operations.operations", "shutdown").is_none());
    }
}
