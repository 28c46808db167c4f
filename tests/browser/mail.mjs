// The mailbox in the page: what came, why what was decided, what goes out. The messages are put into the database while the
// daemon is down: how they come there is held by the tests of mail itself.
import { assert, stage, until } from "./stage.mjs";

const MESSAGES = 120;
/** One of them that was kept only. */
const ROBOT = MESSAGES - 3;
const HOSTILE = `<h2>Offer</h2><p onclick="window.hit=1">Dear <b>reader</b></p><script>window.hit=1</script>
  <img src="https://tracker.example.org/pixel.gif" onerror="window.hit=1"><style>body{display:none}</style>
  <a href="javascript:window.hit=1">bad link</a> <a href="https://example.org/page">good link</a>
  <form action="https://example.org/"><input name="password"></form><iframe src="https://example.org/"></iframe>
  <table><tr><td>cell</td></tr></table>`;

const { page, daemon, check, go, button, text, expected, clean, logIn, looks, sql, end } = await stage("mail");
const read = (path) => JSON.parse(daemon.ctl(["query", "GET", path]));
const quoted = (value) => `'${value.replaceAll("'", "''")}'`;

try {
  await sql(`
    INSERT INTO emails (id, message_id, thread_id, from_address, to_addresses, subject, body_text, body_html, origin, received_at, downloaded_at, created_at)
    VALUES (900, '<900@example.org>', '<900@example.org>', 'mallory@example.org', '["me@example.org"]', 'Hostile offer', 'Dear reader', ${quoted(HOSTILE)}, 'stranger', 1760000000000000, 1, 1),
      (901, '<901@example.org>', '<901@example.org>', 'eve@example.org', '["me@example.org"]', 'Another offer', 'Dear friend', NULL, 'stranger', 1760000000000000, 1, 1);
    WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ${MESSAGES})
    INSERT INTO mail_received (id, mailbox, uid_validity, uid, size_bytes, from_address, subject, headers, verification, verified, decision, reason, received_at, decided_at)
    SELECT n, 'me@mail.example.org/INBOX', 1, n, 2048, 'p' || (n % 7) || '@example.org', 'Message ' || n, '[["Subject","Message ' || n || '"],["X-Odd","${"x".repeat(120)}"]]',
      '{"why":"DKIM of example.org passes"}', n % 3 > 0, CASE n % 4 WHEN 0 THEN 'job' WHEN 1 THEN 'stored' WHEN 2 THEN 'duplicate' ELSE 'loop' END,
      'because of rule ' || n, strftime('%s','now') * 1000000 - n * 60000000, strftime('%s','now') * 1000000 FROM n;
    UPDATE mail_received SET email_id = 900, subject = 'Hostile offer', decision = 'stored', from_address = 'mallory@example.org', verified = 0,
      reason = 'nothing proves that it came from mallory@example.org' WHERE id = ${MESSAGES};
    UPDATE mail_received SET email_id = 901, subject = 'Another offer', decision = 'loop', reason = 'it is from a robot' WHERE id = ${ROBOT};
    INSERT INTO artifacts (email_id, source_type, source_label, original_filename, raw_size_bytes, scan_status, scan_result, conversion_status, markdown_path, error, created_at, updated_at)
    VALUES (900, 'attachment', 'bill.pdf', 'bill.pdf', 70000, 'clean', NULL, 'ready', 'processed/email/900/bill.md', NULL, 1, 1),
      (900, 'attachment', 'virus.zip', 'virus.zip', 900, 'infected', 'Eicar-Test', 'skipped', NULL, 'it is infected', 1, 1);
    INSERT INTO effects (id, tool, target, args_hash, origin, rule, state, prepared_at)
    SELECT 900 + n, 'email_send', 'ann@example.org', 'ab', 'owner', 'default', CASE n WHEN 1 THEN 'confirmed' WHEN 2 THEN 'failed' ELSE 'unknown' END, 1760000000000000
    FROM (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4);
    INSERT INTO outbox (id, effect_id, kind, message_id, from_address, to_addresses, subject, body_text, counted, attempts, answer, created_at, sent_at)
    SELECT n, 900 + n, CASE n WHEN 1 THEN 'result' ELSE 'agent' END, '<out' || n || '@example.org>', 'me@example.org', '["ann@example.org"]', 'Answer ' || n,
      'Here is **the result** ' || n, 1, n, CASE n WHEN 2 THEN '550 no such user' ELSE '250 OK' END, strftime('%s','now') * 1000000, CASE n WHEN 1 THEN strftime('%s','now') * 1000000 END
    FROM (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4);
    UPDATE outbox SET raw_name = 'out-3.eml' WHERE id = 3;`);
  expected.add("401 (Unauthorized)");
  await logIn("/admin/mail");
  const entries = page.locator(".mails .line");

  await check("what came is listed with what was decided, and older mail when asked for", async () => {
    await until("the first page", async () => (await entries.count()) === 50);
    assert((await entries.first().textContent()).includes("Hostile offer"), "the newest does not come first");
    await button("Show older").click();
    await until("two pages", async () => (await entries.count()) === 100);
    await button("Show older").click();
    await until("all", async () => (await entries.count()) === MESSAGES);
    assert((await button("Show older").count()) === 0, "there is still more");
    await looks({ mail: "/admin/mail" });
  });
  await check("mail is filtered by decision and by words, and the address keeps it", async () => {
    await go("/admin/mail");
    await button("New job").click();
    await until("only jobs", async () => (await entries.count()) === MESSAGES / 4 - 1);
    await page.getByRole("searchbox").fill("p3@ message");
    await page.keyboard.press("Enter");
    await until("of one sender", async () => page.url().includes("q=p3") && (await entries.count()) === 4);
    await page.reload();
    await until("the same again", async () => (await entries.count()) === 4);
    await page.getByRole("searchbox").fill("nothing like that");
    await page.keyboard.press("Enter");
    await text("There is none like that.").waitFor();
  });
  await check("a hostile message shows its text, and nothing of it runs or loads", async () => {
    await go("/admin/mail");
    await entries.first().click();
    await text("nothing proves that it came from mallory@example.org").waitFor();
    await text("it is infected").waitFor();
    assert((await page.locator("pre.prose").textContent()) === "Dear reader", "the text is another");
    // What the reader would have taken out: the policy of the page stands behind it.
    expected.add("Content Security Policy");
    await button("As it looks").click();
    const body = page.locator(".markdown");
    await body.getByText("cell").waitFor();
    assert((await body.locator("script, img, style, form, input, iframe").count()) === 0, "there is what should not be");
    assert((await body.locator("a").count()) === 1 && (await body.locator("a").getAttribute("href")) === "https://example.org/page", "its links");
    await body.getByText("reader").click();
    await body.getByText("bad link").click();
    assert((await page.evaluate(() => window.hit)) === undefined, "a script ran");
    await page.getByText("Headers", { exact: true }).click();
    await text("X-Odd").waitFor();
    await page.getByText("Who sent it").click();
    await looks({ message: `/admin/mail/${MESSAGES}` });
  });
  await check("what goes out is listed with its state, and shown", async () => {
    await go("/admin/mail/out");
    await until("four mails", async () => (await entries.count()) === 4);
    await looks({ outbox: "/admin/mail/out" });
    await page.getByRole("button", { name: "Did not happen", exact: true }).click();
    await until("one mail", async () => (await entries.count()) === 1);
    await entries.first().click();
    await text("550 no such user").waitFor();
    await page.locator(".markdown strong", { hasText: "the result" }).waitFor();
    await looks({ sent: "/admin/mail/out/3" });
  });
  await check("a person acts on a mail that was only kept, and ignores another one", async () => {
    await go(`/admin/mail/${MESSAGES}`);
    await button("Act on it").click();
    await page.getByRole("dialog").getByRole("button", { name: "Act on it" }).click();
    await text("Decided.").waitFor();
    const job = page.locator("dl.facts").getByRole("link", { name: /^#\d+$/ });
    await job.waitFor();
    assert((await button("Act on it").count()) === 0, "it can be decided about again");
    const { received } = read(`/api/mail/received/${MESSAGES}`);
    assert(received.decision === "job" && received.reason.includes("before it was stored"), JSON.stringify(received));
    await job.click();
    await page.getByRole("heading", { name: "Hostile offer" }).waitFor();
    // The text of a stranger is given to the model as that.
    await until("the job's end", () => read(`/api/jobs/${received.job_id}`).job.status === "completed");
    await page.getByText("Dear reader").first().waitFor();
    // What went out to people stands in the thread too, and what the owner was told does not.
    await sql(`UPDATE outbox SET job_id = ${received.job_id}, sent_at = created_at WHERE id IN (1, 2); UPDATE outbox SET kind = 'notice' WHERE id = 2;`);
    await go(`/admin/jobs/${received.job_id}`);
    await page.locator("article.message", { hasText: "sent to ann@example.org" }).getByText("Here is **the result** 1").waitFor();
    assert((await page.locator("article.message").count()) === 2, "there is more in the thread");

    await go(`/admin/mail/${ROBOT}`);
    await button("Ignore").click();
    await button("Ignore").waitFor({ state: "detached" });
    await page.locator("dl.facts").getByText("Ignored").waitFor();
    assert(read(`/api/mail/received/${ROBOT}`).received.decision === "ignored", "it is not ignored");
    assert((await button("Act on it").count()) === 1, "nobody can decide otherwise");
  });
  await check("a mail of which nobody knows whether it arrived is sent again, or settled", async () => {
    await go("/admin/mail/out/3");
    await button("Send again").click();
    await page.getByRole("dialog").getByText("the recipient gets it twice").waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Send again" }).click();
    await text("It will be sent again.").waitFor();
    await button("Send again").waitFor({ state: "detached" });
    assert(read("/api/mail/outbox/3").outgoing.state === "prepared", "it is not on its way");
    // Of the other one the message itself is gone: the page says why it cannot be sent, and a person can still settle it.
    expected.add("409 (Conflict)");
    await go("/admin/mail/out/4");
    await button("Send again").click();
    await page.getByRole("dialog").getByRole("button", { name: "Send again" }).click();
    await text("the message itself is not kept any more").waitFor();
    await button("It happened").click();
    await button("It happened").waitFor({ state: "detached" });
    assert(read("/api/mail/outbox/4").outgoing.state === "confirmed", "it is not settled");
  });
  await check("the console is clean and nothing is asked of others", async () => clean());
} finally {
  process.exitCode = (await end()) ? 1 : 0;
}
