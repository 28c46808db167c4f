// What pages tell at a glance: banners, bars, the present step, marks, the table of the sandbox; and what is shown at once
// and goes back when the daemon refuses it.
import { appendFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, stage, until } from "./stage.mjs";

const more = 'circuit_failures = 2\ncircuit_cooldown = 4\nretries = 1\nretry_backoff = 0\n';
const { page, daemon, check, go, button, text, expected, clean, looks, logIn, down, sql, end } = await stage("looks", { sandbox: true, llm: more });

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

  const HOUR = 3_600_000;
  /** A job with two runs an hour apart, the first of 4 seconds and the second of one. */
  const twice = submit("TASK-plain", "Two runs");
  await until("its end", () => status(twice) === "completed");
  const row = (at, type, input, took) => `(${twice}, (SELECT log_seq FROM jobs WHERE id = ${twice}), '${type}', '${input}', ${took},
    (SELECT created_at FROM jobs WHERE id = ${twice}) + ${at * 1000});`;
  const rows = [
    [0, "status_change", '{"from":"queued","to":"running"}', "NULL"],
    [1000, "llm_response", '{"model":"scripted"}', 1000],
    [4000, "tool_result", "{}", 3000],
    [4000, "status_change", '{"from":"running","to":"completed"}', "NULL"],
    [HOUR, "status_change", '{"from":"queued","to":"running"}', "NULL"],
    [HOUR + 500, "llm_response", '{"model":"scripted"}', 500],
    [HOUR + 1000, "status_change", '{"from":"running","to":"completed"}', "NULL"],
  ].map((one) => `UPDATE jobs SET log_seq = log_seq + 1 WHERE id = ${twice};
    INSERT INTO task_logs (job_id, sequence, event_type, input_data, duration_ms, created_at) VALUES ${row(...one)}`);
  await sql(`DELETE FROM task_logs WHERE job_id = ${twice}; UPDATE jobs SET log_seq = 0, cost_nanos = 500000000 WHERE id = ${twice}; ${rows.join(" ")}`);

  await check("the limits of a job are bars, money and time as well", async () => {
    await go(`/admin/jobs/${twice}`);
    const limits = page.getByRole("region", { name: "Limits" });
    const bar = (name) => limits.getByRole("meter", { name, exact: true });
    const said = async (name) => [await bar(name).getAttribute("aria-valuenow"), await bar(name).getAttribute("aria-valuetext")].join();
    assert((await said("Money")) === "0.5,$0.500 / $2.00", await said("Money"));
    assert((await said("Time of a run")) === "1000,1.0 s / 1 h", await said("Time of a run"));
    const share = await bar("Money").evaluate((track) => track.firstElementChild.getBoundingClientRect().width / track.getBoundingClientRect().width);
    assert(Math.abs(share - 0.25) < 0.01, `a quarter is shown as ${share}`);
    // A run that goes on grows.
    const id = submit("TASK-run", "It takes a while");
    await go(`/admin/jobs/${id}`);
    await until("a second", async () => Number(await bar("Time of a run").getAttribute("aria-valuenow")) > 1000);
    writeFileSync(join(daemon.workspace, "go-on"), "");
    await until("its end", () => status(id) === "completed");
  });

  await check("each step's time is a bar on the axis of its run", async () => {
    await go(`/admin/jobs/${twice}`);
    await page.locator(".took").nth(2).waitFor();
    const bars = await page.locator(".took svg").evaluateAll((all) => all.map((svg) => {
      const [axis, bar] = [...svg.children].map((rect) => rect.getBoundingClientRect());
      return [bar.x - axis.x, bar.width].map((length) => Math.round((length / axis.width) * 100));
    }));
    assert(JSON.stringify(bars) === "[[0,25],[25,75],[0,50]]", JSON.stringify(bars));
    const left = await page.locator(".took svg").evaluateAll((all) => new Set(all.map((svg) => svg.getBoundingClientRect().x)).size);
    assert(left === 1, "the axes do not stand below each other");
    assert((await page.locator(".took").allTextContents()).join() === "1.0 s,3.0 s,500 ms", "the times are not told as text");
    await looks({ "job-bars": `/admin/jobs/${twice}` }, { "job-bars": () => page.locator(".took").nth(2).waitFor() });
  });

  await check("what runs now is shown with the step that it is at, and for how long", async () => {
    rmSync(join(daemon.workspace, "go-on"), { force: true });
    await go("/admin");
    const now = page.getByRole("region", { name: "Now" });
    await now.getByText("No job is running.").waitFor();
    const thinking = submit("TASK-slow", "It thinks");
    const line = (subject) => now.getByRole("listitem").filter({ hasText: subject });
    await line("It thinks").getByText("asks the model").waitFor();
    const running = submit("TASK-run", "It waits for a file");
    await line("It waits for a file").getByText("runs").waitFor();
    await line("It waits for a file").getByText("bash -c until [ -e go-on ]").waitFor();
    await line("It waits for a file").locator(".present").getByText(/^[23]\.\d s$/).waitFor();
    await looks({ "overview-now": "/admin" }, { "overview-now": () => line("It waits for a file").locator(".present").waitFor() });
    writeFileSync(join(daemon.workspace, "go-on"), "");
    await line("It waits for a file").waitFor({ state: "detached" });
    daemon.ctl(["job", "cancel", String(thinking)]);
    await now.getByText("No job is running.").waitFor();
    assert(status(running) === "completed", status(running));
  });

  await check("rows of jobs tell their age and whether their sender is proved", async () => {
    const [proved, doubtful] = [submit("TASK-plain", "Of a sender who is proved"), submit("TASK-plain", "Of a sender who is not")];
    await until("their end", () => [proved, doubtful].every((id) => status(id) === "completed"));
    const received = (id, verified) => `INSERT INTO mail_received (mailbox, uid_validity, uid, size_bytes, from_address, subject, headers,
      verification, verified, decision, reason, received_at, decided_at, email_id, job_id)
      SELECT 'me', 1, ${id}, 1, from_address, subject, '[]', '{}', ${verified}, 'job', '', 1, 1, id, ${id} FROM emails
      WHERE id = (SELECT trigger_email_id FROM jobs WHERE id = ${id});`;
    await sql(`${received(proved, 1)} ${received(doubtful, 0)} UPDATE jobs SET created_at = created_at - ${HOUR * 3000} WHERE id = ${proved};`);
    await go("/admin/jobs");
    const row = (subject) => page.locator(".virtual .job-row").filter({ hasText: subject });
    await row("Of a sender who is proved").getByText("3 hr ago").waitFor();
    const from = (subject) => row(subject).locator(".from").innerText();
    assert(/^verified/.test((await from("Of a sender who is proved")).trim()), await from("Of a sender who is proved"));
    assert(/^not verified/.test((await from("Of a sender who is not")).trim()), await from("Of a sender who is not"));
    assert(!/verified/.test(await from("Two runs")), "a job that no mail made has a mark");
    await looks({ "jobs-marks": "/admin/jobs" }, { "jobs-marks": () => row("Two runs").waitFor() });
  });

  await check("what each backend of the sandbox gives is a table, whichever is taken", async () => {
    await go("/admin/system/sandbox");
    const { backend, backends, guarantees } = read("/api/sandbox");
    const table = page.getByRole("group", { name: "Guarantee" });
    await table.waitFor({ timeout: 15_000 });
    await table.locator("tbody tr").first().waitFor();
    const heads = await table.locator("thead th").allTextContents();
    assert(heads.join() === "Guarantee,unit,namespace,docker,landlock", heads.join());
    const shown = await table.locator("tbody tr").evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => (cell.querySelector("code") ?? cell).textContent.trim())));
    const word = ({ guarantees: its, problem }, name) => (its.some((one) => one.name === name && one.given) ? "proven" : problem ? "absent" : "degraded");
    const wanted = guarantees.map(({ name }) => [name, ...backends.map((one) => word(one, name))]);
    wanted.push(["Runs commands", ...backends.map((one) => (one.problem ? "no" : one.backend === backend ? "taken" : "yes"))]);
    assert(JSON.stringify(shown) === JSON.stringify(wanted), JSON.stringify([shown, wanted]));
    // This host has the runner that the tests build, and no units: one is taken, and others are not there.
    for (const each of ["proven", "absent", "taken"]) assert(shown.flat().includes(each), `nothing is ${each}`);
    assert((await table.locator("td .glyph").count()) === (await table.locator("td").count()), "a state has no icon");
    // A backend that lacks something, and that commands run in all the same, is not to be had here: it is one that is said.
    await page.route("**/api/sandbox", async (route) => {
      const answer = await (await route.fetch()).json();
      Object.assign(answer.backends.at(-1), { problem: null, guarantees: guarantees.map(({ name }) => ({ name, required: false, given: name !== "network", reason: "as it is" })) });
      await route.fulfill({ json: answer });
    });
    await go("/admin/system/sandbox");
    const last = table.locator("tbody tr td:last-child");
    await last.first().waitFor({ timeout: 15_000 });
    const told = (await last.allTextContents()).map((one) => one.trim());
    assert(told.join() === [...guarantees.map(({ name }) => (name === "network" ? "degraded" : "proven")), "yes"].join(), told.join());
    await looks({ "sandbox-table": "/admin/system/sandbox" }, { "sandbox-table": () => table.waitFor({ timeout: 15_000 }) });
    await page.unroute("**/api/sandbox");
  });

  await check("the console is clean and nothing is asked of others", async () => clean());
} finally {
  process.exitCode = (await end()) ? 1 : 0;
}
