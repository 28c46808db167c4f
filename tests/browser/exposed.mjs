// What the page warns of when the daemon can be reached by others: in a network of its own (`unshare --net`), where an open
// door harms nobody.
import { networkInterfaces } from "node:os";
import { assert, stage } from "./stage.mjs";

const beyond = Object.values(networkInterfaces()).flat().filter(({ internal }) => !internal);
assert(beyond.length === 0, "this opens a port to everybody, and has to be run where nobody is: see run.sh");
const { page, check, go, button, text, clean, looks, end } = await stage("exposed", { bind: "0.0.0.0", api: 'allow_public_bind = true\nauth = "none"\ndocs_enabled = true\n' });

try {
  await check("that everybody comes in, and without a login, is told on every page", async () => {
    for (const path of ["/admin", "/admin/jobs", "/admin/system", "/workspace"]) {
      await go(path);
      const banners = page.getByRole("region", { name: "Warnings" });
      await banners.getByText("the API can be reached from outside").waitFor();
      await banners.getByText('api.auth is "none"').waitFor();
      await banners.getByText("the documentation of the API is served").waitFor();
      assert((await banners.getByText("sudo assistantctl config set api.auth login").count()) === 1, "what mends it is not told");
    }
  });
  await check("the listener and its guard are told", async () => {
    await go("/admin/system");
    await page.getByRole("row", { name: /0\.0\.0\.0:\d+/ }).getByText("every").waitFor();
    await go("/admin");
    await text("Needs you").waitFor();
    await page.locator(".needs").getByText("the API can be reached from outside").waitFor();
    await page.locator(".needs").getByText('api.auth is "none"').waitFor();
  });
  await check("the documentation of the API is a step away where it is switched on", async () => {
    await go("/admin");
    await button("Account").click();
    await page.getByRole("link", { name: "Documentation of the API" }).click();
    await page.getByText("/api/jobs/{id}", { exact: true }).first().waitFor();
  });
  await check("the warnings look right in both themes and on a phone", () => looks({ exposed: "/admin" }));
  await check("the console is clean and nothing is asked of others", async () => clean());
} finally {
  process.exitCode = (await end()) ? 1 : 0;
}
