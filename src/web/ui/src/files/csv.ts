// Tables as texts (RFC 4180): cells in quotes may hold separators, quotes and line ends.

export function parse(text: string, separator: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let cell = "";
  let quoted = false;
  const end = () => {
    row.push(cell);
    cell = "";
  };
  for (let at = text.charCodeAt(0) === 0xfeff ? 1 : 0; at < text.length; at++) {
    const char = text[at]!;
    if (quoted) {
      if (char !== '"') cell += char;
      else if (text[at + 1] === '"') cell += text[++at];
      else quoted = false;
    } else if (char === '"' && cell === "") quoted = true;
    else if (char === separator) end();
    else if (char === "\n") {
      end();
      rows.push(row);
      row = [];
    } else cell += char;
  }
  if (cell !== "" || row.length > 0) {
    end();
    rows.push(row);
  }
  return rows;
}

/** Tabs where the name says so; else what the first line has most of. */
export function separator(text: string, ending: string): string {
  if (ending === "tsv") return "\t";
  const first = text.slice(0, text.indexOf("\n") + 1 || text.length);
  const most = [",", ";", "\t"].map((char): [string, number] => [char, first.split(char).length]);
  return most.reduce((best, next) => (next[1] > best[1] ? next : best))[0];
}
