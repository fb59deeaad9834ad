//! The rate sources: numbers at a given speed, to try queries without data. Options, rows and offsets are Spark's.
//!
//! `timeline.rs` is the arithmetic, `reader.rs` a partition, `per_batch.rs` the source `rate-micro-batch`. An offset of a
//! partition says that all of its values before it are out, whatever the checkpoint's form of it.

mod per_batch;
mod reader;
mod timeline;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

pub(crate) use self::per_batch::RatePerBatchProvider;
use self::reader::{RateReader, Times, now};
use self::timeline::{Mark, Pace, Speed, first_of};
use super::{PartitionReader, ReadMode, ReadRequest, Source, SourceProvider};
use crate::epoch::{Offset, Partition, SourceOffsets};
use crate::error::{Error, ErrorKind, Result};
use crate::options::{Options, invalid, parse_duration};

const FORMAT: &str = "rate";
/// The end of the year 9999, in milliseconds since 1970.
const LAST_MILLIS: i64 = 253_402_300_799_999;

/// Makes rate sources.
#[derive(Debug)]
pub(crate) struct RateProvider;

impl SourceProvider for RateProvider {
    fn format(&self) -> &'static str {
        FORMAT
    }

    fn source(&self, options: &Options) -> Result<Arc<dyn Source>> {
        options.check_known("the rate source", &["rowsPerSecond", "rampUpTime", "numPartitions"], &[])?;
        let speed = Speed {
            rows_per_second: positive(options, "rowsPerSecond")?.unwrap_or(1),
            ramp_up_seconds: ramp_up_seconds(options)?,
        };
        if speed.ramp_up_seconds > speed.max_second() {
            return Err(Error::usage(format!(
                "option 'rampUpTime' is longer than the {} s after which {} rowsPerSecond overflow 64 bits",
                speed.max_second(),
                speed.rows_per_second
            )));
        }
        let partitions = partitions(options)?;
        Ok(Arc::new(RateSource::new(speed, partitions, ReadMode::MicroBatch)))
    }
}

/// A number from 1 to the largest of Spark's.
fn positive(options: &Options, name: &str) -> Result<Option<i64>> {
    let number = options.positive(name)?;
    let expected = "a whole number of 64 bits greater than 0";
    number.map(|n| i64::try_from(n).map_err(|_| invalid(name, &n.to_string(), expected))).transpose()
}

/// As many as there are cores, unless said otherwise.
fn partitions(options: &Options) -> Result<i32> {
    let name = "numPartitions";
    match options.positive(name)? {
        Some(number) => i32::try_from(number)
            .map_err(|_| invalid(name, &number.to_string(), "a whole number of 32 bits greater than 0")),
        None => Ok(std::thread::available_parallelism()
            .map_or(1, |cores| i32::try_from(cores.get()).unwrap_or(i32::MAX))),
    }
}

/// Whole seconds; a bare number is one of seconds, as in Spark.
fn ramp_up_seconds(options: &Options) -> Result<i64> {
    let Some(text) = options.get("rampUpTime") else {
        return Ok(0);
    };
    let seconds = match text.trim().parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => parse_duration(text).map_err(|error| error.context("option 'rampUpTime'"))?.as_secs(),
    };
    i64::try_from(seconds).map_err(|_| invalid("rampUpTime", text, "a time span of 64 bits"))
}

/// All partitions of a source, numbered from 0.
fn numbered(format: &str, partitions: i32) -> impl Iterator<Item = Partition> {
    let name: Arc<str> = format.into();
    (0..partitions).map(move |number| Partition::new(Arc::clone(&name), number))
}

struct RateSource {
    speed: Speed,
    partitions: i32,
    mode: ReadMode,
    state: Mutex<State>,
}

/// What one query's checkpoint says beyond offsets.
#[derive(Clone, Debug, Default)]
struct State {
    /// When the query began, in milliseconds since 1970: the private file of Spark's source.
    created_millis: Option<i64>,
    /// Continuous: by partition, what times are counted from.
    marks: Vec<Mark>,
    /// Nothing is planned to end before this, even if the clock was set back.
    planned: Offset,
}

/// A partition's place in the checkpoint of a continuous query: the last value, and the time that it bears.
#[derive(Serialize, Deserialize)]
struct PartitionPlace {
    value: i64,
    #[serde(rename = "runTimeMs")]
    run_time_ms: i64,
}

impl RateSource {
    fn new(speed: Speed, partitions: i32, mode: ReadMode) -> Self {
        Self { speed, partitions, mode, state: Mutex::default() }
    }

    fn pace(&self) -> Pace {
        Pace { rows_per_second: self.speed.rows_per_second, partitions: self.partitions.into() }
    }

    fn all(&self) -> impl Iterator<Item = Partition> {
        numbered(FORMAT, self.partitions)
    }

    fn everywhere(&self, offset: Offset) -> SourceOffsets {
        self.all().map(|partition| (partition, offset)).collect()
    }

    /// By partition, the last value before `values` and the time `millis`.
    fn marks_at(&self, values: i64, millis: i64) -> Vec<Mark> {
        let count = i64::from(self.partitions);
        (0..count).map(|number| Mark { value: first_of(number, count, values) - count, millis }).collect()
    }

    fn next_values(&self, marks: &[Mark]) -> SourceOffsets {
        let next = marks.iter().map(|mark| mark.value.saturating_add(self.partitions.into()));
        self.all().zip(next).collect()
    }

    fn at_second(&self, second: i64) -> Result<SourceOffsets> {
        let max_second = self.speed.max_second();
        if !(0..=max_second).contains(&second) {
            return Err(damaged(format!(
                "it stands at second {second}; expected 0 to {max_second}, after which {} rowsPerSecond overflow 64 bits",
                self.speed.rows_per_second
            )));
        }
        let values = self.speed.values_until(second);
        let mut state = self.state.lock();
        state.planned = state.planned.max(values);
        match self.mode {
            ReadMode::MicroBatch => Ok(self.everywhere(values)),
            ReadMode::Continuous => {
                let created = state.created_millis.ok_or_else(no_start)?;
                state.marks = self.marks_at(values, created.saturating_add(second.saturating_mul(1000)));
                Ok(self.next_values(&state.marks))
            }
        }
    }

    fn at_places(&self, places: &BTreeMap<i32, PartitionPlace>) -> Result<SourceOffsets> {
        if !places.keys().copied().eq(0..self.partitions) {
            return Err(Error::new(
                ErrorKind::Checkpoint,
                format!(
                    "the rate source had {} partitions in the run before and has {} now; set option 'numPartitions' to {0}, or use a new checkpoint",
                    places.len(),
                    self.partitions
                ),
            ));
        }
        let count = i64::from(self.partitions);
        for (number, place) in places {
            if !(-count..=i64::MAX - count).contains(&place.value) {
                return Err(damaged(format!(
                    "partition {number} stands at value {}; expected {} to {}",
                    place.value,
                    -count,
                    i64::MAX - count
                )));
            }
            check_time(place.run_time_ms)?;
            if (place.value - i64::from(*number)).rem_euclid(count) != 0 {
                return Err(damaged(format!("partition {number} cannot have handed out {}", place.value)));
            }
        }
        let marks: Vec<Mark> =
            places.values().map(|place| Mark { value: place.value, millis: place.run_time_ms }).collect();
        let mut state = self.state.lock();
        // Spark's continuous source does not keep when it began; the first partition's pace tells it.
        if let Some(mark) = marks.first() {
            let since = self.pace().mark(Mark { value: -count, millis: 0 }, mark.value).millis;
            state.created_millis.get_or_insert(mark.millis - since);
        }
        state.planned = state.planned.max(marks.iter().map(|mark| mark.value + 1).max().unwrap_or(0));
        state.marks = marks;
        Ok(self.next_values(&state.marks))
    }
}

fn damaged(what: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Checkpoint, format!("offsets of a rate source: {what}"))
}

/// # Errors
/// No clock can have shown it.
fn check_time(millis: i64) -> Result<()> {
    if (0..=LAST_MILLIS).contains(&millis) {
        return Ok(());
    }
    Err(damaged(format!("it has the time {millis}; expected milliseconds since 1970, 0 to {LAST_MILLIS}")))
}

fn no_start() -> Error {
    damaged("the file sources/<number>/0 with the time at which the query began is missing; restore it")
}

impl fmt::Debug for RateSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RateSource").field(&self.description()).finish()
    }
}

#[async_trait]
impl Source for RateSource {
    fn description(&self) -> String {
        let Speed { rows_per_second, ramp_up_seconds } = self.speed;
        format!(
            "RateStreamV2[rowsPerSecond={rows_per_second}, rampUpTimeSeconds={ramp_up_seconds}, numPartitions={}]",
            self.partitions
        )
    }

    fn schema(&self) -> SchemaRef {
        reader::schema()
    }

    fn for_query(&self, mode: ReadMode) -> Result<Option<Arc<dyn Source>>> {
        Ok(Some(Arc::new(Self::new(self.speed, self.partitions, mode))))
    }

    fn own_start(&self) -> Option<String> {
        Some(now().to_string())
    }

    fn recall_start(&self, start: &str) -> Result<()> {
        let created = start.trim().parse().map_err(|_| {
            damaged(format!("the query began at '{start}'; expected milliseconds since 1970"))
        })?;
        check_time(created)?;
        self.state.lock().created_millis = Some(created);
        Ok(())
    }

    fn encode_offsets(&self, offsets: &SourceOffsets) -> String {
        match self.mode {
            // The seconds since the query began.
            ReadMode::MicroBatch => {
                let values = offsets.values().copied().max().unwrap_or_default();
                self.speed.first_second_with(values).to_string()
            }
            ReadMode::Continuous => {
                let (pace, state) = (self.pace(), self.state.lock());
                let place = |((partition, offset), last): ((&Partition, &Offset), &Mark)| {
                    let Mark { value, millis } = pace.mark(*last, offset - pace.partitions);
                    (partition.number, PartitionPlace { value, run_time_ms: millis })
                };
                let places: BTreeMap<i32, PartitionPlace> =
                    offsets.iter().zip(&state.marks).map(place).collect();
                serde_json::to_string(&places).unwrap_or_default()
            }
        }
    }

    fn decode_offsets(&self, line: &str) -> Result<SourceOffsets> {
        if let Ok(second) = line.trim().parse() {
            return self.at_second(second);
        }
        match serde_json::from_str(line) {
            Ok(places) => self.at_places(&places),
            Err(_) => Err(damaged(format!(
                r#"expected seconds, or JSON like {{"0":{{"value":7,"runTimeMs":1700000000000}}}}, got {line}"#
            ))),
        }
    }

    async fn initial_offsets(&self) -> Result<SourceOffsets> {
        self.at_second(0)
    }

    async fn latest_offsets(&self) -> Result<SourceOffsets> {
        let state = self.state.lock().clone();
        match self.mode {
            ReadMode::MicroBatch => {
                let elapsed = now() - state.created_millis.ok_or_else(no_start)?;
                let second = elapsed.div_euclid(1000).max(self.speed.first_second_with(state.planned));
                if second > self.speed.max_second() {
                    return Err(Error::usage(format!(
                        "{} rowsPerSecond overflow 64 bits after {} s, and the query is {second} s old; lower option 'rowsPerSecond' and use a new checkpoint",
                        self.speed.rows_per_second,
                        self.speed.max_second(),
                    )));
                }
                Ok(self.everywhere(self.speed.values_until(second)))
            }
            ReadMode::Continuous => {
                let (pace, now) = (self.pace(), now());
                Ok(self.all().zip(state.marks.iter().map(|mark| pace.next_after(*mark, now))).collect())
            }
        }
    }

    async fn resume_offsets(&self, committed: &SourceOffsets) -> Result<SourceOffsets> {
        Ok(committed.clone())
    }

    fn max_records_per_batch(&self) -> Option<u64> {
        None
    }

    async fn open(&self, request: ReadRequest) -> Result<Vec<Box<dyn PartitionReader>>> {
        let state = self.state.lock().clone();
        let mut readers: Vec<Box<dyn PartitionReader>> = Vec::with_capacity(request.start.len());
        for (number, (partition, start)) in request.start.into_iter().enumerate() {
            let times = match self.mode {
                ReadMode::MicroBatch => {
                    let created_millis = state.created_millis.ok_or_else(no_start)?;
                    Times::Spread { speed: self.speed, created_millis, batch: None }
                }
                ReadMode::Continuous => {
                    let last = state.marks.get(number).copied().ok_or_else(|| {
                        Error::internal(format!("partition {partition} of the rate source has no place"))
                    })?;
                    Times::Paced { pace: self.pace(), last, sleep: None }
                }
            };
            let count = self.partitions.into();
            readers.push(Box::new(RateReader::new(partition, count, start, &request.projection, times)?));
        }
        Ok(readers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(mode: ReadMode, partitions: i32) -> RateSource {
        let source = RateSource::new(Speed { rows_per_second: 6, ramp_up_seconds: 0 }, partitions, mode);
        source.recall_start("1000000").unwrap();
        source
    }

    fn offsets(values: &[i64]) -> SourceOffsets {
        numbered(FORMAT, values.len() as i32).zip(values.iter().copied()).collect()
    }

    #[test]
    fn each_mode_writes_sparks_form() {
        let batches = source(ReadMode::MicroBatch, 2);
        assert_eq!(batches.encode_offsets(&batches.decode_offsets("12").unwrap()), "12");
        let continuous = source(ReadMode::Continuous, 2);
        let line = r#"{"0":{"value":4,"runTimeMs":1000999},"1":{"value":-1,"runTimeMs":1000000}}"#;
        let decoded = continuous.decode_offsets(line).unwrap();
        assert_eq!(decoded, offsets(&[6, 1]));
        assert_eq!(continuous.encode_offsets(&decoded), line);
        let later = r#"{"0":{"value":8,"runTimeMs":1001665},"1":{"value":1,"runTimeMs":1000333}}"#;
        assert_eq!(continuous.encode_offsets(&offsets(&[10, 3])), later);
    }

    #[test]
    fn each_mode_reads_the_others_form() {
        let continuous = source(ReadMode::Continuous, 4);
        assert_eq!(continuous.decode_offsets("3").unwrap(), offsets(&[20, 21, 18, 19]));
        let batches = source(ReadMode::MicroBatch, 2);
        let line = r#"{"0":{"value":10,"runTimeMs":1002000},"1":{"value":7,"runTimeMs":1001333}}"#;
        assert_eq!(batches.decode_offsets(line).unwrap(), offsets(&[12, 9]));
    }

    #[test]
    fn a_checkpoint_of_sparks_continuous_source_tells_when_it_began() {
        let source =
            RateSource::new(Speed { rows_per_second: 2, ramp_up_seconds: 0 }, 2, ReadMode::MicroBatch);
        source
            .decode_offsets(r#"{"0":{"value":4,"runTimeMs":5003000},"1":{"value":-1,"runTimeMs":5000000}}"#)
            .unwrap();
        assert_eq!(source.state.lock().created_millis, Some(5_000_000));
    }

    #[test]
    fn what_is_no_place_of_this_source_is_refused() {
        let source = source(ReadMode::Continuous, 2);
        for (line, hint) in [
            ("-1", "second -1"),
            ("[]", "expected seconds"),
            (r#"{"0":{"value":0,"runTimeMs":1}}"#, "'numPartitions' to 1"),
            (r#"{"0":{"value":1,"runTimeMs":1},"1":{"value":1,"runTimeMs":1}}"#, "partition 0 cannot"),
        ] {
            let error = source.decode_offsets(line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Checkpoint);
            assert!(error.to_string().contains(hint), "{error}");
        }
    }

    #[test]
    fn a_checkpoint_beyond_the_end_of_the_numbers_is_refused() {
        let source =
            RateSource::new(Speed { rows_per_second: 100, ramp_up_seconds: 2 }, 1, ReadMode::MicroBatch);
        source.decode_offsets("92233720368547758").unwrap();
        for second in [92_233_720_368_547_759, i64::MAX] {
            let error = source.decode_offsets(&second.to_string()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Checkpoint);
            let text = error.to_string();
            assert!(text.contains(&format!("second {second};")), "{text}");
            assert!(text.contains("0 to 92233720368547758, after which 100 rowsPerSecond"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_query_that_outlives_the_numbers_is_told_so() {
        let source =
            RateSource::new(Speed { rows_per_second: i64::MAX, ramp_up_seconds: 0 }, 1, ReadMode::MicroBatch);
        source.recall_start(&(now() - 2000).to_string()).unwrap();
        let error = source.latest_offsets().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(
            error.to_string().contains("9223372036854775807 rowsPerSecond overflow 64 bits after 1 s"),
            "{error}"
        );
    }

    #[test]
    fn what_is_wrong_with_options_is_named() {
        for (name, value, hint) in [
            ("rowsPerSecond", "0", "greater than 0"),
            ("rowsPerSecond", "9223372036854775808", "64 bits"),
            ("numPartitions", "-1", "greater than 0"),
            ("rampUpTime", "-1s", "not a time span"),
            ("rampUpTime", "9223372036854775807", "overflow"),
            ("rowsPerMinute", "1", "rowsPerSecond"),
        ] {
            let mut options: Options = [("rowsPerSecond", "10")].into_iter().collect();
            options.set(name, value);
            let error = RateProvider.source(&options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains(name) && error.to_string().contains(hint), "{error}");
        }
    }
}
