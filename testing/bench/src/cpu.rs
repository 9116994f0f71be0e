//! CPU seconds of whole programs, read from `/proc`.

use std::path::Path;

use acequia_testkit::Services;
use anyhow::Context;

/// CPU seconds that have been used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// Processes under test: workers, peers, or this program where it takes their place.
    pub workers: f64,
    /// All processes of the database server, also those that have ended.
    pub postgresql: f64,
    /// The broker.
    pub rabbitmq: f64,
    /// This program.
    pub bench: f64,
    /// All processes of the machine.
    pub machine: f64,
}

impl std::ops::Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            workers: self.workers - before.workers,
            postgresql: self.postgresql - before.postgresql,
            rabbitmq: self.rabbitmq - before.rabbitmq,
            bench: self.bench - before.bench,
            machine: self.machine - before.machine,
        }
    }
}

/// Reads the CPU seconds used so far; `workers` are process ids.
///
/// # Errors
/// When a process is gone, or `/proc` is not Linux's.
pub fn read(services: &Services, workers: &[u32]) -> anyhow::Result<Cpu> {
    let mut cpu = Cpu {
        rabbitmq: of_process(services.pid("rabbitmq")?)?.all(),
        bench: of_process(std::process::id())?.own,
        machine: machine()?,
        ..Cpu::default()
    };
    for pid in workers {
        cpu.workers += of_process(*pid)?.all();
    }
    // Processes that have ended are in the account of their parent, which has waited for them.
    cpu.postgresql = of_process(services.pid("postgresql")?)?.ended;
    for pid in database_processes(services)? {
        // One may end between the list and the look: it is then counted with the next reading.
        cpu.postgresql += of_process(pid).map_or(0.0, |process| process.own);
    }
    Ok(cpu)
}

struct Used {
    own: f64,
    /// By children that have ended.
    ended: f64,
}

impl Used {
    const fn all(&self) -> f64 {
        self.own + self.ended
    }
}

fn of_process(pid: u32) -> anyhow::Result<Used> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    // The name in brackets may hold anything; fields count from its end.
    let (_, fields) = stat.rsplit_once(") ").context("/proc/PID/stat")?;
    let ticks: Vec<f64> = fields
        .split(' ')
        .skip(11)
        .take(4)
        .map_while(|field| field.parse().ok())
        .collect();
    let [user, system, ended_user, ended_system] = ticks[..] else {
        anyhow::bail!("/proc/{pid}/stat: {stat}");
    };
    Ok(Used {
        own: (user + system) / TICKS,
        ended: (ended_user + ended_system) / TICKS,
    })
}

/// Linux counts in hundredths of a second here, whatever its timer does.
const TICKS: f64 = 100.0;

fn machine() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let fields: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .map_while(|field| field.parse().ok())
        .collect();
    // user, nice, system; idle and iowait are no work; irq, softirq.
    let busy = [0, 1, 2, 5, 6]
        .iter()
        .filter_map(|index| fields.get(*index));
    Ok(busy.sum::<f64>() / TICKS)
}

/// All processes of the database server work in its data folder.
fn database_processes(services: &Services) -> anyhow::Result<Vec<u32>> {
    let data = Path::new(services.var("POSTGRES_DATA_DIR")?);
    let entries = std::fs::read_dir("/proc")?.flatten();
    let pids = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let cwd = std::fs::read_link(entry.path().join("cwd")).ok()?;
        (cwd == data).then_some(pid)
    });
    Ok(pids.collect())
}

/// Memory of a process in megabytes: what it has now, and the most it had.
///
/// # Errors
/// When it is gone.
pub fn memory(pid: u32) -> anyhow::Result<(f64, f64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let now = of("VmRSS:").context("VmRSS")?;
    Ok((now / 1024.0, of("VmHWM:").unwrap_or(now) / 1024.0))
}

/// Forgets the most memory that a process had: [`memory`] tells the most from now on.
///
/// # Errors
/// When it is gone.
pub fn forget_peak(pid: u32) -> anyhow::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("clear_refs")
}
