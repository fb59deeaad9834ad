//! `StreamSession::builder()`: what is decided before a session is there.

use std::fmt;

use datafusion::prelude::SessionConfig;

use super::StreamSession;
use crate::access::Access;
use crate::error::Result;

/// Describes a session: DataFusion's configuration, and which places SQL text may reach.
///
/// SQL text reaches no file and no URL unless it is allowed here. That holds for [`StreamSession::sql`] and
/// [`StreamSession::pipeline`]: `LOCATION`, `COPY TO`, options that name files or servers. What the program itself says, with
/// options of readers and writers or in DataFusion's own context, is not limited, and the tables that it registers can be
/// read by any SQL.
///
/// ```no_run
/// # async fn example() -> epochflow::Result<()> {
/// use epochflow::StreamSession;
///
/// let session = StreamSession::builder()
///     .allow_location("/data/parts")
///     .allow_location("s3://bucket/out")
///     .build()?;
/// session.sql("CREATE EXTERNAL TABLE parts STORED AS CSV LOCATION '/data/parts/'").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use = "the session is there after build()"]
pub struct StreamSessionBuilder {
    config: SessionConfig,
    locations: Vec<String>,
    allows_all: bool,
}

impl fmt::Debug for StreamSessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSessionBuilder")
            .field("locations", &self.locations.len())
            .field("allows_all", &self.allows_all)
            .finish_non_exhaustive()
    }
}

impl StreamSessionBuilder {
    /// DataFusion's configuration; what endless input needs to be otherwise is set.
    pub fn config(mut self, config: SessionConfig) -> Self {
        self.config = config;
        self
    }

    /// Lets SQL text reach a file, a folder with all that is in it, or what lies beneath a URL. With `kafka://host:port` it
    /// reaches only such brokers; without any, all.
    pub fn allow_location(mut self, location: impl fmt::Display) -> Self {
        self.locations.push(location.to_string());
        self
    }

    /// Lets SQL text reach whatever the process can, and give clients every setting, also those that load code: for programs
    /// that write all of the SQL themselves.
    pub fn allow_all_locations(mut self) -> Self {
        self.allows_all = true;
        self
    }

    /// The session.
    ///
    /// # Errors
    /// A location is neither a path nor a URL, or the engine's threads cannot be started.
    pub fn build(self) -> Result<StreamSession> {
        let mut access = Access::default();
        self.locations.iter().try_for_each(|location| access.allow(location))?;
        if self.allows_all {
            access.lift();
        }
        StreamSession::with_access(self.config, access)
    }
}
