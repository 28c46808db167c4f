// What the pages do with much, with what went wrong, and with a host in distress: what ordinary use does not bring about
// is put into the database of the daemon while it is down.
import { appendFileSync } from "node:fs";
import { assert, stage, until } from "./stage.mjs";

const ROWS = 50_000;
/** Rows of a list that is not long. */
const FEW = 490;
const { page, daemon, expected, check, go, button, text, logIn, looks, clean, down, sql, end } = await stage("crowded", { sandbox: true });

try {
  const { job } = JSON.parse(daemon.ctl(["submit", "TASK-plain", "--subject", "A long story", "-o", "json"]));
  await until("the end of the job", () => JSON.parse(daemon.ctl(["query", "GET", `/api/jobs/${job.id}`])).job.status === "completed");
  const { job: short } = JSON.parse(daemon.ctl(["submit", "TASK-plain", "--subject", "A short story", "-o", "json"]));
  await until("the end of the other job", () => JSON.parse(daemon.ctl(["query", "GET", `/api/jobs/${short.id}`])).job.status === "completed");
  const log = (id, rows) => `
    WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ${rows})
    INSERT INTO task_logs (job_id, sequence, event_type, tool_name, output_data, duration_ms, created_at)
    SELECT ${id}, (SELECT log_seq FROM jobs WHERE id = ${id}) + n, 'tool_result', 'file_read', '{"text":"line ' || n || '"}',
      n % 900, (SELECT created_at FROM jobs WHERE id = ${id}) + n * 1000 FROM n;
    UPDATE jobs SET log_seq = log_seq + ${rows} WHERE id = ${id};`;
  await sql(`${log(job.id, ROWS)} ${log(short.id, FEW)}
    UPDATE jobs SET cost_nanos = 4500000000 WHERE id = ${job.id};
    INSERT INTO spend_days (day, settled_nanos, calls, tokens)
    SELECT date('now', '-' || n || ' days'), 3000000000, 9, 900 FROM (SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 5) WHERE true
    ON CONFLICT (day) DO UPDATE SET settled_nanos = 3000000000;
    INSERT INTO spend_models (day, model, nanos)
    SELECT day, model, cost * 100000000 FROM spend_days,
      (SELECT 'large' AS model, 12 AS cost UNION ALL SELECT 'middle', 8 UNION ALL SELECT 'small', 4 UNION ALL SELECT 'tiny', 3
        UNION ALL SELECT '', 1 UNION ALL SELECT 'rare', 1 UNION ALL SELECT 'rarer', 1);
    INSERT INTO effects (job_id, tool, target, args_hash, origin, rule, state, detail, prepared_at)
    SELECT ${job.id}, 'file_write', target, 'abcdef', 'owner', 'default', 'unknown', '{}', 1000000
    FROM (SELECT 'first.txt' AS target UNION ALL SELECT 'second.txt' UNION ALL SELECT 'third.txt');`);
  expected.add("401 (Unauthorized)");
  await logIn("/admin");

  await check(`a log of ${ROWS} rows is read to its beginning, and only what can be seen is in the page`, async () => {
    await page.goto(`${daemon.origin}/admin/jobs/${job.id}`);
    const list = page.getByRole("group", { name: "Timeline" });
    await list.locator("li").first().waitFor();
    const known = () => list.locator("li").first().getAttribute("aria-setsize").then(Number);
    await page.evaluate(() => {
      window.long = [];
      new PerformanceObserver((tasks) => window.long.push(...tasks.getEntries().map(({ duration }) => duration))).observe({ type: "longtask" });
    });
    const begun = Date.now();
    await until(
      "the whole log",
      async () => {
        await list.evaluate((element) => (element.scrollTop = element.scrollTop === 0 ? 1 : 0));
        return (await known()) > ROWS;
      },
      60_000,
    );
    const read = Date.now() - begun;
    assert((await list.locator("li").count()) < 200, "rows that nobody sees are in the page");
    // Over all of it, a place for each frame.
    const frames = await list.evaluate(async (element) => {
      const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
      const gaps = [];
      let before = await frame();
      for (let step = 0; step <= 200; step++) {
        element.scrollTop = (element.scrollHeight * step) / 200;
        const now = await frame();
        gaps.push(now - before);
        before = now;
      }
      return gaps.sort((one, other) => one - other);
    });
    await list.evaluate((element) => (element.scrollTop = element.scrollHeight));
    await until("the last row", async () => Number(await list.locator("li").last().getAttribute("aria-posinset")) === (await known()));
    await list.evaluate((element) => (element.scrollTop = 0));
    await until("the first row", async () => Number(await list.locator("li").first().getAttribute("aria-posinset")) === 1);
    const long = await page.evaluate(() => window.long);
    console.log(
      `      read in ${read} ms; scrolling, a frame takes ${frames[100].toFixed(1)} ms in the middle and ${frames.at(-1).toFixed(1)} ms at worst; longest task ${Math.max(0, ...long)} ms`,
    );
  });
  await check("words are found in all of them", async () => {
    const list = page.getByRole("group", { name: "Timeline" });
    await page.getByRole("searchbox", { name: "Find in the timeline" }).fill("LINE 4321");
    await text("11 of ").waitFor();
    // Line 4321 itself and the ten that begin with it.
    await until("the rows with it", async () => (await list.locator("li").count()) === 11);
    await page.getByRole("searchbox", { name: "Find in the timeline" }).fill("nobody says this");
    await text("No row that is here says this.").waitFor();
    await page.getByRole("searchbox", { name: "Find in the timeline" }).fill("");
    await until("all rows", async () => Number(await list.locator("li").first().getAttribute("aria-setsize")) > ROWS);
  });
  await check("scrolling through them costs no more than through a few", async () => {
    const session = await page.context().newCDPSession(page);
    await session.send("Performance.enable");
    const work = async () => Object.fromEntries((await session.send("Performance.getMetrics")).metrics.map(({ name, value }) => [name, value * 1000]));
    /** The script's milliseconds for 100 places, all of them in rows that are there already. */
    const cost = async (list) => {
      const steps = async () => {
        const before = (await work()).ScriptDuration;
        await list.evaluate(async (element) => {
          const far = element.scrollHeight - element.clientHeight - 1000;
          for (let step = 0; step < 100; step++) {
            element.scrollTop = 1000 + (far * step) / 100;
            await new Promise((resolve) => requestAnimationFrame(resolve));
          }
        });
        return (await work()).ScriptDuration - before;
      };
      // What was never run is compiled first, and what was never seen is measured first.
      await steps();
      return Math.min(await steps(), await steps());
    };
    const list = page.getByRole("group", { name: "Timeline" });
    const many = await cost(list);
    await page.goto(`${daemon.origin}/admin/jobs/${short.id}`);
    await until("the short log", async () => Number(await list.locator("li").first().getAttribute("aria-setsize").catch(() => 0)) > FEW);
    const few = await cost(list);
    console.log(`      100 places: ${many.toFixed(0)} ms of script in ${ROWS} rows, ${few.toFixed(0)} ms in ${FEW}`);
    assert(many < 4 * few, `${many.toFixed(0)} ms of script in ${ROWS} rows, ${few.toFixed(0)} ms in ${FEW}`);
  });
  await check("what each model costs is shown day by day", async () => {
    await go("/admin");
    const money = page.locator(".card", { has: page.getByRole("heading", { name: "Money" }) });
    await money.locator("svg rect.model-1").first().waitFor({ state: "attached" });
    const table = money.getByRole("table", { includeHidden: true });
    const heads = await table.locator("thead th").allTextContents();
    assert(heads.slice(1, 5).join() === "large,middle,small,tiny" && heads.at(-1) === "Other models" && heads.length === 7, heads.join());
    assert((await table.locator("tbody tr").count()) === 3, "three days had a cost");
    const today = await table.locator("tbody tr").last().locator("td").allTextContents();
    assert(/1\.20/.test(today[0]) && /0\.10|0\.20/.test(today.at(-1)), today.join());
    const { costs } = JSON.parse(daemon.ctl(["query", "GET", "/api/stats"]));
    const shown = await money.locator("dl.facts > div").evaluateAll((facts) => Object.fromEntries(facts.map((fact) => [...fact.children].map(({ textContent }) => textContent))));
    // Three dollars on each of three days, and one job that has a cost.
    const month = `$${costs.month_total.toFixed(2)}`;
    const wanted = { "This month": month, "In all": "$9.00", "Average per job": "$9.00", "Model calls": String(costs.api_call_count), "Jobs with cost": "1" };
    assert(JSON.stringify(shown) === JSON.stringify(wanted), JSON.stringify([shown, wanted]));
    await looks({ "overview-costs": "/admin" });
  });
  await check("what nobody can know is settled by a person, where it is listed and where it is asked for", async () => {
    await go("/admin/effects?state=unknown");
    const entries = page.locator(".ledger .line");
    await until("three of them", async () => (await entries.count()) === 3);
    await entries.first().click();
    await button("It happened").click();
    await until("two of them", async () => (await entries.count()) === 2);
    await entries.first().click();
    await button("It did not happen").click();
    await until("one of them", async () => (await entries.count()) === 1);
    const state = (id) => JSON.parse(daemon.ctl(["query", "GET", `/api/effects?job=${job.id}`])).effects.map((effect) => effect.state).sort().join();
    assert(state() === "confirmed,failed,unknown", state());
    await go("/admin");
    await text("first.txt").waitFor();
    const present = () => JSON.parse(daemon.ctl(["query", "GET", `/api/jobs/${job.id}`])).job;
    const ended = present().completed_at;
    await button("Run it again").click();
    await page.getByRole("dialog").getByText("it may be done twice").waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Run it again" }).click();
    await text("The job runs again.").waitFor();
    await until("none", async () => state() === "confirmed,failed,failed");
    await until("the end of its job", () => present().status === "completed" && present().completed_at !== ended);
  });
  await check("the sandbox is tried from the page", async () => {
    await go("/admin/system/sandbox");
    await button("Try to break out").click();
    await page.locator("table").nth(1).locator("tbody tr").nth(20).waitFor({ timeout: 60_000 });
    assert((await page.locator("table").nth(1).locator(".state.failed").count()) === 0, "an attempt came out wrong");
  });
  await check("an action that is refused says so, and nothing has changed", async () => {
    expected.add("409 (Conflict)");
    await go("/admin/jobs");
    const rows = page.locator(".virtual .job-row");
    await rows.first().waitFor();
    await rows.first().getByRole("checkbox").check();
    await button("Cancel job").click();
    const note = page.locator(".note.bad");
    await note.waitFor();
    await rows.first().locator(".state.completed").waitFor();
    await note.getByRole("button", { name: "Close" }).click();
  });
  await check("jobs that are selected are run again and erased together", async () => {
    for (const name of ["one", "two"]) daemon.ctl(["submit", "TASK-plain", "--subject", `The ${name} of many`]);
    await go("/admin/jobs?q=of+many");
    const rows = page.locator(".virtual .job-row");
    await until("both to be done", async () => (await rows.locator(".state.completed").count()) === 2);
    const choose = async () => {
      await until("both", async () => (await rows.count()) === 2);
      for (const at of [0, 1]) await rows.nth(at).getByRole("checkbox").check();
      await text("2 selected").waitFor();
    };
    await choose();
    await button("Run again").click();
    await text("2 jobs done").waitFor();
    await until("both to be done again", async () => (await rows.locator(".state.completed").count()) === 2);
    await choose();
    // A row may be asked for once more while it goes.
    expected.add("404 (Not Found)");
    await button("Erase").click();
    await page.getByRole("dialog").getByRole("button", { name: "Erase" }).click();
    await text("No job is like this.").waitFor();
    await until("them to be gone", async () => JSON.parse(daemon.ctl(["query", "GET", "/api/jobs?q=of+many"])).jobs.length === 0);
  });
  await check("a host in distress is told of on every page", async () => {
    await down(() => appendFileSync(daemon.config, '[retention]\nmin_free_bytes = 1000000000000000\n'));
    for (const path of ["/admin", "/admin/jobs", "/workspace"]) {
      await go(path);
      await page.locator(".banners").getByText("The disk is nearly full").waitFor();
    }
    expected.add("507");
    await go("/admin/jobs?new=1");
    await page.getByRole("textbox", { name: /^Task/ }).fill("TASK-plain");
    await page.keyboard.press("Control+Enter");
    await text("Request").waitFor();
  });
  await check("the console is clean and nothing is asked of others", async () => clean());
} finally {
  process.exitCode = (await end()) ? 1 : 0;
}
