//! The log and the store together: on a temporary folder, in memory, and on stores that fail.

use std::fs;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::*;
use crate::epoch::EpochId;
use crate::error::ErrorKind;
use crate::testing::{Failure, Fault, FaultyStore, Operation};

fn entry(offset: i64) -> OffsetEntry {
    let offsets = vec![Some(format!("{{\"in\":{{\"0\":{offset}}}}}"))];
    OffsetEntry { metadata: Some(OffsetMetadata::fresh(1)), offsets }
}

fn open(folder: &FilePath) -> CheckpointStore {
    CheckpointStore::open(folder.to_str().unwrap(), &[]).unwrap()
}

fn in_memory() -> CheckpointStore {
    CheckpointStore::from_object_store(Arc::new(InMemory::new()), Path::from("a/checkpoint"))
}

/// A checkpoint in memory, and the store to meddle with.
fn faulty() -> (FaultyStore, Checkpoint) {
    let store = FaultyStore::new(Arc::new(InMemory::new()));
    let files = CheckpointStore::from_object_store(Arc::new(store.clone()), Path::from("q"));
    (store, Checkpoint::from_store(files))
}

fn names(folder: &FilePath) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn ids(epochs: impl IntoIterator<Item = EpochId>) -> Vec<u64> {
    epochs.into_iter().map(|epoch| epoch.0).collect()
}

async fn log(checkpoint: &Checkpoint, epochs: impl IntoIterator<Item = u64>) {
    for epoch in epochs.into_iter().map(EpochId) {
        checkpoint.put_offsets(epoch, &entry(epoch.0.cast_signed())).await.unwrap();
        checkpoint.put_commit(epoch, &CommitEntry::default()).await.unwrap();
    }
}

/// What every store owes the checkpoint.
async fn conforms(store: &CheckpointStore) {
    assert_eq!(store.read("offsets/0").await.unwrap(), None);
    assert_eq!(store.list_ids("offsets").await.unwrap(), [0; 0]);
    store.delete("offsets/0").await.unwrap();
    for id in [10, 9, 0] {
        assert_eq!(store.create(&format!("offsets/{id}"), Bytes::from("a")).await.unwrap(), Created::Yes);
    }
    let theirs = Created::Exists(Bytes::from("a"));
    assert_eq!(store.create("offsets/9", Bytes::from("a")).await.unwrap(), theirs);
    assert_eq!(store.create("offsets/9", Bytes::from("b")).await.unwrap(), theirs);
    assert_eq!(store.read("offsets/9").await.unwrap().unwrap(), "a");
    for other in
        ["offsets/.11.crc", "offsets/x", "offsets/007", "offsets/5/x", "offsets/18446744073709551615"]
    {
        store.create(other, Bytes::new()).await.unwrap();
    }
    assert_eq!(store.list_ids("offsets").await.unwrap(), [0, 9, 10]);
    store.delete("offsets/9").await.unwrap();
    assert_eq!(store.list_ids("offsets").await.unwrap(), [0, 10]);
    store.sweep().await.unwrap();
    assert_eq!(store.list_ids("commits").await.unwrap(), [0; 0]);
}

#[tokio::test]
async fn every_store_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conforms(&open(folder.path())).await;
    conforms(&open(&folder.path().join("new/with space/100% é #1"))).await;
    conforms(&in_memory()).await;
    conforms(&CheckpointStore::open("memory://every_store_conforms/x", &[]).unwrap()).await;
}

#[tokio::test]
async fn files_have_sparks_names_and_nothing_is_left_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("q 1");
    let checkpoint = Checkpoint::open(&format!("file://{}", root.display()), &[]).unwrap();
    assert!(checkpoint.read_query_id().await.unwrap().is_none());
    assert!(!root.exists(), "reading must not create the folder");
    let id = checkpoint.query_id().await.unwrap();
    log(&checkpoint, [0]).await;
    checkpoint.put_initial(0, encode_initial("{}").into()).await.unwrap();
    assert_eq!(names(&root), ["commits", "metadata", "offsets", "sources"]);
    assert_eq!(names(&root.join("offsets")), ["0"]);
    assert_eq!(fs::read_to_string(root.join("offsets/0")).unwrap(), entry(0).encode());
    assert_eq!(fs::read_to_string(root.join("commits/0")).unwrap(), "v1\n{\"nextBatchWatermarkMs\":0}");
    assert_eq!(fs::read_to_string(root.join("metadata")).unwrap(), format!("{{\"id\":\"{id}\"}}"));
    assert_eq!(fs::read(root.join("sources/0/0")).unwrap(), b"\0v1\n{}");
}

#[tokio::test]
async fn stale_checksums_go_with_the_file_they_belong_to() {
    let folder = tempfile::tempdir().unwrap();
    let offsets = folder.path().join("offsets");
    fs::create_dir(&offsets).unwrap();
    let store = open(folder.path());
    fs::write(offsets.join(".1.crc"), "stale").unwrap();
    store.create("offsets/1", Bytes::from("new")).await.unwrap();
    assert_eq!(names(&offsets), ["1"]);
    // Valid ones of files that stay are another's business.
    fs::write(offsets.join(".1.crc"), "valid").unwrap();
    store.create("offsets/1", Bytes::from("other")).await.unwrap();
    assert_eq!(names(&offsets), [".1.crc", "1"]);
    store.delete("offsets/1").await.unwrap();
    assert_eq!(names(&offsets), [""; 0]);
}

#[tokio::test]
async fn only_old_temporary_files_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let offsets = folder.path().join("offsets");
    fs::create_dir(&offsets).unwrap();
    let id = uuid::Uuid::from_u128(7);
    let old = SystemTime::now() - Duration::from_secs(3600);
    for (name, modified) in [
        (format!(".3.{id}.tmp"), old),
        (format!(".3.{id}.tmp#1"), old),
        (format!(".4.{id}.tmp"), SystemTime::now()),
        (".5.notes.tmp".to_owned(), old),
        ("6".to_owned(), old),
    ] {
        fs::File::create(offsets.join(name)).unwrap().set_modified(modified).unwrap();
    }
    let store = open(folder.path());
    assert_eq!(store.list_ids("offsets").await.unwrap(), [6]);
    store.sweep().await.unwrap();
    assert_eq!(names(&offsets), [format!(".4.{id}.tmp"), ".5.notes.tmp".to_owned(), "6".to_owned()]);
}

#[tokio::test]
async fn a_folder_in_the_place_of_an_entry_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("offsets/5")).unwrap();
    let checkpoint = Checkpoint::from_store(open(folder.path()));
    assert!(checkpoint.facts().await.unwrap().offsets.is_empty());
    let error = checkpoint.put_offsets(EpochId(5), &entry(5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Environment);
    assert!(error.to_string().contains("offsets/5: a folder has its name"), "{error}");
    assert_eq!(names(&folder.path().join("offsets")), ["5"], "the temporary file is removed");

    fs::write(folder.path().join("commits"), "a file").unwrap();
    let error = checkpoint.put_commit(EpochId(5), &CommitEntry::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Environment);
    assert!(error.to_string().contains("commits/5"), "{error}");
}

#[tokio::test]
async fn the_second_writer_is_fenced_and_a_repeated_write_is_not() {
    let folder = tempfile::tempdir().unwrap();
    for store in [open(folder.path()), in_memory()] {
        let [first, second] = [0, 1].map(|_| Checkpoint::from_store(store.clone()));
        assert_eq!(first.query_id().await.unwrap(), second.query_id().await.unwrap());
        first.put_offsets(EpochId(0), &entry(7)).await.unwrap();
        first.put_offsets(EpochId(0), &entry(7)).await.unwrap();
        let error = second.put_offsets(EpochId(0), &entry(8)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert!(error.to_string().contains("offsets/0 already exists"), "{error}");
        assert_eq!(first.offsets(EpochId(0)).await.unwrap().unwrap(), entry(7));
        assert_eq!(first.committed(EpochId(0)).await.unwrap(), None);

        assert_eq!(first.put_initial(0, Bytes::from("a")).await.unwrap(), "a");
        assert_eq!(second.put_initial(0, Bytes::from("b")).await.unwrap(), "a");
        assert_eq!(second.initial(0).await.unwrap().unwrap(), "a");
        assert_eq!(second.initial(1).await.unwrap(), None);
    }
}

#[tokio::test]
async fn racing_writers_agree_on_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("new"));
    let writes = (0..8).map(|writer| store.create("offsets/0", Bytes::from(vec![writer; 3])));
    let created = futures::future::try_join_all(writes).await.unwrap();
    assert_eq!(created.iter().filter(|created| **created == Created::Yes).count(), 1);
    assert_eq!(names(&folder.path().join("new/offsets")), ["0"]);
}

#[tokio::test]
async fn facts_hold_what_a_restart_needs_and_carry_damage_as_a_fact() {
    let store = in_memory();
    let checkpoint = Checkpoint::from_store(store.clone());
    let facts = checkpoint.facts().await.unwrap();
    assert_eq!(decide(&facts, Restart::MicroBatch).unwrap(), Recovery::Fresh { discard: Discard::Nothing });

    log(&checkpoint, 0..3).await;
    checkpoint.put_offsets(EpochId(4), &entry(4)).await.unwrap();
    store.create("offsets/3", Bytes::from("v1\n{\"batch")).await.unwrap();
    let facts = checkpoint.facts().await.unwrap();
    assert_eq!(
        (ids(facts.offsets.clone()), ids(facts.commits.clone())),
        (vec![0, 1, 2, 3, 4], vec![0, 1, 2])
    );
    assert_eq!(ids(facts.entries.keys().copied()), [2, 3]);
    assert!(matches!(facts.entries.get(&EpochId(3)), Some(Found::Torn(_))));
    let recovery = decide(&facts, Restart::MicroBatch).unwrap();
    let discard = Discard::After(EpochId(2));
    assert_eq!(recovery, Recovery::Resume { committed: EpochId(2), start: entry(2), discard });
    checkpoint.discard(recovery.discard()).await.unwrap();
    assert_eq!(store.list_ids("offsets").await.unwrap(), [0, 1, 2]);
}

#[tokio::test]
async fn entries_of_an_epoch_that_another_query_committed_are_not_discarded() {
    let store = in_memory();
    let checkpoint = Checkpoint::from_store(store.clone());
    log(&checkpoint, 0..3).await;
    for last in [None, Some(EpochId(1))] {
        let error = checkpoint.delete_offsets_after(last).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert!(error.to_string().contains("commits/2"), "{error}");
    }
    assert_eq!(store.list_ids("offsets").await.unwrap(), [0, 1, 2]);
}

#[tokio::test]
async fn a_lost_id_is_made_anew() {
    let store = in_memory();
    let checkpoint = Checkpoint::from_store(store.clone());
    let id = checkpoint.query_id().await.unwrap();
    log(&checkpoint, 0..3).await;
    let before = decide(&checkpoint.facts().await.unwrap(), Restart::MicroBatch).unwrap();
    store.delete("metadata").await.unwrap();
    let restarted = Checkpoint::from_store(store);
    assert_eq!(decide(&restarted.facts().await.unwrap(), Restart::MicroBatch).unwrap(), before);
    let anew = restarted.query_id().await.unwrap();
    assert_ne!(anew, id);
    assert_eq!(restarted.read_query_id().await.unwrap(), Some(anew));
}

/// All commits look alike: the end beside it tells whose one is.
#[tokio::test]
async fn a_commit_of_a_rival_is_not_taken_for_our_own() {
    let store = in_memory();
    let [paused, other] = [0, 1].map(|_| Checkpoint::from_store(store.clone()));
    log(&paused, [0]).await;
    paused.put_offsets(EpochId(1), &entry(7)).await.unwrap();
    other.delete_offsets_after(Some(EpochId(0))).await.unwrap();
    other.put_offsets(EpochId(1), &entry(8)).await.unwrap();
    other.put_commit(EpochId(1), &CommitEntry::default()).await.unwrap();
    let error = paused.put_commit(EpochId(1), &CommitEntry::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains("commits/1 already commits another end"), "{error}");
    // A repetition is none of a rival's.
    other.put_commit(EpochId(1), &CommitEntry::default()).await.unwrap();
}

/// Else the checkpoint would be damaged if both died now.
#[tokio::test]
async fn an_end_that_a_starting_rival_deletes_just_before_its_commit_is_put_again() {
    for planned_before in [false, true] {
        let store = in_memory();
        let [planner, rival] = [0, 1].map(|_| Checkpoint::from_store(store.clone()));
        log(&planner, [0]).await;
        planner.put_offsets(EpochId(1), &entry(7)).await.unwrap();
        // A batch that was planned by a process before this one is not logged anew.
        let running = if planned_before { Checkpoint::from_store(store.clone()) } else { planner };
        running.facts().await.unwrap();
        rival.delete_offsets_after(Some(EpochId(0))).await.unwrap();
        running.put_commit(EpochId(1), &CommitEntry::default()).await.unwrap();
        assert_eq!(rival.offsets(EpochId(1)).await.unwrap(), Some(entry(7)), "{planned_before}");
        assert_eq!(ids(rival.facts().await.unwrap().commits), [0, 1]);
    }
}

#[tokio::test]
async fn who_commits_the_end_of_a_rival_learns_of_it() {
    let store = in_memory();
    let [running, rival] = [0, 1].map(|_| Checkpoint::from_store(store.clone()));
    log(&running, [0]).await;
    running.put_offsets(EpochId(1), &entry(7)).await.unwrap();
    rival.delete_offsets_after(Some(EpochId(0))).await.unwrap();
    rival.put_offsets(EpochId(1), &entry(8)).await.unwrap();
    let error = running.put_commit(EpochId(1), &CommitEntry::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
}

/// A lock keeps rivals out, so nothing is read back.
#[tokio::test]
async fn a_commit_costs_a_reading_more_only_where_there_is_no_lock() {
    let (store, remote) = faulty();
    log(&remote, [0]).await;
    let gets = store.take_calls().into_iter().filter(|(operation, _)| *operation == Operation::Get);
    assert_eq!(gets.map(|(_, path)| path.to_string()).collect::<Vec<_>>(), ["q/offsets/0"]);

    let folder = tempfile::tempdir().unwrap();
    let store = FaultyStore::new(Arc::new(LocalFileSystem::new()));
    let local = Checkpoint::from_store(open(folder.path()).over(Arc::new(store.clone())));
    local.put_offsets(EpochId(0), &entry(0)).await.unwrap();
    store.take_calls();
    local.put_commit(EpochId(0), &CommitEntry::default()).await.unwrap();
    let calls = store.take_calls();
    assert!(calls.iter().all(|(_, path)| !path.as_ref().contains("offsets")), "{calls:?}");
}

#[tokio::test]
async fn a_hundred_commits_are_kept() {
    let (store, checkpoint) = faulty();
    for epoch in 0..250 {
        log(&checkpoint, [epoch]).await;
        if let Some(threshold) = purge_threshold(EpochId(epoch)) {
            checkpoint.purge_before(threshold).await.unwrap();
        }
    }
    let listings = store.take_calls().into_iter().filter(|(operation, _)| *operation == Operation::List);
    assert_eq!(listings.count(), 2, "only the first purge lists");
    for dir in ["offsets", "commits"] {
        let kept = checkpoint.store().list_ids(dir).await.unwrap();
        assert_eq!(kept, (150..250).collect::<Vec<_>>(), "{dir}");
    }
    assert_eq!(purge_threshold(EpochId(99)), None);
    assert_eq!(purge_threshold(EpochId(100)), Some(EpochId(1)));
}

#[tokio::test]
async fn purging_keeps_the_two_newest_ends() {
    for gap in [[0, 1, 2, 5], [0, 2, 5, 9]] {
        let store = in_memory();
        let checkpoint = Checkpoint::from_store(store.clone());
        log(&checkpoint, gap).await;
        for threshold in [1, gap[2], gap[3], gap[3] + 1, gap[3] + 50] {
            checkpoint.purge_before(EpochId(threshold)).await.unwrap();
        }
        assert_eq!(store.list_ids("offsets").await.unwrap(), gap[2..]);
        log(&checkpoint, [20, 21]).await;
        checkpoint.purge_before(EpochId(12)).await.unwrap();
        assert_eq!(store.list_ids("offsets").await.unwrap(), [20, 21]);
    }
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_counts() {
    let (store, checkpoint) = faulty();
    store.meet(Operation::Put, "", Fault::After(Failure::NoAnswer));
    checkpoint.query_id().await.unwrap();
    log(&checkpoint, [0]).await;
    assert_eq!(checkpoint.offsets(EpochId(0)).await.unwrap(), Some(entry(0)));

    let folder = tempfile::tempdir().unwrap();
    let store = FaultyStore::new(Arc::new(LocalFileSystem::new()));
    store.meet(Operation::Copy, "", Fault::After(Failure::NoAnswer));
    let checkpoint = Checkpoint::from_store(open(folder.path()).over(Arc::new(store)));
    log(&checkpoint, [0]).await;
    assert_eq!(names(&folder.path().join("offsets")), ["0"]);
}

#[tokio::test]
async fn a_write_that_failed_is_an_error_and_can_be_repeated() {
    let (store, checkpoint) = faulty();
    for (epoch, failure, kind) in [
        (0, Failure::NoAnswer, ErrorKind::Transient),
        (1, Failure::Throttled, ErrorKind::Transient),
        (2, Failure::PermissionDenied, ErrorKind::Environment),
        (3, Failure::Full, ErrorKind::Environment),
        (4, Failure::ReadOnly, ErrorKind::Environment),
    ] {
        store.meet_times(1, Operation::Put, "offsets/", Fault::Before(failure));
        let error = checkpoint.put_offsets(EpochId(epoch), &entry(0)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{failure:?}");
        assert!(error.to_string().contains(&format!("q/offsets/{epoch}")), "{error}");
        checkpoint.put_offsets(EpochId(epoch), &entry(0)).await.unwrap();
    }
}

#[tokio::test]
async fn a_write_that_failed_after_a_rivals_is_fenced() {
    let (store, checkpoint) = faulty();
    store.put(&Path::from("q/offsets/0"), "theirs".into()).await.unwrap();
    store.meet(Operation::Put, "offsets/", Fault::Before(Failure::NoAnswer));
    let error = checkpoint.put_offsets(EpochId(0), &entry(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_may_not_be_written_is_the_environments_fault() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(folder.path().join("probe"), "").is_ok() {
        return; // The superuser may write anywhere.
    }
    let error = Checkpoint::from_store(open(folder.path())).query_id().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Environment);
}
