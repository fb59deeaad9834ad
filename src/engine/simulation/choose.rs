//! Who decides what happens in a simulated schedule: all that can, one after the other, or chance.

use rand::Rng as _;
use rand::rngs::StdRng;

/// Makes the decisions that a schedule consists of.
pub(super) trait Choose: Send + 'static {
    /// One of `0..of`.
    fn choose(&mut self, of: usize) -> usize;
    /// One of `0..of`, where 0 is no crash.
    fn crash(&mut self, of: usize) -> usize;
    /// Which of so many pieces of work that can be done is done next; `None`: the clock ticks, or a stop comes.
    fn next_work(&mut self, of: usize) -> Option<usize>;
    fn is_stop(&mut self) -> bool;
}

/// Goes through all triggers of all runs and all places for up to `crashes` crashes: counts up in the choices that turned
/// up last time. Work is done in order, with a tick after each piece if epochs are to overlap.
#[derive(Debug)]
pub(super) struct Exhaustive {
    overlap: bool,
    is_tick_due: bool,
    taken: Vec<(usize, usize)>,
    at: usize,
    crashes: usize,
    crashes_left: usize,
}

impl Exhaustive {
    pub(super) fn new(crashes: usize, overlap: bool) -> Self {
        let (taken, at) = (Vec::new(), 0);
        Self { overlap, is_tick_due: false, taken, at, crashes, crashes_left: crashes }
    }

    /// The next schedule; whether there is one.
    pub(super) fn advance(&mut self) -> bool {
        (self.at, self.crashes_left, self.is_tick_due) = (0, self.crashes, false);
        while let Some((taken, of)) = self.taken.pop() {
            if taken + 1 < of {
                self.taken.push((taken + 1, of));
                return true;
            }
        }
        false
    }
}

impl Choose for Exhaustive {
    fn choose(&mut self, of: usize) -> usize {
        if self.at == self.taken.len() {
            self.taken.push((0, of));
        }
        self.at += 1;
        self.taken[self.at - 1].0
    }

    fn crash(&mut self, of: usize) -> usize {
        let crash = if self.crashes_left > 0 { self.choose(of) } else { 0 };
        self.crashes_left -= usize::from(crash > 0);
        crash
    }

    fn next_work(&mut self, of: usize) -> Option<usize> {
        self.is_tick_due = self.overlap && !self.is_tick_due;
        (of > 0 && !self.is_tick_due).then_some(0)
    }

    fn is_stop(&mut self) -> bool {
        false
    }
}

impl Choose for StdRng {
    fn choose(&mut self, of: usize) -> usize {
        self.random_range(0..of)
    }

    fn crash(&mut self, of: usize) -> usize {
        if self.random_ratio(1, 12) { self.random_range(1..of) } else { 0 }
    }

    fn next_work(&mut self, of: usize) -> Option<usize> {
        (of > 0 && self.random_ratio(3, 4)).then(|| self.random_range(0..of))
    }

    fn is_stop(&mut self) -> bool {
        self.random_ratio(1, 16)
    }
}
