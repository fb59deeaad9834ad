//! What a query costs while nothing comes.

use std::time::Duration;

use serde_json::{Value, json};

use super::clients::Topics;
use super::expected::Expected;
use super::process::Lines;
use super::query::Query;
use super::subject::{Route, Subject, Variant};
use super::{Result, Settings, latency};

const PARTITIONS: i32 = 16;
/// Connecting and planning are not what is measured.
const WARM_UP: Duration = Duration::from_secs(3);

/// Processor time of an idle query, as a share of one core.
pub(super) async fn measure(settings: &Settings, query: &Query, seconds: u64) -> Result<Value> {
    let [from, to] = ["in", "out"].map(|end| format!("bench-{}-idle-{end}", std::process::id()));
    let _topics = Topics::create(&settings.brokers, &[(&from, PARTITIONS), (&to, 1)])?;
    let folder = tempfile::tempdir()?;
    let route = Route {
        from: &from,
        partitions: PARTITIONS,
        to: &to,
        to_partitions: 1,
        linger_ms: latency::LINGER_MS,
        folder: folder.path(),
    };
    let engine = Subject::Engine(Variant::AsGiven);
    let child = engine.start(settings, query, &route, &Expected::default(), &Lines::new())?;
    let mut child = child.ok_or("the engine has a process")?;
    tokio::time::sleep(WARM_UP).await;
    let before = child.usage()?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    child.check()?;
    let after = child.usage()?;
    child.stop()?;
    let share = (after.cpu_seconds - before.cpu_seconds) / seconds as f64;
    println!(
        "idle, {PARTITIONS} partitions, {seconds} s: {:.2} % of a core, peak RSS {:.0} MiB",
        100.0 * share,
        after.peak_rss_mib
    );
    Ok(json!({
        "subject": "idle", "partitions": PARTITIONS, "seconds": seconds, "coreShare": share,
        "peakRssMib": after.peak_rss_mib,
    }))
}
