// What stands before the dashboard and beside it: the page where one logs in, the API as a page to read, and the tokens of
// programs, with what they open.
import { join } from "node:path";
import { assert, stage, until } from "./stage.mjs";

const PASSWORD = "correct horse battery";
const { page, daemon, context, expected, check, go, button, label, text, logIn, looks, clean, end } = await stage("doors", { api: "docs_enabled = true\nopenapi_enabled = true\n" });

const read = (path) => JSON.parse(daemon.ctl(["query", "GET", path]));
const dialog = page.getByRole("dialog");
const DAY = 86_400_000;
daemon.ctl(["web", "password"], PASSWORD + "\n");

try {
  expected.add("401 (Unauthorized)");

  await check("the page of the login in both themes and on a phone, with what went wrong", async () => {
    const there = { ready: () => button("Log in").waitFor() };
    await looks({ login: "/login" }, {}, there);
    await looks(
      { "login-refused": "/admin/jobs" },
      {
        "login-refused": async () => {
          await label("Password").fill("no such password");
          await page.keyboard.press("Enter");
          await text("this is not the password").waitFor();
        },
      },
      there,
    );
    assert((await page.title()) === "Log in · Assistant", await page.title());
    assert(await label("Password").evaluate((field) => field.autocomplete === "current-password" && field.type === "password"), "no keeper of passwords knows the field");
    assert((await page.locator("form").innerText()).includes("request"), "it is not told which request it was");
    // The right one, with nothing but the keyboard.
    await page.reload();
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Jobs", level: 1 }).waitFor();
    assert(page.url().endsWith("/admin/jobs"), page.url());
    // An open page would go to the login by itself, in the middle of what comes next.
    await page.goto("about:blank");
    await context.clearCookies();
  });

  await check("a token opens the routes that it names for the days that it is given, and no other", async () => {
    await logIn("/admin/system/access");
    await button("New token").click();
    await label("Name").fill("reader");
    await dialog.getByRole("combobox").selectOption("operator");
    const routes = dialog.getByLabel(/^Only these routes/);
    await routes.fill("GET api/jobs");
    await label("Days until it ends (empty: never)").fill("30");
    expected.add("422 (Unprocessable");
    await button("Make the token").click();
    await dialog.getByRole("alert").waitFor();
    assert(read("/api/tokens").tokens.length === 0, "it is made all the same");
    await routes.fill("GET /api/jobs\n\n  POST /api/jobs  \n");
    await button("Make the token").click();
    const secret = await dialog.locator(".command code").textContent();
    assert(secret.startsWith("ast_"), secret);
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    await dialog.getByRole("button", { name: /^Copy/ }).click();
    assert((await page.evaluate(() => navigator.clipboard.readText())) === secret, "it is not what is copied");
    await dialog.getByRole("button", { name: "Close" }).click();
    const row = page.getByRole("row", { name: /^reader/ });
    await row.getByText("GET /api/jobs", { exact: false }).first().waitFor();
    const [token] = read("/api/tokens").tokens;
    assert(token.role === "operator" && token.allow.join() === "GET /api/jobs,POST /api/jobs", JSON.stringify(token));
    assert(Math.abs(Date.parse(token.expires_at) - Date.now() - 30 * DAY) < 60_000, token.expires_at);
    assert((await row.locator("time").last().getAttribute("datetime")) === token.expires_at, "the page says another end");
    assert(!(await page.content()).includes(secret), "the secret is still in the page");
    const ask = async (method, path, body) => {
      const answer = await fetch(daemon.origin + path, {
        method,
        headers: { authorization: `Bearer ${secret}`, ...(body && { "content-type": "application/json" }) },
        ...(body && { body: JSON.stringify(body) }),
      });
      return [answer.status, await answer.json()];
    };
    const [listed] = await ask("GET", "/api/jobs");
    const [made, { job }] = await ask("POST", "/api/jobs", { body: "TASK-plain", subject: "By a token" });
    assert(listed === 200 && [200, 201].includes(made), `${listed} ${made}`);
    for (const [method, path] of [["GET", `/api/jobs/${job.id}`], ["POST", `/api/jobs/${job.id}/cancel`], ["GET", "/api/status"]]) {
      const [status, problem] = await ask(method, path);
      assert(status === 403 && problem.kind && problem.request_id, `${method} ${path}: ${status} ${JSON.stringify(problem)}`);
    }
    await page.reload();
    await row.locator("td").nth(2).locator("time").waitFor();
    await looks({ "system-tokens": "/admin/system/access" });
    await row.getByRole("button").click();
    await dialog.getByRole("button", { name: "Revoke" }).click();
    await text("There is no token.").waitFor();
    assert((await ask("GET", "/api/jobs"))[0] === 401, "it is still good");
  });

  await check("the API is a page to read, at either address, in both themes and on a phone", async () => {
    const ready = () => page.locator("main h1").waitFor();
    const operation = page.locator("details", { hasText: "POST" }).first();
    const open = () => operation.locator("summary").click();
    await looks({ docs: "/docs", redoc: "/redoc" }, { redoc: open }, { ready });
    await page.getByText("/api/jobs/{id}", { exact: true }).first().waitFor();
    await looks({ "docs-open": "/docs" }, { "docs-open": open }, { ready });
    // Every path of the document, and nothing that runs or that comes from elsewhere.
    const wanted = Object.keys(read("/openapi.json").paths);
    const shown = await page.locator("h2 > code").allTextContents();
    assert(wanted.length > 50 && JSON.stringify(wanted) === JSON.stringify(shown), `${shown.length} of ${wanted.length}`);
    assert((await page.locator("script, img, link, iframe, [style]").count()) === 0, "there is more in it than text");
    assert((await page.locator("main").evaluate((main) => getComputedStyle(main.parentElement).fontSize)) === "15px", "its policy keeps its style out");
    await context.clearCookies();
    expected.add("401 (Unauthorized)");
    const answer = await page.goto(`${daemon.origin}/docs`);
    assert(answer.status() === 401, `whoever is not logged in gets ${answer.status()}`);
  });

  await check("the console is clean and nothing is asked of others", async () => clean());
} finally {
  process.exitCode = (await end()) ? 1 : 0;
}
