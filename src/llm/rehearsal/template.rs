//! `{{...}}` in a scene: what a recorded answer takes from the task and from earlier results.

use serde_json::Value;

use super::super::{Message, Request};
use super::totals;

/// What a scene can refer to.
pub(super) struct Vars<'a> {
    task: String,
    /// Name and content of every result, oldest first.
    results: Vec<(&'a str, &'a str)>,
}

impl<'a> Vars<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        let task = request
            .messages
            .iter()
            .map_while(|message| if let Message::User { text } = message { Some(text.as_str()) } else { None })
            .collect::<Vec<_>>()
            .join("\n");
        let results = request
            .messages
            .iter()
            .filter_map(|message| match message {
                Message::Tool { name, content, .. } => Some((name.as_str(), content.as_str())),
                _ => None,
            })
            .collect();
        Self { task, results }
    }

    /// Arguments as JSON text; a text among the scenes goes out as it is.
    pub(super) fn fill_arguments(&self, arguments: &Value, item: Option<&str>) -> Result<String, String> {
        match arguments {
            Value::String(raw) => Ok(raw.clone()),
            Value::Null => Ok("{}".to_owned()),
            _ => Ok(self.fill_value(arguments, item)?.to_string()),
        }
    }

    fn fill_value(&self, value: &Value, item: Option<&str>) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => Value::String(self.fill(text, item)?),
            Value::Array(items) => {
                Value::Array(items.iter().map(|value| self.fill_value(value, item)).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => Value::Object(
                fields.iter().map(|(name, value)| Ok((name.clone(), self.fill_value(value, item)?))).collect::<Result<
                    _,
                    String,
                >>(
                )?,
            ),
            _ => value.clone(),
        })
    }

    /// Replaces every `{{...}}`; an unknown one is an error.
    pub(super) fn fill(&self, text: &str, item: Option<&str>) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or_else(|| format!("{text:?} has a {{{{ without }}}}"))?;
            filled.push_str(before);
            filled.push_str(&self.variable(name.trim(), item)?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn variable(&self, name: &str, item: Option<&str>) -> Result<String, String> {
        match name {
            "item" => item.map(str::to_owned).ok_or_else(|| "{{item}} stands outside of for_each".to_owned()),
            "task" => Ok(self.task.clone()),
            "folder" => Ok(folder(&self.task)),
            "month_totals" => totals::by_month(self.contents(".csv").iter().map(|(_, content)| content.as_str())),
            "result" => self
                .results
                .last()
                .map(|(_, content)| (*content).to_owned())
                .ok_or_else(|| "there is no result yet".to_owned()),
            _ => {
                if let Some(path) = name.strip_prefix("result.") {
                    return self.field(path);
                }
                if name.starts_with("files ") {
                    return Ok(self.list(name)?.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", "));
                }
                Err(format!("{{{{{name}}}}} is unknown"))
            }
        }
    }

    /// `files SUFFIX`: the files of the newest `file_list`, in its order.
    pub(super) fn list(&self, name: &str) -> Result<Vec<String>, String> {
        let suffix = name.strip_prefix("files ").ok_or_else(|| format!("{name:?} is not a list"))?.trim();
        let listed = self.newest("file_list").and_then(json).ok_or("there is no result of file_list yet")?;
        let entries = listed.get("entries").and_then(Value::as_array).ok_or("file_list gave no entries")?;
        let files: Vec<String> = entries
            .iter()
            .filter(|entry| entry.get("is_dir").and_then(Value::as_bool) != Some(true))
            .filter_map(path_of)
            .filter(|path| path.to_lowercase().ends_with(suffix))
            .collect();
        if files.is_empty() { Err(format!("file_list gave no file that ends in {suffix:?}")) } else { Ok(files) }
    }

    /// Path and content of every file read so far, each once, as it was read last.
    fn contents(&self, suffix: &str) -> Vec<(String, String)> {
        let mut contents: Vec<(String, String)> = Vec::new();
        for (_, content) in self.results.iter().filter(|(name, _)| *name == "file_read") {
            let Some(result) = json(content) else { continue };
            let Some(path) = path_of(&result).filter(|path| path.to_lowercase().ends_with(suffix)) else { continue };
            let Some(text) = result.get("content").and_then(Value::as_str) else { continue };
            contents.retain(|(known, _)| *known != path);
            contents.push((path, text.to_owned()));
        }
        contents
    }

    fn newest(&self, tool: &str) -> Option<&'a str> {
        self.results.iter().rev().find(|(name, _)| *name == tool).map(|(_, content)| *content)
    }

    /// `TOOL.FIELD.FIELD` of the newest result of that tool; numbers count the items of a list.
    fn field(&self, path: &str) -> Result<String, String> {
        let (tool, fields) = path.split_once('.').unwrap_or((path, ""));
        let content = self.newest(tool).ok_or_else(|| format!("there is no result of {tool} yet"))?;
        if fields.is_empty() {
            return Ok(content.to_owned());
        }
        let result = json(content).ok_or_else(|| format!("the result of {tool} is not JSON"))?;
        let value = fields
            .split('.')
            .try_fold(&result, |value, field| match field.parse::<usize>() {
                Ok(index) if value.is_array() => value.get(index),
                _ => value.get(field),
            })
            .ok_or_else(|| format!("the result of {tool} has no {fields}"))?;
        Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }
}

/// The JSON object of a result, whatever words stand around it.
fn json(content: &str) -> Option<Value> {
    let start = content.find('{')?;
    serde_json::Deserializer::from_str(&content[start..]).into_iter::<Value>().next()?.ok()
}

fn path_of(value: &Value) -> Option<String> {
    ["relative_path", "path"].iter().find_map(|key| value.get(key)?.as_str()).map(str::to_owned)
}

/// The folder that a task is about: `jobs/<id>/in` if it is named, else the first word that ends in a slash, else all.
fn folder(task: &str) -> String {
    let words = || task.split(|c: char| c.is_whitespace() || "\"'`(),;<>".contains(c));
    let attached = words().find_map(|word| {
        let rest = word.strip_prefix("jobs/")?;
        let (id, rest) = rest.split_once('/')?;
        (id.bytes().all(|byte| byte.is_ascii_digit()) && (rest == "in" || rest.starts_with("in/")))
            .then(|| format!("jobs/{id}/in"))
    });
    attached
        .or_else(|| words().find_map(|word| word.strip_suffix('/').filter(|word| is_relative(word)).map(str::to_owned)))
        .unwrap_or_else(|| ".".to_owned())
}

fn is_relative(word: &str) -> bool {
    !word.is_empty() && !word.starts_with('/') && !word.contains("://") && !word.contains("..")
}
