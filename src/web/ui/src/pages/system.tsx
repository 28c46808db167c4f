// Whether the daemon is well, what it guarantees, and how it is set up.

import { useEffect, useRef } from "preact/hooks";
import { may } from "../api";
import { Empty } from "../components/basics";
import { t } from "../texts";
import { Access } from "./system-access";
import { Health } from "./system-health";
import { LogTab } from "./system-log";
import { Models } from "./system-models";
import { Notices } from "./system-notices";
import { Policy } from "./system-policy";
import { SandboxTab } from "./system-sandbox";
import { Settings } from "./system-settings";
import { StorageTab } from "./system-storage";

/** What only an administrator may look at. */
const ADMIN = ["access", "log"];

type Tab = keyof typeof t.system.tabs;

export function SystemPage({ tab = "health", query }: { tab: string | undefined; query: URLSearchParams }) {
  useEffect(() => void (document.title = t.page(t.system.title)), []);
  const tabs = useRef<HTMLElement>(null);
  // On a phone not all of them fit beside each other.
  useEffect(() => tabs.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }), [tab]);
  const known = tab in t.system.tabs ? (tab as Tab) : undefined;
  return (
    <div class="page">
      <h1>{t.system.title}</h1>
      <nav class="tabs" aria-label={t.system.title} ref={tabs}>
        {(Object.entries(t.system.tabs) as [Tab, string][]).filter(([name]) => !ADMIN.includes(name) || may("admin")).map(([name, text]) => (
          <a key={name} href={name === "health" ? "/admin/system" : `/admin/system/${name}`} aria-current={name === known ? "page" : undefined}>
            {text}
          </a>
        ))}
      </nav>
      {known === "health" && <Health />}
      {known === "sandbox" && <SandboxTab />}
      {known === "models" && <Models />}
      {known === "policy" && <Policy query={query} />}
      {known === "settings" && <Settings query={query} />}
      {known === "access" && <Access />}
      {known === "storage" && <StorageTab />}
      {known === "notices" && <Notices />}
      {known === "log" && (may("admin") ? <LogTab query={query} /> : <Empty title={t.system.admin} />)}
      {!known && <Empty title={t.error.notFound} />}
    </div>
  );
}
