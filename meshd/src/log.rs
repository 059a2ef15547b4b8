//! The log: lines on standard error, from a level that can be changed.

use std::env;
use std::io::{self, IsTerminal as _};

use control_api::LogLevel;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

/// The filter in front of the log.
#[derive(Clone, Debug)]
pub struct Log(reload::Handle<Targets, Registry>);

impl Log {
    /// Begins to log what RUST_LOG says, or everything from INFO on. In colour on a terminal, unless NO_COLOR
    /// is set; each line says its level in words as well.
    #[must_use]
    pub fn start() -> Self {
        let wanted = env::var("RUST_LOG").ok().and_then(|text| text.parse().ok());
        let (filter, log) = Self::filter(wanted.unwrap_or_else(|| from(LogLevel::Info)));
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal() && !no_color)
            .with_target(false);
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .init();
        log
    }

    fn filter(targets: Targets) -> (reload::Layer<Targets, Registry>, Self) {
        let (filter, handle) = reload::Layer::new(targets);
        (filter, Self(handle))
    }

    /// Logs everything from `level` on, and nothing else.
    ///
    /// # Errors
    /// The log is gone.
    pub fn set(&self, level: LogLevel) -> Result<(), reload::Error> {
        self.0.reload(from(level))
    }
}

fn from(level: LogLevel) -> Targets {
    Targets::new().with_default(match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    })
}

#[cfg(test)]
mod tests {
    use tracing::{Level, enabled, subscriber};

    use super::*;

    #[test]
    fn the_level_can_be_raised_and_lowered() {
        let (filter, log) = Log::filter(from(LogLevel::Info));
        subscriber::with_default(tracing_subscriber::registry().with(filter), || {
            let logged = || {
                [
                    enabled!(Level::WARN),
                    enabled!(Level::INFO),
                    enabled!(Level::DEBUG),
                ]
            };
            assert_eq!(logged(), [true, true, false]);
            log.set(LogLevel::Debug).unwrap();
            assert_eq!(logged(), [true, true, true]);
            log.set(LogLevel::Warn).unwrap();
            assert_eq!(logged(), [true, false, false]);
        });
    }
}
