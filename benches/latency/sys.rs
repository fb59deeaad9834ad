//! What only the operating system can tell or do: time, exact sleep, a child's fate and its use of the machine.
#![allow(unsafe_code, reason = "three calls into libc that have no safe counterpart")]

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Result;

/// Wall-clock nanoseconds that advance with the monotonic clock, so that no clock correction looks like latency.
pub(crate) fn now_ns() -> u64 {
    static START: LazyLock<(Instant, Duration)> =
        LazyLock::new(|| (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()));
    (START.1 + START.0.elapsed()).as_nanos() as u64
}

/// Sleeps until shortly before `due`, then spins: a sleep alone overshoots by the wake-up time of the scheduler.
pub(crate) fn sleep_until(due_ns: u64) {
    const SPIN_NS: u64 = 60_000;
    loop {
        match due_ns.saturating_sub(now_ns()) {
            0 => return,
            left if left > SPIN_NS => std::thread::sleep(Duration::from_nanos(left - SPIN_NS)),
            _ => std::hint::spin_loop(),
        }
    }
}

/// Lets this thread's sleeps end on time; Linux otherwise adds up to 50 µs to save power.
pub(crate) fn exact_sleep() {
    // SAFETY: PR_SET_TIMERSLACK takes one integer and changes this thread only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
}

/// Ends the child with this process, however this process ends.
pub(crate) fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe, which is all that may run between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
}

/// Sends SIGTERM.
pub(crate) fn terminate(pid: u32) {
    // SAFETY: the caller has not yet reaped its child, so the id cannot belong to another process.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) };
}

/// Peak resident memory of a process, in MiB.
pub(crate) fn peak_rss_mib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// CPU time of a process so far, user and system, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    const TICKS_PER_SECOND: f64 = 100.0; // what Linux shows to programs, whatever the kernel's own tick
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field, the name, may hold spaces: count from its closing bracket, after which utime is 12th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).map(str::parse).collect::<std::result::Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}
