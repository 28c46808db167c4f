"""A person at a terminal: person.py ANSWERS COMMAND...; ANSWERS is a file with a question and an answer on each line,
parted by a tab. Prints what the screen was sent; ends as the command ends, or with 99 when a question never came."""

import os
import pty
import select
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    answers = [line.rstrip("\n").split("\t") for line in file]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
screen, seen = b"", 0
while True:
    ready, _, _ = select.select([terminal], [], [], 60)
    try:
        read = os.read(terminal, 4096) if ready else b""
    except OSError:
        read = b""
    if not read:
        break
    screen += read
    if answers and answers[0][0].encode() in screen[seen:]:
        seen = len(screen)
        os.write(terminal, answers.pop(0)[1].encode() + b"\n")
sys.stdout.buffer.write(screen.replace(b"\r\n", b"\n"))
sys.stdout.flush()
if not ready:
    os.kill(pid, 9)
_, status = os.waitpid(pid, 0)
sys.exit(99 if answers else os.waitstatus_to_exitcode(status))
