//! One suite of behaviour for everything that is an [`EventStore`]: the store in this process, and the client of a real
//! server over a socket. What holds for the one and not for the other is a defect.
//!
//! A law is an async function over a store that is empty. It stands in `laws/` and is named in the list below.

mod laws;
#[path = "../support/mod.rs"]
mod support;

use graven_client::{Client, EventStore};
use graven_engine::{Options, Store};
use std::time::Duration;
use support::Server;

/// Runs a law over a store.
fn hold(law: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(support::PATIENCE, law).await.expect("the law takes too long");
    });
}

macro_rules! laws {
    ($($room:ident: $($law:ident)*;)*) => {
        mod in_process {
            $($(
                #[test]
                fn $law() {
                    let directory = tempfile::tempdir().expect("a temporary directory");
                    let store = super::Store::open(directory.path(), super::Options::small()).expect("a new store");
                    super::hold(super::laws::$room::$law(store));
                }
            )*)*
        }

        /// Every event is about somebody, and its payload is sealed.
        mod sealed_in_process {
            $($(
                #[test]
                fn $law() {
                    let directory = tempfile::tempdir().expect("a temporary directory");
                    let options = super::Options { seal_subjects: true, ..super::Options::small() };
                    let store = super::Store::open(directory.path(), options).expect("a new store");
                    super::laws::SUBJECT.set(Some("anna"));
                    super::hold(super::laws::$room::$law(store));
                }
            )*)*
        }

        /// And over the network, where payloads of data subjects are sealed by default.
        mod sealed_over_the_network {
            $($(
                #[test]
                fn $law() {
                    let server = super::Server::start();
                    super::laws::SUBJECT.set(Some("anna"));
                    super::hold(async {
                        let client = super::Client::connect(server.url()).await.expect("the server is there");
                        super::laws::$room::$law(client).await;
                    });
                }
            )*)*
        }

        mod over_the_network {
            $($(
                #[test]
                fn $law() {
                    let server = super::Server::start();
                    super::hold(async {
                        let client = super::Client::connect(server.url()).await.expect("the server is there");
                        super::laws::$room::$law(client).await;
                    });
                }
            )*)*
        }
    };
}

laws! {
    appending:
        an_event_comes_back_as_it_was_handed_in
        an_append_to_several_streams_is_one
        a_retry_gets_the_receipt_of_the_append_that_did_the_work
        an_append_whose_events_stand_for_themselves_skips_what_is_there
        a_refused_append_tells_every_check_that_failed_and_leaves_nothing
        a_conflict_brings_the_events_its_caller_has_not_seen
        half_a_retry_is_refused_by_the_id_that_is_there
        a_failed_condition_names_the_event_in_its_way
        of_those_who_expect_the_same_revision_one_wins
        what_is_out_of_bounds_is_refused_with_its_own_code
        an_append_that_only_checks_stores_nothing;
    reading:
        every_selector_gives_its_events_both_ways_in_pages_of_any_size
        a_read_begins_where_it_is_told
        a_filter_narrows_a_read
        frames_hold_the_events_a_read_gives
        an_event_is_found_by_position_and_by_id
        a_read_of_what_is_not_there_says_so
        bounds_of_a_read_are_checked
        counts_and_identity_are_told;
    streams:
        a_deleted_stream_reopens_with_the_next_revision
        a_tombstone_is_for_ever
        a_truncated_stream_shows_the_rest
        metadata_is_replaced_at_its_revision
        streams_are_listed_in_order_of_creation;
    snapshots:
        a_snapshot_comes_back_as_it_was_put
        a_stream_without_snapshot_is_read_from_its_beginning
        a_page_after_a_snapshot_leads_on_to_the_rest
        what_cannot_be_a_snapshot_is_refused
        the_newest_snapshots_are_kept
        a_snapshot_ends_with_the_deletion_of_its_stream;
    following:
        a_follower_goes_from_catch_up_to_live_without_a_gap
        a_follower_from_the_end_sees_only_what_is_new
        a_follower_begins_after_the_revision_it_names
        a_follower_of_nothing_tells_how_far_it_is
        a_follower_of_a_tombstoned_stream_ends
        a_step_that_is_not_waited_for_is_not_lost;
}

/// As long as a passing test never waits.
const SOON: Duration = Duration::from_secs(20);

/// A program that knows nothing of where its store is.
async fn deposit(store: &impl EventStore) -> graven_client::model::Result<u64> {
    use graven_client::model::{AppendRequest, Expected, ReadRequest, Selector};
    let account = laws::name("account-7");
    let paid = laws::event(1, "Paid");
    store.append(AppendRequest::to(account.clone(), Expected::NoStream, [paid])).await?;
    Ok(store.read(&ReadRequest::new(Selector::Stream(account))).await?.events.len() as u64)
}

#[test]
fn a_program_goes_over_the_network_by_changing_one_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    hold(async {
        let store = Store::open(directory.path(), Options::small()).expect("a new store");
        assert_eq!(deposit(&store).await, Ok(1));
    });
    let server = Server::start();
    hold(async {
        let store = Client::connect(server.url()).await.expect("the server is there");
        assert_eq!(deposit(&store).await, Ok(1));
    });
}
