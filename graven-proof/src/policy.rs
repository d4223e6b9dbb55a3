//! Whose signatures it takes to believe a checkpoint: logs, witnesses and a quorum (C2SP tlog-policy).

mod parse;

use crate::note::{Algorithm, KeyName, VerifierKey};
pub use parse::PolicyProblem;
use thiserror::Error;

/// Logs, witnesses and groups of a policy at the most, each.
pub const POLICY_ENTRIES_MAX: usize = 256;

/// The quorum that asks for no witness.
pub const NO_QUORUM: &str = "none";

/// Why a policy is none, with the line it is about, counted from 1; 0 for the policy as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} of the policy: {problem}")]
pub struct PolicyError {
    /// Line of the text.
    pub line: usize,
    /// What is wrong with it.
    pub problem: PolicyProblem,
}

/// A log or a witness, and where it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// Name in the policy; of a log the name of its key, which is its origin.
    pub name: String,
    /// Its key.
    pub key: VerifierKey,
    /// Where it is reached, if the policy says so.
    pub url: Option<String>,
}

/// Whom to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Party>,
    witnesses: Vec<Party>,
    groups: Vec<Group>,
    quorum: Quorum,
}

/// So many of these.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: String,
    threshold: usize,
    members: Vec<Member>,
}

/// By index: a witness, or a group defined before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quorum {
    None,
    Of(Member),
}

impl Policy {
    /// Believes the operator of these logs alone; no witness is asked for.
    ///
    /// # Errors
    /// If a key is for cosignatures, or two are the same.
    pub fn operator_alone(logs: Vec<VerifierKey>) -> Result<Policy, PolicyError> {
        Policy::witnessed(logs, Vec::new(), 0)
    }

    /// Believes what one of the logs signed and at least `threshold` of the witnesses cosigned; with 0, what the log
    /// signed.
    ///
    /// # Errors
    /// If a key is of the wrong kind, two are the same, or there are fewer witnesses than that.
    pub fn witnessed(
        logs: Vec<VerifierKey>,
        witnesses: Vec<VerifierKey>,
        threshold: usize,
    ) -> Result<Policy, PolicyError> {
        parse::k_of_n(logs, witnesses, threshold).map_err(|problem| PolicyError { line: 0, problem })
    }

    /// Reads the text of a policy. Stricter than the specification in that it is UTF-8.
    ///
    /// # Errors
    /// [`PolicyError`] with the first line that is not as it should be.
    pub fn parse(text: &str) -> Result<Policy, PolicyError> {
        parse::policy(text)
    }

    /// The trusted logs.
    #[must_use]
    pub fn logs(&self) -> &[Party] {
        &self.logs
    }

    /// The known witnesses.
    #[must_use]
    pub fn witnesses(&self) -> &[Party] {
        &self.witnesses
    }

    /// Name of the witness or group that has to cosign; [`NO_QUORUM`] if none has to.
    #[must_use]
    pub fn quorum(&self) -> &str {
        match self.quorum {
            Quorum::None => NO_QUORUM,
            Quorum::Of(Member::Witness(index)) => &self.witnesses[index].name,
            Quorum::Of(Member::Group(index)) => &self.groups[index].name,
        }
    }

    /// Whether a checkpoint is believed on the operator's word alone. Reports say so loudly.
    #[must_use]
    pub fn trusts_operator_alone(&self) -> bool {
        self.quorum == Quorum::None
    }

    /// Whether these witnesses, by index, are a quorum.
    pub(crate) fn is_quorum(&self, cosigned: &[bool]) -> bool {
        let mut reached = Vec::with_capacity(self.groups.len());
        let stands = |member: &Member, reached: &[bool]| match *member {
            Member::Witness(index) => cosigned[index],
            Member::Group(index) => reached[index],
        };
        // a group has only members that stand before it
        for group in &self.groups {
            let count = group.members.iter().filter(|member| stands(member, &reached)).count();
            reached.push(count >= group.threshold);
        }
        match &self.quorum {
            Quorum::None => true,
            Quorum::Of(member) => stands(member, &reached),
        }
    }

    /// The same witnesses and quorum, for these logs.
    #[must_use]
    pub fn with_logs(&self, keys: &[VerifierKey]) -> Policy {
        let log =
            |key: &VerifierKey| Party { name: key.name().as_str().to_owned(), key: key.clone(), url: None };
        Policy { logs: keys.iter().map(log).collect(), ..self.clone() }
    }

    /// All keys: the logs', then the witnesses'.
    pub(crate) fn keys(&self) -> Vec<VerifierKey> {
        self.logs.iter().chain(&self.witnesses).map(|party| party.key.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
