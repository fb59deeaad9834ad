//! How deep a statement nests, told from its words: parser, planner and operators all call themselves once a level, and so
//! does what frees a statement, until the stack ends and with it the process.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{Error, Result};

/// Operations within each other at most. A level may take tens of KiB of the stack that `panics.rs` gives.
const MAX_DEPTH: usize = 250;

/// One pair of parentheses, or `CASE … END`.
#[derive(Default)]
struct Level {
    /// Operators since the expression began: each holds those before it.
    operators: usize,
    /// Joins and unions, which go on from one expression to the next.
    relations: usize,
    is_from: bool,
}

/// Refuses text that nests too deep to be parsed. What is no SQL passes: that is for the parser to say.
///
/// # Errors
/// It nests too deep.
pub(super) fn check(sql: &str) -> Result<()> {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else { return Ok(()) };
    let mut levels = vec![Level::default()];
    // Of the levels around the current one.
    let mut around = 0;
    for token in tokens {
        let Some(level) = levels.last_mut() else { return Ok(()) };
        match &token {
            Token::Whitespace(_) => continue,
            Token::SemiColon => {
                levels = vec![Level::default()];
                around = 0;
                continue;
            }
            Token::LParen | Token::LBrace => {
                around += level.depth() + 1;
                levels.push(Level::default());
            }
            Token::RParen | Token::RBrace => around = close(&mut levels, around),
            Token::Comma if level.is_from => level.relations += 1,
            Token::Comma => level.operators = 0,
            Token::Word(word) => match word.keyword {
                Keyword::CASE => {
                    around += level.depth() + 1;
                    levels.push(Level::default());
                }
                Keyword::END => around = close(&mut levels, around),
                Keyword::JOIN | Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => {
                    level.relations += 1;
                    level.operators = 0;
                }
                Keyword::FROM => (level.is_from, level.operators) = (true, 0),
                Keyword::SELECT | Keyword::WHERE | Keyword::GROUP | Keyword::HAVING | Keyword::ORDER => {
                    (level.is_from, level.operators) = (false, 0);
                }
                Keyword::ON | Keyword::WHEN | Keyword::THEN | Keyword::ELSE => level.operators = 0,
                Keyword::AND | Keyword::OR | Keyword::NOT | Keyword::IS | Keyword::LIKE | Keyword::IN => {
                    level.operators += 1;
                }
                _ => {}
            },
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Placeholder(_)
            | Token::RBracket
            | Token::Period
            | Token::EOF => {}
            // Brackets of a subscript, a cast, and all other operators.
            _ => level.operators += 1,
        }
        let depth = around + levels.last().map_or(0, Level::depth);
        if depth > MAX_DEPTH {
            return Err(Error::query(format!(
                "a statement has more than {MAX_DEPTH} operations within each other; write IN (…) instead of many ORs, \
                 concat(…) instead of many ||, or give parts of it a name with CREATE VIEW"
            )));
        }
    }
    Ok(())
}

impl Level {
    fn depth(&self) -> usize {
        self.operators + self.relations
    }
}

/// Leaves a level; what is around the one outside.
fn close(levels: &mut Vec<Level>, around: usize) -> usize {
    if levels.len() < 2 {
        return around;
    }
    levels.pop();
    around - levels.last().map_or(0, |level| level.depth() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_passes() {
        let columns: Vec<_> = (0..2000).map(|n| format!("a{n} + 1 AS b{n}")).collect();
        let names: Vec<_> = (0..5000).map(|n| n.to_string()).collect();
        for sql in [
            format!("SELECT {} FROM t", columns.join(", ")),
            format!("SELECT a FROM t WHERE a IN ({})", names.join(", ")),
            format!("SELECT concat({}) FROM t", vec!["a"; 5000].join(", ")),
            format!("SELECT {} FROM t", vec!["a"; 200].join(" || ")),
            format!("SELECT CASE {} END FROM t", "WHEN a = 1 AND b = 2 THEN 'x' ".repeat(1000)),
            "CREATE TABLE t AS VALUES (1 + 2, 'a');\n".repeat(1000),
            "no ' SQL".to_owned(),
            ")".repeat(1000),
        ] {
            assert!(check(&sql).is_ok(), "{}…", &sql[..sql.len().min(40)]);
        }
    }

    #[test]
    fn chains_and_nests_without_end_are_refused() {
        for sql in [
            format!("SELECT {}1", "1 + ".repeat(100_000)),
            format!("SELECT a FROM t WHERE {}true", "a = 1 OR ".repeat(300)),
            format!("SELECT {}1{}", "(".repeat(300), ")".repeat(300)),
            format!("SELECT {}1{}", "abs(".repeat(300), ")".repeat(300)),
            format!("SELECT {}1{}", "CASE WHEN a THEN ".repeat(300), " END".repeat(300)),
            format!("SELECT {}true", "NOT ".repeat(300)),
            format!("SELECT {}1", "- ".repeat(300)),
            format!("SELECT a{}", "::int".repeat(300)),
            format!("SELECT a{}", "[1]".repeat(300)),
            format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(300)),
            format!("SELECT a FROM t{}", " JOIN t ON a = b".repeat(300)),
            format!("SELECT a FROM t{}", ", t".repeat(300)),
            format!("SELECT a FROM {}t{}", "(SELECT a FROM ".repeat(300), ")".repeat(300)),
        ] {
            let error = check(&sql).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Query, "{}", &sql[..40]);
        }
    }
}
