//! `epochflow checkpoint`.

use epochflow::checkpoint::{Checkpoint, Edit, Inventory, rewind, set_offsets};
use epochflow::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use super::{CheckpointCommand, show};

/// Carries out a subcommand.
pub(super) async fn run(command: CheckpointCommand) -> Result<()> {
    match command {
        CheckpointCommand::Show(args) => show::show(args).await,
        CheckpointCommand::Verify { location, json, store } => verify(&location, &store.options, json).await,
        CheckpointCommand::Rewind { location, to, yes, store } => {
            let plan = |inventory: &Inventory| rewind(inventory, to.target());
            edit(&Checkpoint::open(&location, &store.options)?, yes, plan).await
        }
        CheckpointCommand::SetOffsets { location, source, offsets, yes, store } => {
            let now = chrono::Utc::now().timestamp_millis();
            let plan = |inventory: &Inventory| set_offsets(inventory, source, &offsets, now);
            edit(&Checkpoint::open(&location, &store.options)?, yes, plan).await
        }
    }
}

pub(super) fn no_checkpoint(location: &str) -> Error {
    Error::new(
        ErrorKind::Checkpoint,
        format!("there is no checkpoint at {location}: it has no file 'metadata'"),
    )
}

/// Prints what is wrong with a checkpoint. Changes nothing.
#[expect(clippy::print_stdout, reason = "this is the command's result")]
async fn verify(location: &str, options: &[(String, String)], as_json: bool) -> Result<()> {
    let checkpoint = Checkpoint::open(location, options)?;
    let inventory = checkpoint.inventory().await?;
    if inventory.is_empty() {
        return Err(no_checkpoint(location));
    }
    let problems = inventory.problems();
    let (offsets, commits) = (inventory.offsets.len(), inventory.commits.len());
    let last = inventory.committed();
    if as_json {
        let list: Vec<Value> = problems
            .iter()
            .map(|problem| json!({ "file": problem.file, "problem": problem.message }))
            .collect();
        let shown = json!({
            "location": checkpoint.location(),
            "ok": problems.is_empty(),
            "offsets": offsets,
            "commits": commits,
            "lastCommittedEpoch": last.map(|epoch| epoch.0),
            "problems": list,
        });
        println!("{shown:#}");
    } else if problems.is_empty() {
        let last = last.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string());
        println!("ok: {offsets} offsets, {commits} commits, last committed epoch {last}");
    } else {
        problems.iter().for_each(|problem| println!("{}", one_line(&problem.message)));
    }
    match problems.len() {
        0 => Ok(()),
        count => {
            let plural = if count == 1 { "" } else { "s" };
            let message = format!("the checkpoint {} has {count} problem{plural}", checkpoint.location());
            Err(Error::new(ErrorKind::Checkpoint, message))
        }
    }
}

/// Plans a change, and shows it; with `yes` carries it out.
#[expect(clippy::print_stdout, reason = "this is the command's result")]
async fn edit(
    checkpoint: &Checkpoint,
    yes: bool,
    plan: impl FnOnce(&Inventory) -> Result<Edit>,
) -> Result<()> {
    // Before the lock, which would create the folder.
    if checkpoint.read_query_id().await?.is_none() {
        return Err(no_checkpoint(checkpoint.location()));
    }
    let lock = if yes {
        checkpoint.lock().await?
    } else {
        checkpoint.refuse_if_locked().await?;
        None
    };
    let edit = plan(&checkpoint.inventory().await?)?;
    if edit.is_empty() {
        println!("nothing to do: epoch {} is the last one", edit.committed);
        return Ok(());
    }
    let (deletes, writes, goes_on) =
        if yes { ("delete", "write", "goes on") } else { ("would delete", "would write", "would go on") };
    edit.delete_commits.iter().for_each(|epoch| println!("{deletes} commits/{epoch}"));
    edit.delete_offsets.iter().for_each(|epoch| println!("{deletes} offsets/{epoch}"));
    if let Some((epoch, _)) = &edit.append {
        println!("{writes} offsets/{epoch}");
        println!("{writes} commits/{epoch}");
    }
    let text = |line: &Option<String>| line.clone().unwrap_or_else(|| "its beginning".to_owned());
    for (source, after) in edit.after.iter().enumerate() {
        let before = edit.before.get(source).map_or_else(|| "an unreadable place".to_owned(), text);
        let after = text(after);
        if before == after {
            println!("source {source} {goes_on} at {after}, as before");
        } else {
            println!("source {source} {goes_on} at {after} instead of {before}");
        }
    }
    edit.notes.iter().for_each(|note| println!("note: {note}"));
    if !checkpoint.has_lock() {
        println!(
            "note: whether a query runs on this checkpoint cannot be known in this store; make sure that none does"
        );
    }
    if yes {
        checkpoint.apply(&edit).await?;
        drop(lock);
        println!("done: the last committed epoch is {}", edit.committed);
    } else {
        println!("dry run: nothing was changed; add --yes to do it");
    }
    Ok(())
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
