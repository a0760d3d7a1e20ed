//! Processes of libFuzzer beside each other, until their time is over or one has found something.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::said::Said;

/// How often progress is shown.
const SHOWN_EVERY: Duration = Duration::from_secs(10);

/// An input that breaks something.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) input: PathBuf,
    /// The property, or how the process died.
    pub(super) message: String,
}

/// What became of a run.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) jobs: usize,
    pub(super) executions: u64,
    pub(super) elapsed: Duration,
    pub(super) found: Vec<Found>,
    /// A process ended badly.
    pub(super) failed: bool,
}

impl Outcome {
    /// Of all jobs together.
    pub(super) fn hours(&self) -> f64 {
        self.job_seconds() / 3_600.0
    }

    /// Executions, for each job.
    pub(super) fn per_second(&self) -> f64 {
        self.executions as f64 / self.job_seconds().max(0.001)
    }

    fn job_seconds(&self) -> f64 {
        self.elapsed.as_secs_f64() * self.jobs as f64
    }
}

/// What is known of a job.
#[derive(Debug, Default)]
struct Job {
    executions: u64,
    coverage: u64,
    corpus: u64,
    expects_message: bool,
    message: Option<String>,
    found: Vec<Found>,
}

impl Job {
    fn hear(&mut self, line: &str) {
        if std::mem::take(&mut self.expects_message) {
            self.message = Some(line.to_owned());
        }
        match Said::read(line) {
            Some(Said::Progress { executions, coverage, corpus }) => {
                (self.executions, self.coverage, self.corpus) = (executions, coverage, corpus);
            }
            Some(Said::Total { executions }) => self.executions = executions,
            Some(Said::Panicked) => self.expects_message = true,
            Some(Said::Written { input }) => {
                let died = || "the process died without a message".to_owned();
                self.found.push(Found { input, message: self.message.take().unwrap_or_else(died) });
            }
            None => {}
        }
    }
}

/// Runs them all to the end, each with a log of its own. Once one has found something, the others are
/// stopped.
pub(super) fn run(commands: Vec<Command>, logs: &Path) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let (sender, heard) = mpsc::channel();
    let mut jobs = Vec::new();
    let mut children = Vec::new();
    for (number, command) in commands.into_iter().enumerate() {
        let log = logs.join(format!("job-{number}.log"));
        children.push(start(command, number, &log, sender.clone())?);
        jobs.push(Job::default());
    }
    // Each listener holds a sender: the channel ends with the last of them.
    drop(sender);
    let mut shown = started;
    let mut stopped = false;
    loop {
        match heard.recv_timeout(SHOWN_EVERY.saturating_sub(shown.elapsed())) {
            Ok((number, line)) => jobs[number].hear(&line),
            Err(RecvTimeoutError::Timeout) => {
                shown = Instant::now();
                println!("{}", progress(&jobs, started.elapsed()));
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if !stopped && jobs.iter().any(|job| !job.found.is_empty()) {
            stopped = true;
            // The one that found it ends by itself, with its figures; so may others have.
            let others = children.iter_mut().zip(&jobs).filter(|(_, job)| job.found.is_empty());
            others.for_each(|(child, _)| drop(child.kill()));
        }
    }
    let mut failed = false;
    for child in &mut children {
        failed |= !child.wait().context("cannot wait for the fuzzer")?.success();
    }
    Ok(Outcome {
        jobs: jobs.len(),
        executions: jobs.iter().map(|job| job.executions).sum(),
        elapsed: started.elapsed(),
        found: jobs.into_iter().flat_map(|job| job.found).collect(),
        failed,
    })
}

/// Starts a process, and a thread that passes its lines on and keeps them in the log.
fn start(
    mut command: Command,
    number: usize,
    log: &Path,
    sender: Sender<(usize, String)>,
) -> anyhow::Result<Child> {
    let mut file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start the fuzzer")?;
    let said = child.stderr.take().context("the fuzzer has no standard error")?;
    thread::spawn(move || {
        for line in BufReader::new(said).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            // A full disk must not end the run: the log is for readers only.
            let _ = writeln!(file, "{line}");
            if sender.send((number, line)).is_err() {
                break;
            }
        }
    });
    Ok(child)
}

fn progress(jobs: &[Job], elapsed: Duration) -> String {
    let executions: u64 = jobs.iter().map(|job| job.executions).sum();
    let coverage = jobs.iter().map(|job| job.coverage).max().unwrap_or(0);
    let corpus = jobs.iter().map(|job| job.corpus).max().unwrap_or(0);
    let seconds = elapsed.as_secs_f64();
    let rate = executions as f64 / seconds.max(0.001);
    format!(
        "{:>5.1} min: {executions} executions, {rate:.0} a second, {coverage} points of code reached, \
         {corpus} inputs",
        seconds / 60.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_tells_its_input_with_the_property() {
        let mut job = Job::default();
        for line in [
            "#16\tpulse  cov: 30 ft: 31 corp: 4/9b lim: 4 exec/s: 8 rss: 31Mb",
            "thread '<unnamed>' (7) panicked at domain/fuzz/src/lib.rs:30:9:",
            "refunds are summed: expected 1, got 2",
            "artifact_prefix='x/'; Test unit written to x/crash-1",
            "stat::number_of_executed_units: 20",
        ] {
            job.hear(line);
        }
        assert_eq!((job.executions, job.coverage, job.corpus), (20, 30, 4));
        assert_eq!(job.found.len(), 1);
        assert_eq!(job.found[0].message, "refunds are summed: expected 1, got 2");
    }

    #[test]
    fn progress_adds_up_the_jobs() {
        let job = |executions, coverage| Job { executions, coverage, corpus: 5, ..Job::default() };
        let text = progress(&[job(600, 7), job(1_200, 9)], Duration::from_secs(60));
        assert_eq!(
            text,
            "  1.0 min: 1800 executions, 30 a second, 9 points of code reached, 5 inputs"
        );
    }
}
