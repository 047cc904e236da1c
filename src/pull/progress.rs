//! How a long wait is shown: bars on a terminal, log lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two log lines about the same wait.
const QUIET: Duration = Duration::from_secs(10);

/// Shows progress on standard error.
#[derive(Debug, Clone, Copy)]
pub struct Reporter {
    terminal: bool,
}

/// One wait.
#[derive(Debug)]
pub(super) struct Bar {
    what: String,
    shown: ProgressBar,
    /// When the last log line came; `None` on a terminal, where the bar is enough.
    logged: Option<Instant>,
    start: Instant,
}

impl Reporter {
    /// Bars if standard error is a terminal, log lines if not.
    pub fn new() -> Self {
        Self { terminal: std::io::IsTerminal::is_terminal(&std::io::stderr()) }
    }

    /// Says one thing.
    pub(super) fn line(self, text: &str) {
        if self.terminal {
            eprintln!("{text}");
        } else {
            tracing::info!("{text}");
        }
    }

    /// Starts to show a wait for `total` bytes.
    pub(super) fn bytes(self, what: &str, total: u64) -> Bar {
        self.bar(
            what,
            total,
            "{msg:32!} [{bar:30}] {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {eta:>4}",
        )
    }

    /// Starts to show a wait for `total` steps.
    pub(super) fn steps(self, what: &str, total: u64) -> Bar {
        self.bar(what, total, "{msg:32!} [{bar:30}] {pos:>10}/{len:10} {eta:>4}")
    }

    fn bar(self, what: &str, total: u64, template: &str) -> Bar {
        let start = Instant::now();
        let what = what.to_owned();
        if !self.terminal {
            tracing::info!("{what}");
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
            return Bar { what, shown: bar, logged: Some(start), start };
        }
        // A template that does not parse costs the looks, not the pull.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_message(what.clone());
        bar.enable_steady_tick(Duration::from_millis(200));
        Bar { what, shown: bar, logged: None, start }
    }
}

impl Default for Reporter {
    fn default() -> Self {
        Self::new()
    }
}

impl Bar {
    pub(super) fn at(&mut self, position: u64) {
        self.shown.set_position(position);
        let Some(logged) = &mut self.logged else { return };
        let total = self.shown.length().unwrap_or(0);
        if logged.elapsed() >= QUIET && total > 0 {
            *logged = Instant::now();
            tracing::info!("{}: {} %", self.what, position.min(total) * 100 / total);
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.shown.position()
    }

    pub(super) fn of(&mut self, total: u64) {
        self.shown.set_length(total);
    }

    pub(super) fn done(self) {
        self.shown.finish_and_clear();
        let took = self.start.elapsed().as_secs_f64();
        if self.logged.is_some() {
            tracing::info!("{}: done in {took:.1} s", self.what);
        } else {
            eprintln!("{} ({took:.1} s)", self.what);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        // An error message must not land behind a half-drawn bar.
        if !self.shown.is_finished() {
            self.shown.abandon();
        }
    }
}
