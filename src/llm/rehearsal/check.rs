//! What every request must keep to, whichever provider it goes to.

use std::collections::HashSet;

use super::super::{Message, Request};

/// Says which rule a request breaks.
pub(super) fn request(request: &Request, max_chars: u64) -> Result<(), String> {
    if request.system.trim().is_empty() {
        return Err("the system prompt is empty".into());
    }
    let chars = request.system.chars().count() + request.messages.iter().map(Message::chars).sum::<usize>();
    if chars as u64 > max_chars {
        return Err(format!("the prompt has {chars} characters, {max_chars} are allowed"));
    }
    tools(request)?;
    messages(&request.messages)
}

fn tools(request: &Request) -> Result<(), String> {
    let mut names = HashSet::new();
    for tool in &request.tools {
        let proper = (1..=64).contains(&tool.name.len())
            && tool.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if !proper {
            return Err(format!("{:?} is not a tool name", tool.name));
        }
        if !names.insert(&tool.name) {
            return Err(format!("the tool {:?} is offered twice", tool.name));
        }
        if tool.parameters.get("type").and_then(|kind| kind.as_str()) != Some("object") {
            return Err(format!("the parameters of {:?} are not an object schema", tool.name));
        }
    }
    Ok(())
}

/// Roles, and every call answered exactly once and in order.
fn messages(messages: &[Message]) -> Result<(), String> {
    match (messages.first(), messages.last()) {
        (None, _) | (_, None) => return Err("there are no messages".into()),
        (Some(Message::User { .. }), Some(Message::User { .. } | Message::Tool { .. })) => {}
        (Some(Message::User { .. }), _) => return Err("the last message is the model's own".into()),
        _ => return Err("the first message is not the user's".into()),
    }
    let mut ids = HashSet::new();
    let mut open = std::collections::VecDeque::new();
    for (at, message) in messages.iter().enumerate() {
        let at = at + 1;
        match message {
            Message::Tool { call_id, name, .. } => match open.pop_front() {
                Some((id, tool)) if id == call_id && tool == name => {}
                Some((id, tool)) => {
                    return Err(format!(
                        "message {at} answers the call {call_id:?} of {name:?} where {id:?} of {tool:?} is next"
                    ));
                }
                None => return Err(format!("message {at} answers the call {call_id:?} that is not open")),
            },
            _ if !open.is_empty() => {
                return Err(format!("message {at} comes before {} open calls are answered", open.len()));
            }
            Message::User { text } if text.trim().is_empty() => return Err(format!("message {at} is empty")),
            Message::Assistant { text, calls } if text.trim().is_empty() && calls.is_empty() => {
                return Err(format!("message {at} is empty"));
            }
            Message::User { .. } => {}
            Message::Assistant { calls, .. } => {
                for call in calls {
                    if call.id.is_empty() || !ids.insert(&call.id) {
                        return Err(format!(
                            "message {at} has the call id {:?}, which is empty or used before",
                            call.id
                        ));
                    }
                    open.push_back((&call.id, &call.name));
                }
            }
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("{} calls are not answered", open.len())) }
}
