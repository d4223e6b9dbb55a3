//! Names that stand for more than a stream: views made from the indexes, and streams nobody sees among all others.

use super::links;
use graven_engine::EventList;
use graven_model::{EventFilter, Selector};

/// The list a view shows, if the name is one of a view that ever shows anything.
pub(super) fn list_of(name: &str) -> Option<EventList> {
    if name == "$streams" {
        return Some(EventList::FirstEvents);
    }
    let rest = |prefix| name.strip_prefix(prefix).filter(|rest| !rest.is_empty());
    match (rest("$ce-"), rest("$et-")) {
        (Some(category), _) => Some(EventList::Category(category.into())),
        // Links are not linked to.
        (_, Some(links::TYPE)) => None,
        (_, Some(event_type)) => Some(EventList::Type(event_type.into())),
        _ => None,
    }
}

/// Whether a view passes over an event of its list: a link in a category, and streams nobody sees.
pub(super) fn passes_over(list: &EventList, stream: &str, event_type: &str) -> bool {
    match list {
        EventList::Category(_) => event_type == links::TYPE,
        _ => is_hidden(stream),
    }
}

/// What an index of this name holds, read in the order of the log. Names of indexes begin with `$idx-`.
pub(super) fn index_of(name: &str) -> Option<(Selector, EventFilter)> {
    let everything = EventFilter { exclude_system: true, ..EventFilter::default() };
    if name == "$idx-all" {
        return Some((Selector::All, everything));
    }
    let rest = |prefix| name.strip_prefix(prefix).filter(|rest: &&str| !rest.is_empty());
    let selector = match (rest("$idx-ce-"), rest("$idx-et-")) {
        (Some(category), _) => Selector::Category(category.into()),
        (_, Some(event_type)) => Selector::Types(vec![event_type.into()]),
        _ => return None,
    };
    Some((selector, EventFilter::default()))
}

/// Whether a stream is left out where all of them are read: what KurrentDB leaves out, and what the store writes about
/// consumer groups and snapshots, with the metadata of these streams.
pub(super) fn is_hidden(stream: &str) -> bool {
    if !stream.starts_with('$') {
        return false;
    }
    let described = stream.strip_prefix("$$").filter(|described| described.starts_with('$'));
    let name = described.unwrap_or(stream);
    let of_a_group = name.strip_prefix("$persistentsubscription-$all::");
    ["$epoch-information", "$groups"].contains(&name)
        || ["$group-", "$snapshot-"].iter().any(|prefix| name.starts_with(prefix))
        || of_a_group.is_some_and(|rest| rest.ends_with("-checkpoint") || rest.ends_with("-parked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_told_by_their_names() {
        assert_eq!(list_of("$ce-loan"), Some(EventList::Category("loan".into())));
        assert_eq!(list_of("$et-$metadata"), Some(EventList::Type("$metadata".into())));
        assert_eq!(list_of("$streams"), Some(EventList::FirstEvents));
        for name in ["$ce-", "$et-", "$et-$>", "$ce", "ce-loan", "$idx-all", "$streams-1", "$$$ce-loan"] {
            assert_eq!(list_of(name), None, "{name}");
        }
    }

    #[test]
    fn indexes_are_told_by_their_names() {
        assert_eq!(index_of("$idx-ce-loan").unwrap().0, Selector::Category("loan".into()));
        assert_eq!(index_of("$idx-et-A").unwrap().0, Selector::Types(vec!["A".into()]));
        assert!(index_of("$idx-all").unwrap().1.exclude_system);
        for name in ["$idx-", "$idx-ce-", "$idx-et-", "$idx-mine", "$idx-all-1"] {
            assert_eq!(index_of(name), None, "{name}");
        }
    }

    #[test]
    fn what_the_store_keeps_for_itself_is_not_seen_among_all() {
        for hidden in [
            "$epoch-information",
            "$persistentsubscription-$all::mail-checkpoint",
            "$persistentsubscription-$all::mail-parked",
            "$groups",
            "$group-workers",
            "$$$group-workers",
            "$snapshot-loan-1",
            "$$$snapshot-loan-1",
        ] {
            assert!(is_hidden(hidden), "{hidden}");
        }
        for seen in [
            "loan-1",
            "$audit",
            "$$loan-1",
            "$users",
            "$persistentsubscription-loan-1::mail-parked",
            "$persistentsubscription-$all::mail",
            "$grouped",
            "$$group-1",
            "$$groups",
        ] {
            assert!(!is_hidden(seen), "{seen}");
        }
    }
}
