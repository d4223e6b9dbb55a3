//! The messages KurrentDB's clients speak, a module for each package of theirs, as generated from `proto/kurrentdb/`.
//! What becomes of them is decided where the server translates them.
//!
//! Two packages are called otherwise here: `event_store.client` is [`shared`], `kurrent.rpc` is [`rpc`].

#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
mod generated {
    pub mod event_store {
        pub mod client {
            include!("generated/kurrentdb/event_store.client.rs");
            pub mod gossip {
                include!("generated/kurrentdb/event_store.client.gossip.rs");
            }
            pub mod monitoring {
                include!("generated/kurrentdb/event_store.client.monitoring.rs");
            }
            pub mod operations {
                include!("generated/kurrentdb/event_store.client.operations.rs");
            }
            pub mod persistent_subscriptions {
                include!("generated/kurrentdb/event_store.client.persistent_subscriptions.rs");
            }
            pub mod projections {
                include!("generated/kurrentdb/event_store.client.projections.rs");
            }
            pub mod server_features {
                include!("generated/kurrentdb/event_store.client.server_features.rs");
            }
            pub mod streams {
                include!("generated/kurrentdb/event_store.client.streams.rs");
            }
            pub mod users {
                include!("generated/kurrentdb/event_store.client.users.rs");
            }
        }
    }
    pub mod google {
        pub mod rpc {
            include!("generated/kurrentdb/google.rpc.rs");
        }
    }
    pub mod kurrent {
        pub mod rpc {
            include!("generated/kurrentdb/kurrent.rpc.rs");
        }
    }
    pub mod kurrentdb {
        pub mod protocol {
            pub mod v2 {
                pub mod streams {
                    include!("generated/kurrentdb/kurrentdb.protocol.v2.streams.rs");
                    pub mod errors {
                        include!("generated/kurrentdb/kurrentdb.protocol.v2.streams.errors.rs");
                    }
                }
            }
        }
    }
}

pub use generated::event_store::client as shared;
pub use generated::event_store::client::gossip;
pub use generated::event_store::client::monitoring;
pub use generated::event_store::client::operations;
pub use generated::event_store::client::persistent_subscriptions as persistent;
pub use generated::event_store::client::projections;
pub use generated::event_store::client::server_features as features;
pub use generated::event_store::client::streams;
pub use generated::event_store::client::users;
pub use generated::google::rpc as google;
pub use generated::kurrent::rpc;
pub use generated::kurrentdb::protocol::v2::streams as v2;
pub use generated::kurrentdb::protocol::v2::streams::errors as v2_errors;

/// The types protobuf itself brings: `Timestamp`, `Duration`, `Any`, `Value`.
pub use prost_types as well_known;

/// The descriptors of all packages, for reflection: a `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTOR: &[u8] = include_bytes!("generated/kurrentdb/descriptor.bin");
