// What stands around every page: where one can go, whether the page is live, and what endangers.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { get, isOn, may, post } from "../api";
import { useConnection } from "../events";
import { useLive } from "../live";
import { usePlace } from "../router";
import { t } from "../texts";
import type { Status } from "../types";
import { Account } from "./account";
import { Banners, concerns } from "./banners";
import { useNow } from "./basics";
import { attempt, confirm, Notes } from "./dialog";
import { Icon, type IconName } from "./icons";
import { Palette } from "./palette";

const PAGES: [string, string, IconName][] = [
  ["/admin", t.nav.overview, "home"],
  ["/admin/jobs", t.nav.jobs, "jobs"],
  ["/admin/mail", t.nav.mail, "mail"],
  ["/workspace", t.nav.files, "files"],
  ["/admin/effects", t.nav.effects, "effects"],
  ["/admin/system", t.nav.system, "system"],
];

export function Frame({ children }: { children: ComponentChildren }) {
  const { path } = usePlace();
  const [palette, setPalette] = useState(false);
  const content = useRef<HTMLElement>(null);
  const status = useLive<Status>((signal) => get("/api/status", signal), [], concerns);

  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const typing = (event.target as Element).closest?.("input, textarea, select, dialog");
      const wanted = (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) || (event.key === "/" && !typing);
      if (!wanted) return;
      event.preventDefault();
      setPalette(true);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);

  // After going to another page, the reader of the screen starts with it.
  const first = useRef(true);
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    content.current?.focus({ preventScroll: true });
    status.reload();
  }, [path]);
  // No event tells of a disk that fills or a certificate that ends: who comes back to the page sees how things are now.
  useEffect(() => {
    const back = () => document.visibilityState === "visible" && status.reload();
    document.addEventListener("visibilitychange", back);
    return () => document.removeEventListener("visibilitychange", back);
  }, []);

  return (
    <div class="frame">
      <a class="skip" href="#content">
        {t.skip}
      </a>
      <nav aria-label={t.nav.label}>
        <span class="brand">
          <img src={new URL("../icon.svg", import.meta.url).pathname} alt="" width="24" height="24" />
          <span>{t.app}</span>
        </span>
        {PAGES.filter(([address]) => isOn(address)).map(([address, name, icon]) => {
          const here = address === "/admin" ? path === address : path.startsWith(address);
          return (
            <a key={address} href={address} aria-current={here ? "page" : undefined}>
              <Icon name={icon} />
              <span>{name}</span>
            </a>
          );
        })}
      </nav>
      <header class="top">
        <LiveMark />
        <span class="space" />
        <button type="button" class="search" onClick={() => setPalette(true)} aria-keyshortcuts="Control+K /">
          <Icon name="search" /> <span>{t.top.search}</span> <kbd>Ctrl K</kbd>
        </button>
        {may("admin") && status.data && <StopButton status={status.data} reload={status.reload} />}
        <Account />
      </header>
      {status.data && <Banners status={status.data} reload={status.reload} />}
      <main id="content" ref={content} tabIndex={-1}>
        {children}
      </main>
      {palette && <Palette close={() => setPalette(false)} />}
      <Notes />
    </div>
  );
}

/** Whether what is shown is what is. */
function LiveMark() {
  const connection = useConnection();
  const now = useNow(1000);
  const shown = {
    live: t.top.live,
    connecting: t.top.connecting,
    waiting: connection.state === "waiting" ? waiting(connection.since, connection.retryAt, now) : "",
  }[connection.state];
  return (
    <span class={`live ${connection.state}`} role="status">
      <span class="dot" aria-hidden="true" /> {shown}
    </span>
  );
}

function waiting(since: number, retryAt: number, now: number): string {
  const seconds = Math.max(0, Math.ceil((retryAt - now) / 1000));
  const time = new Date(since).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return now - since > 10_000 ? `${t.top.offline(time)} · ${t.top.reconnecting(seconds)}` : t.top.reconnecting(seconds);
}

function StopButton({ status, reload }: { status: Status; reload: () => void }) {
  const stopped = status.stopped !== null;
  const press = async () => {
    const { stopTitle: title, stopText: text, stopConfirm: yes } = t.top;
    if (!stopped && !(await confirm({ title, text, yes }))) return;
    await attempt(() => post(stopped ? "/api/resume" : "/api/stop"));
    reload();
  };
  return (
    <button type="button" class={stopped ? "primary" : "stop"} onClick={press}>
      <Icon name={stopped ? "play" : "stop"} /> <span>{stopped ? t.top.resume : t.top.stop}</span>
    </button>
  );
}
