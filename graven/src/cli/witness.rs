//! `graven witness …`: cosigns the checkpoints of logs that run elsewhere.

use super::output::Color;
use super::runtime;
use crate::config::Config;
use crate::witness::{Service, Witness, make_key};
use graven_engine::env::Env;
use graven_proof::note::{KeyName, VerifierKey};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Subcommands of `witness`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Run a witness: remember the last head of each log, cosign only what continues it
    Serve(ServeArgs),
    /// Make the witness's key, if there is none, and print its verifier key
    Keygen(KeyArgs),
}

/// Where a witness keeps its key and memory.
#[derive(clap::Args)]
pub(crate) struct KeyArgs {
    /// Directory of the witness: its key, and the last checkpoint of each log; made if it is missing
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Name of the key, such as witness.example/1; one with random digits if absent
    #[arg(long, value_name = "NAME")]
    name: Option<KeyName>,
}

/// Arguments of `witness serve`.
#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    key: KeyArgs,
    /// Address to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:2114")]
    listen: SocketAddr,
    /// Allow an address that other machines can reach
    #[arg(long)]
    insecure: bool,
    /// Verifier key of a log to cosign for; again for more, and for a log's next key
    #[arg(long = "log", value_name = "VKEY", required = true)]
    logs: Vec<VerifierKey>,
}

/// Runs a subcommand.
pub(crate) fn run(command: &Command, color: Color) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve(args, color),
        Command::Keygen(args) => {
            let key = make_key(&Env::real(), &args.data, args.name.as_ref())?;
            writeln!(std::io::stdout().lock(), "{}", key.verifier())?;
            Ok(())
        }
    }
}

fn serve(args: &ServeArgs, color: Color) -> anyhow::Result<()> {
    // Only the form of log lines is a setting of a witness too.
    let config = Config::default().load(None, std::env::vars_os(), &[])?;
    runtime::log(&config, color);
    let runtime = runtime::build()?;
    let KeyArgs { data, name } = &args.key;
    let witness = Arc::new(Witness::open(Env::real(), data, name.as_ref(), args.logs.clone())?);
    runtime.block_on(async {
        let service = Service::bind(args.listen, args.insecure).await?;
        let stop = runtime::stop_signal().await?;
        say_ready(&witness, service.address());
        service.run(witness, stop).await;
        Ok(())
    })
}

fn say_ready(witness: &Witness, address: SocketAddr) {
    let logs = match witness.known().len() {
        1 => "1 log".to_owned(),
        logs => format!("{logs} logs"),
    };
    let line = format!("graven witness is ready on http://{address} for {logs} as {}\n", witness.key());
    let mut stdout = std::io::stdout().lock();
    // A closed standard output is no reason not to serve.
    let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
}
