//! The UmaDB server: what the crate's own binary does.

fn main() {
    let outcome = umadb::parse_cli_options(std::env::args()).and_then(umadb::start_server_with_cli_options);
    if let Err(error) = outcome {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
