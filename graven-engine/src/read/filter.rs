//! [`Filter`]: a compiled [`EventFilter`].

use graven_model::{Code, Error, EventFilter, Pattern, Result, Text, limits};
use regex::{Regex, RegexBuilder};

/// A regular expression that looks around or back, which takes a search that may have to turn back.
type Searching = fancy_regex::Regex;

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
    Searching(Box<Searching>),
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
    ///
    /// # Errors
    /// [`Code::InvalidFilter`] if a regular expression turns back too often to find out.
    pub(crate) fn matches(&self, stream: &str, event_type: &str) -> Result<bool> {
        if self.exclude_system && (stream.starts_with('$') || event_type.starts_with('$')) {
            return Ok(false);
        }
        let fits = |matcher: &Option<Matcher>, name| matcher.as_ref().map_or(Ok(true), |m| m.matches(name));
        Ok(fits(&self.stream, stream)? && fits(&self.event_type, event_type)?)
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
            Pattern::Regex(text) => {
                let plain = RegexBuilder::new(text)
                    .size_limit(limits::REGEX_COMPILED_BYTES_MAX)
                    .dfa_size_limit(limits::REGEX_COMPILED_BYTES_MAX)
                    .build();
                match plain {
                    Ok(regex) => Ok(Matcher::Regex(Box::new(regex))),
                    // It may look around or back, which the plain engine has no syntax for.
                    Err(regex::Error::Syntax(_)) => searching(text),
                    Err(error) => Err(does_not_compile(&error)),
                }
            }
        }
    }

    fn matches(&self, name: &str) -> Result<bool> {
        match self {
            Matcher::Prefixes(prefixes) => Ok(prefixes.iter().any(|prefix| name.starts_with(&**prefix))),
            Matcher::Regex(regex) => Ok(regex.is_match(name)),
            Matcher::Searching(regex) => regex.is_match(name).map_err(|_| {
                Error::new(
                    Code::InvalidFilter,
                    format!("the regular expression cannot be decided for {:?}", limits::shorten(name)),
                )
                .expected(format!("a search that turns back at most {} times", limits::REGEX_BACKTRACKS_MAX))
            }),
        }
    }
}

fn searching(text: &str) -> Result<Matcher> {
    fancy_regex::RegexBuilder::new(text)
        .backtrack_limit(limits::REGEX_BACKTRACKS_MAX)
        .delegate_size_limit(limits::REGEX_COMPILED_BYTES_MAX)
        .delegate_dfa_size_limit(limits::REGEX_COMPILED_BYTES_MAX)
        .build()
        .map(|regex| Matcher::Searching(Box::new(regex)))
        .map_err(|error| does_not_compile(&error))
}

fn does_not_compile(error: &dyn std::fmt::Display) -> Error {
    Error::new(Code::InvalidFilter, format!("the regular expression does not compile: {error}"))
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
        assert!(filter.matches("loan-1", "A_SUBMITTED").unwrap());
        assert!(!filter.matches("loan-1", "A_DECLINED").unwrap());
        assert!(!filter.matches("user-1", "A_APPROVED").unwrap());
    }

    fn on_type(regex: &str) -> Result<Filter> {
        let event_type = Some(Pattern::Regex(regex.into()));
        Filter::compile(&EventFilter { event_type, ..EventFilter::default() })
    }

    #[test]
    fn a_regular_expression_may_look_ahead_and_back() {
        let cases: [(&str, &[&str], &[&str]); 4] = [
            (
                r"^(?!(\$.+$|PersistentConfig\d+$|Result$))",
                &["OrderPlaced", "Results", "PersistentConfig", "$"],
                &["$metadata", "Result", "PersistentConfig1"],
            ),
            (r"(?<=^Loan)Paid$", &["LoanPaid"], &["OfferPaid", "LoanPaidBack"]),
            (r"(?<!Not)Approved", &["Approved", "A_Approved"], &["NotApproved"]),
            (r"^(\w+)-\1$", &["same-same"], &["same-other"]),
        ];
        for (regex, passing, others) in cases {
            let filter = on_type(regex).unwrap();
            for (names, passes) in [(passing, true), (others, false)] {
                for name in names {
                    assert_eq!(filter.matches("s", name).unwrap(), passes, "{regex} {name}");
                }
            }
        }
    }

    #[test]
    fn a_search_that_turns_back_too_often_is_an_error_and_no_mismatch() {
        let filter = on_type(r"^(a|a)*(?!c)b$").unwrap();
        assert!(filter.matches("s", "aab").unwrap());
        let error = filter.matches("s", &"a".repeat(200)).unwrap_err();
        assert_eq!(error.code, Code::InvalidFilter);
    }

    #[test]
    fn a_regular_expression_that_is_too_much_is_refused() {
        for bad in ["(", "(?=x", "(a{1000}){1000}", "(?=x)(a{1000}){1000}", &"x".repeat(5000)] {
            let filter = EventFilter { stream: Some(Pattern::Regex(bad.into())), ..EventFilter::default() };
            assert_eq!(Filter::compile(&filter).unwrap_err().code, Code::InvalidFilter, "{bad}");
        }
    }
}
