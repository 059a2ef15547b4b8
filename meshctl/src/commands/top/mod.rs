//! `meshctl top`: links, gateways, traffic and receipts, live.
//!
//! | room | what lives there |
//! |---|---|
//! | this file | the loop: keys, answers and signals in, frames out |
//! | `model` | what is shown: answers, rates, where the operator is |
//! | `panes` | the rows of each pane |
//! | `view` | a frame, as a function of the model alone |
//! | `screen` | the terminal, left as it was found |
//!
//! Three threads only wait, each for something else, and send what comes to the loop, which owns everything. While
//! nothing comes, nothing is drawn.

mod model;
mod panes;
mod screen;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use control_api::{Client, ClientError, Exit};
use nix::sys::signal::{SigSet, Signal};
use ratatui::crossterm::event::{self, Event};

use super::Daemon;
use crate::failure::Failure;
use crate::output::Output;
use model::{Model, Snapshot};
use screen::Screen;

/// How often the daemon is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// Results that wait to be shown: a terminal that is slow slows down the questions.
const QUEUE: usize = 4;

/// What the loop waits for.
enum Message {
    Input(Event),
    Answer(Result<Box<Snapshot>, String>),
    /// The terminal is gone, or somebody ends the program.
    End,
}

pub(super) fn run(daemon: Daemon, output: Output) -> Result<(), Failure> {
    if !output.is_text() || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let message =
            "top needs a terminal; elsewhere there are meshctl neighbors --watch and the like";
        return Err(Failure::new(Exit::Usage, message));
    }
    // What cannot be asked at first is said as by every other command.
    let mut client = daemon.connect()?;
    let first = ask(&mut client)?;
    let failure = |error: io::Error| Failure::new(Exit::Failure, format!("terminal: {error}"));
    let (sender, messages) = mpsc::sync_channel(QUEUE);
    let messages = (sender, messages);
    // Before there are threads: they inherit what is blocked.
    await_signals(messages.0.clone()).map_err(failure)?;
    let mut screen = Screen::open().map_err(failure)?;
    let mut model = Model::new(screen::has_colors());
    let start = Instant::now();
    model.take_in(start.elapsed(), Ok(first));
    await_input(messages.0.clone()).map_err(failure)?;
    await_answers(daemon, client, messages.0).map_err(failure)?;
    follow(&mut screen, &mut model, start, &messages.1).map_err(failure)
}

fn follow(
    screen: &mut Screen,
    model: &mut Model,
    start: Instant,
    messages: &Receiver<Message>,
) -> io::Result<()> {
    loop {
        screen.draw(model)?;
        match messages.recv() {
            Ok(Message::Input(Event::Key(key))) => {
                if !model.handle_key(key) {
                    return Ok(());
                }
            }
            // A new size is found out when the next frame is drawn.
            Ok(Message::Input(_)) => {}
            Ok(Message::Answer(answer)) => {
                model.take_in(start.elapsed(), answer.map(|snapshot| *snapshot));
            }
            Ok(Message::End) | Err(_) => return Ok(()),
        }
    }
}

/// The terminal is put in order when one of these ends the program.
fn await_signals(sender: mpsc::SyncSender<Message>) -> io::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        signals.add(signal);
    }
    signals.thread_block()?;
    thread::Builder::new().spawn(move || {
        let _ = signals.wait();
        let _ = sender.send(Message::End);
    })?;
    Ok(())
}

fn await_input(sender: mpsc::SyncSender<Message>) -> io::Result<()> {
    thread::Builder::new().spawn(move || {
        while let Ok(event) = event::read() {
            if sender.send(Message::Input(event)).is_err() {
                return;
            }
        }
        let _ = sender.send(Message::End);
    })?;
    Ok(())
}

fn await_answers(
    daemon: Daemon,
    client: Client,
    sender: mpsc::SyncSender<Message>,
) -> io::Result<()> {
    thread::Builder::new().spawn(move || {
        let mut client = Some(client);
        loop {
            thread::sleep(INTERVAL);
            let answer = ask_again(&daemon, &mut client);
            let answer = answer.map(Box::new).map_err(|error| error.to_string());
            if sender.send(Message::Answer(answer)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Over a new connection when the last one is of no use any longer.
fn ask_again(daemon: &Daemon, client: &mut Option<Client>) -> Result<Snapshot, ClientError> {
    let mut asked = match client.take() {
        Some(client) => client,
        None => daemon.connect()?,
    };
    let answer = ask(&mut asked)?;
    *client = Some(asked);
    Ok(answer)
}

fn ask(client: &mut Client) -> Result<Snapshot, ClientError> {
    Ok(Snapshot {
        status: client.status()?,
        neighbors: client.neighbors()?.neighbors,
        gateways: client.gateways()?.gateways,
        accounts: client.receipts()?.accounts,
    })
}
