import { get, may, post } from "../api";
import { Card, Command, Empty, Problem, Skeleton } from "../components/basics";
import { attempt, tell } from "../components/dialog";
import { useLive } from "../live";
import { setQuery } from "../router";
import { t } from "../texts";
import type { Setting } from "../types";

export function Settings({ query }: { query: URLSearchParams }) {
  const filter = query.get("q") ?? "";
  const onlySet = query.get("set") !== null;
  const settings = useLive<{ file: string; settings: Setting[] }>((signal) => get("/api/config", signal), [], ({ kind }) => kind === "config.reloaded");
  const reload = async () => {
    const done = await attempt(() => post<{ changed: string[]; warnings: string[] }>("/api/reload"));
    if (!done) return;
    tell([t.system.reloaded(done.changed.length), ...done.warnings].join(". "));
    settings.reload();
  };
  if (settings.error) return <Problem error={settings.error} retry={settings.reload} />;
  if (!settings.data) return <Skeleton lines={12} />;
  const wanted = filter.toLowerCase();
  const shown = settings.data.settings.filter(
    ({ key, doc, origin }) => (!onlySet || origin !== "default") && (key.includes(wanted) || doc.toLowerCase().includes(wanted)),
  );
  return (
    <Card title={t.system.tabs.settings} side={<code class="faint">{settings.data.file}</code>}>
      <div class="row">
        <input type="search" aria-label={t.system.filter} placeholder={t.system.filter} value={filter} onInput={(event) => setQuery("q", event.currentTarget.value)} />
        <label class="inline">
          <input type="checkbox" checked={onlySet} onChange={(event) => setQuery("set", event.currentTarget.checked ? "1" : undefined)} /> {t.system.onlySet}
        </label>
        <span class="space" />
        {may("admin") && (
          <button type="button" onClick={reload}>
            {t.system.reload}
          </button>
        )}
        <Command text="assistantctl config show" />
      </div>
      {shown.length === 0 && <Empty title={t.system.noKey} />}
      <dl class="settings">
        {shown.map(({ key, value, origin, doc, restart }) => (
          <div key={key} class={origin === "default" ? "" : "set"}>
            <dt>
              <code>{key}</code>
            </dt>
            <dd>
              <code class="value">{value === null ? "–" : JSON.stringify(value)}</code>
              <p class="faint">
                {doc} {restart && `(${t.system.restart})`}
              </p>
              <p class="faint">
                {t.system.setBy}: {origin}
              </p>
            </dd>
          </div>
        ))}
      </dl>
    </Card>
  );
}
