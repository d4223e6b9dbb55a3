//! What a group reads, by the name its clients know it by: `$all`, a stream, or a view made from the index.

use crate::server::kurrent::words::is_view;
use graven_model::{Code, Error, GroupName, Position, Result, Revision, Selector, Start, StreamName, Text};

/// What stands between the source and the group in the name of a group.
const SEPARATOR: &str = "::";

const ALL: &str = "$all";
const CATEGORY: &str = "$ce-";
const TYPE: &str = "$et-";

/// What a group reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// `$all`
    All,
    /// A stream.
    Stream(StreamName),
    /// `$ce-<category>`
    Category(Text),
    /// `$et-<type>`
    Type(Text),
}

impl Source {
    /// The source of a name, other than `$all`.
    ///
    /// # Errors
    /// [`Code::InvalidStreamName`]; [`Code::InvalidGroup`] for a view that no group can read.
    pub(super) fn named(name: &str) -> Result<Source> {
        if let Some(category) = name.strip_prefix(CATEGORY).filter(|rest| !rest.is_empty()) {
            return Ok(Source::Category(category.into()));
        }
        if let Some(event_type) = name.strip_prefix(TYPE).filter(|rest| !rest.is_empty()) {
            return Ok(Source::Type(event_type.into()));
        }
        let stream = StreamName::new(name)?;
        if is_view(&stream) {
            return Err(Error::new(Code::InvalidGroup, format!("a group cannot read {name:?}"))
                .expected("a stream, $all, $ce-<category> or $et-<type>"));
        }
        Ok(Source::Stream(stream))
    }

    /// The source a selector stands for; `None` if clients of this protocol have no name for it.
    pub(super) fn of(selector: &Selector) -> Option<Source> {
        match selector {
            Selector::All => Some(Source::All),
            Selector::Stream(stream) if !is_view(stream) => Some(Source::Stream(stream.clone())),
            Selector::Category(category) => Some(Source::Category(category.clone())),
            Selector::Types(types) => match &types[..] {
                [event_type] => Some(Source::Type(event_type.clone())),
                _ => None,
            },
            _ => None,
        }
    }

    /// What a group of it selects.
    pub(super) fn selector(&self) -> Selector {
        match self {
            Source::All => Selector::All,
            Source::Stream(stream) => Selector::Stream(stream.clone()),
            Source::Category(category) => Selector::Category(category.clone()),
            Source::Type(event_type) => Selector::Types(vec![event_type.clone()]),
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> String {
        match self {
            Source::All => ALL.to_owned(),
            Source::Stream(stream) => stream.to_string(),
            Source::Category(category) => format!("{CATEGORY}{category}"),
            Source::Type(event_type) => format!("{TYPE}{event_type}"),
        }
    }

    /// Whether its events are links, numbered by the index.
    pub(super) fn is_view(&self) -> bool {
        matches!(self, Source::Category(_) | Source::Type(_))
    }

    /// The name under which the store has a group.
    ///
    /// # Errors
    /// [`Code::InvalidGroup`] if it has none, or both together are too long.
    pub(super) fn group(&self, group: &str) -> Result<GroupName> {
        if group.is_empty() {
            return Err(Error::new(Code::InvalidGroup, "the group has no name"));
        }
        GroupName::new(format!("{}{SEPARATOR}{group}", self.name()))
    }

    /// The source and the name a client of this protocol knows a group by; `None` if it cannot name it.
    pub(super) fn split(name: &GroupName, selector: &Selector) -> Option<(Source, String)> {
        let source = Source::of(selector)?;
        let group = name.as_str().strip_prefix(&source.name())?.strip_prefix(SEPARATOR)?;
        (!group.is_empty()).then(|| (source.clone(), group.to_owned()))
    }

    /// A number in a stream or view, or a place in the log, as a text: what clients parse.
    pub(super) fn place(&self, position: Position, number: u64) -> String {
        match self {
            Source::All => format!("C:{position}/P:{position}"),
            _ => number.to_string(),
        }
    }

    /// The beginning of a source as a text.
    pub(super) fn first_place(&self) -> String {
        self.place(Position(0), 0)
    }

    /// The end of a source as a text.
    pub(super) fn end_place(&self) -> String {
        match self {
            Source::All => "C:-1/P:-1".to_owned(),
            _ => "-1".to_owned(),
        }
    }
}

/// Where a group is asked to begin, before anybody knows whether there is such a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    First,
    End,
    /// The so-manyth event of a stream or view, from 0.
    Number(u64),
    /// A place in the log.
    Position(u64),
}

impl Begin {
    /// The number in a message: the largest stands for the end.
    pub(super) fn number(number: u64) -> Begin {
        if number == u64::MAX { Begin::End } else { Begin::Number(number) }
    }

    /// As a place in the words of the model. `select` gives the position of the so-manyth event of a view.
    ///
    /// # Errors
    /// [`Code::InvalidGroup`] for a place that is not there; those of `select`.
    pub(super) fn start(
        self,
        source: &Source,
        head: Position,
        select: impl FnOnce(&Selector, u64) -> Result<Option<Position>>,
        count: impl FnOnce(&Selector) -> Result<u64>,
    ) -> Result<Start> {
        Ok(match (self, source) {
            (Begin::First, _) => Start::Start,
            (Begin::End, _) => Start::End,
            (Begin::Number(number), Source::Stream(_)) => Start::Revision(Revision(number)),
            (Begin::Number(number), Source::Category(_) | Source::Type(_)) => {
                let selector = source.selector();
                match select(&selector, number)? {
                    Some(position) => Start::Position(position),
                    None if count(&selector)? == number => Start::End,
                    None => return Err(beyond(&source.name(), number)),
                }
            }
            (Begin::Position(position), _) if position < head.0 => Start::Position(Position(position)),
            (Begin::Position(number) | Begin::Number(number), _) => {
                return Err(beyond(&source.name(), number));
            }
        })
    }
}

fn beyond(source: &str, number: u64) -> Error {
    Error::new(Code::InvalidGroup, format!("{source} does not reach {number} yet"))
        .expected("a place that is there, or the end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_source_and_name() {
        for (source, group, stored) in [
            (Source::All, "mail", "$all::mail"),
            (Source::named("loan-1").unwrap(), "a::b", "loan-1::a::b"),
            (Source::named("a::b").unwrap(), "c", "a::b::c"),
            (Source::named("$ce-loan").unwrap(), "workers", "$ce-loan::workers"),
            (Source::named("$et-Opened").unwrap(), "workers", "$et-Opened::workers"),
        ] {
            let name = source.group(group).unwrap();
            assert_eq!(name.as_str(), stored);
            assert_eq!(Source::split(&name, &source.selector()), Some((source, group.to_owned())));
        }
    }

    #[test]
    fn a_group_that_another_interface_made_may_have_no_name_here() {
        let name = |name: &str| GroupName::new(name).unwrap();
        assert_eq!(Source::split(&name("workers"), &Selector::All), None);
        assert_eq!(Source::split(&name("$all::"), &Selector::All), None);
        assert_eq!(Source::split(&name("$all::x"), &Selector::Category("loan".into())), None);
        assert_eq!(Source::split(&name("x::x"), &Selector::Tags(vec!["x".into()])), None);
    }

    #[test]
    fn views_that_no_group_can_read_are_refused() {
        for name in ["$streams", "$idx-all", "$idx-ce-loan", "$ce-", "$et-"] {
            assert_eq!(Source::named(name).unwrap_err().code, Code::InvalidGroup, "{name}");
        }
        assert_eq!(Source::named("").unwrap_err().code, Code::InvalidStreamName);
        assert_eq!(Source::All.group("").unwrap_err().code, Code::InvalidGroup);
    }

    #[test]
    fn a_group_begins_only_where_there_is_something_or_will_be_next() {
        let head = Position(9);
        let begin = |begin: Begin, source: &str| {
            let source = if source == "$all" { Source::All } else { Source::named(source).unwrap() };
            let select = |_: &Selector, number| Ok((number < 3).then_some(Position(number * 2)));
            begin.start(&source, head, select, |_| Ok(3)).map_err(|error| error.code)
        };
        assert_eq!(begin(Begin::number(7), "loan-1"), Ok(Start::Revision(Revision(7))));
        assert_eq!(begin(Begin::number(u64::MAX), "loan-1"), Ok(Start::End));
        assert_eq!(begin(Begin::number(2), "$ce-loan"), Ok(Start::Position(Position(4))));
        assert_eq!(begin(Begin::number(3), "$ce-loan"), Ok(Start::End));
        assert_eq!(begin(Begin::number(4), "$ce-loan"), Err(Code::InvalidGroup));
        assert_eq!(begin(Begin::Position(8), "$all"), Ok(Start::Position(Position(8))));
        assert_eq!(begin(Begin::Position(9), "$all"), Err(Code::InvalidGroup));
        assert_eq!(begin(Begin::First, "$all"), Ok(Start::Start));
    }
}
