// Jobs from the first one on: what is tried, scheduled and attached, what is seen of a run while it goes on, and what the
// page takes back when the daemon refuses.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, stage, until } from "./stage.mjs";

const limits = "max_iterations_per_task = 400\n";
const { page, daemon, expected, check, go, button, label, text, logIn, looks, accessible, clean, sql, end } = await stage("jobs", { limits });

const read = (path) => JSON.parse(daemon.ctl(["query", "GET", path]));
const make = (job) => JSON.parse(daemon.ctl(["query", "POST", "/api/jobs", "--data", JSON.stringify({ body: "TASK-plain", ...job })])).job.id;
const submit = (body, subject) => make({ body, subject });
const job = (id) => read(`/api/jobs/${id}`).job;
const cancel = (id) => daemon.ctl(["query", "POST", `/api/jobs/${id}/cancel`]);
const ended = (id) => until(`the end of job ${id}`, () => job(id).status === "completed");
const dialog = page.getByRole("dialog");
const card = (title) => page.locator(".card", { has: page.getByRole("heading", { name: title, exact: true }) });
const HOUR = 3_600_000;
/** What stands in the field of a time in the browser's zone. */
const wall = (time) => new Date(time).toLocaleString("sv-SE", { timeZone: "Europe/Berlin" }).slice(0, 16).replace(" ", "T");
/** Files as a person drops them or has them in the clipboard. */
const carried = (files) =>
  page.evaluateHandle((files) => {
    const data = new DataTransfer();
    for (const [name, content] of files) data.items.add(new File([content], name, { type: "text/plain" }));
    return data;
  }, files);

try {
  expected.add("401 (Unauthorized)");
  await logIn("/admin");

  await check("what a new user is told to try is a job at a press", async () => {
    await text("Three things to try").waitFor();
    const tries = page.locator(".tries > li");
    assert((await tries.count()) === 3, "not three");
    const body = await tries.first().locator("p").textContent();
    await tries.first().getByText(`assistantctl submit "${body}" --follow`).waitFor();
    await looks({ tries: "/admin" });
    await tries.first().getByRole("button", { name: "Try it" }).click();
    await page.getByRole("heading", { name: "Say hello" }).waitFor();
    const id = Number(/\/admin\/jobs\/(\d+)$/.exec(page.url())[1]);
    await ended(id);
    const { trigger_email } = read(`/api/jobs/${id}`);
    assert(trigger_email.subject === "Say hello" && trigger_email.body_text === body, JSON.stringify(trigger_email));
    await page.locator(".title .state.completed").waitFor();
    await go("/admin");
    await text("Nothing needs you.").waitFor();
    assert((await page.getByText("Three things to try").count()) === 0, "it is still told");
  });

  await check("the chart of outcomes shows what the daemon counts, and grows as jobs end", async () => {
    const old = submit("TASK-plain", "Of yesterday");
    await ended(old);
    for (const subject of ["one", "two"]) await ended(submit("TASK-plain", subject));
    const thinking = submit("TASK-slow", "No more of it");
    await until("it to run", () => job(thinking).status === "running");
    cancel(thinking);
    await until("its end", () => job(thinking).status === "cancelled");
    await sql(`UPDATE jobs SET completed_at = completed_at - 86400000000 WHERE id = ${old};
      UPDATE jobs SET status = 'failed' WHERE id = ${old - 1};`);
    await go("/admin");
    const outcomes = card("Outcomes");
    const table = outcomes.getByRole("table", { includeHidden: true });
    const counts = ({ outcomes }) => ["completed", "failed", "cancelled"].map((status) => outcomes[status] ?? 0);
    const same = async () => {
      const wanted = read("/api/stats/days").days.filter((day) => counts(day).some(Boolean)).map((day) => [day.date, ...counts(day)].join());
      const rows = await table.locator("tbody tr").evaluateAll((all) => all.map((row) => [...row.cells].map(({ textContent }) => textContent).join()));
      return rows.length === 2 && rows.join(" ") === wanted.join(" ");
    };
    await until("the numbers of the daemon", same);
    assert(/,1,0,0$/.test((await table.locator("tbody tr").first().innerText()).replace(/\s+/g, ",")), await table.innerText());
    // As high as they are many.
    const height = (status) => outcomes.locator(`svg g:last-child rect.${status}`).evaluate((bar) => Number(bar.getAttribute("height")));
    assert(Math.abs((await height("completed")) - 2 * (await height("cancelled"))) < 0.01, "the bars are not in proportion");
    const said = () => outcomes.locator(".legend").innerText();
    const today = await said();
    await outcomes.locator("svg g").nth(-2).hover();
    const before = await said();
    assert(/Done\s+2.*Failed\s+1.*Cancelled\s+1/s.test(today) && /Done\s+1.*Failed\s+0.*Cancelled\s+0/s.test(before), `${today} -- ${before}`);
    await page.mouse.move(0, 0);
    await ended(submit("TASK-plain", "three"));
    await until("the numbers after one more", async () => (await said()) !== today && (await same()));
    assert(/Done\s+3/.test(await said()), await said());
    await outcomes.getByRole("link", { name: String(read("/api/status").jobs.completed), exact: true }).first().click();
    await page.getByRole("heading", { name: "Jobs", level: 1 }).waitFor();
    assert(page.url().includes("status=completed"), page.url());
  });

  await check("a new job has a time and a priority, and stands under Next until then", async () => {
    const at = Math.ceil((Date.now() + 2 * HOUR) / 60_000) * 60_000;
    await go("/admin/jobs?new=1");
    await page.getByRole("textbox", { name: /^Task/ }).fill("TASK-plain\nand more of it");
    await page.getByLabel(/^When/).fill(wall(at));
    await page.getByLabel(/^Priority/).fill("2000");
    await button("Send", false).click();
    // Neither the browser nor the daemon takes that.
    assert(await page.getByLabel(/^Priority/).evaluate((input) => !input.validity.valid), "it is out of bounds");
    await page.getByLabel(/^Priority/).fill("7");
    await page.getByLabel(/^Most model calls/).fill("12");
    await page.getByLabel(/^Most tokens/).fill("30000");
    await page.getByLabel(/^Most money/).fill("0.25");
    await button("Send", false).click();
    await page.getByRole("heading", { name: "TASK-plain" }).waitFor();
    const id = Number(/\d+$/.exec(page.url())[0]);
    const made = job(id);
    const { max_iterations_per_task: calls, max_tokens_per_task: tokens, max_job_cost_usd: dollars } = made.metadata.limits;
    assert(calls === 12 && tokens === 30_000 && dollars === 0.25, JSON.stringify(made.metadata));
    await card("Limits").getByText("0 / 12", { exact: true }).waitFor();
    await card("Limits").getByText("/ $0.25").waitFor();
    assert(new Date(made.run_at).getTime() === at && made.priority === 7 && made.status === "queued", JSON.stringify(made));
    const runs = page.locator("dl.facts > div", { has: page.getByText("Runs at", { exact: true }) });
    assert(new Date(await runs.locator("time").getAttribute("datetime")).getTime() === at, "the job does not say when");
    // The one that comes first stands first; one for now is not among them.
    const sooner = make({ subject: "Sooner", run_at: new Date(at - HOUR).toISOString() });
    await ended(submit("TASK-plain", "At once"));
    await go("/admin");
    const rows = card("Next").locator("li");
    await until("both", async () => (await rows.count()) === 2);
    const shown = await rows.evaluateAll((all) => all.map((row) => [row.querySelector("a").getAttribute("href"), Date.parse(row.querySelector("time").dateTime), row.querySelector("time").textContent].join(" ")));
    assert(/^\/admin\/jobs\/\d+ \d+ in (1 hr|60 min)/.test(shown[0]) && shown[0].includes(`/${sooner} ${at - HOUR} `), shown[0]);
    assert(shown[1].includes(`/${id} ${at} in 2 hr`), shown[1]);
    for (const one of [id, sooner]) cancel(one);
    await text("Nothing is scheduled.").waitFor();
  });

  await check("files are attached by choosing, dropping and pasting, and two of one name are two", async () => {
    await go("/admin/jobs?new=1");
    const task = page.getByRole("textbox", { name: /^Task/ });
    await task.fill("TASK-plain");
    const files = page.getByRole("list", { name: "Attached" }).locator("li");
    await page.locator("input[type=file]").setInputFiles({ name: "note.txt", mimeType: "text/plain", buffer: Buffer.from("chosen") });
    await files.nth(0).waitFor();
    const form = page.locator("dialog form");
    const dropped = await carried([["note.txt", "dropped"], ["unwanted.txt", "no"]]);
    await form.dispatchEvent("dragover", { dataTransfer: dropped });
    await page.locator("dialog form.over").waitFor();
    await form.dispatchEvent("drop", { dataTransfer: dropped });
    await files.nth(2).waitFor();
    assert((await page.locator("dialog form.over").count()) === 0, "it still looks as if something was held over it");
    const pasted = await carried([["note.txt", "pasted"]]);
    await task.evaluate((field, clipboardData) => field.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true })), pasted);
    await files.nth(3).waitFor();
    await button("Remove unwanted.txt").click();
    await until("three of them", async () => (await files.count()) === 3);
    assert((await files.allTextContents()).every((line, at) => line.includes(["note.txt", "note 2.txt", "note 3.txt"][at])), "names that are not free");
    await accessible("a new job with files");
    await task.press("Control+Enter");
    await page.getByRole("heading", { name: "TASK-plain" }).waitFor();
    const id = Number(/\d+$/.exec(page.url())[0]);
    await ended(id);
    const folder = join(daemon.workspace, `jobs/${id}/in`);
    const held = ["note.txt", "note 2.txt", "note 3.txt"].map((name) => readFileSync(join(folder, name), "utf8"));
    assert(held.join() === "chosen,dropped,pasted", held.join());
    assert(readdirSync(folder).length === 3, `what was removed is sent: ${readdirSync(folder)}`);
    const { attachments } = read(`/api/jobs/${id}`).trigger_email;
    assert(attachments.length === 3, JSON.stringify(attachments));
  });

  await check("a job whose file does not arrive says so, and none is left waiting for it", async () => {
    expected.add("507 (Insufficient Storage)");
    await page.route("**/api/workspace/upload*", (route) =>
      route.fulfill({ status: 507, contentType: "application/problem+json", body: JSON.stringify({ kind: "storage_full", title: "no room for it", hint: "make some", request_id: "r-507" }) }),
    );
    await go("/admin/jobs?new=1");
    const task = page.getByRole("textbox", { name: /^Task/ });
    await task.fill("TASK-plain, with a file");
    await page.locator("input[type=file]").setInputFiles({ name: "note.txt", mimeType: "text/plain", buffer: Buffer.from("chosen") });
    await button("Send", false).click();
    const problem = dialog.getByRole("alert");
    await problem.getByText("no room for it").waitFor();
    await problem.getByText("make some").waitFor();
    await problem.getByText("r-507", { exact: true }).waitFor();
    assert((await task.inputValue()) === "TASK-plain, with a file", "the task is gone");
    const made = () => read("/api/jobs?q=with+a+file").jobs.map(({ status }) => status).join();
    assert(made() === "cancelled", made());
    await page.unroute("**/api/workspace/upload*");
    await button("Send", false).click();
    await page.getByRole("heading", { name: "with a file" }).waitFor();
    await until("its end", () => made() === "completed,cancelled");
  });

  await check("the timeline goes along with a run, or stands still, as it is told", async () => {
    const id = submit("TASK-many", "Look for much");
    await go(`/admin/jobs/${id}`);
    const list = page.getByRole("group", { name: "Timeline" });
    const rows = async () => Number(await list.locator("li").first().getAttribute("aria-setsize"));
    const place = () => list.evaluate(({ scrollTop, scrollHeight, clientHeight }) => ({ top: scrollTop, left: scrollHeight - clientHeight - scrollTop }));
    const newest = async () => Number(await list.locator("li").last().getAttribute("aria-posinset")) === (await rows()) && (await place()).left < 8;
    const more = async (number) => {
      const before = await rows();
      await until(`${number} rows more`, async () => (await rows()) >= before + number);
    };
    await button("Following").waitFor();
    await until("more rows than can be seen", async () => (await place()).top > 100);
    await more(5);
    assert(await newest(), "it does not go along");
    await button("Following").click();
    const { top } = await place();
    await more(10);
    assert((await place()).top === top, `it moves although it is told not to: from ${top} to ${(await place()).top}`);
    await button("Follow").click();
    await until("the newest row", newest);
    await more(5);
    await until("the newest row again", newest);
    // Whoever scrolls up reads, and whoever scrolls down to the end wants to go along.
    await list.hover();
    await page.mouse.wheel(0, -300);
    await button("Follow").waitFor();
    const { top: read } = await place();
    await more(10);
    assert((await place()).top === read, "it is taken away from who reads it");
    // Rows come meanwhile: what was the end may not be it any more.
    await until("it to follow", async () => {
      await list.evaluate((element) => (element.scrollTop = element.scrollHeight));
      return await button("Following").isVisible();
    });
    await more(5);
    await until("the newest row once more", newest);
    cancel(id);
    await page.locator(".title .state.cancelled").waitFor();
  });

  await check("older rows of a log come at a press, and what is read stays where it is", async () => {
    const id = submit("TASK-plain", "Twelve hundred rows");
    await ended(id);
    await sql(`WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1200)
      INSERT INTO task_logs (job_id, sequence, event_type, tool_name, output_data, created_at)
      SELECT ${id}, (SELECT log_seq FROM jobs WHERE id = ${id}) + n, 'tool_result', 'file_read', '{"text":"line ' || n || '"}', (SELECT created_at FROM jobs WHERE id = ${id}) + n FROM n;
      UPDATE jobs SET log_seq = log_seq + 1200 WHERE id = ${id};`);
    await go(`/admin/jobs/${id}`);
    const list = page.getByRole("group", { name: "Timeline" });
    const known = async () => Number(await list.locator("li").first().getAttribute("aria-setsize"));
    const all = read(`/api/jobs/${id}/logs?limit=1`).logs[0].sequence;
    await until("the newest rows", async () => (await known()) === 500);
    assert((await button("Follow").getAttribute("aria-pressed")) === "false", "it follows what has ended");
    await list.evaluate((element) => (element.scrollTop = 3700));
    const first = () => list.evaluate((element) => {
      const edge = element.getBoundingClientRect().top;
      const row = [...element.querySelectorAll("li")].find((row) => row.getBoundingClientRect().bottom > edge + 1);
      return `${row.dataset.row} ${Math.round(row.getBoundingClientRect().top - edge)}`;
    });
    await page.waitForTimeout(200);
    const before = await first();
    await button("Load older rows").click();
    await until("more rows", async () => (await known()) === 1000);
    await page.waitForTimeout(200);
    assert((await first()) === before, `row ${before} was at the top, and now it is row ${await first()}`);
    await button("Load older rows").click();
    await until("all rows", async () => (await known()) === all);
    assert((await first()) === before, `row ${before} was at the top, and now it is row ${await first()}`);
    await button("Load older rows").waitFor({ state: "detached" });
    await list.evaluate((element) => (element.scrollTop = 0));
    await until("the first row", async () => (await first()).startsWith("1 "));
    // It does so for whoever reads the very first row, too.
    await page.reload();
    await until("the newest rows", async () => (await known()) === 500);
    const top = await first();
    await button("Load older rows").click();
    await until("more rows", async () => (await known()) === 1000);
    await page.waitForTimeout(200);
    assert((await first()) === top, `row ${top} was at the top, and now it is row ${await first()}`);
  });

  await check("a job that waits for an answer gets other limits in a dialog, and waits on", async () => {
    const max = 100_000_000;
    const id = submit("TASK-ask me", "Which colour?");
    await until("the question", () => job(id).status === "needs_review");
    await go(`/admin/jobs/${id}`);
    await button("Change limits").click();
    const iterations = dialog.getByLabel("Iterations at most");
    const tokens = dialog.getByLabel("Tokens at most");
    const { review_defaults } = read(`/api/jobs/${id}`);
    assert(Number(await iterations.inputValue()) === review_defaults.max_iterations_per_task && review_defaults.max_iterations_per_task === 400, await iterations.inputValue());
    assert(Number(await tokens.inputValue()) === review_defaults.max_tokens_per_task, await tokens.inputValue());
    await accessible("the dialog of limits");
    await tokens.fill(String(max + 1));
    await dialog.getByRole("button", { name: "Apply" }).click();
    assert(await tokens.evaluate((input) => !input.validity.valid), "too many tokens are taken");
    await iterations.fill("9");
    await tokens.fill("123456");
    await dialog.getByLabel(/^US dollars at most/).fill("3.5");
    await dialog.getByLabel("Instruction").fill("Mind the colour");
    await dialog.getByRole("checkbox", { name: "Run again at once" }).uncheck();
    await dialog.getByRole("button", { name: "Apply" }).click();
    await text("The limits are changed.").waitFor();
    await dialog.waitFor({ state: "detached" });
    const found = read(`/api/jobs/${id}`);
    assert(found.review_diagnostics.limits.max_iterations === 9 && found.review_diagnostics.limits.max_tokens === 123456 && found.review_diagnostics.limits.max_job_cost_usd === 3.5, JSON.stringify(found.review_diagnostics));
    assert(found.job.status === "needs_review" && found.job.needs.what === "answer", "it waits no more");
    await until("the meters to be as full as the new limits make them", async () => (await page.getByRole("meter", { name: "Iterations" }).last().getAttribute("aria-valuemax")) === "9");
    // What it was set to last is what the dialog begins with.
    await button("Change limits").click();
    assert((await iterations.inputValue()) === "9" && (await tokens.inputValue()) === "123456", await iterations.inputValue());
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    await label("Your answer").fill("blue");
    await button("Send").click();
    await ended(id);
    assert(JSON.stringify(read(`/api/jobs/${id}`).logs).includes("Mind the colour"), "it did not hear the instruction");
  });

  await check("jobs that come while one reads further down are told of, and come at a press", async () => {
    // They wait for their files and do nothing.
    for (let number = 1; number <= 30; number++) make({ subject: `Held ${number}`, hold: true });
    await go("/admin/jobs");
    const list = page.getByRole("group", { name: "Jobs" });
    const known = async () => Number(await list.locator("li").first().getAttribute("aria-setsize"));
    await list.locator("li").first().waitFor();
    await page.locator(".live.live").waitFor();
    const before = await known();
    await list.evaluate((element) => (element.scrollTop = 400));
    await page.waitForTimeout(100);
    for (const [at, told] of [[1, "1 new job: show"], [2, "2 new jobs: show"]]) {
      make({ subject: `Comes later ${at}`, hold: true });
      await button(told).waitFor();
    }
    assert((await known()) === before && (await list.evaluate(({ scrollTop }) => scrollTop)) === 400, "the list has moved");
    assert((await page.getByText("Comes later").count()) === 0, "they are there unasked");
    await accessible("the list with new jobs");
    await button("2 new jobs: show").click();
    await text("Comes later 2").waitFor();
    await until("both", async () => (await known()) === before + 2);
    assert((await list.evaluate(({ scrollTop }) => scrollTop)) === 0, "they are out of view");
    await page.locator(".fresh").waitFor({ state: "detached" });
    // At the top they come by themselves.
    make({ subject: "Comes at once", hold: true });
    await text("Comes at once").waitFor();
    assert((await page.locator(".fresh").count()) === 0, "it is told of as well");
    // Of a state that is chosen, only those that come into it count.
    await sql("UPDATE jobs SET status = 'cancelled', needs = NULL, completed_at = created_at WHERE status = 'waiting';");
    await go("/admin/jobs?status=cancelled");
    await page.locator(".live.live").waitFor();
    await list.evaluate((element) => (element.scrollTop = 400));
    await page.waitForTimeout(100);
    const other = make({ subject: "Not yet cancelled", hold: true });
    await ended(submit("TASK-plain", "Done, and not cancelled"));
    await page.waitForTimeout(300);
    assert((await page.locator(".fresh").count()) === 0, await page.locator(".fresh").allTextContents());
    cancel(other);
    await button("1 new job: show").click();
    await text("Not yet cancelled").waitFor();
  });

  /** What the daemon answers, for once; it comes as soon as the check lets it. */
  const refuse = async (path) => {
    let answer;
    const come = new Promise((resolve) => (answer = resolve));
    const problem = { kind: "conflict", title: "the job is another one by now", hint: "look at it again", request_id: "r-409" };
    await page.route(path, async (route) => {
      await come;
      await route.fulfill({ status: 409, contentType: "application/problem+json", body: JSON.stringify(problem) });
    });
    return async () => {
      answer();
      const note = page.locator(".note.bad");
      await note.getByText(problem.title).waitFor();
      await note.getByText(problem.hint).waitFor();
      await note.getByText(problem.request_id, { exact: true }).waitFor();
      await accessible("what was refused");
      await note.getByRole("button", { name: "Close" }).click();
      await note.waitFor({ state: "detached" });
      await page.unroute(path);
    };
  };

  await check("a cancelling that is refused is shown at once, taken back, and told with its request", async () => {
    expected.add("409 (Conflict)");
    const id = submit("TASK-slow", "Not to be stopped");
    await go(`/admin/jobs/${id}`);
    await page.locator(".title .state.running").waitFor();
    const answer = await refuse(`**/api/jobs/${id}/cancel`);
    await button("Cancel job").click();
    await dialog.getByRole("button", { name: "Cancel job" }).click();
    await page.locator(".title .state.cancelled").waitFor();
    assert(job(id).status === "running", "the daemon has heard of it");
    await answer();
    await page.locator(".title .state.running").waitFor();
    assert((await page.getByText("The job is cancelled.").count()) === 0, "it is said to be done");
    cancel(id);
    // Likewise what is to run again.
    await page.locator(".title .state.cancelled").waitFor();
    const other = await refuse(`**/api/jobs/${id}/requeue`);
    await button("Run again").click();
    await page.locator(".title .state.queued").waitFor();
    await other();
    await page.locator(".title .state.cancelled").waitFor();
    assert(job(id).status === "cancelled", job(id).status);
  });

  await check("several jobs are changed at once, and those that the daemon refuses come back", async () => {
    const [first, second] = ["One of two", "Two of two"].map((subject) => make({ subject, run_in: "1h" }));
    await go("/admin/jobs");
    const row = (id) => page.locator(".job-row", { has: page.locator(`a[href="/admin/jobs/${id}"]`) });
    const choose = async () => {
      for (const id of [first, second]) await row(id).getByRole("checkbox").check();
    };
    await choose();
    const answer = await refuse(`**/api/jobs/${second}/cancel`);
    await page.getByRole("toolbar").getByRole("button", { name: "Cancel job" }).click();
    for (const id of [first, second]) await row(id).locator(".state.cancelled").waitFor();
    assert(job(second).status === "queued", "the daemon has heard of it");
    await answer();
    await row(second).locator(".state.queued").waitFor();
    assert(job(first).status === "cancelled", "the other one is not cancelled");
    await row(first).locator(".state.cancelled").waitFor();
    // Erased ones go, and come back to where they were.
    await choose();
    const other = await refuse(`**/api/jobs/${second}`);
    await page.getByRole("toolbar").getByRole("button", { name: "Erase" }).click();
    await dialog.getByRole("button", { name: "Erase" }).click();
    await row(second).waitFor({ state: "detached" });
    await row(first).waitFor({ state: "detached" });
    await other();
    await row(second).locator(".state.queued").waitFor();
    assert((await row(first).count()) === 0 && job(second).status === "queued", "not as the daemon has it");
    cancel(second);
  });

  await check("what a person has said is shown at once, and the box comes back where it is refused", async () => {
    const id = submit("TASK-ask", "A question");
    await go(`/admin/jobs/${id}`);
    const answer = await refuse(`**/api/jobs/${id}/answer`);
    await page.getByRole("textbox", { name: "Your answer" }).fill("the blue one");
    await page.locator(".decide").getByRole("button", { name: "Send" }).click();
    await page.locator(".decide[aria-busy]").getByText("the blue one").waitFor();
    await answer();
    await until("what was typed", async () => (await page.getByRole("textbox", { name: "Your answer" }).inputValue()) === "the blue one");
    cancel(id);
    writeFileSync(join(daemon.workspace, "report.md"), "to go\n");
    const gone = submit("TASK-remove", "A file to go");
    await go(`/admin/jobs/${gone}`);
    const other = await refuse(`**/api/jobs/${gone}/approve`);
    await button("Approve").click();
    await page.locator(".decide[aria-busy]").getByText("Approved").waitFor();
    await other();
    await button("Approve").waitFor();
    assert(job(gone).status === "needs_review", job(gone).status);
    cancel(gone);
  });

  await check("a token whose revocation is refused comes back into the list", async () => {
    daemon.ctl(["token", "create", "stays", "--role", "viewer"]);
    await go("/admin/system/access");
    const row = page.getByRole("row", { name: /^stays/ });
    await row.waitFor();
    const answer = await refuse("**/api/tokens/*");
    await row.getByRole("button").click();
    await dialog.getByRole("button", { name: "Revoke" }).click();
    await row.waitFor({ state: "detached" });
    await answer();
    await row.waitFor();
    assert(read("/api/tokens").tokens.some(({ name }) => name === "stays"), "it is gone");
  });

  await check("the console is clean and nothing is asked of others", async () => clean());
} finally {
  process.exitCode = (await end()) ? 1 : 0;
}
