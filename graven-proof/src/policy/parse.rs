//! The text of a policy, line by line.

use super::{
    Algorithm, Group, KeyName, Member, NO_QUORUM, POLICY_ENTRIES_MAX, Party, Policy, PolicyError, Quorum,
    VerifierKey,
};
use crate::note::KeyError;
use thiserror::Error;

/// What is wrong with a line of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyProblem {
    /// A control character other than tab and line feed.
    #[error("control characters other than tab and line feed are not allowed")]
    Control,
    /// The last line has no end.
    #[error("the line does not end in a line feed")]
    Unterminated,
    /// No known kind of line, or one with too few or too many words.
    #[error(
        "expected `log KEY [URL]`, `witness NAME KEY [URL]`, `group NAME any|all|K MEMBER…` or `quorum NAME`"
    )]
    Form,
    /// The key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A log's key has to be plain Ed25519, a witness's one for cosignatures.
    #[error("the key {0} is of the wrong kind: logs have Ed25519 keys, witnesses keys for cosignatures")]
    KeyKind(KeyName),
    /// The same public key twice among the logs or among the witnesses, whatever the names.
    #[error("the public key of {0} is already there under another name or line")]
    DuplicateKey(KeyName),
    /// A name that means something already.
    #[error("the name {0:?} is already taken")]
    NameTaken(String),
    /// A name that no line before defines.
    #[error("no line above defines {0:?}")]
    Unknown(String),
    /// A member that is already in a group, or twice in this one.
    #[error("{0:?} is already a member of a group")]
    MemberTwice(String),
    /// Fewer members than the threshold, or a threshold of none.
    #[error("expected a threshold from 1 to the {members} members, found {threshold:?}")]
    Threshold {
        /// What stands there.
        threshold: String,
        /// Members of the group.
        members: usize,
    },
    /// A second quorum.
    #[error("there is already a quorum")]
    SecondQuorum,
    /// No quorum at all.
    #[error("there is no quorum; `quorum none` asks for no witness")]
    NoQuorum,
    /// More logs, witnesses or groups than are read.
    #[error("at most {POLICY_ENTRIES_MAX} logs, witnesses and groups each are read")]
    TooMany,
}

use PolicyProblem as Problem;

/// A policy of which the first lines have been read.
#[derive(Default)]
struct Draft {
    logs: Vec<Party>,
    witnesses: Vec<Party>,
    groups: Vec<Group>,
    /// Who is in a group already, and so can be in no other.
    members: Vec<Member>,
    quorum: Option<Quorum>,
}

pub(super) fn policy(text: &str) -> Result<Policy, PolicyError> {
    let mut draft = Draft::default();
    let mut last = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        last = number + 1;
        draft.line(line).map_err(|problem| PolicyError { line: last, problem })?;
    }
    draft.finish().map_err(|problem| PolicyError { line: last, problem })
}

pub(super) fn k_of_n(
    logs: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    threshold: usize,
) -> Result<Policy, Problem> {
    let mut draft = Draft::default();
    for key in logs {
        draft.log(key, None)?;
    }
    for (number, key) in witnesses.into_iter().enumerate() {
        draft.witness(format!("witness-{number}"), key, None)?;
    }
    let quorum = if threshold == 0 { NO_QUORUM } else { "witnesses" };
    if threshold > 0 {
        let members: Vec<String> = draft.witnesses.iter().map(|witness| witness.name.clone()).collect();
        draft.group(
            quorum,
            &threshold.to_string(),
            &members.iter().map(String::as_str).collect::<Vec<_>>(),
        )?;
    }
    draft.set_quorum(quorum)?;
    draft.finish()
}

impl Draft {
    fn line(&mut self, line: &str) -> Result<(), Problem> {
        let line = line.strip_suffix('\n').ok_or(Problem::Unterminated)?;
        if line.bytes().any(|byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f) {
            return Err(Problem::Control);
        }
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", vkey] => self.log(vkey.parse()?, None),
            ["log", vkey, url] => self.log(vkey.parse()?, Some(url)),
            ["witness", name, vkey] => self.witness((*name).to_owned(), vkey.parse()?, None),
            ["witness", name, vkey, url] => self.witness((*name).to_owned(), vkey.parse()?, Some(url)),
            ["group", name, threshold, members @ ..] => self.group(name, threshold, members),
            ["quorum", name] => self.set_quorum(name),
            _ => Err(Problem::Form),
        }
    }

    fn finish(self) -> Result<Policy, Problem> {
        let quorum = self.quorum.ok_or(Problem::NoQuorum)?;
        Ok(Policy { logs: self.logs, witnesses: self.witnesses, groups: self.groups, quorum })
    }

    fn log(&mut self, key: VerifierKey, url: Option<&str>) -> Result<(), Problem> {
        let name = key.name().as_str().to_owned();
        add(&mut self.logs, Algorithm::Ed25519, name, key, url)
    }

    fn witness(&mut self, name: String, key: VerifierKey, url: Option<&str>) -> Result<(), Problem> {
        self.expect_free(&name)?;
        add(&mut self.witnesses, Algorithm::CosignatureV1, name, key, url)
    }

    fn group(&mut self, name: &str, threshold: &str, members: &[&str]) -> Result<(), Problem> {
        self.expect_free(name)?;
        if self.groups.len() == POLICY_ENTRIES_MAX {
            return Err(Problem::TooMany);
        }
        let found = match threshold {
            "any" => Some(1),
            "all" => Some(members.len() as u64),
            number => crate::tiles::decimal(number),
        };
        let threshold = found
            .filter(|found| (1..=members.len() as u64).contains(found))
            .ok_or_else(|| Problem::Threshold { threshold: threshold.to_owned(), members: members.len() })?
            as usize;
        let mut indices = Vec::with_capacity(members.len());
        for member in members {
            let index = self.named(member)?;
            if self.members.contains(&index) {
                return Err(Problem::MemberTwice((*member).to_owned()));
            }
            self.members.push(index);
            indices.push(index);
        }
        self.groups.push(Group { name: name.to_owned(), threshold, members: indices });
        Ok(())
    }

    fn set_quorum(&mut self, name: &str) -> Result<(), Problem> {
        if self.quorum.is_some() {
            return Err(Problem::SecondQuorum);
        }
        self.quorum = Some(if name == NO_QUORUM { Quorum::None } else { Quorum::Of(self.named(name)?) });
        Ok(())
    }

    fn named(&self, name: &str) -> Result<Member, Problem> {
        let witness = self.witnesses.iter().position(|witness| witness.name == name).map(Member::Witness);
        let group = || self.groups.iter().position(|group| group.name == name).map(Member::Group);
        witness.or_else(group).ok_or_else(|| Problem::Unknown(name.to_owned()))
    }

    fn expect_free(&self, name: &str) -> Result<(), Problem> {
        if name == NO_QUORUM || self.named(name).is_ok() {
            return Err(Problem::NameTaken(name.to_owned()));
        }
        Ok(())
    }
}

fn add(
    parties: &mut Vec<Party>,
    algorithm: Algorithm,
    name: String,
    key: VerifierKey,
    url: Option<&str>,
) -> Result<(), Problem> {
    if key.algorithm() != algorithm {
        return Err(Problem::KeyKind(key.name().clone()));
    }
    if parties.iter().any(|party| party.key.public() == key.public()) {
        return Err(Problem::DuplicateKey(key.name().clone()));
    }
    if parties.len() == POLICY_ENTRIES_MAX {
        return Err(Problem::TooMany);
    }
    parties.push(Party { name, key, url: url.map(str::to_owned) });
    Ok(())
}
