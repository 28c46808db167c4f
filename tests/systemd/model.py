"""A model server on loopback that answers whom it knows: model.py PORT SHA256-OF-THE-KEY.

Asked to check a connection it calls the tool that it is asked to call; of every job it says that it is done.
"""

import hashlib
import http.server
import json
import sys

PORT, DIGEST = int(sys.argv[1]), sys.argv[2]


class Model(http.server.BaseHTTPRequestHandler):
    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def known(self):
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        if hashlib.sha256(key.encode()).hexdigest() == DIGEST:
            return True
        self.answer(401, {"error": {"message": "this key is not known"}})
        return False

    def do_GET(self):
        if self.known():
            self.answer(200, {"object": "list", "data": [{"id": "tiny", "object": "model"}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.known():
            return
        tools = [tool["function"]["name"] for tool in asked.get("tools", [])]
        if "report_word" in tools:
            name, arguments = "report_word", {"word": "ready"}
        else:
            name, arguments = "task_complete", {"summary": "said hello", "response": "Hello."}
        call = {"id": "call-1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        message = {"role": "assistant", "content": "", "tool_calls": [call]}
        self.answer(200, {
            "id": "1", "object": "chat.completion", "model": "tiny",
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        })

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Model).serve_forever()
