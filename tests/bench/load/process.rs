//! What the operating system knows of the server's process.

use std::fs;

use crate::Error;

/// Clock ticks a second in /proc on every Linux that Rust supports.
const TICKS: f64 = 100.0;

/// A running process.
pub struct Process {
    pid: u32,
}

/// Its use of the machine up to one moment.
#[derive(Clone, Copy)]
pub struct Sample {
    pub cpu_seconds: f64,
    pub rss_bytes: u64,
}

impl Process {
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// This one.
    pub fn own() -> Self {
        Self { pid: std::process::id() }
    }

    pub fn sample(&self) -> Result<Sample, Error> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let fields: Vec<&str> =
            stat.rsplit_once(')').ok_or("an odd /proc/stat")?.1.split_whitespace().collect();
        let (user, system): (f64, f64) = (fields[11].parse()?, fields[12].parse()?);
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let kibibytes: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
            .ok_or("no VmRSS")?
            .parse()?;
        Ok(Sample { cpu_seconds: (user + system) / TICKS, rss_bytes: kibibytes * 1024 })
    }
}
