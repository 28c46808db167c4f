// Colours for code: comments, texts, numbers and words, by families of languages. Not a parser, and never wrong about
// what the text is: all of it comes out again.

export type Piece = [kind: "" | "comment" | "string" | "number" | "word", text: string];

const WORDS: Record<string, string> = {
  c: "abstract as async await bool boolean break case catch char class const continue default delete do double else enum export extends extern false final finally float fn for from func function go if impl implements import in inline int interface let long loop match mod mut new null nil package private protected pub public return self short static string struct super switch this throw throws true try type typeof undefined union unsafe use var void while yield where",
  hash: "and as assert async await begin break case class def del do done elif else elsif end ensure esac except export False fi finally for from function global if import in is lambda local module nil None nonlocal not or pass raise require rescue return self set then True try unless until while with yield true false null yes no on off",
  sql: "add all alter and as asc begin between by case check column commit constraint create default delete desc distinct drop else end exists foreign from full group having if in index inner insert into is join key left like limit not null on or order outer primary references right rollback select set table then transaction union unique update using values view when where with",
};

const FAMILIES: [RegExp, string][] = [
  [/^(c|h|cc|cpp|hpp|cs|java|js|mjs|cjs|jsx|ts|tsx|go|rs|kt|swift|scala|php|css|scss|json|jsonc)$/, "c"],
  [/^(py|sh|bash|zsh|rb|pl|r|yaml|yml|toml|ini|conf|cfg|mk|dockerfile|service|socket|env)$/, "hash"],
  [/^(sql)$/, "sql"],
  [/^(html|htm|xml|svg|vue)$/, "markup"],
];

const STRING = String.raw`"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?`;
const NUMBER = String.raw`\b(?:0x[\da-fA-F_]+|\d[\d_]*(?:\.\d+)?(?:e[+-]?\d+)?)\b`;
const WORD = String.raw`[A-Za-z_$][\w$]*`;
const PATTERNS: Record<string, RegExp> = {
  c: new RegExp(String.raw`(//[^\n]*|/\*[\s\S]*?(?:\*/|$))|(${STRING}|${"`"}(?:\\.|[^${"`"}\\])*${"`"}?)|(${NUMBER})|(${WORD})`, "g"),
  hash: new RegExp(String.raw`(#[^\n]*)|("""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|${STRING})|(${NUMBER})|(${WORD})`, "g"),
  sql: new RegExp(String.raw`(--[^\n]*|/\*[\s\S]*?(?:\*/|$))|(${STRING})|(${NUMBER})|(${WORD})`, "g"),
  markup: new RegExp(String.raw`(<!--[\s\S]*?(?:-->|$))|(${STRING})|(?!)(x)|(</?[A-Za-z][\w:-]*|/?>)`, "g"),
};

export function highlight(text: string, ending: string): Piece[] {
  const family = FAMILIES.find(([endings]) => endings.test(ending))?.[1];
  if (!family) return [["", text]];
  const words = new Set(WORDS[family]?.split(" "));
  const pieces: Piece[] = [];
  let at = 0;
  const put = (kind: Piece[0], piece: string) => {
    const last = pieces.at(-1);
    if (last && last[0] === kind) last[1] += piece;
    else if (piece) pieces.push([kind, piece]);
  };
  for (const found of text.matchAll(PATTERNS[family]!)) {
    const [whole, comment, string, number, word] = found;
    put("", text.slice(at, found.index));
    const known = family === "markup" || words.has(family === "sql" ? whole.toLowerCase() : whole);
    put(comment ? "comment" : string ? "string" : number ? "number" : word && known ? "word" : "", whole);
    at = found.index + whole.length;
  }
  put("", text.slice(at));
  return pieces;
}
