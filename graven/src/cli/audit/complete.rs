//! `graven audit complete STREAM`: whether a stream is whole, checked here from its leaves, the last seal and a key.

use super::check_proof::{invalid, prove};
use super::trust::{Trust, label, operator_alone, parse};
use super::{fetch, pairs};
use crate::cli::Global;
use crate::cli::client::{Call, Client, encode, foreign};
use crate::cli::progress::Progress;
use crate::config::units::show_count;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_model::{Error, Result};
use graven_proof::Hash;
use graven_proof::chain::StreamChain;
use graven_proof::checkpoint::Checkpoint;
use graven_proof::control::{MapRoot, SealError};
use graven_proof::leaf::{Leaf, name_key};
use graven_proof::policy::Policy;
use graven_proof::tiles::{Bundle, TILE_WIDTH, TilePath, decode_bundle};
use graven_proof::trie::{Answer, StreamHead};
use serde::Deserialize;
use serde_json::json;

/// Arguments of `audit complete`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The stream
    stream: String,
    /// Seal first, so that everything there is now is covered
    #[arg(long)]
    seal: bool,
    #[command(flatten)]
    trust: Trust,
}

/// `GET /audit/streams/{stream}/completeness`.
#[derive(Deserialize)]
struct Said {
    name_salt: String,
    seal_proof: String,
    path: String,
}

/// Runs the command.
pub(crate) fn run(args: &Args, global: &Global) -> anyhow::Result<()> {
    let client = global.client()?;
    let policy = match args.trust.policy()? {
        Some(policy) => policy,
        None => {
            eprintln!("the key is taken from {} itself; name the right one with --vkey", client.base());
            parse(&operator_alone(&fetch::keys(&client)?))?
        }
    };
    if args.seal {
        super::seal::seal(&client)?;
    }
    let target = format!("/audit/streams/{}/completeness", encode(&args.stream));
    let said: Said = serde_json::from_str(&client.send_text(&Call::get(&target))?)
        .map_err(|_| foreign(client.base(), "no proof that a stream is whole"))?;
    let whole = Whole::prove(&said, &args.stream, &policy)?;
    let events = whole.follow(&client)?;
    let Whole { root, checkpoint, head, .. } = &whole;
    let document = json!({
        "complete": true,
        "stream": args.stream,
        "events": events,
        "first_position": head.first_position,
        "last_position": head.last_position,
        "tombstoned": head.tombstoned,
        "as_of": root.size,
        "streams": root.streams,
        "origin": checkpoint.origin(),
        "operator_trusted_alone": policy.trusts_operator_alone(),
    });
    let output = global.output();
    let color = output.colored();
    output.document(&document.to_string(), || {
        let end = if head.tombstoned { "ended for ever at position" } else { "last at position" };
        let rows = [
            ("stream", args.stream.clone()),
            ("events", show_count(events)),
            (end, show_count(head.last_position)),
            ("as of", format!("{} events of the log", show_count(root.size))),
            ("log", checkpoint.origin().to_owned()),
            ("rests on", label(&policy).to_owned()),
        ];
        Ok(pairs("whole", &rows, color))
    })
}

/// What a seal says of a stream, proven.
struct Whole {
    key: Hash,
    root: MapRoot,
    head: StreamHead,
    checkpoint: Checkpoint,
}

impl Whole {
    /// Judges what the server says, by the name of the stream and whom to believe.
    fn prove(said: &Said, stream: &str, policy: &Policy) -> Result<Whole> {
        let decode = |what: &str, text: &str| {
            STANDARD.decode(text).map_err(|error| invalid(format!("{what} does not read: {error}")))
        };
        let seal = prove(said.seal_proof.as_bytes(), None, policy)?;
        let leaf = seal.fields()?;
        let holds = |error: SealError| invalid(error.to_string());
        let root = MapRoot::at(leaf.position, leaf.kind, leaf.body).map_err(holds)?;
        let key = name_key(&decode("the salt of the name", &said.name_salt)?, stream.as_bytes());
        let (head, _) = root.stream(&key, &decode("the path to the stream", &said.path)?).map_err(holds)?;
        let checkpoint = seal.checkpoint.clone();
        Ok(Whole { key, root, head, checkpoint })
    }

    /// Reads every leaf from the stream's first to its last, and follows those of the stream. Gives their number.
    fn follow(&self, client: &Client) -> Result<u64> {
        let width = TILE_WIDTH as u64;
        let (first, last) = (self.head.first_position / width, self.head.last_position / width);
        if last < first || self.head.last_position >= self.root.size {
            return Err(invalid("the seal contradicts itself about where the stream stands"));
        }
        let progress = Progress::new(Some(last - first + 1));
        let (mut chain, mut events) = (StreamChain::new(self.key), 0);
        for index in first..=last {
            let bundle = Bundle::of_log(self.checkpoint.head().size, index)
                .ok_or_else(|| invalid("the checkpoint does not cover the stream"))?;
            let bytes = client.send(&Call {
                accept: "application/octet-stream",
                ..Call::get(&format!("/audit/{}", TilePath::Entries(bundle)))
            })?;
            let leaves = decode_bundle(&bytes, bundle.width).map_err(|error| {
                invalid(format!("the leaves from position {} on: {error}", bundle.first()))
            })?;
            for bytes in leaves {
                let leaf =
                    Leaf::decode(bytes).map_err(|error| invalid(format!("a leaf does not read: {error}")))?;
                if leaf.stream_key == self.key && leaf.position < self.root.size {
                    chain.push(bytes).map_err(incomplete)?;
                    events += 1;
                }
            }
            progress.set(index - first + 1, (index - first + 1) * width);
        }
        progress.finish();
        chain.expect_complete(&Answer::Present(self.head)).map_err(incomplete)?;
        Ok(events)
    }
}

fn incomplete(error: graven_proof::chain::ChainError) -> Error {
    invalid(format!("the stream is not whole: {error}"))
}
