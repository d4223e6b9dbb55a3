//! Selectors and queries: their bounds, their index terms, and the check of a candidate against the log.

use crate::append::subject_tag;
use crate::index::{Hasher, Item, TermQuery};
use crate::log::frame::{Record, Subject};
use graven_model::error::Details;
use graven_model::{Code, Error, Query, Result, Selector, Text, ids, limits};

/// Checks a query against its bounds.
///
/// # Errors
/// [`Code::InvalidQuery`].
pub(crate) fn check_query(query: &Query) -> Result<()> {
    let invalid = |what: String| Error::new(Code::InvalidQuery, what);
    if query.items.is_empty() || query.items.len() > limits::QUERY_ITEMS_MAX {
        return Err(invalid("the query has no items or too many".into())
            .expected(format!("1 to {} items", limits::QUERY_ITEMS_MAX))
            .found(query.items.len().to_string()));
    }
    for (index, item) in query.items.iter().enumerate() {
        let empty = item.types.is_empty() && item.tags.is_empty();
        if empty != item.all {
            let what = if empty {
                "the item names neither types nor tags, and does not say all"
            } else {
                "the item says all and names types or tags"
            };
            return Err(invalid(what.into()).with(Details::Item(index as u64)));
        }
        for terms in [&item.types, &item.tags] {
            check_terms(terms).map_err(|error| error.with(Details::Item(index as u64)))?;
        }
    }
    Ok(())
}

fn check_terms(terms: &[Text]) -> Result<()> {
    if terms.len() > limits::QUERY_TERMS_MAX {
        return Err(Error::new(Code::InvalidQuery, "too many types or tags")
            .expected(format!("at most {}", limits::QUERY_TERMS_MAX))
            .found(terms.len().to_string()));
    }
    Ok(())
}

/// Checks a selector against its bounds.
///
/// # Errors
/// [`Code::InvalidQuery`].
pub(crate) fn check(selector: &Selector) -> Result<()> {
    match selector {
        Selector::Stream(_) | Selector::All | Selector::Category(_) => Ok(()),
        Selector::Types(terms) | Selector::Tags(terms) if terms.is_empty() => {
            Err(Error::new(Code::InvalidQuery, "the read names no type or tag"))
        }
        Selector::Types(terms) | Selector::Tags(terms) => check_terms(terms),
        Selector::Query(query) => check_query(query),
    }
}

impl Hasher {
    /// The index terms of a query.
    pub(crate) fn query(&self, query: &Query) -> TermQuery {
        TermQuery {
            items: query
                .items
                .iter()
                .map(|item| Item {
                    types: item.types.iter().map(|name| self.event_type(name)).collect(),
                    tags: item.tags.iter().map(|tag| self.tag(tag)).collect(),
                    ..Item::default()
                })
                .collect(),
        }
    }

    /// The index terms of a selector other than a stream or everything.
    pub(crate) fn selector(&self, selector: &Selector) -> TermQuery {
        let item = match selector {
            Selector::Stream(_) | Selector::All => Item::default(),
            Selector::Category(name) => Item { category: Some(self.category(name)), ..Item::default() },
            Selector::Types(names) => {
                Item { types: names.iter().map(|name| self.event_type(name)).collect(), ..Item::default() }
            }
            Selector::Tags(tags) => {
                Item { tags: tags.iter().map(|tag| self.tag(tag)).collect(), ..Item::default() }
            }
            Selector::Query(query) => return self.query(query),
        };
        TermQuery { items: vec![item] }
    }
}

/// Whether a record really is one the selector asks for.
pub(crate) fn selects(selector: &Selector, record: &Record<'_>) -> bool {
    match selector {
        Selector::All => true,
        Selector::Stream(name) => record.stream == name.as_str(),
        Selector::Category(name) => ids::category_of(record.stream) == Some(name),
        Selector::Types(names) => names.iter().any(|name| &**name == record.event_type),
        Selector::Tags(tags) => tags.iter().all(|tag| has_tag(record, tag)),
        Selector::Query(query) => query.items.iter().any(|item| {
            (item.types.is_empty() || item.types.iter().any(|name| &**name == record.event_type))
                && item.tags.iter().all(|tag| has_tag(record, tag))
        }),
    }
}

fn has_tag(record: &Record<'_>, tag: &str) -> bool {
    record.tags.iter().any(|(own, _)| *own == tag)
        || (tag.starts_with('$') && subject_of(record).is_some_and(|subject| subject_tag(subject) == tag))
}

fn subject_of<'a>(record: &Record<'a>) -> Option<&'a str> {
    record.subject.and_then(Subject::name)
}
