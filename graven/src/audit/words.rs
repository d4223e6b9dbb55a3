//! What stands in a bundle for people: what it shows, against whom, and what not.

use super::export::Exported;
use crate::config::units::show_count;
use graven_proof::bundle::Scope;
use serde_json::json;

/// What was exported, in a few words.
pub(crate) fn scope(scope: &Scope) -> String {
    match scope {
        Scope::All {} => "the whole log".to_owned(),
        Scope::Range { start, end } => {
            format!("positions {} to {}", show_count(*start), show_count(end.saturating_sub(1)))
        }
        Scope::Streams { streams } if streams.len() == 1 => format!("the stream {:?}", streams[0]),
        Scope::Streams { streams } => format!("{} streams", show_count(streams.len() as u64)),
    }
}

/// What a bundle shows if it checks.
fn shown(exported: &Exported) -> Vec<String> {
    let mut shown = vec![
        "Every event has the content, time, position and revision that the log had when the checkpoint was signed.".to_owned(),
        match &exported.scope {
            Scope::Streams { .. } => {
                "No event of these streams is missing, at the beginning, in the middle or at the end, as of the seal.".to_owned()
            }
            _ => "No event of these positions is missing, and none was put in.".to_owned(),
        },
    ];
    if matches!(exported.scope, Scope::All {}) {
        shown.push("The sealed root of all streams is the one the events give.".to_owned());
    }
    if exported.erased > 0 {
        shown.push(format!(
            "Of {} events something was erased; a record in the log covers each of them.",
            show_count(exported.erased)
        ));
    }
    shown
}

const NOT_SHOWN: [&str; 5] = [
    "That what the events say is true: only that it is what was written then.",
    "That the holder of the log's signing key has shown everybody the same log. Compare checkpoints with others, or ask for \
     one that witnesses cosigned.",
    "That nothing happened after the checkpoint, or was never written down.",
    "When things happened, beyond what the log's own clock said. A timestamp (checkpoint.tsr) limits it from one side, if \
     there is one.",
    "That no copy of what was erased is left anywhere.",
];

const FILES: [(&str, &str); 11] = [
    ("events.ndjson", "the events, one a line; further parts are events.001.ndjson and so on"),
    ("checkpoint", "size and root of the log, signed; everything else is judged by it"),
    ("tile/", "hashes of the tree around the events, and the leaves of ranges (C2SP tlog-tiles)"),
    ("completeness/", "what shows that no event of a stream is missing"),
    ("proofs/", "proofs of single events (C2SP tlog-proof), if they are not too many, and of the range"),
    ("erasures.ndjson", "the records that cover what was erased"),
    ("keys/", "verifier keys the log says it signs with, and how they changed; not to be trusted from here"),
    ("policy", "the same as a C2SP tlog-policy"),
    ("manifest.json", "every file with size and SHA-256; manifest.sha256 is its own digest"),
    ("verify.py", "the check, in Python 3 and nothing else"),
    ("report.html", "what you read here, for a browser; report.json for programs"),
];

/// README.txt.
pub(crate) fn readme(exported: &Exported) -> String {
    let mut text = format!(
        "Evidence from the log {}\n\n{}: {} events, under the checkpoint of size {}, root {}.\nWritten {} by Graven {}.\n\n",
        exported.origin,
        capital(&scope(&exported.scope)),
        show_count(exported.events),
        show_count(exported.size),
        exported.root,
        exported.generated_at,
        env!("CARGO_PKG_VERSION"),
    );
    text.push_str(
        "How to check it\n\n  python3 verify.py --vkey KEY        or        graven audit check DIRECTORY --vkey KEY\n\n\
         KEY is the log's verifier key. Get it another way than with this bundle, from its operator's site, a contract or\n\
         someone who checked before: whoever could alter the bundle could alter a key in it as well. The same goes for\n\
         verify.py if you doubt where the bundle was; it is short, and any copy of it does.\n\n",
    );
    list(&mut text, "What it shows, if it checks", &shown(exported));
    list(&mut text, "What it does not show", &NOT_SHOWN.map(str::to_owned));
    if exported.sealed > 0 {
        text.push_str(&format!(
            "Of {} events payload and metadata are ciphertext under the key of the person they are about.\n\n",
            show_count(exported.sealed)
        ));
    }
    outside(&mut text, exported);
    text.push_str("Files\n\n");
    for (path, what) in FILES {
        text.push_str(&format!("  {path:<18}{what}\n"));
    }
    text
}

/// What others vouch for, and how their word is judged.
fn outside(text: &mut String, exported: &Exported) {
    if !exported.cosigners.is_empty() {
        text.push_str(&format!(
            "The checkpoint was cosigned by {}.\nWith a policy that names witnesses you trust their signatures are checked too: \
             graven audit check DIRECTORY --policy FILE\n\n",
            exported.cosigners.join(", ")
        ));
    }
    if let Some([stamped, lines]) = exported.stamped {
        let (before, data) = if stamped == lines {
            (String::new(), "checkpoint")
        } else {
            (format!("  head -n {stamped} checkpoint > stamped\n"), "stamped")
        };
        text.push_str(&format!(
            "A timestamp authority saw the checkpoint as the log signed it, without cosignatures. OpenSSL checks that, with the\n\
             authority's certificate, which you get from the authority:\n\n{before}  openssl ts -verify -in checkpoint.tsr \
             -data {data} -CAfile authority-ca.pem\n\n"
        ));
    }
}

fn list(text: &mut String, title: &str, items: &[String]) {
    text.push_str(&format!("{title}\n\n"));
    items.iter().for_each(|item| text.push_str(&format!("  - {item}\n")));
    text.push('\n');
}

fn capital(text: &str) -> String {
    let mut symbols = text.chars();
    symbols.next().map_or_else(String::new, |first| first.to_uppercase().chain(symbols).collect())
}

/// report.json.
pub(crate) fn report(exported: &Exported) -> String {
    let report = json!({
        "origin": exported.origin,
        "scope": exported.scope,
        "size": exported.size,
        "root": exported.root,
        "generated_at": exported.generated_at.to_string(),
        "events": exported.events,
        "events_with_erased_parts": exported.erased,
        "events_encrypted_for_a_subject": exported.sealed,
        "cosigned_by": exported.cosigners,
        "timestamp": exported.stamped.is_some(),
        "shown_if_it_checks": shown(exported),
        "not_shown": NOT_SHOWN,
    });
    format!("{report:#}\n")
}

/// report.html.
pub(crate) fn page(exported: &Exported) -> String {
    let items = |items: &[String]| -> String {
        items.iter().map(|item| format!("<li>{}</li>\n", escaped(item))).collect()
    };
    let rows = [
        ("Log", exported.origin.clone()),
        ("Exported", scope(&exported.scope)),
        ("Events", show_count(exported.events)),
        ("With erased parts", show_count(exported.erased)),
        ("Checkpoint, size", show_count(exported.size)),
        ("Checkpoint, root", exported.root.clone()),
        ("Written", exported.generated_at.to_string()),
    ];
    let rows: String = rows
        .iter()
        .map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>\n", escaped(value)))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Evidence from {origin}</title>\n\
         <style>body{{font:16px/1.5 sans-serif;max-width:46em;margin:2em auto;padding:0 1em}}\
         th{{text-align:left;padding-right:2em}}td{{overflow-wrap:anywhere}}code{{background:#eee}}</style>\n\
         <h1>Evidence from the log {origin}</h1>\n<table>\n{rows}</table>\n\
         <p><strong>This page proves nothing by itself.</strong> Check the bundle with \
         <code>python3 verify.py --vkey KEY</code> or <code>graven audit check</code>, with a verifier key that you got \
         another way.</p>\n\
         <h2>What it shows, if it checks</h2>\n<ul>\n{shown}</ul>\n\
         <h2>What it does not show</h2>\n<ul>\n{not_shown}</ul>\n</html>\n",
        origin = escaped(&exported.origin),
        shown = items(&shown(exported)),
        not_shown = items(&NOT_SHOWN.map(str::to_owned)),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
