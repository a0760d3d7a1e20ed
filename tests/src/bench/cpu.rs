//! What a process costs, read from `/proc`.

use std::{fs, process::Command, sync::OnceLock, time::Duration};

use anyhow::Context as _;

/// CPU time that the process has used so far, user and system together. Resolution is a kernel
/// tick (10 ms as a rule).
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let ticks = parse_ticks(&stat).with_context(|| format!("cannot understand {path}"))?;
    Ok(Duration::from_secs_f64(ticks as f64 / ticks_per_second()))
}

/// Resident memory of the process, in bytes.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_resident(&status).with_context(|| format!("no VmRSS in {path}"))
}

/// `utime + stime` of a `/proc/PID/stat` line. The command name may hold spaces and parentheses,
/// so fields are counted from behind its last parenthesis.
fn parse_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn ticks_per_second() -> f64 {
    static TICKS: OnceLock<f64> = OnceLock::new();
    *TICKS.get_or_init(|| {
        let answer = Command::new("getconf").arg("CLK_TCK").output().ok();
        answer
            .and_then(|out| String::from_utf8(out.stdout).ok())
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(100.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_survive_a_command_name_with_parentheses() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 120 34 0 0 20 0 4 0 9 1 2 3";
        assert_eq!(parse_ticks(stat), Some(154));
        assert_eq!(parse_ticks("nonsense"), None);
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmPeak:\t  999 kB\nVmRSS:\t  2048 kB\nThreads:\t4\n";
        assert_eq!(parse_resident(status), Some(2 * 1024 * 1024));
        assert_eq!(parse_resident("Name:\tx\n"), None);
    }

    #[test]
    fn own_process_has_used_memory() {
        assert!(resident_bytes(std::process::id()).is_ok_and(|bytes| bytes > 0));
        assert!(cpu_time(std::process::id()).is_ok());
    }
}
