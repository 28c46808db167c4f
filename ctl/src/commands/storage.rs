use assistant_api::storage::Storage;

use crate::{
    Cx,
    exit::{Code, Result},
    output::{Table, cell},
    text,
};

/// Show what lies on the disk, and how long it is kept
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl storage
  assistantctl storage -o json")]
pub struct Args {}

pub async fn run(_: Args, cx: &Cx) -> Result {
    let storage: Storage = cx.client.get("/api/storage").await?;
    if cx.out.json {
        cx.out.json(&storage)?;
        return Ok(Code::Ok);
    }
    let mut table = Table::new(&["KIND", "SIZE", "COUNT", "KEPT"]);
    for one in &storage.kinds {
        let least = if one.at_least { "at least " } else { "" };
        let some = |text: Option<String>| text.map_or_else(|| "-".to_owned(), |text| format!("{least}{text}"));
        table.row([
            cell(one.kind.replace('_', " ")),
            cell(some(one.bytes.map(text::bytes))),
            cell(some(one.count.map(|count| count.to_string()))),
            cell(text::one_line(one.problem.as_deref().or(one.kept.as_deref()).unwrap_or("until it is deleted"))),
        ]);
    }
    cx.out.table(&table, "nothing")?;
    Ok(Code::Ok)
}
