// What pages tell at a glance: banners, bars, the present step, marks, the table of the sandbox; and what is shown at once
// and goes back when the daemon refuses it.
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { assert, stage, until } from "./stage.mjs";

const more = 'circuit_failures = 2\ncircuit_cooldown = 4\nretries = 1\nretry_backoff = 0\n';
const { page, daemon, check, go, button, text, expected, clean, looks, logIn, down, end } = await stage("looks", { sandbox: true, llm: more });

const submit = (task, subject) => Number(/\d+/.exec(daemon.ctl(["submit", task, "--subject", subject]))[0]);
const read = (path) => JSON.parse(daemon.ctl(["query", "GET", path]));
const status = (id) => read(`/api/jobs/${id}`).job.status;
const banners = page.getByRole("region", { name: "Warnings" });

try {
  expected.add("401 (Unauthorized)");
  await logIn("/admin");

  await check("a model that is left alone is told of on every page, until it may be asked again", async () => {
    const told = banners.getByText("The model scripted cannot be asked: left alone for");
    await go("/admin/effects");
    const id = submit("TASK-broken", "No answer");
    await told.waitFor();
    assert((await told.count()) === 1, "a model of several roles is told of more than once");
    await banners.getByRole("link", { name: "Look at it" }).click();
    await page.getByRole("heading", { name: "System", level: 1 }).waitFor();
    daemon.ctl(["job", "cancel", String(id)]);
    // Nothing happens meanwhile: its time is over.
    await told.waitFor({ state: "detached", timeout: 12_000 });
  });

  await check("a sandbox in which nothing can run is told of on every page, until something can", async () => {
    const whole = readFileSync(daemon.config, "utf8");
    await down(() => appendFileSync(daemon.config, 'runner = "/nonexistent/runner"\n'));
    await go("/admin/jobs");
    assert(await banners.isHidden(), "told of before anybody has tried");
    const id = submit("TASK-run", "Nothing runs");
    await banners.getByText("No command can run:").waitFor();
    await until("its end", () => status(id) === "completed");
    await looks({ "banner-sandbox": "/admin" }, { "banner-sandbox": () => banners.getByText("No command can run:").waitFor() });
    await down(() => writeFileSync(daemon.config, whole));
    await go("/admin/jobs");
    await page.waitForTimeout(300);
    assert(await banners.isHidden(), "it stays");
  });

  await check("the console is clean and nothing is asked of others", async () => clean());
} finally {
  process.exitCode = (await end()) ? 1 : 0;
}
