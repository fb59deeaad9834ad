//! What only the operating system can tell or do: time, exact sleep, a process's fate and its use of the machine.
#![expect(unsafe_code, reason = "four calls into libc that have no safe counterpart in the standard library")]

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::Result;

/// Nanoseconds of the machine's monotonic clock, which all its processes share and no clock correction moves.
pub(super) fn now_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec`, which `now` is; this clock exists on every Linux, so it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Sleeps until shortly before `due`, then spins: a sleep alone overshoots by the wake-up time of the scheduler.
#[expect(
    clippy::disallowed_methods,
    reason = "keeping a schedule is the point, on a thread where nothing else waits"
)]
pub(super) fn sleep_until(due_ns: u64) {
    const SPIN_NS: u64 = 60_000;
    loop {
        match due_ns.saturating_sub(now_ns()) {
            0 => return,
            left if left > SPIN_NS => std::thread::sleep(std::time::Duration::from_nanos(left - SPIN_NS)),
            _ => std::hint::spin_loop(),
        }
    }
}

/// Lets this thread's sleeps end on time; Linux otherwise adds up to 50 µs to save power.
pub(super) fn exact_sleep() {
    // SAFETY: PR_SET_TIMERSLACK takes one integer and changes this thread only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
}

/// Puts the child at the head of a process group, and ends it with this process, however this process ends.
pub(super) fn die_with_parent(command: &mut Command) {
    command.process_group(0);
    // SAFETY: prctl is async-signal-safe, which is all that may run between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
}

/// Sends a signal to a process group that [`die_with_parent`] made.
pub(super) fn signal_group(leader: u32, signal: libc::c_int) {
    // SAFETY: the caller has not yet reaped its child, so the id cannot belong to another group.
    unsafe { libc::kill(-(leader as libc::pid_t), signal) };
}

/// What a process group used so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Sum of the peaks of its processes' resident memory.
    pub(super) peak_rss_mib: f64,
    /// Their resident memory now.
    pub(super) rss_mib: f64,
    /// User and system time of its living processes.
    pub(super) cpu_seconds: f64,
}

/// What the living processes of a group used since they began.
pub(super) fn usage(leader: u32) -> Result<Usage> {
    let mut total = Usage { peak_rss_mib: 0.0, rss_mib: 0.0, cpu_seconds: 0.0 };
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let folder = entry.path();
        // Not a process, or one that has just ended.
        let Ok(stat) = std::fs::read_to_string(folder.join("stat")) else { continue };
        // The second field, the name, may hold spaces: count from its closing bracket.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |field: usize| fields.get(field).and_then(|text| text.parse::<f64>().ok());
        const GROUP: usize = 2;
        const USER: usize = 11;
        const SYSTEM: usize = 12;
        const TICKS_PER_SECOND: f64 = 100.0; // what Linux shows to programs, whatever the kernel's own tick
        if number(GROUP) != Some(f64::from(leader)) {
            continue;
        }
        let ticks = number(USER).zip(number(SYSTEM)).ok_or("no processor time in /proc")?;
        total.cpu_seconds += (ticks.0 + ticks.1) / TICKS_PER_SECOND;
        let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
        // A process that has ended and waits to be reaped has no memory.
        let mib = |name: &str| {
            let text = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = text.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok());
            kib.unwrap_or_default() / 1024.0
        };
        total.peak_rss_mib += mib("VmHWM:");
        total.rss_mib += mib("VmRSS:");
    }
    Ok(total)
}
