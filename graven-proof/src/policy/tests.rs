use super::PolicyProblem as Problem;
use super::*;
use crate::note::SignerKey;

fn key(name: &str, algorithm: Algorithm, seed: u8) -> VerifierKey {
    SignerKey::from_seed(name.parse().unwrap(), algorithm, &[seed; 32]).verifier().clone()
}

fn log(seed: u8) -> VerifierKey {
    key(&format!("log/{seed}"), Algorithm::Ed25519, seed)
}

fn witness(seed: u8) -> VerifierKey {
    key(&format!("w/{seed}"), Algorithm::CosignatureV1, seed)
}

/// The example of the specification, with keys.
fn example() -> String {
    let mut text = format!("# an example\n\nlog {} https://log.example/\n", log(1));
    for (number, name) in ["X1", "X2", "X3", "Y1", "Y2", "Y3"].iter().enumerate() {
        text.push_str(&format!("\twitness  {name}\t{} \n", witness(10 + number as u8)));
    }
    text + "group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\n\
        group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
}

#[test]
fn the_example_of_the_specification_means_what_it_says() {
    let policy = Policy::parse(&example()).unwrap();
    assert_eq!(policy.quorum(), "X-and-Y");
    assert!(!policy.trusts_operator_alone());
    assert_eq!(policy.logs()[0].url.as_deref(), Some("https://log.example/"));
    assert_eq!(policy.witnesses()[3].name, "Y1");
    for number in 0..64u8 {
        let cosigned: Vec<bool> = (0..6).map(|bit| number >> bit & 1 == 1).collect();
        let (x, y) = (number & 7, number >> 3);
        assert_eq!(policy.is_quorum(&cosigned), x.count_ones() >= 2 && y > 0, "{number:06b}");
    }
}

#[test]
fn a_quorum_may_be_one_witness_or_none() {
    let one = Policy::parse(&format!("witness w {}\nquorum w\n", witness(1))).unwrap();
    assert!(one.is_quorum(&[true]) && !one.is_quorum(&[false]));
    let none = Policy::parse("quorum none\n").unwrap();
    assert!(none.trusts_operator_alone() && none.is_quorum(&[]));
    assert_eq!(none.quorum(), NO_QUORUM);
    assert_eq!(Policy::operator_alone(vec![]).unwrap(), none);
}

#[test]
fn k_of_n_counts() {
    let policy = Policy::witnessed(vec![log(1)], vec![witness(2), witness(3), witness(4)], 2).unwrap();
    assert!(policy.is_quorum(&[true, false, true]));
    assert!(!policy.is_quorum(&[false, false, true]));
    assert!(Policy::witnessed(vec![log(1)], vec![witness(2)], 2).is_err());
    assert!(Policy::witnessed(vec![witness(2)], vec![], 0).is_err());
    assert!(Policy::witnessed(vec![log(1)], vec![witness(2), witness(2)], 1).is_err());
}

#[test]
fn what_is_no_policy_is_refused_with_its_line() {
    let (log, witness, other) = (log(1), witness(2), witness(3));
    let renamed = key("renamed", Algorithm::CosignatureV1, 2);
    let two = format!("witness a {witness}\nwitness b {other}\n");
    let refused = [
        (String::new(), 0, Problem::NoQuorum),
        ("# nothing\n".to_owned(), 1, Problem::NoQuorum),
        ("quorum none".to_owned(), 1, Problem::Unterminated),
        ("quorum none\nquorum none\n".to_owned(), 2, Problem::SecondQuorum),
        ("quorum a\n".to_owned(), 1, Problem::Unknown("a".to_owned())),
        ("quorum none # really\n".to_owned(), 1, Problem::Form),
        ("Quorum none\n".to_owned(), 1, Problem::Form),
        ("quorum none\r\n".to_owned(), 1, Problem::Control),
        ("quorum\u{a0}none\n".to_owned(), 1, Problem::Form),
        (format!("log {witness}\n"), 1, Problem::KeyKind(witness.name().clone())),
        (format!("witness a {log}\n"), 1, Problem::KeyKind(log.name().clone())),
        (format!("log {log}\nlog {log}\n"), 2, Problem::DuplicateKey(log.name().clone())),
        (format!("{two}witness c {renamed}\n"), 3, Problem::DuplicateKey(renamed.name().clone())),
        (format!("{two}witness a {renamed}\n"), 3, Problem::NameTaken("a".to_owned())),
        (format!("witness none {witness}\n"), 1, Problem::NameTaken("none".to_owned())),
        (format!("{two}group g any a none\n"), 3, Problem::Unknown("none".to_owned())),
        (format!("{two}group a any b\n"), 3, Problem::NameTaken("a".to_owned())),
        (format!("{two}group g any g\n"), 3, Problem::Unknown("g".to_owned())),
        (format!("{two}group g 2 a a\n"), 3, Problem::MemberTwice("a".to_owned())),
        (format!("{two}group g any a\ngroup h any a b\n"), 4, Problem::MemberTwice("a".to_owned())),
        (format!("{two}group g 3 a b\n"), 3, Problem::Threshold { threshold: "3".to_owned(), members: 2 }),
        (format!("{two}group g 0 a b\n"), 3, Problem::Threshold { threshold: "0".to_owned(), members: 2 }),
        (format!("{two}group g 01 a b\n"), 3, Problem::Threshold { threshold: "01".to_owned(), members: 2 }),
        (format!("{two}group g all\n"), 3, Problem::Threshold { threshold: "all".to_owned(), members: 0 }),
    ];
    for (text, line, problem) in refused {
        assert_eq!(Policy::parse(&text), Err(PolicyError { line, problem }), "{text}");
    }
    assert!(matches!(Policy::parse("log x\n"), Err(PolicyError { line: 1, problem: Problem::Key(_) })));
}
