use assistant_api::status::{ToolList, ToolReply};

use crate::{
    Cx,
    exit::{Code, Result},
    output::{Table, cell},
};

/// List the tools that jobs can use, or show one
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl tools
  assistantctl tools file_write")]
pub struct Args {
    /// Show this tool with its arguments
    name: Option<String>,
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    match args.name {
        Some(name) => one(cx, &name).await,
        None => all(cx).await,
    }
}

async fn all(cx: &Cx) -> Result {
    let list: ToolList = cx.client.get("/api/tools").await?;
    if cx.out.json {
        cx.out.json(&list)?;
        return Ok(Code::Ok);
    }
    let mut table = Table::new(&["NAME", "ACCESS", "GROUP", "DESCRIPTION"]);
    for tool in &list.tools {
        let first = tool.description.split(". ").next().unwrap_or_default().trim_end_matches('.');
        table.row([cell(&tool.name), cell(&tool.access), cell(&tool.group), cell(first)]);
    }
    cx.out.table(&table, "no tools")?;
    Ok(Code::Ok)
}

async fn one(cx: &Cx, name: &str) -> Result {
    let path: String = name
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() || byte == b'_' { char::from(byte) } else { '-' })
        .collect();
    let reply: ToolReply = cx.client.get(&format!("/api/tools/{path}")).await?;
    if cx.out.json {
        cx.out.json(&reply)?;
        return Ok(Code::Ok);
    }
    let tool = &reply.tool;
    cx.out.fields([("name", tool.name.clone()), ("access", tool.access.clone()), ("group", tool.group.clone())])?;
    cx.out.text(&format!("\n{}\n", tool.description))?;
    cx.out.line("")?;
    let required: Vec<&str> =
        tool.parameters["required"].as_array().into_iter().flatten().filter_map(|name| name.as_str()).collect();
    let mut table = Table::new(&["ARGUMENT", "TYPE", "REQUIRED", "DESCRIPTION"]);
    for (name, schema) in tool.parameters["properties"].as_object().into_iter().flatten() {
        let kind = match &schema["type"] {
            serde_json::Value::String(kind) => kind.clone(),
            serde_json::Value::Array(kinds) => kinds
                .iter()
                .filter_map(|kind| kind.as_str())
                .filter(|kind| *kind != "null")
                .collect::<Vec<_>>()
                .join("|"),
            _ => "any".to_owned(),
        };
        table.row([
            cell(name),
            cell(kind),
            cell(if required.contains(&name.as_str()) { "yes" } else { "no" }),
            cell(schema["description"].as_str().unwrap_or_default()),
        ]);
    }
    cx.out.table(&table, "no arguments")?;
    Ok(Code::Ok)
}
