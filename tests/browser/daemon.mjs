// A real daemon in a directory of its own, on a free port of loopback.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { tmpdir } from "node:os";

const { ASSISTANT_BIN: BIN, DASHBOARD_FILES: _, ...OTHERS } = process.env;
/** What the tests are told is not the daemon's. */
const ENVIRONMENT = Object.fromEntries(Object.entries(OTHERS).filter(([name]) => !name.startsWith("ASSISTANT_TEST_")));

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

export async function startDaemon(modelUrl, { sandbox = false, api = "", bind = "127.0.0.1", llm = "", limits = "", rules = "" } = {}) {
  const dir = mkdtempSync(join(tmpdir(), "assistant-browser-"));
  const port = await freePort();
  const config = join(dir, "assistant.toml");
  writeFileSync(
    config,
    `[api]\nbind_host = "${bind}"\nport = ${port}\n${api}` +
      `[llm]\nprovider = "openai"\nmodel = "scripted"\nbase_url = "${modelUrl}"\n${llm}` +
      `[limits]\nmax_daily_cost_usd = 5.0\n${limits}[policy]\nrules = [{ tool = "file_delete", decision = "ask", reason = "a person looks first" }${rules}]\n[sandbox]\nenabled = ${sandbox}\n`,
  );
  const log = join(dir, "daemon.log");
  const socket = join(dir, "run/api.sock");
  const env = { ...ENVIRONMENT, ASSISTANT_SOCKET: socket };
  let child;
  const start = async () => {
    const fd = openSync(log, "a");
    child = spawn(join(BIN, "assistantd"), ["--config", config, "--state-dir", join(dir, "state"), "--runtime-dir", join(dir, "run")], {
      stdio: ["ignore", fd, fd],
      env,
    });
    for (let tries = 0; tries < 200; tries++) {
      if (child.exitCode !== null) break;
      try {
        if ((await fetch(`http://127.0.0.1:${port}/health`)).ok) return;
      } catch {
        // not there yet
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`the daemon does not start:\n${readFileSync(log, "utf8")}`);
  };
  const end = () =>
    new Promise((resolve) => {
      if (child.exitCode !== null) return resolve();
      child.once("exit", resolve);
      child.kill("SIGTERM");
    });
  await start();
  /** What `assistantctl` prints. */
  const ctl = (args, input) => {
    const { status, stdout, stderr } = spawnSync(join(BIN, "assistantctl"), args, { env, input, encoding: "utf8" });
    if (status !== 0) throw new Error(`assistantctl ${args.join(" ")}: ${stderr}${stdout}`);
    return stdout;
  };
  return {
    dir,
    config,
    workspace: join(dir, "state/workspace"),
    port,
    origin: `http://127.0.0.1:${port}`,
    socket,
    ctl,
    start,
    end,
    log: () => readFileSync(log, "utf8"),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}
