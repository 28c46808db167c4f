// The pages that keep the house: the log as it is written, storage and backups, who is told of what, what models failed at.
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, stage, until } from "./stage.mjs";

const more = 'max_iterations_per_task = 3\n[admin]\nemail = "ada@example.org"\n[notify]\ncommand = ["/bin/true"]\n';
const { page, daemon, context, check, go, button, text, expected, clean, looks, logIn, down, end } = await stage("system", { limits: more });

const submit = (task, subject) => Number(/\d+/.exec(daemon.ctl(["submit", task, "--subject", subject]))[0]);
const read = (path) => JSON.parse(daemon.ctl(["query", "GET", path]));
const status = (id) => read(`/api/jobs/${id}`).job.status;
const lines = page.locator(".log > li");
const search = page.getByRole("searchbox", { name: "Search the log" });

try {
  expected.add("401 (Unauthorized)");
  await logIn("/admin/system/log");

  await check("the log shows what is written, as it is written", async () => {
    await lines.filter({ hasText: "ready" }).first().waitFor();
    const id = submit("TASK-plain", "Into the log");
    await lines.filter({ hasText: `Job ${id}` }).filter({ hasText: "a job was created" }).waitFor();
    await until("its end", () => status(id) === "completed");
    // The newest is on top.
    await lines.filter({ hasText: "a run ended" }).first().waitFor();
    const times = await lines.locator("time").evaluateAll((all) => all.map((time) => time.dateTime));
    assert(times.length > 2 && times.every((time, at) => at === 0 || times[at - 1] >= time), `out of order: ${times}`);
  });

  await check("the log is filtered by level, text and job, and the address keeps it", async () => {
    await go("/admin/system/log");
    await lines.first().waitFor();
    await button("Errors").click();
    await text("No line is like this.").waitFor();
    assert(page.url().includes("level=error"), page.url());
    await button("All").click();
    await search.fill("A JOB WAS created");
    await until("the lines with the text", async () => (await lines.count()) > 0 && (await lines.count()) === (await lines.filter({ hasText: "a job was created" }).count()));
    await lines.first().getByRole("button").click();
    await page.locator(".log .detail").getByText("request_id", { exact: true }).waitFor();
    await page.reload();
    await page.locator(".log .detail").getByText("request_id", { exact: true }).waitFor();
    assert((await search.inputValue()) === "A JOB WAS created", "the search is not in its box");
    await button("only lines of this job").click();
    await search.fill("");
    await until("the lines of the job", async () => !page.url().includes("q=") && (await lines.count()) > 1);
    assert(page.url().includes("job=1"), page.url());
    assert((await lines.count()) === (await lines.filter({ hasText: "Job 1" }).count()), "lines of others are among them");
    // Details are not written, and the page says so instead of waiting for them.
    await go("/admin/system/log?level=debug");
    await text("Lines of this level are not written: log.level is info.").waitFor();
  });

  await check("the log waits when it is held, and goes on over a restart", async () => {
    await go("/admin/system/log?q=a+job+was+created");
    await lines.first().waitFor();
    const before = await lines.count();
    await button("Following").click();
    submit("TASK-plain", "While it is held");
    const fresh = page.getByRole("button", { name: "1 new: show" });
    await fresh.waitFor();
    assert((await lines.count()) === before, "it has moved");
    await fresh.click();
    await until("the line", async () => (await lines.count()) === before + 1);
    await button("Follow").click();
    await down(() => text("The stream is cut; trying again…").waitFor());
    await text("The stream is cut; trying again…").waitFor({ state: "detached", timeout: 20_000 });
    submit("TASK-plain", "After the restart");
    await until("the line after the restart", async () => (await lines.count()) === before + 2);
  });

  await check("only an administrator sees the log", async () => {
    const secret = JSON.parse(daemon.ctl(["token", "create", "reader", "--role", "operator", "-o", "json"])).secret;
    const other = await context.browser().newContext({ extraHTTPHeaders: { Authorization: `Bearer ${secret}` } });
    const theirs = await other.newPage();
    const asked = [];
    theirs.on("request", (request) => asked.push(request.url()));
    await theirs.goto(`${daemon.origin}/admin/system/log`);
    await theirs.getByText("This takes an administrator.").waitFor();
    assert((await theirs.getByRole("link", { name: "Log", exact: true }).count()) === 0, "it is offered");
    await theirs.getByRole("link", { name: "Storage and backups" }).click();
    await theirs.getByRole("rowheader", { name: "Database" }).waitFor();
    assert(!asked.some((url) => url.includes("/api/log")), "it is asked for");
    await other.close();
  });

  await check("storage by kind, and backups with what their last check found", async () => {
    const folder = join(daemon.dir, "state/backups");
    mkdirSync(folder, { recursive: true });
    const backup = (name, note) => {
      writeFileSync(join(folder, name), "x".repeat(2048));
      const whole = { name, kind: "full", size_bytes: 2048, schema_version: 3, encrypted: false, verified_at: null, files: 2, skipped: 0, sha256: "", ...note };
      if (note) writeFileSync(join(folder, `${name}.json`), JSON.stringify(whole));
    };
    const at = (days) => new Date(Date.now() - days * 86_400_000).toISOString();
    backup("assistant-20261121T030000Z.tar.zst", { created_at: at(2), checked_at: at(1), problem: "it is not whole: it ends too early" });
    backup("assistant-20261122T030000Z.tar.zst", { created_at: at(1), verified_at: at(1), checked_at: at(1) });
    backup("assistant-20261120T030000Z.tar.zst.age");
    await go("/admin/system/storage");
    const row = (name) => page.getByRole("row").filter({ has: page.getByRole("rowheader", { name }) });
    await row("assistant-20261121").getByText("it is not whole").waitFor();
    await row("assistant-20261121").getByText("bad").waitFor();
    await row("assistant-20261122").getByText("good").waitFor();
    await row("assistant-20261120").getByText("not checked").waitFor();
    await text("sudo assistantctl backup verify assistant-20261122T030000Z.tar.zst").waitFor();
    await row("Database").getByText(/KiB|MiB/).waitFor();
    await row("Trash").getByText("30 days (retention.trash_days)").waitFor();
  });

  await check("who is told of what, and what was told", async () => {
    const id = submit("TASK-ask me", "Which colour?");
    await until("the question", () => status(id) === "needs_review");
    await go("/admin/system/notices");
    await text("ada@example.org").waitFor();
    await text("no mail can be sent: email.smtp_host or email.smtp_from is not set").waitFor();
    const row = page.getByRole("row").filter({ hasText: "Which colour?" });
    await row.getByText("Happened").waitFor();
    await row.getByRole("rowheader", { name: "Needs you" }).waitFor();
    // What comes is shown without being asked for.
    submit("TASK-ask me", "Which size?");
    await page.getByRole("row").filter({ hasText: "Which size?" }).waitFor();
  });

  await check("what models answered and failed at", async () => {
    await go("/admin/system/models");
    const main = page.getByRole("table").first().getByRole("row").nth(1);
    await main.getByText(/ago|now/).first().waitFor();
    const id = submit("TASK-refused", "No answer");
    await until("its end", () => ["failed", "needs_review"].includes(status(id)));
    await page.getByRole("row").filter({ hasText: "rejected" }).first().waitFor();
  });

  await check("of the configuration, what is set is shown alone", async () => {
    const { settings } = read("/api/config");
    const set = settings.filter(({ origin }) => origin !== "default").map(({ key }) => key);
    await go("/admin/system/settings");
    const keys = page.locator(".settings dt");
    const shown = () => keys.allTextContents();
    await until("all of them", async () => (await keys.count()) === settings.length);
    assert(set.length > 5 && set.length < settings.length && set.includes("admin.email"), set.join());
    const only = page.getByRole("checkbox", { name: "Only what is set" });
    await only.check();
    await until("those that are set", async () => (await shown()).join() === set.join());
    assert(page.url().includes("set=1"), page.url());
    await page.getByRole("searchbox", { name: "Filter" }).fill("max_iterations");
    await until("one of them", async () => (await shown()).join() === "limits.max_iterations_per_task");
    await page.locator(".settings").getByText("assistant.toml").waitFor();
    await page.reload();
    await until("the same one", async () => (await shown()).join() === "limits.max_iterations_per_task");
    await page.getByRole("searchbox", { name: "Filter" }).fill("smtp_host");
    await text("No key of that name.").waitFor();
    await only.uncheck();
    await text("email.smtp_host").waitFor();
    // What is set from now on is among them as soon as it is read.
    await go("/admin/system/settings?set=1");
    await until("those that are set", async () => (await keys.count()) === set.length);
    appendFileSync(daemon.config, '[retention]\ntrash_days = 12\n');
    await button("Read the configuration again").click();
    await text("1 key changed").waitFor();
    await page.locator(".settings > div", { has: page.getByText("retention.trash_days", { exact: true }) }).getByText("12", { exact: true }).waitFor();
    await until("one more", async () => (await keys.count()) === set.length + 1);
  });

  await check("these pages in both themes and on a phone, without a complaint of axe", async () => {
    await looks(
      {
        "system-log": "/admin/system/log",
        "system-storage": "/admin/system/storage",
        "system-notices": "/admin/system/notices",
        "system-models-failed": "/admin/system/models",
      },
      {
        "system-log": async () => {
          await lines.first().waitFor();
          await lines.nth(1).getByRole("button").click();
          await page.locator(".log .detail").waitFor();
        },
        "system-storage": () => page.getByRole("rowheader", { name: "Database" }).waitFor(),
        "system-notices": () => text("Told lately").waitFor(),
      },
    );
  });

  await check("the console is clean and nothing is asked of others", async () => clean());
} finally {
  process.exitCode = (await end()) ? 1 : 0;
}
