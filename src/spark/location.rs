//! Where Spark finds the checkpoint.

use super::{Refusal, refuse};

/// The location as Hadoop names it.
pub(super) fn location(location: &str) -> Result<String, Refusal> {
    let Some((scheme, rest)) = location.split_once("://") else {
        let Ok(path) = std::path::absolute(location) else {
            return refuse(format!("the checkpoint '{location}' is no path"), "give a path or URL");
        };
        return Ok(format!("file://{}", path.display()));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "s3" | "s3a" => Ok(format!("s3a://{rest}")),
        "file" | "gs" | "abfs" | "abfss" => Ok(location.to_owned()),
        _ => refuse(
            format!("Spark may not find the checkpoint '{location}'"),
            "give a path or a URL with file, s3, gs or abfss, or leave --checkpoint out and give it to the program",
        ),
    }
}
