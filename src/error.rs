//! One error type; its kind says what to do about it, and exit codes and restarts follow from the kind.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::epoch::SourceRange;
use crate::secrets::without_secrets;

/// What helps against an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Change the option, argument or call: it can never be accepted as it is.
    Usage,
    /// Change the SQL: it does not parse, does not type-check, or asks for an operation the trigger lacks.
    Query,
    /// Mend the surroundings: a broker, topic, credential, disk or permission is not as the query needs it.
    Environment,
    /// Try again: the same call may succeed later.
    Transient,
    /// Decide about lost data: records that the checkpoint still needs are no longer in Kafka.
    DataLoss,
    /// Repair or replace the checkpoint: its content is damaged, foreign or of a newer version.
    Checkpoint,
    /// Stop one of two: another query writes to the same checkpoint.
    Fenced,
    /// A record or row could not be processed.
    Data,
    /// Report a bug in epochflow.
    Internal,
}

/// Anything that can go wrong. The message names what was wrong, its value, and the remedy.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    records: Option<SourceRange>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Result with epochflow's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind. Of URLs in the message logins and queries are left out.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: without_secrets(&message.into()), records: None, source: None }
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Puts `context` in front of the message, as in `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = without_secrets(&format!("{context}: {}", self.message));
        self
    }

    /// Says which records of a source it is about. What was said first, and so nearest to the cause, holds.
    #[must_use]
    pub fn at(mut self, records: &SourceRange) -> Self {
        self.records.get_or_insert_with(|| records.clone());
        self
    }

    /// The records that it is about: those of one batch, and so often just one.
    pub fn records(&self) -> Option<&SourceRange> {
        self.records.as_ref()
    }

    /// What helps against it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    pub(crate) fn query(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Query, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(records) = &self.records {
            write!(f, "{records}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Carries an epochflow error through DataFusion and takes it out unchanged on the other side.
impl From<Error> for datafusion::error::DataFusionError {
    fn from(error: Error) -> Self {
        datafusion::error::DataFusionError::External(Box::new(error))
    }
}

impl From<datafusion::error::DataFusionError> for Error {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        use datafusion::error::DataFusionError as D;
        let message = || plain(&error);
        match error.find_root() {
            D::External(inner) => {
                if let Some(own) = inner.downcast_ref::<Error>() {
                    return own.clone();
                }
            }
            D::ResourcesExhausted(_) | D::ObjectStore(_) | D::IoError(_) => {
                return Error::new(ErrorKind::Environment, message()).with_source(error);
            }
            D::Internal(_) => return Error::internal(message()).with_source(error),
            D::Execution(_) | D::ArrowError(..) => {
                return Error::new(ErrorKind::Data, message()).with_source(error);
            }
            _ => {}
        }
        Error::query(message()).with_source(error)
    }
}

/// DataFusion's message on one line, without its words for its own layers.
fn plain(error: &datafusion::error::DataFusionError) -> String {
    error.strip_backtrace().replace("\ncaused by\n", ": ").replace("External error: ", "")
}
