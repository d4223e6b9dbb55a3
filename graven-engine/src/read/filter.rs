//! [`Filter`]: a compiled [`EventFilter`].

use graven_model::{Code, Error, EventFilter, Pattern, Result, Text, limits};
use regex::{Regex, RegexBuilder};

/// A filter ready to run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    stream: Option<Matcher>,
    event_type: Option<Matcher>,
    exclude_system: bool,
}

#[derive(Debug, Clone)]
enum Matcher {
    Prefixes(Vec<Text>),
    Regex(Box<Regex>),
}

impl Filter {
    /// Compiles a filter.
    ///
    /// # Errors
    /// [`Code::InvalidFilter`] for a regular expression that does not compile or is too large, or too many prefixes.
    pub(crate) fn compile(filter: &EventFilter) -> Result<Filter> {
        Ok(Filter {
            stream: filter.stream.as_ref().map(Matcher::compile).transpose()?,
            event_type: filter.event_type.as_ref().map(Matcher::compile).transpose()?,
            exclude_system: filter.exclude_system,
        })
    }

    /// True if it lets everything through.
    pub(crate) fn is_empty(&self) -> bool {
        self.stream.is_none() && self.event_type.is_none() && !self.exclude_system
    }

    /// Whether an event passes.
    pub(crate) fn matches(&self, stream: &str, event_type: &str) -> bool {
        !(self.exclude_system && (stream.starts_with('$') || event_type.starts_with('$')))
            && self.stream.as_ref().is_none_or(|matcher| matcher.matches(stream))
            && self.event_type.as_ref().is_none_or(|matcher| matcher.matches(event_type))
    }
}

impl Matcher {
    fn compile(pattern: &Pattern) -> Result<Matcher> {
        match pattern {
            Pattern::Prefixes(prefixes) if prefixes.len() > limits::FILTER_PREFIXES_MAX => {
                Err(Error::new(Code::InvalidFilter, "the filter names too many prefixes")
                    .expected(format!("at most {}", limits::FILTER_PREFIXES_MAX))
                    .found(prefixes.len().to_string()))
            }
            Pattern::Prefixes(prefixes) => Ok(Matcher::Prefixes(prefixes.clone())),
            Pattern::Regex(text) if text.len() > limits::REGEX_BYTES_MAX => {
                Err(Error::new(Code::InvalidFilter, "the regular expression is too long")
                    .expected(format!("at most {} bytes", limits::REGEX_BYTES_MAX))
                    .found(format!("{} bytes", text.len())))
            }
            Pattern::Regex(text) => RegexBuilder::new(text)
                .size_limit(limits::REGEX_COMPILED_BYTES_MAX)
                .dfa_size_limit(limits::REGEX_COMPILED_BYTES_MAX)
                .build()
                .map(|regex| Matcher::Regex(Box::new(regex)))
                .map_err(|error| {
                    Error::new(
                        Code::InvalidFilter,
                        format!("the regular expression does not compile: {error}"),
                    )
                }),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Matcher::Prefixes(prefixes) => prefixes.iter().any(|prefix| text.starts_with(&**prefix)),
            Matcher::Regex(regex) => regex.is_match(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_looks_at_stream_and_type() {
        let filter = Filter::compile(&EventFilter {
            stream: Some(Pattern::Prefixes(vec!["loan-".into(), "offer-".into()])),
            event_type: Some(Pattern::Regex("^A_(SUB|APP)".into())),
            exclude_system: false,
        })
        .unwrap();
        assert!(filter.matches("loan-1", "A_SUBMITTED"));
        assert!(!filter.matches("loan-1", "A_DECLINED"));
        assert!(!filter.matches("user-1", "A_APPROVED"));
    }

    #[test]
    fn a_regular_expression_that_is_too_much_is_refused() {
        for bad in ["(", "(?=x)", "(a{1000}){1000}", &"x".repeat(5000)] {
            let filter = EventFilter { stream: Some(Pattern::Regex(bad.into())), ..EventFilter::default() };
            assert_eq!(Filter::compile(&filter).unwrap_err().code, Code::InvalidFilter);
        }
    }
}
