//! What is measured, and how to start it.

use std::path::Path;
use std::process::Command;

use epochflow::Delivery;

use super::process::{Child, Lines, Role};
use super::query::Query;
use super::{Result, Settings, expected};

/// What stands between the topics `in` and `out`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Nothing: generator and receiver share one topic.
    Hop,
    /// librdkafka's consumer and producer, one message at a time.
    Relay,
    /// `epochflow run` with one of the ways to run it.
    Engine(Variant),
    /// Another engine: a command that copies until SIGTERM.
    Command { name: String, command: String },
}

/// How the engine runs. What a variant does not say is as the options say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    AsGiven,
    /// A checkpoint store that takes `--store-delay` for each write.
    SlowStore,
    /// The trigger `processing-time:0ms`.
    MicroBatch,
    /// One Kafka transaction an epoch.
    ExactlyOnce,
}

const BUILT_IN: &[(&str, Subject)] = &[
    ("hop", Subject::Hop),
    ("relay", Subject::Relay),
    ("epochflow", Subject::Engine(Variant::AsGiven)),
    ("slow-store", Subject::Engine(Variant::SlowStore)),
    ("micro-batch", Subject::Engine(Variant::MicroBatch)),
    ("exactly-once", Subject::Engine(Variant::ExactlyOnce)),
];

/// For the command line: a subject of `--subjects`.
pub(super) fn parse(name: &str) -> std::result::Result<Subject, String> {
    let found = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, subject)| subject.clone());
    found.ok_or_else(|| {
        let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        format!("there is no subject '{name}'; there are {}", names.join(", "))
    })
}

/// For the command line: NAME=COMMAND.
pub(super) fn parse_command(text: &str) -> std::result::Result<Subject, String> {
    let (name, command) = crate::name_and_value(text)?;
    for placeholder in ["{brokers}", "{from}", "{to}"] {
        if !command.contains(placeholder) {
            return Err(format!("the command of '{name}' has no {placeholder}"));
        }
    }
    Ok(Subject::Command { name, command })
}

/// From where to where, for one run.
#[derive(Debug)]
pub(super) struct Route<'a> {
    pub(super) from: &'a str,
    pub(super) partitions: i32,
    pub(super) to: &'a str,
    pub(super) to_partitions: i32,
    pub(super) linger_ms: &'a str,
    /// For files that live as long as the run.
    pub(super) folder: &'a Path,
}

impl Subject {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Command { name, .. } => name,
            own => BUILT_IN.iter().find(|(_, subject)| subject == own).map_or("", |(name, _)| name),
        }
    }

    /// Whether records come out byte by byte as this project's queries write them.
    pub(super) fn is_own(&self) -> bool {
        !matches!(self, Self::Command { .. })
    }

    /// Starts the child, if the subject has one.
    pub(super) fn start(
        &self,
        settings: &Settings,
        query: &Query,
        route: &Route<'_>,
        expected: &expected::Expected,
        lines: &Lines,
    ) -> Result<Option<Child>> {
        let command = match self {
            Self::Hop => return Ok(None),
            Self::Relay => relay(settings, route, expected)?,
            Self::Engine(variant) => engine(settings, *variant, query, route)?,
            Self::Command { command, .. } => rival(settings, command, query, route),
        };
        Child::spawn(command, Role::Subject, self.name(), lines).map(Some)
    }
}

fn relay(settings: &Settings, route: &Route<'_>, expected: &expected::Expected) -> Result<Command> {
    let mut command = settings.this_program("relay")?;
    command.args(["--brokers", &settings.brokers, "--from", route.from, "--to", route.to]);
    command.args(["--partitions", &route.partitions.to_string()]);
    command.args(["--to-partitions", &route.to_partitions.to_string(), "--linger-ms", route.linger_ms]);
    if expected.passing != expected.sent {
        let path = route.folder.join("passes");
        expected.write_passes(&path)?;
        command.arg("--only").arg(path);
    }
    Ok(command)
}

fn engine(settings: &Settings, variant: Variant, query: &Query, route: &Route<'_>) -> Result<Command> {
    let pipeline = route.folder.join("pipeline.sql");
    std::fs::write(&pipeline, sql(&settings.brokers, query, route)?)?;
    let trigger = match variant {
        Variant::MicroBatch => "processing-time:0ms".to_owned(),
        _ => settings.trigger.to_string(),
    };
    if variant == Variant::SlowStore {
        let mut command = settings.this_program("library")?;
        command.arg(pipeline).args(["--trigger", &trigger, "--store-delay"]);
        command.arg(format!("{}ms", settings.store_delay.as_millis()));
        add_delivery(&mut command, settings.delivery);
        return Ok(command);
    }
    let mut command = match &settings.epochflow {
        Some(program) => Command::new(program),
        None => Command::new(std::env::current_exe()?),
    };
    let checkpoint = match &settings.checkpoint {
        None => route.folder.join("checkpoint").display().to_string(),
        // The output topic's name is new in every run, and so must be the checkpoint.
        Some(base) => format!("{}/{}", base.trim_end_matches('/'), route.to),
    };
    command.arg("run").arg(pipeline).args(["--checkpoint", &checkpoint]);
    command.args(["--trigger", &trigger, "--progress", "json"]);
    let delivery =
        if variant == Variant::ExactlyOnce { Some(Delivery::ExactlyOnce) } else { settings.delivery };
    add_delivery(&mut command, delivery);
    Ok(command)
}

fn add_delivery(command: &mut Command, delivery: Option<Delivery>) {
    if let Some(delivery) = delivery {
        command.args(["--delivery", &delivery.to_string()]);
    }
}

fn rival(settings: &Settings, template: &str, query: &Query, route: &Route<'_>) -> Command {
    let text = template
        .replace("{brokers}", &settings.brokers)
        .replace("{from}", route.from)
        .replace("{to}", route.to)
        .replace("{partitions}", &route.partitions.to_string())
        .replace("{query}", query.id)
        .replace("{linger_ms}", route.linger_ms)
        .replace("{folder}", &route.folder.display().to_string());
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("exec {text}"));
    command
}

fn sql(brokers: &str, query: &Query, route: &Route<'_>) -> Result<String> {
    let Route { from, to, linger_ms, .. } = route;
    // The engine's own default must be 0 as well, so it is not set where 0 is meant.
    let options =
        if *linger_ms == "0" { String::new() } else { format!(" OPTIONS ('kafka.linger.ms' '{linger_ms}')") };
    let part = if query.joins_part { expected::part_table(route.folder)? } else { String::new() };
    Ok(format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{from}' \
         OPTIONS ('startingOffsets' 'earliest');\n\
         CREATE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{brokers}/{to}'{options};\n\
         {part}INSERT INTO out\n{};\n",
        query.select.trim_end()
    ))
}
