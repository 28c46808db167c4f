// Who is before the page, and what they may do: keys, theme, what has to be decided, the roles, the password, and what is
// said again after a part of the stream was lost.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, stage, until } from "./stage.mjs";

const PASSWORD = "correct horse battery";
const rules = ["file_append", "file_write"].map((tool) => `, { tool = "${tool}", decision = "ask", reason = "the report is looked at" }`).join("");
const options = { limits: "max_iterations_per_task = 3\n", rules };
const { page, daemon, context, check, go, button, label, text, expected, clean, accessible, logIn, looks, sql, end } = await stage("people", options);

const submit = (task, subject) => Number(/\d+/.exec(daemon.ctl(["submit", task, "--subject", subject]))[0]);
const read = (path) => JSON.parse(daemon.ctl(["query", "GET", path]));
const status = (id) => read(`/api/jobs/${id}`).job.status;
const dialog = page.getByRole("dialog");
const report = join(daemon.workspace, "report.md");

let tokens = 0;
/** The page of somebody with a token of this role, which a proxy in front may send along; and what went wrong in it. */
async function as(role) {
  const secret = JSON.parse(daemon.ctl(["token", "create", `page-${++tokens}`, "--role", role, "-o", "json"])).secret;
  const other = await context.browser().newContext({ extraHTTPHeaders: { Authorization: `Bearer ${secret}` } });
  const theirs = await other.newPage();
  theirs.setDefaultTimeout(7000);
  const wrong = [];
  theirs.on("response", (response) => response.status() >= 400 && wrong.push(`${response.status()} ${response.url()}`));
  theirs.on("pageerror", (err) => wrong.push(String(err)));
  const go = async (path) => {
    await theirs.goto(daemon.origin + path);
    await theirs.locator(".frame h1, .frame .problem, .frame .empty").first().waitFor();
    await theirs.waitForLoadState("load");
    await theirs.waitForTimeout(300);
  };
  return { theirs, wrong, go, close: () => other.close() };
}

try {
  expected.add("401 (Unauthorized)");
  await logIn("/admin");

  await check("Ctrl+K and / open the search, and nothing else does", async () => {
    await go("/admin");
    for (const key of ["Control+k", "/", "Meta+k"]) {
      await page.keyboard.press(key);
      await dialog.getByRole("combobox").waitFor();
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "detached" });
    }
    await page.keyboard.press("/");
    await dialog.getByRole("combobox").fill("overview");
    await page.keyboard.press("ArrowDown");
    await dialog.getByRole("combobox").fill("system");
    await page.keyboard.press("ArrowDown");
    const second = await dialog.getByRole("option").nth(1).textContent();
    assert((await dialog.locator('[aria-selected="true"]').textContent()) === second, "the arrow does not move the choice");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "System", level: 1 }).waitFor();
    await page.keyboard.press("/");
    await dialog.getByRole("combobox").fill("#12");
    await dialog.getByRole("option", { name: "Open job 12" }).waitFor();
    await accessible("the search");
    await page.keyboard.press("Escape");
    // A slash that is typed into a field is a slash.
    await go("/admin/jobs");
    const find = page.getByRole("searchbox", { name: "Search jobs" });
    await find.pressSequentially("a/b");
    assert((await find.inputValue()) === "a/b" && (await dialog.count()) === 0, "the field has lost its slash");
  });

  await check("the theme is chosen, kept, and given back to the system", async () => {
    const shown = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.emulateMedia({ colorScheme: "light" });
    await go("/admin");
    const light = await shown();
    await button("Account").click();
    await button("dark").click();
    const dark = await shown();
    assert(dark !== light, `${dark} as well`);
    await accessible("the account's menu");
    await page.reload();
    await page.locator(".frame h1").first().waitFor();
    assert((await shown()) === dark, "it is not kept");
    await button("Account").click();
    assert((await button("dark").getAttribute("aria-pressed")) === "true", "what is chosen is not marked");
    await page.emulateMedia({ colorScheme: "dark" });
    await button("light").click();
    assert((await shown()) === light, "the system still decides");
    await button("as the system").click();
    assert((await shown()) === dark, "the system does not decide");
    await page.keyboard.press("Escape");
    await page.locator(".menu .drop").waitFor({ state: "detached" });
    await page.emulateMedia({ colorScheme: "light" });
  });

  await check("a job has a second address, and all of its dates, and its thread to copy", async () => {
    const id = submit("TASK-plain", "Second address");
    await until("its end", () => status(id) === "completed");
    await page.goto(`${daemon.origin}/admin?job=${id}`);
    await page.getByRole("heading", { name: "Second address" }).waitFor();
    assert(page.url().endsWith(`/admin/jobs/${id}`), page.url());
    const { job } = read(`/api/jobs/${id}`);
    const head = page.locator(".job > dl.facts");
    for (const name of ["Created", "Ended", "Took", "Cost", "Model calls", "Tokens", "Attempt", "Thread"]) await head.getByText(name, { exact: true }).waitFor();
    await head.getByText(job.thread_id).waitFor();
    assert((await head.locator("time").nth(1).getAttribute("datetime")) === job.completed_at, "that is not when it ended");
    await button("Account").click();
    await page.locator(".menu .drop").waitFor();
    assert((await page.getByRole("link", { name: "Documentation of the API" }).count()) === 0, "it is switched off");
  });

  await check("what a call would change is seen before it is approved, on the overview", async () => {
    writeFileSync(report, "# Report\n\nAll is well.\n");
    const id = submit("TASK-grow", "Make it longer");
    await go("/admin");
    const box = page.locator(".decide");
    await box.locator(".diff .added", { hasText: "One line more." }).waitFor();
    assert((await box.locator(".diff .removed").count()) === 0, "an addition takes something out");
    await box.getByText("All is well.").first().waitFor();
    await looks({ approval: "/admin" }, { approval: () => box.locator(".diff .added").waitFor() });
    // What is proposed is held against what is there now.
    daemon.ctl(["query", "PUT", "/api/workspace/file", "--data", JSON.stringify({ path: "report.md", content: "# Another report\n" })]);
    await box.locator(".diff", { hasText: "Another report" }).waitFor();
    await box.getByText("The call as it is").click();
    await box.locator("dl.call", { hasText: "One line more." }).waitFor();
    await button("Approve").click();
    await until("the end of the job", () => status(id) === "completed");
    await box.waitFor({ state: "detached" });
    const { content } = read("/api/workspace/file?path=report.md");
    assert(content === "# Another report\nOne line more.\n", content);
  });

  await check("what a call would write or delete is seen, and denied", async () => {
    const lines = [];
    for (const [task, mark] of [["TASK-write it anew", "added"], ["TASK-remove the report", "removed"]]) {
      const id = submit(task, "Not this");
      await until("the question", () => status(id) === "needs_review");
      await go(`/admin/jobs/${id}`);
      await page.locator(`.decide .diff .${mark}`).first().waitFor();
      lines.push(await page.locator(".decide .diff").innerText());
      await button("Deny").click();
      await until("the end of the job", () => status(id) === "completed");
    }
    assert(/Another report/.test(lines[0]) && /All is well/.test(lines[0]) && !/All is well/.test(lines[1]), lines.join("\n--\n"));
  });

  await check("a job that has used up its limits goes on with higher ones", async () => {
    const id = submit("TASK-count to five", "Count");
    await until("the limit", () => status(id) === "needs_review");
    await go(`/admin/jobs/${id}`);
    await text("the run used up its iterations").waitFor();
    await page.getByRole("meter", { name: "Iterations" }).first().waitFor();
    const most = label("Iterations at most");
    assert((await most.inputValue()) === "6", `doubled it is ${await most.inputValue()}`);
    await accessible("a job at its limit");
    await page.locator(".needs").getByLabel("Instruction").fill("Go on to the end");
    await button("Apply").click();
    await until("the end of the job", () => status(id) === "completed");
    await page.locator(".title .state.completed").waitFor();
    assert(JSON.stringify(read(`/api/jobs/${id}`)).includes("Go on to the end"), "it did not hear the instruction");
    // Higher limits without another run.
    const other = submit("TASK-count to five", "Count later");
    await until("the limit", () => status(other) === "needs_review");
    await go(`/admin/jobs/${other}`);
    // As full as its limit makes it, in the review and beside the timeline: from 70 % and from 90 % in other colours.
    const meters = page.getByRole("meter", { name: "Iterations" });
    const levels = () => meters.evaluateAll((all) => all.map(({ className }) => className.replace("track ", "")).join());
    const colours = new Set();
    assert((await meters.first().getAttribute("aria-valuetext")) === "3 / 3", "that is not what it has used");
    await page.locator(".needs").getByText("Model calls: 3").waitFor();
    for (const [limit, level] of [["3", "high"], ["4", "near"], ["9", "low"]]) {
      await most.fill(limit);
      await page.locator(".needs").getByRole("checkbox").uncheck();
      await button("Apply").click();
      await until(`a meter of ${level}`, async () => (await levels()) === `${level},${level}`);
      colours.add(await meters.last().evaluate((track) => getComputedStyle(track.firstElementChild).backgroundColor));
    }
    assert(colours.size === 3, [...colours].join());
    assert(status(other) === "needs_review", "it runs");
    // The dialog does the same, from what the job has now.
    await button("Change limits").click();
    const fields = dialog.getByLabel("Iterations at most");
    await dialog.getByText("the run used up its iterations").waitFor();
    assert((await fields.inputValue()) === "18", `doubled it is ${await fields.inputValue()}`);
    await fields.fill("20");
    daemon.ctl(["query", "POST", "/api/stop"]);
    await dialog.getByRole("button", { name: "Apply" }).click();
    await dialog.waitFor({ state: "detached" });
    await page.locator(".title .state.queued").waitFor();
    await until("a meter of twenty", async () => (await meters.last().getAttribute("aria-valuemax")) === "20");
    daemon.ctl(["query", "POST", "/api/resume"]);
    await until("the end of the other job", () => status(other) === "completed");
    await page.locator(".title .state.completed").waitFor();
    assert((await button("Change limits").count()) === 0, "its limits can be changed no more");
  });

  await check("nobody is offered what is not for them", async () => {
    const waiting = submit("TASK-ask me", "A question for the team");
    const asking = submit("TASK-remove the report", "A call for the team");
    const stuck = submit("TASK-count to five", "Stuck for the team");
    await until("all to wait", () => [waiting, asking, stuck].every((id) => status(id) === "needs_review"));
    await sql(`INSERT INTO effects (job_id, tool, target, args_hash, origin, rule, state, detail, prepared_at)
      VALUES (${waiting}, 'file_write', 'lost.txt', 'abcdef', 'owner', 'default', 'unknown', '{}', 1000000);`);
    /** By page, what only an operator and what only an administrator sees. */
    const offered = {
      "/admin": [["Approve", "Deny", "Send"], ["It happened", "It did not happen", "Stop"]],
      "/admin/jobs": [["New job"], ["Stop"]],
      [`/admin/jobs/${waiting}`]: [["Send", "Cancel job", "Tell it something"], ["Erase"]],
      [`/admin/jobs/${asking}`]: [["Approve", "Deny"], ["Erase"]],
      [`/admin/jobs/${stuck}`]: [["Apply", "Run again"], ["Erase"]],
      "/admin/effects?state=unknown&open=1": [[], []],
      "/admin/system": [["Try the servers"], []],
      "/admin/system/models": [["Call each model once"], []],
      "/admin/system/settings": [[], ["Read the configuration again"]],
      "/admin/system/policy": [["Approve"], []],
      "/admin/system/access": [[], ["New token", "Change the password"]],
      "/workspace": [["Upload", "New file", "New folder"], []],
      "/workspace?path=report.md": [[], []],
    };
    const problems = [];
    for (const role of ["viewer", "operator", "admin"]) {
      const { theirs, wrong, go, close } = await as(role);
      for (const [path, [operators, admins]] of Object.entries(offered)) {
        await go(path);
        for (const [names, sees] of [[operators, role !== "viewer"], [admins, role === "admin"]]) {
          for (const name of names) {
            const there = (await theirs.getByRole("button", { name, exact: true }).count()) > 0;
            if (there !== sees) problems.push(`${role} ${sees ? "misses" : "is offered"} ${name} on ${path}`);
          }
        }
      }
      // Keys and addresses offer no more than buttons do.
      await go("/admin/jobs?new=1");
      if ((await theirs.getByRole("dialog").count()) > 0 !== (role !== "viewer")) problems.push(`${role}: the address of a new job`);
      await go("/admin/jobs");
      await theirs.keyboard.press("n");
      await theirs.waitForTimeout(200);
      if ((await theirs.getByRole("dialog").count()) > 0 !== (role !== "viewer")) problems.push(`${role}: the key of a new job`);
      await go("/admin");
      await theirs.keyboard.press("/");
      await theirs.getByRole("combobox").fill("new job");
      if ((await theirs.getByRole("option", { name: "New job", exact: true }).count()) > 0 !== (role !== "viewer")) problems.push(`${role}: new job in the search`);
      if (wrong.length) problems.push(`${role}: ${[...new Set(wrong)].join(", ")}`);
      await close();
    }
    assert(problems.length === 0, problems.join("\n"));
    for (const id of [waiting, asking, stuck]) daemon.ctl(["query", "POST", `/api/jobs/${id}/cancel`]);
  });

  await check("an operator does the work of an operator", async () => {
    const { theirs, wrong, go, close } = await as("operator");
    const id = submit("TASK-ask me", "Which colour, operator?");
    await until("the question", () => status(id) === "needs_review");
    await go(`/admin/jobs/${id}`);
    await theirs.getByLabel("Your answer", { exact: true }).fill("red");
    await theirs.getByRole("button", { name: "Send", exact: true }).click();
    await until("the end of the job", () => status(id) === "completed");
    assert(wrong.length === 0, wrong.join());
    await close();
  });

  await check("what changed in a part of the stream that is lost is shown all the same", async () => {
    const id = submit("TASK-plain", "Before the gap");
    await until("its end", () => status(id) === "completed");
    await page.addInitScript(() => {
      window.gaps = 0;
      const listen = EventSource.prototype.addEventListener;
      EventSource.prototype.addEventListener = function (kind, ...rest) {
        if (kind === "gap") listen.call(this, kind, () => (window.gaps += 1));
        return listen.call(this, kind, ...rest);
      };
    });
    for (const path of ["/admin/jobs", `/admin/jobs/${id}`]) {
      await go(path);
      await page.locator(".live.live").waitFor();
      // An event that the page has seen, so that it asks for those after it.
      const before = submit("TASK-plain", "Seen");
      await until("its end", () => status(before) === "completed");
      await page.waitForTimeout(500);
      const title = `After the gap, on ${path}`;
      // Nothing tells of the new title but the gap: all events since are gone.
      await sql(`UPDATE jobs SET task_summary = '${title}' WHERE id = ${id}; UPDATE emails SET subject = '${title}' WHERE id = (SELECT trigger_email_id FROM jobs WHERE id = ${id});
        DELETE FROM events; UPDATE sqlite_sequence SET seq = seq + 100 WHERE name = 'events';
        INSERT INTO events (kind, job_id, data, created_at) VALUES ('config.reloaded', NULL, '{}', 1);`);
      await text(title).waitFor({ timeout: 20_000 });
      assert((await page.evaluate(() => window.gaps)) === 1, `${await page.evaluate(() => window.gaps)} gaps`);
      await page.locator(".live.live").waitFor();
    }
  });

  await check("the password is changed by who knows it", async () => {
    expected.add("422");
    await go("/admin/system/access");
    await button("Change the password").click();
    await accessible("changing the password");
    const fill = async (present, next, again = next) => {
      await label("Present password").fill(present);
      await page.getByLabel(/^New password/).fill(next);
      await label("The same again").fill(again);
      await dialog.getByRole("button", { name: "Change the password" }).click();
    };
    await fill("no such password", "another long password", "another long passwort");
    await text("These are not the same.").waitFor();
    await fill("no such password", "another long password");
    await text("this is not the present password").waitFor();
    await fill(PASSWORD, "another long password");
    await label("Password").waitFor();
    await label("Password").fill(PASSWORD);
    await button("Log in").click();
    await text("this is not the password").waitFor();
    await label("Password").fill("another long password");
    await button("Log in").click();
    await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
  });

  await check("logging out everywhere ends every browser's session, and no token", async () => {
    const other = await context.browser().newContext();
    const elsewhere = await other.newPage();
    await elsewhere.goto(`${daemon.origin}/admin/jobs`);
    await elsewhere.getByLabel("Password", { exact: true }).fill("another long password");
    await elsewhere.getByRole("button", { name: "Log in", exact: true }).click();
    await elsewhere.getByRole("heading", { name: "Jobs", level: 1 }).waitFor();
    const program = await as("viewer");
    await go("/admin");
    await button("Account").click();
    await button("Log out everywhere").click();
    await dialog.getByRole("button", { name: "Log out everywhere" }).click();
    await label("Password").waitFor();
    // The other one finds out as soon as it asks for anything, such as for a new job that it is told of.
    submit("TASK-plain", "Who is there?");
    await elsewhere.getByRole("button", { name: "Log in", exact: true }).waitFor();
    await program.go("/admin/jobs");
    assert(program.wrong.length === 0, program.wrong.join());
    await program.close();
    await other.close();
  });

  await check("the console is clean and nothing is asked of others", async () => clean());
} finally {
  process.exitCode = (await end()) ? 1 : 0;
}
