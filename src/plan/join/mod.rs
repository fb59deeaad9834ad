//! Joins of a stream with a static side: a table, a view or a subquery that ends.
//!
//! DataFusion's own joins read their static side once and for ever, and collect rows until a batch is full. Here each
//! batch of the stream is joined at once with the rows that the static side has then. `node.rs` puts these joins into a
//! plan, `side.rs` loads the static side, `index.rs` finds its rows by key, `exec.rs` joins.

mod exec;
mod index;
mod node;
mod side;

pub(crate) use self::exec::StaticJoinExec;
pub(crate) use self::node::{StaticJoinPlanner, replace_joins, supported_kind};
pub(crate) use self::side::StaticSide;

/// What comes out for a row of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// One row for each match.
    Inner,
    /// The same, and the row with nulls where nothing matches.
    Outer,
    /// The row, once, if something matches (`IN`, `EXISTS`).
    Semi,
    /// The row if nothing matches (`NOT EXISTS`).
    Anti,
    /// The row if its key is certain not to be there: `NOT IN`, where a null may be anything.
    NotIn,
    /// The row, and whether something matches.
    Mark,
}
