// One file: what it is, what can be done with it, and its four sides.

import { useRef, useState } from "preact/hooks";
import { may } from "../api";
import { Time } from "../components/basics";
import { Icon } from "../components/icons";
import { bytes } from "../format";
import { go } from "../router";
import { t } from "../texts";
import type { Entry } from "../types";
import { ActionDialog, type Doing, More } from "./actions";
import { Ask } from "./ask";
import { Editor } from "./editor";
import { HistoryView } from "./history";
import { address, changed, downloadOf, ending, isOffice, isScript, kindOf } from "./paths";
import { View } from "./view";

type Tab = keyof typeof t.files.tabs;

export function FileView({ entry, gone, query }: { entry: Entry; gone: boolean; query: URLSearchParams }) {
  const [doing, act] = useState<Doing>();
  const path = entry.relative_path;
  const isText = ["markdown", "table", "text"].includes(kindOf(path));
  const all: Tab[] = ["view", ...(isText && may("operator") ? (["edit"] as const) : []), "history", "ask"];
  const wanted = (query.get("tab") ?? "view") as Tab;
  const tab = all.includes(wanted) ? wanted : "view";
  const change = may("operator");
  const region = useRef<HTMLElement>(null);
  return (
    <section class="file" aria-label={entry.name} ref={region}>
      <div class="row actions">
        <nav class="tabs" aria-label={entry.name}>
          {all.map((name) => (
            <a key={name} href={address(path, { tab: name === "view" ? undefined : name })} aria-current={name === tab ? "page" : undefined}>
              {t.files.tabs[name]}
            </a>
          ))}
        </nav>
        <span class="space" />
        <span class="faint">
          {bytes(entry.size_bytes)} · <Time at={changed(entry)} />
        </span>
        {change && isScript(path) && (
          <button type="button" onClick={() => act({ what: "run", entry })}>
            <Icon name="play" /> {t.files.run}
          </button>
        )}
        {change && ending(path) === "zip" && (
          <button type="button" onClick={() => act({ what: "unzip", entry })}>
            {t.files.unzip}
          </button>
        )}
        {change && isOffice(path) && (
          <button type="button" onClick={() => act({ what: "convert", entry })}>
            {t.files.convert}
          </button>
        )}
        <a class="button" href={downloadOf(path)} download>
          <Icon name="download" /> {t.files.download}
        </a>
        <More entry={entry} act={act} />
      </div>
      {tab === "view" && <View entry={entry} query={query} />}
      {tab === "edit" && <Editor key={path} entry={entry} gone={gone} />}
      {tab === "history" && <HistoryView entry={entry} query={query} />}
      {tab === "ask" && <Ask entry={entry} query={query} />}
      <ActionDialog doing={doing} close={() => act(undefined)} done={(path) => go(address(path))} />
    </section>
  );
}
