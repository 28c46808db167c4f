// HTML from elsewhere, made anew of the few elements that are known: nothing of it is ever given to the browser as it is.

import { type ComponentChild, h } from "preact";

declare global {
  interface Window {
    trustedTypes?: { createPolicy(name: string, rules: { createHTML: (html: string) => string }): { createHTML(html: string): unknown } };
  }
}

const KEPT = new Set(
  "a,abbr,b,blockquote,br,caption,code,dd,del,div,dl,dt,em,h1,h2,h3,h4,h5,h6,hr,i,ins,li,ol,p,pre,q,s,small,span,strong,sub,sup,table,tbody,td,tfoot,th,thead,tr,u,ul".split(","),
);
/** Left out with everything in them. */
const DROPPED = new Set("head,iframe,math,noscript,object,script,style,svg,template,title".split(","));
const DEEPEST = 60;

/** Browsers take a text for HTML only from a named place, of which this is the only one: it makes a document that runs and loads nothing. */
const reader = window.trustedTypes?.createPolicy("foreign-html", { createHTML: (html) => html });

/** Safe to show whatever `html` is; links go nowhere but to addresses that are written out. */
export function SafeHtml({ html }: { html: string }) {
  const parsed = new DOMParser().parseFromString((reader?.createHTML(html) ?? html) as string, "text/html");
  return <div class="markdown">{children(parsed.body, 0)}</div>;
}

function children(node: Node, depth: number): ComponentChild[] {
  return [...node.childNodes].map((child) => made(child, depth + 1));
}

function made(node: Node, depth: number): ComponentChild {
  if (node.nodeType === Node.TEXT_NODE) return node.textContent;
  if (!(node instanceof Element) || depth > DEEPEST) return null;
  const name = node.localName;
  if (DROPPED.has(name)) return null;
  if (name === "br" || name === "hr") return h(name, {});
  const inside = children(node, depth);
  if (!KEPT.has(name)) return inside;
  if (name !== "a") return h(name, {}, inside);
  const to = node.getAttribute("href") ?? "";
  if (!/^(https?:\/\/|mailto:)/i.test(to)) return inside;
  return h("a", { href: to, rel: "noopener noreferrer nofollow", target: "_blank", title: to }, inside);
}
