// Jobs from the first one on: what is tried, scheduled and attached, what is seen of a run while it goes on, and what the
// page takes back when the daemon refuses.
import { readFileSync, readdirSync } from "node:fs";
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
    await button("Send", false).click();
    await page.getByRole("heading", { name: "TASK-plain" }).waitFor();
    const id = Number(/\d+$/.exec(page.url())[0]);
    const made = job(id);
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

  await check("the console is clean and nothing is asked of others", async () => clean());
} finally {
  process.exitCode = (await end()) ? 1 : 0;
}
