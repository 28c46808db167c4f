// A browser before a daemon of its own, and what every program of checks needs with it.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { startDaemon } from "./daemon.mjs";
import { startModel } from "./model.mjs";

const OUT = process.env.BROWSER_OUT;
const PASSWORD = "correct horse battery";
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export function assert(good, text) {
  if (!good) throw new Error(text);
}

export async function until(what, test, most = 15_000) {
  for (const end = Date.now() + most; Date.now() < end; ) {
    if (await test()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what} did not come about`);
}

/** The page as it stands, in both themes and on a phone: without a complaint of axe, nothing wider than the screen, and as pictures. */
export async function pictured(page, shown, accessible, note) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await accessible(`${shown}, ${colorScheme}`).catch(note);
    await page.screenshot({ path: join(OUT, `${shown}-${colorScheme}.png`) });
  }
  await page.setViewportSize({ width: 390, height: 844 });
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
  await page.waitForTimeout(100);
  await accessible(`${shown}, phone`).catch(note);
  const wide = await page.evaluate(() =>
    [document.documentElement, ...document.querySelectorAll(".page .scroll")].map((part) => [part.className || "page", part.scrollWidth - part.clientWidth]).filter(([, more]) => more > 0),
  );
  for (const [part, more] of wide) note(new Error(`${shown}: its ${part} is ${more} px wider than a phone`));
  await page.screenshot({ path: join(OUT, `${shown}-phone.png`) });
}

/** `name` is in the names of what the checks leave. */
export async function stage(name, options) {
  const model = await startModel();
  const daemon = await startDaemon(model.url, options);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [...(process.getuid() === 0 ? ["--no-sandbox"] : []), "--disable-gpu", "--disable-dev-shm-usage"],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, timezoneId: "Europe/Berlin", locale: "en-GB", acceptDownloads: true });
  const complaints = [];
  const foreign = [];
  /** Answers that a check asks for and that a browser writes into its console. */
  const expected = new Set();
  const page = await context.newPage();
  page.setDefaultTimeout(7000);
  page.on("console", (message) => {
    const text = message.text();
    if (["error", "warning"].includes(message.type()) && ![...expected].some((part) => text.includes(part))) complaints.push(`${page.url()}: ${text} ${message.location().url}`);
  });
  page.on("pageerror", (err) => complaints.push(`${page.url()}: ${err}`));
  // The viewer of PDF files is the browser's own.
  const inside = /^(blob|data|chrome|chrome-extension):/;
  page.on("request", (request) => !inside.test(request.url()) && !request.url().startsWith(daemon.origin) && foreign.push(request.url()));

  const wanted = process.argv.slice(2);
  const count = { passed: 0, failed: 0 };
  const check = async (what, work) => {
    if (wanted.length && !wanted.some((part) => what.includes(part))) return;
    const start = Date.now();
    try {
      await work();
      count.passed += 1;
      console.log(`ok    ${what} (${Date.now() - start} ms)`);
    } catch (err) {
      count.failed += 1;
      console.log(`FAIL  ${what}: ${err.stack ?? err}`);
      await page.screenshot({ path: join(OUT, `failed-${name}-${count.failed}.png`) }).catch(() => {});
    }
  };
  const accessible = async (what) => {
    // As a text for the debugger: the page's policy allows no script but its own.
    await page.evaluate(AXE);
    const found = await page.evaluate(async () => {
      // What a browser shows of a PDF file is its own.
      const { violations } = await window.axe.run({ exclude: ["iframe"] }, { resultTypes: ["violations"], iframes: false });
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary}`).join("\n    ")}`);
    });
    assert(found.length === 0, `${what} (${page.url()}):\n  ${found.join("\n  ")}`);
  };
  const go = async (path) => {
    await page.goto(daemon.origin + path);
    await page.locator(".frame h1, .frame .problem, .frame .empty").first().waitFor();
  };
  /** What is done while the daemon is down, which an open page notices whenever it asks for something. */
  const down = async (work) => {
    for (const part of ["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE"]) expected.add(part);
    await daemon.end();
    await work();
    await daemon.start();
  };
  return {
    page,
    context,
    daemon,
    expected,
    check,
    accessible,
    go,
    button: (label, exact = true) => page.getByRole("button", { name: label, exact }),
    label: (text) => page.getByLabel(text, { exact: true }),
    text: (part) => page.getByText(part).first(),
    logIn: async (path) => {
      daemon.ctl(["web", "password"], PASSWORD + "\n");
      await page.goto(`${daemon.origin}${path}`);
      await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
      await page.getByRole("button", { name: "Log in", exact: true }).click();
      await page.locator(".frame h1").waitFor();
    },
    /** Each address in both themes and on a phone: without a complaint of axe, no wider than the screen, and as a picture.
     *  `ready` waits for what is no page of the dashboard. */
    looks: async (addresses, before = {}, { ready } = {}) => {
      const problems = [];
      const note = (err) => problems.push(err.message);
      for (const [shown, path] of Object.entries(addresses)) {
        await page.setViewportSize({ width: 1280, height: 800 });
        await (ready ? page.goto(daemon.origin + path).then(ready) : go(path));
        await before[shown]?.();
        await page.waitForTimeout(250);
        await pictured(page, shown, accessible, note);
      }
      await page.setViewportSize({ width: 1280, height: 800 });
      assert(problems.length === 0, problems.join("\n"));
    },
    down,
    /** Statements for the database of the daemon, which is down meanwhile. */
    sql: (statements) =>
      down(() => {
        const { status, stderr } = spawnSync("sqlite3", [join(daemon.dir, "state/assistant.db")], { input: statements, encoding: "utf8" });
        if (status !== 0) throw new Error(`sqlite3: ${stderr}`);
      }),
    clean: () => {
      assert(complaints.length === 0, complaints.join("\n"));
      assert(foreign.length === 0, foreign.join("\n"));
    },
    end: async () => {
      writeFileSync(join(OUT, `${name}-daemon.log`), daemon.log());
      await browser.close();
      await daemon.end();
      model.stop();
      daemon.remove();
      console.log(`${count.passed} passed, ${count.failed} failed; screenshots in ${OUT}`);
      return count.failed;
    },
  };
}
