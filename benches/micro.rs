//! Single parts without a broker: the queries' expressions, and appending an epoch to a checkpoint's logs.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking")]

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use datafusion::physical_plan::{ExecutionPlan, collect};
use epochflow::checkpoint::{Checkpoint, CommitEntry, OffsetEntry, OffsetMetadata};
use epochflow::{EpochId, StreamSession};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Records of lineitem as `epochflow bench` sends them in a drain.
fn lineitems(rows: usize) -> RecordBatch {
    let record = |seq: usize| {
        let (cents, day) = (seq * 7919 % 100_000, 1 + seq % 28);
        format!(
            r#"{{"seq":{seq},"t0":123456789012345,"l_orderkey":{seq},"l_quantity":{},"l_extendedprice":{}.{:02},"l_discount":0.0{},"l_tax":0.0{},"l_returnflag":"N","l_linestatus":"O","l_shipdate":"199{}-03-{day:02}"}}"#,
            1 + seq % 50,
            900 + cents / 100,
            cents % 100,
            seq % 10,
            seq % 9,
            2 + seq % 7,
        )
    };
    let value: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..rows).map(record)));
    let key: ArrayRef = Arc::new(BinaryArray::new_null(rows));
    RecordBatch::try_from_iter_with_nullable([("key", key, true), ("value", value, true)]).unwrap()
}

/// Decoding and encoding JSON is part of a query: its plan over one batch, as long as it takes a pipeline.
fn queries(criterion: &mut Criterion) {
    let runtime = runtime();
    let session = StreamSession::new().unwrap();
    let context = session.context();
    let plan = |select: &str, rows: usize| -> Arc<dyn ExecutionPlan> {
        context.deregister_table("events").unwrap();
        context.register_batch("events", lineitems(rows)).unwrap();
        runtime.block_on(async { context.sql(select).await.unwrap().create_physical_plan().await.unwrap() })
    };
    let decode = "SELECT json_as_text(line, 'l_extendedprice') FROM (SELECT CAST(value AS STRING) AS line FROM events)";
    let encode = "SELECT concat('{\"value\":\"', CAST(value AS STRING), '\"}') AS value FROM events";
    let from_json = "SELECT from_json(CAST(value AS STRING), 'seq BIGINT, t0 BIGINT, l_extendedprice DECIMAL(15, 2), \
                     l_returnflag STRING, l_shipdate STRING') AS line FROM events";
    let to_json = "SELECT to_json(named_struct('value', CAST(value AS STRING), 'length', octet_length(value), \
                   'price', CAST(octet_length(value) AS DECIMAL(15, 2)))) AS value FROM events";
    let all = [
        ("from_json", from_json),
        ("to_json", to_json),
        ("decode one field", decode),
        ("encode one field", encode),
        ("h1", include_str!("queries/h1.sql")),
        ("h6", include_str!("queries/h6.sql")),
    ];
    for (name, select) in all {
        let mut group = criterion.benchmark_group(name);
        for rows in [1, 4096] {
            let plan = plan(select, rows);
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(BenchmarkId::from_parameter(rows), |bencher| {
                bencher.iter(|| runtime.block_on(collect(Arc::clone(&plan), context.task_ctx())).unwrap());
            });
        }
        group.finish();
    }
}

/// What the end of an epoch writes: both entries, durably.
fn log_append(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let offsets = OffsetEntry {
        metadata: Some(OffsetMetadata::fresh(0)),
        offsets: vec![Some(r#"{"in":{"0":123456,"1":123456,"2":123456,"3":123456}}"#.to_owned())],
    };
    for (name, location) in [
        ("memory", "memory://bench".to_owned()),
        ("local disk", folder.path().join("checkpoint").display().to_string()),
    ] {
        let checkpoint = Checkpoint::open(&location, &[]).unwrap();
        let mut next = 0;
        criterion.bench_function(&format!("log append, {name}"), |bencher| {
            let epoch = || {
                next += 1;
                EpochId(next - 1)
            };
            let append = |epoch| {
                runtime.block_on(async {
                    checkpoint.put_offsets(epoch, &offsets).await.unwrap();
                    let commit = CommitEntry { next_batch_watermark_ms: 0 };
                    checkpoint.put_commit(epoch, &commit).await.unwrap();
                });
            };
            bencher.iter_batched(epoch, append, BatchSize::PerIteration);
        });
    }
}

criterion_group!(benches, queries, log_append);
criterion_main!(benches);
