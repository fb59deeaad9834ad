//! What SQL text may reach, and what must not be shown.

mod attacks;
mod panics;
mod secrets;
mod secrets_at_work;

use crate::support::engine::{Ended, Engine};

async fn ended(args: &[&str]) -> Ended {
    Engine::start(args).ended().await
}
