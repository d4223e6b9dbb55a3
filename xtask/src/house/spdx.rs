//! SPDX licence expressions (SPDX 2.3, annex D), as far as crates use them: `OR`, `AND`, `WITH`, parentheses, and the
//! old `/` for `OR`.

/// Whether the expression can be met with licences that `allowed` accepts. A term is a licence, with its exception if
/// it has one (`Apache-2.0 WITH LLVM-exception`).
///
/// # Errors
/// If it is not an expression.
pub(super) fn satisfied(expression: &str, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut parser = Parser { words: spaced.split_whitespace().collect(), next: 0, allowed };
    let verdict = parser.any_of();
    match verdict {
        Some(verdict) if parser.next == parser.words.len() => Ok(verdict),
        _ => Err(format!("{expression:?} is not a licence expression")),
    }
}

struct Parser<'a> {
    words: Vec<&'a str>,
    next: usize,
    allowed: &'a dyn Fn(&str) -> bool,
}

impl<'a> Parser<'a> {
    fn any_of(&mut self) -> Option<bool> {
        let mut verdict = self.all_of()?;
        while self.take("OR") {
            verdict |= self.all_of()?;
        }
        Some(verdict)
    }

    fn all_of(&mut self) -> Option<bool> {
        let mut verdict = self.term()?;
        while self.take("AND") {
            verdict &= self.term()?;
        }
        Some(verdict)
    }

    fn term(&mut self) -> Option<bool> {
        if self.take("(") {
            let verdict = self.any_of()?;
            return self.take(")").then_some(verdict);
        }
        let licence = self.word()?;
        if self.take("WITH") {
            let exception = self.word()?;
            return Some((self.allowed)(&format!("{licence} WITH {exception}")));
        }
        Some((self.allowed)(licence))
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.words.get(self.next) == Some(&word);
        self.next += usize::from(there);
        there
    }

    fn word(&mut self) -> Option<&'a str> {
        let word = *self.words.get(self.next)?;
        if ["OR", "AND", "WITH", "(", ")"].contains(&word) {
            return None;
        }
        self.next += 1;
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::satisfied;

    fn fits(expression: &str) -> Result<bool, String> {
        satisfied(expression, &|term| {
            ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].contains(&term)
        })
    }

    #[test]
    fn one_choice_of_several_is_enough() {
        assert_eq!(fits("MIT OR GPL-3.0"), Ok(true));
        assert_eq!(fits("GPL-3.0/MIT"), Ok(true));
        assert_eq!(fits("GPL-3.0 OR AGPL-3.0"), Ok(false));
    }

    #[test]
    fn and_binds_more_tightly_than_or() {
        assert_eq!(fits("(GPL-3.0 OR MIT) AND Unicode-3.0"), Ok(true));
        assert_eq!(fits("GPL-3.0 OR MIT AND Unicode-3.0"), Ok(true));
        assert_eq!(fits("MIT AND GPL-3.0"), Ok(false));
        assert_eq!(fits("MIT OR GPL-3.0 AND AGPL-3.0"), Ok(true));
    }

    #[test]
    fn an_exception_belongs_to_its_licence() {
        assert_eq!(fits("Apache-2.0 WITH LLVM-exception"), Ok(true));
        assert_eq!(fits("Apache-2.0"), Ok(false));
        assert_eq!(fits("MIT WITH LLVM-exception"), Ok(false));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["", "MIT OR", "(MIT", "MIT)", "MIT GPL-3.0", "OR MIT", "MIT WITH", "()"] {
            assert!(fits(text).is_err(), "{text:?}");
        }
    }
}
