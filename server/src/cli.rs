//! The command line: what each command takes, and which settings that makes.

mod audit;
mod check_config;
mod migrate;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use coupon_domain::time::Timestamp;
use coupon_server::config::{Config, ConfigError, Flag, Sources};

const EXAMPLES: &str = "\
Examples:
  coupon-server serve
  coupon-server serve --config config/coupon.toml --listen 0.0.0.0:50051 --data-dir /var/lib/coupon
  COUPON__CLAIMS__GROUP_MAX=512 coupon-server serve --set logging.format=json
  coupon-server check-config --config config/coupon.toml
  coupon-server audit --data-dir /var/lib/coupon";

const SERVE_EXAMPLES: &str = "\
Examples:
  coupon-server serve
  coupon-server serve --listen 127.0.0.1:0 --data-dir /tmp/coupon
  coupon-server serve --data-dir /tmp/trial --test-clock 2026-11-11T00:00:00Z

Once it serves it prints one line to standard output, `listening on ADDRESS`; logs go to standard
error. SIGTERM or Ctrl-C drains the calls in flight and ends with 0.";

const AUDIT_HELP: &str = "\
Reads the data folder, also while a server runs on it, and recomputes what must always hold. Prints
a line for each check and each violation; ends with 1 when there is a violation.

Examples:
  coupon-server audit --data-dir /var/lib/coupon
  coupon-server audit --json | jq '.checks[] | select(.violations != [])'";

/// The coupon platform's server
#[derive(Debug, Parser)]
#[command(name = "coupon-server", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API until SIGTERM
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Bring every schema up to date and end (serve does so by itself where the data is one folder)
    Migrate(Settings),
    /// Print the effective configuration as TOML and say whether it can be served
    CheckConfig(Settings),
    /// Check the data's invariants
    #[command(after_help = AUDIT_HELP)]
    Audit(AuditArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    settings: Settings,
    /// Run on a test clock that starts at this instant and moves only by AdvanceClock; a data
    /// folder once served so keeps its clock
    #[arg(long, value_name = "RFC3339", value_parser = parse_instant)]
    test_clock: Option<Timestamp>,
}

#[derive(Debug, Args)]
struct AuditArgs {
    #[command(flatten)]
    settings: Settings,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Where settings come from, the same for every command.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// TOML file with settings; config/coupon.toml shows all of them
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port of the listener, short for --set server.listen=ADDR; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Folder of the database, short for --set storage.data_dir=DIR
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// One setting; wins over file and environment, may be repeated
    #[arg(long, value_name = "section.key=value")]
    set: Vec<String>,
}

impl Settings {
    /// The layers of the configuration.
    pub(crate) fn sources(
        &self,
        environment: Vec<(String, String)>,
    ) -> Result<Sources, ConfigError> {
        let mut flags = Vec::new();
        for text in &self.set {
            flags.push(Flag::set(text)?);
        }
        let named = [
            ("--listen", "server.listen", &self.listen),
            ("--data-dir", "storage.data_dir", &self.data_dir),
        ];
        for (name, key, value) in named {
            if let Some(value) = value {
                flags.push(Flag { name, key: key.to_owned(), value: value.clone() });
            }
        }
        Ok(Sources { file: self.config.clone(), environment, flags })
    }
}

impl Cli {
    /// The settings of the command, whichever it is.
    pub(crate) fn settings(&self) -> &Settings {
        match &self.command {
            Command::Serve(serve) => &serve.settings,
            Command::Audit(audit) => &audit.settings,
            Command::Migrate(settings) | Command::CheckConfig(settings) => settings,
        }
    }

    /// Runs the command and says how the process ends.
    pub(crate) async fn run(&self, config: Config) -> anyhow::Result<ExitCode> {
        match &self.command {
            Command::Serve(serve) => serve::run(config, serve.test_clock).await,
            Command::Migrate(_) => migrate::run(&config).await,
            Command::CheckConfig(_) => check_config::run(&config).await,
            Command::Audit(audit) => audit::run(&config, audit.json).await,
        }
    }
}

fn parse_instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text)
        .ok_or_else(|| "expected an instant such as 2026-11-11T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn load(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let cli = Cli::try_parse_from(arguments).unwrap();
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(&cli.settings().sources(environment.collect())?)
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_win_over_the_environment_and_short_flags_over_set() {
        let config = load(
            &[
                "coupon-server",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--set",
                "server.listen=127.0.0.1:9",
            ],
            &[
                ("COUPON__SERVER__LISTEN", "127.0.0.1:8"),
                ("COUPON__STORAGE__DATA_DIR", "elsewhere"),
            ],
        )
        .unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:0");
        assert_eq!(config.storage.data_dir.to_str(), Some("elsewhere"));
    }

    #[test]
    fn a_bad_short_flag_is_named() {
        let error = load(&["coupon-server", "migrate", "--listen", "here"], &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "server.listen = \"here\" in --listen is not valid, expected an IP address and port such as 127.0.0.1:50051"
        );
    }

    #[test]
    fn a_test_clock_is_an_instant_and_belongs_to_serve() {
        let parse = |arguments: &[&str]| Cli::try_parse_from(arguments).map(|cli| cli.command);
        let start = "2026-11-11T00:00:00Z";
        match parse(&["coupon-server", "serve", "--test-clock", start]).unwrap() {
            Command::Serve(serve) => assert_eq!(serve.test_clock, Timestamp::parse(start)),
            other => panic!("{other:?} is not serve"),
        }
        assert!(parse(&["coupon-server", "serve", "--test-clock", "noon"]).is_err());
        assert!(parse(&["coupon-server", "audit", "--test-clock", start]).is_err());
    }
}
