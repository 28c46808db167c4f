// Markdown as elements, not as HTML: what a model writes can be no code, and loads nothing. Images become links.

import type { ComponentChildren } from "preact";

export function Markdown({ text }: { text: string }) {
  return <div class="markdown">{blocks(text.replaceAll("\r", "").split("\n"))}</div>;
}

const LIST = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const CELLS = /^\s*\|(.+)\|\s*$/;

function blocks(lines: string[]): ComponentChildren[] {
  const out: ComponentChildren[] = [];
  let at = 0;
  const take = (test: (line: string) => boolean) => {
    const from = at;
    while (at < lines.length && test(lines[at]!)) at += 1;
    return lines.slice(from, at);
  };
  while (at < lines.length) {
    const line = lines[at]!;
    const key = out.length;
    const fence = /^\s*(```+|~~~+)/.exec(line)?.[1];
    const heading = /^(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    if (!line.trim()) {
      at += 1;
    } else if (fence) {
      at += 1;
      const code = take((line) => !line.trim().startsWith(fence));
      at += 1;
      out.push(<pre key={key} class="code" tabIndex={0}>{code.join("\n")}</pre>);
    } else if (heading) {
      at += 1;
      // The page has headings of its own above these.
      const Tag = `h${Math.min(Math.max(heading[1]!.length, 2) + 1, 6)}` as "h3";
      out.push(<Tag key={key}>{inline(heading[2]!)}</Tag>);
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      at += 1;
      out.push(<hr key={key} />);
    } else if (/^\s*>/.test(line)) {
      const quoted = take((line) => /^\s*>/.test(line)).map((line) => line.replace(/^\s*> ?/, ""));
      out.push(<blockquote key={key}>{blocks(quoted)}</blockquote>);
    } else if (CELLS.test(line) && /^\s*\|[\s:|-]+\|\s*$/.test(lines[at + 1] ?? "")) {
      out.push(table(key, take((line) => CELLS.test(line))));
    } else if (LIST.test(line)) {
      const margin = LIST.exec(line)![1]!.length;
      const part = take((line) => LIST.test(line) || line.startsWith(" ".repeat(margin + 2)));
      out.push(list(key, part, margin));
    } else {
      const starts = /^\s*(```|~~~|>|#{1,6}\s)/;
      const text = take((line) => line.trim() !== "" && !starts.test(line) && !LIST.test(line) && !CELLS.test(line));
      // A line that looks like the beginning of something, and is not.
      if (!text.length) text.push(lines[at++]!);
      out.push(<p key={key}>{inline(text.join("\n"))}</p>);
    }
  }
  return out;
}

function list(key: number, lines: string[], margin: number) {
  const items: string[][] = [];
  for (const line of lines) {
    const item = LIST.exec(line);
    if (item && item[1]!.length <= margin + 1) items.push([item[3]!]);
    else items.at(-1)?.push(line.slice(margin + 2));
  }
  const Tag = /^\s*\d/.test(lines[0]!) ? "ol" : "ul";
  return (
    <Tag key={key}>
      {items.map(([first, ...rest], at) => (
        <li key={at}>
          {inline(first!)}
          {rest.length > 0 && blocks(rest)}
        </li>
      ))}
    </Tag>
  );
}

function table(key: number, lines: string[]) {
  const rows = lines.map((line) => CELLS.exec(line)![1]!.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|")));
  const [head, , ...body] = rows;
  return (
    <div key={key} class="scroll" tabIndex={0}>
      <table>
        <thead>
          <tr>{head!.map((cell, at) => <th key={at} scope="col">{inline(cell)}</th>)}</tr>
        </thead>
        <tbody>
          {body.map((row, at) => (
            <tr key={at}>{row.map((cell, at) => <td key={at}>{inline(cell)}</td>)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const INLINE = /(`+)(.+?)\1|!?\[([^\]]*)\]\(\s*<?([^\s)>]+)>?[^)]*\)|\*\*(.+?)\*\*|__(.+?)__|~~(.+?)~~|\*([^\s*][^*]*?)\*|(?<![\w])_([^\s_][^_]*?)_(?![\w])|(https?:\/\/[^\s<>()]+[^\s<>().,;:!?'"])/s;

function inline(text: string): ComponentChildren[] {
  const out: ComponentChildren[] = [];
  let rest = text;
  for (let found = INLINE.exec(rest); found; found = INLINE.exec(rest)) {
    const [whole, , code, label, address, strong, strong2, gone, soft, soft2, bare] = found;
    const key = out.length + 1;
    if (found.index) out.push(rest.slice(0, found.index));
    if (code !== undefined) out.push(<code key={key}>{code.trim() || code}</code>);
    else if (address !== undefined) out.push(link(key, address, label || address));
    else if (bare !== undefined) out.push(link(key, bare, bare));
    else if (strong ?? strong2) out.push(<strong key={key}>{inline((strong ?? strong2)!)}</strong>);
    else if (gone) out.push(<s key={key}>{inline(gone)}</s>);
    else out.push(<em key={key}>{inline((soft ?? soft2)!)}</em>);
    rest = rest.slice(found.index + whole.length);
  }
  if (rest) out.push(rest);
  return out;
}

function link(key: number, address: string, label: string) {
  if (!/^(https?:|mailto:)/i.test(address)) return <span key={key}>{label}</span>;
  return (
    <a key={key} href={address} target="_blank" rel="noopener noreferrer" title={address}>
      {label}
    </a>
  );
}
