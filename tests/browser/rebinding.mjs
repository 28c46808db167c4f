// DNS rebinding in a real browser: a page of another site has its name mean this host, with the daemon's port. To the browser
// the page and the API are then one origin, and nothing but the daemon's own look at `Host` stands between them. The daemon
// asks for no login here, so that nothing else can be what keeps the page out.
import { chromium } from "playwright-core";
import { startDaemon } from "./daemon.mjs";

const daemon = await startDaemon("http://127.0.0.1:9/v1", { api: 'auth = "none"\n' });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP evil.example 127.0.0.1",
    // What the browser does of itself against pages that reach for loopback would hide what the daemon does.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
  ],
});
let failed = 0;

function check(name, good, found) {
  if (!good) failed += 1;
  console.log(`${good ? "ok   " : "FAIL "} rebinding: ${name}${good ? "" : `: ${JSON.stringify(found)}`}`);
}

/** What a page at `origin` gets by every way that it has to ask for `base`. */
async function tries(origin, base) {
  const page = await browser.newPage();
  // The page itself came from its own server, before the name changed; everything after goes where the name points now.
  await page.route(`${origin}/page`, (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><title>page</title>" }));
  await page.goto(`${origin}/page`);
  const found = await page.evaluate(async (base) => {
    const ask = async (path, options) => {
      try {
        const answer = await fetch(base + path, options);
        return { status: answer.status, body: (await answer.text()).slice(0, 300) };
      } catch (err) {
        return { error: String(err) };
      }
    };
    const json = { "content-type": "application/json" };
    const job = JSON.stringify({ subject: "stolen", body: "by a page" });
    const events = () =>
      new Promise((resolve) => {
        const source = new EventSource(base + "/api/events");
        const end = (what) => (source.close(), resolve(what));
        source.onopen = () => end("open");
        source.onerror = () => end("refused");
        setTimeout(() => end("silent"), 5000);
      });
    const beacon = navigator.sendBeacon(base + "/api/jobs", new Blob([job], { type: "text/plain" }));
    return {
      list: await ask("/api/jobs"),
      status: await ask("/api/status"),
      create: await ask("/api/jobs", { method: "POST", headers: json, body: job }),
      simple: await ask("/api/jobs", { method: "POST", mode: "no-cors", body: job }),
      token: await ask("/api/tokens", { method: "POST", headers: json, body: JSON.stringify({ name: "stolen" }) }),
      upload: await ask("/api/workspace/upload?path=stolen.txt", { method: "PUT", body: "stolen" }),
      events: await events(),
      beacon,
    };
  }, base);
  await page.close();
  return found;
}

try {
  const own = `http://127.0.0.1:${daemon.port}`;
  const control = await tries(own, own);
  check("a page of the daemon's own is served", control.list.status === 200 && control.create.status === 200, control);
  check("it hears events", control.events === "open", control.events);
  const jobs = () => JSON.parse(daemon.ctl(["query", "GET", "/api/jobs"])).jobs.length;
  const before = jobs();

  const evil = `http://evil.example:${daemon.port}`;
  const rebound = await tries(evil, evil);
  for (const way of ["list", "status", "create", "token", "upload"]) {
    const { status, body } = rebound[way];
    check(`${way}: the request arrives and is refused`, status === 403 && /does not name this daemon/.test(body), rebound[way]);
  }
  check("events are refused", rebound.events === "refused", rebound.events);

  // Without a name of its own: a page of another origin asks the address itself.
  const across = await tries(evil, own);
  for (const way of ["list", "status", "create", "token", "upload"]) {
    check(`${way}: nothing can be read across origins`, "error" in across[way], across[way]);
  }
  check("no-cors tells nothing", !across.simple.body && !across.simple.status, across.simple);
  check("events across origins are refused", across.events === "refused", across.events);

  const page = await browser.newPage();
  const answer = await page.goto(`${evil}/admin`);
  check("the dashboard does not open under that name", answer.status() === 403, answer.status());
  await page.close();
  check("nothing was made", jobs() === before, jobs());
  const { tokens } = JSON.parse(daemon.ctl(["query", "GET", "/api/tokens"]));
  check("nor a token, except by the daemon's own page", tokens.length === 1, tokens);
} finally {
  await browser.close();
  await daemon.end();
  daemon.remove();
}
process.exit(failed ? 1 : 0);
