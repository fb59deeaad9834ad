//! From SQL text to statements. A message of the parser quotes the word at fault, which may be a password.

use std::collections::VecDeque;

use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::sql::parser::{DFParser, Statement};

use crate::error::{Error, ErrorKind, Result};
use crate::secrets::names_a_secret;

/// The statements of a pipeline.
///
/// # Errors
/// They do not parse.
pub(super) fn statements(sql: &str) -> Result<VecDeque<Statement>> {
    DFParser::parse_sql(sql).map_err(|error| not_parsed(sql, error))
}

/// The one statement that `sql` is.
///
/// # Errors
/// It does not parse, or is more than one.
pub(super) fn statement(state: &SessionState, sql: &str) -> Result<Statement> {
    let parsed = state.sql_to_statement(sql, &state.config().options().sql_parser.dialect);
    parsed.map_err(|error| not_parsed(sql, error))
}

/// The parser's error, without the word that it met if the text before it, or the word itself, has to do with a secret.
fn not_parsed(sql: &str, error: DataFusionError) -> Error {
    if !names_a_secret(sql) {
        return error.into();
    }
    // Without its source, which would say it all.
    Error::new(ErrorKind::Query, without_words_of(sql, &Error::from(error).to_string()))
}

/// What stands in quotes or after "found:", and each word that comes after the name of a secret.
fn without_words_of(sql: &str, message: &str) -> String {
    const FOUND: &str = "found: ";
    let mut shown = match (message.find(FOUND), message.rfind(" at Line:")) {
        (Some(start), Some(end)) if start + FOUND.len() < end => {
            let word = &message[start + FOUND.len()..end];
            let is_plain = word == "EOF" || !word.contains(char::is_alphanumeric);
            let word = if is_plain { word } else { "…" };
            format!("{}{word}{}", &message[..start + FOUND.len()], &message[end..])
        }
        _ => message.to_owned(),
    };
    let is_between = |c: char| c.is_whitespace() || "'\"(),;=\\".contains(c);
    let mut after_secret = false;
    for word in sql.split(is_between).filter(|word| word.len() > 3) {
        if names_a_secret(word) {
            after_secret = true;
        } else if after_secret && !is_of_the_language(word) {
            shown = shown.replace(word, "…");
        }
    }
    shown
}

/// Words of SQL, which the parser names when it wants one.
fn is_of_the_language(word: &str) -> bool {
    use datafusion::sql::sqlparser::keywords::ALL_KEYWORDS;
    ALL_KEYWORDS.binary_search(&word.to_ascii_uppercase().as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(sql: &str) -> String {
        statements(sql).unwrap_err().to_string()
    }

    #[test]
    fn the_word_at_fault_is_named_unless_it_may_be_a_secret() {
        let message = error("SELEC value FROM t");
        assert!(message.contains("SELEC"), "{message}");
        for options in [
            "'kafka.sasl.password' hunter2",
            "'kafka.sasl.password' 'it''s' hunter2",
            "'kafka.sasl.password' 'don't hunter2'",
            "'kafka.sasl.password', 'hunter2'",
            "'kafka.sasl.password' = hunter2'",
            "kafka.sasl.password hunter2",
            "'kafka.sasl.jaas.config' 'x password='hunter2';'",
            "'kafka.ssl.key.pem' '-----BEGIN' hunter2 '-----END'",
            "'kafka.sasl.password' 'a' 'subscribe' 'hunter2'",
            "'kafka.sasl.password' \"hunter2\"",
            "'kafka.sasl.password' 'hunter2",
            "'kafka.sasl.password' $hunter2$",
            "'kafka.sasl.password' 'a', 'kafka.sasl.password' 'hunter2', 'x' 'y'",
        ] {
            let sql = format!("CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'x' OPTIONS ({options});");
            if let Err(error) = statements(&sql) {
                let message = format!("{error} {error:?}");
                assert!(!message.contains("hunter2") && message.contains("Error"), "{options}: {message}");
                assert!(std::error::Error::source(&error).is_none());
            }
        }
        let sql = "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'x' OPTIONS ('kafka.sasl.password' 'x'); SELEC 1";
        let message = error(sql);
        assert!(message.contains("found: … at Line: 1"), "{message}");
    }
}
