// The page of the files, each function against the files on disk. The checks go on from what the ones before have left.
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, stage, until } from "./stage.mjs";

const { page, daemon, expected, check, accessible, go, button, label, text, logIn, looks, clean, end } = await stage("workspace", { sandbox: true });
const disk = (path) => join(daemon.workspace, path);
const put = (path, content) => {
  mkdirSync(join(disk(path), ".."), { recursive: true });
  writeFileSync(disk(path), content);
};
const read = (path) => readFileSync(disk(path), "utf8");
/** A write by somebody else, through the API, so that the page is told. */
const write = (path, content) => daemon.ctl(["query", "PUT", "/api/workspace/file", "--data", "-"], JSON.stringify({ path, content }));
const row = (name) => page.locator(".entries tbody tr", { has: page.getByRole("checkbox", { name: `Select ${name}`, exact: true }) });
const more = async (name, action) => {
  await page.getByRole("button", { name: `More for ${name}`, exact: true }).click();
  await page.locator(".drop").getByText(action, { exact: true }).click();
};
const dialog = page.getByRole("dialog");
/** A field with a hint, by the beginning of its name. */
const named = (name) => dialog.getByRole("textbox", { name: new RegExp(`^${name}`) });
const submit = (name) => dialog.getByRole("button", { name, exact: true }).click();
const area = page.getByRole("textbox", { name: "Text of the file" });
const at = (path, more = "") => go(`/workspace?path=${encodeURIComponent(path)}${more}`);

const PNG = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAYAAACNMs+9AAAAFUlEQVR42mNk+M9Qz0AEYBxVSF+FABJADveWkH6oAAAAAElFTkSuQmCC",
  "base64",
);

/** A document of one page with a word on it. */
function pdf(word) {
  const objects = [
    "<< /Type /Catalog /Pages 2 0 R >>",
    "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
    "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>",
    `<< /Length ${word.length + 36} >>\nstream\nBT /F 24 Tf 40 100 Td (${word}) Tj ET\nendstream`,
    "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
  ];
  let out = "%PDF-1.4\n";
  const starts = objects.map((object, index) => {
    const start = out.length;
    out += `${index + 1} 0 obj\n${object}\nendobj\n`;
    return start;
  });
  const table = out.length;
  out += `xref\n0 6\n0000000000 65535 f \n${starts.map((start) => `${String(start).padStart(10, "0")} 00000 n \n`).join("")}`;
  return `${out}trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n${table}\n%%EOF\n`;
}

try {
  expected.add("401 (Unauthorized)");
  await logIn("/workspace");
  await check("an empty workspace says what to do", async () => {
    await text("Nothing is in this folder.").waitFor();
    assert((await page.getByRole("link", { name: "Files", exact: true }).getAttribute("aria-current")) === "page", "Files is not marked in the navigation");
    await go("/admin");
    await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Files" }).click();
    await text("Nothing is in this folder.").waitFor();
    await go("/admin/jobs");
    await page.keyboard.press("Control+k");
    await page.getByRole("dialog").getByRole("combobox").fill("trash");
    await page.keyboard.press("Enter");
    await text("The trash is empty.").waitFor();
  });
  await check("a folder and a file are made, and the file is written", async () => {
    await go("/workspace");
    await button("New folder").click();
    await label("Name").fill("notes");
    await submit("Make");
    await row("notes").waitFor();
    await page.getByRole("navigation", { name: "Folders" }).getByRole("link", { name: "notes" }).click();
    await page.waitForURL(/path=notes/);
    await text("Nothing is in this folder.").waitFor();
    await page.keyboard.press("n");
    await label("Name").fill("plan.md");
    await submit("Make");
    await area.fill("# Plan\n\n- one\n- two\n");
    await text("Not saved").waitFor();
    await page.keyboard.press("Control+s");
    await text("As saved").waitFor();
    assert(read("notes/plan.md") === "# Plan\n\n- one\n- two\n", "the file is not what was typed");
    await page.getByRole("link", { name: "View", exact: true }).click();
    await page.locator(".markdown li", { hasText: "two" }).waitFor();
  });
  await check("a name that is taken is said where it was typed", async () => {
    expected.add("409 (Conflict)");
    await at("notes");
    await button("New file").click();
    await label("Name").fill("plan.md");
    await submit("Make");
    await dialog.getByRole("alert").getByText("request").waitFor();
    assert(read("notes/plan.md").startsWith("# Plan"), "the file was replaced");
    await dialog.getByRole("button", { name: "Close" }).click();
  });
  await check("files are uploaded by picker and by dropping, replaced when asked, and cancelled", async () => {
    await at("notes");
    await page.locator("input[type=file]").first().setInputFiles([
      { name: "a.txt", mimeType: "text/plain", buffer: Buffer.from("first") },
      { name: "b.txt", mimeType: "text/plain", buffer: Buffer.from("second") },
    ]);
    await text("2 of 2 files uploaded").waitFor();
    await row("b.txt").waitFor();
    assert(read("notes/a.txt") === "first" && read("notes/b.txt") === "second", "not what was sent");
    await page.locator("input[type=file]").first().setInputFiles({ name: "a.txt", mimeType: "text/plain", buffer: Buffer.from("again") });
    await text("A file of this name is there").waitFor();
    assert(read("notes/a.txt") === "first", "it was replaced unasked");
    await button("Replace it").click();
    await until("the replacement", () => read("notes/a.txt") === "again");
    await button("Clear the list").click();
    const transfer = await page.evaluateHandle(() => {
      const data = new DataTransfer();
      data.items.add(new File(["dropped"], "dropped.txt", { type: "text/plain" }));
      return data;
    });
    await page.dispatchEvent(".folder", "dragover", { dataTransfer: transfer });
    await text("Drop to upload here").waitFor();
    await page.dispatchEvent(".folder", "drop", { dataTransfer: transfer });
    await row("dropped.txt").waitFor();
    assert(read("notes/dropped.txt") === "dropped", "not what was dropped");
    // A folder with what is in it, and many at once only when it is meant.
    const folder = join(daemon.dir, "many");
    mkdirSync(join(folder, "deep"), { recursive: true });
    for (let at = 0; at < 51; at++) writeFileSync(join(folder, at % 2 ? "deep" : ".", `${at}.txt`), String(at));
    await page.locator("input[type=file]").nth(1).setInputFiles(folder);
    await submit("Upload");
    await until("the whole folder", () => existsSync(disk("notes/many/deep")) && readdirSync(disk("notes/many")).length + readdirSync(disk("notes/many/deep")).length === 52);
    await text("52 of 52 files uploaded").waitFor();
    await button("Clear the list").click();
    daemon.ctl(["query", "DELETE", "/api/workspace/file?path=notes/many"]);
    // Slowly, so that there is something to stop.
    const session = await page.context().newCDPSession(page);
    await session.send("Network.emulateNetworkConditions", { offline: false, latency: 5, downloadThroughput: -1, uploadThroughput: 300_000 });
    await page.locator("input[type=file]").first().setInputFiles({ name: "large.bin", mimeType: "application/octet-stream", buffer: Buffer.alloc(3 << 20, 1) });
    await page.locator("progress").waitFor();
    await until("progress", async () => (await page.locator("progress").getAttribute("value")) > 0);
    await button("Cancel the upload of notes/large.bin").click();
    await text("Cancelled").waitFor();
    await session.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
    await until("that nothing is left", () => !readdirSync(disk("notes")).some((name) => name.includes("large") || name.startsWith(".assistant")), 5000);
    await button("Clear the list").click();
  });
  await check("each kind of file is shown as what it is, and none of them runs", async () => {
    put("show/page.html", "<!doctype html><script>window.broken = 1</script><h1>Hello</h1>");
    put("show/drawing.svg", '<svg xmlns="http://www.w3.org/2000/svg" onload="window.broken=1"><script>window.broken=1</script></svg>');
    put("show/read.md", "# Title\n\n![pixel](https://example.com/pixel.png)\n\n<script>window.broken = 1</script>\n\n| a | b |\n|---|---|\n| 1 | 2 |\n");
    put("show/table.csv", `name,note\n"Smith, J.","said ""hello""\nand went"\n${Array.from({ length: 450 }, (_, at) => `row ${at},${at}`).join("\n")}\n`);
    put("show/code.py", "# a comment\ndef hello(name):\n    return f\"hello {name}\" + 'x' * 42\n");
    put("show/image.png", PNG);
    put("show/fake.png", "<script>window.broken = 1</script>");
    put("show/paper.pdf", pdf("Hello"));
    put("show/bytes.bin", Buffer.from([0, 1, 2, 255, 254]));
    put("show/latin.txt", Buffer.from([0x67, 0xfc, 0x6e]));
    for (const name of ["page.html", "drawing.svg"]) {
      await at(`show/${name}`);
      await text("are never run here").waitFor();
      await page.locator(".source code").getByText("window.broken").first().waitFor();
    }
    await at("show/read.md");
    await page.locator(".markdown table").waitFor();
    assert((await page.locator(".markdown img, .markdown script").count()) === 0, "Markdown became more than text");
    await button("Source").click();
    await page.locator(".source").waitFor();
    assert(page.url().includes("as=source"), "not in the address");
    await at("show/table.csv");
    await text("Rows 1 to 200 of 451").waitFor();
    await page.getByRole("cell", { name: "Smith, J." }).waitFor();
    await page.getByRole("cell", { name: 'said "hello" and went' }).waitFor();
    await button("Later rows").click();
    await text("Rows 201 to 400 of 451").waitFor();
    await at("show/code.py");
    await page.locator(".code-word", { hasText: "def" }).waitFor();
    assert((await page.locator(".source .text").textContent()) === read("show/code.py"), "the colours change the text");
    await at("show/image.png");
    await until("the image", () => page.locator(".picture img").evaluate((image) => image.naturalWidth === 10));
    expected.add("415 (Unsupported Media Type)");
    for (const name of ["fake.png", "bytes.bin", "latin.txt"]) {
      await at(`show/${name}`);
      await text("This is not a text").waitFor();
    }
    const answer = page.waitForResponse(/workspace\/view/);
    await at("show/paper.pdf");
    const headers = (await answer).headers();
    assert(headers["content-type"] === "application/pdf" && headers["x-content-type-options"] === "nosniff", JSON.stringify(headers));
    assert((await page.evaluate(() => window.broken)) === undefined, "something ran");
  });
  await check("a long text is edited whole, or refused whole", async () => {
    const line = "Zeile mit Ümläuten und € und 😀\r\n";
    const long = line.repeat(Math.ceil((6 << 20) / Buffer.byteLength(line)));
    put("long.txt", long);
    await at("long.txt", "&tab=edit");
    await area.waitFor();
    const change = (at, text) =>
      area.evaluate((area, [at, text]) => {
        area.setRangeText(text, at, at);
        area.dispatchEvent(new InputEvent("input", { bubbles: true }));
      }, [at, text]);
    await change(0, "Anfang: ");
    await text(/^Part 1 of \d+, from line 1$/).waitFor();
    await button("Next part").click();
    await text(/^Part 2 of/).waitFor();
    await page.getByRole("searchbox", { name: "Find in the text" }).fill("Anfang: ");
    await button("Find the next place").click();
    await text(/^Part 1 of/).waitFor();
    assert((await area.evaluate((area) => area.value.slice(area.selectionStart, area.selectionEnd))) === "Anfang: ", "what is found is not marked");
    await button("Next part").click();
    const lines = (await area.inputValue()).split("\n");
    await change(lines[0].length + 1, "Mitte: ");
    await button("Save Ctrl S", false).click();
    await text("As saved").waitFor({ timeout: 20_000 });
    const written = readFileSync(disk("long.txt"), "utf8");
    assert(written.startsWith("Anfang: Zeile"), "the first part is as it was");
    assert(written.replace("Anfang: ", "").replace("Mitte: ", "") === long, `of ${long.length + 15} characters ${written.length} are there`);
    await at("long.txt");
    await page.locator(".numbered").first().waitFor({ timeout: 20_000 });
    put("huge.txt", "x".repeat((16 << 20) + 1));
    await at("huge.txt", "&tab=edit");
    await text("texts up to 16 MiB are shown and edited here").waitFor();
    assert((await area.count()) === 0, "it can be edited all the same");
    assert(statSync(disk("huge.txt")).size === (16 << 20) + 1, "it was changed");
    put("mixed.txt", "one\r\ntwo\nthree\r");
    await at("mixed.txt", "&tab=edit");
    await text("more than one kind of line ends").waitFor();
  });
  await check("what somebody else has saved is never lost", async () => {
    expected.add("412 (Precondition Failed)");
    put("both.txt", "one\ntwo\nthree\n");
    await at("both.txt", "&tab=edit");
    await area.fill("one\ntwo\nmine\n");
    // Behind the back of the daemon too.
    put("both.txt", "one\ntheirs\nthree\n");
    await page.keyboard.press("Control+s");
    await text("was changed by somebody else").waitFor();
    assert(read("both.txt") === "one\ntheirs\nthree\n", "it was written over");
    await button("Show the difference").click();
    await page.locator(".diff .removed", { hasText: "theirs" }).waitFor();
    await page.locator(".diff .added", { hasText: "mine" }).waitFor();
    await accessible("a conflict");
    await page.screenshot({ path: join(process.env.BROWSER_OUT, "files-conflict.png") });
    await button("Save mine over it").click();
    await submit("Save mine over it");
    await text("As saved").waitFor();
    assert(read("both.txt") === "one\ntwo\nmine\n", "mine is not there");
    // Nothing typed: what comes is shown at once.
    write("both.txt", "from elsewhere\n");
    await until("the new text", async () => (await area.inputValue()) === "from elsewhere\n");
    await area.fill("again mine\n");
    write("both.txt", "and theirs\n");
    await text("was changed by somebody else").waitFor();
    await button("Take theirs").click();
    await until("theirs", async () => (await area.inputValue()) === "and theirs\n");
    await area.fill("to another name\n");
    await button("Save under another name").first().click();
    await named("Path").fill("other.txt");
    await submit("Save");
    await page.waitForURL(/other\.txt/);
    assert(read("other.txt") === "to another name\n" && read("both.txt") === "and theirs\n", "not where it was to be");
  });
  await check("what is not saved is there as a draft", async () => {
    await at("both.txt", "&tab=edit");
    await area.fill("not saved yet\n");
    await text("a draft was kept").waitFor();
    await page.getByRole("link", { name: "Workspace" }).first().click();
    await row("both.txt").waitFor();
    await at("both.txt", "&tab=edit");
    await button("Take it up").click();
    assert((await area.inputValue()) === "not saved yet\n", "the draft is another text");
    await button("Back to what is saved").click();
    await submit("Back to what is saved");
    await text("As saved").waitFor();
    await page.reload();
    await area.waitFor();
    assert((await button("Take it up").count()) === 0, "the draft is still there");
  });
  await check("earlier versions are compared and put back", async () => {
    await at("both.txt", "&tab=history");
    const versions = page.locator(".ledger .line");
    await versions.first().waitFor();
    assert((await versions.count()) >= 3, "versions are missing");
    await versions.nth(0).click();
    await page.locator(".diff .removed", { hasText: "from elsewhere" }).waitFor();
    await page.locator(".diff .added", { hasText: "and theirs" }).waitFor();
    assert(/version=\d+/.test(page.url()), "not in the address");
    await button("Put back").click();
    await until("the old text", () => read("both.txt") === "from elsewhere\n");
    await text("The file is as it was then").waitFor();
  });
  await check("files are renamed, copied, packed, unpacked and downloaded", async () => {
    await at("notes");
    await more("a.txt", "Rename or move");
    await named("Path").fill("notes/moved/c.txt");
    await submit("Move");
    await row("moved").waitFor();
    assert(read("notes/moved/c.txt") === "again", "not moved");
    await more("b.txt", "Duplicate");
    await submit("Make");
    await row("b copy.txt").waitFor();
    await more("moved", "Compress to zip");
    await submit("Make");
    await row("moved.zip").waitFor();
    await more("moved.zip", "Extract here");
    await named("Into which folder").fill("notes/again");
    await submit("Extract here");
    await page.waitForURL(/again/);
    await row("c.txt").waitFor();
    assert(read("notes/again/c.txt") === "again", "not unpacked");
    const [file] = await Promise.all([page.waitForEvent("download"), more("c.txt", "Download")]);
    assert(file.suggestedFilename() === "c.txt" && readFileSync(await file.path(), "utf8") === "again", "not the file");
    const [zip] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download as zip" }).first().click()]);
    assert(readFileSync(await zip.path()).subarray(0, 2).toString() === "PK", "no zip file");
  });
  await check("what is deleted comes back, or goes for good", async () => {
    await at("notes");
    await more("b.txt", "Move to trash");
    await row("b.txt").waitFor({ state: "detached" });
    assert(!existsSync(disk("notes/b.txt")), "it is still there");
    await button("Undo").click();
    await row("b.txt").waitFor();
    assert(read("notes/b.txt") === "second", "it did not come back");
    await row("b.txt").getByRole("checkbox").check();
    await row("b copy.txt").getByRole("checkbox").check();
    await page.locator(".selection").getByRole("button", { name: "Move to trash" }).click();
    await row("b copy.txt").waitFor({ state: "detached" });
    await row("dropped.txt").getByRole("checkbox").check();
    await page.locator(".selection").getByRole("button", { name: "Move", exact: true }).click();
    await label("Into which folder").fill("elsewhere");
    await submit("Move");
    await row("dropped.txt").waitFor({ state: "detached" });
    assert(read("elsewhere/dropped.txt") === "dropped", "not where it was to be");
    await page.getByRole("link", { name: "Trash", exact: true }).click();
    await button("Put back: notes/b.txt").click();
    await text("notes/b.txt is back").waitFor();
    await button("Put back elsewhere: notes/many").click();
    await named("Path").fill("from-trash/many");
    await submit("Put back");
    await until("it at another place", () => existsSync(disk("from-trash/many/deep")));
    await button("Delete for good: notes/b copy.txt").click();
    await accessible("the question before it is gone");
    await submit("Delete for good");
    await text("The trash is empty.").waitFor();
    assert(existsSync(disk("notes/b.txt")) && !existsSync(disk("notes/b copy.txt")), "not what was chosen");
  });
  await check("files are found, and everything goes by keyboard", async () => {
    await go("/workspace");
    await page.getByRole("searchbox").fill("*.md");
    await row("plan.md").waitFor();
    assert(/q=/.test(page.url()), "not in the address");
    await text("2 matches").waitFor();
    await at("notes");
    await row("b.txt").waitFor();
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("x");
    await text("1 selected").waitFor();
    await page.keyboard.press("x");
    await page.keyboard.press("k");
    await page.keyboard.press("Enter");
    await page.waitForURL(/notes%2Fagain/);
    await at("notes");
    await page.getByRole("button", { name: "More for b.txt" }).focus();
    await page.keyboard.press("Enter");
    await page.keyboard.press("ArrowDown");
    assert((await page.evaluate(() => document.activeElement.textContent)) === "Rename or move", "the arrow does not move");
    await page.keyboard.press("Escape");
    assert((await page.locator(".drop").count()) === 0, "Escape does not close");
    await page.getByRole("link", { name: "b.txt" }).focus();
    await page.keyboard.press("Delete");
    await row("b.txt").waitFor({ state: "detached" });
    await button("Undo").click();
    await row("b.txt").waitFor();
    await page.getByRole("columnheader", { name: "Size" }).getByRole("button").click();
    await page.waitForURL(/sort=size/);
    await page.reload();
    await page.locator("th[aria-sort=descending]", { hasText: "Size" }).waitFor();
  });
  await check("what others do is seen at once", async () => {
    expected.add("404 (Not Found)");
    await at("notes");
    await row("b.txt").waitFor();
    write("notes/from-elsewhere.txt", "x");
    await row("from-elsewhere.txt").waitFor();
    await go("/workspace");
    await button("Folders in notes").click();
    await page.getByRole("navigation", { name: "Folders" }).getByRole("link", { name: "moved" }).waitFor();
    assert(page.url().includes("open=notes"), "not in the address");
    await page.reload();
    await page.getByRole("navigation", { name: "Folders" }).getByRole("link", { name: "moved" }).click();
    await row("c.txt").waitFor();
    await page.getByRole("link", { name: "c.txt" }).click();
    await page.locator(".source").waitFor();
    daemon.ctl(["query", "DELETE", "/api/workspace/file?path=notes/moved/c.txt"]);
    await text("There is nothing at this place").waitFor();
    await at("notes");
    await page.getByRole("checkbox", { name: "Hidden files" }).check();
    write("notes/.secret", "x");
    await row(".secret").waitFor();
    assert(page.url().includes("hidden=1"), "not in the address");
  });
  await check("a script runs, with its transcript", async () => {
    const { backend } = JSON.parse(daemon.ctl(["query", "GET", "/api/sandbox"]));
    if (!backend) return console.log("skip  no sandbox can be had here");
    put("tool.sh", 'echo "hello from $PWD"\necho made > made-by-script.txt\n');
    await at("tool.sh");
    await button("Run").click();
    await page.screenshot({ path: join(process.env.BROWSER_OUT, "files-run.png") });
    await accessible("the dialog before a run");
    await submit("Run");
    await page.waitForURL(/script-runs/, { timeout: 20_000 });
    await text("hello from").waitFor();
    await text("Exit code: 0").waitFor();
    assert(existsSync(disk("made-by-script.txt")), "it left nothing");
    await button("More for", false).first().waitFor();
    await at("show/read.md");
    assert((await button("Run").count()) === 0, "Markdown can be run");
  });
  await check("a document becomes one of another kind", async () => {
    mkdirSync(disk("papers"));
    write("papers/prices.csv", "thing,price\nlamp,40\n");
    await at("papers");
    await row("prices.csv").waitFor();
    await more("prices.csv", "Convert");
    await dialog.getByRole("combobox").waitFor();
    const formats = await dialog.getByRole("combobox").locator("option").allTextContents();
    assert(formats.join() === "Markdown,Web page (HTML),PDF,Word (DOCX)", formats.join());
    await accessible("converting");
    await dialog.getByRole("checkbox").check();
    await submit("Convert");
    await row("prices.md").waitFor();
    assert(/\| lamp\s*\| 40\s*\|/.test(read("papers/prices.md")) && !existsSync(disk("papers/prices.csv")), read("papers/prices.md"));
  });
  await check("a question about the file becomes a job, and goes on", async () => {
    await at("notes/plan.md", "&tab=ask");
    await page.getByRole("textbox", { name: /^Question/ }).fill("TASK-plain what is this?");
    await page.getByRole("checkbox", { name: /^Give the text/ }).check();
    await button("Send").click();
    await page.locator(".side .state.completed").waitFor();
    await text("January").waitFor();
    const { jobs } = JSON.parse(daemon.ctl(["query", "GET", "/api/workspace/jobs"]));
    assert(jobs[0].metadata.workspace_active_path === "notes/plan.md", JSON.stringify(jobs[0].metadata));
    const first = page.url();
    await page.getByRole("textbox", { name: /^Question/ }).fill("TASK-plain and then?");
    await button("Go on").click();
    await until("another job", () => page.url() !== first);
    await page.locator(".side .state.completed").waitFor();
    await page.locator(".asked").nth(1).waitFor();
  });
  await check("each view in both themes and on a phone, without a complaint of axe", async () => {
    expected.add("404 (Not Found)");
    const notes = "/workspace?path=notes";
    await looks(
      {
        "files-folder": `${notes}`,
        "files-top": "/workspace",
        "files-markdown": "/workspace?path=show%2Fread.md",
        "files-table": "/workspace?path=show%2Ftable.csv",
        "files-code": "/workspace?path=show%2Fcode.py",
        "files-image": "/workspace?path=show%2Fimage.png",
        "files-pdf": "/workspace?path=show%2Fpaper.pdf",
        "files-binary": "/workspace?path=show%2Fbytes.bin",
        "files-long": "/workspace?path=long.txt",
        "files-edit": "/workspace?path=notes%2Fplan.md&tab=edit",
        "files-edit-long": "/workspace?path=long.txt&tab=edit",
        "files-history": "/workspace?path=both.txt&tab=history",
        "files-ask": "/workspace?path=notes%2Fplan.md&tab=ask",
        "files-search": "/workspace?q=*.md",
        "files-trash": "/workspace?trash=1",
        "files-missing": "/workspace?path=not%2Fthere",
        "files-menu": notes,
      },
      {
        "files-pdf": () => page.waitForTimeout(1500),
        "files-history": () => page.locator(".ledger .line").first().click(),
        "files-menu": () => page.getByRole("button", { name: "More for b.txt" }).click(),
        "files-trash": async () => {
          daemon.ctl(["query", "DELETE", "/api/workspace/file?path=other.txt"]);
          await button("Put back: other.txt").waitFor();
        },
        "files-long": () => page.locator(".numbered").first().waitFor(),
      },
    );
  });
  await check("switched off, the page is gone and the API is not", async () => {
    const config = readFileSync(daemon.config, "utf8");
    writeFileSync(daemon.config, config.replace("[api]\n", "[api]\nworkspace_enabled = false\n"));
    daemon.ctl(["query", "POST", "/api/reload"]);
    expected.add("404");
    const answer = await page.goto(`${daemon.origin}/workspace`);
    assert(answer.status() === 404, `the status is ${answer.status()}`);
    await go("/admin");
    await page.getByRole("link", { name: "Jobs" }).first().waitFor();
    assert((await page.getByRole("link", { name: "Files", exact: true }).count()) === 0, "Files is still in the navigation");
    assert(JSON.parse(daemon.ctl(["query", "GET", "/api/workspace/tree"])).entries.length > 0, "the API has gone with it");
    writeFileSync(daemon.config, config.replace("[api]\n", "[api]\ndashboard_enabled = false\n"));
    daemon.ctl(["query", "POST", "/api/reload"]);
    await go("/workspace");
    await row("notes").waitFor();
    assert((await page.getByRole("navigation", { name: "Pages" }).getByRole("link").count()) === 1, "pages that are off are in the navigation");
  });
  await check("the console of the files is clean and nothing is asked of others", async () => clean());
} finally {
  process.exitCode = (await end()) ? 1 : 0;
}
