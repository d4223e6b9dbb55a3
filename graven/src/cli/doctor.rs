//! `graven doctor`: what would keep a store from running well here, and what to do about it.

mod checks;

use super::Global;
use super::failure::Exit;
use super::output::Format;
use super::serve::SettingArgs;
use crate::config::Config;
use serde::Serialize;

/// Arguments of `doctor`: the settings to check.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: SettingArgs,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One check.
#[derive(Debug, Serialize)]
struct Finding {
    verdict: Verdict,
    check: &'static str,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Ok, check, found: found.into(), advice: None }
    }

    fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Warn, check, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Fail, check, found: found.into(), advice: Some(advice.into()) }
    }

    fn failed(check: &'static str, error: &graven_model::Error) -> Finding {
        Finding::fail(check, error.to_string(), error.code.entry().hint)
    }
}

/// Runs all checks. Exit code 1 if one failed.
pub(crate) fn run(args: &Args, global: &Global) -> anyhow::Result<()> {
    let defaults = Config { data: Some("./graven-data".into()), ..Config::default() };
    let (config, settings) = match args.settings.load(defaults.clone()) {
        Ok(config) => (config, Finding::ok("settings", "valid")),
        Err(error) => {
            let data = args.settings.data().or(defaults.data.clone());
            (Config { data, ..defaults }, Finding::failed("settings", &error))
        }
    };
    let mut findings = vec![settings];
    findings.extend(checks::all(&config, global));
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    print(&findings, global)?;
    if failed { Err(Exit(1).into()) } else { Ok(()) }
}

fn print(findings: &[Finding], global: &Global) -> anyhow::Result<()> {
    let output = global.output();
    if output.format != Format::Table {
        let mut items = output.items(&[]);
        let raw = findings.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        items.print(&raw.iter().map(String::as_str).collect::<Vec<_>>(), |_| Ok(Vec::new()))?;
        return items.end();
    }
    let paint = |code: &str, word: &str| {
        if output.colored() { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() }
    };
    let mut out = String::new();
    for finding in findings {
        let word = match finding.verdict {
            Verdict::Ok => paint("32", "ok  "),
            Verdict::Warn => paint("33", "warn"),
            Verdict::Fail => paint("31", "fail"),
        };
        out += &format!("{word}  {:<11}  {}\n", finding.check, finding.found);
        if let Some(advice) = &finding.advice {
            out += &format!("                   {advice}\n");
        }
    }
    output.write(out.as_bytes())
}
