//! Options of a source, a sink or a query, as Spark's readers and writers take them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::secrets::shown;

/// Named text values. Names are case-insensitive, as in Spark; of two values for one name the later holds.
///
/// `Debug` hides the values of names that look like secrets, and logins and queries in URLs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options {
    by_lower_name: BTreeMap<String, Entry>,
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    value: String,
}

impl Options {
    /// No options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `name` to `value`.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        self.by_lower_name.insert(name.to_ascii_lowercase(), Entry { name, value: value.into() });
    }

    /// Sets `name` to `value` unless it has a value.
    pub fn set_default(&mut self, name: &str, value: impl Into<String>) {
        if self.get(name).is_none() {
            self.set(name, value);
        }
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.by_lower_name.get(&name.to_ascii_lowercase()).map(|entry| entry.value.as_str())
    }

    /// Names (as written) and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_lower_name.values().map(|entry| (entry.name.as_str(), entry.value.as_str()))
    }

    /// Names that start with `prefix` (any case), without it, in lower case; and their values.
    pub(crate) fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.by_lower_name.iter().filter_map(move |(name, entry)| {
            name.strip_prefix(prefix).map(|rest| (rest, entry.value.as_str()))
        })
    }

    /// The options whose names do not start with `prefix`.
    pub(crate) fn without_prefix(&self, prefix: &str) -> Self {
        let others = self.by_lower_name.iter().filter(|(name, _)| !name.starts_with(prefix));
        Self { by_lower_name: others.map(|(name, entry)| (name.clone(), entry.clone())).collect() }
    }

    /// The value of `name` as a `T`; `expected` completes "expected …" in the error.
    pub(crate) fn parse<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        value.trim().parse().map(Some).map_err(|_| invalid(name, value, expected))
    }

    /// The value of `name` as a number greater than zero.
    pub(crate) fn positive(&self, name: &str) -> Result<Option<u64>> {
        match self.parse::<u64>(name, "a whole number greater than 0")? {
            Some(0) => Err(invalid(name, "0", "a whole number greater than 0")),
            number => Ok(number),
        }
    }

    /// The value of `name` as `true` or `false`, in any case.
    pub(crate) fn boolean(&self, name: &str, default: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(value) if value.trim().eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.trim().eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => Err(invalid(name, value, "true or false")),
        }
    }

    /// Refuses the first name that is neither in `known` nor starts with one of `prefixes`.
    pub(crate) fn check_known(&self, owner: &str, known: &[&str], prefixes: &[&str]) -> Result<()> {
        for (lower, entry) in &self.by_lower_name {
            let is_known = known.iter().any(|name| name.eq_ignore_ascii_case(lower))
                || prefixes.iter().any(|prefix| lower.starts_with(prefix));
            if !is_known {
                let meant = nearest(lower, known.iter().copied());
                let meant = meant.map_or_else(String::new, |name| format!(" (did you mean '{name}'?)"));
                let takes: Vec<String> = known
                    .iter()
                    .map(|name| (*name).to_owned())
                    .chain(prefixes.iter().map(|prefix| format!("{prefix}*")))
                    .collect();
                let takes = if takes.is_empty() { "none".to_owned() } else { takes.join(", ") };
                return Err(Error::usage(format!(
                    "option '{}' is not known to {owner}{meant}; it takes {takes}",
                    entry.name,
                )));
            }
        }
        Ok(())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Options {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        let mut options = Self::new();
        for (name, value) in entries {
            options.set(name, value);
        }
        options
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(name, value)| (name, shown(name, value)));
        f.debug_map().entries(shown).finish()
    }
}

/// The name that `name` was probably meant to be: the one that differs in the fewest letters, if in few.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.to_ascii_lowercase().chars().collect();
    let distances = known.into_iter().map(|known| (edit_distance(&name, &known.to_ascii_lowercase()), known));
    let (distance, known) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + name.len() / 5).then_some(known)
}

/// How many letters must be put in, taken out or changed (Levenshtein).
fn edit_distance(a: &[char], b: &str) -> usize {
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (from, in_b) in (1..).zip(b.chars()) {
        let mut diagonal = from - 1;
        let mut left = from;
        for (above, in_a) in row.iter_mut().zip(std::iter::once(None).chain(a.iter().map(Some))) {
            let cost = match in_a {
                None => from,
                Some(in_a) => (diagonal + usize::from(*in_a != in_b)).min(left + 1).min(*above + 1),
            };
            diagonal = std::mem::replace(above, cost);
            left = cost;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// "option 'x' has the value 'y'; expected …", with secrets hidden.
pub(crate) fn invalid(name: &str, value: &str, expected: &str) -> Error {
    let shown = shown(name, value);
    Error::usage(format!("option '{name}' has the value '{shown}'; expected {expected}"))
}

/// Parses a time span as Spark's triggers take it: `500ms`, `1s`, `1 second`, `5 minutes`; a bare `0` is no time.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let trimmed = text.trim();
    let refuse = || {
        Error::usage(format!(
            "'{text}' is not a time span; write a number and a unit, such as 100ms, 1s, '5 seconds' or '2 minutes'"
        ))
    };
    let digits_end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits_end);
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let millis_per_unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" if number == 0 => 1,
        "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        "month" | "months" | "year" | "years" => {
            return Err(Error::usage(format!("'{text}': months and years have no fixed length; use days")));
        }
        _ => return Err(refuse()),
    };
    number.checked_mul(millis_per_unit).map(Duration::from_millis).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_case_insensitive_and_the_later_value_holds() {
        let options: Options =
            [("startingOffsets", "latest"), ("STARTINGOFFSETS", "earliest")].into_iter().collect();
        assert_eq!(options.get("startingoffsets"), Some("earliest"));
        assert_eq!(options.iter().count(), 1);
    }

    #[test]
    fn debug_hides_secrets() {
        let options: Options =
            [("kafka.sasl.password", "hunter2"), ("subscribe", "in")].into_iter().collect();
        let shown = format!("{options:?}");
        assert!(shown.contains("subscribe") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let options: Options = [("subscirbe", "in")].into_iter().collect();
        let error = options.check_known("the Kafka source", &["subscribe"], &["kafka."]).unwrap_err();
        assert!(
            error.to_string().contains("'subscirbe'") && error.to_string().contains("subscribe, kafka.*"),
            "{error}"
        );
        assert!(error.to_string().contains("did you mean 'subscribe'?"), "{error}");
    }

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["startingOffsets", "startingTimestamp", "subscribe", "topic"];
        for (name, meant) in [
            ("startingOffset", Some("startingOffsets")),
            ("STARTING_TIMESTAMP", Some("startingTimestamp")),
            ("tpoic", Some("topic")),
            ("topics", Some("topic")),
            ("tropical", None),
            ("x", None),
        ] {
            assert_eq!(nearest(name, known), meant, "{name}");
        }
        assert_eq!(edit_distance(&['k', 'i', 't', 't', 'e', 'n'], "sitting"), 3);
    }

    #[test]
    fn durations_in_the_forms_that_spark_takes() {
        for (text, millis) in [
            ("0", 0),
            ("100ms", 100),
            ("1s", 1000),
            (" 5 seconds ", 5000),
            ("2 Minutes", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for text in ["", "s", "-1s", "5", "1 month", "1.5s", "99999999999999999999s", "18446744073709551615h"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
