//! A million epochs: nothing that the engine or the checkpoint keeps grows with them.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::coordinator::{Coordinator, Effect, Event};
use super::policy::{Step, policy};
use crate::checkpoint::{
    Checkpoint, CheckpointStore, CommitEntry, OffsetEntry, RETAINED_COMMITS, purge_threshold,
};
use crate::epoch::EpochId;
use crate::query::Trigger;
use crate::sink::Delivery;

const EPOCHS: u64 = 1_000_000;
/// Of so many epochs also the entries are written: each costs a hundred times what the coordinator does.
const LOGGED_EVERY: u64 = 10;
const CHILD: &str = "engine::upkeep_tests::a_million_epochs_in_a_process_of_their_own";

/// Tests share a process, and so its memory; this one has one to itself.
#[test]
fn a_million_epochs_keep_memory_flat() {
    let tests = std::env::current_exe().unwrap();
    let child = Command::new(tests).args(["--exact", CHILD, "--ignored", "--nocapture"]).output().unwrap();
    let stdout = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{stdout}{}", String::from_utf8_lossy(&child.stderr));
    assert!(stdout.contains("1 passed"), "{stdout}");
    print!("{stdout}");
}

#[test]
#[ignore = "run by a_million_epochs_keep_memory_flat"]
fn a_million_epochs_in_a_process_of_their_own() {
    let store = Arc::new(InMemory::new());
    let files = CheckpointStore::from_object_store(Arc::clone(&store) as _, "q".into());
    let checkpoint = Checkpoint::from_store(files);
    let trigger = Trigger::Continuous(Duration::from_secs(1));
    let mut coordinator = Coordinator::new(policy(trigger, Delivery::AtLeastOnce), vec![0], EpochId::FIRST);
    let mut logged = EpochId::FIRST;
    let mut early = 0;
    for number in 0..EPOCHS {
        let (epoch, end) = (EpochId(number), number.cast_signed() + 1);
        let now = Duration::from_secs(number);
        let begun = coordinator.on(Event::Tick { moved: true }, now);
        assert_eq!(begun, [Effect::Finish { epoch, ends: None, last: false }]);
        coordinator.on(Event::PartitionDone { epoch, slot: 0, end }, now);
        let mut effects = Vec::new();
        for step in [Step::CommitSink, Step::LogOffsets, Step::LogCommit] {
            effects = coordinator.on(Event::StepDone { epoch, step }, now);
        }
        assert_eq!(effects, [Effect::Committed { epoch, ends: vec![end] }]);
        if number % LOGGED_EVERY == 0 {
            log(&checkpoint, logged);
            logged = logged.next();
        }
        if number == EPOCHS / 10 {
            early = resident();
        }
    }
    let files = store.list(None).count().now_or_never().unwrap() as u64;
    assert_eq!(files, 2 * RETAINED_COMMITS, "entries of the newest epochs and no others");
    let grown = resident().saturating_sub(early);
    println!("{EPOCHS} epochs, {logged} of them logged: {grown} KiB more after the last than after a tenth");
    assert!(grown < 4 * 1024, "{grown} KiB more");
}

fn log(checkpoint: &Checkpoint, epoch: EpochId) {
    let entry = OffsetEntry { metadata: None, offsets: vec![Some(format!("{{\"in\":{{\"0\":{epoch}}}}}"))] };
    let write = async {
        checkpoint.put_offsets(epoch, &entry).await?;
        checkpoint.put_commit(epoch, &CommitEntry::default()).await?;
        match purge_threshold(epoch) {
            Some(threshold) => checkpoint.purge_before(threshold).await,
            None => Ok(()),
        }
    };
    write.now_or_never().unwrap().unwrap();
}

/// Memory of this process in KiB; 0 where the system does not tell in this way.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
