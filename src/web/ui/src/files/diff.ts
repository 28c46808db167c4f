// Two texts, line by line: what came, what went, and a few lines around it.

export interface Line {
  kind: "same" | "added" | "removed" | "skipped";
  text: string;
  /** How many lines are left out. */
  count?: number;
}

/** Lines around a difference. */
const AROUND = 3;
/** Comparisons of lines that are made at most. */
const MOST = 4_000_000;

/** `undefined`: too much is different. */
export function diff(before: string, after: string): Line[] | undefined {
  const [old, now] = [before.split("\n"), after.split("\n")];
  let head = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head++;
  let tail = 0;
  while (tail < old.length - head && tail < now.length - head && old[old.length - 1 - tail] === now[now.length - 1 - tail]) tail++;
  const middle = compare(old.slice(head, old.length - tail), now.slice(head, now.length - tail));
  if (!middle) return undefined;
  const same = (text: string): Line => ({ kind: "same", text });
  return fold([...old.slice(0, head).map(same), ...middle, ...old.slice(old.length - tail).map(same)]);
}

/** By the longest common subsequence. */
function compare(old: string[], now: string[]): Line[] | undefined {
  const width = now.length + 1;
  if ((old.length + 1) * width > MOST) return undefined;
  const common = new Uint32Array((old.length + 1) * width);
  for (let i = old.length - 1; i >= 0; i--)
    for (let j = now.length - 1; j >= 0; j--)
      common[i * width + j] =
        old[i] === now[j] ? common[(i + 1) * width + j + 1]! + 1 : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!);
  const out: Line[] = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      out.push({ kind: "same", text: old[i++]! });
      j++;
    } else if (i < old.length && (j === now.length || common[(i + 1) * width + j]! >= common[i * width + j + 1]!)) {
      out.push({ kind: "removed", text: old[i++]! });
    } else out.push({ kind: "added", text: now[j++]! });
  }
  return out;
}

/** Leaves out long stretches without a difference. */
function fold(lines: Line[]): Line[] {
  const near = new Uint8Array(lines.length);
  lines.forEach(({ kind }, at) => {
    if (kind !== "same") near.fill(1, Math.max(0, at - AROUND), at + AROUND + 1);
  });
  const out: Line[] = [];
  lines.forEach((line, at) => {
    const last = out.at(-1);
    if (near[at]) out.push(line);
    else if (last?.kind === "skipped") last.count! += 1;
    else out.push({ kind: "skipped", text: "", count: 1 });
  });
  return out;
}
