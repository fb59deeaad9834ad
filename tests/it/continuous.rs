//! The rules of the hot path under the continuous trigger, on a scripted source: no clock decides.

use std::time::Duration;

use epochflow::checkpoint::Checkpoint;
use epochflow::testing::{Fault, Operation};
use epochflow::{EpochId, StreamSession, StreamingQuery, Trigger};

use crate::support::recording::{Happened, Recording};
use crate::support::scripted::Script;
use crate::support::scripted_query::{OFTEN, checkpoint_in, in_memory, query};
use crate::support::{eventually, in_time};

const NEVER: Trigger = Trigger::Continuous(Duration::from_secs(3600));

struct Running {
    script: Script,
    sink: Recording,
    query: StreamingQuery,
    session: StreamSession,
}

async fn start(sql: &str, script: Script, trigger: Trigger, checkpoint: Option<Checkpoint>) -> Running {
    start_into(Recording::default(), sql, script, trigger, checkpoint).await
}

async fn start_into(
    sink: Recording,
    sql: &str,
    script: Script,
    trigger: Trigger,
    checkpoint: Option<Checkpoint>,
) -> Running {
    let (session, mut writer) = query(sql, &script, &sink, trigger).await;
    if let Some(checkpoint) = checkpoint {
        writer = writer.checkpoint(checkpoint);
    }
    let query = in_time("the start", writer.start()).await.unwrap();
    Running { script, sink, query, session }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_waits_for_no_other_and_for_no_epoch() {
    let Running { script, sink, query, .. } =
        start("SELECT text FROM events WHERE text LIKE 'a%'", Script::new(1), NEVER, None).await;
    for row in ["a1", "a2", "a3"] {
        script.push(0, row);
        eventually("the row is written", async || sink.has(row).then_some(())).await;
    }
    assert!(sink.commits().is_empty(), "no epoch has ended");
    in_time("the stop", query.stop()).await.unwrap();
    assert_eq!(sink.commits(), [0u64], "the stop ends and commits the running epoch");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_flow_while_a_write_of_the_checkpoint_hangs() {
    let store = in_memory();
    let Running { script, sink, query, .. } =
        start("SELECT text FROM events", Script::new(1), OFTEN, Some(checkpoint_in(&store))).await;
    script.push(0, "before");
    eventually("epoch 0 is committed", async || query.last_progress().filter(|p| p.batch_id == 0)).await;
    store.meet(Operation::Put, "", Fault::Hang);
    // Each row is let in only after the one before is through, so epochs end in between and none can be logged.
    for number in 0..50 {
        let row = format!("while the store hangs {number}");
        script.push(0, row.clone());
        eventually("the row is written", async || sink.has(&row).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(11)).await;
    }
    let committed = query.last_progress().unwrap().batch_id;
    store.heal();
    in_time("the rest", query.process_all_available()).await.unwrap();
    assert!(query.last_progress().unwrap().batch_id > committed);
    let progress = query.recent_progress();
    let total: u64 = progress.iter().map(|progress| progress.num_input_rows).sum();
    assert_eq!(total, 51, "every record belongs to one epoch");
    assert!(progress.len() < 20, "epochs wait for the store, not records: {} epochs", progress.len());
    in_time("the stop", query.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_partition_holds_no_epoch_back() {
    let store = in_memory();
    let Running { script, query, .. } =
        start("SELECT text FROM events", Script::new(8), OFTEN, Some(checkpoint_in(&store))).await;
    script.push(3, "alone");
    let progress = eventually("an epoch is committed", async || query.last_progress()).await;
    assert_eq!(progress.sources[0].end_offset, r#"{"0":0,"1":0,"2":0,"3":1,"4":0,"5":0,"6":0,"7":0}"#);
    in_time("the stop", query.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_new_writes_no_epoch() {
    let store = in_memory();
    let Running { script, query, .. } =
        start("SELECT text FROM events", Script::new(2), OFTEN, Some(checkpoint_in(&store))).await;
    script.push(0, "only");
    in_time("the record", query.process_all_available()).await.unwrap();
    let commits = checkpoint_in(&store).facts().await.unwrap().commits;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(checkpoint_in(&store).facts().await.unwrap().commits, commits, "ten ticks without a record");
    in_time("the stop", query.stop()).await.unwrap();
    assert_eq!(
        checkpoint_in(&store).facts().await.unwrap().commits,
        commits,
        "nor does a stop without a record"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_partitions_share_the_threads() {
    let Running { script, sink, query, .. } =
        start("SELECT text FROM events", Script::new(64), OFTEN, None).await;
    for round in 0..20 {
        for partition in 0..64 {
            script.push(partition, format!("{partition}/{round}"));
        }
    }
    in_time("all records", query.process_all_available()).await.unwrap();
    let written = sink.written();
    assert_eq!(written.len(), 64 * 20);
    for partition in 0..64 {
        let mine: Vec<_> = written.iter().filter(|row| row.starts_with(&format!("{partition}/"))).collect();
        let expected: Vec<_> = (0..20).map(|round| format!("{partition}/{round}")).collect();
        assert_eq!(mine, expected.iter().collect::<Vec<_>>(), "in order");
    }
    in_time("the stop", query.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_committed_only_after_its_rows_are_written() {
    let Running { script, sink, query, .. } =
        start("SELECT text FROM events", Script::new(2), OFTEN, None).await;
    for number in 0..30 {
        script.push(number % 2, format!("{number}"));
        if number % 10 == 9 {
            in_time("the records", query.process_all_available()).await.unwrap();
        }
    }
    let log = sink.log();
    let commits = sink.commits();
    assert_eq!(commits, (0..commits.len() as u64).collect::<Vec<_>>(), "in order, without gaps");
    let mut written_at_commit = Vec::new();
    let mut written = 0;
    for happened in log {
        match happened {
            Happened::Written(_) => written += 1,
            Happened::Committed(_) => written_at_commit.push(written),
        }
    }
    let mut promised = 0;
    for (progress, written) in query.recent_progress().iter().zip(written_at_commit) {
        promised += progress.sink.num_output_rows;
        assert!(
            written as u64 >= promised,
            "epoch {} claims {promised} rows, {written} are there",
            progress.batch_id
        );
    }
    in_time("the stop", query.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unnested_record_belongs_to_one_epoch_as_a_whole() {
    let sql = "SELECT unnest(string_to_array(text, ',')) AS text FROM events";
    let Running { script, sink, query, .. } = start(sql, Script::new(1), OFTEN, None).await;
    for number in 0..200 {
        script.push(0, format!("{number}a,{number}b,{number}c"));
    }
    in_time("all records", query.process_all_available()).await.unwrap();
    assert_eq!(sink.written().len(), 600);
    for progress in query.recent_progress() {
        assert_eq!(progress.sink.num_output_rows, 3 * progress.num_input_rows, "epoch {}", progress.batch_id);
    }
    in_time("the stop", query.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sources_in_a_union_have_a_line_each_in_the_checkpoint() {
    let store = in_memory();
    let sql = "SELECT text FROM events WHERE text LIKE 'x%' UNION ALL SELECT upper(text) AS text FROM events";
    let Running { script, sink, query, .. } =
        start(sql, Script::new(2), OFTEN, Some(checkpoint_in(&store))).await;
    script.push(0, "x");
    script.push(1, "y");
    in_time("all records", query.process_all_available()).await.unwrap();
    let mut written = sink.written();
    written.sort();
    assert_eq!(written, ["X", "Y", "x"]);
    in_time("the stop", query.stop()).await.unwrap();
    let facts = checkpoint_in(&store).facts().await.unwrap();
    let last = *facts.commits.last().unwrap();
    let entry = checkpoint_in(&store).offsets(last).await.unwrap().unwrap();
    assert_eq!(entry.offsets, [Some(r#"{"0":1,"1":1}"#.to_owned()), Some(r#"{"0":1,"1":1}"#.to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_columns_that_the_query_reads_are_built() {
    let Running { script, query, .. } =
        start("SELECT 'constant' AS text FROM events", Script::new(1), OFTEN, None).await;
    // The offset alone, since errors name it.
    assert_eq!(script.projections(), [[1]]);
    in_time("the stop", query.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_sink_refuses_ends_the_query_and_leaves_the_checkpoint_as_it_was() {
    let store = in_memory();
    let Running { script, sink, query, session } =
        start("SELECT text FROM events", Script::new(1), OFTEN, Some(checkpoint_in(&store))).await;
    script.push(0, "good");
    in_time("the good record", query.process_all_available()).await.unwrap();
    let commits = checkpoint_in(&store).facts().await.unwrap().commits;
    sink.fail_on("bad");
    script.push(0, "bad");
    let error = in_time("the failure", query.await_termination()).await.unwrap_err();
    assert!(error.to_string().contains("the sink refuses the row 'bad'"), "{error}");
    assert!(!query.is_active());
    assert_eq!(query.exception().unwrap().to_string(), error.to_string());
    assert!(query.status().message.starts_with("Terminated with exception"), "{:?}", query.status());
    assert_eq!(session.active_queries().len(), 0);
    assert_eq!(checkpoint_in(&store).facts().await.unwrap().commits, commits);
    assert_eq!(commits.last(), Some(&EpochId(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_behind_a_slow_store_repeats_nothing() {
    let (store, sql) = (in_memory(), "SELECT text FROM events");
    let Running { script, sink, query, .. } =
        start(sql, Script::new(1), OFTEN, Some(checkpoint_in(&store))).await;
    store.meet(Operation::Put, "", Fault::Hang);
    script.push(0, "in an epoch that cannot be logged yet");
    eventually("the row is written", async || (sink.written().len() == 1).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let stopping = tokio::spawn({
        let query = query.clone();
        async move { query.stop().await }
    });
    // Whether the engine still takes this one or not: it must come once.
    script.push(0, "while it stops");
    tokio::time::sleep(Duration::from_millis(30)).await;
    store.heal();
    in_time("the stop", stopping).await.unwrap().unwrap();
    let again = start_into(sink.clone(), sql, script, OFTEN, Some(checkpoint_in(&store))).await;
    in_time("the rest", again.query.process_all_available()).await.unwrap();
    in_time("the stop", again.query.stop()).await.unwrap();
    assert_eq!(sink.written(), ["in an epoch that cannot be logged yet", "while it stops"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_a_hung_store_outlasts_says_that_not_all_was_processed() {
    let store = in_memory();
    let Running { script, query, .. } =
        start("SELECT text FROM events", Script::new(1), OFTEN, Some(checkpoint_in(&store))).await;
    store.meet(Operation::Put, "", Fault::Hang);
    script.push(0, "a");
    let waiting = tokio::spawn({
        let query = query.clone();
        async move { query.process_all_available().await }
    });
    in_time("the stop", query.stop()).await.unwrap();
    assert!(in_time("the answer", waiting).await.unwrap().is_err());
    assert!(query.last_progress().is_none(), "nothing was committed");
    store.heal();
}
