//! What a query costs while nothing comes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kafka::Topics;
use crate::subject::{Route, Subject};
use crate::{Args, Result};

const PARTITIONS: i32 = 16;
/// Connecting and planning are not what is measured.
const WARM_UP: Duration = Duration::from_secs(3);

/// Processor time of an idle passthrough, as a share of one core.
pub(crate) fn measure(args: &Args, seconds: u64) -> Result<Value> {
    let [from, to] = ["in", "out"].map(|end| format!("bench-{}-idle-{end}", std::process::id()));
    let _topics = Topics::create(&args.brokers, &[(&from, PARTITIONS), (&to, 1)])?;
    let route = Route { from: &from, partitions: PARTITIONS, to: &to, linger_ms: "0" };
    let mut child = Subject::Passthrough.start(args, &route)?.ok_or("passthrough has a child")?;
    std::thread::sleep(WARM_UP);
    let before = child.usage()?;
    std::thread::sleep(Duration::from_secs(seconds));
    child.check()?;
    let after = child.usage()?;
    child.stop()?;
    let share = (after.cpu_seconds - before.cpu_seconds) / seconds as f64;
    println!(
        "idle, {PARTITIONS} partitions, {seconds} s: {:.2} % of a core, peak RSS {:.0} MiB",
        100.0 * share,
        after.peak_rss_mib
    );
    Ok(json!({ "subject": "idle", "partitions": PARTITIONS, "seconds": seconds, "core_share": share }))
}
