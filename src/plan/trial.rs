//! Which of the records at the leaf of a pipeline went through, and which cannot.
//!
//! An operator that fails fails for a whole batch. The leaf then hands the batch out again in halves, and a half that
//! fails in halves, until the record at fault stands alone. What an operator makes of a piece counts only when the leaf
//! is asked for more: then all of it is out. Until the pipeline's driver has judged it, the leaf hands out nothing else.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use parking_lot::Mutex;

use crate::epoch::Offset;

/// Records in a row, in the columns that the reader has built.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) rows: RecordBatch,
    /// Of the first record, if the offsets between it and the last have one each.
    pub(crate) first: Offset,
}

/// Shared by the leaf, which asks, and the driver, which judges. Both run in the pipeline's task.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Handed out and not judged.
    current: Option<Piece>,
    /// Whether the leaf was asked for more since.
    is_through: bool,
    /// To be handed out again, in order.
    rest: VecDeque<Piece>,
}

/// What the leaf has to do when it is asked for more.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing: the last piece is to be judged first.
    Wait,
    HandOut(RecordBatch),
    /// Read on.
    Read,
}

impl Trial {
    pub(super) fn next(&self) -> Next {
        let mut state = self.state.lock();
        if state.current.is_some() {
            state.is_through = true;
            return Next::Wait;
        }
        match state.rest.pop_front() {
            Some(piece) => {
                let rows = piece.rows.clone();
                state.current = Some(piece);
                Next::HandOut(rows)
            }
            None => Next::Read,
        }
    }

    /// The leaf hands out what it has read.
    pub(super) fn begin(&self, rows: RecordBatch, first: Offset) {
        self.state.lock().current = Some(Piece { rows, first });
    }

    /// Whether a piece was handed out and is not judged.
    pub(crate) fn is_under_way(&self) -> bool {
        self.state.lock().current.is_some()
    }

    /// Whether operators are done with a piece, in one way or the other.
    pub(crate) fn is_through(&self) -> bool {
        self.state.lock().is_through
    }

    /// The piece is done with. Poll the pipeline afterwards: nothing else wakes it.
    pub(crate) fn accept(&self) {
        let mut state = self.state.lock();
        state.current = None;
        state.is_through = false;
    }

    /// The piece failed: its halves are tried next. A single record is handed back instead, and is done with.
    pub(crate) fn split(&self) -> Option<Piece> {
        let mut state = self.state.lock();
        state.is_through = false;
        let Piece { rows, first } = state.current.take()?;
        let count = rows.num_rows();
        if count <= 1 {
            return Some(Piece { rows, first });
        }
        let half = count / 2;
        let after = first.saturating_add(Offset::try_from(half).unwrap_or(Offset::MAX));
        state.rest.push_front(Piece { rows: rows.slice(half, count - half), first: after });
        state.rest.push_front(Piece { rows: rows.slice(0, half), first });
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int32Array};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn batch(numbers: std::ops::Range<i32>) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from_iter_values(numbers)) as _)]).unwrap()
    }

    fn numbers(rows: &RecordBatch) -> Vec<i32> {
        rows.column(0).as_primitive::<Int32Type>().values().to_vec()
    }

    /// Plays leaf and driver over a batch in which `bad` fail: what passed, what was found, in how many tries.
    fn run(count: i32, bad: &[i32]) -> (Vec<i32>, Vec<(i32, Offset)>, usize) {
        let trial = Trial::default();
        let (mut passed, mut found, mut tries) = (Vec::new(), Vec::new(), 0);
        trial.begin(batch(0..count), 100);
        let mut piece = batch(0..count);
        loop {
            assert!(matches!(trial.next(), Next::Wait) && trial.is_through());
            tries += 1;
            if numbers(&piece).iter().any(|number| bad.contains(number)) {
                if let Some(alone) = trial.split() {
                    found.push((numbers(&alone.rows)[0], alone.first));
                }
            } else {
                passed.extend(numbers(&piece));
                trial.accept();
            }
            match trial.next() {
                Next::HandOut(rows) => piece = rows,
                Next::Read => return (passed, found, tries),
                Next::Wait => panic!("judged already"),
            }
        }
    }

    #[test]
    fn one_bad_record_among_ten_thousand_costs_only_itself() {
        let (passed, found, tries) = run(10_000, &[7_777]);
        assert_eq!(found, [(7_777, 7_877)]);
        assert_eq!(passed, (0..10_000).filter(|n| *n != 7_777).collect::<Vec<_>>());
        assert!(tries < 30, "{tries}");
    }

    #[test]
    fn any_records_may_be_bad_and_the_others_keep_their_order() {
        for bad in [&[][..], &[0], &[4], &[0, 1, 2, 3, 4], &[1, 3]] {
            let (passed, found, _) = run(5, bad);
            assert_eq!(passed, (0..5).filter(|n| !bad.contains(n)).collect::<Vec<_>>());
            assert_eq!(found, bad.iter().map(|n| (*n, 100 + Offset::from(*n))).collect::<Vec<_>>());
        }
    }
}
