// A model server on loopback that speaks the OpenAI protocol and answers by what the task says:
//   "ask"      asks the person a question, and ends with the answer
//   "write"    writes a file, and ends
//   "grow"     adds a line to that file, and ends
//   "count"    looks for five files, one after the other, and ends
//   "many"     writes lines, ten in a second, until it is cancelled
//   "remove"   deletes the file, and ends
//   "long"     runs a command that says something for a while
//   "slow"     thinks until it is cancelled
//   "refused"  is refused
//   "broken"   is answered by an error of the server
//   "run"      runs a command that waits for the file go-on, and ends
//   anything   ends at once
import { createServer } from "node:http";

const call = (name, args) => ({ name, arguments: JSON.stringify(args) });
const complete = (response) => [call("task_complete", { summary: "Done", response })];

const ANSWER = `## Done

| month | total |
|---|---:|
| January | 42.50 |
| February | 64.90 |

- the file is **report.md**
- see [the docs](https://example.com/docs) ![pixel](https://example.com/pixel.png)

\`\`\`
plain code
\`\`\`
<script>window.broken = 1</script>`;

function answer(messages) {
  const text = JSON.stringify(messages);
  const task = /TASK-(\w+)/.exec(text)?.[1] ?? "plain";
  // How many answers of ours the conversation holds.
  const turn = messages.filter(({ role, tool_calls }) => role === "assistant" && tool_calls?.length).length;
  switch (task) {
    case "ask":
      return turn === 0 ? [call("request_input", { recipient: "requester", question: "Which colour do you like: red or blue?" })] : complete("You like it: noted.");
    case "write":
      return turn === 0 ? [call("file_write", { path: "report.md", content: "# Report\n\nAll is well.\n" })] : complete(ANSWER);
    case "grow":
      return turn === 0 ? [call("file_append", { path: "report.md", content: "One line more.\n" })] : complete("It is longer.");
    case "count":
      return turn < 5 ? [call("file_search", { pattern: `part-${turn}` })] : complete("Counted to five.");
    case "many":
      return [call("file_append", { path: "many.txt", content: "One more.\n" })];
    case "run":
      return turn === 0
        ? [call("command_execute", { command: ["bash", "-c", "until [ -e go-on ]; do sleep 0.1; done"] })]
        : complete("It has run.");
    case "remove":
      return turn === 0 ? [call("file_delete", { path: "report.md" })] : complete("Removed, or not.");
    case "slow":
      return undefined;
    default:
      return complete(ANSWER);
  }
}

export function startModel() {
  const waiting = new Set();
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += chunk));
    request.on("end", async () => {
      if (!request.url.endsWith("/chat/completions")) {
        response.setHeader("content-type", "application/json");
        return response.end(JSON.stringify({ object: "list", data: [{ id: "scripted", object: "model" }] }));
      }
      const { messages, stream } = JSON.parse(body);
      if (body.includes("TASK-refused")) {
        response.writeHead(400, { "content-type": "application/json" });
        return response.end(JSON.stringify({ error: { message: "not this one", type: "invalid_request_error" } }));
      }
      if (body.includes("TASK-broken")) {
        response.writeHead(503, { "content-type": "application/json" });
        return response.end(JSON.stringify({ error: { message: "too much to do" } }));
      }
      if (body.includes("TASK-many")) await new Promise((resolve) => setTimeout(resolve, 100));
      const calls = answer(messages);
      if (!calls) return waiting.add(response);
      const tool_calls = calls.map((call, index) => ({ index, id: `call-${messages.length}-${index}`, type: "function", function: call }));
      const usage = { prompt_tokens: 1200, completion_tokens: 80, total_tokens: 1280 };
      const base = { id: "c", model: "scripted", usage: null };
      if (!stream) {
        response.setHeader("content-type", "application/json");
        const message = { role: "assistant", content: "", tool_calls };
        return response.end(JSON.stringify({ ...base, object: "chat.completion", usage, choices: [{ index: 0, message, finish_reason: "tool_calls" }] }));
      }
      response.setHeader("content-type", "text/event-stream");
      const chunk = (delta, finish_reason, usage = null) =>
        response.write(`data: ${JSON.stringify({ ...base, object: "chat.completion.chunk", usage, choices: [{ index: 0, delta, finish_reason }] })}\n\n`);
      chunk({ role: "assistant", content: "I look into it." }, null);
      for (const one of tool_calls) chunk({ tool_calls: [one] }, null);
      chunk({}, "tool_calls", usage);
      response.end("data: [DONE]\n\n");
    });
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const url = `http://127.0.0.1:${server.address().port}/v1`;
      resolve({ url, stop: () => (server.closeAllConnections(), server.close()) });
    });
  });
}
