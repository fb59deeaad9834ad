//! What SQL text may reach: an allow-list of folders, files and URLs.
//!
//! `place.rs` decides, and does no I/O; `disk.rs` looks where a path leads; `Access` brings the two together.

mod disk;
mod place;

use std::path::Path;

pub(crate) use self::disk::without_parent_steps;
use self::place::{Asked, Place};
use crate::error::{Error, Result};
use crate::secrets::without_secrets;

/// What an option, or another part of a SQL text, reaches beyond the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach<'a> {
    /// A file or folder, or a URL where files are.
    File(&'a str),
    /// A file by its path, even if it looks like a URL.
    Path(&'a str),
    /// A server that is no broker.
    Url(&'a str),
    /// Brokers, separated by commas.
    Brokers(&'a str),
    /// What no list can allow, and why.
    Never(&'static str),
}

/// What the SQL text of a session may reach.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    is_unlimited: bool,
    allowed: Vec<Place>,
}

impl Access {
    /// Lifts the limit: whoever writes the SQL may do what the process may.
    pub(crate) fn lift(&mut self) {
        self.is_unlimited = true;
    }

    pub(crate) fn is_unlimited(&self) -> bool {
        self.is_unlimited
    }

    /// Adds a folder or file with all that is in it, the beginning of a URL, or brokers as `kafka://host:port`.
    ///
    /// # Errors
    /// It is none of these.
    pub(crate) fn allow(&mut self, location: &str) -> Result<()> {
        let unusable = |reason: &str| {
            Error::usage(format!("'{}' cannot be allowed as a location: {reason}", without_secrets(location)))
        };
        let places = match place::parse(location).map_err(unusable)? {
            Asked::Path(path) => {
                let path = disk::resolve(&path).map_err(|error| unusable(&error.to_string()))?;
                vec![Place::Folder(path)]
            }
            Asked::Remote(remote) => vec![Place::Remote(remote)],
            Asked::Brokers(brokers) => brokers.into_iter().map(Place::Broker).collect(),
        };
        self.allowed.extend(places);
        Ok(())
    }

    /// Refuses what the list does not allow. `what` names it in the message, such as `option 'path'`. Looks where paths lead,
    /// and for links within a folder.
    ///
    /// # Errors
    /// It is not allowed, or cannot be told to be.
    pub(crate) fn check(&self, what: &str, reach: Reach<'_>) -> Result<()> {
        if self.is_unlimited {
            return Ok(());
        }
        match reach {
            Reach::Never(reason) => Err(Error::usage(format!(
                "{what} cannot come from SQL text: {reason}; a program may set it with read_stream().option(…) or \
                 write_stream().option(…)"
            ))),
            Reach::Brokers(brokers) => self.check_brokers(what, brokers),
            Reach::Path(path) => self.check_path(what, path, Path::new(path)),
            Reach::File(location) | Reach::Url(location) => {
                let asked = place::parse(location).map_err(|reason| refused(what, location, reason))?;
                match (asked, reach) {
                    (Asked::Path(path), Reach::File(_)) => self.check_path(what, location, &path),
                    (Asked::Remote(remote), _) if self.allows(&Place::Remote(remote.clone())) => Ok(()),
                    _ => Err(not_allowed(what, location)),
                }
            }
        }
    }

    /// With brokers in the list only these; without, all: what a client may do with a broker is for the broker to say.
    fn check_brokers(&self, what: &str, brokers: &str) -> Result<()> {
        // A login has no place there, and is not to be shown.
        let shown = brokers.rsplit_once('@').map_or(brokers, |(_, address)| address);
        let asked = place::brokers(brokers).map_err(|reason| refused(what, shown, reason))?;
        let is_limited = self.allowed.iter().any(|place| matches!(place, Place::Broker(_)));
        match asked.into_iter().find(|broker| is_limited && !self.allows(&Place::Broker(broker.clone()))) {
            Some(broker) => Err(not_allowed(what, &format!("kafka://{broker}"))),
            None => Ok(()),
        }
    }

    fn check_path(&self, what: &str, location: &str, path: &Path) -> Result<()> {
        let is_allowed = |path: &Path| self.allows(&Place::Folder(path.to_owned()));
        // As it stands, which a sink takes it for, and what a reader takes for the folder before a pattern. Some take `..`
        // after following the links before it, others before.
        let readings = [Some(path.to_owned()), place::before_pattern(path)].into_iter().flatten();
        for path in readings.flat_map(|path| [place::without_parent_steps(&path), Some(path)]).flatten() {
            match disk::resolve(&path) {
                Ok(leads_to) if !is_allowed(&leads_to) => return Err(not_allowed(what, location)),
                Ok(leads_to) => {
                    if let Some(link) = disk::leaving_link(&leads_to, &is_allowed) {
                        let link = link.display();
                        let error = not_allowed(what, location);
                        return Err(error.context(format!("the link {link} leads out of what is allowed")));
                    }
                }
                Err(error) => return Err(refused(what, location, &error.to_string())),
            }
        }
        Ok(())
    }

    fn allows(&self, asked: &Place) -> bool {
        self.allowed.iter().any(|allowed| allowed.contains(asked))
    }
}

fn not_allowed(what: &str, location: &str) -> Error {
    let shown = without_secrets(location);
    Error::usage(format!(
        "{what} names {shown}, and SQL text may reach only what it was given: allow it with --allow {shown}, in a program \
         with StreamSession::builder().allow_location(\"{shown}\")"
    ))
}

fn refused(what: &str, location: &str, reason: &str) -> Error {
    Error::usage(format!("{what} names '{}', which cannot be allowed: {reason}", without_secrets(location)))
}

#[cfg(test)]
mod tests;
