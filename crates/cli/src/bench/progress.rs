//! What is seen while a run lasts: a bar on a terminal, else a line now and then.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use super::recorder::Latency;
use super::report::{glance, number, rate};

#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// When a plain line was written.
    told: Mutex<Instant>,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(1);
            let style = ProgressStyle::with_template(" {elapsed_precise} {bar:24} {msg}");
            bar.set_style(style.expect("the template is right"));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Progress {
            bar,
            told: Mutex::new(Instant::now()),
        }
    }

    /// Begins to open so many connections.
    pub(crate) fn begin_opening(&self, connections: u32) {
        if let Some(bar) = &self.bar {
            bar.set_length(u64::from(connections));
        }
        let count = number(f64::from(connections));
        self.say(&format!("opening {count} connections"));
    }

    /// Shows how many connections are open.
    pub(crate) fn opening(&self, open: usize, asked: u32) {
        let text = format!(
            "{} of {} connections",
            number(open as f64),
            number(f64::from(asked))
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(open as u64);
                bar.set_message(text);
            }
            None => self.tell(&text),
        }
    }

    /// Begins a part of the run that lasts so long.
    pub(crate) fn stage(&self, text: &str, duration: Duration) {
        if let Some(bar) = &self.bar {
            bar.set_length(duration.as_millis() as u64);
            bar.set_position(0);
        }
        self.say(text);
    }

    /// Shows what the last second was like, so long after the stage's beginning.
    pub(crate) fn show(&self, done: Duration, open: usize, latency: &Latency, took: Duration) {
        let text = format!(
            "{} open, {}/s, {}",
            number(open as f64),
            number(rate(latency.count(), took)),
            glance(latency)
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(done.as_millis() as u64);
                bar.set_message(text);
            }
            None => self.tell(&format!("{:.0} s: {text}", done.as_secs_f64())),
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => {
                *self.told.lock() = Instant::now();
                eprintln!("{text}");
            }
        }
    }

    /// Writes a line if the last one is long ago.
    fn tell(&self, text: &str) {
        let is_time = self.told.lock().elapsed() >= BETWEEN_LINES;
        if is_time {
            self.say(text);
        }
    }
}

/// A little less than ten seconds, which are counted one by one.
const BETWEEN_LINES: Duration = Duration::from_millis(9_500);
