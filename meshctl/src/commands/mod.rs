//! One file per subcommand.

#[cfg(feature = "redeem")]
mod account;
mod bugreport;
mod completions;
mod config;
mod doctor;
mod gateways;
mod graph;
mod interfaces;
mod interrupt;
mod log_level;
mod metrics;
mod monitor;
mod neighbors;
mod originators;
mod ping;
mod receipts;
#[cfg(feature = "redeem")]
mod redeem;
mod reload;
mod routes;
mod settings;
mod status;
mod throughput;
#[cfg(feature = "top")]
mod top;
mod traceroute;
mod version;
#[cfg(feature = "redeem")]
mod wallet;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use control_api::{Client, ClientError, DEFAULT_SOCKET, read_only_socket};

use crate::cli::{self, Cli, Command};
use crate::failure::Failure;
use crate::output::{Frame, Output};

/// Runs the command that was asked for.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let output = Output {
        format: cli.format(),
        frame: Frame::Only,
    };
    let daemon = Daemon {
        socket: cli.socket,
        limit: cli.timeout,
    };
    match cli.command {
        Command::Status(watch) => watch.run(output, |output| status::run(&daemon, output)),
        Command::Doctor { fix, config } => doctor::run(&daemon, output, fix, &config),
        Command::Interfaces(watch) => watch.run(output, |output| interfaces::run(&daemon, output)),
        Command::Neighbors(watch) => watch.run(output, |output| neighbors::run(&daemon, output)),
        Command::Originators(watch) => {
            watch.run(output, |output| originators::run(&daemon, output))
        }
        Command::Routes { dest, watch } => {
            watch.run(output, |output| routes::run(&daemon, output, dest.clone()))
        }
        Command::Ping(options) => ping::run(&daemon, output, &options),
        Command::Traceroute(options) => traceroute::run(&daemon, output, &options),
        Command::Throughput(options) => throughput::run(&daemon, output, &options),
        Command::Graph { format } => graph::run(&daemon, format),
        Command::Gateways {
            watch,
            command: None,
        } => watch.run(output, |output| gateways::run(&daemon, output)),
        Command::Gateways {
            command: Some(cli::Gateways::Select { gateway }),
            ..
        } => gateways::select(&daemon, output, gateway),
        #[cfg(feature = "top")]
        Command::Top => top::run(daemon, output),
        Command::Metrics { textfile } => metrics::run(&daemon, textfile.as_deref()),
        Command::Monitor(options) => monitor::run(&daemon, output, &options),
        Command::Receipts(command) => receipts::run(&daemon, output, command),
        #[cfg(feature = "redeem")]
        Command::Account(options) => account::run(output, &options),
        #[cfg(feature = "redeem")]
        Command::Redeem(options) => redeem::run(&daemon, output, &options),
        #[cfg(feature = "redeem")]
        Command::Wallet(wallet) => wallet::run(output, wallet),
        Command::Config(cli::Config::Check { file }) => config::check(output, &file),
        Command::Config(cli::Config::Show { only_set }) => settings::run(&daemon, output, only_set),
        Command::Config(cli::Config::Diff { file }) => config::diff(&daemon, output, &file),
        Command::LogLevel { level } => log_level::run(&daemon, output, level),
        Command::BugReport(options) => bugreport::run(&daemon, output, &options),
        Command::Reload(options) => reload::run(&daemon, output, &options),
        Command::Version => version::run(&daemon, output),
        Command::Completions { shell } => completions::run(shell),
    }
}

/// Waits for what a settlement service answers.
#[cfg(feature = "redeem")]
fn block_on<T>(
    ask: impl Future<Output = Result<T, redeem_api::client::ClientError>>,
) -> Result<T, Failure> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build();
    let failure =
        |error: &dyn std::error::Error| Failure::new(control_api::Exit::Failure, error.to_string());
    let runtime = runtime.map_err(|error| failure(&error))?;
    runtime.block_on(ask).map_err(|error| failure(&error))
}

/// Where the daemon is to be found.
#[derive(Clone, Debug)]
struct Daemon {
    /// This one and no other, if it is given.
    socket: Option<PathBuf>,
    limit: Duration,
}

impl Daemon {
    /// Who may not use the socket for everything gets the one for questions.
    fn connect(&self) -> Result<Client, ClientError> {
        let denied = match Client::connect(self.socket(), self.limit) {
            Err(error @ ClientError::Permission { .. }) if self.socket.is_none() => error,
            outcome => return outcome,
        };
        let beside = read_only_socket(self.socket());
        // It is not there, or not for this user either.
        let is_closed = |error: &ClientError| {
            matches!(
                error,
                ClientError::NotRunning { .. } | ClientError::Permission { .. }
            )
        };
        let closed = |error| if is_closed(&error) { denied } else { error };
        Client::connect(&beside, self.limit).map_err(closed)
    }

    fn socket(&self) -> &Path {
        let default = Path::new(DEFAULT_SOCKET);
        self.socket.as_deref().unwrap_or(default)
    }
}
